#ifndef WEIR_JSON_H
#define WEIR_JSON_H

#include "base/buf.h"
#include "base/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* JSON through jansson, bounded: the only place that includes it. Others build and read `json_t` trees with jansson's own
 * functions where these helpers do not fit. Pure; safe from any thread (one tree: one thread at a time). */

#define JSON_MAX_DEPTH 32 /* levels of nesting accepted */

/* Parses exactly one value; duplicate keys, depth, size over `max`, text that is not UTF-8: ERR_INVALID naming `what`. */
int json_parse(const char *text, size_t len, size_t max, const char *what, json_t **ret, struct err *e)
    __attribute__((warn_unused_result));

void json_auto(json_t **value);
#define JSON_AUTO __attribute__((cleanup(json_auto)))

/* Compact text, members in the order they were set, appended to `out`; ERR_TEMPORARY without memory, ERR_TOO_LARGE over
 * the buffer's maximum; `out` is then failed. */
int json_write(const json_t *value, struct buf *out, struct err *e) __attribute__((warn_unused_result));

/* Members of an object; false when absent or of another type (then *ret is untouched). */
bool json_get_u64(const json_t *object, const char *key, uint64_t *ret);  /* integers ≥ 0 */
bool json_get_double(const json_t *object, const char *key, double *ret); /* any number */
bool json_get_bool(const json_t *object, const char *key, bool *ret);
bool json_get_text(const json_t *object, const char *key, char *out, size_t size); /* false also when it does not fit */
const char *json_get_string(const json_t *object, const char *key); /* NULL when absent; lives as long as the object */

/* Sets a member; false without memory, for text that is not UTF-8, for a number over INT64_MAX. NULL strings become
 * null. */
bool json_put_text(json_t *object, const char *key, const char *value);
bool json_put_u64(json_t *object, const char *key, uint64_t value);
bool json_put_double(json_t *object, const char *key,
                     double value); /* rounded to 3 decimals; NaN and Inf become null */
bool json_put_bool(json_t *object, const char *key, bool value);
bool json_put_time(json_t *object, const char *key, uint64_t wall_ms); /* RFC 3339 with milliseconds */

/* A string as a JSON literal with quotes (for hand-made lines); bytes that are not UTF-8 become U+FFFD. */
void json_quote(struct buf *out, const char *s);

#endif
