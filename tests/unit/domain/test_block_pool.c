#include "domain/block_pool.h"

#include "../suite.h"
#include "base/clock.h"
#include "base/mem.h"
#include "proto/crc32c.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PART (4 * BLOCK_SIZE)
#define TOTAL (4 * PART) /* 16 blocks: 2 are an eighth */
#define MOST (3 * PART / 2)

static struct block_pool *pool;
static unsigned char block[BLOCK_SIZE];

static void up(void)
{
    struct err e = {0};

    ck_assert_int_eq(block_pool_new(TOTAL, PART, MOST, &pool, &e), 0);
}

static void down(void)
{
    ck_assert_int_eq(block_pool_wait(pool, TOTAL, 0, NULL), 0); /* everything came back */
    block_pool_free(pool);
}

static void count_call(void *ctx)
{
    ++*(unsigned *)ctx;
}

static void open_chain(struct block_chain *c, unsigned parts, unsigned *asked)
{
    block_chain_open(c, pool, parts, 0, asked != NULL ? count_call : NULL, asked);
}

/* Of one block; what it needs then, or -kind. */
static int try_append(struct block_chain *c, size_t len, size_t *ret_taken)
{
    enum block_need need = BLOCK_MORE;
    struct err e = {0};

    int r = block_chain_append(c, block, len, 0, ret_taken, &need, &e);
    ck_assert(r != 0 || (need == BLOCK_MORE) == (*ret_taken == len));
    return r != 0 ? r : (int)need;
}

static void append(struct block_chain *c, size_t blocks)
{
    size_t taken;

    for (size_t i = 0; i < blocks; i++)
        ck_assert_int_eq(try_append(c, sizeof block, &taken), BLOCK_MORE);
}

static int append_byte(struct block_chain *c)
{
    size_t taken;

    return try_append(c, 1, &taken);
}

/* Chains of `each` blocks, so many that none is free any more. */
static void fill_pool(struct block_chain *c, size_t count, size_t each, unsigned *asked)
{
    for (size_t i = 0; i < count; i++) {
        open_chain(&c[i], 1, asked != NULL ? &asked[i] : NULL);
        append(&c[i], each);
    }
}

static void release_all(struct block_chain *c, size_t count)
{
    for (size_t i = 0; i < count; i++)
        block_chain_release(&c[i]);
}

/* --- One chain --- */

START_TEST(four_parts_must_fit)
{
    struct block_pool *small = NULL;
    struct err e = {0};

    ck_assert_int_eq(block_pool_new(TOTAL - 1, PART, MOST, &small, &e), -ERR_INVALID);
    ck_assert_int_eq(block_pool_new(TOTAL, 0, MOST, &small, &e), -ERR_INVALID);
    ck_assert_ptr_null(small);
}
END_TEST

START_TEST(bytes_come_out_as_they_went_in)
{
    struct block_chain c;
    struct err e = {0};
    unsigned char in[1000], out[3000];
    enum block_need need;
    uint32_t crc = 0;
    size_t taken;

    open_chain(&c, 2, NULL);
    for (unsigned i = 0; i < 300; i++) { /* pieces that cross the borders of blocks */
        memset(in, (int)i, sizeof in);
        ck_assert_int_eq(block_chain_append(&c, in, sizeof in, 0, &taken, &need, &e), 0);
        ck_assert_uint_eq(taken, sizeof in);
        crc = crc32c_update(crc, in, sizeof in);
    }
    struct store_body body = block_chain_body(&c);
    ck_assert_uint_eq(body.size_bytes, 300000);
    ck_assert(body.has_crc32c);
    ck_assert_uint_eq(body.crc32c, crc);
    for (uint64_t at = 500; at + sizeof out <= 300000; at += 2500) {
        ck_assert_int_eq(body.read_at(body.ctx, at, out, sizeof out, &e), 0);
        for (size_t i = 0; i < sizeof out; i++)
            ck_assert_uint_eq(out[i], (at + i) / 1000 % 256);
    }
    ck_assert_int_eq(body.read_at(body.ctx, 299999, out, 2, &e), -ERR_BUG);
    ck_assert_int_eq(body.read_at(body.ctx, 299999, out, 1, &e), 0);
    block_chain_release(&c);
    block_chain_release(&c);
}
END_TEST

/* What the part holds before, the part it belongs to, how many blocks the chain takes. */
static const struct {
    unsigned parts;
    uint64_t before;
    size_t blocks;
} sizes[] = {
    {1, 0, 4},    {2, 0, 6},          {100, 0, 6},
    {1, 1, 4},    {1, BLOCK_SIZE, 3}, {1, PART - 1, 1},
    {1, PART, 0}, {1, UINT64_MAX, 0}, {2, BLOCK_SIZE + 1, 5},
    {2, PART, 2}, {2, MOST, 0},
};

START_TEST(a_chain_takes_what_its_part_lacks)
{
    struct block_chain c;

    block_chain_open(&c, pool, sizes[_i].parts, sizes[_i].before, NULL, NULL);
    append(&c, sizes[_i].blocks);
    ck_assert_int_eq(append_byte(&c), BLOCK_FULL);
    ck_assert_int_eq(append_byte(&c), BLOCK_FULL);
    ck_assert_uint_eq(c.len, sizes[_i].blocks * BLOCK_SIZE);
    block_chain_release(&c);
}
END_TEST

/* Of 16 blocks: three are the other's, four make a whole part, the eighth is the last that leaves half of them free. */
START_TEST(a_whole_part_goes_on_only_while_half_of_the_memory_is_free)
{
    struct block_chain other, c;
    size_t taken = 0;

    open_chain(&other, 2, NULL);
    append(&other, 3);
    open_chain(&c, 2, NULL);
    append(&c, 4);
    ck_assert_int_eq(append_byte(&c), BLOCK_MORE); /* 8 blocks are used now */
    ck_assert_int_eq(try_append(&c, sizeof block, &taken), BLOCK_FULL);
    ck_assert_uint_eq(taken, BLOCK_SIZE - 1);
    append(&other, 1); /* on its way to a whole part */
    block_chain_release(&other);
    ck_assert_int_eq(append_byte(&c), BLOCK_MORE);
    block_chain_release(&c);
}
END_TEST

START_TEST(bytes_may_be_put_where_they_stay)
{
    struct block_chain c;
    size_t room;

    open_chain(&c, 1, NULL);
    ck_assert_ptr_null(block_chain_room(&c, &room)); /* it holds no block yet */
    ck_assert_int_eq(append_byte(&c), BLOCK_MORE);
    unsigned char *at = block_chain_room(&c, &room);
    ck_assert_uint_eq(room, BLOCK_SIZE - 1);
    memset(at, 7, room);
    block_chain_add(&c, 0);
    block_chain_add(&c, 1000);
    ck_assert_ptr_eq(block_chain_room(&c, &room), at + 1000);
    block_chain_add(&c, room);
    ck_assert_ptr_null(block_chain_room(&c, &room));
    memset(block + 1, 7, sizeof block - 1);
    ck_assert_uint_eq(c.len, BLOCK_SIZE);
    ck_assert_uint_eq(c.crc32c, crc32c_update(0, block, sizeof block));
    memset(block, 0, sizeof block);
    block_chain_seal(&c);
    ck_assert_ptr_null(block_chain_room(&c, &room));
    block_chain_release(&c);
}
END_TEST

START_TEST(few_bytes_hold_one_block)
{
    struct block_chain c;
    struct err e = {0};

    open_chain(&c, 2, NULL);
    ck_assert_int_eq(block_pool_wait(pool, TOTAL, 0, &e), 0);
    ck_assert_int_eq(append_byte(&c), BLOCK_MORE);
    ck_assert_int_eq(block_pool_wait(pool, TOTAL - BLOCK_SIZE, 0, &e), 0);
    ck_assert_int_eq(block_pool_wait(pool, TOTAL, 0, &e), -ERR_BUSY);
    block_chain_release(&c);
}
END_TEST

/* --- A dry pool --- */

START_TEST(the_longest_idle_are_asked)
{
    struct block_chain c[16], late;
    unsigned asked[16] = {0};
    size_t taken;

    fill_pool(c, 16, 1, asked);
    ck_assert_int_eq(try_append(&c[0], 0, &taken), BLOCK_MORE); /* a sign of life */
    open_chain(&late, 1, NULL);
    for (size_t tries = 0; tries < 2; tries++) {
        ck_assert_int_eq(append_byte(&late), -ERR_BUSY);
        for (size_t i = 0; i < 16; i++)
            ck_assert_uint_eq(asked[i], i == 1 || i == 2); /* an eighth of 16 */
    }
    ck_assert_int_eq(append_byte(&c[1]), BLOCK_SPILL);
    block_chain_release(&c[1]);
    append(&late, 1);
    ck_assert_int_eq(append_byte(&late), -ERR_BUSY); /* an eighth again */
    ck_assert_uint_eq(asked[3], 1);
    ck_assert_uint_eq(asked[4], 0);
    block_chain_release(&late);
    release_all(c, 16);
}
END_TEST

START_TEST(who_is_told_to_spill_takes_no_more)
{
    struct block_chain c[4], late;
    unsigned asked[4] = {0};
    size_t taken = 1;

    open_chain(&c[0], 1, &asked[0]);
    append(&c[0], 3);
    ck_assert_int_eq(append_byte(&c[0]), BLOCK_MORE); /* there is room in its last block */
    fill_pool(c + 1, 3, 4, asked + 1);
    open_chain(&late, 1, NULL);
    ck_assert_int_eq(append_byte(&late), -ERR_BUSY);
    ck_assert_uint_eq(asked[0], 1);
    ck_assert_int_eq(try_append(&c[0], sizeof block, &taken), BLOCK_SPILL);
    ck_assert_uint_eq(taken, 0);
    ck_assert_uint_eq(c[0].len, 3 * BLOCK_SIZE + 1);
    block_chain_seal(&c[0]); /* its owner is about to send it */
    ck_assert_int_eq(append_byte(&late), -ERR_BUSY);
    for (size_t i = 0; i < 4; i++)
        ck_assert_uint_eq(asked[i], i == 0);
    block_chain_release(&late);
    release_all(c, 4);
}
END_TEST

START_TEST(what_is_being_sent_comes_back_by_itself)
{
    struct block_chain c[4], late;
    unsigned asked[4] = {0};

    for (size_t i = 0; i < 4; i++) {
        open_chain(&c[i], 1, &asked[i]);
        append(&c[i], 4);
        if (i == 2)
            block_chain_seal(&c[i]);
    }
    open_chain(&late, 1, NULL);
    ck_assert_int_eq(append_byte(&late), -ERR_BUSY);
    block_chain_release(&c[2]);
    append(&late, 4);
    for (size_t i = 0; i < 4; i++)
        ck_assert_uint_eq(asked[i], 0);
    block_chain_release(&late);
    release_all(c, 4);
}
END_TEST

START_TEST(who_waits_himself_may_be_the_one_to_spill)
{
    struct block_chain c[13], own;
    unsigned asked = 0;

    open_chain(&own, 1, &asked);
    append(&own, 3);
    fill_pool(c, 13, 1, NULL); /* these can't be asked */
    ck_assert_int_eq(append_byte(&own), BLOCK_SPILL);
    ck_assert_uint_eq(asked, 0); /* the result has told it */
    ck_assert_int_eq(append_byte(&own), BLOCK_SPILL);
    block_chain_release(&own);
    release_all(c, 13);
}
END_TEST

START_TEST(the_first_in_line_waits_for_what_is_on_its_way)
{
    struct block_chain c[13], own;
    unsigned asked = 0;

    open_chain(&own, 1, &asked);
    append(&own, 3);
    fill_pool(c, 13, 1, NULL);
    block_chain_seal(&c[5]); /* less than an eighth */
    ck_assert_int_eq(append_byte(&own), -ERR_BUSY);
    block_chain_release(&c[5]);
    ck_assert_int_eq(append_byte(&own), BLOCK_MORE);
    block_chain_release(&own);
    release_all(c, 13);
}
END_TEST

/* The bytes that found room are in the chain, so the caller has to know of them. */
START_TEST(what_was_taken_is_known_on_failure_too)
{
    struct block_chain c[16];
    enum block_need need = BLOCK_FULL;
    struct err e = {0};
    size_t taken = 0;

    open_chain(&c[0], 1, NULL);
    ck_assert_int_eq(append_byte(&c[0]), BLOCK_MORE);
    fill_pool(c + 1, 15, 1, NULL);
    ck_assert_int_eq(block_chain_append(&c[0], block, sizeof block, 10, &taken, &need, &e), -ERR_BUSY);
    ck_assert_uint_eq(taken, BLOCK_SIZE - 1);
    ck_assert_uint_eq(c[0].len, BLOCK_SIZE);
    ck_assert_int_eq(need, BLOCK_FULL); /* untouched */
    release_all(c, 16);
}
END_TEST

START_TEST(whoever_waits_for_much_memory_has_idle_chains_spill)
{
    struct block_chain c[8];
    unsigned asked[8] = {0};

    for (size_t i = 0; i < 8; i++) {
        open_chain(&c[i], 1, &asked[i]);
        append(&c[i], 1);
    }
    ck_assert_int_eq(block_pool_wait(pool, 11 * BLOCK_SIZE, 0, NULL), -ERR_BUSY);
    for (size_t i = 0; i < 8; i++)
        ck_assert_uint_eq(asked[i], i < 3);
    release_all(c, 3);
    ck_assert_int_eq(block_pool_wait(pool, 11 * BLOCK_SIZE, 0, NULL), 0);
    release_all(c + 3, 5);
}
END_TEST

/* --- Many at once --- */

/* A look without the pool's lock. */
__attribute__((no_sanitize_thread)) static void await_waiting(const volatile struct block_chain *c)
{
    while (c->state != BLOCK_CHAIN_WAITING)
        clock_sleep_ms(1);
}

#define LINE 5

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct block_chain chain[LINE];
    size_t served[LINE], count;
} line = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void *stand_in_line(void *arg)
{
    size_t me = *(size_t *)arg, taken;
    enum block_need need;
    struct err e;

    if (block_chain_append(&line.chain[me], block, 1, 30000, &taken, &need, &e) != 0)
        return &line;
    pthread_mutex_lock(&line.lock);
    line.served[line.count++] = me;
    pthread_cond_signal(&line.changed);
    pthread_mutex_unlock(&line.lock);
    return NULL;
}

START_TEST(who_waits_is_served_in_the_order_of_coming)
{
    struct block_chain c[16], late;
    pthread_t threads[LINE];
    size_t numbers[LINE];

    fill_pool(c, 16, 1, NULL);
    for (size_t i = 0; i < LINE; i++) {
        numbers[i] = i;
        open_chain(&line.chain[i], 1, NULL);
        ck_assert_int_eq(pthread_create(&threads[i], NULL, stand_in_line, &numbers[i]), 0);
        await_waiting(&line.chain[i]);
    }
    open_chain(&late, 1, NULL);
    for (size_t i = 0; i < LINE; i++) {
        ck_assert_int_eq(append_byte(&late), -ERR_BUSY);
        block_chain_release(&c[i]);
        pthread_mutex_lock(&line.lock);
        while (line.count == i)
            pthread_cond_wait(&line.changed, &line.lock);
        ck_assert_uint_eq(line.served[i], i);
        pthread_mutex_unlock(&line.lock);
    }
    for (size_t i = 0; i < LINE; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        ck_assert_ptr_null(failed);
    }
    block_chain_release(&late);
    release_all(line.chain, LINE);
    release_all(c, 16);
}
END_TEST

/* An upload whose client stops half-way through its part. */
struct client {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t woken;
    bool asked, go_on;
    struct block_chain chain;
    uint64_t spilled;
};

#define CLIENTS 100
static struct client clients[CLIENTS];
static atomic_uint half_way, spills;

static void wake_client(void *ctx)
{
    struct client *c = ctx;

    pthread_mutex_lock(&c->lock);
    c->asked = true;
    pthread_cond_signal(&c->woken);
    pthread_mutex_unlock(&c->lock);
}

static void open_rest(struct client *c)
{
    block_chain_open(&c->chain, pool, 1, c->spilled, wake_client, c);
}

static void spill(struct client *c)
{
    c->spilled += c->chain.len;
    atomic_fetch_add(&spills, 1);
    block_chain_release(&c->chain);
    pthread_mutex_lock(&c->lock);
    c->asked = false;
    pthread_mutex_unlock(&c->lock);
    open_rest(c);
}

static bool client_sends(struct client *c, size_t len)
{
    enum block_need need = BLOCK_MORE;
    struct err e;

    for (size_t taken; len > 0 && need != BLOCK_FULL; len -= taken) {
        if (block_chain_append(&c->chain, block, len < 10000 ? len : 10000, 60000, &taken, &need, &e) != 0)
            return false;
        if (need == BLOCK_SPILL)
            spill(c);
    }
    return true;
}

static void client_pauses(struct client *c)
{
    bool asked, go_on;

    do {
        pthread_mutex_lock(&c->lock);
        while (!c->asked && !c->go_on)
            pthread_cond_wait(&c->woken, &c->lock);
        asked = c->asked;
        go_on = c->go_on;
        pthread_mutex_unlock(&c->lock);
        if (asked)
            spill(c);
    } while (!go_on);
}

static void *client_main(void *arg)
{
    struct client *c = arg;

    open_rest(c);
    bool sent = client_sends(c, PART / 2);
    atomic_fetch_add(&half_way, 1);
    client_pauses(c);
    sent = sent && client_sends(c, PART / 2);
    sent = sent && c->spilled + c->chain.len == PART;
    block_chain_seal(&c->chain);
    block_chain_release(&c->chain);
    return sent ? NULL : c; /* any pointer: it failed */
}

START_TEST(a_hundred_half_full_parts_all_finish)
{
    half_way = spills = 0;
    for (size_t i = 0; i < CLIENTS; i++) {
        clients[i] = (struct client){.lock = PTHREAD_MUTEX_INITIALIZER, .woken = PTHREAD_COND_INITIALIZER};
        ck_assert_int_eq(pthread_create(&clients[i].thread, NULL, client_main, &clients[i]), 0);
    }
    while (half_way < CLIENTS) /* each has sent half a part, of 50 in all there is room for 4 */
        clock_sleep_ms(1);
    for (size_t i = 0; i < CLIENTS; i++) {
        pthread_mutex_lock(&clients[i].lock);
        clients[i].go_on = true;
        pthread_cond_signal(&clients[i].woken);
        pthread_mutex_unlock(&clients[i].lock);
    }
    for (size_t i = 0; i < CLIENTS; i++) {
        void *failed;
        pthread_join(clients[i].thread, &failed);
        ck_assert_ptr_null(failed);
    }
    ck_assert_uint_ge(spills, (CLIENTS * 2 - 16) / 2);
}
END_TEST

#define BUSY 24
#define PARTS_EACH 20

/* Nobody pauses, nobody can be asked but by results. */
static void *busy_client(void *arg)
{
    struct client *c = arg;

    for (size_t i = 0; i < PARTS_EACH; i++) {
        c->spilled = 0;
        open_rest(c);
        if (!client_sends(c, PART) || c->spilled + c->chain.len != PART)
            return c;
        block_chain_seal(&c->chain);
        block_chain_release(&c->chain);
    }
    return NULL;
}

START_TEST(a_dry_pool_lets_everybody_finish)
{
    for (size_t i = 0; i < BUSY; i++) {
        clients[i] = (struct client){.lock = PTHREAD_MUTEX_INITIALIZER, .woken = PTHREAD_COND_INITIALIZER};
        ck_assert_int_eq(pthread_create(&clients[i].thread, NULL, busy_client, &clients[i]), 0);
    }
    for (size_t i = 0; i < BUSY; i++) {
        void *failed;
        pthread_join(clients[i].thread, &failed);
        ck_assert_ptr_null(failed);
    }
}
END_TEST

static void *release_later(void *chain)
{
    clock_sleep_ms(50);
    block_chain_release(chain);
    return NULL;
}

START_TEST(waiting_ends_when_memory_comes_back)
{
    struct block_chain c;
    struct err e = {0};
    pthread_t thread;

    open_chain(&c, 2, NULL);
    append(&c, 1);
    ck_assert_int_eq(pthread_create(&thread, NULL, release_later, &c), 0);
    ck_assert_int_eq(block_pool_wait(pool, TOTAL, 10000, &e), 0);
    pthread_join(thread, NULL);
}
END_TEST

/* --- Memory of the system --- */

static bool is_resident(void *p)
{
    unsigned char page = 0;

    ck_assert_int_eq(mincore(p, (size_t)sysconf(_SC_PAGESIZE), &page), 0);
    return (page & 1) != 0;
}

START_TEST(memory_that_is_not_needed_goes_back_to_the_system)
{
    struct block_chain busy, c;

    open_chain(&busy, 1, NULL);
    append(&busy, 1);
    open_chain(&c, 1, NULL);
    append(&c, 4);
    void *held = busy.block[0], *first = c.block[0], *last = c.block[3];
    block_chain_release(&c);
    block_pool_trim(pool); /* it was needed since the last time */
    ck_assert(is_resident(first) && is_resident(last));
    open_chain(&c, 1, NULL);
    append(&c, 1);
    void *again = c.block[0];
    block_chain_release(&c);
    block_pool_trim(pool);
    ck_assert(is_resident(again));
    ck_assert_int_eq(is_resident(first) + is_resident(last), 1);
    block_pool_trim(pool);
    ck_assert(!is_resident(first) && !is_resident(last));
    ck_assert(is_resident(held));
    append(&busy, 3);
    block_chain_release(&busy);
}
END_TEST

START_TEST(every_allocation_may_fail)
{
    struct block_pool *other = NULL;
    struct err e = {0};
    int r = -1;

    for (uint64_t nth = 1; r != 0; nth++) {
        mem_fail_from(nth);
        r = block_pool_new(TOTAL, PART, MOST, &other, &e);
        mem_fail_from(0);
        ck_assert(r == 0 || r == -ERR_TEMPORARY);
    }
    block_pool_free(other);
    r = -1;
    for (uint64_t nth = 1; r != BLOCK_MORE; nth++) {
        struct block_chain c;
        size_t taken;
        open_chain(&c, 2, NULL);
        mem_fail_from(nth);
        r = try_append(&c, sizeof block, &taken);
        mem_fail_from(0);
        block_chain_release(&c);
        ck_assert(r == BLOCK_MORE || r == -ERR_TEMPORARY);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("block_pool");
    TCase *t = tcase_create("block_pool");

    tcase_add_checked_fixture(t, up, down);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, four_parts_must_fit);
    tcase_add_test(t, bytes_come_out_as_they_went_in);
    tcase_add_loop_test(t, a_chain_takes_what_its_part_lacks, 0, (int)ARRAY_SIZE(sizes));
    tcase_add_test(t, a_whole_part_goes_on_only_while_half_of_the_memory_is_free);
    tcase_add_test(t, bytes_may_be_put_where_they_stay);
    tcase_add_test(t, few_bytes_hold_one_block);
    tcase_add_test(t, the_longest_idle_are_asked);
    tcase_add_test(t, who_is_told_to_spill_takes_no_more);
    tcase_add_test(t, what_is_being_sent_comes_back_by_itself);
    tcase_add_test(t, who_waits_himself_may_be_the_one_to_spill);
    tcase_add_test(t, the_first_in_line_waits_for_what_is_on_its_way);
    tcase_add_test(t, what_was_taken_is_known_on_failure_too);
    tcase_add_test(t, whoever_waits_for_much_memory_has_idle_chains_spill);
    tcase_add_test(t, who_waits_is_served_in_the_order_of_coming);
    tcase_add_test(t, a_hundred_half_full_parts_all_finish);
    tcase_add_test(t, a_dry_pool_lets_everybody_finish);
    tcase_add_test(t, waiting_ends_when_memory_comes_back);
    tcase_add_test(t, memory_that_is_not_needed_goes_back_to_the_system);
    tcase_add_test(t, every_allocation_may_fail);
    suite_add_tcase(suite, t);
    return run_suite(suite);
}
