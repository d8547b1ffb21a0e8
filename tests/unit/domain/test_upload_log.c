#include "domain/upload_log.h"

#include "../io/store_servers.h"
#include "../suite.h"
#include "base/mem.h"
#include "base/str.h"
#include "domain/layout.h"
#include "faulty_store.h"
#include "proto/crc32c.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define RAW "raw"

static struct store *store; /* a faulty one before that of the case */
static char id[ID_VIDEO_SIZE];

#define ok(call)                                                                                                       \
    do {                                                                                                               \
        struct err e = {0};                                                                                            \
        int ok_result = (call);                                                                                        \
        ck_assert_msg(ok_result == 0, "%s: %s", #call, e.text);                                                        \
    } while (0)
#define fails(kind, call)                                                                                              \
    do {                                                                                                               \
        struct err e = {0};                                                                                            \
        int fails_result = (call);                                                                                     \
        ck_assert_msg(fails_result == -(kind), "%s: %d %s", #call, fails_result, e.text);                              \
    } while (0)

static void open_on(enum store_server server)
{
    store = faulty_store_new(store_servers_open(server));
    ok(store_ensure_bucket(store, RAW, &e));
    id_video(1767323045678 + (uint64_t)server, id);
}

static void up(void)
{
    open_on(STORE_DIRECTORY);
}

static void down(void)
{
    store_free(store);
}

/* --- Records --- */

static char bytes[512 * 1024]; /* of which the file is made */

static struct store_bytes slice(uint64_t from, size_t size)
{
    ck_assert_uint_le(from + size, sizeof bytes);
    return (struct store_bytes){bytes + from, size};
}

static struct upload_record record(enum upload_kind kind, uint64_t offset, uint64_t in_parts)
{
    struct upload_record r = {.kind = kind,
                              .fence = 1,
                              .writer = "aaaaaaaaaaaaaaaa",
                              .written_ms = 5,
                              .length = UPLOAD_LENGTH_UNKNOWN,
                              .offset = offset,
                              .in_parts = in_parts,
                              .reserved = 8,
                              .upload_id = "u"};

    if (kind == UPLOAD_CREATED)
        r.facts = (struct upload_facts){.part_size = 8, .client = "::1"};
    return r;
}

static int append(uint64_t seq, struct upload_record r, struct err *e)
{
    size_t head;

    return upload_log_append(store, RAW, id, seq, &r, NULL, &head, e);
}

/* A record whose tail ends at its offset. */
static int append_tail_after(uint64_t in_parts, uint64_t seq, uint64_t from, size_t size, size_t *ret_head,
                             struct err *e)
{
    struct upload_record r = record(UPLOAD_BYTES, from + size, in_parts);
    struct store_bytes tail = slice(from, size);
    struct store_body body = store_body_bytes(&tail);

    r.tail_bytes = size;
    r.tail_crc32c = crc32c_update(0, tail.data, size);
    return upload_log_append(store, RAW, id, seq, &r, &body, ret_head, e);
}

static int append_tail(uint64_t seq, uint64_t from, size_t size, size_t *ret_head, struct err *e)
{
    return append_tail_after(0, seq, from, size, ret_head, e);
}

static int append_part(uint64_t seq, uint64_t offset, uint64_t in_parts, unsigned number, uint64_t size, struct err *e)
{
    struct store_part part = {.number = number, .size_bytes = size, .etag = "\"e\""};
    struct upload_record r = record(UPLOAD_BYTES, offset, in_parts);

    r.parts = &part;
    r.part_count = 1;
    r.reserved = number;
    return append(seq, r, e);
}

static int count_one(void *ctx, const struct store_entry *entry, struct err *e)
{
    (void)entry;
    (void)e;
    ++*(size_t *)ctx;
    return 0;
}

static size_t objects(void)
{
    size_t count = 0;

    ok(store_list(store, RAW, layout_log_prefix(id).s, NULL, 0, count_one, &count, &e));
    return count;
}

static void fold(struct upload_state *ret)
{
    ok(upload_log_fold(store, RAW, id, ret, &e));
    ck_assert_str_eq(ret->video_id, id);
    ck_assert(ret->parts_known);
}

static int append_bytes_to(void *ctx, const void *data, size_t len, struct err *e)
{
    buf_append(ctx, data, len);
    return buf_check(ctx, "object", e);
}

static void check_tail(const struct upload_tail *tail, uint64_t from)
{
    BUF_AUTO struct buf text;

    buf_init(&text, sizeof bytes);
    ok(store_get(store, RAW, layout_log(id, tail->seq).s, tail->head, UINT64_MAX, append_bytes_to, &text, NULL, &e));
    ck_assert_uint_eq(text.len, tail->size_bytes);
    ck_assert_mem_eq(text.data, bytes + from, text.len);
    ck_assert_uint_eq(crc32c_update(0, text.data, text.len), tail->crc32c);
}

static uint64_t size_of(uint64_t seq)
{
    struct store_info info = {0};

    ok(store_head(store, RAW, layout_log(id, seq).s, &info, &e));
    return info.size_bytes;
}

/* --- On every store --- */

START_TEST(a_log_is_folded_spent_closed_and_emptied)
{
    UPLOAD_STATE_AUTO struct upload_state s = {0}, spent = {0}, closed = {0}, emptied = {0};
    UPLOAD_RECORD_AUTO struct upload_record newest = {0}, before = {0};
    size_t head = 0;
    uint64_t seq;

    open_on((enum store_server)_i);
    ok(append(1, record(UPLOAD_CREATED, 0, 0), &e));
    ok(append(2, record(UPLOAD_WRITER, 0, 0), &e));
    ok(append_tail(3, 0, 1000, &head, &e));
    ok(append_tail(4, 1000, 300000, &head, &e));
    ok(append_part(5, 301000, 1000, 1, 1000, &e));
    ck_assert_uint_eq(size_of(4), head + 300000);
    fold(&s);
    ck_assert_uint_eq(s.seq, 5);
    ck_assert_uint_eq(s.offset, 301000);
    ck_assert_uint_eq(s.part_count, 1);
    ck_assert_uint_eq(s.tail_count, 1);
    ck_assert_uint_eq(s.tails[0].head, head);
    ck_assert(s.tails[0].alone);
    check_tail(&s.tails[0], 1000);

    ok(upload_log_spend(store, RAW, id, 3, &e));
    ok(upload_log_spend(store, RAW, id, 3, &e));
    ck_assert_uint_eq(size_of(3), 0);
    fails(ERR_STALE, append_tail(3, 0, 1000, &head, &e)); /* its key stays taken */
    fold(&spent);
    ck_assert_uint_eq(spent.offset, 301000);
    ck_assert_uint_eq(spent.tail_count, 1);

    ok(upload_log_newest(store, RAW, id, &newest, &seq, &e));
    ck_assert_uint_eq(seq, 5);
    ck_assert_uint_eq(newest.part_count, 1);
    ok(upload_log_close(store, RAW, id, false, &before, &e));
    ck_assert_int_eq(before.kind, UPLOAD_BYTES);
    fold(&closed);
    ck_assert_int_eq(closed.kind, UPLOAD_CLOSED);
    ck_assert_str_eq(closed.upload_id, "u");
    ok(upload_log_empty(store, RAW, id, &e));
    ok(upload_log_empty(store, RAW, id, &e));
    fold(&emptied);
    ck_assert_int_eq(emptied.kind, UPLOAD_CLOSED);
    ck_assert_uint_eq(emptied.seq, 6);
    for (uint64_t i = 1; i <= 6; i++)
        ck_assert_uint_lt(size_of(i), 200);
    store_free(store);
}
END_TEST

#define RACERS 6
#define ROUNDS 8

struct race {
    pthread_barrier_t start;
    unsigned won[ROUNDS];
    pthread_mutex_t lock;
};

static void *race_main(void *arg)
{
    struct race *race = arg;
    struct upload_record r = record(UPLOAD_WRITER, 0, 0);

    id_nonce(r.writer);
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct err e = {0};
        pthread_barrier_wait(&race->start);
        int result = append(1 + round, r, &e);
        ck_assert_msg(result == 0 || result == -ERR_STALE, "%s", e.text);
        pthread_mutex_lock(&race->lock);
        race->won[round] += result == 0;
        pthread_mutex_unlock(&race->lock);
    }
    return NULL;
}

START_TEST(exactly_one_writer_makes_the_next_step)
{
    struct race race = {.lock = PTHREAD_MUTEX_INITIALIZER};
    pthread_t threads[RACERS];

    open_on((enum store_server)_i);
    pthread_barrier_init(&race.start, NULL, RACERS);
    for (size_t i = 0; i < RACERS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, race_main, &race), 0);
    for (size_t i = 0; i < RACERS; i++)
        pthread_join(threads[i], NULL);
    for (unsigned round = 0; round < ROUNDS; round++)
        ck_assert_uint_eq(race.won[round], 1);
    pthread_barrier_destroy(&race.start);
    store_free(store);
}
END_TEST

/* --- Appending --- */

START_TEST(a_record_of_somebody_else_is_not_replaced)
{
    struct upload_record other = record(UPLOAD_CREATED, 0, 0);

    str_copy(other.writer, sizeof other.writer, "bbbbbbbbbbbbbbbb");
    ok(append(1, record(UPLOAD_CREATED, 0, 0), &e));
    fails(ERR_STALE, append(1, other, &e));
    other = record(UPLOAD_CREATED, 0, 0);
    other.written_ms++;
    fails(ERR_STALE, append(1, other, &e));
}
END_TEST

START_TEST(the_same_record_again_is_success)
{
    size_t head = 0, again = 0;

    ok(append_tail(1, 7, 2000, &head, &e));
    ok(append_tail(1, 7, 2000, &again, &e));
    ck_assert_uint_gt(head, 0);
    ck_assert_uint_eq(head, again);
    fails(ERR_STALE, append_tail(1, 8, 2000, &head, &e)); /* other bytes */
    fails(ERR_STALE, append_tail(1, 7, 2001, &head, &e));
}
END_TEST

START_TEST(a_lost_answer_is_found_out_by_repeating)
{
    size_t head = 0;

    faulty_store_fail(store, 1, FAULT_AFTER);
    fails(ERR_TEMPORARY, append_tail(1, 0, 2000, &head, &e));
    faulty_store_fail(store, 2, FAULT_BEFORE); /* nor can it be read then */
    fails(ERR_TEMPORARY, append_tail(1, 0, 2000, &head, &e));
    ck_assert_uint_eq(head, 0);
    faulty_store_fail(store, 0, FAULT_NONE);
    ok(append_tail(1, 0, 2000, &head, &e));
}
END_TEST

START_TEST(what_makes_no_record_never_reaches_the_store)
{
    struct upload_record r = record(UPLOAD_BYTES, 9, 0);
    struct store_bytes tail = slice(0, 8);
    struct store_body body = store_body_bytes(&tail);
    size_t head;

    faulty_store_fail(store, 0, FAULT_NONE);
    fails(ERR_BUG, append(0, record(UPLOAD_CREATED, 0, 0), &e));
    fails(ERR_BUG, append(UPLOAD_LOG_MAX + 1, record(UPLOAD_WRITER, 0, 0), &e));
    fails(ERR_BUG, append(1, record(UPLOAD_BYTES, 1, 2), &e));
    r.tail_bytes = 9;
    fails(ERR_BUG, upload_log_append(store, RAW, id, 1, &r, &body, &head, &e));
    fails(ERR_BUG, upload_log_append(store, RAW, id, 1, &r, NULL, &head, &e));
    ck_assert_uint_eq(faulty_store_calls(store), 0);
}
END_TEST

/* --- Folding --- */

START_TEST(there_may_be_no_log)
{
    struct upload_state s = {0};
    struct upload_record r = {0};
    uint64_t seq;

    fails(ERR_NOT_FOUND, upload_log_fold(store, RAW, id, &s, &e));
    fails(ERR_NOT_FOUND, upload_log_newest(store, RAW, id, &r, &seq, &e));
    ok(upload_log_empty(store, RAW, id, &e));
}
END_TEST

/* JSON longer than what is read at first, and a tail that looks like JSON. */
START_TEST(long_heads_are_read_whole_and_tails_are_not_read)
{
    UPLOAD_STATE_AUTO struct upload_state s = {0};
    struct upload_record created = record(UPLOAD_CREATED, 0, 0), many = record(UPLOAD_BYTES, 3000, 3000);
    struct store_part parts[3000];
    size_t head;

    created.facts.concat = mem_zalloc(UPLOAD_CONCAT_MAX + 1);
    memset(created.facts.concat, 'u', UPLOAD_CONCAT_MAX);
    for (unsigned i = 0; i < ARRAY_SIZE(parts); i++)
        parts[i] = (struct store_part){
            .number = i + 1, .size_bytes = 1, .etag = "\"0123456789abcdef0123456789abcdef\""};
    many.parts = parts;
    many.part_count = ARRAY_SIZE(parts);
    many.reserved = ARRAY_SIZE(parts);
    memset(bytes, '\n', 1000);
    ok(append(1, created, &e));
    ok(append(2, many, &e));
    struct upload_record tail = record(UPLOAD_BYTES, sizeof bytes, 3000);
    struct store_bytes content = slice(3000, sizeof bytes - 3000);
    struct store_body body = store_body_bytes(&content);
    tail.tail_bytes = content.len;
    tail.tail_crc32c = crc32c_update(0, content.data, content.len);
    ok(upload_log_append(store, RAW, id, 3, &tail, &body, &head, &e));

    faulty_store_fail(store, 0, FAULT_NONE);
    fold(&s);
    ck_assert_uint_eq(faulty_store_calls(store), 1 + 3 + 3 + 1 + 1); /* LIST; 16, 64, 256 KiB; the same; 16; the end */
    ck_assert_str_eq(s.facts.concat, created.facts.concat);
    ck_assert_uint_eq(s.part_count, 3000);
    ck_assert_uint_eq(s.offset, sizeof bytes);
    check_tail(&s.tails[0], 3000);
    mem_free(created.facts.concat);
}
END_TEST

static void short_log(void)
{
    size_t head;

    ok(append(1, record(UPLOAD_CREATED, 0, 0), &e));
    ok(append_tail(2, 0, 1000, &head, &e));
    ok(append_tail(3, 1000, 1000, &head, &e));
    ok(append_part(4, 2000, 2000, 1, 2000, &e));
}

static void spend_second(void *ctx)
{
    (void)ctx;
    ok(upload_log_spend(store, RAW, id, 2, &e));
}

static void go_on(void *ctx)
{
    (void)ctx;
    ok(append_part(4, 2000, 2000, 1, 2000, &e));
    ok(upload_log_spend(store, RAW, id, 3, &e));
}

START_TEST(a_log_that_changes_while_it_is_read_is_read_again)
{
    UPLOAD_STATE_AUTO struct upload_state s = {0}, t = {0};
    size_t head;

    short_log();
    faulty_store_interrupt(store, 3, spend_second, NULL); /* between the LIST and its GET */
    fold(&s);
    ck_assert_uint_eq(s.offset, 2000);
    ck_assert_uint_eq(s.part_count, 1);

    id_video(1, id);
    ok(append(1, record(UPLOAD_CREATED, 0, 0), &e));
    ok(append_tail(2, 0, 1000, &head, &e));
    ok(append_tail(3, 1000, 1000, &head, &e));
    faulty_store_interrupt(store, 4, go_on, NULL); /* the part that holds the last tail is not in the LIST */
    fold(&t);
    ck_assert_uint_eq(t.seq, 4);
    ck_assert_uint_eq(t.part_count, 1);
    ck_assert_uint_eq(t.tail_count, 0);
}
END_TEST

START_TEST(a_damaged_log_is_told)
{
    UPLOAD_STATE_AUTO struct upload_state s = {0};
    static const struct store_put_options overwrite = {0};
    struct upload_record r;
    uint64_t seq;

    short_log();
    ok(store_delete(store, RAW, layout_log(id, 3).s, &e)); /* nobody may do that */
    fails(ERR_BUG, upload_log_fold(store, RAW, id, &s, &e));
    ok(store_put_bytes(store, RAW, layout_log(id, 3).s, "{}", 2, &overwrite, &e)); /* a line without end */
    fails(ERR_BUG, upload_log_fold(store, RAW, id, &s, &e));
    ok(store_put_bytes(store, RAW, layout_log(id, 3).s, "{}\n", 3, &overwrite, &e));
    fails(ERR_BUG, upload_log_fold(store, RAW, id, &s, &e));
    ok(store_put_bytes(store, RAW, layout_log(id, 4).s, "x\n", 2, &overwrite, &e));
    fails(ERR_BUG, upload_log_newest(store, RAW, id, &r, &seq, &e));
    ok(store_delete(store, RAW, layout_log(id, 4).s, &e));
    ok(upload_log_spend(store, RAW, id, 3, &e)); /* what nothing else holds */
    ok(append(4, record(UPLOAD_BYTES, 2000, 0), &e));
    fails(ERR_BUG, upload_log_fold(store, RAW, id, &s, &e));
    ck_assert_uint_eq(s.seq, 0);
}
END_TEST

START_TEST(a_failing_store_is_passed_on)
{
    short_log();
    for (uint64_t nth = 1;; nth++) {
        UPLOAD_STATE_AUTO struct upload_state s = {0};
        struct err e = {0};
        faulty_store_fail(store, nth, FAULT_BEFORE);
        int r = upload_log_fold(store, RAW, id, &s, &e);
        if (r == 0)
            break;
        ck_assert_int_eq(r, -ERR_TEMPORARY);
        ck_assert_uint_eq(s.seq, 0);
    }
}
END_TEST

START_TEST(every_allocation_may_fail)
{
    short_log();
    for (uint64_t nth = 1;; nth++) {
        UPLOAD_STATE_AUTO struct upload_state s = {0};
        struct err e = {0};
        mem_fail_from(nth);
        int r = upload_log_fold(store, RAW, id, &s, &e);
        mem_fail_from(0);
        if (r == 0)
            break;
        ck_assert_msg(r == -ERR_TEMPORARY, "%s", e.text);
        ck_assert_uint_eq(s.seq, 0);
    }
}
END_TEST

/* A writer at work: tails, a part of them, and they are spent. */
static void *write_main(void *arg)
{
    uint64_t seq = 1, offset = 0;
    size_t head;

    for (unsigned part = 1; part <= 60; part++) {
        uint64_t in_parts = offset;
        for (unsigned i = 0; i < 3; i++, offset += 100)
            ok(append_tail_after(in_parts, ++seq, offset, 100, &head, &e));
        ok(append_part(++seq, offset, offset, part, offset - in_parts, &e));
        for (unsigned i = 1; i <= 3; i++)
            ok(upload_log_spend(store, RAW, id, seq - i, &e));
    }
    atomic_store((atomic_bool *)arg, true);
    return NULL;
}

START_TEST(a_log_can_be_folded_while_its_writer_is_at_work)
{
    atomic_bool done = false;
    uint64_t offset = 0, seq = 0;
    pthread_t thread;

    ok(append(1, record(UPLOAD_CREATED, 0, 0), &e));
    ck_assert_int_eq(pthread_create(&thread, NULL, write_main, &done), 0);
    for (bool last = false; !last;) {
        UPLOAD_STATE_AUTO struct upload_state s = {0};
        last = atomic_load(&done);
        fold(&s);
        ck_assert_uint_ge(s.offset, offset);
        ck_assert_uint_ge(s.seq, seq);
        ck_assert(upload_state_whole(&s));
        offset = s.offset;
        seq = s.seq;
    }
    pthread_join(thread, NULL);
    ck_assert_uint_eq(offset, 60 * 300);
}
END_TEST

/* --- Closing and emptying --- */

START_TEST(closing_without_a_log_keeps_its_creator_out)
{
    UPLOAD_RECORD_AUTO struct upload_record before = {0}, again = {0};

    ok(upload_log_close(store, RAW, id, false, &before, &e));
    ck_assert_int_eq(before.kind, UPLOAD_CREATED);
    fails(ERR_STALE, append(1, record(UPLOAD_CREATED, 0, 0), &e));
    ok(upload_log_close(store, RAW, id, false, &again, &e));
    ck_assert_int_eq(again.kind, UPLOAD_CLOSED);
    ck_assert_uint_eq(objects(), 1);
}
END_TEST

START_TEST(a_completing_log_can_be_left_as_it_is)
{
    UPLOAD_RECORD_AUTO struct upload_record before = {0}, again = {0};

    ok(append(1, record(UPLOAD_CREATED, 0, 0), &e));
    ok(append(2, record(UPLOAD_COMPLETING, 5, 0), &e));
    ok(upload_log_close(store, RAW, id, true, &before, &e));
    ck_assert_int_eq(before.kind, UPLOAD_COMPLETING);
    ck_assert_uint_eq(objects(), 2);
    ok(upload_log_close(store, RAW, id, false, &again, &e));
    ck_assert_int_eq(again.kind, UPLOAD_COMPLETING);
    ck_assert_uint_eq(objects(), 3);
}
END_TEST

static void append_second(void *ctx)
{
    size_t head;

    (void)ctx;
    ok(append_tail(2, 0, 10, &head, &e));
}

START_TEST(a_writer_that_is_ahead_is_closed_behind)
{
    UPLOAD_RECORD_AUTO struct upload_record before = {0};

    ok(append(1, record(UPLOAD_CREATED, 0, 0), &e));
    faulty_store_interrupt(store, 3, append_second, NULL);
    ok(upload_log_close(store, RAW, id, false, &before, &e));
    ck_assert_uint_eq(before.tail_bytes, 10);
    fails(ERR_STALE, append(3, record(UPLOAD_BYTES, 10, 0), &e));
}
END_TEST

START_TEST(a_log_that_is_being_emptied_stays_closed)
{
    UPLOAD_RECORD_AUTO struct upload_record before = {0};
    bool done = false;

    short_log();
    ok(upload_log_spend(store, RAW, id, 2, &e));
    ok(upload_log_close(store, RAW, id, false, &before, &e));
    for (uint64_t nth = 1; !done; nth++) {
        UPLOAD_STATE_AUTO struct upload_state s = {0};
        UPLOAD_RECORD_AUTO struct upload_record newest = {0};
        uint64_t seq = 0;
        faulty_store_fail(store, nth, FAULT_AFTER);
        done = upload_log_empty(store, RAW, id, NULL) == 0;
        faulty_store_fail(store, 0, FAULT_NONE);
        fold(&s);
        ck_assert_int_eq(s.kind, UPLOAD_CLOSED);
        ck_assert_uint_eq(s.seq, 5);
        ok(upload_log_newest(store, RAW, id, &newest, &seq, &e));
        ck_assert_int_eq(newest.kind, UPLOAD_CLOSED);
        ck_assert_uint_eq(seq, 5);
    }
    for (uint64_t seq = 1; seq <= 5; seq++)
        ck_assert_uint_lt(size_of(seq), 200);
    fails(ERR_STALE, append_part(2, 2000, 2000, 1, 2000, &e));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("upload_log");
    TCase *every = tcase_create("every store"), *t = tcase_create("directory");

    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)(i * 7 + i / 251);
    store_servers_start();
    tcase_add_loop_test(every, a_log_is_folded_spent_closed_and_emptied, 0, STORE_SERVERS);
    tcase_add_loop_test(every, exactly_one_writer_makes_the_next_step, 0, STORE_SERVERS);
    tcase_set_timeout(every, 60);
    suite_add_tcase(suite, every);
    tcase_add_checked_fixture(t, up, down);
    tcase_add_test(t, a_record_of_somebody_else_is_not_replaced);
    tcase_add_test(t, the_same_record_again_is_success);
    tcase_add_test(t, a_lost_answer_is_found_out_by_repeating);
    tcase_add_test(t, what_makes_no_record_never_reaches_the_store);
    tcase_add_test(t, there_may_be_no_log);
    tcase_add_test(t, long_heads_are_read_whole_and_tails_are_not_read);
    tcase_add_test(t, a_log_that_changes_while_it_is_read_is_read_again);
    tcase_add_test(t, a_damaged_log_is_told);
    tcase_add_test(t, a_failing_store_is_passed_on);
    tcase_add_test(t, every_allocation_may_fail);
    tcase_add_test(t, a_log_can_be_folded_while_its_writer_is_at_work);
    tcase_add_test(t, closing_without_a_log_keeps_its_creator_out);
    tcase_add_test(t, a_completing_log_can_be_left_as_it_is);
    tcase_add_test(t, a_writer_that_is_ahead_is_closed_behind);
    tcase_add_test(t, a_log_that_is_being_emptied_stays_closed);
    tcase_set_timeout(t, 60);
    suite_add_tcase(suite, t);
    int status = run_suite(suite);
    store_servers_stop();
    return status;
}
