#ifndef WEIR_UPLOAD_RECORD_H
#define WEIR_UPLOAD_RECORD_H

#include "base/buf.h"
#include "base/id.h"
#include "io/store.h"

#include <stdbool.h>
#include <stdint.h>

/* One record of an upload's log (.uploads/<video_id>/log/<seq>): a line of JSON, then, when it has a tail, the tail's
 * bytes. A tail is what does not fill a part, kept in the log until a part holds it: one PUT both stores and records it.
 * Each record repeats what the one before said, so that the newest tells the state; only the parts and the tails are
 * spread over them, and what never changes stands in the first. Pure. */

#define UPLOAD_RECORD_MAX (2 * 1024 * 1024) /* bytes of the JSON: 10000 parts fit */
#define UPLOAD_METADATA_MAX 8192            /* bytes of Upload-Metadata as received */
#define UPLOAD_CONCAT_MAX (64 * 1024)       /* bytes of Upload-Concat */
#define UPLOAD_CLIENT_SIZE 64
#define UPLOAD_HASH_SIZE 65 /* SHA-256 in hex, NUL */
#define UPLOAD_LENGTH_UNKNOWN UINT64_MAX

enum upload_kind {
    UPLOAD_CREATED,    /* the upload */
    UPLOAD_WRITER,     /* who may add to it from here on, and the part numbers reserved for him */
    UPLOAD_BYTES,      /* parts that the store has confirmed, or a tail, or both, or a length that was declared */
    UPLOAD_COMPLETING, /* every byte is there: from here on it is only finished, by whomever */
    UPLOAD_CLOSED,     /* given up or deleted: nothing may follow */
};

/* How an upload came; it rules what may be done with it. */
enum upload_origin {
    UPLOAD_FORM,    /* can't be resumed */
    UPLOAD_TUS,     /* tus 1.0.0, or an IETF draft */
    UPLOAD_PARTIAL, /* a part of a concatenation: no video, its source is .uploads/<id>/source */
};

/* What never changes; only in UPLOAD_CREATED (and in the cache). */
struct upload_facts {
    enum upload_origin origin;
    uint64_t created_ms, expires_ms;    /* wall clock; expires_ms 0: never */
    uint64_t part_size;                 /* bytes: the least of every part but the last */
    char secret_hash[UPLOAD_HASH_SIZE]; /* of the upload URL's secret; "" for UPLOAD_FORM */
    char client[UPLOAD_CLIENT_SIZE];    /* address of the creator */
    char *metadata, *concat; /* Upload-Metadata as received, Upload-Concat with ids for URLs; owned, NULL: none */
};
void upload_facts_release(struct upload_facts *f); /* NULL-tolerant, repeatable */

struct upload_record {
    enum upload_kind kind;
    uint64_t fence;             /* of the writer; a later writer has a higher one */
    char writer[ID_NONCE_SIZE]; /* its nonce: tells an own record from another's */
    uint64_t written_ms;
    uint64_t length;                      /* of the file, UPLOAD_LENGTH_UNKNOWN before it was declared */
    uint64_t offset;                      /* bytes of the file that the records up to here hold */
    uint64_t in_parts;                    /* those of them that parts hold; tails hold the rest */
    unsigned reserved;                    /* the highest part number that a writer may have used or may use */
    char upload_id[STORE_UPLOAD_ID_SIZE]; /* "" while there is no multipart upload */
    /* Of a body whose checksum is not known yet: its tail counts only once a later record of the same writer says that it
     * takes them; any other record that is not held itself discards them. offset and in_parts don't include it. One that is
     * held without a tail leaves those before it as they are. */
    bool held, takes_held;
    /* [offset − tail_bytes, offset) stands behind the JSON; of a held one, what follows. It may begin where an earlier tail
     * does, and repeats all from there on then. */
    uint64_t tail_bytes;
    uint32_t tail_crc32c;
    struct store_part *parts; /* owned: confirmed since the last record; in UPLOAD_COMPLETING all of them */
    size_t part_count;
    struct upload_facts facts; /* UPLOAD_CREATED only; owned */
};
void upload_record_release(struct upload_record *r); /* NULL-tolerant, repeatable */
#define UPLOAD_RECORD_AUTO __attribute__((cleanup(upload_record_release)))

/* Nothing but a tail: is emptied once a recorded part holds its bytes. */
bool upload_record_is_tail(const struct upload_record *r);

/* The line of JSON with its line end, appended to `out`; the tail's bytes go behind it. ERR_BUG: it could not be read again
 * (see below). */
int upload_record_write(const struct upload_record *r, struct buf *out, struct err *e)
    __attribute__((warn_unused_result));

/* *ret_head: bytes up to and with the line end. ERR_INVALID: not a record, or one that contradicts itself: parts not
 * ascending, above the reserved numbers, without a multipart upload; in_parts over offset; a completing record whose parts
 * are not its in_parts, or whose in_parts are neither everything nor nothing; a tail that would begin before in_parts.
 * ERR_NOT_FOUND: no line end within `len`: read on. */
int upload_record_parse(const char *text, size_t len, struct upload_record *ret, size_t *ret_head, struct err *e)
    __attribute__((warn_unused_result));

#endif
