#include "assets.h"

#include "base/mem.h"
#include "base/str.h"
#include "domain/layout.h"
#include "domain/outcome.h"
#include "proto/hls.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define UPLOADERS 3
#define ROOM 32          /* files waiting, above which the child is held up */
#define FILES_MAX 600000 /* 12 hours in 1 s segments, 8 renditions and their audio */
#define PLAYLIST_MAX (8u << 20)
#define MASTER "master.m3u8"
#define RESULT "result.json"

struct asset {
    char *path;
    uint64_t size_bytes;
    char *text;  /* of a playlist: kept for the verification */
    bool stands; /* seen in the store with that size */
};

struct assets {
    struct assets_options options;
    char *result;

    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool ending, failed;
    struct err failure;
    struct asset *files; /* in order of arrival; moves when it grows */
    size_t count, cap;
    size_t next;    /* the first that no uploader has taken */
    size_t running; /* uploads in flight */
    uint64_t bytes;

    pthread_t threads[UPLOADERS];
    size_t thread_count;
};

static bool is_playlist(const char *path)
{
    return str_ends(path, ".m3u8");
}

static int system_error(const char *path, int error, struct err *e)
{
    char text[128];

    return err_set(e, ERR_TEMPORARY, "file %s of the transcoder: %s", path, strerror_r(error, text, sizeof text));
}

/* --- Files --- */

/* The child writes this directory and is not trusted: no link is followed and only regular files are read. */
static int open_file(struct assets *a, const char *path, int *ret_fd, uint64_t *ret_size, struct err *e)
{
    char part[LAYOUT_KEY_SIZE];
    struct stat st;
    int dir = a->options.dir_fd;
    const char *name = path;

    for (const char *slash; (slash = strchr(name, '/')) != NULL; name = slash + 1) {
        str_format(part, sizeof part, "%.*s", (int)(slash - name), name);
        int inner = openat(dir, part, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        int error = errno;
        if (dir != a->options.dir_fd)
            close(dir);
        if (inner < 0)
            return system_error(path, error, e);
        dir = inner;
    }
    int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    int error = errno;
    if (dir != a->options.dir_fd)
        close(dir);
    if (fd < 0)
        return system_error(path, error, e);
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return err_set(e, ERR_INVALID, "file %s of the transcoder is no regular file", path);
    }
    *ret_fd = fd;
    *ret_size = (uint64_t)st.st_size;
    return 0;
}

static int read_text(struct assets *a, const char *path, size_t max, char **ret, uint64_t *ret_size, struct err *e)
{
    uint64_t size;
    int fd;

    int r = open_file(a, path, &fd, &size, e);
    if (r != 0)
        return r;
    struct store_body body = store_body_file(&fd, size);
    char *text = size > max ? NULL : mem_alloc((size_t)size + 1);
    if (size > max)
        r = err_set(e, ERR_INVALID, "file %s of the transcoder has more than %zu bytes", path, max);
    else if (text == NULL)
        r = err_set(e, ERR_TEMPORARY, "file %s of the transcoder: out of memory", path);
    else
        r = body.read_at(body.ctx, 0, text, (size_t)size, e);
    close(fd);
    if (r != 0) {
        mem_free(text);
        return r;
    }
    text[size] = '\0';
    *ret = text;
    *ret_size = size;
    return 0;
}

static void remove_file(struct assets *a, const char *path)
{
    (void)unlinkat(a->options.dir_fd, path, 0); /* the whole directory goes in the end */
}

/* --- Uploading --- */

static int put(struct assets *a, const char *path, const struct store_body *body, struct err *e)
{
    const struct assets_options *o = &a->options;
    struct store_put_options put_options = {.content_type = layout_content_type(path)};
    struct patience patience = {.max_ms = o->patience_ms};
    struct layout_key key;
    int r;

    if (!layout_asset(o->video_id, o->version, path, &key))
        return err_set(e, ERR_BUG, "no key for %s", path);
    do
        r = store_put(o->store, o->bucket, key.s, body, &put_options, NULL, e);
    while (control_retry(o->control, &patience, r));
    return r;
}

static int upload_file(struct assets *a, const char *path, uint64_t *ret_size, struct err *e)
{
    uint64_t size;
    int fd;

    int r = open_file(a, path, &fd, &size, e);
    if (r != 0)
        return r;
    struct store_body body = store_body_file(&fd, size);
    r = put(a, path, &body, e);
    close(fd);
    if (r != 0)
        return r;
    remove_file(a, path);
    *ret_size = size;
    return 0;
}

static void fail(struct assets *a, const struct err *e)
{
    if (!a->failed)
        a->failure = *e;
    a->failed = true;
}

/* Under the lock: the next file that is not a playlist. */
static struct asset *take(struct assets *a)
{
    while (a->next < a->count && is_playlist(a->files[a->next].path))
        a->next++;
    return a->next < a->count ? &a->files[a->next++] : NULL;
}

static void *uploader_main(void *ctx)
{
    struct assets *a = ctx;
    struct err e;

    pthread_mutex_lock(&a->lock);
    while (!a->ending) {
        struct asset *file = a->failed ? NULL : take(a);
        if (file == NULL) {
            pthread_cond_wait(&a->changed, &a->lock);
            continue;
        }
        size_t index = (size_t)(file - a->files);
        const char *path = file->path;
        uint64_t size = 0;
        a->running++;
        pthread_mutex_unlock(&a->lock);
        int r = upload_file(a, path, &size, &e);
        pthread_mutex_lock(&a->lock);
        a->running--;
        a->files[index].size_bytes = size;
        a->bytes += size;
        if (r != 0)
            fail(a, &e);
        pthread_cond_broadcast(&a->changed);
        control_nudge(a->options.control);
    }
    pthread_mutex_unlock(&a->lock);
    return NULL;
}

/* --- Life --- */

int assets_start(const struct assets_options *options, struct assets **ret, struct err *e)
{
    struct assets *a = mem_zalloc(sizeof *a);

    if (a == NULL)
        return err_set(e, ERR_TEMPORARY, "assets: out of memory");
    a->options = *options;
    pthread_mutex_init(&a->lock, NULL);
    pthread_cond_init(&a->changed, NULL);
    for (size_t i = 0; i < UPLOADERS; i++) {
        if (pthread_create(&a->threads[i], NULL, uploader_main, a) != 0) {
            assets_free(a);
            return err_set(e, ERR_TEMPORARY, "assets: no thread");
        }
        a->thread_count++;
    }
    *ret = a;
    return 0;
}

void assets_free(struct assets *a)
{
    if (a == NULL)
        return;
    pthread_mutex_lock(&a->lock);
    a->ending = true;
    pthread_cond_broadcast(&a->changed);
    pthread_mutex_unlock(&a->lock);
    for (size_t i = 0; i < a->thread_count; i++)
        pthread_join(a->threads[i], NULL);
    for (size_t i = 0; i < a->count; i++) {
        mem_free(a->files[i].path);
        mem_free(a->files[i].text);
    }
    mem_free(a->files);
    mem_free(a->result);
    pthread_cond_destroy(&a->changed);
    pthread_mutex_destroy(&a->lock);
    mem_free(a);
}

/* --- Adding --- */

static int append(struct assets *a, const char *path, struct err *e)
{
    if (a->count == FILES_MAX)
        return err_set(e, ERR_INVALID, "the transcoder made more than %d files", FILES_MAX);
    if (a->count == a->cap) {
        size_t cap = a->cap == 0 ? 64 : a->cap * 2;
        struct asset *files = mem_resize(a->files, cap, sizeof *files);
        if (files == NULL)
            return err_set(e, ERR_TEMPORARY, "assets: out of memory");
        a->files = files;
        a->cap = cap;
    }
    char *copy = mem_strdup(path);
    if (copy == NULL)
        return err_set(e, ERR_TEMPORARY, "assets: out of memory");
    a->files[a->count++] = (struct asset){.path = copy};
    return 0;
}

int assets_add(struct assets *a, const char *path, struct err *e)
{
    uint64_t size;

    if (strcmp(path, RESULT) == 0 && a->result == NULL)
        return read_text(a, path, OUTCOME_MAX, &a->result, &size, e);
    if (!layout_path_valid(path) || a->result != NULL)
        return err_set(e, ERR_INVALID, "the transcoder named a file that does not belong: %.100s", path);
    pthread_mutex_lock(&a->lock);
    int r = append(a, path, e);
    pthread_cond_broadcast(&a->changed);
    pthread_mutex_unlock(&a->lock);
    return r;
}

bool assets_room(struct assets *a)
{
    pthread_mutex_lock(&a->lock);
    bool room = a->count - a->next < ROOM;
    pthread_mutex_unlock(&a->lock);
    return room;
}

int assets_check(struct assets *a, struct err *e)
{
    pthread_mutex_lock(&a->lock);
    bool failed = a->failed;
    if (failed)
        *e = a->failure;
    pthread_mutex_unlock(&a->lock);
    return failed ? err_wrap(e, "upload") : 0;
}

const char *assets_result(struct assets *a)
{
    return a->result;
}

uint64_t assets_bytes(struct assets *a)
{
    pthread_mutex_lock(&a->lock);
    uint64_t bytes = a->bytes;
    pthread_mutex_unlock(&a->lock);
    return bytes;
}

size_t assets_count(struct assets *a)
{
    pthread_mutex_lock(&a->lock);
    size_t count = a->count;
    pthread_mutex_unlock(&a->lock);
    return count;
}

/* --- Finishing --- */

static void wait_for_uploads(struct assets *a)
{
    pthread_mutex_lock(&a->lock);
    for (;;) {
        while (a->next < a->count && is_playlist(a->files[a->next].path))
            a->next++;
        if (a->failed ? a->running == 0 : a->next == a->count && a->running == 0)
            break;
        pthread_cond_wait(&a->changed, &a->lock);
    }
    pthread_mutex_unlock(&a->lock);
}

static int upload_playlists(struct assets *a, bool master, struct err *e)
{
    for (size_t i = 0; i < a->count; i++) {
        struct asset *file = &a->files[i];
        if (!is_playlist(file->path) || (strcmp(file->path, MASTER) == 0) != master)
            continue;
        int r = read_text(a, file->path, PLAYLIST_MAX, &file->text, &file->size_bytes, e);
        if (r != 0)
            return r;
        struct store_bytes bytes = {file->text, (size_t)file->size_bytes};
        struct store_body body = store_body_bytes(&bytes);
        if (put(a, file->path, &body, e) != 0)
            return err_wrap(e, "upload");
        remove_file(a, file->path);
        a->bytes += file->size_bytes;
    }
    return 0;
}

int assets_finish(struct assets *a, struct err *e)
{
    wait_for_uploads(a);
    int r = assets_check(a, e);
    if (r == 0)
        r = upload_playlists(a, false, e);
    return r == 0 ? upload_playlists(a, true, e) : r;
}

/* --- Verifying: no thread but the caller's touches the files any more --- */

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct asset *)a)->path, ((const struct asset *)b)->path);
}

static struct asset *find(struct assets *a, const char *path)
{
    union {
        const char *in;
        char *out;
    } name = {.in = path};
    struct asset wanted = {.path = name.out};

    return a->count == 0 ? NULL : bsearch(&wanted, a->files, a->count, sizeof wanted, by_path);
}

static int see(void *ctx, const struct store_entry *entry, struct err *e)
{
    struct assets *a = ctx;
    struct layout_key prefix = layout_version_prefix(a->options.video_id, a->options.version);

    if (!str_starts(entry->key, prefix.s))
        return 0;
    struct asset *file = find(a, entry->key + strlen(prefix.s));
    if (file == NULL)
        return 0;
    if (file->size_bytes != entry->size_bytes)
        return err_set(e, ERR_TEMPORARY, "%s has the wrong size in the store", file->path);
    file->stands = true;
    return 0;
}

struct walk {
    struct assets *assets;
    const char *playlist;
};

/* A URI is relative to its playlist's folder. */
static int check_uri(void *ctx, const char *uri, size_t len, struct err *e)
{
    struct walk *walk = ctx;
    const char *slash = strrchr(walk->playlist, '/');
    char path[LAYOUT_KEY_SIZE];

    int folder_len = slash == NULL ? 0 : (int)(slash + 1 - walk->playlist);
    if (len > sizeof path || !str_format(path, sizeof path, "%.*s%.*s", folder_len, walk->playlist, (int)len, uri) ||
        find(walk->assets, path) == NULL)
        return err_set(e, ERR_TEMPORARY, "playlist %s names %.*s, which was not uploaded", walk->playlist,
                       len < 100 ? (int)len : 100, uri);
    return 0;
}

int assets_verify(struct assets *a, struct err *e)
{
    const struct assets_options *o = &a->options;
    struct layout_key prefix = layout_version_prefix(o->video_id, o->version);
    struct patience patience = {.max_ms = o->patience_ms};
    int r;

    if (a->count > 0)
        qsort(a->files, a->count, sizeof *a->files, by_path);
    for (size_t i = 1; i < a->count; i++)
        if (by_path(&a->files[i - 1], &a->files[i]) == 0)
            return err_set(e, ERR_TEMPORARY, "the transcoder named %s twice", a->files[i].path);
    if (find(a, MASTER) == NULL)
        return err_set(e, ERR_TEMPORARY, "the transcoder wrote no " MASTER);
    do
        r = store_list(o->store, o->bucket, prefix.s, NULL, 0, see, a, e);
    while (control_retry(o->control, &patience, r));
    for (size_t i = 0; r == 0 && i < a->count; i++) {
        struct walk walk = {a, a->files[i].path};
        if (!a->files[i].stands)
            r = err_set(e, ERR_TEMPORARY, "%s is not in the store", a->files[i].path);
        else if (a->files[i].text != NULL)
            r = hls_each_uri(a->files[i].text, (size_t)a->files[i].size_bytes, check_uri, &walk, e);
    }
    return r;
}
