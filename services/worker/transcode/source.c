#include "source.h"

#include "../wire.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int source_open_file(struct source *s, const char *path, struct err *e)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return err_set(e, ERR_TEMPORARY, "open %s: %s", path, strerror(errno));
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return err_set(e, ERR_TEMPORARY, "%s is no regular file", path);
    }
    *s = (struct source){.fd = fd, .size = (uint64_t)st.st_size};
    return 0;
}

void source_close(struct source *s)
{
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
}

static int read_all(int fd, void *data, size_t len, struct err *e)
{
    char *p = data;

    while (len > 0) {
        ssize_t n = read(fd, p, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set(e, ERR_TEMPORARY, "reading from the worker: %s", strerror(errno));
        if (n == 0)
            return err_set(e, ERR_TEMPORARY, "the worker closed the source");
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

static int write_all(int fd, const void *data, size_t len, struct err *e)
{
    const char *p = data;

    while (len > 0) {
        ssize_t n = write(fd, p, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set(e, ERR_TEMPORARY, "asking the worker: %s", strerror(errno));
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

/* One request and its answer; `len` 0 asks for the size. */
static int ask(int fd, uint64_t offset, void *data, uint32_t len, struct wire_answer *ret, struct err *e)
{
    const struct wire_request request = {.offset = offset, .length = len};
    struct wire_answer answer;

    int r = write_all(fd, &request, sizeof request, e);
    if (r == 0)
        r = read_all(fd, &answer, sizeof answer, e);
    if (r != 0)
        return r;
    if (answer.status != WIRE_OK)
        return err_set(e, ERR_TEMPORARY, "the worker could not read the source");
    if (answer.length > len)
        return err_set(e, ERR_BUG, "the worker answered more than was asked for");
    r = read_all(fd, data, answer.length, e);
    if (r == 0)
        *ret = answer;
    return r;
}

int source_open_socket(struct source *s, int fd, struct err *e)
{
    struct wire_answer answer;

    int r = ask(fd, 0, NULL, 0, &answer, e);
    if (r != 0)
        return r;
    *s = (struct source){.fd = fd, .is_socket = true, .size = answer.size};
    return 0;
}

static int read_socket(struct source *s, uint64_t offset, void *data, size_t len, size_t *ret)
{
    struct wire_answer answer;

    int r = ask(s->fd, offset, data, len < WIRE_MAX_READ ? (uint32_t)len : WIRE_MAX_READ, &answer, &s->reason);
    if (r == 0)
        *ret = answer.length;
    return r;
}

static int read_file(struct source *s, uint64_t offset, void *data, size_t len, size_t *ret)
{
    ssize_t n;

    do
        n = pread(s->fd, data, len, (off_t)offset);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return err_set(&s->reason, ERR_TEMPORARY, "reading the source: %s", strerror(errno));
    *ret = (size_t)n;
    return 0;
}

int source_read(struct source *s, uint64_t offset, void *data, size_t len, size_t *ret)
{
    if (offset >= s->size || len == 0) {
        *ret = 0;
        return 0;
    }
    int r = s->is_socket ? read_socket(s, offset, data, len, ret) : read_file(s, offset, data, len, ret);
    if (r != 0)
        s->failed = true;
    return r;
}
