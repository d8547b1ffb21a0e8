#include "http_internal.h"

#include "base/clock.h"
#include "base/mem.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_LINGERING 256
#define MAX_WAITING_OF_PEER 8
#define PEER_WAIT_MS 1000  /* a burst of new connections is no attack: only those count that have waited */
#define SCARCE_WAIT_MS 500 /* the same when threads are scarce */
#define TICK_MS 500
#define SCARCE_TICK_MS 50

struct lingering {
    int fd;
    struct http_linger linger;
};

struct waiting {
    struct http_worker *worker;
    uint64_t since_ms;
    bool is_first, is_trusted;
    char peer[HTTP_ADDRESS_SIZE];
};

struct http_guard {
    struct http_server *server;
    pthread_t thread;
    int wake_fd;
    _Atomic bool ending;
    struct waiting *waiting; /* room for every thread's */

    pthread_mutex_t lock; /* for the list */
    struct lingering list[MAX_LINGERING];
    size_t count;
};

/* --- Lingering connections --- */

void http_guard_linger(struct http_server *s, int fd)
{
    struct http_guard *g = s->guard;
    uint64_t now_ms = clock_mono_ms();

    pthread_mutex_lock(&g->lock);
    int copy = g->count < MAX_LINGERING ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : -1;
    if (copy >= 0)
        g->list[g->count++] = (struct lingering){.fd = copy, .linger = http_linger_begin(fd, now_ms)};
    pthread_mutex_unlock(&g->lock);
    if (copy >= 0)
        http_guard_wake(s);
}

static void read_lingering(struct http_guard *g)
{
    uint64_t now_ms = clock_mono_ms();

    pthread_mutex_lock(&g->lock);
    for (size_t i = 0; i < g->count;) {
        if (http_linger_read(&g->list[i].linger, g->list[i].fd, now_ms)) {
            i++;
            continue;
        }
        close(g->list[i].fd);
        g->list[i] = g->list[--g->count];
    }
    pthread_mutex_unlock(&g->lock);
}

/* --- Waiting connections --- */

/* Everything that holds a thread without a request, oldest first. */
static int older_first(const void *a, const void *b)
{
    const struct waiting *one = a, *other = b;

    return (one->since_ms > other->since_ms) - (one->since_ms < other->since_ms);
}

static size_t list_waiting(struct http_server *s, struct waiting *list)
{
    size_t n = 0;

    for (unsigned i = 0; i < s->options.threads; i++) {
        struct http_worker *w = &s->workers[i];
        pthread_mutex_lock(&w->lock);
        if (w->phase == PHASE_WAITING && w->evicted == 0 && http_civetweb_peer(w, list[n].peer)) {
            list[n].worker = w;
            list[n].since_ms = w->since_ms;
            list[n].is_first = w->is_first;
            list[n].is_trusted = http_networks_hold(&s->trusted, list[n].peer);
            n++;
        }
        pthread_mutex_unlock(&w->lock);
    }
    qsort(list, n, sizeof *list, older_first);
    return n;
}

/* The thread that waits for this connection's bytes learns that there are none; it can still answer. */
static void evict(const struct waiting *victim, int status)
{
    struct http_worker *w = victim->worker;

    pthread_mutex_lock(&w->lock);
    if (w->phase == PHASE_WAITING && w->since_ms == victim->since_ms) {
        int fd = http_civetweb_fd(w);
        w->evicted = status;
        if (fd >= 0)
            shutdown(fd, SHUT_RD);
    }
    pthread_mutex_unlock(&w->lock);
}

static size_t count_peer(const struct waiting *list, size_t n, const char *peer, uint64_t now_ms)
{
    size_t count = 0;

    for (size_t i = 0; i < n; i++)
        count += list[i].is_first && now_ms - list[i].since_ms >= PEER_WAIT_MS && strcmp(list[i].peer, peer) == 0;
    return count;
}

/* 0, or the status with which a connection has to go. `n` are those not older than it. */
static int judge(const struct http_server *s, const struct waiting *list, size_t n, unsigned excess, uint64_t now_ms)
{
    uint64_t waited_ms = now_ms - list->since_ms;

    if (s->stopping)
        return 503;
    if (waited_ms >= s->options.header_timeout_ms)
        return 408;
    if (excess > 0 && waited_ms >= SCARCE_WAIT_MS && !(list->is_first && list->is_trusted))
        return 503;
    if (list->is_first && !list->is_trusted && waited_ms >= PEER_WAIT_MS &&
        count_peer(list, n, list->peer, now_ms) > MAX_WAITING_OF_PEER)
        return 408;
    return 0;
}

static void look_at_waiting(struct http_server *s, struct waiting *list)
{
    size_t n = list_waiting(s, list);
    uint64_t now_ms = clock_mono_ms();
    unsigned connections = s->connections;
    unsigned excess = connections > s->max_connections ? connections - s->max_connections : 0;

    for (size_t i = 0; i < n; i++) {
        int status = judge(s, list + i, n - i, excess, now_ms);
        if (status == 0)
            continue;
        evict(list + i, status);
        excess -= excess > 0;
    }
}

/* --- The thread --- */

static int tick_ms(const struct http_server *s)
{
    if (s->connections == 0)
        return -1;
    return s->stopping || s->connections >= s->max_connections ? SCARCE_TICK_MS : TICK_MS;
}

static void wait_for_news(struct http_guard *g)
{
    struct pollfd list[MAX_LINGERING + 1] = {{.fd = g->wake_fd, .events = POLLIN}};
    uint64_t wakes;
    size_t n = 1;

    pthread_mutex_lock(&g->lock);
    for (size_t i = 0; i < g->count; i++)
        list[n++] = (struct pollfd){.fd = g->list[i].fd, .events = POLLIN};
    pthread_mutex_unlock(&g->lock);

    int timeout_ms = tick_ms(g->server);
    if (n > 1 && timeout_ms < 0)
        timeout_ms = TICK_MS;
    if (poll(list, n, timeout_ms) > 0 && list[0].revents != 0) {
        ssize_t ignored = read(g->wake_fd, &wakes, sizeof wakes);
        (void)ignored;
    }
}

static void *guard_thread(void *arg)
{
    struct http_guard *g = arg;

    while (!g->ending) {
        wait_for_news(g);
        read_lingering(g);
        look_at_waiting(g->server, g->waiting);
    }
    return NULL;
}

void http_guard_wake(struct http_server *s)
{
    uint64_t one = 1;
    ssize_t ignored = write(s->guard->wake_fd, &one, sizeof one);

    (void)ignored;
}

static void free_guard(struct http_guard *g)
{
    for (size_t i = 0; i < g->count; i++)
        close(g->list[i].fd);
    if (g->wake_fd >= 0)
        close(g->wake_fd);
    pthread_mutex_destroy(&g->lock);
    mem_free(g->waiting);
    mem_free(g);
}

int http_guard_start(struct http_server *s, struct err *e)
{
    struct http_guard *g = mem_zalloc(sizeof *g);

    if (g == NULL)
        return err_set(e, ERR_TEMPORARY, "no memory for an HTTP server");
    g->server = s;
    g->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    g->waiting = mem_calloc(s->options.threads, sizeof *g->waiting);
    pthread_mutex_init(&g->lock, NULL);
    s->guard = g;
    if (g->wake_fd < 0 || g->waiting == NULL || pthread_create(&g->thread, NULL, guard_thread, g) != 0) {
        s->guard = NULL;
        free_guard(g);
        return err_set(e, ERR_TEMPORARY, "can't start a thread for the HTTP server");
    }
    return 0;
}

void http_guard_stop(struct http_server *s)
{
    struct http_guard *g = s->guard;

    if (g == NULL)
        return;
    g->ending = true;
    http_guard_wake(s);
    pthread_join(g->thread, NULL);
    free_guard(g);
    s->guard = NULL;
}
