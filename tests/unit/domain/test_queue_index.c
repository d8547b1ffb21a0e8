#include "../suite.h"
#include "queue_fixture.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"

#include <string.h>

/* Admission, the index of videos, the rebuild, deletion, marks and numbers. */

#define DAY_MS (24 * 3600 * 1000)

/* --- Admission --- */

START_TEST(open_jobs_and_reservations_share_the_bound)
{
    enqueue(1);
    ok(queue_admit(test_queue, video(2), 3, 60000, &e));
    ok(queue_admit(test_queue, video(3), 3, 60000, &e));
    fails(ERR_CONFLICT, queue_admit(test_queue, video(4), 3, 60000, &e));
    ok(queue_admit(test_queue, video(2), 3, 60000, &e)); /* repeated: still one */
    ck_assert_uint_eq(counts().admitted, 2);

    ok(queue_admit_drop(test_queue, video(2), &e));
    ok(queue_admit_drop(test_queue, video(2), &e));
    ok(queue_admit(test_queue, video(4), 3, 60000, &e));
    enqueue(3); /* what was admitted becomes a job: no room won, none lost */
    struct queue_counts c = counts();
    ck_assert_uint_eq(c.open, 2);
    ck_assert_uint_eq(c.admitted, 1);
    fails(ERR_CONFLICT, queue_admit(test_queue, video(5), 3, 60000, &e));
}
END_TEST

START_TEST(enqueueing_never_answers_full)
{
    fails(ERR_CONFLICT, queue_admit(test_queue, video(1), 0, 60000, &e));
    for (unsigned n = 1; n <= 20; n++)
        enqueue(n);
    ck_assert_uint_eq(counts().open, 20);
}
END_TEST

START_TEST(a_reservation_ends_by_itself_unless_renewed)
{
    ok(queue_admit(test_queue, video(1), 1, 60000, &e));
    redis_run("ZADD", "{weir}:admitted", "1", video(1));
    ck_assert_uint_eq(counts().admitted, 0);
    ok(queue_admit(test_queue, video(2), 1, 60000, &e));
    ck_assert_int_eq(redis_number("ZCARD", "{weir}:admitted", NULL), 1);

    redis_run("ZADD", "{weir}:admitted", "1", video(2));
    ok(queue_video_put(test_queue, video(2), 1002, RECORD, &e));
    ok(queue_admit_renew(test_queue, video(2), 60000, &e)); /* was admitted once, stays so */
    ck_assert_uint_eq(counts().admitted, 1);
    enqueue(2);
    ok(queue_admit_renew(test_queue, video(2), 60000, &e)); /* late: it is a job now */
    ck_assert_uint_eq(counts().admitted, 0);
}
END_TEST

/* --- Videos --- */

START_TEST(a_video_is_put_once_and_forgotten_while_uploading)
{
    ok(queue_video_put(test_queue, video(1), 1001, RECORD, &e));
    struct queue_digest before = queue_digest();
    ok(queue_video_put(test_queue, video(1), 5, "{}", &e));
    assert_unchanged(before);
    struct queue_video v = view(1);
    ck_assert_int_eq(v.state, VIDEO_UPLOADING);
    ck_assert_uint_eq(v.generation, 0);
    ck_assert_uint_eq(v.created_ms, 1001);
    ck_assert_str_eq(v.record, RECORD);
    ck_assert_ptr_null(v.outcome);
    queue_video_release(&v);

    ok(queue_admit(test_queue, video(1), 5, 60000, &e));
    ok(queue_finishing_add(test_queue, video(1), &e));
    ok(queue_video_forget(test_queue, video(1), &e));
    ok(queue_video_forget(test_queue, video(1), &e));
    fails(ERR_NOT_FOUND, queue_video_get(test_queue, video(1), &v, &e));
    ck_assert_int_eq(redis_number("EXISTS", "{weir}:admitted", "{weir}:finishing", "{weir}:videos", NULL), 0);
}
END_TEST

START_TEST(putting_a_video_that_is_a_job_already_changes_nothing)
{
    enqueue(1);
    struct queue_digest before = queue_digest();
    ok(queue_video_put(test_queue, video(1), 1, "{}", &e));
    assert_unchanged(before);
}
END_TEST

START_TEST(an_unknown_video_is_busy_while_rebuilding)
{
    struct queue_video v;

    enqueue(1);
    redis_run("DEL", "{weir}:epoch");
    fails(ERR_BUSY, queue_video_get(test_queue, video(2), &v, &e));
    ok(queue_video_get(test_queue, video(1), &v, &e)); /* read already */
    queue_video_release(&v);
}
END_TEST

/* --- The list --- */

struct page {
    unsigned count;
    char ids[64][ID_VIDEO_SIZE];
    char next[QUEUE_CURSOR_SIZE];
};

static int collect(void *ctx, const struct queue_video *v, struct err *e)
{
    struct page *page = ctx;

    (void)e;
    ck_assert_uint_lt(page->count, ARRAY_SIZE(page->ids));
    str_copy(page->ids[page->count++], ID_VIDEO_SIZE, v->id);
    return 0;
}

/* Appends one page; false when it was the last one. */
static bool read_page(struct page *page, const enum video_state *state, unsigned limit)
{
    bool rebuilding = true;
    char cursor[QUEUE_CURSOR_SIZE];

    str_copy(cursor, sizeof cursor, page->next);
    ok(queue_video_list(test_queue, state, cursor[0] != '\0' ? cursor : NULL, limit, collect, page, page->next,
                        &rebuilding, &e));
    ck_assert(!rebuilding);
    return page->next[0] != '\0';
}

START_TEST(the_list_is_newest_first_page_by_page)
{
    struct page page = {0};
    unsigned pages = 1;

    for (unsigned n = 1; n <= 11; n++)
        enqueue(n);
    for (; read_page(&page, NULL, 4); pages++)
        ck_assert_uint_eq(page.count, pages * 4);
    ck_assert_uint_eq(pages, 3);
    ck_assert_uint_eq(page.count, 11);
    for (unsigned i = 0; i < page.count; i++)
        ck_assert_str_eq(page.ids[i], video(11 - i));

    page = (struct page){0};
    ck_assert(!read_page(&page, NULL, 11)); /* exactly full: no empty page follows */
}
END_TEST

START_TEST(pages_are_stable_while_videos_come_and_go)
{
    struct page page = {0};

    for (unsigned n = 1; n <= 6; n++)
        enqueue(n);
    ck_assert(read_page(&page, NULL, 2)); /* 6, 5 */
    enqueue(7);
    ok(queue_delete_begin(test_queue, video(5), DAY_MS, &e)); /* the cursor's own video */
    ok(queue_delete_end(test_queue, video(5), DAY_MS, &e));
    ok(queue_delete_begin(test_queue, video(3), DAY_MS, &e));
    while (read_page(&page, NULL, 2))
        ;
    ck_assert_uint_eq(page.count, 5);
    for (unsigned i = 0; i < page.count; i++)
        ck_assert_str_eq(page.ids[i], video((const unsigned[]){6, 5, 4, 2, 1}[i]));
}
END_TEST

/* More of one millisecond than fit into a batch of the script. */
START_TEST(videos_of_one_millisecond_are_each_listed_once)
{
    struct page page = {0};
    bool more = true;
    unsigned seen = 0;

    for (unsigned n = 1; n <= 250; n++)
        ok(queue_video_put(test_queue, video(n), 1000, RECORD, &e));
    for (; more; seen += page.count) {
        page.count = 0;
        more = read_page(&page, NULL, 30);
        for (unsigned i = 0; i < page.count; i++)
            ck_assert_str_eq(page.ids[i], video(250 - seen - i));
    }
    ck_assert_uint_eq(seen, 250);
}
END_TEST

START_TEST(the_list_can_be_of_one_state)
{
    const enum video_state waiting = VIDEO_WAITING, failed = VIDEO_FAILED, active_state = VIDEO_ACTIVE;
    struct page page = {0};

    struct queue_token t = active(1);
    ok(queue_ack(test_queue, &t, VIDEO_FAILED, "{}", "broken", &e));
    active(2);
    for (unsigned n = 3; n <= 5; n++)
        enqueue(n);
    ck_assert(!read_page(&page, &failed, 10));
    ck_assert_uint_eq(page.count, 1);
    ck_assert_str_eq(page.ids[0], video(1));
    page = (struct page){0};
    read_page(&page, &active_state, 10);
    ck_assert_uint_eq(page.count, 1);
    page = (struct page){0};
    ck_assert(read_page(&page, &waiting, 2));
    ck_assert(!read_page(&page, &waiting, 2));
    ck_assert_uint_eq(page.count, 3);
}
END_TEST

static const char *const bad_cursors[] = {"",
                                          "x",
                                          "12",
                                          "-v_00000000000000000000000001",
                                          "1-v_1",
                                          "1-",
                                          "+1-v_00000000000000000000000001",
                                          "99999999999999999999-v_00000000000000000000000001"};

START_TEST(a_malformed_cursor_or_limit_is_refused)
{
    struct page page = {0};

    for (size_t i = 0; i < ARRAY_SIZE(bad_cursors); i++)
        fails(ERR_INVALID, queue_video_list(test_queue, NULL, bad_cursors[i], 10, collect, &page, page.next, NULL, &e));
    fails(ERR_INVALID, queue_video_list(test_queue, NULL, NULL, 0, collect, &page, page.next, NULL, &e));
    fails(ERR_INVALID, queue_video_list(test_queue, NULL, NULL, 1001, collect, &page, page.next, NULL, &e));
    ck_assert_str_eq(page.next, "");
}
END_TEST

START_TEST(the_list_says_when_it_is_being_rebuilt)
{
    struct page page = {0};
    bool rebuilding = false;

    enqueue(1);
    redis_run("DEL", "{weir}:epoch");
    ok(queue_video_list(test_queue, NULL, NULL, 10, collect, &page, page.next, &rebuilding, &e));
    ck_assert(rebuilding);
    ck_assert_uint_eq(page.count, 1);
}
END_TEST

/* --- The rebuild --- */

static struct queue_restored restored(unsigned n, unsigned generation, enum video_state state)
{
    return (struct queue_restored){.video_id = video(n),
                                   .record_json = RECORD,
                                   .created_ms = 1000 + n,
                                   .size_bytes = 77,
                                   .generation = generation,
                                   .state = state};
}

START_TEST(a_rebuild_fills_an_empty_redis)
{
    struct queue_restored v[] = {restored(1, 0, VIDEO_UPLOADING), restored(2, 1, VIDEO_WAITING),
                                 restored(3, 2, VIDEO_COMPLETED), restored(4, 1, VIDEO_FAILED),
                                 restored(5, 3, VIDEO_CANCELLED)};

    v[2].outcome_json = v[4].outcome_json = OUTCOME;
    v[3].error = "no video stream";
    redis_run("FLUSHALL");
    for (unsigned round = 0; round < 2; round++) /* the second time changes nothing */
        for (size_t i = 0; i < ARRAY_SIZE(v); i++)
            ok(queue_restore(test_queue, &v[i], &e));
    struct queue_job job;
    fails(ERR_BUSY, queue_claim(test_queue, "w", "n", NULL, &job, &e));
    begin_test_epoch();

    for (unsigned n = 1; n <= ARRAY_SIZE(v); n++) {
        struct queue_video got = view(n);
        ck_assert_int_eq(got.state, v[n - 1].state);
        ck_assert_uint_eq(got.generation, v[n - 1].generation);
        ck_assert_uint_eq(got.created_ms, 1000 + n);
        ck_assert_uint_eq(got.size_bytes, 77);
        ck_assert_str_eq(got.record, RECORD);
        ck_assert_int_eq(got.outcome != NULL, n == 3 || n == 5);
        ck_assert_int_eq(got.error != NULL, n == 4);
        queue_video_release(&got);
    }
    claim(2);
    expect_nothing_to_claim();
}
END_TEST

START_TEST(a_restoration_never_takes_away_a_live_job_or_a_newer_generation)
{
    static const enum video_state states[] = {VIDEO_WAITING, VIDEO_COMPLETED, VIDEO_FAILED, VIDEO_CANCELLED};
    struct queue_job_spec newer = spec(4, 2);

    struct queue_token t = active(3);
    ok(queue_fail(test_queue, &t, "x", &e));
    active(2);
    enqueue(1);
    ok(queue_enqueue(test_queue, &newer, NULL, &e));
    struct queue_digest before = queue_digest();
    for (unsigned n = 1; n <= 4; n++)
        for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
            struct queue_restored v = restored(n, 1, states[i]);
            ok(queue_restore(test_queue, &v, &e));
            v = restored(n, 0, VIDEO_UPLOADING);
            ok(queue_restore(test_queue, &v, &e));
        }
    assert_unchanged(before);
}
END_TEST

START_TEST(a_restoration_does_not_run_again_what_ended_but_takes_over_the_stores_outcome)
{
    struct queue_token t = active(1);
    struct queue_restored v = restored(1, 1, VIDEO_WAITING);

    ok(queue_ack(test_queue, &t, VIDEO_COMPLETED, OUTCOME, NULL, &e));
    struct queue_digest before = queue_digest();
    ok(queue_restore(test_queue, &v, &e)); /* read before the outcome was written */
    assert_unchanged(before);
    v.state = VIDEO_CANCELLED;
    ok(queue_restore(test_queue, &v, &e));
    ck_assert_int_eq(state_of(1), VIDEO_CANCELLED);

    v = restored(1, 2, VIDEO_WAITING); /* a retry that was asked for in the store only */
    ok(queue_restore(test_queue, &v, &e));
    ck_assert_uint_eq(claim(1).generation, 2);
}
END_TEST

START_TEST(an_upload_that_was_restored_becomes_a_job)
{
    struct queue_restored v = restored(1, 0, VIDEO_UPLOADING);

    ok(queue_restore(test_queue, &v, &e));
    enqueue(1);
    claim(1);
}
END_TEST

START_TEST(the_epoch_is_kept_once_set)
{
    char first[QUEUE_EPOCH_SIZE], second[QUEUE_EPOCH_SIZE];

    ok(queue_epoch(test_queue, first, &e));
    ck_assert_uint_eq(strlen(first), QUEUE_EPOCH_SIZE - 1);
    begin_test_epoch();
    ok(queue_epoch(test_queue, second, &e));
    ck_assert_str_eq(first, second);
    redis_run("DEL", "{weir}:epoch");
    ok(queue_epoch(test_queue, second, &e));
    ck_assert_str_eq(second, "");
}
END_TEST

START_TEST(one_reconciler_at_a_time)
{
    ok(queue_reconciler_lease(test_queue, "a", 60000, &e));
    ok(queue_reconciler_lease(test_queue, "a", 60000, &e));
    fails(ERR_CONFLICT, queue_reconciler_lease(test_queue, "b", 60000, &e));
    ck_assert_int_gt(redis_number("PTTL", "{weir}:reconciler", NULL), 50000);
    ok(queue_reconciler_release(test_queue, "a", &e));
    ok(queue_reconciler_lease(test_queue, "b", 60000, &e));
    ok(queue_reconciler_renew(test_queue, "b", 60000, &e));
    fails(ERR_CONFLICT, queue_reconciler_renew(test_queue, "a", 60000, &e));
    redis_run("DEL", "{weir}:reconciler");
    fails(ERR_CONFLICT, queue_reconciler_renew(test_queue, "b", 60000, &e)); /* gone is not renewed */
}
END_TEST

START_TEST(only_who_rebuilt_all_of_it_sets_the_epoch)
{
    char epoch[QUEUE_EPOCH_SIZE];

    redis_run("FLUSHALL");
    ok(queue_reconciler_lease(test_queue, "pass", 60000, &e));
    redis_run("FLUSHALL"); /* in mid-pass: what was restored so far is gone */
    fails(ERR_CONFLICT, queue_epoch_begin(test_queue, "pass", &e));
    ok(queue_reconciler_lease(test_queue, "another", 60000, &e));
    fails(ERR_CONFLICT, queue_epoch_begin(test_queue, "pass", &e));
    ok(queue_epoch(test_queue, epoch, &e));
    ck_assert_str_eq(epoch, "");
    ok(queue_epoch_begin(test_queue, "another", &e));
}
END_TEST

/* --- Deletion --- */

static const char *const places[] = {"uploading", "waiting", "active", "delayed", "completed"};

static struct queue_token bring_to(unsigned n, const char *place)
{
    struct queue_token t = {0};

    if (strcmp(place, "uploading") == 0) {
        ok(queue_video_put(test_queue, video(n), 1000 + n, RECORD, &e));
        ok(queue_admit(test_queue, video(n), 100, 60000, &e));
        ok(queue_finishing_add(test_queue, video(n), &e));
        return t;
    }
    enqueue(n);
    if (strcmp(place, "waiting") != 0)
        t = claim(n);
    if (strcmp(place, "delayed") == 0)
        ok(queue_fail(test_queue, &t, "x", &e));
    if (strcmp(place, "completed") == 0)
        ok(queue_ack(test_queue, &t, VIDEO_COMPLETED, OUTCOME, NULL, &e));
    ck_assert_str_eq(video_state_name(state_of(n)), place);
    return t;
}

START_TEST(nothing_of_a_deleted_video_is_left)
{
    char upload[64], writer[64], tombstone[64];
    struct queue_video v;
    bool deleted = false;
    struct queue_token t = bring_to(1, places[_i]);

    str_format(upload, sizeof upload, "{weir}:upload:%s", video(1));
    str_format(writer, sizeof writer, "{weir}:writer:%s", video(1));
    str_format(tombstone, sizeof tombstone, "{weir}:deleted:%s", video(1));
    redis_run("HSET", upload, "seq", "1");
    redis_run("HSET", writer, "nonce", "x");
    ok(queue_delete_begin(test_queue, video(1), DAY_MS, &e));
    ok(queue_deleted(test_queue, video(1), &deleted, &e));
    ck_assert(deleted);
    fails(ERR_NOT_FOUND, queue_video_get(test_queue, video(1), &v, &e));
    if (t.fence != 0)
        fails(ERR_NOT_FOUND, queue_heartbeat(test_queue, &t, NULL, NULL, &e));
    struct queue_counts c = counts();
    ck_assert_uint_eq(c.open + c.admitted, 0);
    for (int s = 0; s < VIDEO_STATES; s++)
        ck_assert_uint_eq(c.by_state[s], 0);
    queue_check_invariants();

    for (unsigned round = 0; round < 2; round++) { /* the marker is gone through again every day */
        ok(queue_delete_end(test_queue, video(1), DAY_MS, &e));
        ck_assert_int_eq(redis_number("EXISTS", video_key(1), job_key(1, 1), upload, writer, "{weir}:finishing",
                                      "{weir}:videos", NULL),
                         0);
        ck_assert_int_gt(redis_number("PTTL", tombstone, NULL), DAY_MS - 10000);
        ok(queue_delete_begin(test_queue, video(1), DAY_MS, &e));
    }
}
END_TEST

START_TEST(every_generation_of_a_deleted_video_goes)
{
    struct queue_token t = active(1);
    struct queue_job_spec next = spec(1, 2);

    ok(queue_ack(test_queue, &t, VIDEO_COMPLETED, OUTCOME, NULL, &e));
    ok(queue_enqueue(test_queue, &next, NULL, &e));
    ok(queue_delete_begin(test_queue, video(1), DAY_MS, &e));
    ok(queue_delete_end(test_queue, video(1), DAY_MS, &e));
    ck_assert_int_eq(redis_number("EXISTS", job_key(1, 1), NULL) + redis_number("EXISTS", job_key(1, 2), NULL), 0);
}
END_TEST

START_TEST(a_tombstone_keeps_the_rebuild_out)
{
    struct queue_restored v = restored(1, 1, VIDEO_WAITING);

    redis_run("FLUSHALL");
    ok(queue_delete_begin(test_queue, video(1), DAY_MS, &e)); /* from the marker, before the epoch stands */
    fails(ERR_NOT_FOUND, queue_restore(test_queue, &v, &e));
    begin_test_epoch();
    expect_nothing_to_claim();
}
END_TEST

/* --- Finishing marks --- */

static int count_ids(void *ctx, const char *video_id, struct err *e)
{
    unsigned *count = ctx;

    (void)video_id;
    ++*count;
    return *count > 2 ? err_set(e, ERR_CONFLICT, "enough") : 0;
}

static unsigned finishing(uint64_t min_age_ms)
{
    unsigned count = 0;

    ok(queue_finishing_list(test_queue, min_age_ms, count_ids, &count, &e));
    return count;
}

START_TEST(finishing_marks_stay_until_the_job_is_there)
{
    ok(queue_finishing_add(test_queue, video(1), &e));
    ok(queue_finishing_add(test_queue, video(2), &e));
    redis_run("ZADD", "{weir}:finishing", "1", video(1));
    ok(queue_finishing_add(test_queue, video(1), &e)); /* keeps its age */
    ck_assert_uint_eq(finishing(20000), 1);
    ck_assert_uint_eq(finishing(0), 2);
    enqueue(1);
    ck_assert_uint_eq(finishing(0), 1);
    ok(queue_finishing_add(test_queue, video(1), &e));
    struct queue_job_spec again = spec(1, 1);
    ok(queue_enqueue(test_queue, &again, NULL, &e)); /* also when the job was there before */
    ck_assert_uint_eq(finishing(0), 1);
    ok(queue_finishing_remove(test_queue, video(2), &e));
    ck_assert_uint_eq(finishing(0), 0);

    unsigned count = 0;
    for (unsigned n = 1; n <= 5; n++)
        ok(queue_finishing_add(test_queue, video(n), &e));
    fails(ERR_CONFLICT, queue_finishing_list(test_queue, 0, count_ids, &count, &e));
    ck_assert_uint_eq(count, 3);
}
END_TEST

/* --- Numbers --- */

START_TEST(counts_add_up)
{
    for (unsigned n = ARRAY_SIZE(places); n > 0; n--) /* backwards: what waits would be claimed */
        bring_to(n, places[n - 1]);
    struct queue_counts c = counts();
    ck_assert_uint_eq(c.waiting, 1);
    ck_assert_uint_eq(c.active, 1);
    ck_assert_uint_eq(c.delayed, 1);
    ck_assert_uint_eq(c.open, 3);
    ck_assert_uint_eq(c.admitted, 1);
    for (int s = 0; s < VIDEO_STATES; s++)
        ck_assert_uint_eq(c.by_state[s], s == VIDEO_FAILED || s == VIDEO_CANCELLED ? 0 : 1);
}
END_TEST

START_TEST(the_longest_waiting_job_tells_its_age)
{
    char then[32];

    active(1); /* enqueued before, but not waiting */
    ck_assert_uint_eq(counts().oldest_waiting_ms, 0);
    enqueue(2);
    enqueue(3);
    str_format(then, sizeof then, "%llu", (unsigned long long)redis_now_ms() - 5000);
    redis_run("ZADD", "{weir}:open", then, "v_00000000000000000000000002.1");
    ck_assert_uint_ge(counts().oldest_waiting_ms, 5000);
    ck_assert_uint_lt(counts().oldest_waiting_ms, 6000);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("queue index");
    TCase *tcase = tcase_create("index");
    tcase_add_unchecked_fixture(tcase, queue_server_up, queue_server_down);
    tcase_add_checked_fixture(tcase, queue_up, queue_down);
    tcase_add_test(tcase, open_jobs_and_reservations_share_the_bound);
    tcase_add_test(tcase, enqueueing_never_answers_full);
    tcase_add_test(tcase, a_reservation_ends_by_itself_unless_renewed);
    tcase_add_test(tcase, a_video_is_put_once_and_forgotten_while_uploading);
    tcase_add_test(tcase, putting_a_video_that_is_a_job_already_changes_nothing);
    tcase_add_test(tcase, an_unknown_video_is_busy_while_rebuilding);
    tcase_add_test(tcase, the_list_is_newest_first_page_by_page);
    tcase_add_test(tcase, pages_are_stable_while_videos_come_and_go);
    tcase_add_test(tcase, videos_of_one_millisecond_are_each_listed_once);
    tcase_add_test(tcase, the_list_can_be_of_one_state);
    tcase_add_test(tcase, a_malformed_cursor_or_limit_is_refused);
    tcase_add_test(tcase, the_list_says_when_it_is_being_rebuilt);
    tcase_add_test(tcase, a_rebuild_fills_an_empty_redis);
    tcase_add_test(tcase, a_restoration_never_takes_away_a_live_job_or_a_newer_generation);
    tcase_add_test(tcase, a_restoration_does_not_run_again_what_ended_but_takes_over_the_stores_outcome);
    tcase_add_test(tcase, an_upload_that_was_restored_becomes_a_job);
    tcase_add_test(tcase, the_epoch_is_kept_once_set);
    tcase_add_test(tcase, one_reconciler_at_a_time);
    tcase_add_test(tcase, only_who_rebuilt_all_of_it_sets_the_epoch);
    tcase_add_loop_test(tcase, nothing_of_a_deleted_video_is_left, 0, (int)ARRAY_SIZE(places));
    tcase_add_test(tcase, every_generation_of_a_deleted_video_goes);
    tcase_add_test(tcase, a_tombstone_keeps_the_rebuild_out);
    tcase_add_test(tcase, finishing_marks_stay_until_the_job_is_there);
    tcase_add_test(tcase, counts_add_up);
    tcase_add_test(tcase, the_longest_waiting_job_tells_its_age);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
