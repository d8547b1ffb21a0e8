#include "upload_writer.h"

#include "base/str.h"
#include "domain/queue_call.h"

#include <string.h>

/* Made from queue/upload_*.lua at build. */
extern const struct redis_script queue_script_upload_take, queue_script_upload_renew, queue_script_upload_rest,
    queue_script_upload_get, queue_script_upload_put, queue_script_upload_open, queue_script_upload_end,
    queue_script_upload_expired;

static int check_id(const char *video_id, struct err *e)
{
    return id_video_valid(video_id) ? 0 : err_set(e, ERR_INVALID, "\"%.40s\" is no video id", video_id);
}

static bool text_is(const struct redis_reply *reply, const char *text)
{
    const char *s = redis_reply_string(reply);

    return s != NULL && strcmp(s, text) == 0;
}

static bool copy_text(const struct redis_reply *reply, char *ret, size_t size)
{
    const char *s = redis_reply_string(reply);

    return str_copy(ret, size, s != NULL ? s : "");
}

/* What can't be read counts as not cached. */
static int read_state(const struct redis_reply *reply, const char *video_id, struct upload_state *ret, struct err *e)
{
    UPLOAD_STATE_AUTO struct upload_state s = {0};
    int r = 0;

    if (redis_reply_length(reply) > 0)
        r = upload_state_parse(redis_reply_string(reply), redis_reply_length(reply), &s, e);
    if (r != 0 && r != -ERR_INVALID)
        return r;
    if (strcmp(s.video_id, video_id) != 0)
        upload_state_release(&s);
    *ret = s;
    s = (struct upload_state){0};
    return 0;
}

/* --- The writer --- */

int upload_writer_take(struct queue *q, const struct upload_take *take, enum upload_take_verdict *ret_verdict,
                       char ret_holder[ID_NONCE_SIZE], uint64_t *ret_fence, char ret_epoch[QUEUE_EPOCH_SIZE],
                       struct upload_state *ret_state, struct err *e)
{
    REDIS_REPLY_AUTO struct redis_reply *reply = NULL;

    int r = check_id(take->video_id, e);
    if (r == 0)
        r = QUEUE_CALL(q, upload_take, take->video_id, &reply, e, take->video_id, take->process, take->nonce,
                       num_u64(take->bound).s, num_u64(UPLOAD_LEASE_MS).s);
    if (r != 0)
        return r;
    const struct redis_reply *verdict = redis_reply_at(reply, 1);
    if (text_is(verdict, "FULL")) {
        *ret_verdict = UPLOAD_FULL;
        return 0;
    }
    if (text_is(verdict, "HELD") && copy_text(redis_reply_at(reply, 2), ret_holder, ID_NONCE_SIZE)) {
        *ret_verdict = UPLOAD_HELD;
        return 0;
    }
    if (!text_is(verdict, "TAKEN") || !copy_text(redis_reply_at(reply, 3), ret_epoch, QUEUE_EPOCH_SIZE))
        return err_set(e, ERR_BUG, "upload_take %s: unexpected answer", take->video_id);
    r = read_state(redis_reply_at(reply, 4), take->video_id, ret_state, e);
    if (r != 0)
        return r;
    *ret_fence = queue_number(redis_reply_at(reply, 2));
    *ret_verdict = UPLOAD_TAKEN;
    return 0;
}

int upload_writer_renew(struct queue *q, const char *video_id, const char *nonce, bool receiving, struct err *e)
{
    int r = check_id(video_id, e);

    return r != 0 ? r
                  : QUEUE_CALL(q, upload_renew, video_id, NULL, e, video_id, nonce, num_u64(UPLOAD_LEASE_MS).s,
                               receiving ? "receiving" : "");
}

int upload_writer_rest(struct queue *q, const char *video_id, const char *nonce, bool leave, struct err *e)
{
    int r = check_id(video_id, e);

    return r != 0 ? r
                  : QUEUE_CALL(q, upload_rest, video_id, NULL, e, video_id, nonce, num_u64(UPLOAD_LEASE_MS).s,
                               leave ? "leave" : "");
}

/* --- The cache --- */

int upload_cache_get(struct queue *q, const char *video_id, char ret_epoch[QUEUE_EPOCH_SIZE],
                     struct upload_state *ret_state, bool *ret_held, char ret_holder[ID_NONCE_SIZE], struct err *e)
{
    REDIS_REPLY_AUTO struct redis_reply *reply = NULL;
    char epoch[QUEUE_EPOCH_SIZE], holder[ID_NONCE_SIZE];

    int r = check_id(video_id, e);
    if (r == 0)
        r = QUEUE_CALL(q, upload_get, video_id, &reply, e, video_id, num_u64(UPLOAD_LEASE_MS).s);
    if (r != 0)
        return r;
    if (!copy_text(redis_reply_at(reply, 1), epoch, sizeof epoch) ||
        !copy_text(redis_reply_at(reply, 3), holder, sizeof holder))
        return err_set(e, ERR_BUG, "upload_get %s: unexpected answer", video_id);
    r = read_state(redis_reply_at(reply, 2), video_id, ret_state, e);
    if (r != 0)
        return r;
    memcpy(ret_epoch, epoch, sizeof epoch);
    if (ret_held != NULL)
        *ret_held = holder[0] != '\0';
    if (ret_holder != NULL)
        memcpy(ret_holder, holder, sizeof holder);
    return 0;
}

/* One that still waits for bytes. A form's seat counts in its process. */
static bool is_open(const struct upload_state *s)
{
    return s->kind < UPLOAD_COMPLETING && s->facts.origin != UPLOAD_FORM;
}

int upload_cache_put(struct queue *q, const struct upload_state *s, const char *epoch, struct err *e)
{
    BUF_AUTO struct buf text;

    buf_init(&text, UPLOAD_STATE_MAX);
    int r = check_id(s->video_id, e);
    if (r == 0)
        r = upload_state_write(s, &text, e);
    if (r == -ERR_TOO_LARGE) /* what is there is no longer true */
        return upload_cache_drop(q, s->video_id, e);
    return r != 0
               ? r
               : QUEUE_CALL(q, upload_put, s->video_id, NULL, e, s->video_id, epoch, num_u64(s->seq).s, buf_cstr(&text),
                            num_u64(s->facts.expires_ms).s, s->facts.client, is_open(s) ? "open" : "");
}

int upload_cache_drop(struct queue *q, const char *video_id, struct err *e)
{
    char key[sizeof QUEUE_PREFIX "upload:" + ID_VIDEO_SIZE];

    int r = check_id(video_id, e);
    if (r != 0)
        return r;
    str_format(key, sizeof key, QUEUE_PREFIX "upload:%s", video_id);
    return redis_do(queue_redis(q), NULL, e, "HDEL", key, "state", "seq", "epoch", NULL);
}

/* --- Open uploads --- */

int upload_open_add(struct queue *q, const char *video_id, const char *client, uint64_t expires_ms,
                    const struct upload_limits *limits, enum upload_open_verdict *ret, struct err *e)
{
    static const struct {
        const char *verdict;
        enum upload_open_verdict value;
    } verdicts[] = {{"OPENED", UPLOAD_OPENED}, {"CLIENT", UPLOAD_CLIENT_LIMIT}, {"TOTAL", UPLOAD_TOTAL_LIMIT}};
    REDIS_REPLY_AUTO struct redis_reply *reply = NULL;

    int r = check_id(video_id, e);
    if (r == 0)
        r = QUEUE_CALL(q, upload_open, video_id, &reply, e, video_id, client, num_u64(expires_ms).s,
                       num_u64(limits->per_client).s, num_u64(limits->in_all).s);
    if (r != 0)
        return r;
    for (size_t i = 0; i < sizeof verdicts / sizeof *verdicts; i++)
        if (text_is(redis_reply_at(reply, 1), verdicts[i].verdict)) {
            *ret = verdicts[i].value;
            return 0;
        }
    return err_set(e, ERR_BUG, "upload_open %s: unexpected answer", video_id);
}

int upload_open_end(struct queue *q, const char *video_id, const char *client, struct err *e)
{
    int r = check_id(video_id, e);

    return r != 0 ? r : QUEUE_CALL(q, upload_end, video_id, NULL, e, video_id, client);
}

int upload_open_expired(struct queue *q, unsigned limit, upload_each_id *each, void *ctx, struct err *e)
{
    REDIS_REPLY_AUTO struct redis_reply *reply = NULL;

    int r = QUEUE_CALL(q, upload_expired, "open uploads", &reply, e, num_u64(limit).s);
    const struct redis_reply *ids = redis_reply_at(reply, 1);
    for (size_t i = 0; r == 0 && i < redis_reply_length(ids); i++) {
        const char *id = redis_reply_string(redis_reply_at(ids, i));
        if (id != NULL && id_video_valid(id))
            r = each(ctx, id, e);
    }
    return r;
}
