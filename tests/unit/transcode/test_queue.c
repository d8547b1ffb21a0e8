#include "services/worker/transcode/queue.h"

#include "suite.h"

#include <check.h>
#include <stdint.h>

#define ITEMS 20000

static void *item(uintptr_t n)
{
    return (void *)n; // NOLINT(performance-no-int-to-ptr)
}

static void *produce(void *arg)
{
    struct queue *q = arg;

    for (uintptr_t i = 1; i <= ITEMS; i++)
        if (!queue_push(q, item(i)))
            return NULL;
    queue_close(q);
    return NULL;
}

START_TEST(items_arrive_in_order)
{
    struct queue q;
    pthread_t producer;
    uintptr_t expected = 1;

    queue_init(&q, (size_t)_i);
    ck_assert_int_eq(pthread_create(&producer, NULL, produce, &q), 0);
    for (void *got; (got = queue_pop(&q)) != NULL; expected++)
        ck_assert_uint_eq((uintptr_t)got, expected);
    ck_assert_uint_eq(expected, ITEMS + 1);
    pthread_join(producer, NULL);
    queue_destroy(&q);
}
END_TEST

START_TEST(closing_frees_a_waiting_producer)
{
    struct queue q;
    pthread_t producer;

    queue_init(&q, 2);
    ck_assert_int_eq(pthread_create(&producer, NULL, produce, &q), 0);
    ck_assert_uint_eq((uintptr_t)queue_pop(&q), 1);
    queue_close(&q);
    pthread_join(producer, NULL);
    ck_assert(!queue_push(&q, item(7)));
    for (void *got; (got = queue_pop(&q)) != NULL;)
        ck_assert_uint_gt((uintptr_t)got, 1); /* what was in it still comes out */
    queue_destroy(&q);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("queue");
    TCase *tcase = tcase_create("queue");
    tcase_add_loop_test(tcase, items_arrive_in_order, 1, 4);
    tcase_add_loop_test(tcase, items_arrive_in_order, QUEUE_MAX, QUEUE_MAX + 1);
    tcase_add_test(tcase, closing_frees_a_waiting_producer);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
