#include "domain/part_body.h"

#include "../suite.h"
#include "base/mem.h"
#include "base/str.h"
#include "domain/faulty_store.h"
#include "domain/layout.h"
#include "domain/part_sender.h"
#include "io/store_servers.h"
#include "proto/crc32c.h"

#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ID "v_01arz3ndektsv4rrffq69g5fav"
#define KEY ID "/source"
#define HEAD 100 /* bytes before a tail in its object; more with each record */
#define KIB UINT64_C(1024)
#define MIB (1024 * KIB)
#define TAILS_MAX 300

static char root[64];
static struct store *store;
static struct block_pool *pool;
static struct upload_tail tails[TAILS_MAX];
static struct block_chain chain;
static struct part_body part;
static struct store_body body;
static struct err e;

static unsigned char byte_of_file(uint64_t at)
{
    return (unsigned char)((at * UINT64_C(0x9E3779B97F4A7C15)) >> 32);
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static void open_on(struct store *inner)
{
    store = faulty_store_new(inner);
    ck_assert_int_eq(store_ensure_bucket(store, "raw", &e), 0);
    ck_assert_int_eq(block_pool_new(16 * MIB, 4 * MIB, 4 * MIB, &pool, &e), 0);
}

static void close_all(void)
{
    part_body_release(&part);
    part_body_release(&part);
    block_chain_release(&chain);
    ck_assert_int_eq(block_pool_wait(pool, 16 * MIB, 0, NULL), 0);
    block_pool_free(pool);
    store_free(store);
}

static void up(void)
{
    struct store *inner = NULL;

    str_copy(root, sizeof root, "/tmp/weir-test-part-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(root));
    ck_assert_msg(store_dir_new(root, &inner, &e) == 0, "%s", e.text);
    open_on(inner);
}

static void down(void)
{
    close_all();
    nftw(root, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/* Records `i` with tails of these sizes, then a chain of `in_memory` bytes. */
static void make_part(const uint64_t *sizes, size_t count, size_t in_memory)
{
    uint64_t at = 0;

    for (size_t i = 0; i < count; i++) {
        size_t head = HEAD + i % 50;
        MEM_AUTO unsigned char *object = mem_alloc(head + sizes[i]);
        memset(object, '{', head);
        for (uint64_t n = 0; n < sizes[i]; n++)
            object[head + n] = byte_of_file(at++);
        tails[i] = (struct upload_tail){.seq = 7 + 2 * i,
                                        .head = head,
                                        .size_bytes = sizes[i],
                                        .crc32c = crc32c_update(0, object + head, sizes[i])};
        struct layout_key key = layout_log(ID, tails[i].seq);
        ck_assert_msg(store_put_bytes(store, "raw", key.s, object, head + sizes[i], NULL, &e) == 0, "%s", e.text);
    }
    MEM_AUTO unsigned char *rest = mem_alloc(in_memory);
    for (size_t n = 0; n < in_memory; n++)
        rest[n] = byte_of_file(at++);
    enum block_need need;
    size_t taken;
    block_chain_open(&chain, pool, 1, 0, NULL, NULL);
    ck_assert_int_eq(block_chain_append(&chain, rest, in_memory, 0, &taken, &need, &e), 0);
    block_chain_seal(&chain);
    part = (struct part_body){.store = store,
                              .bucket = "raw",
                              .video_id = ID,
                              .tails = tails,
                              .tail_count = count,
                              .chain = in_memory > 0 ? &chain : NULL};
    part_body_init(&part, &body);
    ck_assert_uint_eq(body.size_bytes, at);
}

static void expect_bytes(uint64_t offset, size_t size)
{
    MEM_AUTO unsigned char *got = mem_alloc(size);

    ck_assert_msg(body.read_at(body.ctx, offset, got, size, &e) == 0, "%s", e.text);
    for (size_t i = 0; i < size; i++)
        if (got[i] != byte_of_file(offset + i)) /* an assertion for each would take minutes */
            ck_abort_msg("wrong byte at %zu", (size_t)offset + i);
}

static void expect_all(size_t step)
{
    for (uint64_t at = 0; at < body.size_bytes; at += step)
        expect_bytes(at, body.size_bytes - at < step ? (size_t)(body.size_bytes - at) : step);
}

static void expect_crc(void)
{
    uint32_t crc = 0;

    for (uint64_t at = 0; at < body.size_bytes; at++) {
        unsigned char byte = byte_of_file(at);
        crc = crc32c_update(crc, &byte, 1);
    }
    ck_assert(body.has_crc32c);
    ck_assert_uint_eq(body.crc32c, crc);
}

static const struct {
    uint64_t tails[4];
    size_t count, in_memory;
    uint64_t gets; /* when it is read once from the beginning to the end */
} parts[] = {
    {{0}, 0, 0, 0},
    {{0}, 0, 300000, 0},
    {{1}, 1, 0, 1},
    {{1000, 1, 70000}, 3, 0, 3},
    {{1000, 1, 70000}, 3, 200000, 3},
    {{MIB}, 1, 1, 1},
    {{MIB + 1}, 1, 1, 2},
    {{3 * MIB - 7, 100}, 2, 1000, 4 + 1},
    {{MIB - 10, 20, MIB}, 3, 0, 2 + 2 + 1}, /* windows: to the 10th of the second; to MiB − 10 of the third; the rest */
    {{600 * KIB, 600 * KIB, 600 * KIB, 600 * KIB}, 4, 5, 2 + 3 + 1},
};

START_TEST(all_pieces_come_in_order)
{
    static const size_t steps[] = {4 * MIB, MIB, 256 * KIB, 99999};

    make_part(parts[_i].tails, parts[_i].count, parts[_i].in_memory);
    expect_crc();
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        part_body_release(&part);
        part_body_init(&part, &body);
        faulty_store_fail(store, 0, FAULT_NONE);
        expect_all(steps[i]);
        ck_assert_uint_eq(faulty_store_calls(store), parts[_i].gets);
        expect_all(steps[i]); /* a retry begins anew */
    }
}
END_TEST

START_TEST(any_offset_can_be_read)
{
    static const uint64_t sizes[] = {MIB + 5, 3, 900 * KIB, 200 * KIB};
    uint64_t at = 12345;

    make_part(sizes, ARRAY_SIZE(sizes), 250000);
    for (unsigned i = 0; i < 200; i++) {
        at = (at * 1103515245 + 12345) % body.size_bytes;
        expect_bytes(at, body.size_bytes - at < 70000 ? (size_t)(body.size_bytes - at) : 70000);
    }
    expect_bytes(body.size_bytes, 0);
    unsigned char two[2];
    ck_assert_int_eq(body.read_at(body.ctx, body.size_bytes - 1, two, 2, &e), -ERR_BUG);
}
END_TEST

START_TEST(many_small_tails_share_a_window)
{
    uint64_t sizes[TAILS_MAX];

    for (size_t i = 0; i < TAILS_MAX; i++)
        sizes[i] = i % 7 * 100;
    make_part(sizes, TAILS_MAX, 0);
    expect_crc();
    expect_all(64 * KIB);
    unsigned char byte;
    ck_assert_int_eq(body.read_at(body.ctx, body.size_bytes, &byte, 1, &e), -ERR_BUG);
}
END_TEST

START_TEST(a_tail_that_was_emptied_means_somebody_else)
{
    static const uint64_t sizes[] = {1000, 1000, 1000};
    struct layout_key key = layout_log(ID, 9);
    unsigned char got[3000];

    make_part(sizes, 3, 0);
    if (_i == 0)
        ck_assert_int_eq(store_delete(store, "raw", key.s, &e), 0);
    else
        ck_assert_int_eq(store_put_bytes(store, "raw", key.s, got, _i == 1 ? 0 : 500, NULL, &e), 0);
    ck_assert_int_eq(body.read_at(body.ctx, 0, got, sizeof got, &e), -ERR_STALE);
    ck_assert_ptr_nonnull(strstr(e.text, "record 9 "));
}
END_TEST

START_TEST(what_fails_once_can_be_read_again)
{
    static const uint64_t sizes[] = {1000, 1000, 1000};
    unsigned char got[3000];

    make_part(sizes, 3, 0);
    for (uint64_t nth = 1; nth <= 3; nth++) {
        part_body_release(&part);
        faulty_store_fail(store, nth, nth % 2 == 0 ? FAULT_BEFORE : FAULT_AFTER);
        ck_assert_int_eq(body.read_at(body.ctx, 0, got, sizeof got, &e), -ERR_TEMPORARY);
        expect_all(sizeof got);
    }
    part_body_release(&part);
    mem_fail_from(1);
    ck_assert_int_eq(body.read_at(body.ctx, 0, got, sizeof got, &e), -ERR_TEMPORARY);
    mem_fail_from(0);
    expect_all(sizeof got);
}
END_TEST

/* --- The sender --- */

static void send_job(struct part_job *job)
{
    struct part_sender *sender = NULL;

    ck_assert_int_eq(part_sender_new(store, 2, &sender, &e), 0);
    part_sender_submit(sender, job);
    int r = part_sender_wait(sender, job);
    ck_assert_int_eq(r, job->result);
    ck_assert_ptr_null(job->chain.pool); /* released */
    part_sender_free(sender);
}

static struct part_job make_job(const char *upload_id, const uint64_t *sizes, size_t count, size_t in_memory)
{
    make_part(sizes, count, in_memory);
    struct part_job job = {.bucket = "raw",
                           .key = KEY,
                           .upload_id = upload_id,
                           .video_id = ID,
                           .tails = tails,
                           .tail_count = count,
                           .part.number = 3};

    if (in_memory > 0)
        job.chain = chain;
    else
        block_chain_release(&chain);
    chain = (struct block_chain){0};
    return job;
}

static int check_bytes(void *ctx, const void *data, size_t len, struct err *err)
{
    uint64_t *at = ctx;
    const unsigned char *bytes = data;

    for (size_t i = 0; i < len; i++)
        if (bytes[i] != byte_of_file((*at)++))
            return err_set(err, ERR_BUG, "wrong byte");
    return 0;
}

static void send_and_read_back(size_t in_memory)
{
    static const uint64_t sizes[] = {MIB, 5, 300 * KIB, 2 * MIB};
    char id[STORE_UPLOAD_ID_SIZE];
    uint64_t at = 0;

    ck_assert_int_eq(store_multipart_create(store, "raw", KEY, NULL, id, &e), 0);
    struct part_job job = make_job(id, sizes, ARRAY_SIZE(sizes), in_memory);
    send_job(&job);
    ck_assert_msg(job.result == 0, "%s", job.error.text);
    ck_assert_uint_eq(job.part.size_bytes, 3 * MIB + 5 + 300 * KIB + in_memory);
    ck_assert_int_eq(store_multipart_complete(store, "raw", KEY, id, &job.part, 1, true, &e), 0);
    ck_assert_int_eq(store_get(store, "raw", KEY, 0, UINT64_MAX, check_bytes, &at, NULL, &e), 0);
    ck_assert_uint_eq(at, job.part.size_bytes);
    ck_assert_int_eq(store_delete(store, "raw", KEY, &e), 0);
}

START_TEST(senders_are_set_aside_until_a_job_is_done)
{
    static const uint64_t sizes[] = {5};
    struct part_sender *sender = NULL;
    struct part_job job = make_job("none-such", sizes, 1, 0);

    ck_assert_int_eq(part_sender_new(store, 2, &sender, &e), 0);
    ck_assert(part_sender_reserve(sender));
    ck_assert(part_sender_reserve(sender));
    ck_assert(!part_sender_reserve(sender));
    part_sender_release(sender);
    ck_assert(part_sender_reserve(sender));
    job.reserved = true;
    for (unsigned i = 0; i < 2; i++) { /* both, whether they end well or not */
        part_sender_submit(sender, &job);
        ck_assert_int_ne(part_sender_wait(sender, &job), 0);
    }
    ck_assert(part_sender_reserve(sender));
    job.reserved = false; /* takes another */
    part_sender_submit(sender, &job);
    ck_assert_int_ne(part_sender_wait(sender, &job), 0);
    ck_assert(part_sender_reserve(sender));
    ck_assert(!part_sender_reserve(sender));
    part_sender_free(sender);
}
END_TEST

START_TEST(the_sender_makes_a_part_of_all_pieces)
{
    send_and_read_back(0);
    send_and_read_back(200000);
}
END_TEST

/* A request whose body comes from other requests; S3 checks the sum. */
START_TEST(s3_gets_a_part_of_all_pieces)
{
    char id[STORE_UPLOAD_ID_SIZE];
    static const uint64_t sizes[] = {1000};

    open_on(store_servers_open((enum store_server)_i));
    send_and_read_back(0);
    send_and_read_back(200000);

    ck_assert_int_eq(store_multipart_create(store, "raw", KEY, NULL, id, &e), 0);
    struct part_job job = make_job(id, sizes, 1, 100);
    tails[0].crc32c ^= 1;
    send_job(&job);
    ck_assert_int_eq(job.result, -ERR_TEMPORARY);
    close_all();
}
END_TEST

START_TEST(the_sender_passes_on_what_a_tail_says)
{
    static const uint64_t sizes[] = {1000};
    char id[STORE_UPLOAD_ID_SIZE];

    ck_assert_int_eq(store_multipart_create(store, "raw", KEY, NULL, id, &e), 0);
    struct part_job job = make_job(id, sizes, 1, 100);
    ck_assert_int_eq(store_delete(store, "raw", layout_log(ID, 7).s, &e), 0);
    send_job(&job);
    ck_assert_int_eq(job.result, -ERR_STALE);
    ck_assert_int_eq(store_multipart_abort(store, "raw", KEY, id, &e), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("part_body");
    TCase *t = tcase_create("part_body");

    tcase_add_checked_fixture(t, up, down);
    tcase_set_timeout(t, 60);
    tcase_add_loop_test(t, all_pieces_come_in_order, 0, (int)ARRAY_SIZE(parts));
    tcase_add_test(t, any_offset_can_be_read);
    tcase_add_test(t, many_small_tails_share_a_window);
    tcase_add_loop_test(t, a_tail_that_was_emptied_means_somebody_else, 0, 3);
    tcase_add_test(t, what_fails_once_can_be_read_again);
    tcase_add_test(t, the_sender_makes_a_part_of_all_pieces);
    tcase_add_test(t, the_sender_passes_on_what_a_tail_says);
    tcase_add_test(t, senders_are_set_aside_until_a_job_is_done);
    suite_add_tcase(suite, t);
    t = tcase_create("s3");
    tcase_set_timeout(t, 60);
    tcase_add_loop_test(t, s3_gets_a_part_of_all_pieces, STORE_MINIO, STORE_SERVERS);
    suite_add_tcase(suite, t);
    store_servers_start();
    int result = run_suite(suite);
    store_servers_stop();
    return result;
}
