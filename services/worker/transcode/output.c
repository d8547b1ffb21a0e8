#include "output.h"

#include "report.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

int output_open(const char *path, int *ret_fd, struct err *e)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return err_set(e, ERR_TEMPORARY, "open output directory %s: %s", path, strerror(errno));
    *ret_fd = fd;
    return 0;
}

int output_write(int output_fd, const char *path, const void *data, size_t len, struct err *e)
{
    const char *p = data;
    int fd = openat(output_fd, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    if (fd < 0)
        return err_set(e, ERR_TEMPORARY, "create %s: %s", path, strerror(errno));
    while (len > 0) {
        ssize_t n = write(fd, p, len);
        if (n < 0 && errno != EINTR) {
            int why = errno;
            close(fd);
            return err_set(e, ERR_TEMPORARY, "write %s: %s", path, strerror(why));
        }
        if (n > 0) {
            p += n;
            len -= (size_t)n;
        }
    }
    if (close(fd) != 0)
        return err_set(e, ERR_TEMPORARY, "write %s: %s", path, strerror(errno));
    report_file(path);
    return 0;
}
