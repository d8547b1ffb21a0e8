#include "upload_session.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "domain/upload_broom.h"

#include <inttypes.h>
#include <string.h>

#define SENDER_THREADS 5
#define PART_MOST (UINT64_C(32) << 20)
#define RENEW_EVERY_MS (UPLOAD_LEASE_MS / 3)
#define MEMORY_WAIT_MS 10000
#define FULL_MS 10 /* in a storm a queue that was full is not asked again so soon: refusals must cost little */

static void init_lock(struct upload_service *s)
{
    pthread_condattr_t monotonic;

    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&s->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

/* What the senders read tails with counts as well, as long as four parts are left. */
static uint64_t pool_bytes(const struct upload_options *o)
{
    const uint64_t windows = (uint64_t)SENDER_THREADS * PART_WINDOW_SIZE;
    uint64_t least = 4 * ((o->part_size + BLOCK_SIZE - 1) / BLOCK_SIZE * BLOCK_SIZE);

    if (o->memory <= least)
        return o->memory;
    return o->memory - least > windows ? o->memory - windows : least;
}

int upload_service_new(const struct upload_options *options, struct upload_service **ret, struct err *e)
{
    struct upload_service *s = mem_zalloc(sizeof *s);

    if (s == NULL)
        return err_set(e, ERR_TEMPORARY, "uploads: no memory");
    s->options = *options;
    init_lock(s);
    int r = block_pool_new(pool_bytes(options), options->part_size,
                           options->part_most == 0 ? PART_MOST : options->part_most, &s->pool, e);
    if (r == 0)
        r = part_sender_new(options->library->store, SENDER_THREADS, &s->sender, e);
    if (r == 0)
        r = upload_broom_new(options->library, &s->broom, e);
    if (r == 0)
        r = upload_desk_new(queue_redis(options->library->queue), upload_table_called, s, &s->desk, e);
    if (r != 0) {
        upload_service_free(s);
        return r;
    }
    *ret = s;
    return 0;
}

void upload_service_free(struct upload_service *s)
{
    if (s == NULL)
        return;
    upload_desk_free(s->desk);
    upload_table_clear(s);
    upload_broom_free(s->broom);
    part_sender_free(s->sender);
    block_pool_free(s->pool);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    mem_free(s);
}

void upload_service_tick(struct upload_service *s)
{
    uint64_t now_ms = clock_mono_ms();
    bool renew = now_ms - s->renewed_ms >= RENEW_EVERY_MS;

    if (renew)
        s->renewed_ms = now_ms;
    upload_table_tick(s, renew);
    block_pool_trim(s->pool);
}

/* --- Limits of one client; with the lock held --- */

static size_t rate_slot(const char *client)
{
    uint64_t hash = UINT64_C(14695981039346656037); /* FNV-1a */

    for (; *client != '\0'; client++)
        hash = (hash ^ (unsigned char)*client) * UINT64_C(1099511628211);
    return (size_t)(hash % UPLOAD_RATE_SLOTS);
}

static bool within_rate(struct upload_service *s, const char *client)
{
    uint64_t minute = clock_mono_ms() / 60000;
    size_t slot = rate_slot(client);

    if (s->creations[slot].minute != minute) {
        s->creations[slot].minute = minute;
        s->creations[slot].count = 0;
    }
    return s->creations[slot].count++ < s->options.creations_per_minute;
}

static int client_full(const struct upload_service *s, enum upload_refusal *ret_refusal, struct err *e)
{
    *ret_refusal = UPLOAD_CLIENT_FULL;
    return err_set(e, ERR_BUSY, "%" PRIu64 " uploads of yours are in progress; let one of them end",
                   s->options.per_client);
}

static int check_client(struct upload *u, enum upload_refusal *ret_refusal, struct err *e)
{
    struct upload_service *s = u->service;
    int r = 0;

    pthread_mutex_lock(&s->lock);
    if (!within_rate(s, u->client)) {
        *ret_refusal = UPLOAD_CLIENT_RATE;
        r = err_set(e, ERR_BUSY, "more than %" PRIu64 " new uploads in a minute; slow down",
                    s->options.creations_per_minute);
    } else if (u->origin == UPLOAD_FORM && upload_table_seats(s, u->client) >= s->options.per_client) {
        r = client_full(s, ret_refusal, e);
    } else {
        u->seated = true;
    }
    pthread_mutex_unlock(&s->lock);
    return r;
}

/* --- Admission of a new one --- */

/* A form's seat counts in its process. Others live on between their requests and count wherever they are. */
static int add_open(struct upload *u, enum upload_refusal *ret_refusal, struct err *e)
{
    const struct upload_options *o = &u->service->options;
    const struct upload_limits limits = {.per_client = o->per_client, .in_all = o->in_all};
    enum upload_open_verdict verdict = UPLOAD_OPENED;

    if (u->origin == UPLOAD_FORM)
        return 0;
    int r = upload_open_add(u->library->queue, u->video_id, u->client, clock_wall_ms() + o->expiry_ms, &limits,
                            &verdict, e);
    if (r == -ERR_BUSY)
        *ret_refusal = UPLOAD_REBUILDING;
    if (r != 0 || verdict == UPLOAD_OPENED)
        return r;
    if (verdict == UPLOAD_CLIENT_LIMIT)
        return client_full(u->service, ret_refusal, e);
    *ret_refusal = UPLOAD_TOTAL_FULL;
    return err_set(e, ERR_BUSY, "%" PRIu64 " uploads are in progress, as many as may be", o->in_all);
}

static int queue_full(enum upload_refusal *ret_refusal, struct err *e)
{
    *ret_refusal = UPLOAD_QUEUE_FULL;
    return err_set(e, ERR_BUSY, "the queue is full");
}

int upload_check_room(struct upload_service *s, enum upload_refusal *ret_refusal, struct err *e)
{
    return clock_mono_ms() < atomic_load(&s->full_until_ms) ? queue_full(ret_refusal, e) : 0;
}

/* One refusal alone is no storm: whoever then makes room finds it. */
static void note_full(struct upload_service *s)
{
    uint64_t now_ms = clock_mono_ms();

    if (now_ms - atomic_exchange(&s->full_ms, now_ms) < 2 * FULL_MS)
        atomic_store(&s->full_until_ms, now_ms + FULL_MS);
}

static int reserve(struct upload *u, enum upload_refusal *ret_refusal, struct err *e)
{
    struct upload_service *s = u->service;

    int r = queue_admit(u->library->queue, u->video_id, s->options.queue_max, UPLOAD_RESERVATION_MS, e);
    if (r == -ERR_BUSY)
        *ret_refusal = UPLOAD_REBUILDING;
    if (r != -ERR_CONFLICT)
        return r;
    note_full(s);
    return queue_full(ret_refusal, e);
}

static int wait_for_memory(struct upload *u, enum upload_refusal *ret_refusal, struct err *e)
{
    if (u->origin != UPLOAD_FORM)
        return 0;
    int r = block_pool_wait(u->service->pool, 2 * u->service->options.part_size, MEMORY_WAIT_MS, e);
    if (r != 0)
        *ret_refusal = UPLOAD_MEMORY_FULL;
    return r;
}

int upload_admit(struct upload *u, enum upload_refusal *ret_refusal, struct err *e)
{
    struct queue *q = u->library->queue;

    int r = check_client(u, ret_refusal, e);
    if (r != 0)
        return r;
    r = reserve(u, ret_refusal, e);
    if (r == 0)
        r = wait_for_memory(u, ret_refusal, e);
    if (r == 0)
        r = add_open(u, ret_refusal, e);
    if (r != 0 && *ret_refusal != UPLOAD_QUEUE_FULL && *ret_refusal != UPLOAD_REBUILDING)
        (void)!queue_admit_drop(q, u->video_id, NULL); /* else it runs out */
    return r;
}

void upload_dismiss(struct upload *u)
{
    struct queue *q = u->library->queue;

    pthread_mutex_lock(&u->service->lock);
    u->seated = false;
    pthread_mutex_unlock(&u->service->lock);
    if (u->stage != UPLOAD_FINISHED)
        (void)!queue_admit_drop(q, u->video_id, NULL);           /* else it runs out */
    if (!u->begun && u->origin != UPLOAD_FORM)                   /* nobody was told of it */
        (void)!upload_open_end(q, u->video_id, u->client, NULL); /* else when it expires */
}

/* Redis's own time decides, as for all leases. */
int upload_seat_taken(const struct library *l, const char *id, bool *ret, struct err *e)
{
    struct redis *redis = queue_redis(l->queue);
    REDIS_REPLY_AUTO struct redis_reply *score = NULL, *now = NULL;
    uint64_t until_ms = 0, now_s = 0;

    int r = redis_do(redis, &score, e, "ZSCORE", "{weir}:admitted", id, NULL);
    if (r == 0)
        r = redis_do(redis, &now, e, "TIME", NULL);
    if (r != 0)
        return r;
    const char *until_text = redis_reply_string(score), *now_text = redis_reply_string(redis_reply_at(now, 0));
    *ret = until_text != NULL && str_to_u64(until_text, &until_ms) && now_text != NULL &&
           str_to_u64(now_text, &now_s) && until_ms > now_s * 1000;
    return 0;
}
