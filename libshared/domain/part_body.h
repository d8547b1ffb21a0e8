#ifndef WEIR_PART_BODY_H
#define WEIR_PART_BODY_H

#include "domain/block_pool.h"
#include "domain/upload_state.h"
#include "io/store.h"

/* The bytes of a part, as a body to send: first the tails that the log holds, streamed from the store as they are needed,
 * then a chain in memory. Tails go through a window of fixed size of its own, never through the pool of blocks: a part of
 * nothing but tails can be sent however dry the pool is. The checksum of the whole is known from those of its pieces.
 *
 * Reading fails as ERR_STALE when a tail is not there any more: somebody else goes on with the upload, or has closed it. */

#define PART_WINDOW_SIZE (1024 * 1024)

struct part_body {
    struct store *store; /* all borrowed */
    const char *bucket, *video_id;
    const struct upload_tail *tails;
    size_t tail_count;
    const struct block_chain *chain; /* sealed; NULL: none */
    uint64_t tail_bytes;             /* private from here on */
    char *window;                    /* PART_WINDOW_SIZE or all of the tails; NULL until one is read */
    uint64_t window_at;              /* in the part */
    size_t window_len;
};

/* Fill in the borrowed members first. The body must outlive the call that sends *ret, and not move. */
void part_body_init(struct part_body *b, struct store_body *ret);
void part_body_release(struct part_body *b);

#endif
