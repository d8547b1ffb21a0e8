#include "removal.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "domain/layout.h"
#include "domain/upload_log.h"

#include <string.h>

#define TOMBSTONE_MARGIN_MS (UINT64_C(2) * 24 * 60 * 60 * 1000)

uint64_t removal_tombstone_ms(const struct library *l)
{
    return l->gc_ms + TOMBSTONE_MARGIN_MS;
}

/* The first marker stands: its age counts. */
static int set_marker(const struct library *l, const char *video_id, struct err *e)
{
    static const struct store_put_options first_wins = {.if_none_match = true, .content_type = "application/json"};
    char now[CLOCK_RFC3339_SIZE], text[64];

    clock_rfc3339(clock_wall_ms(), now);
    str_format(text, sizeof text, "{\"deleted_at\":\"%s\"}", now);
    int r = store_put_bytes(l->store, l->raw, layout_deleted(video_id).s, text, strlen(text), &first_wins, e);
    return r == -ERR_CONFLICT ? 0 : r;
}

int removal_delete(const struct library *l, const char *video_id, bool *ret_deleted, struct err *e)
{
    int r = set_marker(l, video_id, e);
    if (r == 0)
        r = queue_delete_begin(l->queue, video_id, removal_tombstone_ms(l), e);
    if (r == 0 && ret_deleted != NULL)
        *ret_deleted = true;
    if (r == 0)
        r = removal_objects(l, video_id, NULL, e);
    if (r == 0)
        r = queue_delete_end(l->queue, video_id, removal_tombstone_ms(l), e);
    return r == 0 ? 0 : err_wrap(e, "delete %s", video_id);
}

/* --- Objects --- */

struct aborting {
    const struct library *library;
    const char *key;
};

static int abort_one(void *ctx, const char *upload_id, struct err *e)
{
    const struct aborting *a = ctx;

    return store_multipart_abort(a->library->store, a->library->raw, a->key, upload_id, e);
}

int removal_multiparts(const struct library *l, const char *key, struct err *e)
{
    struct aborting a = {.library = l, .key = key};

    return store_multipart_find(l->store, l->raw, key, abort_one, &a, e);
}

/* Closing comes first: from then on no writer can finish the upload. */
static int end_upload(const struct library *l, const char *video_id, struct err *e)
{
    UPLOAD_RECORD_AUTO struct upload_record before = {0};

    struct layout_key keys[] = {layout_source(video_id), layout_partial(video_id)}; /* the record does not tell which */

    int r = upload_log_close(l->store, l->raw, video_id, false, &before, e);
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(keys); i++) {
        if (before.upload_id[0] != '\0')
            r = store_multipart_abort(l->store, l->raw, keys[i].s, before.upload_id, e);
        if (r == 0)
            r = removal_multiparts(l, keys[i].s, e);
    }
    return r;
}

static int remove_prefix(const struct library *l, const char *bucket, struct layout_key prefix, uint64_t *count,
                         struct err *e)
{
    uint64_t removed = 0;

    int r = store_delete_prefix(l->store, bucket, prefix.s, &removed, e);
    if (r == 0)
        *count += removed;
    return r;
}

int removal_objects(const struct library *l, const char *video_id, uint64_t *ret_count, struct err *e)
{
    uint64_t count = 0;

    int r = end_upload(l, video_id, e);
    if (r == 0)
        r = remove_prefix(l, l->raw, layout_record(video_id), &count, e);
    if (r == 0)
        r = remove_prefix(l, l->raw, layout_video_prefix(video_id), &count, e);
    if (r == 0)
        r = remove_prefix(l, l->raw, layout_partial(video_id), &count, e);
    if (r == 0)
        r = remove_prefix(l, l->raw, layout_request_prefix(video_id), &count, e);
    if (r == 0)
        r = remove_prefix(l, l->processed, layout_video_prefix(video_id), &count, e);
    if (r == 0)
        r = upload_log_empty(l->store, l->raw, video_id, e);
    if (r == 0 && ret_count != NULL)
        *ret_count = count;
    return r;
}

int removal_forget(const struct library *l, const char *video_id, struct err *e)
{
    int r = store_delete_prefix(l->store, l->processed, layout_outcome_prefix(video_id).s, NULL, e);
    if (r == 0)
        r = store_delete_prefix(l->store, l->raw, layout_log_prefix(video_id).s, NULL, e);
    if (r == 0)
        r = store_delete(l->store, l->raw, layout_deleted(video_id).s, e);
    return r;
}
