#include "domain/removal.h"

#include "../suite.h"
#include "library_fixture.h"

#include "base/mem.h"
#include "domain/layout.h"
#include "domain/upload_log.h"

#include <string.h>

#define VERSION "1-7-0123456789abcdef"

static void add_log(const char *id)
{
    struct upload_record record = {.kind = UPLOAD_CREATED,
                                   .fence = 1,
                                   .writer = "0123456789abcdef",
                                   .length = UPLOAD_LENGTH_UNKNOWN,
                                   .facts = {.origin = UPLOAD_FORM, .part_size = 8}};
    size_t head;

    ok(upload_log_append(test_store, "raw", id, 1, &record, NULL, &head, &e));
    record.kind = UPLOAD_COMPLETING;
    ok(upload_log_append(test_store, "raw", id, 2, &record, NULL, &head, &e));
}

/* Everything that a finished, once retried and published video has. */
static void add_video(const char *id)
{
    struct layout_key asset;

    add_log(id);
    object_put("raw", layout_record(id).s, RECORD);
    object_put("raw", layout_source(id).s, "source");
    object_put("raw", layout_request(id, 2).s, "{}");
    put_published(id, 1, VERSION);
    ck_assert(layout_asset(id, VERSION, "master.m3u8", &asset));
    object_put("processed", asset.s, "#EXTM3U");
    ok(queue_video_put(test_queue, id, 1, RECORD, &e));
}

static void expect_only_the_skeleton(const char *id)
{
    ck_assert(object_exists("raw", layout_deleted(id).s));
    ck_assert_uint_eq(objects("raw", LAYOUT_VIDEOS), 1); /* the marker */
    ck_assert_uint_eq(objects("raw", layout_video_prefix(id).s), 0);
    ck_assert_uint_eq(objects("raw", LAYOUT_REQUESTS), 0);
    ck_assert_uint_eq(objects("processed", layout_video_prefix(id).s), 0);
    ck_assert_uint_eq(objects("processed", layout_outcome_prefix(id).s), 1);

    UPLOAD_RECORD_AUTO struct upload_record newest = {0};
    uint64_t seq;
    ok(upload_log_newest(test_store, "raw", id, &newest, &seq, &e));
    ck_assert_int_eq(newest.kind, UPLOAD_CLOSED);
    ck_assert_str_eq(newest.writer, ""); /* emptied */
}

START_TEST(deletes_everything_but_what_keeps_others_out)
{
    struct queue_video v = {0};
    bool deleted = false, tombstone = false;

    add_video(video(1));
    enqueue(1);
    ok(removal_delete(&test_library, video(1), &deleted, &e));
    ck_assert(deleted);
    expect_only_the_skeleton(video(1));
    fails(ERR_NOT_FOUND, queue_video_get(test_queue, video(1), &v, &e));
    ok(queue_deleted(test_queue, video(1), &tombstone, &e));
    ck_assert(tombstone);
    ck_assert_uint_eq(counts().open, 0);
}
END_TEST

START_TEST(deleting_again_changes_nothing)
{
    uint64_t found = 7;

    add_video(video(1));
    ok(removal_delete(&test_library, video(1), NULL, &e));
    ok(removal_delete(&test_library, video(1), NULL, &e));
    expect_only_the_skeleton(video(1));
    ok(removal_objects(&test_library, video(1), &found, &e));
    ck_assert_uint_eq(found, 0);
}
END_TEST

START_TEST(a_frozen_writer_is_kept_out)
{
    struct upload_record late = {.kind = UPLOAD_BYTES, .fence = 1, .writer = "fedcba9876543210"};
    size_t head;

    add_video(video(1));
    ok(removal_delete(&test_library, video(1), NULL, &e));
    fails(ERR_STALE, upload_log_append(test_store, "raw", video(1), 3, &late, NULL, &head, &e));
}
END_TEST

START_TEST(a_video_without_a_log_gets_a_closed_one)
{
    struct upload_record late = {
        .kind = UPLOAD_CREATED, .fence = 1, .writer = "fedcba9876543210", .facts = {.part_size = 8}};
    size_t head;

    object_put("raw", layout_record(video(1)).s, RECORD);
    ok(removal_delete(&test_library, video(1), NULL, &e));
    fails(ERR_STALE, upload_log_append(test_store, "raw", video(1), 1, &late, NULL, &head, &e));
}
END_TEST

static const enum fault faults[] = {FAULT_BEFORE, FAULT_AFTER, FAULT_AWAY_BEFORE, FAULT_AWAY_AFTER};

START_TEST(a_failure_in_between_is_mended_by_repeating)
{
    for (uint64_t nth = 1;; nth++) {
        struct err why = {0};
        bool deleted = false;
        add_video(video(1));
        faulty_store_fail(test_store, nth, faults[_i]);
        int r = removal_delete(&test_library, video(1), &deleted, &why);
        bool reached = faulty_store_calls(test_store) >= nth;
        faulty_store_fail(test_store, 0, FAULT_NONE);
        ck_assert(r == 0 || object_exists("raw", layout_deleted(video(1)).s) || !deleted);
        ok(removal_delete(&test_library, video(1), NULL, &e));
        expect_only_the_skeleton(video(1));

        ok(removal_forget(&test_library, video(1), &e));
        ck_assert_uint_eq(objects("raw", "") + objects("processed", ""), 0);
        redis_run("FLUSHALL");
        begin_test_epoch();
        if (!reached)
            break;
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("removal");
    TCase *t = tcase_create("removal");

    tcase_add_unchecked_fixture(t, queue_server_up, queue_server_down);
    tcase_add_checked_fixture(t, library_up, library_down);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, deletes_everything_but_what_keeps_others_out);
    tcase_add_test(t, deleting_again_changes_nothing);
    tcase_add_test(t, a_frozen_writer_is_kept_out);
    tcase_add_test(t, a_video_without_a_log_gets_a_closed_one);
    tcase_add_loop_test(t, a_failure_in_between_is_mended_by_repeating, 0, (int)ARRAY_SIZE(faults));
    suite_add_tcase(suite, t);
    return run_suite(suite);
}
