#include "outcome.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "proto/json.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define MAX_GENERATIONS 10000 /* of one video that are looked at */

static const struct {
    const char *name;
    enum video_state state;
} kinds[] = {
    {"published", VIDEO_COMPLETED},
    {"failed", VIDEO_FAILED},
    {"cancelled", VIDEO_CANCELLED},
};

static const char *kind_name(enum video_state state)
{
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        if (kinds[i].state == state)
            return kinds[i].name;
    return NULL;
}

static bool kind_parse(const char *name, enum video_state *ret)
{
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        if (name != NULL && strcmp(kinds[i].name, name) == 0) {
            *ret = kinds[i].state;
            return true;
        }
    return false;
}

void outcome_release(struct outcome *o)
{
    if (o == NULL)
        return;
    mem_free(o->text);
    *o = (struct outcome){0};
}

/* --- Writing --- */

static bool fill_head(json_t *o, enum video_state state, const char *video_id, uint64_t generation)
{
    return json_put_text(o, "outcome", kind_name(state)) && json_put_text(o, "video", video_id) &&
           json_put_u64(o, "generation", generation) && json_put_time(o, "created_at", clock_wall_ms());
}

static int no_memory(const char *video_id, struct err *e)
{
    return err_set(e, ERR_TEMPORARY, "video %s: no memory for its outcome", video_id);
}

/* The child is not trusted: only members that are known go into the outcome, so it can't name another version. */
static bool fill_result(json_t *o, const json_t *result)
{
    static const char *const members[] = {"duration", "width",  "height",   "renditions",
                                          "audio",    "poster", "segments", "bytes"};

    for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
        json_t *value = json_object_get(result, members[i]);
        if (value != NULL && json_object_set(o, members[i], value) != 0)
            return false;
    }
    return true;
}

int outcome_write_published(const char *video_id, uint64_t generation, const char *version, const char *result,
                            size_t result_len, struct buf *out, struct err *e)
{
    JSON_AUTO json_t *o = json_object(), *measured = NULL;

    int r = json_parse(result, result_len, OUTCOME_MAX, "result.json", &measured, e);
    if (r != 0)
        return r;
    if (!json_is_number(json_object_get(measured, "duration")) ||
        json_array_size(json_object_get(measured, "renditions")) == 0)
        return err_set(e, ERR_INVALID, "result.json: no duration or no renditions");
    if (!fill_head(o, VIDEO_COMPLETED, video_id, generation) || !json_put_text(o, "version", version) ||
        !fill_result(o, measured))
        return no_memory(video_id, e);
    return json_write(o, out, e);
}

int outcome_write_failed(const char *video_id, uint64_t generation, const char *error, struct buf *out, struct err *e)
{
    JSON_AUTO json_t *o = json_object();
    char sentence[OUTCOME_ERROR_SIZE];

    str_copy(sentence, sizeof sentence, error);
    utf8_repair(sentence);
    if (!fill_head(o, VIDEO_FAILED, video_id, generation) || !json_put_text(o, "error", sentence))
        return no_memory(video_id, e);
    return json_write(o, out, e);
}

int outcome_write_cancelled(const char *video_id, uint64_t generation, struct buf *out, struct err *e)
{
    JSON_AUTO json_t *o = json_object();

    if (!fill_head(o, VIDEO_CANCELLED, video_id, generation))
        return no_memory(video_id, e);
    return json_write(o, out, e);
}

/* --- Reading --- */

static bool version_fits(const struct outcome *o)
{
    uint64_t generation;

    return layout_version_generation(o->version, &generation) && generation == o->generation;
}

static bool take_apart(const json_t *json, struct outcome *o)
{
    const char *created = json_get_string(json, "created_at"), *video_id = json_get_string(json, "video");

    if (!kind_parse(json_get_string(json, "outcome"), &o->state) || video_id == NULL || !id_video_valid(video_id) ||
        !json_get_u64(json, "generation", &o->generation) || o->generation == 0 || created == NULL ||
        !clock_parse_rfc3339(created, &o->created_ms))
        return false;
    switch (o->state) {
    case VIDEO_COMPLETED:
        return json_get_text(json, "version", o->version, sizeof o->version) && version_fits(o);
    case VIDEO_FAILED:
        return json_get_text(json, "error", o->error, sizeof o->error);
    default:
        return true;
    }
}

int outcome_parse(const char *text, size_t len, struct outcome *ret, struct err *e)
{
    JSON_AUTO json_t *json = NULL;
    struct outcome o = {0};

    int r = json_parse(text, len, OUTCOME_MAX, "outcome", &json, e);
    if (r != 0)
        return r;
    if (!take_apart(json, &o))
        return err_set(e, ERR_INVALID, "outcome: a member is missing or wrong");
    o.text = mem_strndup(text, len);
    if (o.text == NULL)
        return err_set(e, ERR_TEMPORARY, "outcome: no memory");
    *ret = o;
    return 0;
}

int outcome_read(struct store *s, const char *processed_bucket, const char *video_id, uint64_t generation,
                 struct outcome *ret, struct err *e)
{
    MEM_AUTO char *text = NULL;
    size_t len;

    int r = store_get_bytes(s, processed_bucket, layout_outcome(video_id, generation).s, OUTCOME_MAX, &text, &len, e);
    if (r != 0)
        return r;
    r = outcome_parse(text, len, ret, e);
    if (r == -ERR_INVALID)
        e->kind = ERR_BUG; /* Weir wrote it */
    return r == 0 ? 0 : err_wrap(e, "generation %" PRIu64, generation);
}

/* --- Creating: the first wins, everybody adopts --- */

int outcome_create(struct store *s, const char *processed_bucket, const char *video_id, uint64_t generation,
                   const char *text, size_t len, struct outcome *ret, bool *ret_ours, struct err *e)
{
    static const struct store_put_options first_wins = {.if_none_match = true, .content_type = "application/json"};
    struct layout_key key = layout_outcome(video_id, generation);

    int r = store_put_bytes(s, processed_bucket, key.s, text, len, &first_wins, e);
    if (r != 0 && r != -ERR_CONFLICT)
        return r;
    if (r == 0) {
        r = outcome_parse(text, len, ret, e);
        if (r == 0)
            *ret_ours = true;
        return r;
    }
    OUTCOME_AUTO struct outcome winner = {0};
    r = outcome_read(s, processed_bucket, video_id, generation, &winner, e);
    if (r != 0)
        return err_wrap(e, "read the outcome that was first");
    *ret_ours = strlen(winner.text) == len && memcmp(winner.text, text, len) == 0;
    *ret = winner;
    winner.text = NULL;
    return 0;
}

/* --- The newest published --- */

struct generations {
    uint64_t *number; /* owned */
    size_t count;
};

static int add_generation(void *ctx, const struct store_entry *entry, struct err *e)
{
    struct generations *g = ctx;
    char video_id[ID_VIDEO_SIZE];
    uint64_t number;

    if (!layout_parse_numbered(LAYOUT_OUTCOMES, entry->key, video_id, &number))
        return 0;
    uint64_t *grown = g->count < MAX_GENERATIONS ? mem_resize(g->number, g->count + 1, sizeof *grown) : NULL;
    if (grown == NULL)
        return err_set(e, ERR_TEMPORARY, "no memory for the list of outcomes");
    g->number = grown;
    g->number[g->count++] = number;
    return 0;
}

static int descending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? 1 : x > y ? -1 : 0;
}

static int read_newest_published(struct store *s, const char *processed_bucket, const char *video_id,
                                 const struct generations *g, struct outcome *ret, struct err *e)
{
    for (size_t i = 0; i < g->count; i++) {
        OUTCOME_AUTO struct outcome o = {0};
        int r = outcome_read(s, processed_bucket, video_id, g->number[i], &o, e);
        if (r != 0 && r != -ERR_NOT_FOUND) /* it went since the LIST: look at the older ones */
            return r;
        if (r == 0 && o.state == VIDEO_COMPLETED) {
            *ret = o;
            o.text = NULL;
            return 0;
        }
    }
    return err_set(e, ERR_NOT_FOUND, "video %s: nothing is published", video_id);
}

int outcome_published(struct store *s, const char *processed_bucket, const char *video_id, struct outcome *ret,
                      struct err *e)
{
    struct generations g = {0};

    int r = store_list(s, processed_bucket, layout_outcome_prefix(video_id).s, NULL, 0, add_generation, &g, e);
    if (r == 0) {
        if (g.count > 0)
            qsort(g.number, g.count, sizeof *g.number, descending);
        r = read_newest_published(s, processed_bucket, video_id, &g, ret, e);
    }
    mem_free(g.number);
    return r;
}

int outcome_video_deleted(struct store *s, const char *raw_bucket, const char *video_id, bool *ret, struct err *e)
{
    struct store_info info;

    int r = store_head(s, raw_bucket, layout_deleted(video_id).s, &info, e);
    if (r != 0 && r != -ERR_NOT_FOUND)
        return r;
    *ret = r == 0;
    return 0;
}
