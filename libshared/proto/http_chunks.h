#ifndef WEIR_HTTP_CHUNKS_H
#define WEIR_HTTP_CHUNKS_H

#include "http_head.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A chunked body (RFC 9112, 7.1) in pieces of any size: bytes in, bytes of the body out, the trailer fields kept. Strict,
 * since http-parser's reading of chunks is not (extensions of any length, any two bytes after a chunk, bare LF): sizes are
 * 1 to 16 hex digits below 2^63, lines end in CR LF, extensions hold no control characters and are ignored. Pure. */

#define HTTP_EXTENSIONS_SIZE (16 * 1024) /* of all chunks of a body together */
#define HTTP_TRAILER_SIZE (4 * 1024)
#define HTTP_MAX_TRAILERS 16

struct http_chunks {
    unsigned char state;
    unsigned digits;
    uint64_t left; /* of the chunk at hand */
    size_t extensions;

    struct http_scan scan;
    size_t trailer_len, trailer_count;
    struct http_header trailers[HTTP_MAX_TRAILERS];
    char trailer[HTTP_TRAILER_SIZE];
};

void http_chunks_init(struct http_chunks *c);

/* Takes bytes until it has found some of the body, at most `max`, which *ret_body then shows in `data`, or needs more.
 * Returns how many it took, body included; less than `len` also when the body has ended or is malformed. */
size_t http_chunks_take(struct http_chunks *c, const char *data, size_t len, size_t max, const char **ret_body,
                        size_t *ret_body_len);

/* Bytes of the body that come next without anything in between, so that they may be read past this: http_chunks_pass
 * counts them. */
uint64_t http_chunks_plain(const struct http_chunks *c);
void http_chunks_pass(struct http_chunks *c, uint64_t len);

bool http_chunks_ended(const struct http_chunks *c); /* with the trailer section */
bool http_chunks_bad(const struct http_chunks *c);

/* A field of the trailer section, NULL when absent or not there yet. Valid as long as `c`. */
const char *http_chunks_trailer(const struct http_chunks *c, const char *name);

#endif
