#ifndef WEIR_TEST_SUITE_H
#define WEIR_TEST_SUITE_H

#include <check.h>
#include <stdlib.h>

/* What the main of every test ends with: runs the suite and turns the outcome into an exit status. */
static inline int run_suite(Suite *suite)
{
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#endif
