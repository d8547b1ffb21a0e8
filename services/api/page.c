/* GET / and /web/{rest...}: the upload page, which is built in. */

#include "api.h"
#include "base/embed.h"
#include "base/str.h"
#include "domain/layout.h"
#include "proto/etag.h"
#include "proto/http_request.h"

#include <string.h>

#define POLICY_SIZE 512

extern const struct embedded_file page_files[]; /* by scripts/embed-files; "upload.js.gz" is "upload.js" compressed */

static const struct embedded_file *find(const char *name, const char *suffix)
{
    size_t len = strlen(name);

    for (const struct embedded_file *file = page_files; file->name != NULL; file++)
        if (strncmp(file->name, name, len) == 0 && strcmp(file->name + len, suffix) == 0)
            return file;
    return NULL;
}

/* Of all files: the page can be had as one of them, too. */
static int write_policy(const struct api *api, char out[POLICY_SIZE], struct err *e)
{
    const char *play = api->settings->public_play_url; /* "http(s)://host[:port][/path]": it has the posters */
    size_t scheme = strcspn(play, ":") + strlen("://");

    if (!str_format(out, POLICY_SIZE,
                    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
                    "img-src 'self' data: %.*s; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
                    (int)(scheme + strcspn(play + scheme, "/")), play))
        return err_set(e, ERR_BUG, "PUBLIC_PLAY_URL does not fit into the policy of the page");
    return 0;
}

static int serve_file(struct http_request *rq, const struct api *api, const char *name, struct err *e)
{
    const struct embedded_file *file = find(name, ""), *gzip = NULL;
    char etag[64], policy[POLICY_SIZE];

    if (file == NULL)
        return err_set(e, ERR_NOT_FOUND, "there is no such file; the upload page is at /");
    int r = write_policy(api, policy, e);
    if (r != 0)
        return r;
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
    return serve_file(rq, ctx, "upload.html", e);
}

int api_get_web(struct http_request *rq, void *ctx, struct err *e)
{
    return serve_file(rq, ctx, http_path_param(rq, "rest"), e);
}
