#include "ticker.h"

#include "base/mem.h"

#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

#define PERIOD_S 1

struct ticker {
    ticker_work *work;
    void *ctx;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stopping;
};

/* False when it is to end. */
static bool pause_once(struct ticker *t)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += PERIOD_S;
    pthread_mutex_lock(&t->lock);
    while (!t->stopping && pthread_cond_timedwait(&t->wake, &t->lock, &until) == 0)
        ;
    bool go_on = !t->stopping;
    pthread_mutex_unlock(&t->lock);
    return go_on;
}

static void *ticker_main(void *arg)
{
    struct ticker *t = arg;

    do
        t->work(t->ctx);
    while (pause_once(t));
    return NULL;
}

static void ticker_free(struct ticker *t)
{
    pthread_cond_destroy(&t->wake);
    pthread_mutex_destroy(&t->lock);
    mem_free(t);
}

int ticker_start(ticker_work *work, void *ctx, struct ticker **ret, struct err *e)
{
    pthread_condattr_t monotonic;
    struct ticker *t = mem_zalloc(sizeof *t);

    if (t == NULL)
        return err_set(e, ERR_TEMPORARY, "no memory for a thread");
    t->work = work;
    t->ctx = ctx;
    pthread_mutex_init(&t->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&t->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    int failure = pthread_create(&t->thread, NULL, ticker_main, t);
    if (failure != 0) {
        ticker_free(t);
        return err_set(e, ERR_TEMPORARY, "thread: %s", strerror(failure));
    }
    *ret = t;
    return 0;
}

void ticker_stop(struct ticker *t)
{
    if (t == NULL)
        return;
    pthread_mutex_lock(&t->lock);
    t->stopping = true;
    pthread_cond_broadcast(&t->wake);
    pthread_mutex_unlock(&t->lock);
    pthread_join(t->thread, NULL);
    ticker_free(t);
}
