#ifndef WEIR_PLAY_SERVE_H
#define WEIR_PLAY_SERVE_H

#include "base/embed.h"
#include "base/err.h"
#include "cache.h"
#include "catalog.h"
#include "io/http_server.h"
#include "io/store.h"

#include <stdbool.h>

/* Answers with bytes: objects of the processed bucket through the memory cache, and the files of the player page. Does
 * what HTTP asks for around them: conditions, ranges, HEAD, compression, cache headers. Thread-safe. */

struct serve {
    struct store *store;
    struct cache *cache;
    const char *bucket;
};

/* One thing that can be asked for. Its ETag is made from `tag`, which changes whenever its bytes do. */
struct resource {
    const char *key; /* of the object */
    const char *content_type;
    const char *cache_control;
    const char *tag;    /* the version: its objects never change */
    const char *prefix; /* NULL, or put before every URI of this playlist ("<version>/") */
    bool text;          /* compressed for clients that take gzip */
};

/* ERR_NOT_FOUND when the object is not there. */
int serve_resource(const struct serve *s, struct http_request *rq, const struct resource *resource, struct err *e)
    __attribute__((warn_unused_result));

/* A file that was built in. */
int serve_embedded(const struct serve *s, struct http_request *rq, const struct embedded_file *file, const char *tag,
                   const char *cache_control, struct err *e) __attribute__((warn_unused_result));

#endif
