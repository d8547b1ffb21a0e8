#include "library_fixture.h"

#include "base/log.h"
#include "base/str.h"
#include "domain/layout.h"
#include "domain/outcome.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#define MEMORY_LEAST (UINT64_C(2) << 30) /* bytes free, for several tests side by side */

struct library test_library;
struct store *test_store;
static struct store *plain;
static struct redis *impatient_redis; /* learns within a second that Redis is frozen */
static struct queue *impatient_queue;
static char folder[64];

/* What is tested here is no disk; but a container's shared memory is small. */
static bool has_memory(void)
{
    struct statvfs shm;

    return access("/dev/shm", W_OK) == 0 && statvfs("/dev/shm", &shm) == 0 &&
           (uint64_t)shm.f_bavail * shm.f_frsize >= MEMORY_LEAST;
}

void library_up(void)
{
    const struct redis_options options = {
        .host = "127.0.0.1", .port = queue_server.port, .connect_timeout_ms = 1000, .read_timeout_ms = 1000};
    struct store *inner = NULL;

    queue_up();
    ok(redis_new(&options, &impatient_redis, &e));
    ok(queue_new(impatient_redis, &queue_test_options, &impatient_queue, &e));
    log_init("test", LOG_ERROR, LOG_TEXT);
    str_format(folder, sizeof folder, "%s/weir-library-XXXXXX", has_memory() ? "/dev/shm" : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    ok(store_dir_new(folder, &inner, &e));
    ok(store_dir_new(folder, &plain, &e));
    test_store = faulty_store_new(inner);
    ok(store_ensure_bucket(test_store, "raw", &e));
    ok(store_ensure_bucket(test_store, "processed", &e));
    test_library = (struct library){
        .store = test_store,
        .queue = impatient_queue,
        .raw = "raw",
        .processed = "processed",
        .gc_ms = UINT64_C(7) * 24 * 3600 * 1000,
    };
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *place)
{
    (void)info;
    (void)kind;
    (void)place;
    return remove(path);
}

void library_down(void)
{
    store_free(test_store);
    store_free(plain);
    queue_free(impatient_queue);
    redis_free(impatient_redis);
    ck_assert_int_eq(nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS), 0);
    queue_down();
}

/* --- Objects --- */

static int count_one(void *ctx, const struct store_entry *entry, struct err *e)
{
    (void)entry;
    (void)e;
    ++*(size_t *)ctx;
    return 0;
}

size_t objects(const char *bucket, const char *prefix)
{
    size_t count = 0;

    ok(store_list(plain, bucket, prefix, NULL, 0, count_one, &count, &e));
    return count;
}

bool object_exists(const char *bucket, const char *key)
{
    struct store_info info;

    return store_head(plain, bucket, key, &info, NULL) == 0;
}

char *object_text(const char *bucket, const char *key)
{
    char *text = NULL;

    return store_get_bytes(plain, bucket, key, 16 << 20, &text, NULL, NULL) == 0 ? text : NULL;
}

void object_put(const char *bucket, const char *key, const char *text)
{
    static const struct store_put_options options = {0};

    ok(store_put_bytes(plain, bucket, key, text, strlen(text), &options, &e));
}

struct ageing {
    const char *bucket;
    struct timespec times[2];
};

static int age_one(void *ctx, const struct store_entry *entry, struct err *e)
{
    const struct ageing *ageing = ctx;
    char path[1024];

    (void)e;
    str_format(path, sizeof path, "%s/%s/%s", folder, ageing->bucket, entry->key);
    ck_assert_int_eq(utimensat(AT_FDCWD, path, ageing->times, 0), 0);
    return 0;
}

void object_age(const char *bucket, const char *prefix, unsigned days)
{
    time_t then = time(NULL) - (time_t)days * 24 * 3600;
    struct ageing ageing = {.bucket = bucket, .times = {{.tv_sec = then}, {.tv_sec = then}}};

    ok(store_list(plain, bucket, prefix, NULL, 0, age_one, &ageing, &e));
}

static size_t files_seen;

static int count_file(const char *path, const struct stat *info, int kind, struct FTW *place)
{
    (void)path;
    (void)info;
    files_seen += kind == FTW_F && place->level > 1; /* beside their folders: an object that is being written */
    return 0;
}

size_t open_multiparts(void)
{
    char path[128];

    files_seen = 0;
    str_format(path, sizeof path, "%s/.tmp", folder);
    (void)!nftw(path, count_file, 16, FTW_PHYS); /* none yet is fine */
    return files_seen;
}

/* --- Outcomes --- */

static void put_outcome(const char *video_id, unsigned generation, const struct buf *text)
{
    object_put("processed", layout_outcome(video_id, generation).s, buf_cstr(text));
}

void put_published(const char *video_id, unsigned generation, const char *version)
{
    static const char result[] = "{\"duration\":1.5,\"renditions\":[{\"name\":\"240p\"}]}";
    BUF_AUTO struct buf text;

    buf_init(&text, OUTCOME_MAX);
    ok(outcome_write_published(video_id, generation, version, result, sizeof result - 1, &text, &e));
    put_outcome(video_id, generation, &text);
}

void put_failed(const char *video_id, unsigned generation, const char *error)
{
    BUF_AUTO struct buf text;

    buf_init(&text, OUTCOME_MAX);
    ok(outcome_write_failed(video_id, generation, error, &text, &e));
    put_outcome(video_id, generation, &text);
}
