#ifndef WEIR_QUEUE_CALL_H
#define WEIR_QUEUE_CALL_H

#include "queue.h"
#include "queue_bell.h"

/* Shared by the sources of the queue: the object, its scripts, and how one is called. */

struct queue {
    struct redis *redis;
    struct queue_options options;
    struct queue_bell bell;
};

/* Made from queue/<name>.lua at build. */
extern const struct redis_script queue_script_ack, queue_script_admit, queue_script_admit_renew, queue_script_cancel,
    queue_script_claim, queue_script_counts, queue_script_delete_begin, queue_script_delete_end, queue_script_enqueue,
    queue_script_epoch_begin, queue_script_fail, queue_script_finishing_add, queue_script_finishing_list,
    queue_script_heartbeat, queue_script_reconciler_lease, queue_script_reconciler_release, queue_script_release,
    queue_script_restore, queue_script_scan, queue_script_settle, queue_script_video_forget, queue_script_video_get,
    queue_script_video_list, queue_script_video_put;

#define QUEUE_PREFIX "{weir}:" /* of every key */
#define QUEUE_MAX_CLASSES 16   /* of one claim */

/* Calls a script with the words of `arg`. Its verdict becomes the result; on OK *ret (may be NULL) is the whole answer,
 * whose element 0 is the verdict. `about` names the video or job for errors. */
int queue_call(struct queue *q, const struct redis_script *script, const char *about, size_t args,
               const char *const *arg, struct redis_reply **ret, struct err *e) __attribute__((warn_unused_result));
/* The same for scripts that answer many calls at once; the first `shared` words are the same for all. */
int queue_call_joint(struct queue *q, const struct redis_script *script, const char *about, size_t shared, size_t args,
                     const char *const *arg, struct redis_reply **ret, struct err *e)
    __attribute__((warn_unused_result));

/* queue_call with the arguments counted. */
#define QUEUE_CALL(q, script, about, ret, e, ...)                                                                      \
    queue_call(q, &queue_script_##script, about, sizeof((const char *[]){__VA_ARGS__}) / sizeof(const char *),         \
               (const char *const[]){__VA_ARGS__}, ret, e)

/* A number in an answer, which scripts give as integer or text; 0 when absent or malformed. */
uint64_t queue_number(const struct redis_reply *reply);

/* A copy of a text in an answer; NULL when absent or empty, then also when there is no memory: *ret_failed. */
char *queue_text(const struct redis_reply *reply, bool *ret_failed);

#endif
