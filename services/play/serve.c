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
#define PLAYLIST_MAX (1u << 20) /* of a master playlist, which Weir wrote */
#define GZIP_MARGIN 4096        /* what can't be compressed gets larger by less than this (8 MiB at most) */
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
    struct cache_entry *entry;
    struct store_info info;
    char *to; /* the next byte's place; NULL before the first one */
    uint64_t left;
};

static int fetch_sink(void *ctx, const void *data, size_t len, struct err *e)
{
    struct fetch *fetch = ctx;

    if (fetch->to == NULL) {
        int r = cache_room(fetch->entry, fetch->info.size_bytes, &fetch->to, e);
        if (r != 0)
            return r;
        fetch->left = fetch->info.size_bytes;
    }
    if (len > fetch->left)
        return err_set(e, ERR_TEMPORARY, "more bytes than the object has");
    memcpy(fetch->to, data, len);
    fetch->to += len;
    fetch->left -= len;
    return 0;
}

static int load_object(const struct form *form, struct cache_entry *entry, struct err *e)
{
    struct fetch fetch = {.entry = entry};
    const char *key = form->resource->key;

    int r = store_get(form->serve->store, form->serve->bucket, key, 0, UINT64_MAX, fetch_sink, &fetch, &fetch.info, e);
    if (r == 0 && fetch.left > 0)
        return err_set(e, ERR_TEMPORARY, "%s: fewer bytes than the object has", key);
    return r;
}

static int keep(const struct buf *made, struct cache_entry *entry, struct err *e)
{
    char *to;

    int r = buf_check(made, "another form of an object", e);
    if (r == 0)
        r = cache_room(entry, made->len, &to, e);
    if (r == 0)
        memcpy(to, buf_cstr(made), made->len);
    return r;
}

static int load_prefixed(const struct form *form, struct cache_entry *entry, struct err *e)
{
    const struct serve *s = form->serve;
    MEM_AUTO char *text = NULL;
    BUF_AUTO struct buf made;
    size_t len;

    buf_init(&made, PLAYLIST_MAX);
    int r = store_get_bytes(s->store, s->bucket, form->resource->key, PLAYLIST_MAX, &text, &len, e);
    if (r == 0)
        r = transform_prefix(text, len, form->resource->prefix, &made, e);
    return r == 0 ? keep(&made, entry, e) : r;
}

static int form_get(const struct form *form, struct cache_entry **ret, struct err *e);

/* The uncompressed form comes from the cache as well, so clients with and without gzip share one fetch. */
static int load_gzip(const struct form *form, struct cache_entry *entry, struct err *e)
{
    struct form plain = *form;
    struct cache_entry *source = NULL;
    BUF_AUTO struct buf made;
    int r = 0;

    buf_init(&made, 0);
    plain.gzip = false;
    if (form->file == NULL)
        r = form_get(&plain, &source, e);
    if (r != 0)
        return r;
    const void *data = form->file != NULL ? form->file->data : (const void *)cache_data(source);
    size_t size = form->file != NULL ? form->file->size : cache_size(source);
    buf_init(&made, size + GZIP_MARGIN);
    r = transform_gzip(data, size, &made, e);
    if (source != NULL)
        cache_put_back(source);
    return r == 0 ? keep(&made, entry, e) : r;
}

static int load_form(void *ctx, struct cache_entry *entry, struct err *e)
{
    const struct form *form = ctx;

    if (form->gzip)
        return load_gzip(form, entry, e);
    return form->resource->prefix != NULL ? load_prefixed(form, entry, e) : load_object(form, entry, e);
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

/* Preconditions, as RFC 9110, 13.2.2 orders them: status and range of an answer about `size` bytes, or false when the
 * answer was given: 304 or 416. */
static bool begin(struct http_request *rq, struct head *head, uint64_t size, int *ret_status, struct byte_range *ret)
{
    if (etag_listed(http_header(rq, "If-None-Match"), head->etag)) {
        http_respond(rq, 304, head->fields, NULL, NULL, 0);
        return false;
    }
    enum range_result result = wanted_range(rq, head, size, ret);
    if (result == RANGE_UNSATISFIABLE) {
        head_range(head, NULL, size);
        http_problem(rq, 416, "range-not-satisfiable", head->fields,
                     "the range starts past the end of the object; Content-Range says how long that is");
        return false;
    }
    if (result == RANGE_PART)
        head_range(head, ret, size);
    *ret_status = result == RANGE_PART ? 206 : 200;
    return true;
}

static void answer_from_memory(struct http_request *rq, const struct form *form, const void *data, size_t size)
{
    struct head head;
    struct byte_range range;
    int status;

    head_fill(&head, form->resource, form->gzip);
    if (begin(rq, &head, size, &status, &range))
        http_respond(rq, status, head.fields, form->resource->content_type, (const char *)data + range.first,
                     range.count);
}

/* An answer begins with its first byte, so a store that fails before that gives a proper failure. */
struct stream {
    struct http_request *rq;
    const char *content_type;
    struct head head;
    struct byte_range range;
    int status;
    bool begun;
};

static int stream_begin(struct stream *s, struct err *e)
{
    s->begun = true;
    return http_begin(s->rq, s->status, s->head.fields, s->content_type, s->range.count, e);
}

static int stream_sink(void *ctx, const void *data, size_t len, struct err *e)
{
    struct stream *s = ctx;

    int r = s->begun ? 0 : stream_begin(s, e);
    return r == 0 ? http_write(s->rq, data, len, e) : r;
}

/* Constant memory, straight from the store: for what is too large for the cache, or finds no room in it at the moment. */
static int answer_from_store(const struct serve *s, struct http_request *rq, const struct resource *resource,
                             struct err *e)
{
    struct stream stream = {.rq = rq, .content_type = resource->content_type};
    struct store_info info;

    int r = store_head(s->store, s->bucket, resource->key, &info, e);
    if (r != 0)
        return r;
    head_fill(&stream.head, resource, false);
    if (!begin(rq, &stream.head, info.size_bytes, &stream.status, &stream.range))
        return 0;
    if (strcmp(http_method(rq), "HEAD") != 0)
        r = store_get(s->store, s->bucket, resource->key, stream.range.first, stream.range.count, stream_sink, &stream,
                      NULL, e);
    if (r == 0 && !stream.begun) /* HEAD, or an empty object */
        r = stream_begin(&stream, e);
    if (r == -ERR_NOT_FOUND && stream.begun)
        return err_set(e, ERR_TEMPORARY, "%s was deleted while it was sent", resource->key);
    return r == 0 ? http_end(rq, e) : r;
}

static bool wants_gzip(const struct http_request *rq)
{
    return http_header(rq, "Range") == NULL && http_accepts_encoding(http_header(rq, "Accept-Encoding"), "gzip");
}

static int answer(const struct serve *s, struct http_request *rq, const struct form *form, struct err *e)
{
    struct cache_entry *entry;

    int r = form_get(form, &entry, e);
    if (r == 0) {
        answer_from_memory(rq, form, cache_data(entry), cache_size(entry));
        cache_put_back(entry);
    } else if ((r == -ERR_TOO_LARGE || r == -ERR_BUSY) && form->resource->prefix == NULL) {
        r = answer_from_store(s, rq, form->resource, e);
    }
    return r;
}

int serve_resource(const struct serve *s, struct http_request *rq, const struct resource *resource, struct err *e)
{
    const struct form form = {.serve = s, .resource = resource, .gzip = resource->text && wants_gzip(rq)};

    return answer(s, rq, &form, e);
}

int serve_embedded(const struct serve *s, struct http_request *rq, const struct embedded_file *file, const char *tag,
                   const char *cache_control, struct err *e)
{
    char key[LAYOUT_KEY_SIZE];
    struct cache_entry *entry;

    if (!str_format(key, sizeof key, "built-in:%s", file->name))
        return err_set(e, ERR_BUG, "the name of the built-in file %s is too long", file->name);
    const struct resource resource = {
        .key = key,
        .content_type = layout_content_type(file->name),
        .cache_control = cache_control,
        .tag = tag,
        .text = true,
    };
    struct form form = {.serve = s, .resource = &resource, .file = file, .gzip = wants_gzip(rq)};
    if (form.gzip && form_get(&form, &entry, e) == 0) {
        answer_from_memory(rq, &form, cache_data(entry), cache_size(entry));
        cache_put_back(entry);
        return 0;
    }
    form.gzip = false; /* not wanted, or no room for it */
    answer_from_memory(rq, &form, file->data, file->size);
    return 0;
}
