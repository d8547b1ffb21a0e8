#include "upload_metrics.h"

#include "base/clock.h"
#include "base/metrics.h"
#include "base/str.h"

#include <stdatomic.h>

static struct metric ends = METRIC_COUNTER("weir_uploads_total", "Uploads that have ended, by how.", "result");
static struct metric interruptions = METRIC_COUNTER("weir_upload_interruptions_total",
                                                    "Bodies of resumable uploads that ended early, by why.", "kind");
static struct metric refusals = METRIC_COUNTER("weir_upload_refusals_total", "Uploads that were not let in, by why.",
                                               "reason");
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

void upload_count_refusal(const char *type)
{
    metric_add(&refusals, type, 1);
}

void upload_note_refusal(const struct log_ids *ids, enum upload_refusal why, const char *type, const char *client)
{
    static struct {
        _Atomic uint64_t said_s, count;
    } reasons[UPLOAD_LOCKED + 1];
    uint64_t now_s = clock_mono_ms() / 1000 + 1, said_s = atomic_load(&reasons[why].said_s);

    upload_count_refusal(type);
    atomic_fetch_add(&reasons[why].count, 1);
    if (said_s == now_s || !atomic_compare_exchange_strong(&reasons[why].said_s, &said_s, now_s))
        return;
    log_info(ids, "upload refused", "why", type, "count", num_u64(atomic_exchange(&reasons[why].count, 0)).s, "client",
             client);
}
