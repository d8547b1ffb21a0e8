#include "upload_service.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/str.h"

#include <inttypes.h>
#include <string.h>

#define SENDER_THREADS 8
#define PART_MOST (UINT64_C(32) << 20)
#define RESERVATION_MS 30000
#define RENEW_EVERY_MS 8000
#define MEMORY_WAIT_MS 10000

static struct metric live = METRIC_GAUGE("weir_uploads_live", "Uploads in progress in this process.", NULL);

int upload_service_new(const struct upload_options *options, struct upload_service **ret, struct err *e)
{
    struct upload_service *s = mem_zalloc(sizeof *s);

    if (s == NULL)
        return err_set(e, ERR_TEMPORARY, "uploads: no memory");
    s->options = *options;
    pthread_mutex_init(&s->lock, NULL);
    int r = block_pool_new(options->memory, options->part_size,
                           options->part_most == 0 ? PART_MOST : options->part_most, &s->pool, e);
    if (r == 0)
        r = part_sender_new(options->library->store, SENDER_THREADS, &s->sender, e);
    if (r != 0) {
        upload_service_free(s);
        return r;
    }
    metric_set(&live, NULL, 0);
    *ret = s;
    return 0;
}

void upload_service_free(struct upload_service *s)
{
    if (s == NULL)
        return;
    part_sender_free(s->sender);
    block_pool_free(s->pool);
    pthread_mutex_destroy(&s->lock);
    mem_free(s);
}

/* --- Limits of one client; with the lock held --- */

static uint64_t seats_of(const struct upload_service *s, const char *client)
{
    uint64_t n = 0;

    for (const struct upload_seat *seat = s->seats; seat != NULL; seat = seat->next)
        n += strcmp(seat->client, client) == 0;
    return n;
}

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

static int check_client(struct upload_service *s, const char *client, enum upload_refusal *ret_refusal, struct err *e)
{
    if (!within_rate(s, client)) {
        *ret_refusal = UPLOAD_CLIENT_RATE;
        return err_set(e, ERR_BUSY, "more than %" PRIu64 " new uploads in a minute; slow down",
                       s->options.creations_per_minute);
    }
    if (seats_of(s, client) >= s->options.per_client) {
        *ret_refusal = UPLOAD_CLIENT_FULL;
        return err_set(e, ERR_BUSY, "%" PRIu64 " uploads of yours are in progress; let one of them end",
                       s->options.per_client);
    }
    return 0;
}

/* --- Seats --- */

static int sit_down(struct upload_service *s, struct upload_seat *seat, enum upload_refusal *ret_refusal, struct err *e)
{
    pthread_mutex_lock(&s->lock);
    int r = check_client(s, seat->client, ret_refusal, e);
    if (r == 0) {
        seat->prev = NULL;
        seat->next = s->seats;
        if (seat->next != NULL)
            seat->next->prev = seat;
        s->seats = seat;
        metric_set(&live, NULL, (double)++s->seat_count);
    }
    pthread_mutex_unlock(&s->lock);
    return r;
}

static void stand_up(struct upload_service *s, struct upload_seat *seat)
{
    pthread_mutex_lock(&s->lock);
    if (seat->prev != NULL)
        seat->prev->next = seat->next;
    else
        s->seats = seat->next;
    if (seat->next != NULL)
        seat->next->prev = seat->prev;
    metric_set(&live, NULL, (double)--s->seat_count);
    pthread_mutex_unlock(&s->lock);
}

static int reserve(struct upload_service *s, const struct upload_seat *seat, enum upload_refusal *ret_refusal,
                   struct err *e)
{
    struct queue *q = s->options.library->queue;

    int r = queue_admit(q, seat->video_id, s->options.queue_max, RESERVATION_MS, e);
    if (r == -ERR_BUSY)
        *ret_refusal = UPLOAD_REBUILDING;
    if (r == -ERR_CONFLICT) {
        *ret_refusal = UPLOAD_QUEUE_FULL;
        return err_set(e, ERR_BUSY, "the queue is full");
    }
    if (r != 0)
        return r;
    r = block_pool_wait(s->pool, 2 * s->options.part_size, MEMORY_WAIT_MS, e);
    if (r != 0) {
        *ret_refusal = UPLOAD_MEMORY_FULL;
        (void)!queue_admit_drop(q, seat->video_id, NULL); /* else it runs out */
    }
    return r;
}

int upload_seat_take(struct upload_service *s, const char *client, struct upload_seat *seat,
                     enum upload_refusal *ret_refusal, struct err *e)
{
    *ret_refusal = UPLOAD_FAILED;
    id_video(clock_wall_ms(), seat->video_id);
    str_copy(seat->client, sizeof seat->client, client);
    int r = sit_down(s, seat, ret_refusal, e);
    if (r != 0)
        return r;
    r = reserve(s, seat, ret_refusal, e);
    if (r != 0)
        stand_up(s, seat);
    return r;
}

void upload_seat_leave(struct upload_service *s, struct upload_seat *seat, bool became_job)
{
    stand_up(s, seat);
    if (!became_job)
        (void)!queue_admit_drop(s->options.library->queue, seat->video_id, NULL); /* else it runs out */
}

/* --- Renewal --- */

typedef char video_id[ID_VIDEO_SIZE];

/* A copy, so that nobody waits for Redis with the lock held. NULL when there is nothing to do, or no memory for now. */
static video_id *seats_due(struct upload_service *s, uint64_t *ret_count)
{
    video_id *ids = NULL;
    uint64_t now_ms = clock_mono_ms();

    pthread_mutex_lock(&s->lock);
    if (s->seat_count > 0 && now_ms - s->renewed_ms >= RENEW_EVERY_MS)
        ids = mem_calloc(s->seat_count, sizeof *ids);
    if (ids != NULL) {
        size_t n = 0;
        for (const struct upload_seat *seat = s->seats; seat != NULL; seat = seat->next)
            memcpy(ids[n++], seat->video_id, sizeof *ids);
        *ret_count = n;
        s->renewed_ms = now_ms;
    }
    pthread_mutex_unlock(&s->lock);
    return ids;
}

void upload_service_tick(struct upload_service *s)
{
    uint64_t count = 0;
    MEM_AUTO video_id *ids = seats_due(s, &count);

    /* While Redis is away the uploads go on; what was admitted stays so when it is back. */
    for (uint64_t i = 0; ids != NULL && i < count; i++)
        if (queue_admit_renew(s->options.library->queue, ids[i], RESERVATION_MS, NULL) == -ERR_TEMPORARY)
            return;
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
