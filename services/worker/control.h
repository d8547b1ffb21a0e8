#ifndef WEIR_CONTROL_H
#define WEIR_CONTROL_H

#include "base/err.h"
#include "proto/progress.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* What other threads may see and change of a running job: whether it must stop and why, and how far it is. Thread-safe. */

enum stop {
    STOP_NONE,
    STOP_CANCELLED, /* the video was cancelled: end it */
    STOP_STALE,     /* somebody else holds the job: touch nothing */
    STOP_DELETED,   /* the video was deleted */
    STOP_RELEASED,  /* this worker ends and has handed the job back */
    STOP_ORPHANED,  /* Redis was away for too long */
    STOPS
};
const char *stop_name(enum stop why);

struct control {
    pthread_mutex_t lock;
    pthread_cond_t stopping;
    int wake_fd; /* eventfd for poll loops: readable after control_stop and control_nudge */
    enum stop stop;
    bool transcoded;  /* the child has ended well; what is left takes moments */
    uint64_t updates; /* how often the progress was set */
    struct progress_block block;
};

int control_init(struct control *c, struct err *e) __attribute__((warn_unused_result));
void control_release(struct control *c);

void control_stop(struct control *c, enum stop why); /* the first reason stays */
enum stop control_stopped(struct control *c);
/* ERR_STALE naming the reason when the job must stop, else 0. */
int control_check(struct control *c, struct err *e) __attribute__((warn_unused_result));

void control_nudge(struct control *c); /* wakes the poll loop to look again */
void control_calm(struct control *c);  /* takes the wake-ups before looking */

void control_progress(struct control *c, const struct progress_block *block);
void control_transcoded(struct control *c);
/* A copy of the last block and how many there were. */
uint64_t control_look(struct control *c, struct progress_block *ret);
/* Whether the rest is expected to take less than left_ms. */
bool control_fits(struct control *c, uint64_t left_ms);

/* Repeating what failed as temporary, with back-off, for at most max_ms after the first failure:
 *
 *   struct patience patience = {.max_ms = …};
 *   do
 *       r = store_…(…, e);
 *   while (control_retry(c, &patience, r));
 */
struct patience {
    uint64_t max_ms;
    uint64_t since_ms; /* the first failure, 0 before */
    unsigned tries;
};
/* False at once unless r is -ERR_TEMPORARY, the patience lasts and the job goes on; else true, after a pause. */
bool control_retry(struct control *c, struct patience *p, int r);

#endif
