#include "../suite.h"
#include "upload_fixture.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "domain/layout.h"
#include "domain/removal.h"

#include <string.h>

#define KIB 1024u
#define MOST 6

static const struct upload_spec final_spec = {.title = "Title",
                                              .description = "",
                                              .filename = "clip.mp4",
                                              .length = UPLOAD_LENGTH_UNKNOWN,
                                              .secret = SECRET,
                                              .concat = "final;/a /b"};

static const uint64_t shapes[][MOST] = {
    {1000, 2000},
    {0, 1000, 0},
    {0, 0},
    {6 * MIB, 6 * MIB},
    {PART, PART, PART},
    {1000, 12 * MIB, 1000},
    {12 * MIB, 1000},
    {PART - 1, PART - 1, 10 * MIB},
    {3 * MIB, 3 * MIB, 3 * MIB, 1},
    {6 * MIB, 1, 6 * MIB, 2 * MIB, 6 * MIB},
};

struct concat {
    struct file partial[MOST];
    size_t count;
    struct file whole;
};

/* Partial uploads, finished; the bytes of each follow those of the one before. */
static struct concat make_partials(struct upload_service *s, const uint64_t *sizes)
{
    struct concat c = {0};

    for (size_t n = MOST; n > 0 && c.count == 0; n--)
        if (sizes[n - 1] > 0 || n == 2)
            c.count = n;
    for (size_t i = 0; i < c.count; i++) {
        unsigned char *all = upload_bytes;
        c.partial[i] = create(s, UPLOAD_PARTIAL, sizes[i]);
        upload_bytes += c.whole.size;
        send_all(s, &c.partial[i], 4 * MIB);
        upload_bytes = all;
        c.whole.size += sizes[i];
    }
    return c;
}

static struct upload *new_final(struct upload_service *s)
{
    struct upload *u = NULL;
    enum upload_refusal refusal;

    ok(upload_new(s, UPLOAD_TUS, CLIENT, &u, &refusal, &e));
    return u;
}

static int try_concat(struct upload_service *s, struct concat *c, struct err *e)
{
    struct upload *u = new_final(s);
    struct queue_video v = {0};
    bool stored;

    memcpy(c->whole.id, upload_video_id(u), sizeof c->whole.id);
    int r = upload_begin(u, &final_spec, e);
    for (size_t i = 0; r == 0 && i < c->count; i++) {
        UPLOAD_STATE_AUTO struct upload_state partial = {0};
        r = upload_find(s, c->partial[i].id, SECRET, &partial, e);
        if (r == 0)
            r = upload_append_partial(u, &partial, e);
    }
    if (r == 0)
        r = upload_finish(u, &v, &stored, e);
    queue_video_release(&v);
    upload_free(u);
    return r;
}

static void expect_partials_gone(const struct concat *c)
{
    uint64_t deadline_ms = clock_mono_ms() + 10000;

    for (size_t i = 0; i < c->count; i++) {
        UPLOAD_STATE_AUTO struct upload_state s = {0};
        while (object_exists("raw", layout_partial(c->partial[i].id).s) && clock_mono_ms() < deadline_ms)
            clock_sleep_ms(2);
        expect_nothing(c->partial[i].id);
        fails(ERR_STALE, upload_find(service, c->partial[i].id, SECRET, &s, &e));
    }
}

START_TEST(a_partial_upload_is_no_video)
{
    struct concat c = make_partials(service, shapes[3]);
    struct queue_video v = {0};

    ck_assert_uint_eq(counts().open, 0);
    ck_assert_uint_eq(objects("raw", LAYOUT_VIDEOS), 0);
    fails(ERR_NOT_FOUND, queue_video_get(test_queue, c.partial[0].id, &v, &e));
    expect_content(layout_partial(c.partial[0].id).s, 6 * MIB);
    ck_assert_uint_eq(look(service, &c.partial[1]), 6 * MIB);
    ck_assert_int_eq(redis_number("ZCARD", "{weir}:finishing", NULL), 0);
    ck_assert_int_eq(redis_number("ZCARD", "{weir}:uploads", NULL), 2);
}
END_TEST

/* What opens the partial uploads is neither stored nor told; whatever form their URLs have. */
START_TEST(their_secrets_are_not_kept)
{
    struct concat c = make_partials(service, shapes[0]);
    const char *first = c.partial[0].id, *second = c.partial[1].id;
    UPLOAD_STATE_AUTO struct upload_state s = {0};
    struct upload_spec spec = final_spec;
    struct upload *u = new_final(service);
    char received[512], kept[128];
    struct file whole = {0};

    str_format(received, sizeof received, "final;/files/%s~" SECRET "  http://host/p/%s%%7E" SECRET "?q=/x %s~" SECRET,
               first, second, first);
    str_format(kept, sizeof kept, "final;%s %s %s", first, second, first);
    spec.concat = received;
    ok(upload_begin(u, &spec, &e));
    memcpy(whole.id, upload_video_id(u), sizeof whole.id);
    s = folded(&whole);
    ck_assert_str_eq(s.facts.concat, kept);
    MEM_AUTO char *created = object_text("raw", layout_log(whole.id, 1).s);
    ck_assert_ptr_null(strstr(created, SECRET));
    ck_assert(!upload_facts_resumable(&s.facts));
    upload_free(u);
}
END_TEST

START_TEST(partials_become_one_file)
{
    struct concat c = make_partials(service, shapes[_i]);
    uint64_t sent, sent_before, read, read_before;

    faulty_store_traffic(test_store, &sent_before, &read_before);
    ok(try_concat(service, &c, &e));
    faulty_store_traffic(test_store, &sent, &read);
    ck_assert_uint_le(read - read_before, (uint64_t)c.count * 2 * PART + 100 * KIB);
    expect_partials_gone(&c);
    expect_finished(&c.whole);
    ck_assert_uint_eq(look(service, &c.whole), c.whole.size);
}
END_TEST

START_TEST(only_finished_partials_are_taken)
{
    struct file unfinished = create(service, UPLOAD_PARTIAL, 1000), video = create(service, UPLOAD_TUS, 1);
    const struct file *wrong[] = {&unfinished, &video};

    patch(service, &unfinished, 0, 999);
    send_all(service, &video, 1);
    for (size_t i = 0; i < 2; i++) {
        UPLOAD_STATE_AUTO struct upload_state s = {0};
        struct upload *u = new_final(service);
        ok(upload_begin(u, &final_spec, &e));
        ok(upload_find(service, wrong[i]->id, SECRET, &s, &e));
        fails(ERR_INVALID, upload_append_partial(u, &s, &e));
        char id[ID_VIDEO_SIZE];
        memcpy(id, upload_video_id(u), sizeof id);
        upload_free(u);
        expect_nothing(id);
    }
    ck_assert_uint_eq(look(service, &unfinished), 999);
}
END_TEST

START_TEST(a_final_is_no_larger_than_any_file)
{
    static const uint64_t sizes[MOST] = {12 * MIB, 12 * MIB, 1};
    struct concat c = make_partials(service, sizes);

    fails(ERR_TOO_LARGE, try_concat(service, &c, &e));
    expect_nothing(c.whole.id);
    ck_assert_uint_eq(look(service, &c.partial[0]), 12 * MIB);
}
END_TEST

static const enum fault faults[] = {FAULT_BEFORE, FAULT_AFTER, FAULT_AWAY_BEFORE, FAULT_AWAY_AFTER};

/* It becomes a whole file or nothing, and then its partials are there for another attempt. */
START_TEST(a_store_that_fails_at_any_call)
{
    bool reached = true;

    for (uint64_t nth = 1; reached; nth++) {
        struct concat c = make_partials(service, shapes[_i / 4 == 0 ? 0 : 5]);
        struct err why = {0};
        faulty_store_fail(test_store, nth, faults[_i % 4]);
        int r = try_concat(service, &c, &why);
        reached = faulty_store_calls(test_store) >= nth;
        faulty_store_fail(test_store, 0, FAULT_NONE);
        repair();
        if (r != 0 && !object_exists("raw", layout_source(c.whole.id).s)) {
            expect_nothing(c.whole.id);
            ok(try_concat(service, &c, &e));
        }
        expect_content(layout_source(c.whole.id).s, c.whole.size);
        ck_assert_uint_eq(counts().waiting, 1);
        ok(removal_delete(&test_library, c.whole.id, NULL, &e));
        for (size_t i = 0; i < c.count; i++)
            ok(removal_delete(&test_library, c.partial[i].id, NULL, &e));
    }
}
END_TEST

START_TEST(a_partial_that_nobody_takes_expires)
{
    struct upload_options o = upload_test_options();

    o.expiry_ms = 1500;
    struct upload_service *hasty = start_service(&o);
    struct concat c = make_partials(hasty, shapes[0]);
    struct file begun = create(hasty, UPLOAD_PARTIAL, 12 * MIB);
    if (_i == 1)
        redis_run("FLUSHALL");
    clock_sleep_ms(1510);
    repair();
    expect_nothing(c.partial[0].id);
    expect_nothing(c.partial[1].id);
    expect_nothing(begun.id);
    ck_assert_int_eq(redis_number("ZCARD", "{weir}:uploads", NULL), 0);
    upload_service_free(hasty);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("upload_concat");
    TCase *t = tcase_create("upload_concat");

    tcase_add_unchecked_fixture(t, queue_server_up, queue_server_down);
    tcase_add_checked_fixture(t, upload_up, upload_down);
    tcase_set_timeout(t, 240);
    tcase_add_test(t, a_partial_upload_is_no_video);
    tcase_add_test(t, their_secrets_are_not_kept);
    tcase_add_loop_test(t, partials_become_one_file, 0, (int)ARRAY_SIZE(shapes));
    tcase_add_test(t, only_finished_partials_are_taken);
    tcase_add_test(t, a_final_is_no_larger_than_any_file);
    tcase_add_loop_test(t, a_store_that_fails_at_any_call, 0, 8);
    tcase_add_loop_test(t, a_partial_that_nobody_takes_expires, 0, 2);
    suite_add_tcase(suite, t);
    return run_suite(suite);
}
