/* POST /api/v1/videos/{id}/cancel and /retry */

#include "api.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "domain/layout.h"
#include "domain/outcome.h"

#include <string.h>

static int conflict(struct http_request *rq, enum video_state state, const char *why)
{
    char detail[256];

    str_format(detail, sizeof detail, "The video is %s; %s.", video_state_name(state), why);
    http_problem(rq, 409, "conflict", NULL, detail);
    return 0;
}

/* What Redis says afterwards; the change itself is done. */
static int respond_now(const struct api *api, struct http_request *rq, int status, struct err *e)
{
    struct queue_video v = {0};

    int r = api_read_video(api, rq, &v, e);
    if (r != 0)
        return r;
    r = api_respond_video(api, rq, status, &v, e);
    queue_video_release(&v);
    return r;
}

/* --- Cancel: the outcome first, then Redis --- */

static int create_cancelled(const struct api *api, const struct queue_video *v, struct outcome *ret, struct err *e)
{
    BUF_AUTO struct buf text;
    bool ours;

    buf_init(&text, OUTCOME_MAX);
    int r = outcome_write_cancelled(v->id, v->generation, &text, e);
    if (r != 0)
        return r;
    return outcome_create(api->library.store, api->library.processed, v->id, v->generation, buf_cstr(&text), text.len,
                          ret, &ours, e);
}

/* The worker's ack may still be on its way: the index need not wait for it. */
static int adopt(const struct api *api, const struct queue_video *v, const struct outcome *standing, struct err *e)
{
    int r = queue_settle(api->library.queue, v->id, v->generation, standing->state, standing->text,
                         standing->error[0] != '\0' ? standing->error : NULL, e);
    return r == -ERR_STALE || r == -ERR_NOT_FOUND ? 0
                                                  : r; /* a newer generation, or deleted: nothing to bring in line */
}

static int cancel(const struct api *api, struct http_request *rq, const struct queue_video *v, struct err *e)
{
    OUTCOME_AUTO struct outcome standing = {0};
    enum video_state state;

    if (video_state_terminal(v->state))
        return conflict(rq, v->state, "there is nothing left to cancel: retry or delete it instead");
    if (v->state == VIDEO_UPLOADING)
        return conflict(rq, v->state, "delete it instead");
    int r = create_cancelled(api, v, &standing, e);
    if (r == 0 && standing.state != VIDEO_CANCELLED) {
        r = adopt(api, v, &standing, e);
        return r == 0 ? conflict(rq, standing.state, "it ended just now, there is nothing left to cancel") : r;
    }
    if (r == 0)
        r = queue_cancel(api->library.queue, v->id, v->generation, standing.text, &state, e);
    if (r != 0)
        return r;
    return respond_now(api, rq, state == VIDEO_ACTIVE ? 202 : 200, e); /* its worker has yet to let go */
}

/* --- Retry: the request object first, then the job --- */

static int store_request(const struct api *api, const struct queue_video *v, uint64_t generation, struct err *e)
{
    static const struct store_put_options first_wins = {.if_none_match = true, .content_type = "application/json"};
    char now[CLOCK_RFC3339_SIZE], text[128];

    clock_rfc3339(clock_wall_ms(), now);
    str_format(text, sizeof text, "{\"video\":\"%s\",\"generation\":%s,\"requested_at\":\"%s\"}", v->id,
               num_u64(generation).s, now);
    int r = store_put_bytes(api->library.store, api->library.raw, layout_request(v->id, generation).s, text,
                            strlen(text), &first_wins, e);
    return r == -ERR_CONFLICT ? 0 : r; /* somebody has asked for the same: enqueue that one */
}

static int retry(const struct api *api, struct http_request *rq, const struct queue_video *v, struct err *e)
{
    struct queue_job_spec spec = {
        .video_id = v->id,
        .generation = v->generation + 1,
        .priority = 1,
        .created_ms = v->created_ms,
        .size_bytes = v->size_bytes,
        .record_json = v->record,
    };

    if (!video_state_terminal(v->state))
        return conflict(rq, v->state, "only an ended one can be tried again: wait for its end, or cancel it first");
    int r = queue_finishing_add(api->library.queue, v->id, e);
    if (r == 0)
        r = store_request(api, v, spec.generation, e);
    if (r == 0)
        r = queue_enqueue(api->library.queue, &spec, NULL, e);
    return r == 0 ? respond_now(api, rq, 202, e) : r;
}

/* --- Handlers --- */

typedef int job_action(const struct api *api, struct http_request *rq, const struct queue_video *v, struct err *e);

/* Everything that would create or end a job waits for a rebuild to end. */
static int act(struct api *api, struct http_request *rq, job_action *action, struct err *e)
{
    struct queue_video v = {0};
    char epoch[QUEUE_EPOCH_SIZE] = "";

    int r = api_read_video(api, rq, &v, e);
    if (r != 0)
        return r;
    r = queue_epoch(api->library.queue, epoch, e);
    if (r == 0 && epoch[0] == '\0')
        r = err_set(e, ERR_BUSY, "the index of videos is being rebuilt; try again in a moment");
    if (r == 0)
        r = action(api, rq, &v, e);
    queue_video_release(&v);
    return r;
}

int api_cancel_video(struct http_request *rq, void *ctx, struct err *e)
{
    return act(ctx, rq, cancel, e);
}

int api_retry_video(struct http_request *rq, void *ctx, struct err *e)
{
    return act(ctx, rq, retry, e);
}
