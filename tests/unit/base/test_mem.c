#include "base/mem.h"
#include "suite.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

START_TEST(blocks_of_size_zero_are_blocks)
{
    MEM_AUTO char *a = mem_alloc(0);
    MEM_AUTO char *b = mem_zalloc(0);
    MEM_AUTO char *c = mem_calloc(0, 8);
    char *d = mem_resize(NULL, 0, 8);

    ck_assert_ptr_nonnull(a);
    ck_assert_ptr_nonnull(b);
    ck_assert_ptr_nonnull(c);
    ck_assert_ptr_nonnull(d);
    mem_free(d);
    mem_free(NULL);
}
END_TEST

START_TEST(zeroed_blocks_are_zero)
{
    static const char zeros[4096];
    MEM_AUTO char *a = mem_zalloc(sizeof zeros);
    MEM_AUTO char *b = mem_calloc(sizeof zeros / 8, 8);

    ck_assert_mem_eq(a, zeros, sizeof zeros);
    ck_assert_mem_eq(b, zeros, sizeof zeros);
}
END_TEST

START_TEST(mapped_pages_are_zero_again_after_they_were_discarded)
{
    size_t size = 64 * 1024;
    unsigned char *p = mem_map(size);

    ck_assert_ptr_nonnull(p);
    memset(p, 1, size);
    mem_discard(p, size / 2);
    for (size_t i = 0; i < size; i++)
        ck_assert_uint_eq(p[i], i >= size / 2);
    mem_unmap(p, size);
    mem_unmap(NULL, size);
    mem_fail_from(1);
    ck_assert_ptr_null(mem_map(size));
    mem_fail_from(0);
}
END_TEST

START_TEST(overflow_gives_null)
{
    char *p = mem_strdup("still here");

    ck_assert_ptr_null(mem_calloc(SIZE_MAX / 2, 3));
    ck_assert_ptr_null(mem_resize(p, SIZE_MAX / 2, 3));
    ck_assert_str_eq(p, "still here");
    mem_free(p);
}
END_TEST

START_TEST(resize_keeps_the_content)
{
    char *p = mem_strdup("content");

    p = mem_resize(p, 1000, 4);
    ck_assert_str_eq(p, "content");
    p = mem_resize(p, 4, 1);
    ck_assert_mem_eq(p, "cont", 4);
    mem_free(p);
}
END_TEST

START_TEST(strings_are_copied)
{
    static const char unterminated[3] = {'a', 'b', 'c'};
    MEM_AUTO char *whole = mem_strdup("whole");
    MEM_AUTO char *cut = mem_strndup("whole", 3);
    MEM_AUTO char *shorter = mem_strndup("whole", 30);
    MEM_AUTO char *array = mem_strndup(unterminated, 3);

    ck_assert_str_eq(whole, "whole");
    ck_assert_str_eq(cut, "who");
    ck_assert_str_eq(shorter, "whole");
    ck_assert_str_eq(array, "abc");
    ck_assert_ptr_null(mem_strdup(NULL));
    ck_assert_ptr_null(mem_strndup(NULL, 3));
}
END_TEST

START_TEST(fails_from_the_nth_on)
{
    mem_fail_from(3);
    MEM_AUTO void *first = mem_alloc(1);
    MEM_AUTO void *second = mem_strdup("x");
    ck_assert_ptr_nonnull(first);
    ck_assert_ptr_nonnull(second);
    ck_assert_ptr_null(mem_alloc(1));
    ck_assert_ptr_null(mem_zalloc(1));
    ck_assert_ptr_null(mem_calloc(1, 1));
    ck_assert_ptr_null(mem_resize(NULL, 1, 1));
    ck_assert_ptr_null(mem_strdup("x"));
    mem_fail_from(0);
    MEM_AUTO void *again = mem_alloc(1);
    ck_assert_ptr_nonnull(again);
}
END_TEST

#define THREADS 4
#define TRIES 1000

static void *allocate(void *arg)
{
    _Atomic int *got = arg;

    for (int i = 0; i < TRIES; i++) {
        void *p = mem_alloc(8);
        if (p != NULL)
            atomic_fetch_add(got, 1);
        mem_free(p);
    }
    return NULL;
}

START_TEST(counts_over_all_threads)
{
    pthread_t threads[THREADS];
    _Atomic int got = 0;

    mem_fail_from(1501);
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, allocate, &got), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    mem_fail_from(0);
    ck_assert_int_eq(got, 1500);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("mem");
    TCase *tcase = tcase_create("mem");
    tcase_add_test(tcase, blocks_of_size_zero_are_blocks);
    tcase_add_test(tcase, zeroed_blocks_are_zero);
    tcase_add_test(tcase, mapped_pages_are_zero_again_after_they_were_discarded);
    tcase_add_test(tcase, overflow_gives_null);
    tcase_add_test(tcase, resize_keeps_the_content);
    tcase_add_test(tcase, strings_are_copied);
    tcase_add_test(tcase, fails_from_the_nth_on);
    tcase_add_test(tcase, counts_over_all_threads);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
