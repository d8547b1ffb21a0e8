#include "tus.h"

#include "base/str.h"
#include "http_request.h"
#include "tus_reply.h"

#include <inttypes.h>
#include <string.h>
#include <strings.h>

#define TUS_TYPE "application/offset+octet-stream"
#define DRAFT_TYPE "application/partial-upload"
#define INTEROP_MIN 3
#define INTEROP_MAX 6
#define INTEROP_INCOMPLETE 3 /* has Upload-Incomplete, the later ones Upload-Complete */
#define INTEROP_TYPE 6       /* the first whose PATCH has a media type of its own */

/* A command that is being made of a request: every step returns false when it has refused. */
struct parsing {
    const struct tus_request *rq;
    const struct tus_limits *limits;
    struct tus_command *c;
    struct tus_reply *reply;
};

/* --- Version --- */

static bool parse_interop(const char *text, unsigned *ret)
{
    uint64_t n;

    if (text == NULL || !str_to_u64(text, &n) || n < INTEROP_MIN || n > INTEROP_MAX)
        return false;
    *ret = (unsigned)n;
    return true;
}

static bool parse_version(struct parsing *p)
{
    const struct tus_request *rq = p->rq;
    bool is_tus = rq->tus_resumable != NULL && strcmp(rq->tus_resumable, TUS_VERSION) == 0;

    if (parse_interop(rq->interop_version, &p->c->interop_version) || is_tus)
        return true;
    if (rq->method == TUS_OPTIONS || rq->method == TUS_GET) /* asks what is spoken here; people follow links */
        return true;
    tus_refuse_version(p->c, p->reply);
    return false;
}

/* --- Single fields --- */

static bool parse_number(const struct parsing *p, const char *name, const char *text, uint64_t *ret)
{
    if (str_to_u64(text, ret))
        return true;
    tus_refuse(p->c, 400, "invalid", p->reply, "%s must be a number of bytes: decimal digits, below 2^64.", name);
    return false;
}

static void refuse_too_large(const struct tus_command *c, const struct tus_limits *limits, struct tus_reply *reply)
{
    tus_refuse(c, 413, "too-large", reply,
               "The file is larger than %" PRIu64 " bytes, the most that is taken. Send a smaller one.",
               limits->max_size);
}

static bool parse_length(const struct parsing *p)
{
    if (p->rq->length == NULL)
        return true;
    if (!parse_number(p, "Upload-Length", p->rq->length, &p->c->length))
        return false;
    if (p->c->length <= p->limits->max_size)
        return true;
    refuse_too_large(p->c, p->limits, p->reply);
    return false;
}

static bool has_type(const char *content_type, const char *type)
{
    size_t len = strlen(type);

    if (content_type == NULL || strncasecmp(content_type, type, len) != 0)
        return false;
    content_type += len;
    content_type += strspn(content_type, " \t");
    return *content_type == '\0' || *content_type == ';';
}

static bool expect_type(const struct parsing *p, const char *type)
{
    if (has_type(p->rq->content_type, type))
        return true;
    tus_refuse(p->c, 415, "unsupported-media-type", p->reply, "Say Content-Type: %s when sending bytes of the file.",
               type);
    return false;
}

static bool parse_checksum(const struct parsing *p)
{
    bool in_trailer = p->rq->trailer != NULL && http_list_holds(p->rq->trailer, "Upload-Checksum");
    struct err e;

    if (p->rq->checksum != NULL && in_trailer) {
        tus_refuse(p->c, 400, "invalid", p->reply, "Give Upload-Checksum before the body or after it, not both.");
        return false;
    }
    if (in_trailer && p->c->body_length != TUS_UNKNOWN) {
        tus_refuse(p->c, 400, "invalid", p->reply,
                   "A trailer comes only after a chunked body: send chunks, or Upload-Checksum before the body.");
        return false;
    }
    if (p->rq->checksum != NULL && tus_checksum_parse(p->rq->checksum, &p->c->checksum, &e) != 0) {
        tus_refuse(p->c, 400, "invalid", p->reply, "%s", e.text);
        return false;
    }
    p->c->check = in_trailer ? TUS_CHECK_TRAILER : p->rq->checksum != NULL ? TUS_CHECK_HEADER : TUS_UNCHECKED;
    return true;
}

/* Upload-Complete, or what the first draft had instead. */
static bool parse_complete(const struct parsing *p, bool *ret_given)
{
    bool inverted = p->c->interop_version == INTEROP_INCOMPLETE;
    const char *text = inverted ? p->rq->incomplete : p->rq->complete;

    *ret_given = text != NULL;
    if (text == NULL)
        return true;
    p->c->completes = strcmp(text, inverted ? "?0" : "?1") == 0;
    if (p->c->completes || strcmp(text, inverted ? "?1" : "?0") == 0)
        return true;
    tus_refuse(p->c, 400, "invalid", p->reply, "%s must be ?0 or ?1.",
               inverted ? "Upload-Incomplete" : "Upload-Complete");
    return false;
}

static const char *or_null(const char *text)
{
    return text != NULL && text[0] != '\0' ? text : NULL;
}

/* --- POST --- */

static bool parse_concat(const struct parsing *p)
{
    static const char final[] = "final;";
    const char *text = p->rq->concat;

    if (text == NULL)
        return true;
    p->c->concat_text = text;
    if (strcmp(text, "partial") == 0) {
        p->c->concat = TUS_PARTIAL;
        return true;
    }
    if (str_starts(text, final) && strspn(text + sizeof final - 1, " ") < strlen(text + sizeof final - 1)) {
        p->c->concat = TUS_FINAL;
        p->c->urls = text + sizeof final - 1;
        return true;
    }
    tus_refuse(
        p->c, 400, "invalid", p->reply,
        "Upload-Concat must be \"partial\", or \"final;\" and the URLs of partial uploads, separated by spaces.");
    return false;
}

static bool check_final(const struct parsing *p)
{
    if (p->rq->length != NULL || p->rq->defer_length != NULL) {
        tus_refuse(
            p->c, 400, "invalid", p->reply,
            "A final upload is as long as its partial ones: send neither Upload-Length nor Upload-Defer-Length.");
        return false;
    }
    if (p->c->body_length != 0) {
        tus_refuse(p->c, 400, "invalid", p->reply, "A final upload is made of its partial ones: send no body.");
        return false;
    }
    return true;
}

static bool parse_lengths(const struct parsing *p)
{
    const char *defer = p->rq->defer_length;

    if ((p->rq->length != NULL) == (defer != NULL)) {
        tus_refuse(p->c, 400, "invalid", p->reply,
                   "Say how long the file is with Upload-Length, or Upload-Defer-Length: 1 when that is not known yet; "
                   "one of them.");
        return false;
    }
    if (defer != NULL && strcmp(defer, "1") != 0) {
        tus_refuse(p->c, 400, "invalid", p->reply, "Upload-Defer-Length can only be 1.");
        return false;
    }
    return parse_length(p);
}

static bool check_body_fits(const struct parsing *p)
{
    uint64_t most = p->c->length != TUS_UNKNOWN ? p->c->length : p->limits->max_size;

    if (p->c->body_length == TUS_UNKNOWN || p->c->body_length <= most)
        return true;
    tus_refuse_too_long(p->c, p->reply);
    return false;
}

static bool parse_tus_post(const struct parsing *p)
{
    if (!parse_concat(p))
        return false;
    if (p->c->concat == TUS_FINAL)
        return check_final(p);
    if (!parse_lengths(p) || !parse_checksum(p))
        return false;
    if (p->c->body_length != 0 && !expect_type(p, TUS_TYPE))
        return false;
    return check_body_fits(p);
}

static bool parse_draft_post(const struct parsing *p)
{
    struct tus_command *c = p->c;
    bool given;

    if (!parse_complete(p, &given) || !parse_length(p))
        return false;
    if (!given || p->rq->concat != NULL) {
        tus_refuse(
            c, 400, "invalid", p->reply,
            given ? "Upload-Concat belongs to tus: say Tus-Resumable: " TUS_VERSION " instead of the draft's version."
                  : "Say whether the body is the whole file: Upload-Complete: ?1 (or ?0), and for interop version 3 "
                    "Upload-Incomplete: ?0 (or ?1).");
        return false;
    }
    if (c->completes && c->body_length != TUS_UNKNOWN) {
        if (c->length != TUS_UNKNOWN && c->length != c->body_length) {
            tus_refuse(c, 400, "invalid", p->reply,
                       "The body is said to be the whole file, but is not Upload-Length long. Correct one of them.");
            return false;
        }
        if (c->body_length > p->limits->max_size) {
            refuse_too_large(c, p->limits, p->reply);
            return false;
        }
        c->length = c->body_length;
    }
    return check_body_fits(p);
}

static bool parse_post(const struct parsing *p)
{
    p->c->metadata = or_null(p->rq->metadata);
    return p->c->interop_version != 0 ? parse_draft_post(p) : parse_tus_post(p);
}

/* --- PATCH --- */

static bool parse_patch(const struct parsing *p)
{
    const char *type = p->c->interop_version == 0 ? TUS_TYPE : DRAFT_TYPE;
    bool needs_type = p->c->interop_version == 0 || p->c->interop_version >= INTEROP_TYPE, given;

    if (needs_type && !expect_type(p, type))
        return false;
    if (p->rq->offset == NULL) {
        tus_refuse(p->c, 400, "invalid", p->reply, "Say with Upload-Offset where in the file the body begins.");
        return false;
    }
    if (!parse_number(p, "Upload-Offset", p->rq->offset, &p->c->offset) || !parse_length(p))
        return false;
    return p->c->interop_version == 0 ? parse_checksum(p) : parse_complete(p, &given);
}

/* --- Any --- */

bool tus_parse(const struct tus_request *rq, const struct tus_limits *limits, struct tus_command *ret,
               struct tus_reply *ret_reply)
{
    struct parsing p = {.rq = rq, .limits = limits, .c = ret, .reply = ret_reply};

    *ret = (struct tus_command){.method = rq->method, .length = TUS_UNKNOWN, .body_length = rq->body_length};
    if (!parse_version(&p))
        return false;
    if (rq->twice != NULL) {
        tus_refuse(ret, 400, "invalid", ret_reply, "%s came more than once. Send it once.", rq->twice);
        return false;
    }
    if (rq->method == TUS_POST)
        return parse_post(&p);
    if (rq->method == TUS_PATCH)
        return parse_patch(&p);
    return true;
}

/* --- Decisions --- */

/* What the request says of the length of the file: by itself, or since the file ends with its body. */
static bool find_length(const struct tus_command *c, uint64_t *ret, struct tus_reply *reply)
{
    uint64_t end;

    *ret = c->length;
    if (!c->completes || c->body_length == TUS_UNKNOWN)
        return true;
    if (__builtin_add_overflow(c->offset, c->body_length, &end)) {
        tus_refuse_too_long(c, reply);
        return false;
    }
    if (c->length != TUS_UNKNOWN && c->length != end) {
        tus_refuse(c, 400, "invalid", reply,
                   "The file is said to end with this body, but not where Upload-Length says. Correct one of them.");
        return false;
    }
    *ret = end;
    return true;
}

static bool check_length(const struct tus_command *c, const struct tus_upload *u, const struct tus_limits *limits,
                         uint64_t length, struct tus_reply *reply)
{
    if (length == TUS_UNKNOWN)
        return true;
    if (u->length != TUS_UNKNOWN && u->length != length) {
        tus_refuse(c, 400, "invalid", reply,
                   "The length was declared before, as %" PRIu64
                   ", and can't be changed. Leave Upload-Length out, or create "
                   "another upload.",
                   u->length);
        return false;
    }
    if (length < u->offset) {
        tus_refuse(c, 400, "invalid", reply,
                   "The length can't be less than what is there: %" PRIu64
                   " bytes. Declare at least that, or create another "
                   "upload.",
                   u->offset);
        return false;
    }
    if (u->length == TUS_UNKNOWN && length > limits->max_size) {
        refuse_too_large(c, limits, reply);
        return false;
    }
    return true;
}

static bool is_final(const struct tus_upload *u)
{
    return u->concat != NULL && str_starts(u->concat, "final;");
}

enum tus_verdict tus_decide(const struct tus_command *c, const struct tus_upload *u, const struct tus_limits *limits,
                            uint64_t *ret_length, struct tus_reply *ret_reply)
{
    uint64_t length;

    if (is_final(u)) {
        tus_refuse(c, 403, "final-upload", ret_reply,
                   "This upload was made of partial ones and is complete: nothing can be added to it. "
                   "Create another one for other bytes.");
        return TUS_REFUSED;
    }
    if (c->offset != u->offset) {
        tus_refuse_offset(c, u, ret_reply);
        return TUS_REFUSED;
    }
    if (!find_length(c, &length, ret_reply) || !check_length(c, u, limits, length, ret_reply))
        return TUS_REFUSED;

    uint64_t most = u->length != TUS_UNKNOWN ? u->length : length != TUS_UNKNOWN ? length : limits->max_size;
    uint64_t room = most > u->offset ? most - u->offset : 0;
    if (c->body_length != TUS_UNKNOWN && c->body_length > room) {
        tus_refuse_too_long(c, ret_reply);
        return TUS_REFUSED;
    }
    *ret_length = u->length == TUS_UNKNOWN ? length : TUS_UNKNOWN;
    return u->finished ? TUS_NOTHING : TUS_RECEIVE;
}

bool tus_decide_end(const struct tus_command *c, const struct tus_upload *u, uint64_t *ret_length,
                    struct tus_reply *ret_reply)
{
    if (!c->completes || u->length == u->offset) {
        *ret_length = TUS_UNKNOWN;
        return true;
    }
    if (u->length != TUS_UNKNOWN) {
        tus_refuse(c, 400, "invalid", ret_reply,
                   "The file was said to end here, at %" PRIu64 " bytes, but its length was declared as %" PRIu64 ". "
                   "Send the rest of it, or create another upload.",
                   u->offset, u->length);
        return false;
    }
    *ret_length = u->offset;
    return true;
}
