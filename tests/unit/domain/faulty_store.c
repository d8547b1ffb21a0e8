#include "faulty_store.h"

#include "base/mem.h"
#include "base/str.h"
#include "io/store_backend.h"

#include <pthread.h>

struct faulty_store {
    struct store base;
    struct store *inner;
    pthread_mutex_t lock;
    uint64_t calls, fail_at, act_at, sent, read;
    enum fault fault;
    void (*act)(void *ctx);
    void *act_ctx;
};

static struct faulty_store *of(struct store *s)
{
    return (struct faulty_store *)s;
}

/* Counts a call; what is to become of it. */
static enum fault begin(struct store *store)
{
    struct faulty_store *s = of(store);
    enum fault fault = FAULT_NONE;
    void (*act)(void *ctx) = NULL;

    pthread_mutex_lock(&s->lock);
    void *act_ctx = s->act_ctx;
    s->calls++;
    bool away = s->fault == FAULT_AWAY_BEFORE || s->fault == FAULT_AWAY_AFTER;
    if (s->fault != FAULT_NONE && s->calls == s->fail_at)
        fault = s->fault;
    else if (away && s->calls > s->fail_at)
        fault = FAULT_BEFORE;
    if (s->act != NULL && s->calls == s->act_at) {
        act = s->act;
        s->act = NULL;
    }
    pthread_mutex_unlock(&s->lock);
    if (act != NULL)
        act(act_ctx);
    return fault;
}

static void count_sent(struct store *store, const struct store_body *body)
{
    struct faulty_store *s = of(store);

    pthread_mutex_lock(&s->lock);
    s->sent += body->size_bytes;
    pthread_mutex_unlock(&s->lock);
}

/* Counts what passes. */
struct counting {
    struct faulty_store *store;
    store_sink *sink;
    void *ctx;
};

static int count_read(void *ctx, const void *data, size_t len, struct err *e)
{
    struct counting *c = ctx;

    pthread_mutex_lock(&c->store->lock);
    c->store->read += len;
    pthread_mutex_unlock(&c->store->lock);
    return c->sink(c->ctx, data, len, e);
}

static int fail(struct err *e)
{
    return err_set(e, ERR_TEMPORARY, "the store fails on purpose");
}

/* Runs `call` as the fault says. */
#define RUN(call)                                                                                                      \
    do {                                                                                                               \
        enum fault fault = begin(s);                                                                                   \
        if (fault == FAULT_BEFORE || fault == FAULT_AWAY_BEFORE)                                                       \
            return fail(e);                                                                                            \
        int result = (call);                                                                                           \
        return fault == FAULT_NONE ? result : fail(e);                                                                 \
    } while (0)

static void do_free(struct store *s)
{
    struct faulty_store *f = of(s);

    store_free(f->inner);
    pthread_mutex_destroy(&f->lock);
    mem_free(f);
}

static int do_ensure_bucket(struct store *s, const char *bucket, struct err *e)
{
    return store_ensure_bucket(of(s)->inner, bucket, e);
}

static int do_put(struct store *s, const char *bucket, const char *key, const struct store_body *body,
                  const struct store_put_options *options, char ret_etag[STORE_ETAG_SIZE], struct err *e)
{
    count_sent(s, body);
    RUN(store_put(of(s)->inner, bucket, key, body, options, ret_etag, e));
}

static int do_get(struct store *s, const char *bucket, const char *key, uint64_t first, uint64_t count,
                  store_sink *sink, void *ctx, struct store_info *ret_info, struct err *e)
{
    struct counting c = {.store = of(s), .sink = sink, .ctx = ctx};

    RUN(store_get(of(s)->inner, bucket, key, first, count, count_read, &c, ret_info, e));
}

static int do_head(struct store *s, const char *bucket, const char *key, struct store_info *ret, struct err *e)
{
    RUN(store_head(of(s)->inner, bucket, key, ret, e));
}

static int do_list(struct store *s, const char *bucket, const char *prefix, const char *start_after, uint64_t max,
                   store_each *each, void *ctx, struct err *e)
{
    RUN(store_list(of(s)->inner, bucket, prefix, start_after, max, each, ctx, e));
}

static int do_remove(struct store *s, const char *bucket, const char *key, struct err *e)
{
    RUN(store_delete(of(s)->inner, bucket, key, e));
}

static int do_create(struct store *s, const char *bucket, const char *key, const char *content_type,
                     char ret_upload_id[STORE_UPLOAD_ID_SIZE], struct err *e)
{
    RUN(store_multipart_create(of(s)->inner, bucket, key, content_type, ret_upload_id, e));
}

static int do_put_part(struct store *s, const char *bucket, const char *key, const char *upload_id, unsigned number,
                       const struct store_body *body, char ret_etag[STORE_ETAG_SIZE], struct err *e)
{
    count_sent(s, body);
    RUN(store_multipart_put(of(s)->inner, bucket, key, upload_id, number, body, ret_etag, e));
}

static int do_copy_part(struct store *s, const char *bucket, const char *key, const char *upload_id, unsigned number,
                        const struct store_range *source, char ret_etag[STORE_ETAG_SIZE], struct err *e)
{
    RUN(store_multipart_copy(of(s)->inner, bucket, key, upload_id, number, source, ret_etag, e));
}

static int do_list_parts(struct store *s, const char *bucket, const char *key, const char *upload_id,
                         store_each_part *each, void *ctx, struct err *e)
{
    RUN(store_multipart_list(of(s)->inner, bucket, key, upload_id, each, ctx, e));
}

static int do_complete(struct store *s, const char *bucket, const char *key, const char *upload_id,
                       const struct store_part *parts, size_t count, bool if_none_match, struct err *e)
{
    RUN(store_multipart_complete(of(s)->inner, bucket, key, upload_id, parts, count, if_none_match, e));
}

static int do_find(struct store *s, const char *bucket, const char *key, store_each_upload *each, void *ctx,
                   struct err *e)
{
    RUN(store_multipart_find(of(s)->inner, bucket, key, each, ctx, e));
}

static int do_abort(struct store *s, const char *bucket, const char *key, const char *upload_id, struct err *e)
{
    RUN(store_multipart_abort(of(s)->inner, bucket, key, upload_id, e));
}

struct store *faulty_store_new(struct store *inner)
{
    static const struct store_ops ops = {
        .free = do_free,
        .ensure_bucket = do_ensure_bucket,
        .put = do_put,
        .get = do_get,
        .head = do_head,
        .list = do_list,
        .remove = do_remove,
        .multipart_create = do_create,
        .multipart_put = do_put_part,
        .multipart_copy = do_copy_part,
        .multipart_list = do_list_parts,
        .multipart_complete = do_complete,
        .multipart_find = do_find,
        .multipart_abort = do_abort,
    };
    struct faulty_store *s = mem_zalloc(sizeof *s);

    s->base.ops = &ops;
    str_copy(s->base.name, sizeof s->base.name, "faulty");
    s->inner = inner;
    pthread_mutex_init(&s->lock, NULL);
    return &s->base;
}

void faulty_store_fail(struct store *store, uint64_t nth, enum fault fault)
{
    struct faulty_store *s = of(store);

    pthread_mutex_lock(&s->lock);
    s->calls = 0;
    s->fail_at = nth;
    s->fault = fault;
    pthread_mutex_unlock(&s->lock);
}

uint64_t faulty_store_calls(struct store *store)
{
    struct faulty_store *s = of(store);

    pthread_mutex_lock(&s->lock);
    uint64_t calls = s->calls;
    pthread_mutex_unlock(&s->lock);
    return calls;
}

void faulty_store_traffic(struct store *store, uint64_t *ret_sent, uint64_t *ret_read)
{
    struct faulty_store *s = of(store);

    pthread_mutex_lock(&s->lock);
    *ret_sent = s->sent;
    *ret_read = s->read;
    pthread_mutex_unlock(&s->lock);
}

void faulty_store_interrupt(struct store *store, uint64_t nth, void (*act)(void *ctx), void *ctx)
{
    struct faulty_store *s = of(store);

    pthread_mutex_lock(&s->lock); /* parts may be on their way */
    s->act_at = s->calls + nth;
    s->act = act;
    s->act_ctx = ctx;
    pthread_mutex_unlock(&s->lock);
}
