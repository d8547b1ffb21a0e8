#include "video.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"

#include <string.h>

/* --- Texts from clients --- */

static bool is_control(uint32_t c)
{
    return c < 0x20 || (c >= 0x7F && c <= 0x9F);
}

static bool is_tab_or_line_end(uint32_t c)
{
    return c == '\t' || c == '\n' || c == '\r';
}

int video_check_text(const char *field, const char *text, size_t max_characters, struct err *e)
{
    bool several_lines = strcmp(field, "description") == 0;
    size_t len = strlen(text), characters = 0, step;
    uint32_t c;

    for (size_t at = 0; at < len; at += step, characters++) {
        step = utf8_decode(text + at, len - at, &c);
        if (step == 0)
            return err_set(e, ERR_INVALID, "%s is not valid UTF-8; encode it so", field);
        if (is_control(c) && !(several_lines && is_tab_or_line_end(c)))
            return err_set(e, ERR_INVALID, "%s holds a control character; leave it out", field);
    }
    if (characters > max_characters)
        return err_set(e, ERR_INVALID, "%s has %zu characters, at most %zu are taken; shorten it", field, characters,
                       max_characters);
    return 0;
}

/* --- The durable record --- */

int video_record_write(const struct video_record *v, struct buf *out, struct err *e)
{
    JSON_AUTO json_t *record = json_object();

    if (!json_put_text(record, "id", v->id) || !json_put_text(record, "title", v->title) ||
        !json_put_text(record, "description", v->description) || !json_put_text(record, "filename", v->filename) ||
        !json_put_text(record, "client", v->client) || !json_put_time(record, "created_at", v->created_ms))
        return err_set(e, ERR_TEMPORARY, "video %s: no memory for its record", v->id);
    return json_write(record, out, e);
}

/* Straight into *v: the struct is too large for a second one on a small stack. */
static bool fill_record(const json_t *record, struct video_record *v)
{
    const char *created = json_get_string(record, "created_at");

    return json_get_text(record, "id", v->id, sizeof v->id) && id_video_valid(v->id) &&
           json_get_text(record, "title", v->title, sizeof v->title) &&
           json_get_text(record, "description", v->description, sizeof v->description) &&
           json_get_text(record, "filename", v->filename, sizeof v->filename) &&
           json_get_text(record, "client", v->client, sizeof v->client) && created != NULL &&
           clock_parse_rfc3339(created, &v->created_ms);
}

int video_record_parse(const char *text, size_t len, struct video_record *ret, struct err *e)
{
    JSON_AUTO json_t *json = NULL;

    int r = json_parse(text, len, VIDEO_RECORD_MAX, "video record", &json, e);
    if (r != 0)
        return r;
    MEM_AUTO struct video_record *v = mem_zalloc(sizeof *v);
    if (v == NULL)
        return err_set(e, ERR_TEMPORARY, "video record: no memory");
    if (!fill_record(json, v))
        return err_set(e, ERR_INVALID, "video record: a member is missing or too long");
    memcpy(ret, v, sizeof *v);
    return 0;
}

/* --- What clients see --- */

/* JSON that the index holds, as a tree; null for none. */
static int parse_held(const char *text, const char *what, json_t **ret, struct err *e)
{
    if (text != NULL)
        return json_parse(text, strlen(text), SIZE_MAX, what, ret, e);
    *ret = json_null();
    return 0;
}

/* A member of `from` under the same name, null when it has none. */
static bool copy_member(json_t *to, const json_t *from, const char *key)
{
    json_t *value = json_object_get(from, key);

    return json_object_set_new(to, key, value == NULL ? json_null() : json_incref(value)) == 0;
}

static bool copy_members(json_t *to, const json_t *from, const char *const *keys, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!copy_member(to, from, keys[i]))
            return false;
    return true;
}

/* The last heartbeat came before the end: a completed video is done to the last percent. */
static bool finish_progress(json_t *progress, enum video_state state)
{
    if (state != VIDEO_COMPLETED || !json_is_object(progress))
        return true;
    return json_put_double(progress, "percent", 100) && json_put_double(progress, "eta_seconds", 0);
}

static bool put_link(json_t *links, const char *name, const char *before, const char *path, const char *video_id,
                     const char *after)
{
    char url[1024];

    return str_format(url, sizeof url, "%s%s%s%s", before, path, video_id, after) && json_put_text(links, name, url);
}

static bool put_links(json_t *view, const char *id, const char *play_url, bool playable, bool has_poster)
{
    json_t *links = json_object();

    if (json_object_set_new(view, "links", links) != 0 || !put_link(links, "self", "", "/api/v1/videos/", id, ""))
        return false;
    if (!playable)
        return true;
    return put_link(links, "watch", play_url, "/watch/", id, "") &&
           put_link(links, "master", play_url, "/v/", id, "/master.m3u8") &&
           (!has_poster || put_link(links, "poster", play_url, "/v/", id, "/poster.jpg"));
}

/* Not known before every byte is there; 0 would be an answer. */
static bool put_size(json_t *view, const struct queue_video *v)
{
    return v->state == VIDEO_UPLOADING ? json_put_text(view, "size", NULL) : json_put_u64(view, "size", v->size_bytes);
}

static bool fill_view(json_t *view, const struct queue_video *v, const json_t *record, json_t *progress,
                      const json_t *outcome, const char *play_url)
{
    static const char *const described[] = {"title", "description", "filename"};
    static const char *const measured[] = {"duration", "width", "height", "renditions"};
    bool playable = json_is_object(outcome), has_poster = json_get_string(outcome, "poster") != NULL;

    return json_put_text(view, "id", v->id) && json_put_text(view, "state", video_state_name(v->state)) &&
           copy_members(view, record, described, ARRAY_SIZE(described)) && put_size(view, v) &&
           json_put_time(view, "created_at", v->created_ms) && json_put_time(view, "updated_at", v->updated_ms) &&
           json_put_u64(view, "attempts", v->attempts) && json_put_bool(view, "playable", playable) &&
           json_put_text(view, "error", v->error) && finish_progress(progress, v->state) &&
           json_object_set(view, "progress", progress) == 0 &&
           copy_members(view, outcome, measured, ARRAY_SIZE(measured)) &&
           put_links(view, v->id, play_url, playable, has_poster);
}

int video_view(const struct queue_video *v, const char *play_url, json_t **ret, struct err *e)
{
    JSON_AUTO json_t *record = NULL, *progress = NULL, *outcome = NULL;
    int r;

    if ((r = parse_held(v->record, "record", &record, e)) != 0 ||
        (r = parse_held(v->progress, "progress", &progress, e)) != 0 ||
        (r = parse_held(v->outcome, "outcome", &outcome, e)) != 0) {
        if (r == -ERR_INVALID)
            e->kind = ERR_BUG; /* what Weir wrote itself is not a client's mistake */
        return err_wrap(e, "video %s", v->id);
    }
    json_t *view = json_object();
    if (!fill_view(view, v, record, progress, outcome, play_url)) {
        json_decref(view);
        return err_set(e, ERR_TEMPORARY, "video %s: no memory for its JSON", v->id);
    }
    *ret = view;
    return 0;
}
