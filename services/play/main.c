/* weir-play: serves what the published outcomes name. */

#include "base/str.h"
#include "io/settings.h"
#include "routes.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>

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

static void close_play(struct play *play)
{
    struct redis *redis = play->queue != NULL ? queue_redis(play->queue) : NULL;

    ready_free(play->ready);
    cache_free(play->serve.cache);
    catalog_free(play->catalog);
    queue_free(play->queue);
    redis_free(redis);
    store_free(play->store);
}

static int run(const struct settings *s, const sigset_t *ends, struct err *e)
{
    struct play play = {0};
    struct http_server *server = NULL;
    int signal_number;

    int r = open_play(&play, s, e);
    if (r == 0)
        r = http_server_start(
            &(struct http_server_options){.host = s->host,
                                          .port = (uint16_t)s->play_port,
                                          .routes = play_routes,
                                          .ctx = &play,
                                          .threads = (unsigned)s->http_threads,
                                          .trusted_proxies = s->trusted_proxies,
                                          .cors_origin = "*",
                                          .cors_methods = "GET, HEAD, OPTIONS",
                                          .cors_headers = "Range, If-Range, If-None-Match, X-Request-ID",
                                          .cors_expose = "Content-Length, Content-Range, ETag, X-Request-ID"},
            &server, e);
    if (r == 0) {
        fprintf(stderr, "listening on http://%s:%u\n", s->host, http_server_port(server));
        sigwait(ends, &signal_number);
        log_info(NULL, "ending", "signal", signal_number == SIGTERM ? "TERM" : "INT");
    }
    http_server_stop(server, s->shutdown_grace_ms);
    close_play(&play);
    return r;
}

int main(int argc, char **argv)
{
    struct settings settings;
    struct err e = {0};
    sigset_t ends;
    int rest;

    int status = settings_main(CONFIG_PLAY, "weir-play", NULL, NULL, 0, argc, argv, &rest, &settings);
    if (status >= 0)
        return status;
    if (rest < argc) {
        fprintf(stderr, "weir-play: unknown argument %s; see --help\n", argv[rest]);
        return 2;
    }
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    pthread_sigmask(SIG_BLOCK, &ends, NULL); /* every thread made from here on inherits it; main takes them */
    signal(SIGPIPE, SIG_IGN);

    if (run(&settings, &ends, &e) != 0) {
        log_error(NULL, "can't start", "error", e.text);
        return 1;
    }
    return 0;
}
