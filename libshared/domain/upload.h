#ifndef WEIR_UPLOAD_H
#define WEIR_UPLOAD_H

#include "domain/upload_record.h"
#include "domain/upload_service.h"

#include <stdbool.h>
#include <stddef.h>

/* Receiving one file: the session that every way of uploading shares. Bytes go through the service's blocks straight into
 * the store as parts, nothing touches the local disk; a file under one part becomes a single object. What may be believed
 * stands in the upload's log (upload_log.h), each record of which is written before anything that relies on it.
 *
 *   upload_new → upload_begin → upload_write … → upload_finish → upload_free
 *
 * An upload belongs to one thread. After any failure only upload_free. */

struct upload;

/* Before the body is read: takes a seat, nothing is stored yet. ERR_BUSY: refused for the reason in *ret_refusal. */
int upload_new(struct upload_service *s, const char *client, struct upload **ret, enum upload_refusal *ret_refusal,
               struct err *e) __attribute__((warn_unused_result));
const char *upload_video_id(const struct upload *u);

/* Before the first byte: stores the video's record, opens the log. The texts were checked (video_check_text). */
int upload_begin(struct upload *u, const char *title, const char *description, const char *filename, struct err *e)
    __attribute__((warn_unused_result));

/* ERR_TOO_LARGE: more than UPLOAD_MAX_SIZE in all. ERR_STALE: somebody else has closed the upload: deleted it, or took it
 * for abandoned. ERR_BUSY: no memory came free in time. */
int upload_write(struct upload *u, const void *data, size_t len, struct err *e) __attribute__((warn_unused_result));

/* Every byte is there: completes the object and makes its job. *ret is the video as it is then (queue_video_release).
 * ERR_NOT_FOUND: it was deleted meanwhile. Other failures from the completing record on leave it to the reconciler, which
 * finishes what can be finished: *ret_stored says whether the bytes are safe. */
int upload_finish(struct upload *u, struct queue_video *ret, bool *ret_stored, struct err *e)
    __attribute__((warn_unused_result));

/* Ends the session. Unless it was finished or is completing, nothing is left of it but its closed log. NULL is fine. */
void upload_free(struct upload *u);

/* For the reconciler: brings an upload whose newest record is `completing` to its end without its writer, which may still
 * be at it too. *ret_done false: the bytes are not there (they were never acknowledged). */
int upload_complete(const struct library *l, const char *video_id, const struct upload_record *completing,
                    bool *ret_done, struct err *e) __attribute__((warn_unused_result));

#endif
