#include "proto/config.h"

#include "base/mem.h"
#include "base/str.h"
#include "suite.h"

#include <stdlib.h>
#include <string.h>

#define MAX_PAIRS 8

/* Parses "NAME=value" texts for one service. */
static int parse(enum config_service service, const char *const *texts, struct settings *ret, struct err *e)
{
    static char names[MAX_PAIRS][64];
    struct config_pair pairs[MAX_PAIRS];
    size_t count = 0;

    for (; count < MAX_PAIRS && texts[count] != NULL; count++) {
        size_t len = strcspn(texts[count], "=");
        str_format(names[count], sizeof names[count], "%.*s", (int)len, texts[count]);
        pairs[count] = (struct config_pair){names[count], texts[count] + len + 1, "environment"};
    }
    return config_parse(service, pairs, count, ret, e);
}

static void must_parse(enum config_service service, const char *const *texts, struct settings *ret)
{
    struct err e = {0};

    ck_assert_msg(parse(service, texts, ret, &e) == 0, "%s", e.text);
}

#define DIR "STORE_URL=file:///d"

START_TEST(defaults_are_those_of_the_contract)
{
    struct settings s;

    must_parse(CONFIG_WORKER, (const char *[]){DIR, NULL}, &s);
    ck_assert_str_eq(s.host, "127.0.0.1");
    ck_assert(s.api_port == 3000 && s.play_port == 3001 && s.worker_port == 3002 && s.http_threads == 256);
    ck_assert(s.log_level == LOG_INFO && s.log_format == LOG_TEXT);
    ck_assert_str_eq(s.store_dir, "/d");
    ck_assert_str_eq(s.s3_endpoint, "");
    ck_assert_str_eq(s.s3_region, "us-east-1");
    ck_assert_str_eq(s.raw_bucket, "raw");
    ck_assert_str_eq(s.processed_bucket, "processed");
    ck_assert_str_eq(s.redis_host, "127.0.0.1");
    ck_assert(s.redis_port == 6379 && s.redis_db == 0 && !s.redis_strict && s.redis_password[0] == '\0');
    ck_assert(s.shutdown_grace_ms == 10000 && s.gc_days == 7);
    ck_assert_str_eq(s.public_play_url, "http://localhost:3001");
    ck_assert(s.upload_max_size == 50ull << 30 && s.upload_memory == 256u << 20 && s.upload_min_rate == 1024);
    ck_assert(s.upload_expiry_s == 86400 && s.upload_idle_timeout_ms == 60000);
    ck_assert(s.uploads_per_client == 100 && s.creations_per_minute == 600 && s.queue_max == 1000);
    ck_assert(s.worker_concurrency == 1 && s.job_attempts == 5 && s.job_backoff_ms == 1000);
    ck_assert(s.job_backoff_max_ms == 300000 && s.job_lease_ms == 30000 && s.job_max_stalls == 3);
    ck_assert(s.transcode_stall_ms == 60000 && s.orphan_max_ms == 600000 && s.source_cache == 64u << 20);
    ck_assert_str_eq(s.scratch_dir, "/tmp/weir");
    ck_assert_str_eq(s.ladder_text, "1080,720,480,240");
    ck_assert(s.ladder[0] == 1080 && s.ladder[3] == 240 && s.ladder[4] == 0);
    ck_assert_str_eq(s.x264_preset, "veryfast");
    ck_assert(s.segment_seconds == 6 && s.sandbox == CONFIG_SANDBOX_AUTO);
    ck_assert(s.max_duration_s == 43200 && s.max_pixels == 35389440 && s.play_cache == 64u << 20);
}
END_TEST

/* What a value becomes, seen through config_dump. */
static const struct {
    const char *given[4], *dumped;
} value_cases[] = {
    {{DIR}, "STORE_URL=file:///d\n"},
    {{"STORE_URL=file:///a b%20c"}, "STORE_URL=file:///a b%20c\n"},
    {{DIR, "API_PORT=0"}, "API_PORT=0\n"},
    {{DIR, "PORT=4000"}, "API_PORT=4000\n"},
    {{DIR, "PORT=4000", "API_PORT=4000"}, "API_PORT=4000\n"},
    {{DIR, "API_PORT=4000", "API_PORT=5000"}, "API_PORT=5000\n"}, /* the later one wins */
    {{DIR, "API_PORT=4000", "API_PORT="}, "API_PORT=4000\n"},     /* empty: not set */
    {{DIR, "HOST=::"}, "HOST=::\n"},
    {{DIR, "LOG_LEVEL=warn"}, "LOG_LEVEL=warn\n"},
    {{DIR, "LOG_FORMAT=json"}, "LOG_FORMAT=json\n"},
    {{DIR, "REDIS_DURABILITY=strict"}, "REDIS_DURABILITY=strict\n"},
    {{DIR, "UPLOAD_MAX_SIZE=1048576"}, "UPLOAD_MAX_SIZE=1MiB\n"},
    {{DIR, "UPLOAD_MAX_SIZE=1536KiB"}, "UPLOAD_MAX_SIZE=1536KiB\n"},
    {{DIR, "UPLOAD_MAX_SIZE=1025"}, "UPLOAD_MAX_SIZE=1025\n"},
    {{DIR, "UPLOAD_MIN_RATE=0"}, "UPLOAD_MIN_RATE=0\n"},
    {{DIR, "UPLOAD_MAX_SIZE=5120GiB", "UPLOAD_MEMORY=4GiB"}, "UPLOAD_MAX_SIZE=5120GiB\n"},
    {{DIR, "REDIS_PORT=tcp://10.1.2.3:7000"}, "REDIS_PORT=7000\nREDIS_HOST=10.1.2.3\n"},
    {{DIR, "REDIS_HOST=redis", "REDIS_PORT=tcp://10.1.2.3:7000"}, "REDIS_PORT=7000\nREDIS_HOST=redis\n"},
    {{DIR, "REDIS_PORT=tcp://[fd00::1]:7000"}, "REDIS_HOST=fd00::1\n"},
    {{DIR, "REDIS_PASSWORD=secret"}, "REDIS_PASSWORD=***\n"},
    {{DIR, "REDIS_PASSWORD="}, "REDIS_PASSWORD=\n"},
    {{DIR, "CORS_ORIGINS=https://a.example , http://b:8080,*"}, "CORS_ORIGINS=https://a.example,http://b:8080,*\n"},
    {{DIR, "CORS_ORIGINS=none"}, "CORS_ORIGINS=none\n"},
    {{DIR, "TRUSTED_PROXIES= 10.0.0.0/8 , ::1,fd00::/8"}, "TRUSTED_PROXIES=10.0.0.0/8,::1,fd00::/8\n"},
    {{DIR, "PUBLIC_PLAY_URL=https://cdn.example.org/video//"}, "PUBLIC_PLAY_URL=https://cdn.example.org/video\n"},
    {{"MINIO_ENDPOINT=minio", "S3_ACCESS_KEY=k", "S3_SECRET_KEY=s"}, "MINIO_ENDPOINT=http://minio:9000\n"},
    {{"MINIO_ENDPOINT=my_minio:80/", "S3_ACCESS_KEY=k", "S3_SECRET_KEY=s"}, "MINIO_ENDPOINT=http://my_minio:80\n"},
    {{"MINIO_ENDPOINT=[::1]", "S3_ACCESS_KEY=k", "S3_SECRET_KEY=s"}, "MINIO_ENDPOINT=http://[::1]:9000\n"},
    {{"MINIO_ENDPOINT=https://s3.example.org/", "S3_ACCESS_KEY=k", "S3_SECRET_KEY=s"},
     "MINIO_ENDPOINT=https://s3.example.org\n"},
    {{"MINIO_ENDPOINT=m", "MINIO_ROOT_USER=k", "MINIO_ROOT_PASSWORD=s", "STORE_URL=s3://"}, "STORE_URL=s3://\n"},
};

START_TEST(values_become_settings)
{
    const char *texts[5] = {0};
    BUF_AUTO struct buf out;
    struct settings s;

    memcpy(texts, value_cases[_i].given, sizeof value_cases[_i].given);
    must_parse(CONFIG_API, texts, &s);
    buf_init(&out, 64u << 10);
    config_dump(CONFIG_API, &s, &out);
    ck_assert_msg(strstr(buf_cstr(&out), value_cases[_i].dumped) != NULL, "no %s in\n%s", value_cases[_i].dumped,
                  buf_cstr(&out));
}
END_TEST

/* Each of these stops the start, with a text that names the setting and says what is allowed. */
static const struct {
    const char *given[4], *said;
} refused_cases[] = {
    {{NULL}, "STORE_URL or MINIO_ENDPOINT must say"},
    {{"STORE_URL=s3://"}, "needs MINIO_ENDPOINT"},
    {{DIR, "MINIO_ENDPOINT=minio"}, "contradict"},
    {{"MINIO_ENDPOINT=minio", "MINIO_ROOT_USER=k"}, "MINIO_ENDPOINT=http://minio:9000 needs MINIO_ROOT_USER and"},
    {{"STORE_URL=/d"}, "STORE_URL=/d (environment) must be file:///"},
    {{"STORE_URL=file://d"}, "STORE_URL"},
    {{"STORE_URL=s3://bucket"}, "STORE_URL"},
    {{"STORE_URL=file:///a\nb"}, "STORE_URL"},
    {{DIR, "RAW_BUCKET=b-1", "PROCESSED_BUCKET=b-1"}, "must differ"},
    {{DIR, "RAW_BUCKET=Raw"}, "RAW_BUCKET=Raw (environment) must be a bucket name"},
    {{DIR, "RAW_BUCKET=ab"}, "RAW_BUCKET"},
    {{DIR, "RAW_BUCKET=.tmp"}, "RAW_BUCKET"},
    {{DIR, "RAW_BUCKET=a/b"}, "RAW_BUCKET"},
    {{DIR, "RAW_BUCKET=a..b"}, "RAW_BUCKET"},
    {{DIR, "API_PORT=65536"}, "API_PORT=65536 (environment) must be a whole number from 0 to 65535"},
    {{DIR, "PORT=x"}, "PORT=x (environment) must be"},
    {{DIR, "PORT=1", "API_PORT=2"}, "PORT (environment) and API_PORT (environment) mean the same setting"},
    {{DIR, "API_PORT=-1"}, "API_PORT"},
    {{DIR, "API_PORT= 1"}, "API_PORT"},
    {{DIR, "API_PORT=tcp://10.0.0.1:3000"}, "API_PORT"},
    {{DIR, "HTTP_THREADS=39"}, "from 40 to 2000"},
    {{DIR, "QUEUE_MAX=18446744073709551617"}, "QUEUE_MAX"},
    {{DIR, "HOST=a b"}, "HOST=a b (environment) must be a host name or an IP address"},
    {{DIR, "HOST=-x"}, "HOST"},
    {{DIR, "LOG_LEVEL=verbose"}, "must be debug, info, warn or error"},
    {{DIR, "LOG_FORMAT=JSON"}, "must be text or json"},
    {{DIR, "REDIS_DURABILITY=yes"}, "must be warn or strict"},
    {{DIR, "REDIS_PORT=0"}, "REDIS_PORT"},
    {{DIR, "REDIS_PORT=tcp://10.0.0.1"}, "REDIS_PORT"},
    {{DIR, "REDIS_PORT=tcp://10.0.0.1:1/x"}, "REDIS_PORT"},
    {{DIR, "REDIS_PORT=tcp://u:p@h:1"}, "REDIS_PORT"},
    {{DIR, "REDIS_PORT=tcp://-h:1"}, "REDIS_PORT"},
    {{DIR, "REDIS_PASSWORD=hunter2\n"}, "REDIS_PASSWORD (environment) must be"},
    {{DIR, "TRUSTED_PROXIES=10.0.0.0/33"}, "TRUSTED_PROXIES"},
    {{DIR, "TRUSTED_PROXIES=gateway"}, "TRUSTED_PROXIES"},
    {{DIR, "CORS_ORIGINS=https://a.example/"}, "CORS_ORIGINS"},
    {{DIR, "CORS_ORIGINS=https://A.example"}, "CORS_ORIGINS"},
    {{DIR, "CORS_ORIGINS=a.example"}, "CORS_ORIGINS"},
    {{DIR, "CORS_ORIGINS=none,*"}, "CORS_ORIGINS"},
    {{DIR, "UPLOADS_MAX=0"}, "UPLOADS_MAX"},
    {{DIR, "TRUSTED_PROXIES=::1,"}, "TRUSTED_PROXIES"},
    {{DIR, "TRUSTED_PROXIES=::1/-1"}, "TRUSTED_PROXIES"},
    {{DIR, "PUBLIC_PLAY_URL=localhost:3001"}, "must be http(s)://host"},
    {{DIR, "PUBLIC_PLAY_URL=http://h/?x=1"}, "PUBLIC_PLAY_URL"},
    {{DIR, "PUBLIC_PLAY_URL=ftp://h"}, "PUBLIC_PLAY_URL"},
    {{DIR, "UPLOAD_MAX_SIZE=50GB"}, "must be 1 to 5120GiB, in bytes or with KiB, MiB, GiB"},
    {{DIR, "UPLOAD_MAX_SIZE=GiB"}, "UPLOAD_MAX_SIZE"},
    {{DIR, "UPLOAD_MAX_SIZE=1.5GiB"}, "UPLOAD_MAX_SIZE"},
    {{DIR, "UPLOAD_MAX_SIZE=17179869185GiB"}, "UPLOAD_MAX_SIZE"},
    {{DIR, "UPLOAD_MAX_SIZE=5120GiB"}, "UPLOAD_MEMORY=268435456 is too small for UPLOAD_MAX_SIZE"},
    {{"MINIO_ENDPOINT=http://h/path", "S3_ACCESS_KEY=k", "S3_SECRET_KEY=s"}, "MINIO_ENDPOINT=http://h/path (env"},
    {{"MINIO_ENDPOINT=http://k:s@h", "S3_ACCESS_KEY=k", "S3_SECRET_KEY=s"}, "MINIO_ENDPOINT"},
    {{"MINIO_ENDPOINT=h:0", "S3_ACCESS_KEY=k", "S3_SECRET_KEY=s"}, "MINIO_ENDPOINT"},
    {{"MINIO_ENDPOINT=h:99999", "S3_ACCESS_KEY=k", "S3_SECRET_KEY=s"}, "MINIO_ENDPOINT"},
    {{"MINIO_ENDPOINT=s3://h", "S3_ACCESS_KEY=k", "S3_SECRET_KEY=s"}, "MINIO_ENDPOINT"},
};

START_TEST(bad_settings_stop_the_start)
{
    const char *texts[5] = {0};
    struct settings s, untouched;
    struct err e = {0};

    memcpy(texts, refused_cases[_i].given, sizeof refused_cases[_i].given);
    memset(&s, 7, sizeof s);
    memset(&untouched, 7, sizeof untouched);
    ck_assert_int_eq(parse(CONFIG_API, texts, &s, &e), -ERR_INVALID);
    ck_assert_msg(strstr(e.text, refused_cases[_i].said) != NULL, "%s", e.text);
    ck_assert_ptr_null(strstr(e.text, "hunter2"));
    ck_assert_mem_eq(&s, &untouched, sizeof s);
}
END_TEST

static const struct {
    const char *given[3], *dumped; /* dumped NULL: refused */
} worker_cases[] = {
    {{"LADDER=240, 4320,720"}, "LADDER=4320,720,240\n"},
    {{"LADDER=360"}, "LADDER=360\n"},
    {{"LADDER=4320,2160,1080,720,480,360,240"}, "LADDER=4320,2160,1080,720,480,360,240\n"},
    {{"LADDER=720,720"}, NULL},
    {{"LADDER=0"}, NULL},
    {{"LADDER=721"}, NULL},
    {{"LADDER=720,,480"}, NULL},
    {{"LADDER=,"}, NULL},
    {{"SCRATCH_DIR=/s"}, "SCRATCH_DIR=/s\n"},
    {{"SCRATCH_DIR=s"}, NULL},
    {{"TMPDIR=/t"}, "SCRATCH_DIR=/t/weir\n"},
    {{"TMPDIR=/t", "SCRATCH_DIR=/s"}, "SCRATCH_DIR=/s\n"},
    {{"TMPDIR=/t", "SCRATCH_DIR=$TMPDIR/weir"}, "SCRATCH_DIR=/t/weir\n"},
    {{"TMPDIR=t"}, NULL},
    {{"TMPDIR=/t\n"}, NULL},
    {{"X264_PRESET=placebo"}, "X264_PRESET=placebo\n"},
    {{"X264_PRESET=quick"}, NULL},
    {{"SANDBOX=required"}, "SANDBOX=required\n"},
    {{"JOB_BACKOFF_MS=5", "JOB_BACKOFF_MAX_MS=4"}, NULL},
    {{"QUEUE_MAX=nonsense"}, "LADDER=1080"}, /* the api's, not read here */
    {{"PATH=/bin"}, "LADDER=1080"},
};

START_TEST(worker_settings)
{
    const char *texts[5] = {DIR};
    BUF_AUTO struct buf out;
    struct settings s;
    struct err e = {0};

    buf_init(&out, 64u << 10);
    memcpy(texts + 1, worker_cases[_i].given, sizeof worker_cases[_i].given);
    int r = parse(CONFIG_WORKER, texts, &s, &e);
    ck_assert_int_eq(r, worker_cases[_i].dumped == NULL ? -ERR_INVALID : 0);
    if (r != 0)
        return;
    config_dump(CONFIG_WORKER, &s, &out);
    ck_assert_msg(strstr(buf_cstr(&out), worker_cases[_i].dumped) != NULL, "%s", buf_cstr(&out));
}
END_TEST

START_TEST(names_are_known)
{
    ck_assert(config_known("QUEUE_MAX") && config_known("PORT") && config_known("S3_SECRET_KEY"));
    ck_assert(config_known("REDIS_PASSWORD_FILE") && config_known("S3_SECRET_KEY_FILE"));
    ck_assert(!config_known("QUEUE_MAX_FILE") && !config_known("_FILE") && !config_known("") && !config_known("PATH"));
    ck_assert(config_secret("REDIS_PASSWORD") && config_secret("S3_ACCESS_KEY") && config_secret("MINIO_ROOT_USER"));
    ck_assert(!config_secret("HOST") && !config_secret("NOTHING"));
}
END_TEST

START_TEST(help_lists_the_services_settings_only)
{
    BUF_AUTO struct buf out;

    buf_init(&out, 64u << 10);
    config_help(CONFIG_PLAY, &out);
    ck_assert_ptr_nonnull(strstr(buf_cstr(&out), "  PLAY_PORT "));
    ck_assert_ptr_nonnull(strstr(buf_cstr(&out), "a whole number from 0 to 65535; default 3001\n"));
    ck_assert_ptr_null(strstr(buf_cstr(&out), "QUEUE_MAX"));
    ck_assert_ptr_null(strstr(buf_cstr(&out), "another name for API_PORT"));
    ck_assert_ptr_nonnull(strstr(buf_cstr(&out), "another name for MINIO_ROOT_USER\n"));
}
END_TEST

START_TEST(parts_are_eight_mebibytes_or_an_eight_thousandth)
{
    ck_assert_uint_eq(config_part_size(0), 8u << 20);
    ck_assert_uint_eq(config_part_size(8000ull * (8u << 20)), 8u << 20);
    ck_assert_uint_eq(config_part_size(8000ull * (8u << 20) + 1), (8u << 20) + 1);
    ck_assert_uint_eq(config_part_size(UINT64_MAX), UINT64_MAX / 8000 + 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("config");
    TCase *tcase = tcase_create("config");
    tcase_add_test(tcase, defaults_are_those_of_the_contract);
    tcase_add_loop_test(tcase, values_become_settings, 0, (int)ARRAY_SIZE(value_cases));
    tcase_add_loop_test(tcase, bad_settings_stop_the_start, 0, (int)ARRAY_SIZE(refused_cases));
    tcase_add_loop_test(tcase, worker_settings, 0, (int)ARRAY_SIZE(worker_cases));
    tcase_add_test(tcase, names_are_known);
    tcase_add_test(tcase, help_lists_the_services_settings_only);
    tcase_add_test(tcase, parts_are_eight_mebibytes_or_an_eight_thousandth);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
