#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"
#include "proto/form.h"
#include "suite.h"

#include <stdio.h>
#include <string.h>

/* Everything that came out of a parser, as one text: "name|filename|type|data;" for each part. A file has "F" before. */
struct record {
    struct buf out;
    int fail_at; /* the nth call fails, 0: none */
    int calls;
};

static int count_call(struct record *record, struct err *e)
{
    return ++record->calls == record->fail_at ? err_set(e, ERR_BUSY, "enough") : 0;
}

static int on_begin(void *ctx, const struct form_part *part, struct err *e)
{
    struct record *record = ctx;

    buf_printf(&record->out, "%s%s|%s|%s|", part->is_file ? "F " : "", part->name, part->filename, part->content_type);
    return count_call(record, e);
}

static int on_data(void *ctx, const void *data, size_t len, struct err *e)
{
    struct record *record = ctx;

    ck_assert_uint_gt(len, 0);
    buf_append(&record->out, data, len);
    return count_call(record, e);
}

static int on_end(void *ctx, struct err *e)
{
    struct record *record = ctx;

    buf_putc(&record->out, ';');
    return count_call(record, e);
}

static const struct form_calls calls = {on_begin, on_data, on_end};

/* Feeds `len` bytes in pieces of `step`. */
static int parse(const char *type, const char *body, size_t len, size_t step, struct record *record, struct err *e)
{
    struct form_parser *parser;
    int r = form_new(type, &calls, record, &parser, e);

    if (r != 0)
        return r;
    for (size_t at = 0; at < len && r == 0; at += step)
        r = form_feed(parser, body + at, len - at < step ? len - at : step, e);
    if (r == 0)
        r = form_finish(parser, e);
    form_free(parser);
    return r;
}

#define TYPE "multipart/form-data; boundary=XX"
#define DISPOSITION "Content-Disposition: form-data; name=\"a\"\r\n"

static const struct {
    const char *type, *body, *events;
} good[] = {
    {TYPE, "--XX\r\n" DISPOSITION "\r\nhello\r\n--XX--\r\n", "a|||hello;"},
    {TYPE, "--XX\r\n" DISPOSITION "\r\nhello\r\n--XX--", "a|||hello;"},               /* no line end at the end */
    {TYPE, "--XX--\r\n", ""},                                                         /* no part at all */
    {TYPE, "ignored\r\n--XX\r\n" DISPOSITION "\r\n1\r\n--XX--\r\nignored", "a|||1;"}, /* preamble and epilogue */
    {TYPE, "\r\n--XX\r\n" DISPOSITION "\r\n1\r\n--XX--", "a|||1;"},
    {TYPE, "--XX \t\r\n" DISPOSITION "\r\n1\r\n--XX--", "a|||1;"}, /* padding after a boundary */
    {TYPE, "--XX\r\n" DISPOSITION "\r\n\r\n--XX--", "a|||;"},      /* an empty value */
    {TYPE, "--XX\r\n" DISPOSITION "\r\n--XX--", "a|||;"},          /* no body at all (RFC 2046) */
    {TYPE, "--XX\r\n" DISPOSITION "\r\n--X\r\n--XX--", "a|||--X;"},
    {TYPE, "--XX\r\n" DISPOSITION "\r\n-\r\n--XX--", "a|||-;"},
    {TYPE, "--XX\r\n" DISPOSITION "\r\n\r\n\r\n--XX--", "a|||\r\n;"},
    {TYPE, "--XX\r\n" DISPOSITION "\r\n\r\r\n-\r\n--\r\n--X\r\n--XX--", "a|||\r\r\n-\r\n--\r\n--X;"}, /* nearly */
    {TYPE, "--XX\r\n" DISPOSITION "\r\nx--XX\n--XX\r--XX\r\n--XX--", "a|||x--XX\n--XX\r--XX;"},
    {TYPE, "--XX\r\n" DISPOSITION "\r\n1\r\n--XX\r\nContent-Disposition: form-data; name=b\r\n\r\n2\r\n--XX--",
     "a|||1;b|||2;"},
    {TYPE,
     "--XX\r\nContent-Disposition: form-data; name=\"video\"; filename=\"c.mp4\"\r\nContent-Type: video/mp4\r\n\r\n"
     "\x01\x02\r\n--XX--",
     "F video|c.mp4|video/mp4|\x01\x02;"},
    {TYPE, "--XX\r\ncontent-disposition:FORM-DATA;NAME=a;FileName=\"\"\r\n\r\n\r\n--XX--", "F a|||;"},
    {TYPE, "--XX\r\nX-Other: 1\r\n" DISPOSITION "\r\n1\r\n--XX--", "a|||1;"},
    {TYPE, "--XX\r\nContent-Transfer-Encoding: binary\r\n" DISPOSITION "\r\n1\r\n--XX--", "a|||1;"},
    {"Multipart/Form-Data; charset=utf-8; boundary=\"a b:c\"", "--a b:c\r\n" DISPOSITION "\r\n1\r\n--a b:c--",
     "a|||1;"},
    {"multipart/form-data;boundary=XX;", "--XX\r\n" DISPOSITION "\r\n1\r\n--XX--", "a|||1;"},
};

START_TEST(reads_what_rfc7578_allows)
{
    struct record record = {0};
    struct err e;
    size_t len = strlen(good[_i].body);

    for (size_t step = 1; step <= len; step++) {
        buf_init(&record.out, 4096);
        ck_assert_msg(parse(good[_i].type, good[_i].body, len, step, &record, &e) == 0, "step %zu: %s", step, e.text);
        ck_assert_str_eq(buf_cstr(&record.out), good[_i].events);
        buf_release(&record.out);
    }
}
END_TEST

static const struct {
    const char *param, *name, *filename;
} names[] = {
    {"name=\"a\"; filename=\"b c.mp4\"", "a", "b c.mp4"},
    {"name=\"a\\\"b\"; filename=\"c\\\"d.mp4\"", "a\"b", "c\"d.mp4"}, /* older curl */
    {"name=\"a\"; filename=\"C:\\dir\\new.mp4\"", "a", "new.mp4"},    /* old browsers: not escapes */
    {"name=\"a\"; filename=\"/home/me/new.mp4\"", "a", "new.mp4"},
    {"name=\"a\"; filename=\"../../etc/passwd\"", "a", "passwd"},
    {"name=\"a\"; filename=\"dir/\"", "a", ""},
    {"name=\"a\"; filename=\"\xC3\xA4.mp4\"", "a", "\xC3\xA4.mp4"},
    {"name=\"a\"; filename=\"\xE4.mp4\"", "a", "?.mp4"}, /* Latin-1 */
    {"name=\"a\"; filename=\"x.mp4\"; filename*=UTF-8''%C3%A4%2Emp4", "a", "\xC3\xA4.mp4"},
    {"name=\"a\"; filename*=utf-8'en'%C3%A4.mp4; filename=x.mp4", "a", "\xC3\xA4.mp4"}, /* wins wherever it stands */
    {"name=\"a\"; filename*=\"UTF-8''b.mp4\"", "a", "b.mp4"},
    {"name=\"a;b=c\"; filename=\"x;y=z.mp4\"", "a;b=c", "x;y=z.mp4"},
    {"name = \"a\" ; filename = b.mp4 ", "a", "b.mp4"},
};

START_TEST(reads_names)
{
    char body[512], events[256];
    struct record record = {0};
    struct err e;

    str_format(body, sizeof body, "--XX\r\nContent-Disposition: form-data; %s\r\n\r\n1\r\n--XX--", names[_i].param);
    str_format(events, sizeof events, "F %s|%s||1;", names[_i].name, names[_i].filename);
    buf_init(&record.out, 4096);
    ck_assert_msg(parse(TYPE, body, strlen(body), 7, &record, &e) == 0, "%s", e.text);
    ck_assert_str_eq(buf_cstr(&record.out), events);
    buf_release(&record.out);
}
END_TEST

static const struct {
    const char *type, *body, *words; /* of the sentence */
} bad[] = {
    {NULL, "", "must be multipart/form-data"},
    {"", "", "must be multipart/form-data"},
    {"multipart/form-dataX; boundary=XX", "", "must be multipart/form-data"},
    {"multipart/mixed; boundary=XX", "", "must be multipart/form-data"},
    {"application/x-www-form-urlencoded", "", "must be multipart/form-data"},
    {"multipart/form-data", "", "no boundary"},
    {"multipart/form-data; boundary=", "", "malformed"},
    {"multipart/form-data; boundary=\"\"", "", "not valid"},
    {"multipart/form-data; boundary=\"XX", "", "malformed"},
    {"multipart/form-data; boundary=X[]X", "", "not valid"},
    {"multipart/form-data; boundary=\"XX \"", "", "not valid"},
    {"multipart/form-data; boundary=XX; boundary=YY", "", "there are two"},
    {"multipart/form-data; boundary=12345678901234567890123456789012345678901234567890123456789012345678901", "",
     "not valid"}, /* 71 */
    {TYPE, "", "is not in the body"},
    {TYPE, "hello", "is not in the body"},
    {TYPE, "--YY\r\n" DISPOSITION "\r\n1\r\n--YY--\r\n", "is not in the body"},
    {TYPE, "--XX", "cut short"},
    {TYPE, "--XX\r\n", "cut short"},
    {TYPE, "--XX\r\n" DISPOSITION, "cut short"},
    {TYPE, "--XX\r\n" DISPOSITION "\r\nhel", "cut short"},
    {TYPE, "--XX\r\n" DISPOSITION "\r\nhello\r\n--XX", "cut short"},
    {TYPE, "--XX\r\n" DISPOSITION "\r\nhello\r\n--XX-", "cut short"},
    {TYPE, "--XX\r\n" DISPOSITION "\r\nhello\r\n--XX\r\n", "cut short"},
    {TYPE, "--XX\n" DISPOSITION "\r\n1\r\n--XX--", "end of its line"},
    {TYPE, "--XX\r\n" DISPOSITION "\r\n1\r\n--XXY--", "end of its line"},
    {TYPE, "--XX\r\n" DISPOSITION "\r\n1\r\n--XX-\r\n", "end of its line"},
    {TYPE, "--XX\r\n\r\n1\r\n--XX--", "no Content-Disposition"},
    {TYPE, "--XX\r\nContent-Type: text/plain\r\n\r\n1\r\n--XX--", "no Content-Disposition"},
    {TYPE, "--XX\r\n" DISPOSITION DISPOSITION "\r\n1\r\n--XX--", "two Content-Disposition"},
    {TYPE, "--XX\r\nContent-Disposition: attachment; name=a\r\n\r\n1\r\n--XX--", "is not form-data"},
    {TYPE, "--XX\r\nContent-Disposition: form-data\r\n\r\n1\r\n--XX--", "has no name"},
    {TYPE, "--XX\r\nContent-Disposition: form-data; name\r\n\r\n1\r\n--XX--", "malformed"},
    {TYPE, "--XX\r\nContent-Disposition: form-data; name=\"a\r\n\r\n1\r\n--XX--", "malformed"},
    {TYPE, "--XX\r\nContent-Disposition: form-data; name=\"a\"x=y\r\n\r\n1\r\n--XX--", "malformed"},
    {TYPE, "--XX\r\nContent-Disposition: form-data; name=a; name=b\r\n\r\n1\r\n--XX--", "two names"},
    {TYPE, "--XX\r\nContent-Disposition: form-data; name=a; filename=b; filename=c\r\n\r\n1\r\n--XX--",
     "two file names"},
    {TYPE, "--XX\r\nContent-Disposition: form-data; name=a; filename*=latin1''b\r\n\r\n1\r\n--XX--", "filename*"},
    {TYPE, "--XX\r\nContent-Disposition: form-data; name=a; filename*=UTF-8''%F\r\n\r\n1\r\n--XX--", "filename*"},
    {TYPE, "--XX\r\nContent-Disposition: form-data; name=a; filename*=UTF-8''%E4\r\n\r\n1\r\n--XX--", "filename*"},
    {TYPE, "--XX\r\nContent-Disposition: form-data; name=a; filename*=UTF-8''%00\r\n\r\n1\r\n--XX--", "filename*"},
    {TYPE, "--XX\r\nContent-Disposition: form-data; name=a; filename*=UTF-8b\r\n\r\n1\r\n--XX--", "filename*"},
    {TYPE, "--XX\r\n: x\r\n\r\n1\r\n--XX--", "malformed header"},
    {TYPE, "--XX\r\nno colon\r\n\r\n1\r\n--XX--", "malformed header"},
    {TYPE, "--XX\r\n" DISPOSITION " folded\r\n\r\n1\r\n--XX--", "malformed header"},
    {TYPE, "--XX\r\nContent-Disposition: form-data; name=\"a\x01\"\r\n\r\n1\r\n--XX--", "malformed header"},
    {TYPE, "--XX\r\nContent-Disposition: form-data; name=\"a\nb\"\r\n\r\n1\r\n--XX--", "malformed header"},
    {TYPE, "--XX\r\nContent-Transfer-Encoding: base64\r\n" DISPOSITION "\r\n1\r\n--XX--", "Content-Transfer-Encoding"},
};

START_TEST(refuses_with_a_sentence)
{
    struct record record = {0};
    struct err e;
    size_t len = strlen(bad[_i].body);

    for (size_t step = 1; step <= len + 1; step++) {
        buf_init(&record.out, 4096);
        ck_assert_int_eq(parse(bad[_i].type, bad[_i].body, len, step, &record, &e), -ERR_INVALID);
        ck_assert_msg(strstr(e.text, bad[_i].words) != NULL, "%s", e.text);
        buf_release(&record.out);
    }
}
END_TEST

START_TEST(refuses_a_nul_in_a_header)
{
    static const char body[] = "--XX\r\nContent-Disposition: form-data; name=\"a\0b\"\r\n\r\n1\r\n--XX--";
    struct record record = {0};
    struct err e;

    buf_init(&record.out, 100);
    ck_assert_int_eq(parse(TYPE, body, sizeof body - 1, 10, &record, &e), -ERR_INVALID);
    buf_release(&record.out);
}
END_TEST

/* `count` times `piece` between `before` and `after`. */
static int parse_repeated(const char *before, const char *piece, size_t count, const char *after, struct err *e)
{
    struct record record = {0};
    struct buf body BUF_AUTO;

    buf_init(&body, 1 << 20);
    buf_init(&record.out, 1 << 20);
    buf_puts(&body, before);
    for (size_t i = 0; i < count; i++)
        buf_puts(&body, piece);
    buf_puts(&body, after);
    int r = parse(TYPE, body.data, body.len, 1000, &record, e);
    buf_release(&record.out);
    return r;
}

static const struct {
    const char *before, *piece;
    size_t most; /* that many pieces are accepted, one more is not */
    const char *after, *words;
} limits[] = {
    {"", "--XX\r\n" DISPOSITION "\r\n1\r\n", FORM_MAX_PARTS, "--XX--", "more than 32 parts"},
    {"--XX\r\n" DISPOSITION "X: ", "x", FORM_MAX_HEADER - 3 - 4 - (sizeof DISPOSITION - 1), "\r\n\r\n1\r\n--XX--",
     "bytes of headers"},
    {"--XX\r\nContent-Disposition: form-data; name=\"", "x", FORM_NAME_SIZE - 1, "\"\r\n\r\n1\r\n--XX--",
     "two names, or one longer"},
    {"--XX\r\nContent-Disposition: form-data; name=a; filename=\"", "x", FORM_FILENAME_SIZE - 1,
     "\"\r\n\r\n1\r\n--XX--", "file name is longer"},
    {"--XX\r\nContent-Disposition: form-data; name=a; filename*=UTF-8''", "x", FORM_FILENAME_SIZE - 1,
     "\r\n\r\n1\r\n--XX--", "too long"},
    {"", "x", 8 * 1024, "\r\n--XX--", "does not begin with the boundary"},
    {"--XX--", "x", 8 * 1024, "", "after the form's closing boundary"},
};

START_TEST(has_limits)
{
    struct err e;

    /* A preamble counts with the line end that belongs to the delimiter only when that turns out to be one. */
    ck_assert_msg(parse_repeated(limits[_i].before, limits[_i].piece, limits[_i].most, limits[_i].after, &e) == 0, "%s",
                  e.text);
    ck_assert_int_eq(parse_repeated(limits[_i].before, limits[_i].piece, limits[_i].most + 1, limits[_i].after, &e),
                     -ERR_INVALID);
    ck_assert_msg(strstr(e.text, limits[_i].words) != NULL, "%s", e.text);
}
END_TEST

START_TEST(passes_on_what_looks_like_a_delimiter_in_one_piece)
{
    static const char body[] = "--XX\r\n" DISPOSITION "\r\n1\r\n2\r\n\r\r--X\r\n--\r\n--X\r\n--Xx\r\n--XX--";
    struct record record = {0};
    struct err e;

    buf_init(&record.out, 100);
    ck_assert_msg(parse(TYPE, body, sizeof body - 1, sizeof body, &record, &e) == 0, "%s", e.text);
    ck_assert_int_eq(record.calls, 3); /* begin, data, end */
    ck_assert_ptr_nonnull(strstr(buf_cstr(&record.out), "|1\r\n2\r\n\r\r--X\r\n--\r\n--X\r\n--Xx;"));
    buf_release(&record.out);
}
END_TEST

START_TEST(passes_a_calls_failure_on)
{
    static const char body[] = "--XX\r\n" DISPOSITION "\r\n1\r\n--XX\r\n" DISPOSITION "\r\n2\r\n--XX--";
    struct err e;

    for (int nth = 1; nth <= 6; nth++) {
        struct record record = {.fail_at = nth};
        buf_init(&record.out, 100);
        ck_assert_int_eq(parse(TYPE, body, sizeof body - 1, 100, &record, &e), -ERR_BUSY);
        ck_assert_str_eq(e.text, "enough");
        ck_assert_int_eq(record.calls, nth);
        buf_release(&record.out);
    }
}
END_TEST

START_TEST(tells_when_there_is_no_memory)
{
    struct record record = {0};
    struct form_parser *parser = NULL;
    struct err e;

    mem_fail_from(1);
    ck_assert_int_eq(form_new(TYPE, &calls, &record, &parser, &e), -ERR_TEMPORARY);
    mem_fail_from(0);
    ck_assert_ptr_null(parser);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("form");
    TCase *tcase = tcase_create("form");

    tcase_add_loop_test(tcase, reads_what_rfc7578_allows, 0, (int)ARRAY_SIZE(good));
    tcase_add_loop_test(tcase, reads_names, 0, (int)ARRAY_SIZE(names));
    tcase_add_loop_test(tcase, refuses_with_a_sentence, 0, (int)ARRAY_SIZE(bad));
    tcase_add_test(tcase, refuses_a_nul_in_a_header);
    tcase_add_loop_test(tcase, has_limits, 0, (int)ARRAY_SIZE(limits));
    tcase_add_test(tcase, passes_on_what_looks_like_a_delimiter_in_one_piece);
    tcase_add_test(tcase, passes_a_calls_failure_on);
    tcase_add_test(tcase, tells_when_there_is_no_memory);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
