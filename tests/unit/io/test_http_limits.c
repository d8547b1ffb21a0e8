#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "io/http_fixture.h"
#include "suite.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

/* Slow clients, many clients, and the end of the server. */

static size_t count_readable(const int *fds, size_t count)
{
    size_t n = 0;

    for (size_t i = 0; i < count; i++) {
        struct pollfd pollfd = {.fd = fds[i], .events = POLLIN};
        n += poll(&pollfd, 1, 0) > 0;
    }
    return n;
}

static void wait_until_readable(const int *fds, size_t count, size_t wanted)
{
    for (uint64_t start_ms = clock_mono_ms(); count_readable(fds, count) < wanted;) {
        ck_assert_uint_lt(clock_mono_ms() - start_ms, HTTP_LIMIT_MS);
        clock_sleep_ms(10);
    }
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

/* --- Slow clients --- */

START_TEST(closes_idle_connections)
{
    struct answer answer;

    http_fixture_start((struct http_server_options){.header_timeout_ms = 300, .keep_alive_timeout_ms = 300});
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

    http_fixture_start((struct http_server_options){.header_timeout_ms = 600});
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

START_TEST(gives_up_on_a_client_that_takes_nothing)
{
    http_fixture_start((struct http_server_options){.stall_timeout_ms = 200});
    int fd = connect_to_server();
    send_text(fd, GET("/flood"));
    http_wait_for_result();
    ck_assert_int_eq(http_seen.last_result, -ERR_DISCONNECTED);
    close(fd);
}
END_TEST

START_TEST(cuts_off_a_ninth_slow_connection_of_one_peer)
{
    int fds[12];

    http_fixture_start((struct http_server_options){.threads = 64});
    open_slow_clients(fds, ARRAY_SIZE(fds), "GET /hello HTTP/1.1\r\n");
    wait_until_readable(fds, ARRAY_SIZE(fds), 4);
    clock_sleep_ms(600); /* a tick later the other eight are still there */
    ck_assert_uint_eq(count_readable(fds, ARRAY_SIZE(fds)), 4);
    close_all(fds, ARRAY_SIZE(fds));
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

#define SLOW 300

START_TEST(answers_health_checks_while_300_clients_are_slow_with_their_headers)
{
    static int fds[SLOW];

    allow_descriptors();
    http_fixture_start((struct http_server_options){.threads = 256});
    open_slow_clients(fds, SLOW, "GET /hello HTTP/1.1\r\nX-Slow: ");
    for (int i = 0; i < 10; i++)
        assert_health(2000);
    close_all(fds, SLOW);
}
END_TEST

START_TEST(answers_health_checks_while_300_clients_are_slow_with_their_bodies)
{
    static int fds[SLOW];
    const size_t admitted = 256 - 32;
    struct answer answer;

    allow_descriptors();
    http_fixture_start((struct http_server_options){.threads = 256});
    open_slow_clients(fds, SLOW, "POST /upload HTTP/1.1\r\nContent-Length: 1000000\r\n" END);
    for (int i = 0; i < 10; i++)
        assert_health(2000);
    wait_until_readable(fds, SLOW, SLOW - admitted);
    for (size_t i = 0; i < SLOW; i++) {
        if (count_readable(fds + i, 1) == 0)
            continue;
        read_answer(fds[i], false, &answer);
        if (answer.status == 0) /* this machine took so long to send that the guard was faster */
            continue;
        ck_assert_int_eq(answer.status, 503);
        ck_assert_str_eq(find_field(&answer, "Retry-After"), "5");
    }
    ck_assert_uint_eq(count_readable(fds, SLOW), SLOW - admitted); /* closed; the others are still listened to */
    close_all(fds, SLOW);
}
END_TEST

START_TEST(answers_health_checks_while_all_others_are_busy)
{
    int fds[16];
    struct answer answer;

    http_fixture_start((struct http_server_options){.threads = 8});
    open_slow_clients(fds, ARRAY_SIZE(fds), GET("/wait"));
    wait_until_readable(fds, ARRAY_SIZE(fds), 10); /* two threads are kept */
    assert_health(2000);
    while (http_seen.running < 6)
        clock_sleep_ms(1);
    ck_assert_uint_eq(http_seen.running, 6);
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
        if (count_readable(fds + i, 1) == 0)
            continue;
        read_answer(fds[i], false, &answer);
        ck_assert(answer.status == 503 || answer.status == 0);
    }
    http_seen.release = true;
    close_all(fds, ARRAY_SIZE(fds));
}
END_TEST

/* Who asks again and again for what is always served, and takes no answer. */
START_TEST(answers_health_checks_while_others_do_not_read_theirs)
{
    static const char metrics[] = GET("/metrics");
    int fds[16], few = 4096;

    http_fixture_start((struct http_server_options){.threads = 8});
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
        fds[i] = connect_to_server();
        setsockopt(fds[i], SOL_SOCKET, SO_RCVBUF, &few, sizeof few);
        while (send(fds[i], metrics, sizeof metrics - 1, MSG_DONTWAIT | MSG_NOSIGNAL) == sizeof metrics - 1)
            ;
    }
    for (int i = 0; i < 3; i++)
        assert_health(4000);
    close_all(fds, ARRAY_SIZE(fds));
}
END_TEST

START_TEST(gives_an_idle_connections_thread_to_a_new_one)
{
    int fds[40];
    struct answer answer;

    http_fixture_start((struct http_server_options){.threads = 8});
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

    http_server_stop(http_server, *(uint64_t *)grace_ms);
    *(uint64_t *)grace_ms = clock_mono_ms() - start_ms;
    http_server = NULL;
    return NULL;
}

START_TEST(lets_requests_end_when_it_stops)
{
    struct answer answer;
    pthread_t thread;
    uint64_t grace_ms = 3000;

    http_fixture_start((struct http_server_options){0});
    uint16_t port = http_server_port(http_server);
    int idle = connect_to_server(), busy = connect_to_server();
    send_text(busy, GET("/wait"));
    while (http_seen.running == 0)
        clock_sleep_ms(1);
    ck_assert_int_eq(pthread_create(&thread, NULL, stop_thread, &grace_ms), 0);
    ck_assert(is_closed(idle));
    read_answer(busy, false, &answer); /* it has seen http_stopping */
    ck_assert_int_eq(answer.status, 200);
    ck_assert_str_eq(find_field(&answer, "Connection"), "close");
    pthread_join(thread, NULL);
    ck_assert_uint_lt(grace_ms, 2900);
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

    http_fixture_start((struct http_server_options){0});
    int upload = connect_to_server(), flood = connect_to_server();
    send_text(upload, "POST /upload HTTP/1.1\r\nContent-Length: 1000\r\n" END);
    send_text(flood, GET("/flood"));
    while (http_seen.running == 0)
        clock_sleep_ms(1);
    ck_assert_int_eq(pthread_create(&thread, NULL, stop_thread, &grace_ms), 0);
    pthread_join(thread, NULL);
    ck_assert_uint_ge(grace_ms, 200);
    ck_assert_uint_lt(grace_ms, HTTP_LIMIT_MS);
    ck_assert_int_eq(http_seen.last_result, -ERR_DISCONNECTED);
    close(upload);
    close(flood);
}
END_TEST

static void wait_until_it_stops(void)
{
    for (int fd; (fd = connect_to_server()) >= 0; close(fd))
        clock_sleep_ms(1);
}

/* They have been let in and are about to ask. */
START_TEST(answers_those_who_came_before_it_stopped)
{
    pthread_t thread;
    uint64_t grace_ms = 5000;
    struct answer answer;
    int fds[4];

    http_fixture_start((struct http_server_options){0});
    open_slow_clients(fds, ARRAY_SIZE(fds), "");
    ck_assert_int_eq(pthread_create(&thread, NULL, stop_thread, &grace_ms), 0);
    wait_until_it_stops();
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
        send_text(fds[i], i % 2 == 0 ? GET("/hello") : "GET /hello HTTP/1.1\r\n");
        send_text(fds[i], i % 2 == 0 ? "" : END);
    }
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
        read_answer(fds[i], false, &answer);
        ck_assert_int_eq(answer.status, 200);
    }
    close_all(fds, ARRAY_SIZE(fds));
    pthread_join(thread, NULL);
    ck_assert_uint_lt(grace_ms, 4900);
}
END_TEST

static char megabyte[1 << 20];

START_TEST(lets_a_refusal_be_read_while_it_stops)
{
    pthread_t thread;
    uint64_t grace_ms = 5000;
    struct answer answer;

    http_fixture_start((struct http_server_options){0});
    int fd = connect_to_server();
    send_text(fd, "POST /refuse HTTP/1.1\r\nContent-Length: 31457280\r\n" END);
    wait_until_readable(&fd, 1, 1);
    ck_assert_int_eq(pthread_create(&thread, NULL, stop_thread, &grace_ms), 0);
    wait_until_it_stops();
    for (int i = 0; i < 8; i++)
        ck_assert_int_eq(send(fd, megabyte, sizeof megabyte, MSG_NOSIGNAL), sizeof megabyte);
    read_answer(fd, false, &answer);
    ck_assert_int_eq(answer.status, 503);
    close(fd);
    pthread_join(thread, NULL);
}
END_TEST

START_TEST(says_why_it_does_not_start)
{
    struct http_server_options options = {
        .host = "127.0.0.1", .routes = http_fixture_routes, .threads = 4, .trusted_proxies = ""};
    struct http_server *other = NULL;
    struct err e;

    http_fixture_start((struct http_server_options){0});
    options.port = http_server_port(http_server);
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

static TCase *make_case(enum http_backend backend)
{
    TCase *tcase = http_fixture_case(backend);

    tcase_add_test(tcase, closes_idle_connections);
    tcase_add_test(tcase, waits_for_headers_so_long_only);
    tcase_add_test(tcase, gives_up_on_a_client_that_takes_nothing);
    tcase_add_test(tcase, cuts_off_a_ninth_slow_connection_of_one_peer);
    tcase_add_test(tcase, answers_health_checks_while_300_clients_are_slow_with_their_headers);
    if (backend == HTTP_POLL) {
        tcase_add_test(tcase, answers_health_checks_while_300_clients_are_slow_with_their_bodies);
        tcase_add_test(tcase, answers_health_checks_while_others_do_not_read_theirs);
    }
    tcase_add_test(tcase, answers_health_checks_while_all_others_are_busy);
    tcase_add_test(tcase, gives_an_idle_connections_thread_to_a_new_one);
    tcase_add_test(tcase, lets_requests_end_when_it_stops);
    tcase_add_test(tcase, cuts_off_what_does_not_end_in_time);
    if (backend == HTTP_POLL) {
        tcase_add_test(tcase, answers_those_who_came_before_it_stopped);
        tcase_add_test(tcase, lets_a_refusal_be_read_while_it_stops);
    }
    tcase_add_test(tcase, says_why_it_does_not_start);
    return tcase;
}

int main(void)
{
    Suite *suite = suite_create("http_limits");

    suite_add_tcase(suite, make_case(HTTP_CIVETWEB));
    suite_add_tcase(suite, make_case(HTTP_POLL));
    return run_suite(suite);
}
