#include "http_stream.h"

#include <string.h>

static const struct http_refusal malformed = {400, "bad-request",
                                              "The headers have a line that is not a header, or does not end in CR and "
                                              "LF, or the request is not HTTP/1.1 at all."};
static const struct http_refusal too_large = {431, "headers-too-large", "The headers are larger than 16 KiB."};

static void await_head(struct http_stream *s)
{
    s->news = HTTP_STREAM_MORE;
    s->scan = http_scan_head();
    s->head_len = s->at = 0;
    s->chunked = false;
    s->left = 0;
}

void http_stream_init(struct http_stream *s)
{
    await_head(s);
    s->len = 0;
}

char *http_stream_room(struct http_stream *s, size_t *ret_len)
{
    if (s->news == HTTP_STREAM_HEAD && s->at == s->len)
        s->at = s->len = s->head_len;
    *ret_len = sizeof s->data - s->len;
    return s->data + s->len;
}

void http_stream_add(struct http_stream *s, size_t len)
{
    s->len += len;
}

bool http_stream_empty(const struct http_stream *s)
{
    return s->len == s->at;
}

enum http_stream_news http_stream_look(struct http_stream *s)
{
    size_t end = s->len < HTTP_HEAD_SIZE ? s->len : HTTP_HEAD_SIZE, used;

    if (s->news != HTTP_STREAM_MORE)
        return s->news;
    enum http_scan_result result = http_scan_take(&s->scan, s->data + s->head_len, end - s->head_len, &used);
    s->head_len += used;
    if (result == HTTP_SCAN_END) {
        s->at = s->head_len;
        s->news = HTTP_STREAM_HEAD;
    } else if (result == HTTP_SCAN_BAD || s->head_len == HTTP_HEAD_SIZE) {
        s->news = HTTP_STREAM_REFUSED;
    }
    return s->news;
}

static bool read_head(struct http_stream *s, struct http_header *headers, struct http_message *ret,
                      struct http_refusal *refusal)
{
    struct http_line line;

    ret->head.headers = headers;
    if (!http_head_split(s->data, s->head_len, &line, headers, &ret->head.count, refusal))
        return false;
    ret->method = line.method;
    ret->head.version = line.version;
    if (!http_head_check(&ret->head, &ret->framing, refusal))
        return false;
    if (!http_target_split(line.target, &ret->head, &ret->path, &ret->query))
        ret->path = ret->query = NULL;
    return true;
}

bool http_stream_begin(struct http_stream *s, struct http_header *headers, struct http_message *ret,
                       struct http_refusal *ret_refusal)
{
    *ret = (struct http_message){.method = "-", .head = {.version = "1.1", .headers = headers}};
    if (s->news == HTTP_STREAM_REFUSED) {
        *ret_refusal = s->head_len == HTTP_HEAD_SIZE ? too_large : malformed;
        return false;
    }
    if (!read_head(s, headers, ret, ret_refusal)) {
        s->news = HTTP_STREAM_REFUSED;
        return false;
    }
    s->chunked = ret->framing.chunked;
    s->left = ret->framing.length;
    if (s->chunked)
        http_chunks_init(&s->chunks);
    return true;
}

static size_t take_chunked(struct http_stream *s, char *data, size_t size)
{
    size_t got = 0, used, len;
    const char *body = "";

    do {
        used = http_chunks_take(&s->chunks, s->data + s->at, s->len - s->at, size - got, &body, &len);
        s->at += used;
        memcpy(data + got, body, len);
        got += len;
    } while (used > 0 && got < size);
    return got;
}

size_t http_stream_take(struct http_stream *s, void *data, size_t size)
{
    if (s->chunked)
        return take_chunked(s, data, size);
    if (size > s->len - s->at)
        size = s->len - s->at;
    if (size > s->left)
        size = (size_t)s->left;
    memcpy(data, s->data + s->at, size);
    s->at += size;
    s->left -= size;
    return size;
}

uint64_t http_stream_plain(const struct http_stream *s)
{
    if (s->at < s->len)
        return 0;
    return s->chunked ? http_chunks_plain(&s->chunks) : s->left;
}

void http_stream_pass(struct http_stream *s, uint64_t len)
{
    if (s->chunked && len > 0)
        http_chunks_pass(&s->chunks, len);
    else
        s->left -= len;
}

bool http_stream_ended(const struct http_stream *s)
{
    return s->chunked ? http_chunks_ended(&s->chunks) : s->left == 0;
}

bool http_stream_bad(const struct http_stream *s)
{
    return s->chunked && http_chunks_bad(&s->chunks);
}

const char *http_stream_trailer(const struct http_stream *s, const char *name)
{
    return s->chunked ? http_chunks_trailer(&s->chunks, name) : NULL;
}

void http_stream_next(struct http_stream *s)
{
    s->len -= s->at;
    memmove(s->data, s->data + s->at, s->len);
    await_head(s);
}
