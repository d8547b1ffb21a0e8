#include "api.h"

#include "base/log.h"
#include "base/metrics.h"
#include "domain/queue.h"
#include "io/settings.h"

#define DAY_MS (UINT64_C(24) * 60 * 60 * 1000)

static int open_redis(const struct settings *s, struct redis **ret, struct err *e)
{
    const struct redis_options options = {
        .host = s->redis_host,
        .port = (uint16_t)s->redis_port,
        .password = s->redis_password,
        .db = (unsigned)s->redis_db,
    };

    return redis_new(&options, ret, e);
}

static int open_queue(const struct settings *s, struct redis *redis, struct queue **ret, struct err *e)
{
    const struct queue_options options = {
        .lease_ms = s->job_lease_ms,
        .attempts = s->job_attempts,
        .max_stalls = s->job_max_stalls,
        .backoff_ms = s->job_backoff_ms,
        .backoff_max_ms = s->job_backoff_max_ms,
    };

    return queue_new(redis, &options, ret, e);
}

static int open_reconciler(struct api *api, struct err *e)
{
    const struct reconcile_options options = {
        .library = &api->library,
        .uploads = api->uploads,
        .expiry_ms = api->settings->upload_expiry_s * 1000,
    };

    return reconcile_new(&options, &api->reconciler, e);
}

static int open_uploads(struct api *api, struct err *e)
{
    const struct settings *s = api->settings;
    const struct upload_options options = {
        .library = &api->library,
        .max_size = s->upload_max_size,
        .memory = s->upload_memory,
        .part_size = config_part_size(s->upload_max_size),
        .queue_max = s->queue_max,
        .per_client = s->uploads_per_client,
        .in_all = s->uploads_max,
        .expiry_ms = s->upload_expiry_s * 1000,
        .creations_per_minute = s->creations_per_minute,
    };

    return upload_service_new(&options, &api->uploads, e);
}

int api_open(struct api *api, const struct settings *s, struct err *e)
{
    api->settings = s;
    api->library = (struct library){
        .raw = s->raw_bucket, .processed = s->processed_bucket, .gc_ms = s->gc_days * DAY_MS};
    int r = settings_open_store(s, &api->store, e);
    api->library.store = api->store;
    if (r == 0)
        r = open_redis(s, &api->redis, e);
    if (r == 0)
        r = open_queue(s, api->redis, &api->library.queue, e);
    if (r == 0)
        r = open_uploads(api, e);
    if (r == 0)
        r = open_reconciler(api, e);
    return r;
}

void api_close(struct api *api)
{
    ready_free(api->ready);
    reconcile_free(api->reconciler);
    upload_service_free(api->uploads);
    queue_free(api->library.queue);
    redis_free(api->redis);
    store_free(api->store);
}

static int start_store(const struct api *api, struct err *e)
{
    int r = store_ensure_bucket(api->store, api->library.raw, e);
    if (r == 0)
        r = store_ensure_bucket(api->store, api->library.processed, e);
    return r == 0 ? store_probe(api->store, api->library.raw, e) : r;
}

static int start_redis(const struct api *api, struct err *e)
{
    char warning[512] = "";

    int r = redis_ping(api->redis, e);
    if (r == 0)
        r = redis_durability(api->redis, warning, sizeof warning, e);
    if (r != 0 || warning[0] == '\0')
        return r;
    if (api->settings->redis_strict)
        return err_set(e, ERR_INVALID, "REDIS_DURABILITY=strict: %s", warning);
    log_warn(NULL, "this Redis may lose jobs; they would be found again from the store", "why", warning);
    return 0;
}

int api_start(struct api *api, struct err *e)
{
    int r = start_store(api, e);
    if (r == 0)
        r = start_redis(api, e);
    if (r == 0)
        atomic_store(&api->started, true);
    return r;
}

int api_check_started(const struct api *api, struct err *e)
{
    if (atomic_load(&api->started))
        return 0;
    return err_set(e, ERR_BUSY, "Weir is starting: it waits for its store and its Redis. /readyz says for which.");
}
