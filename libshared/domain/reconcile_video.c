#include "reconcile_video.h"

#include "base/clock.h"
#include "base/log.h"
#include "domain/collect.h"
#include "domain/layout.h"
#include "domain/outcome.h"
#include "domain/removal.h"
#include "domain/upload.h"
#include "domain/upload_log.h"

#include <string.h>

/* --- Redis --- */

/* A video that was deleted meanwhile needs nothing any more. */
static int unless_deleted(int r)
{
    return r == -ERR_NOT_FOUND ? 0 : r;
}

static int tell_redis(const struct reconcile_scope *scope, const struct library_video *v,
                      struct reconcile_counts *counts, struct err *e)
{
    struct queue_restored restored = {
        .video_id = v->id,
        .record_json = v->record,
        .created_ms = v->created_ms,
        .size_bytes = v->size_bytes,
        .generation = v->generation,
        .state = v->state,
        .outcome_json = v->outcome,
        .error = v->error,
    };

    counts->indexed++;
    if (scope->dry_run)
        return 0;
    return unless_deleted(queue_restore(scope->library->queue, &restored, e));
}

/* --- Deletions --- */

static int delete_video(const struct reconcile_scope *scope, const char *video_id, const char *why,
                        struct reconcile_counts *counts, struct err *e)
{
    counts->removed++;
    log_info(&(struct log_ids){.video = video_id}, scope->dry_run ? "would remove" : "remove", "why", why);
    return scope->dry_run ? 0 : removal_delete(scope->library, video_id, NULL, e);
}

/* As long as the marker stands: a process that was frozen may still add something. */
static int repeat_deletion(const struct reconcile_scope *scope, const char *video_id, struct reconcile_counts *counts,
                           struct err *e)
{
    const struct library *l = scope->library;
    struct store_info marker;
    uint64_t found = 0;

    int r = store_head(l->store, l->raw, layout_deleted(video_id).s, &marker, e);
    if (r != 0)
        return unless_deleted(r);
    counts->removed++;
    if (scope->dry_run)
        return 0;
    r = queue_delete_end(l->queue, video_id, removal_tombstone_ms(l), e);
    if (r == 0)
        r = removal_objects(l, video_id, &found, e);
    if (r == 0 && found == 0 && clock_wall_ms() > marker.modified_ms + l->gc_ms)
        r = removal_forget(l, video_id, e);
    return r;
}

/* --- Uploads --- */

static bool has_expired(const struct reconcile_scope *scope, const struct library_video *v)
{
    return scope->expiry_ms != 0 && clock_wall_ms() > v->created_ms + scope->expiry_ms;
}

/* Whether somebody may still be at it. */
static int is_alive(const struct reconcile_scope *scope, const char *video_id, uint64_t written_ms, bool *ret,
                    struct err *e)
{
    *ret = true;
    if (scope->rebuilding || clock_wall_ms() < written_ms + scope->abandoned_ms)
        return 0;
    return upload_seat_taken(scope->library, video_id, ret, e);
}

/* Every byte was there, the rest can be done by anyone. */
static int complete(const struct reconcile_scope *scope, const struct library_video *v,
                    const struct upload_record *completing, bool alive, struct reconcile_counts *counts, struct err *e)
{
    LIBRARY_VIDEO_AUTO struct library_video whole = {0};
    bool done = false;

    if (scope->dry_run) {
        counts->completed++;
        return 0;
    }
    int r = upload_complete(scope->library, v->id, completing, &done, e);
    if (r != 0)
        return r;
    if (!done && alive)
        return tell_redis(scope, v, counts, e);
    if (!done)
        return delete_video(scope, v->id, "the bytes of a broken upload are lost", counts, e);
    counts->completed++;
    r = library_read(scope->library, v->id, &whole, e);
    return r == 0 && whole.has_source ? tell_redis(scope, &whole, counts, e) : r;
}

static int look_at_upload(const struct reconcile_scope *scope, const struct library_video *v,
                          struct reconcile_counts *counts, struct err *e)
{
    const struct library *l = scope->library;
    UPLOAD_RECORD_AUTO struct upload_record newest = {.kind = UPLOAD_CREATED, .written_ms = v->created_ms};
    uint64_t seq;
    bool alive;

    int r = upload_log_newest(l->store, l->raw, v->id, &newest, &seq, e);
    if (r != 0 && r != -ERR_NOT_FOUND)
        return r;
    r = is_alive(scope, v->id, newest.written_ms, &alive, e);
    if (r != 0)
        return r;
    if (newest.kind == UPLOAD_COMPLETING)
        return complete(scope, v, &newest, alive, counts, e);
    if (has_expired(scope, v))
        return delete_video(scope, v->id, "an upload that took too long", counts, e);
    if (alive)
        return newest.kind == UPLOAD_CLOSED ? 0 : tell_redis(scope, v, counts, e);
    return delete_video(scope, v->id, "an upload without a writer", counts, e);
}

/* --- Remains: something names this id, but there is no record of a video --- */

static int clear_remains(const struct reconcile_scope *scope, const struct library_video *v,
                         struct reconcile_counts *counts, struct err *e)
{
    const struct library *l = scope->library;
    bool removed = false, alive = true;

    int r = is_alive(scope, v->id, v->created_ms, &alive, e);
    if (r != 0 || alive)
        return r;
    if (v->has_source)
        return delete_video(scope, v->id, "a source without a record", counts, e);
    if (!scope->dry_run) {
        r = queue_video_forget(l->queue, v->id, e);
        if (r != 0 && r != -ERR_NOT_FOUND && r != -ERR_CONFLICT)
            return r;
    }
    if (!scope->collecting)
        return 0;
    r = collect_log(l, v->id, scope->dry_run, &removed, e);
    counts->collected += removed;
    return r;
}

static int collect(const struct reconcile_scope *scope, const struct library_video *v, struct reconcile_counts *counts,
                   struct err *e)
{
    uint64_t versions = 0;
    bool log = false;

    int r = collect_versions(scope->library, v->id, scope->dry_run, &versions, e);
    if (r == 0)
        r = collect_log(scope->library, v->id, scope->dry_run, &log, e);
    counts->collected += versions + log;
    return r;
}

int reconcile_video(const struct reconcile_scope *scope, const char *video_id, struct reconcile_counts *counts,
                    struct err *e)
{
    LIBRARY_VIDEO_AUTO struct library_video v = {0};

    counts->videos++;
    int r = library_read(scope->library, video_id, &v, e);
    if (r != 0)
        return r;
    if (v.deleted)
        return repeat_deletion(scope, video_id, counts, e);
    if (v.record == NULL)
        return clear_remains(scope, &v, counts, e);
    if (!v.has_source)
        return look_at_upload(scope, &v, counts, e);
    r = tell_redis(scope, &v, counts, e);
    return r == 0 && scope->collecting ? collect(scope, &v, counts, e) : r;
}
