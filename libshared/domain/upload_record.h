#ifndef WEIR_UPLOAD_RECORD_H
#define WEIR_UPLOAD_RECORD_H

#include "base/buf.h"
#include "base/id.h"
#include "io/store.h"

#include <stdint.h>

/* One record of an upload's log (.uploads/<video_id>/log/<seq>). Each repeats what the one before said, so that the
 * newest tells the state; only the parts are spread over them. Pure. */

#define UPLOAD_RECORD_MAX (2 * 1024 * 1024) /* bytes of the JSON: 10000 parts fit */

enum upload_kind {
    UPLOAD_CREATED,    /* the upload and its first writer */
    UPLOAD_WRITER,     /* a writer and the multipart upload it sends to */
    UPLOAD_PARTS,      /* parts that the store has confirmed */
    UPLOAD_COMPLETING, /* every byte is there: from here on it is only finished, by whomever */
    UPLOAD_CLOSED,     /* given up or deleted: nothing may follow */
};

struct upload_record {
    enum upload_kind kind;
    uint64_t fence;             /* of the writer; a later writer has a higher one */
    char writer[ID_NONCE_SIZE]; /* its nonce: tells an own record from another's */
    uint64_t written_ms;
    uint64_t offset;                      /* bytes of the file that the records up to here hold */
    uint64_t part_size;                   /* the least of every part but the last; fixed at creation */
    unsigned reserved;                    /* the highest part number that a writer may have used */
    char upload_id[STORE_UPLOAD_ID_SIZE]; /* "" while there is no multipart upload */
    struct store_part *parts;             /* owned: those since the last record; in UPLOAD_COMPLETING all of them */
    size_t part_count;
};
void upload_record_release(struct upload_record *r); /* NULL-tolerant, repeatable */
#define UPLOAD_RECORD_AUTO __attribute__((cleanup(upload_record_release)))

/* The JSON, appended to `out`. */
int upload_record_write(const struct upload_record *r, struct buf *out, struct err *e)
    __attribute__((warn_unused_result));

/* ERR_INVALID: not a record, or one that contradicts itself: parts not ascending, above the reserved numbers, without a
 * multipart upload, or in a completing record of another length than the offset. */
int upload_record_parse(const char *text, size_t len, struct upload_record *ret, struct err *e)
    __attribute__((warn_unused_result));

#endif
