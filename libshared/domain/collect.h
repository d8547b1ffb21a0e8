#ifndef WEIR_COLLECT_H
#define WEIR_COLLECT_H

#include "domain/library.h"

/* What nothing names any more. Nothing of a generation is removed before its outcome exists, and nothing by age alone: a
 * slow worker may still be right. Thread-safe. */

/* Removes the versions that the outcomes of their generations do not name, and those of older generations a day after a
 * newer one was published. With dry_run only counts. *ret_count: versions. */
int collect_versions(const struct library *l, const char *video_id, bool dry_run, uint64_t *ret_count, struct err *e)
    __attribute__((warn_unused_result));

/* Removes an upload's log GC_DAYS after its end. *ret_removed: whether it was its time. */
int collect_log(const struct library *l, const char *video_id, bool dry_run, bool *ret_removed, struct err *e)
    __attribute__((warn_unused_result));

#endif
