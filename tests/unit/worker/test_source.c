#include "services/worker/source.h"

#include "../suite.h"
#include "base/clock.h"
#include "base/mem.h"
#include "flaky_store.h"
#include "services/worker/wire.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define WINDOW (64u << 10) /* with a cache of 1 MiB */
#define SIZE (5u * WINDOW + 1234)
#define KEY "v_01jd0000000000000000000000/source"

static struct flaky_store flaky;
static struct control control;
static struct source *source;
static int fd = -1; /* the child's end */
static unsigned char *content;

static void up(void)
{
    struct err e;

    flaky_store_start(&flaky);
    content = mem_alloc(SIZE);
    for (size_t i = 0; i < SIZE; i++)
        content[i] = (unsigned char)(i * 2654435761u >> 13);
    flaky_store_put(&flaky, "raw", KEY, content, SIZE);
    ck_assert_int_eq(control_init(&control, &e), 0);
}

static void down(void)
{
    if (fd >= 0)
        close(fd);
    source_free(source);
    control_release(&control);
    mem_free(content);
    flaky_store_stop(&flaky);
}

static int start(uint64_t patience_ms, struct err *e)
{
    return source_start(&(struct source_options){.store = flaky.store,
                                                 .bucket = "raw",
                                                 .key = KEY,
                                                 .cache_bytes = 1 << 20,
                                                 .patience_ms = patience_ms,
                                                 .control = &control},
                        &source, &fd, e);
}

static void start_well(void)
{
    struct err e = {0};

    ck_assert_msg(start(5000, &e) == 0, "%s", e.text);
}

static bool receive(void *to, size_t len)
{
    return recv(fd, to, len, MSG_WAITALL) == (ssize_t)len;
}

static struct wire_answer ask(uint64_t offset, uint32_t length, unsigned char *data)
{
    struct wire_request rq = {.offset = offset, .length = length};
    struct wire_answer answer = {.status = 99};

    ck_assert_int_eq(send(fd, &rq, sizeof rq, MSG_NOSIGNAL), sizeof rq);
    ck_assert(receive(&answer, sizeof answer));
    ck_assert(answer.length == 0 || receive(data, answer.length));
    return answer;
}

static const struct {
    uint64_t offset;
    uint32_t length, gives;
} reads[] = {
    {0, 0, 0}, /* the size only */
    {0, 1, 1},
    {0, 1000, 1000},
    {WINDOW - 10, 20, 20},         /* over a border */
    {100, 4 * WINDOW, 4 * WINDOW}, /* over many */
    {SIZE - 1, 1, 1},
    {SIZE - 100, 1000, 100}, /* cut at the end */
    {SIZE, 10, 0},
    {UINT64_MAX - 5, 10, 0},
    {3 * WINDOW, WINDOW, WINDOW},
};

START_TEST(gives_what_the_source_holds)
{
    static unsigned char data[WIRE_MAX_READ];

    start_well();
    ck_assert_uint_eq(source_size(source), SIZE);
    for (int again = 0; again < 2; again++) {
        struct wire_answer answer = ask(reads[_i].offset, reads[_i].length, data);
        ck_assert_uint_eq(answer.status, WIRE_OK);
        ck_assert_uint_eq(answer.size, SIZE);
        ck_assert_uint_eq(answer.length, reads[_i].gives);
        ck_assert_int_eq(memcmp(data, content + (answer.length == 0 ? 0 : reads[_i].offset), answer.length), 0);
    }
}
END_TEST

START_TEST(reads_ahead_when_read_in_order)
{
    unsigned char data[4096];

    start_well();
    for (uint64_t at = 0; at < SIZE; at += sizeof data) {
        struct wire_answer answer = ask(at, sizeof data, data);
        ck_assert_int_eq(memcmp(data, content + at, answer.length), 0);
    }
    ck_assert_int_eq(flaky.gets, 6); /* each window once */
    ck_assert_uint_eq(source_fetched(source), SIZE);
}
END_TEST

START_TEST(a_jump_costs_one_request)
{
    unsigned char data[64];

    start_well();
    ask(SIZE - 64, 64, data);
    ask(0, 64, data);
    ask(SIZE - 32, 32, data);
    ask(64, 64, data);
    clock_sleep_ms(50);
    ck_assert_int_eq(flaky.gets, 2);
}
END_TEST

START_TEST(tries_again_what_failed)
{
    unsigned char data[1000];

    start_well();
    flaky.failing = 3;
    struct wire_answer answer = ask(10, sizeof data, data);
    ck_assert_uint_eq(answer.status, WIRE_OK);
    ck_assert_int_eq(memcmp(data, content + 10, sizeof data), 0);
    ck_assert_int_ge(flaky.gets, 4);
}
END_TEST

START_TEST(goes_on_where_it_broke_off)
{
    static unsigned char data[WINDOW];

    start_well();
    flaky.cut_at = 50000;
    ask(0, WINDOW, data);
    ck_assert_int_eq(memcmp(data, content, WINDOW), 0);
    ck_assert_uint_eq(source_fetched(source), WINDOW); /* no byte twice */
}
END_TEST

START_TEST(tells_when_it_gave_up)
{
    unsigned char data[10];
    struct err e;

    ck_assert_int_eq(start(300, &e), 0);
    ck_assert_int_eq(source_check(source, &e), 0);
    flaky.failing = 1000;
    ck_assert_uint_eq(ask(0, sizeof data, data).status, WIRE_FAILED);
    ck_assert_int_eq(source_check(source, &e), -ERR_TEMPORARY);
    ck_assert_ptr_nonnull(strstr(e.text, "the store is away"));
    ck_assert_uint_eq(ask(0, sizeof data, data).status, WIRE_FAILED); /* for good */
}
END_TEST

START_TEST(notices_another_source)
{
    unsigned char data[10];
    struct err e;

    ck_assert_int_eq(start(300, &e), 0);
    ask(0, sizeof data, data);
    flaky_store_put(&flaky, "raw", KEY, content, SIZE - 5);
    ck_assert_uint_eq(ask(3 * WINDOW, sizeof data, data).status, WIRE_FAILED);
    ck_assert_int_eq(source_check(source, &e), -ERR_TEMPORARY);
    ck_assert_ptr_nonnull(strstr(e.text, "changed"));
}
END_TEST

START_TEST(needs_a_source)
{
    struct err e;
    struct source *none = NULL;
    int none_fd;
    const struct source_options options = {
        .store = flaky.store, .bucket = "raw", .key = "v_x/source", .cache_bytes = 1 << 20, .control = &control};

    ck_assert_int_eq(source_start(&options, &none, &none_fd, &e), -ERR_NOT_FOUND);
    ck_assert_ptr_null(none);
}
END_TEST

START_TEST(a_request_that_is_too_large_ends_it)
{
    struct wire_request rq = {.length = WIRE_MAX_READ + 1};
    char c;

    start_well();
    ck_assert_int_eq(send(fd, &rq, sizeof rq, MSG_NOSIGNAL), sizeof rq);
    ck_assert_int_eq(recv(fd, &c, 1, 0), 0);
}
END_TEST

START_TEST(a_stop_ends_the_waiting)
{
    struct wire_request rq = {.length = 10};
    uint64_t start_ms = clock_mono_ms();
    struct err e;

    ck_assert_int_eq(start(60000, &e), 0);
    flaky.failing = 1000000;
    ck_assert_int_eq(send(fd, &rq, sizeof rq, MSG_NOSIGNAL), sizeof rq);
    clock_sleep_ms(200);
    control_stop(&control, STOP_CANCELLED);
    source_free(source);
    source = NULL;
    ck_assert_uint_lt(clock_mono_ms() - start_ms, 5000);
}
END_TEST

START_TEST(failing_allocations_are_failures)
{
    struct err e;
    int r = -1;

    for (uint64_t nth = 1; r != 0; nth++) {
        mem_fail_from(nth);
        r = start(0, &e);
        mem_fail_from(0);
        ck_assert(r == 0 || r == -ERR_TEMPORARY);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("source");
    TCase *tcase = tcase_create("bytes");

    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, up, down);
    tcase_add_loop_test(tcase, gives_what_the_source_holds, 0, (int)ARRAY_SIZE(reads));
    tcase_add_test(tcase, reads_ahead_when_read_in_order);
    tcase_add_test(tcase, a_jump_costs_one_request);
    tcase_add_test(tcase, tries_again_what_failed);
    tcase_add_test(tcase, goes_on_where_it_broke_off);
    tcase_add_test(tcase, tells_when_it_gave_up);
    tcase_add_test(tcase, notices_another_source);
    tcase_add_test(tcase, needs_a_source);
    tcase_add_test(tcase, a_request_that_is_too_large_ends_it);
    tcase_add_test(tcase, a_stop_ends_the_waiting);
    tcase_add_test(tcase, failing_allocations_are_failures);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
