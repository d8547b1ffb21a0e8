/* weir-api: takes uploads, answers for videos, keeps Redis and the store in agreement. */

#include "api.h"
#include "base/bounded.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/str.h"
#include "io/settings.h"
#include "proto/tus.h"
#include "ticker.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define STILL_WAITING_MS 10000 /* between two lines that say so */
#define EXIT_REFUSED 2

static const char usage[] = "  -q N              QUEUE_MAX\n"
                            "  --reconcile-once  run one full pass of the reconciler and end\n"
                            "  --dry-run         with it: only say what it would do\n";

static struct metric jobs = METRIC_GAUGE("weir_queue_jobs", "Jobs in the queue.", "state");
static struct metric videos = METRIC_GAUGE("weir_videos", "Videos in the library.", "state");
static struct metric oldest = METRIC_GAUGE("weir_queue_oldest_waiting_seconds", "Age of the job that waits longest.",
                                           NULL);

/* --- Every second --- */

static void publish_counts(struct queue *q)
{
    struct queue_counts c;

    if (queue_counts(q, &c, NULL) != 0)
        return;
    metric_set(&jobs, "waiting", (double)c.waiting);
    metric_set(&jobs, "active", (double)c.active);
    metric_set(&jobs, "delayed", (double)c.delayed);
    metric_set(&oldest, NULL, (double)c.oldest_waiting_ms / 1000);
    for (enum video_state state = 0; state < VIDEO_STATES; state++)
        metric_set(&videos, video_state_name(state), (double)c.by_state[state]);
}

static void keep_queue(void *ctx)
{
    struct api *api = ctx;
    struct queue_scan scan;

    upload_service_tick(api->uploads);
    if (queue_scan(api->library.queue, &scan, NULL) == 0 && scan.reclaimed > 0)
        log_warn(NULL, "jobs lost their worker", "count", num_u64(scan.reclaimed).s);
    publish_counts(api->library.queue);
}

static void keep_agreement(void *ctx)
{
    struct api *api = ctx;

    reconcile_tick(api->reconciler);
}

/* --- Starting --- */

struct service {
    struct api api;
    struct http_server *server;
    struct ticker *queue_ticker, *reconcile_ticker;
};

static bool end_asked(const sigset_t *ends, uint64_t wait_ms)
{
    struct timespec wait = {.tv_sec = (time_t)(wait_ms / 1000), .tv_nsec = (long)(wait_ms % 1000) * 1000000};
    int signal_number = sigtimedwait(ends, NULL, &wait);

    if (signal_number > 0)
        log_info(NULL, "ending", "signal", signal_number == SIGTERM ? "TERM" : "INT");
    return signal_number > 0;
}

/* Until store and Redis answer. *ret_go false: it was asked to end meanwhile. */
static int wait_for_services(struct api *api, const sigset_t *ends, bool *ret_go, struct err *e)
{
    uint64_t said_ms = 0;
    int r = 0;

    *ret_go = true;
    while (!atomic_load(&api->started) && (r = api_start(api, e)) != 0) {
        if (r != -ERR_TEMPORARY)
            return r;
        if (said_ms == 0 || clock_mono_ms() - said_ms > STILL_WAITING_MS) {
            log_warn(NULL, "waiting", "for", e->text);
            said_ms = clock_mono_ms();
        }
        if (end_asked(ends, 1000)) {
            *ret_go = false;
            return 0;
        }
    }
    return 0;
}

static int start_server(struct service *v, struct err *e)
{
    const struct settings *s = v->api.settings;
    const struct http_server_options options = {
        .host = s->host,
        .port = (uint16_t)s->api_port,
        .routes = api_routes,
        .ctx = &v->api,
        .threads = (unsigned)s->http_threads,
        .trusted_proxies = s->trusted_proxies,
        .idle_timeout_ms = s->upload_idle_timeout_ms,
        .min_rate = s->upload_min_rate,
        .backend = HTTP_POLL,
        .method_override = true,
        /* Of the routes that say so: nobody has to log in here, so pages of other origins must not delete anything. */
        .cors_origins = strcmp(s->cors_origins, "none") == 0 ? NULL : s->cors_origins,
        .cors_methods = TUS_CORS_METHODS,
        .cors_headers = TUS_CORS_HEADERS,
        .cors_expose = TUS_CORS_EXPOSE,
    };

    int r = http_server_start(&options, &v->server, e);
    if (r == 0)
        fprintf(stderr, "listening on http://%s:%u\n", s->host, http_server_port(v->server));
    return r;
}

/* Until it is asked to end. */
static int serve(struct service *v, const sigset_t *ends, struct err *e)
{
    bool go;

    int r = wait_for_services(&v->api, ends, &go, e);
    if (r != 0 || !go)
        return r;
    r = ticker_start(keep_queue, &v->api, &v->queue_ticker, e);
    if (r == 0)
        r = ticker_start(keep_agreement, &v->api, &v->reconcile_ticker, e);
    while (r == 0 && !end_asked(ends, 3600 * 1000))
        ;
    return r;
}

/* --- Ending --- */

static void close_service(void *arg)
{
    struct service *v = arg;

    if (v->api.reconciler != NULL)
        reconcile_stop(v->api.reconciler);
    http_server_stop(v->server,
                     v->api.settings->shutdown_grace_ms * 8 / 10); /* uploads may end; their seats are kept */
    ticker_stop(v->queue_ticker);
    ticker_stop(v->reconcile_ticker);
    api_close(&v->api);
}

static int run(const struct settings *s, const sigset_t *ends, struct err *e)
{
    static struct service v; /* outlives main when it does not end in time */

    int r = api_open(&v.api, s, e);
    if (r == 0)
        r = ready_new(&(struct ready_options){.store = v.api.store, .bucket = s->raw_bucket, .redis = v.api.redis},
                      &v.api.ready, e);
    if (r == 0 && (r = api_start(&v.api, e)) == -ERR_TEMPORARY) /* if it can at once, no client sees it start */
        r = 0;
    if (r == 0)
        r = start_server(&v, e);
    if (r == 0)
        r = serve(&v, ends, e);
    if (!run_bounded(s->shutdown_grace_ms, close_service, &v)) { /* the reconciler mends what is in progress */
        log_warn(NULL, "ending without waiting any longer");
        quick_exit(r == 0 ? 0 : 1);
    }
    return r;
}

/* --- One pass by hand --- */

static int reconcile_by_hand(const struct settings *s, const sigset_t *ends, bool dry_run, struct err *e)
{
    struct api api = {0};
    struct reconcile_counts counts = {0};

    pthread_sigmask(SIG_UNBLOCK, ends, NULL); /* nothing has to be handed back: a signal just ends it */
    int r = api_open(&api, s, e);
    if (r == 0)
        r = reconcile_once(api.reconciler, dry_run, &counts, e);
    api_close(&api);
    return r;
}

int main(int argc, char **argv)
{
    bool reconcile = false, dry_run = false;
    const struct settings_option options[] = {
        {.letter = 'q', .setting = "QUEUE_MAX"},
        {.flag = "--reconcile-once", .ret_given = &reconcile},
        {.flag = "--dry-run", .ret_given = &dry_run},
    };
    struct settings settings;
    struct err e = {0};
    sigset_t ends;

    int status = settings_main(CONFIG_API, "weir-api", usage, options, ARRAY_SIZE(options), argc, argv, &settings);
    if (status >= 0)
        return status;
    if (dry_run && !reconcile) {
        fprintf(stderr, "weir-api: --dry-run goes with --reconcile-once\n");
        return EXIT_REFUSED;
    }
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    pthread_sigmask(SIG_BLOCK, &ends, NULL); /* every thread made from here on inherits it; main takes them */
    signal(SIGPIPE, SIG_IGN);
    mem_keep_small();

    int r = reconcile ? reconcile_by_hand(&settings, &ends, dry_run, &e) : run(&settings, &ends, &e);
    if (r == 0)
        return 0;
    log_error(NULL, reconcile ? "reconciling failed" : "can't go on", "error", e.text);
    return r == -ERR_INVALID ? EXIT_REFUSED : 1;
}
