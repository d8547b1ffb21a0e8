#include "heartbeat.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"

#include <string.h>
#include <time.h>

#define PROGRESS_MS 1000

struct held {
    bool used;
    struct queue_token token;
    struct control *control;
    uint64_t updates; /* of its progress, when it was last sent */
    uint64_t sent_ms; /* when */
    uint64_t held_ms; /* when Redis last agreed */
};

struct heartbeat {
    struct heartbeat_options options;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool ending;
    pthread_t thread;
    struct held *jobs; /* max_jobs */
};

static struct metric heartbeats = METRIC_COUNTER("weir_worker_heartbeats_total", "Heartbeats sent.", "result");

static struct held *find(struct heartbeat *h, const char *nonce)
{
    for (size_t i = 0; i < h->options.max_jobs; i++)
        if (h->jobs[i].used && strcmp(h->jobs[i].token.nonce, nonce) == 0)
            return &h->jobs[i];
    return NULL;
}

/* --- One heartbeat --- */

static const struct {
    enum err_kind kind;
    enum stop stop;
} stops[] = {
    {ERR_STALE, STOP_STALE},
    {ERR_NOT_FOUND, STOP_DELETED},
};

/* What Redis said. Under the lock, so that the job is still there. */
static void conclude(struct heartbeat *h, struct held *job, int r, bool cancelled, const struct err *e)
{
    const struct log_ids ids = {.video = job->token.video_id, .job = job->token.job_id};
    uint64_t now = clock_mono_ms();

    if (r == 0) {
        if (now - job->held_ms > h->options.lease_ms)
            log_info(&ids, "Redis is back, the job is still ours");
        job->held_ms = now;
        if (cancelled)
            control_stop(job->control, STOP_CANCELLED);
        return;
    }
    for (size_t i = 0; i < ARRAY_SIZE(stops); i++)
        if (e->kind == stops[i].kind) {
            control_stop(job->control, stops[i].stop);
            return;
        }
    if (now - job->held_ms >= h->options.orphan_max_ms)
        control_stop(job->control, STOP_ORPHANED);
    else if (now - job->held_ms >= h->options.lease_ms)
        log_warn(&ids, "no heartbeat for longer than the lease, going on", "error", e->text);
}

/* The call may take long, so it is made without the lock and the job is looked up again afterwards. */
static void beat(struct heartbeat *h, struct held *job)
{
    struct queue_token token = job->token;
    char json[PROGRESS_JSON_SIZE];
    struct progress_block block;
    bool cancelled = false;
    struct err e;

    uint64_t updates = control_look(job->control, &block);
    bool news = updates != job->updates;
    job->updates = updates;
    job->sent_ms = clock_mono_ms();
    pthread_mutex_unlock(&h->lock);
    if (news)
        progress_json(&block, json);
    int r = queue_heartbeat(h->options.queue, &token, news ? json : NULL, &cancelled, &e);
    metric_add(&heartbeats, r == 0 ? "ok" : err_kind_name(e.kind), 1);
    pthread_mutex_lock(&h->lock);
    if ((job = find(h, token.nonce)) != NULL)
        conclude(h, job, r, cancelled, &e);
}

/* --- The thread --- */

static uint64_t due_ms(const struct heartbeat *h, const struct held *job)
{
    struct progress_block unused;
    uint64_t every_ms = h->options.lease_ms / 3;

    if (every_ms > PROGRESS_MS && control_look(job->control, &unused) != job->updates)
        every_ms = PROGRESS_MS;
    return job->sent_ms + every_ms;
}

static void wait_ms(struct heartbeat *h, uint64_t ms)
{
    uint64_t until_ms = clock_mono_ms() + ms;
    struct timespec until = {.tv_sec = (time_t)(until_ms / 1000), .tv_nsec = (long)(until_ms % 1000) * 1000000};

    pthread_cond_timedwait(&h->changed, &h->lock, &until);
}

static void *heartbeat_main(void *ctx)
{
    struct heartbeat *h = ctx;

    pthread_mutex_lock(&h->lock);
    while (!h->ending) {
        uint64_t now = clock_mono_ms(), next_ms = now + PROGRESS_MS;
        struct held *job = NULL; /* the one that is due longest */
        for (size_t i = 0; i < h->options.max_jobs; i++)
            if (h->jobs[i].used && due_ms(h, &h->jobs[i]) < next_ms) {
                job = &h->jobs[i];
                next_ms = due_ms(h, job);
            }
        if (job != NULL && next_ms <= now)
            beat(h, job);
        else
            wait_ms(h, next_ms - now);
    }
    pthread_mutex_unlock(&h->lock);
    return NULL;
}

int heartbeat_start(const struct heartbeat_options *options, struct heartbeat **ret, struct err *e)
{
    pthread_condattr_t attr;

    struct heartbeat *h = mem_zalloc(sizeof *h);
    if (h == NULL || (h->jobs = mem_calloc(options->max_jobs, sizeof *h->jobs)) == NULL) {
        mem_free(h);
        return err_set(e, ERR_TEMPORARY, "heartbeat: out of memory");
    }
    h->options = *options;
    pthread_mutex_init(&h->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&h->changed, &attr);
    pthread_condattr_destroy(&attr);
    if (pthread_create(&h->thread, NULL, heartbeat_main, h) != 0) {
        mem_free(h->jobs);
        mem_free(h);
        return err_set(e, ERR_TEMPORARY, "heartbeat: no thread");
    }
    *ret = h;
    return 0;
}

void heartbeat_free(struct heartbeat *h)
{
    if (h == NULL)
        return;
    pthread_mutex_lock(&h->lock);
    h->ending = true;
    pthread_cond_broadcast(&h->changed);
    pthread_mutex_unlock(&h->lock);
    pthread_join(h->thread, NULL);
    pthread_cond_destroy(&h->changed);
    pthread_mutex_destroy(&h->lock);
    mem_free(h->jobs);
    mem_free(h);
}

void heartbeat_add(struct heartbeat *h, const struct queue_token *token, struct control *control)
{
    uint64_t now = clock_mono_ms();

    pthread_mutex_lock(&h->lock);
    for (size_t i = 0; i < h->options.max_jobs; i++)
        if (!h->jobs[i].used) {
            h->jobs[i] = (struct held){
                .used = true, .token = *token, .control = control, .sent_ms = now, .held_ms = now};
            break;
        }
    pthread_cond_broadcast(&h->changed);
    pthread_mutex_unlock(&h->lock);
}

void heartbeat_remove(struct heartbeat *h, const struct queue_token *token)
{
    pthread_mutex_lock(&h->lock);
    struct held *job = find(h, token->nonce);
    if (job != NULL)
        job->used = false;
    pthread_mutex_unlock(&h->lock);
}
