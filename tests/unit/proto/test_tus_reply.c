#include "base/buf.h"
#include "proto/tus_reply.h"
#include "suite.h"

#include <string.h>

static const struct tus_limits limits = {.max_size = 5000, .now_ms = 1767225600000}; /* 2026-01-01T00:00:00Z */

static const struct tus_upload fresh = {.offset = 0, .length = 1000, .expires_ms = 1767225600000 + 86400000};
static const struct tus_upload deferred = {.offset = 7, .length = TUS_UNKNOWN};
static const struct tus_upload whole = {
    .offset = 9, .length = 9, .finished = true, .metadata = "filename Zm9v", .concat = "final;/a /b"};

#define COMMAND(m, v) (&(struct tus_command){.method = (m), .interop_version = (v)})

/* "201 Name: value, Name: value", in the order in which they are sent. */
static void expect(const struct tus_reply *r, const char *wanted)
{
    BUF_AUTO struct buf text;

    buf_init(&text, 4096);
    buf_printf(&text, "%d", r->status);
    for (size_t i = 0; i < r->count; i++)
        buf_printf(&text, "|%s: %s", r->fields[i].name, tus_field_value(&r->fields[i]));
    ck_assert_str_eq(buf_cstr(&text), wanted);
    ck_assert_uint_lt(r->count, TUS_FIELDS_MAX);
}

#define TUS "Tus-Resumable: 1.0.0|Cache-Control: no-store"
#define DRAFT(v) "Upload-Draft-Interop-Version: " v "|Cache-Control: no-store"
#define EXPIRES "Upload-Expires: Fri, 02 Jan 2026 00:00:00 GMT"

START_TEST(options)
{
    struct tus_reply r;

    tus_reply_options(COMMAND(TUS_OPTIONS, 0), &limits, &r);
    expect(&r, "204|Cache-Control: no-store|Tus-Version: 1.0.0|Tus-Extension: creation,creation-with-upload,"
               "creation-defer-length,expiration,checksum,checksum-trailer,termination,concatenation|"
               "Tus-Checksum-Algorithm: sha1,sha256,crc32c,md5|Tus-Max-Size: 5000|Upload-Limit: max-size=5000");
    ck_assert_ptr_null(r.type);
}
END_TEST

START_TEST(created)
{
    struct tus_reply r;

    tus_reply_created(COMMAND(TUS_POST, 0), &fresh, &limits, "/u/x", true, &r);
    expect(&r, "201|" TUS "|Location: /u/x|Upload-Offset: 0|" EXPIRES);
    tus_reply_created(COMMAND(TUS_POST, 0), &whole, &limits, "/u/x", false, &r);
    expect(&r, "201|" TUS "|Location: /u/x");
    tus_reply_created(COMMAND(TUS_POST, 3), &whole, &limits, "/u/x", true, &r);
    expect(&r, "201|" DRAFT("3") "|Location: /u/x|Upload-Offset: 9|Upload-Incomplete: ?0");
    tus_reply_created(COMMAND(TUS_POST, 6), &fresh, &limits, "/u/x", true, &r);
    expect(&r, "201|" DRAFT("6") "|Location: /u/x|Upload-Offset: 0|Upload-Complete: ?0|" EXPIRES
                                 "|Upload-Limit: max-size=5000, max-age=86400");
}
END_TEST

START_TEST(resumable)
{
    struct tus_reply r;

    tus_reply_resumable(COMMAND(TUS_POST, 3), &fresh, &limits, "/u/x", &r);
    expect(&r, "104|Upload-Draft-Interop-Version: 3|Location: /u/x");
    tus_reply_resumable(COMMAND(TUS_POST, 6), &fresh, &limits, "/u/x", &r);
    expect(&r, "104|Upload-Draft-Interop-Version: 6|Location: /u/x|Upload-Limit: max-size=5000, max-age=86400");
}
END_TEST

START_TEST(head)
{
    struct tus_reply r;

    tus_reply_head(COMMAND(TUS_HEAD, 0), &fresh, &limits, &r);
    expect(&r, "200|" TUS "|Upload-Offset: 0|Upload-Length: 1000|" EXPIRES);
    tus_reply_head(COMMAND(TUS_HEAD, 0), &deferred, &limits, &r);
    expect(&r, "200|" TUS "|Upload-Offset: 7|Upload-Defer-Length: 1");
    tus_reply_head(COMMAND(TUS_HEAD, 0), &whole, &limits, &r);
    expect(&r,
           "200|" TUS "|Upload-Offset: 9|Upload-Length: 9|Upload-Metadata: filename Zm9v|Upload-Concat: final;/a /b");
    tus_reply_head(COMMAND(TUS_HEAD, 5), &whole, &limits, &r);
    expect(&r, "204|" DRAFT("5") "|Upload-Offset: 9|Upload-Length: 9|Upload-Complete: ?1");
    tus_reply_head(COMMAND(TUS_HEAD, 6), &deferred, &limits, &r);
    expect(&r, "204|" DRAFT("6") "|Upload-Offset: 7|Upload-Complete: ?0|Upload-Limit: max-size=5000");
}
END_TEST

START_TEST(patched)
{
    struct tus_reply r;

    tus_reply_patched(COMMAND(TUS_PATCH, 0), &fresh, &r);
    expect(&r, "204|" TUS "|Upload-Offset: 0|" EXPIRES);
    tus_reply_patched(COMMAND(TUS_PATCH, 4), &whole, &r);
    expect(&r, "204|" DRAFT("4") "|Upload-Offset: 9|Upload-Complete: ?1");
    tus_reply_plain(COMMAND(TUS_DELETE, 0), 204, &r);
    expect(&r, "204|" TUS);
}
END_TEST

START_TEST(refusals)
{
    struct tus_reply r;

    tus_refuse_version(COMMAND(TUS_HEAD, 0), &r);
    expect(&r, "412|" TUS "|Tus-Version: 1.0.0");
    tus_refuse_unknown(COMMAND(TUS_HEAD, 0), &r);
    expect(&r, "404|" TUS);
    tus_refuse_gone(COMMAND(TUS_DELETE, 0), &r);
    expect(&r, "410|" TUS);
    tus_refuse_too_long(COMMAND(TUS_PATCH, 6), &r);
    expect(&r, "413|" DRAFT("6") "|Upload-Complete: ?0");
    tus_refuse_offset(COMMAND(TUS_PATCH, 0), &deferred, &r);
    expect(&r, "409|" TUS "|Upload-Offset: 7");
    ck_assert_str_eq(r.type, "wrong-offset");
}
END_TEST

/* 15 */
START_TEST(trouble_that_passes_is_423_for_head_and_503_for_the_rest)
{
    struct tus_reply r;

    for (enum tus_method m = TUS_OPTIONS; m <= TUS_DELETE; m++) {
        tus_refuse_for_now(COMMAND(m, 0), 503, 5, "busy", "Try again.", &r);
        ck_assert_int_eq(r.status, m == TUS_HEAD ? 423 : 503);
        ck_assert_str_eq(r.fields[r.count - 1].name, "Retry-After");
        ck_assert_str_eq(tus_field_value(&r.fields[r.count - 1]), "5");
        ck_assert_str_eq(r.detail, "Try again.");
        tus_refuse_for_now(COMMAND(m, 0), 423, 1, "locked", "Try again.", &r);
        ck_assert_int_eq(r.status, 423);
    }
}
END_TEST

/* A detail that would be too long is cut, not written past its end. */
START_TEST(long_details_are_cut)
{
    char text[2 * TUS_DETAIL_SIZE];
    struct tus_reply r;

    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    tus_refuse(COMMAND(TUS_GET, 0), 400, "invalid", &r, "%s", text);
    ck_assert_uint_eq(strlen(r.detail), TUS_DETAIL_SIZE - 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("tus_reply");
    TCase *tcase = tcase_create("reply");
    tcase_add_test(tcase, options);
    tcase_add_test(tcase, created);
    tcase_add_test(tcase, resumable);
    tcase_add_test(tcase, head);
    tcase_add_test(tcase, patched);
    tcase_add_test(tcase, refusals);
    tcase_add_test(tcase, trouble_that_passes_is_423_for_head_and_503_for_the_rest);
    tcase_add_test(tcase, long_details_are_cut);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
