#include "slots.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/str.h"
#include "job.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#define LOOK_MS 1000 /* how long to wait for the bell before looking anyway */
#define SCAN_MS 1000
#define RETRY_MS 250
#define HAND_BACK_MS 500 /* from the stop of a job to the end of its thread, unless the store hangs */

static struct metric active = METRIC_GAUGE("weir_worker_active", "Jobs that this worker holds.", NULL);

struct slot {
    struct slots *slots;
    pthread_t thread;
    bool running;    /* the thread */
    struct job *job; /* NULL while idle */
};

struct slots {
    const struct worker *worker;
    atomic_bool stopping;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t scanner;
    bool scanning;
    struct queue_token *released; /* room for one per slot, while they are handed back */
    size_t count;
    struct slot slot[];
};

/* Waits for `changed` until the time, or for the end. Under the lock. */
static bool wait_until(struct slots *s, uint64_t until_ms)
{
    struct timespec until = {.tv_sec = (time_t)(until_ms / 1000), .tv_nsec = (long)(until_ms % 1000) * 1000000};

    return pthread_cond_timedwait(&s->changed, &s->lock, &until) == 0;
}

static void pause_ms(struct slots *s, uint64_t ms)
{
    uint64_t until_ms = clock_mono_ms() + ms;

    pthread_mutex_lock(&s->lock);
    while (!atomic_load(&s->stopping) && wait_until(s, until_ms))
        ;
    pthread_mutex_unlock(&s->lock);
}

/* --- Claiming --- */

/* Repeated with one nonce until a reply comes: a claim whose reply was lost is answered again, not charged again. */
static bool claim(struct slots *s, struct queue_job *ret)
{
    char nonce[ID_NONCE_SIZE];
    bool warned = false;
    struct err e;
    int r;

    id_nonce(nonce);
    while ((r = queue_claim(s->worker->queue, s->worker->name, nonce, NULL, ret, &e)) != 0) {
        if (r != -ERR_TEMPORARY && r != -ERR_BUSY) {
            if (r != -ERR_NOT_FOUND)
                log_error(NULL, "claim failed", "error", e.text);
            return false;
        }
        if (!warned)
            log_warn(NULL, "can't claim, trying again", "error", e.text);
        warned = true;
        pause_ms(s, RETRY_MS);
        if (atomic_load(&s->stopping))
            return false;
    }
    if (warned)
        log_info(NULL, "claiming again");
    return true;
}

/* Hands back what was claimed at the very moment of the stop. */
static bool take_in(struct slot *slot, struct job *job)
{
    struct slots *s = slot->slots;

    pthread_mutex_lock(&s->lock);
    bool welcome = !atomic_load(&s->stopping);
    if (welcome)
        slot->job = job;
    pthread_mutex_unlock(&s->lock);
    return welcome;
}

static void release(struct slots *s, const struct queue_token *token)
{
    const struct log_ids ids = {.video = token->video_id, .job = token->job_id};
    struct err e;

    if (queue_release(s->worker->queue, token, &e) != 0)
        log_warn(&ids, "not handed back, its lease will end", "error", e.text);
    else
        log_info(&ids, "handed back");
}

/* True when the end of this job has brought the next one, which is in *claimed then. */
static bool run(struct slot *slot, struct queue_job *claimed)
{
    struct slots *s = slot->slots;
    struct job job;
    struct err e;

    if (job_open(&job, s->worker, claimed, &s->stopping, &e) != 0) {
        log_error(NULL, "job not started, its lease will end", "error", e.text);
        return false;
    }
    metric_add(&active, NULL, 1);
    if (take_in(slot, &job))
        job_run(&job);
    else {
        control_stop(&job.control, STOP_RELEASED);
        release(s, &job.claim.token);
    }
    pthread_mutex_lock(&s->lock);
    slot->job = NULL;
    pthread_mutex_unlock(&s->lock);
    job_close(&job);
    metric_add(&active, NULL, -1);
    if (job.got_next)
        *claimed = job.next;
    return job.got_next;
}

static void *slot_main(void *ctx)
{
    struct slot *slot = ctx;
    struct slots *s = slot->slots;
    struct queue_job claimed;
    struct err e;

    while (!atomic_load(&s->stopping)) {
        if (claim(s, &claimed))
            while (run(slot, &claimed))
                ;
        else if (queue_wait(s->worker->queue, NULL, LOOK_MS, &e) != 0)
            pause_ms(s, RETRY_MS);
    }
    pthread_mutex_lock(&s->lock);
    slot->running = false;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* --- Scanning --- */

static void *scanner_main(void *ctx)
{
    struct slots *s = ctx;
    struct queue_scan found;
    struct err e;

    while (!atomic_load(&s->stopping)) {
        if (queue_scan(s->worker->queue, &found, &e) == 0 && found.promoted + found.reclaimed + found.extended > 0)
            log_info(NULL, "scan", "promoted", num_u64(found.promoted).s, "reclaimed", num_u64(found.reclaimed).s,
                     "extended", num_u64(found.extended).s);
        pause_ms(s, SCAN_MS);
    }
    return NULL;
}

/* --- Life --- */

static void end_threads(struct slots *s)
{
    if (s->scanning)
        pthread_join(s->scanner, NULL);
    for (size_t i = 0; i < s->count; i++)
        pthread_join(s->slot[i].thread, NULL);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    mem_free(s->released);
    mem_free(s);
}

int slots_start(const struct worker *worker, struct slots **ret, struct err *e)
{
    size_t count = (size_t)worker->settings->worker_concurrency;
    pthread_condattr_t attr;

    struct slots *s = mem_zalloc(sizeof *s + count * sizeof *s->slot);
    if (s == NULL || (s->released = mem_calloc(count, sizeof *s->released)) == NULL) {
        mem_free(s);
        return err_set(e, ERR_TEMPORARY, "slots: out of memory");
    }
    metric_set(&active, NULL, 0);
    s->worker = worker;
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s->changed, &attr);
    pthread_condattr_destroy(&attr);

    s->scanning = pthread_create(&s->scanner, NULL, scanner_main, s) == 0;
    while (s->scanning && s->count < count) {
        struct slot *slot = &s->slot[s->count];
        *slot = (struct slot){.slots = s, .running = true};
        if (pthread_create(&slot->thread, NULL, slot_main, slot) != 0)
            break;
        s->count++;
    }
    if (s->count < count) {
        atomic_store(&s->stopping, true);
        end_threads(s);
        return err_set(e, ERR_TEMPORARY, "slots: no thread");
    }
    *ret = s;
    return 0;
}

/* Stops every job that does not end by itself in that time, all at once, and then tells Redis of one after the other,
 * without the lock that their threads need to end. */
static void hand_back(struct slots *s, uint64_t left_ms)
{
    size_t count = 0;

    for (size_t i = 0; i < s->count; i++) {
        struct job *job = s->slot[i].job;
        if (job == NULL || control_stopped(&job->control) != STOP_NONE)
            continue;
        if (control_fits(&job->control, left_ms)) {
            log_info(&job->ids, "finishing before the end");
            continue;
        }
        control_stop(&job->control, STOP_RELEASED);
        s->released[count++] = job->claim.token;
    }
    pthread_mutex_unlock(&s->lock);
    for (size_t i = 0; i < count; i++)
        release(s, &s->released[i]);
    pthread_mutex_lock(&s->lock);
}

/* False when the time has come with some still running. */
static bool wait_for_slots(struct slots *s, uint64_t until_ms)
{
    for (;;) {
        bool running = false;
        for (size_t i = 0; i < s->count; i++)
            running |= s->slot[i].running;
        if (!running || (!wait_until(s, until_ms) && clock_mono_ms() >= until_ms))
            return !running;
    }
}

void slots_stop(struct slots *s, uint64_t grace_ms)
{
    if (s == NULL)
        return;
    uint64_t until_ms = clock_mono_ms() + grace_ms - (grace_ms > 2 * HAND_BACK_MS ? HAND_BACK_MS : grace_ms / 2);

    pthread_mutex_lock(&s->lock);
    atomic_store(&s->stopping, true);
    pthread_cond_broadcast(&s->changed);
    hand_back(s, grace_ms);
    if (!wait_for_slots(s, until_ms))
        hand_back(s, 0);
    pthread_mutex_unlock(&s->lock);
    end_threads(s);
}
