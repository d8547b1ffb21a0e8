#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "io/http_fixture.h"
#include "suite.h"

#include <string.h>
#include <unistd.h>

/* What is answered to which request, good and bad. */

/* --- Plain requests --- */

/* 104 with its fields before the answer, but for those who know nothing of interim answers. */
START_TEST(informs_before_it_answers)
{
    static const char interim[] =
        "HTTP/1.1 104 Upload Resumption Supported\r\nLocation: /else?where\r\n\r\nHTTP/1.1 200 OK\r\n";
    char text[2048];

    http_fixture_start((struct http_server_options){0});
    for (int version = 0; version <= 1; version++) {
        int fd = connect_to_server();
        send_text(fd,
                  version == 1 ? "GET /inform HTTP/1.1\r\nConnection: close\r\n" END : "GET /inform HTTP/1.0\r\n" END);
        text[receive(fd, text, sizeof text - 1)] = '\0';
        ck_assert_int_eq(strncmp(text, interim, sizeof interim - 1) == 0, version == 1);
        ck_assert_ptr_nonnull(strstr(text, "\r\n\r\nhello"));
        close(fd);
    }
}
END_TEST

START_TEST(answers_get)
{
    http_fixture_start((struct http_server_options){0});
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

    http_fixture_start((struct http_server_options){0});
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
    http_fixture_start((struct http_server_options){0});
    struct answer answer = ask("GET /echo/a%20b/c/d.ts?p=1&q=x%2By HTTP/1.1\r\nx-test: 1\r\nX-Test: 2\r\n" END);

    ck_assert_str_eq(answer.body, "GET /echo/a b/c/d.ts id=a b rest=c/d.ts q=x+y x=1 peer=127.0.0.1");
    ck_assert_str_eq(find_field(&answer, "X-Bad"), "1");
    ck_assert_ptr_null(find_field(&answer, "X-None"));
}
END_TEST

START_TEST(keeps_a_fields_value_on_its_line)
{
    http_fixture_start((struct http_server_options){0});
    struct answer answer = ask("GET /echo/a/b HTTP/1.1\r\nX-Test: a b\xC3\xA4\r\n" END);

    ck_assert_str_eq(find_field(&answer, "X-Bad"), "a b\xC3\xA4");
}
END_TEST

START_TEST(takes_a_good_request_id_only)
{
    http_fixture_start((struct http_server_options){0});
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

    http_fixture_start((struct http_server_options){0});
    ck_assert_ptr_nonnull(strstr(ask(request).body, "peer=127.0.0.1"));
    http_server_stop(http_server, 0);
    http_fixture_start((struct http_server_options){.trusted_proxies = "127.0.0.0/8"});
    ck_assert_ptr_nonnull(strstr(ask(request).body, "peer=198.51.100.7"));
}
END_TEST

START_TEST(answers_cors)
{
    http_fixture_start((struct http_server_options){
        .cors_origins = "*", .cors_methods = "GET, POST", .cors_headers = "Content-Type", .cors_expose = "Location"});
    struct answer answer = ask(
        "OPTIONS /refuse HTTP/1.1\r\nOrigin: http://a\r\nAccess-Control-Request-Method: POST\r\n" END);

    ck_assert_int_eq(answer.status, 204);
    ck_assert_str_eq(find_field(&answer, "Access-Control-Allow-Origin"), "*");
    ck_assert_ptr_null(find_field(&answer, "Access-Control-Allow-Credentials"));
    ck_assert_ptr_null(find_field(&answer, "Vary")); /* everybody is told the same */
    ck_assert_str_eq(find_field(&answer, "Access-Control-Allow-Methods"), "GET, POST");
    ck_assert_str_eq(find_field(&answer, "Access-Control-Allow-Headers"), "Content-Type");
    ck_assert_str_eq(find_field(&answer, "Allow"), "POST, GET, HEAD, OPTIONS");
    ck_assert_ptr_null(find_field(&answer, "Content-Length"));
    answer = ask(GET("/hello"));
    ck_assert_str_eq(find_field(&answer, "Access-Control-Expose-Headers"), "Location");
    ck_assert_int_eq(ask("OPTIONS /none HTTP/1.1\r\n" END).status, 404);
    ck_assert_ptr_null(strstr(ask(GET("/stream?length=7")).head, "Access-Control")); /* not a route for others */
}
END_TEST

START_TEST(answers_origins_by_name)
{
    static const struct {
        const char *origins, *origin, *allowed;
    } rows[] = {
        {"http://a, https://b", "https://b", "https://b"},
        {"http://a, https://b", "https://c", NULL},
        {"http://a, *", "http://a", "http://a"},
        {"http://a, *", "http://c", "*"},
    };
    char request[256];

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        http_fixture_start((struct http_server_options){.cors_origins = rows[i].origins});
        str_format(request, sizeof request, "GET /hello HTTP/1.1\r\nOrigin: %s\r\n" END, rows[i].origin);
        struct answer answer = ask(request);
        ck_assert_str_eq(find_field(&answer, "Vary"), "Origin");
        const char *allowed = find_field(&answer, "Access-Control-Allow-Origin");
        ck_assert_int_eq(allowed != NULL, rows[i].allowed != NULL);
        if (allowed != NULL)
            ck_assert_str_eq(allowed, rows[i].allowed);
        bool is_named = allowed != NULL && *allowed != '*';
        ck_assert_int_eq(find_field(&answer, "Access-Control-Allow-Credentials") != NULL, is_named);
        http_server_stop(http_server, 0);
        http_server = NULL;
    }
}
END_TEST

/* What a browser sends without asking first. /refuse is for pages of other origins, /echo is not. */
static const struct {
    const char *origins, *path, *fields;
    int status;
} visitors[] = {
    {"http://a", "/echo/x", "", 200},
    {"http://a", "/echo/x", "Origin: http://localhost\r\n", 200},
    {"http://a", "/echo/x", "Origin: https://LOCALHOST\r\nSec-Fetch-Site: same-origin\r\n", 200},
    {"http://a", "/echo/x", "Sec-Fetch-Site: none\r\n", 200},
    {"http://a", "/echo/x", "Origin: http://b\r\nSec-Fetch-Site: same-origin\r\n", 200}, /* behind a proxy */
    {"http://a", "/echo/x", "Origin: http://a\r\n", 403},
    {"http://a", "/echo/x", "Origin: null\r\n", 403},
    {"*", "/echo/x", "Origin: http://localhost.b\r\n", 403},
    {"*", "/echo/x", "Origin: http://localhost\r\nSec-Fetch-Site: cross-site\r\n", 403},
    {"*", "/echo/x", "Sec-Fetch-Site: same-site\r\n", 403},
    {"*", "/echo/x", "Origin: http://b\r\nX-HTTP-Method-Override: PATCH\r\n", 403},
    {"*", "/refuse", "Origin: http://b\r\n", 503},
    {"*", "/refuse", "Origin: null\r\nSec-Fetch-Site: cross-site\r\n", 503},
    {"http://a", "/refuse", "Origin: http://a\r\nSec-Fetch-Site: cross-site\r\n", 503},
    {"http://a", "/refuse", "Origin: http://b\r\n", 403},
    {NULL, "/refuse", "Origin: http://b\r\n", 403},
};

START_TEST(lets_other_pages_change_nothing)
{
    char request[512];

    http_fixture_start((struct http_server_options){.cors_origins = visitors[_i].origins, .method_override = true});
    str_format(request, sizeof request, "POST %s HTTP/1.1\r\nContent-Length: 0\r\n%s" END, visitors[_i].path,
               visitors[_i].fields);
    ck_assert_int_eq(ask(request).status, visitors[_i].status);
}
END_TEST

START_TEST(leaves_options_to_a_handler)
{
    http_fixture_start((struct http_server_options){.cors_origins = "http://a", .cors_methods = "PATCH"});
    struct answer answer = ask(
        "OPTIONS /collect HTTP/1.1\r\nOrigin: http://a\r\nAccess-Control-Request-Method: PATCH\r\n" END);

    ck_assert_str_eq(answer.body, "hello");
    ck_assert_str_eq(find_field(&answer, "Access-Control-Allow-Origin"), "http://a");
    ck_assert_str_eq(find_field(&answer, "Access-Control-Allow-Methods"), "PATCH");
}
END_TEST

START_TEST(overrides_methods)
{
    static const char patch[] = "POST /echo/a HTTP/1.1\r\nX-HTTP-Method-Override: PATCH\r\n" END;
    struct answer answer;

    http_fixture_start((struct http_server_options){0});
    ck_assert(str_starts(ask(patch).body, "POST /echo/a")); /* unless it is asked to */
    http_server_stop(http_server, 0);
    http_fixture_start((struct http_server_options){.method_override = true});
    ck_assert(str_starts(ask(patch).body, "PATCH /echo/a"));
    ck_assert_int_eq(ask("POST /hello HTTP/1.1\r\nX-HTTP-Method-Override: DELETE\r\n" END).status, 405);
    ck_assert_int_eq(ask("POST /hello HTTP/1.1\r\nX-HTTP-Method-Override: \"\xFF\r\n" END).status, 405);

    /* The answer to a POST has its body even when it is asked as a HEAD: the client counts on it. */
    int fd = connect_to_server();
    send_text(fd, "POST /hello HTTP/1.1\r\nX-HTTP-Method-Override: HEAD\r\n" END
                  "HEAD /hello HTTP/1.1\r\nX-HTTP-Method-Override: GET\r\n" END GET("/hello"));
    read_answer(fd, false, &answer);
    ck_assert_str_eq(answer.body, "hello");
    read_answer(fd, true, &answer);
    ck_assert_int_eq(answer.status, 200);
    read_answer(fd, false, &answer);
    ck_assert_str_eq(answer.body, "hello");
    close(fd);
}
END_TEST

START_TEST(shows_health_and_metrics)
{
    http_fixture_start((struct http_server_options){0});
    ck_assert_str_eq(ask(GET("/healthz")).body, "{\"status\": \"ok\"}\n");
    struct answer answer = ask(GET("/metrics"));
    for (uint64_t start_ms = clock_mono_ms(); /* a request is counted when its answer is out */
         strstr(answer.body, "weir_http_requests_total{status=\"2xx\"}") == NULL; answer = ask(GET("/metrics")))
        ck_assert_uint_lt(clock_mono_ms() - start_ms, HTTP_LIMIT_MS);
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
    {GET("/hello?a=%zz"), 400, false, "The query"},
    {GET("/hello?a=%ff"), 400, false, "The query"},
    {GET("/echo/a/b?q=0123456789abcdef"), 400, false, "the value of q is too long"},
    {"GET /hello HTTP/1.1\r\n\r\n", 400, true, "Host"},
    {"GET /hello HTTP/1.1\r\n" HOST END, 400, true, "Host"},
    {"GET /hello HTTP/2.0\r\n" END, 505, true, "HTTP/1.1"},
    {"GET /hello\r\n\r\n", 400, true, "bad-request"},
    {"hello\r\n\r\n", 400, true, "bad-request"},
    {"\x16\x03\x01\x02", 400, true, "bad-request"}, /* TLS */
    {"BREW /hello HTTP/1.1\r\n" END, 400, true, "method"},
    {"POST /upload HTTP/1.1\r\nContent-Length: 5abc\r\n" HOST "\r\n\x00\x01\x02\x03\x04", 400, true,
     "ambiguous-length"},
    {"POST /upload HTTP/1.1\r\nContent-Length: -5\r\n" END, 400, true, "Bad Request"},
    {"POST /upload HTTP/1.1\r\nContent-Length:\r\n" END, 400, true, "Bad Request"},
    {"POST /upload HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n" END, 400, true, "more than one"},
    {"POST /upload HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 5\r\n" END, 400, true, "more than one"},
    {"POST /upload HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n" END "0\r\n\r\n", 400, true, "both"},
    {"POST /upload HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n" END "0\r\n\r\n", 400, true,
     "more than one Transfer-Encoding"},
    {"POST /upload HTTP/1.1\r\nTransfer-Encoding: gzip\r\n" END, 400, true, "bad-request"},
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

    http_fixture_start((struct http_server_options){0});
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

static const char *const with_bodies[] = {
    "POST /upload HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" END "1\r\nx\r\n0\r\n\r\n" GET("/hello"),
    "POST /upload HTTP/1.1\r\nContent-Length: 1\r\n" END "x" GET("/hello"),
    "GET /hello HTTP/1.1\r\nContent-Length: 1\r\n" END "x" GET("/hello"),
};

START_TEST(refuses_bodies_that_it_cannot_read)
{
    struct answer answer;

    http_fixture_start((struct http_server_options){0});
    int fd = connect_to_server();
    send_text(fd, with_bodies[_i]);
    read_answer(fd, false, &answer);
    ck_assert_int_eq(answer.status, 413);
    ck_assert(is_closed(fd));
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
    http_fixture_start((struct http_server_options){0});
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

    http_fixture_start((struct http_server_options){0});
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

    http_fixture_start((struct http_server_options){0});
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

    http_fixture_start((struct http_server_options){0});
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

    http_fixture_start((struct http_server_options){0});
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

static TCase *make_case(enum http_backend backend)
{
    TCase *tcase = http_fixture_case(backend);

    tcase_add_test(tcase, answers_get);
    tcase_add_test(tcase, informs_before_it_answers);
    tcase_add_test(tcase, answers_head_without_the_body);
    tcase_add_test(tcase, gives_handlers_the_request);
    tcase_add_test(tcase, keeps_a_fields_value_on_its_line);
    tcase_add_test(tcase, takes_a_good_request_id_only);
    tcase_add_test(tcase, believes_trusted_proxies_only);
    tcase_add_test(tcase, answers_cors);
    tcase_add_test(tcase, answers_origins_by_name);
    tcase_add_loop_test(tcase, lets_other_pages_change_nothing, 0, (int)ARRAY_SIZE(visitors));
    tcase_add_test(tcase, leaves_options_to_a_handler);
    tcase_add_test(tcase, overrides_methods);
    tcase_add_test(tcase, shows_health_and_metrics);
    tcase_add_loop_test(tcase, refuses_with_a_problem, 0, (int)ARRAY_SIZE(refusals));
    if (backend == HTTP_CIVETWEB)
        tcase_add_loop_test(tcase, refuses_bodies_that_it_cannot_read, 0, (int)ARRAY_SIZE(with_bodies));
    else
        tcase_add_test(tcase, serves_pipelined_requests_in_order);
    tcase_add_test(tcase, bounds_headers);
    tcase_add_test(tcase, reports_a_second_answer_and_sends_one);
    tcase_add_test(tcase, obeys_connection_close);
    tcase_add_test(tcase, speaks_to_http_1_0);
    return tcase;
}

int main(void)
{
    Suite *suite = suite_create("http_server");

    suite_add_tcase(suite, make_case(HTTP_CIVETWEB));
    suite_add_tcase(suite, make_case(HTTP_POLL));
    return run_suite(suite);
}
