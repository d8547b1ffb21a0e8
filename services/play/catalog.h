#ifndef WEIR_PLAY_CATALOG_H
#define WEIR_PLAY_CATALOG_H

#include "base/err.h"
#include "domain/layout.h"
#include "io/store.h"

#include <stddef.h>

/* What exists to be played: reads outcomes and deletion markers from the store and trusts a look for CATALOG_FRESH_MS,
 * so a deleted video is gone, and a new one there, within that. One look per video at a time, however many ask.
 * Thread-safe. */

#define CATALOG_FRESH_MS 3000
#define CATALOG_ABSENT_MS 1000 /* an answer "not there" is trusted for less */
#define CATALOG_FAILED_MS 500  /* a store that failed is left alone for so long */

struct catalog;

struct catalog_options {
    struct store *store; /* borrowed */
    const char *raw_bucket, *processed_bucket;
    size_t max_entries;
};

int catalog_new(const struct catalog_options *options, struct catalog **ret, struct err *e)
    __attribute__((warn_unused_result));
void catalog_free(struct catalog *c); /* NULL is fine; no call may be running */

/* The version that the newest published outcome of the video names. ERR_NOT_FOUND: no such video, deleted, or nothing of
 * it is published. */
int catalog_newest(struct catalog *c, const char *video_id, char ret_version[LAYOUT_VERSION_SIZE], struct err *e)
    __attribute__((warn_unused_result));

/* 0 when the outcome of that version's generation names it and the video is not deleted, else ERR_NOT_FOUND: an older
 * version that players may still be reading is served as long as it stands. */
int catalog_check(struct catalog *c, const char *video_id, const char *version, struct err *e)
    __attribute__((warn_unused_result));

#endif
