#include "store_backend.h"

#include "base/buf.h"
#include "base/id.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/str.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define DELETE_BATCH 1000 /* keys remembered at once by store_delete_prefix */

static struct metric requests = METRIC_COUNTER("weir_store_requests_total", "Calls of the object store.", "operation");
static struct metric errors = METRIC_COUNTER("weir_store_errors_total",
                                             "Calls of the object store that failed, after all retries.", "operation");

/* One call of the public interface: what its errors and metrics are named after. */
struct call {
    const char *verb;      /* "GET" */
    const char *operation; /* "get": the metrics' label */
    const char *bucket, *key;
    struct err *e, unread; /* e: the caller's or &unread, never NULL */
};

static bool bucket_valid(const char *bucket)
{
    size_t len = strnlen(bucket, STORE_BUCKET_MAX + 1);

    if (len < 3 || len > STORE_BUCKET_MAX || bucket[0] == '.' || bucket[0] == '-')
        return false;
    return strspn(bucket, "abcdefghijklmnopqrstuvwxyz0123456789.-") == len && strstr(bucket, "..") == NULL;
}

static bool segment_valid(const char *segment, size_t len)
{
    if (len == 0 || len > STORE_SEGMENT_MAX)
        return false;
    return !(segment[0] == '.' && (len == 1 || (len == 2 && segment[1] == '.')));
}

static bool text_valid(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)s[i] < 0x20 || s[i] == 0x7F)
            return false;
    return utf8_valid(s, len);
}

bool store_key_valid(const char *key)
{
    size_t len = strnlen(key, STORE_KEY_MAX + 1);

    if (len > STORE_KEY_MAX || !text_valid(key, len))
        return false;
    for (const char *segment = key;; segment += strcspn(segment, "/") + 1) {
        size_t segment_len = strcspn(segment, "/");
        if (!segment_valid(segment, segment_len))
            return false;
        if (segment[segment_len] == '\0')
            return true;
    }
}

/* Whether some valid key begins with it; a list under any other prefix is empty. */
static bool prefix_possible(const char *prefix)
{
    char folder[STORE_KEY_MAX + 1];
    const char *slash = strrchr(prefix, '/');

    if (strnlen(prefix, STORE_KEY_MAX + 1) > STORE_KEY_MAX)
        return false;
    if (slash == NULL)
        return text_valid(prefix, strlen(prefix)) && strlen(prefix) <= STORE_SEGMENT_MAX;
    return str_format(folder, sizeof folder, "%.*s", (int)(slash - prefix), prefix) && store_key_valid(folder) &&
           text_valid(slash, strlen(slash)) && strlen(slash + 1) <= STORE_SEGMENT_MAX;
}

static int call_begin(struct call *c, struct err *e)
{
    c->e = e != NULL ? e : &c->unread;
    if (!bucket_valid(c->bucket))
        return err_set(c->e, ERR_INVALID, "bad name of a bucket");
    if (c->key != NULL && !store_key_valid(c->key))
        return err_set(c->e, ERR_INVALID, "bad key");
    return 0;
}

static int call_end(struct call *c, int result)
{
    metric_add(&requests, c->operation, 1);
    if (result == 0)
        return 0;
    if (result != -ERR_NOT_FOUND && result != -ERR_CONFLICT)
        metric_add(&errors, c->operation, 1);
    return err_wrap(c->e, "%s %s%s%s", c->verb, c->bucket, c->key != NULL ? "/" : "", c->key != NULL ? c->key : "");
}

/* ---- bodies -------------------------------------------------------------------------------------------------------- */

static int read_bytes_at(void *ctx, uint64_t offset, void *to, size_t size, struct err *e)
{
    const struct store_bytes *bytes = ctx;

    if (offset > bytes->len || size > bytes->len - offset)
        return err_set(e, ERR_BUG, "read past the end of a body");
    memcpy(to, (const char *)bytes->data + offset, size);
    return 0;
}

static int read_file_at(void *ctx, uint64_t offset, void *to, size_t size, struct err *e)
{
    const int *fd = ctx;

    for (size_t done = 0; done < size;) {
        ssize_t n = pread(*fd, (char *)to + done, size - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set(e, ERR_TEMPORARY, "read: %s", strerror(errno));
        if (n == 0)
            return err_set(e, ERR_TEMPORARY, "the file became shorter");
        done += (size_t)n;
    }
    return 0;
}

/* The bodies are never written to; `ctx` has no const only because other bodies need none. */
static void *unconst(const void *p)
{
    union {
        const void *in;
        void *out;
    } u = {.in = p};
    return u.out;
}

struct store_body store_body_bytes(const struct store_bytes *bytes)
{
    return (struct store_body){.size_bytes = bytes->len, .read_at = read_bytes_at, .ctx = unconst(bytes)};
}

struct store_body store_body_file(const int *fd, uint64_t size_bytes)
{
    return (struct store_body){.size_bytes = size_bytes, .read_at = read_file_at, .ctx = unconst(fd)};
}

/* ---- buckets ------------------------------------------------------------------------------------------------------- */

void store_free(struct store *s)
{
    if (s != NULL)
        s->ops->free(s);
}

int store_ensure_bucket(struct store *s, const char *bucket, struct err *e)
{
    struct call c = {.verb = "CREATE BUCKET", .operation = "ensure_bucket", .bucket = bucket};

    int r = call_begin(&c, e);
    if (r == 0)
        r = s->ops->ensure_bucket(s, bucket, c.e);
    return call_end(&c, r);
}

/* Completes an upload to a key that is taken: ERR_CONFLICT from every store that Weir can use. */
static int complete_onto(struct store *s, const char *bucket, const char *key, struct err *e)
{
    struct store_bytes bytes = {.data = "3", .len = 1};
    struct store_body body = store_body_bytes(&bytes);
    struct store_part part = {.number = 1, .size_bytes = 1};
    char id[STORE_UPLOAD_ID_SIZE];

    int r = store_multipart_create(s, bucket, key, NULL, id, e);
    if (r != 0)
        return r;
    r = store_multipart_put(s, bucket, key, id, 1, &body, part.etag, e);
    if (r == 0)
        r = store_multipart_complete(s, bucket, key, id, &part, 1, true, e);
    int aborted = store_multipart_abort(s, bucket, key, id, r == -ERR_CONFLICT ? e : NULL);
    return r == -ERR_CONFLICT && aborted != 0 ? aborted : r;
}

int store_probe(struct store *s, const char *bucket, struct err *e)
{
    static const struct store_put_options once = {.if_none_match = true};
    struct err unread;
    char key[64], nonce[ID_NONCE_SIZE];

    if (e == NULL)
        e = &unread;
    id_nonce(nonce);
    str_format(key, sizeof key, ".weir-probe/%s", nonce);

    int r = store_put_bytes(s, bucket, key, "1", 1, &once, e);
    if (r != 0 && r != -ERR_CONFLICT) /* a conflict under our own nonce is a retry after a lost answer */
        return r;
    const char *where = "PUT";
    r = store_put_bytes(s, bucket, key, "2", 1, &once, e);
    if (r == -ERR_CONFLICT) {
        where = "CompleteMultipartUpload";
        r = complete_onto(s, bucket, key, e);
    }
    int deletion = store_delete(s, bucket, key, r == -ERR_CONFLICT ? e : NULL);
    if (r == 0)
        return err_set(
            e, ERR_INVALID,
            "store %s ignores If-None-Match on %s: two writers may create the same object, and Weir would lose "
            "data",
            s->name, where);
    return r == -ERR_CONFLICT ? deletion : r;
}

/* ---- objects ------------------------------------------------------------------------------------------------------- */

int store_put(struct store *s, const char *bucket, const char *key, const struct store_body *body,
              const struct store_put_options *options, char ret_etag[STORE_ETAG_SIZE], struct err *e)
{
    static const struct store_put_options defaults = {.if_none_match = false};
    struct call c = {.verb = "PUT", .operation = "put", .bucket = bucket, .key = key};
    char etag[STORE_ETAG_SIZE];

    int r = call_begin(&c, e);
    if (r == 0)
        r = s->ops->put(s, bucket, key, body, options != NULL ? options : &defaults, etag, c.e);
    if (r == 0 && ret_etag != NULL)
        memcpy(ret_etag, etag, sizeof etag);
    return call_end(&c, r);
}

int store_put_bytes(struct store *s, const char *bucket, const char *key, const void *data, size_t len,
                    const struct store_put_options *options, struct err *e)
{
    struct store_bytes bytes = {.data = data, .len = len};
    struct store_body body = store_body_bytes(&bytes);

    return store_put(s, bucket, key, &body, options, NULL, e);
}

/* A caller's callback, watched: what it returned is not an error of the store's. */
struct watched {
    store_sink *sink;
    store_each *each;
    store_each_part *each_part;
    store_each_upload *each_upload;
    void *ctx;
    uint64_t left; /* entries wanted by a list */
    int result;
};

static int watch_sink(void *ctx, const void *data, size_t len, struct err *e)
{
    struct watched *w = ctx;

    return w->result = w->sink(w->ctx, data, len, e);
}

int store_get(struct store *s, const char *bucket, const char *key, uint64_t first, uint64_t count, store_sink *sink,
              void *ctx, struct store_info *ret_info, struct err *e)
{
    struct call c = {.verb = "GET", .operation = "get", .bucket = bucket, .key = key};
    struct watched w = {.sink = sink, .ctx = ctx};
    struct store_info unread;

    int r = call_begin(&c, e);
    if (r == 0)
        r = s->ops->get(s, bucket, key, first, count, watch_sink, &w, ret_info != NULL ? ret_info : &unread, c.e);
    return w.result != 0 ? w.result : call_end(&c, r);
}

static int append_bounded(void *ctx, const void *data, size_t len, struct err *e)
{
    struct buf *b = ctx;

    buf_append(b, data, len);
    return buf_check(b, "object", e);
}

int store_get_bytes(struct store *s, const char *bucket, const char *key, size_t max, char **ret_data, size_t *ret_len,
                    struct err *e)
{
    BUF_AUTO struct buf b;
    struct err unread;

    buf_init(&b, max);
    if (e == NULL)
        e = &unread;
    int r = store_get(s, bucket, key, 0, UINT64_MAX, append_bounded, &b, NULL, e);
    if (r != 0)
        return r == -ERR_TOO_LARGE ? err_wrap(e, "GET %s/%s", bucket, key) : r;

    size_t len = b.len;
    char *data = buf_detach(&b);
    if (data == NULL)
        return err_set(e, ERR_TEMPORARY, "no memory");
    *ret_data = data;
    if (ret_len != NULL)
        *ret_len = len;
    return 0;
}

int store_head(struct store *s, const char *bucket, const char *key, struct store_info *ret, struct err *e)
{
    struct call c = {.verb = "HEAD", .operation = "head", .bucket = bucket, .key = key};

    int r = call_begin(&c, e);
    if (r == 0)
        r = s->ops->head(s, bucket, key, ret, c.e);
    return call_end(&c, r);
}

#define ENOUGH 1 /* ends a list that has given `max` entries */

static int watch_each(void *ctx, const struct store_entry *entry, struct err *e)
{
    struct watched *w = ctx;

    w->result = w->each(w->ctx, entry, e);
    if (w->result != 0)
        return w->result;
    return --w->left == 0 ? ENOUGH : 0;
}

int store_list(struct store *s, const char *bucket, const char *prefix, const char *start_after, uint64_t max,
               store_each *each, void *ctx, struct err *e)
{
    struct call c = {.verb = "LIST", .operation = "list", .bucket = bucket};
    struct watched w = {.each = each, .ctx = ctx, .left = max > 0 ? max : UINT64_MAX};

    if (start_after == NULL)
        start_after = "";
    int r = call_begin(&c, e);
    if (r == 0 && prefix_possible(prefix) && strnlen(start_after, STORE_KEY_MAX + 1) <= STORE_KEY_MAX)
        r = s->ops->list(s, bucket, prefix, start_after, max, watch_each, &w, c.e);
    if (w.result != 0)
        return w.result;
    c.key = prefix;
    return call_end(&c, w.left == 0 ? 0 : r);
}

int store_delete(struct store *s, const char *bucket, const char *key, struct err *e)
{
    struct call c = {.verb = "DELETE", .operation = "delete", .bucket = bucket, .key = key};

    int r = call_begin(&c, e);
    if (r == 0)
        r = s->ops->remove(s, bucket, key, c.e);
    return call_end(&c, r);
}

struct key_list {
    size_t count;
    char *keys[DELETE_BATCH];
};

static int remember_key(void *ctx, const struct store_entry *entry, struct err *e)
{
    struct key_list *list = ctx;

    char *key = mem_strdup(entry->key);
    if (key == NULL)
        return err_set(e, ERR_TEMPORARY, "no memory");
    list->keys[list->count++] = key;
    return 0;
}

/* Deletes the listed keys and forgets them. */
static int delete_keys(struct store *s, const char *bucket, struct key_list *list, uint64_t *deleted, struct err *e)
{
    int r = 0;

    for (size_t i = 0; i < list->count; i++) {
        if (r == 0)
            r = store_delete(s, bucket, list->keys[i], e);
        if (r == 0)
            (*deleted)++;
        mem_free(list->keys[i]);
    }
    list->count = 0;
    return r;
}

int store_delete_prefix(struct store *s, const char *bucket, const char *prefix, uint64_t *ret_count, struct err *e)
{
    uint64_t deleted = 0;
    bool more = true;
    int r = 0;

    struct key_list *list = mem_zalloc(sizeof *list);
    if (list == NULL)
        return err_set(e, ERR_TEMPORARY, "no memory");
    while (r == 0 && more) {
        r = store_list(s, bucket, prefix, NULL, DELETE_BATCH, remember_key, list, e);
        more = list->count == DELETE_BATCH;
        int deletion = delete_keys(s, bucket, list, &deleted, r == 0 ? e : NULL);
        if (r == 0)
            r = deletion;
    }
    mem_free(list);
    if (r == 0 && ret_count != NULL)
        *ret_count = deleted;
    return r;
}

/* ---- multipart uploads --------------------------------------------------------------------------------------------- */

int store_multipart_create(struct store *s, const char *bucket, const char *key, const char *content_type,
                           char ret_upload_id[STORE_UPLOAD_ID_SIZE], struct err *e)
{
    struct call c = {.verb = "CREATE UPLOAD", .operation = "multipart_create", .bucket = bucket, .key = key};

    int r = call_begin(&c, e);
    if (r == 0)
        r = s->ops->multipart_create(s, bucket, key, content_type, ret_upload_id, c.e);
    return call_end(&c, r);
}

/* An id that this store can't have given out names nothing. */
static int upload_begin(struct call *c, const char *upload_id, struct err *e)
{
    int r = call_begin(c, e);
    if (r != 0)
        return r;
    size_t len = strnlen(upload_id, STORE_UPLOAD_ID_SIZE);
    if (len == 0 || len == STORE_UPLOAD_ID_SIZE || !text_valid(upload_id, len) || strchr(upload_id, '/') != NULL)
        return err_set(c->e, ERR_NOT_FOUND, "no such upload");
    return 0;
}

static int check_number(unsigned number, struct err *e)
{
    return number > 0 && number <= STORE_PART_MAX ? 0 : err_set(e, ERR_INVALID, "part number %u", number);
}

int store_multipart_put(struct store *s, const char *bucket, const char *key, const char *upload_id, unsigned number,
                        const struct store_body *body, char ret_etag[STORE_ETAG_SIZE], struct err *e)
{
    struct call c = {.verb = "PUT PART", .operation = "multipart_put", .bucket = bucket, .key = key};
    char etag[STORE_ETAG_SIZE];

    int r = upload_begin(&c, upload_id, e);
    if (r == 0)
        r = check_number(number, c.e);
    if (r == 0)
        r = s->ops->multipart_put(s, bucket, key, upload_id, number, body, etag, c.e);
    if (r == 0 && ret_etag != NULL)
        memcpy(ret_etag, etag, sizeof etag);
    return call_end(&c, r);
}

static int check_source(const struct store_range *source, struct err *e)
{
    if (!store_key_valid(source->key))
        return err_set(e, ERR_INVALID, "bad key of the source");
    if (source->count == 0 || source->count > STORE_COPY_MAX || source->first > INT64_MAX - source->count)
        return err_set(e, ERR_INVALID, "no range that can be copied");
    return 0;
}

int store_multipart_copy(struct store *s, const char *bucket, const char *key, const char *upload_id, unsigned number,
                         const struct store_range *source, char ret_etag[STORE_ETAG_SIZE], struct err *e)
{
    struct call c = {.verb = "COPY PART", .operation = "multipart_copy", .bucket = bucket, .key = key};
    char etag[STORE_ETAG_SIZE];

    int r = upload_begin(&c, upload_id, e);
    if (r == 0)
        r = check_number(number, c.e);
    if (r == 0)
        r = check_source(source, c.e);
    if (r == 0)
        r = s->ops->multipart_copy(s, bucket, key, upload_id, number, source, etag, c.e);
    if (r == 0 && ret_etag != NULL)
        memcpy(ret_etag, etag, sizeof etag);
    return call_end(&c, r);
}

static int watch_each_part(void *ctx, const struct store_part *part, struct err *e)
{
    struct watched *w = ctx;

    return w->result = w->each_part(w->ctx, part, e);
}

int store_multipart_list(struct store *s, const char *bucket, const char *key, const char *upload_id,
                         store_each_part *each, void *ctx, struct err *e)
{
    struct call c = {.verb = "LIST PARTS", .operation = "multipart_list", .bucket = bucket, .key = key};
    struct watched w = {.each_part = each, .ctx = ctx};

    int r = upload_begin(&c, upload_id, e);
    if (r == 0)
        r = s->ops->multipart_list(s, bucket, key, upload_id, watch_each_part, &w, c.e);
    return w.result != 0 ? w.result : call_end(&c, r);
}

static int check_parts(const struct store_part *parts, size_t count, struct err *e)
{
    unsigned before = 0;

    if (count == 0)
        return err_set(e, ERR_INVALID, "no parts");
    for (size_t i = 0; i < count; i++) {
        if (parts[i].number <= before || parts[i].number > STORE_PART_MAX)
            return err_set(e, ERR_INVALID, "part numbers not ascending");
        before = parts[i].number;
    }
    return 0;
}

int store_multipart_complete(struct store *s, const char *bucket, const char *key, const char *upload_id,
                             const struct store_part *parts, size_t count, bool if_none_match, struct err *e)
{
    struct call c = {.verb = "COMPLETE", .operation = "multipart_complete", .bucket = bucket, .key = key};

    int r = upload_begin(&c, upload_id, e);
    if (r == 0)
        r = check_parts(parts, count, c.e);
    if (r == 0)
        r = s->ops->multipart_complete(s, bucket, key, upload_id, parts, count, if_none_match, c.e);
    return call_end(&c, r);
}

static int watch_each_upload(void *ctx, const char *upload_id, struct err *e)
{
    struct watched *w = ctx;

    return w->result = w->each_upload(w->ctx, upload_id, e);
}

int store_multipart_find(struct store *s, const char *bucket, const char *key, store_each_upload *each, void *ctx,
                         struct err *e)
{
    struct call c = {.verb = "LIST UPLOADS", .operation = "multipart_find", .bucket = bucket, .key = key};
    struct watched w = {.each_upload = each, .ctx = ctx};

    int r = call_begin(&c, e);
    if (r == 0)
        r = s->ops->multipart_find(s, bucket, key, watch_each_upload, &w, c.e);
    return w.result != 0 ? w.result : call_end(&c, r);
}

int store_multipart_abort(struct store *s, const char *bucket, const char *key, const char *upload_id, struct err *e)
{
    struct call c = {.verb = "ABORT", .operation = "multipart_abort", .bucket = bucket, .key = key};

    int r = upload_begin(&c, upload_id, e);
    if (r == 0)
        r = s->ops->multipart_abort(s, bucket, key, upload_id, c.e);
    return call_end(&c, r == -ERR_NOT_FOUND ? 0 : r);
}
