#ifndef WEIR_UPLOAD_STATE_H
#define WEIR_UPLOAD_STATE_H

#include "domain/upload_record.h"

/* What an upload's log says as a whole: the fold of its records. Pure. */

/* Bytes that stand behind the JSON of a record. */
struct upload_tail {
    uint64_t seq;  /* of the record */
    uint64_t head; /* bytes of its JSON: where the tail begins in the object */
    uint64_t size_bytes;
    uint32_t crc32c;
    bool alone; /* upload_record_is_tail: its record is emptied when a part holds the bytes */
};

struct upload_state {
    char video_id[ID_VIDEO_SIZE];
    uint64_t seq; /* of the newest record */
    enum upload_kind kind;
    uint64_t fence;
    char writer[ID_NONCE_SIZE];
    uint64_t written_ms;
    uint64_t length, offset, in_parts;
    unsigned reserved;
    char upload_id[STORE_UPLOAD_ID_SIZE];
    struct upload_facts facts;
    struct upload_tail *tails; /* owned: those that hold [in_parts, offset), in order */
    size_t tail_count;
    bool parts_known;         /* false: from the cache, which leaves them out when there are any */
    struct store_part *parts; /* owned; ascending */
    size_t part_count;        /* also when they are not known */
    /* While folding, and for the writer itself: held tails that no record has taken yet. */
    struct upload_tail *held;
    size_t held_count;
};
void upload_state_release(struct upload_state *s); /* NULL-tolerant, repeatable; all zero afterwards */
#define UPLOAD_STATE_AUTO __attribute__((cleanup(upload_state_release)))

/* Every byte of a declared length is recorded. */
bool upload_state_full(const struct upload_state *s);

/* Adds the record `seq`, whose JSON has `head` bytes, to the state: for the one who folds a log as for the one who has just
 * written the record, so that both have the same. Takes over what the record owns. Records must come with rising numbers;
 * tails whose bytes a later part holds may be missing, so that in between nothing may seem to hold some bytes: ask
 * upload_state_whole at the end. ERR_BUG: the log contradicts itself: a first record that is not CREATED or CLOSED, a second
 * CREATED, an offset or a length that goes back, parts that are not what in_parts rises by, anything but CLOSED after
 * COMPLETING. What follows CLOSED is ignored. A tail may repeat those before it, which it replaces. `reserved` falls only when its writer gives numbers back with BYTES.
 * ERR_TEMPORARY: no memory. */
int upload_state_add(struct upload_state *s, uint64_t seq, struct upload_record *record, size_t head, struct err *e)
    __attribute__((warn_unused_result));

/* Parts and tails together hold every byte up to the offset. Always so for a whole log, but for one that is COMPLETING
 * without parts (the last bytes were with its writer) or closed. */
bool upload_state_whole(const struct upload_state *s);

#define UPLOAD_STATE_MAX UPLOAD_RECORD_MAX /* bytes of its JSON; with more (of tails) it is too large for the cache */

/* For the cache: everything but the parts, of which only the count is kept. */
int upload_state_write(const struct upload_state *s, struct buf *out, struct err *e)
    __attribute__((warn_unused_result));
int upload_state_parse(const char *text, size_t len, struct upload_state *ret, struct err *e)
    __attribute__((warn_unused_result)); /* ERR_INVALID: fold the log instead */

#endif
