#include "control.h"

#include "base/clock.h"
#include "base/id.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define RETRY_BASE_MS 100
#define RETRY_MAX_MS 5000
#define FINISH_MS 1500 /* uploads, checks and the outcome after the child's end */

static const char *const names[STOPS] = {
    [STOP_NONE] = "not stopped", [STOP_CANCELLED] = "cancelled",  [STOP_STALE] = "taken over by another worker",
    [STOP_DELETED] = "deleted",  [STOP_RELEASED] = "handed back", [STOP_ORPHANED] = "without Redis for too long",
};

const char *stop_name(enum stop why)
{
    return names[why];
}

int control_init(struct control *c, struct err *e)
{
    pthread_condattr_t attr;
    char text[128];

    *c = (struct control){.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    if (c->wake_fd < 0)
        return err_set(e, ERR_TEMPORARY, "eventfd: %s", strerror_r(errno, text, sizeof text));
    pthread_mutex_init(&c->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&c->stopping, &attr);
    pthread_condattr_destroy(&attr);
    return 0;
}

void control_release(struct control *c)
{
    close(c->wake_fd);
    pthread_cond_destroy(&c->stopping);
    pthread_mutex_destroy(&c->lock);
}

void control_nudge(struct control *c)
{
    (void)!write(c->wake_fd, &(uint64_t){1}, sizeof(uint64_t)); /* fails only when there are 2^64 wake-ups already */
}

void control_calm(struct control *c)
{
    uint64_t count;

    (void)!read(c->wake_fd, &count, sizeof count); /* nothing to take is fine */
}

void control_stop(struct control *c, enum stop why)
{
    pthread_mutex_lock(&c->lock);
    if (c->stop == STOP_NONE)
        c->stop = why;
    pthread_cond_broadcast(&c->stopping);
    pthread_mutex_unlock(&c->lock);
    control_nudge(c);
}

enum stop control_stopped(struct control *c)
{
    pthread_mutex_lock(&c->lock);
    enum stop stop = c->stop;
    pthread_mutex_unlock(&c->lock);
    return stop;
}

int control_check(struct control *c, struct err *e)
{
    enum stop stop = control_stopped(c);

    return stop == STOP_NONE ? 0 : err_set(e, ERR_STALE, "stopped: %s", stop_name(stop));
}

void control_progress(struct control *c, const struct progress_block *block)
{
    pthread_mutex_lock(&c->lock);
    c->block = *block;
    c->updates++;
    pthread_mutex_unlock(&c->lock);
}

void control_transcoded(struct control *c)
{
    pthread_mutex_lock(&c->lock);
    c->transcoded = true;
    pthread_mutex_unlock(&c->lock);
}

uint64_t control_look(struct control *c, struct progress_block *ret)
{
    pthread_mutex_lock(&c->lock);
    *ret = c->block;
    uint64_t updates = c->updates;
    pthread_mutex_unlock(&c->lock);
    return updates;
}

bool control_fits(struct control *c, uint64_t left_ms)
{
    pthread_mutex_lock(&c->lock);
    double eta_s = c->transcoded ? 0 : progress_eta_s(&c->block);
    pthread_mutex_unlock(&c->lock);
    return eta_s >= 0 && eta_s * 1000 + FINISH_MS < (double)left_ms;
}

/* Sleeps for ms unless the job must stop. */
static void pause_ms(struct control *c, uint64_t ms)
{
    uint64_t until_ms = clock_mono_ms() + ms;
    struct timespec until = {.tv_sec = (time_t)(until_ms / 1000), .tv_nsec = (long)(until_ms % 1000) * 1000000};

    pthread_mutex_lock(&c->lock);
    while (c->stop == STOP_NONE && pthread_cond_timedwait(&c->stopping, &c->lock, &until) != ETIMEDOUT)
        ;
    pthread_mutex_unlock(&c->lock);
}

bool control_retry(struct control *c, struct patience *p, int r)
{
    uint64_t now = clock_mono_ms();

    if (r != -ERR_TEMPORARY || control_stopped(c) != STOP_NONE)
        return false;
    if (p->since_ms == 0)
        p->since_ms = now;
    if (now - p->since_ms >= p->max_ms)
        return false;
    pause_ms(c, RETRY_BASE_MS + backoff_ms(RETRY_BASE_MS, RETRY_MAX_MS, p->tries++, id_random_u64()));
    return control_stopped(c) == STOP_NONE;
}
