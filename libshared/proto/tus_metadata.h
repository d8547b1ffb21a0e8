#ifndef WEIR_TUS_METADATA_H
#define WEIR_TUS_METADATA_H

#include "base/err.h"

/* Upload-Metadata of tus: pairs of a key and a value in base64, separated by commas. Pure. */

#define TUS_METADATA_MAX 8192 /* bytes of the field */
#define TUS_METADATA_KEYS 64

/* What Weir makes use of; NULL: not there. Owned. Not checked for anything but NUL bytes. */
struct tus_metadata {
    char *filename; /* "filename", or else "name" */
    char *title, *description;
};
void tus_metadata_release(struct tus_metadata *m); /* NULL-tolerant, repeatable */
#define TUS_METADATA_AUTO __attribute__((cleanup(tus_metadata_release)))

/* NULL or empty text: nothing of it. ERR_INVALID with a sentence: malformed, not base64, a key twice or with characters that
 * keys don't have ("key=value" is a mistake that is made), too many keys, a NUL byte in what Weir uses. ERR_TOO_LARGE. */
int tus_metadata_parse(const char *text, struct tus_metadata *ret, struct err *e) __attribute__((warn_unused_result));

#endif
