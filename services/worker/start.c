#include "start.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"

#include <pthread.h>
#include <string.h>
#include <time.h>

#define RETRY_MS 1000

struct start {
    const struct worker *worker;
    void (*fatal)(void);
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool ending;
    int state; /* as start_check answers */
    struct err why;
    struct slots *slots;
};

static int look_at_redis(const struct worker *w, struct err *e)
{
    char warning[512] = "";

    int r = redis_durability(queue_redis(w->queue), warning, sizeof warning, e);
    if (r != 0 || warning[0] == '\0')
        return r;
    if (w->settings->redis_strict)
        return err_set(e, ERR_INVALID, "Redis: %s (REDIS_DURABILITY=strict)", warning);
    log_warn(NULL, "Redis may lose jobs", "reason", warning);
    return 0;
}

static int get_ready(const struct worker *w, struct err *e)
{
    const struct settings *s = w->settings;

    int r = store_ensure_bucket(w->store, s->raw_bucket, e);
    if (r == 0)
        r = store_ensure_bucket(w->store, s->processed_bucket, e);
    if (r == 0)
        r = store_probe(w->store, s->processed_bucket, e);
    if (r != 0)
        return err_wrap(e, "store");
    return look_at_redis(w, e);
}

/* Under the lock. False for a reason that was there already. */
static bool note(struct start *s, int state, const struct err *e)
{
    if (s->ending)
        return false;
    bool news = s->state != state || strcmp(s->why.text, e->text) != 0;

    s->state = state;
    s->why = *e;
    return news;
}

static bool pause_between(struct start *s)
{
    uint64_t until_ms = clock_mono_ms() + RETRY_MS;
    struct timespec until = {.tv_sec = (time_t)(until_ms / 1000), .tv_nsec = (long)(until_ms % 1000) * 1000000};

    while (!s->ending && pthread_cond_timedwait(&s->changed, &s->lock, &until) == 0)
        ;
    return !s->ending;
}

static void *start_main(void *ctx)
{
    struct start *s = ctx;
    struct slots *slots = NULL;

    pthread_mutex_lock(&s->lock);
    do {
        struct err e = {0};
        pthread_mutex_unlock(&s->lock);
        int r = get_ready(s->worker, &e);
        pthread_mutex_lock(&s->lock);
        if (r == 0 && !s->ending)
            r = slots_start(s->worker, &slots, &e);
        bool waiting = r == -ERR_TEMPORARY || r == -ERR_NOT_FOUND;
        if (note(s, waiting ? -ERR_BUSY : r, &e) && waiting)
            log_warn(NULL, "waiting", "for", e.text);
        if (!waiting)
            break;
    } while (pause_between(s));
    s->slots = slots;
    if (s->state == 0 && !s->ending)
        log_info(NULL, "ready", "concurrency", num_u64(s->worker->settings->worker_concurrency).s);
    else if (s->state != -ERR_BUSY && !s->ending)
        s->fatal();
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

int start_new(const struct worker *worker, void (*fatal)(void), struct start **ret, struct err *e)
{
    pthread_condattr_t attr;

    struct start *s = mem_zalloc(sizeof *s);
    if (s == NULL)
        return err_set(e, ERR_TEMPORARY, "start: out of memory");
    s->worker = worker;
    s->fatal = fatal;
    s->state = err_set(&s->why, ERR_BUSY, "store and Redis were not asked yet");
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s->changed, &attr);
    pthread_condattr_destroy(&attr);
    if (pthread_create(&s->thread, NULL, start_main, s) != 0) {
        mem_free(s);
        return err_set(e, ERR_TEMPORARY, "start: no thread");
    }
    *ret = s;
    return 0;
}

int start_check(struct start *s, struct err *e)
{
    pthread_mutex_lock(&s->lock);
    int state = s->state;
    if (state != 0)
        *e = s->why;
    pthread_mutex_unlock(&s->lock);
    if (state != -ERR_BUSY)
        return state;
    e->kind = ERR_BUSY;
    return err_wrap(e, "waiting for");
}

void start_stop(struct start *s, uint64_t grace_ms)
{
    if (s == NULL)
        return;
    uint64_t start_ms = clock_mono_ms();

    pthread_mutex_lock(&s->lock);
    s->ending = true;
    s->state = err_set(&s->why, ERR_BUSY, "nothing, this worker ends");
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->thread, NULL);
    uint64_t spent_ms = clock_mono_ms() - start_ms;
    slots_stop(s->slots, spent_ms < grace_ms ? grace_ms - spent_ms : 0);
}

void start_free(struct start *s)
{
    if (s == NULL)
        return;
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    mem_free(s);
}
