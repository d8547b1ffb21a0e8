#include "flaky_store.h"

#include "base/clock.h"
#include "base/str.h"
#include "io/process.h"
#include "io/store_backend.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct flaky {
    struct store base;
    struct flaky_store *owner;
    struct store *real;
};

static struct flaky *flaky_of(struct store *s)
{
    return (struct flaky *)(void *)s;
}

/* Counts the call; the failure it is to have, if any. */
static int enter(struct flaky *f, atomic_int *count, struct err *e)
{
    atomic_fetch_add(count, 1);
    while (atomic_load(&f->owner->hanging))
        clock_sleep_ms(5);
    if (atomic_load(&f->owner->failing) > 0) {
        atomic_fetch_sub(&f->owner->failing, 1);
        return err_set(e, ERR_TEMPORARY, "the store is away");
    }
    return 0;
}

static int flaky_put(struct store *s, const char *bucket, const char *key, const struct store_body *body,
                     const struct store_put_options *options, char ret_etag[STORE_ETAG_SIZE], struct err *e)
{
    struct flaky *f = flaky_of(s);
    int r = enter(f, &f->owner->puts, e);

    return r != 0 ? r : f->real->ops->put(f->real, bucket, key, body, options, ret_etag, e);
}

struct cut {
    store_sink *sink;
    void *ctx;
    size_t left;
};

static int cut_sink(void *ctx, const void *data, size_t len, struct err *e)
{
    struct cut *cut = ctx;
    size_t n = len < cut->left ? len : cut->left;

    int r = n == 0 ? 0 : cut->sink(cut->ctx, data, n, e);
    cut->left -= n;
    if (r == 0 && n < len)
        return err_set(e, ERR_TEMPORARY, "the connection broke");
    return r;
}

static int flaky_get(struct store *s, const char *bucket, const char *key, uint64_t first, uint64_t count,
                     store_sink *sink, void *ctx, struct store_info *ret_info, struct err *e)
{
    struct flaky *f = flaky_of(s);
    int r = enter(f, &f->owner->gets, e);

    if (r != 0)
        return r;
    int at = atomic_exchange(&f->owner->cut_at, 0);
    struct cut cut = {sink, ctx, at == 0 ? SIZE_MAX : (size_t)at};
    return f->real->ops->get(f->real, bucket, key, first, count, cut_sink, &cut, ret_info, e);
}

static int flaky_head(struct store *s, const char *bucket, const char *key, struct store_info *ret, struct err *e)
{
    struct flaky *f = flaky_of(s);
    int r = enter(f, &f->owner->heads, e);

    return r != 0 ? r : f->real->ops->head(f->real, bucket, key, ret, e);
}

static int flaky_list(struct store *s, const char *bucket, const char *prefix, const char *start_after, uint64_t max,
                      store_each *each, void *ctx, struct err *e)
{
    struct flaky *f = flaky_of(s);
    int r = enter(f, &f->owner->lists, e);

    return r != 0 ? r : f->real->ops->list(f->real, bucket, prefix, start_after, max, each, ctx, e);
}

static int flaky_remove(struct store *s, const char *bucket, const char *key, struct err *e)
{
    struct flaky *f = flaky_of(s);

    return f->real->ops->remove(f->real, bucket, key, e);
}

static void flaky_free(struct store *s)
{
    store_free(flaky_of(s)->real);
    free(s);
}

static const struct store_ops ops = {.free = flaky_free,
                                     .put = flaky_put,
                                     .get = flaky_get,
                                     .head = flaky_head,
                                     .list = flaky_list,
                                     .remove = flaky_remove};

void flaky_store_start(struct flaky_store *s)
{
    struct flaky *f = calloc(1, sizeof *f);
    struct err e;

    *s = (struct flaky_store){0};
    str_copy(s->folder, sizeof s->folder, "/tmp/weir-test-XXXXXX");
    ck_assert_ptr_nonnull(f);
    ck_assert_ptr_nonnull(mkdtemp(s->folder));
    ck_assert_int_eq(store_dir_new(s->folder, &f->real, &e), 0);
    ck_assert_int_eq(store_ensure_bucket(f->real, "raw", &e), 0);
    ck_assert_int_eq(store_ensure_bucket(f->real, "processed", &e), 0);
    f->base.ops = &ops;
    f->owner = s;
    s->store = &f->base;
}

void remove_folder(const char *folder)
{
    const char *const argv[] = {"/bin/rm", "-rf", folder, NULL};
    struct process *p;
    struct err e;

    ck_assert_int_eq(process_spawn(&(struct process_options){.argv = argv}, &p, &e), 0);
    ck_assert_int_eq(process_wait(p, 10000, NULL, &e), 0);
    process_free(p);
}

void flaky_store_stop(struct flaky_store *s)
{
    store_free(s->store);
    remove_folder(s->folder);
}

void flaky_store_put(struct flaky_store *s, const char *bucket, const char *key, const void *data, size_t len)
{
    struct flaky *f = flaky_of(s->store);
    struct err e;

    ck_assert_int_eq(store_put_bytes(f->real, bucket, key, data, len, NULL, &e), 0);
}
