#include "http_poll.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <time.h>

#define IDLE_MS 2000            /* a thread with nothing to do for so long ends */
#define STAY_MS 10              /* so long a thread waits for the next request before it gives the connection back */
#define STACK_SIZE (512 * 1024) /* of which a thread touches what it needs */

struct http_pool {
    struct http_server *server;
    pthread_mutex_t lock;
    pthread_cond_t news;
    struct http_connections queue;
    unsigned queued, running, idle; /* idle: threads of `running` that wait for the queue */
    bool ending;
};

/* --- A thread with a connection --- */

/* From here on http_server_stop may cut the connection off. */
static void show(struct http_worker *w, struct http_connection *c)
{
    pthread_mutex_lock(&w->lock);
    w->phase = PHASE_BUSY;
    w->fd = c->fd;
    pthread_mutex_unlock(&w->lock);
    if (w->server->cutting)
        shutdown(c->fd, SHUT_RDWR);
}

static void hide(struct http_worker *w)
{
    pthread_mutex_lock(&w->lock);
    w->phase = PHASE_FREE;
    w->fd = -1;
    pthread_mutex_unlock(&w->lock);
}

static void serve_request(struct http_worker *w, struct http_connection *c)
{
    struct http_request *rq = &w->rq;

    http_request_init(w, c, c->fd);
    str_copy(rq->peer, sizeof rq->peer, c->peer);
    if (c->refused != 0)
        rq->refusal = http_refusal_of(c->refused, "The headers were not complete in time.");
    else if (http_stream_begin(c->in, rq->headers, &rq->message, &rq->refusal))
        rq->refusal.status = 0;
    c->verdict = VERDICT_KEEP;
    http_serve(w);
    if (c->verdict == VERDICT_KEEP)
        http_stream_next(c->in);
}

static bool has_work(struct http_pool *p)
{
    pthread_mutex_lock(&p->lock);
    bool waits = p->queued > p->idle;
    pthread_mutex_unlock(&p->lock);
    return waits;
}

/* Giving the connection to the loop and getting it back costs more than a short wait, when no one else needs the thread. */
static bool waits_for_bytes(struct http_worker *w, struct http_connection *c)
{
    struct pollfd pollfd = {.fd = c->fd, .events = POLLIN};
    size_t room;

    if (w->server->connections > w->server->options.threads / 2 || poll(&pollfd, 1, STAY_MS) <= 0)
        return false;
    char *data = http_stream_room(c->in, &room);
    ssize_t n = recv(c->fd, data, room, MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        c->verdict = VERDICT_CLOSE;
    if (n <= 0)
        return false;
    http_stream_add(c->in, (size_t)n);
    return true;
}

/* Whether the thread goes on with this connection. */
static bool goes_on(struct http_pool *p, struct http_worker *w, struct http_connection *c)
{
    if (c->verdict != VERDICT_KEEP || w->server->stopping || has_work(p))
        return false;
    return http_stream_look(c->in) != HTTP_STREAM_MORE ||
           (waits_for_bytes(w, c) && http_stream_look(c->in) != HTTP_STREAM_MORE);
}

static void serve(struct http_pool *p, struct http_worker *w, struct http_connection *c)
{
    show(w, c);
    do
        serve_request(w, c);
    while (goes_on(p, w, c));
    hide(w);
    http_poll_return(p->server, c);
}

/* --- Threads --- */

/* The next connection; NULL when the thread is to end. Called with the lock held. */
static struct http_connection *take_next(struct http_pool *p, bool may_end)
{
    uint64_t until_ms = clock_mono_ms() + IDLE_MS;
    struct timespec until = {.tv_sec = (time_t)(until_ms / 1000), .tv_nsec = (long)(until_ms % 1000) * 1000000};
    struct http_connection *c;

    p->idle++;
    while ((c = TAILQ_FIRST(&p->queue)) == NULL && !p->ending) {
        if (!may_end)
            pthread_cond_wait(&p->news, &p->lock);
        else if (pthread_cond_timedwait(&p->news, &p->lock, &until) == ETIMEDOUT && TAILQ_EMPTY(&p->queue))
            break;
    }
    p->idle--;
    if (c != NULL) {
        TAILQ_REMOVE(&p->queue, c, link);
        p->queued--;
    }
    return c;
}

static void *pool_thread(void *arg)
{
    struct http_worker *w = arg;
    struct http_pool *p = w->connection;
    bool is_last = w == w->server->workers; /* the first one stays, so that work is never without a thread */
    struct http_connection *c;

    pthread_mutex_lock(&p->lock);
    while ((c = take_next(p, !is_last)) != NULL) {
        pthread_mutex_unlock(&p->lock);
        serve(p, w, c);
        pthread_mutex_lock(&p->lock);
    }
    w->ended = true;
    p->running--;
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

/* Called with the lock held. */
static int start_thread(struct http_pool *p)
{
    struct http_worker *w = p->server->workers;
    pthread_attr_t attributes;

    while (w->started && !w->ended)
        w++;
    if (w->started)
        pthread_join(w->thread, NULL);
    w->started = w->ended = false;
    w->connection = p;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_SIZE);
    int r = pthread_create(&w->thread, &attributes, pool_thread, w);
    pthread_attr_destroy(&attributes);
    if (r == 0) {
        w->started = true;
        p->running++;
    }
    return r;
}

void http_pool_submit(struct http_pool *p, struct http_connection *c)
{
    atomic_fetch_add(&p->server->connections, 1);
    pthread_mutex_lock(&p->lock);
    TAILQ_INSERT_TAIL(&p->queue, c, link);
    p->queued++;
    if (p->queued > p->idle && p->running < p->server->options.threads)
        start_thread(p); /* when that fails those that run come to it */
    pthread_cond_signal(&p->news);
    pthread_mutex_unlock(&p->lock);
}

void http_pool_cancel(struct http_pool *p)
{
    struct http_connections queue = TAILQ_HEAD_INITIALIZER(queue);
    struct http_connection *c;

    pthread_mutex_lock(&p->lock);
    TAILQ_CONCAT(&queue, &p->queue, link);
    p->queued = 0;
    pthread_mutex_unlock(&p->lock);
    while ((c = TAILQ_FIRST(&queue)) != NULL) {
        TAILQ_REMOVE(&queue, c, link);
        c->verdict = VERDICT_CLOSE;
        http_poll_return(p->server, c);
    }
}

/* --- Start and stop --- */

int http_pool_new(struct http_server *s, struct http_pool **ret, struct err *e)
{
    struct http_pool *p = mem_zalloc(sizeof *p);
    pthread_condattr_t attributes;

    if (p == NULL)
        return err_set(e, ERR_TEMPORARY, "no memory for an HTTP server");
    p->server = s;
    TAILQ_INIT(&p->queue);
    pthread_mutex_init(&p->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&p->news, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_lock(&p->lock);
    int r = start_thread(p);
    pthread_mutex_unlock(&p->lock);
    if (r != 0) {
        http_pool_free(p);
        return err_set(e, ERR_TEMPORARY, "can't start a thread for the HTTP server: %s", strerror(r));
    }
    *ret = p;
    return 0;
}

void http_pool_free(struct http_pool *p)
{
    if (p == NULL)
        return;
    pthread_mutex_lock(&p->lock);
    p->ending = true;
    pthread_cond_broadcast(&p->news);
    pthread_mutex_unlock(&p->lock);
    for (unsigned i = 0; i < p->server->options.threads; i++)
        if (p->server->workers[i].started)
            pthread_join(p->server->workers[i].thread, NULL);
    pthread_cond_destroy(&p->news);
    pthread_mutex_destroy(&p->lock);
    mem_free(p);
}
