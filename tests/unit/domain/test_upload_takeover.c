#include "../suite.h"
#include "upload_fixture.h"

#include "base/clock.h"
#include "base/str.h"
#include "domain/layout.h"
#include "domain/upload_session.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

static struct upload_service *other; /* another process */

static void up(void)
{
    struct upload_options o = upload_test_options();

    upload_up();
    other = start_service(&o);
}

static void down(void)
{
    upload_service_free(other);
    upload_down();
}

/* --- A request whose client sends something and then nothing any more --- */

struct request {
    struct upload_service *service;
    const struct file *file;
    uint64_t offset, count;
    bool checked; /* its body has a checksum */
    bool deaf;    /* the process is frozen: it sees no wish of others */
    pthread_t thread;
    _Atomic bool sent, over; /* its bytes; its client's patience */
    int result;
};

static int wait_and_see(struct request *rq, struct upload *u, struct err *e)
{
    int r = 0;

    atomic_store(&rq->sent, true);
    while (r == 0 && !atomic_load(&rq->over)) {
        struct pollfd wake = {.fd = upload_wake_fd(u), .events = POLLIN};
        if (poll(&wake, rq->deaf ? 0 : 1, 5) > 0)
            r = upload_attend(u, e);
    }
    return r == 0 ? upload_pause(u, e) : r;
}

static void *request_main(void *arg)
{
    struct request *rq = arg;
    struct upload *u = begin_patch(rq->service, rq->file);
    struct err e = {0};

    ck_assert_uint_eq(upload_recorded(u)->offset, rq->offset);
    if (rq->checked)
        upload_hold(u);
    rq->result = write_bytes(u, rq->offset, rq->count, &e);
    if (rq->result == 0)
        rq->result = wait_and_see(rq, u, &e);
    upload_free(u);
    return NULL;
}

/* Waits until its bytes are with the service. */
static void start_request(struct request *rq)
{
    ck_assert_int_eq(pthread_create(&rq->thread, NULL, request_main, rq), 0);
    while (!atomic_load(&rq->sent))
        clock_sleep_ms(1);
}

static int end_request(struct request *rq)
{
    atomic_store(&rq->over, true);
    pthread_join(rq->thread, NULL);
    return rq->result;
}

/* --- Looking at one that is being written --- */

static struct upload_service *asker(int i)
{
    return i == 0 ? service : other;
}

START_TEST(looking_makes_it_record)
{
    static const uint64_t counts[] = {1000, 3 * MIB, 7 * MIB};

    for (size_t i = 0; i < 3; i++) {
        struct file f = create(service, UPLOAD_TUS, 12 * MIB);
        struct request rq = {.service = service, .file = &f, .count = counts[i]};
        start_request(&rq);
        uint64_t since_ms = clock_mono_ms();
        ck_assert_uint_eq(look(asker(_i), &f), counts[i]);
        ck_assert_uint_lt(clock_mono_ms() - since_ms, 4000);
        since_ms = clock_mono_ms(); /* there is nothing more to be recorded */
        ck_assert_uint_eq(look(asker(_i), &f), counts[i]);
        ck_assert_uint_lt(clock_mono_ms() - since_ms, 4000);
        ck_assert_int_eq(end_request(&rq), 0); /* it goes on all the same */
        since_ms = clock_mono_ms();            /* now nobody has to be asked */
        ck_assert_uint_eq(look(asker(_i), &f), counts[i]);
        ck_assert_uint_lt(clock_mono_ms() - since_ms, 4000);
    }
}
END_TEST

START_TEST(looking_at_one_that_is_checked_tells_what_counts)
{
    struct file f = create(service, UPLOAD_TUS, 12 * MIB);
    struct request rq = {.service = service, .file = &f, .offset = 1000, .count = 7 * MIB, .checked = true};

    patch(service, &f, 0, 1000);
    start_request(&rq);
    uint64_t since_ms = clock_mono_ms();
    ck_assert_uint_eq(look(asker(_i), &f), 1000);
    ck_assert_uint_lt(clock_mono_ms() - since_ms, 4000);
    ck_assert_int_eq(end_request(&rq), 0); /* no upload_keep: for nothing */
    ck_assert_uint_eq(look(service, &f), 1000);
    patch(service, &f, 1000, 12 * MIB - 1000);
    expect_finished(&f);
}
END_TEST

/* --- Taking over --- */

START_TEST(a_second_request_takes_over)
{
    static const uint64_t counts[] = {0, 1000, 7 * MIB};

    for (size_t i = 0; i < 3; i++) {
        struct file f = create(service, UPLOAD_TUS, 12 * MIB);
        struct request first = {.service = service, .file = &f, .count = counts[i]};
        start_request(&first);
        uint64_t since_ms = clock_mono_ms();
        struct upload *u = begin_patch(asker(_i), &f);
        ck_assert_uint_lt(clock_mono_ms() - since_ms, 6000);
        ck_assert_uint_eq(upload_recorded(u)->offset, counts[i]); /* nothing of it is lost */
        ck_assert_int_eq(end_request(&first), -ERR_STALE);
        upload_free(u);
        patch(asker(_i), &f, counts[i], 12 * MIB - counts[i]);
        expect_content(layout_source(f.id).s, f.size);
    }
    expect_no_parts();
}
END_TEST

START_TEST(a_checked_body_that_is_taken_over_counts_for_nothing)
{
    struct file f = create(service, UPLOAD_TUS, 12 * MIB);
    struct request first = {.service = service, .file = &f, .count = 7 * MIB, .checked = true};

    start_request(&first);
    struct upload *u = begin_patch(asker(_i), &f);
    ck_assert_uint_eq(upload_recorded(u)->offset, 0);
    ck_assert_int_eq(end_request(&first), -ERR_STALE);
    upload_free(u);
    send_all(asker(_i), &f, 7 * MIB);
    expect_finished(&f);
}
END_TEST

START_TEST(one_that_lingers_is_let_go_at_once)
{
    struct file f = create(service, UPLOAD_TUS, 12 * MIB);
    uint64_t since_ms = clock_mono_ms();

    for (uint64_t at = 0; at < f.size; at += 256 * 1024) /* every PATCH to the other one */
        patch(asker((int)(at / (256 * 1024) % 2)), &f, at, 256 * 1024);
    expect_finished(&f);
    ck_assert_uint_lt(clock_mono_ms() - since_ms, 20000);
}
END_TEST

/* 1 GiB of parts would take 128 numbers; each change of hands would burn eight without the clean end. */
START_TEST(changing_hands_burns_no_part_numbers)
{
    struct file f = create(service, UPLOAD_TUS, UPLOAD_BYTES_MAX);
    UPLOAD_STATE_AUTO struct upload_state s = {0};

    for (unsigned i = 0; i < 4; i++)
        patch(asker((int)i % 2), &f, i * (uint64_t)PART, PART);
    s = folded(&f);
    ck_assert_uint_eq(s.part_count, 4);
    ck_assert_uint_eq(s.reserved, 4);
}
END_TEST

/* --- A frozen process --- */

static void end_lease(const struct file *f)
{
    char key[64];

    str_format(key, sizeof key, "{weir}:writer:%s", f->id);
    redis_run("HSET", key, "until", "1");
}

START_TEST(a_writer_that_does_not_stop_is_waited_for_in_vain)
{
    struct file f = create(service, UPLOAD_TUS, 12 * MIB);
    struct request frozen = {.service = service, .file = &f, .count = 6 * MIB, .deaf = true};
    UPLOAD_STATE_AUTO struct upload_state s = {0};
    struct upload *u = NULL;
    enum upload_refusal refusal;

    start_request(&frozen);
    ok(upload_find(service, f.id, SECRET, &s, &e));
    uint64_t since_ms = clock_mono_ms();
    fails(ERR_BUSY, upload_resume(asker(_i), &s, CLIENT, &u, &refusal, &e));
    ck_assert_int_eq(refusal, UPLOAD_LOCKED);
    ck_assert_uint_lt(clock_mono_ms() - since_ms, 12000);
    (void)end_request(&frozen);
}
END_TEST

/* Its lease has run out, another one goes on, and then it wakes: nothing that was acknowledged changes. */
START_TEST(a_frozen_writer_that_wakes_changes_nothing)
{
    static const uint64_t frozen_at[] = {1000, 4 * MIB, 6 * MIB, 11 * MIB};

    for (size_t i = 0; i < 4; i++) {
        struct file f = create(service, UPLOAD_TUS, 12 * MIB);
        struct request frozen = {.service = service, .file = &f, .count = frozen_at[i], .deaf = true};
        start_request(&frozen);
        end_lease(&f);
        uint64_t at = look(other, &f);
        patch(other, &f, at, 500);
        ck_assert_int_eq(end_request(&frozen), -ERR_STALE);
        ck_assert_uint_eq(look(other, &f), at + 500);
        ck_assert_uint_eq(look(service, &f), at + 500);
        patch(service, &f, at + 500, 12 * MIB - at - 500);
        expect_content(layout_source(f.id).s, f.size);
    }
    expect_no_parts();
}
END_TEST

/* The same when the other one has finished it meanwhile. */
START_TEST(a_frozen_writer_wakes_after_the_end)
{
    struct file f = create(service, UPLOAD_TUS, 12 * MIB);
    struct request frozen = {.service = service, .file = &f, .count = 11 * MIB, .deaf = true};

    start_request(&frozen);
    end_lease(&f);
    uint64_t at = look(other, &f);
    patch(other, &f, at, 12 * MIB - at);
    ck_assert_int_eq(end_request(&frozen), -ERR_STALE);
    repair();
    expect_finished(&f);
}
END_TEST

START_TEST(a_lost_lease_ends_what_lingers)
{
    struct file f = create(service, UPLOAD_TUS, 12 * MIB);

    patch(service, &f, 0, 1000);
    end_lease(&f);
    patch(other, &f, 1000, 1000);
    for (int i = 0; i < 2; i++) { /* the first only notes when it was */
        service->renewed_ms = 0;
        upload_service_tick(service);
    }
    ck_assert_uint_eq(service->lingering_count, 0);
    patch(service, &f, 2000, 12 * MIB - 2000);
    expect_finished(&f);
}
END_TEST

START_TEST(what_lingers_ends_by_itself)
{
    struct file f = create(service, UPLOAD_TUS, 12 * MIB);

    patch(service, &f, 0, 1000);
    ck_assert_uint_eq(service->lingering_count, 1);
    ck_assert_uint_eq(service->busy_count, 0);
    service->sessions->idle_ms -= 31000;
    upload_service_tick(service);
    ck_assert_uint_eq(service->lingering_count, 0);
    uint64_t since_ms = clock_mono_ms();
    patch(other, &f, 1000, 1000); /* the lease was given back */
    ck_assert_uint_lt(clock_mono_ms() - since_ms, 4000);
}
END_TEST

/* --- Two at once --- */

struct rival {
    struct upload_service *service;
    const struct file *file;
    pthread_t thread;
};

/* A client that asks where it is and sends on from there, in pieces of any size, until everything is there. */
static void *rival_main(void *arg)
{
    const struct rival *rv = arg;
    uint64_t deadline_ms = clock_mono_ms() + 60000;
    unsigned seed = (unsigned)(uintptr_t)arg;

    while (clock_mono_ms() < deadline_ms) {
        UPLOAD_STATE_AUTO struct upload_state s = {0};
        struct err e = {0};
        int r = try_look(rv->service, rv->file, &s, &e);
        if (r == 0 && s.offset == rv->file->size)
            return NULL;
        if (r == 0) {
            seed = seed * 1103515245 + 12345;
            uint64_t n = seed % (2 * MIB), left = rv->file->size - s.offset;
            (void)!try_patch(rv->service, rv->file, s.offset, n < left ? n : left, &e);
        } else {
            ck_assert_msg(r == -ERR_BUSY || r == -ERR_TEMPORARY, "%s", e.text);
        }
    }
    ck_abort_msg("it takes too long");
}

START_TEST(two_clients_at_once_never_mix_their_bytes)
{
    struct file f = create(service, UPLOAD_TUS, UPLOAD_BYTES_MAX);
    struct rival rivals[] = {{service, &f, 0}, {asker(_i), &f, 0}};

    for (size_t i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_create(&rivals[i].thread, NULL, rival_main, &rivals[i]), 0);
    for (size_t i = 0; i < 2; i++)
        pthread_join(rivals[i].thread, NULL);
    expect_finished(&f);
}
END_TEST

/* Both have the last byte. */
static void *finish_main(void *arg)
{
    const struct rival *rv = arg;
    uint64_t deadline_ms = clock_mono_ms() + 20000;
    UPLOAD_STATE_AUTO struct upload_state s = {0};

    while (try_look(rv->service, rv->file, &s, NULL) != 0 && clock_mono_ms() < deadline_ms)
        upload_state_release(&s);
    ck_assert_uint_eq(s.offset, rv->file->size);
    return NULL;
}

START_TEST(two_finish_at_once)
{
    struct file f = create(service, UPLOAD_TUS, 12 * MIB);
    struct rival rivals[] = {{service, &f, 0}, {other, &f, 0}};
    struct upload *u = begin_patch(service, &f);

    ok(write_bytes(u, 0, f.size, &e));
    ok(upload_pause(u, &e));
    upload_free(u);
    for (size_t i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_create(&rivals[i].thread, NULL, finish_main, &rivals[i]), 0);
    for (size_t i = 0; i < 2; i++)
        pthread_join(rivals[i].thread, NULL);
    expect_finished(&f);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("upload_takeover");
    TCase *t = tcase_create("upload_takeover");

    tcase_add_unchecked_fixture(t, queue_server_up, queue_server_down);
    tcase_add_checked_fixture(t, up, down);
    tcase_set_timeout(t, 120);
    tcase_add_loop_test(t, looking_makes_it_record, 0, 2);
    tcase_add_loop_test(t, looking_at_one_that_is_checked_tells_what_counts, 0, 2);
    tcase_add_loop_test(t, a_second_request_takes_over, 0, 2);
    tcase_add_loop_test(t, a_checked_body_that_is_taken_over_counts_for_nothing, 0, 2);
    tcase_add_test(t, one_that_lingers_is_let_go_at_once);
    tcase_add_test(t, changing_hands_burns_no_part_numbers);
    tcase_add_loop_test(t, a_writer_that_does_not_stop_is_waited_for_in_vain, 0, 2);
    tcase_add_test(t, a_frozen_writer_that_wakes_changes_nothing);
    tcase_add_test(t, a_frozen_writer_wakes_after_the_end);
    tcase_add_test(t, a_lost_lease_ends_what_lingers);
    tcase_add_test(t, what_lingers_ends_by_itself);
    tcase_add_loop_test(t, two_clients_at_once_never_mix_their_bytes, 0, 2);
    tcase_add_test(t, two_finish_at_once);
    suite_add_tcase(suite, t);
    return run_suite(suite);
}
