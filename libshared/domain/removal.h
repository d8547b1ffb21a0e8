#ifndef WEIR_REMOVAL_H
#define WEIR_REMOVAL_H

#include "domain/library.h"

/* Deletion of a video, in an order that no crash and no frozen process can undo:
 *
 *   marker → script (cancels the job, sets the tombstone) → objects → script (removes the keys, tombstone again)
 *
 * The marker is listed again at every daily pass, and everything is repeated as long as it stands, since a process that
 * was frozen may still add an object. Every step may be repeated. Thread-safe. */

/* The whole of it. *ret_deleted (may be NULL) is set as soon as marker and tombstone stand: from then on the video is
 * gone for everybody, and a failure only means that objects are left for the reconciler. */
int removal_delete(const struct library *l, const char *video_id, bool *ret_deleted, struct err *e)
    __attribute__((warn_unused_result));

/* The objects of a video whose marker stands, again: the source, its multipart upload, the record, requests and every
 * version. The log is closed and its records are emptied, not removed: their keys keep a frozen writer out. Outcomes stay
 * as long as the marker, they keep a frozen worker from publishing. *ret_count (may be NULL): objects that were there. */
int removal_objects(const struct library *l, const char *video_id, uint64_t *ret_count, struct err *e)
    __attribute__((warn_unused_result));

/* Ends every multipart upload to this key of the raw bucket that the store tells of, when none of them is needed any more:
 * also one that no record names, since its creator never heard that it was made. */
int removal_multiparts(const struct library *l, const char *key, struct err *e) __attribute__((warn_unused_result));

/* The end of a marker that stands longer than GC_DAYS, once nothing else was found: outcomes, log, marker. */
int removal_forget(const struct library *l, const char *video_id, struct err *e) __attribute__((warn_unused_result));

/* How long a tombstone in Redis lives: longer than the marker, from which a rebuild sets it again. */
uint64_t removal_tombstone_ms(const struct library *l);

#endif
