#ifndef WEIR_METRICS_H
#define WEIR_METRICS_H

#include "buf.h"

#include <stdint.h>

/* Prometheus metrics, text exposition format 0.0.4. A metric is a static object that registers itself at first use;
 * adding to one is a single atomic operation. Thread-safe.
 *
 *   static struct metric requests = METRIC_COUNTER("weir_http_requests_total", "HTTP requests answered.", "status");
 *   metric_add(&requests, "2xx", 1);
 */

enum metric_type { METRIC_TYPE_COUNTER, METRIC_TYPE_GAUGE, METRIC_TYPE_HISTOGRAM };

#define METRIC_MAX_SERIES 64 /* label values per metric; further ones are counted under "other" */
#define METRIC_BUCKETS 12

struct metric_series; /* private */

struct metric {
    const char *name, *help, *label; /* label: name of the one label, or NULL */
    enum metric_type type;
    const double *bounds; /* histogram: METRIC_BUCKETS upper bounds, ascending */
    struct metric_series *_Atomic series;
    struct metric *next;
    _Atomic int registered;
};

/* clang-format off */
#define METRIC_COUNTER(n, h, l) {.name = (n), .help = (h), .label = (l), .type = METRIC_TYPE_COUNTER}
#define METRIC_GAUGE(n, h, l) {.name = (n), .help = (h), .label = (l), .type = METRIC_TYPE_GAUGE}
#define METRIC_HISTOGRAM(n, h, l, b) {.name = (n), .help = (h), .label = (l), .type = METRIC_TYPE_HISTOGRAM, .bounds = (b)}
/* clang-format on */

extern const double metric_seconds[METRIC_BUCKETS]; /* 1 ms … 60 s */

/* `label_value` is NULL for a metric without a label; it is copied. */
void metric_add(struct metric *m, const char *label_value, double amount);    /* counters and gauges */
void metric_set(struct metric *m, const char *label_value, double value);     /* gauges */
void metric_observe(struct metric *m, const char *label_value, double value); /* histograms */

/* Every registered metric, with HELP and TYPE, and the process's own (process_resident_memory_bytes,
 * process_cpu_seconds_total, process_open_fds, process_start_time_seconds). */
void metrics_render(struct buf *out);

#endif
