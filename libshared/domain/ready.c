#include "domain/ready.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "proto/json.h"

#include <pthread.h>
#include <string.h>
#include <time.h>

#define INTERVAL_MS 1000
#define STALE_MS 10000 /* a look that hangs for so long counts as a failure */
#define PROBE_KEY ".ready"

enum dependency { STORE, REDIS, DEPENDENCIES };
static const char *const names[DEPENDENCIES] = {"store", "redis"};

struct look {
    bool ok, needed;
    uint64_t looked_ms;
    char why[256];
};

struct ready {
    struct ready_options options;
    pthread_t threads[DEPENDENCIES]; /* one each: a store that hangs must not hide a Redis that is back */
    bool started[DEPENDENCIES];
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stopping;
    bool created; /* the buckets; the store's thread only */
    struct look looks[DEPENDENCIES];
};

struct task {
    struct ready *ready;
    enum dependency what;
};

static int create_buckets(struct ready *r, struct err *e)
{
    int result = 0;

    for (size_t i = 0; result == 0 && !r->created && i < ARRAY_SIZE(r->options.create); i++)
        if (r->options.create[i] != NULL)
            result = store_ensure_bucket(r->options.store, r->options.create[i], e);
    r->created = result == 0;
    return result;
}

static int ask(struct ready *r, enum dependency what, struct err *e)
{
    struct store_info info;

    if (what == REDIS)
        return redis_ping(r->options.redis, e);
    int result = create_buckets(r, e);
    if (result == 0)
        result = store_head(r->options.store, r->options.bucket, PROBE_KEY, &info, e);
    return result == -ERR_NOT_FOUND ? 0 : result;
}

static void note(struct ready *r, enum dependency what, int result, const struct err *e)
{
    struct look *look = &r->looks[what];

    pthread_mutex_lock(&r->lock);
    bool was_ok = look->ok, first = look->looked_ms == 0;
    look->ok = result == 0;
    look->looked_ms = clock_mono_ms();
    str_copy(look->why, sizeof look->why, result == 0 ? "ok" : e->text);
    pthread_mutex_unlock(&r->lock);

    if (result != 0 && (was_ok || first))
        log_warn(NULL, "waiting for a service", "what", names[what], "error", e->text);
    else if (result == 0 && !was_ok && !first)
        log_info(NULL, "service is back", "what", names[what]);
}

/* False when the process is about to end. */
static bool pause_between(struct ready *r)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += INTERVAL_MS / 1000;

    pthread_mutex_lock(&r->lock);
    while (!r->stopping && pthread_cond_timedwait(&r->wake, &r->lock, &until) == 0)
        ;
    bool go_on = !r->stopping;
    pthread_mutex_unlock(&r->lock);
    return go_on;
}

static void *watch(void *arg)
{
    struct task task = *(struct task *)arg;
    mem_free(arg);
    do {
        struct err e = {0};
        int result = ask(task.ready, task.what, &e);
        note(task.ready, task.what, result, &e);
    } while (pause_between(task.ready));
    return NULL;
}

static int start(struct ready *r, enum dependency what, struct err *e)
{
    struct task *task = mem_alloc(sizeof *task);
    if (task == NULL)
        return err_set(e, ERR_TEMPORARY, "ready: out of memory");
    *task = (struct task){.ready = r, .what = what};
    r->looks[what].needed = true;
    str_copy(r->looks[what].why, sizeof r->looks[what].why, "not asked yet");
    int failure = pthread_create(&r->threads[what], NULL, watch, task);
    if (failure != 0) {
        mem_free(task);
        return err_set(e, ERR_TEMPORARY, "ready: thread: %s", strerror(failure));
    }
    r->started[what] = true;
    return 0;
}

int ready_new(const struct ready_options *options, struct ready **ret, struct err *e)
{
    pthread_condattr_t monotonic;
    struct ready *r = mem_zalloc(sizeof *r);
    if (r == NULL)
        return err_set(e, ERR_TEMPORARY, "ready: out of memory");
    r->options = *options;
    pthread_mutex_init(&r->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&r->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);

    int result = start(r, STORE, e);
    if (result == 0 && options->redis != NULL)
        result = start(r, REDIS, e);
    if (result != 0) {
        ready_free(r);
        return result;
    }
    *ret = r;
    return 0;
}

void ready_free(struct ready *r)
{
    if (r == NULL)
        return;
    pthread_mutex_lock(&r->lock);
    r->stopping = true;
    pthread_cond_broadcast(&r->wake);
    pthread_mutex_unlock(&r->lock);
    for (size_t i = 0; i < DEPENDENCIES; i++)
        if (r->started[i])
            pthread_join(r->threads[i], NULL);
    pthread_cond_destroy(&r->wake);
    pthread_mutex_destroy(&r->lock);
    mem_free(r);
}

static bool look_ok(const struct look *look)
{
    return !look->needed || (look->ok && clock_mono_ms() - look->looked_ms < STALE_MS);
}

bool ready_now(struct ready *r)
{
    pthread_mutex_lock(&r->lock);
    bool ok = look_ok(&r->looks[STORE]) && look_ok(&r->looks[REDIS]);
    pthread_mutex_unlock(&r->lock);
    return ok;
}

int ready_respond(struct ready *r, struct http_request *rq, struct err *e)
{
    JSON_AUTO json_t *body = json_object();
    BUF_AUTO struct buf text;
    bool all = true;

    buf_init(&text, 4096);
    pthread_mutex_lock(&r->lock);
    for (size_t i = 0; i < DEPENDENCIES; i++) {
        const struct look *look = &r->looks[i];
        if (!look->needed)
            continue;
        bool ok = look_ok(look);
        json_put_text(body, names[i], look->ok && !ok ? "no answer" : look->why);
        all = all && ok;
    }
    pthread_mutex_unlock(&r->lock);
    json_put_bool(body, "ready", all);

    int result = json_write(body, &text, e);
    if (result != 0)
        return result;
    http_respond_json(rq, all ? 200 : 503, (const struct http_field[]){{"Cache-Control", "no-store"}, {0}}, &text);
    return 0;
}
