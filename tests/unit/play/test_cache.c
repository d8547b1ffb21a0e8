#include "services/play/cache.h"

#include "base/mem.h"
#include "base/str.h"

#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static struct err e;

/* A source of bytes that counts how often it was asked. */
struct source {
    size_t size;
    int result;
    atomic_int loads;
    pthread_mutex_t *gate; /* held by the test while loads shall wait */
};

static int load(void *ctx, struct cache_entry *entry, struct err *err)
{
    struct source *source = ctx;

    source->loads++;
    if (source->gate != NULL) {
        pthread_mutex_lock(source->gate);
        pthread_mutex_unlock(source->gate);
    }
    if (source->result != 0)
        return err_set(err, (enum err_kind) - source->result, "the load failed");
    char *to;
    int r = cache_room(entry, source->size, &to, err);
    if (r == 0)
        memset(to, 'x', source->size);
    return r;
}

static struct cache *make(size_t max_bytes, size_t max_object, size_t max_entries)
{
    struct cache *c;
    const struct cache_options options = {max_bytes, max_object, max_entries};

    ck_assert_int_eq(cache_new(&options, &c, &e), 0);
    return c;
}

static int touch(struct cache *c, const char *key, struct source *source)
{
    struct cache_entry *entry;
    int r = cache_get(c, key, load, source, &entry, &e);

    if (r == 0) {
        ck_assert_uint_eq(cache_size(entry), source->size);
        cache_put_back(entry);
    }
    return r;
}

START_TEST(loads_once_and_keeps_it)
{
    struct cache *c = make(1 << 20, 1 << 16, 100);
    struct source source = {.size = 1000};

    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(touch(c, "a", &source), 0);
    ck_assert_int_eq(source.loads, 1);
    cache_free(c);
}
END_TEST

START_TEST(drops_the_least_recently_used)
{
    struct cache *c = make(4000, 2000, 100);
    struct source a = {.size = 1000}, b = {.size = 1000}, d = {.size = 1000}, f = {.size = 1000};

    touch(c, "a", &a);
    touch(c, "b", &b);
    touch(c, "d", &d);
    touch(c, "a", &a); /* so b is the oldest */
    touch(c, "f", &f);
    touch(c, "a", &a);
    ck_assert_int_eq(a.loads, 1);
    touch(c, "b", &b);
    ck_assert_int_eq(b.loads, 2);
    cache_free(c);
}
END_TEST

START_TEST(what_is_in_use_stays_and_counts)
{
    struct cache *c = make(2600, 2000, 100);
    struct source a = {.size = 2000}, b = {.size = 2000};
    struct cache_entry *held;

    ck_assert_int_eq(cache_get(c, "a", load, &a, &held, &e), 0);
    ck_assert_int_eq(touch(c, "b", &b), -ERR_BUSY); /* no room at this moment */
    ck_assert_int_eq(memcmp(cache_data(held), "xxxx", 4), 0);
    cache_put_back(held);
    ck_assert_int_eq(touch(c, "b", &b), 0);
    cache_free(c);
}
END_TEST

START_TEST(large_objects_leave_room_for_small_ones)
{
    struct cache *c = make(16 * CACHE_SMALL, 16 * CACHE_SMALL, 100);
    struct source large = {.size = 7 * CACHE_SMALL}, second = {.size = 7 * CACHE_SMALL + 1}, small = {.size = 1000};
    struct cache_entry *held[2];

    ck_assert_int_eq(cache_get(c, "a", load, &large, &held[0], &e), 0);
    ck_assert_int_eq(cache_get(c, "b", load, &second, &held[1], &e), -ERR_BUSY);
    ck_assert_int_eq(cache_get(c, "c", load, &small, &held[1], &e), 0);
    cache_put_back(held[0]);
    cache_put_back(held[1]);
    cache_free(c);
}
END_TEST

static int load_and_fail(void *ctx, struct cache_entry *entry, struct err *err)
{
    int r = load(ctx, entry, err);
    return r != 0 ? r : err_set(err, ERR_TEMPORARY, "broke in the middle");
}

START_TEST(a_load_that_fails_gives_its_room_back)
{
    struct cache *c = make(4000, 3000, 100);
    struct source source = {.size = 3000};
    struct cache_entry *entry;

    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(cache_get(c, "a", load_and_fail, &source, &entry, &e), -ERR_TEMPORARY);
        ck_assert_str_eq(e.text, "broke in the middle");
    }
    ck_assert_int_eq(touch(c, "b", &source), 0);
    cache_free(c);
}
END_TEST

START_TEST(without_memory)
{
    struct cache *c = make(1 << 20, 1 << 16, 100);
    struct source source = {.size = 10};
    const struct cache_options options = {1000, 1000, 10};
    struct cache *none = NULL;

    mem_fail_from(1);
    ck_assert_int_eq(cache_new(&options, &none, &e), -ERR_TEMPORARY);
    for (unsigned n = 1; n <= 3; n++) {
        mem_fail_from(n);
        ck_assert_int_lt(touch(c, "a", &source), 0);
    }
    mem_fail_from(0);
    ck_assert_int_eq(touch(c, "a", &source), 0);
    cache_free(c);
}
END_TEST

START_TEST(remembers_that_an_object_is_too_large)
{
    struct cache *c = make(1 << 20, 100, 100);
    struct source big = {.size = 101};

    ck_assert_int_eq(touch(c, "big", &big), -ERR_TOO_LARGE);
    ck_assert_int_eq(touch(c, "big", &big), -ERR_TOO_LARGE);
    ck_assert_int_eq(big.loads, 1);
    cache_free(c);
}
END_TEST

START_TEST(forgets_failures)
{
    struct cache *c = make(1 << 20, 1 << 16, 100);
    struct source source = {.size = 10, .result = -ERR_TEMPORARY};

    ck_assert_int_eq(touch(c, "a", &source), -ERR_TEMPORARY);
    ck_assert_str_eq(e.text, "the load failed");
    source.result = 0;
    ck_assert_int_eq(touch(c, "a", &source), 0);
    ck_assert_int_eq(source.loads, 2);
    cache_free(c);
}
END_TEST

START_TEST(bounds_the_number_of_entries)
{
    struct cache *c = make(1 << 20, 1 << 16, 3);
    struct source first = {.size = 1}, other = {.size = 1};
    char key[16];

    touch(c, "first", &first);
    for (int i = 0; i < 10; i++) {
        str_format(key, sizeof key, "k%d", i);
        touch(c, key, &other);
    }
    touch(c, "first", &first);
    ck_assert_int_eq(first.loads, 2);
    cache_free(c);
}
END_TEST

struct crowd {
    struct cache *cache;
    struct source *source;
    atomic_int served, failed;
};

static void *ask(void *arg)
{
    struct crowd *crowd = arg;
    struct cache_entry *entry;
    struct err mine;

    if (cache_get(crowd->cache, "hot", load, crowd->source, &entry, &mine) == 0) {
        crowd->served++;
        cache_put_back(entry);
    } else {
        crowd->failed++;
    }
    return NULL;
}

static const int crowd_results[] = {0, -ERR_TEMPORARY};

START_TEST(a_crowd_shares_one_load)
{
    pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
    struct source source = {.size = 5000, .result = crowd_results[_i], .gate = &gate};
    struct crowd crowd = {.cache = make(1 << 20, 1 << 16, 100), .source = &source};
    pthread_t threads[16];

    pthread_mutex_lock(&gate);
    for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, ask, &crowd), 0);
    while (source.loads == 0)
        sched_yield();
    pthread_mutex_unlock(&gate);
    for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
        pthread_join(threads[i], NULL);

    ck_assert_int_eq(crowd.served + crowd.failed, (int)ARRAY_SIZE(threads));
    if (source.result == 0) {
        ck_assert_int_eq(crowd.failed, 0);
        ck_assert_int_eq(source.loads, 1);
    } else {
        ck_assert_int_eq(crowd.served, 0); /* late comers may have tried again, and failed */
    }
    cache_free(crowd.cache);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cache");
    TCase *tcase = tcase_create("cache");
    tcase_add_test(tcase, loads_once_and_keeps_it);
    tcase_add_test(tcase, drops_the_least_recently_used);
    tcase_add_test(tcase, what_is_in_use_stays_and_counts);
    tcase_add_test(tcase, large_objects_leave_room_for_small_ones);
    tcase_add_test(tcase, a_load_that_fails_gives_its_room_back);
    tcase_add_test(tcase, without_memory);
    tcase_add_test(tcase, remembers_that_an_object_is_too_large);
    tcase_add_test(tcase, forgets_failures);
    tcase_add_test(tcase, bounds_the_number_of_entries);
    tcase_add_loop_test(tcase, a_crowd_shares_one_load, 0, (int)ARRAY_SIZE(crowd_results));
    suite_add_tcase(suite, tcase);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
