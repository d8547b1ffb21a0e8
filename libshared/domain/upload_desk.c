#include "upload_desk.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "domain/queue_call.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#define BLOCK_S "2" /* of one BRPOP: as long as ending may take when Redis hangs, beside its time-outs */
#define BLOCK_MS 2000
#define BACK_OFF_MS 200
#define BACK_OFF_MAX_MS 5000
#define NOTES_MAX "1000"     /* at one desk */
#define NOTES_TTL_MS "15000" /* nobody waits that long for what was asked */
#define WAKE "wake"          /* a note to oneself: the desk closes */
#define NOTE_SIZE 64
#define KEY_SIZE (sizeof QUEUE_PREFIX "desk:" + ID_NONCE_SIZE)

extern const struct redis_script queue_script_upload_ask; /* made from queue/upload_ask.lua at build */

struct upload_desk {
    struct redis *redis;
    upload_desk_call *call;
    void *ctx;
    char process[ID_NONCE_SIZE];
    pthread_t thread;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t closes;
    bool closing;
};

/* A note is "<what> <video id>". */
static const char *const ask_names[] = {[UPLOAD_ASK_RECORD] = "record", [UPLOAD_ASK_STOP] = "stop"};

static void read_note(const struct upload_desk *d, const char *note)
{
    const char *space = strchr(note, ' ');

    if (space == NULL || !id_video_valid(space + 1))
        return;
    for (size_t i = 0; i < ARRAY_SIZE(ask_names); i++)
        if (strlen(ask_names[i]) == (size_t)(space - note) && str_starts(note, ask_names[i]))
            d->call(d->ctx, space + 1, (enum upload_ask)i);
}

/* --- The thread --- */

/* Waits for a note. */
static int wait_for_note(struct upload_desk *d, struct err *e)
{
    REDIS_REPLY_AUTO struct redis_reply *reply = NULL;
    char key[KEY_SIZE];

    str_format(key, sizeof key, QUEUE_PREFIX "desk:%s", d->process);
    int r = redis_command_blocking(d->redis, BLOCK_MS, 3, (const char *const[]){"BRPOP", key, BLOCK_S}, &reply, e);
    const char *note = redis_reply_string(redis_reply_at(reply, 1));
    if (r == 0 && note != NULL)
        read_note(d, note);
    return r;
}

static bool is_closing(struct upload_desk *d)
{
    pthread_mutex_lock(&d->lock);
    bool closing = d->closing;
    pthread_mutex_unlock(&d->lock);
    return closing;
}

/* Sleeps, but not while the desk closes. */
static void back_off(struct upload_desk *d, unsigned attempt)
{
    uint64_t ms = 1 + backoff_ms(BACK_OFF_MS, BACK_OFF_MAX_MS, attempt, id_random_u64());
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(ms / 1000);
    until.tv_nsec += (long)(ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&d->lock);
    while (!d->closing && pthread_cond_timedwait(&d->closes, &d->lock, &until) != ETIMEDOUT)
        ;
    pthread_mutex_unlock(&d->lock);
}

static void *desk_main(void *arg)
{
    struct upload_desk *d = arg;
    unsigned failures = 0;

    while (!is_closing(d)) {
        struct err e = {0};
        if (wait_for_note(d, &e) != 0) {
            if (failures == 0 && !is_closing(d))
                log_warn(NULL, "other processes can't ask for uploads here", "error", e.text);
            back_off(d, failures++);
        } else if (failures > 0) {
            log_info(NULL, "other processes can ask for uploads here again");
            failures = 0;
        }
    }
    return NULL;
}

/* --- Outside --- */

static int leave_note(struct redis *redis, const char *process, const char *note, struct err *e)
{
    return redis_script(redis, &queue_script_upload_ask, 1, (const char *const[]){QUEUE_PREFIX}, 4,
                        (const char *const[]){process, note, NOTES_MAX, NOTES_TTL_MS}, NULL, e);
}

static int start(struct upload_desk *d, struct err *e)
{
    pthread_condattr_t monotonic;

    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&d->lock, NULL);
    pthread_cond_init(&d->closes, &monotonic);
    pthread_condattr_destroy(&monotonic);
    int failure = pthread_create(&d->thread, NULL, desk_main, d);
    if (failure == 0)
        return 0;
    pthread_cond_destroy(&d->closes);
    pthread_mutex_destroy(&d->lock);
    return err_set(e, ERR_TEMPORARY, "upload desk: thread: %s", strerror(failure));
}

int upload_desk_new(struct redis *redis, upload_desk_call *call, void *ctx, struct upload_desk **ret, struct err *e)
{
    struct upload_desk *d = mem_zalloc(sizeof *d);

    if (d == NULL)
        return err_set(e, ERR_TEMPORARY, "upload desk: no memory");
    d->redis = redis;
    d->call = call;
    d->ctx = ctx;
    id_nonce(d->process);
    int r = start(d, e);
    if (r == 0)
        *ret = d;
    else
        mem_free(d);
    return r;
}

void upload_desk_free(struct upload_desk *d)
{
    if (d == NULL)
        return;
    pthread_mutex_lock(&d->lock);
    d->closing = true;
    pthread_cond_signal(&d->closes);
    pthread_mutex_unlock(&d->lock);
    (void)!leave_note(d->redis, d->process, WAKE, NULL); /* else it wakes by itself */
    pthread_join(d->thread, NULL);
    pthread_cond_destroy(&d->closes);
    pthread_mutex_destroy(&d->lock);
    mem_free(d);
}

const char *upload_desk_process(const struct upload_desk *d)
{
    return d->process;
}

int upload_desk_ask(struct redis *redis, const char *process, const char *video_id, enum upload_ask ask, struct err *e)
{
    char note[NOTE_SIZE];

    if (!id_video_valid(video_id))
        return err_set(e, ERR_INVALID, "\"%.40s\" is no video id", video_id);
    str_format(note, sizeof note, "%s %s", ask_names[ask], video_id);
    return leave_note(redis, process, note, e);
}
