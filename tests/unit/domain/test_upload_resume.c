#include "../suite.h"
#include "upload_fixture.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "domain/layout.h"
#include "domain/upload_log.h"

#include <string.h>

#define KIB 1024u

/* --- What goes well --- */

static const struct {
    uint64_t size, piece;
} shapes[] = {
    {0, 1},
    {1, 1},
    {1000, 7},
    {30 * KIB, 100},
    {PART - 1, 256 * KIB},
    {PART, 256 * KIB},
    {PART + 1, 256 * KIB},
    {PART, PART},
    {2 * PART + 1, 2 * PART},
    {2 * PART, PART},
    {12 * MIB, 12 * MIB},
    {12 * MIB, 3 * MIB},
    {20 * MIB, 777777},
};

START_TEST(bytes_arrive_whole)
{
    struct file f = create(service, UPLOAD_TUS, shapes[_i].size);
    ck_assert_int_eq(indexed_state(f.id), VIDEO_UPLOADING);
    send_all(service, &f, shapes[_i].piece);
    expect_finished(&f);
    ck_assert_uint_eq(look(service, &f), f.size);
}
END_TEST

START_TEST(every_offset_is_told)
{
    static const uint64_t pieces[] = {0, 100, 3 * MIB, 1, 4 * MIB, PART, 0, 2 * MIB};
    struct file f = create(service, UPLOAD_TUS, UPLOAD_BYTES_MAX);
    uint64_t at = 0;

    for (size_t i = 0; i < ARRAY_SIZE(pieces); i++) {
        patch(service, &f, at, pieces[i]);
        at += pieces[i];
        ck_assert_uint_eq(look(service, &f), at);
        UPLOAD_STATE_AUTO struct upload_state s = folded(&f);
        ck_assert_uint_eq(s.offset, at);
    }
}
END_TEST

START_TEST(looking_asks_redis_alone)
{
    struct file f = create(service, UPLOAD_TUS, MIB);

    patch(service, &f, 0, 1000);
    faulty_store_fail(test_store, 1, FAULT_AWAY_BEFORE);
    ck_assert_uint_eq(look(service, &f), 1000);
    faulty_store_fail(test_store, 0, FAULT_NONE);
    patch(service, &f, 1000, MIB - 1000);
    faulty_store_fail(test_store, 1, FAULT_AWAY_BEFORE);
    ck_assert_uint_eq(look(service, &f), MIB);
    faulty_store_fail(test_store, 0, FAULT_NONE);
}
END_TEST

START_TEST(the_next_request_costs_one_record)
{
    struct file f = create(service, UPLOAD_TUS, MIB);

    ck_assert_uint_eq(records(&f), 1);
    patch(service, &f, 0, 1000);
    ck_assert_uint_eq(records(&f), 3); /* that it is the writer, and the bytes */
    patch(service, &f, 1000, 1000);
    ck_assert_uint_eq(records(&f), 4);
    patch(service, &f, 2000, 0);
    ck_assert_uint_eq(records(&f), 4);
}
END_TEST

START_TEST(a_length_may_come_later)
{
    struct file f = create_deferred(service, 2 * MIB);

    patch(service, &f, 0, MIB);
    struct upload *u = begin_patch(service, &f);
    fails(ERR_INVALID, upload_declare(u, MIB - 1, &e));
    fails(ERR_TOO_LARGE, upload_declare(u, UPLOAD_BYTES_MAX + 1, &e));
    ok(upload_declare(u, 2 * MIB, &e));
    ok(upload_declare(u, 2 * MIB, &e));
    fails(ERR_INVALID, upload_declare(u, 3 * MIB, &e));
    ok(upload_pause(u, &e));
    upload_free(u);
    UPLOAD_STATE_AUTO struct upload_state s = folded(&f);
    ck_assert_uint_eq(s.length, 2 * MIB);
    u = begin_patch(service, &f);
    fails(ERR_INVALID, upload_declare(u, 3 * MIB, &e));
    fails(ERR_TOO_LARGE, upload_write(u, upload_bytes, MIB + 1, &e));
    upload_free(u);
    patch(service, &f, MIB, MIB);
    expect_finished(&f);
}
END_TEST

START_TEST(no_file_is_too_large)
{
    struct file f = create_deferred(service, UPLOAD_BYTES_MAX);
    struct upload *u = begin_patch(service, &f);

    ok(write_bytes(u, 0, UPLOAD_BYTES_MAX, &e));
    fails(ERR_TOO_LARGE, upload_write(u, upload_bytes, 1, &e));
    ok(upload_pause(u, &e));
    upload_free(u);
    ck_assert_uint_eq(look(service, &f), UPLOAD_BYTES_MAX);

    enum upload_refusal refusal;
    const struct upload_spec large = {.title = "", .description = "", .filename = "", .length = UPLOAD_BYTES_MAX + 1};
    ok(upload_new(service, UPLOAD_TUS, CLIENT, &u, &refusal, &e));
    fails(ERR_TOO_LARGE, upload_begin(u, &large, &e));
    upload_free(u);
    ck_assert_int_eq(redis_number("ZCARD", "{weir}:uploads", NULL), 1);
}
END_TEST

/* The first bytes come with the creation. */
START_TEST(bytes_may_come_with_the_creation)
{
    const struct upload_spec spec = {
        .title = "", .description = "", .filename = "", .length = 7 * MIB, .secret = SECRET};
    struct file f = {.size = 7 * MIB};
    struct upload *u = NULL;
    enum upload_refusal refusal;

    ok(upload_new(service, UPLOAD_TUS, CLIENT, &u, &refusal, &e));
    memcpy(f.id, upload_video_id(u), sizeof f.id);
    ok(upload_begin(u, &spec, &e));
    ok(write_bytes(u, 0, 6 * MIB, &e));
    ok(upload_pause(u, &e));
    ck_assert_uint_eq(upload_recorded(u)->offset, 6 * MIB);
    upload_free(u);
    ck_assert_uint_eq(counts().admitted, 0);
    patch(service, &f, 6 * MIB, MIB);
    expect_finished(&f);
}
END_TEST

START_TEST(what_is_not_recorded_is_forgotten)
{
    struct file f = create(service, UPLOAD_TUS, 20 * MIB);
    struct upload *u = begin_patch(service, &f);

    ok(write_bytes(u, 0, 3 * MIB, &e));
    upload_free(u);
    ck_assert_uint_eq(look(service, &f), 0);
    u = begin_patch(service, &f);
    ok(write_bytes(u, 0, 12 * MIB, &e));
    upload_free(u);
    uint64_t at = look(service, &f);
    ck_assert_uint_le(at, 10 * MIB);
    patch(service, &f, at, 20 * MIB - at);
    expect_finished(&f);
}
END_TEST

/* --- Refusals --- */

START_TEST(only_its_secret_opens_an_upload)
{
    struct file f = create(service, UPLOAD_TUS, MIB);
    UPLOAD_STATE_AUTO struct upload_state s = {0};

    fails(ERR_NOT_FOUND, upload_find(service, f.id, "0123456789abcdef0123456789abcdef", &s, &e));
    fails(ERR_NOT_FOUND, upload_find(service, f.id, "", &s, &e));
    fails(ERR_NOT_FOUND, upload_find(service, "v_01jd00000000000000000000zz", SECRET, &s, &e));
    fails(ERR_NOT_FOUND, upload_find(service, "nonsense", SECRET, &s, &e));
    redis_run("DEL", "{weir}:upload:x");
    ok(upload_find(service, f.id, SECRET, &s, &e));
    ck_assert_str_eq(s.facts.metadata, "filename Y2xpcC5tcDQ=");
}
END_TEST

START_TEST(a_form_is_opened_by_no_secret)
{
    const struct upload_spec spec = {.title = "", .description = "", .filename = "", .length = UPLOAD_LENGTH_UNKNOWN};
    UPLOAD_STATE_AUTO struct upload_state s = {0};
    struct upload *u = NULL;
    enum upload_refusal refusal;

    ok(upload_new(service, UPLOAD_FORM, CLIENT, &u, &refusal, &e));
    ok(upload_begin(u, &spec, &e));
    fails(ERR_NOT_FOUND, upload_find(service, upload_video_id(u), "", &s, &e));
    upload_free(u);
}
END_TEST

START_TEST(there_are_only_so_many)
{
    struct upload_options o = upload_test_options();
    struct upload *u = NULL;
    enum upload_refusal refusal;

    o.per_client = 2;
    o.in_all = 3;
    struct upload_service *strict = start_service(&o);
    create(strict, UPLOAD_TUS, 1);
    struct file f = create(strict, UPLOAD_TUS, 1);
    fails(ERR_BUSY, upload_new(strict, UPLOAD_TUS, CLIENT, &u, &refusal, &e));
    ck_assert_int_eq(refusal, UPLOAD_CLIENT_FULL);
    ok(upload_new(strict, UPLOAD_PARTIAL, "192.0.2.8", &u, &refusal, &e));
    struct upload *other = u;
    fails(ERR_BUSY, upload_new(strict, UPLOAD_TUS, "192.0.2.9", &u, &refusal, &e));
    ck_assert_int_eq(refusal, UPLOAD_TOTAL_FULL);
    upload_free(other); /* nothing came of it */
    patch(strict, &f, 0, 1);
    create(strict, UPLOAD_TUS, 1);
    ck_assert_uint_eq(counts().admitted, 0);
    upload_service_free(strict);
}
END_TEST

START_TEST(a_full_queue_takes_no_bytes_but_lets_finish)
{
    struct upload_options o = upload_test_options();
    UPLOAD_STATE_AUTO struct upload_state s = {0};
    struct file f = create(service, UPLOAD_TUS, 2 * MIB), full = create(service, UPLOAD_TUS, MIB);
    struct upload *u = NULL;
    enum upload_refusal refusal;

    u = begin_patch(service, &full);
    ok(write_bytes(u, 0, MIB, &e));
    ok(upload_pause(u, &e));
    upload_free(u);
    o.queue_max = 0;
    struct upload_service *strict = start_service(&o);
    ok(upload_find(strict, f.id, SECRET, &s, &e));
    fails(ERR_BUSY, upload_resume(strict, &s, CLIENT, &u, &refusal, &e));
    ck_assert_int_eq(refusal, UPLOAD_QUEUE_FULL);
    fails(ERR_BUSY, upload_new(strict, UPLOAD_TUS, CLIENT, &u, &refusal, &e));
    ck_assert_int_eq(refusal, UPLOAD_QUEUE_FULL);
    ck_assert_uint_eq(look(strict, &full), MIB);
    ck_assert_int_eq(indexed_state(full.id), VIDEO_WAITING);
    upload_service_free(strict);
}
END_TEST

START_TEST(what_has_expired_is_gone)
{
    struct upload_options o = upload_test_options();
    UPLOAD_STATE_AUTO struct upload_state s = {0};

    o.expiry_ms = 1000;
    struct upload_service *hasty = start_service(&o);
    struct file f = create(hasty, UPLOAD_TUS, MIB), done = create(hasty, UPLOAD_TUS, 1);
    send_all(hasty, &done, 1);
    clock_sleep_ms(1010);
    fails(ERR_STALE, upload_find(hasty, f.id, SECRET, &s, &e));
    ok(upload_find(hasty, done.id, SECRET, &s, &e)); /* a finished one does not expire */
    repair();
    expect_nothing(f.id);
    fails(ERR_STALE, upload_find(hasty, f.id, SECRET, &s, &e));
    upload_service_free(hasty);
}
END_TEST

START_TEST(what_is_deleted_is_gone)
{
    UPLOAD_STATE_AUTO struct upload_state s = {0}, done = {0};
    struct file f = create(service, UPLOAD_TUS, 12 * MIB);

    patch(service, &f, 0, 11 * MIB);
    ok(upload_find(service, f.id, SECRET, &s, &e));
    ok(upload_delete(service, &s, &e));
    expect_nothing(f.id);
    ck_assert_int_eq(redis_number("ZCARD", "{weir}:uploads", NULL), 0);
    fails(ERR_STALE, try_patch(service, &f, 11 * MIB, MIB, &e));
    fails(ERR_STALE, try_look(service, &f, &done, &e));

    f = create(service, UPLOAD_TUS, 1);
    ok(upload_find(service, f.id, SECRET, &done, &e));
    send_all(service, &f, 1);
    fails(ERR_CONFLICT, upload_delete(service, &done, &e));
    expect_finished(&f);
}
END_TEST

START_TEST(a_deletion_stops_a_writer)
{
    UPLOAD_STATE_AUTO struct upload_state s = {0};
    struct file f = create(service, UPLOAD_TUS, 20 * MIB);
    struct upload *u = begin_patch(service, &f);
    struct err why = {0};

    ok(write_bytes(u, 0, 6 * MIB, &e));
    ok(upload_find(service, f.id, SECRET, &s, &e));
    ok(upload_delete(service, &s, &e));
    int r = write_bytes(u, 6 * MIB, 8 * MIB, &why);
    if (r == 0)
        r = upload_pause(u, &why);
    ck_assert_int_eq(r, -ERR_STALE);
    upload_free(u);
    repair();
    expect_nothing(f.id);
}
END_TEST

/* --- What Redis knows is lost, or old --- */

START_TEST(without_a_cache_the_log_is_read)
{
    static const uint64_t at[] = {0, 1000, 3 * MIB, 11 * MIB};
    struct file f = create(service, UPLOAD_TUS, 12 * MIB);
    char key[64];

    if (at[_i] > 0)
        patch(service, &f, 0, at[_i]);
    str_format(key, sizeof key, "{weir}:upload:%s", f.id);
    redis_run("DEL", key);
    ck_assert_uint_eq(look(service, &f), at[_i]);
    redis_run("DEL", key);
    patch(service, &f, at[_i], 12 * MIB - at[_i]);
    expect_finished(&f);
    redis_run("DEL", key);
    ck_assert_uint_eq(look(service, &f), 12 * MIB);
    expect_finished(&f);
}
END_TEST

START_TEST(an_old_cache_costs_an_attempt)
{
    struct file f = create(service, UPLOAD_TUS, 12 * MIB);
    struct upload_options o = upload_test_options();
    UPLOAD_STATE_AUTO struct upload_state old = {0};
    char epoch[QUEUE_EPOCH_SIZE];

    ok(queue_epoch(test_queue, epoch, &e));
    patch(service, &f, 0, 1000);
    ok(upload_find(service, f.id, SECRET, &old, &e));
    patch(service, &f, 1000, 1000);
    ok(upload_cache_drop(test_queue, f.id, &e));
    ok(upload_cache_put(test_queue, &old, epoch, &e)); /* Redis has lost its last second */
    struct upload_service *other = start_service(&o);
    ck_assert_uint_eq(look(other, &f), 1000);
    fails(ERR_STALE, try_patch(other, &f, 1000, 1000, &e));
    ck_assert_uint_eq(look(other, &f), 2000);
    patch(other, &f, 2000, 12 * MIB - 2000);
    expect_finished(&f);
    upload_service_free(other);
}
END_TEST

START_TEST(an_upload_survives_the_loss_of_redis)
{
    struct file f = create(service, UPLOAD_TUS, 12 * MIB);
    UPLOAD_STATE_AUTO struct upload_state s = {0};

    patch(service, &f, 0, 6 * MIB);
    redis_run("FLUSHALL");
    fails(ERR_BUSY, try_look(service, &f, &s, &e));
    repair(); /* rebuilds, then looks at every video once more */
    ck_assert_int_eq(indexed_state(f.id), VIDEO_UPLOADING);
    ck_assert_int_eq(redis_number("ZCARD", "{weir}:uploads", NULL), 1);
    ck_assert_uint_eq(look(service, &f), 6 * MIB);
    patch(service, &f, 6 * MIB, 6 * MIB);
    expect_finished(&f);
    redis_run("FLUSHALL");
    repair();
    ck_assert_uint_eq(look(service, &f), 12 * MIB);
    expect_finished(&f);
}
END_TEST

START_TEST(a_body_goes_on_while_redis_is_lost)
{
    struct file f = create(service, UPLOAD_TUS, 20 * MIB);
    struct upload *u = begin_patch(service, &f);

    ok(write_bytes(u, 0, 6 * MIB, &e));
    redis_run("FLUSHALL");
    ok(write_bytes(u, 6 * MIB, 6 * MIB, &e));
    ok(upload_pause(u, &e));
    upload_free(u);
    repair();
    ck_assert_uint_eq(look(service, &f), 12 * MIB);
    patch(service, &f, 12 * MIB, 8 * MIB);
    expect_finished(&f);
}
END_TEST

/* --- Waiting for clients --- */

START_TEST(the_reconciler_leaves_those_who_wait)
{
    struct file f = create(service, UPLOAD_TUS, 12 * MIB), partial = create(service, UPLOAD_PARTIAL, MIB);
    struct file done = create(service, UPLOAD_PARTIAL, 2 * MIB);

    patch(service, &f, 0, 6 * MIB);
    send_all(service, &done, MIB);
    repair();
    repair();
    ck_assert_uint_eq(look(service, &f), 6 * MIB);
    ck_assert_uint_eq(look(service, &partial), 0);
    ck_assert_uint_eq(look(service, &done), 2 * MIB);
    expect_content(layout_partial(done.id).s, 2 * MIB);
    ck_assert_uint_eq(counts().open, 0);
    ck_assert_uint_eq(objects("raw", LAYOUT_VIDEOS), 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("upload_resume");
    TCase *t = tcase_create("upload_resume");

    tcase_add_unchecked_fixture(t, queue_server_up, queue_server_down);
    tcase_add_checked_fixture(t, upload_up, upload_down);
    tcase_set_timeout(t, 120);
    tcase_add_loop_test(t, bytes_arrive_whole, 0, (int)ARRAY_SIZE(shapes));
    tcase_add_test(t, every_offset_is_told);
    tcase_add_test(t, looking_asks_redis_alone);
    tcase_add_test(t, the_next_request_costs_one_record);
    tcase_add_test(t, a_length_may_come_later);
    tcase_add_test(t, no_file_is_too_large);
    tcase_add_test(t, bytes_may_come_with_the_creation);
    tcase_add_test(t, what_is_not_recorded_is_forgotten);
    tcase_add_test(t, only_its_secret_opens_an_upload);
    tcase_add_test(t, a_form_is_opened_by_no_secret);
    tcase_add_test(t, there_are_only_so_many);
    tcase_add_test(t, a_full_queue_takes_no_bytes_but_lets_finish);
    tcase_add_test(t, what_has_expired_is_gone);
    tcase_add_test(t, what_is_deleted_is_gone);
    tcase_add_test(t, a_deletion_stops_a_writer);
    tcase_add_loop_test(t, without_a_cache_the_log_is_read, 0, 4);
    tcase_add_test(t, an_old_cache_costs_an_attempt);
    tcase_add_test(t, an_upload_survives_the_loss_of_redis);
    tcase_add_test(t, a_body_goes_on_while_redis_is_lost);
    tcase_add_test(t, the_reconciler_leaves_those_who_wait);
    suite_add_tcase(suite, t);
    return run_suite(suite);
}
