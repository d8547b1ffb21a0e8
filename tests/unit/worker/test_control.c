#include "services/worker/control.h"

#include "../suite.h"
#include "base/clock.h"
#include "base/mem.h"

#include <poll.h>
#include <string.h>

static struct control control;

static void up(void)
{
    struct err e;

    ck_assert_int_eq(control_init(&control, &e), 0);
}

static void down(void)
{
    control_release(&control);
}

static bool awake(void)
{
    struct pollfd poll_fd = {.fd = control.wake_fd, .events = POLLIN};

    return poll(&poll_fd, 1, 0) == 1;
}

START_TEST(the_first_reason_stays)
{
    struct err e = {0};

    ck_assert_int_eq(control_check(&control, &e), 0);
    ck_assert(!awake());
    control_stop(&control, STOP_CANCELLED);
    control_stop(&control, STOP_STALE);
    ck_assert_int_eq(control_stopped(&control), STOP_CANCELLED);
    ck_assert_int_eq(control_check(&control, &e), -ERR_STALE);
    ck_assert_str_eq(e.text, "stopped: cancelled");
    ck_assert(awake());
}
END_TEST

START_TEST(nudges_wake_until_they_are_taken)
{
    control_nudge(&control);
    control_nudge(&control);
    ck_assert(awake());
    control_calm(&control);
    ck_assert(!awake());
    control_calm(&control);
}
END_TEST

static const struct {
    struct progress_block block;
    bool transcoded;
    uint64_t left_ms;
    bool fits;
} fits[] = {
    {{0}, false, 3600000, false}, /* nothing known: hand it back */
    {{.out_time_us = 50000000, .duration_us = 60000000, .speed = 1}, false, 12000, true},
    {{.out_time_us = 50000000, .duration_us = 60000000, .speed = 1}, false, 11000, false}, /* no time to publish */
    {{.out_time_us = 50000000, .duration_us = 60000000, .speed = 10}, false, 3000, true},
    {{.out_time_us = 50000000, .duration_us = 60000000, .speed = 0}, false, 1000000, false},
    {{.out_time_us = 50000000, .speed = 1}, false, 1000000, false}, /* a length that is not known */
    {{0}, true, 3000, true},
    {{0}, true, 0, false},
};

START_TEST(tells_what_fits)
{
    control_progress(&control, &fits[_i].block);
    if (fits[_i].transcoded)
        control_transcoded(&control);
    ck_assert_int_eq(control_fits(&control, fits[_i].left_ms), fits[_i].fits);
}
END_TEST

START_TEST(counts_progress)
{
    struct progress_block block;

    ck_assert_uint_eq(control_look(&control, &block), 0);
    control_progress(&control, &(struct progress_block){.frame = 7});
    ck_assert_uint_eq(control_look(&control, &block), 1);
    ck_assert_uint_eq(block.frame, 7);
}
END_TEST

START_TEST(retries_temporary_failures_for_a_while)
{
    struct patience patience = {.max_ms = 400};
    uint64_t start_ms = clock_mono_ms();
    unsigned tries = 0;

    ck_assert(!control_retry(&control, &patience, 0));
    ck_assert(!control_retry(&control, &patience, -ERR_NOT_FOUND));
    while (control_retry(&control, &patience, -ERR_TEMPORARY))
        tries++;
    ck_assert_uint_ge(tries, 2);
    ck_assert_uint_ge(clock_mono_ms() - start_ms, 400);
    ck_assert_uint_lt(clock_mono_ms() - start_ms, 5000);
}
END_TEST

static void *stop_soon(void *unused)
{
    (void)unused;
    clock_sleep_ms(50);
    control_stop(&control, STOP_STALE);
    return NULL;
}

START_TEST(a_stop_ends_the_patience)
{
    struct patience patience = {.max_ms = 3600000, .tries = 20, .since_ms = clock_mono_ms()};
    uint64_t start_ms = clock_mono_ms();
    pthread_t thread;

    ck_assert_int_eq(pthread_create(&thread, NULL, stop_soon, NULL), 0);
    while (control_retry(&control, &patience, -ERR_TEMPORARY))
        ;
    pthread_join(thread, NULL);
    ck_assert_uint_lt(clock_mono_ms() - start_ms, 3000);
    ck_assert(!control_retry(&control, &patience, -ERR_TEMPORARY));
}
END_TEST

START_TEST(every_reason_has_a_name)
{
    for (int why = 0; why < STOPS; why++)
        ck_assert_uint_gt(strlen(stop_name((enum stop)why)), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("control");
    TCase *tcase = tcase_create("jobs");

    tcase_set_timeout(tcase, 30);
    tcase_add_checked_fixture(tcase, up, down);
    tcase_add_test(tcase, the_first_reason_stays);
    tcase_add_test(tcase, nudges_wake_until_they_are_taken);
    tcase_add_loop_test(tcase, tells_what_fits, 0, (int)ARRAY_SIZE(fits));
    tcase_add_test(tcase, counts_progress);
    tcase_add_test(tcase, retries_temporary_failures_for_a_while);
    tcase_add_test(tcase, a_stop_ends_the_patience);
    tcase_add_test(tcase, every_reason_has_a_name);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
