#ifndef WEIR_PLAY_CACHE_H
#define WEIR_PLAY_CACHE_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

/* A bounded in-memory cache of immutable bytes, least recently used out first, with one load per key however many ask at
 * once: the first caller loads, the others wait and share the result, failure included. What is cached, being loaded and
 * still held by slow readers never exceeds the bound together. Thread-safe. */

struct cache;
struct cache_entry; /* pinned by whoever holds it; its bytes never change */

#define CACHE_SMALL (64u << 10) /* an eighth of max_bytes is kept free for objects up to this size */

struct cache_options {
    size_t max_bytes;        /* of all entries, pinned ones too: what finds no room is ERR_BUSY */
    size_t max_object_bytes; /* a larger object is ERR_TOO_LARGE, and that is remembered */
    size_t max_entries;
};

int cache_new(const struct cache_options *options, struct cache **ret, struct err *e)
    __attribute__((warn_unused_result));
void cache_free(struct cache *c); /* NULL is fine; nothing may be pinned */

/* Brings the bytes of an entry: takes room for them once, as soon as it knows how many they are, and fills all of it.
 * Runs without any lock of the cache; may ask for other keys. */
typedef int cache_load(void *ctx, struct cache_entry *entry, struct err *e);
int cache_room(struct cache_entry *entry, uint64_t size, char **ret, struct err *e) __attribute__((warn_unused_result));

/* The bytes of `key`, loaded when they are not there. cache_put_back returns what was got. */
int cache_get(struct cache *c, const char *key, cache_load *load, void *ctx, struct cache_entry **ret, struct err *e)
    __attribute__((warn_unused_result));
void cache_put_back(struct cache_entry *entry);

const char *cache_data(const struct cache_entry *entry);
size_t cache_size(const struct cache_entry *entry);

#endif
