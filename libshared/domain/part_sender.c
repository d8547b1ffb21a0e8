#include "part_sender.h"

#include "base/mem.h"

#include <pthread.h>
#include <string.h>

struct part_sender {
    struct store *store;
    pthread_mutex_t lock;
    pthread_cond_t work, finished;
    struct part_job *first, **last;
    bool stopping;
    unsigned under_way; /* jobs that are not done, and reservations */
    unsigned count;
    pthread_t thread[];
};

/* NULL when the sender ends. */
static struct part_job *next_job(struct part_sender *s)
{
    pthread_mutex_lock(&s->lock);
    while (s->first == NULL && !s->stopping)
        pthread_cond_wait(&s->work, &s->lock);
    struct part_job *job = s->first;
    if (job != NULL) {
        s->first = job->next;
        if (s->first == NULL)
            s->last = &s->first;
    }
    pthread_mutex_unlock(&s->lock);
    return job;
}

static void send_part(struct part_sender *s, struct part_job *job)
{
    struct part_body part = {.store = s->store,
                             .bucket = job->bucket,
                             .video_id = job->video_id,
                             .tails = job->tails,
                             .tail_count = job->tail_count,
                             .chain = &job->chain};
    struct store_body body;

    part_body_init(&part, &body);
    job->part.size_bytes = body.size_bytes;
    job->result = store_multipart_put(s->store, job->bucket, job->key, job->upload_id, job->part.number, &body,
                                      job->part.etag, &job->error);
    part_body_release(&part);
    block_chain_release(&job->chain);
}

static void *sender_main(void *arg)
{
    struct part_sender *s = arg;
    struct part_job *job;

    while ((job = next_job(s)) != NULL) {
        send_part(s, job);
        pthread_mutex_lock(&s->lock);
        job->done = true;
        s->under_way--;
        pthread_cond_broadcast(&s->finished);
        pthread_mutex_unlock(&s->lock);
    }
    return NULL;
}

int part_sender_new(struct store *store, unsigned threads, struct part_sender **ret, struct err *e)
{
    struct part_sender *s = mem_zalloc(sizeof *s + threads * sizeof s->thread[0]);

    if (s == NULL)
        return err_set(e, ERR_TEMPORARY, "part sender: no memory");
    s->store = store;
    s->last = &s->first;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->work, NULL);
    pthread_cond_init(&s->finished, NULL);
    for (; s->count < threads; s->count++) {
        int failure = pthread_create(&s->thread[s->count], NULL, sender_main, s);
        if (failure != 0) {
            part_sender_free(s);
            return err_set(e, ERR_TEMPORARY, "part sender: thread: %s", strerror(failure));
        }
    }
    *ret = s;
    return 0;
}

void part_sender_free(struct part_sender *s)
{
    if (s == NULL)
        return;
    pthread_mutex_lock(&s->lock);
    s->stopping = true;
    pthread_cond_broadcast(&s->work);
    pthread_mutex_unlock(&s->lock);
    for (unsigned i = 0; i < s->count; i++)
        pthread_join(s->thread[i], NULL);
    pthread_cond_destroy(&s->work);
    pthread_cond_destroy(&s->finished);
    pthread_mutex_destroy(&s->lock);
    mem_free(s);
}

void part_sender_submit(struct part_sender *s, struct part_job *job)
{
    job->done = false;
    job->next = NULL;
    pthread_mutex_lock(&s->lock);
    *s->last = job;
    s->last = &job->next;
    if (!job->reserved)
        s->under_way++;
    pthread_cond_signal(&s->work);
    pthread_mutex_unlock(&s->lock);
}

int part_sender_wait(struct part_sender *s, struct part_job *job)
{
    pthread_mutex_lock(&s->lock);
    while (!job->done)
        pthread_cond_wait(&s->finished, &s->lock);
    pthread_mutex_unlock(&s->lock);
    return job->result;
}

bool part_sender_done(struct part_sender *s, const struct part_job *job)
{
    pthread_mutex_lock(&s->lock);
    bool done = job->done;
    pthread_mutex_unlock(&s->lock);
    return done;
}

bool part_sender_reserve(struct part_sender *s)
{
    pthread_mutex_lock(&s->lock);
    bool free = s->under_way < s->count;
    if (free)
        s->under_way++;
    pthread_mutex_unlock(&s->lock);
    return free;
}

void part_sender_release(struct part_sender *s)
{
    pthread_mutex_lock(&s->lock);
    s->under_way--;
    pthread_mutex_unlock(&s->lock);
}
