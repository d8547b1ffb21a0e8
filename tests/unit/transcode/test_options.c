#include "services/worker/transcode/options.h"

#include "suite.h"

#include "base/mem.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

static int parse(const char *line, struct options *ret, enum options_action *ret_action, struct err *e)
{
    static char copy[512];
    char *argv[32];
    int argc = 0;

    snprintf(copy, sizeof copy, "weir-transcode %s", line);
    for (char *at = copy, *save = NULL, *word; (word = strtok_r(at, " ", &save)) != NULL; at = NULL)
        argv[argc++] = word;
    argv[argc] = NULL;
    return options_parse(argc, argv, ret, ret_action, e);
}

START_TEST(reads_everything)
{
    enum options_action action;
    struct options o;

    ck_assert_int_eq(parse("--source-fd 3 --output /tmp --ladder 720,360 --segment-seconds 10 --segment-type ts "
                           "--preset medium --max-duration-s 60 --max-pixels 1000 --sandbox required",
                           &o, &action, NULL),
                     0);
    ck_assert_int_eq(action, OPTIONS_RUN);
    ck_assert_ptr_null(o.input);
    ck_assert_int_eq(o.source_fd, 3);
    ck_assert_str_eq(o.output, "/tmp");
    ck_assert_uint_eq(o.ladder.count, 2);
    ck_assert_uint_eq(o.segment_s, 10);
    ck_assert_str_eq(o.preset, "medium");
    ck_assert_uint_eq(o.max_duration_s, 60);
    ck_assert_uint_eq(o.max_pixels, 1000);
    ck_assert_int_eq(o.sandbox, SANDBOX_REQUIRED);
}
END_TEST

START_TEST(has_the_contracts_defaults)
{
    enum options_action action;
    struct options o;

    ck_assert_int_eq(parse("--input a --output b", &o, &action, NULL), 0);
    ck_assert_int_eq(o.source_fd, -1);
    ck_assert_uint_eq(o.ladder.count, 4);
    ck_assert_uint_eq(o.segment_s, 6);
    ck_assert_str_eq(o.preset, "veryfast");
    ck_assert_uint_eq(o.max_duration_s, 43200);
    ck_assert_uint_eq(o.max_pixels, 35389440);
    ck_assert_int_eq(o.sandbox, SANDBOX_AUTO);
}
END_TEST

static const struct {
    const char *line, *named;
} wrong[] = {
    {"", "--input"},
    {"--input a", "--output"},
    {"--output b", "--input"},
    {"--input a --source-fd 3 --output b", "--source-fd"},
    {"--input a --output b extra", "extra"},
    {"--input a --output b --unknown", "unknown option"},
    {"--input a --output", "missing value"},
    {"--input a --output b --ladder 700", "700"},
    {"--input a --output b --segment-seconds 0", "--segment-seconds"},
    {"--input a --output b --segment-seconds 61", "--segment-seconds"},
    {"--input a --output b --segment-type fmp4", "fmp4"},
    {"--input a --output b --preset fastest", "--preset"},
    {"--input a --output b --sandbox on", "--sandbox"},
    {"--input a --output b --max-pixels -1", "--max-pixels"},
    {"--input a --output b --max-duration-s 1e3", "--max-duration-s"},
    {"--source-fd 99999999999 --output b", "--source-fd"},
};

START_TEST(names_what_is_wrong)
{
    enum options_action action;
    struct options o;
    struct err e;

    ck_assert_int_eq(parse(wrong[_i].line, &o, &action, &e), -ERR_INVALID);
    ck_assert_msg(strstr(e.text, wrong[_i].named) != NULL, "%s: %s", wrong[_i].line, e.text);
}
END_TEST

START_TEST(asks_for_something_else)
{
    static const struct {
        const char *line;
        enum options_action action;
    } others[] = {{"--help", OPTIONS_HELP}, {"--version", OPTIONS_VERSION}, {"--check-config", OPTIONS_CHECK}};
    enum options_action action;
    struct options o;

    ck_assert_int_eq(parse(others[_i].line, &o, &action, NULL), 0);
    ck_assert_int_eq(action, others[_i].action);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("options");
    TCase *tcase = tcase_create("options");
    tcase_add_test(tcase, reads_everything);
    tcase_add_test(tcase, has_the_contracts_defaults);
    tcase_add_loop_test(tcase, names_what_is_wrong, 0, ARRAY_SIZE(wrong));
    tcase_add_loop_test(tcase, asks_for_something_else, 0, 3);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
