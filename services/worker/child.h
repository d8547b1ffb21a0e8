#ifndef WEIR_CHILD_H
#define WEIR_CHILD_H

#include "assets.h"
#include "base/log.h"
#include "control.h"
#include "proto/config.h"

#include <stdbool.h>
#include <stdint.h>

/* Runs weir-transcode on one source and watches it: progress into the control, files into the assets, its words into the
 * log. While the assets have no room its progress is not read, which holds it up. */

struct child_options {
    const char *program;
    const char *dir;                 /* it writes here */
    int source_fd;                   /* its end of the source's socket pair */
    const struct settings *settings; /* what becomes its command line; TRANSCODE_STALL_MS */
    struct assets *assets;
    struct control *control;
    const struct log_ids *ids;
};

/* Returns when the child has ended; it is killed when the job must stop, when it makes no progress, when an upload
 * failed. 0: done, and the result is among the assets. *ret_permanent: the failure is the input's, e->text is the
 * sentence for the uploader. */
int child_run(const struct child_options *options, bool *ret_permanent, struct err *e)
    __attribute__((warn_unused_result));

#endif
