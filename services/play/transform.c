#include "transform.h"

#include "proto/hls.h"

#include <zlib.h>

#define GZIP_WINDOW (15 + 16) /* zlib: the largest window, with a gzip header */
#define CHUNK 4096

struct prefixing {
    const char *copied; /* up to here */
    const char *prefix;
    struct buf *out;
};

static int put_prefix(void *ctx, const char *uri, size_t len, struct err *e)
{
    struct prefixing *p = ctx;
    (void)len;
    (void)e;
    buf_append(p->out, p->copied, (size_t)(uri - p->copied));
    buf_puts(p->out, p->prefix);
    p->copied = uri;
    return 0;
}

int transform_prefix(const char *text, size_t len, const char *prefix, struct buf *out, struct err *e)
{
    struct prefixing p = {.copied = text, .prefix = prefix, .out = out};

    int r = hls_each_uri(text, len, put_prefix, &p, e);
    if (r != 0)
        return r;
    buf_append(out, p.copied, (size_t)(text + len - p.copied));
    return 0;
}

int transform_gzip(const void *data, size_t len, struct buf *out, struct err *e)
{
    unsigned char chunk[CHUNK];
    z_stream z = {0};

    if (deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, GZIP_WINDOW, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return err_set(e, ERR_TEMPORARY, "gzip: out of memory");
    z.next_in = (z_const Bytef *)(uintptr_t)data;
    z.avail_in = (uInt)len;
    int r;
    do {
        z.next_out = chunk;
        z.avail_out = sizeof chunk;
        r = deflate(&z, Z_FINISH);
        buf_append(out, chunk, sizeof chunk - z.avail_out);
    } while (r == Z_OK);
    deflateEnd(&z);
    return r == Z_STREAM_END ? 0 : err_set(e, ERR_BUG, "gzip: zlib error %d", r);
}
