#ifndef WEIR_READY_H
#define WEIR_READY_H

#include "base/err.h"
#include "io/http_server.h"
#include "io/redis.h"
#include "io/store.h"

#include <stdbool.h>

/* Whether the services that a process depends on answer: a thread asks each of them every second, so /readyz itself
 * never waits. Says once in the log when one goes away and when it is back. Thread-safe. */

struct ready;

struct ready_options {
    struct store *store; /* asked for one key of `bucket` */
    const char *bucket;
    const char *create[2]; /* buckets that are created first when they are missing; NULL: none */
    struct redis *redis;   /* NULL: not needed */
};

/* Borrows what the options name until ready_free. */
int ready_new(const struct ready_options *options, struct ready **ret, struct err *e)
    __attribute__((warn_unused_result));
void ready_free(struct ready *r); /* ends the thread; NULL is fine */

bool ready_now(struct ready *r);

/* Answers /readyz: 200 {"ready":true,…}, or 503 with what is missing and why: {"ready":false,"store":"ok",
 * "redis":"connect 127.0.0.1:6379: Connection refused"}. */
int ready_respond(struct ready *r, struct http_request *rq, struct err *e);

#endif
