#ifndef WEIR_HEARTBEAT_H
#define WEIR_HEARTBEAT_H

#include "control.h"
#include "domain/queue.h"

/* One thread that does nothing but hold the leases of this worker's jobs: at least every third of the lease, and each
 * second while there is progress to save. It learns there that a job was cancelled, deleted or taken over, and stops it.
 * While Redis is away the jobs go on, until orphan_max_ms. Thread-safe. */

struct heartbeat;

struct heartbeat_options {
    struct queue *queue;
    uint64_t lease_ms, orphan_max_ms;
    size_t max_jobs;
};

int heartbeat_start(const struct heartbeat_options *options, struct heartbeat **ret, struct err *e)
    __attribute__((warn_unused_result));
void heartbeat_free(struct heartbeat *h); /* ends the thread; NULL is fine */

/* From a claim until just after its end. The control is used in between only. */
void heartbeat_add(struct heartbeat *h, const struct queue_token *token, struct control *control);
void heartbeat_remove(struct heartbeat *h, const struct queue_token *token);

#endif
