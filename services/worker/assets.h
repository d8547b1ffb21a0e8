#ifndef WEIR_ASSETS_H
#define WEIR_ASSETS_H

#include "base/log.h"
#include "control.h"
#include "io/store.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Brings the files of one attempt from the scratch directory into its version in the processed bucket: segments and
 * images as they close, by a few threads; media playlists after them; the master playlist last. A file is removed once it
 * is uploaded. Failures of the store are tried again for patience_ms. */

struct assets;

struct assets_options {
    struct store *store;
    const char *bucket, *video_id, *version; /* must outlive the assets */
    int dir_fd;                              /* the scratch directory */
    uint64_t patience_ms;
    struct control *control; /* nudged when room is made and when an upload fails for good */
};

int assets_start(const struct assets_options *options, struct assets **ret, struct err *e)
    __attribute__((warn_unused_result));

/* The child says that the file is complete. Its name is the child's word: ERR_INVALID for one that Weir does not write,
 * for one given twice, for one that is no regular file. */
int assets_add(struct assets *a, const char *path, struct err *e) __attribute__((warn_unused_result));

/* False while so much waits to be uploaded that the child should be held up. */
bool assets_room(struct assets *a);
/* 0, or why an upload failed for good. */
int assets_check(struct assets *a, struct err *e) __attribute__((warn_unused_result));

/* After the last assets_add: waits for the segments, uploads the playlists. */
int assets_finish(struct assets *a, struct err *e) __attribute__((warn_unused_result));
/* After assets_finish: what was uploaded stands in the store with the right size, every URI of every playlist names a
 * file of it, and there is a master playlist. ERR_TEMPORARY naming what is missing. */
int assets_verify(struct assets *a, struct err *e) __attribute__((warn_unused_result));

/* The child's result.json, NUL-terminated, owned by `a`; NULL before it was added. */
const char *assets_result(struct assets *a);
uint64_t assets_bytes(struct assets *a); /* uploaded */
size_t assets_count(struct assets *a);   /* uploaded or being uploaded: 0 when nothing can stand in the store */

/* Ends the uploads (those in flight are waited for), frees. NULL is fine. */
void assets_free(struct assets *a);

#endif
