/* GET / and /web/{rest...}: the upload page, which is built in. */

#include "api.h"
#include "base/embed.h"
#include "base/str.h"
#include "domain/layout.h"
#include "proto/etag.h"
#include "proto/http_request.h"

#include <string.h>

extern const struct embedded_file page_files[]; /* by scripts/embed-files; "upload.js.gz" is "upload.js" compressed */

static const struct embedded_file *find(const char *name, const char *suffix)
{
    size_t len = strlen(name);

    for (const struct embedded_file *file = page_files; file->name != NULL; file++)
        if (strncmp(file->name, name, len) == 0 && strcmp(file->name + len, suffix) == 0)
            return file;
    return NULL;
}

static int serve_file(struct http_request *rq, const char *name, const char *policy, struct err *e)
{
    const struct embedded_file *file = find(name, ""), *gzip = NULL;
    char etag[64];

    if (file == NULL)
        return err_set(e, ERR_NOT_FOUND, "there is no such file");
    if (http_accepts_encoding(http_header(rq, "Accept-Encoding"), "gzip"))
        gzip = find(name, ".gz");
    if (gzip != NULL)
        file = gzip;
    str_format(etag, sizeof etag, "\"%s\"", file->tag);
    const struct http_field fields[] = {
        {"ETag", etag},
        {"Cache-Control", "no-cache"},
        {"Vary", "Accept-Encoding"},
        {"Content-Encoding", gzip != NULL ? "gzip" : NULL},
        {"Content-Security-Policy", policy},
        {0},
    };
    if (etag_listed(http_header(rq, "If-None-Match"), etag))
        http_respond(rq, 304, fields, NULL, NULL, 0);
    else
        http_respond(rq, 200, fields, layout_content_type(name), file->data, file->size);
    return 0;
}

int api_get_page(struct http_request *rq, void *ctx, struct err *e)
{
    const struct api *api = ctx;
    const char *play = api->settings->public_play_url; /* "http(s)://host[:port][/path]": it has the posters */
    size_t scheme = strcspn(play, ":") + strlen("://");
    char policy[512];

    if (!str_format(policy, sizeof policy,
                    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
                    "img-src 'self' data: %.*s; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
                    (int)(scheme + strcspn(play + scheme, "/")), play))
        return err_set(e, ERR_BUG, "PUBLIC_PLAY_URL does not fit into the policy of the page");
    return serve_file(rq, "upload.html", policy, e);
}

int api_get_web(struct http_request *rq, void *ctx, struct err *e)
{
    (void)ctx;
    return serve_file(rq, http_path_param(rq, "rest"), NULL, e);
}
