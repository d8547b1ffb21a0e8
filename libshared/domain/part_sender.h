#ifndef WEIR_PART_SENDER_H
#define WEIR_PART_SENDER_H

#include "domain/block_pool.h"
#include "domain/part_body.h"
#include "io/store.h"

#include <stdbool.h>

/* A few threads that send parts for all uploads of a process, so that the next part fills while the last one is on its
 * way, over connections that stay open. Thread-safe. */

struct part_sender;

struct part_job {
    /* in */
    const char *bucket, *key, *upload_id;
    const char *video_id;            /* whose log holds the tails */
    const struct upload_tail *tails; /* the part begins with these; unchanged until the job is done */
    size_t tail_count;
    struct block_chain chain; /* and ends with this: sealed, or all zero; the sender releases it, whatever happens */
    bool reserved;            /* a thread was */
    /* in and out: number in, size and ETag out */
    struct store_part part;
    /* out */
    int result; /* 0 or -kind */
    struct err error;
    /* private */
    bool done;
    struct part_job *next;
};

int part_sender_new(struct store *s, unsigned threads, struct part_sender **ret, struct err *e)
    __attribute__((warn_unused_result));
void part_sender_free(struct part_sender *s); /* NULL is fine; every job was waited for */

/* The job must not move or end until part_sender_wait returned for it. */
void part_sender_submit(struct part_sender *s, struct part_job *job);
/* The job's result: 0, or -kind with job->error. */
int part_sender_wait(struct part_sender *s, struct part_job *job) __attribute__((warn_unused_result));
/* Whether that would return at once. */
bool part_sender_done(struct part_sender *s, const struct part_job *job);

/* Sets a free thread aside for the next job, which says so, or for part_sender_release. False: all are busy. */
bool part_sender_reserve(struct part_sender *s);
void part_sender_release(struct part_sender *s);

#endif
