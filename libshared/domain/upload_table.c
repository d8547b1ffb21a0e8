#include "upload_session.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/str.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define LINGER_MS 30000
#define LINGER_MAX 256
#define LINGER_PARTS 512 /* more are read from the log again */
#define POLL_MS 20
#define ANSWER_MS "10000" /* how long an answer stays in Redis */

static struct metric live = METRIC_GAUGE("weir_uploads_live", "Uploads in progress in this process.", NULL);

/* --- With the lock held --- */

static struct upload *find(const struct upload_service *s, const char *video_id)
{
    struct upload *u = s->sessions;

    while (u != NULL && strcmp(u->video_id, video_id) != 0)
        u = u->next;
    return u;
}

static void link_busy(struct upload *u)
{
    struct upload_service *s = u->service;

    u->next = s->sessions;
    s->sessions = u;
    u->busy = true;
    metric_set(&live, NULL, (double)++s->busy_count);
}

static void unlink_it(struct upload *u)
{
    struct upload **at = &u->service->sessions;

    while (*at != u)
        at = &(*at)->next;
    *at = u->next;
}

static void end_busy(struct upload *u)
{
    u->busy = false;
    u->answered = u->asked; /* what it has not recorded is forgotten */
    if (u->wake_fd >= 0)
        close(u->wake_fd);
    u->wake_fd = -1;
    metric_set(&live, NULL, (double)--u->service->busy_count);
    pthread_cond_broadcast(&u->service->changed);
}

/* False once the deadline has passed. */
static bool wait_until(struct upload_service *s, uint64_t deadline_ms)
{
    struct timespec until = {.tv_sec = (time_t)(deadline_ms / 1000), .tv_nsec = (long)(deadline_ms % 1000) * 1000000};

    return pthread_cond_timedwait(&s->changed, &s->lock, &until) == 0 || clock_mono_ms() < deadline_ms;
}

/* --- Coming and going --- */

void upload_release(struct upload *u)
{
    upload_state_release(&u->state);
    buf_release(&u->record);
    mem_free(u->part);
    mem_free(u->partials);
    mem_free(u);
}

/* A descriptor exists only while a request does. */
static int open_wake(struct upload *u, struct err *e)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    if (fd < 0)
        return err_set(e, ERR_TEMPORARY, "no descriptor for an upload: %s", strerror(errno));
    u->wake_fd = fd;
    return 0;
}

int upload_table_add(struct upload *u, struct err *e)
{
    int r = open_wake(u, e);
    if (r != 0)
        return r;
    pthread_mutex_lock(&u->service->lock);
    link_busy(u);
    pthread_mutex_unlock(&u->service->lock);
    return 0;
}

/* With the lock held: the one that lingers, or none; ERR_BUSY: still at work. */
static int wait_for_writer(struct upload_service *s, const char *video_id, uint64_t deadline_ms, struct upload **ret,
                           struct err *e)
{
    struct upload *u;

    while ((u = find(s, video_id)) != NULL && u->busy) {
        upload_table_want(u, UPLOAD_WANT_STOP);
        if (!wait_until(s, deadline_ms))
            return err_set(e, ERR_BUSY, "another request is writing to this upload and did not stop in time");
    }
    *ret = u;
    return 0;
}

int upload_table_enter(struct upload *fresh, uint64_t deadline_ms, struct upload **ret, struct err *e)
{
    struct upload_service *s = fresh->service;
    struct upload *there = NULL;

    int r = open_wake(fresh, e);
    if (r != 0)
        return r;
    pthread_mutex_lock(&s->lock);
    r = wait_for_writer(s, fresh->video_id, deadline_ms, &there, e);
    if (r == 0 && there == NULL) {
        link_busy(fresh);
    } else if (r == 0) {
        there->wake_fd = fresh->wake_fd;
        atomic_store(&there->wants, 0);
        there->busy = true;
        s->lingering_count--;
        metric_set(&live, NULL, (double)++s->busy_count);
    }
    pthread_mutex_unlock(&s->lock);
    if (r != 0)
        close(fresh->wake_fd);
    if (r != 0 || there != NULL)
        fresh->wake_fd = -1;
    if (r == 0)
        *ret = there != NULL ? there : fresh;
    return r;
}

void upload_table_leased(struct upload *u, bool leased)
{
    pthread_mutex_lock(&u->service->lock);
    u->leased = leased;
    pthread_mutex_unlock(&u->service->lock);
}

bool upload_table_wanted_elsewhere(struct upload *u)
{
    return (atomic_load(&u->wants) & UPLOAD_WANT_LEAVE) != 0;
}

bool upload_table_linger(struct upload *u)
{
    struct upload_service *s = u->service;

    if (u->state.parts_known && u->state.part_count > LINGER_PARTS) {
        mem_free(u->state.parts);
        u->state.parts = NULL;
        u->state.parts_known = false;
    }
    pthread_mutex_lock(&s->lock);
    bool lingers = !upload_table_wanted_elsewhere(u) && s->lingering_count < LINGER_MAX;
    if (lingers) {
        s->lingering_count++;
        u->idle_ms = clock_mono_ms();
        end_busy(u);
    }
    pthread_mutex_unlock(&s->lock);
    return lingers;
}

void upload_table_remove(struct upload *u)
{
    pthread_mutex_lock(&u->service->lock);
    unlink_it(u);
    end_busy(u);
    pthread_mutex_unlock(&u->service->lock);
}

uint64_t upload_table_seats(const struct upload_service *s, const char *client)
{
    uint64_t n = 0;

    for (const struct upload *u = s->sessions; u != NULL; u = u->next)
        n += u->seated && u->origin == UPLOAD_FORM && strcmp(u->client, client) == 0;
    return n;
}

/* --- Wishes --- */

void upload_table_want(struct upload *u, unsigned wants)
{
    static const uint64_t one = 1;

    atomic_fetch_or(&u->wants, wants);
    if (u->wake_fd >= 0)
        (void)!write(u->wake_fd, &one, sizeof one); /* it can only be full, so readable */
}

unsigned upload_table_wants(struct upload *u)
{
    uint64_t count;

    pthread_mutex_lock(&u->service->lock);
    if (u->wake_fd >= 0)
        (void)!read(u->wake_fd, &count, sizeof count);
    /* whether it is wanted elsewhere is asked again when it ends */
    unsigned wants = atomic_fetch_and(&u->wants, UPLOAD_WANT_LEAVE);
    u->answering = u->asked;
    pthread_mutex_unlock(&u->service->lock);
    return wants;
}

static void attended_key(const char *video_id, char out[64])
{
    str_format(out, 64, "{weir}:attended:%s", video_id);
}

void upload_table_answer(struct upload *u, unsigned wants)
{
    struct redis *redis = queue_redis(u->library->queue);
    char key[64], answer[ID_NONCE_SIZE];

    pthread_mutex_lock(&u->service->lock);
    u->answered = u->answering;
    pthread_cond_broadcast(&u->service->changed);
    pthread_mutex_unlock(&u->service->lock);
    if ((wants & UPLOAD_WANT_ANSWER) == 0)
        return;
    attended_key(u->video_id, key);
    id_nonce(answer); /* lost with Redis: then the other one waits for its time */
    (void)!redis_do(redis, NULL, NULL, "SET", key, answer, "PX", ANSWER_MS, NULL);
}

bool upload_table_ask(struct upload_service *s, const char *video_id, uint64_t deadline_ms)
{
    pthread_mutex_lock(&s->lock);
    struct upload *u = find(s, video_id);
    bool busy = u != NULL && u->busy;
    uint64_t ticket = 0;
    if (busy) {
        ticket = ++u->asked;
        upload_table_want(u, UPLOAD_WANT_RECORD);
    }
    while (busy && (u = find(s, video_id)) != NULL && u->busy && u->asked >= ticket && u->answered < ticket)
        if (!wait_until(s, deadline_ms))
            break;
    pthread_mutex_unlock(&s->lock);
    return busy;
}

/* The last answer of whoever writes to it, "" for none: each is another. */
static bool read_answer(struct redis *redis, const char *video_id, char ret[ID_NONCE_SIZE])
{
    REDIS_REPLY_AUTO struct redis_reply *reply = NULL;
    char key[64];

    attended_key(video_id, key);
    if (redis_do(redis, &reply, NULL, "GET", key, NULL) != 0)
        return false;
    const char *answer = redis_reply_string(reply);
    return str_copy(ret, ID_NONCE_SIZE, answer != NULL ? answer : "");
}

/* Whether there is nothing to wait for any more. That somebody is its writer now is only the beginning of his answer. */
static bool has_moved(struct upload_service *s, const struct upload_state *known)
{
    UPLOAD_STATE_AUTO struct upload_state now = {0};
    char epoch[QUEUE_EPOCH_SIZE], holder[ID_NONCE_SIZE];
    bool held = false;

    int r = upload_cache_get(s->options.library->queue, known->video_id, epoch, &now, &held, holder, NULL);
    return r != 0 || !held || (now.seq != known->seq && now.kind != UPLOAD_WRITER);
}

void upload_table_ask_remote(struct upload_service *s, const struct upload_state *known, const char *holder,
                             uint64_t deadline_ms)
{
    struct redis *redis = queue_redis(s->options.library->queue);
    char before[ID_NONCE_SIZE], now[ID_NONCE_SIZE];

    if (!read_answer(redis, known->video_id, before) ||
        upload_desk_ask(redis, holder, known->video_id, UPLOAD_ASK_RECORD, NULL) != 0)
        return;
    do
        clock_sleep_ms(POLL_MS);
    while (clock_mono_ms() < deadline_ms && read_answer(redis, known->video_id, now) && strcmp(now, before) == 0 &&
           !has_moved(s, known));
}

/* --- Those that linger --- */

static void end_lingering(struct upload *gone)
{
    for (struct upload *u = gone, *next; u != NULL; u = next) {
        next = u->next;
        if (u->leased)
            (void)!upload_writer_rest(u->library->queue, u->video_id, u->nonce, true, NULL); /* else it runs out */
        upload_release(u);
    }
}

/* Takes them out of the table: those idle since then, or that one. With the lock held; a list by `next`. */
static struct upload *take_lingering(struct upload_service *s, uint64_t idle_since_ms, const char *video_id)
{
    struct upload *gone = NULL;

    for (struct upload **at = &s->sessions; *at != NULL;) {
        struct upload *u = *at;
        if (u->busy || (video_id != NULL ? strcmp(u->video_id, video_id) != 0 : u->idle_ms > idle_since_ms)) {
            at = &u->next;
            continue;
        }
        *at = u->next;
        u->next = gone;
        gone = u;
        s->lingering_count--;
    }
    return gone;
}

void upload_table_forget(struct upload_service *s, const char *video_id)
{
    pthread_mutex_lock(&s->lock);
    struct upload *gone = take_lingering(s, 0, video_id);
    pthread_mutex_unlock(&s->lock);
    end_lingering(gone);
}

void upload_table_clear(struct upload_service *s)
{
    pthread_mutex_lock(&s->lock);
    struct upload *gone = take_lingering(s, UINT64_MAX, NULL);
    pthread_mutex_unlock(&s->lock);
    end_lingering(gone);
}

/* Another process. A lease is given back by one short command, which the desk's thread may well wait for. */
void upload_table_called(void *ctx, const char *video_id, enum upload_ask ask)
{
    struct upload_service *s = ctx;

    pthread_mutex_lock(&s->lock);
    struct upload *u = find(s, video_id);
    bool lingers = u != NULL && !u->busy;
    if (u != NULL && u->busy)
        upload_table_want(u, ask == UPLOAD_ASK_RECORD ? UPLOAD_WANT_RECORD | UPLOAD_WANT_ANSWER
                                                      : UPLOAD_WANT_STOP | UPLOAD_WANT_LEAVE);
    pthread_mutex_unlock(&s->lock);
    if (lingers && ask == UPLOAD_ASK_STOP)
        upload_table_forget(s, video_id);
}

/* --- Renewal --- */

struct renewal {
    char video_id[ID_VIDEO_SIZE], nonce[ID_NONCE_SIZE];
    bool leased, busy;
};

/* A copy, so that nobody waits for Redis with the lock held. NULL: there is none, or no memory for now. */
static struct renewal *list_renewals(struct upload_service *s, size_t *ret_count)
{
    struct renewal *list = NULL;
    size_t n = 0;

    pthread_mutex_lock(&s->lock);
    if (s->sessions != NULL)
        list = mem_calloc(s->busy_count + s->lingering_count, sizeof *list);
    for (const struct upload *u = s->sessions; list != NULL && u != NULL; u = u->next) {
        if (!u->leased && !u->seated)
            continue;
        memcpy(list[n].video_id, u->video_id, sizeof list[n].video_id);
        memcpy(list[n].nonce, u->nonce, sizeof list[n].nonce);
        list[n].leased = u->leased;
        list[n++].busy = u->busy;
    }
    pthread_mutex_unlock(&s->lock);
    *ret_count = n;
    return list;
}

/* It was not renewed for too long, and somebody else writes now. */
static void lease_lost(struct upload_service *s, const struct renewal *lost)
{
    struct upload *gone = NULL;

    pthread_mutex_lock(&s->lock);
    struct upload *u = find(s, lost->video_id);
    if (u != NULL && strcmp(u->nonce, lost->nonce) == 0 && u->leased) {
        if (u->busy)
            upload_table_want(u, UPLOAD_WANT_STOP | UPLOAD_WANT_LEAVE);
        else
            gone = take_lingering(s, 0, lost->video_id);
    }
    pthread_mutex_unlock(&s->lock);
    end_lingering(gone);
}

static void renew_all(struct upload_service *s)
{
    struct queue *q = s->options.library->queue;
    size_t count;
    MEM_AUTO struct renewal *list = list_renewals(s, &count);

    /* While Redis is away the uploads go on; what was admitted stays so when it is back. */
    for (size_t i = 0; list != NULL && i < count; i++) {
        int r = list[i].leased ? upload_writer_renew(q, list[i].video_id, list[i].nonce, list[i].busy, NULL)
                               : queue_admit_renew(q, list[i].video_id, UPLOAD_RESERVATION_MS, NULL);
        if (r == -ERR_TEMPORARY)
            return;
        if (r == -ERR_STALE && list[i].leased)
            lease_lost(s, &list[i]);
    }
}

void upload_table_tick(struct upload_service *s, bool renew)
{
    uint64_t now_ms = clock_mono_ms();

    pthread_mutex_lock(&s->lock);
    struct upload *gone = take_lingering(s, now_ms > LINGER_MS ? now_ms - LINGER_MS : 0, NULL);
    pthread_mutex_unlock(&s->lock);
    end_lingering(gone);
    if (renew)
        renew_all(s);
}
