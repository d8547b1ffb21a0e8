#ifndef WEIR_HTTP_STREAM_H
#define WEIR_HTTP_STREAM_H

#include "http_chunks.h"
#include "http_head.h"
#include "http_request.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What comes in on one connection: heads and bodies, one request after the other, in pieces of any size. Whoever owns the
 * connection puts bytes in (http_stream_room, http_stream_add) and asks what they mean. Pure; not thread-safe.
 *
 *   look → HEAD:    begin, then take until it gives nothing; ended: next, look again; else more bytes are needed
 *   look → MORE:    more bytes are needed
 *   look → REFUSED: begin tells why; nothing of the connection can be read any more */

#define HTTP_STREAM_SIZE (HTTP_HEAD_SIZE + 8 * 1024)

enum http_stream_news { HTTP_STREAM_MORE, HTTP_STREAM_HEAD, HTTP_STREAM_REFUSED };

/* A request without its body; the strings live in the stream until http_stream_next. */
struct http_message {
    const char *method;
    const char *path,
        *query; /* raw; the path NULL when the target is none of ours, the query NULL when there is none */
    struct http_head head;
    struct http_framing framing;
};

struct http_stream {
    enum http_stream_news news;
    struct http_scan scan;
    size_t head_len; /* scanned; in the end that of the head */
    size_t at, len;  /* of `data`: the next byte after the head that was not taken, the end */
    bool chunked;
    uint64_t left; /* of a body that is not chunked */
    char data[HTTP_STREAM_SIZE];
    struct http_chunks chunks;
};

void http_stream_init(struct http_stream *s);

/* Where the next bytes of the connection go; never empty when the stream needs more. */
char *http_stream_room(struct http_stream *s, size_t *ret_len);
void http_stream_add(struct http_stream *s, size_t len);
bool http_stream_empty(const struct http_stream *s); /* no byte of a further request is there */

enum http_stream_news http_stream_look(struct http_stream *s);

/* The request whose head is there, its fields in `headers`, which has room for HTTP_MAX_HEADERS + 1. False with a refusal,
 * and as much of *ret as could be read, when it can't be read in one way only; then nothing can be read after it. */
bool http_stream_begin(struct http_stream *s, struct http_header *headers, struct http_message *ret,
                       struct http_refusal *ret_refusal) __attribute__((warn_unused_result));

/* Bytes of the body that are there, up to `size`; 0 when more must come, or it ended or is malformed. */
size_t http_stream_take(struct http_stream *s, void *data, size_t size);
/* How many of the next bytes of the connection are bytes of the body and nothing else, when all that were added are taken.
 * They may be read to where they are wanted; http_stream_pass counts them. What comes after them is to be added. */
uint64_t http_stream_plain(const struct http_stream *s);
void http_stream_pass(struct http_stream *s, uint64_t len);

bool http_stream_ended(const struct http_stream *s); /* the body has */
bool http_stream_bad(const struct http_stream *s);   /* the body is malformed where it stands */
const char *http_stream_trailer(const struct http_stream *s, const char *name);

/* Forgets the request, whose body has ended. */
void http_stream_next(struct http_stream *s);

#endif
