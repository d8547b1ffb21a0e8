#include "domain/upload_writer.h"

#include "../suite.h"
#include "queue_fixture.h"

#include "base/mem.h"
#include "base/str.h"

#include <string.h>

#define A "aaaaaaaaaaaaaaaa"
#define B "bbbbbbbbbbbbbbbb"
#define PROCESS "0123456789abcdef"
#define OTHER "fedcba9876543210"
#define CLIENT "2001:db8::7"

static struct upload_take take(unsigned n, const char *nonce)
{
    return (struct upload_take){.video_id = video(n), .process = PROCESS, .nonce = nonce, .bound = 10};
}

struct taken {
    enum upload_take_verdict verdict;
    char holder[ID_NONCE_SIZE], epoch[QUEUE_EPOCH_SIZE];
    uint64_t fence;
    struct upload_state state;
};

static int try_take(const struct upload_take *what, struct taken *ret, struct err *e)
{
    *ret = (struct taken){0};
    return upload_writer_take(test_queue, what, &ret->verdict, ret->holder, &ret->fence, ret->epoch, &ret->state, e);
}

static struct taken taken(unsigned n, const char *nonce)
{
    const struct upload_take what = take(n, nonce);
    struct taken t;

    ok(try_take(&what, &t, &e));
    ck_assert_int_eq(t.verdict, UPLOAD_TAKEN);
    return t;
}

static struct upload_state state(unsigned n, uint64_t seq)
{
    struct upload_state s = {.seq = seq,
                             .kind = UPLOAD_BYTES,
                             .length = 100,
                             .facts = {.origin = UPLOAD_TUS, .part_size = 8, .client = CLIENT, .expires_ms = 0}};

    str_copy(s.video_id, sizeof s.video_id, video(n));
    s.facts.expires_ms = redis_now_ms() + 60000;
    return s;
}

static const char *key(const char *prefix, const char *name)
{
    static char text[128];

    str_format(text, sizeof text, "{weir}:%s%s", prefix, name);
    return text;
}

static bool exists(const char *prefix, const char *name)
{
    return redis_number("EXISTS", key(prefix, name)) == 1;
}

static bool counted(unsigned n)
{
    bool all = redis_text("ZSCORE", "{weir}:uploads", video(n)) != NULL;
    bool own = redis_text("ZSCORE", key("uploads:", CLIENT), video(n)) != NULL;

    ck_assert(all == own);
    return all;
}

static bool reserved(unsigned n)
{
    return redis_text("ZSCORE", "{weir}:admitted", video(n)) != NULL;
}

/* The cached record number, 0 when there is none, and the process of the writer. */
static uint64_t cached(unsigned n, char ret_holder[ID_NONCE_SIZE])
{
    UPLOAD_STATE_AUTO struct upload_state s = {0};
    char epoch[QUEUE_EPOCH_SIZE], holder[ID_NONCE_SIZE];
    bool held = false;

    ok(upload_cache_get(test_queue, video(n), epoch, &s, &held, holder, &e));
    ck_assert(held == (holder[0] != '\0'));
    if (ret_holder != NULL)
        memcpy(ret_holder, holder, sizeof holder);
    return s.seq;
}

/* As if so much time had gone by for the lease, which lasts 12 s. */
static void age_lease(unsigned n, int64_t ms)
{
    const char *hash = key("writer:", video(n));
    uint64_t until = 0;

    ck_assert(str_to_u64(redis_text("HGET", hash, "until"), &until));
    struct num_text then = num_i64((int64_t)until - ms);
    redis_run("HSET", hash, "until", then.s);
    redis_run("ZADD", "{weir}:admitted", "XX", then.s, video(n));
}

/* --- Taking --- */

START_TEST(a_writer_gets_lease_reservation_fence_and_epoch)
{
    struct taken t = taken(1, A);
    char epoch[QUEUE_EPOCH_SIZE];

    ok(queue_epoch(test_queue, epoch, &e));
    ck_assert_str_eq(t.epoch, epoch);
    ck_assert_uint_gt(t.fence, 0);
    ck_assert_uint_eq(t.state.seq, 0);
    ck_assert(reserved(1));
    ck_assert_uint_eq(counts().admitted, 1);
    int64_t left = redis_number("PTTL", key("writer:", video(1)));
    ck_assert_int_gt(left, UPLOAD_LEASE_MS); /* gone by itself, but later than the lease */
    ck_assert_int_lt(left, 3600000);
}
END_TEST

START_TEST(the_same_nonce_gets_the_same)
{
    struct taken first = taken(1, A), again = taken(1, A);

    ck_assert_uint_eq(first.fence, again.fence);
    age_lease(1, 2 * UPLOAD_LEASE_MS); /* nobody came: still his */
    again = taken(1, A);
    ck_assert_uint_eq(first.fence, again.fence);
    ck_assert_uint_eq(counts().admitted, 1);
}
END_TEST

START_TEST(who_comes_later_learns_whom_to_ask)
{
    struct upload_take what = take(1, B);
    struct taken other, first = taken(1, A);
    struct queue_digest before = queue_digest();

    what.process = OTHER;
    ok(try_take(&what, &other, &e));
    ck_assert_int_eq(other.verdict, UPLOAD_HELD);
    ck_assert_str_eq(other.holder, PROCESS);
    assert_unchanged(before);

    age_lease(1, UPLOAD_LEASE_MS + 1);
    ok(try_take(&what, &other, &e));
    ck_assert_int_eq(other.verdict, UPLOAD_TAKEN);
    ck_assert_uint_gt(other.fence, first.fence);
    fails(ERR_STALE, upload_writer_renew(test_queue, video(1), A, true, &e));
    what = take(1, A);
    ok(try_take(&what, &first, &e));
    ck_assert_int_eq(first.verdict, UPLOAD_HELD);
    ck_assert_str_eq(first.holder, OTHER);
}
END_TEST

START_TEST(a_lease_from_before_the_clock_was_set_back_holds_nobody_off)
{
    taken(1, A);
    age_lease(1, -3600 * 1000);
    ck_assert_uint_eq(cached(1, NULL), 0);
    taken(1, B);
}
END_TEST

START_TEST(a_full_queue_takes_no_new_writer)
{
    struct upload_take what = take(1, A);
    struct taken t;

    enqueue(2);
    taken(3, B);
    what.bound = 2;
    struct queue_digest before = queue_digest();
    ok(try_take(&what, &t, &e));
    ck_assert_int_eq(t.verdict, UPLOAD_FULL);
    assert_unchanged(before);

    what = take(3, B); /* who has a reservation keeps it */
    what.bound = 2;
    ok(try_take(&what, &t, &e));
    ck_assert_int_eq(t.verdict, UPLOAD_TAKEN);
    ok(queue_admit(test_queue, video(1), 10, 60000, &e)); /* also one from before it was writer */
    what = take(1, A);
    what.bound = 2;
    ok(try_take(&what, &t, &e));
    ck_assert_int_eq(t.verdict, UPLOAD_TAKEN);
    ck_assert_uint_eq(counts().admitted, 2);
}
END_TEST

static const char *const spent_fences[] = {"9007199254740991", "9007199254740993", "1e300"};

START_TEST(a_fence_above_2_53_is_refused)
{
    const struct upload_take what = take(1, A);
    struct taken t;

    redis_run("SET", "{weir}:fence", spent_fences[_i]);
    struct queue_digest before = queue_digest();
    fails(ERR_BUG, try_take(&what, &t, &e));
    assert_unchanged(before);
}
END_TEST

START_TEST(fences_of_writers_and_claims_rise_together)
{
    uint64_t first = taken(1, A).fence;
    struct queue_token token = active(9);

    ck_assert_uint_gt(token.fence, first);
    redis_run("SET", "{weir}:fence", "8000000000000000"); /* the clock was set back since */
    ck_assert_uint_eq(taken(2, A).fence, 8000000000000001);
}
END_TEST

/* --- Renewing and resting --- */

START_TEST(a_lease_is_renewed_with_or_without_its_reservation)
{
    taken(1, A);
    age_lease(1, UPLOAD_LEASE_MS - 2000);
    ok(upload_writer_renew(test_queue, video(1), A, false, &e));
    ck_assert_uint_eq(counts().admitted, 1);
    uint64_t until = 0;
    ck_assert(str_to_u64(redis_text("HGET", key("writer:", video(1)), "until"), &until));
    ck_assert_uint_gt(until, redis_now_ms() + UPLOAD_LEASE_MS - 3000);
    ok(upload_writer_rest(test_queue, video(1), A, false, &e));
    ck_assert(!reserved(1));
    ok(upload_writer_renew(test_queue, video(1), A, false, &e));
    ck_assert(!reserved(1));
    ok(upload_writer_renew(test_queue, video(1), A, true, &e));
    ck_assert(reserved(1));
}
END_TEST

/* Redis was away for longer than the lease. */
START_TEST(a_lease_that_ran_out_is_renewed_unless_somebody_came)
{
    char holder[ID_NONCE_SIZE];

    taken(1, A);
    age_lease(1, 2 * UPLOAD_LEASE_MS);
    cached(1, holder);
    ck_assert_str_eq(holder, "");
    ok(upload_writer_renew(test_queue, video(1), A, true, &e));
    cached(1, holder);
    ck_assert_str_eq(holder, PROCESS);
}
END_TEST

START_TEST(what_became_a_job_needs_no_reservation)
{
    taken(1, A);
    enqueue(1);
    ck_assert(!reserved(1));
    ok(upload_writer_renew(test_queue, video(1), A, true, &e));
    ck_assert(!reserved(1));
}
END_TEST

START_TEST(a_writer_that_leaves_frees_its_place_and_no_others)
{
    taken(1, A);
    ok(upload_writer_rest(test_queue, video(1), A, true, &e));
    ck_assert(!exists("writer:", video(1)));
    ck_assert(!reserved(1));
    taken(1, B);
    struct queue_digest before = queue_digest();
    ok(upload_writer_rest(test_queue, video(1), A, true, &e)); /* repeated late */
    assert_unchanged(before);
}
END_TEST

/* --- The cache --- */

START_TEST(the_cache_gives_what_was_put)
{
    struct upload_state s = state(1, 7);
    struct upload_tail tail = {.seq = 6, .head = 90, .size_bytes = 12, .crc32c = 5, .alone = true};
    char metadata[] = "filename d29ybGQ=";
    struct taken t = taken(1, A);

    s.offset = 12;
    s.tails = &tail;
    s.tail_count = 1;
    s.facts.metadata = metadata;
    ok(upload_cache_put(test_queue, &s, t.epoch, &e));
    t = taken(1, A);
    ck_assert_uint_eq(t.state.seq, 7);
    ck_assert_uint_eq(t.state.offset, 12);
    ck_assert_uint_eq(t.state.tails[0].head, 90);
    ck_assert_str_eq(t.state.facts.metadata, metadata);
    upload_state_release(&t.state);
    int64_t left = redis_number("PTTL", key("upload:", video(1)));
    ck_assert_int_gt(left, 24 * 3600 * 1000);
    ck_assert_int_le(left, 24 * 3600 * 1000 + 60000);
}
END_TEST

START_TEST(only_a_higher_record_replaces_the_cached_state)
{
    char epoch[QUEUE_EPOCH_SIZE];
    struct upload_state s = state(1, 7);

    ok(queue_epoch(test_queue, epoch, &e));
    ok(upload_cache_put(test_queue, &s, epoch, &e));
    struct queue_digest before = queue_digest();
    ok(upload_cache_put(test_queue, &s, epoch, &e));
    s.seq = 6;
    ok(upload_cache_put(test_queue, &s, epoch, &e));
    assert_unchanged(before);
    s.seq = 10; /* as a number, not as a text */
    ok(upload_cache_put(test_queue, &s, epoch, &e));
    ck_assert_uint_eq(cached(1, NULL), 10);
}
END_TEST

START_TEST(under_another_epoch_the_entry_goes)
{
    struct upload_state s = state(1, 7);
    struct taken t = taken(1, A);

    ok(upload_cache_put(test_queue, &s, t.epoch, &e));
    redis_run("SET", "{weir}:epoch", "another");
    ck_assert_uint_eq(cached(1, NULL), 0); /* not believed any more */
    s.seq = 8;
    ok(upload_cache_put(test_queue, &s, t.epoch, &e));
    ck_assert(redis_text("HGET", key("upload:", video(1)), "state") == NULL);
    ok(upload_cache_put(test_queue, &s, "another", &e));
    ck_assert_uint_eq(cached(1, NULL), 8);
    s.seq = 9;
    ok(upload_cache_put(test_queue, &s, t.epoch, &e));
    ck_assert_uint_eq(cached(1, NULL), 0);
}
END_TEST

START_TEST(after_everything_was_lost_an_old_state_is_not_put)
{
    struct upload_state s = state(1, 7);
    struct taken t = taken(1, A), again;
    const struct upload_take what = take(1, A);

    redis_run("FLUSHALL");
    struct queue_digest before = queue_digest();
    fails(ERR_BUSY, upload_cache_put(test_queue, &s, t.epoch, &e));
    fails(ERR_BUSY, upload_writer_renew(test_queue, video(1), A, true, &e));
    fails(ERR_BUSY, try_take(&what, &again, &e));
    assert_unchanged(before);
    begin_test_epoch();
    ok(upload_cache_put(test_queue, &s, t.epoch, &e));
    ck_assert_uint_eq(cached(1, NULL), 0);
    ck_assert(!exists("upload:", video(1)));
    fails(ERR_STALE, upload_writer_renew(test_queue, video(1), A, true, &e));
    again = taken(1, A);
    ck_assert_uint_gt(again.fence, t.fence);
}
END_TEST

/* The writer's lease outlives a rebuild, so that it can go on. */
START_TEST(a_rebuild_leaves_writers_and_open_uploads_alone)
{
    const struct queue_restored v = {.video_id = video(1), .record_json = RECORD, .created_ms = 1001};
    struct upload_state s = state(1, 7);
    struct taken t = taken(1, A);

    ok(upload_cache_put(test_queue, &s, t.epoch, &e));
    redis_run("DEL", "{weir}:epoch");
    ok(queue_restore(test_queue, &v, &e));
    begin_test_epoch();
    ok(upload_writer_renew(test_queue, video(1), A, true, &e));
    ck_assert_uint_eq(taken(1, A).fence, t.fence);
    ck_assert(counted(1));
    ck_assert_uint_eq(cached(1, NULL), 0); /* it is another epoch */
}
END_TEST

START_TEST(what_cannot_be_read_is_not_cached)
{
    char epoch[QUEUE_EPOCH_SIZE];
    struct upload_state s = state(1, 7);

    ok(queue_epoch(test_queue, epoch, &e));
    ok(upload_cache_put(test_queue, &s, epoch, &e));
    redis_run("HSET", key("upload:", video(1)), "state", "{\"seq\":");
    ck_assert_uint_eq(cached(1, NULL), 0);
    s = state(2, 7);
    ok(upload_cache_put(test_queue, &s, epoch, &e));
    MEM_AUTO char *other = mem_strdup(redis_text("HGET", key("upload:", video(2)), "state"));
    redis_run("HSET", key("upload:", video(1)), "state", other); /* of another upload */
    ck_assert_uint_eq(cached(1, NULL), 0);
}
END_TEST

START_TEST(a_state_too_large_for_the_cache_leaves_none_there)
{
    struct upload_state s = state(1, 7);
    char epoch[QUEUE_EPOCH_SIZE];

    ok(queue_epoch(test_queue, epoch, &e));
    ok(upload_cache_put(test_queue, &s, epoch, &e));
    s.seq = 8;
    s.tail_count = 100000;
    s.tails = mem_calloc(s.tail_count, sizeof *s.tails);
    ok(upload_cache_put(test_queue, &s, epoch, &e));
    mem_free(s.tails);
    ck_assert_uint_eq(cached(1, NULL), 0);
}
END_TEST

START_TEST(a_dropped_state_is_gone_and_the_writer_is_not)
{
    struct upload_state s = state(1, 7);
    struct taken t = taken(1, A);
    char holder[ID_NONCE_SIZE];

    ok(upload_cache_put(test_queue, &s, t.epoch, &e));
    ok(upload_cache_drop(test_queue, video(1), &e));
    ok(upload_cache_drop(test_queue, video(1), &e));
    ck_assert_uint_eq(cached(1, holder), 0);
    ck_assert_str_eq(holder, PROCESS);
    ck_assert(counted(1));
}
END_TEST

/* --- Open uploads --- */

static enum upload_open_verdict open_upload(unsigned n, const char *client, int64_t lasts_ms, uint64_t per_client,
                                            uint64_t in_all)
{
    const struct upload_limits limits = {.per_client = per_client, .in_all = in_all};
    enum upload_open_verdict verdict;

    ok(upload_open_add(test_queue, video(n), client, (uint64_t)((int64_t)redis_now_ms() + lasts_ms), &limits, &verdict,
                       &e));
    return verdict;
}

START_TEST(open_uploads_are_limited_per_client_and_in_all)
{
    ck_assert_int_eq(open_upload(1, CLIENT, 60000, 2, 3), UPLOAD_OPENED);
    ck_assert_int_eq(open_upload(2, CLIENT, 60000, 2, 3), UPLOAD_OPENED);
    struct queue_digest before = queue_digest();
    ck_assert_int_eq(open_upload(3, CLIENT, 60000, 2, 3), UPLOAD_CLIENT_LIMIT);
    assert_unchanged(before);
    ck_assert_int_eq(open_upload(3, "::8", 60000, 2, 3), UPLOAD_OPENED);
    before = queue_digest();
    ck_assert_int_eq(open_upload(4, "::9", 60000, 2, 3), UPLOAD_TOTAL_LIMIT);
    assert_unchanged(before);
    ck_assert_int_eq(open_upload(2, CLIENT, 60000, 2, 3), UPLOAD_OPENED); /* it is counted already */
    ok(upload_open_end(test_queue, video(2), CLIENT, &e));
    ok(upload_open_end(test_queue, video(2), CLIENT, &e));
    ck_assert(!counted(2));
    ck_assert_int_eq(open_upload(4, CLIENT, 60000, 2, 3), UPLOAD_OPENED);
}
END_TEST

static int note_id(void *ctx, const char *video_id, struct err *e)
{
    (void)e;
    str_copy((char *)ctx + strlen(ctx), 200 - strlen(ctx), video_id);
    return 0;
}

static int stop_at_once(void *ctx, const char *video_id, struct err *e)
{
    ++*(unsigned *)ctx;
    return err_set(e, ERR_TEMPORARY, "stopped at %s", video_id);
}

START_TEST(what_expired_counts_no_more_and_is_found)
{
    char found[200] = "", expected[200];
    unsigned stopped = 0;

    open_upload(1, CLIENT, -2000, 9, 9);
    open_upload(2, CLIENT, -1000, 9, 9);
    open_upload(3, CLIENT, 60000, 9, 9);
    ck_assert_int_eq(open_upload(4, CLIENT, 60000, 2, 2), UPLOAD_OPENED);
    ok(upload_open_expired(test_queue, 10, note_id, found, &e));
    str_format(expected, sizeof expected, "%s%s", video(1), video(2));
    ck_assert_str_eq(found, expected);
    found[0] = '\0';
    ok(upload_open_expired(test_queue, 1, note_id, found, &e));
    ck_assert_str_eq(found, video(1));
    fails(ERR_TEMPORARY, upload_open_expired(test_queue, 10, stop_at_once, &stopped, &e));
    ck_assert_uint_eq(stopped, 1);
    ok(upload_open_end(test_queue, video(1), CLIENT, &e));
    found[0] = '\0';
    ok(upload_open_expired(test_queue, 10, note_id, found, &e));
    ck_assert_str_eq(found, video(2));
    int64_t left = redis_number("PTTL", key("uploads:", CLIENT)); /* of a client that never comes back */
    ck_assert_int_gt(left, 50000);
    ck_assert_int_le(left, 60001);
}
END_TEST

/* Redis was emptied: the index of open uploads fills again as they go on. */
START_TEST(a_cached_state_counts_as_open_while_it_waits_for_bytes)
{
    static const struct {
        enum upload_kind kind;
        enum upload_origin origin;
        bool counted;
    } kinds[] = {{UPLOAD_CREATED, UPLOAD_TUS, true},     {UPLOAD_WRITER, UPLOAD_TUS, true},
                 {UPLOAD_BYTES, UPLOAD_PARTIAL, true},   {UPLOAD_BYTES, UPLOAD_FORM, false},
                 {UPLOAD_COMPLETING, UPLOAD_TUS, false}, {UPLOAD_CLOSED, UPLOAD_TUS, false}};
    char epoch[QUEUE_EPOCH_SIZE];

    ok(queue_epoch(test_queue, epoch, &e));
    for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
        struct upload_state s = state(i + 1, 1);
        s.kind = kinds[i].kind;
        s.facts.origin = kinds[i].origin;
        ok(upload_cache_put(test_queue, &s, epoch, &e));
        ck_assert(counted(i + 1) == kinds[i].counted);
        ck_assert_uint_eq(cached(i + 1, NULL), 1);
    }
    struct upload_state s = state(1, 2); /* ended; a state that comes late says otherwise */
    s.kind = UPLOAD_COMPLETING;
    ok(upload_cache_put(test_queue, &s, epoch, &e));
    ok(upload_open_end(test_queue, video(1), CLIENT, &e));
    s = state(1, 1);
    ok(upload_cache_put(test_queue, &s, epoch, &e));
    ck_assert(!counted(1));
    ck_assert_uint_eq(cached(1, NULL), 2); /* a finished upload is still answered for */
}
END_TEST

START_TEST(an_upload_that_never_expires_is_counted_for_a_day)
{
    struct upload_state s = state(1, 1);
    char epoch[QUEUE_EPOCH_SIZE];

    s.facts.expires_ms = 0;
    ok(queue_epoch(test_queue, epoch, &e));
    ok(upload_cache_put(test_queue, &s, epoch, &e));
    ck_assert(counted(1));
    ck_assert_int_gt(redis_number("PTTL", key("upload:", video(1))), 0);
    ck_assert_int_gt(redis_number("PTTL", key("uploads:", CLIENT)), 0);
}
END_TEST

START_TEST(a_deletion_leaves_nothing_of_an_upload)
{
    int (*const deletions[])(struct queue *, const char *, uint64_t, struct err *) = {queue_delete_begin,
                                                                                      queue_delete_end};

    for (unsigned i = 0; i < ARRAY_SIZE(deletions); i++) {
        struct upload_state s = state(i + 1, 1);
        struct taken t = taken(i + 1, A);
        ok(upload_cache_put(test_queue, &s, t.epoch, &e));
        ok(deletions[i](test_queue, video(i + 1), 60000, &e));
        ck_assert(!exists("upload:", video(i + 1)));
        ck_assert(!exists("writer:", video(i + 1)));
        ck_assert(!counted(i + 1));
        ck_assert(!reserved(i + 1));
    }
}
END_TEST

/* --- Every precondition violated once --- */

static int run_take(struct err *e)
{
    const struct upload_take what = take(1, A);
    struct taken t;

    return try_take(&what, &t, e);
}

static int run_renew(struct err *e)
{
    return upload_writer_renew(test_queue, video(1), A, true, e);
}

static int run_rest(struct err *e)
{
    return upload_writer_rest(test_queue, video(1), A, true, e);
}

static int run_get(struct err *e)
{
    UPLOAD_STATE_AUTO struct upload_state s = {0};
    char epoch[QUEUE_EPOCH_SIZE];

    return upload_cache_get(test_queue, video(1), epoch, &s, NULL, NULL, e);
}

static int run_put(struct err *e)
{
    struct upload_state s = state(1, 9);

    return upload_cache_put(test_queue, &s, "epoch", e);
}

static int run_open(struct err *e)
{
    const struct upload_limits limits = {.per_client = 9, .in_all = 9};
    enum upload_open_verdict verdict;

    return upload_open_add(test_queue, video(1), CLIENT, redis_now_ms() + 60000, &limits, &verdict, e);
}

static int (*const scripts[])(struct err *e) = {run_take, run_renew, run_rest, run_get, run_put, run_open};

START_TEST(a_tombstoned_video_is_refused)
{
    char tombstone[64];

    taken(1, A);
    str_format(tombstone, sizeof tombstone, "{weir}:deleted:%s", video(1));
    redis_run("SET", tombstone, "1");
    struct queue_digest before = queue_digest();
    fails(ERR_NOT_FOUND, scripts[_i](&e));
    assert_unchanged(before);
}
END_TEST

START_TEST(without_the_epoch_key_nothing_begins_or_ends)
{
    taken(1, A);
    redis_run("DEL", "{weir}:epoch");
    struct queue_digest before = queue_digest();
    fails(ERR_BUSY, scripts[_i](&e));
    assert_unchanged(before);
}
END_TEST

START_TEST(a_lease_of_somebody_else_is_not_renewed)
{
    struct queue_digest before = queue_digest();

    fails(ERR_STALE, upload_writer_renew(test_queue, video(1), A, true, &e)); /* nobody's */
    assert_unchanged(before);
    taken(1, B);
    before = queue_digest();
    fails(ERR_STALE, upload_writer_renew(test_queue, video(1), A, true, &e));
    assert_unchanged(before);
}
END_TEST

START_TEST(malformed_ids_never_reach_redis)
{
    const struct upload_take what = {.video_id = "v_1} {", .process = PROCESS, .nonce = A};
    const struct upload_limits limits = {.per_client = 9, .in_all = 9};
    struct upload_state s = state(1, 1);
    enum upload_open_verdict verdict;
    char epoch[QUEUE_EPOCH_SIZE];
    struct taken t;

    fails(ERR_INVALID, try_take(&what, &t, &e));
    fails(ERR_INVALID, upload_writer_renew(test_queue, "x", A, true, &e));
    fails(ERR_INVALID, upload_writer_rest(test_queue, "x", A, true, &e));
    fails(ERR_INVALID, upload_cache_get(test_queue, "x", epoch, &s, NULL, NULL, &e));
    fails(ERR_INVALID, upload_cache_drop(test_queue, "x", &e));
    fails(ERR_INVALID, upload_open_add(test_queue, "x", CLIENT, 1, &limits, &verdict, &e));
    fails(ERR_INVALID, upload_open_end(test_queue, "x", CLIENT, &e));
    str_copy(s.video_id, sizeof s.video_id, "x");
    fails(ERR_INVALID, upload_cache_put(test_queue, &s, "epoch", &e));
}
END_TEST

static void add_tests(TCase *t)
{
    tcase_add_test(t, a_writer_gets_lease_reservation_fence_and_epoch);
    tcase_add_test(t, the_same_nonce_gets_the_same);
    tcase_add_test(t, who_comes_later_learns_whom_to_ask);
    tcase_add_test(t, a_lease_from_before_the_clock_was_set_back_holds_nobody_off);
    tcase_add_test(t, a_full_queue_takes_no_new_writer);
    tcase_add_loop_test(t, a_fence_above_2_53_is_refused, 0, (int)ARRAY_SIZE(spent_fences));
    tcase_add_test(t, fences_of_writers_and_claims_rise_together);
    tcase_add_test(t, a_lease_is_renewed_with_or_without_its_reservation);
    tcase_add_test(t, a_lease_that_ran_out_is_renewed_unless_somebody_came);
    tcase_add_test(t, what_became_a_job_needs_no_reservation);
    tcase_add_test(t, a_writer_that_leaves_frees_its_place_and_no_others);
    tcase_add_test(t, the_cache_gives_what_was_put);
    tcase_add_test(t, only_a_higher_record_replaces_the_cached_state);
    tcase_add_test(t, under_another_epoch_the_entry_goes);
    tcase_add_test(t, after_everything_was_lost_an_old_state_is_not_put);
    tcase_add_test(t, a_rebuild_leaves_writers_and_open_uploads_alone);
    tcase_add_test(t, what_cannot_be_read_is_not_cached);
    tcase_add_test(t, a_state_too_large_for_the_cache_leaves_none_there);
    tcase_add_test(t, a_dropped_state_is_gone_and_the_writer_is_not);
    tcase_add_test(t, open_uploads_are_limited_per_client_and_in_all);
    tcase_add_test(t, what_expired_counts_no_more_and_is_found);
    tcase_add_test(t, a_cached_state_counts_as_open_while_it_waits_for_bytes);
    tcase_add_test(t, an_upload_that_never_expires_is_counted_for_a_day);
    tcase_add_test(t, a_deletion_leaves_nothing_of_an_upload);
    tcase_add_loop_test(t, a_tombstoned_video_is_refused, 0, (int)ARRAY_SIZE(scripts));
    tcase_add_loop_test(t, without_the_epoch_key_nothing_begins_or_ends, 0, (int)ARRAY_SIZE(scripts));
    tcase_add_test(t, a_lease_of_somebody_else_is_not_renewed);
    tcase_add_test(t, malformed_ids_never_reach_redis);
}

int main(void)
{
    Suite *suite = suite_create("upload_writer");
    TCase *t = tcase_create("upload_writer");

    tcase_add_unchecked_fixture(t, queue_server_up, queue_server_down);
    tcase_add_checked_fixture(t, queue_up, queue_down_untidy);
    tcase_set_timeout(t, 30);
    add_tests(t);
    suite_add_tcase(suite, t);
    return run_suite(suite);
}
