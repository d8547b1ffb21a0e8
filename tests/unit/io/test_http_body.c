#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "io/http_fixture.h"
#include "suite.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Bodies of requests and streamed answers. */

static char big[3 * 1024 * 1024];

START_TEST(streams_a_body_in)
{
    struct answer answer;

    http_fixture_start((struct http_server_options){0});
    http_fill(big, sizeof big);
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

    http_fixture_start((struct http_server_options){0});
    http_fill(big, sizeof big);
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

    http_fixture_start((struct http_server_options){0});
    http_fill(big, sizeof big);
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

    http_fixture_start((struct http_server_options){0});
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

    http_fixture_start((struct http_server_options){0});
    int fd = connect_to_server();
    send_text(fd, _i == 0 ? "POST /refuse HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n" END
                          : "POST /refuse HTTP/1.1\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n" END);
    read_answer(fd, false, &answer);
    ck_assert_int_eq(answer.status, http_fixture_backend == HTTP_POLL ? 503 : 413);
    ck_assert_str_eq(find_field(&answer, "Connection"), "close"); /* nobody knows whether the body comes */
    ck_assert(is_closed(fd));
    close(fd);
}
END_TEST

/* Sends far more than the sockets' buffers hold, and only then looks for the answer. */
START_TEST(lets_a_client_that_sends_everything_first_read_the_refusal)
{
    struct answer answer;

    http_fixture_start((struct http_server_options){0});
    int fd = connect_to_server();
    send_text(fd, "POST /refuse HTTP/1.1\r\nContent-Length: 31457280\r\n" END);
    for (int i = 0; i < 10; i++)
        send_bytes(fd, big, sizeof big);
    read_answer(fd, false, &answer);
    ck_assert_int_eq(answer.status, http_fixture_backend == HTTP_POLL ? 503 : 413);
    ck_assert_ptr_nonnull(strstr(answer.body, "\"detail\": "));
    close(fd);
}
END_TEST

START_TEST(keeps_the_connection_after_a_small_unread_body)
{
    struct answer answer;

    http_fixture_start((struct http_server_options){0});
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

START_TEST(notices_a_client_that_goes_away)
{
    static const struct linger at_once = {.l_onoff = 1};

    http_fixture_start((struct http_server_options){0});
    for (int reset = 0; reset < 2; reset++) {
        int fd = connect_to_server();
        http_seen.last_result = 0;
        http_seen.last_read = 0;
        send_text(fd, "POST /upload HTTP/1.1\r\nContent-Length: 1000\r\n" END);
        send_bytes(fd, "\x00\x01\x02", 3);
        while (http_seen.last_read < 3)
            clock_sleep_ms(1);
        if (reset)
            ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once), 0);
        close(fd);
        http_wait_for_result();
        ck_assert_int_eq(http_seen.last_result, -ERR_DISCONNECTED);
        ck_assert_uint_eq(http_seen.last_read, 3);
    }
    ck_assert_int_eq(ask(GET("/hello")).status, 200);
}
END_TEST

START_TEST(ends_a_body_that_stops_coming)
{
    struct answer answer;

    http_fixture_start((struct http_server_options){.idle_timeout_ms = 200});
    int fd = connect_to_server();
    send_text(fd, "POST /upload HTTP/1.1\r\nContent-Length: 100000\r\n" END);
    read_answer(fd, false, &answer);
    ck_assert_int_eq(answer.status, 408);
    ck_assert_int_eq(http_seen.last_result, -ERR_TIMEOUT);
    ck_assert_ptr_nonnull(strstr(answer.body, "no byte of the body came for 200 ms"));
    ck_assert(is_closed(fd));
    close(fd);
}
END_TEST

START_TEST(ends_a_body_that_comes_too_slowly)
{
    struct answer answer;

    http_fixture_start(
        (struct http_server_options){.idle_timeout_ms = 2000, .min_rate = 1000, .min_rate_window_ms = 300});
    int fd = connect_to_server();
    send_text(fd, "POST /upload HTTP/1.1\r\nContent-Length: 100000\r\n" END);
    for (int i = 0; i < 40 && http_seen.last_result == 0; i++) {
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

    http_fixture_start((struct http_server_options){0});
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

    http_fixture_start((struct http_server_options){0});
    int fd = connect_to_server();
    send_text(fd, cuts[_i].request);
    size_t len = receive(fd, head, sizeof head - 1); /* until the connection ends */
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

    http_fixture_start((struct http_server_options){0});
    int fd = connect_to_server();
    send_text(fd, GET("/flood"));
    ck_assert_uint_eq(receive(fd, scrap, sizeof scrap), sizeof scrap);
    close(fd);
    http_wait_for_result();
    ck_assert_int_eq(http_seen.last_result, -ERR_DISCONNECTED);
}
END_TEST

static TCase *make_case(enum http_backend backend)
{
    TCase *tcase = http_fixture_case(backend);

    if (backend == HTTP_POLL) {
        tcase_add_test(tcase, streams_a_body_in);
        tcase_add_test(tcase, reads_bodies_however_they_come);
        tcase_add_test(tcase, reads_a_body_that_came_with_the_headers);
        tcase_add_test(tcase, asks_for_the_body_when_the_client_waits);
        tcase_add_test(tcase, keeps_the_connection_after_a_small_unread_body);
        tcase_add_test(tcase, notices_a_client_that_goes_away);
        tcase_add_test(tcase, ends_a_body_that_stops_coming);
        tcase_add_test(tcase, ends_a_body_that_comes_too_slowly);
    }
    tcase_add_loop_test(tcase, does_not_ask_for_a_body_that_it_refuses, 0, 2);
    tcase_add_test(tcase, lets_a_client_that_sends_everything_first_read_the_refusal);
    tcase_add_test(tcase, streams_an_answer_out);
    tcase_add_loop_test(tcase, does_not_let_a_cut_answer_look_complete, 0, (int)ARRAY_SIZE(cuts));
    tcase_add_test(tcase, tells_a_handler_that_nobody_listens);
    return tcase;
}

int main(void)
{
    Suite *suite = suite_create("http_body");

    suite_add_tcase(suite, make_case(HTTP_CIVETWEB));
    suite_add_tcase(suite, make_case(HTTP_POLL));
    return run_suite(suite);
}
