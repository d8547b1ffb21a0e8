#include "upload_session.h"

#include "base/mem.h"
#include "base/str.h"
#include "proto/tus_url.h"

#include <string.h>

#define COPY_MOST (UINT64_C(512) << 20) /* bytes of a part; larger ones take the store too long for one request */
#define COPY_PARTS 5000                 /* of the largest file: leaves numbers for what is streamed in between */

char *upload_concat_public(const char *received)
{
    static const char final[] = "final;";
    struct tus_name name;
    BUF_AUTO struct buf text;
    size_t len;

    buf_init(&text, UPLOAD_CONCAT_MAX);
    if (received == NULL || !str_starts(received, final))
        return mem_strdup(received);
    buf_append(&text, final, sizeof final - 1);
    for (const char *rest = received + sizeof final - 1, *url; (url = tus_url_next(&rest, &len)) != NULL;)
        if (tus_url_parse(url, len, &name))
            buf_printf(&text, "%s%s", text.len > sizeof final - 1 ? " " : "", name.video_id);
    return buf_detach(&text);
}

/* A part must have as many bytes as S3 wants, but for the last one of all. So the bytes of a partial upload are copied
 * inside the store where they fill parts, and stream through this process where they don't: at its beginning, as many as the
 * bytes before it lack, and when there are few of them. */

static int write_bytes(void *ctx, const void *data, size_t len, struct err *e)
{
    return upload_write(ctx, data, len, e);
}

static int stream(struct upload *u, const struct layout_key *from, uint64_t first, uint64_t count, struct err *e)
{
    uint64_t before = u->received;

    int r = store_get(u->library->store, u->library->raw, from->s, first, count, write_bytes, u, NULL, e);
    if (r == -ERR_NOT_FOUND)
        return err_set(e, ERR_STALE, "a partial upload was deleted");
    if (r == 0 && u->received != before + count)
        return err_set(e, ERR_TEMPORARY, "a partial upload has fewer bytes than were recorded");
    return r;
}

/* Its part comes after all that were sent before. */
static int copy(struct upload *u, const struct layout_key *from, uint64_t first, uint64_t count, struct err *e)
{
    const struct library *l = u->library;
    struct store_part part = {.size_bytes = count};

    int r = upload_become_writer(u, true, e);
    if (r == 0)
        r = upload_land(u, e);
    if (r != 0)
        return r;
    part.number = ++u->last_number;
    struct store_range source = {.key = from->s, .first = first, .count = count};
    r = store_multipart_copy(l->store, l->raw, u->source.s, u->upload_id, part.number, &source, part.etag, e);
    if (r == 0)
        r = upload_keep_part(u, &part, e);
    if (r != 0)
        return r == -ERR_NOT_FOUND ? err_set(e, ERR_STALE, "a partial upload was deleted, or this one was") : r;
    u->received = u->submitted = u->confirmed;
    return 0;
}

/* Bytes for one part out of so many that are left: what comes after it is not too little for one. */
static uint64_t piece(const struct upload *u, uint64_t left)
{
    uint64_t most = u->service->options.max_size / COPY_PARTS;

    if (most < COPY_MOST)
        most = COPY_MOST;
    if (left <= most)
        return left;
    return left - most < STORE_PART_MIN_SIZE ? left / 2 : most;
}

static int append_some(struct upload *u, const struct layout_key *from, uint64_t at, uint64_t left, uint64_t *ret_count,
                       struct err *e)
{
    uint64_t pending = upload_pending(u), lacks = pending < STORE_PART_MIN_SIZE ? STORE_PART_MIN_SIZE - pending : 0;

    if (pending == 0 && left >= STORE_PART_MIN_SIZE) {
        *ret_count = piece(u, left);
        return copy(u, from, at, *ret_count, e);
    }
    if (lacks == 0 && left >= STORE_PART_MIN_SIZE) {
        *ret_count = 0;
        return upload_send_pending(u, e);
    }
    *ret_count = left >= lacks + STORE_PART_MIN_SIZE ? lacks : left;
    return stream(u, from, at, *ret_count, e);
}

static int note_partial(struct upload *u, const char *video_id, struct err *e)
{
    char(*grown)[ID_VIDEO_SIZE] = mem_resize(u->partials, u->partial_count + 1, sizeof *grown);

    if (grown == NULL)
        return err_set(e, ERR_TEMPORARY, "no memory for an upload");
    u->partials = grown;
    memcpy(u->partials[u->partial_count++], video_id, ID_VIDEO_SIZE);
    return 0;
}

int upload_append_partial(struct upload *u, const struct upload_state *partial, struct err *e)
{
    struct layout_key from = layout_partial(partial->video_id);

    int r = upload_check_open(u, e);
    if (r == 0 && (partial->facts.origin != UPLOAD_PARTIAL || partial->kind != UPLOAD_COMPLETING))
        r = err_set(e, ERR_INVALID, "not a partial upload that is finished");
    if (r == 0 && partial->offset > u->service->options.max_size - u->received)
        r = err_set(e, ERR_TOO_LARGE, "the file is larger than what is taken; put fewer partial uploads together");
    if (r == 0)
        r = note_partial(u, partial->video_id, e);
    for (uint64_t at = 0, count; r == 0 && at < partial->offset; at += count)
        r = append_some(u, &from, at, partial->offset - at, &count, e);
    return r;
}
