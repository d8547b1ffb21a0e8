#include "bounded.h"

#include "clock.h"
#include "mem.h"

#include <pthread.h>
#include <time.h>

struct task {
    void (*work)(void *ctx);
    void *ctx;
    pthread_mutex_t lock;
    pthread_cond_t ended;
    bool done, left; /* the one who comes second frees it */
};

static void *task_main(void *arg)
{
    struct task *t = arg;

    t->work(t->ctx);
    pthread_mutex_lock(&t->lock);
    t->done = true;
    bool left = t->left;
    pthread_cond_signal(&t->ended);
    pthread_mutex_unlock(&t->lock);
    if (left)
        mem_free(t);
    return NULL;
}

static struct task *task_new(void (*work)(void *ctx), void *ctx)
{
    pthread_condattr_t monotonic;
    struct task *t = mem_zalloc(sizeof *t);

    if (t == NULL)
        return NULL;
    t->work = work;
    t->ctx = ctx;
    pthread_mutex_init(&t->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&t->ended, &monotonic);
    pthread_condattr_destroy(&monotonic);
    return t;
}

bool run_bounded(uint64_t max_ms, void (*work)(void *ctx), void *ctx)
{
    uint64_t until_ms = clock_mono_ms() + max_ms;
    struct timespec until = {.tv_sec = (time_t)(until_ms / 1000), .tv_nsec = (long)(until_ms % 1000) * 1000000};
    struct task *t = task_new(work, ctx);
    pthread_t thread;

    if (t == NULL || pthread_create(&thread, NULL, task_main, t) != 0) {
        mem_free(t);
        return false;
    }
    pthread_mutex_lock(&t->lock);
    while (!t->done && pthread_cond_timedwait(&t->ended, &t->lock, &until) == 0)
        ;
    bool done = t->done;
    t->left = !done;
    pthread_mutex_unlock(&t->lock);
    if (!done) {
        pthread_detach(thread);
        return false;
    }
    pthread_join(thread, NULL);
    mem_free(t);
    return true;
}
