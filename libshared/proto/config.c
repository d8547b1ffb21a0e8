#include "config.h"

#include "base/mem.h"
#include "base/str.h"
#include "config_value.h"

#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#define AT(member) offsetof(struct settings, member)
#define KIB (UINT64_C(1) << 10)
#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

enum { API = CONFIG_API, WORKER = CONFIG_WORKER, PLAY = CONFIG_PLAY, ALL = CONFIG_ALL };

/* Parsed in this order: what REDIS_PORT=tcp://host:port says about the host yields to REDIS_HOST. */
static const struct config_row rows[] = {
    {"HOST", "127.0.0.1", ALL, &config_host, AT(host), 0, 0, "listen address"},
    {"API_PORT", "3000", API, &config_number, AT(api_port), 0, 65535, "port of the api; 0 takes a free one"},
    {"PLAY_PORT", "3001", PLAY, &config_number, AT(play_port), 0, 65535, "port of the play service"},
    {"WORKER_PORT", "3002", WORKER, &config_number, AT(worker_port), 0, 65535,
     "port of the worker's health and metrics"},
    {"HTTP_THREADS", "256", ALL, &config_number, AT(http_threads), 40, 2000,
     "requests served at once; 32 of them never read bodies"},
    {"LOG_LEVEL", "info", ALL, &config_log_level, AT(log_level), 0, 0, "least severity that is logged"},
    {"LOG_FORMAT", "text", ALL, &config_log_format, AT(log_format), 0, 0, "form of the log lines"},

    {"STORE_URL", "", ALL, &config_store_url, AT(store_dir), 0, 0, "where objects are kept: a directory, or S3"},
    {"MINIO_ENDPOINT", "", ALL, &config_endpoint, AT(s3_endpoint), 0, 0, "the S3 server; setting it selects S3"},
    {"MINIO_ROOT_USER", "", ALL, &config_secret_text, AT(s3_access_key), 0, 0, "S3 access key"},
    {"MINIO_ROOT_PASSWORD", "", ALL, &config_secret_text, AT(s3_secret_key), 0, 0, "S3 secret key"},
    {"S3_REGION", "us-east-1", ALL, &config_region, AT(s3_region), 0, 0, "region that S3 requests are signed for"},
    {"RAW_BUCKET", "raw", ALL, &config_bucket, AT(raw_bucket), 0, 0, "bucket of uploads and records"},
    {"PROCESSED_BUCKET", "processed", ALL, &config_bucket, AT(processed_bucket), 0, 0, "bucket of finished videos"},

    {"REDIS_PORT", "6379", ALL, &config_redis_port, AT(redis_port), 1, 65535, "port of Redis"},
    {"REDIS_HOST", "127.0.0.1", ALL, &config_host, AT(redis_host), 0, 0, "host of Redis"},
    {"REDIS_PASSWORD", "", ALL, &config_secret_text, AT(redis_password), 0, 0, "password of Redis"},
    {"REDIS_DB", "0", ALL, &config_number, AT(redis_db), 0, 1023, "number of the Redis database"},
    {"REDIS_DURABILITY", "warn", API | WORKER, &config_durability, AT(redis_strict), 0, 0,
     "strict refuses a Redis that may lose or evict jobs"},

    {"SHUTDOWN_GRACE_MS", "10000", ALL, &config_number, AT(shutdown_grace_ms), 0, 3600000,
     "time to end in after SIGTERM"},
    {"TRUSTED_PROXIES", "", API | PLAY, &config_addresses, AT(trusted_proxies), 0, 0,
     "peers whose X-Forwarded-For counts"},
    {"GC_DAYS", "7", API | WORKER, &config_number, AT(gc_days), 1, 3650,
     "how long deletion markers stay and leftovers are looked for"},
    {"PUBLIC_PLAY_URL", "http://localhost:3001", API, &config_public_url, AT(public_play_url), 0, 0,
     "prefix of the playback links"},

    {"UPLOAD_MAX_SIZE", "50GiB", API, &config_size, AT(upload_max_size), 1, 5120 * GIB, "largest upload"},
    {"UPLOAD_MEMORY", "256MiB", API, &config_size, AT(upload_memory), 32 * MIB, 1024 * GIB,
     "bound on all upload buffers together"},
    {"UPLOAD_EXPIRY_S", "86400", API, &config_number, AT(upload_expiry_s), 1, 2160000,
     "unfinished uploads older than this go"},
    {"UPLOAD_IDLE_TIMEOUT_MS", "60000", API, &config_number, AT(upload_idle_timeout_ms), 100, 3600000,
     "a client that sends nothing for so long is cut off"},
    {"UPLOAD_MIN_RATE", "1KiB", API, &config_size, AT(upload_min_rate), 0, GIB,
     "bytes per second over a minute, below which a body is cut off; 0: never"},
    {"UPLOADS_PER_CLIENT", "100", API, &config_number, AT(uploads_per_client), 1, 1000000,
     "open uploads of one client"},
    {"UPLOADS_MAX", "10000", API, &config_number, AT(uploads_max), 1, 10000000, "open uploads of all clients"},
    {"CREATIONS_PER_MINUTE", "600", API, &config_number, AT(creations_per_minute), 1, 1000000,
     "new uploads of one client in a minute"},
    {"QUEUE_MAX", "1000", API, &config_number, AT(queue_max), 0, 10000000,
     "open jobs and uploads in progress; more are refused; 0 refuses all"},
    {"CORS_ORIGINS", "*", API, &config_origins, AT(cors_origins), 0, 0, "whose pages may upload and list videos"},

    {"WORKER_CONCURRENCY", "1", WORKER, &config_number, AT(worker_concurrency), 1, 256, "jobs at once"},
    {"JOB_ATTEMPTS", "5", API | WORKER, &config_number, AT(job_attempts), 1, 1000, "starts, then failed"},
    {"JOB_BACKOFF_MS", "1000", WORKER, &config_number, AT(job_backoff_ms), 1, 86400000,
     "back-off after the first failure"},
    {"JOB_BACKOFF_MAX_MS", "300000", WORKER, &config_number, AT(job_backoff_max_ms), 1, 86400000, "longest back-off"},
    {"JOB_LEASE_MS", "30000", WORKER, &config_number, AT(job_lease_ms), 300, 3600000,
     "a worker silent for so long loses its job; the heartbeat is a third"},
    {"JOB_MAX_STALLS", "3", WORKER, &config_number, AT(job_max_stalls), 1, 1000, "lost leases, then failed"},
    {"TRANSCODE_STALL_MS", "60000", WORKER, &config_number, AT(transcode_stall_ms), 100, 86400000,
     "no progress for so long fails the attempt"},
    {"SCRATCH_DIR", "$TMPDIR/weir", WORKER, &config_path, AT(scratch_dir), 0, 0, "segments on their way to the store"},
    {"SOURCE_CACHE", "64MiB", WORKER, &config_size, AT(source_cache), MIB, GIB,
     "memory per job for the source's bytes"},
    {"ORPHAN_MAX_MS", "600000", WORKER, &config_number, AT(orphan_max_ms), 0, 86400000,
     "how long work goes on without Redis"},
    {"LADDER", "1080,720,480,240", WORKER, &config_ladder, AT(ladder_text), 0, 0, "heights of the renditions"},
    {"SEGMENT_SECONDS", "6", WORKER, &config_number, AT(segment_seconds), 1, 30, "length of a segment"},
    {"X264_PRESET", "veryfast", WORKER, &config_preset, AT(x264_preset), 0, 0, "speed against size of x264"},
    {"SANDBOX", "auto", WORKER, &config_sandbox_kind, AT(sandbox), 0, 0, "confinement of weir-transcode"},
    {"MAX_DURATION_S", "43200", WORKER, &config_number, AT(max_duration_s), 1, 86400, "longer videos are refused"},
    {"MAX_PIXELS", "35389440", WORKER, &config_number, AT(max_pixels), 1, 268435456, "larger pictures are refused"},

    {"PLAY_CACHE", "64MiB", PLAY, &config_size, AT(play_cache), MIB, 64 * GIB, "memory for hot segments and playlists"},
};

static const struct {
    const char *name, *of;
} aliases[] = {{"PORT", "API_PORT"}, {"S3_ACCESS_KEY", "MINIO_ROOT_USER"}, {"S3_SECRET_KEY", "MINIO_ROOT_PASSWORD"}};

/* What was given for each row: the last pair that is not empty. */
struct given {
    const struct config_pair *pair[ARRAY_SIZE(rows)];
};

static const struct config_row *find_row(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(aliases); i++)
        if (strcmp(name, aliases[i].name) == 0)
            name = aliases[i].of;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        if (strcmp(name, rows[i].name) == 0)
            return &rows[i];
    return NULL;
}

static bool is_given(const struct given *given, const char *name)
{
    return given->pair[find_row(name) - rows] != NULL;
}

static int choose(enum config_service service, const struct config_pair *pairs, size_t count, struct given *given,
                  struct err *e)
{
    for (size_t i = 0; i < count; i++) {
        const struct config_row *row = find_row(pairs[i].name);
        if (row == NULL || (row->services & (unsigned)service) == 0 || pairs[i].value[0] == '\0')
            continue;
        const struct config_pair *earlier = given->pair[row - rows];
        if (earlier != NULL && strcmp(earlier->name, pairs[i].name) != 0 && strcmp(earlier->value, pairs[i].value) != 0)
            return err_set(e, ERR_INVALID, "%s (%s) and %s (%s) mean the same setting and differ: give one of them",
                           earlier->name, earlier->origin, pairs[i].name, pairs[i].origin);
        given->pair[row - rows] = &pairs[i];
    }
    return 0;
}

static int refuse(const struct config_row *row, const struct config_pair *pair, struct err *e)
{
    BUF_AUTO struct buf allowed;

    buf_init(&allowed, KIB);
    config_allowed(row, &allowed);
    if (config_secret(row->name))
        return err_set(e, ERR_INVALID, "%s (%s) must be %s", pair->name, pair->origin, buf_cstr(&allowed));
    return err_set(e, ERR_INVALID, "%s=%.120s (%s) must be %s", pair->name, pair->value, pair->origin,
                   buf_cstr(&allowed));
}

static int parse_rows(const struct given *given, struct settings *s, struct err *e)
{
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        if (rows[i].initial[0] != '\0' && !rows[i].kind->parse(&rows[i], rows[i].initial, s))
            return err_set(e, ERR_BUG, "the default of %s is not allowed", rows[i].name);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        if (given->pair[i] != NULL && !rows[i].kind->parse(&rows[i], given->pair[i]->value, s))
            return refuse(&rows[i], given->pair[i], e);
    return 0;
}

static int resolve_scratch(const struct config_pair *pairs, size_t count, struct settings *s, struct err *e)
{
    const struct config_row *row = find_row("SCRATCH_DIR");
    const char *tmp = "/tmp";
    char path[CONFIG_TEXT_SIZE];

    if (s->scratch_dir[0] == '/')
        return 0;
    for (size_t i = 0; i < count; i++)
        if (strcmp(pairs[i].name, "TMPDIR") == 0 && pairs[i].value[0] != '\0')
            tmp = pairs[i].value;
    if (!str_format(path, sizeof path, "%s/weir", tmp) || !row->kind->parse(row, path, s))
        return err_set(e, ERR_INVALID, "TMPDIR=%.120s must be an absolute path, or set SCRATCH_DIR", tmp);
    return 0;
}

static int check_store(const struct given *given, const struct settings *s, struct err *e)
{
    if (s->store_dir[0] != '\0' && is_given(given, "MINIO_ENDPOINT"))
        return err_set(e, ERR_INVALID,
                       "STORE_URL=file://%.120s and MINIO_ENDPOINT=%.120s contradict each other: give one",
                       s->store_dir, s->s3_endpoint);
    if (s->store_dir[0] == '\0' && s->s3_endpoint[0] == '\0')
        return err_set(e, ERR_INVALID,
                       is_given(given, "STORE_URL")
                           ? "STORE_URL=s3:// needs MINIO_ENDPOINT, the S3 server"
                           : "STORE_URL or MINIO_ENDPOINT must say where objects are kept: "
                             "STORE_URL=file:///absolute/directory, or MINIO_ENDPOINT=host:port of an "
                             "S3 server");
    if (s->s3_endpoint[0] != '\0' && (s->s3_access_key[0] == '\0' || s->s3_secret_key[0] == '\0'))
        return err_set(e, ERR_INVALID, "MINIO_ENDPOINT=%.120s needs MINIO_ROOT_USER and MINIO_ROOT_PASSWORD",
                       s->s3_endpoint);
    if (strcmp(s->raw_bucket, s->processed_bucket) == 0)
        return err_set(e, ERR_INVALID, "RAW_BUCKET=%s and PROCESSED_BUCKET=%s must differ", s->raw_bucket,
                       s->processed_bucket);
    return 0;
}

static int check_numbers(const struct settings *s, struct err *e)
{
    uint64_t needed = 4 * config_part_size(s->upload_max_size);

    if (needed > s->upload_memory)
        return err_set(e, ERR_INVALID,
                       "UPLOAD_MEMORY=%" PRIu64 " is too small for UPLOAD_MAX_SIZE=%" PRIu64
                       ": four parts of such an upload take %" PRIu64 " bytes",
                       s->upload_memory, s->upload_max_size, needed);
    if (s->job_backoff_max_ms < s->job_backoff_ms)
        return err_set(e, ERR_INVALID, "JOB_BACKOFF_MAX_MS=%" PRIu64 " is less than JOB_BACKOFF_MS=%" PRIu64,
                       s->job_backoff_max_ms, s->job_backoff_ms);
    return 0;
}

int config_parse(enum config_service service, const struct config_pair *pairs, size_t count, struct settings *ret,
                 struct err *e)
{
    struct settings s = {0};
    struct given given = {{NULL}};
    int r;

    if ((r = choose(service, pairs, count, &given, e)) != 0 || (r = parse_rows(&given, &s, e)) != 0 ||
        (r = resolve_scratch(pairs, count, &s, e)) != 0 || (r = check_store(&given, &s, e)) != 0 ||
        (r = check_numbers(&s, e)) != 0)
        return r;
    *ret = s;
    return 0;
}

bool config_known(const char *name)
{
    char of[64];
    size_t len = strlen(name);

    if (find_row(name) != NULL)
        return true;
    return str_ends(name, "_FILE") && str_format(of, sizeof of, "%.*s", (int)(len - 5), name) && config_secret(of);
}

bool config_secret(const char *name)
{
    const struct config_row *row = find_row(name);

    return row != NULL && row->kind == &config_secret_text;
}

void config_help(enum config_service service, struct buf *out)
{
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        if ((rows[i].services & (unsigned)service) != 0) {
            buf_printf(out, "  %-22s %s\n%25s", rows[i].name, rows[i].help, "");
            config_allowed(&rows[i], out);
            if (rows[i].initial[0] != '\0')
                buf_printf(out, "; default %s", rows[i].initial);
            buf_putc(out, '\n');
        }
    for (size_t i = 0; i < ARRAY_SIZE(aliases); i++)
        if ((find_row(aliases[i].of)->services & (unsigned)service) != 0)
            buf_printf(out, "  %-22s another name for %s\n", aliases[i].name, aliases[i].of);
}

void config_dump(enum config_service service, const struct settings *s, struct buf *out)
{
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        if ((rows[i].services & (unsigned)service) != 0) {
            buf_printf(out, "%s=", rows[i].name);
            rows[i].kind->print(&rows[i], s, out);
            buf_putc(out, '\n');
        }
}

uint64_t config_part_size(uint64_t max_length)
{
    uint64_t eight_thousandth = max_length / 8000 + (max_length % 8000 != 0);

    return eight_thousandth > 8 * MIB ? eight_thousandth : 8 * MIB;
}
