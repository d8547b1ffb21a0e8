/* GET /api/v1/uploads/{upload}: how far it is, for whoever has its URL. */

#include "base/clock.h"
#include "domain/upload_log.h"
#include "tus_call.h"

#include <inttypes.h>

#define STATUS_MAX (2 * 1024 * 1024) /* bytes: a list of 10000 parts fits */

enum status { UPLOADING, FINISHING, FINISHED };
static const char *const status_names[] = {"uploading", "finishing", "finished"};

/* With its parts, which the cache leaves out: then the log is read. */
static int find_parts(const struct tus_call *c, struct upload_state *state, struct err *e)
{
    const struct library *l = &c->api->library;

    if (state->parts_known || state->part_count == 0)
        return 0;
    upload_state_release(state);
    return upload_log_fold(l->store, l->raw, c->name.video_id, state, e);
}

/* One that is full, but of which it can't be told whether it is finished, is finishing. */
static int find_status(const struct tus_call *c, struct upload_state *ret, enum status *ret_status, struct err *e)
{
    UPLOAD_STATE_AUTO struct upload_state looked = {0};

    int r = upload_find(c->api->uploads, c->name.video_id, c->name.secret, ret, e);
    if (r == 0)
        r = find_parts(c, ret, e);
    if (r != 0)
        return r;
    *ret_status = UPLOADING;
    if (upload_state_full(ret))
        *ret_status = upload_look(c->api->uploads, c->name.video_id, c->name.secret, &looked, NULL) == 0 ? FINISHED
                                                                                                         : FINISHING;
    return 0;
}

static void write_number(struct buf *out, uint64_t n, uint64_t unknown)
{
    if (n == unknown)
        buf_puts(out, "null");
    else
        buf_printf(out, "%" PRIu64, n);
}

/* As a list of ranges, since that is what a client asks for; `to` is the first byte behind. */
static void write_range(struct buf *out, const char *name, uint64_t from, uint64_t to)
{
    buf_printf(out, ",\"%s\":[", name);
    if (from != to) {
        buf_printf(out, "[%" PRIu64 ",", from);
        write_number(out, to, UPLOAD_LENGTH_UNKNOWN);
        buf_putc(out, ']');
    }
    buf_putc(out, ']');
}

static void write_parts(struct buf *out, const struct upload_state *s)
{
    uint64_t offset = 0;

    buf_puts(out, ",\"parts\":[");
    for (size_t i = 0; i < s->part_count; i++) {
        buf_printf(out, "%s{\"offset\":%" PRIu64 ",\"size\":%" PRIu64 "}", i == 0 ? "" : ",", offset,
                   s->parts[i].size_bytes);
        offset += s->parts[i].size_bytes;
    }
    buf_putc(out, ']');
}

static void write_time(struct buf *out, const char *name, uint64_t wall_ms)
{
    char time[CLOCK_RFC3339_SIZE];

    clock_rfc3339(wall_ms, time);
    if (wall_ms == 0)
        buf_printf(out, ",\"%s\":null", name);
    else
        buf_printf(out, ",\"%s\":\"%s\"", name, time);
}

static void write_status(const struct tus_call *c, const struct upload_state *s, enum status status, struct buf *out)
{
    struct tus_upload view = tus_call_view(s, status == FINISHED);
    bool is_video = s->facts.origin != UPLOAD_PARTIAL;
    char name[TUS_NAME_SIZE];

    tus_name_write(&c->name, name);
    buf_printf(out, "{\"offset\":%" PRIu64 ",\"length\":", s->offset);
    write_number(out, s->length, UPLOAD_LENGTH_UNKNOWN);
    buf_printf(out, ",\"state\":\"%s\"", status_names[status]);
    write_range(out, "missing", s->offset, s->length);
    write_parts(out, s);
    write_time(out, "created_at", s->facts.created_ms);
    write_time(out, "expires_at", view.expires_ms);
    if (is_video)
        buf_printf(out, ",\"video\":\"%s\",\"links\":{\"self\":\"" TUS_PATH "%s\",\"video\":\"/api/v1/videos/%s\"}}\n",
                   c->name.video_id, name, c->name.video_id);
    else
        buf_printf(out, ",\"video\":null,\"links\":{\"self\":\"" TUS_PATH "%s\"}}\n", name);
}

int api_get_upload(struct http_request *rq, void *ctx, struct err *e)
{
    UPLOAD_STATE_AUTO struct upload_state s = {0};
    BUF_AUTO struct buf text;
    struct tus_reply reply;
    struct tus_call c;
    enum status status;

    buf_init(&text, STATUS_MAX);
    if (!tus_call_begin_named(&c, ctx, rq, TUS_GET))
        return 0;
    if (find_status(&c, &s, &status, e) != 0)
        return tus_call_fail(&c, e);
    write_status(&c, &s, status, &text);
    if (buf_check(&text, "the state of an upload", e) != 0)
        return tus_call_fail(&c, e);
    tus_reply_plain(&c.command, 200, &reply);
    return tus_call_send_json(&c, &reply, &text);
}
