#include "base/bounded.h"

#include "base/clock.h"

#include "../suite.h"

#include <semaphore.h>
#include <stdatomic.h>

static sem_t gate;
static atomic_bool ran;

static void quick(void *ctx)
{
    *(int *)ctx = 7;
}

static void slow(void *ctx)
{
    (void)ctx;
    while (sem_wait(&gate) != 0)
        ;
    atomic_store(&ran, true);
}

START_TEST(work_that_ends_in_time)
{
    int result = 0;

    ck_assert(run_bounded(10000, quick, &result));
    ck_assert_int_eq(result, 7);
}
END_TEST

START_TEST(work_that_hangs_is_left_behind_and_may_end_later)
{
    sem_init(&gate, 0, 0);
    uint64_t start_ms = clock_mono_ms();
    ck_assert(!run_bounded(50, slow, NULL));
    ck_assert_uint_ge(clock_mono_ms() - start_ms, 50);
    ck_assert(!atomic_load(&ran));
    sem_post(&gate);
    while (!atomic_load(&ran))
        clock_sleep_ms(1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("bounded");
    TCase *tcase = tcase_create("bounded");
    tcase_add_test(tcase, work_that_ends_in_time);
    tcase_add_test(tcase, work_that_hangs_is_left_behind_and_may_end_later);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
