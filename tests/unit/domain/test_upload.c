#include "domain/upload.h"

#include "../suite.h"
#include "library_fixture.h"

#include "base/clock.h"
#include "base/mem.h"
#include "domain/layout.h"
#include "domain/reconcile.h"
#include "domain/removal.h"
#include "domain/upload_log.h"

#include <string.h>

#define MIB (1024u * 1024)
#define PART (5 * MIB) /* the smallest that S3 takes */
#define BIG (12 * MIB) /* three parts */
#define SMALL 1000u

static struct upload_service *service;
static unsigned char *bytes; /* BIG of them */

static struct upload_options options(void)
{
    return (struct upload_options){
        .library = &test_library,
        .max_size = BIG,
        .memory = 4 * PART,
        .part_size = PART,
        .part_most = PART, /* so that there are three parts whatever the pace */
        .queue_max = 10,
        .per_client = 3,
        .in_all = 100,
        .expiry_ms = 3600000,
        .creations_per_minute = 1000000,
        .record_every_ms = 1,
    };
}

static void up(void)
{
    struct upload_options o = options();

    library_up();
    ok(upload_service_new(&o, &service, &e));
    bytes = mem_alloc(BIG);
    for (size_t i = 0; i < BIG; i++)
        bytes[i] = (unsigned char)(i * 31 + i / 4099);
}

static void down(void)
{
    upload_service_free(service);
    mem_free(bytes);
    library_down();
}

static const struct upload_spec plain = {
    .title = "Title", .description = "Description", .filename = "clip.mp4", .length = UPLOAD_LENGTH_UNKNOWN};

/* Waits for what is cleared away in the background. */
static void settle(void)
{
    struct upload_options o = options();

    upload_service_free(service);
    ok(upload_service_new(&o, &service, &e));
}

static struct upload *new_upload(void)
{
    struct upload *u = NULL;
    enum upload_refusal refusal;

    ok(upload_new(service, UPLOAD_FORM, "192.0.2.7", &u, &refusal, &e));
    return u;
}

static int write_in_pieces(struct upload *u, size_t size, struct err *e)
{
    int r = 0;

    for (size_t at = 0, n; r == 0 && at < size; at += n) {
        n = size - at < 77777 ? size - at : 77777;
        r = upload_write(u, bytes + at, n, e);
    }
    return r;
}

/* All steps but the end. */
static int run_upload(struct upload *u, size_t size, bool *ret_stored, struct err *e)
{
    struct queue_video v = {0};

    int r = upload_begin(u, &plain, e);
    if (r == 0)
        r = write_in_pieces(u, size, e);
    if (r == 0)
        r = upload_finish(u, &v, ret_stored, e);
    queue_video_release(&v);
    return r;
}

static void expect_source(const char *id, size_t size)
{
    MEM_AUTO char *source = object_text("raw", layout_source(id).s);

    ck_assert_ptr_nonnull(source);
    ck_assert_int_eq(memcmp(source, bytes, size), 0);
}

static enum video_state indexed_state(const char *id)
{
    struct queue_video v = {0};

    ok(queue_video_get(test_queue, id, &v, &e));
    enum video_state state = v.state;
    queue_video_release(&v);
    return state;
}

static void expect_nothing_left(const char *id)
{
    struct queue_video v = {0};
    UPLOAD_RECORD_AUTO struct upload_record newest = {.kind = UPLOAD_CLOSED};
    struct err e = {0};
    uint64_t seq;

    ck_assert(!object_exists("raw", layout_record(id).s));
    ck_assert(!object_exists("raw", layout_source(id).s));
    ck_assert_int_eq(queue_video_get(test_queue, id, &v, &e), -ERR_NOT_FOUND);
    int r = upload_log_newest(test_store, "raw", id, &newest, &seq, &e);
    ck_assert(r == 0 || r == -ERR_NOT_FOUND);
    ck_assert_int_eq(newest.kind, UPLOAD_CLOSED);
}

static void repair(void)
{
    const struct reconcile_options now = {.library = &test_library, .videos_per_second = 1000000, .abandoned_ms = 1};
    struct reconcile_counts counts = {0};
    struct reconciler *r = NULL;

    clock_sleep_ms(5); /* so that every record is older than abandoned_ms */
    ok(reconcile_new(&now, &r, &e));
    ok(reconcile_once(r, false, &counts, &e));
    ck_assert_uint_eq(counts.failed, 0);
    reconcile_free(r);
}

/* Accepted means there for good; not accepted means whole or not at all. */
static void expect_all_or_nothing(const char *id, size_t size, bool accepted)
{
    if (accepted || object_exists("raw", layout_source(id).s)) {
        expect_source(id, size);
        ck_assert_int_eq(indexed_state(id), VIDEO_WAITING);
        ck_assert_uint_eq(counts().waiting, 1);
    } else {
        expect_nothing_left(id);
        ck_assert_uint_eq(counts().open, 0);
    }
}

/* --- What goes well --- */

static const size_t sizes[] = {1, SMALL, PART - 1, PART, PART + 1, 2 * PART, BIG};

START_TEST(bytes_arrive_whole)
{
    struct upload *u = new_upload();
    char id[ID_VIDEO_SIZE];
    struct queue_video v = {0};
    bool stored = false;

    memcpy(id, upload_video_id(u), sizeof id);
    ok(upload_begin(u, &plain, &e));
    ck_assert_int_eq(indexed_state(id), VIDEO_UPLOADING);
    ok(write_in_pieces(u, sizes[_i], &e));
    ok(upload_finish(u, &v, &stored, &e));
    upload_free(u);
    ck_assert(stored);
    ck_assert_str_eq(v.id, id);
    ck_assert_uint_eq(v.size_bytes, sizes[_i]);
    queue_video_release(&v);

    expect_source(id, sizes[_i]);
    ck_assert_int_eq(indexed_state(id), VIDEO_WAITING);
    ck_assert_uint_eq(counts().waiting, 1);
    ck_assert_uint_eq(counts().admitted, 0);
    ck_assert_uint_eq(open_multiparts(), 0);
    ck_assert_int_eq(redis_number("ZCARD", "{weir}:finishing", NULL), 0);
}
END_TEST

START_TEST(parts_grow_while_there_is_memory)
{
    struct upload_options o = options();
    struct upload *u = NULL;
    enum upload_refusal refusal;
    UPLOAD_RECORD_AUTO struct upload_record newest = {0};
    char id[ID_VIDEO_SIZE];
    uint64_t seq;
    bool stored;

    upload_service_free(service);
    o.part_most = 0;
    o.memory = 8 * PART;
    ok(upload_service_new(&o, &service, &e));
    ok(upload_new(service, UPLOAD_FORM, "192.0.2.7", &u, &refusal, &e));
    memcpy(id, upload_video_id(u), sizeof id);
    ok(run_upload(u, BIG, &stored, &e));
    upload_free(u);
    expect_source(id, BIG);
    ok(upload_log_newest(test_store, "raw", id, &newest, &seq, &e));
    ck_assert_uint_eq(newest.part_count, 2);
    ck_assert_uint_eq(newest.parts[0].size_bytes, PART);
    ck_assert_uint_eq(newest.parts[1].size_bytes, BIG - PART); /* within twice as much */
}
END_TEST

START_TEST(a_reservation_lives_as_long_as_its_upload)
{
    struct upload *u = new_upload();
    bool taken = false;

    ok(upload_seat_taken(&test_library, upload_video_id(u), &taken, &e));
    ck_assert(taken);
    redis_run("DEL", "{weir}:admitted"); /* Redis has lost it */
    upload_service_tick(service);
    ok(upload_seat_taken(&test_library, upload_video_id(u), &taken, &e));
    ck_assert(taken);
    upload_free(u);
    ck_assert_uint_eq(counts().admitted, 0);
}
END_TEST

/* --- Refusals --- */

static enum upload_refusal refusal_of(struct upload_service *s, const char *client)
{
    struct upload *u = NULL;
    enum upload_refusal refusal;

    fails(ERR_BUSY, upload_new(s, UPLOAD_FORM, client, &u, &refusal, &e));
    ck_assert_ptr_null(u);
    return refusal;
}

START_TEST(a_full_queue_refuses)
{
    struct upload_options o = options();
    struct upload_service *small = NULL;

    o.queue_max = 1;
    ok(upload_service_new(&o, &small, &e));
    struct upload *u = new_upload();
    ck_assert_int_eq(refusal_of(small, "192.0.2.8"), UPLOAD_QUEUE_FULL);
    upload_free(u);
    redis_run("DEL", "{weir}:epoch");
    ck_assert_int_eq(refusal_of(small, "192.0.2.8"), UPLOAD_REBUILDING);
    redis_run("SET", "{weir}:epoch", "x");
    upload_service_free(small);
}
END_TEST

START_TEST(a_storm_asks_a_full_queue_now_and_then_only)
{
    struct upload_options o = options();
    struct upload_service *full = NULL;

    o.queue_max = 0;
    ok(upload_service_new(&o, &full, &e));
    while (atomic_load(&full->full_until_ms) == 0) /* two refusals shortly one after the other */
        ck_assert_int_eq(refusal_of(full, "192.0.2.8"), UPLOAD_QUEUE_FULL);
    redis_run("DEL", "{weir}:epoch");
    while (refusal_of(full, "192.0.2.8") == UPLOAD_QUEUE_FULL) /* soon it asks again */
        clock_sleep_ms(1);
    redis_run("SET", "{weir}:epoch", "x");
    upload_service_free(full);
}
END_TEST

START_TEST(a_client_has_only_so_many)
{
    struct upload_options o = options();
    struct upload_service *limited = NULL;
    struct upload *u[3];

    for (size_t i = 0; i < 3; i++)
        u[i] = new_upload();
    ck_assert_int_eq(refusal_of(service, "192.0.2.7"), UPLOAD_CLIENT_FULL);
    for (size_t i = 0; i < 3; i++)
        upload_free(u[i]);
    upload_free(new_upload());

    o.creations_per_minute = 0;
    ok(upload_service_new(&o, &limited, &e));
    ck_assert_int_eq(refusal_of(limited, "192.0.2.8"), UPLOAD_CLIENT_RATE);
    upload_service_free(limited);
}
END_TEST

START_TEST(too_much_is_refused_and_taken_back)
{
    struct upload *u = new_upload();
    char id[ID_VIDEO_SIZE];

    memcpy(id, upload_video_id(u), sizeof id);
    ok(upload_begin(u, &plain, &e));
    ok(write_in_pieces(u, BIG, &e));
    fails(ERR_TOO_LARGE, upload_write(u, bytes, 1, &e));
    upload_free(u);
    expect_nothing_left(id);
    ck_assert_uint_eq(open_multiparts(), 0);
}
END_TEST

START_TEST(an_upload_that_ends_early_leaves_nothing)
{
    static const size_t read[] = {0, SMALL, PART + 1, BIG};
    struct upload *u = new_upload();
    char id[ID_VIDEO_SIZE];

    memcpy(id, upload_video_id(u), sizeof id);
    ok(upload_begin(u, &plain, &e));
    ok(write_in_pieces(u, read[_i], &e));
    upload_free(u);
    expect_nothing_left(id);
    ck_assert_uint_eq(open_multiparts(), 0);
    ck_assert_uint_eq(counts().admitted, 0);
}
END_TEST

START_TEST(nothing_is_stored_before_the_first_byte)
{
    upload_free(new_upload());
    ck_assert_uint_eq(objects("raw", ""), 0);
}
END_TEST

/* --- Somebody else --- */

static char deleted_id[ID_VIDEO_SIZE];

static void delete_now(void *deleted)
{
    ok(removal_delete(&test_library, deleted_id, deleted, &e));
}

static void expect_deleted(void)
{
    expect_nothing_left(deleted_id);
    repair();
    expect_nothing_left(deleted_id);
    ck_assert_uint_eq(open_multiparts(), 0);
    ck_assert_uint_eq(counts().open, 0);
}

static const size_t written[] = {0, SMALL, PART + 1};

START_TEST(a_video_deleted_between_its_bytes_stays_deleted)
{
    struct upload *u = new_upload();
    struct err why = {0};
    struct queue_video v = {0};
    bool stored;

    memcpy(deleted_id, upload_video_id(u), sizeof deleted_id);
    ok(upload_begin(u, &plain, &e));
    ok(write_in_pieces(u, written[_i], &e));
    delete_now(NULL);
    int r = write_in_pieces(u, PART, &why);
    if (r == 0)
        r = upload_finish(u, &v, &stored, &why);
    ck_assert(r == -ERR_STALE || r == -ERR_NOT_FOUND);
    upload_free(u);
    expect_deleted();
}
END_TEST

static const size_t finished[] = {SMALL, BIG};

/* Before each of its calls, from the last bytes to the job. */
START_TEST(a_video_deleted_while_it_is_finished_stays_deleted)
{
    bool deleted = true;

    for (uint64_t nth = 1; deleted; nth++) {
        struct upload *u = new_upload();
        struct err why = {0};
        struct queue_video v = {0};
        bool stored;

        deleted = false;
        memcpy(deleted_id, upload_video_id(u), sizeof deleted_id);
        ok(upload_begin(u, &plain, &e));
        ok(write_in_pieces(u, finished[_i], &e));
        faulty_store_interrupt(test_store, nth, delete_now, &deleted);
        int r = upload_finish(u, &v, &stored, &why);
        upload_free(u);
        settle();
        ck_assert(deleted || r == 0); /* it may be deleted right after its end */
        if (deleted)
            expect_deleted();
        queue_video_release(&v);
    }
}
END_TEST

static void repair_now(void *repaired)
{
    repair();
    *(bool *)repaired = true;
}

/* Another replica completes it at the same time: one object, one job, and the client is told. */
START_TEST(the_reconciler_may_be_faster)
{
    bool repaired = true;

    for (uint64_t nth = 1; repaired; nth++) {
        struct upload *u = new_upload();
        char id[ID_VIDEO_SIZE];
        bool stored = false;

        repaired = false;
        memcpy(id, upload_video_id(u), sizeof id);
        faulty_store_interrupt(test_store, nth, repair_now, &repaired);
        ok(run_upload(u, finished[_i], &stored, &e));
        upload_free(u);
        settle();
        faulty_store_interrupt(test_store, 0, NULL, NULL);
        expect_all_or_nothing(id, finished[_i], true);
        repair();
        expect_all_or_nothing(id, finished[_i], true);
        ok(removal_delete(&test_library, id, NULL, &e));
    }
}
END_TEST

START_TEST(a_writer_that_was_given_up_stops)
{
    struct upload *u = new_upload();
    UPLOAD_RECORD_AUTO struct upload_record before = {0};
    struct queue_video v = {0};
    bool stored;

    ok(upload_begin(u, &plain, &e));
    ok(write_in_pieces(u, SMALL, &e));
    ok(upload_log_close(test_store, "raw", upload_video_id(u), true, &before, &e));
    ck_assert_int_eq(before.kind, UPLOAD_CREATED);
    fails(ERR_STALE, upload_finish(u, &v, &stored, &e));
    ck_assert(!object_exists("raw", layout_source(upload_video_id(u)).s));
    upload_free(u);
}
END_TEST

/* --- Every call of the store fails once, in every way --- */

static const struct {
    size_t size;
    enum fault fault;
} faults[] = {
    {SMALL, FAULT_BEFORE}, {SMALL, FAULT_AFTER}, {SMALL, FAULT_AWAY_BEFORE}, {SMALL, FAULT_AWAY_AFTER},
    {BIG, FAULT_BEFORE},   {BIG, FAULT_AFTER},   {BIG, FAULT_AWAY_BEFORE},   {BIG, FAULT_AWAY_AFTER},
};

START_TEST(a_store_that_fails_loses_nothing_and_leaves_nothing)
{
    for (uint64_t nth = 1;; nth++) {
        struct upload *u = new_upload();
        char id[ID_VIDEO_SIZE];
        struct err why = {0};
        bool stored = false;

        memcpy(id, upload_video_id(u), sizeof id);
        faulty_store_fail(test_store, nth, faults[_i].fault);
        int r = run_upload(u, faults[_i].size, &stored, &why);
        upload_free(u);
        bool reached = faulty_store_calls(test_store) >= nth;
        faulty_store_fail(test_store, 0, FAULT_NONE);
        if (r == 0)
            ck_assert_int_eq(indexed_state(id), VIDEO_WAITING);
        repair();
        expect_all_or_nothing(id, faults[_i].size, r == 0);
        ok(removal_delete(&test_library, id, NULL, &e));
        if (!reached)
            break;
    }
}
END_TEST

/* --- Redis away at the end: not told done, and done later --- */

START_TEST(without_redis_the_bytes_are_safe_and_the_job_comes_later)
{
    struct upload *u = new_upload();
    struct queue_video v = {0};
    bool stored = false;
    char id[ID_VIDEO_SIZE];

    memcpy(id, upload_video_id(u), sizeof id);
    ok(upload_begin(u, &plain, &e));
    ok(write_in_pieces(u, BIG, &e));
    redis_server_freeze(&queue_server);
    fails(ERR_TEMPORARY, upload_finish(u, &v, &stored, &e));
    ck_assert(stored);
    redis_server_thaw(&queue_server);
    upload_free(u);
    /* a frozen Redis may have carried out what nobody heard an answer to: that is as good */
    repair();
    expect_all_or_nothing(id, BIG, true);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("upload");
    TCase *t = tcase_create("upload");

    tcase_add_unchecked_fixture(t, queue_server_up, queue_server_down);
    tcase_add_checked_fixture(t, up, down);
    tcase_set_timeout(t, 120);
    tcase_add_loop_test(t, bytes_arrive_whole, 0, (int)ARRAY_SIZE(sizes));
    tcase_add_test(t, parts_grow_while_there_is_memory);
    tcase_add_test(t, a_reservation_lives_as_long_as_its_upload);
    tcase_add_test(t, a_full_queue_refuses);
    tcase_add_test(t, a_storm_asks_a_full_queue_now_and_then_only);
    tcase_add_test(t, a_client_has_only_so_many);
    tcase_add_test(t, too_much_is_refused_and_taken_back);
    tcase_add_loop_test(t, an_upload_that_ends_early_leaves_nothing, 0, 4);
    tcase_add_test(t, nothing_is_stored_before_the_first_byte);
    tcase_add_loop_test(t, a_video_deleted_between_its_bytes_stays_deleted, 0, (int)ARRAY_SIZE(written));
    tcase_add_loop_test(t, a_video_deleted_while_it_is_finished_stays_deleted, 0, (int)ARRAY_SIZE(finished));
    tcase_add_loop_test(t, the_reconciler_may_be_faster, 0, (int)ARRAY_SIZE(finished));
    tcase_add_test(t, a_writer_that_was_given_up_stops);
    tcase_add_loop_test(t, a_store_that_fails_loses_nothing_and_leaves_nothing, 0, (int)ARRAY_SIZE(faults));
    tcase_add_test(t, without_redis_the_bytes_are_safe_and_the_job_comes_later);
    suite_add_tcase(suite, t);
    return run_suite(suite);
}
