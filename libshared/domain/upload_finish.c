#include "upload_session.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "domain/outcome.h"
#include "domain/removal.h"
#include "domain/upload_broom.h"
#include "domain/upload_log.h"

#include <inttypes.h>
#include <string.h>

struct layout_key upload_source(enum upload_origin origin, const char *video_id)
{
    return origin == UPLOAD_PARTIAL ? layout_partial(video_id) : layout_source(video_id);
}

/* --- The object --- */

static int find_source(const struct library *l, const struct upload_state *s, bool *ret_there, struct err *e)
{
    struct store_info info;

    int r = store_head(l->store, l->raw, upload_source(s->facts.origin, s->video_id).s, &info, e);
    if (r != 0 && r != -ERR_NOT_FOUND)
        return r;
    if (r == 0 && info.size_bytes != s->offset)
        return err_set(e, ERR_BUG, "the source has %" PRIu64 " bytes instead of %" PRIu64, info.size_bytes, s->offset);
    *ret_there = r == 0;
    return 0;
}

/* A file under one part: tails of its log, and what is in memory. */
static int put_whole(const struct library *l, const struct upload_state *s, const struct upload_tail *tails,
                     size_t tail_count, const struct block_chain *chain, struct err *e)
{
    static const struct store_put_options first_wins = {.if_none_match = true};
    struct layout_key key = upload_source(s->facts.origin, s->video_id);
    struct part_body whole = {.store = l->store,
                              .bucket = l->raw,
                              .video_id = s->video_id,
                              .tails = tails,
                              .tail_count = tail_count,
                              .chain = chain};
    struct store_body body;

    part_body_init(&whole, &body);
    int r = store_put(l->store, l->raw, key.s, &body, &first_wins, NULL, e);
    part_body_release(&whole);
    return r;
}

/* Somebody was faster, or a tail went with the end of the upload: both are told by what is there. */
static bool must_look(int r)
{
    return r == -ERR_CONFLICT || r == -ERR_NOT_FOUND || r == -ERR_STALE;
}

/* What was acknowledged is not thrown away for one answer of a store that may be in need of repair itself. It is no reason
 * for the reconciler to leave all others: not ERR_TEMPORARY. */
static int miss_parts(const struct upload_state *s, struct err *e)
{
    struct err why = *e;

    log_error(&(struct log_ids){.video = s->video_id}, "the store refuses parts of an upload that it has confirmed",
              "error", why.text);
    return err_set(e, ERR_BUSY, "the store refuses parts of the upload that it has confirmed");
}

int upload_complete(const struct library *l, const struct upload_state *completing, bool *ret_done, struct err *e)
{
    const struct upload_state *s = completing;
    struct layout_key key = upload_source(s->facts.origin, s->video_id);
    int r = -ERR_NOT_FOUND;

    if (s->upload_id[0] != '\0' && s->parts_known)
        r = store_multipart_complete(l->store, l->raw, key.s, s->upload_id, s->parts, s->part_count, true, e);
    else if (s->upload_id[0] == '\0' && upload_state_whole(s))
        r = put_whole(l, s, s->tails, s->tail_count, NULL, e);
    if (must_look(r)) {
        r = find_source(l, s, ret_done, e);
        /* who made the object may have died before its parts went */
        if (r == 0 && *ret_done && s->upload_id[0] != '\0')
            (void)!store_multipart_abort(l->store, l->raw, key.s, s->upload_id, NULL);
        return r;
    }
    if (r == -ERR_INVALID && s->upload_id[0] != '\0')
        return miss_parts(s, e);
    if (r == 0)
        *ret_done = true;
    return r;
}

/* --- The job --- */

static int read_record(const struct library *l, const char *video_id, struct buf *record, struct err *e)
{
    MEM_AUTO char *text = NULL;
    size_t len;

    if (record->len > 0)
        return 0;
    int r = store_get_bytes(l->store, l->raw, layout_record(video_id).s, VIDEO_RECORD_MAX, &text, &len, e);
    if (r == -ERR_NOT_FOUND)
        return err_set(e, ERR_NOT_FOUND, "the video was deleted during its upload");
    if (r != 0)
        return r;
    buf_append(record, text, len);
    return buf_check(record, "video record", e);
}

/* Deleted while it was completed: what came after the deletion goes too. */
static int follow_deletion(const struct library *l, const char *video_id, struct err *e)
{
    struct err ignored = {0};

    if (removal_objects(l, video_id, NULL, &ignored) != 0)
        log_warn(&(struct log_ids){.video = video_id}, "left to the reconciler", "error", ignored.text);
    return err_set(e, ERR_NOT_FOUND, "the video was deleted during its upload");
}

static int enqueue(const struct library *l, const struct upload_state *s, struct buf *record, bool *ret_existed,
                   struct err *e)
{
    int r = read_record(l, s->video_id, record, e);
    if (r != 0)
        return r;
    struct queue_job_spec spec = {
        .video_id = s->video_id,
        .generation = 1,
        .priority = 1,
        .created_ms = s->facts.created_ms,
        .size_bytes = s->offset,
        .record_json = buf_cstr(record),
    };
    r = queue_enqueue(l->queue, &spec, ret_existed, e);
    if (r == -ERR_STALE) { /* it was made long ago, and the video was tried once more since */
        *ret_existed = true;
        return 0;
    }
    return r == -ERR_NOT_FOUND ? follow_deletion(l, s->video_id, e) : r;
}

/* The source is there: makes the job. A partial upload has none, and counts as open until it expires. */
static int conclude(const struct library *l, const struct upload_state *s, struct buf *record, bool *ret_existed,
                    struct err *e)
{
    *ret_existed = false;
    if (s->facts.origin == UPLOAD_PARTIAL) {
        (void)!queue_finishing_remove(l->queue, s->video_id, NULL); /* else it goes with time */
        return 0;
    }
    int r = enqueue(l, s, record, ret_existed, e);
    if (r == 0 && s->facts.origin != UPLOAD_FORM)
        (void)!upload_open_end(l->queue, s->video_id, s->facts.client, NULL); /* else it counts until it expires */
    return r;
}

int upload_bring_to_end(struct upload_service *service, const struct upload_state *completing, const char *epoch,
                        struct err *e)
{
    const struct library *l = service->options.library;
    BUF_AUTO struct buf record;
    bool done = false, existed;

    buf_init(&record, VIDEO_RECORD_MAX);
    int r = upload_complete(l, completing, &done, e);
    if (r == 0 && !done)
        return err_set(e, ERR_BUSY, "the upload is being finished; ask again in a moment");
    if (r == 0)
        r = conclude(l, completing, &record, &existed, e);
    if (r == 0)
        r = upload_cache_put(l->queue, completing, epoch, e);
    return r;
}

/* --- From the last byte to the completing record --- */

/* The mark lets the reconciler mend in seconds what a crash leaves half done. Without Redis it takes longer, and the bytes
 * are made safe all the same. */
static void mark_finishing(struct upload *u)
{
    struct err e = {0};

    if (queue_finishing_add(u->library->queue, u->video_id, &e) != 0)
        log_warn(&(struct log_ids){.video = u->video_id}, "no finishing mark", "error", e.text);
}

/* The cache does not have them. */
static int know_parts(struct upload *u, struct err *e)
{
    UPLOAD_STATE_AUTO struct upload_state folded = {0};

    if (u->state.part_count == 0 || u->state.parts_known)
        return 0;
    int r = upload_fold(u->library, u->video_id, &folded, e);
    if (r != 0)
        return r;
    if (folded.seq != u->state.seq)
        return upload_lose(u, e);
    u->state.parts = folded.parts;
    u->state.parts_known = true;
    folded.parts = NULL;
    return 0;
}

static int name_all_parts(struct upload *u, struct upload_record *record, struct err *e)
{
    size_t count = u->state.part_count + u->part_count;
    struct store_part *parts = mem_calloc(count, sizeof *parts);

    if (parts == NULL)
        return err_set(e, ERR_TEMPORARY, "no memory for an upload");
    if (u->state.part_count > 0)
        memcpy(parts, u->state.parts, u->state.part_count * sizeof *parts);
    if (u->part_count > 0)
        memcpy(parts + u->state.part_count, u->part, u->part_count * sizeof *parts);
    record->parts = parts;
    record->part_count = count;
    record->in_parts = record->offset;
    return 0;
}

/* Who was faster may have completed it as well; then it is as good as ours. */
static int adopt_completing(struct upload *u, int stale)
{
    UPLOAD_STATE_AUTO struct upload_state folded = {0};
    struct err ignored = {0};

    if (upload_fold(u->library, u->video_id, &folded, &ignored) != 0 || folded.kind != UPLOAD_COMPLETING ||
        folded.offset != u->received)
        return stale;
    upload_drop_bytes(u);
    upload_state_release(&u->state);
    u->state = folded;
    folded = (struct upload_state){0};
    memcpy(u->upload_id, u->state.upload_id, sizeof u->upload_id);
    return 0;
}

/* A resumable one records its last bytes with it, so that whoever goes on has all of them. */
static int add_completing(struct upload *u, struct err *e)
{
    struct upload_record record = upload_next_record(u, UPLOAD_COMPLETING);
    struct store_body body;
    bool with_tail = u->upload_id[0] == '\0' && upload_resumable(u) && u->fills && u->filling.len > 0;
    int r = 0;

    record.offset = record.length = u->received;
    if (u->upload_id[0] != '\0')
        r = name_all_parts(u, &record, e);
    if (r != 0)
        return r;
    if (with_tail) {
        body = block_chain_body(&u->filling);
        record.tail_bytes = body.size_bytes;
        record.tail_crc32c = body.crc32c;
    }
    record.takes_held = u->state.held_count > 0;
    r = upload_add_record(u, &record, with_tail ? &body : NULL, e);
    upload_record_release(&record);
    return r;
}

static int check_whole(struct upload *u, struct err *e)
{
    int r = upload_check_open(u, e);
    if (r != 0)
        return r;
    if (u->broken)
        return err_set(e, ERR_TEMPORARY, "a part of the upload got lost");
    if (u->length != UPLOAD_LENGTH_UNKNOWN && u->length != u->received)
        return err_set(e, ERR_INVALID, "%" PRIu64 " of %" PRIu64 " bytes are there", u->received, u->length);
    return 0;
}

/* Of a file that has parts the rest is one too, named by the completing record with all the others. */
static int send_rest(struct upload *u, struct err *e)
{
    int r = 0;

    upload_seal(u);
    bool in_parts = u->upload_id[0] != '\0' || (upload_resumable(u) && upload_pending(u) >= u->state.facts.part_size);
    if (in_parts && upload_pending(u) > 0)
        r = upload_send_pending(u, e);
    if (r == 0)
        r = upload_land(u, e);
    if (r == 0 && u->upload_id[0] != '\0' &&
        u->received == 0) { /* empty after all: an object has no part without bytes */
        r = store_multipart_abort(u->library->store, u->library->raw, u->source.s, u->upload_id, e);
        u->upload_id[0] = '\0';
    }
    return r == 0 ? know_parts(u, e) : r;
}

/* --- Finishing --- */

static int store_parts(struct upload *u, struct err *e)
{
    bool done = false;

    int r = upload_complete(u->library, &u->state, &done, e);
    return r == 0 && !done ? err_set(e, ERR_TEMPORARY, "the store has forgotten the upload") : r;
}

/* The bytes are with this writer alone. Who takes him for dead closes the log, then looks for the object; here it is the
 * other way round, so that one of the two sees the other before anything is told, or removed. */
static int check_not_closed(const struct upload *u, struct err *e)
{
    const struct library *l = u->library;
    struct store_info info;
    bool deleted = false;

    int r = store_head(l->store, l->raw, layout_log(u->video_id, u->state.seq + 1).s, &info, e);
    if (r != 0)
        return r == -ERR_NOT_FOUND ? 0 : r;
    r = outcome_video_deleted(l->store, l->raw, u->video_id, &deleted, e);
    if (r == 0 && deleted)
        return follow_deletion(l, u->video_id, e);
    return r == 0 ? err_set(e, ERR_STALE, "the upload was taken for abandoned") : r;
}

static int store_single(struct upload *u, const struct upload_tail *tails, size_t tail_count, struct err *e)
{
    bool there = false;

    int r = put_whole(u->library, &u->state, tails, tail_count, u->fills ? &u->filling : NULL, e);
    if (must_look(r)) {
        r = find_source(u->library, &u->state, &there, e);
        if (r == 0 && !there)
            return err_set(e, ERR_STALE, "the upload was closed, or its source went again");
    }
    return r == 0 && !upload_state_whole(&u->state) ? check_not_closed(u, e) : r;
}

/* *ret_tails, owned: the tails that a single object begins with. */
static int close_bytes(struct upload *u, struct upload_tail **ret_tails, size_t *ret_count, struct err *e)
{
    int r = check_whole(u, e);
    if (r == 0)
        r = send_rest(u, e);
    if (r == 0)
        r = upload_pending_tails(u, ret_tails, ret_count, e);
    if (r == 0) {
        mark_finishing(u);
        r = add_completing(u, e);
    }
    return r;
}

static int store_source(struct upload *u, struct err *e)
{
    MEM_AUTO struct upload_tail *tails = NULL;
    size_t tail_count = 0;
    bool completing = u->state.kind == UPLOAD_COMPLETING; /* the answer of an earlier attempt was lost */

    int r = completing ? 0 : close_bytes(u, &tails, &tail_count, e);
    if (r == -ERR_STALE && u->stage == UPLOAD_LOST) {
        r = adopt_completing(u, r);
        completing = r == 0;
    }
    if (r != 0)
        return r;
    u->stage = UPLOAD_ENDING;
    r = !completing && u->upload_id[0] == '\0' ? store_single(u, tails, tail_count, e) : store_parts(u, e);
    if (r == 0)
        upload_drop_bytes(u);
    return r;
}

/* What the object holds now. */
static void clear_away(struct upload *u)
{
    struct upload_broom *broom = u->service->broom;

    for (size_t i = 0; i < u->state.tail_count; i++)
        if (u->state.tails[i].alone)
            upload_broom_spend(broom, u->video_id, &u->state.tails[i].seq, 1);
    if (u->state.upload_id[0] != '\0')
        upload_broom_finished(broom, u->video_id);
    for (size_t i = 0; i < u->partial_count; i++)
        upload_broom_remove(broom, u->partials[i]);
}

static int describe(struct upload *u, bool existed, struct queue_video *ret, struct err *e)
{
    if (u->origin == UPLOAD_PARTIAL)
        return 0;
    if (existed) /* it may be anything by now */
        return queue_video_get(u->library->queue, u->video_id, ret, e);
    *ret = (struct queue_video){
        .state = VIDEO_WAITING,
        .generation = 1,
        .created_ms = u->state.facts.created_ms,
        .updated_ms = clock_wall_ms(),
        .size_bytes = u->state.offset,
        .record = buf_detach(&u->record),
    };
    memcpy(ret->id, u->video_id, sizeof ret->id);
    return 0;
}

/* From the last byte to the answer. */
static int store_and_enqueue(struct upload *u, bool *ret_stored, bool *ret_existed, struct err *e)
{
    int r = store_source(u, e);
    if (r != 0)
        return r;
    *ret_stored = true;
    r = conclude(u->library, &u->state, &u->record, ret_existed, e);
    return r == 0 ? upload_cache(u, e) : r;
}

int upload_finish(struct upload *u, struct queue_video *ret, bool *ret_stored, struct err *e)
{
    bool existed;

    *ret_stored = false;
    upload_broom_hurry(u->service->broom);
    int r = store_and_enqueue(u, ret_stored, &existed, e);
    upload_broom_hurry_end(u->service->broom);
    if (r != 0)
        return r;
    u->stage = UPLOAD_FINISHED;
    clear_away(u);
    return describe(u, existed, ret, e);
}

/* --- Ending otherwise --- */

/* Takes back everything, in an order that leaves the reconciler a way to do it should one step fail. */
int upload_take_back(struct upload *u, struct err *e)
{
    const struct library *l = u->library;
    UPLOAD_RECORD_AUTO struct upload_record before = {0};

    int r = upload_log_close(l->store, l->raw, u->video_id, true, &before, e);
    if (r == 0 && (before.kind == UPLOAD_COMPLETING || before.kind == UPLOAD_CLOSED))
        return 0; /* a record of ours did arrive, or somebody else was first: the rest is not ours to do */
    if (r == 0 && u->upload_id[0] != '\0')
        r = store_multipart_abort(l->store, l->raw, u->source.s, u->upload_id, e);
    if (r == 0)
        r = removal_multiparts(l, u->source.s, e);
    if (r == 0 && u->origin != UPLOAD_PARTIAL)
        r = store_delete(l->store, l->raw, layout_record(u->video_id).s, e);
    if (r == 0 && u->state.tail_count > 0)
        r = upload_log_empty(l->store, l->raw, u->video_id, e);
    if (r == 0)
        r = queue_video_forget(l->queue, u->video_id, e);
    if (r == 0 && u->origin != UPLOAD_FORM)
        r = upload_open_end(l->queue, u->video_id, u->client, e);
    return r;
}

int upload_delete(struct upload_service *s, const struct upload_state *found, struct err *e)
{
    const struct library *l = s->options.library;
    UPLOAD_RECORD_AUTO struct upload_record newest = {0};
    bool deleted = false;
    uint64_t seq;

    int r = upload_log_newest(l->store, l->raw, found->video_id, &newest, &seq, e);
    if (r == 0 && newest.kind == UPLOAD_COMPLETING && found->facts.origin != UPLOAD_PARTIAL)
        return err_set(e, ERR_CONFLICT, "the upload is finished: delete its video instead");
    if (r == 0)
        r = removal_delete(l, found->video_id, &deleted, e);
    if (deleted)
        upload_table_forget(s, found->video_id);
    /* Also when the store can't be told now: should its client go on with it, the next record counts it again; else a daily
     * pass clears it away. */
    if (deleted || r == -ERR_TEMPORARY)
        (void)!upload_open_end(l->queue, found->video_id, found->facts.client, NULL); /* else when it expires */
    if (r != 0 && deleted) {
        log_warn(&(struct log_ids){.video = found->video_id}, "left to the reconciler", "error", e->text);
        return 0;
    }
    return r;
}
