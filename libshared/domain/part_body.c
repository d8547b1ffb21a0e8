#include "part_body.h"

#include "base/mem.h"
#include "domain/layout.h"
#include "proto/crc32c.h"

#include <inttypes.h>
#include <string.h>

struct fetch {
    char *to;
    size_t left;
};

static int take_bytes(void *ctx, const void *data, size_t len, struct err *e)
{
    struct fetch *f = ctx;

    if (len > f->left)
        return err_set(e, ERR_TEMPORARY, "more came of a tail than was asked for");
    memcpy(f->to, data, len);
    f->to += len;
    f->left -= len;
    return 0;
}

/* Appends the tail's bytes from `skip` on, as far as the window holds. */
static int fetch_tail(struct part_body *b, const struct upload_tail *tail, uint64_t skip, struct err *e)
{
    struct layout_key key = layout_log(b->video_id, tail->seq);
    size_t room = PART_WINDOW_SIZE - b->window_len;
    size_t count = tail->size_bytes - skip < room ? (size_t)(tail->size_bytes - skip) : room;
    struct fetch f = {.to = b->window + b->window_len, .left = count};

    int r = store_get(b->store, b->bucket, key.s, tail->head + skip, count, take_bytes, &f, NULL, e);
    if (r == -ERR_NOT_FOUND || (r == 0 && f.left > 0))
        return err_set(e, ERR_STALE, "record %" PRIu64 " of the upload was emptied by somebody else", tail->seq);
    if (r == 0)
        b->window_len += count;
    return r;
}

/* With the bytes from `offset` on, which are a tail's: one request for each tail that has some of them. */
static int fill_window(struct part_body *b, uint64_t offset, struct err *e)
{
    uint64_t begin = 0; /* of the tail, in the part */
    int r = 0;

    if (b->window == NULL)
        b->window = mem_alloc(b->tail_bytes < PART_WINDOW_SIZE ? (size_t)b->tail_bytes : PART_WINDOW_SIZE);
    if (b->window == NULL)
        return err_set(e, ERR_TEMPORARY, "no memory to read a part's tails");
    b->window_at = offset;
    b->window_len = 0;
    for (size_t i = 0; r == 0 && i < b->tail_count && b->window_len < PART_WINDOW_SIZE; i++) {
        uint64_t next = offset + b->window_len;
        if (next < begin + b->tails[i].size_bytes)
            r = fetch_tail(b, &b->tails[i], next - begin, e);
        begin += b->tails[i].size_bytes;
    }
    return r;
}

static uint64_t window_end(const struct part_body *b)
{
    return b->window_at + b->window_len;
}

static int read_part(void *ctx, uint64_t offset, void *to, size_t size, struct err *e)
{
    struct part_body *b = ctx;
    char *out = to;

    while (size > 0 && offset < b->tail_bytes) {
        if (offset < b->window_at || offset >= window_end(b)) {
            int r = fill_window(b, offset, e);
            if (r != 0)
                return r;
        }
        size_t n = window_end(b) - offset < size ? (size_t)(window_end(b) - offset) : size;
        memcpy(out, b->window + (offset - b->window_at), n);
        out += n;
        offset += n;
        size -= n;
    }
    if (size == 0)
        return 0;
    if (b->chain == NULL)
        return err_set(e, ERR_BUG, "read past the end of a part");
    struct store_body rest = block_chain_body(b->chain);
    return rest.read_at(rest.ctx, offset - b->tail_bytes, out, size, e);
}

void part_body_init(struct part_body *b, struct store_body *ret)
{
    uint32_t crc = 0;

    b->tail_bytes = b->window_at = 0;
    b->window_len = 0;
    b->window = NULL;
    for (size_t i = 0; i < b->tail_count; i++) {
        crc = crc32c_combine(crc, b->tails[i].crc32c, b->tails[i].size_bytes);
        b->tail_bytes += b->tails[i].size_bytes;
    }
    *ret = (struct store_body){.size_bytes = b->tail_bytes, .read_at = read_part, .ctx = b, .has_crc32c = true};
    if (b->chain != NULL) {
        crc = crc32c_combine(crc, b->chain->crc32c, b->chain->len);
        ret->size_bytes += b->chain->len;
    }
    ret->crc32c = crc;
}

void part_body_release(struct part_body *b)
{
    mem_free(b->window);
    b->window = NULL;
    b->window_len = 0;
}
