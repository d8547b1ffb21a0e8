#include "api.h"
#include "base/embed.h"
#include "proto/tus.h"

extern const struct embedded_file api_files[]; /* openapi.json, by scripts/embed-files */

static int get_readyz(struct http_request *rq, void *ctx, struct err *e)
{
    const struct api *api = ctx;

    if (!atomic_load(&api->started) && ready_now(api->ready)) { /* both answer: buckets and the probe come next */
        http_problem(rq, 503, "starting", NULL, "Weir is looking at its store and its Redis. Ask again in a moment.");
        return 0;
    }
    return ready_respond(api->ready, rq, e);
}

static int get_openapi(struct http_request *rq, void *ctx, struct err *e)
{
    (void)ctx;
    (void)e;
    http_respond(rq, 200, NULL, "application/json", api_files[0].data, api_files[0].size);
    return 0;
}

/* What clients of tus expect in every answer, also where no handler gives it. */
#define TUS_MARK .mark = {"Tus-Resumable", TUS_VERSION}

const struct http_route api_routes[] = {
    {.method = "GET", .path = "/", .handler = api_get_page},
    {.method = "GET", .path = "/web/{rest...}", .handler = api_get_web},
    {.method = "POST", .path = "/api/v1/upload", .handler = api_upload_form, .body = true, .cors = true},
    {.method = "OPTIONS", .path = "/api/v1/uploads", .handler = api_upload_options, .cors = true},
    {.method = "POST", .path = "/api/v1/uploads", .handler = api_create_upload, .body = true, .cors = true, TUS_MARK},
    {.method = "OPTIONS", .path = "/api/v1/uploads/{upload}", .handler = api_upload_options, .cors = true},
    {.method = "HEAD",
     .path = "/api/v1/uploads/{upload}",
     .handler = api_head_upload,
     .cors = true,
     .busy = 423,
     TUS_MARK},
    {.method = "GET", .path = "/api/v1/uploads/{upload}", .handler = api_get_upload, .cors = true, TUS_MARK},
    {.method = "PATCH",
     .path = "/api/v1/uploads/{upload}",
     .handler = api_patch_upload,
     .body = true,
     .cors = true,
     TUS_MARK},
    {.method = "DELETE", .path = "/api/v1/uploads/{upload}", .handler = api_delete_upload, .cors = true, TUS_MARK},
    {.method = "GET", .path = "/api/v1/videos", .handler = api_list_videos, .cors = true},
    {.method = "GET", .path = "/api/v1/videos/{id}", .handler = api_get_video},
    {.method = "DELETE", .path = "/api/v1/videos/{id}", .handler = api_delete_video},
    {.method = "POST", .path = "/api/v1/videos/{id}/retry", .handler = api_retry_video},
    {.method = "POST", .path = "/api/v1/videos/{id}/cancel", .handler = api_cancel_video},
    {.method = "GET", .path = "/api/v1/openapi.json", .handler = get_openapi},
    {.method = "GET", .path = "/healthz", .handler = http_healthz, .always = true},
    {.method = "GET", .path = "/readyz", .handler = get_readyz, .always = true},
    {.method = "GET", .path = "/metrics", .handler = http_metrics, .always = true},
    {0},
};
