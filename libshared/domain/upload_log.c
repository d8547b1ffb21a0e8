#include "upload_log.h"

#include "base/mem.h"
#include "base/str.h"
#include "domain/layout.h"

#include <inttypes.h>
#include <string.h>

static const struct store_put_options first_wins = {.if_none_match = true, .content_type = "application/json"};

/* A lost answer, repeated by the back end, meets its own record: then it was us. */
static int was_it_ours(struct store *s, const char *raw_bucket, const char *key, const struct buf *text, struct err *e)
{
    MEM_AUTO char *there = NULL;
    size_t len;

    int r = store_get_bytes(s, raw_bucket, key, UPLOAD_RECORD_MAX, &there, &len, e);
    if (r != 0)
        return r;
    if (len != text->len || memcmp(there, buf_cstr(text), len) != 0)
        return err_set(e, ERR_STALE, "somebody else has written %s", key);
    return 0;
}

int upload_log_append(struct store *s, const char *raw_bucket, const char *video_id, uint64_t seq,
                      const struct upload_record *record, struct err *e)
{
    struct layout_key key = layout_log(video_id, seq);
    BUF_AUTO struct buf text;

    buf_init(&text, UPLOAD_RECORD_MAX);
    int r = upload_record_write(record, &text, e);
    if (r != 0)
        return r;
    r = store_put_bytes(s, raw_bucket, key.s, buf_cstr(&text), text.len, &first_wins, e);
    return r == -ERR_CONFLICT ? was_it_ours(s, raw_bucket, key.s, &text, e) : r;
}

/* --- The newest --- */

static int keep_highest(void *ctx, const struct store_entry *entry, struct err *e)
{
    uint64_t *highest = ctx, seq;
    const char *name = strrchr(entry->key, '/');

    (void)e;
    if (name != NULL && str_to_u64(name + 1, &seq) && seq > *highest)
        *highest = seq;
    return 0;
}

int upload_log_newest(struct store *s, const char *raw_bucket, const char *video_id, struct upload_record *ret,
                      uint64_t *ret_seq, struct err *e)
{
    MEM_AUTO char *text = NULL;
    uint64_t highest = 0;
    size_t len;

    int r = store_list(s, raw_bucket, layout_log_prefix(video_id).s, NULL, 0, keep_highest, &highest, e);
    if (r != 0)
        return r;
    if (highest == 0)
        return err_set(e, ERR_NOT_FOUND, "upload %s: no log", video_id);
    r = store_get_bytes(s, raw_bucket, layout_log(video_id, highest).s, UPLOAD_RECORD_MAX, &text, &len, e);
    if (r == 0)
        r = upload_record_parse(text, len, ret, e);
    if (r == -ERR_INVALID)
        e->kind = ERR_BUG; /* Weir wrote it */
    if (r != 0)
        return err_wrap(e, "upload %s: record %" PRIu64, video_id, highest);
    *ret_seq = highest;
    return 0;
}

/* --- Closing --- */

#define CLOSE_ATTEMPTS 8 /* a live writer may be ahead of us now and then, but not for ever */

int upload_log_close(struct store *s, const char *raw_bucket, const char *video_id, bool unless_completing,
                     struct upload_record *ret, struct err *e)
{
    for (int attempt = 0; attempt < CLOSE_ATTEMPTS; attempt++) {
        UPLOAD_RECORD_AUTO struct upload_record before = {.kind = UPLOAD_CREATED};
        uint64_t seq = 0; /* without a log the closed record is the first: it keeps the creator out */

        int r = upload_log_newest(s, raw_bucket, video_id, &before, &seq, e);
        if (r != 0 && r != -ERR_NOT_FOUND)
            return r;
        bool ended = before.kind == UPLOAD_CLOSED || (unless_completing && before.kind == UPLOAD_COMPLETING);
        if (!ended) {
            struct upload_record closed = before;
            closed.kind = UPLOAD_CLOSED;
            closed.parts = NULL;
            closed.part_count = 0;
            id_nonce(closed.writer);
            r = upload_log_append(s, raw_bucket, video_id, seq + 1, &closed, e);
            if (r == -ERR_STALE)
                continue;
            if (r != 0)
                return r;
        }
        *ret = before;
        before.parts = NULL;
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
    static const struct store_put_options overwrite = {.content_type = "application/json"};
    const struct emptying *job = ctx;

    if (entry->size_bytes == job->text.len) /* empty since the last time */
        return 0;
    return store_put_bytes(job->store, job->bucket, entry->key, buf_cstr(&job->text), job->text.len, &overwrite, e);
}

int upload_log_empty(struct store *s, const char *raw_bucket, const char *video_id, struct err *e)
{
    static const struct upload_record nothing = {.kind = UPLOAD_CLOSED};
    struct emptying job = {.store = s, .bucket = raw_bucket};

    buf_init(&job.text, UPLOAD_RECORD_MAX);
    int r = upload_record_write(&nothing, &job.text, e);
    if (r == 0)
        r = store_list(s, raw_bucket, layout_log_prefix(video_id).s, NULL, 0, empty_one, &job, e);
    buf_release(&job.text);
    return r;
}
