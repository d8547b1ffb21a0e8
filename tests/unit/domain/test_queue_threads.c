#include "../suite.h"
#include "queue_fixture.h"

#include "base/mem.h"
#include "base/str.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

/* Many claimers at once: every job is done, none by two, none twice. */

#define CLAIMERS 8
#define JOBS 2000
#define ONE_IN(n, i) ((i) % (n) == (n)-1)

static _Atomic unsigned done[JOBS], holders[JOBS], ended, breaches;

static void job_video(unsigned n, char id[ID_VIDEO_SIZE])
{
    str_format(id, ID_VIDEO_SIZE, "v_0%025u", n);
}

static void *enqueue_half(void *which)
{
    const unsigned *first = which;

    for (unsigned n = *first; n < JOBS; n += 2) {
        struct queue_job_spec s = {.generation = 1, .priority = n % 3, .created_ms = n, .record_json = RECORD};
        char id[ID_VIDEO_SIZE];
        struct err e;
        job_video(n, id);
        s.video_id = id;
        if (queue_enqueue(test_queue, &s, NULL, &e) != 0)
            breaches++;
    }
    return NULL;
}

static uint64_t number_of(const struct queue_token *t)
{
    uint64_t n = JOBS;

    str_to_u64(t->video_id + 2, &n);
    return n;
}

/* Holds a job and lets it go in one of three ways; some acks are sent twice, some claims too. */
static void handle(const struct queue_job *job, unsigned turn)
{
    const struct queue_token *t = &job->token;
    uint64_t n = number_of(t);
    struct err e;

    if (n >= JOBS || atomic_fetch_add(&holders[n], 1) != 0) {
        breaches++;
        return;
    }
    if (ONE_IN(50, turn) && queue_heartbeat(test_queue, t, "{\"percent\":1}", NULL, &e) != 0)
        breaches++;
    atomic_fetch_sub(&holders[n], 1); /* before giving it up: the next holder may be faster than our reply */
    if (ONE_IN(20, turn) && job->attempts < 3) {
        breaches += queue_release(test_queue, t, &e) != 0;
    } else if (ONE_IN(21, turn) && job->attempts < 3) {
        breaches += queue_fail(test_queue, t, "again", &e) != 0;
    } else {
        breaches += queue_ack(test_queue, t, VIDEO_COMPLETED, OUTCOME, NULL, &e) != 0;
        if (ONE_IN(10, turn) && queue_ack(test_queue, t, VIDEO_COMPLETED, OUTCOME, NULL, &e) != 0)
            breaches++;
        done[n]++;
        ended++;
    }
}

static void *claim_until_done(void *unused)
{
    struct queue_scan s;

    (void)unused;
    for (unsigned turn = 0; ended < JOBS && breaches == 0; turn++) {
        struct queue_job job;
        char nonce[ID_NONCE_SIZE];
        struct err e;
        id_nonce(nonce);
        int result = queue_claim(test_queue, "w", nonce, NULL, &job, &e);
        if (result == 0 && ONE_IN(30, turn)) { /* as if the reply had been lost */
            char first[ID_JOB_SIZE];
            str_copy(first, sizeof first, job.token.job_id);
            queue_job_release(&job);
            result = queue_claim(test_queue, "w", nonce, NULL, &job, &e);
            breaches += result != 0 || strcmp(first, job.token.job_id) != 0;
        }
        if (result == 0) {
            handle(&job, turn);
            queue_job_release(&job);
        } else {
            breaches += result != -ERR_NOT_FOUND || queue_scan(test_queue, &s, &e) != 0 ||
                        queue_wait(test_queue, NULL, 20, &e) != 0;
        }
    }
    return NULL;
}

START_TEST(each_job_is_done_exactly_once)
{
    pthread_t threads[CLAIMERS + 2];
    unsigned halves[] = {0, 1};

    for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
        ck_assert_int_eq(
            pthread_create(&threads[i], NULL, i < 2 ? enqueue_half : claim_until_done, i < 2 ? &halves[i] : NULL), 0);
    for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
        pthread_join(threads[i], NULL);
    ck_assert_uint_eq(breaches, 0);
    for (size_t n = 0; n < JOBS; n++)
        ck_assert_uint_eq(done[n], 1);
    struct queue_counts c = counts();
    ck_assert_uint_eq(c.open, 0);
    ck_assert_uint_eq(c.by_state[VIDEO_COMPLETED], JOBS);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("queue threads");
    TCase *tcase = tcase_create("threads");
    tcase_set_timeout(tcase, 120);
    tcase_add_unchecked_fixture(tcase, queue_server_up, queue_server_down);
    tcase_add_checked_fixture(tcase, queue_up, queue_down);
    tcase_add_test(tcase, each_job_is_done_exactly_once);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
