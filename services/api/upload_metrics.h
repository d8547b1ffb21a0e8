#ifndef WEIR_API_UPLOAD_METRICS_H
#define WEIR_API_UPLOAD_METRICS_H

#include <stddef.h>

/* What every way of uploading counts alike. Thread-safe. */

void upload_count_end(const char *result);        /* "accepted", or the kind of the failure that ended it */
void upload_count_interruption(const char *kind); /* a body that ended early; its upload may go on */
void upload_count_bytes(size_t len);              /* received */

#endif
