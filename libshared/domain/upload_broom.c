#include "upload_broom.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "domain/layout.h"
#include "domain/removal.h"
#include "domain/upload_log.h"

#include <pthread.h>
#include <string.h>

#define IN_LINE_MAX 4096 /* jobs; more are forgotten */
#define GIVE_WAY_MS 1000

enum what { SPEND, FINISHED, REMOVE };

struct job {
    struct job *next;
    enum what what;
    uint64_t since_ms;
    char video_id[ID_VIDEO_SIZE];
    size_t count; /* records to be spent */
    uint64_t seq[];
};

struct upload_broom {
    const struct library *library;
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct job *first, **last;
    size_t in_line;
    unsigned hurried;
    bool stopping;
    pthread_t thread;
};

static void wait_until(struct upload_broom *b, uint64_t until_ms)
{
    const struct timespec until = {(time_t)(until_ms / 1000), (long)(until_ms % 1000) * 1000000};

    pthread_cond_timedwait(&b->work, &b->lock, &until);
}

/* NULL when the broom ends. */
static struct job *next_job(struct upload_broom *b, bool *ret_stopping)
{
    pthread_mutex_lock(&b->lock);
    while (!b->stopping) {
        if (b->first == NULL) {
            pthread_cond_wait(&b->work, &b->lock);
            continue;
        }
        uint64_t until_ms = b->first->since_ms + GIVE_WAY_MS;
        if (b->hurried == 0 || clock_mono_ms() >= until_ms)
            break;
        wait_until(b, until_ms);
    }
    struct job *job = b->first;
    if (job != NULL) {
        b->first = job->next;
        b->in_line--;
        if (b->first == NULL)
            b->last = &b->first;
    }
    *ret_stopping = b->stopping;
    pthread_mutex_unlock(&b->lock);
    return job;
}

static int spend(const struct library *l, const struct job *job, struct err *e)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < job->count; i++)
        r = upload_log_spend(l->store, l->raw, job->video_id, job->seq[i], e);
    return r;
}

static int clear_parts(const struct library *l, const struct job *job, struct err *e)
{
    int r = removal_multiparts(l, layout_source(job->video_id).s, e);

    return r == 0 ? removal_multiparts(l, layout_partial(job->video_id).s, e) : r;
}

static int sweep(const struct library *l, const struct job *job, struct err *e)
{
    switch (job->what) {
    case SPEND:
        return spend(l, job, e);
    case FINISHED:
        return clear_parts(l, job, e);
    case REMOVE:
        return removal_delete(l, job->video_id, NULL, e);
    }
    return 0;
}

static void *broom_main(void *arg)
{
    struct upload_broom *b = arg;
    struct job *job;
    bool stopping, failed = false;

    while ((job = next_job(b, &stopping)) != NULL) {
        struct err e = {0};
        if (!(stopping && failed) && sweep(b->library, job, &e) != 0) {
            failed = true;
            log_warn(&(struct log_ids){.video = job->video_id}, "left for later", "error", e.text);
        }
        mem_free(job);
    }
    return NULL;
}

int upload_broom_new(const struct library *l, struct upload_broom **ret, struct err *e)
{
    struct upload_broom *b = mem_zalloc(sizeof *b);
    pthread_condattr_t clock;

    if (b == NULL)
        return err_set(e, ERR_TEMPORARY, "uploads: no memory");
    b->library = l;
    b->last = &b->first;
    pthread_mutex_init(&b->lock, NULL);
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&b->work, &clock);
    pthread_condattr_destroy(&clock);
    int failure = pthread_create(&b->thread, NULL, broom_main, b);
    if (failure != 0) {
        pthread_cond_destroy(&b->work);
        pthread_mutex_destroy(&b->lock);
        mem_free(b);
        return err_set(e, ERR_TEMPORARY, "uploads: thread: %s", strerror(failure));
    }
    *ret = b;
    return 0;
}

void upload_broom_free(struct upload_broom *b)
{
    if (b == NULL)
        return;
    pthread_mutex_lock(&b->lock);
    b->stopping = true;
    pthread_cond_signal(&b->work);
    pthread_mutex_unlock(&b->lock);
    pthread_join(b->thread, NULL);
    pthread_cond_destroy(&b->work);
    pthread_mutex_destroy(&b->lock);
    mem_free(b);
}

static void put_in_line(struct upload_broom *b, enum what what, const char *video_id, const uint64_t *seq, size_t count)
{
    struct job *job = mem_zalloc(sizeof *job + count * sizeof job->seq[0]);

    if (job == NULL)
        return;
    job->what = what;
    job->since_ms = clock_mono_ms();
    str_copy(job->video_id, sizeof job->video_id, video_id);
    job->count = count;
    if (count > 0)
        memcpy(job->seq, seq, count * sizeof job->seq[0]);
    pthread_mutex_lock(&b->lock);
    bool room = b->in_line < IN_LINE_MAX;
    if (room) {
        *b->last = job;
        b->last = &job->next;
        b->in_line++;
        pthread_cond_signal(&b->work);
    }
    pthread_mutex_unlock(&b->lock);
    if (!room)
        mem_free(job);
}

void upload_broom_spend(struct upload_broom *b, const char *video_id, const uint64_t *seq, size_t count)
{
    if (count > 0)
        put_in_line(b, SPEND, video_id, seq, count);
}

void upload_broom_finished(struct upload_broom *b, const char *video_id)
{
    put_in_line(b, FINISHED, video_id, NULL, 0);
}

void upload_broom_hurry(struct upload_broom *b)
{
    pthread_mutex_lock(&b->lock);
    b->hurried++;
    pthread_mutex_unlock(&b->lock);
}

void upload_broom_hurry_end(struct upload_broom *b)
{
    pthread_mutex_lock(&b->lock);
    if (--b->hurried == 0)
        pthread_cond_signal(&b->work);
    pthread_mutex_unlock(&b->lock);
}

void upload_broom_remove(struct upload_broom *b, const char *video_id)
{
    put_in_line(b, REMOVE, video_id, NULL, 0);
}
