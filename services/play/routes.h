#ifndef WEIR_PLAY_ROUTES_H
#define WEIR_PLAY_ROUTES_H

#include "catalog.h"
#include "domain/queue.h"
#include "domain/ready.h"
#include "io/http_server.h"
#include "proto/config.h"
#include "serve.h"

/* Everything a request of the play service needs; the routes' context. */
struct play {
    const struct settings *settings;
    struct store *store;
    struct queue *queue;
    struct catalog *catalog;
    struct ready *ready;
    struct serve serve;
    char build_tag[32]; /* ETag of the built-in pages: changes with the build */
};

extern const struct http_route play_routes[];
extern const struct embedded_file web_files[]; /* the player page, by scripts/embed-files */

#endif
