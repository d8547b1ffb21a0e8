/* OPTIONS /api/v1/uploads; OPTIONS, HEAD, PATCH and DELETE /api/v1/uploads/{upload} */

#include "base/str.h"
#include "upload_body.h"

/* The state of an upload that may be acted upon. One that is full is finished, or this fails for now. */
static int find(const struct tus_call *c, struct upload_state *ret, struct err *e)
{
    int r = upload_find(c->api->uploads, c->name.video_id, c->name.secret, ret, e);
    if (r != 0 || !upload_state_full(ret))
        return r;
    upload_state_release(ret);
    return upload_look(c->api->uploads, c->name.video_id, c->name.secret, ret, e);
}

/* --- OPTIONS, HEAD --- */

int api_upload_options(struct http_request *rq, void *ctx, struct err *e)
{
    struct tus_reply reply;
    struct tus_call c;

    (void)e;
    if (!tus_call_begin(&c, ctx, rq, TUS_OPTIONS))
        return 0;
    tus_reply_options(&c.command, &c.limits, &reply);
    return tus_call_send(&c, &reply);
}

int api_head_upload(struct http_request *rq, void *ctx, struct err *e)
{
    UPLOAD_STATE_AUTO struct upload_state s = {0};
    struct tus_reply reply;
    struct tus_call c;

    if (!tus_call_begin_named(&c, ctx, rq, TUS_HEAD))
        return 0;
    if (upload_look(c.api->uploads, c.name.video_id, c.name.secret, &s, e) != 0)
        return tus_call_fail(&c, e);
    struct tus_upload view = tus_call_view(&s, upload_state_full(&s));
    tus_reply_head(&c.command, &view, &c.limits, &reply);
    return tus_call_send(&c, &reply);
}

/* --- PATCH --- */

/* Every byte is there: the client may not have heard of it. */
static int patch_finished(const struct tus_call *c, const struct tus_upload *view, struct err *e)
{
    struct tus_reply reply;
    size_t len = 0;
    char byte;

    if (c->command.body_length == TUS_UNKNOWN && http_read(c->rq, &byte, 1, &len, e) != 0)
        return tus_call_fail(c, e);
    if (len > 0)
        tus_refuse_too_long(&c->command, &reply);
    else
        tus_reply_patched(&c->command, view, &reply);
    return tus_call_send(c, &reply);
}

/* The session can't go on: the upload was closed, or another request has it now. */
static int end_stale(const struct tus_call *c, struct err *e)
{
    UPLOAD_STATE_AUTO struct upload_state s = {0};

    int r = upload_find(c->api->uploads, c->name.video_id, c->name.secret, &s, e);
    if (r == -ERR_STALE || r == -ERR_NOT_FOUND) {
        err_set(e, ERR_STALE, "the upload was closed");
        return tus_call_fail(c, e);
    }
    return tus_call_refuse(c, UPLOAD_LOCKED, e);
}

static int respond_patched(const struct tus_call *c, const struct upload *u, const struct upload_result *result)
{
    struct tus_upload view = tus_call_view(upload_recorded(u), result->finished);
    struct tus_reply reply;

    if (result->refused)
        return tus_call_send(c, &result->reply);
    if (result->unsettled)
        tus_refuse_for_now(&c->command, 503, 5, "unavailable",
                           "The file is stored, but the queue did not answer. It will be processed; ask with HEAD.",
                           &reply);
    else
        tus_reply_patched(&c->command, &view, &reply);
    if (!result->finished) /* else it was said already */
        log_debug(&c->ids, "upload received", "from", num_u64(c->command.offset).s, "to", num_u64(view.offset).s,
                  "client", http_peer(c->rq));
    return tus_call_send(c, &reply);
}

/* With the session, which knows better what is recorded: another writer may have recorded more before it let go. */
static int patch_session(struct tus_call *c, struct upload *u, struct err *e)
{
    struct tus_upload view = tus_call_view(upload_recorded(u), false);
    struct upload_result result;
    struct tus_reply reply;
    uint64_t length;

    if (tus_decide(&c->command, &view, &c->limits, &length, &reply) == TUS_REFUSED)
        return tus_call_send(c, &reply);
    int r = upload_receive(c, u, length, &result, e);
    if (r == 0)
        return respond_patched(c, u, &result);
    return r == -ERR_STALE ? end_stale(c, e) : tus_call_fail(c, e);
}

static int patch_open(struct tus_call *c, const struct upload_state *s, struct err *e)
{
    enum upload_refusal refusal = UPLOAD_FAILED;
    struct upload *u;

    int r = upload_resume(c->api->uploads, s, http_peer_group(c->rq), &u, &refusal, e);
    if (r != 0)
        return tus_call_refuse(c, refusal, e);
    r = patch_session(c, u, e);
    upload_free(u);
    return r;
}

int api_patch_upload(struct http_request *rq, void *ctx, struct err *e)
{
    UPLOAD_STATE_AUTO struct upload_state s = {0};
    struct tus_reply reply;
    struct tus_call c;
    uint64_t length;

    if (!tus_call_begin_named(&c, ctx, rq, TUS_PATCH))
        return 0;
    if (find(&c, &s, e) != 0)
        return tus_call_fail(&c, e);
    struct tus_upload view = tus_call_view(&s, upload_state_full(&s));
    switch (tus_decide(&c.command, &view, &c.limits, &length, &reply)) {
    case TUS_REFUSED:
        return tus_call_send(&c, &reply);
    case TUS_NOTHING:
        return patch_finished(&c, &view, e);
    case TUS_RECEIVE:
        break;
    }
    return patch_open(&c, &s, e);
}

/* --- DELETE --- */

int api_delete_upload(struct http_request *rq, void *ctx, struct err *e)
{
    UPLOAD_STATE_AUTO struct upload_state s = {0};
    struct tus_reply reply;
    struct tus_call c;

    if (!tus_call_begin_named(&c, ctx, rq, TUS_DELETE))
        return 0;
    int r = upload_find(c.api->uploads, c.name.video_id, c.name.secret, &s, e);
    if (r == 0)
        r = upload_delete(c.api->uploads, &s, e);
    if (r != 0 && r != -ERR_CONFLICT)
        return tus_call_fail(&c, e);
    if (r == 0) {
        log_info(&c.ids, "upload deleted", "client", http_peer(rq));
        tus_reply_plain(&c.command, 204, &reply);
    } else {
        tus_refuse(&c.command, 403, "finished", &reply,
                   "The upload is finished, it is a video now: delete that, /api/v1/videos/%s.", c.name.video_id);
    }
    return tus_call_send(&c, &reply);
}
