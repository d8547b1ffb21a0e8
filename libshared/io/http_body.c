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

    if (!rq->message.framing.expects_continue || rq->continue_sent)
        return true;
    rq->continue_sent = true;
    memcpy(line, continue_line, sizeof line);
    return http_socket_send(rq->fd, &part, 1, http_stall_ms(rq));
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
    const char *who = http_stopping(rq) ? "the server stopped" : "the client went away";

    rq->broken = true;
    if (rq->body_left == HTTP_BODY_CHUNKED)
        return err_set(e, ERR_DISCONNECTED, "%s before the end of a chunked body", who);
    return err_set(e, ERR_DISCONNECTED, "%s %llu bytes before the end of the body", who,
                   (unsigned long long)rq->body_left);
}

static int malformed(struct http_request *rq, struct err *e)
{
    rq->close = rq->linger = true;
    return err_set(e, ERR_INVALID,
                   "the chunks of the body, or the fields after them, are malformed; send them as HTTP/1.1 has them, "
                   "or a Content-Length");
}

/* Waits until bytes came from the client, or the wake descriptor has some. */
static int wait_for_bytes(struct http_request *rq, int wake_fd, uint64_t deadline_ms, bool *ret_woken, struct err *e)
{
    struct pollfd list[] = {{.fd = rq->fd, .events = POLLIN}, {.fd = wake_fd, .events = POLLIN}};
    uint64_t start_ms = clock_mono_ms();
    int n;

    if (start_ms >= deadline_ms)
        n = 0;
    else
        while ((n = poll(list, 2, (int)(deadline_ms - start_ms))) < 0 && errno == EINTR)
            ;
    rq->window_waited_ms += clock_mono_ms() - start_ms;
    if (n == 0)
        return err_set(e, ERR_TIMEOUT, "no byte of the body came for %llu ms; send the request again",
                       (unsigned long long)rq->server->options.idle_timeout_ms);
    if (n < 0)
        return disconnected(rq, e);
    *ret_woken = list[0].revents == 0;
    return 0;
}

/* What is there of the body; 0 bytes also at its end. */
static int take(struct http_request *rq, void *data, size_t size, size_t *ret_len, struct err *e)
{
    if (size > rq->body_left)
        size = (size_t)rq->body_left;
    int64_t n = size == 0 ? 0 : rq->server->ops->read(rq, data, size);
    if (n < 0)
        return n == -ERR_INVALID ? malformed(rq, e) : disconnected(rq, e);
    if (rq->body_left != HTTP_BODY_CHUNKED)
        rq->body_left -= (uint64_t)n;
    rq->window_bytes += (uint64_t)n;
    *ret_len = (size_t)n;
    return 0;
}

static int read_some(struct http_request *rq, int wake_fd, void *data, size_t size, uint64_t timeout_ms,
                     size_t *ret_len, bool *ret_woken, struct err *e)
{
    uint64_t deadline_ms = 0;
    bool woken = false;
    size_t len;
    int r;

    while ((r = take(rq, data, size, &len, e)) == 0 && len == 0 && rq->body_left > 0 && size > 0 && !woken) {
        if (!send_continue(rq))
            return disconnected(rq, e);
        if (deadline_ms == 0)
            deadline_ms = clock_mono_ms() + timeout_ms;
        if ((r = wait_for_bytes(rq, wake_fd, deadline_ms, &woken, e)) != 0)
            return r;
    }
    if (r != 0)
        return r;
    *ret_len = len;
    *ret_woken = woken && len == 0;
    return 0;
}

int http_read_or_wake(struct http_request *rq, int wake_fd, void *data, size_t size, size_t *ret_len, bool *ret_woken,
                      struct err *e)
{
    const struct http_server_options *o = &rq->server->options;
    bool woken;
    size_t len;

    int r = read_some(rq, wake_fd, data, size, o->idle_timeout_ms, &len, &woken, e);
    if (r == 0 && rq->body_left > 0 && too_slow(rq))
        r = err_set(
            e, ERR_TIMEOUT,
            "the body came in at less than %llu bytes per second, the least that is waited for; send the request again",
            (unsigned long long)o->min_rate);
    if (r == -ERR_TIMEOUT)
        rq->close = rq->linger = true; /* nobody waits for the rest */
    if (r != 0)
        return r;
    *ret_len = len;
    *ret_woken = woken;
    return 0;
}

int http_read(struct http_request *rq, void *data, size_t size, size_t *ret_len, struct err *e)
{
    bool woken;

    return http_read_or_wake(rq, -1, data, size, ret_len, &woken, e);
}

bool http_has_body(const struct http_request *rq)
{
    return rq->message.framing.chunked || rq->message.framing.length > 0;
}

const char *http_trailer(const struct http_request *rq, const char *name)
{
    return rq->server->ops->trailer(rq, name);
}

bool http_drain(struct http_request *rq)
{
    uint64_t deadline_ms = clock_mono_ms() + HTTP_DRAIN_MS;
    char scrap[4096];
    bool woken;
    size_t len;

    while (rq->body_left > 0) {
        uint64_t now_ms = clock_mono_ms();
        if (now_ms >= deadline_ms ||
            read_some(rq, -1, scrap, sizeof scrap, deadline_ms - now_ms, &len, &woken, NULL) != 0)
            return false;
    }
    return true;
}

bool http_drain_arrived(struct http_request *rq)
{
    char scrap[4096];
    size_t total = 0, len = 1;

    while (rq->body_left > 0 && len > 0 && total < HTTP_DRAIN_MAX) {
        if (take(rq, scrap, sizeof scrap, &len, NULL) != 0)
            return false;
        total += len;
    }
    return rq->body_left == 0;
}
