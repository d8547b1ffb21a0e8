#ifndef WEIR_TRANSCODE_REPORT_H
#define WEIR_TRANSCODE_REPORT_H

#include <stdbool.h>
#include <stdint.h>

/* The progress lines of wire.h on standard output. Each call writes whole lines with one write(2). */

struct report {
    uint64_t started_ms, printed_ms;
    int64_t duration_us; /* of the source; 0: not known */
};

void report_init(struct report *p, int64_t duration_us);

/* Prints a block when half a second has passed since the last one, or when it is the `end`. */
void report_tick(struct report *p, uint64_t frames, int64_t out_time_us, bool end);

/* Thread-safe: */
void report_file(const char *path);
void report_error(bool permanent, const char *message);

#endif
