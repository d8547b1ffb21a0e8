#include "../suite.h"
#include "queue_fixture.h"

#include "base/mem.h"
#include "base/str.h"
#include "domain/queue_call.h"

#include <string.h>

/* The life of a job, one script after another. */

START_TEST(a_job_goes_from_enqueue_to_ack)
{
    struct queue_job job;
    bool cancel = true;

    enqueue(1);
    ck_assert_int_eq(state_of(1), VIDEO_WAITING);
    ok(queue_claim(test_queue, "worker-1", "nonce-1", NULL, &job, &e));
    ck_assert_str_eq(job.token.video_id, video(1));
    ck_assert_uint_eq(job.token.generation, 1);
    ck_assert_uint_eq(job.attempts, 1);
    ck_assert_uint_eq(job.size_bytes, 77);
    ck_assert_uint_eq(job.lease_ms, queue_test_options.lease_ms);
    ck_assert_str_eq(job.record, RECORD);
    ck_assert_ptr_null(job.last_error);
    ck_assert(!job.exhausted && !job.cancelled);
    ck_assert_int_eq(state_of(1), VIDEO_ACTIVE);

    ok(queue_heartbeat(test_queue, &job.token, "{\"percent\":41.2}", &cancel, &e));
    ck_assert(!cancel);
    struct queue_video v = view(1);
    ck_assert_str_eq(v.progress, "{\"percent\":41.2}");
    ck_assert_uint_eq(v.attempts, 1);
    queue_video_release(&v);

    ok(queue_ack(test_queue, &job.token, VIDEO_COMPLETED, OUTCOME, NULL, &e));
    v = view(1);
    ck_assert_int_eq(v.state, VIDEO_COMPLETED);
    ck_assert_str_eq(v.outcome, OUTCOME);
    ck_assert_ptr_null(v.error);
    ck_assert_ptr_null(v.progress);
    ck_assert_uint_eq(v.attempts, 1);
    ck_assert_uint_eq(v.created_ms, 1001);
    queue_video_release(&v);
    queue_job_release(&job);
    ck_assert_uint_eq(counts().open, 0);
}
END_TEST

START_TEST(an_ack_can_bring_the_next_job)
{
    static const char *const both[] = {"2160p", "default", NULL};
    struct queue_next next = {.worker = "worker-1", .nonce = "second", .classes = both};
    struct queue_job_spec big = spec(3, 1);
    struct queue_token t = active(1);

    enqueue(2);
    big.job_class = "2160p";
    ok(queue_enqueue(test_queue, &big, NULL, &e));
    ok(queue_ack_next(test_queue, &t, VIDEO_FAILED, "{}", "broken", &next, &e));
    ck_assert_int_eq(state_of(1), VIDEO_FAILED);
    ck_assert(next.got);
    ck_assert_str_eq(next.job.token.video_id, video(3));
    ck_assert_str_eq(next.job.token.nonce, "second");
    ck_assert_uint_gt(next.job.token.fence, t.fence);
    ck_assert_uint_eq(next.job.attempts, 1);
    ck_assert_str_eq(next.job.record, RECORD);
    queue_job_release(&next.job);
    t = next.job.token;

    next = (struct queue_next){.worker = "worker-1", .nonce = "third"};
    ok(queue_ack_next(test_queue, &t, VIDEO_COMPLETED, OUTCOME, NULL, &next, &e));
    ck_assert_str_eq(next.job.token.video_id, video(2));
    queue_job_release(&next.job);
    t = next.job.token;
    next = (struct queue_next){.worker = "worker-1", .nonce = "fourth"};
    ok(queue_ack_next(test_queue, &t, VIDEO_CANCELLED, "{}", NULL, &next, &e));
    ck_assert(!next.got);
    ck_assert_int_eq(state_of(2), VIDEO_CANCELLED);
    ck_assert_uint_eq(counts().open, 0);
}
END_TEST

START_TEST(enqueueing_again_finds_the_job_in_every_state)
{
    struct queue_job_spec s = spec(1, 1);
    bool existed = false;
    struct queue_token t = active(1);

    ok(queue_enqueue(test_queue, &s, &existed, &e));
    ck_assert(existed);
    ok(queue_fail(test_queue, &t, "away", &e));
    existed = false;
    ok(queue_enqueue(test_queue, &s, &existed, &e));
    ck_assert(existed);
    ok(queue_cancel(test_queue, video(1), 1, "{}", NULL, &e));
    redis_run("DEL", job_key(1, 1)); /* as after a week */
    existed = false;
    ok(queue_enqueue(test_queue, &s, &existed, &e));
    ck_assert(existed);
    ck_assert_int_eq(state_of(1), VIDEO_CANCELLED);
    ck_assert_uint_eq(counts().open, 0);
}
END_TEST

START_TEST(claims_are_first_in_first_out_within_a_priority)
{
    struct queue_job_spec urgent = spec(4, 1), idle = spec(5, 1);

    idle.priority = 2;
    urgent.priority = 0;
    ok(queue_enqueue(test_queue, &idle, NULL, &e));
    for (unsigned n = 1; n <= 3; n++)
        enqueue(n);
    ok(queue_enqueue(test_queue, &urgent, NULL, &e));
    claim(4);
    for (unsigned n = 1; n <= 3; n++)
        claim(n);
    claim(5);
    expect_nothing_to_claim();
}
END_TEST

START_TEST(a_worker_takes_only_its_classes_in_their_order)
{
    static const char *const both[] = {"2160p", "default", NULL};
    struct queue_job_spec big = spec(2, 1);
    struct queue_job job;

    big.job_class = "2160p";
    big.priority = 2;
    enqueue(1);
    ok(queue_enqueue(test_queue, &big, NULL, &e));
    ok(queue_claim(test_queue, "w", "n1", both, &job, &e));
    ck_assert_str_eq(job.token.video_id, video(2));
    queue_job_release(&job);
    ok(queue_release(test_queue, &job.token, &e));
    claim(1);
    expect_nothing_to_claim();
}
END_TEST

/* Of an attempt that was given up nothing is left to be seen in the next one. */
START_TEST(progress_ends_with_the_attempt)
{
    struct queue_token t = active(1);

    for (unsigned round = 0; round < 3; round++) {
        ok(queue_heartbeat(test_queue, &t, "{\"percent\":41.2}", NULL, &e));
        if (round == 0)
            ok(queue_release(test_queue, &t, &e));
        else if (round == 1)
            ok(queue_fail(test_queue, &t, "x", &e));
        redis_run("ZADD", round == 1 ? "{weir}:delayed" : "{weir}:lease", "XX", "1", t.job_id);
        scan();
        struct queue_video v = view(1);
        ck_assert_int_eq(v.state, VIDEO_WAITING);
        ck_assert_ptr_null(v.progress);
        queue_video_release(&v);
        t = claim(1);
    }
}
END_TEST

START_TEST(a_failed_attempt_waits_and_comes_back_with_its_error)
{
    struct queue_job job;
    struct queue_token t = active(1);

    ok(queue_fail(test_queue, &t, "the store is away", &e));
    ck_assert_int_eq(state_of(1), VIDEO_DELAYED);
    uint64_t now = redis_now_ms();
    const char *due = redis_text("ZSCORE", "{weir}:delayed", t.job_id, NULL);
    uint64_t due_ms;
    ck_assert(str_to_u64(due, &due_ms));
    ck_assert_uint_le(due_ms, now + queue_test_options.backoff_ms);
    expect_nothing_to_claim();

    redis_run("ZADD", "{weir}:delayed", "1", t.job_id);
    ck_assert_uint_eq(scan().promoted, 1);
    ok(queue_claim(test_queue, "w", "n2", NULL, &job, &e));
    ck_assert_uint_eq(job.attempts, 2);
    ck_assert_str_eq(job.last_error, "the store is away");
    ck_assert_uint_gt(job.token.fence, t.fence);
    queue_job_release(&job);
}
END_TEST

/* rand(0, min(cap, base · 2ⁿ)) */
START_TEST(backoff_grows_to_its_cap_with_full_jitter)
{
    static const uint64_t limits[] = {1000, 2000, 4000, 8000};
    uint64_t largest = 0;

    for (unsigned n = 0; n < 40; n++) {
        struct queue_token t = active(1 + n);
        unsigned starts = 1 + n % 4;
        redis_run("HSET", video_key(1 + n), "attempts", (const char *[]){"1", "2", "3", "4"}[starts - 1]);
        uint64_t before = redis_now_ms();
        ok(queue_fail(test_queue, &t, "x", &e));
        uint64_t due_ms;
        ck_assert(str_to_u64(redis_text("ZSCORE", "{weir}:delayed", t.job_id, NULL), &due_ms));
        ck_assert_uint_ge(due_ms, before);
        ck_assert_uint_le(due_ms, redis_now_ms() + limits[starts - 1]);
        largest = due_ms - before > largest ? due_ms - before : largest;
    }
    ck_assert_uint_gt(largest, 1000); /* one of 30 draws from 2 s or more */

    struct queue_token t = active(100);
    redis_run("HSET", video_key(100), "attempts", "5000");
    ok(queue_fail(test_queue, &t, "x", &e));
    uint64_t due_ms;
    ck_assert(str_to_u64(redis_text("ZSCORE", "{weir}:delayed", t.job_id, NULL), &due_ms));
    ck_assert_uint_le(due_ms, redis_now_ms() + queue_test_options.backoff_max_ms);
}
END_TEST

START_TEST(a_released_job_is_next_and_costs_no_attempt)
{
    struct queue_job job;

    enqueue(1);
    enqueue(2);
    struct queue_token t = claim(1);
    ok(queue_release(test_queue, &t, &e));
    struct queue_video v = view(1);
    ck_assert_int_eq(v.state, VIDEO_WAITING);
    ck_assert_uint_eq(v.attempts, 0);
    ck_assert_uint_eq(v.releases, 1);
    queue_video_release(&v);
    ok(queue_claim(test_queue, "w", "n", NULL, &job, &e));
    ck_assert_str_eq(job.token.video_id, video(1));
    ck_assert_uint_eq(job.attempts, 1);
    queue_job_release(&job);
}
END_TEST

/* Handed out only to be ended, as often as it takes. */
START_TEST(a_job_past_its_attempts_is_handed_out_exhausted)
{
    struct queue_job job;
    struct queue_token t = active(1);

    redis_run("HSET", video_key(1), "attempts", "5");
    for (unsigned round = 0; round < 3; round++) {
        ok(queue_fail(test_queue, &t, "x", &e));
        redis_run("ZADD", "{weir}:delayed", "1", t.job_id);
        scan();
        ok(queue_claim(test_queue, "w", (const char *[]){"a", "b", "c"}[round], NULL, &job, &e));
        ck_assert(job.exhausted);
        ck_assert_uint_eq(job.attempts, 5);
        t = job.token;
        queue_job_release(&job);
    }
    ok(queue_release(test_queue, &t, &e)); /* not charged, so nothing to give back */
    ok(queue_claim(test_queue, "w", "d", NULL, &job, &e));
    ck_assert(job.exhausted);
    ck_assert_uint_eq(job.attempts, 5);
    ok(queue_ack(test_queue, &job.token, VIDEO_FAILED, "{}", "could not be read", &e));
    queue_job_release(&job);
    struct queue_video v = view(1);
    ck_assert_int_eq(v.state, VIDEO_FAILED);
    ck_assert_str_eq(v.error, "could not be read");
    queue_video_release(&v);
}
END_TEST

START_TEST(the_last_start_is_not_exhausted)
{
    struct queue_job job;

    enqueue(1);
    redis_run("HSET", video_key(1), "attempts", "4", "stalls", "2");
    ok(queue_claim(test_queue, "w", "n", NULL, &job, &e));
    ck_assert(!job.exhausted);
    ck_assert_uint_eq(job.attempts, 5);
    queue_job_release(&job);
}
END_TEST

START_TEST(a_job_past_its_stalls_is_handed_out_exhausted)
{
    struct queue_job job;

    enqueue(1);
    redis_run("HSET", video_key(1), "stalls", "3");
    ok(queue_claim(test_queue, "w", "n", NULL, &job, &e));
    ck_assert(job.exhausted);
    ck_assert_uint_eq(job.attempts, 0);
    queue_job_release(&job);
}
END_TEST

START_TEST(cancel_ends_what_waits_and_flags_what_runs)
{
    enum video_state state;
    bool cancel = false;

    enqueue(1);
    ok(queue_cancel(test_queue, video(1), 1, "{}", &state, &e));
    ck_assert_int_eq(state, VIDEO_CANCELLED);
    expect_nothing_to_claim();

    struct queue_token t = active(2);
    ok(queue_fail(test_queue, &t, "x", &e));
    ok(queue_cancel(test_queue, video(2), 1, "{}", &state, &e));
    ck_assert_int_eq(state, VIDEO_CANCELLED);

    t = active(3);
    ok(queue_cancel(test_queue, video(3), 1, "{}", &state, &e));
    ck_assert_int_eq(state, VIDEO_ACTIVE);
    struct queue_digest before = queue_digest();
    ok(queue_cancel(test_queue, video(3), 1, "{}", &state, &e)); /* once is enough */
    assert_unchanged(before);
    ok(queue_heartbeat(test_queue, &t, NULL, &cancel, &e));
    ck_assert(cancel);
    ok(queue_ack(test_queue, &t, VIDEO_CANCELLED, "{}", NULL, &e));
    ck_assert_int_eq(state_of(3), VIDEO_CANCELLED);
    ck_assert_uint_eq(counts().open, 0);
}
END_TEST

START_TEST(cancel_brings_an_ended_video_in_line_with_its_outcome)
{
    enum video_state state;
    struct queue_token t = active(1);

    ok(queue_ack(test_queue, &t, VIDEO_FAILED, "{}", "no video stream", &e));
    ok(queue_cancel(test_queue, video(1), 1, "{}", &state, &e));
    ck_assert_int_eq(state, VIDEO_CANCELLED);
    struct queue_video v = view(1);
    ck_assert_ptr_null(v.error);
    queue_video_release(&v);
}
END_TEST

/* The outcome `cancelled` stands, so there is nothing left to hand out. */
START_TEST(a_cancelled_job_that_is_given_up_or_lost_has_ended)
{
    struct queue_token t = active(1);
    ok(queue_cancel(test_queue, video(1), 1, "{}", NULL, &e));
    ok(queue_fail(test_queue, &t, "x", &e));
    ck_assert_int_eq(state_of(1), VIDEO_CANCELLED);

    t = active(2);
    ok(queue_cancel(test_queue, video(2), 1, "{}", NULL, &e));
    ok(queue_release(test_queue, &t, &e));
    ck_assert_int_eq(state_of(2), VIDEO_CANCELLED);

    t = active(3);
    ok(queue_cancel(test_queue, video(3), 1, "{}", NULL, &e));
    redis_run("ZADD", "{weir}:lease", "1", t.job_id);
    ck_assert_uint_eq(scan().reclaimed, 1);
    ck_assert_int_eq(state_of(3), VIDEO_CANCELLED);
    ok(queue_ack(test_queue, &t, VIDEO_CANCELLED, "{}", NULL, &e)); /* it meant the same */
}
END_TEST

START_TEST(settling_ends_a_job_in_every_state)
{
    struct queue_token t;

    enqueue(1);
    ok(queue_settle(test_queue, video(1), 1, VIDEO_COMPLETED, OUTCOME, NULL, &e));
    t = active(2);
    ok(queue_settle(test_queue, video(2), 1, VIDEO_COMPLETED, OUTCOME, NULL, &e));
    fails(ERR_STALE, queue_heartbeat(test_queue, &t, NULL, NULL, &e)); /* its worker stops */
    ok(queue_ack(test_queue, &t, VIDEO_COMPLETED, OUTCOME, NULL, &e));
    t = active(3);
    ok(queue_fail(test_queue, &t, "x", &e));
    ok(queue_settle(test_queue, video(3), 1, VIDEO_COMPLETED, OUTCOME, NULL, &e));
    for (unsigned n = 1; n <= 3; n++) {
        struct queue_video v = view(n);
        ck_assert_int_eq(v.state, VIDEO_COMPLETED);
        ck_assert_str_eq(v.outcome, OUTCOME);
        queue_video_release(&v);
    }
    struct queue_digest before = queue_digest();
    ok(queue_settle(test_queue, video(3), 1, VIDEO_COMPLETED, OUTCOME, NULL, &e));
    assert_unchanged(before);
    ck_assert_uint_eq(counts().open, 0);
}
END_TEST

START_TEST(a_new_generation_takes_the_place_of_an_open_job)
{
    static const char *const places[] = {"waiting", "active", "delayed"};

    for (unsigned n = 1; n <= ARRAY_SIZE(places); n++) {
        struct queue_job_spec next = spec(n, 2);
        struct queue_token t = {0};
        enqueue(n);
        if (n > 1)
            t = claim(n);
        if (n > 2)
            ok(queue_fail(test_queue, &t, "x", &e));
        ck_assert_str_eq(video_state_name(state_of(n)), places[n - 1]);
        ok(queue_enqueue(test_queue, &next, NULL, &e));
        ck_assert_int_eq(state_of(n), VIDEO_WAITING);
        t = claim(n);
        ck_assert_uint_eq(t.generation, 2);
    }
    expect_nothing_to_claim();
    ck_assert_uint_eq(counts().open, 3);
}
END_TEST

START_TEST(what_was_published_stays_until_something_newer_is)
{
    struct queue_job_spec next = spec(1, 2);
    struct queue_token t = active(1);

    ok(queue_ack(test_queue, &t, VIDEO_COMPLETED, OUTCOME, NULL, &e));
    ok(queue_enqueue(test_queue, &next, NULL, &e));
    t = claim(1);
    ok(queue_ack(test_queue, &t, VIDEO_FAILED, "{\"outcome\":\"failed\"}", "broken", &e));
    struct queue_video v = view(1);
    ck_assert_int_eq(v.state, VIDEO_FAILED);
    ck_assert_str_eq(v.outcome, OUTCOME);
    ck_assert_str_eq(v.error, "broken");
    ck_assert_uint_eq(v.generation, 2);
    queue_video_release(&v);

    next.generation = 3;
    ok(queue_enqueue(test_queue, &next, NULL, &e));
    v = view(1);
    ck_assert_ptr_null(v.error);
    ck_assert_str_eq(v.outcome, OUTCOME);
    queue_video_release(&v);
}
END_TEST

START_TEST(hashes_of_ended_jobs_expire_after_seven_days)
{
    struct queue_token t = active(1);
    ok(queue_heartbeat(test_queue, &t, "{\"percent\":41.2}", NULL, &e));
    ok(queue_ack(test_queue, &t, VIDEO_COMPLETED, OUTCOME, NULL, &e));
    int64_t left = redis_number("TTL", job_key(1, 1), NULL);
    ck_assert_int_ge(left, 7 * 24 * 3600 - 5);
    ck_assert_int_le(left, 7 * 24 * 3600);
    ck_assert_int_eq(redis_number("TTL", video_key(1), NULL), -1);

    redis_run("DEL", job_key(1, 1));
    struct queue_video v = view(1); /* and nothing of it is missed */
    ck_assert_uint_eq(v.attempts, 1);
    queue_video_release(&v);
}
END_TEST

START_TEST(every_transition_is_an_event)
{
    REDIS_REPLY_AUTO struct redis_reply *reply = NULL;
    static const char *const expected[] = {"waiting", "active", "delayed", "waiting", "active", "completed"};
    struct queue_token t = active(1);

    ok(queue_fail(test_queue, &t, "x", &e));
    redis_run("ZADD", "{weir}:delayed", "1", t.job_id);
    scan();
    t = claim(1);
    ok(queue_ack(test_queue, &t, VIDEO_COMPLETED, OUTCOME, NULL, &e));
    ok(redis_do(test_redis, &reply, &e, "XRANGE", "{weir}:events", "-", "+", NULL));
    ck_assert_uint_eq(redis_reply_length(reply), ARRAY_SIZE(expected));
    for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
        const struct redis_reply *fields = redis_reply_at(redis_reply_at(reply, i), 1);
        ck_assert_str_eq(redis_reply_field(fields, "type"), "state");
        ck_assert_str_eq(redis_reply_field(fields, "jobs"), t.job_id);
        ck_assert_str_eq(redis_reply_field(fields, "state"), expected[i]);
        ck_assert_str_eq(redis_reply_field(fields, "attempts"), i == 0 ? "0" : i < 4 ? "1" : "2");
    }
}
END_TEST

/* Else each call would send its script whole. */
START_TEST(scripts_are_known_by_their_sha1)
{
    static const struct redis_script *const scripts[] = {&queue_script_ack, &queue_script_claim, &queue_script_enqueue,
                                                         &queue_script_scan};

    for (size_t i = 0; i < ARRAY_SIZE(scripts); i++)
        ck_assert_str_eq(redis_text("SCRIPT", "LOAD", scripts[i]->source, NULL), scripts[i]->sha1);
}
END_TEST

START_TEST(states_have_names)
{
    enum video_state state;

    for (int s = 0; s < VIDEO_STATES; s++) {
        ck_assert(video_state_parse(video_state_name((enum video_state)s), &state));
        ck_assert_int_eq(state, s);
        ck_assert_int_eq(video_state_terminal(state), s >= VIDEO_COMPLETED);
    }
    ck_assert(!video_state_parse("Waiting", &state));
    ck_assert(!video_state_parse("", &state));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("queue");
    TCase *jobs = tcase_create("jobs");
    tcase_add_unchecked_fixture(jobs, queue_server_up, queue_server_down);
    tcase_add_checked_fixture(jobs, queue_up, queue_down);
    tcase_add_test(jobs, a_job_goes_from_enqueue_to_ack);
    tcase_add_test(jobs, an_ack_can_bring_the_next_job);
    tcase_add_test(jobs, enqueueing_again_finds_the_job_in_every_state);
    tcase_add_test(jobs, claims_are_first_in_first_out_within_a_priority);
    tcase_add_test(jobs, a_worker_takes_only_its_classes_in_their_order);
    tcase_add_test(jobs, progress_ends_with_the_attempt);
    tcase_add_test(jobs, a_failed_attempt_waits_and_comes_back_with_its_error);
    tcase_add_test(jobs, backoff_grows_to_its_cap_with_full_jitter);
    tcase_add_test(jobs, a_released_job_is_next_and_costs_no_attempt);
    tcase_add_test(jobs, a_job_past_its_attempts_is_handed_out_exhausted);
    tcase_add_test(jobs, the_last_start_is_not_exhausted);
    tcase_add_test(jobs, a_job_past_its_stalls_is_handed_out_exhausted);
    tcase_add_test(jobs, cancel_ends_what_waits_and_flags_what_runs);
    tcase_add_test(jobs, cancel_brings_an_ended_video_in_line_with_its_outcome);
    tcase_add_test(jobs, a_cancelled_job_that_is_given_up_or_lost_has_ended);
    tcase_add_test(jobs, settling_ends_a_job_in_every_state);
    tcase_add_test(jobs, a_new_generation_takes_the_place_of_an_open_job);
    tcase_add_test(jobs, what_was_published_stays_until_something_newer_is);
    tcase_add_test(jobs, hashes_of_ended_jobs_expire_after_seven_days);
    tcase_add_test(jobs, every_transition_is_an_event);
    tcase_add_test(jobs, scripts_are_known_by_their_sha1);
    tcase_add_test(jobs, states_have_names);
    suite_add_tcase(suite, jobs);
    return run_suite(suite);
}
