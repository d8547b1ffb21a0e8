#include "../suite.h"
#include "upload_fixture.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "domain/layout.h"
#include "domain/outcome.h"
#include "domain/reconcile.h"
#include "domain/reconcile_video.h"
#include "domain/removal.h"
#include "domain/upload_log.h"
#include "domain/upload_session.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

/* How an upload ends when somebody else ends it, and how it ends at last when its client does not come back. */

#define SMALL 3000u
#define BIG (2 * PART + 1000)

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

static int finish(struct upload *u, struct err *e)
{
    struct queue_video v = {0};
    bool stored;

    int r = upload_finish(u, &v, &stored, e);
    queue_video_release(&v);
    return r;
}

/* What a HEAD does to a writer at work. */
static void record(struct upload *u)
{
    upload_table_want(u, UPLOAD_WANT_RECORD);
    ok(upload_attend(u, &e));
}

/* The reconciler looks at one to which nobody has a seat any more; everything is older than it need be. */
static struct reconcile_counts look_after(const char *id)
{
    const struct reconcile_scope scope = {
        .library = &test_library, .uploads = other, .abandoned_ms = 1, .abandoned = true};
    struct reconcile_counts counted = {0};
    struct err why = {0};

    clock_sleep_ms(3);
    int r = reconcile_video(&scope, id, &counted, &why);
    ck_assert_msg(r == 0, "%s", why.text);
    return counted;
}

/* --- Deleted elsewhere --- */

static const struct {
    uint64_t before, after; /* bytes that come before the deletion, and after it */
} bodies[] = {{0, 0}, {1000, 0}, {1000, 1000}, {6 * MIB, 0}, {6 * MIB, 1000}, {1000, 7 * MIB}};

/* Also when there is nothing left to be recorded, so that no record meets the end of the log. */
START_TEST(one_that_was_deleted_elsewhere_is_not_acknowledged)
{
    struct file f = create(service, UPLOAD_TUS, 12 * MIB);
    struct upload *u = begin_patch(service, &f);
    struct err why = {0};

    ok(write_bytes(u, 0, bodies[_i].before, &e));
    record(u);
    ok(removal_delete(&test_library, f.id, NULL, &e));
    int r = write_bytes(u, bodies[_i].before, bodies[_i].after, &why);
    if (r == 0)
        r = upload_pause(u, &why);
    ck_assert_int_eq(r, -ERR_STALE);
    upload_free(u);
    ck_assert_uint_eq(service->lingering_count, 0);
    expect_nothing(f.id);
}
END_TEST

/* --- Expired --- */

struct asking {
    struct upload_service *service;
    const struct file *file;
    bool gone;
};
static atomic_bool interrupted;
static _Thread_local bool finishes; /* and is no broom, which uses the store too */

static void ask(void *ctx)
{
    struct asking *it = ctx;
    UPLOAD_STATE_AUTO struct upload_state s = {0};
    struct err why = {0};

    atomic_store(&interrupted, true);
    if (!finishes)
        return;
    it->gone = upload_find(it->service, it->file->id, SECRET, &s, &why) == -ERR_STALE;
}

/* Whoever asks while it is finished: when he hears that it is gone, it is. */
START_TEST(one_that_was_said_to_have_expired_is_not_finished)
{
    struct upload_options o = upload_test_options();
    struct asking it = {.service = other};

    o.expiry_ms = 400;
    struct upload_service *hasty = start_service(&o);
    atomic_store(&interrupted, true);
    finishes = true;
    for (uint64_t nth = 1; atomic_load(&interrupted); nth++) {
        struct file f = create(hasty, UPLOAD_TUS, _i == 0 ? SMALL : BIG);
        struct upload *u = begin_patch(hasty, &f);
        struct err why = {0};
        it.file = &f;
        it.gone = false;
        atomic_store(&interrupted, false);
        ok(write_bytes(u, 0, f.size, &e));
        ok(upload_land(u, &e));
        clock_sleep_ms(410);
        faulty_store_interrupt(test_store, nth, ask, &it);
        int r = finish(u, &why);
        faulty_store_interrupt(test_store, 0, NULL, NULL);
        upload_free(u);
        ck_assert_msg((r == 0) == !it.gone, "%d: %s", (int)nth, r == 0 ? "finished" : why.text);
        if (r == 0)
            expect_finished(&f);
        ok(removal_delete(&test_library, f.id, NULL, &e));
        ok(removal_forget(&test_library, f.id, &e));
    }
    upload_service_free(hasty);
}
END_TEST

START_TEST(one_that_was_said_to_have_expired_is_not_paused)
{
    struct upload_options o = upload_test_options();
    UPLOAD_STATE_AUTO struct upload_state s = {0};

    o.expiry_ms = 400;
    struct upload_service *hasty = start_service(&o);
    struct file f = create(hasty, UPLOAD_TUS, BIG);
    struct upload *u = begin_patch(hasty, &f);
    ok(write_bytes(u, 0, 1000, &e));
    if (_i == 0)
        record(u);
    clock_sleep_ms(410);
    fails(ERR_STALE, upload_find(other, f.id, SECRET, &s, &e));
    fails(ERR_STALE, upload_pause(u, &e));
    upload_free(u);
    fails(ERR_STALE, upload_find(hasty, f.id, SECRET, &s, &e));
    repair();
    expect_nothing(f.id);
    upload_service_free(hasty);
}
END_TEST

/* --- All bytes, and nobody who asks --- */

static const struct {
    enum upload_origin origin;
    uint64_t size, first; /* bytes before those of the request that broke off */
} wholes[] = {
    {UPLOAD_TUS, SMALL, 0},      {UPLOAD_TUS, SMALL, 1000}, {UPLOAD_TUS, BIG, 0},
    {UPLOAD_TUS, BIG, 2 * PART}, {UPLOAD_PARTIAL, BIG, 0},
};

/* The client has sent everything and its line broke before the end of the body: all of it is recorded, nothing more. */
START_TEST(one_that_has_all_bytes_is_finished_without_its_client)
{
    struct file f = create(service, wholes[_i].origin, wholes[_i].size);

    if (wholes[_i].first > 0)
        patch(service, &f, 0, wholes[_i].first);
    struct upload *u = begin_patch(service, &f);
    ok(write_bytes(u, wholes[_i].first, f.size - wholes[_i].first, &e));
    record(u);
    size_t count = records(&f);
    look_after(f.id); /* its writer is there */
    ck_assert_uint_eq(records(&f), count);
    ok(upload_pause(u, &e));
    upload_free(u);
    UPLOAD_STATE_AUTO struct upload_state s = folded(&f);
    ck_assert_uint_eq(s.offset, f.size);
    ck_assert_int_eq(s.kind, UPLOAD_BYTES);

    ck_assert_uint_eq(look_after(f.id).completed, 1);
    UPLOAD_STATE_AUTO struct upload_state after = folded(&f);
    ck_assert_int_eq(after.kind, UPLOAD_COMPLETING);
    if (wholes[_i].origin == UPLOAD_PARTIAL)
        expect_content(layout_partial(f.id).s, f.size);
    else
        expect_finished(&f);
    look_after(f.id); /* once is enough */
    ck_assert_uint_eq(look(service, &f), f.size);
}
END_TEST

/* A crash between the record and the cache. */
START_TEST(one_whose_cache_is_behind_is_finished_too)
{
    struct file f = create(service, UPLOAD_TUS, SMALL);
    UPLOAD_STATE_AUTO struct upload_state old = {0};
    char epoch[QUEUE_EPOCH_SIZE];

    patch(service, &f, 0, 1000);
    old = folded(&f);
    struct upload *u = begin_patch(service, &f);
    ok(write_bytes(u, 1000, f.size - 1000, &e));
    record(u);
    ok(upload_pause(u, &e));
    upload_free(u);
    ok(queue_epoch(test_queue, epoch, &e));
    ok(upload_cache_drop(test_queue, f.id, &e));
    ok(upload_cache_put(test_queue, &old, epoch, &e));

    struct reconcile_scope scope = {.library = &test_library, .uploads = other, .abandoned_ms = 1};
    struct reconcile_counts counted = {0};
    clock_sleep_ms(3);
    ok(reconcile_video(&scope, f.id, &counted, &e));
    ck_assert_uint_eq(counted.completed, 1);
    expect_finished(&f);
}
END_TEST

/* Nobody was told of it: its client makes another one. */
START_TEST(one_that_is_to_be_empty_waits_for_its_client)
{
    struct file f = create(service, UPLOAD_TUS, 0);
    size_t count = records(&f);

    ck_assert_uint_eq(look_after(f.id).completed, 0);
    ck_assert_uint_eq(records(&f), count);
}
END_TEST

/* --- A store that refuses what it has confirmed --- */

/* It may be mended; until then all others must not wait for it. */
START_TEST(an_upload_whose_parts_are_refused_stops_no_pass)
{
    const struct reconcile_options options = {.library = &test_library, .videos_per_second = 1000000};
    struct file f = create(service, UPLOAD_TUS, 2 * PART), next = create(service, UPLOAD_TUS, SMALL);
    UPLOAD_STATE_AUTO struct upload_state s = {0};
    struct upload_record completing = {.kind = UPLOAD_COMPLETING};
    struct reconcile_counts counted = {0};
    char epoch[QUEUE_EPOCH_SIZE] = "";
    struct reconciler *r = NULL;
    size_t head;

    struct upload *u = begin_patch(service, &f);
    ok(write_bytes(u, 0, f.size, &e));
    ok(upload_pause(u, &e));
    upload_free(u);
    send_all(service, &next, SMALL);
    s = folded(&f);
    completing.length = completing.offset = completing.in_parts = f.size;
    completing.reserved = s.reserved;
    memcpy(completing.writer, s.writer, sizeof completing.writer);
    memcpy(completing.upload_id, s.upload_id, sizeof completing.upload_id);
    completing.parts = s.parts;
    completing.part_count = s.part_count;
    completing.parts[0].etag[1] ^= 1; /* it says that it has another one */
    ok(upload_log_append(test_store, "raw", f.id, s.seq + 1, &completing, NULL, &head, &e));

    redis_run("FLUSHALL");
    ok(reconcile_new(&options, &r, &e));
    ok(reconcile_once(r, false, &counted, &e));
    reconcile_free(r);
    ck_assert_uint_ge(counted.failed, 1);
    ok(queue_epoch(test_queue, epoch, &e));
    ck_assert_str_ne(epoch, "");
    ck_assert_int_eq(indexed_state(next.id), VIDEO_WAITING);
    ck_assert_uint_ge(open_multiparts(), 1); /* nothing is thrown away */
    ck_assert_int_eq(indexed_state(f.id), VIDEO_UPLOADING);
}
END_TEST

/* --- A form that is taken for dead while it is not --- */

struct form {
    struct upload *upload;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool held, goes, ended;
    int result;
};

static void set(struct form *f, bool *what)
{
    pthread_mutex_lock(&f->lock);
    *what = true;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
}

static void wait_for(struct form *f, const bool *one, const bool *or_another)
{
    pthread_mutex_lock(&f->lock);
    while (!*one && !*or_another)
        pthread_cond_wait(&f->changed, &f->lock);
    pthread_mutex_unlock(&f->lock);
}

/* The process of the form freezes, … */
static void freeze(void *ctx)
{
    struct form *f = ctx;

    set(f, &f->held);
    wait_for(f, &f->goes, &f->goes);
}

/* … and wakes when the reconciler freezes, until it has told its client. */
static void wake(void *ctx)
{
    struct form *f = ctx;

    set(f, &f->goes);
    wait_for(f, &f->ended, &f->ended);
}

static void *finish_form(void *ctx)
{
    struct form *f = ctx;
    struct err why = {0};

    f->result = finish(f->upload, &why);
    set(f, &f->ended);
    return NULL;
}

static struct upload *send_form(void)
{
    const struct upload_spec spec = {.title = "", .description = "", .filename = "", .length = UPLOAD_LENGTH_UNKNOWN};
    struct upload *u = NULL;
    enum upload_refusal refusal;

    ok(upload_new(service, UPLOAD_FORM, CLIENT, &u, &refusal, &e));
    ok(upload_begin(u, &spec, &e));
    ok(write_bytes(u, 0, SMALL, &e));
    return u;
}

static bool is_whole(const char *id)
{
    if (object_exists("raw", layout_deleted(id).s) || !object_exists("raw", layout_source(id).s))
        return false;
    expect_content(layout_source(id).s, SMALL);
    ck_assert_int_eq(indexed_state(id), VIDEO_WAITING);
    return true;
}

/* False: the form did not reach that call. *ret_woken: the reconciler did. */
static bool freezes_both(uint64_t nth_of_form, uint64_t nth_of_reconciler, bool *ret_woken)
{
    struct form f = {.upload = send_form(), .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    char id[ID_VIDEO_SIZE];

    memcpy(id, upload_video_id(f.upload), sizeof id);
    faulty_store_interrupt(test_store, nth_of_form, freeze, &f);
    ck_assert_int_eq(pthread_create(&f.thread, NULL, finish_form, &f), 0);
    wait_for(&f, &f.held, &f.ended);
    bool held = f.held;
    if (held) {
        ok(queue_admit_drop(test_queue, id, &e)); /* nobody has renewed it */
        faulty_store_interrupt(test_store, nth_of_reconciler, wake, &f);
        look_after(id);
    }
    faulty_store_interrupt(test_store, 0, NULL, NULL);
    *ret_woken = f.ended;
    set(&f, &f.goes);
    pthread_join(f.thread, NULL);
    upload_free(f.upload);
    if (f.result == 0)
        ck_assert_msg(is_whole(id), "lost: the form at %d, the reconciler at %d", (int)nth_of_form,
                      (int)nth_of_reconciler);
    look_after(id);
    if (f.result == 0 || !object_exists("raw", layout_deleted(id).s))
        ck_assert(is_whole(id));
    else
        ck_assert(!object_exists("raw", layout_source(id).s));
    ok(removal_delete(&test_library, id, NULL, &e));
    ok(removal_forget(&test_library, id, &e));
    return held;
}

/* At any two calls of theirs to the store. */
START_TEST(a_form_that_freezes_while_the_reconciler_does_is_whole_or_refused)
{
    bool held = true, woken;

    for (uint64_t form = 1; held; form++) {
        woken = true;
        for (uint64_t reconciler = 1; held && woken; reconciler++)
            held = freezes_both(form, reconciler, &woken);
    }
}
END_TEST

static void finish_and_close(void *ctx)
{
    UPLOAD_RECORD_AUTO struct upload_record before = {0};
    struct form *f = ctx;
    struct err why = {0};

    f->result = finish(f->upload, &why);
    f->ended = true;
    ok(upload_log_close(test_store, "raw", upload_video_id(f->upload), false, &before, &why));
    clock_sleep_ms(3);
}

/* Another replica took it for dead just when it was finished: the closed log of a video that is there says nothing. */
START_TEST(one_that_was_closed_after_its_end_stays)
{
    bool happened = true;

    for (uint64_t nth = 1; happened; nth++) {
        struct form f = {.upload = send_form()};
        char id[ID_VIDEO_SIZE];
        memcpy(id, upload_video_id(f.upload), sizeof id);
        ok(queue_admit_drop(test_queue, id, &e));
        faulty_store_interrupt(test_store, nth, finish_and_close, &f);
        look_after(id);
        faulty_store_interrupt(test_store, 0, NULL, NULL);
        happened = f.ended;
        upload_free(f.upload);
        if (happened && f.result == 0)
            ck_assert_msg(is_whole(id), "lost at %d", (int)nth);
        ok(removal_delete(&test_library, id, NULL, &e));
        ok(removal_forget(&test_library, id, &e));
    }
}
END_TEST

/* --- Places --- */

/* A creation whose first bytes the store did not take, and which could not be deleted either. */
START_TEST(what_could_not_be_deleted_takes_no_place)
{
    struct file f = create(service, UPLOAD_TUS, SMALL);
    UPLOAD_STATE_AUTO struct upload_state s = {0};

    ck_assert_int_eq(redis_number("ZCARD", "{weir}:uploads", NULL), 1);
    faulty_store_fail(test_store, 1, FAULT_AWAY_BEFORE);
    fails(ERR_TEMPORARY, try_patch(service, &f, 0, 1000, &e));
    ok(upload_find(service, f.id, SECRET, &s, &e));
    fails(ERR_TEMPORARY, upload_delete(service, &s, &e));
    faulty_store_fail(test_store, 0, FAULT_NONE);
    ck_assert_int_eq(redis_number("ZCARD", "{weir}:uploads", NULL), 0);
    ck_assert_int_eq(redis_number("ZCARD", "{weir}:uploads:" CLIENT, NULL), 0);
    look_after(f.id); /* does not count it again */
    ck_assert_int_eq(redis_number("ZCARD", "{weir}:uploads", NULL), 0);
    patch(service, &f, 0, 1000); /* who goes on with it all the same does */
    ck_assert_int_eq(redis_number("ZCARD", "{weir}:uploads", NULL), 1);
    patch(service, &f, 1000, SMALL - 1000);
    expect_finished(&f);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("upload_ends");
    TCase *t = tcase_create("upload_ends");

    tcase_add_unchecked_fixture(t, queue_server_up, queue_server_down);
    tcase_add_checked_fixture(t, up, down);
    tcase_set_timeout(t, 120);
    tcase_add_loop_test(t, one_that_was_deleted_elsewhere_is_not_acknowledged, 0, (int)ARRAY_SIZE(bodies));
    tcase_add_loop_test(t, one_that_was_said_to_have_expired_is_not_finished, 0, 2);
    tcase_add_loop_test(t, one_that_was_said_to_have_expired_is_not_paused, 0, 2);
    tcase_add_loop_test(t, one_that_has_all_bytes_is_finished_without_its_client, 0, (int)ARRAY_SIZE(wholes));
    tcase_add_test(t, one_whose_cache_is_behind_is_finished_too);
    tcase_add_test(t, one_that_is_to_be_empty_waits_for_its_client);
    tcase_add_test(t, an_upload_whose_parts_are_refused_stops_no_pass);
    tcase_add_test(t, a_form_that_freezes_while_the_reconciler_does_is_whole_or_refused);
    tcase_add_test(t, one_that_was_closed_after_its_end_stays);
    tcase_add_test(t, what_could_not_be_deleted_takes_no_place);
    suite_add_tcase(suite, t);
    return run_suite(suite);
}
