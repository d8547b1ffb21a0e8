#ifndef WEIR_RECONCILE_H
#define WEIR_RECONCILE_H

#include "domain/library.h"

#include <stdbool.h>
#include <stdint.h>

/* Makes Redis agree with the store again, and the store with what was decided: after a crash in mid-step, after Redis
 * was lost, and once a day for leftovers. One replica works at a time under the lease {weir}:reconciler, for economy
 * only: a stale or a second pass can do no harm. Thread-safe.
 *
 *   rebuild     the epoch key is missing     every video; the epoch key last
 *   finishing   every 20 s                   marked ids: between the store's word and the job
 *   expired     every 20 s                   uploads that their clients have not finished in time
 *   abandoned   every minute                 forms that have lost their writer; other uploads wait for their clients,
 *                                            but for videos that have all bytes
 *   recent      Redis was away or changed,   videos of which something was written within the last hour
 *               or somebody asked
 *   daily       once a day                   every video: deletions again, and what nothing names any more
 */

struct reconciler;
struct upload_service;

struct reconcile_options {
    const struct library *library;  /* borrowed */
    struct upload_service *uploads; /* borrowed: finishes those that have all bytes; NULL: their clients do */
    uint64_t videos_per_second;     /* bound on the rate of a pass; 0: 200 */
    uint64_t expiry_ms;             /* UPLOAD_EXPIRY_S, for those that don't tell when they expire; 0: never */
    uint64_t abandoned_ms;          /* a form without a writer and a new record for so long is taken back; 0: 2 min */
};
int reconcile_new(const struct reconcile_options *options, struct reconciler **ret, struct err *e)
    __attribute__((warn_unused_result));
void reconcile_free(struct reconciler *r); /* NULL is fine; no call is running */

/* To be called each second by one thread: runs what is due, which may take long. */
void reconcile_tick(struct reconciler *r);
/* Ends a running pass between two videos, and every later one. */
void reconcile_stop(struct reconciler *r);
/* Something was left half done that no mark tells of: a recent pass as soon as Redis answers. */
void reconcile_soon(struct reconciler *r);

struct reconcile_counts {
    uint64_t videos;    /* looked at */
    uint64_t indexed;   /* told to Redis */
    uint64_t completed; /* uploads brought to their end */
    uint64_t removed;   /* abandoned uploads, deletions repeated */
    uint64_t collected; /* versions and logs that nothing names any more */
    uint64_t failed;    /* left for the next time; logged */
};
/* One full pass now, as daily or, when the epoch is missing, rebuild. dry_run: looks and counts, changes nothing. */
int reconcile_once(struct reconciler *r, bool dry_run, struct reconcile_counts *ret, struct err *e)
    __attribute__((warn_unused_result));

#endif
