#include "http_internal.h"

#include <string.h>

static bool is_preflight(const struct http_request *rq)
{
    return strcmp(rq->message.method, "OPTIONS") == 0 && http_header(rq, "Access-Control-Request-Method") != NULL;
}

void http_cors_fields(struct http_request *rq,
                      void (*put)(struct http_request *rq, const char *name, const char *value))
{
    const struct http_server_options *o = &rq->server->options;
    const char *origin = http_header(rq, "Origin");

    if (!rq->cors || o->cors_origins == NULL)
        return;
    if (strcmp(o->cors_origins, "*") != 0) /* which says the same to everybody, so caches may keep one answer for all */
        put(rq, "Vary", "Origin");

    enum http_origin match = http_origin_match(o->cors_origins, origin);
    if (match == HTTP_ORIGIN_NONE)
        return;
    put(rq, "Access-Control-Allow-Origin", match == HTTP_ORIGIN_NAMED ? origin : "*");
    put(rq, "Access-Control-Allow-Credentials", match == HTTP_ORIGIN_NAMED ? "true" : NULL);
    if (is_preflight(rq)) {
        put(rq, "Access-Control-Allow-Methods", o->cors_methods);
        put(rq, "Access-Control-Allow-Headers", o->cors_headers);
        put(rq, "Access-Control-Max-Age", "86400");
    } else {
        put(rq, "Access-Control-Expose-Headers", o->cors_expose);
    }
}
