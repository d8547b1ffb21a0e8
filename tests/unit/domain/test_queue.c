#include "../suite.h"
#include "queue_fixture.h"

#include "base/str.h"

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

int main(void)
{
    Suite *suite = suite_create("queue");
    TCase *jobs = tcase_create("jobs");
    tcase_add_unchecked_fixture(jobs, queue_server_up, queue_server_down);
    tcase_add_checked_fixture(jobs, queue_up, queue_down);
    tcase_add_test(jobs, a_job_goes_from_enqueue_to_ack);
    suite_add_tcase(suite, jobs);
    return run_suite(suite);
}
