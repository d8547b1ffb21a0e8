#ifndef WEIR_TRANSCODE_SOURCE_H
#define WEIR_TRANSCODE_SOURCE_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The bytes of the uploaded file: from the worker over the socket pair of wire.h, or from a local file for use by hand.
 * One thread at a time. */

struct source {
    int fd;
    bool is_socket;
    uint64_t size;     /* bytes */
    bool failed;       /* a read failed: the file is not to blame for what follows */
    struct err reason; /* then: why */
};

int source_open_file(struct source *s, const char *path, struct err *e) __attribute__((warn_unused_result));
int source_open_socket(struct source *s, int fd, struct err *e) __attribute__((warn_unused_result));
void source_close(struct source *s);

/* Reads at most `len` bytes at `offset`: *ret of them, 0 at the end. ERR_TEMPORARY, remembered in `failed`. */
int source_read(struct source *s, uint64_t offset, void *data, size_t len, size_t *ret)
    __attribute__((warn_unused_result));

#endif
