#ifndef WEIR_LOG_H
#define WEIR_LOG_H

#include <stdbool.h>

/* Structured log lines on stderr, each written by one write(2), so that threads never mix.
 *
 *   log_info(&ids, "claimed", "attempt", num_u64(n).s, "class", class);
 *
 * text: 2026-01-02T03:04:05.678Z info  claimed service=worker job=v_01….1 attempt=1 class=default
 * json: {"time":"…","level":"info","service":"worker","message":"claimed","job":"v_01….1","attempt":1,…}
 *
 * Values are strings; those of some keys (a table in log.c: bytes, ms, status, …) are numbers in JSON when they are decimal
 * numbers of at most 15 digits. Anything that is not printable UTF-8 is escaped; a line is cut at 8 KiB. A NULL value prints as
 * "-". Never pass a secret: nothing masks it. Thread-safe after log_init. Libraries log only what has no caller to tell;
 * failures travel as `struct err` and are logged once, by mains and at the edge of a request or job. */

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
enum log_format { LOG_TEXT, LOG_JSON };

/* What a line belongs to; NULL members (and a NULL struct) are left out. */
struct log_ids {
    const char *request; /* X-Request-ID */
    const char *video;   /* v_… */
    const char *job;     /* v_….<generation> */
};

/* `service` must outlive the process ("api"). Before the first call: text, info, no service. */
void log_init(const char *service, enum log_level level, enum log_format format);
bool log_enabled(enum log_level level);

/* message, then pairs of key and value, then NULL. Use the macros. */
void log_write(enum log_level level, const struct log_ids *ids, const char *message, ...) __attribute__((sentinel));

#define log_debug(ids, ...) log_write(LOG_DEBUG, ids, __VA_ARGS__, (char *)0)
#define log_info(ids, ...) log_write(LOG_INFO, ids, __VA_ARGS__, (char *)0)
#define log_warn(ids, ...) log_write(LOG_WARN, ids, __VA_ARGS__, (char *)0)
#define log_error(ids, ...) log_write(LOG_ERROR, ids, __VA_ARGS__, (char *)0)

#endif
