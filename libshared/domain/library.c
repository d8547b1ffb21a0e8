#include "library.h"

#include "base/clock.h"
#include "base/mem.h"
#include "domain/layout.h"
#include "domain/outcome.h"

#include <string.h>

void library_video_release(struct library_video *v)
{
    if (v == NULL)
        return;
    mem_free(v->record);
    mem_free(v->outcome);
    mem_free(v->error);
    v->record = v->outcome = v->error = NULL;
}

static void note_time(struct library_video *v, uint64_t ms)
{
    if (ms > v->updated_ms)
        v->updated_ms = ms;
}

/* Absent is an answer, not a failure. */
static int unless_absent(int r)
{
    return r == -ERR_NOT_FOUND ? 0 : r;
}

static int read_record(const struct library *l, struct library_video *v, struct err *e)
{
    JSON_AUTO json_t *json = NULL;
    size_t len;

    int r = store_get_bytes(l->store, l->raw, layout_record(v->id).s, VIDEO_RECORD_MAX, &v->record, &len, e);
    if (r != 0)
        return unless_absent(r);
    r = json_parse(v->record, len, VIDEO_RECORD_MAX, "video record", &json, e);
    if (r == -ERR_INVALID)
        e->kind = ERR_BUG; /* Weir wrote it */
    if (r != 0)
        return -(int)e->kind;
    const char *created = json_get_string(json, "created_at");
    if (created != NULL)
        clock_parse_rfc3339(created, &v->created_ms);
    note_time(v, v->created_ms);
    return 0;
}

static int look_for_source(const struct library *l, struct library_video *v, struct err *e)
{
    struct store_info info;

    int r = store_head(l->store, l->raw, layout_source(v->id).s, &info, e);
    if (r != 0)
        return unless_absent(r);
    v->has_source = true;
    v->size_bytes = info.size_bytes;
    v->generation = 1;
    v->state = VIDEO_WAITING;
    note_time(v, info.modified_ms);
    return 0;
}

static int keep_request(void *ctx, const struct store_entry *entry, struct err *e)
{
    struct library_video *v = ctx;
    char id[ID_VIDEO_SIZE];
    uint64_t generation;

    (void)e;
    if (layout_parse_numbered(LAYOUT_REQUESTS, entry->key, id, &generation) && generation > v->generation) {
        v->generation = generation;
        note_time(v, entry->modified_ms);
    }
    return 0;
}

static int look_for_requests(const struct library *l, struct library_video *v, struct err *e)
{
    return store_list(l->store, l->raw, layout_request_prefix(v->id).s, NULL, 0, keep_request, v, e);
}

/* What became of the generation. */
static int read_outcome(const struct library *l, struct library_video *v, struct err *e)
{
    OUTCOME_AUTO struct outcome o = {0};

    int r = outcome_read(l->store, l->processed, v->id, v->generation, &o, e);
    if (r != 0)
        return unless_absent(r);
    v->state = o.state;
    note_time(v, o.created_ms);
    if (o.state == VIDEO_FAILED && (v->error = mem_strdup(o.error)) == NULL)
        return err_set(e, ERR_TEMPORARY, "no memory to read the library");
    if (o.state == VIDEO_COMPLETED) {
        v->outcome = o.text;
        o.text = NULL;
    }
    return 0;
}

/* What can be played meanwhile: the newest generation that was published. */
static int read_published(const struct library *l, struct library_video *v, struct err *e)
{
    OUTCOME_AUTO struct outcome o = {0};

    if (v->outcome != NULL || v->generation == 1)
        return 0;
    int r = outcome_published(l->store, l->processed, v->id, &o, e);
    if (r != 0)
        return unless_absent(r);
    v->outcome = o.text;
    o.text = NULL;
    return 0;
}

static int read_video(const struct library *l, struct library_video *v, struct err *e)
{
    int r = outcome_video_deleted(l->store, l->raw, v->id, &v->deleted, e);
    if (r != 0 || v->deleted)
        return r;
    r = read_record(l, v, e);
    if (r == 0)
        r = look_for_source(l, v, e);
    if (r != 0 || !v->has_source)
        return r;
    r = look_for_requests(l, v, e);
    if (r == 0)
        r = read_outcome(l, v, e);
    return r == 0 ? read_published(l, v, e) : r;
}

int library_read(const struct library *l, const char *video_id, struct library_video *ret, struct err *e)
{
    LIBRARY_VIDEO_AUTO struct library_video v = {.state = VIDEO_UPLOADING};

    if (!id_video_time(video_id, &v.created_ms))
        return err_set(e, ERR_INVALID, "not a video id");
    memcpy(v.id, video_id, sizeof v.id);
    int r = read_video(l, &v, e);
    if (r != 0)
        return err_wrap(e, "video %s", video_id);
    *ret = v;
    v.record = v.outcome = v.error = NULL;
    return 0;
}
