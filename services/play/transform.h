#ifndef WEIR_PLAY_TRANSFORM_H
#define WEIR_PLAY_TRANSFORM_H

#include "base/buf.h"
#include "base/err.h"

#include <stddef.h>

/* Other forms of the same bytes. Pure; safe from any thread. */

/* Copies a playlist, putting `prefix` before each of its URIs. ERR_INVALID: not a playlist. Check `out` afterwards. */
int transform_prefix(const char *text, size_t len, const char *prefix, struct buf *out, struct err *e)
    __attribute__((warn_unused_result));

/* Appends the gzip form (RFC 1952, without a time, so the same bytes give the same result). */
int transform_gzip(const void *data, size_t len, struct buf *out, struct err *e) __attribute__((warn_unused_result));

#endif
