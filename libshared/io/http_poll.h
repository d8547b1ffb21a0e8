#ifndef WEIR_HTTP_POLL_H
#define WEIR_HTTP_POLL_H

#include "http_internal.h"

#include <sys/queue.h>

/* The back end HTTP_POLL: one thread, the loop (http_loop.c), owns the listening socket and every connection that waits; one
 * with a complete head is given to a thread of the pool (http_pool.c), which answers it and gives it back. A connection has
 * one owner at a time, so nothing of it is locked. http_poll.c starts them and reads bodies. */

/* Which list of the loop a connection is on. */
enum http_wait {
    WAIT_FIRST,  /* accepted, not a byte came */
    WAIT_NEXT,   /* idle between two requests */
    WAIT_HEAD,   /* part of a head is there */
    WAIT_LINGER, /* answered; what it still sends is dropped */
    HTTP_WAITS,
    WAIT_NOT = HTTP_WAITS, /* the pool has it */
};

enum http_verdict { VERDICT_KEEP, VERDICT_LINGER, VERDICT_CLOSE };

struct http_connection {
    TAILQ_ENTRY(http_connection) link;
    int fd;
    enum http_wait wait;
    enum http_verdict verdict; /* the pool's, when it gives the connection back */
    bool is_trusted, is_known; /* known to epoll */
    int refused;               /* status with which the loop gave up on its head, or 0 */
    uint64_t since_ms;         /* on its list */
    struct http_stream *in;    /* NULL while there is nothing to keep */
    struct http_linger linger;
    char peer[HTTP_ADDRESS_SIZE], group[HTTP_ADDRESS_SIZE];
};

TAILQ_HEAD(http_connections, http_connection);

/* --- http_loop.c --- */
struct http_loop;
/* Owns the listening socket from here on, also when it fails. */
int http_loop_new(struct http_server *s, int listen_fd, unsigned max_connections, struct http_loop **ret, struct err *e)
    __attribute__((warn_unused_result));
/* Waits for the threads of the pool to end, closes everything. NULL is fine. */
void http_loop_free(struct http_loop *l);
void http_loop_wake(struct http_loop *l);          /* looks whether the server stops; from any thread */
bool http_loop_drained(const struct http_loop *l); /* it does, and every connection has ended; from any thread */
/* Gives a connection back, to be kept or closed as its verdict says. From any thread. */
void http_loop_return(struct http_loop *l, struct http_connection *c);

/* --- http_pool.c --- */
struct http_pool;
int http_pool_new(struct http_server *s, struct http_loop *l, struct http_pool **ret, struct err *e)
    __attribute__((warn_unused_result));
/* Gives back, to be closed, what no thread has begun with; waits for the threads to end; frees. NULL is fine. */
void http_pool_free(struct http_pool *p);
/* A request waits on this connection: its head is complete or refused. */
void http_pool_submit(struct http_pool *p, struct http_connection *c);

#endif
