#include "http_internal.h"

#include "base/clock.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

static const char continue_line[] = "HTTP/1.1 100 Continue\r\n\r\n";

static bool send_continue(struct http_request *rq)
{
    char line[sizeof continue_line];
    struct iovec part = {.iov_base = line, .iov_len = sizeof line - 1};

    if (!rq->framing.expects_continue || rq->continue_sent)
        return true;
    rq->continue_sent = true;
    memcpy(line, continue_line, sizeof line);
    return http_socket_send(rq->fd, &part, 1, HTTP_STALL_MS);
}

/* Only time spent waiting for the client counts: how long a handler takes with what it was given is not the client's
 * fault. */
static bool too_slow(struct http_request *rq)
{
    const struct http_server_options *o = &rq->server->options;

    if (o->min_rate == 0 || rq->window_waited_ms < o->min_rate_window_ms)
        return false;
    bool slow = rq->window_bytes < o->min_rate * rq->window_waited_ms / 1000;
    rq->window_bytes = rq->window_waited_ms = 0;
    return slow;
}

static int disconnected(struct http_request *rq, struct err *e)
{
    rq->broken = true;
    return err_set(e, ERR_DISCONNECTED, "the client went away %llu bytes before the end of its body",
                   (unsigned long long)rq->body_left);
}

/* Waits for bytes for up to timeout_ms. Their number in *ret. */
static int wait_for_bytes(struct http_request *rq, uint64_t timeout_ms, size_t *ret, struct err *e)
{
    struct pollfd pollfd = {.fd = rq->fd, .events = POLLIN};
    uint64_t start_ms;
    size_t available = http_socket_available(rq->fd);
    int n;

    if (available > 0) {
        *ret = available;
        return 0;
    }
    start_ms = clock_mono_ms();
    while ((n = poll(&pollfd, 1, (int)timeout_ms)) < 0 && errno == EINTR)
        ;
    rq->window_waited_ms += clock_mono_ms() - start_ms;
    if (n == 0)
        return err_set(e, ERR_TIMEOUT, "no byte of the body came for %llu ms", (unsigned long long)timeout_ms);
    available = http_socket_available(rq->fd);
    if (n < 0 || available == 0)
        return disconnected(rq, e);
    *ret = available;
    return 0;
}

static int64_t take_ahead(struct http_request *rq, void *data, size_t size)
{
    int64_t n = http_backend_read_ahead(rq, data, size);

    if (n >= 0 && (size_t)n < size)
        rq->ahead_done = true;
    return n;
}

static int read_some(struct http_request *rq, void *data, size_t size, uint64_t timeout_ms, size_t *ret_len,
                     struct err *e)
{
    size_t available = 0;
    int64_t n = 0;
    int r;

    if (size > rq->body_left)
        size = (size_t)rq->body_left;
    if (size > 0 && !rq->ahead_done)
        n = take_ahead(rq, data, size);
    if (size > 0 && n == 0) {
        if (!send_continue(rq))
            return disconnected(rq, e);
        if ((r = wait_for_bytes(rq, timeout_ms, &available, e)) != 0)
            return r;
        n = http_backend_read(rq, data, size < available ? size : available);
    }
    if (n < 0 || (n == 0 && size > 0))
        return disconnected(rq, e);
    rq->body_left -= (uint64_t)n;
    rq->window_bytes += (uint64_t)n;
    *ret_len = (size_t)n;
    return 0;
}

static int read_in_time(struct http_request *rq, void *data, size_t size, size_t *ret_len, struct err *e)
{
    const struct http_server_options *o = &rq->server->options;
    size_t len;

    int r = read_some(rq, data, size, o->idle_timeout_ms, &len, e);
    if (r != 0)
        return r;
    if (rq->body_left > 0 && too_slow(rq))
        return err_set(e, ERR_TIMEOUT, "the body came in at less than %llu bytes per second",
                       (unsigned long long)o->min_rate);
    *ret_len = len;
    return 0;
}

int http_read(struct http_request *rq, void *data, size_t size, size_t *ret_len, struct err *e)
{
    int r = read_in_time(rq, data, size, ret_len, e);

    if (r == -ERR_TIMEOUT)
        rq->close = rq->linger = true; /* nobody waits for the rest */
    return r;
}

bool http_drain(struct http_request *rq)
{
    uint64_t deadline_ms = clock_mono_ms() + HTTP_DRAIN_MS;
    char scrap[4096];
    size_t len;

    while (rq->body_left > 0) {
        uint64_t now_ms = clock_mono_ms();
        if (now_ms >= deadline_ms || read_some(rq, scrap, sizeof scrap, deadline_ms - now_ms, &len, NULL) != 0)
            return false;
    }
    return true;
}
