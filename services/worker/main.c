/* weir-worker: claims jobs, has them transcoded, publishes what came out. */

#include "base/bounded.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "domain/ready.h"
#include "heartbeat.h"
#include "io/http_server.h"
#include "io/settings.h"
#include "scratch.h"
#include "start.h"

#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#define HTTP_THREADS 40 /* for health and metrics only: the threads kept free, and some */
#define STOP_HTTP_MS 200

struct service {
    struct worker worker;
    struct redis *redis;
    struct ready *ready;
    struct start *start;
    struct http_server *server;
    char transcoder[PATH_MAX];
};

static atomic_bool hopeless;

static void end_hopeless(void)
{
    atomic_store(&hopeless, true);
    kill(getpid(), SIGTERM);
}

/* --- Routes --- */

static int readyz(struct http_request *rq, void *ctx, struct err *e)
{
    const struct service *s = ctx;

    if (start_check(s->start, e) == 0)
        return ready_respond(s->ready, rq, e);
    http_problem(rq, 503, "not-ready", NULL, e->text);
    return 0;
}

static const struct http_route routes[] = {
    {.method = "GET", .path = "/healthz", .handler = http_healthz, .always = true},
    {.method = "GET", .path = "/readyz", .handler = readyz, .always = true},
    {.method = "GET", .path = "/metrics", .handler = http_metrics, .always = true},
    {0},
};

/* --- Opening --- */

/* weir-transcode stands beside this program. */
static int find_transcoder(char *ret, size_t size, struct err *e)
{
    char self[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);

    if (len < 0)
        return err_set(e, ERR_BUG, "/proc/self/exe can't be read");
    self[len] = '\0';
    char *slash = strrchr(self, '/');
    if (slash == NULL || !str_format(ret, size, "%.*s/weir-transcode", (int)(slash - self), self) ||
        access(ret, X_OK) != 0)
        return err_set(e, ERR_INVALID, "weir-transcode is not beside %s", self);
    return 0;
}

static void name_worker(struct worker *w)
{
    char host[64] = "?", nonce[ID_NONCE_SIZE];

    (void)gethostname(host, sizeof host - 1); /* for people only */
    id_nonce(nonce);
    str_format(w->name, sizeof w->name, "%s:%d:%.6s", host, (int)getpid(), nonce);
    utf8_repair(w->name);
}

static int open_queue(struct service *v, const struct settings *s, struct err *e)
{
    int r = redis_new(&(struct redis_options){.host = s->redis_host,
                                              .port = (uint16_t)s->redis_port,
                                              .password = s->redis_password,
                                              .db = (unsigned)s->redis_db},
                      &v->redis, e);
    if (r != 0)
        return r;
    return queue_new(v->redis,
                     &(struct queue_options){.lease_ms = s->job_lease_ms,
                                             .attempts = s->job_attempts,
                                             .max_stalls = s->job_max_stalls,
                                             .backoff_ms = s->job_backoff_ms,
                                             .backoff_max_ms = s->job_backoff_max_ms},
                     &v->worker.queue, e);
}

static int open_service(struct service *v, const struct settings *s, struct err *e)
{
    struct worker *w = &v->worker;

    w->settings = s;
    w->transcoder = v->transcoder;
    name_worker(w);
    int r = find_transcoder(v->transcoder, sizeof v->transcoder, e);
    if (r == 0)
        r = scratch_prepare(s->scratch_dir, e);
    if (r == 0)
        r = settings_open_store(s, &w->store, e);
    if (r == 0)
        r = open_queue(v, s, e);
    if (r == 0)
        r = heartbeat_start(&(struct heartbeat_options){.queue = w->queue,
                                                        .lease_ms = s->job_lease_ms,
                                                        .orphan_max_ms = s->orphan_max_ms,
                                                        .max_jobs = (size_t)s->worker_concurrency},
                            &w->heartbeat, e);
    if (r == 0)
        r = ready_new(&(struct ready_options){.store = w->store, .bucket = s->processed_bucket, .redis = v->redis},
                      &v->ready, e);
    if (r == 0)
        r = start_new(w, end_hopeless, &v->start, e);
    return r;
}

/* --- Life --- */

static int exit_status(int r)
{
    return r == -ERR_INVALID ? 2 : r == 0 ? 0 : 1;
}

static int serve(struct service *v, const struct settings *s, const sigset_t *ends, struct err *e)
{
    int signal_number;

    int r = http_server_start(&(struct http_server_options){.host = s->host,
                                                            .port = (uint16_t)s->worker_port,
                                                            .routes = routes,
                                                            .ctx = v,
                                                            .threads = HTTP_THREADS,
                                                            .trusted_proxies = s->trusted_proxies},
                              &v->server, e);
    if (r != 0)
        return r;
    fprintf(stderr, "listening on http://%s:%u\n", s->host, http_server_port(v->server));
    sigwait(ends, &signal_number);
    if (atomic_load(&hopeless))
        return start_check(v->start, e);
    log_info(NULL, "ending", "signal", signal_number == SIGTERM ? "TERM" : "INT");
    return 0;
}

static void close_service(void *arg)
{
    struct service *v = arg;

    start_stop(v->start, v->worker.settings->shutdown_grace_ms);
    http_server_stop(v->server, STOP_HTTP_MS);
    start_free(v->start);
    ready_free(v->ready);
    heartbeat_free(v->worker.heartbeat);
    queue_free(v->worker.queue);
    redis_free(v->redis);
    store_free(v->worker.store);
}

static int run(const struct settings *s, const sigset_t *ends, struct err *e)
{
    static struct service v; /* outlives main when it does not end in time */

    int r = open_service(&v, s, e);
    if (r == 0)
        r = serve(&v, s, ends, e);
    if (r != 0)
        log_error(NULL, "can't go on", "error", e->text);
    if (!run_bounded(s->shutdown_grace_ms, close_service, &v)) { /* a store or a Redis hangs; the jobs are stopped */
        log_warn(NULL, "ending without waiting any longer");
        quick_exit(exit_status(r));
    }
    return r;
}

int main(int argc, char **argv)
{
    static const struct settings_option options[] = {{.letter = 'c', .setting = "WORKER_CONCURRENCY"}};
    struct settings settings;
    struct err e = {0};
    sigset_t ends;

    int status = settings_main(CONFIG_WORKER, "weir-worker", "  -c N              WORKER_CONCURRENCY\n", options,
                               sizeof options / sizeof *options, argc, argv, &settings);
    if (status >= 0)
        return status;
    /* Children that a hostile video took over must not read the credentials in this process's memory and environment. */
    prctl(PR_SET_DUMPABLE, 0);
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    pthread_sigmask(SIG_BLOCK, &ends, NULL); /* every thread made from here on inherits it; main takes them */
    signal(SIGPIPE, SIG_IGN);

    int r = run(&settings, &ends, &e);
    prctl(PR_SET_DUMPABLE, 1); /* no child is left; leak checkers may look now */
    return exit_status(r);
}
