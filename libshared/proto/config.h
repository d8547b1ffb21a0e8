#ifndef WEIR_CONFIG_H
#define WEIR_CONFIG_H

#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"

#include <stdbool.h>
#include <stdint.h>

/* Every setting of Weir in one table (name, type, default, bounds, who reads it, help) that feeds parsing, --help and
 * --check-config. Pure: pairs of name and value in, a struct out. Reading the environment and files is io/settings. */

enum config_service { CONFIG_API = 1, CONFIG_WORKER = 2, CONFIG_PLAY = 4, CONFIG_ALL = 7 };

enum config_sandbox { CONFIG_SANDBOX_AUTO, CONFIG_SANDBOX_REQUIRED, CONFIG_SANDBOX_OFF };

#define CONFIG_TEXT_SIZE 512
#define CONFIG_MAX_RUNGS 8

/* Sizes in bytes, times in the unit of the name. Strings are never NULL; "" means not set. */
struct settings {
    char host[CONFIG_TEXT_SIZE];
    uint64_t api_port, play_port, worker_port;
    uint64_t http_threads;
    enum log_level log_level;
    enum log_format log_format;

    char store_dir[CONFIG_TEXT_SIZE];   /* from STORE_URL=file:///…; "" means S3 */
    char s3_endpoint[CONFIG_TEXT_SIZE]; /* normalised: http(s)://host[:port]; "minio" → http://minio:9000 */
    char s3_access_key[CONFIG_TEXT_SIZE], s3_secret_key[CONFIG_TEXT_SIZE], s3_region[CONFIG_TEXT_SIZE];
    char raw_bucket[CONFIG_TEXT_SIZE], processed_bucket[CONFIG_TEXT_SIZE];

    char redis_host[CONFIG_TEXT_SIZE], redis_password[CONFIG_TEXT_SIZE];
    uint64_t redis_port, redis_db;
    bool redis_strict; /* REDIS_DURABILITY=strict */

    uint64_t shutdown_grace_ms;
    char trusted_proxies[CONFIG_TEXT_SIZE]; /* comma-separated addresses or CIDR blocks, checked */
    uint64_t gc_days;
    char public_play_url[CONFIG_TEXT_SIZE]; /* without a trailing slash */

    uint64_t upload_max_size, upload_memory, upload_expiry_s, upload_idle_timeout_ms, upload_min_rate;
    uint64_t uploads_per_client, uploads_max, creations_per_minute, queue_max;
    char cors_origins[CONFIG_TEXT_SIZE]; /* "*", "none", or origins separated by commas, checked */

    uint64_t worker_concurrency, job_attempts, job_backoff_ms, job_backoff_max_ms, job_lease_ms, job_max_stalls;
    uint64_t transcode_stall_ms;
    char scratch_dir[CONFIG_TEXT_SIZE];
    uint64_t source_cache, orphan_max_ms;
    unsigned ladder[CONFIG_MAX_RUNGS];  /* heights, descending, 0-terminated when shorter */
    char ladder_text[CONFIG_TEXT_SIZE]; /* as handed to weir-transcode */
    uint64_t segment_seconds;
    char x264_preset[CONFIG_TEXT_SIZE];
    enum config_sandbox sandbox;
    uint64_t max_duration_s, max_pixels;

    uint64_t play_cache; /* bytes of hot objects kept in memory */
};

/* One NAME=value as found, with where it came from for messages ("environment", "/etc/weir.env line 3"). */
struct config_pair {
    const char *name, *value, *origin;
};

/* Fills *ret from defaults and `pairs` (later ones win) for one service. Names that are not Weir's are ignored (the
 * environment is full of them); those of another service too. Any malformed value, value out of bounds, or contradiction
 * (STORE_URL together with MINIO_ENDPOINT, neither of them, S3 without credentials, four parts of the largest size not
 * fitting into UPLOAD_MEMORY, a heartbeat longer than … ) is ERR_INVALID with a sentence that names the setting, its
 * value (unless secret) and what is allowed. REDIS_PORT=tcp://host:port is taken apart; PORT means API_PORT. */
int config_parse(enum config_service service, const struct config_pair *pairs, size_t count, struct settings *ret,
                 struct err *e) __attribute__((warn_unused_result));

/* Whether a name is a setting of any service (with or without _FILE when it is a secret): an ENV_FILE may hold only
 * such names. */
bool config_known(const char *name);
/* Whether NAME is a secret, which may also be given as NAME_FILE. */
bool config_secret(const char *name);

/* The settings of a service as text: for --help (name, default, meaning) and --check-config (name=effective value, with
 * secrets as "***" when set). */
void config_help(enum config_service service, struct buf *out);
void config_dump(enum config_service service, const struct settings *s, struct buf *out);

/* Part size of an upload of at most `max_length` bytes: max(8 MiB, ceil(max_length / 8000)). */
uint64_t config_part_size(uint64_t max_length);

#endif
