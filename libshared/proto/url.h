#ifndef WEIR_URL_H
#define WEIR_URL_H

#include "base/buf.h"

#include <stdbool.h>

/* Parts of RFC 3986 that Weir needs. Pure; safe from any thread. */

/* Appends `s` with everything but letters, digits and "-._~" as %XX in upper case; '/' stays when `keep_slashes`. */
void url_encode(struct buf *out, const char *s, bool keep_slashes);

#define URL_AUTHORITY_SIZE 272

struct url_endpoint {
    bool tls;
    char
        authority[URL_AUTHORITY_SIZE]; /* "host", "host:9000", "[::1]:9000": without the port that the scheme implies */
};

/* "http(s)://host[:port]" with at most a '/' behind it. ERR_INVALID, saying why, for anything else. */
int url_parse_endpoint(const char *text, struct url_endpoint *ret, struct err *e) __attribute__((warn_unused_result));

#endif
