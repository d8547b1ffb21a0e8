#include "queue_bell.h"

#include "base/clock.h"
#include "base/str.h"
#include "queue_call.h"

#include <inttypes.h>
#include <time.h>

void queue_bell_init(struct queue_bell *b)
{
    pthread_condattr_t attr;

    *b = (struct queue_bell){.listening = false};
    pthread_mutex_init(&b->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&b->changed, &attr);
    pthread_condattr_destroy(&attr);
}

void queue_bell_release(struct queue_bell *b)
{
    pthread_cond_destroy(&b->changed);
    pthread_mutex_destroy(&b->lock);
}

static int listen_ms(struct redis *redis, const char *const *classes, uint64_t wait_ms, struct err *e)
{
    char bells[QUEUE_MAX_CLASSES][64], seconds[32];
    const char *words[2 + QUEUE_MAX_CLASSES] = {"BZPOPMIN"};
    size_t count = 0;

    for (; classes[count] != NULL; count++) {
        str_format(bells[count], sizeof bells[count], QUEUE_PREFIX "bell:%s", classes[count]);
        words[count + 1] = bells[count];
    }
    str_format(seconds, sizeof seconds, "%" PRIu64 ".%03u", wait_ms / 1000, (unsigned)(wait_ms % 1000));
    words[count + 1] = seconds;
    return redis_command_blocking(redis, wait_ms, count + 2, words, NULL, e);
}

/* Under the lock: waits as long as another listens for these classes. True when this thread may look for work. */
static bool wait_for_wake(struct queue_bell *b, const char *const *classes, uint64_t until_ms)
{
    struct timespec until = {.tv_sec = (time_t)(until_ms / 1000), .tv_nsec = (long)(until_ms % 1000) * 1000000};
    bool in_time = true;

    b->waiting++;
    while (b->listening && b->classes == classes && b->woken == 0 && in_time)
        in_time = pthread_cond_timedwait(&b->changed, &b->lock, &until) == 0;
    b->waiting--;
    if (b->woken == 0)
        return !in_time;
    b->woken--;
    return true;
}

int queue_bell_wait(struct queue_bell *b, struct redis *redis, const char *const *classes, uint64_t wait_ms,
                    struct err *e)
{
    uint64_t until_ms = clock_mono_ms() + wait_ms, now_ms;

    pthread_mutex_lock(&b->lock);
    bool woken = wait_for_wake(b, classes, until_ms);
    bool listens = !woken && !b->listening; /* else another does, for other classes */
    if (listens) {
        b->listening = true;
        b->classes = classes;
    }
    pthread_mutex_unlock(&b->lock);

    int result = 0;
    if (!woken && (now_ms = clock_mono_ms()) < until_ms)
        result = listen_ms(redis, classes, until_ms - now_ms, e);
    if (listens) {
        pthread_mutex_lock(&b->lock);
        b->listening = false;
        pthread_cond_broadcast(&b->changed); /* somebody else listens now */
        pthread_mutex_unlock(&b->lock);
    }
    return result;
}

void queue_bell_wake(struct queue_bell *b, uint64_t count)
{
    pthread_mutex_lock(&b->lock);
    while (count-- > 0 && b->woken < b->waiting) {
        b->woken++;
        pthread_cond_signal(&b->changed);
    }
    pthread_mutex_unlock(&b->lock);
}
