#include "http_internal.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"

#include <civetweb.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* civetweb accepts connections, gives each a thread of its pool, reads and splits the headers, and keeps connections
 * alive. Everything is handled in begin_request; nothing of its file server, forms or authentication is ever reached, and
 * no body is read. */

static void set_phase(struct http_worker *w, enum http_phase phase)
{
    uint64_t now = clock_mono_ms();

    pthread_mutex_lock(&w->lock);
    w->phase = phase;
    w->since_ms = now;
    pthread_mutex_unlock(&w->lock);
}

/* --- Callbacks --- */

static void *on_thread(const struct mg_context *context, int kind)
{
    struct http_server *s = mg_get_user_data(context);

    if (kind != 1)
        return NULL;
    return &s->workers[atomic_fetch_add(&s->worker_count, 1)];
}

static int on_connection(const struct mg_connection *connection, void **ret_data)
{
    struct http_worker *w = mg_get_thread_pointer(connection);
    struct http_server *s = w->server;
    uint64_t now = clock_mono_ms();

    pthread_mutex_lock(&w->lock);
    w->phase = PHASE_WAITING;
    w->is_first = true;
    w->since_ms = now;
    w->evicted = 0;
    w->fd = -1;
    memcpy(&w->connection, &connection,
           sizeof connection); /* mg_read wants it without const, this callback has it with */
    pthread_mutex_unlock(&w->lock);

    unsigned others = atomic_fetch_add(&s->connections, 1);
    if (others == 0 || others + 1 >= s->max_connections)
        http_guard_wake(s);
    *ret_data = NULL;
    return 0;
}

static void on_close(const struct mg_connection *connection)
{
    struct http_worker *w = mg_get_thread_pointer(connection);

    set_phase(w, PHASE_FREE);
    atomic_fetch_sub(&w->server->connections, 1);
}

/* Begins with the request that the worker's connection holds. False when the client is gone. */
static bool take_request(struct http_worker *w)
{
    pthread_mutex_lock(&w->lock);
    w->phase = PHASE_BUSY;
    w->since_ms = 0;
    int fd = http_civetweb_fd(w);
    pthread_mutex_unlock(&w->lock);
    http_request_init(w, w->connection, fd);
    return fd >= 0;
}

/* At a line that is no header (a folded one, ": x") civetweb takes the headers for ended and drops the rest, a
 * Content-Length perhaps. It splits lines in place: after the last value come NULs for CR and LF, and then the CR of the
 * empty line, if that is what follows. Lines that end in LF alone could not be told apart so, and are not taken. */
static bool has_hidden_lines(const struct mg_request_info *info)
{
    const char *end = info->http_version + strlen(info->http_version);

    if (info->num_headers == 0)
        return false;
    if (info->http_headers[0].name != end + 2)
        return true;
    end = info->http_headers[info->num_headers - 1].value;
    end += strlen(end);
    return end[1] != '\0' || end[2] != '\r';
}

static void read_message(struct http_request *rq, const struct mg_request_info *info)
{
    struct http_message *m = &rq->message;

    m->method = info->request_method;
    m->path = info->local_uri_raw;
    m->query = info->query_string;
    m->head.version = info->http_version;
    for (int i = 0; i < info->num_headers; i++)
        rq->headers[m->head.count++] = (struct http_header){.name = info->http_headers[i].name,
                                                            .value = info->http_headers[i].value};
    if (!http_head_check(&m->head, &m->framing, &rq->refusal))
        return;
    const char *connection = http_head_find(&m->head, "Connection");
    if (connection != NULL && !http_list_holds(connection, "keep-alive")) /* as civetweb sees it */
        m->framing.keep_alive = false;
}

static void end_request(struct http_worker *w)
{
    pthread_mutex_lock(&w->lock);
    w->is_first = false;
    pthread_mutex_unlock(&w->lock);
    set_phase(w, PHASE_WAITING);
}

static int on_request(struct mg_connection *connection)
{
    struct http_worker *w = mg_get_thread_pointer(connection);
    const struct mg_request_info *info = mg_get_request_info(connection);
    struct http_request *rq = &w->rq;

    if (!take_request(w)) {
        mg_disable_connection_keep_alive(connection);
        return 499;
    }
    str_copy(rq->peer, sizeof rq->peer, info->remote_addr);
    if (has_hidden_lines(info))
        rq->refusal = http_refusal_of(400,
                                      "The headers have a line that is not a header, or does not end in CR and LF.");
    else
        read_message(rq, info);
    http_serve(w);
    end_request(w);
    return rq->status > 0 ? rq->status : 499;
}

/* civetweb calls a head that fills its buffer malformed. Then it has left bytes in the socket, or read as many as fit. */
static bool is_too_large(const struct http_worker *w)
{
    struct tcp_info info;
    socklen_t len = sizeof info;

    if (http_socket_available(w->fd) > 0)
        return true;
    return w->is_first && getsockopt(w->fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 &&
           info.tcpi_bytes_received >= HTTP_HEAD_SIZE;
}

/* What is left of civetweb's own answers: to heads that it can't read. The connection is closed afterwards. */
static int on_error(struct mg_connection *connection, int status, const char *text)
{
    struct http_worker *w = mg_get_thread_pointer(connection);
    uint64_t now = clock_mono_ms();

    pthread_mutex_lock(&w->lock);
    bool late = now - w->since_ms + 100 >= w->server->options.header_timeout_ms;
    int evicted = w->evicted;
    pthread_mutex_unlock(&w->lock);
    if (!take_request(w))
        return 0;

    (void)text;
    if (evicted != 0)
        w->rq.refusal = http_refusal_of(evicted, "The headers took too long.");
    else if (late)
        w->rq.refusal = http_refusal_of(408, "The headers were not complete in time.");
    else if (status == 413 || (status == 400 && is_too_large(w)))
        w->rq.refusal = http_refusal_of(431, "The headers are larger than 16 KiB.");
    else if (status == 505)
        w->rq.refusal = http_refusal_of(505, "This server speaks HTTP/1.1.");
    else
        w->rq.refusal = http_refusal_of(400, "The request is not well-formed HTTP/1.1, or its method is not known.");
    http_serve(w);
    return 0;
}

/* Before the first thread begins: each looks for its connections by the port. */
static void on_context(const struct mg_context *context)
{
    struct http_server *s = mg_get_user_data(context);
    struct mg_server_port port;

    if (mg_get_server_ports(context, 1, &port) == 1)
        s->port = (uint16_t)port.port;
}

static int on_message(const struct mg_connection *connection, const char *text)
{
    struct http_server *s = connection == NULL ? NULL : mg_get_user_data(mg_get_context(connection));

    if (s != NULL && s->port == 0 && *s->start_text == '\0')
        str_copy(s->start_text, sizeof s->start_text, text); /* the first says most */
    else
        log_debug(NULL, "http back end", "text", text);
    return 1;
}

/* --- Start and stop --- */

static pthread_once_t library_once = PTHREAD_ONCE_INIT;

static void init_library(void)
{
    mg_init_library(MG_FEATURES_DEFAULT);
}

/* The queues are long so that connections wait, not fail, while all threads are busy for a moment. */
static struct mg_context *start_context(struct http_server *s)
{
    static const struct mg_callbacks callbacks = {
        .begin_request = on_request,
        .log_message = on_message,
        .connection_close = on_close,
        .http_error = on_error,
        .init_context = on_context,
        .init_thread = on_thread,
        .init_connection = on_connection,
    };
    char listen_on[300];
    struct num_text threads = num_u64(s->options.threads), header_ms = num_u64(s->options.header_timeout_ms),
                    head_size = num_u64(HTTP_HEAD_SIZE);
    const char *settings[] = {
        "listening_ports",
        listen_on,
        "num_threads",
        threads.s,
        "request_timeout_ms",
        header_ms.s,
        "keep_alive_timeout_ms",
        header_ms.s,
        "max_request_size",
        head_size.s,
        "enable_keep_alive",
        "yes",
        "tcp_nodelay",
        "1",
        "connection_queue",
        "1024",
        "listen_backlog",
        "1024",
        "decode_url",
        "no",
        NULL,
    };

    if (!str_format(listen_on, sizeof listen_on, strchr(s->options.host, ':') != NULL ? "[%s]:%u" : "%s:%u",
                    s->options.host, (unsigned)s->options.port))
        return NULL;
    return mg_start(&callbacks, s, settings);
}

static int start_backend(struct http_server *s, struct err *e)
{
    int r = http_guard_start(s, e);

    if (r != 0)
        return r;
    if (pipe2(s->quiet, O_CLOEXEC) != 0)
        return err_set(e, ERR_TEMPORARY, "pipe: %s", strerror(errno));
    pthread_once(&library_once, init_library);
    s->backend = start_context(s);
    if (s->backend == NULL)
        return err_set(e, ERR_TEMPORARY, "can't listen on %s port %u: %s", s->options.host, (unsigned)s->options.port,
                       *s->start_text == '\0' ? "the HTTP server did not start" : s->start_text);
    return s->port != 0 ? 0 : err_set(e, ERR_BUG, "the HTTP server does not know its port");
}

/* The system call itself, since the thread sanitizer takes replacing another thread's descriptor for a mistake. */
static void replace_descriptor(int fd, int with)
{
    syscall(SYS_dup3, with, fd, O_CLOEXEC);
}

static void set_quiet(struct http_server *s, bool quiet)
{
    char byte = 0;
    ssize_t ignored = quiet ? read(s->quiet[0], &byte, 1) : write(s->quiet[1], &byte, 1);

    (void)ignored;
}

/* civetweb can't stop listening without ending every request. So its listening socket is shut down, and a pipe that says
 * nothing takes the descriptor's place. At first it has a byte: the accepting thread, which the shutdown wakes in its
 * poll, looks at the pipe already but would not be woken by it, and must not go back to sleep. */
static void stop_accepting(struct http_server *s)
{
    int fd = http_socket_find_listener(s->port);

    http_guard_wake(s);
    if (fd < 0)
        return;
    set_quiet(s, false);
    shutdown(fd, SHUT_RDWR);
    replace_descriptor(fd, s->quiet[0]);
    clock_sleep_ms(20);
    set_quiet(s, true);
}

static bool is_quiet(struct http_server *s)
{
    return s->connections == 0;
}

static void stop_backend(struct http_server *s)
{
    if (s->backend != NULL) {
        set_quiet(s, false); /* wakes the accepting thread */
        mg_stop(s->backend);
        s->backend = NULL;
    }
    for (size_t i = 0; i < ARRAY_SIZE(s->quiet); i++)
        if (s->quiet[i] >= 0)
            close(s->quiet[i]);
    http_guard_stop(s);
}

/* --- Connections --- */

int http_civetweb_fd(struct http_worker *w)
{
    if (w->fd < 0) {
        const struct mg_request_info *info = mg_get_request_info(w->connection);
        if (info != NULL)
            w->fd = http_socket_find(w->server->port, info->remote_addr, (uint16_t)info->remote_port);
    }
    return w->fd;
}

bool http_civetweb_peer(struct http_worker *w, char out[HTTP_ADDRESS_SIZE])
{
    const struct mg_request_info *info = mg_get_request_info(w->connection);

    return info != NULL && str_copy(out, HTTP_ADDRESS_SIZE, info->remote_addr);
}

static void close_connection(struct http_request *rq, bool linger)
{
    mg_disable_connection_keep_alive(rq->connection);
    if (linger)
        http_guard_linger(rq->server, rq->fd);
}

const struct http_backend_ops http_civetweb = {
    .start = start_backend,
    .stop_accepting = stop_accepting,
    .is_quiet = is_quiet,
    .stop = stop_backend,
    .fd = http_civetweb_fd,
    .close = close_connection,
};
