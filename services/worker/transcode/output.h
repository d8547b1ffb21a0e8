#ifndef WEIR_TRANSCODE_OUTPUT_H
#define WEIR_TRANSCODE_OUTPUT_H

#include "base/err.h"

#include <stddef.h>

/* Small files of the output directory, written in one go and then announced. */

int output_open(const char *path, int *ret_fd, struct err *e) __attribute__((warn_unused_result));
int output_write(int output_fd, const char *path, const void *data, size_t len, struct err *e)
    __attribute__((warn_unused_result));

#endif
