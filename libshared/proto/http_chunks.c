#include "http_chunks.h"

#include <string.h>

#define MAX_DIGITS 16

enum chunk_state { SIZE, EXTENSION, SIZE_LF, DATA, DATA_CR, DATA_LF, TRAILER, ENDED, BAD };

void http_chunks_init(struct http_chunks *c)
{
    memset(c, 0, offsetof(struct http_chunks, trailers));
    c->state = SIZE;
    c->scan = http_scan_trailer();
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static enum chunk_state after_size(struct http_chunks *c, char byte)
{
    int digit = hex_value(byte);

    if (digit >= 0) {
        if (c->digits++ == MAX_DIGITS || c->left > (uint64_t)INT64_MAX >> 4)
            return BAD;
        c->left = c->left << 4 | (unsigned)digit;
        return SIZE;
    }
    if (c->digits == 0)
        return BAD;
    return byte == '\r' ? SIZE_LF : byte == ';' ? EXTENSION : BAD;
}

static enum chunk_state after_extension(struct http_chunks *c, char byte)
{
    if (byte == '\r')
        return SIZE_LF;
    if (((unsigned char)byte < 0x20 && byte != '\t') || byte == 0x7F || c->extensions++ == HTTP_EXTENSIONS_SIZE)
        return BAD;
    return EXTENSION;
}

/* One byte of what stands between the bytes of the body. */
static enum chunk_state step(struct http_chunks *c, char byte)
{
    switch ((enum chunk_state)c->state) {
    case SIZE:
        return after_size(c, byte);
    case EXTENSION:
        return after_extension(c, byte);
    case SIZE_LF:
        c->digits = 0;
        return byte != '\n' ? BAD : c->left == 0 ? TRAILER : DATA;
    case DATA_CR:
        return byte == '\r' ? DATA_LF : BAD;
    case DATA_LF:
        return byte == '\n' ? SIZE : BAD;
    default:
        return BAD;
    }
}

static size_t take_trailer(struct http_chunks *c, const char *data, size_t len)
{
    size_t room = sizeof c->trailer - c->trailer_len, used;
    enum http_scan_result result = http_scan_take(&c->scan, data, len < room ? len : room, &used);

    memcpy(c->trailer + c->trailer_len, data, used);
    c->trailer_len += used;
    if (result == HTTP_SCAN_END)
        c->state = http_trailer_split(c->trailer, c->trailer_len, c->trailers, HTTP_MAX_TRAILERS, &c->trailer_count)
                       ? ENDED
                       : BAD;
    else if (result == HTTP_SCAN_BAD || c->trailer_len == sizeof c->trailer)
        c->state = BAD;
    return used;
}

static size_t smaller(size_t a, uint64_t b)
{
    return a < b ? a : (size_t)b;
}

size_t http_chunks_take(struct http_chunks *c, const char *data, size_t len, size_t max, const char **ret_body,
                        size_t *ret_body_len)
{
    size_t used = 0;

    *ret_body_len = 0;
    while (used < len && c->state != ENDED && c->state != BAD) {
        if (c->state == TRAILER) {
            used += take_trailer(c, data + used, len - used);
        } else if (c->state == DATA) {
            size_t n = smaller(smaller(len - used, max), c->left);
            *ret_body = data + used;
            *ret_body_len = n;
            http_chunks_pass(c, n);
            return used + n;
        } else {
            c->state = (unsigned char)step(c, data[used++]);
        }
    }
    return used;
}

uint64_t http_chunks_plain(const struct http_chunks *c)
{
    return c->state == DATA ? c->left : 0;
}

void http_chunks_pass(struct http_chunks *c, uint64_t len)
{
    c->left -= len;
    if (c->left == 0)
        c->state = DATA_CR;
}

bool http_chunks_ended(const struct http_chunks *c)
{
    return c->state == ENDED;
}

bool http_chunks_bad(const struct http_chunks *c)
{
    return c->state == BAD;
}

const char *http_chunks_trailer(const struct http_chunks *c, const char *name)
{
    const struct http_head head = {.version = "1.1", .headers = c->trailers, .count = c->trailer_count};

    return http_head_find(&head, name);
}
