#include "block_pool.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "proto/crc32c.h"

#include <stdbool.h>
#include <string.h>
#include <time.h>

#define TRIM_MOST 64 /* blocks given back to the system at once, with the lock held */

static struct metric in_use = METRIC_GAUGE("weir_upload_memory_bytes", "Memory that holds bytes of uploads now.", NULL);

struct chains {
    struct block_chain *first, *last;
};

struct block_pool {
    pthread_mutex_t lock;
    pthread_condattr_t monotonic;
    pthread_cond_t came_free;
    uint64_t part_bytes, most_bytes; /* of a whole part, and of one while there is plenty of memory */
    char *memory;
    void **unused; /* the free blocks; the last one goes first */
    size_t total, free;
    size_t cold;           /* so many of the free ones, the first, hold no memory of the system */
    size_t least;          /* how many were free at any time since the last trim */
    size_t coming;         /* blocks on their way back */
    struct chains open;    /* idle for longest first */
    struct chains waiting; /* in line for a block; then none is free */
};

static void count_use(const struct block_pool *p)
{
    metric_set(&in_use, NULL, (double)(p->total - p->free) * BLOCK_SIZE);
}

static size_t blocks_for(uint64_t bytes)
{
    return (size_t)(bytes / BLOCK_SIZE + (bytes % BLOCK_SIZE != 0));
}

static bool take_memory(struct block_pool *p)
{
    p->memory = mem_map(p->total * BLOCK_SIZE);
    p->unused = mem_calloc(p->total, sizeof *p->unused);
    if (p->memory == NULL || p->unused == NULL)
        return false;
    for (size_t i = 0; i < p->total; i++)
        p->unused[i] = p->memory + (p->total - 1 - i) * BLOCK_SIZE;
    p->free = p->cold = p->least = p->total;
    return true;
}

int block_pool_new(uint64_t total_bytes, uint64_t part_bytes, uint64_t most_bytes, struct block_pool **ret,
                   struct err *e)
{
    if (part_bytes == 0 || total_bytes / BLOCK_SIZE / 4 < blocks_for(part_bytes))
        return err_set(e, ERR_INVALID, "memory for uploads: four parts of %llu bytes don't fit into %llu bytes",
                       (unsigned long long)part_bytes, (unsigned long long)total_bytes);
    struct block_pool *p = mem_zalloc(sizeof *p);
    if (p == NULL)
        return err_set(e, ERR_TEMPORARY, "memory for uploads: no memory");
    p->total = (size_t)(total_bytes / BLOCK_SIZE);
    p->part_bytes = part_bytes;
    p->most_bytes = most_bytes > part_bytes ? most_bytes : part_bytes;
    pthread_mutex_init(&p->lock, NULL);
    pthread_condattr_init(&p->monotonic);
    pthread_condattr_setclock(&p->monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&p->came_free, &p->monotonic);
    if (!take_memory(p)) {
        block_pool_free(p);
        return err_set(e, ERR_TEMPORARY, "memory for uploads: no memory");
    }
    count_use(p);
    *ret = p;
    return 0;
}

void block_pool_free(struct block_pool *p)
{
    if (p == NULL)
        return;
    pthread_cond_destroy(&p->came_free);
    pthread_condattr_destroy(&p->monotonic);
    pthread_mutex_destroy(&p->lock);
    mem_unmap(p->memory, p->total * BLOCK_SIZE);
    mem_free(p->unused);
    mem_free(p);
}

void block_pool_trim(struct block_pool *p)
{
    pthread_mutex_lock(&p->lock);
    for (unsigned n = 0; n < TRIM_MOST && p->cold < p->least; n++)
        mem_discard(p->unused[p->cold++], BLOCK_SIZE);
    p->least = p->free;
    pthread_mutex_unlock(&p->lock);
}

/* --- What chains are at; with the lock held --- */

static struct chains *list_of(struct block_pool *p, enum block_chain_state state)
{
    if (state == BLOCK_CHAIN_OPEN)
        return &p->open;
    return state == BLOCK_CHAIN_WAITING ? &p->waiting : NULL;
}

static void list_remove(struct chains *l, struct block_chain *c)
{
    *(c->prev != NULL ? &c->prev->next : &l->first) = c->next;
    *(c->next != NULL ? &c->next->prev : &l->last) = c->prev;
}

static void list_append(struct chains *l, struct block_chain *c)
{
    c->prev = l->last;
    c->next = NULL;
    *(c->prev != NULL ? &c->prev->next : &l->first) = c;
    l->last = c;
}

/* To the end of the list of that state. */
static void move_to(struct block_pool *p, struct block_chain *c, enum block_chain_state state)
{
    struct chains *from = list_of(p, c->state), *to = list_of(p, state);

    if (from != NULL)
        list_remove(from, c);
    if (to != NULL)
        list_append(to, c);
    if (c->state == BLOCK_CHAIN_COMING)
        p->coming -= c->count;
    if (state == BLOCK_CHAIN_COMING)
        p->coming += c->count;
    c->state = state;
}

static void give_block(struct block_chain *c)
{
    struct block_pool *p = c->pool;

    c->block[c->count++] = p->unused[--p->free];
    if (p->cold > p->free)
        p->cold = p->free;
    if (p->least > p->free)
        p->least = p->free;
    count_use(p);
}

/* --- Asking for blocks back; with the lock held --- */

static bool can_spill(const struct block_chain *c)
{
    return c->spill != NULL && c->count > 0;
}

/* Until so many blocks are free or on their way. */
static void ask_idle(struct block_pool *p, size_t wanted)
{
    for (struct block_chain *c = p->open.first, *next; c != NULL && p->free + p->coming < wanted; c = next) {
        next = c->next;
        if (!can_spill(c))
            continue;
        move_to(p, c, BLOCK_CHAIN_COMING);
        c->spill(c->spill_ctx);
    }
}

/* From the end of the line, since those would hold their blocks idle for longest. The first in line is spared while
 * anything at all is on its way. */
static void ask_waiting(struct block_pool *p, size_t wanted)
{
    for (struct block_chain *c = p->waiting.last, *prev; c != NULL && p->coming < wanted; c = prev) {
        prev = c->prev;
        if (!can_spill(c) || (prev == NULL && p->coming > 0))
            continue;
        move_to(p, c, BLOCK_CHAIN_COMING);
        pthread_cond_signal(c->wake);
    }
}

/* Hands out what is free; for those that have to go on waiting, asks for more. */
static void serve(struct block_pool *p)
{
    size_t wanted = (p->total + 7) / 8;

    while (p->free > 0 && p->waiting.first != NULL) {
        struct block_chain *c = p->waiting.first;
        give_block(c);
        move_to(p, c, BLOCK_CHAIN_OPEN);
        pthread_cond_signal(c->wake);
    }
    if (p->waiting.first == NULL)
        return;
    ask_idle(p, wanted);
    ask_waiting(p, wanted);
}

/* --- Waiting --- */

static int no_block(struct err *e)
{
    return err_set(e, ERR_BUSY, "the memory for uploads is full; try again in a little while");
}

/* False once the deadline has passed. With the lock held. */
static bool wait_until(struct block_pool *p, pthread_cond_t *cond, uint64_t deadline_ms)
{
    struct timespec until = {.tv_sec = (time_t)(deadline_ms / 1000), .tv_nsec = (long)(deadline_ms % 1000) * 1000000};

    return pthread_cond_timedwait(cond, &p->lock, &until) == 0 || clock_mono_ms() < deadline_ms;
}

int block_pool_wait(struct block_pool *p, uint64_t bytes, uint64_t wait_ms, struct err *e)
{
    uint64_t deadline_ms = clock_mono_ms() + wait_ms;
    size_t wanted = blocks_for(bytes);

    pthread_mutex_lock(&p->lock);
    do
        ask_idle(p, wanted);
    while (p->free < wanted && wait_until(p, &p->came_free, deadline_ms));
    bool enough = p->free >= wanted;
    pthread_mutex_unlock(&p->lock);
    return enough ? 0 : no_block(e);
}

/* In line until it was given a block or asked to spill. With the lock held. */
static int wait_in_line(struct block_chain *c, uint64_t wait_ms, enum block_need *ret_need, struct err *e)
{
    struct block_pool *p = c->pool;
    uint64_t deadline_ms = clock_mono_ms() + wait_ms;
    size_t held = c->count;
    pthread_cond_t wake;

    pthread_cond_init(&wake, &p->monotonic);
    c->wake = &wake;
    move_to(p, c, BLOCK_CHAIN_WAITING);
    serve(p);
    while (c->state == BLOCK_CHAIN_WAITING && wait_until(p, &wake, deadline_ms))
        ;
    pthread_cond_destroy(&wake);
    if (c->state == BLOCK_CHAIN_WAITING) {
        move_to(p, c, BLOCK_CHAIN_OPEN);
        return no_block(e);
    }
    *ret_need = c->count > held ? BLOCK_MORE : BLOCK_SPILL;
    return 0;
}

/* --- Chains --- */

/* Blocks of a part that holds `before` bytes already. */
static size_t blocks_after(uint64_t before, uint64_t part_bytes)
{
    return before < part_bytes ? blocks_for(part_bytes - before) : 0;
}

void block_chain_open(struct block_chain *c, struct block_pool *p, unsigned parts, uint64_t before, block_spill *spill,
                      void *spill_ctx)
{
    uint64_t most = parts > p->most_bytes / p->part_bytes ? p->most_bytes : parts * p->part_bytes;

    *c = (struct block_chain){.pool = p,
                              .spill = spill,
                              .spill_ctx = spill_ctx,
                              .whole = blocks_after(before, p->part_bytes),
                              .most = blocks_after(before, most)};
    pthread_mutex_lock(&p->lock);
    move_to(p, c, BLOCK_CHAIN_OPEN);
    pthread_mutex_unlock(&p->lock);
}

void block_chain_seal(struct block_chain *c)
{
    struct block_pool *p = c->pool;

    pthread_mutex_lock(&p->lock);
    if (c->state == BLOCK_CHAIN_OPEN)
        move_to(p, c, BLOCK_CHAIN_COMING);
    pthread_mutex_unlock(&p->lock);
}

/* Room in the list for one more. */
static int grow_list(struct block_chain *c, struct err *e)
{
    if (c->count < c->room)
        return 0;
    size_t room = c->room == 0 ? 8 : c->room * 2;
    void **grown = mem_resize(c->block, room, sizeof *grown);
    if (grown == NULL)
        return err_set(e, ERR_TEMPORARY, "no memory for an upload");
    c->block = grown;
    c->room = room;
    return 0;
}

/* One more block, when *ret_need is BLOCK_MORE. */
static int take_block(struct block_chain *c, uint64_t wait_ms, enum block_need *ret_need, struct err *e)
{
    struct block_pool *p = c->pool;

    int r = grow_list(c, e);
    if (r != 0)
        return r;
    pthread_mutex_lock(&p->lock);
    bool whole = c->count >= c->whole, plenty = c->count < c->most && p->free > p->total / 2;
    if (whole && (!plenty || c->state == BLOCK_CHAIN_COMING))
        *ret_need = BLOCK_FULL;
    else if (c->state == BLOCK_CHAIN_COMING)
        *ret_need = BLOCK_SPILL;
    else if (p->free > 0)
        give_block(c);
    else
        r = wait_in_line(c, wait_ms, ret_need, e);
    pthread_mutex_unlock(&p->lock);
    return r;
}

/* It is the one that was idle for the shortest time now. False: it was asked to spill. */
static bool touch(struct block_chain *c)
{
    struct block_pool *p = c->pool;

    pthread_mutex_lock(&p->lock);
    bool open = c->state == BLOCK_CHAIN_OPEN;
    if (open)
        move_to(p, c, BLOCK_CHAIN_OPEN);
    pthread_mutex_unlock(&p->lock);
    return open;
}

static size_t room_of(const struct block_chain *c)
{
    return (size_t)((uint64_t)c->count * BLOCK_SIZE - c->len);
}

static char *end_of(struct block_chain *c)
{
    return (char *)c->block[c->count - 1] + (BLOCK_SIZE - room_of(c));
}

void *block_chain_room(struct block_chain *c, size_t *ret_size)
{
    *ret_size = touch(c) ? room_of(c) : 0;
    return *ret_size > 0 ? end_of(c) : NULL;
}

void block_chain_add(struct block_chain *c, size_t len)
{
    if (len == 0)
        return;
    c->crc32c = crc32c_update(c->crc32c, end_of(c), len); /* while they are in the cache */
    c->len += len;
}

/* As much as the last block has room for. */
static size_t fill_block(struct block_chain *c, const char *data, size_t len)
{
    size_t n = len < room_of(c) ? len : room_of(c);

    if (n == 0)
        return 0;
    memcpy(end_of(c), data, n);
    block_chain_add(c, n);
    return n;
}

int block_chain_append(struct block_chain *c, const void *data, size_t len, uint64_t wait_ms, size_t *ret_taken,
                       enum block_need *ret_need, struct err *e)
{
    enum block_need need = touch(c) ? BLOCK_MORE : BLOCK_SPILL;
    size_t taken = 0;
    int r = 0;

    while (r == 0 && need == BLOCK_MORE && taken < len) {
        size_t n = fill_block(c, (const char *)data + taken, len - taken);
        taken += n;
        if (n == 0)
            r = take_block(c, wait_ms, &need, e);
    }
    *ret_taken = taken;
    if (r == 0)
        *ret_need = need;
    return r;
}

void block_chain_release(struct block_chain *c)
{
    struct block_pool *p = c->pool;

    if (p == NULL)
        return;
    pthread_mutex_lock(&p->lock);
    move_to(p, c, BLOCK_CHAIN_NONE);
    for (size_t i = 0; i < c->count; i++)
        p->unused[p->free++] = c->block[i];
    count_use(p);
    serve(p);
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
