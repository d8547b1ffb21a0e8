#include "base/buf.h"
#include "proto/form.h"

#include <stdlib.h>
#include <string.h>

/* However a body is cut into pieces, the same comes out as when it is fed at once. The first byte seeds the cuts, the
 * line that follows is the Content-Type, the rest is the body. */

static int on_begin(void *ctx, const struct form_part *part, struct err *e)
{
    (void)e;
    buf_printf(ctx, "%d[%s][%s][%s]", part->is_file, part->name, part->filename, part->content_type);
    return 0;
}

static int on_data(void *ctx, const void *data, size_t len, struct err *e)
{
    (void)e;
    if (len == 0)
        abort();
    buf_append(ctx, data, len);
    return 0;
}

static int on_end(void *ctx, struct err *e)
{
    (void)e;
    buf_puts(ctx, "[end]");
    return 0;
}

static const struct form_calls calls = {on_begin, on_data, on_end};

/* Feeds in pieces of 1 to 256 bytes picked by `seed`, or at once when it is 0. */
static int parse(const char *type, const uint8_t *body, size_t len, unsigned seed, struct buf *out)
{
    struct form_parser *parser;
    struct err e = {0};
    int r = form_new(type, &calls, out, &parser, &e);

    if (r != 0)
        return r;
    for (size_t at = 0, step; at < len && r == 0; at += step) {
        seed = seed * 1103515245 + (seed != 0);
        step = seed == 0 ? len : (seed >> 16) % (seed % 5 == 0 ? 256 : 4) + 1;
        if (step > len - at)
            step = len - at;
        r = form_feed(parser, body + at, step, &e);
    }
    if (r == 0)
        r = form_finish(parser, &e);
    form_free(parser);
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *line_end = size < 2 ? NULL : memchr(data + 1, '\n', size - 1);
    char type[256] = {0};

    if (line_end == NULL || (size_t)(line_end - data) > sizeof type)
        return 0;
    memcpy(type, data + 1, (size_t)(line_end - data) - 1);
    const uint8_t *body = line_end + 1;
    size_t len = size - (size_t)(body - data);

    struct buf whole BUF_AUTO, cut BUF_AUTO;
    buf_init(&whole, 1 << 20);
    buf_init(&cut, 1 << 20);
    int r = parse(type, body, len, 0, &whole);
    if (parse(type, body, len, data[0] + 1U, &cut) != r)
        abort();
    /* What was passed on before a failure may differ by what was held back. */
    if (r == 0 && (whole.len != cut.len || memcmp(buf_cstr(&whole), buf_cstr(&cut), whole.len) != 0))
        abort();
    return 0;
}
