#ifndef WEIR_HTTP_INTERNAL_H
#define WEIR_HTTP_INTERNAL_H

#include "http_server.h"
#include "proto/http_address.h"
#include "proto/http_request.h"
#include "proto/http_stream.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/uio.h>

/* What the files of the HTTP server share: http_server.c (routes, limits, requests), http_cors.c, http_body.c and
 * http_answer.c (bytes in and out), http_socket.c (descriptors), and below them one of two back ends: http_civetweb.c, the
 * only one that knows civetweb, with http_guard.c (waiting and lingering connections); or http_poll.c with http_loop.c and
 * http_pool.c, see http_poll.h. */

#define HTTP_ANSWER_SIZE (24 * 1024) /* an answer's header block: it may repeat most of the request's */
#define HTTP_STALL_ALWAYS_MS 1000    /* stall_timeout_ms of routes with `always` */
#define HTTP_DRAIN_MAX (64 * 1024)   /* unread body that is read to keep the connection */
#define HTTP_DRAIN_MS 1000
#define HTTP_BODY_CHUNKED UINT64_MAX
#define HTTP_ID_SIZE 65

enum http_answer_state { ANSWER_NONE, ANSWER_STREAMING, ANSWER_DONE };

struct http_request {
    struct http_server *server;
    void *connection; /* the back end's */
    int fd;

    const struct http_route *route; /* NULL until it is found */
    struct http_message message;
    struct http_refusal refusal; /* status 0: none */
    struct log_ids ids;
    uint64_t start_us;
    unsigned others; /* requests that were being served when this one came */

    /* Body */
    uint64_t body_left; /* bytes that the client still owes; HTTP_BODY_CHUNKED until the end of a chunked one */
    bool continue_sent;
    bool counted;                            /* among the server's `bodies` */
    uint64_t window_bytes, window_waited_ms; /* since the minimum rate was looked at */

    /* Answer */
    enum http_answer_state answer;
    int status;
    bool is_head, close, linger, broken, chunked;
    bool cors;            /* the path's answers say what other origins may do */
    uint64_t answer_left; /* of a streamed answer whose length is known */
    uint64_t sent;        /* bytes of body */
    size_t out_len;       /* of `out`, not sent yet */
    bool out_full;

    /* Never cleared, only written before they are read: a request costs what it uses. */
    char id[HTTP_ID_SIZE];
    char peer[HTTP_ADDRESS_SIZE], group[HTTP_ADDRESS_SIZE];
    char path[HTTP_PATH_SIZE];
    struct http_header headers[HTTP_MAX_HEADERS + 1];
    struct http_match match;
    char out[HTTP_ANSWER_SIZE];
};

enum http_phase {
    PHASE_FREE,
    PHASE_WAITING, /* for the first headers of a connection, or idle between two requests */
    PHASE_BUSY,
};

/* One thread of the pool with the connection that it serves at the moment. */
struct http_worker {
    struct http_server *server;
    pthread_mutex_t
        lock; /* for the members below, which the guard looks at; the descriptor is closed only in PHASE_FREE */
    enum http_phase phase;
    bool is_first;     /* no request was served on this connection yet */
    uint64_t since_ms; /* in this phase */
    int evicted;       /* status for a connection that the guard cut off, or 0 */
    void *connection;  /* civetweb's; or the pool that the thread belongs to */
    int fd;            /* -1 until it is looked for */
    pthread_t thread;  /* http_pool.c's */
    bool started, ended;

    uint64_t date_s; /* what date_text says; the worker's own */
    char date_text[32];
    struct http_request rq;
};

struct http_server {
    struct http_server_options options;
    struct http_networks trusted;
    const struct http_backend_ops *ops;
    void *backend;
    uint16_t port;
    int quiet[2];         /* a pipe that stands in for the listening socket while stopping */
    char start_text[256]; /* why the back end could not start */

    struct http_worker *workers;
    _Atomic unsigned worker_count; /* those that have begun */
    unsigned max_bodies, max_requests, max_connections;
    _Atomic unsigned connections; /* that hold a thread, or wait for one */
    _Atomic unsigned requests, bodies;
    _Atomic bool stopping, cutting; /* http_server_stop was called; its grace is over */
    uint64_t id_seed;               /* request ids are this and a number, mixed */
    _Atomic uint64_t id_count;

    struct http_guard *guard;
};

/* A connection that was answered before it had sent everything: a while is granted to read the answer. */
struct http_linger {
    uint64_t end_ms, quiet_ms, left;
};

struct http_backend_ops {
    int (*start)(struct http_server *s, struct err *e);
    void (*stop_accepting)(struct http_server *s);
    bool (*is_quiet)(struct http_server *s); /* after that: nobody is served or waits for something */
    void (*stop)(struct http_server *s);     /* also after a start that failed */
    /* The descriptor of the worker's connection, -1 when it is gone. Called with the worker's lock held. */
    int (*fd)(struct http_worker *w);
    /* Bytes of the body that have arrived, up to `size`; 0 when there are none at the moment, or it has ended, which
     * body_left tells of a chunked one; -ERR_DISCONNECTED, -ERR_INVALID. Never waits. NULL: no bodies are read. */
    int64_t (*read)(struct http_request *rq, void *data, size_t size);
    const char *(*trailer)(const struct http_request *rq, const char *name);
    /* The connection ends with this request. With `linger` the client may still be sending. */
    void (*close)(struct http_request *rq, bool linger);
};
extern const struct http_backend_ops http_civetweb, http_poll;

/* --- http_server.c, called by the back end --- */
void http_request_init(struct http_worker *w, void *connection, int fd);
/* Serves the request whose message and peer are filled in; or answers its refusal and closes the connection. */
void http_serve(struct http_worker *w);
/* The refusal of what could not be read as a request: 400, 408, 431, 505, 503. */
struct http_refusal http_refusal_of(int status, const char *detail);
/* For logs: what stands behind a '~' in a path is a secret. */
const char *http_shown_path(const struct http_request *rq, char out[HTTP_PATH_SIZE]);

/* --- http_cors.c --- */
void http_cors_fields(struct http_request *rq,
                      void (*put)(struct http_request *rq, const char *name, const char *value));
/* False for a request that may change something, and comes from a page that must not: a form of any origin is sent, and a
 * script's plain POST, without a preflight. Browsers tell by Sec-Fetch-Site, older ones and those without TLS by Origin. */
bool http_cors_admits(const struct http_request *rq);

/* --- http_answer.c --- */
/* How long to wait for a client that takes nothing. */
int http_stall_ms(const struct http_request *rq);

/* --- http_body.c --- */
/* Reads what is left of a small body, so that the connection can go on. False when it did not come in time. */
bool http_drain(struct http_request *rq);
/* The same with what has arrived, without waiting. */
bool http_drain_arrived(struct http_request *rq);

/* --- http_civetweb.c --- */
int http_civetweb_fd(struct http_worker *w);
/* The peer's address of a waiting connection; false when it isn't known yet. Call with the worker's lock held. */
bool http_civetweb_peer(struct http_worker *w, char out[HTTP_ADDRESS_SIZE]);

/* --- http_guard.c --- */
/* One thread that looks after connections nobody serves: it cuts off those that hold a thread while they only wait
 * (headers late; more than 8 of one peer; the oldest ones when threads get scarce), and reads what clients still send
 * after an early answer, so that they can read it. */
int http_guard_start(struct http_server *s, struct err *e) __attribute__((warn_unused_result));
void http_guard_stop(struct http_server *s);
void http_guard_wake(struct http_server *s);
/* Takes the descriptor (a duplicate): reads and forgets for a while, then closes it. */
void http_guard_linger(struct http_server *s, int fd);

/* --- http_socket.c --- */
/* The descriptor of this process that is the accepted connection between our port and that peer; -1 when there is none. */
int http_socket_find(uint16_t local_port, const char *peer, uint16_t peer_port);
int http_socket_find_listener(uint16_t local_port);
/* Sends everything; false when the client is gone or takes nothing for stall_ms. */
bool http_socket_send(int fd, struct iovec *parts, size_t count, int stall_ms);
/* Bytes that can be read at once; -1 when the client is gone and nothing is left. */
int64_t http_socket_available(int fd);
/* The peer's address as text; false for what is no TCP socket. */
bool http_socket_peer(const struct sockaddr_storage *end, char text[HTTP_ADDRESS_SIZE]);
/* Reads and forgets. False when the connection has ended or was given enough time. */
bool http_linger_read(struct http_linger *l, int fd, uint64_t now_ms);
struct http_linger http_linger_begin(int fd, uint64_t now_ms);

#endif
