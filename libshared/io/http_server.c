#include "http_internal.h"

#include "base/clock.h"
#include "base/id.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/str.h"

#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#define SMALL_BODY (64 * 1024) /* what a route that takes no body puts up with */
#define DEFAULT_HEADER_MS 10000
#define DEFAULT_KEEP_ALIVE_MS 60000
#define DEFAULT_IDLE_MS 60000
#define DEFAULT_STALL_MS 30000
#define DEFAULT_WINDOW_MS 60000

static struct metric requests_total = METRIC_COUNTER("weir_http_requests_total", "HTTP requests answered.", "status");
static struct metric request_seconds = METRIC_HISTOGRAM(
    "weir_http_request_seconds", "Time from a request's headers to the end of its answer.", NULL, metric_seconds);

/* --- Requests --- */

/* No two of a process are alike, and hardly those of two, without a system call for each: the mixing (splitmix64) maps
 * different numbers to different ones. */
static void make_id(struct http_server *s, char out[HTTP_ID_SIZE])
{
    uint64_t n = s->id_seed + atomic_fetch_add(&s->id_count, 1) * UINT64_C(0x9E3779B97F4A7C15);

    n = (n ^ n >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    n = (n ^ n >> 27) * UINT64_C(0x94D049BB133111EB);
    n ^= n >> 31;
    hex_encode(&n, sizeof n, out);
}

void http_request_init(struct http_worker *w, void *connection, int fd)
{
    struct http_request *rq = &w->rq;

    memset(rq, 0, offsetof(struct http_request, id));
    rq->server = w->server;
    rq->connection = connection;
    rq->fd = fd;
    rq->start_us = clock_mono_us();
    make_id(w->server, rq->id);
    rq->ids.request = rq->id;
    *rq->peer = *rq->path = '\0';
    rq->match.count = 0;
    rq->message.method = "-";
    rq->message.head = (struct http_head){.version = "1.1", .headers = rq->headers};
}

const char *http_method(const struct http_request *rq)
{
    return rq->message.method;
}

const char *http_path(const struct http_request *rq)
{
    return rq->path;
}

const char *http_path_param(const struct http_request *rq, const char *name)
{
    return http_match_param(&rq->match, name);
}

const char *http_header(const struct http_request *rq, const char *name)
{
    return http_head_find(&rq->message.head, name);
}

size_t http_header_count(const struct http_request *rq, const char *name)
{
    size_t count = 0;

    for (size_t i = 0; i < rq->message.head.count; i++)
        if (strcasecmp(rq->message.head.headers[i].name, name) == 0)
            count++;
    return count;
}

int http_query(const struct http_request *rq, const char *name, char *out, size_t size, bool *ret_given, struct err *e)
{
    enum http_query_result result = http_query_find(rq->message.query, name, out, size);

    if (result == HTTP_QUERY_BAD)
        return err_set(e, ERR_INVALID, "the value of %s is too long; shorten it", name);
    *ret_given = result == HTTP_QUERY_FOUND;
    return 0;
}

bool http_content_length(const struct http_request *rq, uint64_t *ret)
{
    if (rq->message.framing.has_length)
        *ret = rq->message.framing.length;
    return rq->message.framing.has_length;
}

const char *http_peer(const struct http_request *rq)
{
    return rq->peer;
}

const char *http_peer_group(const struct http_request *rq)
{
    return rq->group;
}

const struct log_ids *http_log_ids(const struct http_request *rq)
{
    return &rq->ids;
}

bool http_stopping(const struct http_request *rq)
{
    return rq->server->stopping;
}

/* --- Routes --- */

static bool method_fits(const struct http_route *route, const char *method)
{
    return strcmp(route->method, method) == 0;
}

static const struct http_route *find_route(struct http_request *rq, const char *method)
{
    for (const struct http_route *route = rq->server->options.routes; route->method != NULL; route++)
        if (method_fits(route, method) && http_route_match(route->path, rq->path, &rq->match))
            return route;
    return NULL;
}

static void add_method(struct buf *allow, const char *method)
{
    if (http_list_holds(buf_cstr(allow), method))
        return;
    buf_puts(allow, allow->len == 0 ? "" : ", ");
    buf_puts(allow, method);
}

/* What the path could be asked with; empty when there is no such path. */
static void collect_methods(struct http_request *rq, struct buf *allow, struct http_field *ret_mark)
{
    for (const struct http_route *route = rq->server->options.routes; route->method != NULL; route++) {
        if (!http_route_match(route->path, rq->path, &rq->match))
            continue;
        rq->cors |= route->cors;
        if (route->mark.name != NULL)
            *ret_mark = route->mark;
        add_method(allow, route->method);
        if (method_fits(route, "GET"))
            add_method(allow, "HEAD");
    }
    if (allow->len > 0)
        add_method(allow, "OPTIONS");
}

static void answer_without_route(struct http_request *rq)
{
    struct http_field mark = {0};
    struct buf allow BUF_AUTO;

    buf_init(&allow, 256);
    collect_methods(rq, &allow, &mark);
    if (allow.len == 0) {
        http_problem(
            rq, 404, "not-found", NULL,
            "There is nothing at this path; the README and /api/v1/openapi.json of the api say what there is.");
        return;
    }
    const struct http_field fields[] = {{"Allow", buf_cstr(&allow)}, mark, {NULL, NULL}};
    if (strcmp(rq->message.method, "OPTIONS") == 0)
        http_respond(rq, 204, fields, NULL, NULL, 0);
    else
        http_problem(rq, 405, "method-not-allowed", fields,
                     "This path can't be asked with this method; the Allow header names those that it takes.");
}

/* Of a request whose route is known. */
static void refuse(struct http_request *rq, int status, const char *type, const char *detail)
{
    const struct http_field fields[] = {rq->route->mark, {NULL, NULL}};

    http_problem(rq, status, type, fields, detail);
}

/* --- Limits --- */

static void refuse_busy(struct http_request *rq)
{
    rq->close = true;
    rq->linger = rq->body_left > 0;
    refuse(rq, rq->route->busy != 0 ? rq->route->busy : 503, "busy",
           "The server has no thread free for this request. Try again in a few seconds.");
}

/* Counts a request that will read a body. False when so many do that the rest of the threads must be kept free. */
static bool count_body(struct http_request *rq)
{
    if (atomic_fetch_add(&rq->server->bodies, 1) >= rq->server->max_bodies) {
        atomic_fetch_sub(&rq->server->bodies, 1);
        return false;
    }
    rq->counted = true;
    return true;
}

static bool takes_body(const struct http_request *rq)
{
    if (rq->server->ops->read == NULL)
        return !http_has_body(rq);
    return rq->route->body || rq->message.framing.length <= SMALL_BODY;
}

/* Whether the request may reach its handler; if not it was answered. */
static bool admit(struct http_request *rq)
{
    if (!takes_body(rq)) {
        refuse(rq, 413, "too-large", "This path takes no request body. Send the request without one.");
        return false;
    }
    if (rq->route->always)
        return true;
    if (rq->others >= rq->server->max_requests || (rq->route->body && http_has_body(rq) && !count_body(rq))) {
        refuse_busy(rq);
        return false;
    }
    return true;
}

/* --- Serving --- */

const char *http_shown_path(const struct http_request *rq, char out[HTTP_PATH_SIZE])
{
    size_t len = strcspn(rq->path, "~");

    str_format(out, HTTP_PATH_SIZE, "%.*s%s", (int)len, rq->path, rq->path[len] != '\0' ? "~" : "");
    return out;
}

static void log_failure(const struct http_request *rq, const struct err *e)
{
    enum log_level level = LOG_INFO;
    char path[HTTP_PATH_SIZE];

    if (e->kind == ERR_BUG)
        level = LOG_ERROR;
    else if (e->kind == ERR_TEMPORARY || e->kind == ERR_BUSY || e->kind == ERR_STALE)
        level = LOG_WARN;
    else if (e->kind == ERR_DISCONNECTED) /* ordinary; a handler for which it is more says so */
        level = LOG_DEBUG;
    log_write(level, &rq->ids, "request failed", "method", rq->message.method, "path", http_shown_path(rq, path),
              "kind", err_kind_name(e->kind), "error", e->text, (char *)0);
}

/* What is our own fault or that of a service behind us is told to the log, not to the client. */
static const char *describe_failure(const struct err *e)
{
    if (e->kind == ERR_BUG)
        return "Something went wrong inside the server; the request id leads to it in the log.";
    if (e->kind == ERR_TEMPORARY)
        return "A service that this request needs is not available at the moment. Try again in a few seconds.";
    return e->text;
}

static void answer_failure(struct http_request *rq, const struct err *e)
{
    const char *type;
    int status = http_status_of(e->kind, &type);

    log_failure(rq, e);
    if (rq->answer == ANSWER_NONE && e->kind != ERR_DISCONNECTED) {
        refuse(rq, status, type, describe_failure(e));
        return;
    }
    if (rq->answer == ANSWER_NONE)
        rq->status = status;
    rq->close = true; /* an answer cut short must not look complete */
}

static void run_handler(struct http_request *rq)
{
    struct err e = {.kind = ERR_BUG, .text = "the handler failed without a reason"};

    if (rq->route->handler(rq, rq->server->options.ctx, &e) != 0) {
        answer_failure(rq, &e);
    } else if (rq->answer != ANSWER_DONE) {
        err_set(&e, ERR_BUG, "the handler did not end its answer");
        answer_failure(rq, &e);
    }
}

/* False with the answer given when the target can't be one of ours. */
static bool read_target(struct http_request *rq)
{
    if (rq->message.path == NULL || !http_path_decode(rq->message.path, rq->path)) {
        *rq->path = '\0';
        http_problem(rq, 400, "bad-request", NULL,
                     "The path is longer than 2 KiB, is not properly escaped UTF-8, or has \".\" or \"..\" in it. "
                     "Shorten it, or write it as the api gives it out.");
        return false;
    }
    if (!http_query_valid(rq->message.query)) {
        http_problem(rq, 400, "bad-request", NULL,
                     "The query is not properly escaped UTF-8. Write what is not a plain letter or digit as %XX.");
        return false;
    }
    return true;
}

static void answer(struct http_request *rq)
{
    const char *override = rq->server->options.method_override ? http_header(rq, "X-HTTP-Method-Override") : NULL;

    if (rq->refusal.status != 0) {
        rq->close = rq->linger = true;
        http_problem(rq, rq->refusal.status, rq->refusal.type, NULL, rq->refusal.detail);
        return;
    }
    rq->body_left = rq->message.framing.chunked ? HTTP_BODY_CHUNKED : rq->message.framing.length;
    if (http_has_body(rq) && rq->server->ops->read == NULL)
        rq->close = rq->linger = true; /* what follows can't be told from it */
    if (!read_target(rq))
        return;
    if (override != NULL)
        rq->message.method = override;
    rq->route = find_route(rq, rq->message.method);
    if (rq->route == NULL && strcmp(rq->message.method, "HEAD") == 0)
        rq->route = find_route(rq, "GET");
    if (rq->route == NULL) {
        answer_without_route(rq);
        return;
    }
    rq->cors = rq->route->cors;
    if (!http_cors_admits(rq))
        refuse(rq, 403, "cross-origin",
               "Pages of this origin may not do this. The server's setting CORS_ORIGINS names those that may upload; "
               "nothing else is open to other origins.");
    else if (admit(rq))
        run_handler(rq);
}

static void account(const struct http_request *rq)
{
    static const char *const classes[] = {"other", "1xx", "2xx", "3xx", "4xx", "5xx"};
    double seconds = (double)(clock_mono_us() - rq->start_us) / 1e6;
    bool is_failure = rq->status >= 500 && rq->status != 503; /* refusing must stay cheap when many are refused */
    enum log_level level = is_failure ? LOG_INFO : LOG_DEBUG;
    char path[HTTP_PATH_SIZE];

    metric_add(&requests_total, classes[rq->status >= 100 && rq->status < 600 ? rq->status / 100 : 0], 1);
    metric_observe(&request_seconds, NULL, seconds);
    if (log_enabled(level))
        log_write(level, &rq->ids, "request", "method", rq->message.method, "path", http_shown_path(rq, path), "status",
                  num_i64(rq->status).s, "bytes", num_u64(rq->sent).s, "ms", num_double(seconds * 1e3, 1).s, "peer",
                  rq->peer, (char *)0);
}

/* Leaves the connection ready for its next request, or closes it so that the client can still read the answer. */
static void finish(struct http_request *rq)
{
    struct http_server *s = rq->server;

    if (rq->broken)
        rq->close = true;
    else if (!rq->close && rq->body_left > 0 && !http_drain(rq))
        rq->close = rq->linger = true;
    if (rq->counted)
        atomic_fetch_sub(&s->bodies, 1);
    if (!rq->close)
        return;
    s->ops->close(rq, !rq->broken && (rq->linger || rq->body_left > 0));
}

void http_serve(struct http_worker *w)
{
    struct http_request *rq = &w->rq;
    struct http_server *s = w->server;
    char peer[HTTP_ADDRESS_SIZE];

    const char *id = http_header(rq, "X-Request-ID");
    if (id != NULL && id_request_valid(id))
        str_copy(rq->id, sizeof rq->id, id);
    str_copy(peer, sizeof peer, rq->peer);
    http_client_address(&s->trusted, peer, &rq->message.head, rq->peer);
    http_address_group(rq->peer, rq->group);
    rq->is_head = strcmp(rq->message.method, "HEAD") == 0; /* what is overridden is still framed as it was asked */

    rq->others = atomic_fetch_add(&s->requests, 1);
    answer(rq);
    finish(rq);
    atomic_fetch_sub(&s->requests, 1);
    account(rq);
}

struct http_refusal http_refusal_of(int status, const char *detail)
{
    const char *type = status == 408 ? "timeout" : status == 431 ? "headers-too-large" : "bad-request";

    return (struct http_refusal){.status = status, .type = status == 503 ? "busy" : type, .detail = detail};
}

/* --- Start and stop --- */

/* Of 256 threads 224 may read bodies and 248 serve anything but health checks; small pools are shared out likewise. */
static void share_out(struct http_server *s)
{
    unsigned threads = s->options.threads, reserve = threads > 64 ? 32 : threads / 2;
    unsigned kept = threads > 64 ? 8 : threads > 3 ? threads / 4 : 1;

    s->max_bodies = s->max_connections = threads - reserve;
    s->max_requests = threads - kept;
}

static int make_workers(struct http_server *s, struct err *e)
{
    s->workers = mem_calloc(s->options.threads, sizeof *s->workers);
    if (s->workers == NULL)
        return err_set(e, ERR_TEMPORARY, "no memory for %u HTTP threads", s->options.threads);
    for (unsigned i = 0; i < s->options.threads; i++) {
        struct http_worker *w = &s->workers[i];
        w->server = s;
        w->fd = -1;
        pthread_mutex_init(&w->lock, NULL);
    }
    return 0;
}

static int start(struct http_server *s, struct err *e)
{
    int r;

    if (s->options.threads < 2)
        return err_set(e, ERR_INVALID, "an HTTP server needs at least two threads");
    if (http_networks_parse(s->options.trusted_proxies, &s->trusted, e) != 0)
        return err_wrap(e, "trusted proxies");
    if ((r = make_workers(s, e)) != 0)
        return r;
    return s->ops->start(s, e);
}

int http_server_start(const struct http_server_options *options, struct http_server **ret, struct err *e)
{
    struct http_server *s = mem_zalloc(sizeof *s);

    if (s == NULL)
        return err_set(e, ERR_TEMPORARY, "no memory for an HTTP server");
    s->options = *options;
    s->ops = options->backend == HTTP_POLL ? &http_poll : &http_civetweb;
    s->id_seed = id_random_u64();
    s->quiet[0] = s->quiet[1] = -1;
    if (s->options.trusted_proxies == NULL)
        s->options.trusted_proxies = "";
    if (s->options.header_timeout_ms == 0)
        s->options.header_timeout_ms = DEFAULT_HEADER_MS;
    if (s->options.keep_alive_timeout_ms == 0)
        s->options.keep_alive_timeout_ms = DEFAULT_KEEP_ALIVE_MS;
    if (s->options.idle_timeout_ms == 0)
        s->options.idle_timeout_ms = DEFAULT_IDLE_MS;
    if (s->options.stall_timeout_ms == 0)
        s->options.stall_timeout_ms = DEFAULT_STALL_MS;
    if (s->options.min_rate_window_ms == 0)
        s->options.min_rate_window_ms = DEFAULT_WINDOW_MS;
    share_out(s);

    int r = start(s, e);
    if (r != 0) {
        http_server_stop(s, 0);
        return r;
    }
    *ret = s;
    return 0;
}

uint16_t http_server_port(const struct http_server *s)
{
    return s->port;
}

/* Wakes whatever a request does with its connection: there is nothing more to come or to send. */
static void cut_off(struct http_server *s)
{
    for (unsigned i = 0; i < s->options.threads; i++) {
        struct http_worker *w = &s->workers[i];
        pthread_mutex_lock(&w->lock);
        int fd = w->phase == PHASE_FREE ? -1 : s->ops->fd(w);
        if (fd >= 0)
            shutdown(fd, SHUT_RDWR);
        pthread_mutex_unlock(&w->lock);
    }
}

static void end_requests(struct http_server *s, uint64_t grace_ms)
{
    uint64_t deadline = clock_mono_ms() + grace_ms;

    s->stopping = true;
    s->ops->stop_accepting(s);
    while (!s->ops->is_quiet(s) && clock_mono_ms() < deadline)
        clock_sleep_ms(5);
    s->cutting = true;
    cut_off(s);
}

void http_server_stop(struct http_server *s, uint64_t grace_ms)
{
    if (s == NULL)
        return;
    if (s->port != 0)
        end_requests(s, grace_ms);
    s->ops->stop(s);
    for (unsigned i = 0; s->workers != NULL && i < s->options.threads; i++)
        pthread_mutex_destroy(&s->workers[i].lock);
    mem_free(s->workers);
    mem_free(s);
}

/* --- Handlers for every service --- */

int http_healthz(struct http_request *rq, void *ctx, struct err *e)
{
    static const char body[] = "{\"status\": \"ok\"}\n";

    (void)ctx;
    (void)e;
    http_respond(rq, 200, (struct http_field[]){{"Cache-Control", "no-store"}, {NULL, NULL}}, "application/json", body,
                 sizeof body - 1);
    return 0;
}

int http_metrics(struct http_request *rq, void *ctx, struct err *e)
{
    struct buf text BUF_AUTO;

    (void)ctx;
    buf_init(&text, 1024 * 1024);
    metrics_render(&text);
    int r = buf_check(&text, "metrics", e);
    if (r == 0)
        http_respond(rq, 200, NULL, "text/plain; version=0.0.4; charset=utf-8", text.data, text.len);
    return r;
}
