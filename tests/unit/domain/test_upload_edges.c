#include "../suite.h"
#include "upload_fixture.h"

#include "base/clock.h"
#include "domain/layout.h"
#include "domain/removal.h"
#include "domain/upload_session.h"

#include <string.h>

/* Moments at which two rules meet: what is held and what is recorded already, an end and an expiry, a crash and a look. */

#define KIB 1024u
#define BIG (2 * PART) /* all of it in parts */

static void spill(struct upload *u)
{
    upload_table_want(u, UPLOAD_WANT_SPILL);
    ok(upload_attend(u, &e));
}

/* --- Bodies with a checksum that were spilled --- */

/* A row of small tails is repeated as one, but what is held stands between them and the newest bytes. */
START_TEST(held_bytes_stay_behind_the_small_tails)
{
    struct file f = create(service, UPLOAD_TUS, MIB);
    const uint64_t small = 1000, row = 64 * small;

    for (uint64_t at = 0; at < row; at += small)
        patch(service, &f, at, small);
    struct upload *u = begin_patch(service, &f);
    upload_hold(u);
    ok(write_bytes(u, row, 100 * KIB, &e));
    spill(u);
    ok(write_bytes(u, row + 100 * KIB, 50 * KIB, &e));
    ok(upload_keep(u, &e));
    ok(upload_pause(u, &e));
    upload_free(u);
    patch(service, &f, row + 150 * KIB, f.size - row - 150 * KIB);
    expect_finished(&f);
}
END_TEST

/* The end of the body makes the first part, or the one for which no number is reserved. */
START_TEST(what_is_held_goes_into_a_part_that_needs_a_record)
{
    struct file f = create(service, UPLOAD_TUS, BIG);
    uint64_t at = _i == 0 ? 0 : PART + 10;

    if (at > 0)
        patch(service, &f, 0, at);
    struct upload *u = begin_patch(service, &f);
    upload_hold(u);
    ok(write_bytes(u, at, MIB, &e));
    spill(u);
    u->last_number = at > 0 ? u->state.reserved : 0;
    ok(write_bytes(u, at + MIB, (at > 0 ? PART - 10 : PART) - MIB, &e));
    ok(upload_keep(u, &e));
    ok(upload_pause(u, &e));
    uint64_t told = upload_recorded(u)->offset;
    upload_free(u);
    UPLOAD_STATE_AUTO struct upload_state s = folded(&f);
    ck_assert_uint_eq(s.offset, told);
    patch(service, &f, told, f.size - told);
    expect_finished(&f);
}
END_TEST

/* --- Looking --- */

/* Whoever was to finish it has died in between: nobody may be told that it is gone. */
START_TEST(one_that_is_completing_behind_the_cache_is_finished)
{
    struct file f = create(service, UPLOAD_TUS, _i == 0 ? 3000 : BIG);
    struct upload *u = begin_patch(service, &f);
    struct queue_video v = {0};
    bool stored;

    ok(write_bytes(u, 0, f.size, &e));
    upload_table_want(u, UPLOAD_WANT_RECORD);
    ok(upload_attend(u, &e));
    ck_assert_uint_eq(upload_recorded(u)->offset, f.size);
    faulty_store_fail(test_store, 2, FAULT_AWAY_BEFORE);
    fails(ERR_TEMPORARY, upload_finish(u, &v, &stored, &e));
    upload_free(u);
    faulty_store_fail(test_store, 0, FAULT_NONE);
    ck_assert_uint_eq(look(service, &f), f.size);
    expect_finished(&f);
}
END_TEST

/* The same when the reconciler was there first. */
START_TEST(one_that_the_reconciler_has_finished_is_told)
{
    struct file f = create(service, UPLOAD_TUS, _i == 0 ? 3000 : BIG);
    struct upload *u = begin_patch(service, &f);
    struct queue_video v = {0};
    bool stored;

    ok(write_bytes(u, 0, f.size, &e));
    ok(upload_land(u, &e));
    faulty_store_fail(test_store, _i == 0 ? 2 : 3, FAULT_AWAY_BEFORE);
    fails(ERR_TEMPORARY, upload_finish(u, &v, &stored, &e));
    upload_free(u);
    faulty_store_fail(test_store, 0, FAULT_NONE);
    UPLOAD_STATE_AUTO struct upload_state s = folded(&f);
    ck_assert_int_eq(s.kind, UPLOAD_COMPLETING);
    repair();
    ck_assert_uint_eq(look(service, &f), f.size);
    expect_finished(&f);
}
END_TEST

/* Every call of the store that a look makes may fail: that is no reason to say that the upload is gone. */
START_TEST(a_look_never_takes_trouble_for_the_end)
{
    bool reached = true;

    for (uint64_t nth = 1; reached; nth++) {
        struct file f = create(service, UPLOAD_TUS, BIG);
        struct upload *u = begin_patch(service, &f);
        UPLOAD_STATE_AUTO struct upload_state s = {0};
        struct err why = {0};
        struct queue_video v = {0};
        bool stored;
        ok(write_bytes(u, 0, f.size, &e));
        upload_table_want(u, UPLOAD_WANT_RECORD);
        ok(upload_attend(u, &e));
        if (_i % 2 == 0) {
            faulty_store_fail(test_store, 2, FAULT_AWAY_BEFORE);
            fails(ERR_TEMPORARY, upload_finish(u, &v, &stored, &e));
        }
        upload_free(u);
        faulty_store_fail(test_store, nth, _i < 2 ? FAULT_BEFORE : FAULT_AFTER);
        int r = try_look(service, &f, &s, &why);
        reached = faulty_store_calls(test_store) >= nth;
        faulty_store_fail(test_store, 0, FAULT_NONE);
        ck_assert_msg(r == 0 || r == -ERR_TEMPORARY || r == -ERR_BUSY, "%d: %s", (int)nth, why.text);
        ck_assert_uint_eq(look(service, &f), f.size);
        expect_finished(&f);
        ok(removal_delete(&test_library, f.id, NULL, &e));
        ok(removal_forget(&test_library, f.id, &e));
    }
}
END_TEST

/* A body that was refused, at one that is completing: the cache says so of finished ones only. */
START_TEST(one_that_is_not_finished_is_not_cached_as_such)
{
    struct file f = create(service, UPLOAD_TUS, BIG);
    struct upload *u = begin_patch(service, &f);
    UPLOAD_STATE_AUTO struct upload_state before = {0}, cached = {0};
    char epoch[QUEUE_EPOCH_SIZE];
    enum upload_refusal refusal;
    struct queue_video v = {0};
    bool stored;

    ok(upload_find(service, f.id, SECRET, &before, &e));
    ok(write_bytes(u, 0, f.size, &e));
    ok(upload_land(u, &e));
    faulty_store_fail(test_store, 3, FAULT_AWAY_BEFORE);
    fails(ERR_TEMPORARY, upload_finish(u, &v, &stored, &e));
    upload_free(u);
    faulty_store_fail(test_store, 0, FAULT_NONE);
    ok(upload_cache_drop(test_queue, f.id, &e));
    ok(upload_resume(service, &before, CLIENT, &u, &refusal, &e));
    fails(ERR_TOO_LARGE, upload_write(u, "x", 1, &e));
    ok(upload_pause(u, &e));
    upload_free(u);
    ok(upload_cache_get(test_queue, f.id, epoch, &cached, NULL, NULL, &e));
    ck_assert_uint_eq(cached.seq, 0);
    ck_assert_uint_eq(look(service, &f), f.size);
    expect_finished(&f);
}
END_TEST

/* A finished upload whose video was tried once more, and a Redis that was lost. */
START_TEST(a_video_of_a_later_generation_is_found_finished)
{
    struct file f = create(service, UPLOAD_TUS, 3000);
    struct queue_job_spec again = {.video_id = f.id, .generation = 2, .priority = 1, .record_json = "{}"};
    bool existed;

    send_all(service, &f, f.size);
    ok(queue_enqueue(test_queue, &again, &existed, &e));
    ok(upload_cache_drop(test_queue, f.id, &e));
    ck_assert_uint_eq(look(service, &f), f.size);
}
END_TEST

/* --- Expiry --- */

struct ending {
    struct upload *upload;
    bool happened, finished;
};

static void end_it(void *ctx)
{
    struct ending *it = ctx;
    struct queue_video v = {0};
    struct err why = {0};
    bool stored;

    it->happened = true;
    it->finished = upload_finish(it->upload, &v, &stored, &why) == 0;
    queue_video_release(&v);
}

/* Whoever was told that it is finished has a video, whatever the one who wanted to clear it away was about to do. */
START_TEST(what_is_finished_while_it_expires_stays)
{
    struct upload_options o = upload_test_options();
    struct ending it = {.happened = true};

    o.expiry_ms = 600;
    struct upload_service *hasty = start_service(&o);
    for (uint64_t nth = 1; it.happened; nth++) {
        struct file f = create(hasty, UPLOAD_TUS, _i == 0 ? 3000 : BIG);
        it = (struct ending){.upload = begin_patch(hasty, &f)};
        ok(write_bytes(it.upload, 0, f.size, &e));
        clock_sleep_ms(610);
        faulty_store_interrupt(test_store, nth, end_it, &it);
        repair();
        faulty_store_interrupt(test_store, 0, NULL, NULL);
        upload_free(it.upload);
        repair();
        if (it.finished)
            expect_finished(&f);
        else
            expect_nothing(f.id);
        ok(removal_delete(&test_library, f.id, NULL, &e));
        ok(removal_forget(&test_library, f.id, &e));
    }
    upload_service_free(hasty);
}
END_TEST

/* --- Deletion --- */

/* It is no video, so nothing else could be deleted instead. */
START_TEST(a_finished_partial_upload_can_be_deleted)
{
    UPLOAD_STATE_AUTO struct upload_state s = {0};
    struct file f = create(service, UPLOAD_PARTIAL, _i == 0 ? 3000 : BIG);

    send_all(service, &f, f.size);
    ok(upload_find(service, f.id, SECRET, &s, &e));
    ok(upload_delete(service, &s, &e));
    expect_nothing(f.id);
    ck_assert_int_eq(redis_number("ZCARD", "{weir}:uploads", NULL), 0);
}
END_TEST

/* --- Places --- */

/* A store that is away must not leave a client without a place for as long as uploads live. */
START_TEST(a_creation_that_fails_takes_no_place)
{
    const struct upload_spec spec = {.title = "", .description = "", .filename = "", .length = 10, .secret = SECRET};
    struct upload *u = NULL;
    enum upload_refusal refusal;

    ok(upload_new(service, UPLOAD_TUS, CLIENT, &u, &refusal, &e));
    faulty_store_fail(test_store, 1, FAULT_AWAY_BEFORE);
    fails(ERR_TEMPORARY, upload_begin(u, &spec, &e));
    upload_free(u);
    faulty_store_fail(test_store, 0, FAULT_NONE);
    ck_assert_int_eq(redis_number("ZCARD", "{weir}:uploads", NULL), 0);
    ck_assert_int_eq(redis_number("ZCARD", "{weir}:uploads:" CLIENT, NULL), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("upload_edges");
    TCase *t = tcase_create("upload_edges");

    tcase_add_unchecked_fixture(t, queue_server_up, queue_server_down);
    tcase_add_checked_fixture(t, upload_up, upload_down);
    tcase_set_timeout(t, 120);
    tcase_add_test(t, held_bytes_stay_behind_the_small_tails);
    tcase_add_loop_test(t, what_is_held_goes_into_a_part_that_needs_a_record, 0, 2);
    tcase_add_loop_test(t, one_that_is_completing_behind_the_cache_is_finished, 0, 2);
    tcase_add_loop_test(t, one_that_the_reconciler_has_finished_is_told, 0, 2);
    tcase_add_loop_test(t, a_look_never_takes_trouble_for_the_end, 0, 4);
    tcase_add_test(t, one_that_is_not_finished_is_not_cached_as_such);
    tcase_add_test(t, a_video_of_a_later_generation_is_found_finished);
    tcase_add_loop_test(t, what_is_finished_while_it_expires_stays, 0, 2);
    tcase_add_loop_test(t, a_finished_partial_upload_can_be_deleted, 0, 2);
    tcase_add_test(t, a_creation_that_fails_takes_no_place);
    suite_add_tcase(suite, t);
    return run_suite(suite);
}
