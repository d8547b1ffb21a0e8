#ifndef WEIR_TEST_HTTP_FIXTURE_H
#define WEIR_TEST_HTTP_FIXTURE_H

#include "io/http_server.h"

#include <check.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

/* A server on a free port with one route for everything a handler can do, and a client of raw sockets. */

#define HTTP_LIMIT_MS 15000 /* nothing here takes that long unless it hangs */

#define HOST "Host: localhost\r\n"
#define END HOST "\r\n"
#define GET(path) "GET " path " HTTP/1.1\r\n" END

/* GET /hello → "hello" · GET /inform → 104, then the same · POST /collect → the body, then " end=<kind>" when it failed or
 * " trailer=<X-Sum>" · GET /echo/{id}/{rest...}, POST /echo/{id} → what the request was · POST /upload → counts the bytes of
 * a body made by http_fill · POST /refuse → 503 before the body · GET /fail?kind=1 → that err_kind (a character counted from
 * '0') · GET /stream?length=7&cut=1 → "one two" in two writes · GET /nothing, /twice → no answer, two · GET /wait → "hello"
 * when released or stopping · GET /flood → bytes for ever · GET /healthz, /metrics */
extern const struct http_route http_fixture_routes[];
extern enum http_backend http_fixture_backend;
extern struct http_server *http_server; /* NULL when it does not run */
extern uint16_t http_fixture_port;      /* to which the client connects */

/* What handlers saw. */
extern struct http_seen {
    _Atomic int last_result;    /* of http_read in /upload, of http_write in /flood: 0 or -kind */
    _Atomic uint64_t last_read; /* bytes of /upload */
    _Atomic unsigned running;   /* handlers in /wait and /flood */
    _Atomic bool release;
    int wake_fd;            /* for /collect, -1 */
    _Atomic unsigned wakes; /* that it saw */
} http_seen;

/* A case whose tests begin without a server and leave none. */
TCase *http_fixture_case(enum http_backend backend);
/* Host and routes are filled in, and 8 threads when there is no number. */
void http_fixture_start(struct http_server_options options);
void http_wait_for_result(void);

void http_fill(char *data, size_t len); /* byte n is n modulo 251 */

struct answer {
    int status;      /* 0: the connection ended without one */
    char head[4096]; /* with the empty line */
    char body[8192];
    size_t body_len;
};

int connect_to_server(void); /* -1 when it is refused */
void send_bytes(int fd, const void *data, size_t len);
void send_text(int fd, const char *text);
/* Up to `len` bytes; fewer when the connection ends or nothing comes. */
size_t receive(int fd, char *out, size_t len);
/* Reads one answer and no byte more. The body of one without Content-Length is what comes until the connection ends. */
void read_answer(int fd, bool to_head, struct answer *answer);
const char *find_field(const struct answer *answer, const char *name); /* valid until the next call; NULL: absent */
bool is_closed(int fd);
struct answer ask(const char *request); /* on a connection of its own */

#endif
