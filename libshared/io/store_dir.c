#include "store_dir.h"

#include "base/id.h"
#include "base/mem.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define COPY_SIZE ((size_t)512 << 10)
#define COPY_ONCE ((size_t)1 << 30)
#define PUBLISH_TRIES 1000 /* each lost to a deleter that removed the empty folder we were about to use */

void dir_path(char path[DIR_PATH_SIZE], const char *bucket, const char *key)
{
    str_format(path, DIR_PATH_SIZE, "%s/%s", bucket, key);
}

int dir_fail(const char *what, struct err *e)
{
    switch (errno) {
    case ENOTDIR:
        return err_set(e, ERR_INVALID, "an object stands where the key needs a folder");
    case ENAMETOOLONG:
        return err_set(e, ERR_INVALID, "the key is too long for the file system");
    default:
        return err_set(e, ERR_TEMPORARY, "%s: %s", what, strerror(errno));
    }
}

int dir_not_found(const struct store_dir *d, const char *bucket, const char *text, struct err *e)
{
    /* A file system that is not mounted must not look like one on which everything was deleted. */
    if (faccessat(d->root_fd, bucket, F_OK, 0) != 0)
        return err_set(e, ERR_TEMPORARY, "no such bucket");
    return err_set(e, ERR_NOT_FOUND, "%s", text);
}

DIR *dir_open_list(int dir_fd, const char *path)
{
    int fd = openat(dir_fd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    DIR *list = fdopendir(fd);
    if (list == NULL)
        close(fd);
    return list;
}

int dir_sync(int dir_fd, const char *path, struct err *e)
{
    int fd = openat(dir_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : dir_fail(path, e);
    int r = fsync(fd) == 0 ? 0 : dir_fail("sync of a folder", e);
    close(fd);
    return r;
}

int dir_sync_folders(const struct store_dir *d, const char *path, struct err *e)
{
    char folder[DIR_PATH_SIZE];
    int r = 0;

    str_copy(folder, sizeof folder, path);
    for (char *slash; r == 0 && (slash = strrchr(folder, '/')) != NULL;) {
        *slash = '\0';
        r = dir_sync(d->root_fd, folder, e);
    }
    return r;
}

/* ---- writing ------------------------------------------------------------------------------------------------------- */

int dir_temp_open(int dir_fd, char ret_name[DIR_TEMP_SIZE], int *ret_fd, struct err *e)
{
    char nonce[ID_NONCE_SIZE], name[DIR_TEMP_SIZE];

    id_nonce(nonce);
    str_format(name, sizeof name, "t-%s", nonce);
    int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0)
        return dir_fail("temporary file", e);
    memcpy(ret_name, name, sizeof name);
    *ret_fd = fd;
    return 0;
}

static int write_all(int fd, const char *data, size_t len, struct err *e)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return dir_fail("write", e);
        data += n;
        len -= (size_t)n;
    }
    return 0;
}

static int write_body(int fd, const struct store_body *body, struct err *e)
{
    size_t block = body->size_bytes < COPY_SIZE ? (size_t)body->size_bytes : COPY_SIZE;
    int r = 0;

    MEM_AUTO char *buffer = mem_alloc(block);
    if (buffer == NULL)
        return err_set(e, ERR_TEMPORARY, "out of memory");
    for (uint64_t at = 0; r == 0 && at < body->size_bytes;) {
        size_t n = body->size_bytes - at < block ? (size_t)(body->size_bytes - at) : block;
        r = body->read_at(body->ctx, at, buffer, n, e);
        if (r == 0)
            r = write_all(fd, buffer, n, e);
        at += n;
    }
    return r;
}

/* An inode's number may come back for other content of the same size within one tick of the kernel's clock for files, so
 * the file's time, which is part of its ETag, is set from the finer clock. */
static int stamp(int fd)
{
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {0}};

    clock_gettime(CLOCK_REALTIME, &times[1]);
    return futimens(fd, times);
}

int dir_temp_seal(int dir_fd, const char *name, int fd, char ret_etag[STORE_ETAG_SIZE], struct err *e)
{
    struct store_info info;
    struct stat st;
    int r = 0;

    if (stamp(fd) != 0 || fsync(fd) != 0 || fstat(fd, &st) != 0)
        r = dir_fail("sync", e);
    if (close(fd) != 0 && r == 0)
        r = dir_fail("close", e);
    if (r != 0) {
        unlinkat(dir_fd, name, 0);
        return r;
    }
    dir_info(&st, &info);
    memcpy(ret_etag, info.etag, sizeof info.etag);
    return 0;
}

int dir_write_temp(int dir_fd, const struct store_body *body, char ret_name[DIR_TEMP_SIZE],
                   char ret_etag[STORE_ETAG_SIZE], struct err *e)
{
    char name[DIR_TEMP_SIZE];
    int fd;

    int r = dir_temp_open(dir_fd, name, &fd, e);
    if (r != 0)
        return r;
    r = write_body(fd, body, e);
    if (r != 0) {
        close(fd);
        unlinkat(dir_fd, name, 0);
        return r;
    }
    r = dir_temp_seal(dir_fd, name, fd, ret_etag, e);
    if (r == 0)
        memcpy(ret_name, name, sizeof name);
    return r;
}

/* ---- publishing ---------------------------------------------------------------------------------------------------- */

/* Makes the folders between bucket and object. One that a deleter removes again meanwhile is the caller's next try. */
static int make_folders(struct store_dir *d, const char *path, struct err *e)
{
    char folder[DIR_PATH_SIZE];

    str_copy(folder, sizeof folder, path);
    char *slash = strchr(folder, '/'); /* the bucket is never made here */
    while ((slash = strchr(slash + 1, '/')) != NULL) {
        *slash = '\0';
        if (mkdirat(d->root_fd, folder, 0755) != 0 && errno != EEXIST && errno != ENOENT)
            return dir_fail("new folder", e);
        *slash = '/';
    }
    return 0;
}

/* link(2) or rename(2) found the name taken. An empty folder is nothing: it goes, and the next try may succeed. */
static int name_taken(struct store_dir *d, const char *path, struct err *e)
{
    struct stat st;

    if (fstatat(d->root_fd, path, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT || errno == ENOTDIR ? 0 : dir_fail("stat", e);
    if (S_ISREG(st.st_mode))
        return err_set(e, ERR_CONFLICT, "the object exists");
    if (unlinkat(d->root_fd, path, AT_REMOVEDIR) == 0 || errno == ENOENT)
        return 0;
    return err_set(e, ERR_INVALID, "other objects have the key as their folder");
}

/* Names the file once; 0 also when it has to be tried again (*done stays false). */
static int publish_once(struct store_dir *d, int from_dir_fd, const char *from, const char *path, const char *bucket,
                        bool if_none_match, bool *done, struct err *e)
{
    int failed = if_none_match ? linkat(from_dir_fd, from, d->root_fd, path, 0)
                               : renameat(from_dir_fd, from, d->root_fd, path);
    if (failed == 0) {
        *done = true;
        return 0;
    }
    if (errno == ENOENT) {
        if (faccessat(from_dir_fd, from, F_OK, AT_SYMLINK_NOFOLLOW) != 0)
            return err_set(e, ERR_TEMPORARY, "the temporary file is gone");
        if (faccessat(d->root_fd, bucket, F_OK, 0) != 0)
            return err_set(e, ERR_TEMPORARY, "no such bucket");
        return make_folders(d, path, e);
    }
    if (errno == EEXIST || errno == EISDIR)
        return name_taken(d, path, e);
    return dir_fail("rename", e);
}

int dir_publish(struct store_dir *d, int from_dir_fd, const char *from, const char *bucket, const char *key,
                bool if_none_match, struct err *e)
{
    char path[DIR_PATH_SIZE];
    bool done = false;
    int r = 0;

    dir_path(path, bucket, key);
    for (int tries = 0; r == 0 && !done && tries < PUBLISH_TRIES; tries++)
        r = publish_once(d, from_dir_fd, from, path, bucket, if_none_match, &done, e);
    if (r == 0 && !done)
        return err_set(e, ERR_TEMPORARY, "the folder is removed again and again");
    if (r != 0 && r != -ERR_CONFLICT)
        return r;

    /* Who lost the race acts on the winner's object, so that has to be durable for the loser, too. */
    int synced = dir_sync_folders(d, path, r == 0 ? e : NULL);
    return r != 0 && synced == 0 ? r : synced;
}

static int dir_put(struct store *s, const char *bucket, const char *key, const struct store_body *body,
                   const struct store_put_options *options, char ret_etag[STORE_ETAG_SIZE], struct err *e)
{
    struct store_dir *d = (struct store_dir *)s;
    char name[DIR_TEMP_SIZE];

    int r = dir_write_temp(d->tmp_fd, body, name, ret_etag, e);
    if (r != 0)
        return r;
    r = dir_publish(d, d->tmp_fd, name, bucket, key, options->if_none_match, e);
    if (r != 0 || options->if_none_match)
        unlinkat(d->tmp_fd, name, 0);
    return r;
}

/* ---- reading ------------------------------------------------------------------------------------------------------- */

void dir_info(const struct stat *st, struct store_info *ret)
{
    uint64_t seconds = (uint64_t)st->st_mtim.tv_sec, nanos = (uint64_t)st->st_mtim.tv_nsec;

    ret->size_bytes = (uint64_t)st->st_size;
    ret->modified_ms = seconds * 1000 + nanos / 1000000;
    str_format(ret->etag, sizeof ret->etag, "\"%" PRIx64 "-%" PRIx64 "-%" PRIx64 "\"", (uint64_t)st->st_ino,
               ret->size_bytes, seconds * 1000000000 + nanos);
}

/* Anything that is no regular file is no object. */
int dir_open_object(const struct store_dir *d, const char *bucket, const char *key, int *ret_fd, struct store_info *ret,
                    struct err *e)
{
    char path[DIR_PATH_SIZE];
    struct stat st;

    dir_path(path, bucket, key);
    int fd = openat(d->root_fd, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP || errno == ENXIO))
        return dir_not_found(d, bucket, "no such object", e);
    if (fd < 0)
        return dir_fail("open", e);
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return dir_not_found(d, bucket, "no such object", e);
    }
    dir_info(&st, ret);
    *ret_fd = fd;
    return 0;
}

static int send_range(int fd, uint64_t first, uint64_t count, store_sink *sink, void *ctx, struct err *e)
{
    int r = 0;

    MEM_AUTO char *buffer = mem_alloc(COPY_SIZE);
    if (buffer == NULL)
        return err_set(e, ERR_TEMPORARY, "out of memory");
    while (r == 0 && count > 0) {
        ssize_t n = pread(fd, buffer, count < COPY_SIZE ? (size_t)count : COPY_SIZE, (off_t)first);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return dir_fail("read", e);
        if (n == 0)
            return err_set(e, ERR_TEMPORARY, "the file became shorter");
        r = sink(ctx, buffer, (size_t)n, e);
        first += (uint64_t)n;
        count -= (uint64_t)n;
    }
    return r;
}

static int write_on(void *ctx, const void *data, size_t len, struct err *e)
{
    return write_all(*(int *)ctx, data, len, e);
}

int dir_copy_range(int from_fd, uint64_t first, uint64_t count, int to_fd, struct err *e)
{
    off_t at = (off_t)first;

    for (uint64_t left = count; left > 0;) {
        ssize_t n = copy_file_range(from_fd, &at, to_fd, NULL, left < COPY_ONCE ? (size_t)left : COPY_ONCE, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == ENOSPC || errno == EDQUOT || errno == EIO || errno == EFBIG))
            return dir_fail("copy", e);
        if (n <= 0) /* not between these files, or not with this kernel */
            return send_range(from_fd, (uint64_t)at, left, write_on, &to_fd, e);
        left -= (uint64_t)n;
    }
    return 0;
}

static int dir_get(struct store *s, const char *bucket, const char *key, uint64_t first, uint64_t count,
                   store_sink *sink, void *ctx, struct store_info *ret_info, struct err *e)
{
    int fd;

    int r = dir_open_object((struct store_dir *)s, bucket, key, &fd, ret_info, e);
    if (r != 0)
        return r;
    uint64_t there = first < ret_info->size_bytes ? ret_info->size_bytes - first : 0;
    if (there > 0 && count > 0)
        r = send_range(fd, first, count < there ? count : there, sink, ctx, e);
    close(fd);
    return r;
}

static int dir_head(struct store *s, const char *bucket, const char *key, struct store_info *ret, struct err *e)
{
    struct store_info info;
    int fd;

    int r = dir_open_object((struct store_dir *)s, bucket, key, &fd, &info, e);
    if (r != 0)
        return r;
    close(fd);
    *ret = info;
    return 0;
}

/* ---- deleting, buckets, the store itself --------------------------------------------------------------------------- */

static int dir_remove(struct store *s, const char *bucket, const char *key, struct err *e)
{
    struct store_dir *d = (struct store_dir *)s;
    char path[DIR_PATH_SIZE];

    dir_path(path, bucket, key);
    if (unlinkat(d->root_fd, path, 0) != 0 && errno != ENOENT && errno != ENOTDIR && errno != EISDIR)
        return dir_fail("delete", e);
    char *slash = strrchr(path, '/');
    *slash = '\0';
    int r = dir_sync(d->root_fd, path, e);
    if (r == -ERR_INVALID) /* the folder is an object: then there was nothing below it */
        return 0;

    /* Folders that are empty now go, too; a creator who needs one of them makes it again. */
    while (r == 0 && (slash = strrchr(path, '/')) != NULL && unlinkat(d->root_fd, path, AT_REMOVEDIR) == 0)
        *slash = '\0';
    return r != 0 ? r : faccessat(d->root_fd, bucket, F_OK, 0) == 0 ? 0 : err_set(e, ERR_TEMPORARY, "no such bucket");
}

static int dir_ensure_bucket(struct store *s, const char *bucket, struct err *e)
{
    struct store_dir *d = (struct store_dir *)s;

    if (mkdirat(d->root_fd, bucket, 0755) != 0 && errno != EEXIST)
        return dir_fail("new bucket", e);
    return dir_sync(d->root_fd, ".", e);
}

static void dir_free(struct store *s)
{
    struct store_dir *d = (struct store_dir *)s;

    if (d->tmp_fd >= 0)
        close(d->tmp_fd);
    if (d->root_fd >= 0)
        close(d->root_fd);
    mem_free(d);
}

static const struct store_ops ops = {
    .free = dir_free,
    .ensure_bucket = dir_ensure_bucket,
    .put = dir_put,
    .get = dir_get,
    .head = dir_head,
    .list = dir_list,
    .remove = dir_remove,
    .multipart_create = dir_multipart_create,
    .multipart_put = dir_multipart_put,
    .multipart_copy = dir_multipart_copy,
    .multipart_list = dir_multipart_list,
    .multipart_complete = dir_multipart_complete,
    .multipart_find = dir_multipart_find,
    .multipart_abort = dir_multipart_abort,
};

/* mkdir -p, each new folder synced into its parent. */
static int make_root(const char *dir, struct err *e)
{
    char path[PATH_MAX];

    if (!str_copy(path, sizeof path, dir))
        return err_set(e, ERR_INVALID, "the path is too long");
    for (char *slash = path; slash != NULL;) {
        slash = strchr(slash + 1, '/');
        if (slash != NULL)
            *slash = '\0';
        if (mkdir(path, 0755) == 0) {
            char parent[PATH_MAX];
            int r = str_format(parent, sizeof parent, "%s/..", path) ? dir_sync(AT_FDCWD, parent, e) : 0;
            if (r != 0)
                return r;
        } else if (errno != EEXIST) {
            return err_set(e, ERR_INVALID, "mkdir %s: %s", path, strerror(errno));
        }
        if (slash != NULL)
            *slash = '/';
    }
    return 0;
}

static int open_root(struct store_dir *d, const char *dir, struct err *e)
{
    int r = make_root(dir, e);
    if (r != 0)
        return r;
    d->root_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (d->root_fd < 0)
        return err_set(e, ERR_INVALID, "open: %s", strerror(errno));
    if (mkdirat(d->root_fd, ".tmp", 0755) != 0 && errno != EEXIST)
        return dir_fail("mkdir .tmp", e);
    d->tmp_fd = openat(d->root_fd, ".tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (d->tmp_fd < 0)
        return dir_fail("open .tmp", e);
    return dir_sync(d->root_fd, ".", e);
}

int store_dir_new(const char *dir, struct store **ret, struct err *e)
{
    struct err unread;

    if (e == NULL)
        e = &unread;
    if (dir[0] != '/')
        return err_set(e, ERR_INVALID, "directory store \"%s\": not an absolute path", dir);
    struct store_dir *d = mem_zalloc(sizeof *d);
    if (d == NULL)
        return err_set(e, ERR_TEMPORARY, "out of memory");
    *d = (struct store_dir){.base = {.ops = &ops}, .root_fd = -1, .tmp_fd = -1};
    str_format(d->base.name, sizeof d->base.name, "directory %s", dir);

    int r = open_root(d, dir, e);
    if (r != 0) {
        dir_free(&d->base);
        return err_wrap(e, "directory store %s", dir);
    }
    dir_sweep_temp(d);
    *ret = &d->base;
    return 0;
}
