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

/* One that nobody has finished. Its log is closed before anything else, so that a writer who is about to finish it is either
 * too late, or was in time and has told its client. */
static int give_up(const struct reconcile_scope *scope, const char *video_id, const char *why,
                   struct reconcile_counts *counts, struct err *e)
{
    const struct library *l = scope->library;
    UPLOAD_RECORD_AUTO struct upload_record before = {.kind = UPLOAD_CREATED};
    struct store_info source;
    int r = 0;

    if (!scope->dry_run)
        r = upload_log_close(l->store, l->raw, video_id, true, &before, e);
    if (r != 0 || before.kind == UPLOAD_COMPLETING)
        return r;
    r = store_head(l->store, l->raw, layout_source(video_id).s, &source, e); /* it may have been closed after its end */
    if (r != -ERR_NOT_FOUND)
        return r;
    return delete_video(scope, video_id, why, counts, e);
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

/* What the log says; all zero without one. */
static int read_log(const struct reconcile_scope *scope, const char *video_id, struct upload_state *ret, struct err *e)
{
    const struct library *l = scope->library;

    int r = upload_log_fold(l->store, l->raw, video_id, ret, e);
    return r == -ERR_NOT_FOUND ? 0 : r;
}

static bool has_log(const struct upload_state *s)
{
    return s->seq > 0;
}

static bool is_partial(const struct upload_state *s)
{
    return has_log(s) && s->facts.origin == UPLOAD_PARTIAL; /* one that was emptied tells nothing of it */
}

/* A finished partial upload expires too, unlike a video. */
static bool has_expired(const struct reconcile_scope *scope, const struct library_video *v,
                        const struct upload_state *s)
{
    uint64_t now_ms = clock_wall_ms();

    if (s->facts.expires_ms != 0)
        return now_ms > s->facts.expires_ms;
    return scope->expiry_ms != 0 && now_ms > v->created_ms + scope->expiry_ms;
}

/* Whether somebody may still be at it. */
static int is_alive(const struct reconcile_scope *scope, const char *video_id, uint64_t written_ms, bool *ret,
                    struct err *e)
{
    *ret = true;
    if (scope->patient || clock_wall_ms() < written_ms + scope->abandoned_ms)
        return 0;
    return upload_seat_taken(scope->library, video_id, ret, e);
}

/* During a rebuild that is left to the next look. */
static int tell_cache(const struct reconcile_scope *scope, const struct upload_state *s, const char *epoch,
                      struct err *e)
{
    if (scope->dry_run || epoch[0] == '\0')
        return 0;
    int r = upload_cache_put(scope->library->queue, s, epoch, e);
    return r == -ERR_BUSY ? 0 : unless_deleted(r);
}

/* It waits for its client until it expires, whoever writes to it. Putting it into the cache puts it into the index of open
 * uploads, too. */
static int keep_open(const struct reconcile_scope *scope, const struct library_video *v, const struct upload_state *s,
                     const char *epoch, struct reconcile_counts *counts, struct err *e)
{
    int r = v->record != NULL ? tell_redis(scope, v, counts, e) : 0;

    return r == 0 ? tell_cache(scope, s, epoch, e) : r;
}

/* The source of a completing one is there. */
static int conclude(const struct reconcile_scope *scope, const struct upload_state *s, const char *epoch,
                    struct reconcile_counts *counts, struct err *e)
{
    LIBRARY_VIDEO_AUTO struct library_video whole = {0};
    struct queue *q = scope->library->queue;

    counts->completed++;
    if (s->facts.origin == UPLOAD_PARTIAL) {
        int r = queue_finishing_remove(q, s->video_id, e);
        return r == 0 ? tell_cache(scope, s, epoch, e) : r;
    }
    int r = library_read(scope->library, s->video_id, &whole, e);
    if (r != 0 || !whole.has_source)
        return r;
    r = tell_redis(scope, &whole, counts, e);
    if (r != 0 || s->facts.origin == UPLOAD_FORM)
        return r;
    r = upload_open_end(q, s->video_id, s->facts.client, e);
    return r == 0 ? tell_cache(scope, s, epoch, e) : r;
}

/* The last bytes were with its writer, who may wake up and make the object. Before he tells anybody he looks whether the log
 * was closed: so what is there after that is kept, and what comes later was told to nobody. */
static int close_and_look(const struct reconcile_scope *scope, const struct upload_state *s, bool *ret_done,
                          struct err *e)
{
    const struct library *l = scope->library;
    UPLOAD_RECORD_AUTO struct upload_record before = {0};

    int r = upload_log_close(l->store, l->raw, s->video_id, false, &before, e);
    return r == 0 ? upload_complete(l, s, ret_done, e) : r;
}

/* Every byte was there, the rest can be done by anyone. */
static int complete(const struct reconcile_scope *scope, const struct library_video *v, const struct upload_state *s,
                    const char *epoch, bool alive, struct reconcile_counts *counts, struct err *e)
{
    bool done = false;

    if (scope->dry_run) {
        counts->completed++;
        return 0;
    }
    int r = upload_complete(scope->library, s, &done, e);
    if (r == -ERR_BUSY && v->record != NULL) /* the store is to be mended first: it stays in sight until then */
        (void)!tell_redis(scope, v, counts, NULL);
    if (r != 0)
        return r;
    if (!done && alive)
        return v->record != NULL ? tell_redis(scope, v, counts, e) : 0;
    r = done ? 0 : close_and_look(scope, s, &done, e);
    if (r != 0)
        return r;
    if (!done && upload_facts_resumable(&s->facts)) /* else they were with its writer */
        log_error(&(struct log_ids){.video = v->id}, "the store has lost the bytes of an upload");
    if (!done)
        return delete_video(scope, v->id, "the bytes of a broken upload are lost", counts, e);
    r = removal_multiparts(scope->library, upload_source(s->facts.origin, v->id).s, e);
    return r == 0 ? conclude(scope, s, epoch, counts, e) : r;
}

/* Bytes were acknowledged, and they are all: not an empty one that its creator was not told of. */
static bool has_all_bytes(const struct upload_state *s)
{
    return s->offset > 0 && upload_state_full(s);
}

/* Its client has sent everything and has not come back, or its server died before the completing record. The cache may be
 * behind the log. */
static int finish(const struct reconcile_scope *scope, struct upload_state *s, const char *epoch,
                  struct reconcile_counts *counts, struct err *e)
{
    if (scope->dry_run) {
        counts->completed++;
        return 0;
    }
    int r = tell_cache(scope, s, epoch, e);
    if (r == 0)
        r = upload_finish_full(scope->uploads, s, e);
    counts->completed += r == 0;
    bool elsewhere = r == -ERR_BUSY || r == -ERR_STALE || r == -ERR_NOT_FOUND; /* somebody is at it, or has ended it */
    return elsewhere ? 0 : r;
}

static int look_at_log(const struct reconcile_scope *scope, const struct library_video *v, struct upload_state *s,
                       const char *epoch, struct reconcile_counts *counts, struct err *e)
{
    bool alive;

    int r = is_alive(scope, v->id, s->written_ms, &alive, e);
    if (r != 0)
        return r;
    if (has_expired(scope, v, s) && s->kind != UPLOAD_COMPLETING)
        return give_up(scope, v->id, "an upload that took too long", counts, e);
    if (has_expired(scope, v, s) && is_partial(s))
        return delete_video(scope, v->id, "a partial upload that nobody took", counts, e);
    if (s->kind == UPLOAD_COMPLETING)
        return complete(scope, v, s, epoch, alive, counts, e);
    if (s->kind != UPLOAD_CLOSED && upload_facts_resumable(&s->facts)) {
        bool finishes = has_all_bytes(s) && !alive && scope->uploads != NULL;
        return finishes ? finish(scope, s, epoch, counts, e) : keep_open(scope, v, s, epoch, counts, e);
    }
    if (alive)
        return s->kind == UPLOAD_CLOSED ? 0 : tell_redis(scope, v, counts, e);
    return give_up(scope, v->id, "an upload without a writer", counts, e);
}

/* The log was to be next. */
static int look_at_record(const struct reconcile_scope *scope, const struct library_video *v,
                          struct reconcile_counts *counts, struct err *e)
{
    bool alive;

    int r = is_alive(scope, v->id, v->created_ms, &alive, e);
    if (r != 0)
        return r;
    return alive ? tell_redis(scope, v, counts, e) : give_up(scope, v->id, "an upload without a writer", counts, e);
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

/* One that has no source in its place, or no record. */
static int look_at_unfinished(const struct reconcile_scope *scope, const struct library_video *v,
                              struct reconcile_counts *counts, struct err *e)
{
    UPLOAD_STATE_AUTO struct upload_state s = {0};
    char epoch[QUEUE_EPOCH_SIZE] = "";

    int r = queue_epoch(scope->library->queue, epoch, e); /* before the log is read */
    if (r == 0)
        r = read_log(scope, v->id, &s, e);
    if (r != 0)
        return r;
    if (v->record == NULL && !is_partial(&s))
        return clear_remains(scope, v, counts, e);
    return has_log(&s) ? look_at_log(scope, v, &s, epoch, counts, e) : look_at_record(scope, v, counts, e);
}

/* --- Leftovers --- */

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

/* One that is cached waits for its client, unless it has all bytes: nothing of it is read until it expires. */
static int waits_for_client(const struct reconcile_scope *scope, const char *video_id, bool *ret, struct err *e)
{
    UPLOAD_STATE_AUTO struct upload_state cached = {0};
    char epoch[QUEUE_EPOCH_SIZE];

    int r = upload_cache_get(scope->library->queue, video_id, epoch, &cached, NULL, NULL, e);
    *ret = r == 0 && cached.seq > 0 && upload_facts_resumable(&cached.facts) && !has_all_bytes(&cached);
    return r == -ERR_BUSY ? 0 : unless_deleted(r);
}

int reconcile_video(const struct reconcile_scope *scope, const char *video_id, struct reconcile_counts *counts,
                    struct err *e)
{
    LIBRARY_VIDEO_AUTO struct library_video v = {0};
    bool waits = false;
    int r = 0;

    counts->videos++;
    if (scope->abandoned)
        r = waits_for_client(scope, video_id, &waits, e);
    if (r != 0 || waits)
        return r;
    r = library_read(scope->library, video_id, &v, e);
    if (r != 0)
        return r;
    if (v.deleted)
        return repeat_deletion(scope, video_id, counts, e);
    if (v.record == NULL || !v.has_source)
        return look_at_unfinished(scope, &v, counts, e);
    r = tell_redis(scope, &v, counts, e);
    return r == 0 && scope->collecting ? collect(scope, &v, counts, e) : r;
}
