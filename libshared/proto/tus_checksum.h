#ifndef WEIR_TUS_CHECKSUM_H
#define WEIR_TUS_CHECKSUM_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

/* Upload-Checksum of tus: an algorithm and the base64 of what it makes of one request's body. Pure; a digest belongs to one
 * thread at a time. */

#define TUS_CHECKSUM_ALGORITHMS "sha1,sha256,crc32c,md5"

enum tus_algorithm { TUS_SHA1, TUS_SHA256, TUS_MD5, TUS_CRC32C, TUS_ALGORITHM_COUNT };

#define TUS_CHECKSUM_MAX 32 /* bytes */

struct tus_checksum {
    enum tus_algorithm algorithm;
    unsigned char value[TUS_CHECKSUM_MAX]; /* as many as the algorithm has; CRC-32C in network order */
};

/* ERR_INVALID with a sentence: not "<algorithm> <base64>", an algorithm that is not known, not its number of bytes. */
int tus_checksum_parse(const char *text, struct tus_checksum *ret, struct err *e) __attribute__((warn_unused_result));

struct tus_digest;

/* For one algorithm, or, when `algorithm` is TUS_ALGORITHM_COUNT, for all of them: which one is meant stands in a trailer,
 * that is, behind the bytes. */
int tus_digest_new(enum tus_algorithm algorithm, struct tus_digest **ret, struct err *e)
    __attribute__((warn_unused_result));
void tus_digest_free(struct tus_digest *d); /* NULL is fine */
int tus_digest_add(struct tus_digest *d, const void *data, size_t len, struct err *e)
    __attribute__((warn_unused_result));
/* Whether that is the checksum of what was added; nothing can be added afterwards. ERR_BUG: made for another algorithm. */
int tus_digest_matches(struct tus_digest *d, const struct tus_checksum *checksum, bool *ret, struct err *e)
    __attribute__((warn_unused_result));

#endif
