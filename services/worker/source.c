#include "source.h"

#include "base/mem.h"
#include "wire.h"

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define WINDOWS_LEAST 16 /* of which all but a few are what the child read lately */
#define WINDOWS_MOST 256
#define WINDOW_MIN (64u << 10)
#define WINDOW_MAX (4u << 20)
#define FETCHERS 2   /* one for what the child waits for, one ahead of it */
#define READ_AHEAD 2 /* windows */

enum window_state { WINDOW_EMPTY, WINDOW_WANTED, WINDOW_LOADING, WINDOW_READY };

struct window {
    enum window_state state;
    bool urgent;     /* the child waits for it */
    uint64_t index;  /* offset / window size */
    uint64_t used;   /* when it was read last, in requests */
    uint32_t filled; /* bytes that may be read already, also while it loads */
    uint32_t size;   /* bytes it will have */
    unsigned char *data;
};

struct source {
    struct source_options options;
    char etag[STORE_ETAG_SIZE];
    uint64_t size_bytes;
    uint32_t window_bytes;
    int fd; /* our end */

    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool ending, failed;
    struct err failure;
    uint64_t requests;
    size_t window_count;
    struct window windows[WINDOWS_MOST];
    _Atomic uint64_t fetched;

    pthread_t threads[FETCHERS + 1];
    size_t thread_count;
};

/* --- Windows. Under the lock --- */

static struct window *find(struct source *s, uint64_t index)
{
    for (size_t i = 0; i < s->window_count; i++)
        if (s->windows[i].state != WINDOW_EMPTY && s->windows[i].index == index)
            return &s->windows[i];
    return NULL;
}

/* The window to be used anew: one that is empty, else the one read longest ago. NULL while all are loading. */
static struct window *find_victim(struct source *s)
{
    struct window *victim = NULL;

    for (size_t i = 0; i < s->window_count; i++) {
        struct window *w = &s->windows[i];
        if (w->state == WINDOW_EMPTY)
            return w;
        if (w->state == WINDOW_LOADING || w->urgent)
            continue;
        if (victim == NULL || w->used < victim->used)
            victim = w;
    }
    return victim;
}

static struct window *want(struct source *s, uint64_t index)
{
    uint64_t first = index * s->window_bytes;

    if (first >= s->size_bytes)
        return NULL;
    struct window *w = find(s, index);
    if (w != NULL || (w = find_victim(s)) == NULL)
        return w;
    uint64_t left = s->size_bytes - first;
    w->state = WINDOW_WANTED;
    w->urgent = false;
    w->index = index;
    w->used = s->requests;
    w->filled = 0;
    w->size = left < s->window_bytes ? (uint32_t)left : s->window_bytes;
    pthread_cond_broadcast(&s->changed);
    return w;
}

static struct window *next_wanted(struct source *s)
{
    struct window *next = NULL;

    for (size_t i = 0; i < s->window_count; i++) {
        struct window *w = &s->windows[i];
        if (w->state == WINDOW_WANTED &&
            (next == NULL || w->urgent > next->urgent || (w->urgent == next->urgent && w->index < next->index)))
            next = w;
    }
    return next;
}

/* --- Fetching --- */

struct fetch {
    struct source *source;
    struct window *window;
    const struct store_info *info;
};

static int fetch_sink(void *ctx, const void *data, size_t len, struct err *e)
{
    struct fetch *f = ctx;
    struct source *s = f->source;
    struct window *w = f->window;
    int r = 0;

    pthread_mutex_lock(&s->lock);
    if (s->ending)
        r = err_set(e, ERR_STALE, "the source is not needed any more");
    else if (strcmp(f->info->etag, s->etag) != 0 || f->info->size_bytes != s->size_bytes || len > w->size - w->filled)
        r = err_set(e, ERR_TEMPORARY, "the source has changed");
    pthread_mutex_unlock(&s->lock);
    if (r != 0)
        return r;
    /* Without the lock: bytes from `filled` on are the fetcher's alone. */
    memcpy(w->data + w->filled, data, len);
    atomic_fetch_add(&s->fetched, len);
    pthread_mutex_lock(&s->lock);
    w->filled += (uint32_t)len;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    return 0;
}

/* What a first try has brought stays; the next one goes on behind it. */
static int fetch(struct source *s, struct window *w, struct err *e)
{
    const struct source_options *o = &s->options;
    struct patience patience = {.max_ms = o->patience_ms};
    struct store_info info;
    struct fetch f = {.source = s, .window = w, .info = &info};
    int r;

    if (w->data == NULL && (w->data = mem_alloc(s->window_bytes)) == NULL)
        return err_set(e, ERR_TEMPORARY, "no memory for a window of the source");
    do {
        uint64_t first = w->index * s->window_bytes + w->filled;
        r = store_get(o->store, o->bucket, o->key, first, w->size - w->filled, fetch_sink, &f, &info, e);
        if (r == 0 && w->filled < w->size)
            r = err_set(e, ERR_TEMPORARY, "GET %s: the store gave %u of %u bytes", o->key, w->filled, w->size);
    } while (control_retry(o->control, &patience, r));
    return r;
}

static void *fetcher_main(void *ctx)
{
    struct source *s = ctx;
    struct err e;

    pthread_mutex_lock(&s->lock);
    while (!s->ending) {
        struct window *w = next_wanted(s);
        if (w == NULL) {
            pthread_cond_wait(&s->changed, &s->lock);
            continue;
        }
        w->state = WINDOW_LOADING;
        pthread_mutex_unlock(&s->lock);
        int r = fetch(s, w, &e);
        pthread_mutex_lock(&s->lock);
        w->state = r == 0 ? WINDOW_READY : WINDOW_EMPTY;
        if (r != 0 && !s->failed && !s->ending) {
            s->failed = true;
            s->failure = e;
        }
        pthread_cond_broadcast(&s->changed);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* --- Answering --- */

/* Waits until [offset, offset + len) of one window is there. *ret_data stays valid: no victim is taken but by this
 * thread. */
static bool window_bytes(struct source *s, uint64_t offset, uint32_t len, const unsigned char **ret_data)
{
    uint64_t index = offset / s->window_bytes;
    uint32_t at = (uint32_t)(offset % s->window_bytes);
    bool there = false;

    pthread_mutex_lock(&s->lock);
    s->requests++;
    while (!s->ending && !s->failed) {
        struct window *w = want(s, index);
        if (w == NULL) { /* every window is loading */
            pthread_cond_wait(&s->changed, &s->lock);
            continue;
        }
        w->used = s->requests;
        if (w->filled >= at + len) {
            *ret_data = w->data + at;
            w->urgent = false;
            there = true;
            break;
        }
        w->urgent = true;
        pthread_cond_wait(&s->changed, &s->lock);
    }
    /* A jump somewhere (an index at the end, a far audio track) does not start a run; getting through half a window does. */
    bool running = at >= s->window_bytes / 2 || (index > 0 && find(s, index - 1) != NULL);
    for (uint64_t ahead = 1; there && running && ahead <= READ_AHEAD; ahead++)
        (void)want(s, index + ahead);
    pthread_mutex_unlock(&s->lock);
    return there;
}

static bool send_all(int fd, const void *data, size_t len)
{
    const char *bytes = data;

    while (len > 0) {
        ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR)
            return false;
        if (n > 0) {
            bytes += n;
            len -= (size_t)n;
        }
    }
    return true;
}

static bool receive_all(int fd, void *data, size_t len)
{
    char *bytes = data;

    while (len > 0) {
        ssize_t n = recv(fd, bytes, len, MSG_WAITALL);
        if (n == 0 || (n < 0 && errno != EINTR))
            return false;
        if (n > 0) {
            bytes += n;
            len -= (size_t)n;
        }
    }
    return true;
}

/* The bytes may come from two windows, so the first one's are needed only until they are sent. */
static bool send_range(struct source *s, uint64_t offset, uint32_t len)
{
    while (len > 0) {
        uint32_t in_window = s->window_bytes - (uint32_t)(offset % s->window_bytes);
        uint32_t n = len < in_window ? len : in_window;
        const unsigned char *data;
        if (!window_bytes(s, offset, n, &data) || !send_all(s->fd, data, n))
            return false;
        offset += n;
        len -= n;
    }
    return true;
}

/* The answer's head promises bytes, so the first window must be there before it goes out. When a later one fails the
 * connection ends instead, which the child takes for the same. */
static bool answer(struct source *s, const struct wire_request *rq)
{
    struct wire_answer head = {.status = WIRE_OK, .size = s->size_bytes};
    const unsigned char *data;

    if (rq->length > WIRE_MAX_READ)
        return false;
    if (rq->offset < s->size_bytes) {
        uint64_t left = s->size_bytes - rq->offset;
        head.length = left < rq->length ? (uint32_t)left : rq->length;
    }
    if (head.length > 0 && !window_bytes(s, rq->offset, 1, &data)) {
        head.status = WIRE_FAILED;
        head.length = 0;
    }
    return send_all(s->fd, &head, sizeof head) && send_range(s, rq->offset, head.length);
}

static void *answerer_main(void *ctx)
{
    struct source *s = ctx;
    struct wire_request rq;

    while (receive_all(s->fd, &rq, sizeof rq) && answer(s, &rq))
        ;
    shutdown(s->fd, SHUT_RDWR);
    return NULL;
}

/* --- Life --- */

static int head_source(struct source *s, struct err *e)
{
    const struct source_options *o = &s->options;
    struct patience patience = {.max_ms = o->patience_ms};
    struct store_info info;
    int r;

    do
        r = store_head(o->store, o->bucket, o->key, &info, e);
    while (control_retry(o->control, &patience, r));
    if (r != 0)
        return r;
    s->size_bytes = info.size_bytes;
    memcpy(s->etag, info.etag, sizeof s->etag);
    return 0;
}

static int start_threads(struct source *s, struct err *e)
{
    for (size_t i = 0; i < ARRAY_SIZE(s->threads); i++) {
        int error = pthread_create(&s->threads[i], NULL, i == 0 ? answerer_main : fetcher_main, s);
        if (error != 0)
            return err_set(e, ERR_TEMPORARY, "source: no thread");
        s->thread_count++;
    }
    return 0;
}

/* Windows grow first, then there are more of them. */
static void size_windows(struct source *s, uint64_t cache_bytes)
{
    uint64_t size = cache_bytes / WINDOWS_LEAST, count = cache_bytes / WINDOW_MAX;

    s->window_bytes = size < WINDOW_MIN ? WINDOW_MIN : size < WINDOW_MAX ? (uint32_t)size : WINDOW_MAX;
    s->window_count = count < WINDOWS_LEAST ? WINDOWS_LEAST : count < WINDOWS_MOST ? (size_t)count : WINDOWS_MOST;
}

int source_start(const struct source_options *options, struct source **ret, int *ret_child_fd, struct err *e)
{
    int fds[2];

    struct source *s = mem_zalloc(sizeof *s);
    if (s == NULL)
        return err_set(e, ERR_TEMPORARY, "source: out of memory");
    s->options = *options;
    size_windows(s, options->cache_bytes);
    int r = head_source(s, e);
    if (r == 0 && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
        r = err_set(e, ERR_TEMPORARY, "source: no socket pair");
    if (r != 0) {
        mem_free(s);
        return r;
    }
    s->fd = fds[0];
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
    if ((r = start_threads(s, e)) != 0) {
        close(fds[1]);
        source_free(s);
        return r;
    }
    *ret_child_fd = fds[1];
    *ret = s;
    return 0;
}

int source_check(struct source *s, struct err *e)
{
    pthread_mutex_lock(&s->lock);
    bool failed = s->failed;
    if (failed)
        *e = s->failure;
    pthread_mutex_unlock(&s->lock);
    return failed ? err_wrap(e, "source") : 0;
}

uint64_t source_size(const struct source *s)
{
    return s->size_bytes;
}

uint64_t source_fetched(struct source *s)
{
    return atomic_load(&s->fetched);
}

void source_free(struct source *s)
{
    if (s == NULL)
        return;
    pthread_mutex_lock(&s->lock);
    s->ending = true;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    shutdown(s->fd, SHUT_RDWR);
    for (size_t i = 0; i < s->thread_count; i++)
        pthread_join(s->threads[i], NULL);
    close(s->fd);
    for (size_t i = 0; i < s->window_count; i++)
        mem_free(s->windows[i].data);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    mem_free(s);
}
