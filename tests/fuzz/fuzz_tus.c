#include "proto/tus_metadata.h"
#include "proto/tus_reply.h"
#include "proto/tus_url.h"

#include <stdlib.h>
#include <string.h>

/* The first byte picks the method, eight bytes are the length of the body, eight each say how far the upload is, how long
 * it is and what its flags are; the rest are the header fields, one a line, an empty line for one that is not there. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FIELDS 14
static const struct tus_limits limits = {.max_size = UINT64_C(1) << 40, .now_ms = 1};

static void expect(bool true_always)
{
    if (!true_always)
        abort();
}

static void check_reply(const struct tus_reply *r)
{
    expect(r->status >= 200 && r->status < 600 && r->count < TUS_FIELDS_MAX);
    expect((r->type != NULL) == (r->status >= 400));
    for (size_t i = 0; i < r->count; i++)
        expect(tus_field_value(&r->fields[i]) != NULL && strchr(tus_field_value(&r->fields[i]), '\n') == NULL);
}

static void check_texts(const struct tus_command *c)
{
    TUS_METADATA_AUTO struct tus_metadata m = {0};
    struct tus_name name;
    size_t len, count = 0;

    if (tus_metadata_parse(c->metadata, &m, NULL) != 0)
        expect(m.filename == NULL && m.title == NULL && m.description == NULL);
    if (c->concat != TUS_FINAL)
        return;
    for (const char *rest = c->urls, *url; (url = tus_url_next(&rest, &len)) != NULL; count++)
        if (tus_url_parse(url, len, &name))
            expect(id_video_valid(name.video_id) && strlen(name.secret) == TUS_SECRET_SIZE - 1);
    expect(count > 0);
}

static void check_patch(const struct tus_command *c, const struct tus_upload *u)
{
    struct tus_reply reply;
    uint64_t length;

    enum tus_verdict verdict = tus_decide(c, u, &limits, &length, &reply);
    if (verdict == TUS_REFUSED) {
        check_reply(&reply);
        return;
    }
    expect(c->offset == u->offset);
    expect(length == TUS_UNKNOWN || (u->length == TUS_UNKNOWN && length >= u->offset && length <= limits.max_size));
    uint64_t end = u->length != TUS_UNKNOWN ? u->length : length;
    if (end != TUS_UNKNOWN && c->body_length != TUS_UNKNOWN)
        expect(c->body_length <= end - u->offset);
    if (!tus_decide_end(c, u, &length, &reply))
        check_reply(&reply);
    tus_reply_patched(c, u, &reply);
    check_reply(&reply);
}

static uint64_t take_number(const uint8_t **data)
{
    uint64_t n;

    memcpy(&n, *data, sizeof n);
    *data += sizeof n;
    return n;
}

static void fill_request(struct tus_request *rq, char *text)
{
    const char **fields[FIELDS] = {
        &rq->tus_resumable, &rq->interop_version, &rq->content_type, &rq->trailer,  &rq->length,
        &rq->defer_length,  &rq->offset,          &rq->metadata,     &rq->concat,   &rq->checksum,
        &rq->complete,      &rq->incomplete,      &rq->twice,        &rq->metadata,
    };

    for (size_t i = 0; i < FIELDS && text != NULL; i++) {
        char *end = strchr(text, '\n');
        if (end != NULL)
            *end++ = '\0';
        *fields[i] = text[0] != '\0' ? text : NULL;
        text = end;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[4096];
    struct tus_request rq = {0};
    struct tus_command c;
    struct tus_reply reply;

    if (size < 25 || size - 25 >= sizeof text)
        return 0;
    memcpy(text, data + 25, size - 25);
    text[size - 25] = '\0';
    fill_request(&rq, text);
    rq.method = (enum tus_method)(*data++ % (TUS_DELETE + 1));
    rq.body_length = take_number(&data);
    struct tus_upload u = {.offset = take_number(&data), .length = take_number(&data)};
    u.offset %= limits.max_size;
    if (u.length < u.offset)
        u.length = TUS_UNKNOWN;
    u.finished = u.length == u.offset;

    if (!tus_parse(&rq, &limits, &c, &reply)) {
        check_reply(&reply);
        return 0;
    }
    check_texts(&c);
    if (c.method == TUS_PATCH)
        check_patch(&c, &u);
    tus_reply_head(&c, &u, &limits, &reply);
    check_reply(&reply);
    tus_reply_created(&c, &u, &limits, "/x", true, &reply);
    check_reply(&reply);
    return 0;
}
