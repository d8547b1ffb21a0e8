#ifndef WEIR_JOB_H
#define WEIR_JOB_H

#include "assets.h"
#include "base/log.h"
#include "control.h"
#include "domain/layout.h"
#include "scratch.h"
#include "worker.h"

#include <stdatomic.h>

/* One claimed job, from the claim to its end. */

struct job {
    const struct worker *worker;
    struct queue_job claim; /* owned */
    struct control control; /* what other threads use; the rest is the slot's */
    struct log_ids ids;
    char version[LAYOUT_VERSION_SIZE]; /* where its output goes */

    bool has_scratch;
    struct scratch scratch;
    struct assets *assets;
    bool uploaded;      /* something may stand below that version */
    bool permanent;     /* the failure is the input's */
    bool transcoding;   /* it is the transcoder's, so what it says is about the video */
    const char *result; /* how it ended, for log and metrics; NULL while it runs */

    const atomic_bool *stopping; /* the slot takes no more jobs */
    bool got_next;
    struct queue_job next; /* what its end brought: the slot's next job, owned by the slot */
};

/* Takes over what `claim` owns, also on failure. Unless *stopping, the job's end claims the next one. */
int job_open(struct job *job, const struct worker *worker, struct queue_job *claim, const atomic_bool *stopping,
             struct err *e) __attribute__((warn_unused_result));
/* Runs the steps and ends the job in the queue. All that can be said is in the log and the metrics. */
void job_run(struct job *job);
void job_close(struct job *job);

#endif
