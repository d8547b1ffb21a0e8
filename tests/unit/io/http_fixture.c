#include "io/http_fixture.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/str.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* --- The server --- */

struct http_seen http_seen;
struct http_server *http_server;
enum http_backend http_fixture_backend;
uint16_t http_fixture_port;

static int on_hello(struct http_request *rq, void *ctx, struct err *e)
{
    (void)ctx;
    (void)e;
    http_respond(rq, 200, NULL, "text/plain", "hello", 5);
    return 0;
}

static int on_inform(struct http_request *rq, void *ctx, struct err *e)
{
    (void)ctx;
    (void)e;
    http_inform(rq, 104, (struct http_field[]){{"Location", "/else\nwhere"}, {NULL, NULL}});
    http_respond(rq, 200, NULL, "text/plain", "hello", 5);
    return 0;
}

/* Tells what the request was. */
static int on_echo(struct http_request *rq, void *ctx, struct err *e)
{
    struct buf text BUF_AUTO;
    char q[16] = "-";
    const char *x = http_header(rq, "X-Test");
    bool given;

    (void)ctx;
    buf_init(&text, 4096);
    if (http_query(rq, "q", q, sizeof q, &given, e) != 0)
        return -ERR_INVALID;
    buf_printf(&text, "%s %s id=%s rest=%s q=%s x=%s peer=%s", http_method(rq), http_path(rq),
               http_path_param(rq, "id"), http_path_param(rq, "rest"), q, x == NULL ? "-" : x, http_peer(rq));
    http_respond(rq, 200, (struct http_field[]){{"X-Bad", x}, {"X-None", NULL}, {NULL, NULL}}, "text/plain", text.data,
                 text.len);
    return 0;
}

void http_fill(char *data, size_t len)
{
    for (size_t i = 0; i < len; i++)
        data[i] = (char)(i % 251);
}

/* Counts the body, and checks that byte n is n modulo 251. */
static int on_upload(struct http_request *rq, void *ctx, struct err *e)
{
    char data[4096], answer[64], expected[4096 + 251];
    uint64_t total = 0;
    size_t len;
    int r;

    (void)ctx;
    http_fill(expected, sizeof expected);
    while ((r = http_read(rq, data, sizeof data, &len, e)) == 0 && len > 0) {
        if (memcmp(data, expected + total % 251, len) != 0)
            return err_set(e, ERR_BUG, "wrong bytes after %llu", (unsigned long long)total);
        total += len;
        http_seen.last_read = total;
    }
    http_seen.last_result = r;
    if (r != 0)
        return r;
    str_format(answer, sizeof answer, "%llu", (unsigned long long)total);
    http_respond(rq, 201, NULL, "text/plain", answer, strlen(answer));
    return 0;
}

/* Tells what came of a body, which must be short, and how it ended. */
static int on_collect(struct http_request *rq, void *ctx, struct err *e)
{
    struct buf text BUF_AUTO;
    char data[7], scrap[8];
    bool woken = false;
    size_t len;
    int r;

    (void)ctx;
    buf_init(&text, 65536);
    while ((r = http_read_or_wake(rq, http_seen.wake_fd, data, sizeof data, &len, &woken, e)) == 0 &&
           (len > 0 || woken)) {
        buf_append(&text, data, len);
        http_seen.last_read += len;
        if (woken)
            http_seen.wakes += read(http_seen.wake_fd, scrap, sizeof scrap) > 0;
    }
    http_seen.last_result = r;
    const char *sum = http_trailer(rq, "X-Sum");
    if (r != 0)
        buf_printf(&text, " end=%s", err_kind_name((enum err_kind) - r));
    else if (sum != NULL)
        buf_printf(&text, " trailer=%s", sum);
    http_respond(rq, 200, NULL, "text/plain", text.data, text.len);
    return 0;
}

/* Answers before it has seen the body. */
static int on_refuse(struct http_request *rq, void *ctx, struct err *e)
{
    (void)ctx;
    http_problem(rq, 503, "queue-full", (struct http_field[]){{"Retry-After", "7"}, {NULL, NULL}},
                 "The queue is full.");
    (void)e;
    return 0;
}

/* Fails with the kind whose number is the character, counted from '0'. */
static int on_fail(struct http_request *rq, void *ctx, struct err *e)
{
    char kind[2] = "1";
    bool given;

    (void)ctx;
    if (http_query(rq, "kind", kind, sizeof kind, &given, e) != 0)
        return -ERR_INVALID;
    return err_set(e, (enum err_kind)(*kind - '0'), "reason with \"quotes\"");
}

static int on_stream(struct http_request *rq, void *ctx, struct err *e)
{
    char length[8] = "", cut[8] = "";
    uint64_t n = UINT64_MAX;
    bool given;
    int r;

    (void)ctx;
    if (http_query(rq, "length", length, sizeof length, &given, e) != 0 || (given && !str_to_u64(length, &n)))
        return err_set(e, ERR_INVALID, "length");
    if ((r = http_query(rq, "cut", cut, sizeof cut, &given, e)) != 0)
        return r;
    if ((r = http_begin(rq, 200, NULL, "text/plain", n, e)) != 0 || (r = http_write(rq, "one ", 4, e)) != 0 ||
        (r = http_write(rq, "", 0, e)) != 0 || (r = http_write(rq, "two", 3, e)) != 0)
        return r;
    return *cut != '\0' ? err_set(e, ERR_TEMPORARY, "the store went away") : http_end(rq, e);
}

static int on_nothing(struct http_request *rq, void *ctx, struct err *e)
{
    (void)rq;
    (void)ctx;
    (void)e;
    return 0;
}

static int on_twice(struct http_request *rq, void *ctx, struct err *e)
{
    on_hello(rq, ctx, e);
    return on_hello(rq, ctx, e);
}

/* Runs until it is released or the server stops. */
static int on_wait(struct http_request *rq, void *ctx, struct err *e)
{
    http_seen.running++;
    while (!http_seen.release && !http_stopping(rq))
        clock_sleep_ms(2);
    http_seen.running--;
    return on_hello(rq, ctx, e);
}

/* Sends for ever. */
static int on_flood(struct http_request *rq, void *ctx, struct err *e)
{
    static const char zeros[65536];
    int r = http_begin(rq, 200, NULL, "video/mp2t", UINT64_MAX, e);

    (void)ctx;
    http_seen.running++;
    while (r == 0)
        r = http_write(rq, zeros, sizeof zeros, e);
    http_seen.running--;
    http_seen.last_result = r;
    return r;
}

const struct http_route http_fixture_routes[] = {
    {.method = "GET", .path = "/hello", .handler = on_hello, .cors = true},
    {.method = "GET", .path = "/inform", .handler = on_inform},
    {.method = "GET", .path = "/echo/{id}/{rest...}", .handler = on_echo},
    {.method = "POST", .path = "/echo/{id}", .handler = on_echo},
    {.method = "POST", .path = "/upload", .handler = on_upload, .body = true},
    {.method = "OPTIONS", .path = "/collect", .handler = on_hello, .cors = true},
    {.method = "PATCH", .path = "/echo/{id}", .handler = on_echo},
    {.method = "POST", .path = "/collect", .handler = on_collect, .body = true},
    {.method = "POST", .path = "/refuse", .handler = on_refuse, .body = true, .cors = true},
    {.method = "GET", .path = "/refuse", .handler = on_hello, .cors = true},
    {.method = "GET", .path = "/fail", .handler = on_fail},
    {.method = "GET", .path = "/stream", .handler = on_stream},
    {.method = "GET", .path = "/nothing", .handler = on_nothing},
    {.method = "GET", .path = "/twice", .handler = on_twice},
    {.method = "GET", .path = "/wait", .handler = on_wait},
    {.method = "GET", .path = "/flood", .handler = on_flood},
    {.method = "GET", .path = "/healthz", .handler = http_healthz, .always = true},
    {.method = "GET", .path = "/metrics", .handler = http_metrics, .always = true},
    {0},
};

void http_fixture_start(struct http_server_options options)
{
    struct err e;

    options.host = "127.0.0.1";
    options.routes = http_fixture_routes;
    options.backend = http_fixture_backend;
    if (options.threads == 0)
        options.threads = 8;
    if (options.trusted_proxies == NULL)
        options.trusted_proxies = "";
    ck_assert_msg(http_server_start(&options, &http_server, &e) == 0, "%s", e.text);
    http_fixture_port = http_server_port(http_server);
    ck_assert_uint_ne(http_fixture_port, 0);
}

static void setup(void)
{
    http_seen.last_result = 0;
    http_seen.last_read = 0;
    http_seen.running = 0;
    http_seen.release = false;
    http_seen.wake_fd = -1;
    http_seen.wakes = 0;
    log_init("test", LOG_ERROR + 1, LOG_TEXT);
    http_server = NULL;
}

static void teardown(void)
{
    http_seen.release = true;
    http_server_stop(http_server, 100);
}

static void setup_civetweb(void)
{
    http_fixture_backend = HTTP_CIVETWEB;
    setup();
}

static void setup_poll(void)
{
    http_fixture_backend = HTTP_POLL;
    setup();
}

TCase *http_fixture_case(enum http_backend backend)
{
    TCase *tcase = tcase_create(backend == HTTP_POLL ? "poll" : "civetweb");

    tcase_set_timeout(tcase, 30);
    tcase_add_checked_fixture(tcase, backend == HTTP_POLL ? setup_poll : setup_civetweb, teardown);
    return tcase;
}

void http_wait_for_result(void)
{
    for (uint64_t start_ms = clock_mono_ms(); http_seen.last_result == 0 && clock_mono_ms() - start_ms < HTTP_LIMIT_MS;)
        clock_sleep_ms(2);
}

/* --- The client --- */

int connect_to_server(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(http_fixture_port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ck_assert_int_ge(fd, 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    close(fd);
    return -1;
}

void send_bytes(int fd, const void *data, size_t len)
{
    const char *bytes = data;

    while (len > 0) {
        ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR)
            return; /* the answer tells */
        bytes += n < 0 ? 0 : n;
        len -= n < 0 ? 0 : (size_t)n;
    }
}

void send_text(int fd, const char *text)
{
    send_bytes(fd, text, strlen(text));
}

size_t receive(int fd, char *out, size_t len)
{
    struct pollfd pollfd = {.fd = fd, .events = POLLIN};
    size_t got = 0;

    while (got < len && poll(&pollfd, 1, HTTP_LIMIT_MS) > 0) {
        ssize_t n = recv(fd, out + got, len - got, 0);
        if (n <= 0)
            break;
        got += (size_t)n;
    }
    return got;
}

const char *find_field(const struct answer *answer, const char *name)
{
    static char value[512];
    char line[64];

    str_format(line, sizeof line, "\r\n%s: ", name);
    const char *at = strstr(answer->head, line);
    if (at == NULL)
        return NULL;
    at += strlen(line);
    size_t len = strcspn(at, "\r");
    ck_assert_uint_lt(len, sizeof value);
    memcpy(value, at, len);
    value[len] = '\0';
    return value;
}

void read_answer(int fd, bool to_head, struct answer *answer)
{
    uint64_t length = 0;
    size_t len = 0;

    memset(answer, 0, sizeof *answer);
    while (len < 4 || memcmp(answer->head + len - 4, "\r\n\r\n", 4) != 0) {
        if (len + 1 >= sizeof answer->head || receive(fd, answer->head + len, 1) == 0)
            return;
        len++;
    }
    ck_assert(str_starts(answer->head, "HTTP/1.1 "));
    answer->status = (answer->head[9] - '0') * 100 + (answer->head[10] - '0') * 10 + answer->head[11] - '0';
    if (to_head || answer->status == 100 || answer->status == 204)
        return;
    const char *text = find_field(answer, "Content-Length");
    if (text == NULL)
        length = sizeof answer->body - 1;
    else
        ck_assert(str_to_u64(text, &length));
    ck_assert_uint_lt(length, sizeof answer->body);
    answer->body_len = receive(fd, answer->body, (size_t)length);
    if (text != NULL)
        ck_assert_uint_eq(answer->body_len, length);
}

bool is_closed(int fd)
{
    char byte;
    struct pollfd pollfd = {.fd = fd, .events = POLLIN};

    return poll(&pollfd, 1, HTTP_LIMIT_MS) > 0 && recv(fd, &byte, 1, 0) <= 0;
}

struct answer ask(const char *request)
{
    static struct answer answer;
    int fd = connect_to_server();

    ck_assert_int_ge(fd, 0);
    send_text(fd, request);
    read_answer(fd, str_starts(request, "HEAD"), &answer);
    close(fd);
    return answer;
}
