#include "queue_call.h"

#include "base/mem.h"
#include "base/str.h"

#include <inttypes.h>
#include <string.h>

#define MAX_PAGE 1000

/* --- Videos --- */

int queue_video_put(struct queue *q, const char *video_id, uint64_t created_ms, const char *record_json, struct err *e)
{
    if (!id_video_valid(video_id))
        return err_set(e, ERR_INVALID, "\"%.40s\" is no video id", video_id);
    return QUEUE_CALL(q, video_put, video_id, NULL, e, video_id, num_u64(created_ms).s, record_json);
}

int queue_video_forget(struct queue *q, const char *video_id, struct err *e)
{
    return QUEUE_CALL(q, video_forget, video_id, NULL, e, video_id);
}

void queue_video_release(struct queue_video *v)
{
    mem_free(v->record);
    mem_free(v->progress);
    mem_free(v->outcome);
    mem_free(v->error);
    v->record = v->progress = v->outcome = v->error = NULL;
}

/* In the order of video_view in queue/lib/weir.lua. */
static int video_parse(const struct redis_reply *view, struct queue_video *ret, struct err *e)
{
    bool failed = false;
    const char *state = redis_reply_string(redis_reply_at(view, 0));
    const char *id = redis_reply_string(redis_reply_at(view, 12));
    struct queue_video v = {
        .generation = queue_number(redis_reply_at(view, 1)),
        .created_ms = queue_number(redis_reply_at(view, 2)),
        .updated_ms = queue_number(redis_reply_at(view, 3)),
        .size_bytes = queue_number(redis_reply_at(view, 4)),
        .attempts = queue_number(redis_reply_at(view, 5)),
        .stalls = queue_number(redis_reply_at(view, 6)),
        .releases = queue_number(redis_reply_at(view, 7)),
    };

    if (id == NULL || !str_copy(v.id, sizeof v.id, id) || state == NULL || !video_state_parse(state, &v.state))
        return err_set(e, ERR_BUG, "video %s: malformed hash in Redis", id != NULL ? id : "-");
    v.record = queue_text(redis_reply_at(view, 8), &failed);
    v.outcome = queue_text(redis_reply_at(view, 9), &failed);
    v.error = queue_text(redis_reply_at(view, 10), &failed);
    v.progress = queue_text(redis_reply_at(view, 11), &failed);
    if (failed) {
        queue_video_release(&v);
        return err_set(e, ERR_TEMPORARY, "video %s: no memory", id);
    }
    *ret = v;
    return 0;
}

int queue_video_get(struct queue *q, const char *video_id, struct queue_video *ret, struct err *e)
{
    REDIS_REPLY_AUTO struct redis_reply *reply = NULL;
    int result = QUEUE_CALL(q, video_get, video_id, &reply, e, video_id);

    return result != 0 ? result : video_parse(redis_reply_at(reply, 1), ret, e);
}

/* "<created_ms>-<id>" */
static bool cursor_parse(const char *cursor, struct num_text *ret_score, const char **ret_id)
{
    const char *dash = strchr(cursor, '-');
    uint64_t score;

    if (dash == NULL || !str_to_u64_n(cursor, (size_t)(dash - cursor), &score) || !id_video_valid(dash + 1))
        return false;
    *ret_score = num_u64(score);
    *ret_id = dash + 1;
    return true;
}

static int hand_out(const struct redis_reply *rows, queue_each_video *each, void *ctx, char next[QUEUE_CURSOR_SIZE],
                    struct err *e)
{
    for (size_t i = 0; i < redis_reply_length(rows); i++) {
        struct queue_video v;
        int result = video_parse(redis_reply_at(rows, i), &v, e);
        if (result == 0)
            result = each(ctx, &v, e);
        else
            return result;
        str_format(next, QUEUE_CURSOR_SIZE, "%" PRIu64 "-%s", v.created_ms, v.id);
        queue_video_release(&v);
        if (result != 0)
            return result;
    }
    return 0;
}

int queue_video_list(struct queue *q, const enum video_state *state, const char *cursor, unsigned limit,
                     queue_each_video *each, void *ctx, char ret_next[QUEUE_CURSOR_SIZE], bool *ret_rebuilding,
                     struct err *e)
{
    REDIS_REPLY_AUTO struct redis_reply *reply = NULL;
    struct num_text score = {""};
    const char *id = "";
    char next[QUEUE_CURSOR_SIZE] = "";

    if (cursor != NULL && !cursor_parse(cursor, &score, &id))
        return err_set(e, ERR_INVALID, "\"%.60s\" is no cursor of this list; begin again without one", cursor);
    if (limit < 1 || limit > MAX_PAGE)
        return err_set(e, ERR_INVALID, "a page has 1 to %d videos", MAX_PAGE);
    int result = QUEUE_CALL(q, video_list, "videos", &reply, e, state != NULL ? video_state_name(*state) : "", score.s,
                            id, num_u64(limit).s);
    if (result == 0)
        result = hand_out(redis_reply_at(reply, 3), each, ctx, next, e);
    if (result != 0)
        return result;
    bool more = queue_number(redis_reply_at(reply, 2)) != 0;
    str_copy(ret_next, QUEUE_CURSOR_SIZE, more ? next : "");
    if (ret_rebuilding != NULL)
        *ret_rebuilding = queue_number(redis_reply_at(reply, 1)) != 0;
    return 0;
}

/* --- Deletion --- */

int queue_delete_begin(struct queue *q, const char *video_id, uint64_t tombstone_ms, struct err *e)
{
    return QUEUE_CALL(q, delete_begin, video_id, NULL, e, video_id, num_u64(tombstone_ms).s);
}

int queue_delete_end(struct queue *q, const char *video_id, uint64_t tombstone_ms, struct err *e)
{
    return QUEUE_CALL(q, delete_end, video_id, NULL, e, video_id, num_u64(tombstone_ms).s);
}

int queue_deleted(struct queue *q, const char *video_id, bool *ret, struct err *e)
{
    REDIS_REPLY_AUTO struct redis_reply *reply = NULL;
    char key[sizeof QUEUE_PREFIX "deleted:" + ID_VIDEO_SIZE];

    if (!id_video_valid(video_id) || !str_format(key, sizeof key, QUEUE_PREFIX "deleted:%s", video_id))
        return err_set(e, ERR_INVALID, "\"%.40s\" is no video id", video_id);
    int result = redis_do(q->redis, &reply, e, "EXISTS", key, NULL);
    if (result == 0)
        *ret = redis_reply_integer(reply) != 0;
    return result;
}

/* --- Finishing marks --- */

int queue_finishing_add(struct queue *q, const char *video_id, struct err *e)
{
    return QUEUE_CALL(q, finishing_add, video_id, NULL, e, video_id);
}

int queue_finishing_remove(struct queue *q, const char *video_id, struct err *e)
{
    return redis_do(q->redis, NULL, e, "ZREM", QUEUE_PREFIX "finishing", video_id, NULL);
}

int queue_finishing_list(struct queue *q, uint64_t min_age_ms,
                         int (*each)(void *ctx, const char *video_id, struct err *e), void *ctx, struct err *e)
{
    REDIS_REPLY_AUTO struct redis_reply *reply = NULL;
    int result = QUEUE_CALL(q, finishing_list, "uploads", &reply, e, num_u64(min_age_ms).s);
    const struct redis_reply *ids = redis_reply_at(reply, 1);

    for (size_t i = 0; result == 0 && i < redis_reply_length(ids); i++)
        result = each(ctx, redis_reply_string(redis_reply_at(ids, i)), e);
    return result;
}

/* --- Epoch and rebuild --- */

int queue_epoch(struct queue *q, char ret[QUEUE_EPOCH_SIZE], struct err *e)
{
    REDIS_REPLY_AUTO struct redis_reply *reply = NULL;
    int result = redis_do(q->redis, &reply, e, "GET", QUEUE_PREFIX "epoch", NULL);

    if (result != 0)
        return result;
    const char *epoch = redis_reply_string(reply);
    str_copy(ret, QUEUE_EPOCH_SIZE, epoch != NULL ? epoch : "");
    return 0;
}

int queue_epoch_begin(struct queue *q, const char *holder, struct err *e)
{
    unsigned char random[(QUEUE_EPOCH_SIZE - 1) / 2];
    char epoch[QUEUE_EPOCH_SIZE];

    id_random(random, sizeof random);
    hex_encode(random, sizeof random, epoch);
    return QUEUE_CALL(q, epoch_begin, holder, NULL, e, holder, epoch);
}

int queue_restore(struct queue *q, const struct queue_restored *v, struct err *e)
{
    bool uploading = v->state == VIDEO_UPLOADING;
    struct num_text generation = num_u64(v->generation), created = num_u64(v->created_ms);

    if (!id_video_valid(v->video_id))
        return err_set(e, ERR_INVALID, "\"%.40s\" is no video id", v->video_id);
    if ((v->generation == 0) != uploading ||
        (!uploading && v->state != VIDEO_WAITING && !video_state_terminal(v->state)))
        return err_set(e, ERR_BUG, "restore %s: generation %" PRIu64 " can't be %s", v->video_id, v->generation,
                       video_state_name(v->state));
    return QUEUE_CALL(q, restore, v->video_id, NULL, e, v->video_id, generation.s, video_state_name(v->state),
                      created.s, num_u64(v->size_bytes).s, v->record_json, v->outcome_json ? v->outcome_json : "",
                      v->error ? v->error : "");
}

int queue_reconciler_lease(struct queue *q, const char *holder, uint64_t ttl_ms, struct err *e)
{
    return QUEUE_CALL(q, reconciler_lease, holder, NULL, e, holder, num_u64(ttl_ms).s, "");
}

int queue_reconciler_renew(struct queue *q, const char *holder, uint64_t ttl_ms, struct err *e)
{
    return QUEUE_CALL(q, reconciler_lease, holder, NULL, e, holder, num_u64(ttl_ms).s, "renew");
}

int queue_reconciler_release(struct queue *q, const char *holder, struct err *e)
{
    return QUEUE_CALL(q, reconciler_release, holder, NULL, e, holder);
}

/* --- Numbers --- */

int queue_counts(struct queue *q, struct queue_counts *ret, struct err *e)
{
    REDIS_REPLY_AUTO struct redis_reply *reply = NULL;
    const char *states[VIDEO_STATES];

    for (size_t i = 0; i < VIDEO_STATES; i++)
        states[i] = video_state_name((enum video_state)i);
    int result = queue_call(q, &queue_script_counts, "jobs", VIDEO_STATES, states, &reply, e);
    if (result != 0)
        return result;

    *ret = (struct queue_counts){
        .waiting = queue_number(redis_reply_at(reply, 1)),
        .active = queue_number(redis_reply_at(reply, 2)),
        .delayed = queue_number(redis_reply_at(reply, 3)),
        .open = queue_number(redis_reply_at(reply, 4)),
        .admitted = queue_number(redis_reply_at(reply, 5)),
        .oldest_waiting_ms = queue_number(redis_reply_at(reply, 6)),
    };
    for (size_t i = 0; i < VIDEO_STATES; i++)
        ret->by_state[i] = queue_number(redis_reply_at(redis_reply_at(reply, 7), i));
    return 0;
}
