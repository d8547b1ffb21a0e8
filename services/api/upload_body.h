#ifndef WEIR_API_UPLOAD_BODY_H
#define WEIR_API_UPLOAD_BODY_H

#include "tus_call.h"

/* The body of a POST or PATCH on its way into a session. */

struct upload_result {
    bool refused;   /* as `reply` says; what came before the reason is recorded */
    bool finished;  /* every byte was there, and it has its job */
    bool unsettled; /* every byte is safe, but it has no job yet: the reconciler will see to it */
    struct tus_reply reply;
};

/* Declares `length` (TUS_UNKNOWN: nothing), reads the body to its end, checks it, and records it or finishes the upload.
 * When the body is cut off, or something else goes wrong, what can be kept is recorded all the same. ERR_STALE: deleted, or
 * taken over by somebody else. */
int upload_receive(struct tus_call *c, struct upload *u, uint64_t length, struct upload_result *ret, struct err *e)
    __attribute__((warn_unused_result));

/* Every byte is in the session: makes an object and a job of them. */
int upload_settle(const struct tus_call *c, struct upload *u, struct upload_result *ret, struct err *e)
    __attribute__((warn_unused_result));

#endif
