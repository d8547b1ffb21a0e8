/* GET /api/v1/videos, GET and DELETE /api/v1/videos/{id} */

#include "api.h"
#include "base/mem.h"
#include "base/str.h"
#include "domain/removal.h"

#include <string.h>

#define LIST_DEFAULT 50
#define LIST_MAX 200
#define QUERY_SIZE 1024 /* more than any good value, so that a bad one is seen as such */
#define LIST_JSON_MAX (32 * 1024 * 1024)
#define VIDEO_JSON_MAX (1024 * 1024)

static const struct http_field no_store[] = {{"Cache-Control", "no-store"}, {0}};

/* --- One --- */

static int no_such_video(struct err *e)
{
    return err_set(e, ERR_NOT_FOUND, "there is no such video; GET /api/v1/videos lists those that there are");
}

/* A copy into what the index would say. */
static int from_store(const struct api *api, const char *video_id, struct queue_video *ret, struct err *e)
{
    LIBRARY_VIDEO_AUTO struct library_video v = {0};

    int r = library_read(&api->library, video_id, &v, e);
    if (r != 0)
        return r;
    if (v.deleted || v.record == NULL)
        return no_such_video(e);
    *ret = (struct queue_video){
        .state = v.state,
        .generation = v.generation,
        .created_ms = v.created_ms,
        .updated_ms = v.updated_ms,
        .size_bytes = v.size_bytes,
        .record = v.record,
        .outcome = v.outcome,
        .error = v.error,
    };
    memcpy(ret->id, v.id, sizeof ret->id);
    v.record = v.outcome = v.error = NULL;
    return 0;
}

int api_read_video(const struct api *api, const struct http_request *rq, struct queue_video *ret, struct err *e)
{
    const char *video_id = http_path_param(rq, "id");

    int r = api_check_started(api, e);
    if (r != 0)
        return r;
    if (!id_video_valid(video_id))
        return no_such_video(e);
    r = queue_video_get(api->library.queue, video_id, ret, e);
    if (r == -ERR_BUSY)
        return from_store(api, video_id, ret, e);
    return r == -ERR_NOT_FOUND ? no_such_video(e) : r;
}

int api_respond_video(const struct api *api, struct http_request *rq, int status, const struct queue_video *v,
                      struct err *e)
{
    JSON_AUTO json_t *view = NULL;
    BUF_AUTO struct buf text;
    char location[64];

    buf_init(&text, VIDEO_JSON_MAX);
    int r = video_view(v, api->settings->public_play_url, &view, e);
    if (r == 0)
        r = json_write(view, &text, e);
    if (r != 0)
        return r;
    str_format(location, sizeof location, "/api/v1/videos/%s", v->id);
    const struct http_field fields[] = {
        {"Cache-Control", "no-store"}, {"Location", status == 201 ? location : NULL}, {0}};
    http_respond_json(rq, status, fields, &text);
    return 0;
}

int api_get_video(struct http_request *rq, void *ctx, struct err *e)
{
    const struct api *api = ctx;
    struct queue_video v = {0};

    int r = api_read_video(api, rq, &v, e);
    if (r != 0)
        return r;
    r = api_respond_video(api, rq, 200, &v, e);
    queue_video_release(&v);
    return r;
}

int api_delete_video(struct http_request *rq, void *ctx, struct err *e)
{
    const struct api *api = ctx;
    struct queue_video v = {0};
    bool deleted = false;

    int r = api_read_video(api, rq, &v, e);
    if (r != 0)
        return r;
    queue_video_release(&v);
    r = removal_delete(&api->library, v.id, &deleted, e);
    if (r != 0) {
        struct log_ids ids = {.request = http_log_ids(rq)->request, .video = v.id};
        log_warn(&ids, "the rest of a deletion is left to the reconciler", "error", e->text);
        reconcile_soon(api->reconciler);
    }
    if (r != 0 && !deleted)
        return r;
    http_respond(rq, 204, NULL, NULL, NULL, 0);
    return 0;
}

/* --- All --- */

struct list_query {
    unsigned limit;
    char cursor[QUEUE_CURSOR_SIZE]; /* "" for the first page */
    bool by_state;
    enum video_state state;
};

static int read_limit(const struct http_request *rq, unsigned *ret, struct err *e)
{
    char text[QUERY_SIZE];
    uint64_t limit = LIST_DEFAULT;
    bool given;

    int r = http_query(rq, "limit", text, sizeof text, &given, e);
    if (r != 0)
        return r;
    if (given && (!str_to_u64(text, &limit) || limit < 1 || limit > LIST_MAX))
        return err_set(e, ERR_INVALID, "limit must be a number from 1 to %d", LIST_MAX);
    *ret = (unsigned)limit;
    return 0;
}

static int read_query(const struct http_request *rq, struct list_query *ret, struct err *e)
{
    char cursor[QUERY_SIZE], state[QUERY_SIZE];
    bool given = false;

    int r = read_limit(rq, &ret->limit, e);
    if (r == 0)
        r = http_query(rq, "cursor", cursor, sizeof cursor, &given, e);
    if (r == 0)
        r = http_query(rq, "state", state, sizeof state, &ret->by_state, e);
    if (r != 0)
        return r;
    if (given && !str_copy(ret->cursor, sizeof ret->cursor, cursor))
        return err_set(e, ERR_INVALID, "cursor must be \"next\" of another page; leave it out for the first one");
    if (ret->by_state && !video_state_parse(state, &ret->state))
        return err_set(e, ERR_INVALID,
                       "state must be one of uploading, waiting, active, delayed, completed, failed, cancelled");
    return 0;
}

struct list_page {
    const char *play_url;
    json_t *videos;
};

static int add_video(void *ctx, const struct queue_video *v, struct err *e)
{
    const struct list_page *page = ctx;
    json_t *view = NULL;

    int r = video_view(v, page->play_url, &view, e);
    if (r == 0 && json_array_append_new(page->videos, view) != 0)
        r = err_set(e, ERR_TEMPORARY, "no memory for a list");
    return r;
}

static int respond_page(struct http_request *rq, json_t *videos, const char *next, bool rebuilding, struct err *e)
{
    JSON_AUTO json_t *page = json_object();
    BUF_AUTO struct buf text;

    buf_init(&text, LIST_JSON_MAX);
    if (json_object_set(page, "videos", videos) != 0 || !json_put_text(page, "next", next[0] != '\0' ? next : NULL) ||
        (rebuilding && !json_put_bool(page, "rebuilding", true)))
        return err_set(e, ERR_TEMPORARY, "no memory for a list");
    int r = json_write(page, &text, e);
    if (r == 0)
        http_respond_json(rq, 200, no_store, &text);
    return r;
}

int api_list_videos(struct http_request *rq, void *ctx, struct err *e)
{
    const struct api *api = ctx;
    JSON_AUTO json_t *videos = json_array();
    struct list_page page = {.play_url = api->settings->public_play_url, .videos = videos};
    struct list_query query = {0};
    char next[QUEUE_CURSOR_SIZE] = "";
    bool rebuilding = false;

    int r = api_check_started(api, e);
    if (r == 0)
        r = read_query(rq, &query, e);
    if (r == 0)
        r = queue_video_list(api->library.queue, query.by_state ? &query.state : NULL,
                             query.cursor[0] != '\0' ? query.cursor : NULL, query.limit, add_video, &page, next,
                             &rebuilding, e);
    return r == 0 ? respond_page(rq, videos, next, rebuilding, e) : r;
}
