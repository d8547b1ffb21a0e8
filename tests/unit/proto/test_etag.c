#include "proto/etag.h"

#include <check.h>
#include <stdlib.h>

static const struct {
    const char *header;
    bool listed;
} lists[] = {
    {NULL, false},         {"*", true},
    {"\"a\"", true},       {"W/\"a\"", true}, /* the weak comparison */
    {"\"b\"", false},      {"\"b\", \"a\"", true},
    {"\"b\",\"a\"", true}, {"\"b\" , W/\"a\" ", true},
    {"\"aa\"", false},     {"a", false}, /* no quotes: not a tag */
    {"\"a", false},        {"", false},
    {", ,\"a\"", true},    {"\"x,\"a\"", false}, /* a comma may stand inside of a tag; what follows is malformed */
};

START_TEST(finds_a_tag_in_if_none_match)
{
    ck_assert_int_eq(etag_listed(lists[_i].header, "\"a\""), lists[_i].listed);
}
END_TEST

START_TEST(if_range_needs_the_strong_tag)
{
    ck_assert(etag_allows_range(NULL, "\"a\""));
    ck_assert(etag_allows_range("\"a\"", "\"a\""));
    ck_assert(!etag_allows_range("W/\"a\"", "\"a\""));
    ck_assert(!etag_allows_range("\"b\"", "\"a\""));
    ck_assert(!etag_allows_range("Fri, 02 Jan 2026 03:04:05 GMT", "\"a\""));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("etag");
    TCase *tcase = tcase_create("conditions");
    tcase_add_loop_test(tcase, finds_a_tag_in_if_none_match, 0, (int)(sizeof lists / sizeof *lists));
    tcase_add_test(tcase, if_range_needs_the_strong_tag);
    suite_add_tcase(suite, tcase);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
