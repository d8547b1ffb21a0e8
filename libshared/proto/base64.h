#ifndef WEIR_BASE64_H
#define WEIR_BASE64_H

#include <stdbool.h>
#include <stddef.h>

/* Base64 (RFC 4648, 4), strictly: padded, no white space, no other spelling of the same bytes. Pure; safe from any thread. */

#define BASE64_DECODED_SIZE(len) ((len) / 4 * 3) /* room that decoding may use */

/* `out` has BASE64_DECODED_SIZE(len) bytes and one more, always. False, `*ret_len` untouched, when `text` is not base64. */
bool base64_decode(const char *text, size_t len, void *out, size_t *ret_len) __attribute__((warn_unused_result));

#endif
