#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "io/http_fixture.h"
#include "suite.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* What only HTTP_POLL can do: chunked bodies, trailers, wake-ups, connections without a thread. */

#define CHUNKED(path) "POST " path " HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" END

static void start(void)
{
    http_fixture_start((struct http_server_options){0});
}

/* --- Chunked bodies --- */

static const struct {
    const char *body, *text; /* of /collect */
    bool closes;
} bodies[] = {
    {"0\r\n\r\n", "", false},
    {"5\r\nhello\r\n0\r\n\r\n", "hello", false},
    {"1\r\na\r\n0A\r\nbcdefghijk\r\n0\r\n\r\n", "abcdefghijk", false},
    {"5;name=value;q=\"x\"\r\nhello\r\n0;last\r\n\r\n", "hello", false},
    {"5\r\nhello\r\n0\r\nX-Sum: 7\r\nX-Other: 8\r\n\r\n", "hello trailer=7", false},
    {"5\r\nhelloX\n0\r\n\r\n", "hello end=invalid", true},
    {"5\r\nhello\r\n+5\r\nworld\r\n0\r\n\r\n", "hello end=invalid", true},
    {"5\r\nhello\r\n0\r\nContent-Length: 5\r\n\r\n", "hello end=invalid", true},
    {"5\nhello\n0\n\n", " end=invalid", true},
};

START_TEST(reads_chunks)
{
    struct answer answer;

    start();
    int fd = connect_to_server();
    send_text(fd, CHUNKED("/collect"));
    send_text(fd, bodies[_i].body);
    read_answer(fd, false, &answer);
    ck_assert_str_eq(answer.body, bodies[_i].text);
    ck_assert_int_eq(find_field(&answer, "Connection") != NULL, bodies[_i].closes);
    if (!bodies[_i].closes) {
        send_text(fd, GET("/hello"));
        read_answer(fd, false, &answer);
        ck_assert_str_eq(answer.body, "hello");
    }
    close(fd);
}
END_TEST

static const struct {
    const char *body;
    size_t len;
} cuts[] = {
    {"5\r\nhello\r\n5\r\nwor", 8},
    {"5\r\nhello\r\n0\r\n", 5},
    {"5\r\nhello\r\n5;ex", 5},
    {"5\r\nhello\r\n5\r\nworld\r", 10},
    {"", 0},
};

START_TEST(keeps_what_came_before_the_line_was_cut)
{
    start();
    int fd = connect_to_server();
    send_text(fd, CHUNKED("/collect"));
    send_text(fd, cuts[_i].body);
    close(fd);
    http_wait_for_result();
    ck_assert_int_eq(http_seen.last_result, -ERR_DISCONNECTED);
    ck_assert_uint_eq(http_seen.last_read, cuts[_i].len);
}
END_TEST

static char big[3 * 1024 * 1024];

/* Sizes on both sides of every buffer. */
START_TEST(reads_big_chunks)
{
    static const size_t sizes[] = {1, 4095, 4096, 4097, 8190, 24 * 1024, 100000, 1000000};
    struct answer answer;
    char size[32];

    start();
    http_fill(big, sizeof big);
    int fd = connect_to_server();
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        send_text(fd, CHUNKED("/upload"));
        for (size_t at = 0, step; at < sizeof big; at += step) {
            step = sizeof big - at < sizes[i] ? sizeof big - at : sizes[i];
            if (i == 0 && at == 5000) /* a byte each gets long */
                step = sizeof big - at;
            str_format(size, sizeof size, "%zx\r\n", step);
            send_text(fd, size);
            send_bytes(fd, big + at, step);
            send_text(fd, "\r\n");
        }
        send_text(fd, "0\r\n\r\n");
        read_answer(fd, false, &answer);
        ck_assert_str_eq(answer.body, "3145728");
    }
    close(fd);
}
END_TEST

START_TEST(serves_pipelined_chunked_requests)
{
    struct answer answer;

    start();
    int fd = connect_to_server();
    send_text(fd, CHUNKED("/collect") "3\r\none\r\n0\r\nX-Sum: 1\r\n\r\n" CHUNKED(
                      "/collect") "3\r\ntwo\r\n0\r\n\r\n"
                                  "POST /collect HTTP/1.1\r\nContent-Length: 5\r\n" END
                                  "three" CHUNKED("/refuse") "4\r\ndrop\r\n0\r\n\r\n"
                                                             "\r\n" GET("/hello"));
    static const char *const texts[] = {"one trailer=1", "two", "three", NULL, "hello"};
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        read_answer(fd, false, &answer);
        if (texts[i] == NULL)
            ck_assert_int_eq(answer.status, 503);
        else
            ck_assert_str_eq(answer.body, texts[i]);
    }
    close(fd);
}
END_TEST

START_TEST(asks_for_chunks_only_when_it_wants_them)
{
    struct answer answer;

    start();
    int fd = connect_to_server();
    send_text(fd, "POST /collect HTTP/1.1\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n" END);
    read_answer(fd, false, &answer);
    ck_assert_int_eq(answer.status, 100);
    send_text(fd, "1\r\nx\r\n0\r\n\r\n");
    read_answer(fd, false, &answer);
    ck_assert_str_eq(answer.body, "x");
    send_text(fd, "POST /refuse HTTP/1.1\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n" END);
    read_answer(fd, false, &answer);
    ck_assert_int_eq(answer.status, 503);
    ck_assert(is_closed(fd));
    close(fd);
}
END_TEST

/* What stands between the bytes of a body is none of them. */
START_TEST(ends_chunks_that_never_get_anywhere)
{
    struct answer answer;

    http_fixture_start((struct http_server_options){.idle_timeout_ms = 300});
    int fd = connect_to_server();
    send_text(fd, CHUNKED("/upload") "5;");
    for (int i = 0; i < 100 && http_seen.last_result == 0; i++) {
        send_text(fd, "x");
        clock_sleep_ms(20);
    }
    ck_assert_int_eq(http_seen.last_result, -ERR_TIMEOUT);
    read_answer(fd, false, &answer);
    ck_assert_int_eq(answer.status, 408);
    close(fd);
}
END_TEST

START_TEST(is_cut_off_in_the_middle_of_a_chunk)
{
    start();
    int fd = connect_to_server();
    send_text(fd, CHUNKED("/collect") "5\r\nhel");
    while (http_seen.last_read < 3)
        clock_sleep_ms(1);
    http_server_stop(http_server, 50);
    http_server = NULL;
    ck_assert_int_eq(http_seen.last_result, -ERR_DISCONNECTED);
    close(fd);
}
END_TEST

/* --- Wake-ups --- */

START_TEST(wakes_a_blocked_read)
{
    struct answer answer;
    uint64_t one = 1;

    start();
    http_seen.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int fd = connect_to_server();
    send_text(fd, CHUNKED("/collect") "3\r\none\r\n");
    while (http_seen.last_read < 3)
        clock_sleep_ms(1);
    uint64_t start_ms = clock_mono_ms();
    ck_assert_int_eq(write(http_seen.wake_fd, &one, sizeof one), sizeof one);
    while (http_seen.wakes == 0)
        clock_sleep_ms(1);
    ck_assert_uint_lt(clock_mono_ms() - start_ms, HTTP_LIMIT_MS);
    send_text(fd, "3\r\ntwo\r\n0\r\n\r\n");
    read_answer(fd, false, &answer);
    ck_assert_str_eq(answer.body, "onetwo");
    close(fd);
    close(http_seen.wake_fd);
}
END_TEST

/* --- Many connections --- */

static size_t count_threads(void)
{
    DIR *tasks = opendir("/proc/self/task");
    size_t n = 0;

    ck_assert_ptr_nonnull(tasks);
    for (const struct dirent *entry = readdir(tasks); entry != NULL; entry = readdir(tasks))
        n += *entry->d_name != '.';
    closedir(tasks);
    return n;
}

#define IDLE 2000

START_TEST(needs_no_thread_for_idle_connections)
{
    struct rlimit limit = {.rlim_cur = 4 * IDLE, .rlim_max = 4 * IDLE};
    static int fds[IDLE];
    struct answer answer;

    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    http_fixture_start((struct http_server_options){.threads = 256});
    size_t threads = count_threads();
    for (int i = 0; i < IDLE; i++) {
        fds[i] = connect_to_server();
        ck_assert_int_ge(fds[i], 0);
        if (i % 2 == 0)
            continue; /* half of them never said anything */
        send_text(fds[i], GET("/hello"));
        read_answer(fds[i], false, &answer);
        ck_assert_int_eq(answer.status, 200);
    }
    for (uint64_t start_ms = clock_mono_ms(); count_threads() > threads;) {
        ck_assert_uint_lt(clock_mono_ms() - start_ms, HTTP_LIMIT_MS);
        clock_sleep_ms(20);
    }
    for (int i = 0; i < IDLE; i += 97) { /* and they work */
        send_text(fds[i], GET("/hello"));
        read_answer(fds[i], false, &answer);
        ck_assert_int_eq(answer.status, 200);
    }
    for (int i = 0; i < IDLE; i++)
        close(fds[i]);
}
END_TEST

/* --- Slow heads --- */

#define CROWD 12

/* 408, or nothing, of connections that have each been served once. */
static size_t count_refused(const char *trusted_proxies)
{
    struct answer answer;
    int fds[CROWD];
    size_t refused = 0;

    http_fixture_start((struct http_server_options){.trusted_proxies = trusted_proxies});
    for (size_t i = 0; i < CROWD; i++) {
        fds[i] = connect_to_server();
        send_text(fds[i], GET("/hello") "GET /hel");
        read_answer(fds[i], false, &answer);
        ck_assert_int_eq(answer.status, 200);
    }
    clock_sleep_ms(1800); /* a second and a tick, and some */
    for (size_t i = 0; i < CROWD; i++) {
        char byte;
        refused += recv(fds[i], &byte, 1, MSG_DONTWAIT) == 1;
        close(fds[i]);
    }
    http_server_stop(http_server, 0);
    http_server = NULL;
    return refused;
}

START_TEST(thins_out_the_slow_heads_of_a_peer)
{
    ck_assert_uint_eq(count_refused(""), CROWD - 8);
    ck_assert_uint_eq(count_refused("127.0.0.1"), 0);
}
END_TEST

/* --- More connections than there may be --- */

/* Opens connections and asks on each, the last one too; the exit status tells. Runs in a process with descriptors of its
 * own, which waits for the port. */
static pid_t fork_client(int ports, int count)
{
    struct answer answer;
    pid_t pid = fork();

    ck_assert_int_ge(pid, 0);
    if (pid != 0)
        return pid;
    if (read(ports, &http_fixture_port, sizeof http_fixture_port) != sizeof http_fixture_port)
        _exit(2);
    for (int i = 0; i < count; i++) {
        int fd = connect_to_server(); /* and stays open */
        send_text(fd, GET("/hello"));
        read_answer(fd, false, &answer);
        if (answer.status != 200)
            _exit(3);
    }
    _exit(0);
}

static void expect_success(pid_t pid, int ports)
{
    int status;

    ck_assert_int_eq(write(ports, &http_fixture_port, sizeof http_fixture_port), sizeof http_fixture_port);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
}

static size_t count_descriptors(void)
{
    size_t n = 0;

    for (int fd = 0; fd < 1024; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

START_TEST(makes_room_for_new_connections)
{
    struct rlimit limit = {.rlim_cur = 64, .rlim_max = 64};
    int ports[2];

    ck_assert_int_eq(pipe2(ports, O_CLOEXEC), 0);
    pid_t pid = fork_client(ports[0], 200);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    start();
    expect_success(pid, ports[1]);
    ck_assert_uint_lt(count_descriptors(), 64);
}
END_TEST

START_TEST(survives_without_descriptors)
{
    struct rlimit limit = {.rlim_cur = 64, .rlim_max = 64};
    int ports[2], fd, last = -1;

    ck_assert_int_eq(pipe2(ports, O_CLOEXEC), 0);
    pid_t pid = fork_client(ports[0], 50);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    start();
    while ((fd = dup(0)) >= 0)
        last = fd;
    close(last); /* one is left for all connections */
    expect_success(pid, ports[1]);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("http_poll");
    TCase *tcase = http_fixture_case(HTTP_POLL);

    tcase_add_loop_test(tcase, reads_chunks, 0, (int)ARRAY_SIZE(bodies));
    tcase_add_loop_test(tcase, keeps_what_came_before_the_line_was_cut, 0, (int)ARRAY_SIZE(cuts));
    tcase_add_test(tcase, reads_big_chunks);
    tcase_add_test(tcase, serves_pipelined_chunked_requests);
    tcase_add_test(tcase, asks_for_chunks_only_when_it_wants_them);
    tcase_add_test(tcase, ends_chunks_that_never_get_anywhere);
    tcase_add_test(tcase, is_cut_off_in_the_middle_of_a_chunk);
    tcase_add_test(tcase, wakes_a_blocked_read);
    tcase_add_test(tcase, needs_no_thread_for_idle_connections);
    tcase_add_test(tcase, thins_out_the_slow_heads_of_a_peer);
    tcase_add_test(tcase, makes_room_for_new_connections);
    tcase_add_test(tcase, survives_without_descriptors);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
