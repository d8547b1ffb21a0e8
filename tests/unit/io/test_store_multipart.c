#include "io/store_contract.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"

#include <pthread.h>
#include <string.h>

static void create_upload(const char *key, char id[STORE_UPLOAD_ID_SIZE])
{
    OK(store_multipart_create(store, bucket, key, "video/mp4", id, &e));
}

static struct store_part put_part(const char *key, const char *id, unsigned number, uint64_t seed, uint64_t size)
{
    struct store_part part = {.number = number, .size_bytes = size};
    struct pattern p = {.seed = seed};
    struct store_body body = pattern_body(&p, size);

    OK(store_multipart_put(store, bucket, key, id, number, &body, part.etag, &e));
    return part;
}

static int see_part(void *ctx, const struct store_part *part, struct err *err)
{
    struct seen *seen = ctx;
    (void)err;

    buf_printf(&seen->keys, "%u %llu %s\n", part->number, (unsigned long long)part->size_bytes, part->etag);
    return ++seen->count == seen->stop_at ? seen->stop_with : 0;
}

static void expect_parts(const char *key, const char *id, const struct store_part *parts, size_t count)
{
    struct seen seen = {0};
    BUF_AUTO struct buf expected;

    buf_init(&seen.keys, 1 << 20);
    buf_init(&expected, 1 << 20);
    for (size_t i = 0; i < count; i++)
        buf_printf(&expected, "%u %llu %s\n", parts[i].number, (unsigned long long)parts[i].size_bytes, parts[i].etag);
    OK(store_multipart_list(store, bucket, key, id, see_part, &seen, &e));
    ck_assert_str_eq(buf_cstr(&seen.keys), buf_cstr(&expected));
    buf_release(&seen.keys);
}

/* Parts with gaps in their numbers, sent in any order, one of them twice. */
STORE_TEST(joins_parts)
{
    struct store_part parts[3];
    struct pattern p = {0};
    char id[STORE_UPLOAD_ID_SIZE];
    struct store_info info;

    create_upload("v/source", id);
    expect_parts("v/source", id, parts, 0);
    parts[2] = put_part("v/source", id, 9999, 3, 1234);
    parts[0] = put_part("v/source", id, 4, 99, 5 * MIB);
    parts[0] = put_part("v/source", id, 4, 1, 5 * MIB); /* replaces */
    parts[1] = put_part("v/source", id, 17, 2, 5 * MIB + 1);
    expect_parts("v/source", id, parts, 3);
    expect_missing("v/source");
    expect_list("", NULL, 0, "");

    OK(store_multipart_complete(store, bucket, "v/source", id, parts, 3, true, &e));
    OK(store_head(store, bucket, "v/source", &info, &e));
    ck_assert_uint_eq(info.size_bytes, 10 * MIB + 1 + 1234);
    for (unsigned i = 0; i < 3; i++) {
        static const uint64_t starts[] = {0, 5 * MIB, 10 * MIB + 1};
        static const uint64_t sizes[] = {5 * MIB, 5 * MIB + 1, 1234};
        p = (struct pattern){.seed = i + 1};
        OK(store_get(store, bucket, "v/source", starts[i], sizes[i], check_pattern, &p, NULL, &e));
        ck_assert_uint_eq(p.at, sizes[i]);
    }
    FAILS(ERR_NOT_FOUND, store_multipart_list(store, bucket, "v/source", id, see_part, &(struct seen){0}, &e));
}

STORE_TEST(completes_some_of_the_parts)
{
    char id[STORE_UPLOAD_ID_SIZE];

    create_upload("k", id);
    struct store_part kept = put_part("k", id, 2, 5, 100);
    (void)put_part("k", id, 1, 6, 6 * MIB); /* what the list does not name does not exist */
    (void)put_part("k", id, 3, 7, 10);
    OK(store_multipart_complete(store, bucket, "k", id, &kept, 1, false, &e));
    expect_pattern("k", 5, 0, UINT64_MAX, 100);
}

STORE_TEST(refuses_wrong_parts)
{
    struct store_part parts[2], other;
    char id[STORE_UPLOAD_ID_SIZE];

    create_upload("k", id);
    parts[0] = put_part("k", id, 1, 1, 100);
    parts[1] = put_part("k", id, 2, 2, 100);
    FAILS(ERR_INVALID,
          store_multipart_complete(store, bucket, "k", id, parts, 2, true, &e)); /* the first is too small */
    FAILS(ERR_INVALID, store_multipart_complete(store, bucket, "k", id, parts, 0, true, &e));
    other = parts[0];
    memcpy(other.etag, parts[1].etag, sizeof other.etag);
    FAILS(ERR_INVALID, store_multipart_complete(store, bucket, "k", id, &other, 1, true, &e));
    other.number = 7;
    FAILS(ERR_INVALID, store_multipart_complete(store, bucket, "k", id, &other, 1, true, &e));
    other = parts[0], parts[0] = parts[1], parts[1] = other;
    FAILS(ERR_INVALID, store_multipart_complete(store, bucket, "k", id, parts, 2, true, &e)); /* descending */
    expect_missing("k");
    struct store_body body = store_body_bytes(&(struct store_bytes){"x", 1});
    FAILS(ERR_INVALID, store_multipart_put(store, bucket, "k", id, 0, &body, NULL, &e));
    FAILS(ERR_INVALID, store_multipart_put(store, bucket, "k", id, 10001, &body, NULL, &e));
    OK(store_multipart_complete(store, bucket, "k", id, parts + 1, 1, true, &e)); /* and still goes on */
    expect_pattern("k", 1, 0, UINT64_MAX, 100);
}

STORE_TEST(completes_once)
{
    char id[STORE_UPLOAD_ID_SIZE], second[STORE_UPLOAD_ID_SIZE];

    put("k", "first");
    create_upload("k", id);
    struct store_part part = put_part("k", id, 1, 5, 100);
    FAILS(ERR_CONFLICT, store_multipart_complete(store, bucket, "k", id, &part, 1, true, &e));
    expect("k", "first");
    expect_parts("k", id, &part, 1); /* the upload is still there: for its owner to abort */
    OK(store_multipart_complete(store, bucket, "k", id, &part, 1, false, &e));
    expect_pattern("k", 5, 0, UINT64_MAX, 100);

    create_upload("k", second);
    part = put_part("k", second, 1, 6, 100);
    OK(store_delete(store, bucket, "k", &e));
    OK(store_multipart_complete(store, bucket, "k", second, &part, 1, true, &e));
    expect_pattern("k", 6, 0, UINT64_MAX, 100);
}

/* MinIO and the directory say that the upload is gone, versitygw says again that it is done, S3 may do either. */
STORE_TEST(a_second_complete_changes_nothing)
{
    char id[STORE_UPLOAD_ID_SIZE];
    struct store_info before, after;

    create_upload("k", id);
    struct store_part part = put_part("k", id, 1, 5, 100);
    OK(store_multipart_complete(store, bucket, "k", id, &part, 1, false, &e));
    OK(store_head(store, bucket, "k", &before, &e));
    int r = store_multipart_complete(store, bucket, "k", id, &part, 1, false, &e);
    ck_assert_msg(r == 0 || r == -ERR_NOT_FOUND, "%s", e.text);
    r = store_multipart_complete(store, bucket, "k", id, &part, 1, true, &e);
    ck_assert_msg(r == -ERR_CONFLICT || r == -ERR_NOT_FOUND || r == 0, "%s", e.text);
    OK(store_head(store, bucket, "k", &after, &e));
    ck_assert_str_eq(before.etag, after.etag);
    expect_pattern("k", 5, 0, UINT64_MAX, 100);
}

STORE_TEST(aborts)
{
    struct store_body body = store_body_bytes(&(struct store_bytes){"x", 1});
    char id[STORE_UPLOAD_ID_SIZE];

    create_upload("k", id);
    struct store_part part = put_part("k", id, 1, 5, 100);
    OK(store_multipart_abort(store, bucket, "k", id, &e));
    OK(store_multipart_abort(store, bucket, "k", id, &e));
    FAILS(ERR_NOT_FOUND, store_multipart_put(store, bucket, "k", id, 2, &body, NULL, &e));
    FAILS(ERR_NOT_FOUND, store_multipart_list(store, bucket, "k", id, see_part, &(struct seen){0}, &e));
    FAILS(ERR_NOT_FOUND, store_multipart_complete(store, bucket, "k", id, &part, 1, true, &e));
    expect_missing("k");
}

struct found {
    char id[4][STORE_UPLOAD_ID_SIZE];
    size_t count, stop_at;
};

static int see_upload(void *ctx, const char *upload_id, struct err *err)
{
    struct found *f = ctx;

    ck_assert_uint_lt(f->count, ARRAY_SIZE(f->id));
    memcpy(f->id[f->count++], upload_id, strlen(upload_id) + 1);
    return f->count == f->stop_at ? err_set(err, ERR_BUSY, "enough") : 0;
}

/* An upload whose creator never heard of it. */
STORE_TEST(finds_the_uploads_of_a_key)
{
    struct found none = {0}, both = {0}, one = {.stop_at = 1}, left = {0};
    char a[STORE_UPLOAD_ID_SIZE], b[STORE_UPLOAD_ID_SIZE], other[STORE_UPLOAD_ID_SIZE];

    OK(store_multipart_find(store, bucket, "d/k", see_upload, &none, &e));
    ck_assert_uint_eq(none.count, 0);
    create_upload("d/k", a);
    create_upload("d/k", b);
    create_upload("d/k2", other);
    put_part("d/k", b, 1, 5, 100);
    OK(store_multipart_find(store, bucket, "d/k", see_upload, &both, &e));
    ck_assert_uint_eq(both.count, 2);
    ck_assert(strcmp(both.id[0], a) == 0 || strcmp(both.id[1], a) == 0);
    ck_assert(strcmp(both.id[0], b) == 0 || strcmp(both.id[1], b) == 0);
    FAILS(ERR_BUSY, store_multipart_find(store, bucket, "d/k", see_upload, &one, &e));
    ck_assert_uint_eq(one.count, 1);
    OK(store_multipart_abort(store, bucket, "d/k", a, &e));
    OK(store_multipart_find(store, bucket, "d/k", see_upload, &left, &e));
    ck_assert_uint_eq(left.count, 1);
    ck_assert_str_eq(left.id[0], b);
    OK(store_multipart_abort(store, bucket, "d/k", b, &e));
    OK(store_multipart_abort(store, bucket, "d/k2", other, &e));
}

STORE_TEST(unknown_uploads_are_not_found)
{
    static const char *const ids[] = {"", "nonsense", "../../etc", "00000000000000000000000000000000", "a/b", "?x=y&z"};
    struct store_body body = store_body_bytes(&(struct store_bytes){"x", 1});
    struct store_part part = {.number = 1, .etag = "\"d41d8cd98f00b204e9800998ecf8427e\""};
    char id[STORE_UPLOAD_ID_SIZE];

    for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
        FAILS(ERR_NOT_FOUND, store_multipart_put(store, bucket, "k", ids[i], 1, &body, NULL, &e));
        FAILS(ERR_NOT_FOUND, store_multipart_list(store, bucket, "k", ids[i], see_part, &(struct seen){0}, &e));
        FAILS(ERR_NOT_FOUND, store_multipart_complete(store, bucket, "k", ids[i], &part, 1, true, &e));
        OK(store_multipart_abort(store, bucket, "k", ids[i], &e));
    }
    create_upload("k", id); /* an id belongs to its key */
    FAILS(ERR_NOT_FOUND, store_multipart_put(store, bucket, "other", id, 1, &body, NULL, &e));
    OK(store_multipart_put(store, bucket, "k", id, 1, &body, NULL, &e));
}

STORE_TEST(lists_parts_until_told_to_stop)
{
    char id[STORE_UPLOAD_ID_SIZE];
    struct seen seen = {.stop_at = 1, .stop_with = 3};

    buf_init(&seen.keys, 1 << 10);
    create_upload("k", id);
    (void)put_part("k", id, 1, 1, 10);
    (void)put_part("k", id, 2, 1, 10);
    ck_assert_int_eq(store_multipart_list(store, bucket, "k", id, see_part, &seen, &e), 3);
    ck_assert_uint_eq(seen.count, 1);
    buf_release(&seen.keys);
}

/* ---- copied parts ---- */

static int copy_range(const char *key, const char *id, unsigned number, const char *source, uint64_t first,
                      uint64_t count, char etag[STORE_ETAG_SIZE])
{
    struct store_range range = {.key = source, .first = first, .count = count};

    return store_multipart_copy(store, bucket, key, id, number, &range, etag, &e);
}

static struct store_part copy_part(const char *key, const char *id, unsigned number, const char *source, uint64_t first,
                                   uint64_t count)
{
    struct store_part part = {.number = number, .size_bytes = count};

    OK(copy_range(key, id, number, source, first, count, part.etag));
    return part;
}

/* Whole objects, the middle of one, and a part that was sent, one after the other. */
STORE_TEST(copies_objects_into_parts)
{
    static const uint64_t sizes[] = {6 * MIB, 5 * MIB + 3, 5 * MIB, 1};
    static const uint64_t starts[] = {0, 6 * MIB, 11 * MIB + 3, 16 * MIB + 3};
    static const struct {
        uint64_t seed, at;
    } bytes[] = {{1, 0}, {2, 17}, {3, 0}, {1, 6 * MIB - 1}};
    struct store_part parts[4];
    char id[STORE_UPLOAD_ID_SIZE];

    put_pattern(".uploads/p_1/source", 1, 6 * MIB, NULL);
    put_pattern(".uploads/p_2/source", 2, 7 * MIB, NULL);
    create_upload("v/source", id);
    parts[1] = copy_part("v/source", id, 5, ".uploads/p_2/source", 17, sizes[1]);
    parts[0] = copy_part("v/source", id, 2, ".uploads/p_2/source", 0, 5 * MIB);
    parts[0] = copy_part("v/source", id, 2, ".uploads/p_1/source", 0, sizes[0]); /* replaces */
    parts[2] = put_part("v/source", id, 7, 3, sizes[2]);
    parts[3] = copy_part("v/source", id, 8, ".uploads/p_1/source", 6 * MIB - 1, 1);
    expect_parts("v/source", id, parts, 4);
    OK(store_delete(store, bucket, ".uploads/p_1/source", &e));
    OK(store_delete(store, bucket, ".uploads/p_2/source", &e));

    OK(store_multipart_complete(store, bucket, "v/source", id, parts, 4, true, &e));
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
        expect_pattern_from("v/source", bytes[i].seed, bytes[i].at, starts[i], sizes[i], sizes[i]);
    expect_list("", NULL, 0, "v/source=16777220\n");
}

STORE_TEST(copies_objects_of_any_name)
{
    char id[STORE_UPLOAD_ID_SIZE];
    MEM_AUTO char *longest = mem_zalloc(STORE_KEY_MAX + 1);

    memset(longest, '+', 900); /* three bytes each in the header */
    for (size_t i = 200; i < 900; i += 200)
        longest[i] = '/';
    create_upload("k", id);
    for (size_t i = 0; i <= ODD_KEYS; i++) {
        const char *source = i < ODD_KEYS ? odd_keys[i] : longest;
        put(source, source);
        (void)copy_part("k", id, (unsigned)i + 1, source, 0, strlen(source));
        OK(store_delete(store, bucket, source, &e));
    }
    struct store_part last = copy_part("k", id, 1, (put("x", "y"), "x"), 0, 1);
    OK(store_multipart_complete(store, bucket, "k", id, &last, 1, true, &e));
    expect("k", "y");
}

STORE_TEST(copies_only_what_is_there)
{
    static const struct {
        uint64_t first, count;
    } ranges[] = {{0, 101},       {100, 1}, {99, 2}, {1000, 1}, {UINT64_MAX, 1}, {0, 0}, {0, STORE_COPY_MAX + 1},
                  {1, UINT64_MAX}};
    char id[STORE_UPLOAD_ID_SIZE], gone[STORE_UPLOAD_ID_SIZE];

    put_pattern("k", 1, 100, NULL);
    create_upload("new", id);
    for (size_t i = 0; i < ARRAY_SIZE(ranges); i++)
        FAILS(ERR_INVALID, copy_range("new", id, 1, "k", ranges[i].first, ranges[i].count, NULL));
    FAILS(ERR_INVALID, copy_range("new", id, 0, "k", 0, 1, NULL));
    FAILS(ERR_INVALID, copy_range("new", id, 10001, "k", 0, 1, NULL));
    FAILS(ERR_INVALID, copy_range("new", id, 1, "../k", 0, 1, NULL));
    FAILS(ERR_NOT_FOUND, copy_range("new", id, 1, "missing", 0, 1, NULL));
    ck_assert_ptr_nonnull(strstr(e.text, "COPY PART test-"));
    FAILS(ERR_NOT_FOUND, copy_range("new", "nonsense", 1, "k", 0, 1, NULL));
    FAILS(ERR_NOT_FOUND, copy_range("other", id, 1, "k", 0, 1, NULL));
    create_upload("new", gone);
    OK(store_multipart_abort(store, bucket, "new", gone, &e));
    FAILS(ERR_NOT_FOUND, copy_range("new", gone, 1, "k", 0, 1, NULL));
    expect_parts("new", id, NULL, 0);
    OK(copy_range("new", id, 1, "k", 0, 100, NULL));
}

/* ---- aborted under way ---- */

struct aborted {
    char id[STORE_UPLOAD_ID_SIZE];
    _Atomic bool stop;
};

static void *keep_putting_parts(void *arg)
{
    struct aborted *a = arg;
    struct pattern p = {.seed = 1};
    struct store_body body = pattern_body(&p, 300000);

    for (unsigned i = 1; !a->stop && i < 10000; i++) {
        int r = store_multipart_put(store, bucket, "k", a->id, i, &body, NULL, NULL);
        if (r == -ERR_NOT_FOUND)
            break;
        ck_assert_int_eq(r, 0);
    }
    return NULL;
}

/* An abort with parts in flight. A server may fail at it, or store one of the parts after its answer (versitygw does both);
 * the next abort ends it. */
STORE_TEST(aborts_under_parts_in_flight)
{
    struct aborted a = {.stop = false};
    pthread_t threads[3];

    create_upload("k", a.id);
    for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
        pthread_create(&threads[i], NULL, keep_putting_parts, &a);
    clock_sleep_ms(50);
    int r = store_multipart_abort(store, bucket, "k", a.id, &e);
    a.stop = true;
    for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
        pthread_join(threads[i], NULL);
    ck_assert_msg(r == 0 || r == -ERR_TEMPORARY, "%s", e.text);
    OK(store_multipart_abort(store, bucket, "k", a.id, &e));
    FAILS(ERR_NOT_FOUND, store_multipart_list(store, bucket, "k", a.id, see_part, &(struct seen){0}, &e));
}

int main(void)
{
    const TTest *const tests[] = {
        joins_parts,
        completes_some_of_the_parts,
        refuses_wrong_parts,
        completes_once,
        a_second_complete_changes_nothing,
        aborts,
        finds_the_uploads_of_a_key,
        unknown_uploads_are_not_found,
        lists_parts_until_told_to_stop,
        copies_objects_into_parts,
        copies_objects_of_any_name,
        copies_only_what_is_there,
        aborts_under_parts_in_flight,
    };

    return run_over_all_stores("store_multipart", tests, ARRAY_SIZE(tests));
}
