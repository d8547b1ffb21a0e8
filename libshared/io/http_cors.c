#include "http_internal.h"

#include "base/mem.h"

#include <string.h>
#include <strings.h>

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

/* "http://host:port" of the page, and the host that it asks. */
static bool is_own_origin(const char *origin, const char *host)
{
    const char *authority = strstr(origin, "://");

    return authority != NULL && host != NULL && strcasecmp(authority + 3, host) == 0;
}

bool http_cors_admits(const struct http_request *rq)
{
    static const char *const harmless[] = {"GET", "HEAD", "OPTIONS"};
    const char *list = rq->server->options.cors_origins, *origin = http_header(rq, "Origin");
    const char *site = http_header(rq, "Sec-Fetch-Site");

    for (size_t i = 0; i < ARRAY_SIZE(harmless); i++)
        if (strcmp(rq->message.method, harmless[i]) == 0)
            return true;
    if (site != NULL ? strcmp(site, "same-origin") == 0 || strcmp(site, "none") == 0
                     : origin == NULL || is_own_origin(origin, http_header(rq, "Host")))
        return true;
    return rq->cors && list != NULL && http_origin_match(list, origin) != HTTP_ORIGIN_NONE;
}
