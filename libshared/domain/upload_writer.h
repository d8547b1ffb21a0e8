#ifndef WEIR_UPLOAD_WRITER_H
#define WEIR_UPLOAD_WRITER_H

#include "domain/queue.h"
#include "domain/upload_state.h"

/* What Redis knows of uploads: who writes to one (a lease, for speed; the log decides), the cached state of its log, and
 * which are open. Each call is one atomic script (queue/upload_*.lua) and may be repeated. Failures as in queue.h, and:
 * ERR_NOT_FOUND: the video was deleted (tombstone). ERR_BUSY: the epoch is missing. Thread-safe. */

#define UPLOAD_LEASE_MS 12000 /* renewed by upload_writer_renew every third of it */

struct upload_take {
    const char *video_id;
    const char *process; /* of the desk (upload_desk.h) at which the writer can be asked */
    const char *nonce;   /* of this writer */
    uint64_t bound;      /* QUEUE_MAX */
};

enum upload_take_verdict {
    UPLOAD_TAKEN,
    UPLOAD_HELD, /* by somebody else: *ret_holder is the process to ask */
    UPLOAD_FULL, /* no room in the queue */
};

/* Becomes the writer: a reservation in the queue, the lease, and a new fence; again with the same nonce: the same. *ret_epoch
 * and, when the cache has it, *ret_state (else all zero, seq 0): fold the log then. */
int upload_writer_take(struct queue *q, const struct upload_take *take, enum upload_take_verdict *ret_verdict,
                       char ret_holder[ID_NONCE_SIZE], uint64_t *ret_fence, char ret_epoch[QUEUE_EPOCH_SIZE],
                       struct upload_state *ret_state, struct err *e) __attribute__((warn_unused_result));
/* Extends lease and, with `receiving`, the reservation. ERR_STALE: the lease is somebody else's. */
int upload_writer_renew(struct queue *q, const char *video_id, const char *nonce, bool receiving, struct err *e)
    __attribute__((warn_unused_result));
/* The body has ended: drops the reservation; with `leave` the lease too, if it is ours. */
int upload_writer_rest(struct queue *q, const char *video_id, const char *nonce, bool leave, struct err *e)
    __attribute__((warn_unused_result));

/* The cached state. ERR_NOT_FOUND: deleted. *ret_state seq 0: not cached. *ret_held: somebody is its writer (NULL allowed). */
int upload_cache_get(struct queue *q, const char *video_id, char ret_epoch[QUEUE_EPOCH_SIZE],
                     struct upload_state *ret_state, bool *ret_held, char ret_holder[ID_NONCE_SIZE], struct err *e)
    __attribute__((warn_unused_result));
/* Replaces it whole, by a higher record number only and only under the epoch that was read before the log was folded or
 * written to; under another the entry is deleted instead. Keeps the upload in the index of open ones until it expires. */
int upload_cache_put(struct queue *q, const struct upload_state *s, const char *epoch, struct err *e)
    __attribute__((warn_unused_result));
/* After a 412: what it says is wrong. */
int upload_cache_drop(struct queue *q, const char *video_id, struct err *e) __attribute__((warn_unused_result));

/* --- Open uploads --- */

struct upload_limits {
    uint64_t per_client, in_all; /* open at once: UPLOADS_PER_CLIENT, UPLOADS_MAX */
};
enum upload_open_verdict { UPLOAD_OPENED, UPLOAD_CLIENT_LIMIT, UPLOAD_TOTAL_LIMIT };
/* A new one, counted until it ends or expires. */
int upload_open_add(struct queue *q, const char *video_id, const char *client, uint64_t expires_ms,
                    const struct upload_limits *limits, enum upload_open_verdict *ret, struct err *e)
    __attribute__((warn_unused_result));
/* It was finished, deleted or given up. The cached state of a finished one stays (HEAD) until it would have expired. */
int upload_open_end(struct queue *q, const char *video_id, const char *client, struct err *e)
    __attribute__((warn_unused_result));
/* Those that expired, up to `limit`; ids only. */
typedef int upload_each_id(void *ctx, const char *video_id, struct err *e);
int upload_open_expired(struct queue *q, unsigned limit, upload_each_id *each, void *ctx, struct err *e)
    __attribute__((warn_unused_result));

#endif
