/* weir-play: serves what the published outcomes name. */

#include "base/bounded.h"
#include "base/str.h"
#include "io/settings.h"
#include "routes.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define CACHE_MAX_OBJECT (8u << 20)
#define CACHE_MAX_ENTRIES 65536
#define CATALOG_MAX_ENTRIES 65536
#define STORE_STALL_MS 4000 /* players give up after 10 s: better a 503 before */
#define STORE_ATTEMPTS 2

/* Replicas of one build agree on it. */
static void pages_tag(char *out, size_t size)
{
    uint64_t hash = 14695981039346656037u; /* FNV-1a */

    for (const struct embedded_file *file = web_files; file->name != NULL; file++)
        for (size_t i = 0; i < file->size; i++)
            hash = (hash ^ file->data[i]) * 1099511628211u;
    str_format(out, size, "%016llx", (unsigned long long)hash);
}

static int open_play(struct play *play, const struct settings *s, struct err *e)
{
    struct redis *redis = NULL;

    play->settings = s;
    pages_tag(play->build_tag, sizeof play->build_tag);
    int r = settings_open_store_within(s, STORE_STALL_MS, STORE_ATTEMPTS, &play->store, e);
    if (r == 0)
        r = redis_new(&(struct redis_options){.host = s->redis_host,
                                              .port = (uint16_t)s->redis_port,
                                              .password = s->redis_password,
                                              .db = (unsigned)s->redis_db,
                                              .connect_timeout_ms = 1000,
                                              .read_timeout_ms = 1000},
                      &redis, e);
    if (r != 0)
        return r;
    r = queue_new(redis, &(struct queue_options){0}, &play->queue, e);
    if (r == 0)
        r = catalog_new(&(struct catalog_options){.store = play->store,
                                                  .raw_bucket = s->raw_bucket,
                                                  .processed_bucket = s->processed_bucket,
                                                  .max_entries = CATALOG_MAX_ENTRIES},
                        &play->catalog, e);
    if (r == 0)
        r = cache_new(&(struct cache_options){.max_bytes = s->play_cache,
                                              .max_object_bytes = CACHE_MAX_OBJECT,
                                              .max_entries = CACHE_MAX_ENTRIES},
                      &play->serve.cache, e);
    if (r == 0) /* Redis is a comfort here: only the store is needed to play */
        r = ready_new(&(struct ready_options){.store = play->store,
                                              .bucket = s->processed_bucket,
                                              .create = {s->raw_bucket, s->processed_bucket}},
                      &play->ready, e);
    play->serve.store = play->store;
    play->serve.bucket = s->processed_bucket;
    return r;
}

struct service {
    const struct settings *settings;
    struct play play;
    struct http_server *server;
};

static void close_service(void *ctx)
{
    struct service *v = ctx;
    struct redis *redis = v->play.queue != NULL ? queue_redis(v->play.queue) : NULL;

    http_server_stop(v->server, v->settings->shutdown_grace_ms);
    ready_free(v->play.ready);
    cache_free(v->play.serve.cache);
    catalog_free(v->play.catalog);
    queue_free(v->play.queue);
    redis_free(redis);
    store_free(v->play.store);
}

static int serve(struct service *v, const sigset_t *ends, struct err *e)
{
    const struct settings *s = v->settings;
    const struct http_server_options options = {
        .host = s->host,
        .port = (uint16_t)s->play_port,
        .routes = play_routes,
        .ctx = &v->play,
        .threads = (unsigned)s->http_threads,
        .trusted_proxies = s->trusted_proxies,
        .cors_origins = "*",
        .cors_methods = "GET, HEAD, OPTIONS",
        .cors_headers = "Range, If-Range, If-None-Match, X-Request-ID",
        .cors_expose = "Content-Length, Content-Range, ETag, X-Request-ID",
    };
    int signal_number;

    int r = http_server_start(&options, &v->server, e);
    if (r != 0)
        return r;
    fprintf(stderr, "listening on http://%s:%u\n", s->host, http_server_port(v->server));
    sigwait(ends, &signal_number);
    log_info(NULL, "ending", "signal", signal_number == SIGTERM ? "TERM" : "INT");
    return 0;
}

static int run(const struct settings *s, const sigset_t *ends, struct err *e)
{
    static struct service v; /* outlives main when it does not end in time */

    v.settings = s;
    int r = open_play(&v.play, s, e);
    if (r == 0)
        r = serve(&v, ends, e);
    if (r != 0)
        log_error(NULL, "can't start", "error", e->text);
    if (!run_bounded(s->shutdown_grace_ms, close_service, &v)) {
        log_warn(NULL, "ending without waiting any longer"); /* the store hangs; nothing of ours can be lost */
        quick_exit(r == 0 ? 0 : 1);
    }
    return r == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    static struct settings settings;
    struct err e = {0};
    sigset_t ends;

    int status = settings_main(CONFIG_PLAY, "weir-play", NULL, NULL, 0, argc, argv, &settings);
    if (status >= 0)
        return status;
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    pthread_sigmask(SIG_BLOCK, &ends, NULL); /* every thread made from here on inherits it; main takes them */
    signal(SIGPIPE, SIG_IGN);

    return run(&settings, &ends, &e);
}
