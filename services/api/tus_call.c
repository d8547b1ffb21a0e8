#include "tus_call.h"

#include "base/clock.h"
#include "base/mem.h"
#include "upload_metrics.h"
#include "upload_refusal.h"

/* --- Requests --- */

static void read_fields(const struct http_request *rq, struct tus_request *ret)
{
    const struct {
        const char *name, **value;
    } fields[] = {
        {"Tus-Resumable", &ret->tus_resumable},      {"Upload-Draft-Interop-Version", &ret->interop_version},
        {"Content-Type", &ret->content_type},        {"Upload-Length", &ret->length},
        {"Upload-Defer-Length", &ret->defer_length}, {"Upload-Offset", &ret->offset},
        {"Upload-Metadata", &ret->metadata},         {"Upload-Concat", &ret->concat},
        {"Upload-Checksum", &ret->checksum},         {"Upload-Complete", &ret->complete},
        {"Upload-Incomplete", &ret->incomplete},     {"Trailer", &ret->trailer},
    };

    for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
        *fields[i].value = http_header(rq, fields[i].name);
        if (http_header_count(rq, fields[i].name) > 1)
            ret->twice = fields[i].name;
    }
    if (!http_content_length(rq, &ret->body_length))
        ret->body_length = http_has_body(rq) ? TUS_UNKNOWN : 0;
}

bool tus_call_begin(struct tus_call *c, const struct api *api, struct http_request *rq, enum tus_method method)
{
    struct tus_request request = {.method = method};
    struct tus_reply reply;
    struct err e;

    *c = (struct tus_call){
        .api = api,
        .rq = rq,
        .limits = {.max_size = api->settings->upload_max_size, .now_ms = clock_wall_ms()},
        .ids = {.request = http_log_ids(rq)->request},
    };
    read_fields(rq, &request);
    if (!tus_parse(&request, &c->limits, &c->command, &reply)) {
        tus_call_send(c, &reply);
        return false;
    }
    if (method != TUS_OPTIONS && api_check_started(api, &e) != 0) {
        tus_call_fail(c, &e);
        return false;
    }
    return true;
}

bool tus_call_begin_named(struct tus_call *c, const struct api *api, struct http_request *rq, enum tus_method method)
{
    struct tus_reply reply;

    if (!tus_call_begin(c, api, rq, method))
        return false;
    if (!tus_name_parse(http_path_param(rq, "upload"), &c->name)) {
        tus_refuse_unknown(&c->command, &reply);
        tus_call_send(c, &reply);
        return false;
    }
    c->ids.video = c->name.video_id;
    return true;
}

/* --- States --- */

struct tus_upload tus_call_view(const struct upload_state *s, bool finished)
{
    bool stays = finished && s->facts.origin != UPLOAD_PARTIAL; /* as a video */

    return (struct tus_upload){
        .offset = s->offset,
        .length = s->length == UPLOAD_LENGTH_UNKNOWN ? TUS_UNKNOWN : s->length,
        .finished = finished,
        .expires_ms = stays ? 0 : s->facts.expires_ms,
        .metadata = s->facts.metadata,
        .concat = s->facts.concat,
    };
}

/* --- Answers --- */

static void copy_fields(const struct tus_reply *reply, struct http_field ret[TUS_FIELDS_MAX + 1])
{
    for (size_t i = 0; i < reply->count; i++)
        ret[i] = (struct http_field){reply->fields[i].name, tus_field_value(&reply->fields[i])};
    ret[reply->count] = (struct http_field){0};
}

void tus_call_inform(const struct tus_call *c, const struct tus_reply *reply)
{
    struct http_field fields[TUS_FIELDS_MAX + 1];

    copy_fields(reply, fields);
    http_inform(c->rq, reply->status, fields);
}

int tus_call_send(const struct tus_call *c, const struct tus_reply *reply)
{
    struct http_field fields[TUS_FIELDS_MAX + 1];

    copy_fields(reply, fields);
    if (reply->type != NULL)
        http_problem(c->rq, reply->status, reply->type, fields, reply->detail);
    else
        http_respond(c->rq, reply->status, fields, NULL, NULL, 0);
    return 0;
}

int tus_call_send_json(const struct tus_call *c, const struct tus_reply *reply, const struct buf *json)
{
    struct http_field fields[TUS_FIELDS_MAX + 1];

    copy_fields(reply, fields);
    http_respond_json(c->rq, reply->status, fields, json);
    return 0;
}

static void log_failure(const struct tus_call *c, const struct err *e)
{
    enum log_level level = LOG_INFO;

    if (e->kind == ERR_BUG)
        level = LOG_ERROR;
    else if (e->kind == ERR_TEMPORARY)
        level = LOG_WARN;
    log_write(level, &c->ids, "upload request failed", "method", http_method(c->rq), "kind", err_kind_name(e->kind),
              "error", e->text, "client", http_peer(c->rq), (char *)0);
}

int tus_call_fail(const struct tus_call *c, struct err *e)
{
    struct tus_reply reply;
    const char *type;
    int status = http_status_of(e->kind, &type);

    if (e->kind == ERR_DISCONNECTED)
        return -ERR_DISCONNECTED;
    if (!c->told)
        log_failure(c, e);
    switch (e->kind) {
    case ERR_NOT_FOUND:
        tus_refuse_unknown(&c->command, &reply);
        break;
    case ERR_STALE:
        tus_refuse_gone(&c->command, &reply);
        break;
    case ERR_TIMEOUT: /* not 408, after which clients give up */
        tus_refuse_for_now(&c->command, 503, 1, type,
                           "Too little came for too long. What came is kept: ask for the offset and go on.", &reply);
        break;
    case ERR_BUSY:
        tus_refuse_for_now(&c->command, 503, 5, type, e->text, &reply);
        break;
    case ERR_TEMPORARY:
        tus_refuse_for_now(&c->command, 503, 5, type,
                           "A service that uploads need is not available at the moment. Try again in a few seconds.",
                           &reply);
        break;
    case ERR_BUG:
        tus_refuse(&c->command, status, type, &reply,
                   "Something went wrong inside the server; the request id leads to it in the log.");
        break;
    case ERR_INVALID:
    case ERR_TOO_LARGE:
    case ERR_CONFLICT:
    case ERR_DISCONNECTED:
        tus_refuse(&c->command, status, type, &reply, "%s", e->text);
        break;
    }
    return tus_call_send(c, &reply);
}

int tus_call_refuse(const struct tus_call *c, enum upload_refusal refusal, struct err *e)
{
    struct upload_refused refused;
    struct tus_reply reply;

    if (refusal == UPLOAD_FAILED)
        return tus_call_fail(c, e);
    upload_describe_refusal(c->api->settings, refusal, &refused);
    if (c->told)
        upload_count_refusal(refused.type);
    else
        upload_note_refusal(&c->ids, refusal, refused.type, http_peer(c->rq));
    tus_refuse_for_now(&c->command, refusal == UPLOAD_LOCKED ? 423 : 503, refused.retry_after_s, refused.type,
                       refused.detail, &reply);
    return tus_call_send(c, &reply);
}
