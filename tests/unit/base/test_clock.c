#include "base/clock.h"
#include "base/mem.h"
#include "suite.h"

#include <signal.h>
#include <sys/time.h>

static const struct {
    uint64_t wall_ms;
    const char *rfc3339, *http_date, *amz_date;
} dates[] = {
    {0, "1970-01-01T00:00:00.000Z", "Thu, 01 Jan 1970 00:00:00 GMT", "19700101T000000Z"},
    {784111777000, "1994-11-06T08:49:37.000Z", "Sun, 06 Nov 1994 08:49:37 GMT", "19941106T084937Z"}, /* RFC 9110's */
    {951782399999, "2000-02-28T23:59:59.999Z", "Mon, 28 Feb 2000 23:59:59 GMT", "20000228T235959Z"},
    {951782400000, "2000-02-29T00:00:00.000Z", "Tue, 29 Feb 2000 00:00:00 GMT", "20000229T000000Z"},
    {1767323045678, "2026-01-02T03:04:05.678Z", "Fri, 02 Jan 2026 03:04:05 GMT", "20260102T030405Z"},
    {4107542400001, "2100-03-01T00:00:00.001Z", "Mon, 01 Mar 2100 00:00:00 GMT", "21000301T000000Z"},
    {253402300799999, "9999-12-31T23:59:59.999Z", "Fri, 31 Dec 9999 23:59:59 GMT", "99991231T235959Z"},
};

START_TEST(dates_go_there_and_back)
{
    char rfc3339[CLOCK_RFC3339_SIZE], http_date[CLOCK_HTTP_DATE_SIZE], amz_date[CLOCK_AMZ_DATE_SIZE];
    uint64_t wall_ms = 1;

    clock_rfc3339(dates[_i].wall_ms, rfc3339);
    ck_assert_str_eq(rfc3339, dates[_i].rfc3339);
    ck_assert(clock_parse_rfc3339(rfc3339, &wall_ms));
    ck_assert_uint_eq(wall_ms, dates[_i].wall_ms);

    clock_http_date(dates[_i].wall_ms, http_date);
    ck_assert_str_eq(http_date, dates[_i].http_date);
    ck_assert(clock_parse_http_date(http_date, &wall_ms));
    ck_assert_uint_eq(wall_ms, dates[_i].wall_ms / 1000 * 1000);

    clock_amz_date(dates[_i].wall_ms, amz_date);
    ck_assert_str_eq(amz_date, dates[_i].amz_date);
}
END_TEST

START_TEST(years_of_five_digits_are_cut_to_the_last_of_four)
{
    char text[CLOCK_RFC3339_SIZE], http_date[CLOCK_HTTP_DATE_SIZE];

    clock_rfc3339(UINT64_MAX, text);
    ck_assert_str_eq(text, "9999-12-31T23:59:59.999Z");
    clock_http_date(UINT64_MAX, http_date);
    ck_assert_str_eq(http_date, "Fri, 31 Dec 9999 23:59:59 GMT");
}
END_TEST

static const struct {
    const char *text;
    bool ok;
    uint64_t wall_ms;
} rfc3339[] = {
    {"2026-01-02T03:04:05Z", true, 1767323045000},
    {"2026-01-02T03:04:05.6Z", true, 1767323045600},
    {"2026-01-02T03:04:05.678999999999999999999Z", true, 1767323045678},
    {"2026-01-02T03:04:05", false, 0},
    {"2026-01-02T03:04:05.Z", false, 0},
    {"2026-01-02T03:04:05.6", false, 0},
    {"2026-01-02T03:04:05z", false, 0},
    {"2026-01-02T03:04:05+00:00", false, 0},
    {"2026-01-02 03:04:05Z", false, 0},
    {"2026-02-29T03:04:05Z", false, 0}, /* no leap year */
    {"2026-13-02T03:04:05Z", false, 0},
    {"2026-00-02T03:04:05Z", false, 0},
    {"2026-01-32T03:04:05Z", false, 0},
    {"2026-01-02T24:00:00Z", false, 0},
    {"2026-01-02T03:60:05Z", false, 0},
    {"2026-01-02T03:04:60Z", false, 0},
    {"1969-12-31T23:59:59Z", false, 0},
    {"2026-1-02T03:04:05Z", false, 0},
    {"+026-01-02T03:04:05Z", false, 0},
    {"2026-01-02T03:04:05Zx", false, 0},
    {"", false, 0},
};

START_TEST(rfc3339_is_strict)
{
    uint64_t wall_ms = 42;

    ck_assert_int_eq(clock_parse_rfc3339(rfc3339[_i].text, &wall_ms), rfc3339[_i].ok);
    ck_assert_uint_eq(wall_ms, rfc3339[_i].ok ? rfc3339[_i].wall_ms : 42);
}
END_TEST

START_TEST(http_dates_are_strict)
{
    static const char *const wrong[] = {
        "Thu, 02 Jan 2026 03:04:05 GMT",  /* it was a Friday */
        "Fri, 02 jan 2026 03:04:05 GMT",  /* names have their case */
        "Fri, 02 Jan 2026 03:04:05 UTC",  /* only GMT */
        "Fri,  2 Jan 2026 03:04:05 GMT",  /* two digits */
        "Fri, 30 Feb 2026 03:04:05 GMT",  /* no such day */
        "Fri, 02 Jan 2026 25:04:05 GMT",  /* no such hour */
        "Fri, 02 Jan 2026 03:04:05 GMT ", /* something more */
        "Friday, 02-Jan-26 03:04:05 GMT", /* RFC 850 */
        "Fri Jan  2 03:04:05 2026",       /* asctime */
        "Wed, 31 Dec 1969 23:59:59 GMT",  "", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    };
    uint64_t wall_ms = 42;

    ck_assert(!clock_parse_http_date(wrong[_i], &wall_ms));
    ck_assert_uint_eq(wall_ms, 42);
}
END_TEST

static const struct {
    uint64_t base_ms, max_ms;
    unsigned attempt;
    uint64_t random, expected;
} backoffs[] = {
    {1000, 300000, 0, 0, 0},
    {1000, 300000, 0, 1000, 1000}, /* the bound itself can come */
    {1000, 300000, 0, 1001, 0},
    {1000, 300000, 3, 8000, 8000},
    {1000, 300000, 3, 8001, 0},
    {1000, 300000, 9, 300000, 300000}, /* 512 s, but at most 300 */
    {1000, 300000, 9, 300001, 0},
    {1000, 300000, 63, 300000, 300000}, /* 1000 · 2^63 overflows */
    {1000, 300000, 64, 300000, 300000},
    {1000, 300000, 4000000000, 300000, 300000},
    {1, UINT64_MAX, 64, UINT64_MAX, UINT64_MAX},
    {0, 300000, 70, 12345, 0},
    {1000, 0, 5, 12345, 0},
};

START_TEST(backs_off_with_full_jitter)
{
    ck_assert_uint_eq(backoff_ms(backoffs[_i].base_ms, backoffs[_i].max_ms, backoffs[_i].attempt, backoffs[_i].random),
                      backoffs[_i].expected);
}
END_TEST

static void ignore(int signal)
{
    (void)signal;
}

START_TEST(sleeps_through_signals)
{
    const struct sigaction action = {.sa_handler = ignore};
    const struct itimerval every_2_ms = {.it_interval = {.tv_usec = 2000}, .it_value = {.tv_usec = 2000}};
    const struct itimerval never = {.it_value = {0}};

    sigaction(SIGALRM, &action, NULL);
    uint64_t started = clock_mono_us();
    setitimer(ITIMER_REAL, &every_2_ms, NULL);
    clock_sleep_ms(30);
    setitimer(ITIMER_REAL, &never, NULL);
    ck_assert_uint_ge(clock_mono_us() - started, 30000);
}
END_TEST

START_TEST(clocks_run)
{
    ck_assert_uint_le(clock_mono_ms(), clock_mono_us() / 1000);
    ck_assert_uint_gt(clock_wall_ms(), 1767323045678);
    uint64_t before = clock_mono_us();
    ck_assert_uint_ge(clock_mono_us(), before);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("clock");
    TCase *tcase = tcase_create("clock");
    tcase_add_loop_test(tcase, dates_go_there_and_back, 0, ARRAY_SIZE(dates));
    tcase_add_test(tcase, years_of_five_digits_are_cut_to_the_last_of_four);
    tcase_add_loop_test(tcase, rfc3339_is_strict, 0, ARRAY_SIZE(rfc3339));
    tcase_add_loop_test(tcase, http_dates_are_strict, 0, 12);
    tcase_add_loop_test(tcase, backs_off_with_full_jitter, 0, ARRAY_SIZE(backoffs));
    tcase_add_test(tcase, sleeps_through_signals);
    tcase_add_test(tcase, clocks_run);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
