#include "domain/block_pool.h"

#include "../suite.h"
#include "base/clock.h"
#include "base/mem.h"
#include "proto/crc32c.h"

#include <pthread.h>
#include <string.h>

#define PART (4 * BLOCK_SIZE)
#define TOTAL (4 * PART)
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

static int append(struct block_chain *c, size_t blocks)
{
    struct err e = {0};
    size_t taken;
    int r = 0;

    for (size_t i = 0; r == 0 && i < blocks; i++) {
        r = block_chain_append(c, block, sizeof block, 0, &taken, &e);
        if (r == 0)
            ck_assert_uint_eq(taken, sizeof block);
    }
    return r;
}

static bool is_full(struct block_chain *c)
{
    struct err e = {0};
    size_t taken = 1;

    ck_assert_int_eq(block_chain_append(c, "x", 1, 0, &taken, &e), 0);
    return taken == 0;
}

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
    uint32_t crc = 0;
    size_t taken;

    block_chain_open(&c, pool, 2);
    for (unsigned i = 0; i < 300; i++) { /* pieces that cross the borders of blocks */
        memset(in, (int)i, sizeof in);
        ck_assert_int_eq(block_chain_append(&c, in, sizeof in, 0, &taken, &e), 0);
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

START_TEST(a_chain_holds_the_most_at_most)
{
    struct block_chain c;

    block_chain_open(&c, pool, 2);
    ck_assert_int_eq(append(&c, 6), 0);
    ck_assert(is_full(&c));
    ck_assert(is_full(&c));
    ck_assert_uint_eq(c.len, MOST);
    block_chain_release(&c);
    block_chain_open(&c, pool, 1);
    ck_assert_int_eq(append(&c, 4), 0);
    ck_assert(is_full(&c));
    block_chain_release(&c);
}
END_TEST

/* Of 16 blocks: three are the other's, four make a whole part, the eighth is the last that leaves half of them free. */
START_TEST(a_whole_part_goes_on_only_while_half_of_the_memory_is_free)
{
    struct block_chain other, c;
    struct err e = {0};
    size_t taken = 0;

    block_chain_open(&other, pool, 2);
    ck_assert_int_eq(append(&other, 3), 0);
    block_chain_open(&c, pool, 2);
    ck_assert_int_eq(append(&c, 4), 0);
    ck_assert_int_eq(block_chain_append(&c, block, 1, 0, &taken, &e), 0);
    ck_assert_uint_eq(taken, 1); /* 8 blocks are used now */
    ck_assert_int_eq(block_chain_append(&c, block, sizeof block, 0, &taken, &e), 0);
    ck_assert_uint_eq(taken, BLOCK_SIZE - 1);
    ck_assert(is_full(&c));
    ck_assert_int_eq(append(&other, 1), 0); /* on its way to a whole part */
    block_chain_release(&other);
    ck_assert(!is_full(&c));
    block_chain_release(&c);
}
END_TEST

START_TEST(little_bytes_hold_one_block)
{
    struct block_chain c;
    struct err e = {0};

    block_chain_open(&c, pool, 2);
    ck_assert(!is_full(&c));
    ck_assert_int_eq(block_pool_wait(pool, TOTAL - BLOCK_SIZE, 0, &e), 0);
    ck_assert_int_eq(block_pool_wait(pool, TOTAL, 0, &e), -ERR_BUSY);
    block_chain_release(&c);
}
END_TEST

/* 16 blocks, 8 chains of one: 8 are free. The fullest is always able to become a whole part. */
START_TEST(somebody_can_always_fill_a_part)
{
    struct block_chain c[8];

    for (size_t i = 0; i < 8; i++) {
        block_chain_open(&c[i], pool, 2);
        ck_assert_int_eq(append(&c[i], 1), 0);
    }
    size_t more = 0;
    for (size_t i = 0; i < 8; i++)
        more += append(&c[i], 1) == 0;
    ck_assert_uint_lt(more, 8); /* not all of them: that would be the end */
    size_t whole = 0;
    for (size_t i = 0; i < 8 && whole == 0; i++)
        whole += append(&c[i], 4 - c[i].count) == 0;
    ck_assert_uint_eq(whole, 1);
    for (size_t i = 0; i < 8; i++)
        block_chain_release(&c[i]);
}
END_TEST

START_TEST(what_is_on_its_way_counts_as_coming_back)
{
    struct block_chain sent[3], open;

    for (size_t i = 0; i < 3; i++) {
        block_chain_open(&sent[i], pool, 2);
        ck_assert_int_eq(append(&sent[i], 4), 0);
        block_chain_seal(&sent[i]);
    }
    block_chain_open(&open, pool, 2);
    ck_assert_int_eq(append(&open, 4), 0);
    for (size_t i = 0; i < 3; i++)
        block_chain_release(&sent[i]);
    block_chain_release(&open);
}
END_TEST

/* --- Many at once --- */

#define CLIENTS 24
#define PARTS_EACH 20

static void *client(void *arg)
{
    struct err e = {0};
    (void)arg;

    for (size_t i = 0; i < PARTS_EACH; i++) {
        struct block_chain c;
        size_t taken = sizeof block;
        block_chain_open(&c, pool, 2);
        while (taken == sizeof block)
            if (block_chain_append(&c, block, sizeof block, 30000, &taken, &e) != 0)
                return &pool; /* any pointer: it failed */
        if (c.len < PART)
            return &pool;
        block_chain_seal(&c);
        block_chain_release(&c);
    }
    return NULL;
}

START_TEST(a_dry_pool_lets_everybody_finish)
{
    pthread_t threads[CLIENTS];

    for (size_t i = 0; i < CLIENTS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, client, NULL), 0);
    for (size_t i = 0; i < CLIENTS; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
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

    block_chain_open(&c, pool, 2);
    ck_assert_int_eq(append(&c, 1), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, release_later, &c), 0);
    ck_assert_int_eq(block_pool_wait(pool, TOTAL, 10000, &e), 0);
    pthread_join(thread, NULL);
}
END_TEST

START_TEST(every_allocation_may_fail)
{
    for (uint64_t nth = 1;; nth++) {
        struct block_chain c;
        struct err e = {0};
        size_t taken;
        block_chain_open(&c, pool, 2);
        mem_fail_from(nth);
        int r = block_chain_append(&c, block, sizeof block, 0, &taken, &e);
        mem_fail_from(0);
        block_chain_release(&c);
        if (r == 0)
            break;
        ck_assert_int_eq(r, -ERR_TEMPORARY);
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
    tcase_add_test(t, a_chain_holds_the_most_at_most);
    tcase_add_test(t, a_whole_part_goes_on_only_while_half_of_the_memory_is_free);
    tcase_add_test(t, little_bytes_hold_one_block);
    tcase_add_test(t, somebody_can_always_fill_a_part);
    tcase_add_test(t, what_is_on_its_way_counts_as_coming_back);
    tcase_add_test(t, a_dry_pool_lets_everybody_finish);
    tcase_add_test(t, waiting_ends_when_memory_comes_back);
    tcase_add_test(t, every_allocation_may_fail);
    suite_add_tcase(suite, t);
    return run_suite(suite);
}
