#include "routes.h"

#include "base/str.h"
#include "domain/layout.h"
#include "domain/video.h"

#include <string.h>

/* Deleted videos stop within 5 s: the catalog's look (3 s) and these two seconds in caches. */
#define CACHE_STABLE "public, max-age=1, stale-while-revalidate=1"
#define CACHE_IMMUTABLE "public, max-age=31536000, immutable"
#define CACHE_NONE "no-store"

/* A missing thing may come soon, so nobody may remember for long that it was not there. */
static int not_found(struct http_request *rq, const struct err *e)
{
    http_problem(rq, 404, "not-found", (const struct http_field[]){{"Cache-Control", "public, max-age=1"}, {0}},
                 e->text);
    return 0;
}

static bool ends_as_text(const char *path)
{
    return str_ends(path, ".m3u8") || str_ends(path, ".vtt") || str_ends(path, ".json");
}

/* One object of a version, as `prefix` asks (see struct resource). */
static int serve_asset(const struct play *play, struct http_request *rq, const char *version, const char *path,
                       const char *prefix, const char *cache_control, struct err *e)
{
    struct layout_key key;

    if (!layout_asset(http_path_param(rq, "id"), version, path, &key))
        return err_set(e, ERR_NOT_FOUND, "there is no such object; begin with master.m3u8 again");
    const struct resource resource = {
        .key = key.s,
        .content_type = layout_content_type(path),
        .cache_control = cache_control,
        .tag = version,
        .prefix = prefix,
        .text = ends_as_text(path),
    };
    return serve_resource(&play->serve, rq, &resource, e);
}

/* /v/{id}/{version}/…: everything that a published playlist names; never changes. */
static int get_versioned(struct http_request *rq, void *ctx, struct err *e)
{
    const struct play *play = ctx;
    const char *version = http_path_param(rq, "version");

    int r = catalog_check(play->catalog, http_path_param(rq, "id"), version, e);
    if (r == 0)
        r = serve_asset(play, rq, version, http_path_param(rq, "rest"), NULL, CACHE_IMMUTABLE, e);
    return r == -ERR_NOT_FOUND ? not_found(rq, e) : r;
}

/* The stable addresses: whatever version is the newest. */
static int get_newest(struct http_request *rq, const struct play *play, const char *path, bool playlist, struct err *e)
{
    char version[LAYOUT_VERSION_SIZE], prefix[LAYOUT_VERSION_SIZE + 1];

    int r = catalog_newest(play->catalog, http_path_param(rq, "id"), version, e);
    if (r == 0) {
        str_format(prefix, sizeof prefix, "%s/", version);
        r = serve_asset(play, rq, version, path, playlist ? prefix : NULL, CACHE_STABLE, e);
    }
    return r == -ERR_NOT_FOUND ? not_found(rq, e) : r;
}

static int get_master(struct http_request *rq, void *ctx, struct err *e)
{
    return get_newest(rq, ctx, "master.m3u8", true, e);
}

static int get_poster(struct http_request *rq, void *ctx, struct err *e)
{
    return get_newest(rq, ctx, "poster.jpg", false, e);
}

/* --- the player page --- */

static int get_file(struct http_request *rq, const struct play *play, const char *name, const char *cache_control,
                    struct err *e)
{
    for (const struct embedded_file *file = web_files; file->name != NULL; file++)
        if (strcmp(file->name, name) == 0)
            return serve_embedded(&play->serve, rq, file, play->build_tag, cache_control, e);
    return err_set(e, ERR_NOT_FOUND, "there is no such file; reload the page");
}

static int get_watch(struct http_request *rq, void *ctx, struct err *e)
{
    return get_file(rq, ctx, "watch.html", "no-cache", e);
}

static int get_web(struct http_request *rq, void *ctx, struct err *e)
{
    return get_file(rq, ctx, http_path_param(rq, "rest"), "no-cache", e);
}

/* What the page shows while it waits. */
static int status_view(const struct queue_video *v, const char *play_url, json_t **ret, struct err *e)
{
    static const char *const shown[] = {"id",       "state",    "title", "description", "playable",
                                        "progress", "duration", "width", "height",      "error"};
    JSON_AUTO json_t *whole = NULL, *part = json_object();

    int r = video_view(v, play_url, &whole, e);
    if (r != 0)
        return r;
    for (size_t i = 0; i < sizeof shown / sizeof *shown; i++)
        if (json_object_get(whole, shown[i]) != NULL)
            json_object_set(part, shown[i], json_object_get(whole, shown[i]));
    *ret = part;
    part = NULL;
    return 0;
}

/* When the index does not know, the store still knows whether the video can be played. */
static int status_from_store(const struct play *play, const char *video_id, json_t **ret, struct err *e)
{
    char version[LAYOUT_VERSION_SIZE];

    int r = catalog_newest(play->catalog, video_id, version, e);
    if (r != 0)
        return r;
    *ret = json_object();
    if (!json_put_text(*ret, "id", video_id) || !json_put_text(*ret, "state", video_state_name(VIDEO_COMPLETED)) ||
        !json_put_bool(*ret, "playable", true))
        return err_set(e, ERR_TEMPORARY, "no memory for the state of a video");
    return 0;
}

static int find_status(const struct play *play, const char *video_id, json_t **ret, struct err *e)
{
    struct queue_video video = {0};

    if (!id_video_valid(video_id))
        return err_set(e, ERR_NOT_FOUND, "there is no such video; look at the address again");
    int indexed = queue_video_get(play->queue, video_id, &video, e);
    int r = indexed == 0 ? status_view(&video, play->settings->public_play_url, ret, e)
                         : status_from_store(play, video_id, ret, e);
    queue_video_release(&video);
    if (r == -ERR_NOT_FOUND &&
        indexed != -ERR_NOT_FOUND) /* it may be on its way: nobody must believe that it is gone */
        return err_set(e, ERR_BUSY, "the state of the video is not known at the moment; try again in a few seconds");
    return r;
}

static int get_status(struct http_request *rq, void *ctx, struct err *e)
{
    JSON_AUTO json_t *body = NULL;
    BUF_AUTO struct buf text;

    buf_init(&text, VIDEO_RECORD_MAX);
    int r = find_status(ctx, http_path_param(rq, "id"), &body, e);
    if (r == -ERR_NOT_FOUND)
        return not_found(rq, e);
    if (r == 0)
        r = json_write(body, &text, e);
    if (r == 0)
        http_respond_json(rq, 200, (const struct http_field[]){{"Cache-Control", CACHE_NONE}, {0}}, &text);
    return r;
}

static int get_readyz(struct http_request *rq, void *ctx, struct err *e)
{
    const struct play *play = ctx;

    return ready_respond(play->ready, rq, e);
}

const struct http_route play_routes[] = {
    {.method = "GET", .path = "/v/{id}/master.m3u8", .handler = get_master, .cors = true},
    {.method = "GET", .path = "/v/{id}/poster.jpg", .handler = get_poster, .cors = true},
    {.method = "GET", .path = "/v/{id}/status.json", .handler = get_status, .cors = true},
    {.method = "GET", .path = "/v/{id}/{version}/{rest...}", .handler = get_versioned, .cors = true},
    {.method = "GET", .path = "/watch/{id}", .handler = get_watch, .cors = true},
    {.method = "GET", .path = "/web/{rest...}", .handler = get_web, .cors = true},
    {.method = "GET", .path = "/healthz", .handler = http_healthz, .always = true, .cors = true},
    {.method = "GET", .path = "/readyz", .handler = get_readyz, .always = true, .cors = true},
    {.method = "GET", .path = "/metrics", .handler = http_metrics, .always = true, .cors = true},
    {0},
};
