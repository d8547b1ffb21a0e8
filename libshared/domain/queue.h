#ifndef WEIR_QUEUE_H
#define WEIR_QUEUE_H

#include "base/err.h"
#include "base/id.h"
#include "io/redis.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The queue: jobs on Redis lists with reliable-queue semantics, and the index of videos that is kept by the same scripts.
 * Redis is a rebuildable index; the object store is the record. Every operation is one atomic Lua script
 * (queue/<name>.lua) that validates first and mutates after, uses Redis TIME, and may be repeated when its reply was lost.
 *
 * Common failures: ERR_TEMPORARY (Redis away: repeat). ERR_BUSY: the epoch key is missing, a rebuild is under way.
 * ERR_NOT_FOUND: the video is tombstoned (deleted). A call for an older generation than the video's hash holds changes
 * nothing and returns ERR_STALE. Thread-safe.
 *
 * docs/redis.md describes the keys, their fields and the scripts. */

/* Video and job states, in the order of contract.md. */
enum video_state {
    VIDEO_UPLOADING,
    VIDEO_WAITING,
    VIDEO_ACTIVE,
    VIDEO_DELAYED,
    VIDEO_COMPLETED,
    VIDEO_FAILED,
    VIDEO_CANCELLED,
    VIDEO_STATES
};
const char *video_state_name(enum video_state s);
bool video_state_parse(const char *name, enum video_state *ret);
bool video_state_terminal(enum video_state s); /* completed, failed, cancelled */

struct queue_options {
    uint64_t lease_ms;   /* JOB_LEASE_MS */
    uint64_t attempts;   /* JOB_ATTEMPTS */
    uint64_t max_stalls; /* JOB_MAX_STALLS */
    uint64_t backoff_ms, backoff_max_ms;
};

struct queue;
/* `redis` is borrowed. */
int queue_new(struct redis *redis, const struct queue_options *options, struct queue **ret, struct err *e)
    __attribute__((warn_unused_result));
void queue_free(struct queue *q);
struct redis *queue_redis(struct queue *q);

/* --- Admission (the leaky bucket) --- */

/* Reserves room for an upload: open jobs + live reservations < bound, else ERR_CONFLICT. The reservation
 * ends after ttl_ms unless renewed, dropped, or turned into a job by queue_enqueue. Repeating is harmless. */
int queue_admit(struct queue *q, const char *video_id, uint64_t bound, uint64_t ttl_ms, struct err *e)
    __attribute__((warn_unused_result));
int queue_admit_renew(struct queue *q, const char *video_id, uint64_t ttl_ms, struct err *e)
    __attribute__((warn_unused_result));
int queue_admit_drop(struct queue *q, const char *video_id, struct err *e) __attribute__((warn_unused_result));

/* --- The video index --- */

/* Puts a video that is being uploaded into the index (state uploading, generation 0). `record_json` is the text of its
 * .videos/<id>.json. Nothing changes when the video is known already. */
int queue_video_put(struct queue *q, const char *video_id, uint64_t created_ms, const char *record_json, struct err *e)
    __attribute__((warn_unused_result));
/* Forgets a video that never became one (aborted form upload): only in state uploading. */
int queue_video_forget(struct queue *q, const char *video_id, struct err *e) __attribute__((warn_unused_result));

/* One video as the index has it. Strings are owned; queue_video_release frees them. */
struct queue_video {
    char id[ID_VIDEO_SIZE];
    enum video_state state;
    uint64_t generation, attempts, stalls, releases;
    uint64_t created_ms, updated_ms, size_bytes;
    char *record;   /* JSON of .videos/<id>.json */
    char *progress; /* JSON {"percent":…} or NULL */
    char *outcome;  /* JSON of the newest published outcome, or NULL: what can be played */
    char *error;    /* sentence for the uploader, or NULL */
};
void queue_video_release(struct queue_video *v);

/* ERR_NOT_FOUND: unknown or deleted. ERR_BUSY: unknown, and a rebuild is under way, so look into the store. */
int queue_video_get(struct queue *q, const char *video_id, struct queue_video *ret, struct err *e)
    __attribute__((warn_unused_result));

/* Newest first, from below `cursor` (NULL: from the newest). Calls `each` up to `limit` times; *ret_next is the cursor of
 * the next page or "". state NULL: all. *ret_rebuilding: the epoch key is missing. */
typedef int queue_each_video(void *ctx, const struct queue_video *v, struct err *e);
#define QUEUE_CURSOR_SIZE 64
int queue_video_list(struct queue *q, const enum video_state *state, const char *cursor, unsigned limit,
                     queue_each_video *each, void *ctx, char ret_next[QUEUE_CURSOR_SIZE], bool *ret_rebuilding,
                     struct err *e) __attribute__((warn_unused_result));

/* --- Jobs --- */

struct queue_job_spec {
    const char *video_id;
    uint64_t generation;     /* ≥ 1 */
    const char *job_class;   /* NULL: "default" */
    unsigned priority;       /* 0 (first) … 2; default 1 */
    uint64_t created_ms;     /* of the video */
    uint64_t size_bytes;     /* of the source */
    const char *record_json; /* of the video */
};

/* Makes the job, or finds it; drops the reservation and the finishing mark, rings the bell. Never answers "full".
 * *ret_existed (may be NULL). */
int queue_enqueue(struct queue *q, const struct queue_job_spec *spec, bool *ret_existed, struct err *e)
    __attribute__((warn_unused_result));

/* A claimed job: what the token fences. */
struct queue_token {
    char job_id[ID_JOB_SIZE];
    char video_id[ID_VIDEO_SIZE];
    uint64_t generation;
    uint64_t fence;            /* rises with every claim, < 2^53 */
    char nonce[ID_NONCE_SIZE]; /* of this claim */
};
struct queue_job {
    struct queue_token token;
    uint64_t attempts; /* starts, this one included */
    uint64_t stalls, size_bytes, lease_ms;
    bool cancelled;   /* a cancel was asked for since an earlier reply to this nonce */
    bool exhausted;   /* past its attempts or stalls: write the outcome failed, ack; do not transcode */
    char *record;     /* JSON of the video's record; owned */
    char *last_error; /* of the attempt before, or NULL; owned */
};
void queue_job_release(struct queue_job *job);

/* Claims the next job of the classes (NULL-terminated, in order; NULL: {"default"}), highest priority first. ERR_NOT_FOUND
 * when there is none. Repeat with the same nonce until a reply comes, never use a nonce for a second claim. */
int queue_claim(struct queue *q, const char *worker, const char *nonce, const char *const *classes,
                struct queue_job *ret, struct err *e) __attribute__((warn_unused_result));

/* Extends the lease and saves progress (JSON, NULL: unchanged). ERR_STALE: somebody else holds the job, or it ended.
 * *ret_cancel: stop, the video was cancelled. */
int queue_heartbeat(struct queue *q, const struct queue_token *t, const char *progress_json, bool *ret_cancel,
                    struct err *e) __attribute__((warn_unused_result));

/* Ends the job as its outcome says: `state` completed, failed or cancelled; outcome_json the stored outcome. Repeating is
 * fine. ERR_STALE: not ours any more (the outcome stays right; the new owner will ack). */
int queue_ack(struct queue *q, const struct queue_token *t, enum video_state state, const char *outcome_json,
              const char *error, struct err *e) __attribute__((warn_unused_result));

/* queue_ack and then queue_claim in one step, which costs one round trip: the next job for whoever ends this one. When it
 * fails nothing was claimed, or it is repeated with the same nonce. */
struct queue_next {
    const char *worker, *nonce;
    const char *const *classes; /* as for queue_claim */
    bool got;
    struct queue_job job; /* when `got` */
};
int queue_ack_next(struct queue *q, const struct queue_token *t, enum video_state state, const char *outcome_json,
                   const char *error, struct queue_next *next, struct err *e) __attribute__((warn_unused_result));

/* Gives the job up after a temporary failure: delayed with exponential back-off and full jitter. */
int queue_fail(struct queue *q, const struct queue_token *t, const char *error, struct err *e)
    __attribute__((warn_unused_result));

/* Hands the job back to the head of its list, no attempt charged. */
int queue_release(struct queue *q, const struct queue_token *t, struct err *e) __attribute__((warn_unused_result));

/* Promotes due delayed jobs and reclaims expired leases (queue.md, also after a gap in scanning). Every api and worker
 * calls it each second. */
struct queue_scan {
    unsigned promoted, reclaimed, extended;
};
int queue_scan(struct queue *q, struct queue_scan *ret, struct err *e) __attribute__((warn_unused_result));

/* Waits up to wait_ms for the bell of a class (BZPOPMIN); 0 also when nothing rang: claim anyway. Threads that wait for
 * the same classes (the same pointer) share one connection. */
int queue_wait(struct queue *q, const char *const *classes, uint64_t wait_ms, struct err *e)
    __attribute__((warn_unused_result));

/* After the outcome `cancelled` was created for that generation: waiting and delayed become terminal, active gets the
 * flag by which its worker stops, ended ones are brought in line with the outcome. *ret_state: the state afterwards. */
int queue_cancel(struct queue *q, const char *video_id, uint64_t generation, const char *outcome_json,
                 enum video_state *ret_state, struct err *e) __attribute__((warn_unused_result));

/* Sets a video's terminal state from an outcome found in the store (rebuild, reconcile, adoption): idempotent. */
int queue_settle(struct queue *q, const char *video_id, uint64_t generation, enum video_state state,
                 const char *outcome_json, const char *error, struct err *e) __attribute__((warn_unused_result));

/* --- Deletion --- */
int queue_delete_begin(struct queue *q, const char *video_id, uint64_t tombstone_ms, struct err *e)
    __attribute__((warn_unused_result)); /* cancels the job, sets the tombstone */
int queue_delete_end(struct queue *q, const char *video_id, uint64_t tombstone_ms, struct err *e)
    __attribute__((warn_unused_result)); /* removes the video's keys, sets the tombstone again */
int queue_deleted(struct queue *q, const char *video_id, bool *ret, struct err *e) __attribute__((warn_unused_result));

/* --- Finishing marks: uploads and retries between the store's word and the job --- */
int queue_finishing_add(struct queue *q, const char *video_id, struct err *e) __attribute__((warn_unused_result));
int queue_finishing_remove(struct queue *q, const char *video_id, struct err *e) __attribute__((warn_unused_result));
/* Ids marked at least min_age_ms ago. */
int queue_finishing_list(struct queue *q, uint64_t min_age_ms,
                         int (*each)(void *ctx, const char *video_id, struct err *e), void *ctx, struct err *e)
    __attribute__((warn_unused_result));

/* --- Epoch and rebuild --- */
#define QUEUE_EPOCH_SIZE 33
int queue_epoch(struct queue *q, char ret[QUEUE_EPOCH_SIZE], struct err *e)
    __attribute__((warn_unused_result)); /* "" when missing */
/* Written last by a full rebuild; keeps an epoch that is there. ERR_CONFLICT unless `holder` still has the reconciler's
 * lease: then Redis was emptied again during the pass, or somebody else took over. */
int queue_epoch_begin(struct queue *q, const char *holder, struct err *e) __attribute__((warn_unused_result));

/* What the rebuild found in the store about one video; works without the epoch key, bypasses the bound, is idempotent and
 * never changes a video whose hash holds a newer generation or a live job of the same one. */
struct queue_restored {
    const char *video_id, *record_json;
    uint64_t created_ms, size_bytes, generation; /* generation 0: still uploading */
    enum video_state state;                      /* uploading, waiting (becomes a job), or terminal */
    const char *outcome_json;                    /* newest published outcome or NULL */
    const char *error;                           /* of a failed one, or NULL */
};
int queue_restore(struct queue *q, const struct queue_restored *v, struct err *e) __attribute__((warn_unused_result));

/* The reconciler's lease; ERR_CONFLICT when somebody else holds it. `holder` names one pass, not a process, so that a
 * lease that was lost in between is noticed. */
int queue_reconciler_lease(struct queue *q, const char *holder, uint64_t ttl_ms, struct err *e)
    __attribute__((warn_unused_result));
/* Extends it; ERR_CONFLICT also when it is gone. */
int queue_reconciler_renew(struct queue *q, const char *holder, uint64_t ttl_ms, struct err *e)
    __attribute__((warn_unused_result));
int queue_reconciler_release(struct queue *q, const char *holder, struct err *e) __attribute__((warn_unused_result));

/* --- Numbers --- */
struct queue_counts {
    uint64_t waiting, active, delayed, open, admitted, by_state[VIDEO_STATES];
    uint64_t oldest_waiting_ms; /* age of the longest waiting job, 0 without one */
};
int queue_counts(struct queue *q, struct queue_counts *ret, struct err *e) __attribute__((warn_unused_result));

#endif
