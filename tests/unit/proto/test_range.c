#include "proto/range.h"

#include <check.h>
#include <stdlib.h>

static const struct {
    const char *header;
    uint64_t size;
    enum range_result result;
    uint64_t first, count;
} cases[] = {
    {NULL, 100, RANGE_WHOLE, 0, 0},
    {"bytes=0-9", 100, RANGE_PART, 0, 10},
    {"Bytes=0-9", 100, RANGE_PART, 0, 10}, /* units are case-insensitive */
    {"bytes=90-", 100, RANGE_PART, 90, 10},
    {"bytes=0-999", 100, RANGE_PART, 0, 100}, /* past the end: cut to the object */
    {"bytes=-10", 100, RANGE_PART, 90, 10},
    {"bytes=-999", 100, RANGE_PART, 0, 100},
    {"bytes=-0", 100, RANGE_UNSATISFIABLE, 0, 0},
    {"bytes=100-", 100, RANGE_UNSATISFIABLE, 0, 0},
    {"bytes=0-", 0, RANGE_UNSATISFIABLE, 0, 0},
    {"bytes=9-0", 100, RANGE_WHOLE, 0, 0},     /* not well formed: ignored, as the RFC asks */
    {"bytes=0-1,5-6", 100, RANGE_WHOLE, 0, 0}, /* several ranges: we may ignore them */
    {"items=0-9", 100, RANGE_WHOLE, 0, 0},
    {"bytes=+1-2", 100, RANGE_WHOLE, 0, 0},
    {"bytes=18446744073709551616-", 100, RANGE_WHOLE, 0, 0}, /* 2^64 */
};

START_TEST(resolves_as_rfc9110)
{
    struct byte_range got = {0};

    ck_assert_int_eq(range_resolve(cases[_i].header, cases[_i].size, &got), cases[_i].result);
    ck_assert_uint_eq(got.first, cases[_i].first);
    ck_assert_uint_eq(got.count, cases[_i].count);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("range");
    TCase *tcase = tcase_create("resolve");
    tcase_add_loop_test(tcase, resolves_as_rfc9110, 0, (int)(sizeof cases / sizeof *cases));
    suite_add_tcase(suite, tcase);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
