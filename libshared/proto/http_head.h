#ifndef WEIR_HTTP_HEAD_H
#define WEIR_HTTP_HEAD_H

#include "http_request.h"

#include <stdbool.h>
#include <stddef.h>

/* The text of a request's head, and of a trailer section: where it ends, and what its parts are. http-parser splits it;
 * since that forgives a lot (bare LF, folded lines, spaces in names, Debian's build even more), its reading counts only
 * when method, target and fields, with exactly the separators of RFC 9112 between them, make up the text to the last byte.
 * Pure; safe from any thread. */

/* --- The end --- */

enum http_scan_result { HTTP_SCAN_MORE, HTTP_SCAN_END, HTTP_SCAN_BAD };

struct http_scan {
    unsigned char state;
};

/* For a head, before which one empty line is put up with; for a trailer section. */
struct http_scan http_scan_head(void);
struct http_scan http_scan_trailer(void);

/* Goes on to the empty line. *ret_used is what belongs to the text, all of `len` unless it ended. BAD as soon as a byte
 * came that no text holds: a control character, CR or LF alone. */
enum http_scan_result http_scan_take(struct http_scan *scan, const char *data, size_t len, size_t *ret_used)
    __attribute__((warn_unused_result));

/* --- The parts --- */

struct http_line {
    const char *method, *version; /* static; the version "1.0" or "1.1" */
    char *target;                 /* in the text */
};

/* Takes a complete head apart; `text` is cut into strings in place. At most HTTP_MAX_HEADERS + 1 fields are returned, which
 * http_head_check then finds too many. False with a refusal when it is not HTTP/1.1 or 1.0 to the letter. */
bool http_head_split(char *text, size_t len, struct http_line *ret, struct http_header *ret_headers, size_t *ret_count,
                     struct http_refusal *ret_refusal) __attribute__((warn_unused_result));

/* The same for the fields of a trailer section, at most `max`. False also for fields that say how long the message is, or
 * whom it is for: those must come before it. */
bool http_trailer_split(char *text, size_t len, struct http_header *ret_headers, size_t max, size_t *ret_count)
    __attribute__((warn_unused_result));

/* Path and query (NULL: none) of a target in place: "/a?b", or "http://host/a?b" when the host is the Host header's. False
 * for other forms, for a fragment, and for bytes that are not ASCII. */
bool http_target_split(char *target, const struct http_head *head, const char **ret_path, const char **ret_query)
    __attribute__((warn_unused_result));

#endif
