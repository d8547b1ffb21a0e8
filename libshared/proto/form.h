#ifndef WEIR_FORM_H
#define WEIR_FORM_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* multipart/form-data (RFC 7578, RFC 2046 section 5.1) as a push parser: bytes in, in pieces of any size; calls out. It
 * keeps at most a delimiter's length of look-back and one part's headers, whatever the size of the body. Pure. */

#define FORM_MAX_BOUNDARY 70       /* RFC 2046 */
#define FORM_MAX_HEADER (8 * 1024) /* bytes of one part's headers */
#define FORM_MAX_PARTS 32
#define FORM_NAME_SIZE 128
#define FORM_FILENAME_SIZE 1024
#define FORM_TYPE_SIZE 128

struct form_part {
    char name[FORM_NAME_SIZE];
    char filename[FORM_FILENAME_SIZE]; /* UTF-8; path prefixes of old browsers removed; filename*= (RFC 8187) wins */
    bool is_file;                      /* a filename parameter was there, even an empty one */
    char content_type[FORM_TYPE_SIZE]; /* "" when absent */
};

struct form_calls {
    int (*part_begin)(void *ctx, const struct form_part *part, struct err *e);
    int (*part_data)(void *ctx, const void *data, size_t len, struct err *e);
    int (*part_end)(void *ctx, struct err *e);
};

struct form_parser;

/* `content_type` is the request's header. ERR_INVALID: not multipart/form-data, or no or a bad boundary. */
int form_new(const char *content_type, const struct form_calls *calls, void *ctx, struct form_parser **ret,
             struct err *e) __attribute__((warn_unused_result));
void form_free(struct form_parser *p);

/* ERR_INVALID with a sentence for malformed input; a call's failure is passed on. After a failure only form_free. */
int form_feed(struct form_parser *p, const void *data, size_t len, struct err *e) __attribute__((warn_unused_result));
/* The body has ended: ERR_INVALID unless the closing boundary was seen (a truncated upload). */
int form_finish(struct form_parser *p, struct err *e) __attribute__((warn_unused_result));

#endif
