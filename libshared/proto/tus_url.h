#ifndef WEIR_TUS_URL_H
#define WEIR_TUS_URL_H

#include "base/id.h"

#include <stdbool.h>

/* The URL of an upload ends in "<video id>~<secret>": the id is public, the secret is what opens the upload. So it does not
 * matter what stands before it: a proxy may have added a prefix, and any host may be named. Pure. */

#define TUS_SECRET_SIZE 33 /* 128 bits in lower-case hex, NUL */
#define TUS_NAME_SIZE (ID_VIDEO_SIZE + TUS_SECRET_SIZE)

struct tus_name {
    char video_id[ID_VIDEO_SIZE];
    char secret[TUS_SECRET_SIZE];
};

/* "<video id>~<secret>", exactly. */
bool tus_name_parse(const char *text, struct tus_name *ret) __attribute__((warn_unused_result));
void tus_name_write(const struct tus_name *n, char out[TUS_NAME_SIZE]);

/* The last segment of a URL, absolute or relative, of `len` bytes; percent escapes are decoded. */
bool tus_url_parse(const char *url, size_t len, struct tus_name *ret) __attribute__((warn_unused_result));

/* The next URL of a list separated by spaces: NULL at the end, else *ret_len bytes, and *list behind them. */
const char *tus_url_next(const char **list, size_t *ret_len);

#endif
