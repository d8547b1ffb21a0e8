#ifndef WEIR_SCRATCH_H
#define WEIR_SCRATCH_H

#include "base/err.h"

#include <limits.h>

/* The directories that children write into: <root>/<job id>-<nonce>, one per attempt, removed whatever happens. Each is
 * held by a lock (flock on the directory itself) that ends with its worker, however that ends; so whoever starts can tell
 * what dead workers of this host left from what belongs to a live neighbour. Thread-safe. */

struct scratch {
    int fd; /* the directory, locked */
    char path[PATH_MAX];
};

/* Makes the root (mode 0700; it must be ours) and removes what dead workers left in it. Names that are not of the form
 * above are never touched. ERR_INVALID: the root can't be used. */
int scratch_prepare(const char *root, struct err *e) __attribute__((warn_unused_result));

int scratch_make(const char *root, const char *job_id, const char *nonce, struct scratch *ret, struct err *e)
    __attribute__((warn_unused_result));
void scratch_remove(struct scratch *s);

#endif
