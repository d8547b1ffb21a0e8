#ifndef WEIR_HTTP_CLIENT_H
#define WEIR_HTTP_CLIENT_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* HTTP/1.1 requests over a pool of kept-alive connections; the one place that knows libcurl. Bodies are streamed in both
 * directions, so memory does not grow with them. No redirects, no proxy, no "Expect". One request is one attempt: a
 * connection that the server had closed while it was idle is replaced silently, everything else is the caller's to try
 * again. Thread-safe: each request in flight has a connection of its own. */

struct http_client;

struct http_client_options {
    uint64_t connect_timeout_ms;
    uint64_t stall_timeout_ms; /* no byte in either direction for so long ends a request */
};

int http_client_new(const struct http_client_options *options, struct http_client **ret, struct err *e)
    __attribute__((warn_unused_result));
void http_client_free(struct http_client *c); /* NULL is fine; no request may be running */

struct http_header {
    const char *name, *value;
};

/* Gives exactly `size` bytes (offset + size ≤ size_bytes) or fails; called again from an earlier offset when a dead
 * connection is replaced. */
struct http_body {
    uint64_t size_bytes;
    int (*read_at)(void *ctx, uint64_t offset, void *to, size_t size, struct err *e);
    void *ctx;
};

#define HTTP_FIELD_SIZE 512

/* A header of the answer that the caller wants: the last one of that name, "" when there is none or it is too long. */
struct http_field {
    const char *name; /* any case */
    char value[HTTP_FIELD_SIZE];
};

struct http_answer {
    unsigned status;           /* 0: there was no answer */
    struct http_field *fields; /* the request's */
    size_t field_count;
    int callback_result; /* what the body's read_at or the sink returned when that ended the request */
};

/* Receives the answer's body in order; status and fields are there. Non-zero (-kind with *e set, or positive) ends the
 * request. */
typedef int http_sink(void *ctx, const struct http_answer *answer, const void *data, size_t len, struct err *e);

struct http_request {
    const char *method;
    const char *url;                   /* encoded */
    const struct http_header *headers; /* sent as they are, beside Content-Length and Accept */
    size_t header_count;
    const struct http_body *body; /* NULL: none (a POST or PUT then says Content-Length: 0) */
    uint64_t stall_timeout_ms;    /* 0: the client's */
    struct http_field *fields;    /* wanted of the answer */
    size_t field_count;
    http_sink *sink; /* NULL: the answer's body is passed over */
    void *ctx;
};

/* 0 when there was an answer, whatever its status, and its body came wholly; else what a callback returned, or
 * ERR_TEMPORARY. *ret is always filled as far as things went. */
int http_client_run(struct http_client *c, const struct http_request *request, struct http_answer *ret, struct err *e)
    __attribute__((warn_unused_result));

#endif
