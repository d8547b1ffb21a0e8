#ifndef WEIR_TRANSCODE_SANDBOX_H
#define WEIR_TRANSCODE_SANDBOX_H

#include "base/err.h"

#include <stdint.h>

/* What stays possible for this process while it reads a file that somebody sent: compute, read the source that is
 * already open, write below one directory. Layers: no_new_privs, an empty network namespace, Landlock, resource limits,
 * a seccomp allow-list. */

enum sandbox_mode { SANDBOX_AUTO, SANDBOX_REQUIRED, SANDBOX_OFF };

/* Call while there is one thread and before the first byte of the source is looked at. `output_fd` is the directory
 * that may be written. A layer that the host does not offer is named in one log line; with SANDBOX_REQUIRED that is
 * ERR_TEMPORARY (another host may have it). */
int sandbox_enter(enum sandbox_mode mode, int output_fd, uint64_t max_duration_s, uint64_t max_pixels, struct err *e)
    __attribute__((warn_unused_result));

#endif
