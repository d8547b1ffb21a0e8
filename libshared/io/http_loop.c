#include "http_poll.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"

#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define MAX_SPARE_STREAMS 64
#define MAX_EVENTS 256
#define MAX_ACCEPTS 64 /* at once, then others have their turn */
#define TICK_MS 500
#define ACCEPT_PAUSE_MS 100 /* when there is no room */
#define EVICT_GRACE_MS 500
#define MAX_HEADS_OF_PEER 8
#define HEAD_GRACE_MS 1000 /* a burst of new connections is no attack: only heads count that are late */
#define STOP_GRACE_MS 500  /* while stopping: for what is on its way of a request, and of the end of a connection */

struct http_loop {
    struct http_server *server;
    struct http_pool *pool;
    pthread_t thread;
    bool running;
    int epoll_fd, listen_fd, wake_fd;
    bool listening;            /* the listening socket is looked at */
    uint64_t accept_again_ms;  /* 0: no pause */
    uint64_t ticked_ms;        /* when what need not be looked at so often was */
    unsigned count, max_count; /* connections, with those that the pool has */
    _Atomic bool ending, drained;

    struct http_connections waiting[HTTP_WAITS]; /* oldest first */
    unsigned waits[HTTP_WAITS];
    struct http_connection **heads; /* room for all, to be sorted */
    struct http_stream *spare[MAX_SPARE_STREAMS];
    unsigned spares;

    pthread_mutex_t lock; /* for the list below */
    struct http_connections returned;
};

/* --- Connections --- */

static void leave_list(struct http_loop *l, struct http_connection *c)
{
    if (c->wait == WAIT_NOT)
        return;
    TAILQ_REMOVE(&l->waiting[c->wait], c, link);
    l->waits[c->wait]--;
    c->wait = WAIT_NOT;
}

static void join_list(struct http_loop *l, struct http_connection *c, enum http_wait wait, uint64_t now_ms)
{
    leave_list(l, c);
    TAILQ_INSERT_TAIL(&l->waiting[wait], c, link);
    l->waits[wait]++;
    c->wait = wait;
    c->since_ms = now_ms;
}

static void drop_stream(struct http_loop *l, struct http_connection *c)
{
    if (c->in != NULL && l->spares < MAX_SPARE_STREAMS)
        l->spare[l->spares++] = c->in;
    else
        mem_free(c->in);
    c->in = NULL;
}

static bool need_stream(struct http_loop *l, struct http_connection *c)
{
    if (c->in != NULL)
        return true;
    c->in = l->spares > 0 ? l->spare[--l->spares] : mem_alloc(sizeof *c->in);
    if (c->in != NULL)
        http_stream_init(c->in);
    return c->in != NULL;
}

static void drop(struct http_loop *l, struct http_connection *c)
{
    leave_list(l, c);
    drop_stream(l, c);
    close(c->fd);
    mem_free(c);
    l->count--;
}

/* Every event is told once, so that a connection which the pool has is left alone. */
static void watch(struct http_loop *l, struct http_connection *c)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT, .data.ptr = c};

    if (epoll_ctl(l->epoll_fd, c->is_known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, c->fd, &event) == 0)
        c->is_known = true;
    else
        drop(l, c);
}

static void submit(struct http_loop *l, struct http_connection *c)
{
    leave_list(l, c);
    http_pool_submit(l->pool, c);
}

static void linger(struct http_loop *l, struct http_connection *c, uint64_t now_ms)
{
    drop_stream(l, c);
    c->linger = http_linger_begin(c->fd, now_ms);
    if (l->server->stopping)
        c->linger.quiet_ms = now_ms + STOP_GRACE_MS;
    join_list(l, c, WAIT_LINGER, now_ms);
    watch(l, c);
}

/* --- What comes in --- */

static void look_at(struct http_loop *l, struct http_connection *c, uint64_t now_ms)
{
    if (http_stream_look(c->in) != HTTP_STREAM_MORE) {
        submit(l, c);
        return;
    }
    if (c->wait != WAIT_HEAD) /* its time runs from the first byte */
        join_list(l, c, WAIT_HEAD, now_ms);
    watch(l, c);
}

static void read_connection(struct http_loop *l, struct http_connection *c, uint64_t now_ms)
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

static void handle_event(struct http_loop *l, struct http_connection *c, uint64_t now_ms)
{
    if (c->wait != WAIT_LINGER)
        read_connection(l, c, now_ms);
    else if (http_linger_read(&c->linger, c->fd, now_ms))
        watch(l, c);
    else
        drop(l, c);
}

/* What the pool has answered. */
static void take_back(struct http_loop *l, struct http_connection *c, uint64_t now_ms)
{
    if (c->verdict == VERDICT_CLOSE) {
        drop(l, c);
    } else if (c->verdict == VERDICT_LINGER || l->server->stopping) {
        linger(l, c, now_ms);
    } else if (http_stream_empty(c->in)) {
        drop_stream(l, c);
        join_list(l, c, WAIT_NEXT, now_ms);
        watch(l, c);
    } else {
        look_at(l, c, now_ms);
    }
}

static void take_all_back(struct http_loop *l, uint64_t now_ms)
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

void http_loop_wake(struct http_loop *l)
{
    uint64_t one = 1;
    ssize_t ignored = write(l->wake_fd, &one, sizeof one);

    (void)ignored;
}

bool http_loop_drained(const struct http_loop *l)
{
    return l->drained;
}

void http_loop_return(struct http_loop *l, struct http_connection *c)
{
    pthread_mutex_lock(&l->lock);
    bool is_first = TAILQ_EMPTY(&l->returned);
    TAILQ_INSERT_TAIL(&l->returned, c, link);
    pthread_mutex_unlock(&l->lock);
    atomic_fetch_sub(&l->server->connections, 1);
    if (is_first)
        http_loop_wake(l);
}

/* --- Limits --- */

/* Gives up on a head; a thread says so. */
static void refuse(struct http_loop *l, struct http_connection *c, int status)
{
    epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, c->fd, NULL); /* no event was told since it was last watched */
    c->is_known = false;
    c->refused = status;
    submit(l, c);
}

static void expire(struct http_loop *l, enum http_wait wait, uint64_t limit_ms, uint64_t now_ms)
{
    struct http_connection *c;

    while ((c = TAILQ_FIRST(&l->waiting[wait])) != NULL && now_ms - c->since_ms >= limit_ms) {
        if (wait == WAIT_HEAD && !l->server->stopping)
            refuse(l, c, 408);
        else
            drop(l, c);
    }
}

static void expire_lingering(struct http_loop *l, uint64_t now_ms)
{
    struct http_connection *c, *next;

    for (c = TAILQ_FIRST(&l->waiting[WAIT_LINGER]); c != NULL; c = next) {
        next = TAILQ_NEXT(c, link);
        if (now_ms >= c->linger.end_ms || now_ms >= c->linger.quiet_ms)
            drop(l, c);
    }
}

/* By the peer's group, youngest first. */
static int compare_heads(const void *a, const void *b)
{
    const struct http_connection *const *one = a, *const *other = b;
    int order = strcmp((*one)->group, (*other)->group);

    if (order != 0)
        return order;
    return ((*one)->since_ms < (*other)->since_ms) - ((*one)->since_ms > (*other)->since_ms);
}

/* Of each peer's late heads all but the youngest few are given up. */
static void thin_out_crowds(struct http_loop *l, uint64_t now_ms)
{
    struct http_connection *c;
    size_t n = 0, of_peer = 0;

    TAILQ_FOREACH(c, &l->waiting[WAIT_HEAD], link)
    {
        if (now_ms - c->since_ms < HEAD_GRACE_MS)
            break;
        if (!c->is_trusted)
            l->heads[n++] = c;
    }
    qsort(l->heads, n, sizeof *l->heads, compare_heads);
    const char *group = "";
    for (size_t i = 0; i < n; i++) {
        of_peer = strcmp(l->heads[i]->group, group) == 0 ? of_peer + 1 : 1;
        group = l->heads[i]->group;
        if (of_peer > MAX_HEADS_OF_PEER)
            refuse(l, l->heads[i], 408);
    }
}

/* Ends the connection that is missed least; not one that has just come, or is just sending its head. */
static bool evict_one(struct http_loop *l, uint64_t now_ms)
{
    static const struct {
        enum http_wait wait;
        uint64_t grace_ms;
    } order[] = {{WAIT_LINGER, 0}, {WAIT_NEXT, 0}, {WAIT_FIRST, EVICT_GRACE_MS}, {WAIT_HEAD, EVICT_GRACE_MS}};

    for (size_t i = 0; i < ARRAY_SIZE(order); i++) {
        struct http_connection *oldest = TAILQ_FIRST(&l->waiting[order[i].wait]);
        if (oldest == NULL || now_ms - oldest->since_ms < order[i].grace_ms)
            continue;
        drop(l, oldest);
        return true;
    }
    return false;
}

/* --- Accepting --- */

static void set_listening(struct http_loop *l, bool listening)
{
    struct epoll_event event = {.events = listening ? EPOLLIN : 0, .data.ptr = &l->listen_fd};

    if (l->listening == listening || l->listen_fd < 0)
        return;
    l->listening = listening;
    epoll_ctl(l->epoll_fd, EPOLL_CTL_MOD, l->listen_fd, &event);
}

static void add_connection(struct http_loop *l, int fd, const struct sockaddr_storage *peer, uint64_t now_ms)
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
    http_address_group(c->peer, c->group);
    c->is_trusted = http_networks_hold(&l->server->trusted, c->peer);
    l->count++;
    join_list(l, c, WAIT_FIRST, now_ms);
    watch(l, c);
}

/* Room for one who waits to be accepted: accept4 complains of too few descriptors even when nobody does. */
static bool make_room(struct http_loop *l, uint64_t now_ms)
{
    struct pollfd pollfd = {.fd = l->listen_fd, .events = POLLIN};

    if (poll(&pollfd, 1, 0) <= 0)
        return false;
    if (evict_one(l, now_ms))
        return true;
    set_listening(l, false); /* the socket would wake us again and again */
    l->accept_again_ms = now_ms + ACCEPT_PAUSE_MS;
    return false;
}

/* False when there is nothing more to accept at the moment. */
static bool accept_one(struct http_loop *l, uint64_t now_ms)
{
    struct sockaddr_storage peer;
    socklen_t len = sizeof peer;

    if (l->count >= l->max_count && !make_room(l, now_ms))
        return false;
    int fd = accept4(l->listen_fd, (struct sockaddr *)&peer, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        add_connection(l, fd, &peer, now_ms);
        return true;
    }
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
        return make_room(l, now_ms);
    return errno != EAGAIN && errno != EBADF && errno != EINVAL;
}

static void accept_all(struct http_loop *l, uint64_t now_ms)
{
    for (int i = 0; i < MAX_ACCEPTS && accept_one(l, now_ms); i++)
        ;
}

/* Those that have come already think that they are served: closing the socket would reset them. */
static void stop_listening(struct http_loop *l, uint64_t now_ms)
{
    if (l->listen_fd < 0)
        return;
    while (accept_one(l, now_ms))
        ;
    close(l->listen_fd);
    l->listen_fd = -1;
}

/* --- The thread --- */

static uint64_t sooner(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t limit_of(const struct http_loop *l, enum http_wait wait)
{
    const struct http_server_options *o = &l->server->options;

    if (l->server->stopping)
        return wait == WAIT_NEXT ? 0 : STOP_GRACE_MS;
    return wait == WAIT_NEXT ? o->keep_alive_timeout_ms : o->header_timeout_ms;
}

/* For epoll_wait: until something is due. */
static int time_left(const struct http_loop *l, uint64_t now_ms)
{
    uint64_t due_ms = UINT64_MAX;

    for (enum http_wait wait = WAIT_FIRST; wait <= WAIT_HEAD; wait++)
        if (l->waits[wait] > 0)
            due_ms = sooner(due_ms, TAILQ_FIRST(&l->waiting[wait])->since_ms + limit_of(l, wait));
    if (l->waits[WAIT_HEAD] > MAX_HEADS_OF_PEER || l->waits[WAIT_LINGER] > 0)
        due_ms = sooner(due_ms, l->ticked_ms + TICK_MS);
    if (l->accept_again_ms > 0)
        due_ms = sooner(due_ms, l->accept_again_ms);
    if (due_ms == UINT64_MAX)
        return -1;
    return due_ms <= now_ms ? 0 : (int)sooner(due_ms - now_ms, INT_MAX);
}

static void look_after(struct http_loop *l, uint64_t now_ms)
{
    for (enum http_wait wait = WAIT_FIRST; wait <= WAIT_HEAD; wait++)
        expire(l, wait, limit_of(l, wait), now_ms);
    if (now_ms - l->ticked_ms >= TICK_MS) {
        l->ticked_ms = now_ms;
        expire_lingering(l, now_ms);
        if (l->waits[WAIT_HEAD] > MAX_HEADS_OF_PEER)
            thin_out_crowds(l, now_ms);
    }
    if (l->server->stopping)
        stop_listening(l, now_ms);
    if (now_ms >= l->accept_again_ms) {
        l->accept_again_ms = 0;
        set_listening(l, true);
    }
}

/* New connections come last: what they push out may be among the events. */
static void handle_events(struct http_loop *l, const struct epoll_event *events, int n)
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
    l->drained = l->listen_fd < 0 && l->count == 0;
}

static void *loop_thread(void *arg)
{
    struct http_loop *l = arg;
    struct epoll_event events[MAX_EVENTS];

    while (!l->ending) {
        int n = epoll_wait(l->epoll_fd, events, MAX_EVENTS, time_left(l, clock_mono_ms()));
        handle_events(l, events, n);
    }
    return NULL;
}

/* --- Start and stop --- */

static int open_descriptors(struct http_loop *l, struct err *e)
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

static int start(struct http_loop *l, struct err *e)
{
    int r;

    l->heads = mem_calloc(l->max_count, sizeof(struct http_connection *));
    if (l->heads == NULL)
        return err_set(e, ERR_TEMPORARY, "no memory for an HTTP server");
    if ((r = http_pool_new(l->server, l, &l->pool, e)) != 0 || (r = open_descriptors(l, e)) != 0)
        return r;
    if ((r = pthread_create(&l->thread, NULL, loop_thread, l)) != 0)
        return err_set(e, ERR_TEMPORARY, "can't start a thread for the HTTP server: %s", strerror(r));
    l->running = true;
    return 0;
}

int http_loop_new(struct http_server *s, int listen_fd, unsigned max_connections, struct http_loop **ret, struct err *e)
{
    struct http_loop *l = mem_zalloc(sizeof *l);

    if (l == NULL) {
        close(listen_fd);
        return err_set(e, ERR_TEMPORARY, "no memory for an HTTP server");
    }
    l->server = s;
    l->epoll_fd = l->wake_fd = -1;
    l->listen_fd = listen_fd;
    l->max_count = max_connections;
    for (size_t i = 0; i < HTTP_WAITS; i++)
        TAILQ_INIT(&l->waiting[i]);
    TAILQ_INIT(&l->returned);
    pthread_mutex_init(&l->lock, NULL);
    int r = start(l, e);
    if (r != 0) {
        http_loop_free(l);
        return r;
    }
    *ret = l;
    return 0;
}

/* The thread goes first, so that nothing is given to the pool while that ends. */
void http_loop_free(struct http_loop *l)
{
    if (l == NULL)
        return;
    l->ending = true;
    if (l->running) {
        http_loop_wake(l);
        pthread_join(l->thread, NULL);
    }
    http_pool_free(l->pool);
    take_all_back(l, clock_mono_ms());
    for (size_t i = 0; i < HTTP_WAITS; i++)
        while (!TAILQ_EMPTY(&l->waiting[i]))
            drop(l, TAILQ_FIRST(&l->waiting[i]));
    while (l->spares > 0)
        mem_free(l->spare[--l->spares]);
    const int fds[] = {l->epoll_fd, l->listen_fd, l->wake_fd};
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
        if (fds[i] >= 0)
            close(fds[i]);
    pthread_mutex_destroy(&l->lock);
    mem_free(l->heads);
    mem_free(l);
}
