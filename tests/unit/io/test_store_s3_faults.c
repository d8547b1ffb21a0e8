#include "io/store.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"

#include <arpa/inet.h>
#include <check.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* What the S3 back end does when the server or the line fails: a server in a thread plays a script, one step a request. */

enum behaviour {
    ANSWER, /* the whole request is read, the answer sent */
    CUT,    /* … but only `sent` bytes of its body, then the connection is closed */
    LOSE,   /* the whole request is read, then the connection is closed without an answer */
    EARLY,  /* the answer is sent and the connection closed before the body is read */
    STALL,  /* the body is read, but nothing answered, until the client gives up */
};

struct step {
    const char *expected; /* start of the request: "PUT /raw/k " */
    const char *status;   /* "200 OK" */
    const char *headers;  /* complete lines, or NULL */
    const char *body;     /* or NULL; Content-Length is added for all but HEAD */
    enum behaviour behaviour;
    size_t sent; /* for CUT */
};

#define STEPS_MAX 8
#define OBJECT "ETag: \"e1\"\r\nLast-Modified: Fri, 02 Jan 2026 03:04:05 GMT\r\n"
#define ERROR_XML(code) "<?xml version=\"1.0\"?>\n<Error><Code>" code "</Code><Message>m</Message></Error>"

static struct {
    int fd;
    unsigned port;
    const struct step *steps;
    size_t count, served;
    struct buf requests[STEPS_MAX]; /* head and body as they came */
    pthread_t thread;
} server;

static struct store *store;
static struct err e;

/* ---- the server ------------------------------------------------------------------------------------------------------ */

static bool read_more(int fd, struct buf *b)
{
    char block[4096];

    ssize_t n = read(fd, block, sizeof block);
    if (n > 0)
        buf_append(b, block, (size_t)n);
    return n > 0;
}

static size_t content_length(const char *head)
{
    uint64_t n = 0;
    const char *line = strcasestr(head, "\r\nContent-Length: ");

    if (line != NULL)
        ck_assert(str_to_u64_n(line + 18, strspn(line + 18, "0123456789"), &n));
    return (size_t)n;
}

/* False when the client closed instead. */
static bool read_request(int fd, struct buf *b, bool only_head)
{
    const char *end;

    while ((end = strstr(buf_cstr(b), "\r\n\r\n")) == NULL)
        if (!read_more(fd, b))
            return false;
    size_t whole = (size_t)(end - b->data) + 4 + (only_head ? 0 : content_length(b->data));
    while (b->len < whole)
        if (!read_more(fd, b))
            return false;
    return true;
}

static void send_answer(int fd, const struct step *step)
{
    const char *body = step->body != NULL ? step->body : "";
    size_t sent = step->behaviour == CUT ? step->sent : strlen(body);
    BUF_AUTO struct buf out;

    buf_init(&out, 1 << 20);
    buf_printf(&out, "HTTP/1.1 %s\r\n%s", step->status, step->headers != NULL ? step->headers : "");
    if (step->headers == NULL || strstr(step->headers, "Content-Length") == NULL)
        buf_printf(&out, "Content-Length: %zu\r\n", strlen(body));
    buf_puts(&out, "\r\n");
    if (!str_starts(step->expected, "HEAD"))
        buf_append(&out, body, sent);
    ck_assert_int_eq(send(fd, out.data, out.len, MSG_NOSIGNAL), (ssize_t)out.len);
}

/* Plays steps on one connection until the script or the client closes it. */
static void serve_connection(int fd)
{
    while (server.served < server.count) {
        const struct step *step = &server.steps[server.served];
        struct buf *request = &server.requests[server.served];
        if (!read_request(fd, request, step->behaviour == EARLY || step->behaviour == STALL))
            break;
        server.served++;
        if (step->behaviour == STALL)
            while (read_more(fd, request))
                ;
        else if (step->behaviour != LOSE)
            send_answer(fd, step);
        if (step->behaviour != ANSWER)
            break;
    }
    close(fd);
}

static void *serve(void *unused)
{
    (void)unused;
    while (server.served < server.count) {
        int fd = accept(server.fd, NULL, NULL);
        if (fd < 0)
            break;
        serve_connection(fd);
    }
    return NULL;
}

static void start(const struct step *steps, size_t count)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof address;
    char endpoint[64];

    ck_assert_uint_le(count, STEPS_MAX);
    server.served = 0;
    for (size_t i = 0; i < STEPS_MAX; i++)
        buf_init(&server.requests[i], 4 << 20);
    server.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(server.fd, (struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(listen(server.fd, 8), 0);
    ck_assert_int_eq(getsockname(server.fd, (struct sockaddr *)&address, &len), 0);
    server.port = ntohs(address.sin_port);
    server.steps = steps;
    server.count = count;
    ck_assert_int_eq(pthread_create(&server.thread, NULL, serve, NULL), 0);

    str_format(endpoint, sizeof endpoint, "http://127.0.0.1:%u", server.port);
    struct store_s3_options options = {
        .endpoint = endpoint, .access_key = "key", .secret_key = "secret", .stall_timeout_ms = 1000, .attempts = 3};
    ck_assert_int_eq(store_s3_new(&options, &store, &e), 0);
}

/* The whole script was played, and each request was the expected one. */
static void finish(void)
{
    struct timespec until;

    store_free(store);
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 5;
    if (pthread_timedjoin_np(server.thread, NULL, &until) != 0) { /* it waits for a request that does not come */
        shutdown(server.fd, SHUT_RDWR);
        pthread_join(server.thread, NULL);
    }
    close(server.fd);
    ck_assert_uint_eq(server.served, server.count);
    for (size_t i = 0; i < server.count; i++) {
        ck_assert_msg(str_starts(buf_cstr(&server.requests[i]), server.steps[i].expected), "request %zu: %s", i,
                      buf_cstr(&server.requests[i]));
        buf_release(&server.requests[i]);
    }
}

static void sent(size_t request, const char *text)
{
    ck_assert_msg(strstr(buf_cstr(&server.requests[request]), text) != NULL, "%s is missing in request %zu: %s", text,
                  request, buf_cstr(&server.requests[request]));
}

static void not_sent(size_t request, const char *text)
{
    ck_assert_msg(strcasestr(buf_cstr(&server.requests[request]), text) == NULL, "%s in request %zu", text, request);
}

#define PLAY(...)                                                                                                      \
    const struct step script[] = {__VA_ARGS__};                                                                        \
    start(script, ARRAY_SIZE(script))

static int get_text(char ret[64])
{
    char *data = NULL;

    int r = store_get_bytes(store, "raw", "k", 63, &data, NULL, &e);
    if (r == 0)
        str_copy(ret, 64, data);
    mem_free(data);
    return r;
}

static int put_once(const char *text)
{
    static const struct store_put_options once = {.if_none_match = true};

    return store_put_bytes(store, "raw", "k", text, strlen(text), &once, &e);
}

/* ---- trying again ------------------------------------------------------------------------------------------------------ */

START_TEST(a_burst_of_500_passes)
{
    char text[64];
    PLAY({"GET /raw/k ", "500 Internal Server Error", NULL, ERROR_XML("InternalError"), ANSWER, 0},
         {"GET /raw/k ", "502 Bad Gateway", NULL, "<html>not even XML<br>", ANSWER, 0},
         {"GET /raw/k ", "200 OK", OBJECT, "hello", ANSWER, 0});

    ck_assert_msg(get_text(text) == 0, "%s", e.text);
    ck_assert_str_eq(text, "hello");
    finish();
}
END_TEST

START_TEST(slow_down_ends_after_the_attempts)
{
    char text[64];
    PLAY({"GET /raw/k ", "503 Slow Down", NULL, ERROR_XML("SlowDown"), ANSWER, 0},
         {"GET /raw/k ", "503 Slow Down", NULL, ERROR_XML("SlowDown"), ANSWER, 0},
         {"GET /raw/k ", "503 Slow Down", NULL, ERROR_XML("SlowDown"), ANSWER, 0});

    ck_assert_int_eq(get_text(text), -ERR_TEMPORARY);
    ck_assert_str_eq(e.text, "GET raw/k: 503 SlowDown");
    finish();
}
END_TEST

START_TEST(a_stalled_server_is_given_up)
{
    struct store_info info;
    uint64_t before = clock_mono_ms();
    PLAY({"HEAD /raw/k ", NULL, NULL, NULL, STALL, 0},
         {"HEAD /raw/k ", "200 OK", OBJECT "Content-Length: 7\r\n", NULL, ANSWER, 0});

    ck_assert_msg(store_head(store, "raw", "k", &info, &e) == 0, "%s", e.text);
    ck_assert_uint_eq(info.size_bytes, 7);
    ck_assert_uint_le(clock_mono_ms() - before, 10000);
    finish();
}
END_TEST

START_TEST(nobody_listens)
{
    struct store_s3_options options = {
        .endpoint = "http://127.0.0.1:1", .access_key = "k", .secret_key = "s", .attempts = 2};

    ck_assert_int_eq(store_s3_new(&options, &store, &e), 0);
    ck_assert_int_eq(store_delete(store, "raw", "k", &e), -ERR_TEMPORARY);
    ck_assert_ptr_nonnull(strstr(e.text, "DELETE raw/k: "));
    store_free(store);
}
END_TEST

static const struct {
    const char *status, *code;
    enum err_kind kind;
    unsigned requests;
} meanings[] = {
    {"404 Not Found", "NoSuchKey", ERR_NOT_FOUND, 1},
    {"404 Not Found", "NoSuchUpload", ERR_NOT_FOUND, 1},
    {"404 Not Found", "NoSuchBucket", ERR_TEMPORARY, 1},
    {"404 Not Found", "SomethingNew", ERR_NOT_FOUND, 1},
    {"412 Precondition Failed", "PreconditionFailed", ERR_CONFLICT, 1},
    {"400 Bad Request", "EntityTooSmall", ERR_INVALID, 1},
    {"400 Bad Request", "InvalidPart", ERR_INVALID, 1},
    {"400 Bad Request", "RequestTimeout", ERR_TEMPORARY, 3},
    {"400 Bad Request", "BadDigest", ERR_TEMPORARY, 3},
    {"400 Bad Request", "XAmzContentChecksumMismatch", ERR_TEMPORARY, 3},
    {"401 Unauthorized", "", ERR_TEMPORARY, 1},
    {"403 Forbidden", "SignatureDoesNotMatch", ERR_TEMPORARY, 1},
    {"403 Forbidden", "InvalidAccessKeyId", ERR_TEMPORARY, 1},
    {"403 Forbidden", "AccessDenied", ERR_TEMPORARY, 3},
    {"400 Bad Request", "XMinioAdminBucketQuotaExceeded", ERR_TEMPORARY, 1}, /* the operator's to mend */
    {"405 Method Not Allowed", "MethodNotAllowed", ERR_TEMPORARY, 1},
    {"408 Request Timeout", "", ERR_TEMPORARY, 3},
    {"409 Conflict", "ConditionalRequestConflict", ERR_TEMPORARY, 3},
    {"409 Conflict", "ObjectParentIsFile", ERR_INVALID, 3},
    {"409 Conflict", "SomethingNew", ERR_TEMPORARY, 3},
    {"429 Too Many Requests", "", ERR_TEMPORARY, 3},
    {"499 Client Closed Request", "ClientDisconnected", ERR_TEMPORARY, 3},
    {"500 Internal Server Error", "InternalError", ERR_TEMPORARY, 3},
    {"503 Service Unavailable", "", ERR_TEMPORARY, 3},
    {"301 Moved Permanently", "PermanentRedirect", ERR_TEMPORARY, 1},
    {"307 Temporary Redirect", "TemporaryRedirect", ERR_TEMPORARY, 1},
    {"200 OK", "InternalError", ERR_TEMPORARY, 3}, /* Complete and Copy: an error after the status */
    {"200 OK", "NoSuchUpload", ERR_NOT_FOUND, 1},
    {"200 OK", "PreconditionFailed", ERR_CONFLICT, 1},
};

START_TEST(answers_mean)
{
    char body[256];
    struct step script[3];

    str_format(body, sizeof body, "<Error><Code>%s</Code></Error>", meanings[_i].code);
    for (size_t i = 0; i < ARRAY_SIZE(script); i++)
        script[i] = (struct step){"PUT /raw/k ", meanings[_i].status, NULL, body, ANSWER, 0};
    start(script, meanings[_i].requests);
    ck_assert_msg(put_once("x") == -(int)meanings[_i].kind, "%s", e.text);
    ck_assert_ptr_nonnull(strstr(e.text, meanings[_i].code));
    finish();
}
END_TEST

/* ---- conditional PUT ----------------------------------------------------------------------------------------------------- */

/* The winner's answer is lost: it must learn that the object exists, never that it failed to create it. */
START_TEST(a_lost_answer_becomes_a_conflict)
{
    PLAY({"PUT /raw/k ", NULL, NULL, NULL, LOSE, 0},
         {"PUT /raw/k ", "412 Precondition Failed", NULL, ERROR_XML("PreconditionFailed"), ANSWER, 0});

    ck_assert_int_eq(put_once("outcome"), -ERR_CONFLICT);
    for (size_t i = 0; i < 2; i++) {
        sent(i, "If-None-Match: *\r\n");
        sent(i, "\r\n\r\noutcome");
        sent(i, "SignedHeaders=content-type;host;if-none-match;x-amz-checksum-crc32c;x-amz-content-sha256;x-amz-date");
    }
    finish();
}
END_TEST

START_TEST(a_409_is_tried_again)
{
    PLAY({"PUT /raw/k ", "409 Conflict", NULL, ERROR_XML("ConditionalRequestConflict"), ANSWER, 0},
         {"PUT /raw/k ", "200 OK", OBJECT, NULL, ANSWER, 0});

    ck_assert_msg(put_once("x") == 0, "%s", e.text);
    finish();
}
END_TEST

START_TEST(a_refusal_before_the_body_is_heard)
{
    PLAY(
        {"PUT /raw/k ", "412 Precondition Failed", "Connection: close\r\n", ERROR_XML("PreconditionFailed"), EARLY, 0});

    ck_assert_int_eq(put_once("0123456789"), -ERR_CONFLICT);
    finish();
}
END_TEST

START_TEST(an_answer_without_etag_is_not_trusted)
{
    PLAY({"PUT /raw/k ", "200 OK", NULL, NULL, ANSWER, 0});

    ck_assert_int_eq(put_once("x"), -ERR_TEMPORARY);
    finish();
}
END_TEST

START_TEST(sends_checksum_and_length_and_no_expect)
{
    BUF_AUTO struct buf text;
    PLAY({"PUT /raw/k ", "200 OK", OBJECT, NULL, ANSWER, 0}, {"PUT /raw/k ", "200 OK", OBJECT, NULL, ANSWER, 0});

    buf_init(&text, 4 << 20);
    for (unsigned i = 0; i < 300000; i++)
        buf_puts(&text, "123456789");
    ck_assert_int_eq(put_once("123456789"), 0);
    ck_assert_int_eq(put_once(text.data), 0); /* so large that curl would expect a 100 */
    sent(0, "x-amz-checksum-crc32c: 4waSgw==\r\n");
    sent(0, "Content-Length: 9\r\n");
    sent(0, "x-amz-content-sha256: UNSIGNED-PAYLOAD\r\n");
    sent(0, "Content-Type: application/octet-stream\r\n");
    sent(1, "Content-Length: 2700000\r\n");
    not_sent(0, "expect");
    not_sent(0, "transfer-encoding");
    ck_assert_ptr_null(strcasestr(buf_cstr(&server.requests[1]), "expect:"));
    finish();
}
END_TEST

/* Gives everything once, for the checksum, and only the beginning after that. */
static int disconnected(void *ctx, uint64_t offset, void *to, size_t size, struct err *err)
{
    bool *summed = ctx;

    if (*summed && offset > 0)
        return err_set(err, ERR_DISCONNECTED, "the client is gone");
    memset(to, 'x', size);
    *summed = *summed || offset + size == (4 << 20);
    return 0;
}

START_TEST(a_body_that_fails_ends_the_call)
{
    bool summed = false;
    struct store_body body = {.size_bytes = 4 << 20, .read_at = disconnected, .ctx = &summed};
    PLAY({"PUT /raw/k ", NULL, NULL, NULL, STALL, 0});

    ck_assert_int_eq(store_put(store, "raw", "k", &body, NULL, NULL, &e), -ERR_DISCONNECTED);
    ck_assert_str_eq(e.text, "PUT raw/k: the client is gone");
    finish();
}
END_TEST

/* ---- GET ------------------------------------------------------------------------------------------------------------------ */

START_TEST(a_cut_transfer_is_resumed)
{
    char text[64];
    PLAY({"GET /raw/k ", "200 OK", OBJECT, "0123456789", CUT, 4},
         {"GET /raw/k ", "206 Partial Content", OBJECT "Content-Range: bytes 4-9/10\r\n", "456789", CUT, 3},
         {"GET /raw/k ", "500 Internal Server Error", NULL, NULL, ANSWER, 0},
         {"GET /raw/k ", "206 Partial Content", OBJECT "Content-Range: bytes 7-9/10\r\n", "789", ANSWER, 0});

    ck_assert_msg(get_text(text) == 0, "%s", e.text);
    ck_assert_str_eq(text, "0123456789");
    not_sent(0, "range:");
    not_sent(0, "if-match");
    sent(1, "Range: bytes=4-\r\n");
    sent(1, "If-Match: \"e1\"\r\n");
    sent(3, "Range: bytes=7-\r\n");
    finish();
}
END_TEST

static int count_bytes(void *ctx, const void *data, size_t len, struct err *err)
{
    (void)data, (void)err;
    *(size_t *)ctx += len;
    return 0;
}

START_TEST(a_cut_range_is_resumed)
{
    size_t got = 0;
    struct store_info info;
    PLAY({"GET /raw/k ", "206 Partial Content", OBJECT "Content-Range: bytes 2-7/10\r\n", "234567", CUT, 4},
         {"GET /raw/k ", "206 Partial Content", OBJECT "Content-Range: bytes 6-7/10\r\n", "67", ANSWER, 0});

    ck_assert_msg(store_get(store, "raw", "k", 2, 6, count_bytes, &got, &info, &e) == 0, "%s", e.text);
    ck_assert_uint_eq(got, 6);
    ck_assert_uint_eq(info.size_bytes, 10);
    sent(0, "Range: bytes=2-7\r\n");
    sent(1, "Range: bytes=6-7\r\n");
    finish();
}
END_TEST

#define REPLACED "ETag: \"e2\"\r\nLast-Modified: Fri, 02 Jan 2026 03:04:05 GMT\r\n"

static const struct step after_a_cut[] = {
    {"GET /raw/k ", "412 Precondition Failed", NULL, ERROR_XML("PreconditionFailed"), ANSWER, 0},
    {"GET /raw/k ", "206 Partial Content", REPLACED "Content-Range: bytes 4-9/10\r\n", "456789", ANSWER, 0},
    {"GET /raw/k ", "200 OK", OBJECT, "0123456789", ANSWER, 0}, /* no range */
    {"GET /raw/k ", "206 Partial Content", OBJECT "Content-Range: bytes 0-5/10\r\n", "012345", ANSWER, 0}, /* another */
};

START_TEST(another_object_is_not_mixed_in)
{
    char text[64];
    PLAY({"GET /raw/k ", "200 OK", OBJECT, "0123456789", CUT, 4}, after_a_cut[_i]);

    ck_assert_int_eq(get_text(text), -ERR_TEMPORARY);
    finish();
}
END_TEST

START_TEST(a_line_that_breaks_behind_the_last_byte_is_fine)
{
    char text[64];
    PLAY({"GET /raw/k ", "200 OK", OBJECT "Content-Length: 10\r\n", "0123456789", CUT, 10});

    ck_assert_msg(get_text(text) == 0, "%s", e.text);
    ck_assert_str_eq(text, "0123456789");
    finish();
}
END_TEST

START_TEST(cuts_without_progress_are_bounded)
{
    char text[64];
    PLAY({"GET /raw/k ", "200 OK", OBJECT, "0123456789", CUT, 1},
         {"GET /raw/k ", "206 Partial Content", OBJECT "Content-Range: bytes 1-9/10\r\n", "123456789", CUT, 1},
         {"GET /raw/k ", "206 Partial Content", OBJECT "Content-Range: bytes 2-9/10\r\n", "23456789", CUT, 1});

    ck_assert_int_eq(get_text(text), -ERR_TEMPORARY);
    finish();
}
END_TEST

START_TEST(an_error_in_mid_call_is_not_taken_for_the_end)
{
    size_t got = 0;
    PLAY({"GET /raw/k ", "400 Bad Request", NULL, ERROR_XML("InvalidArgument"), ANSWER, 0});

    ck_assert_int_eq(store_get(store, "raw", "k", 5, 10, count_bytes, &got, NULL, &e), -ERR_INVALID);
    finish();
}
END_TEST

START_TEST(head_tells_a_missing_object_from_a_missing_bucket)
{
    struct store_info info;
    PLAY({"HEAD /raw/k ", "404 Not Found", NULL, NULL, ANSWER, 0}, {"HEAD /raw ", "200 OK", NULL, NULL, ANSWER, 0},
         {"HEAD /raw/k ", "404 Not Found", NULL, NULL, ANSWER, 0},
         {"HEAD /raw ", "404 Not Found", NULL, NULL, ANSWER, 0});

    ck_assert_int_eq(store_head(store, "raw", "k", &info, &e), -ERR_NOT_FOUND);
    ck_assert_int_eq(store_head(store, "raw", "k", &info, &e), -ERR_TEMPORARY);
    finish();
}
END_TEST

/* ---- the clock -------------------------------------------------------------------------------------------------------------- */

static void expect_date(size_t request, int64_t off_ms)
{
    uint64_t now = clock_wall_ms() + (uint64_t)off_ms;
    char early[CLOCK_AMZ_DATE_SIZE], late[CLOCK_AMZ_DATE_SIZE], found[CLOCK_AMZ_DATE_SIZE];

    clock_amz_date(now - 5000, early);
    clock_amz_date(now + 5000, late);
    const char *header = strstr(buf_cstr(&server.requests[request]), "x-amz-date: ");
    ck_assert_ptr_nonnull(header);
    str_format(found, sizeof found, "%.16s", header + 12);
    ck_assert_str_ge(found, early);
    ck_assert_str_le(found, late);
}

/* An hour off: corrected by the answer's Date, and remembered. HEAD's answer has no text that says what is wrong. */
START_TEST(a_skewed_clock_is_corrected)
{
    int64_t off_ms = _i == 0 ? 3600000 : -3600000;
    char date[CLOCK_HTTP_DATE_SIZE], headers[128];
    struct store_info info;

    clock_http_date(clock_wall_ms() + (uint64_t)off_ms, date);
    str_format(headers, sizeof headers, "Date: %s\r\n", date);
    PLAY({"HEAD /raw/k ", "403 Forbidden", headers, NULL, ANSWER, 0},
         {"HEAD /raw/k ", "200 OK", OBJECT "Content-Length: 7\r\n", NULL, ANSWER, 0},
         {"PUT /raw/k ", "403 Forbidden", headers, ERROR_XML("AnotherReason"), ANSWER, 0});

    ck_assert_msg(store_head(store, "raw", "k", &info, &e) == 0, "%s", e.text);
    ck_assert_int_eq(put_once("x"), -ERR_TEMPORARY); /* the clocks agree now: this 403 means something else */
    expect_date(0, 0);
    expect_date(1, off_ms);
    expect_date(2, off_ms);
    finish();
}
END_TEST

/* ---- multipart uploads, lists -------------------------------------------------------------------------------------------------- */

static const struct store_part one_part = {.number = 7, .size_bytes = 1, .etag = "\"p<7>\""};

START_TEST(complete_may_fail_behind_a_200)
{
    PLAY({"POST /raw/k?uploadId=u%2B1 ", "200 OK", NULL, ERROR_XML("InternalError"), ANSWER, 0},
         {"POST /raw/k?uploadId=u%2B1 ", "200 OK", NULL,
          " \n\n<CompleteMultipartUploadResult><ETag>\"x\"</ETag></CompleteMultipartUploadResult>", ANSWER, 0});

    ck_assert_msg(store_multipart_complete(store, "raw", "k", "u+1", &one_part, 1, true, &e) == 0, "%s", e.text);
    sent(1, "If-None-Match: *\r\n");
    sent(1, "<Part><PartNumber>7</PartNumber><ETag>&quot;p&lt;7&gt;&quot;</ETag></Part></CompleteMultipartUpload>");
    finish();
}
END_TEST

/* The answer was lost, the upload is done: the caller learns that it is gone and looks for the object. */
START_TEST(a_lost_complete_becomes_not_found)
{
    PLAY({"POST /raw/k?uploadId=u ", NULL, NULL, NULL, LOSE, 0},
         {"POST /raw/k?uploadId=u ", "404 Not Found", NULL, ERROR_XML("NoSuchUpload"), ANSWER, 0});

    ck_assert_int_eq(store_multipart_complete(store, "raw", "k", "u", &one_part, 1, true, &e), -ERR_NOT_FOUND);
    finish();
}
END_TEST

#define COPIED(etag)                                                                                                   \
    "<CopyPartResult><LastModified>2026-01-02T03:04:05.678Z</LastModified><ETag>" etag "</ETag></CopyPartResult>"
#define COPY_REQUEST "PUT /raw/k?partNumber=3&uploadId=u%2B1 "

static int copy_bytes(char etag[STORE_ETAG_SIZE])
{
    struct store_range source = {.key = "a b/\xc3\xa9+%", .first = 10, .count = 20};

    return store_multipart_copy(store, "raw", "k", "u+1", 3, &source, etag, &e);
}

START_TEST(copy_may_fail_behind_a_200)
{
    char etag[STORE_ETAG_SIZE];
    PLAY({COPY_REQUEST, "200 OK", NULL, ERROR_XML("InternalError"), ANSWER, 0},
         {COPY_REQUEST, NULL, NULL, NULL, LOSE, 0},
         {COPY_REQUEST, "200 OK", NULL, " \n\n" COPIED("&quot;e3&quot;"), ANSWER, 0});

    ck_assert_msg(copy_bytes(etag) == 0, "%s", e.text);
    ck_assert_str_eq(etag, "\"e3\"");
    for (size_t i = 0; i < 3; i++) {
        sent(i, "x-amz-copy-source: /raw/a%20b/%C3%A9%2B%25\r\n");
        sent(i, "x-amz-copy-source-range: bytes=10-29\r\n");
        sent(i, "Content-Length: 0\r\n");
        sent(i, "SignedHeaders=host;x-amz-content-sha256;x-amz-copy-source;x-amz-copy-source-range;x-amz-date");
        not_sent(i, "x-amz-checksum");
    }
    finish();
}
END_TEST

static const struct {
    const char *status, *body;
    int result;
} copy_answers[] = {
    {"200 OK", COPIED("e3"), 0}, /* no quotes */
    {"200 OK", COPIED(""), -ERR_TEMPORARY},
    {"200 OK", "<CopyPartResult/>", -ERR_TEMPORARY},
    {"200 OK", NULL, -ERR_TEMPORARY},
    {"200 OK", ERROR_XML("NoSuchUpload"), -ERR_NOT_FOUND},
    {"404 Not Found", ERROR_XML("NoSuchKey"), -ERR_NOT_FOUND},
    {"404 Not Found", ERROR_XML("NoSuchUpload"), -ERR_NOT_FOUND},
    {"404 Not Found", ERROR_XML("NoSuchBucket"), -ERR_TEMPORARY},
    {"416 Range Not Satisfiable", ERROR_XML("InvalidRange"), -ERR_INVALID},
    {"400 Bad Request", ERROR_XML("InvalidArgument"), -ERR_INVALID},
};

START_TEST(copies_mean)
{
    char etag[STORE_ETAG_SIZE] = "untouched";
    PLAY({COPY_REQUEST, copy_answers[_i].status, NULL, copy_answers[_i].body, ANSWER, 0});

    ck_assert_msg(copy_bytes(etag) == copy_answers[_i].result, "%s", e.text);
    ck_assert_str_eq(etag, copy_answers[_i].result == 0 ? "\"e3\"" : "untouched");
    finish();
}
END_TEST

#define PART_LEFT                                                                                                      \
    "<ListPartsResult><Part><PartNumber>1</PartNumber><Size>1</Size><ETag>x</ETag></Part></ListPartsResult>"

START_TEST(abort_is_repeated_until_no_part_is_left)
{
    PLAY({"DELETE /raw/k?uploadId=u ", "204 No Content", NULL, NULL, ANSWER, 0},
         {"GET /raw/k?max-parts=1000&part-number-marker=0&uploadId=u ", "200 OK", NULL, PART_LEFT, ANSWER, 0},
         {"DELETE /raw/k?uploadId=u ", "204 No Content", NULL, NULL, ANSWER, 0},
         {"GET /raw/k?max-parts=1000&part-number-marker=0&uploadId=u ", "404 Not Found", NULL,
          ERROR_XML("NoSuchUpload"), ANSWER, 0});

    ck_assert_msg(store_multipart_abort(store, "raw", "k", "u", &e) == 0, "%s", e.text);
    finish();
}
END_TEST

START_TEST(create_needs_an_upload_id)
{
    char id[STORE_UPLOAD_ID_SIZE];
    PLAY({"POST /raw/k?uploads= ", "200 OK", NULL, "<InitiateMultipartUploadResult/>", ANSWER, 0});

    ck_assert_int_eq(store_multipart_create(store, "raw", "k", "video/mp4", id, &e), -ERR_TEMPORARY);
    sent(0, "Content-Type: video/mp4\r\n");
    sent(0, "Content-Length: 0\r\n");
    finish();
}
END_TEST

#define ENTRY(key)                                                                                                     \
    "<Contents><Key>" key "</Key><Size>1</Size><LastModified>2026-01-02T03:04:05Z</LastModified></Contents>"
#define PAGE(entries, rest) "<ListBucketResult>" entries rest "</ListBucketResult>"
#define MORE "<IsTruncated>true</IsTruncated><NextContinuationToken>t/1</NextContinuationToken>"

static int append_key(void *ctx, const struct store_entry *entry, struct err *err)
{
    (void)err;
    buf_printf(ctx, "%s ", entry->key);
    return 0;
}

/* A page that is cut gives nothing until it came wholly: no entry twice, none lost. */
START_TEST(a_broken_page_is_fetched_again)
{
    BUF_AUTO struct buf keys;
    PLAY({"GET /raw?list-type=2&max-keys=1000&prefix=a%2F&start-after=a%2F0 ", "200 OK", NULL,
          PAGE(ENTRY("a/1") ENTRY("a/2"), MORE), ANSWER, 0},
         {"GET /raw?continuation-token=t%2F1&list-type=2&max-keys=1000&prefix=a%2F ", "200 OK", NULL,
          PAGE(ENTRY("a/3"), "<Broken>"), ANSWER, 0},
         {"GET /raw?continuation-token=t%2F1&list-type=2&max-keys=1000&prefix=a%2F ", "200 OK", NULL,
          PAGE(ENTRY("a/3") ENTRY("a/folder/") ENTRY("a/4"), ""), ANSWER, 0});

    buf_init(&keys, 1000);
    ck_assert_msg(store_list(store, "raw", "a/", "a/0", 0, append_key, &keys, &e) == 0, "%s", e.text);
    ck_assert_str_eq(buf_cstr(&keys), "a/1 a/2 a/3 a/4 ");
    finish();
}
END_TEST

START_TEST(a_short_list_asks_for_little)
{
    BUF_AUTO struct buf keys;
    PLAY({"GET /raw?list-type=2&max-keys=2&prefix= ", "200 OK", NULL, PAGE(ENTRY("1") ENTRY("2"), MORE), ANSWER, 0});

    buf_init(&keys, 1000);
    ck_assert_msg(store_list(store, "raw", "", NULL, 2, append_key, &keys, &e) == 0, "%s", e.text);
    ck_assert_str_eq(buf_cstr(&keys), "1 2 ");
    finish();
}
END_TEST

/* ---- a store that ignores If-None-Match; settings ------------------------------------------------------------------------------- */

#define CREATED "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"

START_TEST(probe_refuses_a_store_without_conditions)
{
    PLAY({"PUT /raw/.weir-probe/", "200 OK", OBJECT, NULL, ANSWER, 0},
         {"PUT /raw/.weir-probe/", "200 OK", OBJECT, NULL, ANSWER, 0},
         {"DELETE /raw/.weir-probe/", "204 No Content", NULL, NULL, ANSWER, 0});

    ck_assert_int_eq(store_probe(store, "raw", &e), -ERR_INVALID);
    ck_assert_ptr_nonnull(strstr(e.text, "http://127.0.0.1:"));
    ck_assert_ptr_nonnull(strstr(e.text, " on PUT: "));
    finish();
}
END_TEST

START_TEST(probe_refuses_a_store_that_completes_without_conditions)
{
    PLAY({"PUT /raw/.weir-probe/", "200 OK", OBJECT, NULL, ANSWER, 0},
         {"PUT /raw/.weir-probe/", "412 Precondition Failed", NULL, ERROR_XML("PreconditionFailed"), ANSWER, 0},
         {"POST /raw/.weir-probe/", "200 OK", NULL, CREATED, ANSWER, 0},
         {"PUT /raw/.weir-probe/", "200 OK", OBJECT, NULL, ANSWER, 0},
         {"POST /raw/.weir-probe/", "200 OK", NULL, "<CompleteMultipartUploadResult/>", ANSWER, 0},
         {"DELETE /raw/.weir-probe/", "404 Not Found", NULL, ERROR_XML("NoSuchUpload"), ANSWER, 0},
         {"GET /raw/.weir-probe/", "404 Not Found", NULL, ERROR_XML("NoSuchUpload"), ANSWER, 0},
         {"DELETE /raw/.weir-probe/", "204 No Content", NULL, NULL, ANSWER, 0});

    ck_assert_int_eq(store_probe(store, "raw", &e), -ERR_INVALID);
    ck_assert_ptr_nonnull(strstr(e.text, " on CompleteMultipartUpload: "));
    finish();
}
END_TEST

START_TEST(a_header_is_one_line)
{
    struct store_put_options options = {.content_type = "video/mp4\r\nx-amz-acl: public-read"};
    start(NULL, 0);

    ck_assert_int_eq(store_put_bytes(store, "raw", "k", "x", 1, &options, &e), -ERR_INVALID);
    finish();
}
END_TEST

START_TEST(refuses_wrong_settings)
{
    static const struct store_s3_options wrong[] = {
        {.endpoint = "minio:9000", .access_key = "k", .secret_key = "s"},
        {.endpoint = "http://minio/x", .access_key = "k", .secret_key = "s"},
        {.endpoint = "http://minio", .access_key = "", .secret_key = "s"},
        {.endpoint = "http://minio", .access_key = "k", .secret_key = NULL},
    };

    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
        ck_assert_int_eq(store_s3_new(&wrong[i], &store, &e), -ERR_INVALID);
}
END_TEST

START_TEST(a_bucket_is_created_where_it_is_missing)
{
    PLAY({"HEAD /raw ", "404 Not Found", NULL, NULL, ANSWER, 0},
         {"PUT /raw ", "409 Conflict", NULL, ERROR_XML("BucketAlreadyOwnedByYou"), ANSWER, 0},
         {"HEAD /raw ", "200 OK", NULL, NULL, ANSWER, 0});

    ck_assert_msg(store_ensure_bucket(store, "raw", &e) == 0, "%s", e.text);
    finish();
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        a_burst_of_500_passes,
        slow_down_ends_after_the_attempts,
        a_stalled_server_is_given_up,
        nobody_listens,
        a_lost_answer_becomes_a_conflict,
        a_409_is_tried_again,
        a_refusal_before_the_body_is_heard,
        an_answer_without_etag_is_not_trusted,
        sends_checksum_and_length_and_no_expect,
        a_body_that_fails_ends_the_call,
        a_cut_transfer_is_resumed,
        a_cut_range_is_resumed,
        a_line_that_breaks_behind_the_last_byte_is_fine,
        cuts_without_progress_are_bounded,
        an_error_in_mid_call_is_not_taken_for_the_end,
        head_tells_a_missing_object_from_a_missing_bucket,
        complete_may_fail_behind_a_200,
        a_lost_complete_becomes_not_found,
        copy_may_fail_behind_a_200,
        abort_is_repeated_until_no_part_is_left,
        create_needs_an_upload_id,
        a_broken_page_is_fetched_again,
        a_short_list_asks_for_little,
        probe_refuses_a_store_without_conditions,
        probe_refuses_a_store_that_completes_without_conditions,
        a_header_is_one_line,
        refuses_wrong_settings,
        a_bucket_is_created_where_it_is_missing,
    };
    Suite *suite = suite_create("store_s3_faults");
    TCase *tcase = tcase_create("faults");
    tcase_set_timeout(tcase, 60);
    for (size_t i = 0; i < ARRAY_SIZE(tests); i++)
        tcase_add_test(tcase, tests[i]);
    tcase_add_loop_test(tcase, copies_mean, 0, (int)ARRAY_SIZE(copy_answers));
    tcase_add_loop_test(tcase, answers_mean, 0, (int)ARRAY_SIZE(meanings));
    tcase_add_loop_test(tcase, another_object_is_not_mixed_in, 0, (int)ARRAY_SIZE(after_a_cut));
    tcase_add_loop_test(tcase, a_skewed_clock_is_corrected, 0, 2);
    suite_add_tcase(suite, tcase);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
