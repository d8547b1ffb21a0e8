#include "http_poll.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"

#include <errno.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#define MAX_CONNECTIONS 10000
#define MAX_SPARE_STREAMS 64
#define MAX_EVENTS 256
#define MAX_ACCEPTS 64 /* at once, then others have their turn */
#define BACKLOG 1024
#define TICK_MS 500
#define ACCEPT_PAUSE_MS 100 /* after the process ran out of descriptors */
#define MAX_HEADS_OF_PEER 8
#define HEAD_GRACE_MS 1000 /* a burst of new connections is no attack: only heads count that are late */

struct loop {
    struct http_server *server;
    struct http_pool *pool;
    pthread_t thread;
    bool running;
    int epoll_fd, listen_fd, wake_fd;
    bool listening;            /* the listening socket is looked at */
    uint64_t accept_again_ms;  /* 0: no pause */
    uint64_t crowds_ms;        /* when crowded peers were looked for */
    unsigned count, max_count; /* connections, with those that the pool has */
    _Atomic bool ending;

    struct http_connections waiting[HTTP_WAITS]; /* oldest first */
    unsigned waits[HTTP_WAITS];
    struct http_connection **heads; /* room for all, to be sorted */
    struct http_stream *spare[MAX_SPARE_STREAMS];
    unsigned spares;

    pthread_mutex_t lock; /* for the list below */
    struct http_connections returned;
};

/* --- Connections --- */

static void leave_list(struct loop *l, struct http_connection *c)
{
    if (c->wait == WAIT_NOT)
        return;
    TAILQ_REMOVE(&l->waiting[c->wait], c, link);
    l->waits[c->wait]--;
    c->wait = WAIT_NOT;
}

static void join_list(struct loop *l, struct http_connection *c, enum http_wait wait, uint64_t now_ms)
{
    leave_list(l, c);
    TAILQ_INSERT_TAIL(&l->waiting[wait], c, link);
    l->waits[wait]++;
    c->wait = wait;
    c->since_ms = now_ms;
}

static void drop_stream(struct loop *l, struct http_connection *c)
{
    if (c->in != NULL && l->spares < MAX_SPARE_STREAMS)
        l->spare[l->spares++] = c->in;
    else
        mem_free(c->in);
    c->in = NULL;
}

static bool need_stream(struct loop *l, struct http_connection *c)
{
    if (c->in != NULL)
        return true;
    c->in = l->spares > 0 ? l->spare[--l->spares] : mem_alloc(sizeof *c->in);
    if (c->in != NULL)
        http_stream_init(c->in);
    return c->in != NULL;
}

static void drop(struct loop *l, struct http_connection *c)
{
    leave_list(l, c);
    drop_stream(l, c);
    close(c->fd);
    mem_free(c);
    l->count--;
}

/* Every event is told once, so that a connection which the pool has is left alone. */
static void watch(struct loop *l, struct http_connection *c)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT, .data.ptr = c};

    if (epoll_ctl(l->epoll_fd, c->is_known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, c->fd, &event) == 0)
        c->is_known = true;
    else
        drop(l, c);
}

static void submit(struct loop *l, struct http_connection *c)
{
    leave_list(l, c);
    http_pool_submit(l->pool, c);
}

static void linger(struct loop *l, struct http_connection *c, uint64_t now_ms)
{
    drop_stream(l, c);
    c->linger = http_linger_begin(c->fd, now_ms);
    join_list(l, c, WAIT_LINGER, now_ms);
    watch(l, c);
}

/* --- What comes in --- */

static void look_at(struct loop *l, struct http_connection *c, uint64_t now_ms)
{
    if (http_stream_look(c->in) != HTTP_STREAM_MORE) {
        submit(l, c);
        return;
    }
    if (c->wait != WAIT_HEAD) /* its time runs from the first byte */
        join_list(l, c, WAIT_HEAD, now_ms);
    watch(l, c);
}

static void read_connection(struct loop *l, struct http_connection *c, uint64_t now_ms)
{
    size_t room;

    if (!need_stream(l, c)) {
        drop(l, c);
        return;
    }
    char *data = http_stream_room(c->in, &room);
    ssize_t n = recv(c->fd, data, room, MSG_DONTWAIT);
    if (n > 0) {
        http_stream_add(c->in, (size_t)n);
        look_at(l, c, now_ms);
    } else if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        watch(l, c);
    } else {
        drop(l, c);
    }
}

static void handle_event(struct loop *l, struct http_connection *c, uint64_t now_ms)
{
    if (c->wait != WAIT_LINGER)
        read_connection(l, c, now_ms);
    else if (http_linger_read(&c->linger, c->fd, now_ms))
        watch(l, c);
    else
        drop(l, c);
}

/* What the pool has answered. */
static void take_back(struct loop *l, struct http_connection *c, uint64_t now_ms)
{
    if (c->verdict == VERDICT_LINGER) {
        linger(l, c, now_ms);
    } else if (c->verdict == VERDICT_CLOSE || l->server->stopping) {
        drop(l, c);
    } else if (http_stream_empty(c->in)) {
        drop_stream(l, c);
        join_list(l, c, WAIT_NEXT, now_ms);
        watch(l, c);
    } else {
        look_at(l, c, now_ms);
    }
}

static void take_all_back(struct loop *l, uint64_t now_ms)
{
    struct http_connections list = TAILQ_HEAD_INITIALIZER(list);
    struct http_connection *c;

    pthread_mutex_lock(&l->lock);
    TAILQ_CONCAT(&list, &l->returned, link);
    pthread_mutex_unlock(&l->lock);
    while ((c = TAILQ_FIRST(&list)) != NULL) {
        TAILQ_REMOVE(&list, c, link);
        take_back(l, c, now_ms);
    }
}

static void wake(struct loop *l)
{
    uint64_t one = 1;
    ssize_t ignored = write(l->wake_fd, &one, sizeof one);

    (void)ignored;
}

void http_poll_return(struct http_server *s, struct http_connection *c)
{
    struct loop *l = s->backend;

    pthread_mutex_lock(&l->lock);
    bool is_first = TAILQ_EMPTY(&l->returned);
    TAILQ_INSERT_TAIL(&l->returned, c, link);
    pthread_mutex_unlock(&l->lock);
    atomic_fetch_sub(&s->connections, 1);
    if (is_first)
        wake(l);
}

/* --- Limits --- */

/* Gives up on a head; a thread says so. */
static void refuse(struct loop *l, struct http_connection *c, int status)
{
    epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, c->fd, NULL); /* no event was told since it was last watched */
    c->is_known = false;
    c->refused = status;
    submit(l, c);
}

static void expire(struct loop *l, enum http_wait wait, uint64_t limit_ms, uint64_t now_ms)
{
    struct http_connection *c;

    while ((c = TAILQ_FIRST(&l->waiting[wait])) != NULL && now_ms - c->since_ms >= limit_ms) {
        if (wait == WAIT_HEAD && !l->server->stopping)
            refuse(l, c, 408);
        else
            drop(l, c);
    }
}

static void expire_lingering(struct loop *l, uint64_t now_ms)
{
    struct http_connection *c, *next;

    for (c = TAILQ_FIRST(&l->waiting[WAIT_LINGER]); c != NULL; c = next) {
        next = TAILQ_NEXT(c, link);
        if (now_ms >= c->linger.end_ms || now_ms >= c->linger.quiet_ms)
            drop(l, c);
    }
}

/* By peer, youngest first. */
static int compare_heads(const void *a, const void *b)
{
    const struct http_connection *const *one = a, *const *other = b;
    int order = strcmp((*one)->peer, (*other)->peer);

    if (order != 0)
        return order;
    return ((*one)->since_ms < (*other)->since_ms) - ((*one)->since_ms > (*other)->since_ms);
}

/* Of each peer's late heads all but the youngest few are given up. */
static void thin_out_crowds(struct loop *l, uint64_t now_ms)
{
    struct http_connection *c;
    size_t n = 0, of_peer = 0;

    l->crowds_ms = now_ms;
    TAILQ_FOREACH(c, &l->waiting[WAIT_HEAD], link)
    {
        if (now_ms - c->since_ms < HEAD_GRACE_MS)
            break;
        if (!c->is_trusted)
            l->heads[n++] = c;
    }
    qsort(l->heads, n, sizeof *l->heads, compare_heads);
    const char *peer = "";
    for (size_t i = 0; i < n; i++) {
        of_peer = strcmp(l->heads[i]->peer, peer) == 0 ? of_peer + 1 : 1;
        peer = l->heads[i]->peer;
        if (of_peer > MAX_HEADS_OF_PEER)
            refuse(l, l->heads[i], 408);
    }
}

/* Makes room for a new connection at the cost of the one that is missed least. */
static bool evict_one(struct loop *l)
{
    static const enum http_wait order[] = {WAIT_LINGER, WAIT_NEXT, WAIT_FIRST, WAIT_HEAD};

    for (size_t i = 0; i < ARRAY_SIZE(order); i++) {
        if (TAILQ_EMPTY(&l->waiting[order[i]]))
            continue;
        drop(l, TAILQ_FIRST(&l->waiting[order[i]]));
        return true;
    }
    return false;
}

/* --- Accepting --- */

static void set_listening(struct loop *l, bool listening)
{
    struct epoll_event event = {.events = listening ? EPOLLIN : 0, .data.ptr = &l->listen_fd};

    if (l->listening == listening || l->listen_fd < 0)
        return;
    l->listening = listening;
    epoll_ctl(l->epoll_fd, EPOLL_CTL_MOD, l->listen_fd, &event);
}

static void add_connection(struct loop *l, int fd, const struct sockaddr_storage *peer, uint64_t now_ms)
{
    struct http_connection *c = mem_zalloc(sizeof *c);
    int one = 1;

    if (c == NULL || !http_socket_peer(peer, c->peer)) {
        mem_free(c);
        close(fd);
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    c->fd = fd;
    c->wait = WAIT_NOT;
    c->is_trusted = http_networks_hold(&l->server->trusted, c->peer);
    l->count++;
    join_list(l, c, WAIT_FIRST, now_ms);
    watch(l, c);
}

/* False when there is nothing more to accept at the moment. */
static bool accept_one(struct loop *l, uint64_t now_ms)
{
    struct sockaddr_storage peer;
    socklen_t len = sizeof peer;

    if (l->count >= l->max_count && !evict_one(l)) {
        set_listening(l, false); /* until the pool gives one back */
        return false;
    }
    int fd = accept4(l->listen_fd, (struct sockaddr *)&peer, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        add_connection(l, fd, &peer, now_ms);
        return true;
    }
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        evict_one(l);
        set_listening(l, false); /* the socket would wake us again and again */
        l->accept_again_ms = now_ms + ACCEPT_PAUSE_MS;
        return false;
    }
    return errno != EAGAIN && errno != EBADF && errno != EINVAL;
}

static void accept_all(struct loop *l, uint64_t now_ms)
{
    for (int i = 0; i < MAX_ACCEPTS && accept_one(l, now_ms); i++)
        ;
}

static void stop_listening(struct loop *l)
{
    if (l->listen_fd >= 0)
        close(l->listen_fd);
    l->listen_fd = -1;
}

/* --- The thread --- */

static uint64_t sooner(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t limit_of(const struct loop *l, enum http_wait wait)
{
    const struct http_server_options *o = &l->server->options;

    return wait == WAIT_NEXT ? o->keep_alive_timeout_ms : o->header_timeout_ms;
}

/* For epoll_wait: until something is due. */
static int time_left(const struct loop *l, uint64_t now_ms)
{
    uint64_t due_ms = UINT64_MAX;

    for (enum http_wait wait = WAIT_FIRST; wait <= WAIT_HEAD; wait++)
        if (l->waits[wait] > 0)
            due_ms = sooner(due_ms, TAILQ_FIRST(&l->waiting[wait])->since_ms + limit_of(l, wait));
    if (l->waits[WAIT_HEAD] > MAX_HEADS_OF_PEER || l->waits[WAIT_LINGER] > 0)
        due_ms = sooner(due_ms, now_ms + TICK_MS);
    if (l->accept_again_ms > 0)
        due_ms = sooner(due_ms, l->accept_again_ms);
    if (due_ms == UINT64_MAX)
        return -1;
    return due_ms <= now_ms ? 0 : (int)sooner(due_ms - now_ms, INT_MAX);
}

static void look_after(struct loop *l, uint64_t now_ms)
{
    for (enum http_wait wait = WAIT_FIRST; wait <= WAIT_HEAD; wait++)
        expire(l, wait, l->server->stopping ? 0 : limit_of(l, wait), now_ms);
    expire_lingering(l, now_ms);
    if (l->waits[WAIT_HEAD] > MAX_HEADS_OF_PEER && now_ms - l->crowds_ms >= TICK_MS)
        thin_out_crowds(l, now_ms);
    if (l->server->stopping)
        stop_listening(l);
    if (l->count < l->max_count && now_ms >= l->accept_again_ms) {
        l->accept_again_ms = 0;
        set_listening(l, true);
    }
}

/* New connections come last: what they push out may be among the events. */
static void handle_events(struct loop *l, const struct epoll_event *events, int n)
{
    uint64_t now_ms = clock_mono_ms(), wakes;
    bool accepts = false;

    for (int i = 0; i < n; i++) {
        if (events[i].data.ptr == &l->listen_fd) {
            accepts = true;
        } else if (events[i].data.ptr == &l->wake_fd) {
            ssize_t ignored = read(l->wake_fd, &wakes, sizeof wakes);
            (void)ignored;
        } else {
            handle_event(l, events[i].data.ptr, now_ms);
        }
    }
    take_all_back(l, now_ms);
    look_after(l, now_ms);
    if (accepts && l->listen_fd >= 0)
        accept_all(l, now_ms);
}

static void *loop_thread(void *arg)
{
    struct loop *l = arg;
    struct epoll_event events[MAX_EVENTS];

    while (!l->ending) {
        int n = epoll_wait(l->epoll_fd, events, MAX_EVENTS, time_left(l, clock_mono_ms()));
        handle_events(l, events, n);
    }
    return NULL;
}

/* --- Start and stop --- */

static int bind_to(struct loop *l, const struct addrinfo *address)
{
    int one = 1;

    l->listen_fd = socket(address->ai_family, address->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC,
                          address->ai_protocol);
    if (l->listen_fd < 0)
        return errno;
    setsockopt(l->listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(l->listen_fd, address->ai_addr, address->ai_addrlen) == 0 && listen(l->listen_fd, BACKLOG) == 0)
        return 0;
    int r = errno;
    stop_listening(l);
    return r;
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

static int start_listening(struct loop *l, struct err *e)
{
    const struct http_server_options *o = &l->server->options;
    const struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;

    int r = getaddrinfo(o->host, num_u64(o->port).s, &hints, &list);
    if (r != 0)
        return err_set(e, ERR_TEMPORARY, "can't listen on %s: %s", o->host, gai_strerror(r));
    r = EADDRNOTAVAIL;
    for (const struct addrinfo *address = list; address != NULL && r != 0; address = address->ai_next)
        r = bind_to(l, address);
    freeaddrinfo(list);
    if (r != 0)
        return err_set(e, ERR_TEMPORARY, "can't listen on %s port %u: %s", o->host, (unsigned)o->port, strerror(r));
    l->server->port = port_of(l->listen_fd);
    return 0;
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

static int open_descriptors(struct loop *l, struct err *e)
{
    struct epoll_event wake_event = {.events = EPOLLIN, .data.ptr = &l->wake_fd};
    struct epoll_event listen_event = {.events = EPOLLIN, .data.ptr = &l->listen_fd};

    l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    l->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (l->epoll_fd < 0 || l->wake_fd < 0 || epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, l->wake_fd, &wake_event) != 0 ||
        epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, l->listen_fd, &listen_event) != 0)
        return err_set(e, ERR_TEMPORARY, "can't watch connections: %s", strerror(errno));
    l->listening = true;
    return 0;
}

static struct loop *new_loop(struct http_server *s)
{
    struct loop *l = mem_zalloc(sizeof *l);

    if (l == NULL)
        return NULL;
    l->server = s;
    l->epoll_fd = l->listen_fd = l->wake_fd = -1;
    l->max_count = allowed_connections();
    for (size_t i = 0; i < HTTP_WAITS; i++)
        TAILQ_INIT(&l->waiting[i]);
    TAILQ_INIT(&l->returned);
    pthread_mutex_init(&l->lock, NULL);
    s->backend = l;
    return l;
}

static int start_poll(struct http_server *s, struct err *e)
{
    struct loop *l = new_loop(s);
    int r;

    if (l == NULL || (l->heads = mem_calloc(l->max_count, sizeof(struct http_connection *))) == NULL)
        return err_set(e, ERR_TEMPORARY, "no memory for an HTTP server");
    if ((r = http_pool_new(s, &l->pool, e)) != 0 || (r = start_listening(l, e)) != 0 ||
        (r = open_descriptors(l, e)) != 0)
        return r;
    if ((r = pthread_create(&l->thread, NULL, loop_thread, l)) != 0)
        return err_set(e, ERR_TEMPORARY, "can't start a thread for the HTTP server: %s", strerror(r));
    l->running = true;
    return 0;
}

static void stop_accepting(struct http_server *s)
{
    wake(s->backend);
}

static void close_descriptors(struct loop *l)
{
    const int fds[] = {l->epoll_fd, l->listen_fd, l->wake_fd};

    for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

static void stop_poll(struct http_server *s)
{
    struct loop *l = s->backend;

    if (l == NULL)
        return;
    l->ending = true;
    if (l->running) {
        wake(l);
        pthread_join(l->thread, NULL);
    }
    if (l->pool != NULL)
        http_pool_cancel(l->pool);
    http_pool_free(l->pool);
    take_all_back(l, clock_mono_ms());
    while (evict_one(l))
        ;
    while (l->spares > 0)
        mem_free(l->spare[--l->spares]);
    close_descriptors(l);
    pthread_mutex_destroy(&l->lock);
    mem_free(l->heads);
    mem_free(l);
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
    .stop = stop_poll,
    .fd = connection_fd,
    .read = read_body,
    .trailer = find_trailer,
    .close = close_connection,
};
