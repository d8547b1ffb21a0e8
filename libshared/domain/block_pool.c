#include "block_pool.h"

#include "base/clock.h"
#include "base/mem.h"
#include "proto/crc32c.h"

#include <pthread.h>
#include <string.h>
#include <time.h>

struct free_block {
    struct free_block *next;
};

struct block_pool {
    pthread_mutex_t lock;
    pthread_cond_t came_free;
    struct free_block *kept; /* blocks given back, used again first */
    size_t total, used;      /* blocks */
    size_t part_blocks;      /* of a whole part */
    size_t most_blocks;      /* of a part while there is plenty of memory */
    struct block_chain *open;
};

static size_t blocks_for(uint64_t bytes)
{
    return (size_t)(bytes / BLOCK_SIZE + (bytes % BLOCK_SIZE != 0));
}

int block_pool_new(uint64_t total_bytes, uint64_t part_bytes, uint64_t most_bytes, struct block_pool **ret,
                   struct err *e)
{
    pthread_condattr_t attributes;

    if (part_bytes == 0 || total_bytes / BLOCK_SIZE / 4 < blocks_for(part_bytes))
        return err_set(e, ERR_INVALID, "memory for uploads: four parts of %llu bytes don't fit into %llu bytes",
                       (unsigned long long)part_bytes, (unsigned long long)total_bytes);
    struct block_pool *p = mem_zalloc(sizeof *p);
    if (p == NULL)
        return err_set(e, ERR_TEMPORARY, "memory for uploads: no memory");
    p->total = (size_t)(total_bytes / BLOCK_SIZE);
    p->part_blocks = blocks_for(part_bytes);
    p->most_blocks = blocks_for(most_bytes);
    pthread_mutex_init(&p->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&p->came_free, &attributes);
    pthread_condattr_destroy(&attributes);
    *ret = p;
    return 0;
}

void block_pool_free(struct block_pool *p)
{
    if (p == NULL)
        return;
    while (p->kept != NULL) {
        struct free_block *block = p->kept;
        p->kept = block->next;
        mem_free(block);
    }
    pthread_cond_destroy(&p->came_free);
    pthread_mutex_destroy(&p->lock);
    mem_free(p);
}

/* False once the deadline has passed. With the lock held. */
static bool wait_until(struct block_pool *p, uint64_t deadline_ms)
{
    struct timespec until = {.tv_sec = (time_t)(deadline_ms / 1000), .tv_nsec = (long)(deadline_ms % 1000) * 1000000};

    return pthread_cond_timedwait(&p->came_free, &p->lock, &until) == 0 || clock_mono_ms() < deadline_ms;
}

int block_pool_wait(struct block_pool *p, uint64_t bytes, uint64_t wait_ms, struct err *e)
{
    uint64_t deadline_ms = clock_mono_ms() + wait_ms;
    size_t wanted = blocks_for(bytes);
    bool enough;

    pthread_mutex_lock(&p->lock);
    while (!(enough = p->total - p->used >= wanted) && wait_until(p, deadline_ms))
        ;
    pthread_mutex_unlock(&p->lock);
    return enough ? 0 : err_set(e, ERR_BUSY, "the memory for uploads is full; try again in a little while");
}

/* --- Blocks --- */

static bool is_whole(const struct block_chain *c)
{
    return c->count >= c->pool->part_blocks;
}

/* Whether `chain` may take a block. When it is not a whole part yet: if afterwards some open chain is one, or can become
 * one from what is free. With the lock held. */
static bool may_take(const struct block_pool *p, const struct block_chain *chain)
{
    size_t left = p->total - p->used;

    if (is_whole(chain))
        return chain->count < chain->most && left > p->total / 2;
    if (left == 0)
        return false;
    for (const struct block_chain *c = p->open; c != NULL; c = c->next)
        if (c->count + (c == chain) + left - 1 >= p->part_blocks)
            return true;
    return false;
}

/* *ret NULL: the chain is full. */
static int take_block(struct block_chain *c, uint64_t wait_ms, void **ret, struct err *e)
{
    struct block_pool *p = c->pool;
    uint64_t deadline_ms = clock_mono_ms() + wait_ms;
    struct free_block *block = NULL;
    bool granted;

    pthread_mutex_lock(&p->lock);
    while (!(granted = may_take(p, c)) && !is_whole(c) && wait_until(p, deadline_ms))
        ;
    if (granted) {
        block = p->kept;
        if (block != NULL)
            p->kept = block->next;
        p->used++;
        c->block[c->count++] = NULL; /* counted for the others; the caller puts the block in */
    }
    pthread_mutex_unlock(&p->lock);
    *ret = NULL;
    if (!granted)
        return is_whole(c) ? 0 : err_set(e, ERR_BUSY, "the memory for uploads is full; try again in a little while");
    if (block == NULL)
        block = mem_alloc(BLOCK_SIZE);
    *ret = block;
    return block != NULL ? 0 : err_set(e, ERR_TEMPORARY, "no memory for an upload");
}

/* --- Chains --- */

void block_chain_open(struct block_chain *c, struct block_pool *p, unsigned parts)
{
    bool bounded = parts > p->most_blocks / p->part_blocks;

    *c = (struct block_chain){.pool = p, .open = true, .most = bounded ? p->most_blocks : parts * p->part_blocks};
    pthread_mutex_lock(&p->lock);
    c->next = p->open;
    if (c->next != NULL)
        c->next->prev = c;
    p->open = c;
    pthread_mutex_unlock(&p->lock);
}

/* With the lock held. */
static void leave_open_list(struct block_chain *c)
{
    if (!c->open)
        return;
    if (c->prev != NULL)
        c->prev->next = c->next;
    else
        c->pool->open = c->next;
    if (c->next != NULL)
        c->next->prev = c->prev;
    c->prev = c->next = NULL;
    c->open = false;
}

void block_chain_seal(struct block_chain *c)
{
    pthread_mutex_lock(&c->pool->lock);
    leave_open_list(c);
    pthread_mutex_unlock(&c->pool->lock);
}

/* Room in the last block, of which *ret_free is the rest; 0 when the chain is full. */
static int make_room(struct block_chain *c, uint64_t wait_ms, size_t *ret_free, struct err *e)
{
    void *block = NULL;

    *ret_free = (size_t)((uint64_t)c->count * BLOCK_SIZE - c->len);
    if (*ret_free > 0)
        return 0;
    if (c->count == c->room) {
        size_t room = c->room == 0 ? 8 : c->room * 2;
        void **grown = mem_resize(c->block, room, sizeof *grown);
        if (grown == NULL)
            return err_set(e, ERR_TEMPORARY, "no memory for an upload");
        c->block = grown;
        c->room = room;
    }
    int r = take_block(c, wait_ms, &block, e);
    if (r != 0 || block == NULL)
        return r;
    c->block[c->count - 1] = block;
    *ret_free = BLOCK_SIZE;
    return 0;
}

int block_chain_append(struct block_chain *c, const void *data, size_t len, uint64_t wait_ms, size_t *ret_taken,
                       struct err *e)
{
    size_t taken = 0, n;

    while (taken < len) {
        int r = make_room(c, wait_ms, &n, e);
        if (r != 0)
            return r;
        if (n == 0)
            break;
        size_t used = BLOCK_SIZE - n;
        if (n > len - taken)
            n = len - taken;
        memcpy((char *)c->block[c->count - 1] + used, (const char *)data + taken, n);
        c->crc32c = crc32c_update(c->crc32c, (const char *)data + taken, n); /* while they are in the cache */
        c->len += n;
        taken += n;
    }
    *ret_taken = taken;
    return 0;
}

void block_chain_release(struct block_chain *c)
{
    struct block_pool *p = c->pool;

    if (p == NULL)
        return;
    pthread_mutex_lock(&p->lock);
    leave_open_list(c);
    p->used -= c->count;
    for (size_t i = 0; i < c->count; i++) {
        struct free_block *block = c->block[i];
        if (block == NULL)
            continue;
        block->next = p->kept;
        p->kept = block;
    }
    pthread_cond_broadcast(&p->came_free);
    pthread_mutex_unlock(&p->lock);
    mem_free(c->block);
    *c = (struct block_chain){0};
}

static int read_chain(void *ctx, uint64_t offset, void *to, size_t size, struct err *e)
{
    const struct block_chain *c = ctx;
    char *out = to;

    if (offset > c->len || size > c->len - offset)
        return err_set(e, ERR_BUG, "read past the end of a part");
    while (size > 0) {
        size_t at = (size_t)(offset % BLOCK_SIZE), n = BLOCK_SIZE - at;
        if (n > size)
            n = size;
        memcpy(out, (const char *)c->block[offset / BLOCK_SIZE] + at, n);
        out += n;
        offset += n;
        size -= n;
    }
    return 0;
}

struct store_body block_chain_body(const struct block_chain *c)
{
    union {
        const struct block_chain *in;
        void *out;
    } ctx = {.in = c}; /* read_chain takes it back as const */

    return (struct store_body){
        .size_bytes = c->len, .read_at = read_chain, .ctx = ctx.out, .has_crc32c = true, .crc32c = c->crc32c};
}
