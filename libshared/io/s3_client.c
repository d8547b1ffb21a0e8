#include "s3_client.h"

#include "base/clock.h"
#include "base/id.h"
#include "base/mem.h"
#include "base/str.h"
#include "proto/url.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_CONNECT_TIMEOUT_MS 5000
#define DEFAULT_STALL_TIMEOUT_MS 30000
#define DEFAULT_ATTEMPTS 5
#define BACKOFF_BASE_MS 100
#define BACKOFF_MAX_MS 5000
#define TEXT_MAX ((size_t)8 << 20) /* 1000 keys of 1024 bytes, each byte escaped */
#define URL_MAX ((size_t)16 << 10)
#define SKEW_MIN_MS 60000 /* less is not why a signature was refused */

struct s3_client {
    struct http_client *http;
    struct url_endpoint endpoint;
    char *access_key, *secret_key, *region;
    unsigned attempts;
    _Atomic int64_t skew_ms; /* the server's clock minus ours */
};

/* ---- the client ---------------------------------------------------------------------------------------------------- */

void s3_client_free(struct s3_client *c)
{
    if (c == NULL)
        return;
    http_client_free(c->http);
    mem_free(c->access_key);
    mem_free(c->secret_key);
    mem_free(c->region);
    mem_free(c);
}

static uint64_t or_default(uint64_t value, uint64_t otherwise)
{
    return value != 0 ? value : otherwise;
}

static int fill_client(struct s3_client *c, const struct store_s3_options *o, struct err *e)
{
    struct http_client_options http = {
        .connect_timeout_ms = or_default(o->connect_timeout_ms, DEFAULT_CONNECT_TIMEOUT_MS),
        .stall_timeout_ms = or_default(o->stall_timeout_ms, DEFAULT_STALL_TIMEOUT_MS)};

    if (o->access_key == NULL || o->access_key[0] == '\0' || o->secret_key == NULL || o->secret_key[0] == '\0')
        return err_set(e, ERR_INVALID, "no access key or no secret key");
    int r = url_parse_endpoint(o->endpoint, &c->endpoint, e);
    if (r != 0)
        return r;
    c->attempts = (unsigned)or_default(o->attempts, DEFAULT_ATTEMPTS);
    c->access_key = mem_strdup(o->access_key);
    c->secret_key = mem_strdup(o->secret_key);
    c->region = mem_strdup(o->region != NULL && o->region[0] != '\0' ? o->region : "us-east-1");
    if (c->access_key == NULL || c->secret_key == NULL || c->region == NULL)
        return err_set(e, ERR_TEMPORARY, "out of memory");
    return http_client_new(&http, &c->http, e);
}

int s3_client_new(const struct store_s3_options *options, struct s3_client **ret, struct err *e)
{
    struct s3_client *c = mem_zalloc(sizeof *c);
    if (c == NULL)
        return err_set(e, ERR_TEMPORARY, "out of memory");
    int r = fill_client(c, options, e);
    if (r != 0) {
        s3_client_free(c);
        return r;
    }
    *ret = c;
    return 0;
}

unsigned s3_client_attempts(const struct s3_client *c)
{
    return c->attempts;
}

const char *s3_client_region(const struct s3_client *c)
{
    return c->region;
}

/* ---- a call -------------------------------------------------------------------------------------------------------- */

struct s3_call *s3_call_new(const char *method, const char *bucket, const char *key)
{
    static const char *const names[S3_FIELDS] = {[S3_ETAG] = "ETag",
                                                 [S3_LAST_MODIFIED] = "Last-Modified",
                                                 [S3_CONTENT_LENGTH] = "Content-Length",
                                                 [S3_CONTENT_RANGE] = "Content-Range",
                                                 [S3_DATE] = "Date"};
    struct s3_call *call = mem_zalloc(sizeof *call);

    if (call == NULL)
        return NULL;
    call->method = method;
    call->bucket = bucket;
    call->key = key;
    buf_init(&call->text, TEXT_MAX);
    for (size_t i = 0; i < S3_FIELDS; i++)
        call->fields[i].name = names[i];
    return call;
}

void s3_call_free(struct s3_call **call)
{
    if (*call != NULL)
        buf_release(&(*call)->text);
    mem_free(*call);
}

void s3_call_query(struct s3_call *call, const char *name, const char *value)
{
    call->query[call->query_count++] = (struct sigv4_pair){name, value};
}

void s3_call_header(struct s3_call *call, const char *name, const char *value)
{
    call->headers[call->header_count++] = (struct sigv4_pair){name, value};
}

/* ---- one attempt --------------------------------------------------------------------------------------------------- */

static int take_body(void *ctx, const struct http_answer *answer, const void *data, size_t len, struct err *e)
{
    struct s3_call *call = ctx;

    if (call->sink == NULL || answer->status / 100 != 2) {
        buf_append(&call->text, data, len);
        return call->text.failed ? err_set(e, ERR_TEMPORARY, "the answer is too long") : 0;
    }
    int r = call->sink(call->ctx, answer, data, len, e);
    if (r == 0)
        call->delivered += len;
    return r;
}

/* A request with its signature, as it goes over the line. */
struct signed_request {
    struct sigv4_pair pairs[S3_EXTRAS_MAX + 3];
    struct http_header headers[S3_EXTRAS_MAX + 4];
    size_t count;
    char amz_date[CLOCK_AMZ_DATE_SIZE];
    struct buf url, authorization;
};

static void gather_headers(const struct s3_client *c, const struct s3_call *call, struct signed_request *s)
{
    for (size_t i = 0; i < call->header_count; i++)
        s->pairs[s->count++] = call->headers[i];
    s->pairs[s->count++] = (struct sigv4_pair){"Host", c->endpoint.authority};
    s->pairs[s->count++] = (struct sigv4_pair){"x-amz-content-sha256", SIGV4_UNSIGNED_PAYLOAD};
    s->pairs[s->count++] = (struct sigv4_pair){"x-amz-date", s->amz_date};
    for (size_t i = 0; i < s->count; i++)
        s->headers[i] = (struct http_header){s->pairs[i].name, s->pairs[i].value};
}

static int sign(const struct s3_client *c, const struct s3_call *call, uint64_t now_ms, struct signed_request *s,
                struct err *e)
{
    const struct sigv4_key key = {c->access_key, c->secret_key, c->region, "s3"};
    char path[STORE_KEY_MAX + 128];

    clock_amz_date(now_ms, s->amz_date);
    gather_headers(c, call, s);
    if (!str_format(path, sizeof path, "/%s%s%s", call->bucket, call->key != NULL ? "/" : "",
                    call->key != NULL ? call->key : ""))
        return err_set(e, ERR_INVALID, "the key is too long");
    struct sigv4_request request = {.method = call->method,
                                    .path = path,
                                    .query = call->query,
                                    .query_count = call->query_count,
                                    .headers = s->pairs,
                                    .header_count = s->count,
                                    .payload = SIGV4_UNSIGNED_PAYLOAD};
    buf_printf(&s->url, "%s://%s", c->endpoint.tls ? "https" : "http", c->endpoint.authority);
    int r = sigv4_target(&request, &s->url, e);
    if (r == 0)
        r = sigv4_authorization(&request, &key, s->amz_date, &s->authorization, e);
    if (r == 0)
        s->headers[s->count++] = (struct http_header){"Authorization", buf_cstr(&s->authorization)};
    return r;
}

static int attempt(struct s3_client *c, struct s3_call *call, uint64_t now_ms, struct err *e)
{
    struct signed_request s = {.count = 0};

    buf_reset(&call->text);
    memset(&call->answer, 0, sizeof call->answer);
    call->status = 0;
    buf_init(&s.url, URL_MAX);
    buf_init(&s.authorization, URL_MAX);
    int r = sign(c, call, now_ms, &s, e);
    if (r == 0) {
        struct http_request request = {.method = call->method,
                                       .url = buf_cstr(&s.url),
                                       .headers = s.headers,
                                       .header_count = s.count,
                                       .body = call->body,
                                       .stall_timeout_ms = call->stall_timeout_ms,
                                       .fields = call->fields,
                                       .field_count = S3_FIELDS,
                                       .sink = take_body,
                                       .ctx = call};
        r = http_client_run(c->http, &request, &call->http, e);
        call->status = call->http.status;
        call->callback_result = call->http.callback_result;
    }
    buf_release(&s.url);
    buf_release(&s.authorization);
    return r;
}

/* ---- what an answer means ------------------------------------------------------------------------------------------ */

struct verdict {
    enum err_kind kind;
    bool again; /* worth another attempt */
};

static const struct {
    const char *code;
    struct verdict verdict;
} verdicts_by_code[] = {
    {"NoSuchKey", {ERR_NOT_FOUND, false}},
    {"NoSuchUpload", {ERR_NOT_FOUND, false}},
    {"NoSuchBucket", {ERR_TEMPORARY, false}}, /* somebody is making or mounting it, or the settings are wrong */
    {"PreconditionFailed", {ERR_CONFLICT, false}},
    {"ConditionalRequestConflict", {ERR_TEMPORARY, true}}, /* 409: lost to a racer that may itself fail yet */
    {"OperationAborted", {ERR_TEMPORARY, true}},
    {"RequestTimeout", {ERR_TEMPORARY, true}}, /* 400: the body came too slowly */
    {"AccessDenied", {ERR_TEMPORARY, true}},   /* MinIO says so, too, when a delete removes the folder of a PUT */
    {"SlowDown", {ERR_TEMPORARY, true}},
    {"InternalError", {ERR_TEMPORARY, true}},
    {"ServiceUnavailable", {ERR_TEMPORARY, true}},
    {"BadDigest", {ERR_TEMPORARY, true}}, /* the bytes were damaged on the way */
    {"XAmzContentChecksumMismatch", {ERR_TEMPORARY, true}},
    {"EntityTooSmall", {ERR_INVALID, false}}, /* what the caller asked for can't be done */
    {"InvalidPart", {ERR_INVALID, false}},
    {"InvalidPartOrder", {ERR_INVALID, false}},
    {"InvalidArgument", {ERR_INVALID, false}},
    {"KeyTooLongError", {ERR_INVALID, false}},
    {"ObjectParentIsFile",
     {ERR_INVALID, true}}, /* stores of files: the key contradicts another, or a delete still runs */
    {"ExistingObjectIsDirectory", {ERR_INVALID, true}},
    {"BucketAlreadyOwnedByYou", {ERR_CONFLICT, false}},
    {"BucketAlreadyExists", {ERR_CONFLICT, false}},
};

static struct verdict judge(unsigned status, const char *code)
{
    for (size_t i = 0; i < ARRAY_SIZE(verdicts_by_code); i++)
        if (strcmp(code, verdicts_by_code[i].code) == 0)
            return verdicts_by_code[i].verdict;
    if (status == 404)
        return (struct verdict){ERR_NOT_FOUND, false};
    if (status == 412)
        return (struct verdict){ERR_CONFLICT, false};
    /* 409: another request on its way contradicts this one. 499: MinIO took us for gone, as after we were frozen. */
    bool again = status == 408 || status == 409 || status == 429 || status == 499 || status / 100 == 5;
    return (struct verdict){ERR_TEMPORARY, again}; /* a quota, a policy, credentials: the operator's, never the job's */
}

/* Reads what the answer says. An error may come with status 200, from operations that begin to answer early. */
static int read_answer(struct s3_call *call, struct verdict *verdict, struct err *e)
{
    bool good = call->status / 100 == 2;
    struct err unread;

    *verdict = (struct verdict){ERR_TEMPORARY, true};
    if (call->text.len > 0) {
        int r = s3_xml_parse(call->text.data, call->text.len, &call->answer, NULL, NULL, good ? e : &unread);
        if (r != 0 && good)
            return r;
    }
    if (good && strcmp(call->answer.root, "Error") != 0)
        return 0;
    *verdict = judge(call->status, call->answer.code);
    return err_set(e, verdict->kind, "%u%s%s", call->status, call->answer.code[0] != '\0' ? " " : "",
                   call->answer.code);
}

/* A refused signature: when the server's clock is another than ours, true, and the next attempt uses its time. HEAD has no
 * body that names the reason, so only the clocks are compared. */
static bool correct_clock(struct s3_client *c, const struct s3_call *call, uint64_t signed_ms)
{
    uint64_t server_ms;

    if (call->status != 403 || !clock_parse_http_date(call->fields[S3_DATE].value, &server_ms))
        return false;
    int64_t off_ms = (int64_t)server_ms - (int64_t)signed_ms;
    if (llabs(off_ms) < SKEW_MIN_MS)
        return false;
    atomic_store(&c->skew_ms, (int64_t)server_ms - (int64_t)clock_wall_ms());
    return true;
}

int s3_run(struct s3_client *c, struct s3_call *call, struct err *e)
{
    bool clock_corrected = false;

    for (unsigned tries = 0;; tries++) {
        struct verdict verdict = {ERR_TEMPORARY, true};
        uint64_t now_ms = clock_wall_ms() + (uint64_t)atomic_load(&c->skew_ms);

        int r = attempt(c, call, now_ms, e);
        if (r == 0)
            r = read_answer(call, &verdict, e);
        else
            verdict.again = r == -ERR_TEMPORARY && call->callback_result == 0;
        call->broken = r != 0 && call->callback_result == 0 && call->delivered > 0;
        if (r == 0 || call->broken)
            return r;
        if (!clock_corrected && correct_clock(c, call, now_ms)) {
            clock_corrected = true;
            continue;
        }
        if (!verdict.again || tries + 1 >= c->attempts)
            return r;
        clock_sleep_ms(backoff_ms(BACKOFF_BASE_MS, BACKOFF_MAX_MS, tries, id_random_u64()));
    }
}
