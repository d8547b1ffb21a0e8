#ifndef WEIR_API_UPLOAD_METRICS_H
#define WEIR_API_UPLOAD_METRICS_H

#include "base/log.h"
#include "domain/upload_service.h"

#include <stddef.h>

/* What every way of uploading counts alike. Thread-safe. */

void upload_count_end(const char *result);        /* "accepted", or the kind of the failure that ended it */
void upload_count_interruption(const char *kind); /* a body that ended early; its upload may go on */
void upload_count_bytes(size_t len);              /* received */
void upload_count_refusal(const char *type);      /* not let in */

/* Counts a refusal and says it in the log. A storm of them costs little: for each reason there is one line a second in
 * the log, which says how many there were since the last one. */
void upload_note_refusal(const struct log_ids *ids, enum upload_refusal why, const char *type, const char *client);

#endif
