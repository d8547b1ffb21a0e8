#include "store_s3.h"

#include "base/clock.h"
#include "base/id.h"
#include "base/mem.h"
#include "base/str.h"
#include "proto/crc32c.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define CHECKSUM_BLOCK ((size_t)256 << 10)
#define PAGE_MAX 1000                       /* entries of one listing */
#define RESUME_PROGRESS ((uint64_t)1 << 20) /* a transfer that got so far before it broke starts to count anew */
#define RESUME_BACKOFF_MS 50

struct s3_client *store_s3_client(struct store *s)
{
    return ((struct store_s3 *)s)->client;
}

int s3_no_memory(struct err *e)
{
    return err_set(e, ERR_TEMPORARY, "out of memory");
}

/* ---- buckets ------------------------------------------------------------------------------------------------------- */

static int head_bucket(struct s3_client *c, const char *bucket, struct err *e)
{
    S3_CALL_AUTO struct s3_call *call = s3_call_new("HEAD", bucket, NULL);

    return call != NULL ? s3_run(c, call, e) : s3_no_memory(e);
}

static int create_bucket(struct s3_client *c, const char *bucket, struct err *e)
{
    S3_CALL_AUTO struct s3_call *call = s3_call_new("PUT", bucket, NULL);
    char xml[512] = "";

    if (call == NULL)
        return s3_no_memory(e);
    if (strcmp(s3_client_region(c), "us-east-1") != 0 && /* the default must not be named */
        !str_format(
            xml, sizeof xml,
            "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><LocationConstraint>%s"
            "</LocationConstraint></CreateBucketConfiguration>",
            s3_client_region(c)))
        return err_set(e, ERR_INVALID, "the region's name is too long");
    struct store_bytes bytes = {xml, strlen(xml)};
    struct store_body source = store_body_bytes(&bytes);
    struct http_body body = {source.size_bytes, source.read_at, source.ctx};
    call->body = &body;
    return s3_run(c, call, e);
}

static int s3_ensure_bucket(struct store *s, const char *bucket, struct err *e)
{
    int r = head_bucket(store_s3_client(s), bucket, e);
    if (r != -ERR_NOT_FOUND)
        return r;
    r = create_bucket(store_s3_client(s), bucket, e);
    if (r == 0 || r == -ERR_TEMPORARY)
        return r;
    return head_bucket(store_s3_client(s), bucket, e); /* refused: because another process has just made it? */
}

/* ---- put ----------------------------------------------------------------------------------------------------------- */

static int checksum(const struct store_body *body, char ret[CRC32C_BASE64_SIZE], struct err *e)
{
    size_t block = body->size_bytes < CHECKSUM_BLOCK ? (size_t)body->size_bytes : CHECKSUM_BLOCK;
    uint32_t crc = 0;

    if (body->has_crc32c) {
        crc32c_base64(body->crc32c, ret);
        return 0;
    }
    MEM_AUTO char *buffer = mem_alloc(block);
    if (buffer == NULL)
        return s3_no_memory(e);
    for (uint64_t at = 0; at < body->size_bytes;) {
        size_t n = body->size_bytes - at < block ? (size_t)(body->size_bytes - at) : block;
        int r = body->read_at(body->ctx, at, buffer, n, e);
        if (r != 0)
            return r;
        crc = crc32c_update(crc, buffer, n);
        at += n;
    }
    crc32c_base64(crc, ret);
    return 0;
}

int s3_send_body(struct s3_client *c, struct s3_call *call, const struct store_body *body,
                 char ret_etag[STORE_ETAG_SIZE], struct err *e)
{
    struct http_body http_body = {body->size_bytes, body->read_at, body->ctx};
    char crc[CRC32C_BASE64_SIZE];

    int r = checksum(body, crc, e);
    if (r != 0)
        return r;
    s3_call_header(call, "x-amz-checksum-crc32c", crc);
    call->body = &http_body;
    r = s3_run(c, call, e);
    if (r != 0)
        return r;
    const char *etag = call->fields[S3_ETAG].value;
    if (etag[0] != '"' || strlen(etag) >= STORE_ETAG_SIZE)
        return err_set(e, ERR_TEMPORARY, "the answer has no proper ETag");
    str_copy(ret_etag, STORE_ETAG_SIZE, etag);
    return 0;
}

static int s3_put(struct store *s, const char *bucket, const char *key, const struct store_body *body,
                  const struct store_put_options *options, char ret_etag[STORE_ETAG_SIZE], struct err *e)
{
    S3_CALL_AUTO struct s3_call *call = s3_call_new("PUT", bucket, key);

    if (call == NULL)
        return s3_no_memory(e);
    if (options->if_none_match)
        s3_call_header(call, "If-None-Match", "*");
    s3_call_header(call, "Content-Type",
                   options->content_type != NULL ? options->content_type : "application/octet-stream");
    if (options->cache_control != NULL)
        s3_call_header(call, "Cache-Control", options->cache_control);
    return s3_send_body(store_s3_client(s), call, body, ret_etag, e);
}

/* ---- head ---------------------------------------------------------------------------------------------------------- */

/* Size of the whole object: "bytes 5-9/100" of a 206, else Content-Length. */
static bool whole_size(const struct http_field *fields, unsigned status, uint64_t *ret)
{
    if (status != 206)
        return str_to_u64(fields[S3_CONTENT_LENGTH].value, ret);
    const char *slash = strrchr(fields[S3_CONTENT_RANGE].value, '/');
    return slash != NULL && str_to_u64(slash + 1, ret);
}

static int read_info(const struct http_field *fields, unsigned status, struct store_info *ret, struct err *e)
{
    struct store_info info;

    if (!whole_size(fields, status, &info.size_bytes) || fields[S3_ETAG].value[0] != '"' ||
        !str_copy(info.etag, sizeof info.etag, fields[S3_ETAG].value) ||
        !clock_parse_http_date(fields[S3_LAST_MODIFIED].value, &info.modified_ms))
        return err_set(e, ERR_TEMPORARY, "the answer has no proper size, ETag or Last-Modified");
    *ret = info;
    return 0;
}

static int s3_head(struct store *s, const char *bucket, const char *key, struct store_info *ret, struct err *e)
{
    S3_CALL_AUTO struct s3_call *call = s3_call_new("HEAD", bucket, key);
    struct err unread;

    if (call == NULL)
        return s3_no_memory(e);
    int r = s3_run(store_s3_client(s), call, e);
    /* The answer to a HEAD has no body that would tell a missing object from a missing bucket. */
    if (r == -ERR_NOT_FOUND && head_bucket(store_s3_client(s), bucket, &unread) == -ERR_NOT_FOUND)
        return err_set(e, ERR_TEMPORARY, "404 NoSuchBucket");
    return r != 0 ? r : read_info(call->fields, call->status, ret, e);
}

/* ---- get ----------------------------------------------------------------------------------------------------------- */

struct get {
    const char *bucket, *key;
    uint64_t at, end; /* bytes wanted: [at, end); `at` moves on */
    store_sink *sink;
    void *ctx;
    struct store_info *info;
    bool info_known;
    bool ranged, accepted; /* of the request in flight */
    bool broken, past_end; /* how it ended */
};

/* "bytes 5-…": where the bytes of a 206 begin. */
static bool range_begins_at(const char *content_range, uint64_t expected)
{
    static const char unit[] = "bytes ";
    uint64_t first;

    if (!str_starts(content_range, unit))
        return false;
    const char *digits = content_range + strlen(unit);
    return str_to_u64_n(digits, strcspn(digits, "-"), &first) && first == expected;
}

/* Before the first byte of every answer: it must be what was asked for, of the same object as before. */
static int accept_answer(struct get *g, const struct http_field *fields, unsigned status, struct err *e)
{
    struct store_info info;

    if (status != (g->ranged ? 206u : 200u) || (g->ranged && !range_begins_at(fields[S3_CONTENT_RANGE].value, g->at)))
        return err_set(e, ERR_TEMPORARY, "another range came than was asked for");
    int r = read_info(fields, status, &info, e);
    if (r != 0)
        return r;
    if (g->info_known && strcmp(info.etag, g->info->etag) != 0)
        return err_set(e, ERR_TEMPORARY, "the object was replaced during the transfer");
    *g->info = info;
    g->info_known = g->accepted = true;
    return 0;
}

static int get_sink(void *ctx, const struct http_answer *answer, const void *data, size_t len, struct err *e)
{
    struct get *g = ctx;

    if (!g->accepted) {
        int r = accept_answer(g, answer->fields, answer->status, e);
        if (r != 0)
            return r;
    }
    int r = g->sink(g->ctx, data, len, e);
    if (r == 0)
        g->at += len;
    return r;
}

/* One request for what is still wanted. */
static int get_rest(struct s3_client *c, struct get *g, struct err *e)
{
    S3_CALL_AUTO struct s3_call *call = s3_call_new("GET", g->bucket, g->key);
    char range[64], last[24] = "";

    if (call == NULL)
        return s3_no_memory(e);
    g->accepted = false;
    g->ranged = g->at > 0 || g->end != UINT64_MAX;
    if (g->end != UINT64_MAX)
        str_format(last, sizeof last, "%" PRIu64, g->end - 1);
    str_format(range, sizeof range, "bytes=%" PRIu64 "-%s", g->at, last);
    if (g->ranged)
        s3_call_header(call, "Range", range);
    if (g->info_known)
        s3_call_header(call, "If-Match", g->info->etag);
    call->sink = get_sink;
    call->ctx = g;
    int r = s3_run(c, call, e);
    g->broken = call->broken;
    g->past_end = call->status == 416;
    if (r == 0 && !g->accepted) /* nothing came: an empty object */
        r = accept_answer(g, call->fields, call->status, e);
    if (r == -ERR_CONFLICT)
        return err_set(e, ERR_TEMPORARY, "the object was replaced during the transfer");
    return r;
}

/* The range begins at or behind the end: no bytes, but what the object is. */
static int get_nothing(struct store *s, const struct get *g, uint64_t count, struct err *e)
{
    struct store_info info;

    int r = s3_head(s, g->bucket, g->key, &info, e);
    if (r != 0)
        return r;
    if (count > 0 && g->at < info.size_bytes)
        return err_set(e, ERR_TEMPORARY, "the object was replaced during the transfer");
    *g->info = info;
    return 0;
}

static int s3_get(struct store *s, const char *bucket, const char *key, uint64_t first, uint64_t count,
                  store_sink *sink, void *ctx, struct store_info *ret_info, struct err *e)
{
    struct get g = {.bucket = bucket, .key = key, .at = first, .sink = sink, .ctx = ctx, .info = ret_info};
    unsigned tries = 0;

    if (__builtin_add_overflow(first, count, &g.end))
        g.end = UINT64_MAX;
    if (count == 0 || first == UINT64_MAX)
        return get_nothing(s, &g, 0, e);
    for (;;) {
        uint64_t before = g.at;
        int r = get_rest(store_s3_client(s), &g, e);
        if (g.past_end && !g.info_known)
            return get_nothing(s, &g, count, e);
        if (!g.broken)
            return r;
        if (g.at >= g.info->size_bytes || g.at >= g.end)
            return 0; /* only the line broke, behind the last byte */
        tries = g.at - before >= RESUME_PROGRESS ? 0 : tries + 1;
        if (tries >= s3_client_attempts(store_s3_client(s)))
            return r;
        clock_sleep_ms(backoff_ms(RESUME_BACKOFF_MS, 1000, tries, id_random_u64()));
    }
}

/* ---- list, delete -------------------------------------------------------------------------------------------------- */

struct listing {
    store_each *each;
    void *ctx;
    int result; /* what the callback returned */
};

static int list_item(void *ctx, const struct s3_item *item, struct err *e)
{
    struct listing *l = ctx;
    struct store_entry entry = {.key = item->key, .size_bytes = item->size_bytes, .modified_ms = item->modified_ms};

    if (!store_key_valid(item->key)) /* somebody else's: "folder/" of a web console */
        return 0;
    return l->result = l->each(l->ctx, &entry, e);
}

int s3_list_page(struct s3_client *c, struct s3_call *call, s3_each *each, void *ctx, struct err *e)
{
    struct s3_answer again;

    int r = s3_run(c, call, e);
    if (r != 0)
        return r;
    /* Read a second time, now for the entries: an answer that is broken at its end gives none of them. */
    return s3_xml_parse(call->text.data != NULL ? call->text.data : "", call->text.len, &again, each, ctx, e);
}

static int s3_list(struct store *s, const char *bucket, const char *prefix, const char *start_after, uint64_t max,
                   store_each *each, void *ctx, struct err *e)
{
    struct listing l = {.each = each, .ctx = ctx};
    char page_size[16];
    BUF_AUTO struct buf token;
    bool more = true;
    int r = 0;

    buf_init(&token, S3_TEXT_SIZE);
    str_format(page_size, sizeof page_size, "%u", (unsigned)(max > 0 && max < PAGE_MAX ? max : PAGE_MAX));
    while (r == 0 && more) {
        S3_CALL_AUTO struct s3_call *call = s3_call_new("GET", bucket, NULL);
        if (call == NULL)
            return s3_no_memory(e);
        s3_call_query(call, "list-type", "2");
        s3_call_query(call, "max-keys", page_size);
        s3_call_query(call, "prefix", prefix);
        if (token.len > 0)
            s3_call_query(call, "continuation-token", buf_cstr(&token));
        else if (start_after[0] != '\0')
            s3_call_query(call, "start-after", start_after);
        r = s3_list_page(store_s3_client(s), call, list_item, &l, e);
        more = call->answer.truncated && call->answer.next_token[0] != '\0';
        buf_reset(&token);
        buf_puts(&token, call->answer.next_token);
        if (r == 0)
            r = buf_check(&token, "continuation token", e);
    }
    return r;
}

static int s3_remove(struct store *s, const char *bucket, const char *key, struct err *e)
{
    S3_CALL_AUTO struct s3_call *call = s3_call_new("DELETE", bucket, key);

    if (call == NULL)
        return s3_no_memory(e);
    int r = s3_run(store_s3_client(s), call, e);
    return r == -ERR_NOT_FOUND ? 0 : r;
}

/* ---- the store itself ---------------------------------------------------------------------------------------------- */

static void s3_free(struct store *s)
{
    s3_client_free(store_s3_client(s));
    mem_free(s);
}

static const struct store_ops ops = {
    .free = s3_free,
    .ensure_bucket = s3_ensure_bucket,
    .put = s3_put,
    .get = s3_get,
    .head = s3_head,
    .list = s3_list,
    .remove = s3_remove,
    .multipart_create = s3_multipart_create,
    .multipart_put = s3_multipart_put,
    .multipart_copy = s3_multipart_copy,
    .multipart_list = s3_multipart_list,
    .multipart_complete = s3_multipart_complete,
    .multipart_find = s3_multipart_find,
    .multipart_abort = s3_multipart_abort,
};

int store_s3_new(const struct store_s3_options *options, struct store **ret, struct err *e)
{
    struct err unread;

    if (e == NULL)
        e = &unread;
    struct store_s3 *s = mem_zalloc(sizeof *s);
    if (s == NULL)
        return s3_no_memory(e);
    s->base.ops = &ops;
    str_format(s->base.name, sizeof s->base.name, "s3 %s", options->endpoint);
    int r = s3_client_new(options, &s->client, e);
    if (r != 0) {
        mem_free(s);
        return err_wrap(e, "store %s", options->endpoint);
    }
    *ret = &s->base;
    return 0;
}
