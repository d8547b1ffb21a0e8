#include "scratch.h"

#include "base/id.h"
#include "base/log.h"
#include "base/str.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_DEPTH 6 /* a child makes two levels */

static int system_error(enum err_kind kind, const char *path, int error, struct err *e)
{
    char text[128];

    return err_set(e, kind, "scratch directory %s: %s", path, strerror_r(error, text, sizeof text));
}

/* Empties the directory `fd` (which it closes). Symbolic links are removed, not followed. */
static void empty(int fd, int depth)
{
    DIR *dir = fdopendir(fd);

    if (dir == NULL) {
        close(fd);
        return;
    }
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (unlinkat(fd, entry->d_name, 0) == 0 || depth == 0)
            continue;
        int inner = openat(fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (inner >= 0)
            empty(inner, depth - 1);
        (void)unlinkat(fd, entry->d_name, AT_REMOVEDIR); /* what stays is seen when the parent is removed */
    }
    closedir(dir);
}

static void remove_tree(int root_fd, const char *name)
{
    char text[128];
    int fd = openat(root_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    if (fd >= 0)
        empty(fd, MAX_DEPTH);
    if (unlinkat(root_fd, name, AT_REMOVEDIR) != 0 && errno != ENOENT)
        log_warn(NULL, "scratch directory not removed", "name", name, "error", strerror_r(errno, text, sizeof text));
}

static bool is_ours(const char *name)
{
    char job_id[ID_JOB_SIZE], video_id[ID_VIDEO_SIZE], nonce[(ID_NONCE_SIZE - 1) / 2];
    const char *dash = strrchr(name, '-');
    uint64_t generation;

    return dash != NULL && str_format(job_id, sizeof job_id, "%.*s", (int)(dash - name), name) &&
           id_job_parse(job_id, video_id, &generation) && hex_decode(dash + 1, nonce, sizeof nonce);
}

static bool is_held(int root_fd, const char *name)
{
    int fd = openat(root_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    if (fd < 0)
        return errno != ENOENT && errno != ENOTDIR;
    bool held = flock(fd, LOCK_EX | LOCK_NB) != 0;
    close(fd);
    return held;
}

static void sweep(int root_fd)
{
    int fd = openat(root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);

    if (dir == NULL) {
        if (fd >= 0)
            close(fd);
        return;
    }
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (!is_ours(entry->d_name) || is_held(root_fd, entry->d_name))
            continue;
        log_info(NULL, "removing what a dead worker left", "directory", entry->d_name);
        remove_tree(root_fd, entry->d_name);
    }
    closedir(dir);
}

static bool make_parents(const char *path)
{
    char prefix[PATH_MAX];

    for (const char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        if (!str_format(prefix, sizeof prefix, "%.*s", (int)(slash - path), path))
            return false;
        if (mkdir(prefix, 0755) != 0 && errno != EEXIST)
            return false;
    }
    return true;
}

/* The root, locked while directories are made in it or looked at: one that is made but not yet locked looks dead. */
static int open_root(const char *root, enum err_kind kind, int *ret_fd, struct err *e)
{
    struct stat st;

    int fd = open(root, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return system_error(kind, root, errno, e);
    int error = 0;
    if (fstat(fd, &st) != 0 || flock(fd, LOCK_EX) != 0)
        error = errno;
    else if (st.st_uid != geteuid())
        error = EPERM;
    if (error != 0) {
        close(fd);
        return system_error(kind, root, error, e);
    }
    *ret_fd = fd;
    return 0;
}

int scratch_prepare(const char *root, struct err *e)
{
    int fd;

    if (root[0] != '/')
        return err_set(e, ERR_INVALID, "scratch directory %s: must be an absolute path", root);
    if (!make_parents(root) || (mkdir(root, 0700) != 0 && errno != EEXIST))
        return system_error(ERR_INVALID, root, errno, e);
    int r = open_root(root, ERR_INVALID, &fd, e);
    if (r != 0)
        return r;
    if (access(root, W_OK | X_OK) != 0)
        r = system_error(ERR_INVALID, root, errno, e);
    else
        sweep(fd);
    close(fd);
    return r;
}

int scratch_make(const char *root, const char *job_id, const char *nonce, struct scratch *ret, struct err *e)
{
    struct scratch s;
    int root_fd;

    if (!str_format(s.path, sizeof s.path, "%s/%s-%s", root, job_id, nonce))
        return err_set(e, ERR_TEMPORARY, "scratch directory %s: the path is too long", root);
    int r = open_root(root, ERR_TEMPORARY, &root_fd, e);
    if (r != 0)
        return r;
    if (mkdir(s.path, 0700) != 0) {
        r = system_error(ERR_TEMPORARY, s.path, errno, e);
        close(root_fd);
        return r;
    }
    s.fd = open(s.path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (s.fd < 0 || flock(s.fd, LOCK_EX | LOCK_NB) != 0) {
        r = system_error(ERR_TEMPORARY, s.path, errno, e);
        if (s.fd >= 0)
            close(s.fd);
        rmdir(s.path);
        close(root_fd);
        return r;
    }
    close(root_fd);
    *ret = s;
    return 0;
}

void scratch_remove(struct scratch *s)
{
    char root[PATH_MAX];
    const char *slash = strrchr(s->path, '/');

    str_format(root, sizeof root, "%.*s", (int)(slash - s->path), s->path);
    int root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root_fd >= 0) {
        remove_tree(root_fd, slash + 1);
        close(root_fd);
    }
    close(s->fd);
}
