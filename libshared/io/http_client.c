#include "http_client.h"

#include "base/mem.h"
#include "base/str.h"

#include <curl/curl.h>
#include <pthread.h>
#include <string.h>
#include <strings.h>

#define IDLE_MAX 64 /* connections kept when nobody uses them */
/* Large ones mean few system calls per MiB, and still stay in the cache between two copies. Where little is to be carried
 * they are small: hundreds of small objects may be on their way at once. */
#define LARGE_BUFFER (128L * 1024)
#define SMALL_BODY_BUFFER (64L * 1024)
#define SMALL_ANSWER_BUFFER (16L * 1024)
#define LARGE_BODY (UINT64_C(2) << 20)
#define HEADER_LINES_MAX 256 /* of one answer */

struct http_client {
    struct http_client_options options;
    pthread_mutex_t lock;
    CURL *idle[IDLE_MAX]; /* each with its one connection; the last used is taken first */
    size_t idle_count;
};

/* What curl's callbacks need to know of the request in flight. */
struct flight {
    const struct http_request *request;
    struct http_answer *answer;
    uint64_t sent; /* offset of the next byte of the body */
    unsigned header_lines;
    struct err *e;
};

/* ---- the pool ------------------------------------------------------------------------------------------------------ */

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;
static CURLcode curl_ready;

static void init_curl(void)
{
    curl_ready = curl_global_init(CURL_GLOBAL_DEFAULT);
}

int http_client_new(const struct http_client_options *options, struct http_client **ret, struct err *e)
{
    pthread_once(&curl_once, init_curl);
    if (curl_ready != CURLE_OK)
        return err_set(e, ERR_TEMPORARY, "libcurl: %s", curl_easy_strerror(curl_ready));
    struct http_client *c = mem_zalloc(sizeof *c);
    if (c == NULL)
        return err_set(e, ERR_TEMPORARY, "out of memory");
    c->options = *options;
    pthread_mutex_init(&c->lock, NULL);
    *ret = c;
    return 0;
}

void http_client_free(struct http_client *c)
{
    if (c == NULL)
        return;
    while (c->idle_count > 0)
        curl_easy_cleanup(c->idle[--c->idle_count]);
    pthread_mutex_destroy(&c->lock);
    mem_free(c);
}

static CURL *take_handle(struct http_client *c)
{
    CURL *handle = NULL;

    pthread_mutex_lock(&c->lock);
    if (c->idle_count > 0)
        handle = c->idle[--c->idle_count];
    pthread_mutex_unlock(&c->lock);
    return handle != NULL ? handle : curl_easy_init();
}

static void give_handle(struct http_client *c, CURL *handle)
{
    curl_easy_reset(handle); /* keeps the connection */
    pthread_mutex_lock(&c->lock);
    if (c->idle_count < IDLE_MAX) {
        c->idle[c->idle_count++] = handle;
        handle = NULL;
    }
    pthread_mutex_unlock(&c->lock);
    if (handle != NULL)
        curl_easy_cleanup(handle);
}

/* ---- curl's callbacks ---------------------------------------------------------------------------------------------- */

static size_t on_read(char *to, size_t size, size_t count, void *ctx)
{
    struct flight *f = ctx;
    const struct http_body *body = f->request->body;
    uint64_t left = body->size_bytes - f->sent;
    size_t n = size * count < left ? size * count : (size_t)left;

    if (n == 0)
        return 0;
    int r = body->read_at(body->ctx, f->sent, to, n, f->e);
    if (r != 0) {
        f->answer->callback_result = r;
        return CURL_READFUNC_ABORT;
    }
    f->sent += n;
    return n;
}

static int on_seek(void *ctx, curl_off_t offset, int origin)
{
    struct flight *f = ctx;

    if (origin != SEEK_SET || offset < 0 || (uint64_t)offset > f->request->body->size_bytes)
        return CURL_SEEKFUNC_FAIL;
    f->sent = (uint64_t)offset;
    return CURL_SEEKFUNC_OK;
}

/* "HTTP/1.1 200 OK": a new answer begins; what an interim one (100) said is forgotten. */
static void begin_answer(struct flight *f)
{
    f->answer->status = 0;
    f->header_lines = 0;
    for (size_t i = 0; i < f->request->field_count; i++)
        f->request->fields[i].value[0] = '\0';
}

static void keep_field(const struct flight *f, const char *line, size_t len)
{
    const char *colon = memchr(line, ':', len);
    if (colon == NULL)
        return;
    const char *value = colon + 1, *end = line + len;
    while (value < end && (*value == ' ' || *value == '\t'))
        value++;
    while (end > value && (end[-1] == '\r' || end[-1] == '\n' || end[-1] == ' ' || end[-1] == '\t'))
        end--;
    for (size_t i = 0; i < f->request->field_count; i++) {
        struct http_field *field = &f->request->fields[i];
        if (strlen(field->name) != (size_t)(colon - line) || strncasecmp(field->name, line, strlen(field->name)) != 0)
            continue;
        if (!str_format(field->value, sizeof field->value, "%.*s", (int)(end - value), value))
            field->value[0] = '\0';
    }
}

static size_t on_header(char *line, size_t size, size_t count, void *ctx)
{
    struct flight *f = ctx;

    if (size * count >= 5 && memcmp(line, "HTTP/", 5) == 0)
        begin_answer(f);
    else
        keep_field(f, line, size * count);
    return ++f->header_lines <= HEADER_LINES_MAX ? size * count : 0;
}

struct body_ctx {
    struct flight *flight;
    CURL *handle;
};

static size_t on_write(char *data, size_t size, size_t count, void *ctx)
{
    const struct body_ctx *b = ctx;
    struct flight *f = b->flight;
    long status = 0;

    if (f->request->sink == NULL)
        return size * count;
    curl_easy_getinfo(b->handle, CURLINFO_RESPONSE_CODE, &status);
    f->answer->status = (unsigned)status;
    int r = f->request->sink(f->request->ctx, f->answer, data, size * count, f->e);
    if (r == 0)
        return size * count;
    f->answer->callback_result = r;
    return size * count == 0 ? 1 : 0; /* any other number ends the transfer */
}

/* ---- one request --------------------------------------------------------------------------------------------------- */

static bool append_header(struct curl_slist **list, const char *line)
{
    struct curl_slist *longer = curl_slist_append(*list, line);

    if (longer != NULL)
        *list = longer;
    return longer != NULL;
}

static int make_headers(const struct http_request *request, struct curl_slist **list, struct err *e)
{
    char line[4096]; /* the source of a copy: a key of 1024 bytes, each escaped */

    if (!append_header(list, "Expect:"))
        return err_set(e, ERR_TEMPORARY, "out of memory");
    for (size_t i = 0; i < request->header_count; i++) {
        if (!str_format(line, sizeof line, "%s: %s", request->headers[i].name, request->headers[i].value))
            return err_set(e, ERR_INVALID, "header %s is too long", request->headers[i].name);
        if (line[strcspn(line, "\r\n")] != '\0')
            return err_set(e, ERR_INVALID, "header %s has more than one line", request->headers[i].name);
        if (!append_header(list, line))
            return err_set(e, ERR_TEMPORARY, "out of memory");
    }
    return 0;
}

static void set_body(CURL *h, const struct http_request *request, struct flight *f)
{
    if (strcmp(request->method, "HEAD") == 0) {
        curl_easy_setopt(h, CURLOPT_NOBODY, 1L);
    } else if (request->body != NULL) {
        curl_easy_setopt(h, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(h, CURLOPT_INFILESIZE_LARGE, (curl_off_t)request->body->size_bytes);
        curl_easy_setopt(h, CURLOPT_READFUNCTION, on_read);
        curl_easy_setopt(h, CURLOPT_READDATA, f);
        curl_easy_setopt(h, CURLOPT_SEEKFUNCTION, on_seek);
        curl_easy_setopt(h, CURLOPT_SEEKDATA, f);
        curl_easy_setopt(h, CURLOPT_UPLOAD_BUFFERSIZE,
                         request->body->size_bytes < LARGE_BODY ? SMALL_BODY_BUFFER : LARGE_BUFFER);
    } else if (strcmp(request->method, "POST") == 0 || strcmp(request->method, "PUT") == 0) {
        curl_easy_setopt(h, CURLOPT_POSTFIELDSIZE, 0L);
        curl_easy_setopt(h, CURLOPT_POSTFIELDS, "");
    }
    curl_easy_setopt(h, CURLOPT_CUSTOMREQUEST, request->method);
}

static void set_options(CURL *h, const struct http_client *c, const struct http_request *request, struct flight *f,
                        struct body_ctx *b, char error[CURL_ERROR_SIZE])
{
    uint64_t stall_ms = request->stall_timeout_ms > 0 ? request->stall_timeout_ms : c->options.stall_timeout_ms;

    curl_easy_setopt(h, CURLOPT_URL, request->url);
    curl_easy_setopt(h, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(h, CURLOPT_PROXY, "");
    curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(h, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(h, CURLOPT_MAXCONNECTS, 1L);
    curl_easy_setopt(h, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(h, CURLOPT_BUFFERSIZE, strcmp(request->method, "GET") == 0 ? LARGE_BUFFER : SMALL_ANSWER_BUFFER);
    curl_easy_setopt(h, CURLOPT_CONNECTTIMEOUT_MS, (long)c->options.connect_timeout_ms);
    curl_easy_setopt(h, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(h, CURLOPT_LOW_SPEED_TIME, (long)((stall_ms + 999) / 1000));
    curl_easy_setopt(h, CURLOPT_ERRORBUFFER, error);
    curl_easy_setopt(h, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(h, CURLOPT_HEADERDATA, f);
    curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, on_write);
    curl_easy_setopt(h, CURLOPT_WRITEDATA, b);
    set_body(h, request, f);
}

static int perform(CURL *h, struct flight *f, const char *error, struct err *e)
{
    long status = 0;

    CURLcode code = curl_easy_perform(h);
    curl_easy_getinfo(h, CURLINFO_RESPONSE_CODE, &status);
    f->answer->status = (unsigned)status;
    if (f->answer->callback_result != 0)
        return f->answer->callback_result;
    if (code != CURLE_OK)
        return err_set(e, ERR_TEMPORARY, "%s", error[0] != '\0' ? error : curl_easy_strerror(code));
    return 0;
}

int http_client_run(struct http_client *c, const struct http_request *request, struct http_answer *ret, struct err *e)
{
    struct curl_slist *headers = NULL;
    char error[CURL_ERROR_SIZE] = "";
    struct flight f = {.request = request, .answer = ret, .e = e};

    *ret = (struct http_answer){.fields = request->fields, .field_count = request->field_count};
    begin_answer(&f);
    CURL *h = take_handle(c);
    if (h == NULL)
        return err_set(e, ERR_TEMPORARY, "out of memory");
    struct body_ctx b = {.flight = &f, .handle = h};
    int r = make_headers(request, &headers, e);
    if (r == 0) {
        set_options(h, c, request, &f, &b, error);
        curl_easy_setopt(h, CURLOPT_HTTPHEADER, headers);
        r = perform(h, &f, error, e);
    }
    curl_slist_free_all(headers);
    give_handle(c, h);
    return r;
}
