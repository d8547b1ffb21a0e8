#ifndef WEIR_HTTP_SERVER_H
#define WEIR_HTTP_SERVER_H

#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* An HTTP/1.1 server as the services see it: a table of routes, a thread per request, streaming bodies both ways. What
 * is below it, one of two back ends, does not show but for what is said here.
 *
 * Before a handler runs the server has refused, with problem+json and a closed connection, what is ambiguous or too big
 * (400: both Transfer-Encoding and Content-Length, several of either, a Content-Length that is not all digits, more than
 * 63 headers, lines that are no headers or do not end in CR LF, no or several Host; 431: headers over 16 KiB; 408: headers
 * not complete in time). It has answered 404, 405 with Allow, 400 for paths and queries that could be read in two ways,
 * 413, OPTIONS (CORS preflight, unless a route takes it), and 403 for what a page of another origin may not change: a browser
 * sends some POSTs without asking first. Every answer carries X-Request-ID. Logs show a path up to the first '~': what
 * stands behind it is a secret.
 *
 * Threads. Of N (more than 64; below that half instead of 32 and a quarter instead of 8)
 *   - N − 32 may read bodies; a further request for a route with `body` gets 503 with Retry-After before its body;
 *   - N − 8 may serve requests; further ones get 503, but for routes with `always` set (health, metrics).
 *
 * HTTP_POLL takes everything that RFC 9112 allows in a body: chunks, whose extensions are ignored, and trailers; what is
 * malformed in it is ERR_INVALID where it stands, and every byte before it is given out first. Threads are made when
 * requests need them; a connection that waits, idle or with half a head, holds none, and no memory but a few hundred bytes
 * when nothing of it is there. Up to 10 000 connections are kept, or as many as three quarters of RLIMIT_NOFILE allow,
 * which is raised as far as it may be; then those that wait make room for new ones, idle ones first, oldest first. When
 * more than 8 of one peer have been sending their headers for more than a second, the oldest get 408 (trusted proxies
 * excepted). Every connection is closed so that the client can read the answer.
 *
 * HTTP_CIVETWEB reads no bodies: a request with one gets 413 and is the last of its connection. N threads are made at the
 * start. A connection that waits for its first headers, or is idle between requests, holds one too. So when fewer than 32
 * are free, those that have waited half a second are closed, oldest first; and at any time, when more than 8 of one peer have
 * waited a second for first headers, the oldest are closed (trusted proxies excepted). A burst of new connections is thus
 * served however large it is, and health checks are answered within a second. */

struct http_server;
struct http_request;

/* Answers the request by exactly one http_respond… or http_begin…http_end and returns 0; or answers nothing and returns
 * -kind with *e set, and the server answers with the problem that http_status_of gives and logs it once. */
typedef int http_handler(struct http_request *rq, void *ctx, struct err *e);

struct http_field {
    const char *name, *value; /* name NULL ends a list; a NULL value leaves the field out */
};

struct http_route {
    const char *method; /* "GET" serves HEAD too, without the body; NULL ends the table */
    const char *path;   /* "/api/v1/videos/{id}/retry"; a last segment "{rest...}" takes the remaining path */
    http_handler *handler;
    bool body;   /* takes a request body; others refuse one over 64 KiB */
    bool always; /* served by the threads kept free, also when the server is full; its client has a second to take it */
    bool cors;   /* pages of other origins may use it, see cors_origins */
    int busy;    /* status when no thread is free for it; 0: 503 */
    struct http_field mark; /* in what the server itself answers at this path: 405, 403, 503, …; name NULL: nothing */
};

enum http_backend {
    HTTP_CIVETWEB, /* a thread per connection; no request bodies */
    HTTP_POLL,     /* a loop for accepting, headers and idle connections; a thread per request */
};

/* Strings are kept by reference. */
struct http_server_options {
    const char *host;
    uint16_t port; /* 0: a free one */
    const struct http_route *routes;
    void *ctx;                      /* given to every handler */
    unsigned threads;               /* HTTP_THREADS */
    const char *trusted_proxies;    /* TRUSTED_PROXIES, "" for none */
    uint64_t header_timeout_ms;     /* from the first byte of the headers to their last, whatever comes; 0: 10000 */
    uint64_t keep_alive_timeout_ms; /* idle between two requests; 0: 60000; civetweb knows header_timeout_ms only */
    uint64_t idle_timeout_ms;       /* body: no byte for so long → ERR_TIMEOUT; 0: 60000 */
    uint64_t stall_timeout_ms;      /* answer: nothing of it taken for so long → ERR_DISCONNECTED; 0: 30000 */
    uint64_t min_rate;              /* body: bytes per second over a minute, below → ERR_TIMEOUT; 0: off */
    uint64_t min_rate_window_ms;    /* that minute; 0: 60000 */
    enum http_backend backend;
    bool method_override; /* X-HTTP-Method-Override replaces the method before a route is looked for */
    /* "*", or origins separated by commas, or NULL: none. One that is listed by name is answered by name, with
     * Access-Control-Allow-Credentials, any other under "*" with "*"; with Vary: Origin unless the list is "*". */
    const char *cors_origins;
    const char *cors_methods, *cors_headers, *cors_expose; /* comma-separated, NULL: none */
};

int http_server_start(const struct http_server_options *options, struct http_server **ret, struct err *e)
    __attribute__((warn_unused_result));
uint16_t http_server_port(const struct http_server *s);
/* Stops accepting, closes idle connections, lets running requests end for up to grace_ms, then cuts their connections off
 * (reads and writes fail with ERR_DISCONNECTED) and waits until their handlers have returned; frees. NULL is fine. HTTP_POLL
 * serves those, too, whose requests are on their way, and ends no connection before its client has read the answer. */
void http_server_stop(struct http_server *s, uint64_t grace_ms);
/* True once http_server_stop was called: long answers (events) end themselves. */
bool http_stopping(const struct http_request *rq);

/* --- Request. Strings live as long as the request. --- */
const char *http_method(const struct http_request *rq);
const char *http_path(const struct http_request *rq);                         /* decoded, without the query */
const char *http_path_param(const struct http_request *rq, const char *name); /* decoded; NULL when not in the route */
const char *http_header(const struct http_request *rq, const char *name);     /* NULL when absent; first of several */
size_t http_header_count(const struct http_request *rq, const char *name);    /* how many there are of that name */
/* Decoded value of a query parameter into `out`, if one is given. ERR_INVALID: it does not fit. */
int http_query(const struct http_request *rq, const char *name, char *out, size_t size, bool *ret_given, struct err *e)
    __attribute__((warn_unused_result));
/* False when the request has no Content-Length. */
bool http_content_length(const struct http_request *rq, uint64_t *ret);
const char *http_peer(const struct http_request *rq);              /* client address, behind trusted proxies */
const char *http_peer_group(const struct http_request *rq);        /* for limits, see http_address_group */
const struct log_ids *http_log_ids(const struct http_request *rq); /* request id */

/* Reads what has come of the body, up to `size` bytes, waiting for the first; *ret_len 0 is its end. The first call sends
 * 100 Continue when the client waits for it. ERR_DISCONNECTED: the client went away before the end. ERR_INVALID: chunks
 * that are none. ERR_TIMEOUT: idle or too slow; only time spent waiting for the client counts, so a handler may be as slow
 * as it has to be. */
int http_read(struct http_request *rq, void *data, size_t size, size_t *ret_len, struct err *e)
    __attribute__((warn_unused_result));

/* As http_read, but returns at once, with *ret_woken true and *ret_len 0, when wake_fd (−1: none) is readable while no byte
 * of the body is there; the caller empties it. */
int http_read_or_wake(struct http_request *rq, int wake_fd, void *data, size_t size, size_t *ret_len, bool *ret_woken,
                      struct err *e) __attribute__((warn_unused_result));
/* A body was announced: a Content-Length over 0, or chunks (of which there may be none). */
bool http_has_body(const struct http_request *rq);
/* A field of the trailer section (RFC 9112, 7.1.2), once http_read has come to the end; NULL when absent. */
const char *http_trailer(const struct http_request *rq, const char *name);

/* --- Answer --- */

/* An interim answer (1xx) with nothing but header fields, before any other; clients of HTTP/1.0 get none. */
void http_inform(struct http_request *rq, int status, const struct http_field *fields);

/* One answer with the whole body in memory, sent at once with its headers. Bodies that were not read are drained up to
 * 64 KiB (chunked ones as far as they have come; none when threads are scarce), else the connection is closed after the
 * answer in a way that lets the client read it (shutdown; what still comes is read for up to 5 s, by no thread of the pool).
 * A failure to send is not reported: nobody is there. Control characters in field values are replaced by '?'. */
void http_respond(struct http_request *rq, int status, const struct http_field *fields, const char *content_type,
                  const void *body, size_t len);
void http_respond_json(struct http_request *rq, int status, const struct http_field *fields, const struct buf *json);

/* RFC 9457: {"type": "urn:weir:error:<type>", "title", "status", "detail", "request_id"}; 503 gets Retry-After: 5 unless
 * `fields` brings one. The title is the status's reason unless given. */
void http_problem(struct http_request *rq, int status, const char *type, const struct http_field *fields,
                  const char *detail);
/* The status and type for a failure's kind. The texts of ERR_TEMPORARY and ERR_BUG are for the log only. */
int http_status_of(enum err_kind kind, const char **ret_type);

/* A streamed answer. length UINT64_MAX: not known (chunked). For HEAD http_write does nothing. When the handler fails
 * afterwards the connection is cut, so that the answer does not look complete. A client that takes nothing for
 * stall_timeout_ms is gone. */
int http_begin(struct http_request *rq, int status, const struct http_field *fields, const char *content_type,
               uint64_t length, struct err *e) __attribute__((warn_unused_result));
int http_write(struct http_request *rq, const void *data, size_t len, struct err *e)
    __attribute__((warn_unused_result)); /* ERR_DISCONNECTED: the client is gone; return it, nothing more is sent */
int http_end(struct http_request *rq, struct err *e) __attribute__((warn_unused_result));

/* Handlers for every service's table: /healthz (200 while the process runs), /metrics. */
int http_healthz(struct http_request *rq, void *ctx, struct err *e);
int http_metrics(struct http_request *rq, void *ctx, struct err *e);

#endif
