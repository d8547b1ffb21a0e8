#ifndef WEIR_QUEUE_CALL_H
#define WEIR_QUEUE_CALL_H

#include "queue.h"

/* Shared by the sources of the queue: the object, its scripts, and how one is called. */

struct queue {
    struct redis *redis;
    struct queue_options options;
};

/* Made from queue/<name>.lua at build. */
#define QUEUE_SCRIPTS(X)                                                                                               \
    X(ack)                                                                                                             \
    X(admit) X(admit_renew) X(cancel) X(claim) X(counts) X(delete_begin) X(delete_end) X(enqueue) X(fail)              \
        X(finishing_add) X(finishing_list) X(heartbeat) X(reconciler_lease) X(reconciler_release) X(release)           \
            X(restore) X(scan) X(settle) X(video_forget) X(video_get) X(video_list) X(video_put)
#define QUEUE_SCRIPT_DECLARE(name) extern const struct redis_script queue_script_##name;
QUEUE_SCRIPTS(QUEUE_SCRIPT_DECLARE)

#define QUEUE_PREFIX "{weir}:" /* of every key */

/* Calls a script with the words of `arg`. Its verdict becomes the result; on OK *ret (may be NULL) is the whole answer,
 * whose element 0 is the verdict. `about` names the video or job for errors. */
int queue_call(struct queue *q, const struct redis_script *script, const char *about, size_t args,
               const char *const *arg, struct redis_reply **ret, struct err *e) __attribute__((warn_unused_result));

/* queue_call with the arguments counted. */
#define QUEUE_CALL(q, script, about, ret, e, ...)                                                                      \
    queue_call(q, &queue_script_##script, about, sizeof((const char *[]){__VA_ARGS__}) / sizeof(const char *),         \
               (const char *const[]){__VA_ARGS__}, ret, e)

/* A number in an answer, which scripts give as integer or text; 0 when absent or malformed. */
uint64_t queue_number(const struct redis_reply *reply);

/* A copy of a text in an answer; NULL when absent or empty, then also when there is no memory: *ret_failed. */
char *queue_text(const struct redis_reply *reply, bool *ret_failed);

#endif
