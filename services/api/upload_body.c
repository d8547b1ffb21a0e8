#include "upload_body.h"

#include "base/mem.h"
#include "base/str.h"
#include "upload_metrics.h"

#define READ_SIZE (8 * 1024) /* while there is no room at hand; many slow clients must not hold large buffers */

struct receiving {
    struct tus_call *c;
    struct upload *upload;
    struct tus_digest *digest; /* NULL: the body has no checksum */
    uint64_t offset, length;   /* of the next byte; as declared, which need not be recorded yet */
    char data[READ_SIZE];
};

/* --- Bytes --- */

/* `in_place`: they stand in the upload's own memory already. */
static int add_bytes(struct receiving *r, const void *data, size_t len, bool in_place, struct err *e)
{
    int result = r->digest != NULL ? tus_digest_add(r->digest, data, len, e) : 0;

    if (result == 0)
        result = in_place ? upload_wrote(r->upload, len, e) : upload_write(r->upload, data, len, e);
    if (result != 0)
        return result;
    upload_count_bytes(len);
    r->offset += len;
    return 0;
}

/* Until the body ends, or something goes wrong. */
static int take_bytes(struct receiving *r, struct err *e)
{
    int result = 0;

    while (result == 0) {
        size_t room, len = 0;
        void *data = upload_room(r->upload, &room);
        bool woken = false, in_place = room > 0;
        if (!in_place) {
            data = r->data;
            room = sizeof r->data;
        }
        result = http_read_or_wake(r->c->rq, upload_wake_fd(r->upload), data, room, &len, &woken, e);
        if (result != 0)
            break;
        if (!woken && len == 0)
            return 0;
        result = woken ? upload_attend(r->upload, e) : add_bytes(r, data, len, in_place, e);
    }
    return result;
}

/* --- Checksums --- */

static int find_checksum(const struct receiving *r, struct tus_checksum *ret, struct err *e)
{
    if (r->c->command.check == TUS_CHECK_HEADER) {
        *ret = r->c->command.checksum;
        return 0;
    }
    const char *text = http_trailer(r->c->rq, "Upload-Checksum");
    if (text == NULL)
        return err_set(e, ERR_INVALID,
                       "the trailer that was announced, Upload-Checksum, did not come; send it behind the last chunk");
    return tus_checksum_parse(text, ret, e);
}

/* Of a body that has come to its end. */
static int verify(const struct receiving *r, struct upload_result *ret, struct err *e)
{
    struct tus_checksum checksum;
    bool same = false;

    int result = find_checksum(r, &checksum, e);
    if (result == 0)
        result = tus_digest_matches(r->digest, &checksum, &same, e);
    if (result != 0)
        return result;
    if (same)
        return upload_keep(r->upload, e);
    upload_discard(r->upload);
    ret->refused = true;
    tus_refuse(&r->c->command, 460, "checksum-mismatch", &ret->reply,
               "What came is not what was sent: its checksum differs. Nothing of it was kept; send it again.");
    return 0;
}

static int take_checked(struct receiving *r, struct upload_result *ret, struct err *e)
{
    const struct tus_command *c = &r->c->command;

    int result = tus_digest_new(c->check == TUS_CHECK_HEADER ? c->checksum.algorithm : TUS_ALGORITHM_COUNT, &r->digest,
                                e);
    if (result != 0)
        return result;
    upload_hold(r->upload);
    result = take_bytes(r, e);
    if (result == 0)
        result = verify(r, ret, e);
    if (result != 0)
        upload_discard(r->upload);
    tus_digest_free(r->digest);
    r->digest = NULL;
    return result;
}

/* --- What becomes of them --- */

int upload_settle(const struct tus_call *c, struct upload *u, struct upload_result *ret, struct err *e)
{
    struct queue_video video = {0};
    bool stored = false;

    int r = upload_finish(u, &video, &stored, e);
    if (r == 0) {
        queue_video_release(&video);
        upload_count_end("accepted");
        log_info(&c->ids, "upload finished", "bytes", num_u64(upload_recorded(u)->offset).s, "client",
                 http_peer(c->rq));
        ret->finished = true;
        return 0;
    }
    if (r == -ERR_NOT_FOUND)
        return err_set(e, ERR_STALE, "the upload was deleted in its last moment");
    reconcile_soon(c->api->reconciler);
    if (!stored)
        return r;
    log_warn(&c->ids, "upload stored but not queued", "error", e->text);
    ret->unsettled = true;
    return 0;
}

/* The body has ended as it should. */
static int conclude(const struct receiving *r, struct upload_result *ret, struct err *e)
{
    struct tus_upload now = tus_call_view(upload_recorded(r->upload), false);
    uint64_t length = TUS_UNKNOWN;
    int result = 0;

    now.offset = r->offset;
    now.length = r->length;
    ret->refused = !tus_decide_end(&r->c->command, &now, &length, &ret->reply);
    if (!ret->refused && length != TUS_UNKNOWN) {
        result = upload_declare(r->upload, length, e);
        now.length = length;
    }
    if (result != 0)
        return result;
    if (now.offset == now.length)
        return upload_settle(r->c, r->upload, ret, e);
    return upload_pause(r->upload, e);
}

/* The client will go on from what is recorded now. */
static void keep_what_came(const struct receiving *r, const struct err *why)
{
    const char *kind = err_kind_name(why->kind);
    struct err e = {.text = ""};

    upload_count_interruption(kind);
    if (why->kind != ERR_STALE && upload_pause(r->upload, &e) != 0)
        log_warn(&r->c->ids, "what came of an upload could not be recorded", "error", e.text);
    log_info(&r->c->ids, "upload interrupted", "why", kind, "error", why->text, "from", num_u64(r->c->command.offset).s,
             "to", num_u64(upload_recorded(r->upload)->offset).s, "client", http_peer(r->c->rq));
    r->c->told = why->kind != ERR_BUG && why->kind != ERR_TEMPORARY; /* which are not the client's doing */
}

static int receive(struct receiving *r, struct upload_result *ret, struct err *e)
{
    int result = r->c->command.check == TUS_UNCHECKED ? take_bytes(r, e) : take_checked(r, ret, e);

    if (result == 0)
        return ret->refused ? upload_pause(r->upload, e) : conclude(r, ret, e);
    keep_what_came(r, e);
    if (result != -ERR_TOO_LARGE)
        return result;
    ret->refused = true;
    tus_refuse_too_long(&r->c->command, &ret->reply);
    return 0;
}

int upload_receive(struct tus_call *c, struct upload *u, uint64_t length, struct upload_result *ret, struct err *e)
{
    uint64_t known = tus_call_view(upload_recorded(u), false).length;
    MEM_AUTO struct receiving *r = mem_alloc(sizeof *r);

    *ret = (struct upload_result){0};
    if (r == NULL)
        return err_set(e, ERR_TEMPORARY, "no memory for an upload");
    r->c = c;
    r->upload = u;
    r->digest = NULL;
    r->offset = c->command.offset;
    r->length = length != TUS_UNKNOWN ? length : known;
    int result = length != TUS_UNKNOWN ? upload_declare(u, length, e) : 0;
    return result == 0 ? receive(r, ret, e) : result;
}
