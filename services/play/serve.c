#include "serve.h"

#include "base/mem.h"
#include "base/str.h"
#include "domain/layout.h"
#include "proto/etag.h"
#include "proto/http_request.h"
#include "proto/range.h"
#include "transform.h"

#include <stdio.h>
#include <string.h>

#define TAG_SIZE 128
#define CACHE_KEY_SIZE (LAYOUT_KEY_SIZE + LAYOUT_VERSION_SIZE + 16)

/* The bytes of a resource in one of its forms, for the cache's loads. */
struct form {
    const struct serve *serve;
    const struct resource *resource;
    const struct embedded_file *file; /* NULL: an object of the store */
    bool gzip;
};

/* --- loading --- */

struct fetch {
    struct buf *out;
    struct store_info info;
};

static int fetch_sink(void *ctx, const void *data, size_t len, struct err *e)
{
    struct fetch *fetch = ctx;

    if (fetch->info.size_bytes > fetch->out->max)
        return err_set(e, ERR_TOO_LARGE, "object of %llu bytes", (unsigned long long)fetch->info.size_bytes);
    buf_append(fetch->out, data, len);
    return buf_check(fetch->out, "object", e);
}

static int fetch_object(const struct form *form, struct buf *out, struct err *e)
{
    struct fetch fetch = {.out = out};

    return store_get(form->serve->store, form->serve->bucket, form->resource->key, 0, UINT64_MAX, fetch_sink, &fetch,
                     &fetch.info, e);
}

static int form_get(const struct form *form, struct cache_entry **ret, struct err *e);

/* The uncompressed form comes from the cache as well, so clients with and without gzip share one fetch. */
static int load_gzip(const struct form *form, struct buf *out, struct err *e)
{
    struct form plain = *form;
    struct cache_entry *entry;

    plain.gzip = false;
    int r = form_get(&plain, &entry, e);
    if (r != 0)
        return r;
    r = transform_gzip(cache_data(entry), cache_size(entry), out, e);
    cache_put_back(form->serve->cache, entry);
    return r;
}

static int load_form(void *ctx, struct buf *out, struct err *e)
{
    const struct form *form = ctx;

    if (form->gzip)
        return load_gzip(form, out, e);
    if (form->file != NULL) {
        buf_append(out, form->file->data, form->file->size);
        return 0;
    }
    if (form->resource->prefix == NULL)
        return fetch_object(form, out, e);

    BUF_AUTO struct buf stored;
    buf_init(&stored, out->max);
    int r = fetch_object(form, &stored, e);
    return r != 0 ? r : transform_prefix(buf_cstr(&stored), stored.len, form->resource->prefix, out, e);
}

static int form_get(const struct form *form, struct cache_entry **ret, struct err *e)
{
    char key[CACHE_KEY_SIZE];
    const struct resource *r = form->resource;

    if (!str_format(key, sizeof key, "%s|%s|%s", r->key, r->prefix != NULL ? r->prefix : "", form->gzip ? "gzip" : ""))
        return err_set(e, ERR_NOT_FOUND, "there is no such object");
    struct form copy = *form;
    return cache_get(form->serve->cache, key, load_form, &copy, ret, e);
}

/* --- answering --- */

/* The header fields of an answer; the texts live in here. */
struct head {
    char etag[TAG_SIZE], content_range[96];
    struct http_field fields[8];
};

static void head_fill(struct head *head, const struct resource *resource, bool gzip)
{
    str_format(head->etag, sizeof head->etag, "\"%s%s\"", resource->tag, gzip ? "-gz" : "");
    head->content_range[0] = '\0';
    const struct http_field fields[] = {
        {"ETag", head->etag},
        {"Cache-Control", resource->cache_control},
        {"Accept-Ranges", "bytes"},
        {"Vary", resource->text ? "Accept-Encoding" : NULL},
        {"Content-Encoding", gzip ? "gzip" : NULL},
        {"Content-Range", NULL},
        {0},
    };
    memcpy(head->fields, fields, sizeof fields);
}

static void head_range(struct head *head, const struct byte_range *range, uint64_t size)
{
    if (range != NULL)
        str_format(head->content_range, sizeof head->content_range, "bytes %llu-%llu/%llu",
                   (unsigned long long)range->first, (unsigned long long)(range->first + range->count - 1),
                   (unsigned long long)size);
    else
        str_format(head->content_range, sizeof head->content_range, "bytes */%llu", (unsigned long long)size);
    head->fields[5].value = head->content_range;
}

/* What of `size` bytes to send; RFC 9110, 13.2.2: If-Range first. */
static enum range_result wanted_range(const struct http_request *rq, const struct head *head, uint64_t size,
                                      struct byte_range *ret)
{
    *ret = (struct byte_range){.first = 0, .count = size};
    if (!etag_allows_range(http_header(rq, "If-Range"), head->etag))
        return RANGE_WHOLE;
    return range_resolve(http_header(rq, "Range"), size, ret);
}

/* Status and range of an answer about `size` bytes; false: refused with 416. */
static bool begin_range(struct http_request *rq, struct head *head, uint64_t size, int *ret_status,
                        struct byte_range *ret_range)
{
    enum range_result result = wanted_range(rq, head, size, ret_range);

    if (result == RANGE_UNSATISFIABLE) {
        head_range(head, NULL, size);
        http_problem(rq, 416, "range-not-satisfiable", head->fields, "the range starts past the end of the object");
        return false;
    }
    if (result == RANGE_PART)
        head_range(head, ret_range, size);
    *ret_status = result == RANGE_PART ? 206 : 200;
    return true;
}

static int answer_from_memory(const struct serve *s, struct http_request *rq, const struct form *form,
                              struct cache_entry *entry)
{
    struct head head;
    struct byte_range range;
    int status;

    head_fill(&head, form->resource, form->gzip);
    if (begin_range(rq, &head, cache_size(entry), &status, &range))
        http_respond(rq, status, head.fields, form->resource->content_type,
                     (const char *)cache_data(entry) + range.first, range.count);
    cache_put_back(s->cache, entry);
    return 0;
}

static int stream_sink(void *ctx, const void *data, size_t len, struct err *e)
{
    return http_write(ctx, data, len, e);
}

/* For objects that are too large for the cache: constant memory, straight from the store. */
static int answer_from_store(const struct serve *s, struct http_request *rq, const struct resource *resource,
                             struct err *e)
{
    struct store_info info;
    struct byte_range range;
    struct head head;
    int status;

    int r = store_head(s->store, s->bucket, resource->key, &info, e);
    if (r != 0)
        return r;
    head_fill(&head, resource, false);
    if (!begin_range(rq, &head, info.size_bytes, &status, &range))
        return 0;
    r = http_begin(rq, status, head.fields, resource->content_type, range.count, e);
    if (r == 0 && strcmp(http_method(rq), "HEAD") != 0)
        r = store_get(s->store, s->bucket, resource->key, range.first, range.count, stream_sink, rq, NULL, e);
    return r != 0 ? r : http_end(rq, e);
}

static int answer(const struct serve *s, struct http_request *rq, struct form *form, struct err *e)
{
    struct cache_entry *entry;
    struct head head;

    form->gzip = form->resource->text && http_header(rq, "Range") == NULL &&
                 http_accepts_encoding(http_header(rq, "Accept-Encoding"), "gzip");
    head_fill(&head, form->resource, form->gzip);
    if (etag_listed(http_header(rq, "If-None-Match"), head.etag)) {
        http_respond(rq, 304, head.fields, NULL, NULL, 0);
        return 0;
    }

    int r = form_get(form, &entry, e);
    if (r == 0)
        return answer_from_memory(s, rq, form, entry);
    if (r == -ERR_TOO_LARGE && form->file == NULL && form->resource->prefix == NULL)
        return answer_from_store(s, rq, form->resource, e);
    return r;
}

int serve_resource(const struct serve *s, struct http_request *rq, const struct resource *resource, struct err *e)
{
    struct form form = {.serve = s, .resource = resource};

    return answer(s, rq, &form, e);
}

int serve_embedded(const struct serve *s, struct http_request *rq, const struct embedded_file *file, const char *tag,
                   const char *cache_control, struct err *e)
{
    char key[LAYOUT_KEY_SIZE];

    if (!str_format(key, sizeof key, "built-in:%s", file->name))
        return err_set(e, ERR_BUG, "the name of the built-in file %s is too long", file->name);
    struct resource resource = {
        .key = key,
        .content_type = layout_content_type(file->name),
        .cache_control = cache_control,
        .tag = tag,
        .text = true,
    };
    struct form form = {.serve = s, .resource = &resource, .file = file};
    return answer(s, rq, &form, e);
}
