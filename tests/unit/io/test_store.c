#include "io/store_contract.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/mem.h"
#include "base/str.h"

#include <pthread.h>
#include <string.h>

/* ---- put, get, head ------------------------------------------------------------------------------------------------- */

STORE_TEST(gives_back_what_was_put)
{
    static const uint64_t sizes[] = {0, 1, 1000, 65536, 3 * MIB + 17};
    struct store_info info;
    char etag[STORE_ETAG_SIZE];

    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        uint64_t before = clock_wall_ms();
        put_pattern("v_1/source", i, sizes[i], etag);
        expect_pattern("v_1/source", i, 0, UINT64_MAX, sizes[i]);
        OK(store_head(store, bucket, "v_1/source", &info, &e));
        ck_assert_uint_eq(info.size_bytes, sizes[i]);
        ck_assert_str_eq(info.etag, etag);
        ck_assert_int_eq(etag[0], '"');
        ck_assert_int_eq(etag[strlen(etag) - 1], '"');
        ck_assert_uint_ge(info.modified_ms + 2000, before);
        ck_assert_uint_le(info.modified_ms, clock_wall_ms() + 2000);
    }
}

static const struct {
    uint64_t first, count, expected;
} ranges[] = {
    {0, UINT64_MAX, 100000},
    {0, 1, 1},
    {99999, 1, 1},
    {99999, 2, 1},
    {1, 50000, 50000},
    {100000, 1, 0},
    {200000, 7, 0},
    {100000, UINT64_MAX, 0},
    {5, 0, 0},
    {UINT64_MAX, UINT64_MAX, 0},
    {70000, UINT64_MAX, 30000},
};

STORE_TEST(gives_ranges)
{
    struct store_info info = {0};
    struct pattern p = {0};

    put_pattern("k", 7, 100000, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(ranges); i++)
        expect_pattern("k", 7, ranges[i].first, ranges[i].count, ranges[i].expected);
    OK(store_get(store, bucket, "k", 500000, 1, check_pattern, &p, &info, &e)); /* past the end: still the whole size */
    ck_assert_uint_eq(info.size_bytes, 100000);
}

STORE_TEST(says_what_is_missing)
{
    struct pattern p = {0};
    struct store_info info = {.size_bytes = 4711};
    char *data = NULL;

    FAILS(ERR_NOT_FOUND, store_get(store, bucket, "a/b/c", 0, UINT64_MAX, check_pattern, &p, &info, &e));
    ck_assert_ptr_nonnull(strstr(e.text, "GET test-"));
    ck_assert_ptr_nonnull(strstr(e.text, "/a/b/c: "));
    FAILS(ERR_NOT_FOUND, store_head(store, bucket, "a/b/c", &info, &e));
    FAILS(ERR_NOT_FOUND, store_get_bytes(store, bucket, "a/b/c", 10, &data, NULL, &e));
    ck_assert_uint_eq(info.size_bytes, 4711);
    ck_assert_ptr_null(data);
    ck_assert_int_eq(store_head(store, bucket, "a/b/c", &info, NULL), -ERR_NOT_FOUND);
}

STORE_TEST(a_missing_bucket_is_temporary)
{
    struct store_info info;

    str_copy(bucket, sizeof bucket, "nobody-made-this");
    FAILS(ERR_TEMPORARY, store_put_bytes(store, bucket, "k", "x", 1, NULL, &e));
    FAILS(ERR_TEMPORARY, store_head(store, bucket, "k", &info, &e));
    FAILS(ERR_TEMPORARY, store_get_bytes(store, bucket, "k", 10, &(char *){NULL}, NULL, &e));
    FAILS(ERR_TEMPORARY, store_delete(store, bucket, "k", &e));
}

STORE_TEST(makes_a_bucket_once)
{
    OK(store_ensure_bucket(store, bucket, &e));
    put("k", "x");
    OK(store_ensure_bucket(store, bucket, &e));
    expect("k", "x");
    FAILS(ERR_INVALID, store_ensure_bucket(store, "../up", &e));
    FAILS(ERR_INVALID, store_ensure_bucket(store, ".tmp", &e));
    FAILS(ERR_INVALID, store_ensure_bucket(store, "Upper", &e));
    FAILS(ERR_INVALID, store_ensure_bucket(store, "", &e));
}

STORE_TEST(small_objects_are_bounded)
{
    char *data = NULL;
    size_t len = 0;

    put("k", "12345");
    FAILS(ERR_TOO_LARGE, store_get_bytes(store, bucket, "k", 4, &data, &len, &e));
    ck_assert_ptr_null(data);
    OK(store_get_bytes(store, bucket, "k", 5, &data, &len, &e));
    ck_assert_str_eq(data, "12345");
    mem_free(data);
    put("k", "");
    expect("k", "");
}

STORE_TEST(replaces_and_changes_the_etag)
{
    struct store_info one, two;

    put("k", "first");
    OK(store_head(store, bucket, "k", &one, &e));
    put("k", "other"); /* the same size */
    OK(store_head(store, bucket, "k", &two, &e));
    ck_assert_str_ne(one.etag, two.etag);
    expect("k", "other");
}

static int stop_sink(void *ctx, const void *data, size_t len, struct err *err)
{
    (void)data, (void)len;
    return *(int *)ctx < 0 ? err_set(err, (enum err_kind) - *(int *)ctx, "enough") : *(int *)ctx;
}

STORE_TEST(passes_on_what_a_sink_returns)
{
    int results[] = {7, -ERR_STALE, -ERR_BUSY};

    put_pattern("k", 1, 2 * MIB, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(results); i++) {
        e.text[0] = '\0';
        ck_assert_int_eq(store_get(store, bucket, "k", 0, UINT64_MAX, stop_sink, &results[i], NULL, &e), results[i]);
        ck_assert_str_eq(e.text, results[i] < 0 ? "enough" : "");
    }
    expect_pattern("k", 1, 0, UINT64_MAX, 2 * MIB); /* the connection is not out of step */
}

STORE_TEST(passes_on_what_a_body_returns)
{
    struct pattern p = {.fail_at = 100000};
    struct store_body body = pattern_body(&p, 2 * MIB);

    FAILS(ERR_DISCONNECTED, store_put(store, bucket, "k", &body, NULL, NULL, &e));
    expect_missing("k");
    put("k", "x");
    expect("k", "x");
}

/* ---- keys ----------------------------------------------------------------------------------------------------------- */

STORE_TEST(keys_may_hold_any_character)
{
    char *longest = mem_zalloc(STORE_KEY_MAX + 1);

    for (size_t i = 0; i < ARRAY_SIZE(odd_keys); i++)
        put(odd_keys[i], odd_keys[i]);
    for (size_t i = 0; i < ARRAY_SIZE(odd_keys); i++)
        expect(odd_keys[i], odd_keys[i]);
    for (size_t i = 0; i < ARRAY_SIZE(odd_keys); i++) {
        OK(store_delete(store, bucket, odd_keys[i], &e));
        expect_missing(odd_keys[i]);
    }
    memset(longest, 'x', 900); /* servers of S3 that keep files need some room for themselves */
    for (size_t i = 200; i < 900; i += 200)
        longest[i] = '/';
    put(longest, "x");
    expect(longest, "x");
    mem_free(longest);
}

STORE_TEST(hostile_keys_are_invalid)
{
    static const char *const bad[] = {
        "",     "/",   "/a",    "a/",   "a//b",  ".",    "..",   "../x",         "a/../b",
        "a/..", "./a", "a/./b", "a\nb", "a\x7f", "\x01", "\xff", "a/\xc0\xaf/b", "\xed\xa0\x80",
    };
    char *key = mem_zalloc(STORE_KEY_MAX + 2);
    struct store_info info;
    char id[STORE_UPLOAD_ID_SIZE];

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        FAILS(ERR_INVALID, store_put_bytes(store, bucket, bad[i], "x", 1, NULL, &e));
        FAILS(ERR_INVALID, store_head(store, bucket, bad[i], &info, &e));
        FAILS(ERR_INVALID, store_delete(store, bucket, bad[i], &e));
        FAILS(ERR_INVALID, store_multipart_create(store, bucket, bad[i], NULL, id, &e));
    }
    memset(key, 'x', 256); /* a segment too long */
    FAILS(ERR_INVALID, store_put_bytes(store, bucket, key, "x", 1, NULL, &e));
    memset(key, 'x', STORE_KEY_MAX + 1);
    for (size_t i = 200; i < STORE_KEY_MAX; i += 200)
        key[i] = '/';
    FAILS(ERR_INVALID, store_put_bytes(store, bucket, key, "x", 1, NULL, &e));
    mem_free(key);
}

/* S3 proper keeps "a" and "a/b" side by side; stores of files can't. No back end may lose what was there. */
STORE_TEST(an_object_is_no_folder)
{
    struct store_info info;

    put("a", "object");
    if (store_put_bytes(store, bucket, "a/b", "x", 1, NULL, &e) != 0)
        ck_assert_int_eq(e.kind, ERR_INVALID);
    expect("a", "object");
    OK(store_delete(store, bucket, "a/b", &e));
    put("c/d", "object");
    FAILS(ERR_NOT_FOUND, store_head(store, bucket, "c", &info, &e));
    OK(store_delete(store, bucket, "c", &e));
    if (store_put_bytes(store, bucket, "c", "x", 1, NULL, &e) != 0)
        ck_assert_int_eq(e.kind, ERR_INVALID);
    expect("c/d", "object");
    OK(store_delete(store, bucket, "c", &e));
    OK(store_delete(store, bucket, "c/d", &e));
    put("c", "now it can"); /* an emptied folder is nothing */
    expect("c", "now it can");
}

/* ---- exactly one creator ---------------------------------------------------------------------------------------------- */

STORE_TEST(creates_once)
{
    static const struct store_put_options once = {.if_none_match = true, .content_type = "application/json"};

    OK(store_put_bytes(store, bucket, "v/1.json", "first", 5, &once, &e));
    FAILS(ERR_CONFLICT, store_put_bytes(store, bucket, "v/1.json", "second", 6, &once, &e));
    expect("v/1.json", "first");
    OK(store_delete(store, bucket, "v/1.json", &e));
    OK(store_put_bytes(store, bucket, "v/1.json", "third", 5, &once, &e));
    expect("v/1.json", "third");
}

#define RACERS 8
#define ROUNDS 10

struct race {
    pthread_barrier_t start;
    char key[32];
    int (*run)(struct store *s, const char *key, unsigned racer, struct err *e);
    struct store *stores[RACERS]; /* as if they were processes */
    int results[RACERS];
    char seen[RACERS][16]; /* the object, read right after */
    unsigned next;
    pthread_mutex_t lock;
};

static void *racer_main(void *arg)
{
    struct race *race = arg;
    struct err err = {.text = ""};
    char *data = NULL;

    pthread_mutex_lock(&race->lock);
    unsigned me = race->next++;
    pthread_mutex_unlock(&race->lock);
    pthread_barrier_wait(&race->start);
    race->results[me] = race->run(race->stores[me], race->key, me, &err);
    if (store_get_bytes(race->stores[me], bucket, race->key, 15, &data, NULL, NULL) == 0)
        str_copy(race->seen[me], sizeof race->seen[me], data);
    mem_free(data);
    return NULL;
}

/* One winner, everybody else ERR_CONFLICT, and all see the winner's object at once. */
static void race_once(struct race *race)
{
    pthread_t threads[RACERS];
    unsigned winner = RACERS;
    char expected[16];

    race->next = 0;
    ck_assert_int_eq(pthread_barrier_init(&race->start, NULL, RACERS), 0);
    for (unsigned i = 0; i < RACERS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, racer_main, race), 0);
    for (unsigned i = 0; i < RACERS; i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&race->start);

    for (unsigned i = 0; i < RACERS; i++) {
        if (race->results[i] != 0) {
            ck_assert_int_eq(race->results[i], -ERR_CONFLICT);
            continue;
        }
        ck_assert_msg(winner == RACERS, "%u and %u both won %s", winner, i, race->key);
        winner = i;
    }
    ck_assert_uint_lt(winner, RACERS);
    str_format(expected, sizeof expected, "racer %u", winner);
    for (unsigned i = 0; i < RACERS; i++)
        ck_assert_str_eq(race->seen[i], expected);
}

static void race_rounds(enum store_server server, int (*run)(struct store *, const char *, unsigned, struct err *))
{
    struct race race = {.run = run, .lock = PTHREAD_MUTEX_INITIALIZER};

    for (unsigned i = 0; i < RACERS; i++)
        race.stores[i] = store_servers_open(server);
    for (unsigned round = 0; round < ROUNDS; round++) {
        str_format(race.key, sizeof race.key, "race-%u/outcome.json", round);
        race_once(&race);
    }
    for (unsigned i = 0; i < RACERS; i++)
        store_free(race.stores[i]);
}

static int put_as_racer(struct store *s, const char *key, unsigned racer, struct err *err)
{
    static const struct store_put_options once = {.if_none_match = true};
    char text[16];

    str_format(text, sizeof text, "racer %u", racer);
    return store_put_bytes(s, bucket, key, text, strlen(text), &once, err);
}

static int complete_as_racer(struct store *s, const char *key, unsigned racer, struct err *err)
{
    struct store_part part = {.number = 3};
    char id[STORE_UPLOAD_ID_SIZE], text[16];

    str_format(text, sizeof text, "racer %u", racer);
    struct store_body body = store_body_bytes(&(struct store_bytes){text, strlen(text)});
    int r = store_multipart_create(s, bucket, key, NULL, id, err);
    if (r == 0)
        r = store_multipart_put(s, bucket, key, id, part.number, &body, part.etag, err);
    if (r == 0)
        r = store_multipart_complete(s, bucket, key, id, &part, 1, true, err);
    int aborted = store_multipart_abort(s, bucket, key, id, NULL);
    return r != 0 ? r : aborted;
}

static int put_or_complete_as_racer(struct store *s, const char *key, unsigned racer, struct err *err)
{
    return racer % 2 == 0 ? put_as_racer(s, key, racer, err) : complete_as_racer(s, key, racer, err);
}

START_TEST(eight_racers_put_and_one_wins)
{
    open_backend(_i);
    race_rounds((enum store_server)_i, put_as_racer);
    close_backend();
}
END_TEST

START_TEST(eight_racers_complete_and_one_wins)
{
    open_backend(_i);
    race_rounds((enum store_server)_i, complete_as_racer);
    close_backend();
}
END_TEST

START_TEST(eight_racers_put_or_complete_and_one_wins)
{
    open_backend(_i);
    race_rounds((enum store_server)_i, put_or_complete_as_racer);
    close_backend();
}
END_TEST

STORE_TEST(probe_accepts_it)
{
    OK(store_probe(store, bucket, &e));
}

/* ---- list, delete ------------------------------------------------------------------------------------------------------ */

STORE_TEST(lists_in_byte_order_of_whole_keys)
{
    static const char *const keys[] = {"a/b", "a.b",  "a0",  "a-/x",  "a/b.c/d", "a/b/",   "a/a/a/a", "b",
                                       "A",   ".z/1", "é/1", "a/b-c", "a/zz/1",  "a/zz/2", "a/zz0"};
    struct seen seen = {.stop_at = 2, .stop_with = 5};

    for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
        if (strcmp(keys[i], "a/b/") != 0 && strcmp(keys[i], "a/b") != 0)
            put(keys[i], "x");
    put("a/b/c", "12");
    expect_list(
        "", NULL, 0,
        ".z/1=1\nA=1\na-/x=1\na.b=1\na/a/a/a=1\na/b-c=1\na/b.c/d=1\na/b/c=2\na/zz/1=1\na/zz/2=1\na/zz0=1\na0=1\n"
        "b=1\né/1=1\n");
    expect_list("a/b", NULL, 0, "a/b-c=1\na/b.c/d=1\na/b/c=2\n");
    expect_list("a/b/", NULL, 0, "a/b/c=2\n");
    expect_list("a/zz", NULL, 0, "a/zz/1=1\na/zz/2=1\na/zz0=1\n");
    expect_list(".z", NULL, 0, ".z/1=1\n");
    expect_list("a/b/c", NULL, 0, "a/b/c=2\n"); /* the key itself */
    expect_list("", "a/b/c", 3, "a/zz/1=1\na/zz/2=1\na/zz0=1\n");
    expect_list("", "a/b.d", 1, "a/b/c=2\n"); /* between keys */
    expect_list("a/zz/", "a/zz/1", 0, "a/zz/2=1\n");
    expect_list("a/", "a/zz0", 0, "");
    expect_list("a/", "A", 2, "a/a/a/a=1\na/b-c=1\n");
    expect_list("nothing/here", NULL, 0, "");
    expect_list("b/", NULL, 0, "");
    expect_list("../", NULL, 0, "");
    expect_list("a//", NULL, 0, "");

    buf_init(&seen.keys, 1 << 20);
    ck_assert_int_eq(store_list(store, bucket, "", NULL, 0, see, &seen, &e), 5);
    ck_assert_uint_eq(seen.count, 2);
    seen = (struct seen){.keys = seen.keys, .stop_at = 1, .stop_with = -ERR_STALE};
    FAILS(ERR_STALE, store_list(store, bucket, "", NULL, 0, see, &seen, &e));
    ck_assert_str_eq(e.text, "stopped");
    buf_release(&seen.keys);
    FAILS(ERR_TEMPORARY, store_list(store, "nobody-made-this", "", NULL, 0, see, &seen, &e));
}

STORE_TEST(lists_odd_keys)
{
    struct seen seen = {0};

    buf_init(&seen.keys, 1 << 20);
    for (size_t i = 0; i < ARRAY_SIZE(odd_keys); i++)
        put(odd_keys[i], "");
    OK(store_list(store, bucket, "", NULL, 0, see, &seen, &e));
    ck_assert_uint_eq(seen.count, ARRAY_SIZE(odd_keys));
    for (size_t i = 0; i < ARRAY_SIZE(odd_keys); i++) {
        char line[128];
        str_format(line, sizeof line, "%s=0\n", odd_keys[i]);
        ck_assert_msg(strstr(buf_cstr(&seen.keys), line) != NULL, "%s is not listed", odd_keys[i]);
        expect_list(odd_keys[i], NULL, 1, line); /* as a prefix, too */
    }
    buf_release(&seen.keys);
}

#define MANY 1003 /* more than one page of S3, more than one batch of store_delete_prefix */
#define MANY_THREADS 8

static void *put_many(void *arg)
{
    unsigned first = *(unsigned *)arg;
    char key[64];

    for (unsigned i = first; i < MANY; i += MANY_THREADS) {
        str_format(key, sizeof key, "many/%04u", i);
        ck_assert_int_eq(store_put_bytes(store, bucket, key, "x", 1, NULL, NULL), 0);
    }
    return NULL;
}

STORE_TEST(lists_and_deletes_many)
{
    pthread_t threads[MANY_THREADS];
    unsigned firsts[MANY_THREADS];
    struct seen seen = {0};
    uint64_t deleted = 0;
    BUF_AUTO struct buf expected;

    buf_init(&seen.keys, 1 << 20);
    buf_init(&expected, 1 << 20);
    put("manz", "kept");
    for (unsigned i = 0; i < MANY_THREADS; i++) {
        firsts[i] = i;
        pthread_create(&threads[i], NULL, put_many, &firsts[i]);
    }
    for (unsigned i = 0; i < MANY_THREADS; i++)
        pthread_join(threads[i], NULL);
    for (unsigned i = 0; i < MANY; i++)
        buf_printf(&expected, "many/%04u=1\n", i);
    OK(store_list(store, bucket, "many/", NULL, 0, see, &seen, &e));
    ck_assert_str_eq(buf_cstr(&seen.keys), buf_cstr(&expected));
    buf_release(&seen.keys);

    OK(store_delete_prefix(store, bucket, "many/", &deleted, &e));
    ck_assert_uint_eq(deleted, MANY);
    expect_list("", NULL, 0, "manz=4\n");
    OK(store_delete_prefix(store, bucket, "many/", &deleted, &e));
    ck_assert_uint_eq(deleted, 0);
}

STORE_TEST(deletes_what_may_not_be_there)
{
    put("a/b/c", "x");
    OK(store_delete(store, bucket, "a/b/c", &e));
    OK(store_delete(store, bucket, "a/b/c", &e));
    OK(store_delete(store, bucket, "never/was", &e));
    expect_missing("a/b/c");
    expect_list("", NULL, 0, "");
}

/* ---- whole or not at all ---------------------------------------------------------------------------------------------------- */

struct replacing {
    _Atomic bool stop;
    unsigned rounds;
};

static void *keep_replacing(void *arg)
{
    struct replacing *rep = arg;

    for (uint64_t i = 1; !rep->stop; i++) {
        struct pattern p = {.seed = 1000 + i % 2};
        struct store_body body = pattern_body(&p, 200000 + i % 2);
        ck_assert_int_eq(store_put(store, bucket, "k", &body, NULL, NULL, NULL), 0);
        rep->rounds++;
    }
    return NULL;
}

struct whole {
    struct pattern p;
    const struct store_info *info;
};

static int check_whole(void *ctx, const void *data, size_t len, struct err *err)
{
    struct whole *w = ctx;

    w->p.seed = 1000 + w->info->size_bytes % 2;
    return check_pattern(&w->p, data, len, err);
}

STORE_TEST(readers_see_whole_objects)
{
    struct replacing rep = {.stop = false};
    pthread_t thread;

    put_pattern("k", 1000, 200000, NULL);
    pthread_create(&thread, NULL, keep_replacing, &rep);
    for (unsigned i = 0; i < 60; i++) {
        struct store_info info;
        struct whole w = {.info = &info};
        OK(store_get(store, bucket, "k", 0, UINT64_MAX, check_whole, &w, &info, &e));
        ck_assert_uint_eq(w.p.at, info.size_bytes);
    }
    rep.stop = true;
    pthread_join(thread, NULL);
    ck_assert_uint_gt(rep.rounds, 0);
}

/* Creators and deleters in one folder, which vanishes whenever it is empty. */
static void *come_and_go(void *arg)
{
    char key[64], nonce[ID_NONCE_SIZE];
    struct err err;
    (void)arg;

    for (unsigned i = 0; i < 40; i++) {
        id_nonce(nonce);
        str_format(key, sizeof key, "a/b/c/%s", nonce);
        ck_assert_msg(store_put_bytes(store, bucket, key, nonce, strlen(nonce), NULL, &err) == 0, "%s", err.text);
        ck_assert_msg(store_delete(store, bucket, key, &err) == 0, "%s", err.text);
    }
    return NULL;
}

STORE_TEST(folders_come_and_go)
{
    pthread_t threads[4];

    for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
        pthread_create(&threads[i], NULL, come_and_go, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
        pthread_join(threads[i], NULL);
    expect_list("", NULL, 0, "");
    put("a", "x");
}

int main(void)
{
    const TTest *const tests[] = {
        gives_back_what_was_put,
        gives_ranges,
        says_what_is_missing,
        a_missing_bucket_is_temporary,
        makes_a_bucket_once,
        small_objects_are_bounded,
        replaces_and_changes_the_etag,
        passes_on_what_a_sink_returns,
        passes_on_what_a_body_returns,
        keys_may_hold_any_character,
        hostile_keys_are_invalid,
        an_object_is_no_folder,
        creates_once,
        eight_racers_put_and_one_wins,
        eight_racers_complete_and_one_wins,
        eight_racers_put_or_complete_and_one_wins,
        probe_accepts_it,
        lists_in_byte_order_of_whole_keys,
        lists_odd_keys,
        lists_and_deletes_many,
        deletes_what_may_not_be_there,
        readers_see_whole_objects,
        folders_come_and_go,
    };

    return run_over_all_stores("store", tests, ARRAY_SIZE(tests));
}
