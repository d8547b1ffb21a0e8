#include "metrics.h"

#include "mem.h"
#include "str.h"

#include <dirent.h>
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LABEL_SIZE 96 /* a longer label value is cut */

const double metric_seconds[METRIC_BUCKETS] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1, 2.5, 10, 30, 60};

/* Made once, never freed: readers walk the list without a lock. */
struct metric_series {
    struct metric_series *next;
    char label[LABEL_SIZE];
    _Atomic double value;                         /* histogram: the sum of what was observed */
    _Atomic uint64_t buckets[METRIC_BUCKETS + 1]; /* each counts what is above the bound before; the last is +Inf */
};

static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;
static struct metric *registry;

static struct metric_series *find(struct metric_series *series, const char *label)
{
    while (series != NULL && strcmp(series->label, label) != 0)
        series = series->next;
    return series;
}

/* In order of first use, so that the output keeps its order. Under the lock. */
static void register_once(struct metric *m)
{
    struct metric **end = &registry;

    if (atomic_exchange(&m->registered, 1) != 0)
        return;
    while (*end != NULL)
        end = &(*end)->next;
    *end = m;
}

/* Under the lock, which makes this the only writer of m->series. NULL when there is no memory: the sample is lost. */
static struct metric_series *add_series(struct metric *m, const char *label)
{
    size_t count = 0;

    register_once(m);
    for (struct metric_series *s = atomic_load(&m->series); s != NULL; s = s->next)
        count++;
    if (count >= METRIC_MAX_SERIES)
        label = "other";
    struct metric_series *found = find(atomic_load(&m->series), label);
    if (found != NULL)
        return found;

    struct metric_series *made = mem_zalloc(sizeof *made);
    if (made == NULL)
        return NULL;
    str_copy(made->label, sizeof made->label, label);
    made->next = atomic_load(&m->series);
    atomic_store(&m->series, made);
    return made;
}

static struct metric_series *series_of(struct metric *m, const char *label_value)
{
    char label[LABEL_SIZE];

    str_copy(label, sizeof label, label_value == NULL ? "" : label_value);
    utf8_repair(label);
    struct metric_series *series = find(atomic_load(&m->series), label);
    if (series != NULL)
        return series;

    pthread_mutex_lock(&registry_lock);
    series = add_series(m, label);
    pthread_mutex_unlock(&registry_lock);
    return series;
}

static void add(_Atomic double *value, double amount)
{
    double seen = atomic_load_explicit(value, memory_order_relaxed);

    while (!atomic_compare_exchange_weak(value, &seen, seen + amount))
        ;
}

void metric_add(struct metric *m, const char *label_value, double amount)
{
    struct metric_series *series = series_of(m, label_value);

    if (series != NULL)
        add(&series->value, amount);
}

void metric_set(struct metric *m, const char *label_value, double value)
{
    struct metric_series *series = series_of(m, label_value);

    if (series != NULL)
        atomic_store(&series->value, value);
}

void metric_observe(struct metric *m, const char *label_value, double value)
{
    struct metric_series *series = series_of(m, label_value);
    size_t bucket = 0;

    if (series == NULL)
        return;
    while (bucket < METRIC_BUCKETS && value > m->bounds[bucket])
        bucket++;
    atomic_fetch_add(&series->buckets[bucket], 1);
    add(&series->value, value);
}

/* The shortest text that reads back as the same number. */
static void put_number(struct buf *out, double x)
{
    char text[32];

    if (isnan(x) || isinf(x)) {
        buf_puts(out, isnan(x) ? "NaN" : x > 0 ? "+Inf" : "-Inf");
        return;
    }
    str_format(text, sizeof text, "%.15g", x);
    if (strtod(text, NULL) < x || strtod(text, NULL) > x)
        str_format(text, sizeof text, "%.17g", x);
    buf_puts(out, text);
}

static void put_escaped(struct buf *out, const char *label)
{
    for (; *label != '\0'; label++) {
        if (*label == '\n') {
            buf_puts(out, "\\n");
            continue;
        }
        if (*label == '\\' || *label == '"')
            buf_putc(out, '\\');
        buf_putc(out, *label);
    }
}

/* name_suffix{label="…",le="…"} value; `bound` is NULL without le. */
static void put_sample(struct buf *out, const struct metric *m, const struct metric_series *series, const char *suffix,
                       const double *bound, double value)
{
    bool labelled = m->label != NULL;

    buf_printf(out, "%s%s", m->name, suffix);
    if (labelled || bound != NULL)
        buf_putc(out, '{');
    if (labelled) {
        buf_printf(out, "%s=\"", m->label);
        put_escaped(out, series->label);
        buf_putc(out, '"');
    }
    if (bound != NULL) {
        buf_puts(out, labelled ? ",le=\"" : "le=\"");
        put_number(out, *bound);
        buf_putc(out, '"');
    }
    if (labelled || bound != NULL)
        buf_putc(out, '}');
    buf_putc(out, ' ');
    put_number(out, value);
    buf_putc(out, '\n');
}

static void put_histogram(struct buf *out, const struct metric *m, struct metric_series *series)
{
    uint64_t count = 0;

    for (size_t i = 0; i <= METRIC_BUCKETS; i++) {
        double bound = i < METRIC_BUCKETS ? m->bounds[i] : (double)INFINITY;
        count += atomic_load(&series->buckets[i]);
        put_sample(out, m, series, "_bucket", &bound, (double)count);
    }
    put_sample(out, m, series, "_sum", NULL, atomic_load(&series->value));
    put_sample(out, m, series, "_count", NULL, (double)count);
}

static void put_head(struct buf *out, const struct metric *m)
{
    static const char *const types[] = {"counter", "gauge", "histogram"}; /* as enum metric_type */

    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", m->name, m->help, m->name, types[m->type]);
}

static void put_metric(struct buf *out, struct metric *m)
{
    put_head(out, m);
    for (struct metric_series *series = atomic_load(&m->series); series != NULL; series = series->next) {
        if (m->type == METRIC_TYPE_HISTOGRAM)
            put_histogram(out, m, series);
        else
            put_sample(out, m, series, "", NULL, atomic_load(&series->value));
    }
}

static double seconds(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* The number in the given field of a /proc file, counted from 0 and from the text after the last `after`; 0 when there is
 * none. */
static uint64_t proc_number(const char *path, char after, unsigned field)
{
    char text[1024];
    uint64_t n = 0;
    FILE *f = fopen(path, "re");

    if (f == NULL)
        return 0;
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    fclose(f);
    const char *at = after == '\0' ? text : strrchr(text, after);
    for (; at != NULL && field > 0; field--)
        if ((at = strchr(at, ' ')) != NULL)
            at++;
    if (at != NULL)
        str_to_u64_n(at, strcspn(at, " "), &n);
    return n;
}

static double resident_bytes(void)
{
    return (double)proc_number("/proc/self/statm", '\0', 1) * (double)sysconf(_SC_PAGESIZE);
}

static double open_fds(void)
{
    double count = -3; /* ".", ".." and the directory itself */
    DIR *dir = opendir("/proc/self/fd");

    if (dir == NULL)
        return 0;
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count;
}

static pthread_once_t start_once = PTHREAD_ONCE_INIT;
static double start_time;

/* Field 22 of /proc/self/stat, in ticks since boot; the command's name, field 2, may hold anything but ends in the last
 * ')'. Found once, so that the value doesn't waver with the clocks. */
static void find_start_time(void)
{
    uint64_t ticks = proc_number("/proc/self/stat", ')', 20);

    start_time = seconds(CLOCK_REALTIME) - seconds(CLOCK_BOOTTIME) + (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

static void put_process(struct buf *out)
{
    pthread_once(&start_once, find_start_time);
    const struct {
        struct metric metric;
        double value;
    } own[] = {
        {METRIC_GAUGE("process_resident_memory_bytes", "Resident memory size in bytes.", NULL), resident_bytes()},
        {METRIC_COUNTER("process_cpu_seconds_total", "User and system CPU time spent in seconds.", NULL),
         seconds(CLOCK_PROCESS_CPUTIME_ID)},
        {METRIC_GAUGE("process_open_fds", "Number of open file descriptors.", NULL), open_fds()},
        {METRIC_GAUGE("process_start_time_seconds", "Start time of the process since 1970 in seconds.", NULL),
         start_time},
    };

    for (size_t i = 0; i < ARRAY_SIZE(own); i++) {
        put_head(out, &own[i].metric);
        put_sample(out, &own[i].metric, NULL, "", NULL, own[i].value);
    }
}

void metrics_render(struct buf *out)
{
    pthread_mutex_lock(&registry_lock);
    for (struct metric *m = registry; m != NULL; m = m->next)
        put_metric(out, m);
    pthread_mutex_unlock(&registry_lock);
    put_process(out);
}
