#include "upload_log.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "domain/layout.h"
#include "proto/crc32c.h"

#include <inttypes.h>
#include <string.h>

#define HEAD_BYTES (16 * 1024) /* nearly every record's JSON is shorter */
#define CHASE_MAX 10000        /* records that are written while others are read */
#define CLOSE_ATTEMPTS 8       /* a live writer may be ahead of us now and then, but not for ever */

static const char json_type[] = "application/json", mixed_type[] = "application/octet-stream";

/* --- Appending --- */

/* A record as it is sent: its JSON, then the bytes of its tail. */
struct two_pieces {
    const struct buf *head;
    const struct store_body *tail;
};

static int read_pieces(void *ctx, uint64_t offset, void *to, size_t size, struct err *e)
{
    const struct two_pieces *p = ctx;
    char *at = to;

    if (offset < p->head->len) {
        size_t first = p->head->len - (size_t)offset < size ? p->head->len - (size_t)offset : size;
        memcpy(at, p->head->data + offset, first);
        at += first;
        offset += first;
        size -= first;
    }
    return size == 0 ? 0 : p->tail->read_at(p->tail->ctx, offset - p->head->len, at, size, e);
}

/* Takes as many bytes as there is room for. */
static int collect_bytes(void *ctx, const void *data, size_t len, struct err *e)
{
    buf_append(ctx, data, len);
    return buf_check(ctx, "a record's head", e);
}

/* Whoever gets a conflict may have been the creator, and only the answer was lost. The JSON tells the writer, and the tail's
 * size and checksum too. */
static int was_it_ours(struct store *s, const char *bucket, const char *key, const struct buf *head,
                       uint64_t size_bytes, struct err *e)
{
    BUF_AUTO struct buf there;
    struct store_info info;

    buf_init(&there, UPLOAD_RECORD_MAX);
    int r = store_get(s, bucket, key, 0, head->len, collect_bytes, &there, &info, e);
    if (r != 0 && r != -ERR_NOT_FOUND)
        return r;
    if (r != 0 || info.size_bytes != size_bytes || there.len != head->len ||
        memcmp(there.data, head->data, head->len) != 0)
        return err_set(e, ERR_STALE, "somebody else has written %s", key);
    return 0;
}

static int put_record(struct store *s, const char *bucket, const char *key, const struct upload_record *record,
                      const struct buf *head, const struct store_body *tail, struct err *e)
{
    struct two_pieces pieces = {.head = head, .tail = tail};
    uint32_t head_crc = crc32c_update(0, head->data, head->len);
    const struct store_body body = {
        .size_bytes = head->len + record->tail_bytes,
        .read_at = read_pieces,
        .ctx = &pieces,
        .has_crc32c = true,
        .crc32c = tail == NULL ? head_crc : crc32c_combine(head_crc, record->tail_crc32c, record->tail_bytes),
    };
    const struct store_put_options first_wins = {.if_none_match = true,
                                                 .content_type = tail == NULL ? json_type : mixed_type};

    int r = store_put(s, bucket, key, &body, &first_wins, NULL, e);
    return r == -ERR_CONFLICT ? was_it_ours(s, bucket, key, head, body.size_bytes, e) : r;
}

int upload_log_append(struct store *s, const char *raw_bucket, const char *video_id, uint64_t seq,
                      const struct upload_record *record, const struct store_body *tail, size_t *ret_head,
                      struct err *e)
{
    BUF_AUTO struct buf head;

    buf_init(&head, UPLOAD_RECORD_MAX);
    if (seq == 0 || seq > UPLOAD_LOG_MAX)
        return err_set(e, ERR_BUG, "upload %s: %" PRIu64 " is no record", video_id, seq);
    if (record->tail_bytes != (tail == NULL ? 0 : tail->size_bytes))
        return err_set(e, ERR_BUG, "upload %s: a tail of another size", video_id);
    int r = upload_record_write(record, &head, e);
    if (r == 0)
        r = put_record(s, raw_bucket, layout_log(video_id, seq).s, record, &head, tail, e);
    if (r == 0)
        *ret_head = head.len;
    return r;
}

int upload_log_spend(struct store *s, const char *raw_bucket, const char *video_id, uint64_t seq, struct err *e)
{
    static const struct store_put_options overwrite = {.content_type = mixed_type};

    return store_put_bytes(s, raw_bucket, layout_log(video_id, seq).s, "", 0, &overwrite, e);
}

/* --- Reading a record --- */

/* Reads on from what is in `text` until it has `want` bytes, or the object ends. It may be overwritten meanwhile, by less:
 * then from its beginning. */
static int read_on(struct store *s, const char *bucket, const char *key, size_t want, struct buf *text,
                   struct store_info *info, struct err *e)
{
    struct store_info before = *info;

    int r = store_get(s, bucket, key, text->len, want - text->len, collect_bytes, text, info, e);
    if (r != 0 || before.etag[0] == '\0' || strcmp(before.etag, info->etag) == 0)
        return r;
    buf_reset(text);
    return store_get(s, bucket, key, 0, want, collect_bytes, text, info, e);
}

/* *ret_head 0: it is spent. ERR_NOT_FOUND: there is none. */
static int read_record(struct store *s, const char *bucket, const char *video_id, uint64_t seq,
                       struct upload_record *ret, size_t *ret_head, struct err *e)
{
    struct layout_key key = layout_log(video_id, seq);
    struct store_info info = {0};
    BUF_AUTO struct buf text;
    int r = -ERR_NOT_FOUND;

    buf_init(&text, UPLOAD_RECORD_MAX);
    for (size_t want = HEAD_BYTES; r == -ERR_NOT_FOUND; want *= 4) {
        r = read_on(s, bucket, key.s, want < UPLOAD_RECORD_MAX ? want : UPLOAD_RECORD_MAX, &text, &info, e);
        if (r != 0)
            return r;
        if (info.size_bytes == 0) {
            *ret_head = 0;
            return 0;
        }
        r = upload_record_parse(buf_cstr(&text), text.len, ret, ret_head, e);
        if (r == -ERR_NOT_FOUND && text.len == info.size_bytes)
            r = err_set(e, ERR_INVALID, "its line does not end");
    }
    if (r == -ERR_INVALID)
        e->kind = ERR_BUG; /* Weir wrote it */
    return r == 0 ? 0 : err_wrap(e, "upload %s: record %" PRIu64, video_id, seq);
}

/* --- Folding --- */

/* What a LIST has shown, which may be behind and have gaps while a writer is at work: where to read up to, and what need
 * not be read. Single keys tell the rest: none ever goes, so the first that is not there is the end. */
struct listing {
    uint64_t last; /* 0: there is no record */
    uint64_t *seq; /* owned: those that are spent */
    size_t count, room;
};

static int add_to_listing(void *ctx, const struct store_entry *entry, struct err *e)
{
    struct listing *l = ctx;
    const char *name = strrchr(entry->key, '/');
    uint64_t seq;

    if (name == NULL || !str_to_u64(name + 1, &seq) || seq > UPLOAD_LOG_MAX)
        return 0;
    l->last = seq;
    if (entry->size_bytes > 0)
        return 0;
    if (l->count == l->room) {
        size_t room = l->room == 0 ? 64 : 2 * l->room;
        uint64_t *grown = mem_resize(l->seq, room, sizeof *grown);
        if (grown == NULL)
            return err_set(e, ERR_TEMPORARY, "no memory for the log of an upload");
        l->seq = grown;
        l->room = room;
    }
    l->seq[l->count++] = seq;
    return 0;
}

static int list_log(struct store *s, const char *bucket, const char *video_id, struct listing *ret, struct err *e)
{
    int r = store_list(s, bucket, layout_log_prefix(video_id).s, NULL, 0, add_to_listing, ret, e);

    if (r == 0 && ret->last == 0)
        return err_set(e, ERR_NOT_FOUND, "upload %s: no log", video_id);
    return r;
}

/* Adds the record behind the state's newest. ERR_NOT_FOUND: there is none. */
static int add_next(struct store *s, const char *bucket, struct upload_state *state, struct err *e)
{
    UPLOAD_RECORD_AUTO struct upload_record record = {0};
    size_t head;

    int r = read_record(s, bucket, state->video_id, state->seq + 1, &record, &head, e);
    if (r == 0 && head == 0)
        state->seq++;
    else if (r == 0)
        r = upload_state_add(state, state->seq + 1, &record, head, e);
    return r;
}

static int add_listed(struct store *s, const char *bucket, const struct listing *l, struct upload_state *state,
                      struct err *e)
{
    int r = 0;

    for (size_t spent = 0; r == 0 && state->seq < l->last; spent += spent < l->count && l->seq[spent] <= state->seq) {
        if (state->seq > 0 && state->kind == UPLOAD_CLOSED)
            state->seq = l->last; /* what follows says nothing */
        else if (spent < l->count && l->seq[spent] == state->seq + 1)
            state->seq++;
        else
            r = add_next(s, bucket, state, e);
    }
    if (r == -ERR_NOT_FOUND && state->seq > 0) /* without its first, the whole log is being removed */
        e->kind = ERR_BUG;
    return r == 0 ? 0 : -(int)e->kind;
}

/* Goes on from the LIST to the end. */
static int add_newer(struct store *s, const char *bucket, struct upload_state *state, struct err *e)
{
    for (int i = 0; i < CHASE_MAX; i++) {
        int r = add_next(s, bucket, state, e);
        if (r != 0)
            return r == -ERR_NOT_FOUND ? 0 : r;
    }
    return err_set(e, ERR_BUSY, "its writer is too fast; ask again in a moment");
}

/* The last bytes of one that is completing without parts were with its writer. */
static bool may_have_a_hole(const struct upload_state *s)
{
    return s->kind == UPLOAD_CLOSED || (s->kind == UPLOAD_COMPLETING && s->part_count == 0);
}

int upload_log_fold(struct store *s, const char *raw_bucket, const char *video_id, struct upload_state *ret,
                    struct err *e)
{
    UPLOAD_STATE_AUTO struct upload_state state = {0};
    struct listing l = {0};

    str_copy(state.video_id, sizeof state.video_id, video_id);
    int r = list_log(s, raw_bucket, video_id, &l, e);
    if (r == 0)
        r = add_listed(s, raw_bucket, &l, &state, e);
    mem_free(l.seq);
    if (r == 0)
        r = add_newer(s, raw_bucket, &state, e);
    if (r == 0 && !upload_state_whole(&state) && !may_have_a_hole(&state))
        r = err_set(e, ERR_BUG, "nothing holds some of its bytes");
    if (r != 0)
        return err_wrap(e, "the log of upload %s", video_id);
    *ret = state;
    state = (struct upload_state){0};
    return 0;
}

int upload_log_newest(struct store *s, const char *raw_bucket, const char *video_id, struct upload_record *ret,
                      uint64_t *ret_seq, struct err *e)
{
    UPLOAD_RECORD_AUTO struct upload_record newest = {0};
    struct listing l = {0};
    uint64_t seq = 0;

    int r = list_log(s, raw_bucket, video_id, &l, e);
    mem_free(l.seq);
    for (uint64_t next = l.last; r == 0; next++) {
        struct upload_record record = {0};
        size_t head;
        r = read_record(s, raw_bucket, video_id, next, &record, &head, e);
        if (r == 0 && head > 0) {
            upload_record_release(&newest);
            newest = record;
            seq = next;
        }
    }
    if (r != -ERR_NOT_FOUND || seq == 0)
        return r;
    *ret = newest;
    *ret_seq = seq;
    newest = (struct upload_record){0};
    return 0;
}

/* --- Closing --- */

/* Everything but what only the record before it had. */
static struct upload_record closing(const struct upload_record *before)
{
    struct upload_record closed = *before;

    closed.kind = UPLOAD_CLOSED;
    closed.written_ms = clock_wall_ms();
    closed.held = closed.takes_held = false;
    closed.tail_bytes = 0;
    closed.parts = NULL;
    closed.part_count = 0;
    closed.facts = (struct upload_facts){0};
    id_nonce(closed.writer);
    return closed;
}

int upload_log_close(struct store *s, const char *raw_bucket, const char *video_id, bool unless_completing,
                     struct upload_record *ret, struct err *e)
{
    for (int attempt = 0; attempt < CLOSE_ATTEMPTS; attempt++) {
        UPLOAD_RECORD_AUTO struct upload_record before = {.kind = UPLOAD_CREATED};
        uint64_t seq = 0; /* without a log the closed record is the first: it keeps the creator out */
        size_t head;

        int r = upload_log_newest(s, raw_bucket, video_id, &before, &seq, e);
        if (r != 0 && r != -ERR_NOT_FOUND)
            return r;
        bool ended = before.kind == UPLOAD_CLOSED || (unless_completing && before.kind == UPLOAD_COMPLETING);
        if (!ended) {
            struct upload_record closed = closing(&before);
            r = upload_log_append(s, raw_bucket, video_id, seq + 1, &closed, NULL, &head, e);
            if (r == -ERR_STALE)
                continue;
            if (r != 0)
                return r;
        }
        *ret = before;
        before = (struct upload_record){0};
        return 0;
    }
    return err_set(e, ERR_BUSY, "upload %s: its writer is too fast to be closed", video_id);
}

/* --- Emptying --- */

struct emptying {
    struct store *store;
    const char *bucket;
    struct buf text;
};

static int empty_one(void *ctx, const struct store_entry *entry, struct err *e)
{
    static const struct store_put_options overwrite = {.content_type = json_type};
    const struct emptying *job = ctx;

    if (entry->size_bytes == 0 || entry->size_bytes == job->text.len) /* spent; empty since the last time */
        return 0;
    return store_put_bytes(job->store, job->bucket, entry->key, buf_cstr(&job->text), job->text.len, &overwrite, e);
}

int upload_log_empty(struct store *s, const char *raw_bucket, const char *video_id, struct err *e)
{
    const struct upload_record nothing = {.kind = UPLOAD_CLOSED, .written_ms = clock_wall_ms()};
    struct emptying job = {.store = s, .bucket = raw_bucket};

    buf_init(&job.text, UPLOAD_RECORD_MAX);
    int r = upload_record_write(&nothing, &job.text, e);
    if (r == 0)
        r = store_list(s, raw_bucket, layout_log_prefix(video_id).s, NULL, 0, empty_one, &job, e);
    buf_release(&job.text);
    return r;
}
