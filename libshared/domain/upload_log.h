#ifndef WEIR_UPLOAD_LOG_H
#define WEIR_UPLOAD_LOG_H

#include "domain/upload_state.h"

/* The log of an upload in the store: records with rising numbers from 1 on, each created with If-None-Match: *, so that
 * of any number of writers exactly one makes the next step. Thread-safe.
 *
 * No key of a log ever goes before GC_DAYS after its end. A record that is nothing but a tail is overwritten with an empty
 * object once a recorded part holds its bytes, or once they were discarded. Were it deleted, then somebody who had folded
 * the log before that record and was frozen since could create it anew, behind the back of a writer that is further. */

#define UPLOAD_LOG_MAX 99999999 /* the highest number: keys have 8 digits, and come sorted */

/* `tail`: the bytes of record->tail_bytes, NULL for none; sent as they are read, nothing is copied. *ret_head: bytes of the
 * JSON. ERR_STALE: a record of somebody else has that number already: stop, touch nothing else. (One of our own whose answer
 * was lost is success: exactly the same bytes by the same writer.) ERR_BUG: a record that contradicts itself. */
int upload_log_append(struct store *s, const char *raw_bucket, const char *video_id, uint64_t seq,
                      const struct upload_record *record, const struct store_body *tail, size_t *ret_head,
                      struct err *e) __attribute__((warn_unused_result));

/* The bytes of this record, which is nothing but a tail, are in a recorded part or were discarded: frees their space. */
int upload_log_spend(struct store *s, const char *raw_bucket, const char *video_id, uint64_t seq, struct err *e)
    __attribute__((warn_unused_result));

/* Reads the heads of the whole log, no tails. ERR_NOT_FOUND: there is none. ERR_BUG: it contradicts itself. */
int upload_log_fold(struct store *s, const char *raw_bucket, const char *video_id, struct upload_state *ret,
                    struct err *e) __attribute__((warn_unused_result));

/* The newest record and its number, without its parts' predecessors. ERR_NOT_FOUND: there is no log. */
int upload_log_newest(struct store *s, const char *raw_bucket, const char *video_id, struct upload_record *ret,
                      uint64_t *ret_seq, struct err *e) __attribute__((warn_unused_result));

/* Ends the log with a closed record; *ret is what stood before (kind UPLOAD_CLOSED when it was closed already). With
 * `unless_completing` a log that is completing is left as it is. */
int upload_log_close(struct store *s, const char *raw_bucket, const char *video_id, bool unless_completing,
                     struct upload_record *ret, struct err *e) __attribute__((warn_unused_result));

/* Overwrites every record of a closed log with an empty closed one: the keys stay, what they held is gone. What is left of
 * it still folds to UPLOAD_CLOSED, also when this was cut short. */
int upload_log_empty(struct store *s, const char *raw_bucket, const char *video_id, struct err *e)
    __attribute__((warn_unused_result));

#endif
