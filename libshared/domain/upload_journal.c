#include "upload_session.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "domain/outcome.h"
#include "domain/upload_broom.h"
#include "domain/upload_log.h"

#include <string.h>

#define RESERVE 8           /* part numbers at once */
#define CACHE_RETRY_MS 5000 /* a Redis that is away is not asked with every record */

bool upload_facts_resumable(const struct upload_facts *f)
{
    return f->origin != UPLOAD_FORM && (f->concat == NULL || !str_starts(f->concat, "final"));
}

bool upload_resumable(const struct upload *u)
{
    return u->state.seq == 0 ? u->origin != UPLOAD_FORM : upload_facts_resumable(&u->state.facts);
}

struct upload_record upload_next_record(const struct upload *u, enum upload_kind kind)
{
    struct upload_record record = {
        .kind = kind,
        .fence = u->fence,
        .written_ms = clock_wall_ms(),
        .length = u->holding ? u->state.length : u->length,
        .offset = u->state.offset,
        .in_parts = u->state.in_parts,
        .reserved = u->state.reserved,
    };

    memcpy(record.writer, u->nonce, sizeof record.writer);
    memcpy(record.upload_id, u->upload_id, sizeof record.upload_id);
    return record;
}

/* --- The cache --- */

/* A rebuild finds everything in the log, so there is nothing to be told to a Redis that is empty. */
static int tell_cache(struct upload *u, struct err *e)
{
    int r = upload_cache_put(u->library->queue, &u->state, u->epoch, e);

    u->cache_ms = 0;
    if (r == -ERR_NOT_FOUND) {
        u->stage = UPLOAD_LOST;
        return err_set(e, ERR_STALE, "the upload was deleted");
    }
    if (r == -ERR_TEMPORARY)
        u->cache_ms = clock_mono_ms();
    return r == -ERR_BUSY ? 0 : r;
}

int upload_cache(struct upload *u, struct err *e)
{
    bool told = u->cache_ms == 0 && u->state.kind != UPLOAD_COMPLETING;

    return told || u->epoch[0] == '\0' ? 0 : tell_cache(u, e);
}

/* The answer needs it; what is in between does not. */
static int tell_cache_if_there(struct upload *u, struct err *e)
{
    struct err ignored = {0};

    if (u->epoch[0] == '\0' || u->state.kind == UPLOAD_COMPLETING) /* the latter, when it is finished */
        return 0;
    if (u->cache_ms != 0 && clock_mono_ms() - u->cache_ms < CACHE_RETRY_MS)
        return 0;
    int r = tell_cache(u, &ignored);
    if (r != -ERR_STALE)
        return 0;
    if (e != NULL)
        *e = ignored;
    return r;
}

/* --- Tails that are not needed any more --- */

struct seqs {
    uint64_t *seq; /* owned */
    size_t count;
};

static void note_tails(struct seqs *list, const struct upload_tail *tails, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (tails[i].alone)
            list->seq[list->count++] = tails[i].seq;
}

/* Without memory for it they stay as long as the log. */
static struct seqs list_tails(const struct upload_state *s)
{
    struct seqs list = {0};

    if (s->tail_count + s->held_count > 0)
        list.seq = mem_calloc(s->tail_count + s->held_count, sizeof *list.seq);
    if (list.seq != NULL) {
        note_tails(&list, s->tails, s->tail_count);
        note_tails(&list, s->held, s->held_count);
    }
    return list;
}

/* Takes out of the list what is there still; both rise. */
static void keep_needed(struct seqs *list, const struct upload_tail *tails, size_t count)
{
    size_t kept = 0, at = 0;

    for (size_t i = 0; i < list->count; i++) {
        while (at < count && tails[at].seq < list->seq[i])
            at++;
        if (at == count || tails[at].seq != list->seq[i])
            list->seq[kept++] = list->seq[i];
    }
    list->count = kept;
}

/* Those of the list that the state has no more, since parts hold them or they were discarded. One that a later, larger tail
 * repeats stays as long as the log: while it is folded, every byte must be found where it was. */
static void spend_tails(struct upload *u, struct seqs *list, bool repeated)
{
    keep_needed(list, u->state.tails, u->state.tail_count);
    keep_needed(list, u->state.held, u->state.held_count);
    if (!repeated)
        upload_broom_spend(u->service->broom, u->video_id, list->seq, list->count);
}

/* --- The log --- */

int upload_lose(struct upload *u, struct err *e)
{
    u->stage = UPLOAD_LOST;
    if (u->epoch[0] != '\0')
        (void)!upload_cache_drop(u->library->queue, u->video_id, NULL); /* else the next writer does */
    return err_set(e, ERR_STALE, "somebody else goes on with this upload, or has ended it");
}

int upload_add_record(struct upload *u, struct upload_record *record, const struct store_body *tail, struct err *e)
{
    const struct library *l = u->library;
    struct seqs before = list_tails(&u->state);
    bool repeated = record->kind != UPLOAD_COMPLETING && record->in_parts == u->state.in_parts && !record->held &&
                    record->offset - record->tail_bytes < u->state.offset;
    size_t head;

    int r = upload_log_append(l->store, l->raw, u->video_id, u->state.seq + 1, record, tail, &head, e);
    if (r == -ERR_STALE)
        r = upload_lose(u, e);
    else if (r != 0)
        u->doubtful = true;
    if (r == 0) {
        r = upload_state_add(&u->state, u->state.seq + 1, record, head, e);
        if (r != 0) /* it is written, but not known here */
            u->stage = UPLOAD_LOST;
    }
    if (r == 0) {
        u->recorded_ms = clock_mono_ms();
        if (record->kind != UPLOAD_COMPLETING)
            spend_tails(u, &before, repeated);
        r = tell_cache_if_there(u, e);
    }
    mem_free(before.seq);
    return r;
}

/* --- The writer --- */

/* One that no record names is ours to abort. But one that a record may name is not, unless the upload goes anyway. */
static void drop_multipart(struct upload *u, int failure)
{
    if (failure == -ERR_STALE || !upload_resumable(u))
        (void)!store_multipart_abort(u->library->store, u->library->raw, u->source.s, u->upload_id, NULL);
    memcpy(u->upload_id, u->state.upload_id, sizeof u->upload_id);
}

static bool is_writer(const struct upload *u)
{
    return u->state.fence == u->fence && strcmp(u->state.writer, u->nonce) == 0;
}

/* One that can't be resumed has one writer only, who needs no second reservation. */
unsigned upload_reservation(const struct upload *u)
{
    return u->last_number + RESERVE > STORE_PART_MAX || !upload_resumable(u) ? STORE_PART_MAX
                                                                             : u->last_number + RESERVE;
}

/* A new upload's first byte; nobody else knows of it. */
static int take_lease(struct upload *u, struct err *e)
{
    const struct upload_take take = {.video_id = u->video_id,
                                     .process = upload_desk_process(u->service->desk),
                                     .nonce = u->nonce,
                                     .bound = UINT32_MAX}; /* it is admitted */
    UPLOAD_STATE_AUTO struct upload_state cached = {0};
    enum upload_take_verdict verdict;
    char holder[ID_NONCE_SIZE];

    int r = upload_writer_take(u->library->queue, &take, &verdict, holder, &u->fence, u->epoch, &cached, e);
    if (r != 0)
        return r;
    if (verdict != UPLOAD_TAKEN)
        return upload_lose(u, e);
    upload_table_leased(u, true);
    return 0;
}

int upload_become_writer(struct upload *u, bool sending, struct err *e)
{
    int r = 0;

    if (u->origin != UPLOAD_FORM && !u->leased)
        r = take_lease(u, e);
    if (r != 0)
        return r;
    bool writer = is_writer(u), opens = sending && u->upload_id[0] == '\0';
    bool keeps = writer && (u->holding || u->state.held_count > 0); /* what is held, which any other record discards */
    if (writer && (!sending || (!opens && u->last_number < u->state.reserved)))
        return 0;
    if (sending && u->last_number >= STORE_PART_MAX)
        return err_set(e, ERR_TOO_LARGE,
                       "too many broken attempts: no part number is left for this upload; create another one");
    if (opens)
        r = store_multipart_create(u->library->store, u->library->raw, u->source.s, NULL, u->upload_id, e);
    if (r != 0)
        return r;
    struct upload_record record = upload_next_record(u, keeps ? UPLOAD_BYTES : UPLOAD_WRITER);
    record.held = keeps;
    if (sending)
        record.reserved = upload_reservation(u);
    r = upload_add_record(u, &record, NULL, e);
    if (r != 0 && opens && strcmp(u->state.upload_id, u->upload_id) != 0)
        drop_multipart(u, r);
    return r;
}

/* --- Reading --- */

int upload_fold(const struct library *l, const char *video_id, struct upload_state *ret, struct err *e)
{
    bool deleted = false;

    int r = outcome_video_deleted(l->store, l->raw, video_id, &deleted, e);
    if (r == 0 && deleted)
        return err_set(e, ERR_STALE, "the upload was deleted");
    return r == 0 ? upload_log_fold(l->store, l->raw, video_id, ret, e) : r;
}

void upload_rewind(struct upload *u)
{
    u->received = u->state.offset;
    u->confirmed = u->submitted = u->state.in_parts;
    u->length = u->state.length;
    u->held_sent = 0;
    u->part_count = 0;
    u->broken = u->holding = false;
    if (u->last_number < u->state.reserved && !is_writer(u))
        u->last_number = u->state.reserved;
    memcpy(u->upload_id, u->state.upload_id, sizeof u->upload_id);
}
