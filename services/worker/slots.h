#ifndef WEIR_SLOTS_H
#define WEIR_SLOTS_H

#include "worker.h"

/* The places in which jobs run, a thread each: waits for the bell, claims, runs. One more thread scans the queue for what
 * is due and what dead workers left. */

struct slots;

/* `worker` must outlive the slots. */
int slots_start(const struct worker *worker, struct slots **ret, struct err *e) __attribute__((warn_unused_result));

/* Stops claiming. Jobs whose estimate fits into grace_ms are finished, all others are handed back at once, as are those
 * that did not keep to their estimate. Returns when every thread has ended, which a store that hangs can hold up; by the
 * end of grace_ms every job is finished or handed back and no child is left. NULL is fine. */
void slots_stop(struct slots *s, uint64_t grace_ms);

#endif
