#include "../suite.h"
#include "queue_fixture.h"

#include "base/mem.h"
#include "base/str.h"

#include <stdio.h>
#include <string.h>

/* Every precondition of every script, violated once: the right refusal, and not a byte of Redis changed. */

static struct queue_token held; /* of video 1 */

static int run_admit(struct err *e)
{
    return queue_admit(test_queue, video(1), 10, 1000, e);
}

static int run_admit_renew(struct err *e)
{
    return queue_admit_renew(test_queue, video(1), 1000, e);
}

static int run_video_put(struct err *e)
{
    return queue_video_put(test_queue, video(1), 1001, RECORD, e);
}

static int run_video_forget(struct err *e)
{
    return queue_video_forget(test_queue, video(1), e);
}

static int run_video_get(struct err *e)
{
    struct queue_video v = {0};
    int result = queue_video_get(test_queue, video(1), &v, e);

    queue_video_release(&v);
    return result;
}

static int run_enqueue(struct err *e)
{
    struct queue_job_spec s = spec(1, 1);

    return queue_enqueue(test_queue, &s, NULL, e);
}

static int run_claim(struct err *e)
{
    struct queue_job job = {0};
    int result = queue_claim(test_queue, "worker-1", "another-nonce", NULL, &job, e);

    queue_job_release(&job);
    return result;
}

static int run_heartbeat(struct err *e)
{
    return queue_heartbeat(test_queue, &held, "{\"percent\":99}", NULL, e);
}

static int run_ack(struct err *e)
{
    return queue_ack(test_queue, &held, VIDEO_COMPLETED, OUTCOME, NULL, e);
}

static int run_ack_next(struct err *e)
{
    struct queue_next next = {.worker = "worker-1", .nonce = "next-nonce"};
    int result = queue_ack_next(test_queue, &held, VIDEO_COMPLETED, OUTCOME, NULL, &next, e);

    if (next.got)
        queue_job_release(&next.job);
    return result;
}

static int run_fail(struct err *e)
{
    return queue_fail(test_queue, &held, "the store is away", e);
}

static int run_release(struct err *e)
{
    return queue_release(test_queue, &held, e);
}

static int run_scan(struct err *e)
{
    struct queue_scan s;

    return queue_scan(test_queue, &s, e);
}

static int run_cancel(struct err *e)
{
    return queue_cancel(test_queue, video(1), 1, "{}", NULL, e);
}

static int run_settle(struct err *e)
{
    return queue_settle(test_queue, video(1), 1, VIDEO_FAILED, "{}", "broken", e);
}

static int run_finishing_add(struct err *e)
{
    return queue_finishing_add(test_queue, video(1), e);
}

static int run_restore(struct err *e)
{
    const struct queue_restored v = {.video_id = video(1),
                                     .record_json = RECORD,
                                     .generation = 1,
                                     .state = VIDEO_COMPLETED,
                                     .outcome_json = OUTCOME};

    return queue_restore(test_queue, &v, e);
}

static const struct {
    const char *name;
    int (*run)(struct err *e);
    int tombstoned, no_epoch, older_generation, wrong_token; /* what each violation gives; 0: allowed then */
} scripts[] = {
    {"admit", run_admit, -ERR_NOT_FOUND, -ERR_BUSY, 0, 0},
    {"admit_renew", run_admit_renew, -ERR_NOT_FOUND, -ERR_BUSY, 0, 0},
    {"video_put", run_video_put, -ERR_NOT_FOUND, -ERR_BUSY, 0, 0},
    {"video_forget", run_video_forget, -ERR_NOT_FOUND, -ERR_BUSY, -ERR_CONFLICT, -ERR_CONFLICT},
    {"video_get", run_video_get, -ERR_NOT_FOUND, 0, 0, 0},
    {"enqueue", run_enqueue, -ERR_NOT_FOUND, -ERR_BUSY, -ERR_STALE, 0},
    {"claim", run_claim, -ERR_NOT_FOUND, -ERR_BUSY, -ERR_NOT_FOUND, -ERR_NOT_FOUND},
    {"heartbeat", run_heartbeat, -ERR_NOT_FOUND, -ERR_BUSY, -ERR_STALE, -ERR_STALE},
    {"ack", run_ack, -ERR_NOT_FOUND, -ERR_BUSY, -ERR_STALE, -ERR_STALE},
    {"ack_next", run_ack_next, -ERR_NOT_FOUND, -ERR_BUSY, -ERR_STALE, -ERR_STALE},
    {"fail", run_fail, -ERR_NOT_FOUND, -ERR_BUSY, -ERR_STALE, -ERR_STALE},
    {"release", run_release, -ERR_NOT_FOUND, -ERR_BUSY, -ERR_STALE, -ERR_STALE},
    {"scan", run_scan, 0, -ERR_BUSY, 0, 0},
    {"cancel", run_cancel, -ERR_NOT_FOUND, -ERR_BUSY, -ERR_STALE, 0},
    {"settle", run_settle, -ERR_NOT_FOUND, -ERR_BUSY, -ERR_STALE, 0},
    {"finishing_add", run_finishing_add, -ERR_NOT_FOUND, -ERR_BUSY, 0, 0},
    {"restore", run_restore, -ERR_NOT_FOUND, 0, 0, 0},
};

/* `expected` 0: the violation does not concern this script. */
static void expect_refusal(size_t i, int expected)
{
    struct err e = {0};

    if (expected == 0)
        return;
    struct queue_digest before = queue_digest();
    int got = scripts[i].run(&e);
    ck_assert_msg(got == expected, "%s: %d %s, expected %d", scripts[i].name, got, e.text, expected);
    assert_unchanged(before);
}

static void expect_refusal_of_ack_next(int expected)
{
    struct err e = {0};
    struct queue_digest before = queue_digest();

    ck_assert_int_eq(run_ack_next(&e), expected);
    assert_unchanged(before);
}

START_TEST(a_tombstoned_video_is_refused)
{
    char key[64];

    held = active(1);
    str_format(key, sizeof key, "{weir}:deleted:%s", video(1));
    redis_run("SET", key, "1");
    expect_refusal((size_t)_i, scripts[_i].tombstoned);
    redis_run("DEL", key);
}
END_TEST

START_TEST(without_the_epoch_key_nothing_begins_or_ends)
{
    held = active(1);
    redis_run("DEL", "{weir}:epoch");
    expect_refusal((size_t)_i, scripts[_i].no_epoch);
}
END_TEST

START_TEST(an_older_generation_changes_nothing)
{
    struct queue_job_spec newer = spec(1, 2);

    held = active(1);
    ok(queue_enqueue(test_queue, &newer, NULL, &e));
    claim(1);
    expect_refusal((size_t)_i, scripts[_i].older_generation);
}
END_TEST

static const struct {
    const char *name;
    uint64_t fence_off;
    const char *nonce;
} wrong_tokens[] = {{"an older fence", UINT64_MAX, NULL},
                    {"a newer fence", 1, NULL},
                    {"another nonce", 0, "0123456789abcdef"},
                    {"an empty nonce", 0, ""}};

START_TEST(a_token_that_is_not_current_is_refused)
{
    held = active(1);
    const struct queue_token current = held;
    for (size_t i = 0; i < ARRAY_SIZE(wrong_tokens); i++) {
        held = current;
        held.fence += wrong_tokens[i].fence_off;
        if (wrong_tokens[i].nonce != NULL)
            str_copy(held.nonce, sizeof held.nonce, wrong_tokens[i].nonce);
        expect_refusal((size_t)_i, scripts[_i].wrong_token);
    }
    held = current;
    ok(queue_heartbeat(test_queue, &held, NULL, NULL, &e));
}
END_TEST

START_TEST(a_job_nobody_knows_is_stale)
{
    held = (struct queue_token){.generation = 1, .fence = 7, .nonce = "n"};
    str_copy(held.video_id, sizeof held.video_id, video(1));
    str_format(held.job_id, sizeof held.job_id, "%s.1", video(1));
    struct queue_digest before = queue_digest();
    fails(ERR_STALE, run_heartbeat(&e));
    fails(ERR_STALE, run_ack(&e));
    fails(ERR_STALE, run_fail(&e));
    fails(ERR_STALE, run_release(&e));
    fails(ERR_NOT_FOUND, run_cancel(&e));
    fails(ERR_NOT_FOUND, run_settle(&e));
    fails(ERR_NOT_FOUND, run_video_get(&e));
    fails(ERR_NOT_FOUND, run_claim(&e));
    assert_unchanged(before);
}
END_TEST

START_TEST(a_job_given_up_accepts_neither_ack_nor_heartbeat)
{
    held = active(1);
    ok(run_fail(&e));
    struct queue_digest before = queue_digest();
    fails(ERR_STALE, run_ack(&e));
    fails(ERR_STALE, run_heartbeat(&e));
    assert_unchanged(before);

    held = active(2);
    ok(run_release(&e));
    before = queue_digest();
    fails(ERR_STALE, run_ack(&e));
    fails(ERR_STALE, run_heartbeat(&e));
    assert_unchanged(before);
}
END_TEST

START_TEST(an_ack_that_is_refused_claims_nothing)
{
    held = active(1);
    const struct queue_token current = held;
    enqueue(2);
    held.fence--;
    expect_refusal_of_ack_next(-ERR_STALE);
    held = current;
    redis_run("SET", "{weir}:deleted:v_00000000000000000000000001", "1");
    expect_refusal_of_ack_next(-ERR_NOT_FOUND);
    redis_run("DEL", "{weir}:deleted:v_00000000000000000000000001");
    redis_run("DEL", "{weir}:epoch");
    expect_refusal_of_ack_next(-ERR_BUSY);
    begin_test_epoch();
    ok(run_release(&e));
    expect_refusal_of_ack_next(-ERR_STALE);
}
END_TEST

START_TEST(a_job_that_ended_accepts_no_heartbeat_and_stays_ended)
{
    held = active(1);
    ok(run_ack(&e));
    struct queue_digest before = queue_digest();
    fails(ERR_STALE, run_heartbeat(&e));
    ok(run_fail(&e)); /* repeated or late: means nothing any more */
    ok(run_release(&e));
    assert_unchanged(before);
}
END_TEST

START_TEST(a_full_queue_admits_nobody)
{
    enqueue(2);
    ok(queue_admit(test_queue, video(3), 2, 60000, &e));
    struct queue_digest before = queue_digest();
    fails(ERR_CONFLICT, queue_admit(test_queue, video(1), 2, 60000, &e));
    fails(ERR_CONFLICT, queue_admit(test_queue, video(1), 0, 60000, &e));
    assert_unchanged(before);
}
END_TEST

START_TEST(only_an_uploading_video_can_be_forgotten)
{
    enqueue(1);
    struct queue_digest before = queue_digest();
    fails(ERR_CONFLICT, run_video_forget(&e));
    assert_unchanged(before);
}
END_TEST

START_TEST(a_reconciler_does_not_take_anothers_lease)
{
    ok(queue_reconciler_lease(test_queue, "a", 60000, &e));
    struct queue_digest before = queue_digest();
    fails(ERR_CONFLICT, queue_reconciler_lease(test_queue, "b", 60000, &e));
    ok(queue_reconciler_release(test_queue, "b", &e));
    assert_unchanged(before);
}
END_TEST

static const char *const spent_fences[] = {"9007199254740991", "9007199254740992", "9007199254740993", "1e300"};

START_TEST(a_fence_above_2_53_is_refused)
{
    enqueue(1);
    redis_run("SET", "{weir}:fence", spent_fences[_i]);
    struct queue_digest before = queue_digest();
    fails(ERR_BUG, run_claim(&e));
    assert_unchanged(before);
}
END_TEST

/* That nothing can be claimed keeps no job from ending. */
START_TEST(a_fence_above_2_53_is_no_obstacle_to_an_ack)
{
    held = active(1);
    enqueue(2);
    redis_run("SET", "{weir}:fence", spent_fences[_i]);
    ok(run_ack_next(&e));
    ck_assert_int_eq(state_of(1), VIDEO_COMPLETED);
    ck_assert_int_eq(state_of(2), VIDEO_WAITING);
}
END_TEST

/* What never reaches Redis. */
START_TEST(malformed_arguments_are_refused)
{
    static const char *const bad_class[] = {"no:colon", NULL};
    struct queue_job_spec s = spec(1, 1);
    struct queue_job job;
    bool deleted;

    s.generation = 0;
    fails(ERR_INVALID, queue_enqueue(test_queue, &s, NULL, &e));
    s.generation = UINT64_C(1) << 53;
    fails(ERR_INVALID, queue_enqueue(test_queue, &s, NULL, &e));
    s = spec(1, 1);
    s.priority = 3;
    fails(ERR_INVALID, queue_enqueue(test_queue, &s, NULL, &e));
    s = spec(1, 1);
    s.job_class = "";
    fails(ERR_INVALID, queue_enqueue(test_queue, &s, NULL, &e));
    s = spec(1, 1);
    s.video_id = "v_1} {";
    fails(ERR_INVALID, queue_enqueue(test_queue, &s, NULL, &e));
    fails(ERR_INVALID, queue_claim(test_queue, "w", "n", bad_class, &job, &e));
    fails(ERR_BUG, queue_claim(test_queue, "w", "", NULL, &job, &e));
    fails(ERR_BUG, queue_claim(test_queue, "w", "a:b", NULL, &job, &e));
    fails(ERR_BUG, queue_claim(test_queue, "w", "12345678901234567", NULL, &job, &e));
    fails(ERR_INVALID, queue_wait(test_queue, bad_class, 10, &e));
    fails(ERR_INVALID, queue_video_put(test_queue, "x", 1, RECORD, &e));
    fails(ERR_INVALID, queue_cancel(test_queue, video(1), 0, "{}", NULL, &e));
    fails(ERR_INVALID, queue_deleted(test_queue, "x", &deleted, &e));
    held = active(1);
    fails(ERR_BUG, queue_ack(test_queue, &held, VIDEO_ACTIVE, "{}", NULL, &e));
    struct queue_next next = {.worker = "w", .nonce = "a:b"};
    fails(ERR_BUG, queue_ack_next(test_queue, &held, VIDEO_COMPLETED, "{}", NULL, &next, &e));
    next = (struct queue_next){.worker = "w", .nonce = "n", .classes = bad_class};
    fails(ERR_INVALID, queue_ack_next(test_queue, &held, VIDEO_COMPLETED, "{}", NULL, &next, &e));
    fails(ERR_BUG, queue_settle(test_queue, video(1), 1, VIDEO_WAITING, "{}", NULL, &e));
}
END_TEST

START_TEST(malformed_restorations_are_refused)
{
    static const struct queue_restored bad[] = {
        {.video_id = "x", .record_json = "", .generation = 1, .state = VIDEO_WAITING},
        {.record_json = "", .generation = 0, .state = VIDEO_WAITING},
        {.record_json = "", .generation = 1, .state = VIDEO_UPLOADING},
        {.record_json = "", .generation = 1, .state = VIDEO_ACTIVE},
        {.record_json = "", .generation = 1, .state = VIDEO_DELAYED},
    };

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct queue_restored v = bad[i];
        struct err e;
        if (v.video_id == NULL)
            v.video_id = video(1);
        ck_assert_int_ne(queue_restore(test_queue, &v, &e), 0);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("queue refusals");
    TCase *refusals = tcase_create("refusals");
    const int n = (int)ARRAY_SIZE(scripts);
    tcase_add_unchecked_fixture(refusals, queue_server_up, queue_server_down);
    tcase_add_checked_fixture(refusals, queue_up, queue_down);
    tcase_add_loop_test(refusals, a_tombstoned_video_is_refused, 0, n);
    tcase_add_loop_test(refusals, without_the_epoch_key_nothing_begins_or_ends, 0, n);
    tcase_add_loop_test(refusals, an_older_generation_changes_nothing, 0, n);
    tcase_add_loop_test(refusals, a_token_that_is_not_current_is_refused, 0, n);
    tcase_add_test(refusals, a_job_nobody_knows_is_stale);
    tcase_add_test(refusals, a_job_given_up_accepts_neither_ack_nor_heartbeat);
    tcase_add_test(refusals, an_ack_that_is_refused_claims_nothing);
    tcase_add_test(refusals, a_job_that_ended_accepts_no_heartbeat_and_stays_ended);
    tcase_add_test(refusals, a_full_queue_admits_nobody);
    tcase_add_test(refusals, only_an_uploading_video_can_be_forgotten);
    tcase_add_test(refusals, a_reconciler_does_not_take_anothers_lease);
    tcase_add_loop_test(refusals, a_fence_above_2_53_is_refused, 0, (int)ARRAY_SIZE(spent_fences));
    tcase_add_loop_test(refusals, a_fence_above_2_53_is_no_obstacle_to_an_ack, 0, (int)ARRAY_SIZE(spent_fences));
    tcase_add_test(refusals, malformed_arguments_are_refused);
    tcase_add_test(refusals, malformed_restorations_are_refused);
    suite_add_tcase(suite, refusals);
    return run_suite(suite);
}
