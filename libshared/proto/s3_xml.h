#ifndef WEIR_S3_XML_H
#define WEIR_S3_XML_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The XML of S3's answers and of the one request that has some. Everything is bounded; a DOCTYPE is refused; unknown
 * elements are passed over. Pure; safe from any thread. */

#define S3_TEXT_SIZE 2048 /* longest text of an element that counts, with NUL */

/* What an answer said; texts are "" and numbers 0 when it did not. */
struct s3_answer {
    char root[48]; /* name of the outermost element: "Error", "ListBucketResult", … */
    char code[64]; /* of an Error: "NoSuchKey" */
    char upload_id[512];
    char etag[72];
    char next_token[S3_TEXT_SIZE]; /* ListObjectsV2 */
    uint64_t next_part;            /* ListParts */
    bool truncated;
};

/* One object of a ListBucketResult, one part of a ListPartsResult or one upload of a ListMultipartUploadsResult; valid
 * during the call. */
struct s3_item {
    char key[S3_TEXT_SIZE];
    char upload_id[512];
    char etag[72];
    uint64_t size_bytes, modified_ms, part_number;
};
/* Non-zero (-kind, with *e set, or positive) ends the parse and is passed on. */
typedef int s3_each(void *ctx, const struct s3_item *item, struct err *e);

/* ERR_TEMPORARY for what is not well-formed, is cut, or breaks a bound: the store is at fault, not the caller. *ret is
 * untouched on failure. `each` may be NULL. */
int s3_xml_parse(const char *xml, size_t len, struct s3_answer *ret, s3_each *each, void *ctx, struct err *e)
    __attribute__((warn_unused_result));

/* Appends `s` as XML text. */
void s3_xml_escape(struct buf *out, const char *s);

#endif
