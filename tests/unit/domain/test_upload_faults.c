#include "../suite.h"
#include "upload_fixture.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "domain/removal.h"

#include <string.h>

/* Whatever fails or dies when: no byte that was acknowledged is lost or changed, the file gets whole, and it gets one job. */

#define SMALL 3000u
#define BIG (12 * MIB)

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

/* A client that tries again until everything is there; it must never see less than what it was told. */
static void finish_somehow(struct upload_service *s, const struct file *f, uint64_t told)
{
    for (int attempt = 0; attempt < 20; attempt++) {
        UPLOAD_STATE_AUTO struct upload_state state = {0};
        struct err e = {0};
        int r = try_look(s, f, &state, &e);
        ck_assert_msg(r == 0 || r == -ERR_BUSY || r == -ERR_TEMPORARY, "%s", e.text); /* else it begins anew */
        if (r == 0) {
            ck_assert_msg(state.offset >= told, "%llu of %llu", (unsigned long long)state.offset,
                          (unsigned long long)told);
            told = state.offset;
            if (told == f->size)
                return;
            r = try_patch(s, f, told, f->size - told, &e);
        }
        ck_assert_msg(r == 0 || r == -ERR_BUSY || r == -ERR_TEMPORARY || r == -ERR_STALE || r == -ERR_CONFLICT, "%s",
                      e.text);
    }
    ck_abort_msg("it never ends");
}

/* --- Every call of the store, of every request --- */

static int checked_patch(struct upload_service *s, const struct file *f, uint64_t offset, uint64_t count, bool right,
                         struct err *e)
{
    struct upload *u = begin_patch(s, f);
    struct queue_video v = {0};
    bool stored;

    upload_hold(u);
    int r = write_bytes(u, offset, count, e);
    if (r == 0 && right)
        r = upload_keep(u, e);
    else
        upload_discard(u);
    if (r == 0 && right && offset + count == f->size)
        r = upload_finish(u, &v, &stored, e);
    else if (r == 0)
        r = upload_pause(u, e);
    queue_video_release(&v);
    upload_free(u);
    return r;
}

enum body { PLAIN, RIGHT, WRONG };

static const struct {
    uint64_t size, before, count; /* of the file, acknowledged before, in the request that fails */
    enum body body;
} requests[] = {
    {SMALL, 0, 1000, PLAIN},
    {SMALL, 1000, 1000, PLAIN},
    {SMALL, 0, SMALL, PLAIN},
    {SMALL, 1000, SMALL - 1000, PLAIN},
    {BIG, 0, BIG - 1000, PLAIN},
    {BIG, 1000, BIG - 2000, PLAIN},
    {BIG, 6 * MIB, 6 * MIB, PLAIN},
    {BIG, 0, BIG, PLAIN},
    {SMALL, 1000, SMALL - 1000, RIGHT},
    {BIG, 1000, BIG - 2000, RIGHT},
    {BIG, 6 * MIB, 6 * MIB, RIGHT},
    {BIG, 1000, BIG - 2000, WRONG},
};
static const enum fault faults[] = {FAULT_BEFORE, FAULT_AFTER, FAULT_AWAY_BEFORE, FAULT_AWAY_AFTER};

#define REQUESTS ((int)ARRAY_SIZE(requests))
#define FAULTS ((int)ARRAY_SIZE(faults))

static int request(const struct file *f, int i, struct err *e)
{
    if (requests[i].body == PLAIN)
        return try_patch(service, f, requests[i].before, requests[i].count, e);
    return checked_patch(service, f, requests[i].before, requests[i].count, requests[i].body == RIGHT, e);
}

static bool fails_at(int i, enum fault fault, uint64_t nth)
{
    struct file f = create(service, UPLOAD_TUS, requests[i].size);
    uint64_t told = requests[i].before;
    struct err why = {0};

    if (told > 0)
        patch(service, &f, 0, told);
    faulty_store_fail(test_store, nth, fault);
    int r = request(&f, i, &why);
    bool reached = faulty_store_calls(test_store) >= nth;
    faulty_store_fail(test_store, 0, FAULT_NONE);
    if (r == 0 && requests[i].body != WRONG)
        told += requests[i].count;
    finish_somehow(nth % 2 == 0 ? service : other, &f, told);
    expect_finished(&f);
    repair();
    expect_finished(&f);
    ok(removal_delete(&test_library, f.id, NULL, &e));
    return reached;
}

START_TEST(a_store_that_fails_at_any_call)
{
    for (uint64_t nth = 1; fails_at(_i / FAULTS, faults[_i % FAULTS], nth); nth++)
        ;
}
END_TEST

/* --- The creation --- */

START_TEST(a_creation_that_fails_leaves_nothing_for_long)
{
    const struct upload_spec spec = {.title = "", .description = "", .filename = "", .length = 10, .secret = SECRET};
    struct upload_options o = upload_test_options();
    bool reached = true;

    o.expiry_ms = 300;
    struct upload_service *hasty = start_service(&o);
    for (uint64_t nth = 1; reached; nth++) {
        struct upload *u = NULL;
        enum upload_refusal refusal;
        char id[ID_VIDEO_SIZE];
        struct err why = {0};
        ok(upload_new(hasty, _i / FAULTS == 0 ? UPLOAD_TUS : UPLOAD_PARTIAL, CLIENT, &u, &refusal, &e));
        memcpy(id, upload_video_id(u), sizeof id);
        faulty_store_fail(test_store, nth, faults[_i % FAULTS]);
        (void)!upload_begin(u, &spec, &why);
        upload_free(u);
        reached = faulty_store_calls(test_store) >= nth;
        faulty_store_fail(test_store, 0, FAULT_NONE);
        clock_sleep_ms(310); /* until it has expired */
        repair();
        expect_nothing(id);
    }
    ck_assert_uint_eq(counts().admitted, 0);
    upload_service_free(hasty);
}
END_TEST

/* --- A process that dies --- */

/* It holds the lease for a while, and nobody sits at its desk. */
static void die(const struct file *f)
{
    char key[64], until[32];

    str_format(key, sizeof key, "{weir}:writer:%s", f->id);
    str_format(until, sizeof until, "%llu", (unsigned long long)redis_now_ms() + 200);
    redis_run("HSET", key, "nonce", "0123456789abcdef", "process", "fedcba9876543210", "fence", "1", "until", until);
}

/* Its sessions go with it; nothing of them reaches store or Redis any more. */
static void restart(struct upload_service **s)
{
    struct upload_options o = upload_test_options();

    upload_service_free(*s);
    *s = start_service(&o);
}

START_TEST(a_process_that_dies_at_any_call)
{
    bool reached = true;

    for (uint64_t nth = 1; reached; nth++) {
        struct file f = create(service, UPLOAD_TUS, requests[_i].size);
        struct err why = {0};
        uint64_t told = requests[_i].before;
        if (told > 0)
            patch(service, &f, 0, told);
        faulty_store_fail(test_store, nth, nth % 2 == 0 ? FAULT_AWAY_BEFORE : FAULT_AWAY_AFTER);
        int r = request(&f, _i, &why);
        reached = faulty_store_calls(test_store) >= nth;
        restart(&service);
        faulty_store_fail(test_store, 0, FAULT_NONE);
        if (r != 0 && nth % 3 == 0)
            die(&f);
        if (r == 0 && requests[_i].body != WRONG)
            told += requests[_i].count;
        finish_somehow(service, &f, told);
        expect_finished(&f);
        ok(removal_delete(&test_library, f.id, NULL, &e));
    }
}
END_TEST

/* --- Redis away --- */

START_TEST(without_redis_nothing_is_acknowledged_that_is_not_there)
{
    struct file f = create(service, UPLOAD_TUS, BIG);
    UPLOAD_STATE_AUTO struct upload_state s = {0};
    struct upload *u = begin_patch(service, &f);
    uint64_t count = _i == 0 ? 7 * MIB : BIG;
    struct queue_video v = {0};
    bool stored = false;

    ok(write_bytes(u, 0, count, &e));
    redis_server_freeze(&queue_server);
    if (count == BIG) {
        fails(ERR_TEMPORARY, upload_finish(u, &v, &stored, &e));
        ck_assert(stored);
    } else {
        fails(ERR_TEMPORARY, upload_pause(u, &e));
    }
    fails(ERR_TEMPORARY, try_look(service, &f, &s, &e));
    redis_server_thaw(&queue_server);
    upload_free(u);
    finish_somehow(service, &f, 0);
    expect_finished(&f);
}
END_TEST

/* --- Anything, at random --- */

static uint64_t seed;

static unsigned any(unsigned below)
{
    seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (unsigned)(seed >> 33) % below;
}

static uint64_t some_bytes(uint64_t left)
{
    static const unsigned orders[] = {1, 1000, 70000, 700000, 7 * MIB};
    uint64_t n = any(orders[any(ARRAY_SIZE(orders))]) + (any(2) == 0 ? 0 : any(4) * MIB);

    return n < left ? n : left;
}

struct history {
    struct upload_service **services[3];
    struct file file;
    uint64_t told;
};

static struct upload_service **any_service(struct history *h)
{
    return h->services[any(3)];
}

static void step_patch(struct history *h, bool dies)
{
    struct upload_service **s = any_service(h);
    uint64_t n = some_bytes(h->file.size - h->told);
    struct err e = {0};
    bool plain = any(4) > 0, right = any(2) == 0;

    if (dies)
        faulty_store_fail(test_store, 1 + any(12), any(2) == 0 ? FAULT_AWAY_BEFORE : FAULT_AWAY_AFTER);
    int r = plain ? try_patch(*s, &h->file, h->told, n, &e) : checked_patch(*s, &h->file, h->told, n, right, &e);
    if (r == 0 && (plain || right))
        h->told += n;
    if (!dies) {
        ck_assert_msg(r == 0 || r == -ERR_STALE, "%s", e.text);
        return;
    }
    restart(s);
    faulty_store_fail(test_store, 0, FAULT_NONE);
    if (any(2) == 0)
        die(&h->file);
}

/* One that leaves without a word, after some bytes. */
static void step_cut(struct history *h)
{
    struct upload *u = begin_patch(*any_service(h), &h->file);

    struct err e = {0};

    int r = write_bytes(u, h->told, some_bytes(h->file.size - h->told), &e);
    if (r == 0 && any(2) == 0)
        r = upload_pause(u, &e);
    upload_free(u);
    ck_assert_msg(r == 0 || r == -ERR_STALE, "%s", e.text);
}

static void step_look(struct history *h)
{
    UPLOAD_STATE_AUTO struct upload_state s = {0};
    struct err e = {0};

    int r = try_look(*any_service(h), &h->file, &s, &e);
    ck_assert_msg(r == 0, "%s", e.text);
    ck_assert_uint_ge(s.offset, h->told);
    h->told = s.offset;
}

static void step_lose_redis(void)
{
    redis_run("FLUSHALL");
    repair();
}

START_TEST(any_history_ends_well)
{
    struct upload_options o = upload_test_options();
    struct upload_service *third = start_service(&o);
    struct history h = {.services = {&service, &other, &third}};

    seed = (unsigned)_i + 1;
    h.file = create(service, UPLOAD_TUS, any(20) * MIB + any(MIB));
    for (int step = 0; step < 60 && h.told < h.file.size; step++) {
        unsigned what = any(20);
        step_look(&h);
        if (h.told == h.file.size)
            break;
        if (what == 0)
            step_lose_redis();
        else if (what < 4)
            step_cut(&h);
        else
            step_patch(&h, what < 9);
    }
    finish_somehow(*any_service(&h), &h.file, h.told);
    expect_finished(&h.file);
    repair();
    expect_finished(&h.file);
    upload_service_free(third);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("upload_faults");
    TCase *t = tcase_create("upload_faults");

    tcase_add_unchecked_fixture(t, queue_server_up, queue_server_down);
    tcase_add_checked_fixture(t, up, down);
    tcase_set_timeout(t, 240);
    tcase_add_loop_test(t, a_store_that_fails_at_any_call, 0, REQUESTS * FAULTS);
    tcase_add_loop_test(t, a_creation_that_fails_leaves_nothing_for_long, 0, 2 * FAULTS);
    tcase_add_loop_test(t, a_process_that_dies_at_any_call, 0, REQUESTS);
    tcase_add_loop_test(t, without_redis_nothing_is_acknowledged_that_is_not_there, 0, 2);
    tcase_add_loop_test(t, any_history_ends_well, 0, 12);
    suite_add_tcase(suite, t);
    return run_suite(suite);
}
