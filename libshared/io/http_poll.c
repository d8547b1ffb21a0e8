#include "http_poll.h"

#include "base/str.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define MAX_CONNECTIONS 10000
#define BACKLOG 1024

/* --- Start and stop --- */

/* The socket, or -errno. */
static int listen_on(const struct addrinfo *address)
{
    int fd = socket(address->ai_family, address->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, address->ai_protocol);
    int one = 1;

    if (fd < 0)
        return -errno;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, address->ai_addr, address->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    int r = -errno;
    close(fd);
    return r;
}

static int open_listener(const struct http_server_options *o, int *ret, struct err *e)
{
    const struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    int fd = -EADDRNOTAVAIL;

    int r = getaddrinfo(o->host, num_u64(o->port).s, &hints, &list);
    if (r != 0)
        return err_set(e, ERR_TEMPORARY, "can't listen on %s: %s", o->host, gai_strerror(r));
    for (const struct addrinfo *address = list; address != NULL && fd < 0; address = address->ai_next)
        fd = listen_on(address);
    freeaddrinfo(list);
    if (fd < 0)
        return err_set(e, ERR_TEMPORARY, "can't listen on %s port %u: %s", o->host, (unsigned)o->port, strerror(-fd));
    *ret = fd;
    return 0;
}

static uint16_t port_of(int fd)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } address = {0};
    socklen_t len = sizeof address;

    if (getsockname(fd, &address.any, &len) != 0)
        return 0;
    return ntohs(address.any.sa_family == AF_INET6 ? address.v6.sin6_port : address.v4.sin_port);
}

/* As many connections as the process may have descriptors, but for a quarter that is for others. */
static unsigned allowed_connections(void)
{
    struct rlimit limit;
    const rlim_t wanted = MAX_CONNECTIONS / 3 * 4 + 4;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 512;
    if (limit.rlim_cur < wanted) {
        limit.rlim_cur = wanted < limit.rlim_max ? wanted : limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    rlim_t allowed = limit.rlim_cur / 4 * 3;
    return allowed < MAX_CONNECTIONS ? (unsigned)allowed : MAX_CONNECTIONS;
}

static int start_poll(struct http_server *s, struct err *e)
{
    struct http_loop *l;
    int fd;

    int r = open_listener(&s->options, &fd, e);
    if (r != 0)
        return r;
    uint16_t port = port_of(fd);
    if ((r = http_loop_new(s, fd, allowed_connections(), &l, e)) != 0)
        return r;
    s->backend = l;
    s->port = port;
    return 0;
}

static void stop_accepting(struct http_server *s)
{
    http_loop_wake(s->backend);
}

static bool is_quiet(struct http_server *s)
{
    return http_loop_drained(s->backend);
}

static void stop_poll(struct http_server *s)
{
    http_loop_free(s->backend);
    s->backend = NULL;
}

/* --- Requests --- */

static int connection_fd(struct http_worker *w)
{
    return w->fd;
}

/* Bytes of the body go to where the caller wants them, what stands between them into the stream. */
static int64_t receive(struct http_request *rq, struct http_stream *in, char *data, size_t size)
{
    uint64_t plain = http_stream_plain(in);
    struct iovec parts[2] = {{.iov_base = data, .iov_len = plain < size ? (size_t)plain : size}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 1};

    if (rq->message.framing.chunked && plain <= size) {
        parts[1].iov_base = http_stream_room(in, &parts[1].iov_len);
        message.msg_iovlen = 2;
    }
    ssize_t n = recvmsg(rq->fd, &message, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n <= 0)
        return -ERR_DISCONNECTED;
    size_t direct = (size_t)n < parts[0].iov_len ? (size_t)n : parts[0].iov_len;
    http_stream_pass(in, direct);
    http_stream_add(in, (size_t)n - direct);
    return (int64_t)(direct + http_stream_take(in, data + direct, size - direct));
}

static int64_t read_body(struct http_request *rq, void *data, size_t size)
{
    struct http_stream *in = ((struct http_connection *)rq->connection)->in;
    int64_t n = (int64_t)http_stream_take(in, data, size);

    if (n == 0 && !http_stream_ended(in) && !http_stream_bad(in))
        n = receive(rq, in, data, size);
    if (n == 0 && http_stream_bad(in))
        return -ERR_INVALID;
    if (n == 0 && http_stream_ended(in))
        rq->body_left = 0;
    return n;
}

static const char *find_trailer(const struct http_request *rq, const char *name)
{
    const struct http_connection *c = rq->connection;

    return rq->body_left > 0 ? NULL : http_stream_trailer(c->in, name);
}

static void close_connection(struct http_request *rq, bool linger)
{
    struct http_connection *c = rq->connection;

    (void)linger;
    c->verdict = rq->broken ? VERDICT_CLOSE : VERDICT_LINGER; /* the client may be sending, whatever we know */
}

const struct http_backend_ops http_poll = {
    .start = start_poll,
    .stop_accepting = stop_accepting,
    .is_quiet = is_quiet,
    .stop = stop_poll,
    .fd = connection_fd,
    .read = read_body,
    .trailer = find_trailer,
    .close = close_connection,
};
