#include "base/mem.h"
#include "base/metrics.h"
#include "base/str.h"
#include "suite.h"

#include <math.h>
#include <pthread.h>
#include <string.h>

/* Metrics are never unregistered, so each test has its own. */

static struct buf out;

static void set_up(void)
{
    buf_init(&out, 1 << 20);
}

static void tear_down(void)
{
    buf_release(&out);
}

static const char *rendered(void)
{
    buf_reset(&out);
    metrics_render(&out);
    ck_assert_int_eq(buf_check(&out, "metrics", NULL), 0);
    return buf_cstr(&out);
}

static void expect(const char *text)
{
    ck_assert_msg(strstr(rendered(), text) != NULL, "not found: %s\nin:\n%s", text, buf_cstr(&out));
}

START_TEST(counters_count)
{
    static struct metric plain = METRIC_COUNTER("t_plain_total", "Plain.", NULL);
    static struct metric labelled = METRIC_COUNTER("t_requests_total", "Requests.", "status");

    ck_assert_ptr_null(strstr(rendered(), "t_plain_total")); /* not before its first use */
    metric_add(&plain, NULL, 1);
    metric_add(&plain, NULL, 2);
    metric_add(&labelled, "2xx", 1);
    metric_add(&labelled, "5xx", 1);
    metric_add(&labelled, "2xx", 1);
    expect("# HELP t_plain_total Plain.\n# TYPE t_plain_total counter\nt_plain_total 3\n");
    expect("# HELP t_requests_total Requests.\n# TYPE t_requests_total counter\n");
    expect("\nt_requests_total{status=\"2xx\"} 2\n");
    expect("\nt_requests_total{status=\"5xx\"} 1\n");
}
END_TEST

static const struct {
    double value;
    const char *text;
} numbers[] = {
    {0, "0"},
    {-1.5, "-1.5"},
    {0.1, "0.1"},
    {1e6, "1000000"},
    {123456789012345, "123456789012345"},
    {1.0 / 3, "0.33333333333333331"},
    {1e21, "1e+21"},
    {NAN, "NaN"},
    {INFINITY, "+Inf"},
    {-INFINITY, "-Inf"},
};

START_TEST(gauges_hold_any_number)
{
    static struct metric gauge = METRIC_GAUGE("t_gauge", "Gauge.", NULL);
    char line[64];

    metric_set(&gauge, NULL, 99);
    metric_add(&gauge, NULL, 1);
    expect("\nt_gauge 100\n");
    metric_set(&gauge, NULL, numbers[_i].value);
    str_format(line, sizeof line, "# TYPE t_gauge gauge\nt_gauge %s\n", numbers[_i].text);
    expect(line);
}
END_TEST

START_TEST(histograms_are_cumulative)
{
    static struct metric h = METRIC_HISTOGRAM("t_seconds", "Seconds.", "class", metric_seconds);

    metric_observe(&h, "a", 0.001); /* on a bound: counts in it */
    metric_observe(&h, "a", 0.3);
    metric_observe(&h, "a", 1000);
    expect("# TYPE t_seconds histogram\n"
           "t_seconds_bucket{class=\"a\",le=\"0.001\"} 1\n"
           "t_seconds_bucket{class=\"a\",le=\"0.0025\"} 1\n");
    expect("t_seconds_bucket{class=\"a\",le=\"0.25\"} 1\n"
           "t_seconds_bucket{class=\"a\",le=\"1\"} 2\n");
    expect("t_seconds_bucket{class=\"a\",le=\"60\"} 2\n"
           "t_seconds_bucket{class=\"a\",le=\"+Inf\"} 3\n"
           "t_seconds_sum{class=\"a\"} 1000.301\n"
           "t_seconds_count{class=\"a\"} 3\n");
}
END_TEST

START_TEST(histograms_work_without_label)
{
    static struct metric h = METRIC_HISTOGRAM("t_plain_seconds", "Seconds.", NULL, metric_seconds);

    metric_observe(&h, NULL, 0.5);
    expect("t_plain_seconds_bucket{le=\"1\"} 1\n");
    expect("t_plain_seconds_sum 0.5\nt_plain_seconds_count 1\n");
}
END_TEST

START_TEST(labels_are_escaped)
{
    static struct metric c = METRIC_COUNTER("t_labels_total", "Labels.", "l");

    metric_add(&c, "a\"b\\c\nd\xff", 1);
    expect("\nt_labels_total{l=\"a\\\"b\\\\c\\nd?\"} 1\n");
    metric_add(&c, NULL, 1);
    expect("\nt_labels_total{l=\"\"} 1\n");
}
END_TEST

START_TEST(long_labels_are_cut_and_stay_one_series)
{
    static struct metric c = METRIC_COUNTER("t_long_total", "Long.", "l");
    char label[300];

    memset(label, 'x', sizeof label - 1);
    label[sizeof label - 1] = '\0';
    metric_add(&c, label, 1);
    metric_add(&c, label, 1);
    expect("xxx\"} 2\n");
}
END_TEST

START_TEST(too_many_labels_become_other)
{
    static struct metric c = METRIC_COUNTER("t_many_total", "Many.", "l");
    size_t series = 0;

    for (uint64_t i = 0; i < METRIC_MAX_SERIES + 10; i++)
        metric_add(&c, num_u64(i).s, 1);
    metric_add(&c, "0", 1); /* those that were first stay themselves */
    expect("\nt_many_total{l=\"other\"} 10\n");
    expect("\nt_many_total{l=\"0\"} 2\n");
    for (const char *at = buf_cstr(&out); (at = strstr(at, "\nt_many_total{")) != NULL; at++)
        series++;
    ck_assert_uint_eq(series, METRIC_MAX_SERIES + 1);
}
END_TEST

START_TEST(without_memory_samples_are_lost_quietly)
{
    static struct metric c = METRIC_COUNTER("t_memory_total", "Memory.", NULL);
    static struct metric h = METRIC_HISTOGRAM("t_memory_seconds", "Memory.", NULL, metric_seconds);
    static struct metric g = METRIC_GAUGE("t_memory", "Memory.", NULL);

    mem_fail_from(1);
    metric_add(&c, NULL, 1);
    metric_observe(&h, NULL, 1);
    metric_set(&g, NULL, 1);
    mem_fail_from(0);
    metric_add(&c, NULL, 5);
    expect("\nt_memory_total 5\n");
}
END_TEST

static struct metric shared_counter = METRIC_COUNTER("t_shared_total", "Shared.", "l");
static struct metric shared_histogram = METRIC_HISTOGRAM("t_shared_seconds", "Shared.", "l", metric_seconds);

static void *count(void *unused)
{
    for (uint64_t i = 0; i < 5000; i++) {
        const char *label = i % 2 == 0 ? "even" : "odd";
        metric_add(&shared_counter, label, 1);
        metric_observe(&shared_histogram, label, 0.5);
    }
    return unused;
}

START_TEST(threads_lose_nothing)
{
    pthread_t threads[4];

    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, count, NULL), 0);
    rendered(); /* at the same time */
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    expect("\nt_shared_total{l=\"even\"} 10000\n");
    expect("\nt_shared_total{l=\"odd\"} 10000\n");
    expect("\nt_shared_seconds_sum{l=\"odd\"} 5000\n");
    expect("\nt_shared_seconds_count{l=\"even\"} 10000\n");
}
END_TEST

static double sample(const char *name)
{
    const char *at = strstr(rendered(), name);

    ck_assert_msg(at != NULL, "%s is missing", name);
    return strtod(at + strlen(name), NULL);
}

START_TEST(the_process_is_described)
{
    ck_assert_double_gt(sample("\nprocess_resident_memory_bytes "), 100000);
    ck_assert_double_gt(sample("\nprocess_cpu_seconds_total "), 0);
    ck_assert_double_ge(sample("\nprocess_open_fds "), 1);
    double start = sample("\nprocess_start_time_seconds ");
    ck_assert_double_gt(start, 1.7e9);
    ck_assert_double_eq(start, sample("\nprocess_start_time_seconds ")); /* it doesn't waver */
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("metrics");
    TCase *tcase = tcase_create("metrics");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 30);
    tcase_add_test(tcase, counters_count);
    tcase_add_loop_test(tcase, gauges_hold_any_number, 0, ARRAY_SIZE(numbers));
    tcase_add_test(tcase, histograms_are_cumulative);
    tcase_add_test(tcase, histograms_work_without_label);
    tcase_add_test(tcase, labels_are_escaped);
    tcase_add_test(tcase, long_labels_are_cut_and_stay_one_series);
    tcase_add_test(tcase, too_many_labels_become_other);
    tcase_add_test(tcase, without_memory_samples_are_lost_quietly);
    tcase_add_test(tcase, threads_lose_nothing);
    tcase_add_test(tcase, the_process_is_described);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
