#ifndef WEIR_UPLOAD_DESK_H
#define WEIR_UPLOAD_DESK_H

#include "base/id.h"
#include "io/redis.h"

/* Where other processes ask for something of an upload that is being written here: a thread that waits at a Redis list of
 * this process. What is asked is lost with Redis or the process: the asker looks at the effect, not for an answer. */

enum upload_ask {
    UPLOAD_ASK_RECORD, /* record what you have, and go on: somebody wants to know the offset */
    UPLOAD_ASK_STOP,   /* record what you have, and leave: somebody takes over */
};

struct upload_desk;

/* Called by the desk's thread; must not block. */
typedef void upload_desk_call(void *ctx, const char *video_id, enum upload_ask ask);

int upload_desk_new(struct redis *redis, upload_desk_call *call, void *ctx, struct upload_desk **ret, struct err *e)
    __attribute__((warn_unused_result));
void upload_desk_free(struct upload_desk *d);                 /* NULL is fine */
const char *upload_desk_process(const struct upload_desk *d); /* its name: ID_NONCE_SIZE */

/* Asks the desk of another process. */
int upload_desk_ask(struct redis *redis, const char *process, const char *video_id, enum upload_ask ask, struct err *e)
    __attribute__((warn_unused_result));

#endif
