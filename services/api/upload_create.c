/* POST /api/v1/uploads: a new upload, perhaps with its first bytes; or one that is made of finished partial ones. */

#include "base/mem.h"
#include "base/str.h"
#include "proto/tus_metadata.h"
#include "upload_body.h"

#include <inttypes.h>
#include <string.h>

#define PARTIALS_MAX 256
#define LOCATION_SIZE (sizeof TUS_PATH + TUS_NAME_SIZE)

/* --- The session --- */

static const char *or_empty(const char *text)
{
    return text != NULL ? text : "";
}

/* What of the metadata becomes the video's record. */
static int read_metadata(const struct tus_call *c, struct tus_metadata *ret, struct err *e)
{
    int r = tus_metadata_parse(c->command.metadata, ret, e);
    if (r == 0)
        r = video_check_text("filename", or_empty(ret->filename), VIDEO_FILENAME_MAX, e);
    if (r == 0)
        r = video_check_text("title", or_empty(ret->title), VIDEO_TITLE_MAX, e);
    if (r == 0)
        r = video_check_text("description", or_empty(ret->description), VIDEO_DESCRIPTION_MAX, e);
    return r;
}

static void make_name(struct tus_call *c, const char *video_id)
{
    unsigned char random[(TUS_SECRET_SIZE - 1) / 2];

    id_random(random, sizeof random);
    hex_encode(random, sizeof random, c->name.secret);
    str_copy(c->name.video_id, sizeof c->name.video_id, video_id);
    c->ids.video = c->name.video_id;
}

/* *ret NULL and 0: there is no seat, which was answered. */
static int open_session(struct tus_call *c, uint64_t length, struct upload **ret, struct err *e)
{
    TUS_METADATA_AUTO struct tus_metadata m = {0};
    enum upload_refusal refusal = UPLOAD_FAILED;
    enum upload_origin origin = c->command.concat == TUS_PARTIAL ? UPLOAD_PARTIAL : UPLOAD_TUS;
    struct upload *u = NULL;

    *ret = NULL;
    int r = read_metadata(c, &m, e);
    if (r != 0)
        return r;
    r = upload_new(c->api->uploads, origin, http_peer_group(c->rq), &u, &refusal, e);
    if (r != 0)
        return refusal != UPLOAD_FAILED ? tus_call_refuse(c, refusal, e) : r;
    make_name(c, upload_video_id(u));
    const struct upload_spec spec = {
        .title = or_empty(m.title),
        .description = or_empty(m.description),
        .filename = or_empty(m.filename),
        .length = length == TUS_UNKNOWN ? UPLOAD_LENGTH_UNKNOWN : length,
        .secret = c->name.secret,
        .metadata = c->command.metadata,
        .concat = c->command.concat_text,
    };
    r = upload_begin(u, &spec, e);
    if (r == 0)
        *ret = u;
    else
        upload_free(u);
    return r;
}

/* Nobody was told of it: it need not wait for its expiry. */
static void take_back(const struct tus_call *c)
{
    UPLOAD_STATE_AUTO struct upload_state s = {0};
    struct err e;

    int r = upload_find(c->api->uploads, c->name.video_id, c->name.secret, &s, &e);
    if (r == 0)
        r = upload_delete(c->api->uploads, &s, &e);
    if (r != 0 && r != -ERR_STALE && r != -ERR_NOT_FOUND)
        log_warn(&c->ids, "an upload that failed at its creation is left to expire", "error", e.text);
}

/* --- Answers --- */

static void write_location(const struct tus_call *c, char out[LOCATION_SIZE])
{
    memcpy(out, TUS_PATH, sizeof TUS_PATH);
    tus_name_write(&c->name, out + sizeof TUS_PATH - 1);
}

/* The drafts let a client learn of its upload while it sends the first body, which may then break off. */
static bool is_informed(const struct tus_call *c)
{
    return c->command.interop_version != 0 && c->command.body_length != 0;
}

static void inform(const struct tus_call *c, const struct upload *u)
{
    struct tus_upload view = tus_call_view(upload_recorded(u), false);
    char location[LOCATION_SIZE];
    struct tus_reply reply;

    write_location(c, location);
    tus_reply_resumable(&c->command, &view, &c->limits, location, &reply);
    tus_call_inform(c, &reply);
}

static int respond_created(const struct tus_call *c, const struct upload *u, const struct upload_result *result)
{
    struct tus_upload view = tus_call_view(upload_recorded(u), result->finished);
    char location[LOCATION_SIZE];
    struct tus_reply reply;

    write_location(c, location);
    tus_reply_created(&c->command, &view, &c->limits, location, !result->unsettled, &reply);
    return tus_call_send(c, &reply);
}

/* Ends the session and answers. `r` is what came of it. */
static int end_creation(const struct tus_call *c, struct upload *u, int r, const struct upload_result *result,
                        struct err *e)
{
    if (r == 0 && !result->refused) {
        log_info(&c->ids, "upload created", "offset", num_u64(upload_recorded(u)->offset).s, "client",
                 http_peer(c->rq));
        r = respond_created(c, u, result);
        upload_free(u);
        return r;
    }
    upload_free(u);
    if (!is_informed(c))
        take_back(c);
    return r == 0 ? tus_call_send(c, &result->reply) : tus_call_fail(c, e);
}

static int create_open(struct tus_call *c, struct err *e)
{
    struct upload_result result = {0};
    struct upload *u;

    int r = open_session(c, c->command.length, &u, e);
    if (r != 0)
        return tus_call_fail(c, e);
    if (u == NULL)
        return 0;
    if (is_informed(c))
        inform(c, u);
    r = upload_receive(c, u, TUS_UNKNOWN, &result, e);
    return end_creation(c, u, r, &result, e);
}

/* --- Concatenation --- */

struct partials {
    struct upload_state list[PARTIALS_MAX];
    size_t count;
    uint64_t bytes;
};

/* The client may have asked for the same before, and not have heard the answer. */
static int no_partial(size_t number, struct err *e)
{
    return err_set(
        e, ERR_INVALID,
        "there is no upload at URL %zu of Upload-Concat: it has expired, or was put together already; look for "
        "the video in GET /api/v1/videos before you upload it again",
        number);
}

static int add_partial(const struct tus_call *c, const char *url, size_t len, struct partials *p, struct err *e)
{
    struct upload_state *s = &p->list[p->count];
    struct tus_name name;
    size_t number = p->count + 1;

    if (p->count == PARTIALS_MAX)
        return err_set(e, ERR_INVALID, "at most %d partial uploads can be put together; make fewer, larger ones",
                       PARTIALS_MAX);
    if (!tus_url_parse(url, len, &name))
        return err_set(e, ERR_INVALID, "URL %zu of Upload-Concat is not that of an upload; give the Location of each",
                       number);
    int r = upload_look(c->api->uploads, name.video_id, name.secret, s, e);
    if (r == -ERR_NOT_FOUND || r == -ERR_STALE)
        return no_partial(number, e);
    if (r != 0)
        return r;
    p->count++;
    if (s->facts.origin != UPLOAD_PARTIAL || !upload_state_full(s))
        return err_set(e, ERR_INVALID, "the upload at URL %zu of Upload-Concat is not %s", number,
                       s->facts.origin != UPLOAD_PARTIAL ? "a partial one; create it with Upload-Concat: partial"
                                                         : "finished; send the rest of it first");
    if (s->length > c->limits.max_size - p->bytes)
        return err_set(e, ERR_TOO_LARGE,
                       "together the partial uploads are larger than %" PRIu64 " bytes, the most that is taken; "
                       "put fewer together",
                       c->limits.max_size);
    p->bytes += s->length;
    return 0;
}

static int add_partials(const struct tus_call *c, struct partials *p, struct err *e)
{
    size_t len;
    int r = 0;

    for (const char *rest = c->command.urls, *url; r == 0 && (url = tus_url_next(&rest, &len)) != NULL;)
        r = add_partial(c, url, len, p, e);
    return r;
}

static int create_from(struct tus_call *c, const struct partials *p, struct err *e)
{
    struct upload_result result = {0};
    struct upload *u;

    int r = open_session(c, p->bytes, &u, e);
    if (r != 0)
        return tus_call_fail(c, e);
    if (u == NULL)
        return 0;
    for (size_t i = 0; i < p->count && r == 0; i++) {
        r = upload_append_partial(u, &p->list[i], e);
        if (r == -ERR_STALE) /* it went since we looked */
            r = no_partial(i + 1, e);
    }
    if (r == 0)
        r = upload_settle(c, u, &result, e);
    return end_creation(c, u, r, &result, e);
}

static int create_final(struct tus_call *c, struct err *e)
{
    struct partials *p = mem_zalloc(sizeof *p);

    int r = p == NULL ? err_set(e, ERR_TEMPORARY, "no memory for a concatenation") : add_partials(c, p, e);
    r = r == 0 ? create_from(c, p, e) : tus_call_fail(c, e);
    for (size_t i = 0; p != NULL && i < p->count; i++)
        upload_state_release(&p->list[i]);
    mem_free(p);
    return r;
}

int api_create_upload(struct http_request *rq, void *ctx, struct err *e)
{
    struct tus_call c;

    if (!tus_call_begin(&c, ctx, rq, TUS_POST))
        return 0;
    return c.command.concat == TUS_FINAL ? create_final(&c, e) : create_open(&c, e);
}
