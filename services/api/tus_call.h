#ifndef WEIR_API_TUS_CALL_H
#define WEIR_API_TUS_CALL_H

#include "api.h"
#include "domain/upload.h"
#include "proto/tus_reply.h"
#include "proto/tus_url.h"

/* One request to the routes of resumable uploads, between HTTP and the protocol's core (proto/tus.h). Whoever answers it
 * returns what a handler returns: 0, or a failure when nobody is there to be answered. */

#define TUS_PATH "/api/v1/uploads/"

struct tus_call {
    const struct api *api;
    struct http_request *rq;
    struct tus_limits limits;
    struct tus_command command;
    struct tus_name name; /* of the upload: from the path, or of a new one */
    struct log_ids ids;
    bool told; /* the log was told already of what went wrong: it gets one line for it */
};

/* Takes the request apart. False: it was answered. */
bool tus_call_begin(struct tus_call *c, const struct api *api, struct http_request *rq, enum tus_method method)
    __attribute__((warn_unused_result));
/* The same for the routes with {upload}. */
bool tus_call_begin_named(struct tus_call *c, const struct api *api, struct http_request *rq, enum tus_method method)
    __attribute__((warn_unused_result));

/* The upload as the core sees it; what is borrowed is the state's. */
struct tus_upload tus_call_view(const struct upload_state *s, bool finished);

/* Answers. */
int tus_call_send(const struct tus_call *c, const struct tus_reply *reply);
void tus_call_inform(const struct tus_call *c, const struct tus_reply *reply); /* an interim one */
int tus_call_send_json(const struct tus_call *c, const struct tus_reply *reply, const struct buf *json);
/* By the kind of the failure, which is logged. */
int tus_call_fail(const struct tus_call *c, struct err *e);
/* There is no seat for it (503), or somebody else writes to it (423). */
int tus_call_refuse(const struct tus_call *c, enum upload_refusal refusal, struct err *e);

#endif
