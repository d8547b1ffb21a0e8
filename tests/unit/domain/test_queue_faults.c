#include "../suite.h"
#include "queue_fixture.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"

#include <pthread.h>
#include <string.h>

/* Lost replies, stale owners, clocks that jump, lists that were tampered with. */

static void set_lease(const struct queue_token *t, const char *ms)
{
    redis_run("ZADD", "{weir}:lease", "XX", ms, t->job_id);
}

static uint64_t lease_of(const struct queue_token *t)
{
    uint64_t ms = 0;

    ck_assert(str_to_u64(redis_text("ZSCORE", "{weir}:lease", t->job_id, NULL), &ms));
    return ms;
}

START_TEST(a_claim_whose_reply_was_lost_gives_the_same_job)
{
    struct queue_job first, again;

    enqueue(1);
    enqueue(2);
    ok(queue_claim(test_queue, "w", "nonce", NULL, &first, &e));
    ok(queue_claim(test_queue, "w", "nonce", NULL, &again, &e));
    ck_assert_str_eq(again.token.job_id, first.token.job_id);
    ck_assert_uint_eq(again.token.fence, first.token.fence);
    ck_assert_uint_eq(again.attempts, 1);
    ck_assert_uint_eq(counts().active, 1);
    ok(queue_cancel(test_queue, again.token.video_id, 1, "{}", NULL, &e));
    queue_job_release(&again);
    ok(queue_claim(test_queue, "w", "nonce", NULL, &again, &e));
    ck_assert(again.cancelled);
    queue_job_release(&again);
    queue_job_release(&first);
}
END_TEST

START_TEST(an_exhausted_claim_repeated_is_still_exhausted)
{
    struct queue_job first, again;

    enqueue(1);
    redis_run("HSET", video_key(1), "attempts", "5");
    ok(queue_claim(test_queue, "w", "nonce", NULL, &first, &e));
    ok(queue_claim(test_queue, "w", "nonce", NULL, &again, &e));
    ck_assert(again.exhausted);
    ck_assert_uint_eq(again.attempts, 5);
    queue_job_release(&first);
    queue_job_release(&again);
}
END_TEST

START_TEST(a_nonce_whose_job_was_lost_or_ended_gets_another_job)
{
    struct queue_job first, second, third;

    enqueue(1);
    ok(queue_claim(test_queue, "w", "nonce", NULL, &first, &e));
    set_lease(&first.token, "1");
    ck_assert_uint_eq(scan().reclaimed, 1);
    ok(queue_claim(test_queue, "w", "nonce", NULL, &second, &e));
    ck_assert_str_eq(second.token.job_id, first.token.job_id);
    ck_assert_uint_gt(second.token.fence, first.token.fence);
    ck_assert_uint_eq(second.attempts, 2);
    fails(ERR_STALE, queue_ack(test_queue, &first.token, VIDEO_COMPLETED, OUTCOME, NULL, &e));
    ok(queue_ack(test_queue, &second.token, VIDEO_COMPLETED, OUTCOME, NULL, &e));
    fails(ERR_NOT_FOUND, queue_claim(test_queue, "w", "nonce", NULL, &third, &e));
    queue_job_release(&first);
    queue_job_release(&second);
}
END_TEST

/* The fence stands ahead of the clock: as if both claims came in one microsecond, or the clock had been set back. */
START_TEST(the_fence_rises_whatever_the_clock_says)
{
    char ahead[32];
    uint64_t us = (redis_now_ms() + 3600 * 1000) * 1000;

    str_format(ahead, sizeof ahead, "%llu", (unsigned long long)us);
    redis_run("SET", "{weir}:fence", ahead);
    struct queue_token first = active(1), second = active(2);
    ck_assert_uint_eq(first.fence, us + 1);
    ck_assert_uint_eq(second.fence, us + 2);
    redis_run("SET", "{weir}:fence", "9007199254740990"); /* the last that can be given out is 2^53 - 1 */
    ck_assert_uint_eq(active(3).fence, UINT64_C(9007199254740991));
}
END_TEST

START_TEST(the_fence_is_the_clock_when_redis_lost_it)
{
    uint64_t before = redis_now_ms();

    redis_run("DEL", "{weir}:fence");
    struct queue_token t = active(1);
    ck_assert_uint_ge(t.fence, before * 1000);
    ck_assert_uint_le(t.fence, redis_now_ms() * 1000 + 1000);
}
END_TEST

START_TEST(an_ack_whose_reply_was_lost_counts_once)
{
    struct queue_token t = active(1);

    ok(queue_ack(test_queue, &t, VIDEO_COMPLETED, OUTCOME, NULL, &e));
    struct queue_digest before = queue_digest();
    ok(queue_ack(test_queue, &t, VIDEO_COMPLETED, OUTCOME, NULL, &e));
    assert_unchanged(before);
    ck_assert_uint_eq(counts().by_state[VIDEO_COMPLETED], 1);
    ck_assert_uint_eq(counts().open, 0);
}
END_TEST

START_TEST(an_ack_with_the_next_job_whose_reply_was_lost_gives_the_same_job)
{
    struct queue_next first = {.worker = "w", .nonce = "next"}, again = first;
    struct queue_token t = active(1);

    enqueue(2);
    enqueue(3);
    ok(queue_ack_next(test_queue, &t, VIDEO_COMPLETED, OUTCOME, NULL, &first, &e));
    ok(queue_ack_next(test_queue, &t, VIDEO_COMPLETED, OUTCOME, NULL, &again, &e));
    ck_assert(first.got && again.got);
    ck_assert_str_eq(again.job.token.job_id, first.job.token.job_id);
    ck_assert_uint_eq(again.job.token.fence, first.job.token.fence);
    ck_assert_uint_eq(again.job.attempts, 1);
    queue_job_release(&first.job);
    queue_job_release(&again.job);
    ck_assert_uint_eq(counts().active, 1);
    ck_assert_uint_eq(counts().waiting, 1);
    ck_assert_uint_eq(counts().by_state[VIDEO_COMPLETED], 1);
}
END_TEST

/* The first reply said that there was none; when it is lost, there may be one by now. */
START_TEST(an_ack_repeated_later_may_bring_a_job_after_all)
{
    struct queue_next next = {.worker = "w", .nonce = "next"};
    struct queue_token t = active(1);

    ok(queue_ack_next(test_queue, &t, VIDEO_COMPLETED, OUTCOME, NULL, &next, &e));
    ck_assert(!next.got);
    enqueue(2);
    ok(queue_ack_next(test_queue, &t, VIDEO_COMPLETED, OUTCOME, NULL, &next, &e));
    ck_assert(next.got);
    ck_assert_str_eq(next.job.token.video_id, video(2));
    queue_job_release(&next.job);
}
END_TEST

START_TEST(giving_up_twice_counts_once)
{
    struct queue_token t = active(1);
    ok(queue_fail(test_queue, &t, "x", &e));
    struct queue_digest before = queue_digest();
    ok(queue_fail(test_queue, &t, "x", &e));
    assert_unchanged(before);

    t = active(2);
    ok(queue_release(test_queue, &t, &e));
    before = queue_digest();
    ok(queue_release(test_queue, &t, &e));
    assert_unchanged(before);
    struct queue_video v = view(2);
    ck_assert_uint_eq(v.releases, 1);
    ck_assert_uint_eq(v.attempts, 0);
    queue_video_release(&v);
}
END_TEST

START_TEST(the_old_owner_can_do_nothing_once_another_has_the_job)
{
    struct queue_token old = active(1);

    set_lease(&old, "1");
    scan();
    fails(ERR_STALE, queue_heartbeat(test_queue, &old, NULL, NULL, &e)); /* back in its list, nobody's */
    fails(ERR_STALE, queue_ack(test_queue, &old, VIDEO_COMPLETED, OUTCOME, NULL, &e));
    struct queue_token new = claim(1);
    struct queue_digest before = queue_digest();
    fails(ERR_STALE, queue_heartbeat(test_queue, &old, NULL, NULL, &e));
    fails(ERR_STALE, queue_ack(test_queue, &old, VIDEO_COMPLETED, OUTCOME, NULL, &e));
    fails(ERR_STALE, queue_fail(test_queue, &old, "x", &e));
    fails(ERR_STALE, queue_release(test_queue, &old, &e));
    assert_unchanged(before);
    ok(queue_ack(test_queue, &new, VIDEO_COMPLETED, OUTCOME, NULL, &e));
    fails(ERR_STALE, queue_ack(test_queue, &old, VIDEO_COMPLETED, OUTCOME, NULL, &e));
}
END_TEST

START_TEST(an_id_twice_in_the_list_is_handed_out_once)
{
    struct queue_token t;

    enqueue(1);
    redis_run("LPUSH", "{weir}:wait:default:1", (const char *)"v_00000000000000000000000001.1");
    t = claim(1);
    expect_nothing_to_claim();
    ck_assert_int_eq(redis_number("LLEN", "{weir}:wait:default:1", NULL), 0);
    redis_run("LPUSH", "{weir}:wait:default:1", t.job_id);
    ok(queue_ack(test_queue, &t, VIDEO_COMPLETED, OUTCOME, NULL, &e));
    expect_nothing_to_claim();
}
END_TEST

START_TEST(what_is_no_job_falls_out_of_the_list)
{
    enqueue(1);
    redis_run("RPUSH", "{weir}:wait:default:1", "v_0.1", "nonsense", "", "v_00000000000000000000000009.1");
    claim(1);
    redis_run("RPUSH", "{weir}:wait:default:1", "nonsense");
    expect_nothing_to_claim();
}
END_TEST

START_TEST(an_expired_lease_puts_the_job_at_the_head)
{
    struct queue_token t = active(1);

    enqueue(2);
    set_lease(&t, "1");
    struct queue_scan s = scan();
    ck_assert_uint_eq(s.reclaimed, 1);
    struct queue_video v = view(1);
    ck_assert_int_eq(v.state, VIDEO_WAITING);
    ck_assert_uint_eq(v.stalls, 1);
    ck_assert_uint_eq(v.attempts, 1);
    queue_video_release(&v);
    claim(1);
    s = scan();
    ck_assert_uint_eq(s.reclaimed, 0);
}
END_TEST

START_TEST(a_heartbeat_keeps_the_lease)
{
    struct queue_token t = active(1);
    uint64_t first = lease_of(&t);

    ck_assert_uint_ge(first, redis_now_ms() + queue_test_options.lease_ms - 1000);
    set_lease(&t, "1");
    ok(queue_heartbeat(test_queue, &t, NULL, NULL, &e));
    ck_assert_uint_ge(lease_of(&t), first);
    ck_assert_uint_eq(scan().reclaimed, 0);
}
END_TEST

START_TEST(active_without_a_lease_is_reclaimed)
{
    struct queue_token t = active(1);

    active(2);
    redis_run("ZREM", "{weir}:lease", t.job_id);
    ck_assert_uint_eq(scan().reclaimed, 1);
    claim(1);
}
END_TEST

START_TEST(leases_and_active_entries_of_nothing_go_away)
{
    active(1);
    redis_run("LPUSH", "{weir}:active", "v_00000000000000000000000009.1", "nonsense");
    redis_run("ZADD", "{weir}:lease", "1", "v_00000000000000000000000008.1");
    ck_assert_uint_eq(scan().reclaimed, 0);
    scan(); /* the expired lease first; then the numbers differ */
    ck_assert_int_eq(redis_number("LLEN", "{weir}:active", NULL), 1);
    ck_assert_int_eq(redis_number("ZCARD", "{weir}:lease", NULL), 1);
}
END_TEST

/* Redis was away, or its clock jumped: nobody could extend a lease, so none may be taken. */
static const struct {
    int64_t last_scan_age_ms;
    unsigned extended, reclaimed;
} gaps[] = {
    {14000, 0, 1},       /* under half a lease: ordinary */
    {16000, 1, 0},       /* over it */
    {3600 * 1000, 1, 0}, /* the clock an hour ahead */
    {-2000, 1, 0},       /* set back */
    {-3600 * 1000, 1, 0},
};

START_TEST(after_a_gap_in_scanning_leases_are_extended_once)
{
    char last[32];
    struct queue_token t = active(1);

    str_format(last, sizeof last, "%lld", (long long)redis_now_ms() - (long long)gaps[_i].last_scan_age_ms);
    redis_run("SET", "{weir}:last_scan", last);
    set_lease(&t, "1");
    struct queue_scan s = scan();
    ck_assert_uint_eq(s.extended, gaps[_i].extended);
    ck_assert_uint_eq(s.reclaimed, gaps[_i].reclaimed);
    if (gaps[_i].extended == 0)
        return;
    ck_assert_uint_ge(lease_of(&t), redis_now_ms() + queue_test_options.lease_ms - 1000);
    set_lease(&t, "1");
    s = scan();
    ck_assert_uint_eq(s.extended, 0);
    ck_assert_uint_eq(s.reclaimed, 1);
}
END_TEST

/* An api scans too, and need not know how long its workers' leases are. */
START_TEST(the_worker_s_lease_counts_whoever_scans)
{
    struct queue_options other = queue_test_options;
    struct queue_scan s;
    struct queue *api;
    char last[32];

    other.lease_ms *= 10;
    ok(queue_new(test_redis, &other, &api, &e));
    struct queue_token t = active(1);
    str_format(last, sizeof last, "%llu", (unsigned long long)(redis_now_ms() - queue_test_options.lease_ms));
    redis_run("SET", "{weir}:last_scan", last);
    set_lease(&t, "1");
    ok(queue_scan(api, &s, &e));
    ck_assert_uint_eq(s.extended, 1);
    ck_assert_uint_eq(s.reclaimed, 0);
    ck_assert_uint_le(lease_of(&t), redis_now_ms() + queue_test_options.lease_ms);
    queue_free(api);
}
END_TEST

START_TEST(a_lease_from_before_the_clock_was_set_back_does_not_last_for_ever)
{
    char last[32], far[32];
    struct queue_token t = active(1);

    str_format(last, sizeof last, "%llu", (unsigned long long)redis_now_ms() + 3600 * 1000);
    str_format(far, sizeof far, "%llu", (unsigned long long)redis_now_ms() + 3630 * 1000);
    redis_run("SET", "{weir}:last_scan", last);
    set_lease(&t, far);
    scan();
    ck_assert_uint_le(lease_of(&t), redis_now_ms() + queue_test_options.lease_ms);
}
END_TEST

START_TEST(a_delayed_job_that_is_due_after_any_backoff_is_promoted)
{
    char far[32];
    struct queue_token t = active(1);

    ok(queue_fail(test_queue, &t, "x", &e));
    str_format(far, sizeof far, "%llu", (unsigned long long)redis_now_ms() + queue_test_options.backoff_max_ms + 1000);
    redis_run("ZADD", "{weir}:delayed", far, t.job_id);
    ck_assert_uint_eq(scan().promoted, 1);
    claim(1);
}
END_TEST

START_TEST(a_scan_moves_at_most_a_hundred)
{
    for (unsigned n = 1; n <= 130; n++) {
        struct queue_token t = active(n);
        ok(queue_fail(test_queue, &t, "x", &e));
        redis_run("ZADD", "{weir}:delayed", "1", t.job_id);
    }
    ck_assert_uint_eq(scan().promoted, 100);
    ck_assert_uint_eq(scan().promoted, 30);
    ck_assert_uint_eq(scan().promoted, 0);
}
END_TEST

START_TEST(delayed_ids_that_are_no_delayed_jobs_are_dropped)
{
    struct queue_token t = active(1);

    redis_run("ZADD", "{weir}:delayed", "1", t.job_id, "1", "nonsense");
    ck_assert_uint_eq(scan().promoted, 0);
    ck_assert_int_eq(redis_number("ZCARD", "{weir}:delayed", NULL), 0);
}
END_TEST

/* --- The bell --- */

static void expect_bell(bool rings)
{
    uint64_t limit_ms = rings ? 8000 : 300, start_ms = clock_mono_ms();

    ok(queue_wait(test_queue, NULL, limit_ms, &e));
    ck_assert_int_eq(clock_mono_ms() - start_ms < limit_ms - 10, rings);
}

START_TEST(the_bell_rings_for_each_job_and_while_work_is_left)
{
    expect_bell(false);
    enqueue(1);
    enqueue(2);
    expect_bell(true);
    struct queue_token t = claim(1); /* rings again: one is left */
    expect_bell(true);
    claim(2);
    expect_bell(false);
    ok(queue_release(test_queue, &t, &e));
    expect_bell(true);
    t = claim(1);
    ok(queue_fail(test_queue, &t, "x", &e));
    redis_run("ZADD", "{weir}:delayed", "1", t.job_id);
    scan();
    expect_bell(true);
    ok(queue_wait(test_queue, NULL, 0, &e)); /* does not wait */
}
END_TEST

static void *enqueue_later(void *unused)
{
    (void)unused;
    clock_sleep_ms(50);
    enqueue(1);
    return NULL;
}

static void *wait_then_claim(void *unused)
{
    char nonce[ID_NONCE_SIZE];
    struct queue_job job;
    struct err failure;
    int result;

    (void)unused;
    id_nonce(nonce);
    do { /* somebody else may have been faster */
        ok(queue_wait(test_queue, NULL, 5000, &e));
        result = queue_claim(test_queue, "w", nonce, NULL, &job, &failure);
    } while (result == -ERR_NOT_FOUND);
    ck_assert_int_eq(result, 0);
    queue_job_release(&job);
    return NULL;
}

static int64_t blocked_clients(void)
{
    const char *line = strstr(redis_text("INFO", "clients", NULL), "blocked_clients:");
    uint64_t n = 0;

    ck_assert(str_to_u64_n(line + 16, strcspn(line + 16, "\r\n"), &n));
    return (int64_t)n;
}

/* One listens for all; who hears the bell wakes the others, as many as there is work. */
START_TEST(the_threads_of_a_worker_listen_with_one_connection)
{
    pthread_t threads[4];
    uint64_t start = clock_mono_ms();

    for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, wait_then_claim, NULL), 0);
    while (blocked_clients() == 0)
        ck_assert_uint_lt(clock_mono_ms() - start, 4000);
    clock_sleep_ms(50); /* the others, if they did so, would listen by now */
    ck_assert_int_eq(blocked_clients(), 1);
    for (unsigned n = 1; n <= ARRAY_SIZE(threads); n++)
        enqueue(n);
    for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
        pthread_join(threads[i], NULL);
    ck_assert_uint_lt(clock_mono_ms() - start, 4000);
    ck_assert_uint_eq(counts().active, ARRAY_SIZE(threads));
}
END_TEST

START_TEST(threads_that_wait_for_other_classes_listen_by_themselves)
{
    static const char *const big[] = {"2160p", NULL};
    struct queue_job_spec s = spec(1, 1);
    uint64_t start = clock_mono_ms();
    pthread_t thread;

    ck_assert_int_eq(pthread_create(&thread, NULL, wait_then_claim, NULL), 0);
    while (blocked_clients() == 0)
        ck_assert_uint_lt(clock_mono_ms() - start, 4000);
    s.job_class = big[0];
    ok(queue_enqueue(test_queue, &s, NULL, &e));
    ok(queue_wait(test_queue, big, 5000, &e));
    enqueue(2);
    pthread_join(thread, NULL);
    ck_assert_uint_lt(clock_mono_ms() - start, 4000);
}
END_TEST

START_TEST(a_waiting_worker_is_woken)
{
    pthread_t thread;
    uint64_t start = clock_mono_ms();

    ck_assert_int_eq(pthread_create(&thread, NULL, enqueue_later, NULL), 0);
    ok(queue_wait(test_queue, NULL, 5000, &e));
    ck_assert_uint_lt(clock_mono_ms() - start, 2000);
    pthread_join(thread, NULL);
    claim(1);
}
END_TEST

/* Nothing new comes in, nothing is lost, and what is under way can end. */
START_TEST(a_full_redis_takes_nothing_new_but_lets_work_end)
{
    struct queue_next next = {.worker = "w", .nonce = "next"};
    struct queue_job job;
    struct queue_scan found;

    struct queue_token done = active(1), failed = active(2), released = active(3);
    ok(queue_video_put(test_queue, video(4), 1004, RECORD, &e));
    enqueue(5);
    redis_run("CONFIG", "SET", "maxmemory", "1");
    struct queue_digest before = queue_digest();
    fails(ERR_TEMPORARY, queue_admit(test_queue, video(6), 100, 60000, &e));
    fails(ERR_TEMPORARY, queue_video_put(test_queue, video(6), 1006, RECORD, &e));
    fails(ERR_TEMPORARY, queue_finishing_add(test_queue, video(4), &e));
    fails(ERR_TEMPORARY, queue_claim(test_queue, "w", "nonce", NULL, &job, &e));
    fails(ERR_TEMPORARY, queue_heartbeat(test_queue, &done, NULL, NULL, &e));
    fails(ERR_TEMPORARY, queue_scan(test_queue, &found, &e));
    assert_unchanged(before);

    ok(queue_ack_next(test_queue, &done, VIDEO_COMPLETED, OUTCOME, NULL, &next, &e));
    ck_assert(!next.got); /* nothing is claimed with it either */
    ok(queue_ack_next(test_queue, &done, VIDEO_COMPLETED, OUTCOME, NULL, &next, &e));
    ck_assert(!next.got);
    ok(queue_fail(test_queue, &failed, "x", &e));
    ok(queue_release(test_queue, &released, &e));
    ok(queue_cancel(test_queue, video(5), 1, "{}", NULL, &e));
    enqueue(4); /* was uploaded already */
    redis_run("CONFIG", "SET", "maxmemory", "0");
    claim(3);
    claim(4);
}
END_TEST

START_TEST(no_memory_is_temporary_and_the_claim_can_be_repeated)
{
    struct queue_job job;
    struct err e;
    int result = -1;

    enqueue(1);
    for (uint64_t n = 1; result != 0 && n < 20; n++) {
        mem_fail_from(n);
        result = queue_claim(test_queue, "w", "nonce", NULL, &job, &e);
        mem_fail_from(0);
        ck_assert(result == 0 || result == -ERR_TEMPORARY);
    }
    ck_assert_int_eq(result, 0);
    ck_assert_uint_eq(job.attempts, 1);
    queue_job_release(&job);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("queue faults");
    TCase *faults = tcase_create("faults");
    tcase_add_unchecked_fixture(faults, queue_server_up, queue_server_down);
    tcase_add_checked_fixture(faults, queue_up, queue_down);
    tcase_add_test(faults, a_claim_whose_reply_was_lost_gives_the_same_job);
    tcase_add_test(faults, an_exhausted_claim_repeated_is_still_exhausted);
    tcase_add_test(faults, a_nonce_whose_job_was_lost_or_ended_gets_another_job);
    tcase_add_test(faults, the_fence_rises_whatever_the_clock_says);
    tcase_add_test(faults, the_fence_is_the_clock_when_redis_lost_it);
    tcase_add_test(faults, an_ack_whose_reply_was_lost_counts_once);
    tcase_add_test(faults, an_ack_with_the_next_job_whose_reply_was_lost_gives_the_same_job);
    tcase_add_test(faults, an_ack_repeated_later_may_bring_a_job_after_all);
    tcase_add_test(faults, giving_up_twice_counts_once);
    tcase_add_test(faults, the_old_owner_can_do_nothing_once_another_has_the_job);
    tcase_add_test(faults, an_id_twice_in_the_list_is_handed_out_once);
    tcase_add_test(faults, what_is_no_job_falls_out_of_the_list);
    tcase_add_test(faults, an_expired_lease_puts_the_job_at_the_head);
    tcase_add_test(faults, a_heartbeat_keeps_the_lease);
    tcase_add_test(faults, active_without_a_lease_is_reclaimed);
    tcase_add_test(faults, leases_and_active_entries_of_nothing_go_away);
    tcase_add_loop_test(faults, after_a_gap_in_scanning_leases_are_extended_once, 0, (int)ARRAY_SIZE(gaps));
    tcase_add_test(faults, the_worker_s_lease_counts_whoever_scans);
    tcase_add_test(faults, a_lease_from_before_the_clock_was_set_back_does_not_last_for_ever);
    tcase_add_test(faults, a_delayed_job_that_is_due_after_any_backoff_is_promoted);
    tcase_add_test(faults, a_scan_moves_at_most_a_hundred);
    tcase_add_test(faults, delayed_ids_that_are_no_delayed_jobs_are_dropped);
    tcase_add_test(faults, the_bell_rings_for_each_job_and_while_work_is_left);
    tcase_add_test(faults, a_waiting_worker_is_woken);
    tcase_add_test(faults, the_threads_of_a_worker_listen_with_one_connection);
    tcase_add_test(faults, threads_that_wait_for_other_classes_listen_by_themselves);
    tcase_add_test(faults, a_full_redis_takes_nothing_new_but_lets_work_end);
    tcase_add_test(faults, no_memory_is_temporary_and_the_claim_can_be_repeated);
    suite_add_tcase(suite, faults);
    return run_suite(suite);
}
