#include "store_dir.h"

#include "base/clock.h"
#include "base/id.h"
#include "base/mem.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define KEY_FILE "key"
#define STALE_MS (UINT64_C(30) * 24 * 3600 * 1000) /* longer than any upload may stay open */
#define ABORT_TRIES 1000                           /* each lost to a part that was still being written */

static int no_such_upload(struct err *e)
{
    return err_set(e, ERR_NOT_FOUND, "no such upload");
}

static void part_name(unsigned number, char name[DIR_TEMP_SIZE])
{
    str_format(name, DIR_TEMP_SIZE, "%05u", number);
}

/* The folder's name may be used in a path only when it has the form of our ids. */
static bool upload_id_valid(const char *id)
{
    return strlen(id) == DIR_UPLOAD_ID_SIZE - 1 && strspn(id, "0123456789abcdef") == DIR_UPLOAD_ID_SIZE - 1;
}

/* Whether the folder is that of an upload to this object. */
static bool upload_is_for(int upload_fd, const char *bucket, const char *key)
{
    char expected[DIR_PATH_SIZE], found[DIR_PATH_SIZE];

    dir_path(expected, bucket, key);
    int fd = openat(upload_fd, KEY_FILE, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, found, sizeof found - 1);
    close(fd);
    if (n < 0)
        return false;
    found[n] = '\0';
    return strcmp(found, expected) == 0;
}

static int upload_open(const struct store_dir *d, const char *bucket, const char *key, const char *upload_id,
                       int *ret_fd, struct err *e)
{
    if (!upload_id_valid(upload_id))
        return no_such_upload(e);
    int fd = openat(d->tmp_fd, upload_id, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? no_such_upload(e) : dir_fail("open of an upload", e);
    if (!upload_is_for(fd, bucket, key)) {
        close(fd);
        return no_such_upload(e);
    }
    *ret_fd = fd;
    return 0;
}

/* ---- the end of an upload ------------------------------------------------------------------------------------------ */

static int remove_files(int upload_fd, struct err *e)
{
    const struct dirent *entry;
    int r = 0;

    if (unlinkat(upload_fd, KEY_FILE, 0) != 0 && errno != ENOENT) /* first, so that no new part begins */
        return dir_fail("delete", e);
    DIR *list = dir_open_list(upload_fd, ".");
    if (list == NULL)
        return errno == ENOENT ? 0 : dir_fail("list", e);
    while (r == 0 && (entry = readdir(list)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (unlinkat(upload_fd, entry->d_name, 0) != 0 && errno != ENOENT)
            r = dir_fail("delete", e);
    }
    closedir(list);
    return r;
}

/* Until the folder itself is gone; then nobody can add anything. */
static int upload_remove(const struct store_dir *d, int upload_fd, const char *upload_id, struct err *e)
{
    for (int tries = 0; tries < ABORT_TRIES; tries++) {
        int r = remove_files(upload_fd, e);
        if (r != 0)
            return r;
        if (unlinkat(d->tmp_fd, upload_id, AT_REMOVEDIR) == 0 || errno == ENOENT)
            return dir_sync(d->tmp_fd, ".", e);
        if (errno != ENOTEMPTY && errno != EEXIST)
            return dir_fail("delete of an upload", e);
    }
    return err_set(e, ERR_TEMPORARY, "parts are added again and again");
}

int dir_multipart_abort(struct store *s, const char *bucket, const char *key, const char *upload_id, struct err *e)
{
    struct store_dir *d = (struct store_dir *)s;

    if (!upload_id_valid(upload_id))
        return 0;
    int fd = openat(d->tmp_fd, upload_id, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : dir_fail("open of an upload", e);
    /* Without a key file somebody else has begun to remove it, and may have died. */
    int r = 0;
    if (upload_is_for(fd, bucket, key) || faccessat(fd, KEY_FILE, F_OK, 0) != 0)
        r = upload_remove(d, fd, upload_id, e);
    close(fd);
    return r;
}

void dir_sweep_temp(struct store_dir *d)
{
    uint64_t now = clock_wall_ms();
    const struct dirent *entry;
    struct store_info info;
    struct stat st;

    DIR *list = dir_open_list(d->tmp_fd, ".");
    while (list != NULL && (entry = readdir(list)) != NULL) {
        if (entry->d_name[0] == '.' || fstatat(d->tmp_fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
            continue;
        dir_info(&st, &info);
        if (info.modified_ms + STALE_MS > now)
            continue;
        int fd = S_ISDIR(st.st_mode) ? openat(d->tmp_fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
        if (fd >= 0) {
            upload_remove(d, fd, entry->d_name, NULL);
            close(fd);
        } else {
            unlinkat(d->tmp_fd, entry->d_name, 0);
        }
    }
    if (list != NULL)
        closedir(list);
}

/* ---- create, put, list --------------------------------------------------------------------------------------------- */

int dir_multipart_create(struct store *s, const char *bucket, const char *key, const char *content_type,
                         char ret_upload_id[STORE_UPLOAD_ID_SIZE], struct err *e)
{
    struct store_dir *d = (struct store_dir *)s;
    char id[DIR_UPLOAD_ID_SIZE], half[ID_NONCE_SIZE], path[DIR_PATH_SIZE], temp[DIR_TEMP_SIZE], etag[STORE_ETAG_SIZE];
    (void)content_type;

    if (faccessat(d->root_fd, bucket, F_OK, 0) != 0)
        return err_set(e, ERR_TEMPORARY, "no such bucket");
    id_nonce(id);
    id_nonce(half);
    memcpy(id + ID_NONCE_SIZE - 1, half, sizeof half);
    dir_path(path, bucket, key);
    struct store_body body = store_body_bytes(&(struct store_bytes){path, strlen(path)});

    if (mkdirat(d->tmp_fd, id, 0755) != 0)
        return dir_fail("new upload", e);
    int fd = openat(d->tmp_fd, id, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return dir_fail("new upload", e);
    int r = dir_write_temp(fd, &body, temp, etag, e);
    if (r == 0 && renameat(fd, temp, fd, KEY_FILE) != 0)
        r = dir_fail("new upload", e);
    if (r == 0)
        r = dir_sync(fd, ".", e);
    if (r == 0)
        r = dir_sync(d->tmp_fd, ".", e);
    if (r != 0)
        upload_remove(d, fd, id, NULL);
    close(fd);
    if (r == 0)
        memcpy(ret_upload_id, id, sizeof id);
    return r;
}

/* Gives a file among the parts its number. */
static int number_part(int upload_fd, const char *temp, unsigned number, struct err *e)
{
    char part[DIR_TEMP_SIZE];

    part_name(number, part);
    if (renameat(upload_fd, temp, upload_fd, part) == 0)
        return dir_sync(upload_fd, ".", e);
    int r = dir_fail("rename of a part", e);
    unlinkat(upload_fd, temp, 0);
    return r;
}

/* Looked at last: an upload that ended meanwhile has lost the part that was being made, or is about to. */
static int close_upload(int upload_fd, const char *bucket, const char *key, int r, struct err *e)
{
    if ((r == 0 || r == -ERR_TEMPORARY) && !upload_is_for(upload_fd, bucket, key))
        r = no_such_upload(e);
    close(upload_fd);
    return r;
}

int dir_multipart_put(struct store *s, const char *bucket, const char *key, const char *upload_id, unsigned number,
                      const struct store_body *body, char ret_etag[STORE_ETAG_SIZE], struct err *e)
{
    char temp[DIR_TEMP_SIZE];
    int fd = -1;

    int r = upload_open((struct store_dir *)s, bucket, key, upload_id, &fd, e);
    if (r != 0)
        return r;
    r = dir_write_temp(fd, body, temp, ret_etag, e);
    if (r == 0)
        r = number_part(fd, temp, number, e);
    return close_upload(fd, bucket, key, r, e);
}

static int copy_temp(int upload_fd, int source_fd, const struct store_range *source, char ret_name[DIR_TEMP_SIZE],
                     char ret_etag[STORE_ETAG_SIZE], struct err *e)
{
    char name[DIR_TEMP_SIZE];
    int fd;

    int r = dir_temp_open(upload_fd, name, &fd, e);
    if (r != 0)
        return r;
    r = dir_copy_range(source_fd, source->first, source->count, fd, e);
    if (r != 0) {
        close(fd);
        unlinkat(upload_fd, name, 0);
        return r;
    }
    r = dir_temp_seal(upload_fd, name, fd, ret_etag, e);
    if (r == 0)
        memcpy(ret_name, name, sizeof name);
    return r;
}

int dir_multipart_copy(struct store *s, const char *bucket, const char *key, const char *upload_id, unsigned number,
                       const struct store_range *source, char ret_etag[STORE_ETAG_SIZE], struct err *e)
{
    struct store_dir *d = (struct store_dir *)s;
    struct store_info info;
    char temp[DIR_TEMP_SIZE];
    int fd = -1, source_fd = -1;

    int r = upload_open(d, bucket, key, upload_id, &fd, e);
    if (r != 0)
        return r;
    r = dir_open_object(d, bucket, source->key, &source_fd, &info, e);
    if (r == 0 && source->first + source->count > info.size_bytes)
        r = err_set(e, ERR_INVALID, "the source ends before the range");
    if (r == 0)
        r = copy_temp(fd, source_fd, source, temp, ret_etag, e);
    if (r == 0)
        r = number_part(fd, temp, number, e);
    if (source_fd >= 0)
        close(source_fd);
    return close_upload(fd, bucket, key, r, e);
}

static int stat_part(int upload_fd, unsigned number, struct store_part *ret)
{
    struct store_info info;
    struct stat st;
    char name[DIR_TEMP_SIZE];

    part_name(number, name);
    if (fstatat(upload_fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return -1;
    dir_info(&st, &info);
    *ret = (struct store_part){.number = number, .size_bytes = info.size_bytes};
    memcpy(ret->etag, info.etag, sizeof info.etag);
    return 0;
}

/* Marks the numbers of the parts that are there. */
static int find_parts(int upload_fd, bool there[STORE_PART_MAX + 1], struct err *e)
{
    const struct dirent *entry;
    uint64_t number;

    DIR *list = dir_open_list(upload_fd, ".");
    if (list == NULL)
        return errno == ENOENT ? no_such_upload(e) : dir_fail("list", e);
    while ((entry = readdir(list)) != NULL)
        if (str_to_u64(entry->d_name, &number) && number > 0 && number <= STORE_PART_MAX)
            there[number] = true;
    closedir(list);
    return 0;
}

int dir_multipart_list(struct store *s, const char *bucket, const char *key, const char *upload_id,
                       store_each_part *each, void *ctx, struct err *e)
{
    struct store_part part;
    int fd = -1;

    MEM_AUTO bool *there = mem_zalloc(STORE_PART_MAX + 1);
    if (there == NULL)
        return err_set(e, ERR_TEMPORARY, "out of memory");
    int r = upload_open((struct store_dir *)s, bucket, key, upload_id, &fd, e);
    if (r != 0)
        return r;
    r = find_parts(fd, there, e);
    for (unsigned i = 1; r == 0 && i <= STORE_PART_MAX; i++)
        if (there[i] && stat_part(fd, i, &part) == 0)
            r = each(ctx, &part, e);
    close(fd);
    return r;
}

int dir_multipart_find(struct store *s, const char *bucket, const char *key, store_each_upload *each, void *ctx,
                       struct err *e)
{
    struct store_dir *d = (struct store_dir *)s;
    const struct dirent *entry;
    int r = 0;

    DIR *list = dir_open_list(d->tmp_fd, ".");
    if (list == NULL)
        return dir_fail("list", e);
    while (r == 0 && (entry = readdir(list)) != NULL) {
        int fd = upload_id_valid(entry->d_name) ? openat(d->tmp_fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
                                                : -1;
        if (fd < 0)
            continue;
        bool found = upload_is_for(fd, bucket, key);
        close(fd);
        if (found)
            r = each(ctx, entry->d_name, e);
    }
    closedir(list);
    return r;
}

/* ---- complete ------------------------------------------------------------------------------------------------------ */

static int check_parts(int upload_fd, const struct store_part *parts, size_t count, struct err *e)
{
    struct store_part there;

    for (size_t i = 0; i < count; i++) {
        if (stat_part(upload_fd, parts[i].number, &there) != 0 || strcmp(there.etag, parts[i].etag) != 0)
            return err_set(e, ERR_INVALID, "part %u is missing or another", parts[i].number);
        if (i + 1 < count && there.size_bytes < STORE_PART_MIN_SIZE)
            return err_set(e, ERR_INVALID, "part %u is smaller than %u bytes and not the last", parts[i].number,
                           STORE_PART_MIN_SIZE);
    }
    return 0;
}

static int append_part(int upload_fd, unsigned number, int out, struct err *e)
{
    char name[DIR_TEMP_SIZE];
    struct stat st;

    part_name(number, name);
    int in = openat(upload_fd, name, O_RDONLY | O_CLOEXEC);
    if (in < 0)
        return dir_fail("open of a part", e);
    int r = fstat(in, &st) == 0 ? 0 : dir_fail("stat of a part", e);
    if (r == 0)
        r = dir_copy_range(in, 0, (uint64_t)st.st_size, out, e);
    close(in);
    return r;
}

static int join_parts(int upload_fd, const struct store_part *parts, size_t count, char ret_name[DIR_TEMP_SIZE],
                      struct err *e)
{
    char name[DIR_TEMP_SIZE], etag[STORE_ETAG_SIZE];
    int fd, r;

    if ((r = dir_temp_open(upload_fd, name, &fd, e)) != 0)
        return r;
    for (size_t i = 0; r == 0 && i < count; i++)
        r = append_part(upload_fd, parts[i].number, fd, e);
    if (r != 0) {
        close(fd);
        unlinkat(upload_fd, name, 0);
        return r;
    }
    r = dir_temp_seal(upload_fd, name, fd, etag, e);
    if (r == 0)
        memcpy(ret_name, name, sizeof name);
    return r;
}

/* A single part is the object already: it gets a second name instead of a copy. */
static int name_part(int upload_fd, unsigned number, char ret_name[DIR_TEMP_SIZE], struct err *e)
{
    char part[DIR_TEMP_SIZE], name[DIR_TEMP_SIZE], nonce[ID_NONCE_SIZE];

    part_name(number, part);
    id_nonce(nonce);
    str_format(name, sizeof name, "t-%s", nonce);
    if (linkat(upload_fd, part, upload_fd, name, 0) != 0)
        return dir_fail("link of a part", e);
    memcpy(ret_name, name, sizeof name);
    return 0;
}

/* The whole file stands among the parts until it is the object, so that whatever a crash leaves goes with them. */
static int publish_parts(struct store_dir *d, int upload_fd, const char *bucket, const char *key,
                         const struct store_part *parts, size_t count, bool if_none_match, struct err *e)
{
    char name[DIR_TEMP_SIZE];

    int r = check_parts(upload_fd, parts, count, e);
    if (r != 0)
        return r;
    r = count == 1 ? name_part(upload_fd, parts[0].number, name, e) : join_parts(upload_fd, parts, count, name, e);
    if (r != 0)
        return r;
    r = dir_publish(d, upload_fd, name, bucket, key, if_none_match, e);
    if (r != 0)
        unlinkat(upload_fd, name, 0);
    return r;
}

/* Known before gigabytes are copied: ERR_CONFLICT when the object exists. */
static int check_absent(const struct store_dir *d, const char *bucket, const char *key, struct err *e)
{
    char path[DIR_PATH_SIZE];
    struct stat st;

    dir_path(path, bucket, key);
    if (fstatat(d->root_fd, path, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode))
        return 0;
    int r = dir_sync_folders(d, path, e);
    return r != 0 ? r : err_set(e, ERR_CONFLICT, "the object exists");
}

int dir_multipart_complete(struct store *s, const char *bucket, const char *key, const char *upload_id,
                           const struct store_part *parts, size_t count, bool if_none_match, struct err *e)
{
    struct store_dir *d = (struct store_dir *)s;
    int fd = -1;

    int r = upload_open(d, bucket, key, upload_id, &fd, e);
    if (r != 0)
        return r;
    if (if_none_match)
        r = check_absent(d, bucket, key, e);
    if (r == 0)
        r = publish_parts(d, fd, bucket, key, parts, count, if_none_match, e);
    if (r == 0)
        upload_remove(d, fd, upload_id, NULL); /* what it can't remove now is removed by the sweep */
    else if (r != -ERR_CONFLICT && !upload_is_for(fd, bucket, key))
        r = no_such_upload(e); /* another one completed or aborted it under our feet */
    close(fd);
    return r;
}
