#include "domain/reconcile.h"

#include "../suite.h"
#include "library_fixture.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "domain/layout.h"
#include "domain/outcome.h"
#include "domain/removal.h"
#include "domain/upload_log.h"

#include <string.h>

#define NONCE "0123456789abcdef"
#define DAY_MS (UINT64_C(24) * 3600 * 1000)

static struct reconciler *reconciler;

static void up(void)
{
    library_up();
    const struct reconcile_options options = {
        .library = &test_library, .videos_per_second = 1000000, .abandoned_ms = 1};
    ok(reconcile_new(&options, &reconciler, &e));
}

static void down(void)
{
    reconcile_free(reconciler);
    library_down();
}

static struct reconcile_counts pass(bool dry_run)
{
    struct reconcile_counts counted = {0};

    clock_sleep_ms(3); /* so that whatever was written is older than abandoned_ms */
    ok(reconcile_once(reconciler, dry_run, &counted, &e));
    return counted;
}

/* --- Videos as the store has them --- */

static void add_record(unsigned n)
{
    BUF_AUTO struct buf text;

    buf_init(&text, 1024);
    buf_printf(&text,
               "{\"id\":\"%s\",\"title\":\"T\",\"description\":\"\",\"filename\":\"f\",\"client\":\"192.0.2.7\","
               "\"created_at\":\"2026-01-02T03:04:05.678Z\"}",
               video(n));
    object_put("raw", layout_record(video(n)).s, buf_cstr(&text));
}

static void add_log(unsigned n, uint64_t seq, enum upload_kind kind, uint64_t written_ms)
{
    struct upload_record record = {.kind = kind,
                                   .fence = 1,
                                   .writer = NONCE,
                                   .written_ms = written_ms,
                                   .length = UPLOAD_LENGTH_UNKNOWN,
                                   .offset = kind == UPLOAD_COMPLETING ? 6 : 0,
                                   .facts = {.origin = UPLOAD_FORM, .part_size = 8}};
    size_t head;

    ok(upload_log_append(test_store, "raw", video(n), seq, &record, NULL, &head, &e));
}

static void add_source(unsigned n)
{
    add_record(n);
    object_put("raw", layout_source(video(n)).s, "source");
}

static void version_name(unsigned generation, const char *nonce, char out[LAYOUT_VERSION_SIZE])
{
    layout_version(generation, 7, nonce, out);
}

static void add_version(unsigned n, unsigned generation, const char *nonce)
{
    struct layout_key key;
    char version[LAYOUT_VERSION_SIZE];

    version_name(generation, nonce, version);
    ck_assert(layout_asset(video(n), version, "v240/seg_1.ts", &key));
    object_put("processed", key.s, "x");
    ck_assert(layout_asset(video(n), version, "master.m3u8", &key));
    object_put("processed", key.s, "x");
}

static void publish(unsigned n, unsigned generation)
{
    char version[LAYOUT_VERSION_SIZE];

    version_name(generation, NONCE, version);
    add_version(n, generation, NONCE);
    put_published(video(n), generation, version);
}

static void lose_redis(void)
{
    redis_run("FLUSHALL");
}

/* --- Rebuild --- */

START_TEST(redis_is_rebuilt_from_the_store)
{
    char epoch[QUEUE_EPOCH_SIZE] = "";
    bool deleted = false;

    add_source(1); /* waiting */
    add_source(2); /* completed */
    publish(2, 1);
    add_source(3); /* failed */
    put_failed(video(3), 1, "no video stream");
    add_source(4); /* a retry was asked for after it was published */
    publish(4, 1);
    object_put("raw", layout_request(video(4), 2).s, "{}");
    add_record(5); /* still uploading */
    add_log(5, 1, UPLOAD_CREATED, 1);
    object_put("raw", layout_deleted(video(6)).s, "{}"); /* deleted */
    lose_redis();

    struct reconcile_counts counted = pass(false);
    ck_assert_uint_eq(counted.failed, 0);
    ok(queue_epoch(test_queue, epoch, &e));
    ck_assert_str_ne(epoch, "");
    ck_assert_int_eq(state_of(1), VIDEO_WAITING);
    ck_assert_int_eq(state_of(2), VIDEO_COMPLETED);
    ck_assert_int_eq(state_of(3), VIDEO_FAILED);
    ck_assert_int_eq(state_of(4), VIDEO_WAITING);
    ok(queue_deleted(test_queue, video(6), &deleted, &e));
    ck_assert(deleted);
    ck_assert_uint_eq(counts().waiting, 2);

    struct queue_video v = view(4);
    ck_assert_uint_eq(v.generation, 2);
    ck_assert_ptr_nonnull(v.outcome); /* plays on */
    ck_assert_uint_eq(v.created_ms, UINT64_C(1767323045678));
    queue_video_release(&v);
    v = view(3);
    ck_assert_str_eq(v.error, "no video stream");
    queue_video_release(&v);
}
END_TEST

START_TEST(the_rebuild_takes_no_upload_for_abandoned)
{
    struct reconcile_counts counted = {0};

    add_record(1);
    add_log(1, 1, UPLOAD_CREATED, 1);
    lose_redis();
    ok(reconcile_once(reconciler, true, &counted, &e)); /* both passes, changing nothing */
    reconcile_tick(reconciler);                         /* only the rebuild is due at once */
    ck_assert_int_eq(state_of(1), VIDEO_UPLOADING);
}
END_TEST

START_TEST(without_the_store_there_is_no_epoch)
{
    char epoch[QUEUE_EPOCH_SIZE] = "";
    struct reconcile_counts counted = {0};

    add_source(1);
    lose_redis();
    faulty_store_fail(test_store, 6, FAULT_AWAY_BEFORE);
    fails(ERR_TEMPORARY, reconcile_once(reconciler, false, &counted, &e));
    ok(queue_epoch(test_queue, epoch, &e));
    ck_assert_str_eq(epoch, "");
    faulty_store_fail(test_store, 0, FAULT_NONE);
    pass(false);
    ck_assert_int_eq(state_of(1), VIDEO_WAITING);
}
END_TEST

START_TEST(a_broken_record_does_not_stop_the_rebuild)
{
    char epoch[QUEUE_EPOCH_SIZE] = "";

    add_source(1);
    object_put("raw", layout_record(video(1)).s, "{");
    add_source(2);
    lose_redis();
    ck_assert_uint_ge(pass(false).failed, 1);
    ok(queue_epoch(test_queue, epoch, &e));
    ck_assert_str_ne(epoch, "");
    ck_assert_int_eq(state_of(2), VIDEO_WAITING);
}
END_TEST

START_TEST(running_work_is_left_alone)
{
    add_source(1);
    struct queue_token token = active(1);
    pass(false);
    ck_assert_int_eq(state_of(1), VIDEO_ACTIVE);
    ok(queue_ack(test_queue, &token, VIDEO_COMPLETED, OUTCOME, NULL, &e));
    pass(false); /* the outcome is not in the store: Redis knows better, nothing is revived */
    ck_assert_int_eq(state_of(1), VIDEO_COMPLETED);
}
END_TEST

/* --- Uploads left half done --- */

START_TEST(a_completed_source_gets_its_job)
{
    add_source(1);
    add_log(1, 1, UPLOAD_CREATED, 1);
    add_log(1, 2, UPLOAD_COMPLETING, 1);
    ok(queue_video_put(test_queue, video(1), 1, RECORD, &e));
    ok(queue_finishing_add(test_queue, video(1), &e));
    ck_assert_uint_eq(pass(false).indexed, 1);
    ck_assert_int_eq(state_of(1), VIDEO_WAITING);
}
END_TEST

static const enum upload_kind last_kinds[] = {UPLOAD_CREATED, UPLOAD_WRITER, UPLOAD_BYTES, UPLOAD_COMPLETING,
                                              UPLOAD_CLOSED};

START_TEST(an_upload_without_a_writer_goes)
{
    bool deleted = false;

    add_record(1);
    add_log(1, 1, UPLOAD_CREATED, 1);
    if (last_kinds[_i] != UPLOAD_CREATED)
        add_log(1, 2, last_kinds[_i], 1);
    ok(queue_video_put(test_queue, video(1), 1, RECORD, &e));
    struct reconcile_counts would = pass(true);
    ck_assert_uint_eq(would.removed + would.completed, 1);
    ck_assert(object_exists("raw", layout_record(video(1)).s)); /* that was a dry run */
    ck_assert_uint_eq(pass(false).removed, 1);
    ck_assert(!object_exists("raw", layout_record(video(1)).s));
    ok(queue_deleted(test_queue, video(1), &deleted, &e));
    ck_assert(deleted);
}
END_TEST

START_TEST(an_upload_with_a_writer_stays)
{
    add_record(1);
    add_log(1, 1, UPLOAD_CREATED, 1);
    ok(queue_video_put(test_queue, video(1), 1, RECORD, &e));
    ok(queue_admit(test_queue, video(1), 10, 30000, &e));
    ck_assert_uint_eq(pass(false).removed, 0);
    ck_assert_int_eq(state_of(1), VIDEO_UPLOADING);
}
END_TEST

START_TEST(an_upload_that_takes_too_long_goes_with_its_writer)
{
    const struct reconcile_options options = {
        .library = &test_library, .videos_per_second = 1000000, .expiry_ms = DAY_MS};
    struct reconcile_counts counted = {0};
    struct reconciler *strict = NULL;

    add_record(1); /* begun in January 2026 */
    add_log(1, 1, UPLOAD_CREATED, clock_wall_ms());
    ok(queue_admit(test_queue, video(1), 10, 30000, &e));
    ok(reconcile_new(&options, &strict, &e));
    ok(reconcile_once(strict, false, &counted, &e));
    reconcile_free(strict);
    ck_assert_uint_eq(counted.removed, 1);
    ck_assert(!object_exists("raw", layout_record(video(1)).s));
}
END_TEST

START_TEST(a_record_without_a_log_goes)
{
    add_record(1);
    ck_assert_uint_eq(pass(false).removed, 1);
    ck_assert(!object_exists("raw", layout_record(video(1)).s));
}
END_TEST

START_TEST(what_redis_alone_remembers_is_forgotten)
{
    struct queue_video v = {0};

    add_log(1, 1, UPLOAD_CLOSED, clock_wall_ms()); /* taken back, but Redis was away then */
    ok(queue_video_put(test_queue, video(1), 1, RECORD, &e));
    pass(false);
    fails(ERR_NOT_FOUND, queue_video_get(test_queue, video(1), &v, &e));
    ck_assert_uint_eq(objects("raw", LAYOUT_UPLOADS), 1); /* the log keeps its frozen writer out for GC_DAYS */
}
END_TEST

/* --- Deletions --- */

START_TEST(a_deletion_is_repeated_as_long_as_the_marker_stands)
{
    add_source(1);
    ok(removal_delete(&test_library, video(1), NULL, &e));
    add_version(1, 1, NONCE); /* a worker that was frozen */
    object_put("raw", layout_source(video(1)).s, "source");
    pass(false);
    ck_assert_uint_eq(objects("processed", layout_video_prefix(video(1)).s), 0);
    ck_assert(!object_exists("raw", layout_source(video(1)).s));
    ck_assert(object_exists("raw", layout_deleted(video(1)).s));
}
END_TEST

START_TEST(the_marker_goes_after_its_time_when_nothing_was_found)
{
    add_source(1);
    put_failed(video(1), 1, "x");
    ok(removal_delete(&test_library, video(1), NULL, &e));
    add_version(1, 1, NONCE);
    object_age("raw", layout_deleted(video(1)).s, 8);
    pass(false); /* something was found: not yet */
    ck_assert(object_exists("raw", layout_deleted(video(1)).s));
    pass(false);
    ck_assert_uint_eq(objects("raw", "") + objects("processed", ""), 0);
}
END_TEST

/* --- Collection --- */

START_TEST(what_no_outcome_names_is_collected)
{
    add_source(1);
    publish(1, 1);
    add_version(1, 1, "aaaaaaaaaaaaaaaa"); /* another attempt of the same generation */
    object_put("raw", layout_request(video(1), 2).s, "{}");
    add_version(1, 2, NONCE); /* generation 2 has no outcome: it may still be published */
    ck_assert_uint_eq(pass(true).collected, 1);
    ck_assert_uint_eq(pass(false).collected, 1);
    ck_assert_uint_eq(objects("processed", layout_video_prefix(video(1)).s), 4);
    ck_assert_uint_eq(pass(false).collected, 0);
}
END_TEST

START_TEST(a_failed_generation_leaves_no_version)
{
    add_source(1);
    add_version(1, 1, NONCE);
    put_failed(video(1), 1, "x");
    ck_assert_uint_eq(pass(false).collected, 1);
    ck_assert_uint_eq(objects("processed", layout_video_prefix(video(1)).s), 0);
    ck_assert(object_exists("processed", layout_outcome(video(1), 1).s));
}
END_TEST

START_TEST(an_older_generation_goes_a_day_after_a_newer_one)
{
    MEM_AUTO char *outcome = NULL;
    char *date;

    add_source(1);
    publish(1, 1);
    object_put("raw", layout_request(video(1), 2).s, "{}");
    publish(1, 2);
    ck_assert_uint_eq(pass(false).collected, 0); /* players still hold the old playlists */

    outcome = object_text("processed", layout_outcome(video(1), 2).s);
    date = strstr(outcome, "\"created_at\":\"");
    ck_assert_ptr_nonnull(date);
    memcpy(date + strlen("\"created_at\":\""), "2025", 4); /* published long ago */
    object_put("processed", layout_outcome(video(1), 2).s, outcome);
    ck_assert_uint_eq(pass(false).collected, 1);
    ck_assert_uint_eq(objects("processed", layout_video_prefix(video(1)).s), 2);
    ck_assert(object_exists("processed", layout_outcome(video(1), 1).s));
}
END_TEST

START_TEST(a_log_goes_after_its_time)
{
    add_source(1);
    publish(1, 1);
    add_log(1, 1, UPLOAD_CREATED, clock_wall_ms() - 8 * DAY_MS);
    add_log(1, 2, UPLOAD_COMPLETING, clock_wall_ms() - 8 * DAY_MS);
    add_source(2);
    publish(2, 1);
    add_log(2, 1, UPLOAD_COMPLETING, clock_wall_ms() - 6 * DAY_MS);
    add_log(3, 1, UPLOAD_CLOSED, clock_wall_ms() - 8 * DAY_MS); /* taken back, no record left */
    ck_assert_uint_eq(pass(false).collected, 2);
    ck_assert_uint_eq(objects("raw", LAYOUT_UPLOADS), 1);
}
END_TEST

/* --- When --- */

START_TEST(ticks_do_what_is_due)
{
    add_source(1);
    lose_redis();
    reconcile_tick(reconciler);
    ck_assert_int_eq(state_of(1), VIDEO_WAITING);
    reconcile_tick(reconciler); /* the daily pass */

    add_source(2);
    reconcile_tick(reconciler);
    struct queue_video v = {0};
    fails(ERR_NOT_FOUND, queue_video_get(test_queue, video(2), &v, &e)); /* nobody told */
    reconcile_soon(reconciler);
    reconcile_tick(reconciler);
    ck_assert_int_eq(state_of(2), VIDEO_WAITING);
}
END_TEST

START_TEST(a_redis_that_came_back_is_looked_at)
{
    reconcile_tick(reconciler); /* the daily pass */
    add_source(1);
    add_record(2);
    add_log(2, 1, UPLOAD_CREATED, 1); /* its writer could not renew its reservation */
    redis_server_freeze(&queue_server);
    reconcile_tick(reconciler);
    redis_server_thaw(&queue_server);
    for (int i = 0; i < 100; i++) { /* it asks who Redis is every five seconds */
        struct queue_video v = {0};
        reconcile_tick(reconciler);
        if (queue_video_get(test_queue, video(1), &v, NULL) == 0) {
            queue_video_release(&v);
            ck_assert_int_eq(state_of(2), VIDEO_UPLOADING);
            return;
        }
        clock_sleep_ms(100);
    }
    ck_abort_msg("the gap went unnoticed");
}
END_TEST

START_TEST(only_one_works_at_a_time)
{
    add_source(1);
    lose_redis();
    ok(queue_reconciler_lease(test_queue, "somebody", 60000, &e));
    reconcile_tick(reconciler);
    char epoch[QUEUE_EPOCH_SIZE] = "";
    ok(queue_epoch(test_queue, epoch, &e));
    ck_assert_str_eq(epoch, "");
    ok(queue_reconciler_release(test_queue, "somebody", &e));
    pass(false);
    ck_assert_int_eq(state_of(1), VIDEO_WAITING);
}
END_TEST

static const enum fault faults[] = {FAULT_BEFORE, FAULT_AFTER, FAULT_AWAY_BEFORE};

START_TEST(a_pass_that_failed_can_be_repeated)
{
    for (uint64_t nth = 1;; nth++) {
        struct reconcile_counts counted = {0};
        struct err why = {0};
        add_source(1);
        publish(1, 1);
        add_version(1, 1, "aaaaaaaaaaaaaaaa");
        add_record(2);
        object_put("raw", layout_deleted(video(3)).s, "{}");
        object_put("raw", layout_source(video(3)).s, "late");
        lose_redis();
        faulty_store_fail(test_store, nth, faults[_i]);
        int r = reconcile_once(reconciler, false, &counted, &why);
        bool reached = faulty_store_calls(test_store) >= nth;
        faulty_store_fail(test_store, 0, FAULT_NONE);
        ck_assert(r == 0 || r == -ERR_TEMPORARY);
        pass(false);
        ck_assert_int_eq(state_of(1), VIDEO_COMPLETED);
        ck_assert_uint_eq(objects("processed", layout_video_prefix(video(1)).s), 2);
        ck_assert(!object_exists("raw", layout_record(video(2)).s));
        ck_assert(!object_exists("raw", layout_source(video(3)).s));
        object_age("raw", LAYOUT_VIDEOS, 8);
        ok(removal_forget(&test_library, video(2), &e));
        if (!reached)
            break;
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("reconcile");
    TCase *t = tcase_create("reconcile");

    tcase_add_unchecked_fixture(t, queue_server_up, queue_server_down);
    tcase_add_checked_fixture(t, up, down);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, redis_is_rebuilt_from_the_store);
    tcase_add_test(t, the_rebuild_takes_no_upload_for_abandoned);
    tcase_add_test(t, without_the_store_there_is_no_epoch);
    tcase_add_test(t, a_broken_record_does_not_stop_the_rebuild);
    tcase_add_test(t, running_work_is_left_alone);
    tcase_add_test(t, a_completed_source_gets_its_job);
    tcase_add_loop_test(t, an_upload_without_a_writer_goes, 0, (int)ARRAY_SIZE(last_kinds));
    tcase_add_test(t, an_upload_with_a_writer_stays);
    tcase_add_test(t, an_upload_that_takes_too_long_goes_with_its_writer);
    tcase_add_test(t, a_record_without_a_log_goes);
    tcase_add_test(t, what_redis_alone_remembers_is_forgotten);
    tcase_add_test(t, a_deletion_is_repeated_as_long_as_the_marker_stands);
    tcase_add_test(t, the_marker_goes_after_its_time_when_nothing_was_found);
    tcase_add_test(t, what_no_outcome_names_is_collected);
    tcase_add_test(t, a_failed_generation_leaves_no_version);
    tcase_add_test(t, an_older_generation_goes_a_day_after_a_newer_one);
    tcase_add_test(t, a_log_goes_after_its_time);
    tcase_add_test(t, ticks_do_what_is_due);
    tcase_add_test(t, a_redis_that_came_back_is_looked_at);
    tcase_add_test(t, only_one_works_at_a_time);
    tcase_add_loop_test(t, a_pass_that_failed_can_be_repeated, 0, (int)ARRAY_SIZE(faults));
    suite_add_tcase(suite, t);
    return run_suite(suite);
}
