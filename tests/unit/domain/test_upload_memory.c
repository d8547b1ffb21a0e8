#include "../suite.h"
#include "upload_fixture.h"

#include "base/clock.h"
#include "base/mem.h"
#include "domain/layout.h"
#include "domain/upload_session.h"

#include <poll.h>
#include <pthread.h>
#include <string.h>

#define KIB 1024u

/* --- More uploads than there is memory for --- */

#define MANY 60
#define EACH (2 * MIB) /* six times the memory in all */

enum pace { SLOW, IDLE, CHECKED };

struct slow_client {
    struct file file;
    enum pace pace;
    pthread_t thread;
};

static void wait_for_wish(struct upload *u, int ms)
{
    struct pollfd wake = {.fd = upload_wake_fd(u), .events = POLLIN};

    if (poll(&wake, 1, ms) > 0)
        ok(upload_attend(u, &e));
}

/* Bytes drop by drop; the idle ones wait half-way until all others are there, too. */
static void trickle(const struct slow_client *c, struct upload *u)
{
    const uint64_t step = 64 * KIB;

    for (uint64_t at = 0; at < EACH; at += step) {
        if (c->pace == IDLE && at == EACH / 2) {
            while (atomic_load(&u->wants) == 0 && u->fills)
                wait_for_wish(u, 20);
            wait_for_wish(u, 0);
        }
        ok(upload_write(u, upload_bytes + at, step, &e));
        wait_for_wish(u, 1);
    }
}

static void *slow_main(void *arg)
{
    struct slow_client *c = arg;
    struct upload *u = begin_patch(service, &c->file);
    struct queue_video v = {0};
    bool stored;

    if (c->pace == CHECKED) { /* at first what comes is wrong */
        upload_hold(u);
        ok(write_bytes(u, 1, EACH / 3, &e));
        wait_for_wish(u, 20);
        upload_discard(u);
        upload_hold(u);
    }
    trickle(c, u);
    if (c->pace == CHECKED)
        ok(upload_keep(u, &e));
    ok(upload_finish(u, &v, &stored, &e));
    queue_video_release(&v);
    upload_free(u);
    return NULL;
}

START_TEST(memory_is_bound_and_all_end_well)
{
    struct slow_client *clients = mem_calloc(MANY, sizeof *clients);

    for (size_t i = 0; i < MANY; i++) {
        clients[i] = (struct slow_client){.file = create(service, UPLOAD_TUS, EACH), .pace = (enum pace)_i};
        if (clients[i].pace == IDLE && i % 2 == 0) /* else nobody would press the others */
            clients[i].pace = SLOW;
    }
    for (size_t i = 0; i < MANY; i++)
        ck_assert_int_eq(pthread_create(&clients[i].thread, NULL, slow_main, &clients[i]), 0);
    for (size_t i = 0; i < MANY; i++)
        pthread_join(clients[i].thread, NULL);
    for (size_t i = 0; i < MANY; i++)
        expect_content(layout_source(clients[i].file.id).s, EACH);
    expect_no_parts();
    ck_assert_uint_eq(counts().waiting, MANY);
    mem_free(clients);
}
END_TEST

/* --- Spilling, at will --- */

/* Asked to after every piece. */
static void write_spilling(struct upload *u, uint64_t at, uint64_t end, uint64_t piece)
{
    for (uint64_t n; at < end; at += n) {
        n = end - at < piece ? end - at : piece;
        ok(upload_write(u, upload_bytes + at, n, &e));
        upload_table_want(u, UPLOAD_WANT_SPILL);
        ok(upload_attend(u, &e));
        ck_assert(!u->fills);
    }
}

static const uint64_t pieces[] = {100 * KIB, MIB, 4 * MIB, 6 * MIB};

static void finish(struct upload *u)
{
    struct queue_video v = {0};
    bool stored;

    ok(upload_finish(u, &v, &stored, &e));
    queue_video_release(&v);
}

START_TEST(what_is_spilled_counts)
{
    struct file f = create(service, UPLOAD_TUS, 11 * MIB);
    struct upload *u = begin_patch(service, &f);

    write_spilling(u, 0, 7 * MIB, pieces[_i]);
    ck_assert_uint_eq(upload_recorded(u)->offset, 7 * MIB);
    write_spilling(u, 7 * MIB, f.size, pieces[_i]);
    finish(u);
    upload_free(u);
    expect_finished(&f);
}
END_TEST

START_TEST(a_form_spills_too)
{
    const struct upload_spec spec = {.title = "", .description = "", .filename = "", .length = UPLOAD_LENGTH_UNKNOWN};
    struct file f = {.size = _i == 0 ? 3 * MIB : 11 * MIB};
    struct upload *u = NULL;
    enum upload_refusal refusal;

    ok(upload_new(service, UPLOAD_FORM, CLIENT, &u, &refusal, &e));
    memcpy(f.id, upload_video_id(u), sizeof f.id);
    ok(upload_begin(u, &spec, &e));
    write_spilling(u, 0, f.size, pieces[_i]);
    ok(upload_declare(u, f.size, &e));
    finish(u);
    upload_free(u);
    expect_finished(&f);

    ok(upload_new(service, UPLOAD_FORM, CLIENT, &u, &refusal, &e));
    memcpy(f.id, upload_video_id(u), sizeof f.id);
    ok(upload_begin(u, &spec, &e));
    write_spilling(u, 0, f.size, pieces[_i]);
    upload_free(u);
    expect_nothing(f.id);
}
END_TEST

/* Whatever was spilled of a body that turns out to be wrong counts for nothing, in this session and for all others. */
START_TEST(what_is_held_counts_when_it_is_kept)
{
    struct file f = create(service, UPLOAD_TUS, 20 * MIB);
    struct upload_options o = upload_test_options();
    struct upload_service *other = start_service(&o);
    uint64_t at = 1000;

    patch(service, &f, 0, at);
    for (unsigned round = 0; round < 3; round++) {
        struct upload *u = begin_patch(round % 2 == 0 ? service : other, &f);
        upload_hold(u);
        write_spilling(u, 0, 6 * MIB, pieces[_i]); /* not what belongs there */
        ck_assert_uint_eq(upload_recorded(u)->offset, at);
        if (round > 0)
            upload_discard(u);
        upload_free(u); /* it has only to go */
        ck_assert_uint_eq(look(other, &f), at);

        u = begin_patch(service, &f);
        upload_hold(u);
        write_spilling(u, 0, MIB, pieces[_i]);
        upload_discard(u);
        upload_hold(u);
        write_spilling(u, at, at + 6 * MIB, pieces[_i]);
        ok(write_bytes(u, at + 6 * MIB, 1000, &e));
        ok(upload_keep(u, &e));
        ok(upload_pause(u, &e));
        at += 6 * MIB + 1000;
        ck_assert_uint_eq(upload_recorded(u)->offset, at);
        upload_free(u);
        UPLOAD_STATE_AUTO struct upload_state s = folded(&f);
        ck_assert_uint_eq(s.offset, at);
    }
    struct upload *u = begin_patch(other, &f);
    upload_hold(u);
    write_spilling(u, at, f.size, pieces[_i]);
    ok(upload_keep(u, &e));
    finish(u);
    upload_free(u);
    expect_finished(&f);
    upload_service_free(other);
}
END_TEST

/* A mismatch, then Redis is lost: the refused bytes count for nothing. */
START_TEST(a_lost_redis_brings_nothing_back)
{
    struct file f = create(service, UPLOAD_TUS, 12 * MIB);
    struct upload *u = begin_patch(service, &f);

    upload_hold(u);
    write_spilling(u, 5, 8 * MIB, pieces[_i]);
    upload_discard(u);
    ok(upload_pause(u, &e));
    upload_free(u);
    redis_run("FLUSHALL");
    repair();
    ck_assert_uint_eq(look(service, &f), 0);
    send_all(service, &f, 12 * MIB);
    expect_finished(&f);
}
END_TEST

/* --- Economy --- */

START_TEST(small_requests_cost_twice_their_bytes_at_most)
{
    struct file f = create(service, UPLOAD_TUS, UPLOAD_BYTES_MAX);
    uint64_t sent, sent_before, read, read_before;

    faulty_store_traffic(test_store, &sent_before, &read_before);
    send_all(service, &f, 256 * KIB);
    faulty_store_traffic(test_store, &sent, &read);
    ck_assert_uint_le(sent - sent_before, f.size / 100 * 210);
    ck_assert_uint_le(read - read_before, f.size / 100 * 110);
    expect_finished(&f);
}
END_TEST

/* However small: what is known of an upload stays small, and so does what each request costs. */
START_TEST(tiny_requests_stay_cheap)
{
    struct file f = create(service, UPLOAD_TUS, 1500 * 37);
    uint64_t sent, sent_before, read, read_before;

    faulty_store_traffic(test_store, &sent_before, &read_before);
    for (uint64_t at = 0; at < f.size - 37; at += 37) {
        patch(service, &f, at, 37);
        UPLOAD_STATE_AUTO struct upload_state s = {0};
        ok(upload_find(service, f.id, SECRET, &s, &e));
        ck_assert_uint_le(s.tail_count, 130);
    }
    faulty_store_traffic(test_store, &sent, &read);
    ck_assert_uint_le(sent - sent_before, 1500 * 4 * KIB);
    ck_assert_uint_le(read - read_before, 1500 * 4 * KIB);
    UPLOAD_STATE_AUTO struct upload_state s = folded(&f);
    ck_assert_uint_eq(s.offset, f.size - 37);
    patch(service, &f, f.size - 37, 37);
    expect_finished(&f);
}
END_TEST

/* What is left to be sent after the last byte is little. */
START_TEST(the_last_part_is_small)
{
    struct upload_options o = upload_test_options();

    o.part_size = 8 * MIB;
    o.memory = 32 * MIB;
    struct upload_service *usual = start_service(&o);
    struct file f = create(usual, UPLOAD_TUS, 8 * MIB);
    patch(usual, &f, 0, f.size);
    UPLOAD_STATE_AUTO struct upload_state s = folded(&f);
    ck_assert_uint_eq(s.part_count, 2);
    ck_assert_uint_lt(s.parts[1].size_bytes, MIB + MIB / 4);
    expect_finished(&f);
    upload_service_free(usual);
}
END_TEST

/* Many writers have died, and with them their part numbers: what is left becomes fewer and larger parts. */
START_TEST(part_numbers_never_run_out)
{
    static const unsigned used[] = {STORE_PART_MAX - 1, STORE_PART_MAX - 2, STORE_PART_MAX - 3, STORE_PART_MAX - 10};
    struct file f = create(service, UPLOAD_TUS, UPLOAD_BYTES_MAX);
    struct upload *u = begin_patch(service, &f);

    u->last_number = used[_i];
    ok(write_bytes(u, 0, 13 * MIB, &e));
    ok(upload_pause(u, &e));
    upload_free(u);
    for (uint64_t at = 13 * MIB; at < f.size; at += MIB)
        patch(service, &f, at, MIB);
    expect_finished(&f);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("upload_memory");
    TCase *t = tcase_create("upload_memory");

    tcase_add_unchecked_fixture(t, queue_server_up, queue_server_down);
    tcase_add_checked_fixture(t, upload_up, upload_down);
    tcase_set_timeout(t, 240);
    tcase_add_loop_test(t, memory_is_bound_and_all_end_well, 0, 3);
    tcase_add_loop_test(t, what_is_spilled_counts, 0, (int)ARRAY_SIZE(pieces));
    tcase_add_loop_test(t, a_form_spills_too, 0, (int)ARRAY_SIZE(pieces));
    tcase_add_loop_test(t, what_is_held_counts_when_it_is_kept, 0, (int)ARRAY_SIZE(pieces));
    tcase_add_loop_test(t, a_lost_redis_brings_nothing_back, 0, (int)ARRAY_SIZE(pieces));
    tcase_add_test(t, small_requests_cost_twice_their_bytes_at_most);
    tcase_add_test(t, tiny_requests_stay_cheap);
    tcase_add_test(t, the_last_part_is_small);
    tcase_add_loop_test(t, part_numbers_never_run_out, 0, 4);
    suite_add_tcase(suite, t);
    return run_suite(suite);
}
