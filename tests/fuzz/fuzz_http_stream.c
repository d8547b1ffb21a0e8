#include "base/buf.h"
#include "proto/http_stream.h"

#include <http_parser.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* What comes in on a connection, cut into pieces that the first byte picks: it tells the same as when it comes at once, and
 * what http-parser makes of the same bytes by itself is the same requests with the same bodies. */

static void require(bool condition)
{
    if (!condition)
        abort();
}

/* --- Our reading --- */

struct source {
    const uint8_t *data;
    size_t len, used;
    unsigned seed; /* 0: everything at once */
};

static size_t next_step(struct source *in, size_t max)
{
    size_t step = max, left = in->len - in->used;

    if (in->seed != 0) {
        in->seed = in->seed * 1103515245 + 12345;
        step = (in->seed >> 16) % (in->seed % 7 == 0 ? 300 : 5) + 1;
    }
    step = step < max ? step : max;
    return step < left ? step : left;
}

static void add(struct http_stream *s, struct source *in)
{
    size_t room;
    char *to = http_stream_room(s, &room);

    require(room > 0);
    size_t step = next_step(in, room);
    memcpy(to, in->data + in->used, step);
    http_stream_add(s, step);
    in->used += step;
}

/* False when it does not end. */
static bool read_body(struct http_stream *s, struct source *in, struct buf *out)
{
    char part[64];
    size_t n, size;

    for (;;) {
        size = next_step(in, sizeof part) + 1;
        while ((n = http_stream_take(s, part, size < sizeof part ? size : sizeof part)) > 0)
            buf_append(out, part, n);
        require(!http_stream_ended(s) || !http_stream_bad(s));
        if (http_stream_ended(s) || http_stream_bad(s) || in->used == in->len)
            return http_stream_ended(s);
        uint64_t plain = http_stream_plain(s);
        if (plain == 0 || in->used % 3 == 0) { /* either way is right */
            add(s, in);
            continue;
        }
        n = next_step(in, plain < 65536 ? (size_t)plain : 65536);
        buf_append(out, in->data + in->used, n);
        http_stream_pass(s, n);
        in->used += n;
    }
}

static void check_framing(const struct http_message *m)
{
    size_t lengths = 0, hosts = 0;

    for (size_t i = 0; i < m->head.count; i++) {
        lengths += strcasecmp(m->head.headers[i].name, "Content-Length") == 0;
        lengths += strcasecmp(m->head.headers[i].name, "Transfer-Encoding") == 0;
        hosts += strcasecmp(m->head.headers[i].name, "Host") == 0;
    }
    require(lengths <= 1 && hosts <= 1 && m->head.count <= HTTP_MAX_HEADERS);
    require(lengths == (size_t)(m->framing.has_length || m->framing.chunked));
    require(!(m->framing.has_length && m->framing.chunked));
    require(m->path == NULL || *m->path == '/');
}

static void tell_field(struct buf *out, const char *name, size_t name_len, const char *value, size_t value_len)
{
    while (value_len > 0 && (value[value_len - 1] == ' ' || value[value_len - 1] == '\t'))
        value_len--;
    buf_append(out, name, name_len);
    buf_puts(out, ": ");
    buf_append(out, value, value_len);
    buf_puts(out, "\n");
}

static void tell_head(const struct http_message *m, struct buf *out)
{
    buf_printf(out, "%s\n", m->method);
    for (size_t i = 0; i < m->head.count; i++) {
        const struct http_header *h = &m->head.headers[i];
        tell_field(out, h->name, strlen(h->name), h->value, strlen(h->value));
    }
    buf_puts(out, "\n");
}

struct story {
    struct buf complete; /* requests with their bodies */
    struct buf rest;     /* what there is of the last one, and why it ends */
    size_t used;         /* bytes of the complete ones */
};

/* False when the stream does not go on. */
static bool read_request(struct http_stream *s, struct source *in, struct story *story)
{
    struct http_header headers[HTTP_MAX_HEADERS + 1];
    struct http_message m;
    struct http_refusal refusal = {0};

    if (!http_stream_begin(s, headers, &m, &refusal)) {
        require(refusal.status >= 400 && refusal.type != NULL && refusal.detail != NULL);
        buf_printf(&story->rest, "%d", refusal.status);
        return false;
    }
    check_framing(&m);
    buf_reset(&story->rest);
    tell_head(&m, &story->rest);
    if (!read_body(s, in, &story->rest)) {
        buf_puts(&story->rest, http_stream_bad(s) ? "bad" : "more");
        return false;
    }
    buf_append(&story->complete, buf_cstr(&story->rest), story->rest.len);
    buf_reset(&story->rest);
    const char *trailer = http_stream_trailer(s, "X");
    buf_puts(&story->rest, trailer == NULL ? "" : trailer);
    http_stream_next(s);
    story->used = in->used - s->len;
    return true;
}

static void read_stream(struct source in, struct story *story)
{
    static struct http_stream s;
    enum http_stream_news news;

    http_stream_init(&s);
    do {
        while ((news = http_stream_look(&s)) == HTTP_STREAM_MORE && in.used < in.len)
            add(&s, &in);
    } while (news != HTTP_STREAM_MORE && read_request(&s, &in, story));
}

/* --- http-parser's --- */

struct parsed {
    struct buf *out;
    const char *name;
    size_t name_len;
    bool in_body;
};

static int on_name(http_parser *parser, const char *at, size_t len)
{
    struct parsed *p = parser->data;

    p->name = at;
    p->name_len = len;
    return 0;
}

static int on_value(http_parser *parser, const char *at, size_t len)
{
    struct parsed *p = parser->data;

    if (!p->in_body) /* else a trailer */
        tell_field(p->out, p->name, p->name_len, at, len);
    return 0;
}

static int on_headers(http_parser *parser)
{
    struct parsed *p = parser->data;

    p->in_body = true;
    buf_puts(p->out, "\n");
    return 0;
}

static int on_url(http_parser *parser, const char *at, size_t len)
{
    struct parsed *p = parser->data;

    (void)at;
    (void)len;
    buf_printf(p->out, "%s\n", http_method_str((enum http_method)parser->method));
    return 0;
}

static int on_body(http_parser *parser, const char *at, size_t len)
{
    struct parsed *p = parser->data;

    buf_append(p->out, at, len);
    return 0;
}

static int on_end(http_parser *parser)
{
    http_parser_pause(parser, 1);
    return 0;
}

static void parse_stream(const char *data, size_t len, struct buf *out)
{
    static const http_parser_settings callbacks = {.on_url = on_url,
                                                   .on_header_field = on_name,
                                                   .on_header_value = on_value,
                                                   .on_headers_complete = on_headers,
                                                   .on_body = on_body,
                                                   .on_message_complete = on_end};

    while (len > 0) {
        struct parsed parsed = {.out = out};
        http_parser parser;
        http_parser_init(&parser, HTTP_REQUEST);
        parser.data = &parsed;
        size_t used = http_parser_execute(&parser, &callbacks, data, len);
        require(HTTP_PARSER_ERRNO(&parser) == HPE_PAUSED && used > 0 && used <= len);
        data += used;
        len -= used;
    }
}

/* --- Both --- */

static void init(struct story *story)
{
    *story = (struct story){0};
    buf_init(&story->complete, 1 << 24);
    buf_init(&story->rest, 1 << 24);
}

static void release(struct story *story)
{
    buf_release(&story->complete);
    buf_release(&story->rest);
}

static void require_equal(const struct buf *a, const struct buf *b)
{
    require(!a->failed && !b->failed && a->len == b->len && memcmp(buf_cstr(a), buf_cstr(b), a->len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct story whole, pieces;
    struct buf parsed BUF_AUTO;

    buf_init(&parsed, 1 << 24);
    if (size == 0)
        return 0;
    init(&whole);
    init(&pieces);
    read_stream((struct source){.data = data + 1, .len = size - 1}, &whole);
    read_stream((struct source){.data = data + 1, .len = size - 1, .seed = data[0] + 1U}, &pieces);
    require(whole.used == pieces.used);
    require_equal(&whole.complete, &pieces.complete);
    require_equal(&whole.rest, &pieces.rest);

    parse_stream((const char *)data + 1, whole.used, &parsed);
    require_equal(&whole.complete, &parsed);
    release(&whole);
    release(&pieces);
    return 0;
}
