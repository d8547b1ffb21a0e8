#ifndef WEIR_SOURCE_H
#define WEIR_SOURCE_H

#include "control.h"
#include "io/store.h"

#include <stdint.h>

/* Serves the bytes of one source object to the child (wire.h), from ranged GETs of whole windows with read-ahead, so that
 * the source is never on disk and a seek costs one request. Memory: at most `cache_bytes`. A failure of the store is tried
 * again here; the child hears of it only when the patience is over. */

struct source;

struct source_options {
    struct store *store;
    const char *bucket, *key;
    uint64_t cache_bytes;    /* SOURCE_CACHE */
    uint64_t patience_ms;    /* how long a window may fail */
    struct control *control; /* of the job; a stop ends all waiting */
};

/* Looks for the object's size, makes the socket pair, starts to serve. *ret_child_fd is the child's end: the caller closes
 * it once the child has it. ERR_NOT_FOUND: no such source. */
int source_start(const struct source_options *options, struct source **ret, int *ret_child_fd, struct err *e)
    __attribute__((warn_unused_result));

/* 0, or the failure that ended the serving: the store's own words, not the child's. */
int source_check(struct source *s, struct err *e) __attribute__((warn_unused_result));

uint64_t source_size(const struct source *s);
uint64_t source_fetched(struct source *s); /* bytes read from the store */

/* Ends the serving, waits for the threads, frees. NULL is fine. */
void source_free(struct source *s);

#endif
