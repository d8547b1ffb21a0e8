#ifndef WEIR_BLOCK_POOL_H
#define WEIR_BLOCK_POOL_H

#include "io/store.h"

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

/* The memory of all uploads of a process: one pool of small blocks, bound by UPLOAD_MEMORY. A part that is being filled
 * is a chain of them, so a client that has sent 100 KiB holds one block, not a part. Thread-safe; a chain belongs to one
 * thread at a time.
 *
 * Half-full parts can't block each other for ever: when no block is left, the chains that have been idle for longest are
 * asked to spill: their owners store what they hold elsewhere and give the blocks back. As many are asked as it takes until
 * an eighth of the memory is on its way back, sealed chains included. When no idle one is left, those that wait for a block
 * themselves are asked, the last in line first. So the memory is bound by the setting, never by the number of clients, and
 * nobody waits for a client.
 *
 * Who waits gets blocks in the order of coming, one at a time: whoever is fast stands in line again for his next one.
 *
 * While half of the memory is free, chains go on beyond a whole part, up to the most: fewer and larger parts are less work
 * for the store. */

#define BLOCK_SIZE (128u * 1024)

struct block_pool;

/* `part_bytes`: a whole part; `total_bytes` holds at least four of it, else ERR_INVALID. `most_bytes`: of a part while
 * there is plenty of memory. They are rounded up to blocks. Memory is taken from the system when it is first needed. */
int block_pool_new(uint64_t total_bytes, uint64_t part_bytes, uint64_t most_bytes, struct block_pool **ret,
                   struct err *e) __attribute__((warn_unused_result));
void block_pool_free(struct block_pool *p); /* NULL is fine; every chain is released */

/* To be called each second: gives memory that was not needed since the last call back to the system, some at a time. */
void block_pool_trim(struct block_pool *p);

/* Waits until `bytes` are free, at most wait_ms; then ERR_BUSY. Idle chains are asked to spill for them. They are not set
 * aside. */
int block_pool_wait(struct block_pool *p, uint64_t bytes, uint64_t wait_ms, struct err *e)
    __attribute__((warn_unused_result));

/* Asks the owner of a chain to spill it; called with the pool's lock held, by any thread: only leaves a note and wakes him.
 * Called at most once for a chain, not after it was sealed or released, and not while its owner waits in
 * block_chain_append, whose result tells him. */
typedef void block_spill(void *ctx);

struct block_chain {
    struct block_pool *pool;
    block_spill *spill; /* NULL: can't be asked */
    void *spill_ctx;
    void **block; /* `count` of them, all but the last full */
    size_t count, room;
    uint64_t len;    /* bytes held */
    uint32_t crc32c; /* of them */
    /* private */
    size_t whole, most; /* blocks that end a whole part, and that it may grow to */
    enum block_chain_state {
        BLOCK_CHAIN_NONE,    /* released */
        BLOCK_CHAIN_OPEN,    /* may take blocks */
        BLOCK_CHAIN_WAITING, /* for a block */
        BLOCK_CHAIN_COMING,  /* sealed, or asked to spill: its blocks are on their way back */
    } state;
    pthread_cond_t *wake;            /* of the owner while it waits */
    struct block_chain *prev, *next; /* in the pool's list of its state */
};

/* An empty, open chain that may grow to so many whole parts, less `before` bytes that its part holds already (0 blocks when
 * they are as much); it must not move in memory until it is sealed or released. */
void block_chain_open(struct block_chain *c, struct block_pool *p, unsigned parts, uint64_t before, block_spill *spill,
                      void *spill_ctx);

enum block_need {
    BLOCK_MORE,  /* every byte was taken */
    BLOCK_FULL,  /* a whole part that must not go on: send it */
    BLOCK_SPILL, /* this chain was asked to spill, now or before: do it, then go on with a new one */
};
/* Appends bytes: *ret_taken of them, on failure too; fewer than `len` unless *ret_need is BLOCK_MORE. ERR_BUSY: no block
 * came free within wait_ms. */
int block_chain_append(struct block_chain *c, const void *data, size_t len, uint64_t wait_ms, size_t *ret_taken,
                       enum block_need *ret_need, struct err *e) __attribute__((warn_unused_result));
/* The room in its last block, for bytes that its owner puts there himself and then adds, without a copy; 0 bytes when there is
 * none, or the chain was asked to spill: then append. */
void *block_chain_room(struct block_chain *c, size_t *ret_size);
void block_chain_add(struct block_chain *c, size_t len);
/* It takes no more: what it holds comes back by itself. Required before its owner waits for anything but its sending. */
void block_chain_seal(struct block_chain *c);
/* Gives every block back. Repeatable. */
void block_chain_release(struct block_chain *c);
/* Its bytes as a body to send; the chain must outlive it unchanged. */
struct store_body block_chain_body(const struct block_chain *c);

#endif
