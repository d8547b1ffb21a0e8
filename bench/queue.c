#include "bench.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "domain/queue.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

/* What a queue costs, with the client that the services use. bench/queue_bullmq.mjs does the same with BullMQ. */

#define MAX_THREADS 1024
#define MAX_JOBS 10000000
#define BULK_THREADS 64
#define SCAN_MS 1000 /* as the services do */
#define EPOCH_LEASE_MS 10000
#define SETTLE_MS 20 /* until a worker surely waits for the bell again */

static const char record[] =
    "{\"id\":\"v_01jd0000000000000000000000\",\"title\":\"Lock 7 at night\",\"description\":\"\","
    "\"filename\":\"lock7.mp4\",\"created_at\":\"2026-01-02T03:04:05.678Z\"}";
static const char outcome[] = "{\"outcome\":\"published\",\"version\":\"1-1767323045678000-0123456789abcdef\"}";

struct options {
    uint64_t port, n, concurrency, lock_ms, stalled_ms, trials;
};

struct clockwork {
    uint64_t wall_us;
    struct rusage usage;
};

struct run {
    struct options options;
    struct clockwork done; /* when the last job was acked */
    struct redis *redis;
    struct queue *queue;
    _Atomic uint64_t enqueued, claimed_at_us, acked;
    _Atomic bool failed, ended;
};

/* --- Threads that work together --- */

static struct clockwork read_clock(void)
{
    struct clockwork c = {.wall_us = clock_mono_us()};

    getrusage(RUSAGE_SELF, &c.usage);
    return c;
}

static double cpu_s(const struct rusage *u)
{
    return (double)(u->ru_utime.tv_sec + u->ru_stime.tv_sec) +
           (double)(u->ru_utime.tv_usec + u->ru_stime.tv_usec) / 1e6;
}

static void print_rate(const struct clockwork *start, const struct clockwork *end, uint64_t jobs)
{
    double seconds = (double)(end->wall_us - start->wall_us) / 1e6;

    printf("{\"s\": %.3f, \"jobs_per_s\": %.0f, \"client_cpu_s\": %.3f}\n", seconds, (double)jobs / seconds,
           cpu_s(&end->usage) - cpu_s(&start->usage));
}

static void complain(struct run *run, const struct err *e)
{
    if (!atomic_exchange(&run->failed, true))
        fprintf(stderr, "weir-bench: %s\n", e->text);
}

struct crew {
    pthread_t threads[MAX_THREADS];
    size_t count;
};

static int crew_add(struct crew *crew, size_t count, void *(*work)(void *), struct run *run, struct err *e)
{
    for (size_t i = 0; i < count; i++) {
        if (crew->count == MAX_THREADS || pthread_create(&crew->threads[crew->count], NULL, work, run) != 0) {
            run->failed = true;
            return err_set(e, ERR_TEMPORARY, "no thread number %zu", crew->count + 1);
        }
        crew->count++;
    }
    return 0;
}

static int crew_join(struct crew *crew, struct run *run, struct err *e)
{
    while (crew->count > 0)
        pthread_join(crew->threads[--crew->count], NULL);
    return run->failed ? err_set(e, ERR_TEMPORARY, "the run failed") : 0;
}

/* --- Producers and workers --- */

static int enqueue_one(struct run *run, struct err *e)
{
    char id[ID_VIDEO_SIZE];
    uint64_t now = clock_wall_ms();

    id_video(now, id);
    const struct queue_job_spec spec = {
        .video_id = id, .generation = 1, .priority = 1, .created_ms = now, .size_bytes = 1, .record_json = record};
    return queue_enqueue(run->queue, &spec, NULL, e);
}

static void *produce(void *ctx)
{
    struct run *run = ctx;
    struct err e;

    while (!run->failed && atomic_fetch_add(&run->enqueued, 1) < run->options.n)
        if (enqueue_one(run, &e) != 0)
            complain(run, &e);
    return NULL;
}

/* As a worker's slot does it; 0 also when there was nothing to claim. */
static int take_one(struct run *run, struct queue_job *ret, bool *ret_got, struct err *e)
{
    char nonce[ID_NONCE_SIZE];

    id_nonce(nonce);
    int result = queue_claim(run->queue, "bench", nonce, NULL, ret, e);
    *ret_got = result == 0;
    return result == -ERR_NOT_FOUND ? queue_wait(run->queue, NULL, 200, e) : result;
}

/* As a worker's slot does it: acks each job and gets the next one with that. */
static int run_through(struct run *run, struct queue_job job, struct err *e)
{
    struct queue_next next = {.worker = "bench", .got = true};
    char nonce[ID_NONCE_SIZE];
    int result = 0;

    while (next.got && result == 0) {
        id_nonce(nonce);
        next = (struct queue_next){.worker = "bench", .nonce = nonce};
        result = queue_ack_next(run->queue, &job.token, VIDEO_COMPLETED, outcome, NULL, &next, e);
        queue_job_release(&job);
        if (atomic_fetch_add(&run->acked, 1) + 1 == run->options.n)
            run->done = read_clock(); /* and not when the others have heard that no bell rings */
        job = next.job;
    }
    return result;
}

static void *consume(void *ctx)
{
    struct run *run = ctx;
    struct queue_job job;
    struct err e;
    bool got;

    while (!run->failed && run->acked < run->options.n)
        if (take_one(run, &job, &got, &e) != 0 || (got && run_through(run, job, &e) != 0))
            complain(run, &e);
    return NULL;
}

/* --- Modes --- */

static int work(struct run *run, size_t producers, size_t consumers, struct err *e)
{
    struct crew crew = {.count = 0};
    int result = crew_add(&crew, producers, produce, run, e);

    if (result == 0)
        result = crew_add(&crew, consumers, consume, run, e);
    int joined = crew_join(&crew, run, e);
    return result != 0 ? result : joined;
}

static int mode_add(struct run *run, struct err *e)
{
    struct clockwork start = read_clock();
    int result = work(run, run->options.concurrency, 0, e);

    run->done = read_clock();
    if (result == 0)
        print_rate(&start, &run->done, run->options.n);
    return result;
}

static int mode_add_bulk(struct run *run, struct err *e)
{
    if (run->options.concurrency < BULK_THREADS)
        run->options.concurrency = BULK_THREADS;
    return mode_add(run, e);
}

static int mode_process(struct run *run, struct err *e)
{
    int result = work(run, BULK_THREADS, 0, e);

    if (result != 0)
        return result;
    struct clockwork start = read_clock();
    result = work(run, 0, run->options.concurrency, e);
    if (result == 0)
        print_rate(&start, &run->done, run->options.n);
    return result;
}

static int mode_both(struct run *run, struct err *e)
{
    struct clockwork start = read_clock();
    int result = work(run, run->options.concurrency, run->options.concurrency, e);

    if (result == 0)
        print_rate(&start, &run->done, run->options.n);
    return result;
}

static void *note_starts(void *ctx)
{
    struct run *run = ctx;
    struct queue_job job;
    struct err e;
    bool got;

    while (!run->failed && !run->ended) {
        if (take_one(run, &job, &got, &e) != 0) {
            complain(run, &e);
        } else if (got) {
            run->claimed_at_us = clock_mono_us();
            if (queue_ack(run->queue, &job.token, VIDEO_COMPLETED, outcome, NULL, &e) != 0)
                complain(run, &e);
            queue_job_release(&job);
        }
    }
    return NULL;
}

static int compare_u64(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

static uint64_t percentile(const uint64_t *sorted, uint64_t count, unsigned percent)
{
    return sorted[(count - 1) * percent / 100];
}

static int measure_latency(struct run *run, uint64_t *ret_us, struct err *e)
{
    clock_sleep_ms(SETTLE_MS);
    run->claimed_at_us = 0;
    uint64_t start_us = clock_mono_us();
    int result = enqueue_one(run, e);
    if (result != 0)
        return result;
    while (run->claimed_at_us == 0 && !run->failed)
        clock_sleep_ms(1);
    *ret_us = run->claimed_at_us - start_us;
    return 0;
}

static int mode_latency(struct run *run, struct err *e)
{
    uint64_t n = run->options.n;
    struct crew crew = {.count = 0};
    MEM_AUTO uint64_t *samples = mem_calloc(n, sizeof *samples);

    int result = samples == NULL ? err_set(e, ERR_TEMPORARY, "no memory") : crew_add(&crew, 1, note_starts, run, e);
    for (uint64_t i = 0; result == 0 && i < n; i++)
        result = measure_latency(run, &samples[i], e);
    run->ended = true;
    if (crew_join(&crew, run, result == 0 ? e : NULL) != 0 || result != 0)
        return result != 0 ? result : -(int)e->kind;
    qsort(samples, n, sizeof *samples, compare_u64);
    printf("{\"p50_ms\": %.3f, \"p99_ms\": %.3f, \"max_ms\": %.3f, \"samples\": %llu}\n",
           (double)percentile(samples, n, 50) / 1e3, (double)percentile(samples, n, 99) / 1e3,
           (double)samples[n - 1] / 1e3, (unsigned long long)n);
    return 0;
}

static void *scan_for_lost(void *ctx)
{
    struct run *run = ctx;
    struct queue_scan found;
    struct err e;

    while (!run->failed && !run->ended) {
        if (queue_scan(run->queue, &found, &e) != 0)
            complain(run, &e);
        clock_sleep_ms(run->options.stalled_ms < SCAN_MS ? run->options.stalled_ms : SCAN_MS);
    }
    return NULL;
}

/* A worker claims and is never heard of again; another looks for work all the time. */
static int measure_recovery(struct run *run, uint64_t *ret_us, struct err *e)
{
    struct queue_job lost, found = {0};
    bool got = false;

    int result = enqueue_one(run, e);
    if (result == 0)
        result = take_one(run, &lost, &got, e);
    if (result != 0 || !got)
        return result != 0 ? result : err_set(e, ERR_BUG, "nothing to claim");
    queue_job_release(&lost);
    uint64_t start_us = clock_mono_us();
    for (got = false; result == 0 && !got;)
        result = take_one(run, &found, &got, e);
    if (result != 0)
        return result;
    *ret_us = clock_mono_us() - start_us;
    result = queue_ack(run->queue, &found.token, VIDEO_COMPLETED, outcome, NULL, e);
    queue_job_release(&found);
    return result;
}

static int mode_recovery(struct run *run, struct err *e)
{
    uint64_t n = run->options.trials;
    struct crew crew = {.count = 0};
    MEM_AUTO uint64_t *samples = mem_calloc(n, sizeof *samples);

    int result = samples == NULL ? err_set(e, ERR_TEMPORARY, "no memory") : crew_add(&crew, 1, scan_for_lost, run, e);
    for (uint64_t i = 0; result == 0 && i < n; i++)
        result = measure_recovery(run, &samples[i], e);
    run->ended = true;
    if (crew_join(&crew, run, result == 0 ? e : NULL) != 0 || result != 0)
        return result != 0 ? result : -(int)e->kind;
    qsort(samples, n, sizeof *samples, compare_u64);
    printf("{\"min_s\": %.3f, \"p50_s\": %.3f, \"max_s\": %.3f, \"trials\": %llu}\n", (double)samples[0] / 1e6,
           (double)percentile(samples, n, 50) / 1e6, (double)samples[n - 1] / 1e6, (unsigned long long)n);
    return 0;
}

static const struct {
    const char *name;
    int (*run)(struct run *run, struct err *e);
} modes[] = {
    {"add", mode_add},   {"add-bulk", mode_add_bulk}, {"process", mode_process},
    {"both", mode_both}, {"latency", mode_latency},   {"recovery", mode_recovery},
};

/* --- Command line --- */

static int parse_options(int argc, char **argv, struct options *ret, struct err *e)
{
    struct options o = {.port = 6379, .n = 1000, .concurrency = 1, .lock_ms = 30000, .stalled_ms = 1000, .trials = 3};
    const struct {
        const char *name;
        uint64_t *value, max;
    } known[] = {
        {"--port", &o.port, 65535},
        {"--n", &o.n, MAX_JOBS},
        {"--lock", &o.lock_ms, 3600000},
        {"--concurrency", &o.concurrency, MAX_THREADS / 2},
        {"--stalled", &o.stalled_ms, 3600000},
        {"--trials", &o.trials, 1000},
    };

    for (int i = 1; i < argc; i += 2) {
        size_t k = 0;
        while (k < ARRAY_SIZE(known) && strcmp(argv[i], known[k].name) != 0)
            k++;
        if (k == ARRAY_SIZE(known) || i + 1 == argc || !str_to_u64(argv[i + 1], known[k].value) ||
            *known[k].value < 1 || *known[k].value > known[k].max)
            return err_set(e, ERR_INVALID, "option %s: unknown, or its value is not allowed", argv[i]);
    }
    *ret = o;
    return 0;
}

static int open_queue(struct run *run, struct err *e)
{
    const struct redis_options redis = {
        .host = "127.0.0.1", .port = (uint16_t)run->options.port, .max_idle = MAX_THREADS};
    const struct queue_options queue = {
        .lease_ms = run->options.lock_ms, .attempts = 5, .max_stalls = 3, .backoff_ms = 1000, .backoff_max_ms = 300000};
    REDIS_REPLY_AUTO struct redis_reply *keys = NULL;
    int result;

    if ((result = redis_new(&redis, &run->redis, e)) != 0 ||
        (result = queue_new(run->redis, &queue, &run->queue, e)) != 0 ||
        (result = redis_do(run->redis, &keys, e, "DBSIZE", NULL)) != 0)
        return result;
    if (redis_reply_integer(keys) != 0)
        return err_set(e, ERR_CONFLICT, "the Redis on port %u is not empty", (unsigned)run->options.port);
    if ((result = queue_reconciler_lease(run->queue, "bench", EPOCH_LEASE_MS, e)) != 0)
        return result;
    return queue_epoch_begin(run->queue, "bench", e);
}

int bench_queue(int argc, char **argv, struct err *e)
{
    struct run run = {.failed = false};
    size_t m = 0;

    while (m < ARRAY_SIZE(modes) && strcmp(argv[0], modes[m].name) != 0)
        m++;
    if (m == ARRAY_SIZE(modes))
        return err_set(e, ERR_INVALID, "no mode \"%s\"", argv[0]);
    int result = parse_options(argc, argv, &run.options, e);
    if (result == 0)
        result = open_queue(&run, e);
    if (result == 0)
        result = modes[m].run(&run, e);
    queue_free(run.queue);
    redis_free(run.redis);
    return result;
}
