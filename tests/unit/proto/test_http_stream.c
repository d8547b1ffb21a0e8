#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"
#include "proto/http_stream.h"
#include "suite.h"

#include <string.h>

/* Whole streams of requests, told as "METHOD path?query {body} name=trailer; …" and how it goes on: "more" bytes are
 * needed, "bad" chunks, or a refusal's status and type. However a stream is cut, it tells the same. */

static void add(struct http_stream *s, const char **data, size_t *len, size_t step)
{
    size_t room;
    char *to = http_stream_room(s, &room);

    ck_assert_uint_gt(room, 0);
    step = step < room ? step : room;
    step = step < *len ? step : *len;
    memcpy(to, *data, step);
    http_stream_add(s, step);
    *data += step;
    *len -= step;
}

/* The body, as much as there is of it. False when it does not end. */
static bool tell_body(struct http_stream *s, const char **data, size_t *len, size_t step, struct buf *out)
{
    char part[5];
    size_t n;

    for (;;) {
        while ((n = http_stream_take(s, part, sizeof part)) > 0)
            buf_append(out, part, n);
        if (http_stream_ended(s) || http_stream_bad(s) || *len == 0)
            return http_stream_ended(s);
        uint64_t plain = http_stream_plain(s);
        if (plain == 0) {
            add(s, data, len, step);
            continue;
        }
        n = plain < step ? (size_t)plain : step; /* past the stream */
        n = n < *len ? n : *len;
        buf_append(out, *data, n);
        http_stream_pass(s, n);
        *data += n;
        *len -= n;
    }
}

static bool tell_request(struct http_stream *s, const char **data, size_t *len, size_t step, struct buf *out)
{
    struct http_header headers[HTTP_MAX_HEADERS + 1];
    struct http_message m;
    struct http_refusal refusal;

    if (!http_stream_begin(s, headers, &m, &refusal)) {
        buf_printf(out, "%d %s", refusal.status, refusal.type);
        return false;
    }
    buf_printf(out, "%s %s%s%s {", m.method, m.path == NULL ? "-" : m.path, m.query == NULL ? "" : "?",
               m.query == NULL ? "" : m.query);
    bool ended = tell_body(s, data, len, step, out);
    buf_puts(out, "}");
    if (http_stream_trailer(s, "X-Sum") != NULL)
        buf_printf(out, " X-Sum=%s", http_stream_trailer(s, "X-Sum"));
    buf_puts(out, "; ");
    if (!ended)
        buf_puts(out, http_stream_bad(s) ? "bad" : "more");
    else
        http_stream_next(s);
    return ended;
}

static void tell(const char *data, size_t len, size_t step, struct buf *out)
{
    static struct http_stream s;
    enum http_stream_news news;

    http_stream_init(&s);
    for (;;) {
        while ((news = http_stream_look(&s)) == HTTP_STREAM_MORE && len > 0)
            add(&s, &data, &len, step);
        if (news == HTTP_STREAM_MORE) {
            buf_puts(out, "more");
            return;
        }
        if (!tell_request(&s, &data, &len, step, out))
            return;
    }
}

#define HEAD(line) line "\r\nHost: a\r\n"
#define POST(fields) HEAD("POST / HTTP/1.1") fields "\r\n"
#define CHUNKS POST("Transfer-Encoding: chunked\r\n")
#define NEXT HEAD("GET /next HTTP/1.1") "\r\n"
#define AGAIN "GET /next {}; more"
#define REFUSED "400 bad-request"
#define LENGTH "400 ambiguous-length"
#define ROW(input, story)                                                                                              \
    {                                                                                                                  \
        input, sizeof(input) - 1, story                                                                                \
    }

static const struct {
    const char *input;
    size_t len;
    const char *story;
} streams[] = {
    ROW("", "more"),
    ROW("GET / HTTP/1.1\r\nHost: a\r\n", "more"),
    ROW(NEXT, AGAIN),
    ROW(NEXT NEXT NEXT "G", "GET /next {}; GET /next {}; " AGAIN),
    ROW("\r\n" NEXT "\r\n" NEXT, "GET /next {}; " AGAIN), /* RFC 9112, 2.2 */
    ROW("GET /a%20b?x=1&y HTTP/1.0\r\n\r\n", "GET /a%20b?x=1&y {}; more"),
    ROW("GET / HTTP/1.1\r\nhOsT:a\r\nX:\r\nY: \t \r\nZ:\tz \t\r\n\r\n", "GET / {}; more"),
    ROW("GET / HTTP/1.1\r\nHost: a\r\nX: \xE4\xC3\r\n\r\n", "GET / {}; more"),
    ROW(HEAD("M-SEARCH / HTTP/1.1") "\r\n", "M-SEARCH / {}; more"),

    /* Targets */
    ROW(HEAD("GET http://A/b?c HTTP/1.1") "\r\n", "GET /b?c {}; more"),
    ROW(HEAD("GET HTTPS://a HTTP/1.1") "\r\n", "GET / {}; more"),
    ROW(HEAD("GET http://a?c HTTP/1.1") "\r\n", "GET /?c {}; more"),
    ROW(HEAD("GET http://b/ HTTP/1.1") "\r\n", "GET - {}; more"), /* for somebody else */
    ROW(HEAD("GET http://a:80/ HTTP/1.1") "\r\n", "GET - {}; more"),
    ROW(HEAD("GET http://x@a/ HTTP/1.1") "\r\n", "GET - {}; more"),
    ROW(HEAD("GET ftp://a/ HTTP/1.1") "\r\n", "GET - {}; more"),
    ROW(HEAD("OPTIONS * HTTP/1.1") "\r\n", "OPTIONS - {}; more"),
    ROW(HEAD("CONNECT a:80 HTTP/1.1") "\r\n" NEXT, REFUSED),
    ROW(HEAD("GET /a#b HTTP/1.1") "\r\n", "GET - {}; more"),
    ROW(HEAD("GET /\xC3\xA4 HTTP/1.1") "\r\n", "GET - {}; more"),
    ROW(HEAD("GET a HTTP/1.1") "\r\n", REFUSED),
    ROW("GET / HTTP/1.0\r\n\r\n" HEAD("GET http://a/ HTTP/1.1") "\r\n", "GET / {}; GET / {}; more"),

    /* Bodies */
    ROW(POST("Content-Length: 5\r\n") "hello" NEXT, "POST / {hello}; " AGAIN),
    ROW(POST("Content-Length: \t 5  \r\n") "hello" NEXT, "POST / {hello}; " AGAIN),
    ROW(POST("Content-Length: 0\r\n") NEXT, "POST / {}; " AGAIN),
    ROW(POST("Content-Length: 10\r\n") "hello", "POST / {hello}; more"),
    ROW(POST("") NEXT, "POST / {}; " AGAIN),
    ROW(HEAD("GET / HTTP/1.1") "Content-Length: 2\r\n\r\nhi" NEXT, "GET / {hi}; " AGAIN),
    ROW(POST("transfer-encoding:\tChunked  \r\n") "0\r\n\r\n" NEXT, "POST / {}; " AGAIN),
    ROW(CHUNKS "5\r\nhello\r\n0\r\n\r\n" NEXT, "POST / {hello}; " AGAIN),
    ROW(CHUNKS "5\r\nhello\r\n006\r\n world\r\n00\r\n\r\n" NEXT, "POST / {hello world}; " AGAIN),
    ROW(CHUNKS "A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", "POST / {01234567890123456789}; more"),
    ROW(CHUNKS "5;a=b;c=\"d;e\" ;f\t\r\nhello\r\n0;last\r\n\r\n" NEXT, "POST / {hello}; " AGAIN),
    ROW(CHUNKS "5;\r\nhello\r\n0;\r\n\r\n" NEXT, "POST / {hello}; " AGAIN),
    ROW(CHUNKS "2\r\n\r\n\r\n0\r\n\r\n" NEXT, "POST / {\r\n}; " AGAIN),
    ROW(CHUNKS "5\r\nhello\r\n0\r\nX-Sum: 7\r\nOther: 8\r\n\r\n" NEXT, "POST / {hello} X-Sum=7; " AGAIN),
    ROW(CHUNKS "5\r\nhel", "POST / {hel}; more"),
    ROW(CHUNKS "5\r\nhello\r\n0\r\nX-Sum: 7\r\n", "POST / {hello}; more"),
    ROW(CHUNKS "7FFFFFFFFFFFFFFF\r\nhel", "POST / {hel}; more"),

    /* Two lengths, or none that is one */
    ROW(POST("Content-Length: 6\r\nTransfer-Encoding: chunked\r\n") "0\r\n\r\nG", LENGTH),
    ROW(POST("Transfer-Encoding: chunked\r\nContent-Length: 6\r\n") "0\r\n\r\nG", LENGTH),
    ROW(POST("Transfer-Encoding: chunked\r\nContent-Length: x\r\n") "0\r\n\r\nG", LENGTH),
    ROW(POST("Content-Length: 5\r\nContent-Length: 5\r\n") "hello", LENGTH),
    ROW(POST("Content-Length: 5\r\ncontent-length: 0\r\n") "hello", LENGTH),
    ROW(POST("Content-Length: 5, 5\r\n") "hello", LENGTH),
    ROW(POST("Content-Length: 5,\r\n") "hello", LENGTH),
    ROW(POST("Content-Length: +5\r\n") "hello", LENGTH),
    ROW(POST("Content-Length: -5\r\n") "hello", LENGTH),
    ROW(POST("Content-Length: 0x5\r\n") "hello", LENGTH),
    ROW(POST("Content-Length: 1_0\r\n") "hello", LENGTH),
    ROW(POST("Content-Length: 5 0\r\n") "hello", LENGTH),
    ROW(POST("Content-Length: 5.0\r\n") "hello", LENGTH),
    ROW(POST("Content-Length: \"5\"\r\n") "hello", LENGTH),
    ROW(POST("Content-Length: 5\xB2\r\n") "hello", LENGTH),
    ROW(POST("Content-Length:\r\n") "hello", LENGTH),
    ROW(POST("Content-Length: 9223372036854775808\r\n"), LENGTH),
    ROW(POST("Content-Length: 18446744073709551621\r\n") "hello", LENGTH),
    ROW(POST("Content-Length: 99999999999999999999999\r\n"), LENGTH),
    ROW(POST("Content-Length : 5\r\n") "hello", REFUSED),
    ROW(POST("Content-Length\t: 5\r\n") "hello", REFUSED),
    ROW(POST("Content Length: 5\r\n") "hello", REFUSED),
    ROW(POST("Content-Length x: 5\r\n") "hello", REFUSED),
    ROW(POST("Content-Length\xA0: 5\r\n") "hello", REFUSED),
    ROW(POST("Content\\Length: 5\r\n") "hello", REFUSED),

    /* Transfer codings that somebody might take for chunked, or not */
    ROW(POST("Content-Length: 5 \t\r\n") "hello", LENGTH),
    ROW(POST("Transfer-Encoding: chunked\t\r\n") "0\r\n\r\n", REFUSED),
    ROW(POST("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n") "0\r\n\r\n", LENGTH),
    ROW(POST("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n") "0\r\n\r\n", LENGTH),
    ROW(POST("Transfer-Encoding: chunked\r\nTransfer-encoding: identity\r\n") "0\r\n\r\n", REFUSED),
    ROW(POST("Transfer-Encoding: identity\r\n") "0\r\n\r\n", REFUSED),
    ROW(POST("Transfer-Encoding: xchunked\r\n") "0\r\n\r\n", REFUSED),
    ROW(POST("Transfer-Encoding: chunk\r\n") "0\r\n\r\n", REFUSED),
    ROW(POST("Transfer-Encoding: chunkedx\r\n") "0\r\n\r\n", REFUSED),
    ROW(POST("Transfer-Encoding: chunked, identity\r\n") "0\r\n\r\n", REFUSED),
    ROW(POST("Transfer-Encoding: identity, chunked\r\n") "0\r\n\r\n", REFUSED),
    ROW(POST("Transfer-Encoding: chunked, chunked\r\n") "0\r\n\r\n", REFUSED),
    ROW(POST("Transfer-Encoding: ,chunked\r\n") "0\r\n\r\n", REFUSED),
    ROW(POST("Transfer-Encoding: chunked,\r\n") "0\r\n\r\n", REFUSED),
    ROW(POST("Transfer-Encoding: chunked;a=b\r\n") "0\r\n\r\n", REFUSED),
    ROW(POST("Transfer-Encoding: gzip, chunked\r\n") "0\r\n\r\n", REFUSED),
    ROW(POST("Transfer-Encoding: \"chunked\"\r\n") "0\r\n\r\n", REFUSED),
    ROW(POST("Transfer-Encoding: 'chunked'\r\n") "0\r\n\r\n", REFUSED),
    ROW(POST("Transfer-Encoding:\r\n") "0\r\n\r\n", REFUSED),
    ROW(POST("Transfer-Encoding: \x0B"
             "chunked\r\n") "0\r\n\r\n",
        REFUSED),
    ROW(POST("Transfer-Encoding: \x0C"
             "chunked\r\n") "0\r\n\r\n",
        REFUSED),
    ROW(POST("Transfer-Encoding: \0chunked\r\n") "0\r\n\r\n", REFUSED),
    ROW(POST("Transfer-Encoding: chunked\0\r\n") "0\r\n\r\n", REFUSED),
    ROW(POST("Transfer-Encoding: chunked\x7F\r\n") "0\r\n\r\n", REFUSED),
    ROW(POST("Transfer-Encoding: \xA0"
             "chunked\r\n") "0\r\n\r\n",
        REFUSED),
    ROW(POST("Transfer-Encoding: ch\x96nked\r\n") "0\r\n\r\n", REFUSED),
    ROW(POST("Transf\x82r-Encoding: chunked\r\n") "0\r\n\r\n", REFUSED),
    ROW(POST("Transfer-Encoding: chunked\r\r\n") "0\r\n\r\n", REFUSED),
    ROW(POST("Transfer-Encoding : chunked\r\n") "0\r\n\r\n", REFUSED),
    ROW(POST("Transfer-Encoding x: chunked\r\n") "0\r\n\r\n", REFUSED),
    ROW(POST("Transfer-Encoding\n : chunked\r\n") "0\r\n\r\n", REFUSED),
    ROW(POST("Transfer-Encoding:\n chunked\r\n") "0\r\n\r\n", REFUSED),
    ROW(POST("Transfer-Encoding:\r\n chunked\r\n") "0\r\n\r\n", REFUSED),
    ROW(POST("Transfer-Encoding: chunked\r\n ,identity\r\n") "0\r\n\r\n", REFUSED),
    ROW(POST("X: y\r\n Transfer-Encoding: chunked\r\n") "0\r\n\r\n", REFUSED),
    ROW(POST("X: y\r\n\tTransfer-Encoding: chunked\r\n") "0\r\n\r\n", REFUSED),
    ROW(POST("X: y\rTransfer-Encoding: chunked\r\n") "0\r\n\r\n", REFUSED),
    ROW(POST("X: y\nTransfer-Encoding: chunked\r\n") "0\r\n\r\n", REFUSED),
    ROW(POST("X: y\r\n\rTransfer-Encoding: chunked\r\n") "0\r\n\r\n", REFUSED),
    ROW(POST("X: y\n\nTransfer-Encoding: chunked\r\n") "0\r\n\r\n", REFUSED),
    ROW("POST / HTTP/1.1\r\n Transfer-Encoding: chunked\r\nHost: a\r\n\r\n0\r\n\r\n", REFUSED),
    ROW("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", LENGTH),

    /* Heads that are none */
    ROW("GET / HTTP/1.1\nHost: a\n\n", REFUSED),
    ROW("GET / HTTP/1.1\r\nHost: a\n\r\n", REFUSED),
    ROW("GET / HTTP/1.1\rHost: a\r\r", REFUSED),
    ROW("GET / HTTP/1.1\r\nHost: a\r\n\n", REFUSED),
    ROW("GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n", REFUSED),
    ROW("GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n", REFUSED),
    ROW("GET / HTTP/1.1\r\nHost: a\r\n: nothing\r\n\r\n", REFUSED),
    ROW("GET / HTTP/1.1\r\nHost: a\r\n:\r\n\r\n", REFUSED),
    ROW("GET / HTTP/1.1\r\nHost: a\r\nX(y): z\r\n\r\n", REFUSED),
    ROW("GET / HTTP/1.1\r\n: x\r\nHost: a\r\n\r\n", REFUSED),
    ROW("GET / HTTP/1.1\r\n\r\n", REFUSED),
    ROW("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", REFUSED),
    ROW("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", REFUSED),
    ROW("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", REFUSED),
    ROW("GET / HTTP/1.1\r\nHost: x@a\r\n\r\n", REFUSED),
    ROW("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", REFUSED),
    ROW("GET /  HTTP/1.1\r\nHost: a\r\n\r\n", REFUSED),
    ROW("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", REFUSED),
    ROW("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", REFUSED),
    ROW("GET /\tHTTP/1.1\r\nHost: a\r\n\r\n", REFUSED),
    ROW(" GET / HTTP/1.1\r\nHost: a\r\n\r\n", REFUSED),
    ROW("\r\n\r\n" NEXT, REFUSED),
    ROW("\n" NEXT, REFUSED),
    ROW("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", REFUSED),
    ROW("GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", REFUSED),
    ROW("GET / HXXP/1.1\r\nHost: a\r\n\r\n", REFUSED),
    ROW("GET / http/1.1\r\nHost: a\r\n\r\n", REFUSED),
    ROW("get / HTTP/1.1\r\nHost: a\r\n\r\n", REFUSED),
    ROW("GET / HTTP/11\r\nHost: a\r\n\r\n", REFUSED),
    ROW("GET / HTTP/1.10\r\nHost: a\r\n\r\n", REFUSED),
    ROW("GET / HTTP/01.1\r\nHost: a\r\n\r\n", REFUSED),
    ROW("GET /\r\n\r\n", REFUSED), /* HTTP/0.9 */
    ROW("GET / HTTP/2.0\r\nHost: a\r\n\r\n", "505 bad-request"),
    ROW("GET / HTTP/1.2\r\nHost: a\r\n\r\n", "505 bad-request"),
    ROW("GET / HTTP/0.9\r\nHost: a\r\n\r\n", "505 bad-request"),
    ROW("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", REFUSED), /* HTTP/2 */
    ROW("\x16\x03\x01\x02", REFUSED),                 /* TLS */
    ROW("GET / HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n", "417 bad-request"),

    /* Chunks that are none */
    ROW(CHUNKS "\r\n", "POST / {}; bad"),
    ROW(CHUNKS "x\r\n", "POST / {}; bad"),
    ROW(CHUNKS "+5\r\nhello", "POST / {}; bad"),
    ROW(CHUNKS "-5\r\nhello", "POST / {}; bad"),
    ROW(CHUNKS "0x5\r\nhello", "POST / {}; bad"),
    ROW(CHUNKS "5_\r\nhello", "POST / {}; bad"),
    ROW(CHUNKS " 5\r\nhello", "POST / {}; bad"),
    ROW(CHUNKS "5 \r\nhello", "POST / {}; bad"),
    ROW(CHUNKS "5 ;a\r\nhello", "POST / {}; bad"),
    ROW(CHUNKS "5\t\r\nhello", "POST / {}; bad"),
    ROW(CHUNKS "5,5\r\nhello", "POST / {}; bad"),
    ROW(CHUNKS ";a\r\nhello", "POST / {}; bad"),
    ROW(CHUNKS "5\nhello\r\n", "POST / {}; bad"),
    ROW(CHUNKS "5\rhello\r\n", "POST / {}; bad"),
    ROW(CHUNKS "5\r\r;a\r\nhello\r\n", "POST / {}; bad"),
    ROW(CHUNKS "5;a\nhello\r\n", "POST / {}; bad"), /* TERM.EXT */
    ROW(CHUNKS "5;a\rhello\r\n", "POST / {}; bad"),
    ROW(CHUNKS "5;a\0\r\nhello", "POST / {}; bad"),
    ROW(CHUNKS "8000000000000000\r\n", "POST / {}; bad"),
    ROW(CHUNKS "FFFFFFFFFFFFFFFF\r\n", "POST / {}; bad"),
    ROW(CHUNKS "10000000000000005\r\nhello", "POST / {}; bad"),
    ROW(CHUNKS "00000000000000005\r\nhello", "POST / {}; bad"), /* 17 digits */
    ROW(CHUNKS "5\r\nhelloXY0\r\n\r\n", "POST / {hello}; bad"), /* what comes after a chunk: SPILL */
    ROW(CHUNKS "5\r\nhello\n0\r\n\r\n", "POST / {hello}; bad"),
    ROW(CHUNKS "5\r\nhello\r0\r\n\r\n", "POST / {hello}; bad"),
    ROW(CHUNKS "5\r\nhello0\r\n\r\n", "POST / {hello}; bad"),
    ROW(CHUNKS "5\r\nhello\r\n\r\n0\r\n\r\n", "POST / {hello}; bad"),
    ROW(CHUNKS "0\n\r\n", "POST / {}; bad"),
    ROW(CHUNKS "0\r\n\n", "POST / {}; bad"),
    ROW(CHUNKS "0\r\n\rX", "POST / {}; bad"),
    ROW(CHUNKS "0\r\nX-Sum : 7\r\n\r\n", "POST / {}; bad"),
    ROW(CHUNKS "0\r\nX-Sum: 7\n\r\n", "POST / {}; bad"),
    ROW(CHUNKS "0\r\nX-Sum: 7\r\n folded\r\n\r\n", "POST / {}; bad"),
    ROW(CHUNKS "0\r\n X-Sum: 7\r\n\r\n", "POST / {}; bad"),
    ROW(CHUNKS "0\r\nno colon\r\n\r\n", "POST / {}; bad"),
    ROW(CHUNKS "0\r\nContent-Length: 5\r\n\r\n", "POST / {}; bad"),
    ROW(CHUNKS "0\r\nTransfer-Encoding: chunked\r\n\r\n", "POST / {}; bad"),
    ROW(CHUNKS "0\r\nHost: b\r\n\r\n", "POST / {}; bad"),
};

START_TEST(tells_a_stream_in_one_way_only)
{
    static const size_t steps[] = {1, 2, 3, 5, 16, 65536};
    struct buf story BUF_AUTO;

    buf_init(&story, 65536);
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        buf_reset(&story);
        tell(streams[_i].input, streams[_i].len, steps[i], &story);
        ck_assert_str_eq(buf_cstr(&story), streams[_i].story);
    }
}
END_TEST

/* --- Limits --- */

static void check_story(const struct buf *input, const char *story)
{
    struct buf told BUF_AUTO;

    for (size_t step = 1000; step < 100000; step *= 9) {
        buf_init(&told, 1 << 20);
        tell(input->data, input->len, step, &told);
        ck_assert_str_eq(buf_cstr(&told), story);
        buf_release(&told);
    }
}

static void fill(struct buf *b, char c, size_t len)
{
    for (size_t i = 0; i < len; i++)
        buf_putc(b, c);
}

START_TEST(bounds_heads)
{
    static const struct {
        size_t size; /* of the whole head */
        const char *story;
    } rows[] = {
        {HTTP_HEAD_SIZE, AGAIN}, {HTTP_HEAD_SIZE + 1, "431 headers-too-large"}, {50000, "431 headers-too-large"}};
    struct buf input BUF_AUTO;

    buf_init(&input, 1 << 20);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        static const char start[] = HEAD("GET /next HTTP/1.1") "X: ";
        buf_reset(&input);
        buf_puts(&input, start);
        fill(&input, 'x', rows[i].size - sizeof start + 1 - 4);
        buf_puts(&input, "\r\n\r\n");
        check_story(&input, rows[i].story);
    }
    buf_reset(&input);
    fill(&input, 'x', 20000);
    check_story(&input, "431 headers-too-large");
}
END_TEST

START_TEST(bounds_the_number_of_headers)
{
    struct buf input BUF_AUTO;

    buf_init(&input, 1 << 20);
    for (int count = 62; count <= 66; count++) { /* with Host one more */
        buf_reset(&input);
        buf_puts(&input, HEAD("GET /next HTTP/1.1"));
        for (int i = 0; i < count; i++)
            buf_puts(&input, "X: y\r\n");
        buf_puts(&input, "\r\n");
        check_story(&input, count == 62 ? AGAIN : "400 too-many-headers");
    }
}
END_TEST

START_TEST(bounds_chunk_extensions)
{
    struct buf input BUF_AUTO;

    buf_init(&input, 1 << 20);
    for (size_t more = 0; more <= 1; more++) {
        buf_reset(&input);
        buf_puts(&input, CHUNKS);
        for (int i = 0; i < 4; i++) {
            buf_puts(&input, "1;");
            fill(&input, 'x', HTTP_EXTENSIONS_SIZE / 4 + (i == 3 ? more : 0));
            buf_puts(&input, "\r\nb\r\n");
        }
        buf_puts(&input, "0\r\n\r\n");
        check_story(&input, more ? "POST / {bbb}; bad" : "POST / {bbbb}; more");
    }
}
END_TEST

START_TEST(bounds_trailers)
{
    struct buf input BUF_AUTO;

    buf_init(&input, 1 << 20);
    for (size_t more = 0; more <= 1; more++) {
        buf_reset(&input);
        buf_puts(&input, CHUNKS "0\r\nX: ");
        fill(&input, 'x', HTTP_TRAILER_SIZE - 7 + more);
        buf_puts(&input, "\r\n\r\n");
        check_story(&input, more ? "POST / {}; bad" : "POST / {}; more");
    }
    for (int count = 16; count <= 17; count++) {
        buf_reset(&input);
        buf_puts(&input, CHUNKS "0\r\n");
        for (int i = 0; i < count; i++)
            buf_puts(&input, "X: y\r\n");
        buf_puts(&input, "\r\n");
        check_story(&input, count == 16 ? "POST / {}; more" : "POST / {}; bad");
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("http_stream");
    TCase *tcase = tcase_create("http_stream");

    tcase_add_loop_test(tcase, tells_a_stream_in_one_way_only, 0, (int)ARRAY_SIZE(streams));
    tcase_add_test(tcase, bounds_heads);
    tcase_add_test(tcase, bounds_the_number_of_headers);
    tcase_add_test(tcase, bounds_chunk_extensions);
    tcase_add_test(tcase, bounds_trailers);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
