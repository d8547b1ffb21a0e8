#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "io/http_server.h"
#include "suite.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

/* Raw sockets against a real server on a free port. */

#define LIMIT_MS 5000 /* nothing here takes that long unless it hangs */

/* --- The server and its handlers --- */

static struct {
    _Atomic int last_result;    /* of http_read in /upload: 0 or -kind */
    _Atomic uint64_t last_read; /* bytes */
    _Atomic unsigned running;   /* handlers in /wait */
    _Atomic bool release;
} seen;

static int on_hello(struct http_request *rq, void *ctx, struct err *e)
{
    (void)ctx;
    (void)e;
    http_respond(rq, 200, NULL, "text/plain", "hello", 5);
    return 0;
}

/* Tells what the request was. */
static int on_echo(struct http_request *rq, void *ctx, struct err *e)
{
    struct buf text BUF_AUTO;
    char q[16] = "-";
    const char *x = http_header(rq, "X-Test");

    (void)ctx;
    (void)e;
    buf_init(&text, 4096);
    http_query(rq, "q", q, sizeof q);
    buf_printf(&text, "%s %s id=%s rest=%s q=%s x=%s peer=%s", http_method(rq), http_path(rq),
               http_path_param(rq, "id"), http_path_param(rq, "rest"), q, x == NULL ? "-" : x, http_peer(rq));
    http_respond(rq, 200, (struct http_field[]){{"X-Bad", x}, {"X-None", NULL}, {NULL, NULL}}, "text/plain", text.data,
                 text.len);
    return 0;
}

static void fill(char *data, size_t len)
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
    fill(expected, sizeof expected);
    while ((r = http_read(rq, data, sizeof data, &len, e)) == 0 && len > 0) {
        if (memcmp(data, expected + total % 251, len) != 0)
            return err_set(e, ERR_BUG, "wrong bytes after %llu", (unsigned long long)total);
        total += len;
        seen.last_read = total;
    }
    seen.last_result = r;
    if (r != 0)
        return r;
    str_format(answer, sizeof answer, "%llu", (unsigned long long)total);
    http_respond(rq, 201, NULL, "text/plain", answer, strlen(answer));
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

    (void)ctx;
    http_query(rq, "kind", kind, sizeof kind);
    return err_set(e, (enum err_kind)(*kind - '0'), "reason with \"quotes\"");
}

static int on_stream(struct http_request *rq, void *ctx, struct err *e)
{
    char length[8] = "", cut[8] = "";
    uint64_t n = UINT64_MAX;
    int r;

    (void)ctx;
    if (http_query(rq, "length", length, sizeof length) && !str_to_u64(length, &n))
        return err_set(e, ERR_INVALID, "length");
    http_query(rq, "cut", cut, sizeof cut);
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
    seen.running++;
    while (!seen.release && !http_stopping(rq))
        clock_sleep_ms(2);
    seen.running--;
    return on_hello(rq, ctx, e);
}

/* Sends for ever. */
static int on_flood(struct http_request *rq, void *ctx, struct err *e)
{
    static const char zeros[65536];
    int r = http_begin(rq, 200, NULL, "video/mp2t", UINT64_MAX, e);

    (void)ctx;
    seen.running++;
    while (r == 0)
        r = http_write(rq, zeros, sizeof zeros, e);
    seen.running--;
    seen.last_result = r;
    return r;
}

static const struct http_route routes[] = {
    {"GET", "/hello", on_hello, false, false},
    {"GET", "/echo/{id}/{rest...}", on_echo, false, false},
    {"POST", "/echo/{id}", on_echo, false, false},
    {"POST", "/upload", on_upload, true, false},
    {"POST", "/refuse", on_refuse, true, false},
    {"GET", "/refuse", on_hello, false, false},
    {"GET", "/fail", on_fail, false, false},
    {"GET", "/stream", on_stream, false, false},
    {"GET", "/nothing", on_nothing, false, false},
    {"GET", "/twice", on_twice, false, false},
    {"GET", "/wait", on_wait, false, false},
    {"GET", "/flood", on_flood, false, false},
    {"GET", "/healthz", http_healthz, false, true},
    {"GET", "/metrics", http_metrics, false, true},
    {NULL, NULL, NULL, false, false},
};

static struct http_server *server;

static void start(struct http_server_options options)
{
    struct err e;

    options.host = "127.0.0.1";
    options.routes = routes;
    if (options.threads == 0)
        options.threads = 8;
    if (options.trusted_proxies == NULL)
        options.trusted_proxies = "";
    ck_assert_msg(http_server_start(&options, &server, &e) == 0, "%s", e.text);
    ck_assert_uint_ne(http_server_port(server), 0);
}

static void setup(void)
{
    memset(&seen, 0, sizeof seen);
    log_init("test", LOG_ERROR + 1, LOG_TEXT);
    server = NULL;
}

static void teardown(void)
{
    seen.release = true;
    http_server_stop(server, 100);
}

/* --- The client --- */

static int connect_to_server(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(http_server_port(server))};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ck_assert_int_ge(fd, 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    close(fd);
    return -1;
}

static void send_bytes(int fd, const void *data, size_t len)
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

static void send_text(int fd, const char *text)
{
    send_bytes(fd, text, strlen(text));
}

struct answer {
    int status;      /* 0: the connection ended without one */
    char head[4096]; /* with the empty line */
    char body[8192];
    size_t body_len;
};

/* Up to `len` bytes; fewer when the connection ends or nothing comes. */
static size_t receive(int fd, char *out, size_t len, int limit_ms)
{
    struct pollfd pollfd = {.fd = fd, .events = POLLIN};
    size_t got = 0;

    while (got < len && poll(&pollfd, 1, limit_ms) > 0) {
        ssize_t n = recv(fd, out + got, len - got, 0);
        if (n <= 0)
            break;
        got += (size_t)n;
    }
    return got;
}

static const char *find_field(const struct answer *answer, const char *name)
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

/* Reads one answer and no byte more. The body of one without Content-Length is what comes until the connection ends. */
static void read_answer(int fd, bool to_head, struct answer *answer)
{
    uint64_t length = 0;
    size_t len = 0;

    memset(answer, 0, sizeof *answer);
    while (len < 4 || memcmp(answer->head + len - 4, "\r\n\r\n", 4) != 0) {
        if (len + 1 >= sizeof answer->head || receive(fd, answer->head + len, 1, LIMIT_MS) == 0)
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
    answer->body_len = receive(fd, answer->body, (size_t)length, LIMIT_MS);
    if (text != NULL)
        ck_assert_uint_eq(answer->body_len, length);
}

static bool is_closed(int fd)
{
    char byte;
    struct pollfd pollfd = {.fd = fd, .events = POLLIN};

    return poll(&pollfd, 1, LIMIT_MS) > 0 && recv(fd, &byte, 1, 0) <= 0;
}

/* One request on a connection of its own. */
static struct answer ask(const char *request)
{
    static struct answer answer;
    int fd = connect_to_server();

    ck_assert_int_ge(fd, 0);
    send_text(fd, request);
    read_answer(fd, str_starts(request, "HEAD"), &answer);
    close(fd);
    return answer;
}

#define HOST "Host: localhost\r\n"
#define END HOST "\r\n"
#define GET(path) "GET " path " HTTP/1.1\r\n" END

/* --- Plain requests --- */

START_TEST(answers_get)
{
    start((struct http_server_options){0});
    struct answer answer = ask(GET("/hello"));

    ck_assert_int_eq(answer.status, 200);
    ck_assert_str_eq(answer.body, "hello");
    ck_assert_str_eq(find_field(&answer, "Content-Type"), "text/plain");
    ck_assert_str_eq(find_field(&answer, "X-Content-Type-Options"), "nosniff");
    ck_assert_uint_eq(strlen(find_field(&answer, "X-Request-ID")), 16);
    ck_assert_ptr_null(find_field(&answer, "Connection"));
    ck_assert_ptr_null(find_field(&answer, "Access-Control-Allow-Origin"));
    uint64_t date_ms;
    ck_assert(clock_parse_http_date(find_field(&answer, "Date"), &date_ms));
    ck_assert_uint_le(clock_wall_ms() - date_ms, 5000);
}
END_TEST

START_TEST(answers_head_without_the_body)
{
    struct answer answer;

    start((struct http_server_options){0});
    int fd = connect_to_server();
    send_text(fd, "HEAD /hello HTTP/1.1\r\n" END "HEAD /stream HTTP/1.1\r\n" END
                  "HEAD /stream?length=7 HTTP/1.1\r\n" END "HEAD /none HTTP/1.1\r\n" END GET("/hello"));
    read_answer(fd, true, &answer);
    ck_assert_str_eq(find_field(&answer, "Content-Length"), "5");
    read_answer(fd, true, &answer);
    ck_assert_str_eq(find_field(&answer, "Transfer-Encoding"), "chunked");
    read_answer(fd, true, &answer);
    ck_assert_str_eq(find_field(&answer, "Content-Length"), "7");
    read_answer(fd, true, &answer);
    ck_assert_int_eq(answer.status, 404);
    read_answer(fd, false, &answer);
    ck_assert_str_eq(answer.body, "hello");
    close(fd);
}
END_TEST

START_TEST(gives_handlers_the_request)
{
    start((struct http_server_options){0});
    struct answer answer = ask("GET /echo/a%20b/c/d.ts?p=1&q=x%2By HTTP/1.1\r\nx-test: 1\r\nX-Test: 2\r\n" END);

    ck_assert_str_eq(answer.body, "GET /echo/a b/c/d.ts id=a b rest=c/d.ts q=x+y x=1 peer=127.0.0.1");
    ck_assert_str_eq(find_field(&answer, "X-Bad"), "1");
    ck_assert_ptr_null(find_field(&answer, "X-None"));
}
END_TEST

START_TEST(keeps_a_fields_value_on_its_line)
{
    start((struct http_server_options){0});
    struct answer answer = ask("GET /echo/a/b HTTP/1.1\r\nX-Test: a b\xC3\xA4\r\n" END);

    ck_assert_str_eq(find_field(&answer, "X-Bad"), "a b\xC3\xA4");
}
END_TEST

START_TEST(takes_a_good_request_id_only)
{
    start((struct http_server_options){0});
    struct answer answer = ask("GET /none HTTP/1.1\r\nX-Request-ID: mine-1.a_B\r\n" END);

    ck_assert_str_eq(find_field(&answer, "X-Request-ID"), "mine-1.a_B");
    ck_assert_ptr_nonnull(strstr(answer.body, "\"request_id\": \"mine-1.a_B\""));
    answer = ask("GET /hello HTTP/1.1\r\nX-Request-ID: not mine\r\n" END);
    ck_assert_uint_eq(strlen(find_field(&answer, "X-Request-ID")), 16);
}
END_TEST

START_TEST(believes_trusted_proxies_only)
{
    static const char request[] = "GET /echo/a/b HTTP/1.1\r\nX-Forwarded-For: 198.51.100.7\r\n" END;

    start((struct http_server_options){0});
    ck_assert_ptr_nonnull(strstr(ask(request).body, "peer=127.0.0.1"));
    http_server_stop(server, 0);
    start((struct http_server_options){.trusted_proxies = "127.0.0.0/8"});
    ck_assert_ptr_nonnull(strstr(ask(request).body, "peer=198.51.100.7"));
}
END_TEST

START_TEST(answers_cors)
{
    start((struct http_server_options){
        .cors_origin = "*", .cors_methods = "GET, POST", .cors_headers = "Content-Type", .cors_expose = "Location"});
    struct answer answer = ask(
        "OPTIONS /refuse HTTP/1.1\r\nOrigin: http://a\r\nAccess-Control-Request-Method: POST\r\n" END);

    ck_assert_int_eq(answer.status, 204);
    ck_assert_str_eq(find_field(&answer, "Access-Control-Allow-Origin"), "*");
    ck_assert_str_eq(find_field(&answer, "Access-Control-Allow-Methods"), "GET, POST");
    ck_assert_str_eq(find_field(&answer, "Access-Control-Allow-Headers"), "Content-Type");
    ck_assert_str_eq(find_field(&answer, "Allow"), "POST, GET, HEAD, OPTIONS");
    ck_assert_ptr_null(find_field(&answer, "Content-Length"));
    answer = ask(GET("/hello"));
    ck_assert_str_eq(find_field(&answer, "Access-Control-Expose-Headers"), "Location");
    ck_assert_int_eq(ask("OPTIONS /none HTTP/1.1\r\n" END).status, 404);
}
END_TEST

START_TEST(shows_health_and_metrics)
{
    start((struct http_server_options){0});
    ck_assert_str_eq(ask(GET("/healthz")).body, "{\"status\": \"ok\"}\n");
    struct answer answer = ask(GET("/metrics"));
    ck_assert_ptr_nonnull(strstr(answer.body, "weir_http_requests_total{status=\"2xx\"}"));
    ck_assert_ptr_nonnull(strstr(answer.body, "weir_http_request_seconds_bucket"));
}
END_TEST

/* --- Refusals --- */

#define LONG_64 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"

static const struct {
    const char *request;
    int status;
    bool closes;
    const char *words; /* in the body or the head */
} refusals[] = {
    {GET("/none"), 404, false, "urn:weir:error:not-found"},
    {GET("/hello/"), 404, false, "not-found"},
    {"POST /hello HTTP/1.1\r\nContent-Length: 0\r\n" END, 405, false, "Allow: GET, HEAD, OPTIONS"},
    {"DELETE /refuse HTTP/1.1\r\n" END, 405, false, "Allow: POST, GET, HEAD, OPTIONS"},
    {GET("/a/../hello"), 400, false, "bad-request"},
    {GET("/%2e%2e/hello"), 400, false, "bad-request"},
    {GET("/a%2Fb"), 400, false, "bad-request"},
    {GET("/a%00"), 400, false, "bad-request"},
    {GET("/%zz"), 400, false, "bad-request"},
    {"GET /hello HTTP/1.1\r\n\r\n", 400, true, "Host"},
    {"GET /hello HTTP/1.1\r\n" HOST END, 400, true, "Host"},
    {"GET /hello HTTP/2.0\r\n" END, 505, true, "HTTP/1.1"},
    {"GET /hello\r\n\r\n", 400, true, "bad-request"},
    {"hello\r\n\r\n", 400, true, "bad-request"},
    {"\x16\x03\x01\x02", 400, true, "bad-request"}, /* TLS */
    {"BREW /hello HTTP/1.1\r\n" END, 400, true, "method"},
    {"POST /upload HTTP/1.1\r\nContent-Length: 5abc\r\n" HOST "\r\n\x00\x01\x02\x03\x04", 400, true,
     "ambiguous-length"},
    {"POST /upload HTTP/1.1\r\nContent-Length: -5\r\n" END, 400, true, "bad-request"},
    {"POST /upload HTTP/1.1\r\nContent-Length:\r\n" END, 400, true, "bad-request"},
    {"POST /upload HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n" END, 400, true, "more than one"},
    {"POST /upload HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 5\r\n" END, 400, true, "more than one"},
    {"POST /upload HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n" END "0\r\n\r\n", 400, true, "both"},
    {"POST /upload HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n" END "0\r\n\r\n", 400, true,
     "more than one Transfer-Encoding"},
    {"POST /upload HTTP/1.1\r\nTransfer-Encoding: gzip\r\n" END, 400, true, "bad-request"},
    {"POST /upload HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" END "1\r\nx\r\n0\r\n\r\n", 411, true, "Content-Length"},
    {"POST /upload HTTP/1.1\r\nExpect: gold\r\nContent-Length: 1\r\n" END, 417, true, "100-continue"},
    {"POST /echo/a HTTP/1.1\r\nContent-Length: 65537\r\n" END, 413, true, "no request body"},
    {"POST /upload HTTP/1.1\r\n" HOST " folded\r\nContent-Length: 5\r\n\r\nGET /", 400, true, "not a header"},
    {"POST /upload HTTP/1.1\r\n" HOST ": x\r\nContent-Length: 5\r\n\r\nGET /", 400, true, "not a header"},
    {"POST /upload HTTP/1.1\r\n" HOST "\x80\r\nContent-Length: 5\r\n\r\nGET /", 400, true, "not a header"},
    {"POST /upload HTTP/1.1\nHost: a\n:\nContent-Length: 5\n\nGET /", 400, true, "not a header"},
    {"GET /hello HTTP/1.1\nHost: a\n\n", 400, true, "CR and LF"},
    {"POST /upload HTTP/1.1\r\nContent-Length : 5abc\r\n" END, 400, true, "ambiguous-length"},
    {GET("/fail?kind=1"), 400, false, "reason with \\\"quotes\\\""},
    {GET("/fail?kind=2"), 413, false, "urn:weir:error:too-large"},
    {GET("/fail?kind=3"), 404, false, "urn:weir:error:not-found"},
    {GET("/fail?kind=4"), 409, false, "urn:weir:error:conflict"},
    {GET("/fail?kind=5"), 409, false, "urn:weir:error:stale"},
    {GET("/fail?kind=6"), 503, false, "Retry-After: 5"},
    {GET("/fail?kind=7"), 503, false, "not available"}, /* what is behind us is nobody's business */
    {GET("/fail?kind=8"), 408, false, "urn:weir:error:timeout"},
    {GET("/fail?kind=:"), 500, false, "inside the server"}, /* ':' is the digit after '9': ERR_BUG */
    {GET("/nothing"), 500, false, "urn:weir:error:internal"},
};

START_TEST(refuses_with_a_problem)
{
    struct answer answer;

    start((struct http_server_options){0});
    int fd = connect_to_server();
    send_text(fd, refusals[_i].request);
    read_answer(fd, false, &answer);
    ck_assert_int_eq(answer.status, refusals[_i].status);
    ck_assert_str_eq(find_field(&answer, "Content-Type"), "application/problem+json");
    ck_assert_msg(strstr(answer.body, refusals[_i].words) != NULL || strstr(answer.head, refusals[_i].words) != NULL,
                  "%s%s", answer.head, answer.body);
    ck_assert_int_eq(find_field(&answer, "Connection") != NULL, refusals[_i].closes);

    send_text(fd, GET("/hello")); /* right after the error */
    if (refusals[_i].closes) {
        ck_assert(is_closed(fd));
    } else {
        read_answer(fd, false, &answer);
        ck_assert_str_eq(answer.body, "hello");
    }
    close(fd);
}
END_TEST

/* `count` headers beside Host, of `size` bytes each with name and line end. */
static struct answer ask_with_headers(size_t count, size_t size)
{
    struct buf request BUF_AUTO;

    buf_init(&request, 1 << 20);
    buf_puts(&request, "GET /hello HTTP/1.1\r\n" HOST);
    for (size_t i = 0; i < count; i++) {
        buf_puts(&request, "X: ");
        for (size_t j = 5; j < size; j++)
            buf_putc(&request, 'x');
        buf_puts(&request, "\r\n");
    }
    buf_puts(&request, "\r\n");
    return ask(request.data);
}

START_TEST(bounds_headers)
{
    start((struct http_server_options){0});
    ck_assert_int_eq(ask_with_headers(62, 20).status, 200);
    ck_assert_int_eq(ask_with_headers(63, 20).status, 400); /* with Host: 64 */
    ck_assert_int_eq(ask_with_headers(200, 20).status, 400);
    ck_assert_int_eq(ask_with_headers(2, 8000).status, 200);
    ck_assert_int_eq(ask_with_headers(3, 8000).status, 431);
    ck_assert_int_eq(ask_with_headers(1, 100000).status, 431);
    ck_assert_int_eq(ask_with_headers(50, 10000).status, 431); /* a flood */
    ck_assert_int_eq(ask(GET("/hello")).status, 200);
}
END_TEST

START_TEST(reports_a_second_answer_and_sends_one)
{
    struct answer answer;

    start((struct http_server_options){0});
    int fd = connect_to_server();
    send_text(fd, GET("/twice") GET("/none"));
    read_answer(fd, false, &answer);
    ck_assert_int_eq(answer.status, 200);
    read_answer(fd, false, &answer);
    ck_assert_int_eq(answer.status, 404);
    close(fd);
}
END_TEST

/* --- Connections --- */

START_TEST(serves_pipelined_requests_in_order)
{
    struct answer answer;

    start((struct http_server_options){0});
    int fd = connect_to_server();
    send_text(fd, GET("/hello") "POST /upload HTTP/1.1\r\nContent-Length: 3\r\n" END);
    send_bytes(fd, "\x00\x01\x02", 3);
    send_text(fd, "POST /refuse HTTP/1.1\r\nContent-Length: 4\r\n" END "drop" GET("/none") GET("/hello"));
    for (int i = 0; i < 5; i++) {
        static const int statuses[] = {200, 201, 503, 404, 200};
        read_answer(fd, false, &answer);
        ck_assert_int_eq(answer.status, statuses[i]);
    }
    close(fd);
}
END_TEST

START_TEST(obeys_connection_close)
{
    struct answer answer;

    start((struct http_server_options){0});
    int fd = connect_to_server();
    send_text(fd, "GET /hello HTTP/1.1\r\nConnection: close\r\n" END);
    read_answer(fd, false, &answer);
    ck_assert_str_eq(find_field(&answer, "Connection"), "close");
    ck_assert(is_closed(fd));
    close(fd);
}
END_TEST

START_TEST(speaks_to_http_1_0)
{
    struct answer answer;

    start((struct http_server_options){0});
    int fd = connect_to_server();
    send_text(fd, "GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    read_answer(fd, false, &answer);
    ck_assert_str_eq(find_field(&answer, "Connection"), "keep-alive");
    send_text(fd, "GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"); /* no chunks: ends with the connection */
    read_answer(fd, false, &answer);
    ck_assert_str_eq(find_field(&answer, "Connection"), "close");
    ck_assert_ptr_null(find_field(&answer, "Transfer-Encoding"));
    ck_assert_str_eq(answer.body, "one two");
    close(fd);
}
END_TEST

START_TEST(closes_idle_connections)
{
    struct answer answer;

    start((struct http_server_options){.header_timeout_ms = 300});
    int fd = connect_to_server();
    send_text(fd, GET("/hello"));
    read_answer(fd, false, &answer);
    ck_assert(is_closed(fd)); /* quietly: no answer to a request that was not made */
    close(fd);
    fd = connect_to_server();
    ck_assert(is_closed(fd));
    close(fd);
}
END_TEST

START_TEST(waits_for_headers_so_long_only)
{
    struct answer answer;
    uint64_t start_ms = clock_mono_ms();

    start((struct http_server_options){.header_timeout_ms = 600});
    int fd = connect_to_server();
    send_text(fd, "GET /hello HTTP/1.1\r\n");
    for (int i = 0; i < 10; i++) { /* a byte now and then does not help */
        clock_sleep_ms(50);
        send_text(fd, "X");
    }
    read_answer(fd, false, &answer);
    ck_assert_int_eq(answer.status, 408);
    ck_assert_uint_lt(clock_mono_ms() - start_ms, 3000);
    close(fd);
}
END_TEST

START_TEST(cuts_off_a_ninth_slow_connection_of_one_peer)
{
    int fds[12];
    size_t closed = 0;

    start((struct http_server_options){.threads = 64});
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
        fds[i] = connect_to_server();
        send_text(fds[i], "GET /hello HTTP/1.1\r\n");
    }
    for (uint64_t start_ms = clock_mono_ms(); closed < 4 && clock_mono_ms() - start_ms < LIMIT_MS;) {
        clock_sleep_ms(20);
        for (size_t i = closed = 0; i < ARRAY_SIZE(fds); i++) {
            struct pollfd pollfd = {.fd = fds[i], .events = POLLIN};
            closed += poll(&pollfd, 1, 0) > 0;
        }
    }
    clock_sleep_ms(600); /* a tick later the other eight are still there */
    for (size_t i = closed = 0; i < ARRAY_SIZE(fds); i++) {
        struct pollfd pollfd = {.fd = fds[i], .events = POLLIN};
        closed += poll(&pollfd, 1, 0) > 0;
        close(fds[i]);
    }
    ck_assert_uint_eq(closed, 4);
}
END_TEST

/* --- Bodies --- */

static char big[3 * 1024 * 1024];

START_TEST(streams_a_body_in)
{
    struct answer answer;

    start((struct http_server_options){0});
    fill(big, sizeof big);
    int fd = connect_to_server();
    for (int i = 0; i < 2; i++) { /* the connection goes on afterwards */
        send_text(fd, "POST /upload HTTP/1.1\r\nContent-Length: 3145728\r\n" END);
        send_bytes(fd, big, sizeof big);
        read_answer(fd, false, &answer);
        ck_assert_int_eq(answer.status, 201);
        ck_assert_str_eq(answer.body, "3145728");
    }
    close(fd);
}
END_TEST

START_TEST(reads_bodies_however_they_come)
{
    char request[128];
    struct answer answer;

    start((struct http_server_options){0});
    fill(big, sizeof big);
    int fd = connect_to_server();
    for (size_t len = 0; len <= 20000; len += len < 3 ? 1 : 4999) {
        str_format(request, sizeof request, "POST /upload HTTP/1.1\r\nContent-Length: %zu\r\n" END, len);
        send_text(fd, request);
        for (size_t at = 0, step; at < len; at += step) {
            step = len - at < 1700 ? len - at : 1700;
            if (len > 10000 && at % 3400 == 0)
                clock_sleep_ms(2);
            send_bytes(fd, big + at, step);
        }
        read_answer(fd, false, &answer);
        ck_assert_int_eq(answer.status, 201);
        uint64_t got;
        ck_assert(str_to_u64(answer.body, &got));
        ck_assert_uint_eq(got, len);
    }
    close(fd);
}
END_TEST

START_TEST(reads_a_body_that_came_with_the_headers)
{
    struct buf request BUF_AUTO;
    struct answer answer;

    start((struct http_server_options){0});
    fill(big, sizeof big);
    buf_init(&request, 1 << 20);
    buf_puts(&request, "POST /upload HTTP/1.1\r\nContent-Length: 12000\r\n" END);
    buf_append(&request, big, 12000);
    buf_puts(&request, GET("/hello"));
    int fd = connect_to_server();
    send_bytes(fd, request.data, request.len);
    read_answer(fd, false, &answer);
    ck_assert_str_eq(answer.body, "12000");
    read_answer(fd, false, &answer);
    ck_assert_str_eq(answer.body, "hello");
    close(fd);
}
END_TEST

START_TEST(asks_for_the_body_when_the_client_waits)
{
    struct answer answer;

    start((struct http_server_options){0});
    int fd = connect_to_server();
    for (int i = 0; i < 2; i++) {
        send_text(fd, "POST /upload HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n" END);
        read_answer(fd, false, &answer);
        ck_assert_int_eq(answer.status, 100);
        send_bytes(fd, "\x00\x01\x02", 3);
        read_answer(fd, false, &answer);
        ck_assert_int_eq(answer.status, 201);
    }
    /* The body is there already: no need to ask. */
    send_bytes(fd, "POST /upload HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n" END "\x00\x01\x02",
               sizeof "POST /upload HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n" END - 1 + 3);
    read_answer(fd, false, &answer);
    ck_assert_int_eq(answer.status, 201);
    close(fd);
}
END_TEST

START_TEST(does_not_ask_for_a_body_that_it_refuses)
{
    struct answer answer;

    start((struct http_server_options){0});
    int fd = connect_to_server();
    send_text(fd, "POST /refuse HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n" END);
    read_answer(fd, false, &answer);
    ck_assert_int_eq(answer.status, 503);
    ck_assert_str_eq(find_field(&answer, "Retry-After"), "7");
    ck_assert_str_eq(find_field(&answer, "Connection"), "close"); /* nobody knows whether the body comes */
    ck_assert(is_closed(fd));
    close(fd);
}
END_TEST

/* Sends far more than the sockets' buffers hold, and only then looks for the answer. */
START_TEST(lets_a_client_that_sends_everything_first_read_the_refusal)
{
    struct answer answer;

    start((struct http_server_options){0});
    int fd = connect_to_server();
    send_text(fd, "POST /refuse HTTP/1.1\r\nContent-Length: 31457280\r\n" END);
    for (int i = 0; i < 10; i++)
        send_bytes(fd, big, sizeof big);
    read_answer(fd, false, &answer);
    ck_assert_int_eq(answer.status, 503);
    ck_assert_ptr_nonnull(strstr(answer.body, "The queue is full."));
    close(fd);
}
END_TEST

START_TEST(keeps_the_connection_after_a_small_unread_body)
{
    struct answer answer;

    start((struct http_server_options){0});
    int fd = connect_to_server();
    send_text(fd, "POST /refuse HTTP/1.1\r\nContent-Length: 65536\r\n" END);
    send_bytes(fd, big, 65536);
    send_text(fd, GET("/hello"));
    read_answer(fd, false, &answer);
    ck_assert_int_eq(answer.status, 503);
    ck_assert_ptr_null(find_field(&answer, "Connection"));
    read_answer(fd, false, &answer);
    ck_assert_str_eq(answer.body, "hello");
    close(fd);
}
END_TEST

static void wait_for_result(void)
{
    for (uint64_t start_ms = clock_mono_ms(); seen.last_result == 0 && clock_mono_ms() - start_ms < LIMIT_MS;)
        clock_sleep_ms(2);
}

START_TEST(notices_a_client_that_goes_away)
{
    static const struct linger at_once = {.l_onoff = 1};

    start((struct http_server_options){0});
    for (int reset = 0; reset < 2; reset++) {
        int fd = connect_to_server();
        seen.last_result = 0;
        seen.last_read = 0;
        send_text(fd, "POST /upload HTTP/1.1\r\nContent-Length: 1000\r\n" END);
        send_bytes(fd, "\x00\x01\x02", 3);
        while (seen.last_read < 3)
            clock_sleep_ms(1);
        if (reset)
            ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once), 0);
        close(fd);
        wait_for_result();
        ck_assert_int_eq(seen.last_result, -ERR_DISCONNECTED);
        ck_assert_uint_eq(seen.last_read, 3);
    }
    ck_assert_int_eq(ask(GET("/hello")).status, 200);
}
END_TEST

START_TEST(ends_a_body_that_stops_coming)
{
    struct answer answer;

    start((struct http_server_options){.idle_timeout_ms = 200});
    int fd = connect_to_server();
    send_text(fd, "POST /upload HTTP/1.1\r\nContent-Length: 100000\r\n" END);
    read_answer(fd, false, &answer);
    ck_assert_int_eq(answer.status, 408);
    ck_assert_int_eq(seen.last_result, -ERR_TIMEOUT);
    ck_assert_ptr_nonnull(strstr(answer.body, "no byte of the body came for 200 ms"));
    ck_assert(is_closed(fd));
    close(fd);
}
END_TEST

START_TEST(ends_a_body_that_comes_too_slowly)
{
    struct answer answer;

    start((struct http_server_options){.idle_timeout_ms = 2000, .min_rate = 1000, .min_rate_window_ms = 300});
    int fd = connect_to_server();
    send_text(fd, "POST /upload HTTP/1.1\r\nContent-Length: 100000\r\n" END);
    for (int i = 0; i < 40 && seen.last_result == 0; i++) {
        send_bytes(fd, &(char){(char)i}, 1);
        clock_sleep_ms(20);
    }
    read_answer(fd, false, &answer);
    ck_assert_int_eq(answer.status, 408);
    ck_assert_ptr_nonnull(strstr(answer.body, "1000 bytes per second"));
    close(fd);
}
END_TEST

/* --- Streamed answers --- */

START_TEST(streams_an_answer_out)
{
    struct answer answer;

    start((struct http_server_options){0});
    int fd = connect_to_server();
    send_text(fd, GET("/stream?length=7") "GET /stream HTTP/1.1\r\nConnection: close\r\n" END);
    read_answer(fd, false, &answer);
    ck_assert_str_eq(answer.body, "one two");
    read_answer(fd, false, &answer);
    ck_assert_str_eq(find_field(&answer, "Transfer-Encoding"), "chunked");
    ck_assert_str_eq(answer.body, "4\r\none \r\n3\r\ntwo\r\n0\r\n\r\n");
    close(fd);
}
END_TEST

static const struct {
    const char *request, *body;
} cuts[] = {
    {GET("/stream?cut=1"), "4\r\none \r\n3\r\ntwo\r\n"}, /* no last chunk */
    {GET("/stream?length=9&cut=1"), "one two"},
    {GET("/stream?length=9"), "one two"}, /* the handler sent less than it had promised */
    {GET("/stream?length=5"), "one "},    /* or wanted to send more */
};

START_TEST(does_not_let_a_cut_answer_look_complete)
{
    char head[4096], *body;

    start((struct http_server_options){0});
    int fd = connect_to_server();
    send_text(fd, cuts[_i].request);
    size_t len = receive(fd, head, sizeof head - 1, LIMIT_MS); /* until the connection ends */
    head[len] = '\0';
    body = strstr(head, "\r\n\r\n");
    ck_assert_ptr_nonnull(body);
    ck_assert_str_eq(body + 4, cuts[_i].body);
    close(fd);
}
END_TEST

START_TEST(tells_a_handler_that_nobody_listens)
{
    char scrap[1024];

    start((struct http_server_options){0});
    int fd = connect_to_server();
    send_text(fd, GET("/flood"));
    ck_assert_uint_eq(receive(fd, scrap, sizeof scrap, LIMIT_MS), sizeof scrap);
    close(fd);
    wait_for_result();
    ck_assert_int_eq(seen.last_result, -ERR_DISCONNECTED);
}
END_TEST

/* --- Many clients --- */

static void allow_descriptors(void)
{
    struct rlimit limit;

    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max < 4096 ? limit.rlim_max : 4096;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static void assert_health(uint64_t within_ms)
{
    uint64_t start_ms = clock_mono_ms();

    ck_assert_int_eq(ask(GET("/healthz")).status, 200);
    ck_assert_uint_lt(clock_mono_ms() - start_ms, within_ms);
}

static void open_slow_clients(int *fds, size_t count, const char *request)
{
    for (size_t i = 0; i < count; i++) {
        fds[i] = connect_to_server();
        ck_assert_int_ge(fds[i], 0);
        send_text(fds[i], request);
    }
}

static void close_all(int *fds, size_t count)
{
    for (size_t i = 0; i < count; i++)
        close(fds[i]);
}

#define SLOW 300

START_TEST(answers_health_checks_while_300_clients_are_slow_with_their_headers)
{
    static int fds[SLOW];

    allow_descriptors();
    start((struct http_server_options){.threads = 256});
    open_slow_clients(fds, SLOW, "GET /hello HTTP/1.1\r\nX-Slow: ");
    for (int i = 0; i < 10; i++)
        assert_health(2000);
    close_all(fds, SLOW);
}
END_TEST

START_TEST(answers_health_checks_while_300_clients_are_slow_with_their_bodies)
{
    static int fds[SLOW];
    struct answer answer;
    size_t refused = 0;

    allow_descriptors();
    start((struct http_server_options){.threads = 256});
    open_slow_clients(fds, SLOW, "POST /upload HTTP/1.1\r\nContent-Length: 1000000\r\n" END);
    for (int i = 0; i < 10; i++)
        assert_health(2000);
    for (size_t i = 0; i < SLOW; i++) {
        struct pollfd pollfd = {.fd = fds[i], .events = POLLIN};
        if (poll(&pollfd, 1, 0) <= 0)
            continue;
        read_answer(fds[i], false, &answer);
        ck_assert_int_eq(answer.status, 503);
        ck_assert_str_eq(find_field(&answer, "Retry-After"), "5");
        refused++;
    }
    ck_assert_uint_eq(refused, SLOW - (256 - 32));
    close_all(fds, SLOW);
}
END_TEST

START_TEST(answers_health_checks_while_all_others_are_busy)
{
    int fds[16];
    struct answer answer;

    start((struct http_server_options){.threads = 8});
    open_slow_clients(fds, ARRAY_SIZE(fds), GET("/wait"));
    assert_health(2000);
    ck_assert_uint_le(seen.running, 6);
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
        seen.release = seen.running == 0 || i + 6 >= ARRAY_SIZE(fds);
        struct pollfd pollfd = {.fd = fds[i], .events = POLLIN};
        if (poll(&pollfd, 1, 0) <= 0)
            continue;
        read_answer(fds[i], false, &answer);
        ck_assert_int_eq(answer.status, 503);
    }
    seen.release = true;
    close_all(fds, ARRAY_SIZE(fds));
}
END_TEST

START_TEST(gives_an_idle_connections_thread_to_a_new_one)
{
    int fds[40];
    struct answer answer;

    start((struct http_server_options){.threads = 8});
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
        fds[i] = connect_to_server();
        send_text(fds[i], GET("/hello"));
        read_answer(fds[i], false, &answer);
        ck_assert_int_eq(answer.status, 200);
    }
    close_all(fds, ARRAY_SIZE(fds));
}
END_TEST

/* --- Start and stop --- */

static void *stop_thread(void *grace_ms)
{
    uint64_t start_ms = clock_mono_ms();

    http_server_stop(server, *(uint64_t *)grace_ms);
    *(uint64_t *)grace_ms = clock_mono_ms() - start_ms;
    server = NULL;
    return NULL;
}

START_TEST(lets_requests_end_when_it_stops)
{
    struct answer answer;
    pthread_t thread;
    uint64_t grace_ms = 3000;

    start((struct http_server_options){0});
    uint16_t port = http_server_port(server);
    int idle = connect_to_server(), busy = connect_to_server();
    send_text(busy, GET("/wait"));
    while (seen.running == 0)
        clock_sleep_ms(1);
    ck_assert_int_eq(pthread_create(&thread, NULL, stop_thread, &grace_ms), 0);
    ck_assert(is_closed(idle));
    read_answer(busy, false, &answer); /* it has seen http_stopping */
    ck_assert_int_eq(answer.status, 200);
    ck_assert_str_eq(find_field(&answer, "Connection"), "close");
    pthread_join(thread, NULL);
    ck_assert_uint_lt(grace_ms, 1500);
    close(idle);
    close(busy);

    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ne(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    close(fd);
}
END_TEST

START_TEST(cuts_off_what_does_not_end_in_time)
{
    pthread_t thread;
    uint64_t grace_ms = 200;

    start((struct http_server_options){0});
    int upload = connect_to_server(), flood = connect_to_server();
    send_text(upload, "POST /upload HTTP/1.1\r\nContent-Length: 1000\r\n" END);
    send_text(flood, GET("/flood"));
    while (seen.running == 0)
        clock_sleep_ms(1);
    ck_assert_int_eq(pthread_create(&thread, NULL, stop_thread, &grace_ms), 0);
    pthread_join(thread, NULL);
    ck_assert_uint_ge(grace_ms, 200);
    ck_assert_uint_lt(grace_ms, 1500);
    ck_assert_int_eq(seen.last_result, -ERR_DISCONNECTED);
    close(upload);
    close(flood);
}
END_TEST

START_TEST(says_why_it_does_not_start)
{
    struct http_server_options options = {.host = "127.0.0.1", .routes = routes, .threads = 4, .trusted_proxies = ""};
    struct http_server *other = NULL;
    struct err e;

    start((struct http_server_options){0});
    options.port = http_server_port(server);
    ck_assert_int_eq(http_server_start(&options, &other, &e), -ERR_TEMPORARY);
    ck_assert_msg(strstr(e.text, "Address already in use") != NULL, "%s", e.text);
    options.port = 0;
    options.host = "256.1.1.1";
    ck_assert_int_lt(http_server_start(&options, &other, &e), 0);
    options.host = "127.0.0.1";
    options.trusted_proxies = "everybody";
    ck_assert_int_eq(http_server_start(&options, &other, &e), -ERR_INVALID);
    ck_assert_msg(strstr(e.text, "everybody") != NULL, "%s", e.text);
    options.trusted_proxies = "";
    options.threads = 1;
    ck_assert_int_eq(http_server_start(&options, &other, &e), -ERR_INVALID);
    options.threads = 4;
    for (uint64_t nth = 1; nth <= 4; nth++) {
        mem_fail_from(nth);
        ck_assert_int_eq(http_server_start(&options, &other, &e), -ERR_TEMPORARY);
        mem_fail_from(0);
    }
    ck_assert_ptr_null(other);
    http_server_stop(NULL, 0);
}
END_TEST

int main(void)
{
    const struct {
        const char *name;
        const TTest *test;
        int rows; /* 0: one test */
    } tests[] = {
        {"plain", answers_get, 0},
        {"plain", answers_head_without_the_body, 0},
        {"plain", gives_handlers_the_request, 0},
        {"plain", keeps_a_fields_value_on_its_line, 0},
        {"plain", takes_a_good_request_id_only, 0},
        {"plain", believes_trusted_proxies_only, 0},
        {"plain", answers_cors, 0},
        {"plain", shows_health_and_metrics, 0},
        {"refusals", refuses_with_a_problem, (int)ARRAY_SIZE(refusals)},
        {"refusals", bounds_headers, 0},
        {"refusals", reports_a_second_answer_and_sends_one, 0},
        {"connections", serves_pipelined_requests_in_order, 0},
        {"connections", obeys_connection_close, 0},
        {"connections", speaks_to_http_1_0, 0},
        {"connections", closes_idle_connections, 0},
        {"connections", waits_for_headers_so_long_only, 0},
        {"connections", cuts_off_a_ninth_slow_connection_of_one_peer, 0},
        {"bodies", streams_a_body_in, 0},
        {"bodies", reads_bodies_however_they_come, 0},
        {"bodies", reads_a_body_that_came_with_the_headers, 0},
        {"bodies", asks_for_the_body_when_the_client_waits, 0},
        {"bodies", does_not_ask_for_a_body_that_it_refuses, 0},
        {"bodies", lets_a_client_that_sends_everything_first_read_the_refusal, 0},
        {"bodies", keeps_the_connection_after_a_small_unread_body, 0},
        {"bodies", notices_a_client_that_goes_away, 0},
        {"bodies", ends_a_body_that_stops_coming, 0},
        {"bodies", ends_a_body_that_comes_too_slowly, 0},
        {"streams", streams_an_answer_out, 0},
        {"streams", does_not_let_a_cut_answer_look_complete, (int)ARRAY_SIZE(cuts)},
        {"streams", tells_a_handler_that_nobody_listens, 0},
        {"many", answers_health_checks_while_300_clients_are_slow_with_their_headers, 0},
        {"many", answers_health_checks_while_300_clients_are_slow_with_their_bodies, 0},
        {"many", answers_health_checks_while_all_others_are_busy, 0},
        {"many", gives_an_idle_connections_thread_to_a_new_one, 0},
        {"stop", lets_requests_end_when_it_stops, 0},
        {"stop", cuts_off_what_does_not_end_in_time, 0},
        {"stop", says_why_it_does_not_start, 0},
    };
    Suite *suite = suite_create("http_server");

    for (size_t i = 0; i < ARRAY_SIZE(tests); i++) {
        TCase *tcase = tcase_create(tests[i].name);
        tcase_set_timeout(tcase, 30);
        tcase_add_checked_fixture(tcase, setup, teardown);
        if (tests[i].rows == 0)
            tcase_add_test(tcase, tests[i].test);
        else
            tcase_add_loop_test(tcase, tests[i].test, 0, tests[i].rows);
        suite_add_tcase(suite, tcase);
    }
    return run_suite(suite);
}
