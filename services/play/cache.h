#ifndef WEIR_PLAY_CACHE_H
#define WEIR_PLAY_CACHE_H

#include "base/buf.h"
#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

/* A bounded in-memory cache of immutable bytes, least recently used out first, with one load per key however many ask at
 * once: the first caller loads, the others wait and share the result, failure included. Thread-safe. */

struct cache;
struct cache_entry; /* pinned by whoever holds it; its bytes never change */

struct cache_options {
    size_t max_bytes;        /* of all entries, pinned ones too: what does not fit is ERR_TOO_LARGE */
    size_t max_object_bytes; /* a larger object is ERR_TOO_LARGE, and that is remembered */
    size_t max_entries;
};

int cache_new(const struct cache_options *options, struct cache **ret, struct err *e) __attribute__((warn_unused_result));
void cache_free(struct cache *c); /* NULL is fine; nothing may be pinned */

/* Fills `out`, whose maximum is max_object_bytes. Runs without any lock of the cache; may ask for other keys. */
typedef int cache_load(void *ctx, struct buf *out, struct err *e);

/* The bytes of `key`, loaded when they are not there. cache_put_back returns what was got. */
int cache_get(struct cache *c, const char *key, cache_load *load, void *ctx, struct cache_entry **ret, struct err *e)
    __attribute__((warn_unused_result));
void cache_put_back(struct cache *c, struct cache_entry *entry);

const void *cache_data(const struct cache_entry *entry);
size_t cache_size(const struct cache_entry *entry);

#endif
