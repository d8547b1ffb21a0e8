#ifndef WEIR_BLOCK_POOL_H
#define WEIR_BLOCK_POOL_H

#include "io/store.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The memory of all uploads of a process: one pool of small blocks, bound by UPLOAD_MEMORY. A part that is being filled
 * is a chain of them, so a client that has sent 100 KiB holds one block, not a part. Thread-safe; a chain belongs to one
 * thread at a time.
 *
 * Half-full parts can't block each other for ever: when no block is left, the chains that have been idle for longest are
 * asked to spill: their owners store what they hold elsewhere and give the blocks back. As many are asked as it takes until
 * an eighth of the memory is on its way back, sealed chains included. So the memory is bound by the setting, never by the
 * number of clients, and nobody waits for a client.
 *
 * While half of the memory is free, chains go on beyond a whole part, up to the most: fewer and larger parts are less work
 * for the store. */

#define BLOCK_SIZE (128u * 1024)

struct block_pool;

/* `part_bytes`: a whole part; `total_bytes` holds at least four of it, else ERR_INVALID. `most_bytes`: of a part while
 * there is plenty of memory. Both are rounded up to blocks. Memory is taken as it is needed and then kept for reuse. */
int block_pool_new(uint64_t total_bytes, uint64_t part_bytes, uint64_t most_bytes, struct block_pool **ret,
                   struct err *e) __attribute__((warn_unused_result));
void block_pool_free(struct block_pool *p); /* NULL is fine; every chain is released */

/* Waits until `bytes` are free, at most wait_ms; then ERR_BUSY. They are not set aside. */
int block_pool_wait(struct block_pool *p, uint64_t bytes, uint64_t wait_ms, struct err *e)
    __attribute__((warn_unused_result));

/* Asks the owner of a chain to spill it; called with the pool's lock held, by any thread: only leaves a note and wakes him.
 * Not called again until the chain was released, and not after it was sealed. */
typedef void block_spill(void *ctx);

struct block_chain {
    struct block_pool *pool;
    block_spill *spill; /* NULL: can't be asked */
    void *spill_ctx;
    uint64_t touched_ms; /* when it last took bytes */
    bool asked;
    void **block; /* `count` of them, all but the last full */
    size_t count, room;
    uint64_t len;                    /* bytes held */
    uint32_t crc32c;                 /* of them */
    size_t most;                     /* blocks that it may grow to */
    bool open;                       /* may still take blocks */
    struct block_chain *prev, *next; /* the pool's list of open chains */
};

/* An empty, open chain that may grow to so many whole parts, less `before` bytes that its part holds already; it must not
 * move in memory until it is sealed or released. */
void block_chain_open(struct block_chain *c, struct block_pool *p, unsigned parts, uint64_t before, block_spill *spill,
                      void *spill_ctx);

enum block_need {
    BLOCK_MORE,  /* every byte was taken */
    BLOCK_FULL,  /* a whole part that must not go on: send it */
    BLOCK_SPILL, /* this chain was asked to spill, now or before: do it, then go on with a new one */
};
/* Appends bytes: *ret_taken of them, fewer than `len` unless *ret_need is BLOCK_MORE. ERR_BUSY: no block came free within
 * wait_ms. */
int block_chain_append(struct block_chain *c, const void *data, size_t len, uint64_t wait_ms, size_t *ret_taken,
                       enum block_need *ret_need, struct err *e) __attribute__((warn_unused_result));
/* It takes no more: what it holds comes back by itself. Required before it waits for anything but its own sending. */
void block_chain_seal(struct block_chain *c);
/* Gives every block back. Repeatable. */
void block_chain_release(struct block_chain *c);
/* Its bytes as a body to send; the chain must outlive it unchanged. */
struct store_body block_chain_body(const struct block_chain *c);

#endif
