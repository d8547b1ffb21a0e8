#include "upload_metrics.h"

#include "base/metrics.h"

static struct metric ends = METRIC_COUNTER("weir_uploads_total", "Uploads that have ended, by how.", "result");
static struct metric interruptions = METRIC_COUNTER("weir_upload_interruptions_total",
                                                    "Bodies of resumable uploads that ended early, by why.", "kind");
static struct metric bytes = METRIC_COUNTER("weir_upload_bytes_total", "Bytes of files received.", NULL);

void upload_count_end(const char *result)
{
    metric_add(&ends, result, 1);
}

void upload_count_interruption(const char *kind)
{
    metric_add(&interruptions, kind, 1);
}

void upload_count_bytes(size_t len)
{
    metric_add(&bytes, NULL, (double)len);
}
