#include "tus_reply.h"

#include "base/clock.h"
#include "base/str.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define INTEROP_INCOMPLETE 3 /* that draft says Upload-Incomplete where the later ones say Upload-Complete */
#define INTEROP_LIMITS 6     /* the first that has Upload-Limit */

const char *tus_field_value(const struct tus_field *f)
{
    return f->borrowed != NULL ? f->borrowed : f->text;
}

/* --- Fields --- */

static void add(struct tus_reply *r, const char *name, const char *value)
{
    if (value != NULL && r->count < TUS_FIELDS_MAX)
        r->fields[r->count++] = (struct tus_field){.name = name, .borrowed = value};
}

static void add_text(struct tus_reply *r, const char *name, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static void add_text(struct tus_reply *r, const char *name, const char *fmt, ...)
{
    va_list args;

    if (r->count == TUS_FIELDS_MAX)
        return;
    struct tus_field *f = &r->fields[r->count++];
    *f = (struct tus_field){.name = name};
    va_start(args, fmt);
    vsnprintf(f->text, sizeof f->text, fmt, args);
    va_end(args);
}

static void add_number(struct tus_reply *r, const char *name, uint64_t n)
{
    add_text(r, name, "%" PRIu64, n);
}

static void begin(struct tus_reply *r, const struct tus_command *c, int status)
{
    *r = (struct tus_reply){.status = status};
    if (c->interop_version != 0)
        add_number(r, "Upload-Draft-Interop-Version", c->interop_version);
    else if (c->method != TUS_OPTIONS)
        add(r, "Tus-Resumable", TUS_VERSION);
    add(r, "Cache-Control", "no-store");
}

static void add_complete(struct tus_reply *r, const struct tus_command *c, bool complete)
{
    if (c->interop_version == 0)
        return;
    if (c->interop_version == INTEROP_INCOMPLETE)
        add(r, "Upload-Incomplete", complete ? "?0" : "?1");
    else
        add(r, "Upload-Complete", complete ? "?1" : "?0");
}

static void add_expires(struct tus_reply *r, const struct tus_upload *u)
{
    char date[CLOCK_HTTP_DATE_SIZE];

    if (u->expires_ms == 0)
        return;
    clock_http_date(u->expires_ms, date);
    add_text(r, "Upload-Expires", "%s", date);
}

/* The drafts' way to say how large and how old an upload may become. */
static void add_limit(struct tus_reply *r, const struct tus_command *c, const struct tus_limits *limits,
                      const struct tus_upload *u)
{
    if (c->interop_version < INTEROP_LIMITS)
        return;
    if (u->expires_ms > limits->now_ms)
        add_text(r, "Upload-Limit", "max-size=%" PRIu64 ", max-age=%" PRIu64, limits->max_size,
                 (u->expires_ms - limits->now_ms) / 1000);
    else
        add_text(r, "Upload-Limit", "max-size=%" PRIu64, limits->max_size);
}

/* --- Answers --- */

void tus_reply_options(const struct tus_command *c, const struct tus_limits *limits, struct tus_reply *ret)
{
    begin(ret, c, 204);
    add(ret, "Tus-Version", TUS_VERSION);
    add(ret, "Tus-Extension", TUS_EXTENSIONS);
    add(ret, "Tus-Checksum-Algorithm", TUS_CHECKSUM_ALGORITHMS);
    add_number(ret, "Tus-Max-Size", limits->max_size);
    add_text(ret, "Upload-Limit", "max-size=%" PRIu64, limits->max_size);
}

void tus_reply_resumable(const struct tus_command *c, const struct tus_upload *u, const struct tus_limits *limits,
                         const char *location, struct tus_reply *ret)
{
    *ret = (struct tus_reply){.status = 104};
    add_number(ret, "Upload-Draft-Interop-Version", c->interop_version);
    add(ret, "Location", location);
    add_limit(ret, c, limits, u);
}

void tus_reply_created(const struct tus_command *c, const struct tus_upload *u, const struct tus_limits *limits,
                       const char *location, bool settled, struct tus_reply *ret)
{
    begin(ret, c, 201);
    add(ret, "Location", location);
    if (settled)
        add_number(ret, "Upload-Offset", u->offset);
    add_complete(ret, c, settled && u->finished);
    add_expires(ret, u);
    add_limit(ret, c, limits, u);
}

void tus_reply_head(const struct tus_command *c, const struct tus_upload *u, const struct tus_limits *limits,
                    struct tus_reply *ret)
{
    begin(ret, c, c->interop_version != 0 ? 204 : 200);
    add_number(ret, "Upload-Offset", u->offset);
    if (u->length != TUS_UNKNOWN)
        add_number(ret, "Upload-Length", u->length);
    else if (c->interop_version == 0)
        add(ret, "Upload-Defer-Length", "1");
    if (c->interop_version == 0) {
        add(ret, "Upload-Metadata", u->metadata);
        add(ret, "Upload-Concat", u->concat);
    }
    add_complete(ret, c, u->finished);
    add_expires(ret, u);
    add_limit(ret, c, limits, u);
}

void tus_reply_patched(const struct tus_command *c, const struct tus_upload *u, struct tus_reply *ret)
{
    begin(ret, c, 204);
    add_number(ret, "Upload-Offset", u->offset);
    add_complete(ret, c, u->finished);
    add_expires(ret, u);
}

void tus_reply_plain(const struct tus_command *c, int status, struct tus_reply *ret)
{
    begin(ret, c, status);
}

/* --- Refusals --- */

void tus_refuse(const struct tus_command *c, int status, const char *type, struct tus_reply *ret, const char *fmt, ...)
{
    va_list args;

    begin(ret, c, status);
    ret->type = type;
    va_start(args, fmt);
    vsnprintf(ret->detail, sizeof ret->detail, fmt, args);
    va_end(args);
    if (c->method == TUS_POST || c->method == TUS_PATCH)
        add_complete(ret, c, false);
}

void tus_refuse_version(const struct tus_command *c, struct tus_reply *ret)
{
    tus_refuse(c, 412, "unsupported-version", ret,
               "Say Tus-Resumable: " TUS_VERSION ", or Upload-Draft-Interop-Version with 3, 4, 5 or 6.");
    add(ret, "Tus-Version", TUS_VERSION);
}

void tus_refuse_unknown(const struct tus_command *c, struct tus_reply *ret)
{
    tus_refuse(c, 404, "not-found", ret,
               "There is no such upload. Its URL is the Location that came when it was created; without it create "
               "another one.");
}

void tus_refuse_gone(const struct tus_command *c, struct tus_reply *ret)
{
    tus_refuse(c, 410, "gone", ret,
               "The upload was deleted, has expired, or is part of a final one. "
               "Create another one.");
}

void tus_refuse_too_long(const struct tus_command *c, struct tus_reply *ret)
{
    tus_refuse(c, 413, "too-large", ret,
               "The body goes beyond the length of the upload. Ask for the offset with HEAD and send only what is "
               "missing.");
}

void tus_refuse_offset(const struct tus_command *c, const struct tus_upload *u, struct tus_reply *ret)
{
    tus_refuse(c, 409, "wrong-offset", ret,
               "The upload is at offset %" PRIu64 ", not at %" PRIu64 ". Ask for it with HEAD and go on from there.",
               u->offset, c->offset);
    add_number(ret, "Upload-Offset", u->offset);
}

void tus_refuse_for_now(const struct tus_command *c, int status, unsigned retry_after_s, const char *type,
                        const char *detail, struct tus_reply *ret)
{
    tus_refuse(c, c->method == TUS_HEAD ? 423 : status, type, ret, "%s", detail);
    add_number(ret, "Retry-After", retry_after_s);
}
