#include "http_internal.h"

#include "base/clock.h"
#include "base/str.h"
#include "proto/json.h"

#include <stddef.h>
#include <string.h>

#define RETRY_AFTER_S "5"

static struct http_worker *worker_of(struct http_request *rq)
{
    return (struct http_worker *)(void *)((char *)rq - offsetof(struct http_worker, rq));
}

/* --- The header block, collected in rq->out --- */

static void put(struct http_request *rq, const char *text, size_t len)
{
    if (rq->out_full || len > sizeof rq->out - rq->out_len) {
        rq->out_full = true;
        return;
    }
    memcpy(rq->out + rq->out_len, text, len);
    rq->out_len += len;
}

static void put_text(struct http_request *rq, const char *text)
{
    put(rq, text, strlen(text));
}

/* A value that came from somewhere else must not be able to begin a new line. */
static void put_field(struct http_request *rq, const char *name, const char *value)
{
    if (value == NULL)
        return;
    put_text(rq, name);
    put(rq, ": ", 2);
    size_t start = rq->out_len;
    put_text(rq, value);
    for (size_t i = start; i < rq->out_len; i++)
        if (((unsigned char)rq->out[i] < 0x20 && rq->out[i] != '\t') || rq->out[i] == 0x7F)
            rq->out[i] = '?';
    put(rq, "\r\n", 2);
}

static const char *date_text(struct http_request *rq)
{
    struct http_worker *w = worker_of(rq);
    uint64_t now_ms = clock_wall_ms();

    if (w->date_s != now_ms / 1000) {
        w->date_s = now_ms / 1000;
        clock_http_date(now_ms, w->date_text);
    }
    return w->date_text;
}

/* Reading an unread body to the end would keep a thread that others need when threads are scarce. How much there is of a
 * chunked one nobody knows: it goes when all of it has come. */
static bool is_worth_draining(struct http_request *rq)
{
    const struct http_server *s = rq->server;
    bool is_coming = !rq->message.framing.expects_continue || rq->continue_sent;

    if (is_coming && rq->body_left == HTTP_BODY_CHUNKED)
        return rq->answer == ANSWER_DONE && http_drain_arrived(rq); /* else it may still be read */
    return is_coming && rq->body_left <= HTTP_DRAIN_MAX && s->connections <= s->max_connections;
}

static bool must_close(struct http_request *rq)
{
    return rq->close || rq->broken || !rq->message.framing.keep_alive || rq->server->stopping ||
           (rq->body_left > 0 && !is_worth_draining(rq));
}

static void put_length(struct http_request *rq, uint64_t length)
{
    bool has_body = rq->status >= 200 && rq->status != 204 && rq->status != 304;

    if (!has_body)
        return;
    if (length != UINT64_MAX) {
        put_field(rq, "Content-Length", num_u64(length).s);
    } else if (strcmp(rq->message.head.version, "1.1") == 0) {
        rq->chunked = true;
        put_text(rq, "Transfer-Encoding: chunked\r\n");
    } else {
        rq->close = true; /* HTTP/1.0: the end of the connection is the end of the body */
    }
}

static void put_head(struct http_request *rq, int status, const struct http_field *fields, const char *content_type,
                     uint64_t length)
{
    rq->status = status;
    rq->out_len = 0;
    rq->out_full = false;
    put_text(rq, "HTTP/1.1 ");
    put_text(rq, num_i64(status).s);
    put_text(rq, " ");
    put_text(rq, http_reason(status));
    put_text(rq, "\r\nDate: ");
    put_text(rq, date_text(rq));
    put_text(rq, "\r\nX-Request-ID: ");
    put_text(rq, rq->id);
    put_text(rq, "\r\nX-Content-Type-Options: nosniff\r\n");
    http_cors_fields(rq, put_field);
    put_field(rq, "Content-Type", content_type);
    for (; fields != NULL && fields->name != NULL; fields++)
        put_field(rq, fields->name, fields->value);
    put_length(rq, length);

    rq->close = must_close(rq);
    if (rq->close)
        put_text(rq, "Connection: close\r\n");
    else if (strcmp(rq->message.head.version, "1.0") == 0)
        put_text(rq, "Connection: keep-alive\r\n");
    put_text(rq, "\r\n");
}

/* Threads that are kept free for some routes must not be held by who asks for those and takes no answer. */
int http_stall_ms(const struct http_request *rq)
{
    uint64_t stall_ms = rq->server->options.stall_timeout_ms;

    return rq->route != NULL && rq->route->always && stall_ms > HTTP_STALL_ALWAYS_MS ? HTTP_STALL_ALWAYS_MS
                                                                                     : (int)stall_ms;
}

/* Sends what is collected and `parts` after it. Room for one more part is at parts[-1]. */
static void send_parts(struct http_request *rq, struct iovec *parts, size_t count)
{
    if (rq->broken)
        return;
    parts[-1] = (struct iovec){.iov_base = rq->out, .iov_len = rq->out_len};
    rq->out_len = 0;
    if (rq->out_full || !http_socket_send(rq->fd, parts - 1, count + 1, http_stall_ms(rq)))
        rq->broken = rq->close = true;
}

static struct iovec part_of(const void *data, size_t len)
{
    struct iovec part = {.iov_len = len};

    memcpy(&part.iov_base, &data, sizeof data); /* an iovec has no const, sending does not write */
    return part;
}

/* --- Interim answers --- */

void http_inform(struct http_request *rq, int status, const struct http_field *fields)
{
    struct iovec none[1];

    if (rq->answer != ANSWER_NONE || strcmp(rq->message.head.version, "1.1") != 0)
        return;
    rq->out_len = 0;
    put_text(rq, "HTTP/1.1 ");
    put_text(rq, num_i64(status).s);
    put_text(rq, " ");
    put_text(rq, http_reason(status));
    put_text(rq, "\r\n");
    for (; fields != NULL && fields->name != NULL; fields++)
        put_field(rq, fields->name, fields->value);
    put_text(rq, "\r\n");
    send_parts(rq, none + 1, 0);
}

/* --- Whole answers --- */

void http_respond(struct http_request *rq, int status, const struct http_field *fields, const char *content_type,
                  const void *body, size_t len)
{
    struct iovec parts[2];
    char path[HTTP_PATH_SIZE];

    if (rq->answer != ANSWER_NONE) {
        log_error(&rq->ids, "a second answer was given to one request", "path", http_shown_path(rq, path));
        return;
    }
    rq->answer = ANSWER_DONE;
    put_head(rq, status, fields, content_type, len);
    parts[1] = part_of(body, rq->is_head ? 0 : len);
    if (rq->out_full)
        log_error(&rq->ids, "an answer's headers are too large", "path", http_shown_path(rq, path));
    send_parts(rq, parts + 1, 1);
    if (!rq->broken && !rq->is_head)
        rq->sent = len;
}

void http_respond_json(struct http_request *rq, int status, const struct http_field *fields, const struct buf *json)
{
    http_respond(rq, status, fields, "application/json", json->data, json->len);
}

static bool has_field(const struct http_field *fields, const char *name)
{
    for (; fields != NULL && fields->name != NULL; fields++)
        if (strcmp(fields->name, name) == 0)
            return true;
    return false;
}

static void write_problem(struct buf *json, const struct http_request *rq, int status, const char *type,
                          const char *detail)
{
    buf_printf(json, "{\"type\": \"urn:weir:error:%s\", \"title\": ", type);
    json_quote(json, http_reason(status));
    buf_printf(json, ", \"status\": %d, \"detail\": ", status);
    json_quote(json, detail);
    buf_puts(json, ", \"request_id\": ");
    json_quote(json, rq->id);
    buf_puts(json, "}\n");
}

#define MAX_FIELDS 16

void http_problem(struct http_request *rq, int status, const char *type, const struct http_field *fields,
                  const char *detail)
{
    struct http_field all[MAX_FIELDS + 3] = {{"Cache-Control", "no-store"}};
    struct buf json BUF_AUTO;
    size_t n = 1;

    for (; fields != NULL && fields->name != NULL && n <= MAX_FIELDS; fields++)
        all[n++] = *fields;
    if (has_field(all + 1, "Cache-Control"))
        all[0].value = NULL;
    if (status == 503 && !has_field(all, "Retry-After"))
        all[n] = (struct http_field){"Retry-After", RETRY_AFTER_S};

    buf_init(&json, 16 * 1024);
    write_problem(&json, rq, status, type, detail);
    http_respond(rq, status, all, "application/problem+json", json.failed ? NULL : json.data,
                 json.failed ? 0 : json.len);
}

int http_status_of(enum err_kind kind, const char **ret_type)
{
    static const struct {
        int status;
        const char *type;
    } kinds[] = {
        [ERR_INVALID] = {400, "invalid"},
        [ERR_TOO_LARGE] = {413, "too-large"},
        [ERR_NOT_FOUND] = {404, "not-found"},
        [ERR_CONFLICT] = {409, "conflict"},
        [ERR_STALE] = {409, "stale"},
        [ERR_BUSY] = {503, "busy"},
        [ERR_TEMPORARY] = {503, "unavailable"},
        [ERR_TIMEOUT] = {408, "timeout"},
        [ERR_DISCONNECTED] = {499, "disconnected"}, /* never sent: nobody is there; the log and the metrics show it */
        [ERR_BUG] = {500, "internal"},
    };

    *ret_type = kinds[kind].type;
    return kinds[kind].status;
}

/* --- Streamed answers --- */

static int check_sent(const struct http_request *rq, struct err *e)
{
    return rq->broken ? err_set(e, ERR_DISCONNECTED, "the client went away before the end of the answer") : 0;
}

int http_begin(struct http_request *rq, int status, const struct http_field *fields, const char *content_type,
               uint64_t length, struct err *e)
{
    struct iovec none[1];

    if (rq->answer != ANSWER_NONE)
        return err_set(e, ERR_BUG, "a second answer was given to one request");
    put_head(rq, status, fields, content_type, length);
    if (rq->out_full)
        return err_set(e, ERR_BUG, "the answer's headers are larger than %d bytes", HTTP_ANSWER_SIZE);
    rq->answer = ANSWER_STREAMING;
    rq->answer_left = length;
    if (length ==
        UINT64_MAX) /* events: the first one may be long in coming; else the headers go with the first bytes */
        send_parts(rq, none + 1, 0);
    return check_sent(rq, e);
}

static void write_chunk(struct http_request *rq, const void *data, size_t len)
{
    char size[24];
    struct iovec parts[4];

    str_format(size, sizeof size, "%zx\r\n", len);
    parts[1] = part_of(size, strlen(size));
    parts[2] = part_of(data, len);
    parts[3] = part_of("\r\n", 2);
    send_parts(rq, parts + 1, 3);
}

int http_write(struct http_request *rq, const void *data, size_t len, struct err *e)
{
    struct iovec parts[2];

    if (rq->answer != ANSWER_STREAMING)
        return err_set(e, ERR_BUG, "bytes of an answer that was not begun, or has ended");
    if (len > rq->answer_left)
        return err_set(e, ERR_BUG, "more bytes than the answer's length");
    if (len == 0 || rq->is_head)
        return check_sent(rq, e);
    if (rq->answer_left != UINT64_MAX)
        rq->answer_left -= len;

    parts[1] = part_of(data, len);
    if (rq->chunked)
        write_chunk(rq, data, len);
    else
        send_parts(rq, parts + 1, 1);
    if (!rq->broken)
        rq->sent += len;
    return check_sent(rq, e);
}

int http_end(struct http_request *rq, struct err *e)
{
    struct iovec parts[2];

    if (rq->answer != ANSWER_STREAMING)
        return err_set(e, ERR_BUG, "the end of an answer that was not begun, or has ended");
    if (rq->answer_left != UINT64_MAX && rq->answer_left > 0 && !rq->is_head)
        return err_set(e, ERR_BUG, "fewer bytes than the answer's length");
    rq->answer = ANSWER_DONE;
    parts[1] = part_of("0\r\n\r\n", rq->chunked && !rq->is_head ? 5 : 0);
    send_parts(rq, parts + 1, 1);
    return check_sent(rq, e);
}
