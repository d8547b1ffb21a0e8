#ifndef WEIR_UPLOAD_H
#define WEIR_UPLOAD_H

#include "domain/layout.h"
#include "domain/upload_service.h"
#include "domain/upload_state.h"

#include <stdbool.h>
#include <stddef.h>

/* Receiving one file: the session that every way of uploading shares. Bytes go through the service's blocks straight into
 * the store as parts, nothing touches the local disk; a file under one part becomes a single object. What may be believed
 * stands in the upload's log (upload_log.h). The order is always: record, cache, answer.
 *
 *   form          upload_new → upload_begin → upload_write … → upload_finish → upload_free
 *   tus POST      upload_new → upload_begin [→ upload_write …] → upload_pause or upload_finish → upload_free
 *   tus PATCH     upload_find → upload_resume → upload_write … → upload_pause or upload_finish → upload_free
 *   tus HEAD      upload_look
 *
 * A session belongs to one thread and is the upload's only writer: in this process by the service's table, among processes
 * by a lease in Redis, and in truth by its WRITER record. Between two requests of a client the service keeps what it knows
 * of a writer for a while, without a thread, a block or a descriptor, so that the next one costs no new WRITER record.
 *
 * ERR_STALE from any call: somebody else has taken over, or closed the upload: nothing more may be written, 423 or 410. */

struct upload;

/* --- Looking --- */

/* What is recorded of an upload: from the cache, without asking the store, or by folding its log. ERR_NOT_FOUND: there is
 * none, or `secret` is not its own (compared in constant time). ERR_STALE: it was deleted, given up, or has expired: 410.
 * ERR_TEMPORARY, ERR_BUSY: can't tell now. */
int upload_find(struct upload_service *s, const char *video_id, const char *secret, struct upload_state *ret,
                struct err *e) __attribute__((warn_unused_result));

/* The same for those who want to know how far it is: a writer at work is asked to record what it has, and waited for, at
 * most 5 s (then what is recorded). One that is full but not finished is finished first; ERR_BUSY when that can't be told
 * yet: never a full offset for something that may still fail. */
int upload_look(struct upload_service *s, const char *video_id, const char *secret, struct upload_state *ret,
                struct err *e) __attribute__((warn_unused_result));

/* --- Beginning and taking up --- */

/* Before the body is read: takes a seat, nothing is stored yet. ERR_BUSY: refused for the reason in *ret_refusal. */
int upload_new(struct upload_service *s, enum upload_origin origin, const char *client, struct upload **ret,
               enum upload_refusal *ret_refusal, struct err *e) __attribute__((warn_unused_result));
const char *upload_video_id(const struct upload *u);
const struct upload_state *upload_recorded(const struct upload *u); /* changes with every call */

struct upload_spec {
    const char *title, *description, *filename; /* checked (video_check_text); unused for UPLOAD_PARTIAL */
    uint64_t length;                            /* bytes, or UPLOAD_LENGTH_UNKNOWN */
    const char *secret;                         /* of the upload's URL; NULL for UPLOAD_FORM */
    const char *metadata, *concat;              /* as received, NULL: none; of concat the URLs' secrets are not kept */
};
/* Before the first byte: stores the video's record (but for a partial one) and opens the log. A form becomes its writer at
 * once, any other with its first byte. ERR_TOO_LARGE: more than UPLOAD_MAX_SIZE. */
int upload_begin(struct upload *u, const struct upload_spec *spec, struct err *e) __attribute__((warn_unused_result));

/* Becomes the writer of an upload that was found; one that is at it elsewhere is asked to record what it has and to stop,
 * and waited for, bounded. ERR_BUSY: refused as *ret_refusal says (UPLOAD_LOCKED: the other one did not stop in time). Look
 * at upload_recorded for the offset: it may have risen. */
int upload_resume(struct upload_service *s, const struct upload_state *found, const char *client, struct upload **ret,
                  enum upload_refusal *ret_refusal, struct err *e) __attribute__((warn_unused_result));

/* --- Writing --- */

/* ERR_INVALID: another length was declared before, or less than what is there. The same again is fine. ERR_TOO_LARGE as
 * above. Recorded with the next record. */
int upload_declare(struct upload *u, uint64_t length, struct err *e) __attribute__((warn_unused_result));

/* What comes from here on counts only once upload_keep says so: the body has a checksum. */
void upload_hold(struct upload *u);
int upload_keep(struct upload *u, struct err *e) __attribute__((warn_unused_result));
void upload_discard(struct upload *u);

/* ERR_TOO_LARGE: more than the declared length, or than UPLOAD_MAX_SIZE in all. ERR_BUSY: no memory came free in time. */
int upload_write(struct upload *u, const void *data, size_t len, struct err *e) __attribute__((warn_unused_result));
/* The same without a copy: where the next bytes may be put, before upload_wrote says how many came. 0 bytes: there is no
 * room at hand, so upload_write them. Good until the next call. */
void *upload_room(struct upload *u, size_t *ret_size);
int upload_wrote(struct upload *u, size_t len, struct err *e) __attribute__((warn_unused_result));

/* Readable when somebody wants something of this writer while it waits for its client; then call upload_attend, which
 * records what it has. ERR_STALE: that was done, and it was told to stop: end the request without an answer. */
int upload_wake_fd(const struct upload *u);
int upload_attend(struct upload *u, struct err *e) __attribute__((warn_unused_result));

/* Records what was received, also after a failure to read more. Its offset may be acknowledged afterwards. */
int upload_pause(struct upload *u, struct err *e) __attribute__((warn_unused_result));

/* Makes the next bytes of a final upload (concatenation) from a finished partial one: copied inside the store where sizes
 * allow, else streamed. */
int upload_append_partial(struct upload *u, const struct upload_state *partial, struct err *e)
    __attribute__((warn_unused_result));

/* --- Ending --- */

/* Every byte is there: completes the object and makes its job (none for UPLOAD_PARTIAL, whose *ret stays untouched).
 * Idempotent over processes: whoever is second finds it done. *ret is the video as it is then (queue_video_release).
 * ERR_NOT_FOUND: it was deleted meanwhile. Other failures from the completing record on leave it to the reconciler, which
 * finishes what can be finished: *ret_stored says whether the bytes are safe. */
int upload_finish(struct upload *u, struct queue_video *ret, bool *ret_stored, struct err *e)
    __attribute__((warn_unused_result));

/* Ends the session. A form that was not finished is taken back: nothing is left of it but its closed log. Any other waits
 * for its client; what was not recorded is forgotten. NULL is fine. */
void upload_free(struct upload *u);

/* DELETE by its client. ERR_CONFLICT: it is finished, so it is a video now (never for UPLOAD_PARTIAL). */
int upload_delete(struct upload_service *s, const struct upload_state *found, struct err *e)
    __attribute__((warn_unused_result));

/* Where its bytes come together. */
struct layout_key upload_source(enum upload_origin origin, const char *video_id);

/* Its client may come back to it. Others, a form or a final upload of a concatenation, go when their request fails. */
bool upload_facts_resumable(const struct upload_facts *f);

/* Finishes one whose bytes are all recorded, as its client would; *state is what is recorded then. Failures as of
 * upload_resume and upload_finish. */
int upload_finish_full(struct upload_service *s, struct upload_state *state, struct err *e)
    __attribute__((warn_unused_result));

/* For the reconciler: brings an upload whose newest record is `completing` to its end without its writer, which may still
 * be at it too. *ret_done false: the bytes are not there (they were never acknowledged). */
int upload_complete(const struct library *l, const struct upload_state *completing, bool *ret_done, struct err *e)
    __attribute__((warn_unused_result));

#endif
