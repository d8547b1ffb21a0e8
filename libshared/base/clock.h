#ifndef WEIR_CLOCK_H
#define WEIR_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

/* Time and back-off. Thread-safe. */

uint64_t clock_mono_ms(void); /* CLOCK_MONOTONIC: for time-outs and durations */
uint64_t clock_mono_us(void);
uint64_t clock_wall_ms(void); /* since 1970, UTC: for records that people read, never for safety */

void clock_sleep_ms(uint64_t ms); /* continues after signals */

#define CLOCK_RFC3339_SIZE 25 /* "2026-01-02T03:04:05.678Z" and NUL */
void clock_rfc3339(uint64_t wall_ms, char out[CLOCK_RFC3339_SIZE]);

#define CLOCK_HTTP_DATE_SIZE 30 /* "Fri, 02 Jan 2026 03:04:05 GMT" and NUL (RFC 9110, 5.6.7) */
void clock_http_date(uint64_t wall_ms, char out[CLOCK_HTTP_DATE_SIZE]);
bool clock_parse_http_date(const char *s, uint64_t *ret_wall_ms); /* IMF-fixdate only */
bool clock_parse_rfc3339(const char *s, uint64_t *ret_wall_ms);   /* UTC ("Z") with optional fraction */

#define CLOCK_AMZ_DATE_SIZE 17 /* "20260102T030405Z" and NUL */
void clock_amz_date(uint64_t wall_ms, char out[CLOCK_AMZ_DATE_SIZE]);

/* Exponential back-off with full jitter: a number in [0, min(max_ms, base_ms · 2^attempt)] picked by `random`.
 * attempt counts from 0. Pure. */
uint64_t backoff_ms(uint64_t base_ms, uint64_t max_ms, unsigned attempt, uint64_t random);

#endif
