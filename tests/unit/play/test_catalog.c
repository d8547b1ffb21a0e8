#include "services/play/catalog.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "domain/outcome.h"
#include "io/store.h"

#include <check.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[64];
static struct store *store;
static struct catalog *catalog;
static char video[ID_VIDEO_SIZE];
static struct err e;

static void setup(void)
{
    str_copy(dir, sizeof dir, "/tmp/weir-catalog-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    ck_assert_int_eq(store_dir_new(dir, &store, &e), 0);
    ck_assert_int_eq(store_ensure_bucket(store, "raw", &e), 0);
    ck_assert_int_eq(store_ensure_bucket(store, "processed", &e), 0);
    const struct catalog_options options = {store, "raw", "processed", 100};
    ck_assert_int_eq(catalog_new(&options, &catalog, &e), 0);
    id_video(clock_wall_ms(), video);
}

static void teardown(void)
{
    char command[128];

    catalog_free(catalog);
    store_free(store);
    str_format(command, sizeof command, "rm -rf %s", dir);
    ck_assert_int_eq(system(command), 0); // NOLINT(cert-env33-c): a folder of our own making
}

static void publish(uint64_t generation, char version[LAYOUT_VERSION_SIZE])
{
    static const char result[] = "{\"duration\":1.0,\"renditions\":[{\"name\":\"240p\"}]}";
    OUTCOME_AUTO struct outcome stands = {0};
    struct buf text;
    bool ours;

    layout_version(generation, 7, "0123456789abcdef", version);
    buf_init(&text, OUTCOME_MAX);
    ck_assert_int_eq(outcome_write_published(video, generation, version, result, sizeof result - 1, &text, &e), 0);
    ck_assert_int_eq(
        outcome_create(store, "processed", video, generation, buf_cstr(&text), text.len, &stands, &ours, &e), 0);
    ck_assert(ours);
    buf_release(&text);
}

static void put_failed(uint64_t generation)
{
    OUTCOME_AUTO struct outcome stands = {0};
    struct buf text;
    bool ours;

    buf_init(&text, OUTCOME_MAX);
    ck_assert_int_eq(outcome_write_failed(video, generation, "no", &text, &e), 0);
    ck_assert_int_eq(
        outcome_create(store, "processed", video, generation, buf_cstr(&text), text.len, &stands, &ours, &e), 0);
    buf_release(&text);
}

START_TEST(serves_what_the_newest_published_outcome_names)
{
    char first[LAYOUT_VERSION_SIZE], second[LAYOUT_VERSION_SIZE], found[LAYOUT_VERSION_SIZE];

    publish(1, first);
    publish(2, second);
    put_failed(3);
    ck_assert_int_eq(catalog_newest(catalog, video, found, &e), 0);
    ck_assert_str_eq(found, second);
    ck_assert_int_eq(catalog_check(catalog, video, first, &e), 0); /* players may still be in it */
    ck_assert_int_eq(catalog_check(catalog, video, second, &e), 0);
}
END_TEST

START_TEST(nothing_that_no_outcome_names_is_served)
{
    char version[LAYOUT_VERSION_SIZE], other[LAYOUT_VERSION_SIZE];

    ck_assert_int_eq(catalog_newest(catalog, video, version, &e), -ERR_NOT_FOUND);
    publish(1, version);
    layout_version(1, 8, "fedcba9876543210", other); /* a worker that lost */
    ck_assert_int_eq(catalog_check(catalog, video, other, &e), -ERR_NOT_FOUND);
    layout_version(2, 9, "fedcba9876543210", other); /* being written */
    ck_assert_int_eq(catalog_check(catalog, video, other, &e), -ERR_NOT_FOUND);
}
END_TEST

START_TEST(made_up_ids_are_not_looked_up)
{
    char version[LAYOUT_VERSION_SIZE];

    ck_assert_int_eq(catalog_newest(catalog, "../../etc/passwd", version, &e), -ERR_NOT_FOUND);
    ck_assert_int_eq(catalog_check(catalog, video, "1-2", &e), -ERR_NOT_FOUND);
}
END_TEST

START_TEST(a_published_video_is_found_within_a_second)
{
    char version[LAYOUT_VERSION_SIZE], found[LAYOUT_VERSION_SIZE];

    ck_assert_int_eq(catalog_newest(catalog, video, found, &e), -ERR_NOT_FOUND);
    publish(1, version);
    uint64_t start_ms = clock_mono_ms();
    while (catalog_newest(catalog, video, found, &e) != 0)
        ck_assert_uint_lt(clock_mono_ms() - start_ms, CATALOG_ABSENT_MS + 2000);
    ck_assert_str_eq(found, version);
}
END_TEST

START_TEST(a_deleted_video_is_gone_within_three_seconds)
{
    char version[LAYOUT_VERSION_SIZE], found[LAYOUT_VERSION_SIZE];
    const struct store_put_options none = {0};

    publish(1, version);
    ck_assert_int_eq(catalog_newest(catalog, video, found, &e), 0);
    ck_assert_int_eq(catalog_check(catalog, video, version, &e), 0);
    ck_assert_int_eq(store_put_bytes(store, "raw", layout_deleted(video).s, "{}", 2, &none, &e), 0);
    uint64_t start_ms = clock_mono_ms();
    while (catalog_newest(catalog, video, found, &e) == 0 || catalog_check(catalog, video, version, &e) == 0)
        ck_assert_uint_lt(clock_mono_ms() - start_ms, CATALOG_FRESH_MS + 2000);
}
END_TEST

START_TEST(a_store_that_fails_is_left_alone_for_a_moment)
{
    char version[LAYOUT_VERSION_SIZE], found[LAYOUT_VERSION_SIZE], path[128];

    publish(1, version);
    str_format(path, sizeof path, "%s/raw", dir); /* without it nobody can say whether the video is deleted */
    ck_assert_int_eq(rmdir(path), 0);
    ck_assert_int_eq(catalog_newest(catalog, video, found, &e), -ERR_TEMPORARY);
    ck_assert_int_eq(mkdir(path, 0755), 0);
    ck_assert_int_eq(catalog_newest(catalog, video, found, &e), -ERR_TEMPORARY);
    ck_assert_ptr_nonnull(strstr(e.text, "a moment ago"));
    uint64_t start_ms = clock_mono_ms();
    while (catalog_newest(catalog, video, found, &e) != 0)
        ck_assert_uint_lt(clock_mono_ms() - start_ms, CATALOG_FAILED_MS + 2000);
    ck_assert_str_eq(found, version);
}
END_TEST

static void *ask(void *arg)
{
    char found[LAYOUT_VERSION_SIZE], id[ID_VIDEO_SIZE];
    struct err mine;
    size_t *wrong = arg;

    for (int i = 0; i < 200; i++) {
        int r = catalog_newest(catalog, video, found, &mine);
        *wrong += r != 0 && r != -ERR_BUSY;
        id_video((uint64_t)i, id); /* a flood of ids, more than the table takes */
        r = catalog_newest(catalog, id, found, &mine);
        *wrong += r != -ERR_NOT_FOUND && r != -ERR_BUSY;
    }
    return NULL;
}

START_TEST(many_threads_at_once)
{
    char version[LAYOUT_VERSION_SIZE];
    pthread_t threads[8];
    size_t wrong[8] = {0};

    publish(1, version);
    ck_assert_int_eq(catalog_newest(catalog, video, version, &e), 0);
    for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, ask, &wrong[i]), 0);
    for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
        pthread_join(threads[i], NULL);
    for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
        ck_assert_uint_eq(wrong[i], 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("catalog");
    TCase *tcase = tcase_create("catalog");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 30);
    tcase_add_test(tcase, serves_what_the_newest_published_outcome_names);
    tcase_add_test(tcase, nothing_that_no_outcome_names_is_served);
    tcase_add_test(tcase, made_up_ids_are_not_looked_up);
    tcase_add_test(tcase, a_published_video_is_found_within_a_second);
    tcase_add_test(tcase, a_deleted_video_is_gone_within_three_seconds);
    tcase_add_test(tcase, a_store_that_fails_is_left_alone_for_a_moment);
    tcase_add_test(tcase, many_threads_at_once);
    suite_add_tcase(suite, tcase);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
