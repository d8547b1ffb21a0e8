#include "base/buf.h"
#include "base/mem.h"
#include "proto/tus_metadata.h"
#include "suite.h"

#include <string.h>

static const struct {
    const char *text, *filename, *title, *description;
} good[] = {
    {NULL, NULL, NULL, NULL},
    {"", NULL, NULL, NULL}, /* Debian's tuspy sends it */
    {"filename Y2xpcC5tcDQ=", "clip.mp4", NULL, NULL},
    {"name Y2xpcC5tcDQ=", "clip.mp4", NULL, NULL},
    {"name bmFtZQ==,filename Y2xpcC5tcDQ=", "clip.mp4", NULL, NULL}, /* filename wins */
    {"filename Y2xpcC5tcDQ=,name bmFtZQ==", "clip.mp4", NULL, NULL},
    {"title QSB0aXRsZQ==,description ZMOpag==", NULL, "A title", "d\xc3\xa9j"},
    {"filename Y2xpcC5tcDQ=, is_private", "clip.mp4", NULL, NULL},
    {"is_private , filename Y2xpcC5tcDQ=", "clip.mp4", NULL, NULL},
    {"filename", "", NULL, NULL},
    {"filename ", "", NULL, NULL},
    {"Filename Y2xpcC5tcDQ=", NULL, NULL, NULL}, /* keys have a case */
    {"binary AAAA/w==,dc:title QUE=,user[id] QUE=", NULL, NULL, NULL},
};

static void expect(const char *got, const char *wanted)
{
    if (wanted == NULL)
        ck_assert_ptr_null(got);
    else
        ck_assert_str_eq(got, wanted);
}

START_TEST(takes_what_is_used)
{
    struct tus_metadata m = {0};

    ck_assert_int_eq(tus_metadata_parse(good[_i].text, &m, NULL), 0);
    expect(m.filename, good[_i].filename);
    expect(m.title, good[_i].title);
    expect(m.description, good[_i].description);
    tus_metadata_release(&m);
    tus_metadata_release(&m);
    tus_metadata_release(NULL);
}
END_TEST

static const char *const bad[] = {
    ",",
    " , ",
    " ",
    "a Y2xp,",
    ",a Y2xp",
    "a Y2xp,,b Y2xp",
    "filename !!!",
    "filename Y2xpc",
    "filename Y2xp=",
    "filename Y2xp Y2xp",
    "filename  Y2xp",
    "filename=Y2xp",
    "filename\tY2xp",
    "b\xc3\xa9 Y2xp",
    "a Y2xp,a Y2xp",
    "a,b,a",
    "a Y2xp,a",
    "filename AAAA",    /* NUL bytes */
    "description ZAA=", /* one at the end */
    "name AAAA",
};

START_TEST(refuses_what_is_malformed)
{
    struct tus_metadata m = {0};
    struct err e;

    ck_assert_int_eq(tus_metadata_parse(bad[_i], &m, &e), -ERR_INVALID);
    ck_assert_ptr_null(m.filename);
    ck_assert_ptr_nonnull(strstr(e.text, "Upload-Metadata"));
}
END_TEST

static int parse_keys(unsigned count)
{
    BUF_AUTO struct buf text;
    TUS_METADATA_AUTO struct tus_metadata m = {0};

    buf_init(&text, TUS_METADATA_MAX);
    for (unsigned i = 0; i < count; i++)
        buf_printf(&text, "%skey%u QQ==", i == 0 ? "" : ",", i);
    return tus_metadata_parse(buf_cstr(&text), &m, NULL);
}

START_TEST(has_bounds)
{
    TUS_METADATA_AUTO struct tus_metadata m = {0};
    char text[TUS_METADATA_MAX + 2];

    ck_assert_int_eq(parse_keys(TUS_METADATA_KEYS), 0);
    ck_assert_int_eq(parse_keys(TUS_METADATA_KEYS + 1), -ERR_INVALID);
    memset(text, 'A', sizeof text);
    memcpy(text, "a   ", 2);
    text[TUS_METADATA_MAX + 1] = '\0';
    ck_assert_int_eq(tus_metadata_parse(text, &m, NULL), -ERR_TOO_LARGE);
    text[TUS_METADATA_MAX - 2] = '\0'; /* 8188 characters of base64 */
    ck_assert_int_eq(tus_metadata_parse(text, &m, NULL), 0);
}
END_TEST

START_TEST(keeps_nothing_without_memory)
{
    for (unsigned nth = 1; nth <= 2; nth++) {
        struct tus_metadata m = {0};
        mem_fail_from(nth);
        int r = tus_metadata_parse("filename QQ==,title QQ==", &m, NULL);
        mem_fail_from(0);
        ck_assert_int_eq(r, -ERR_TEMPORARY);
        ck_assert_ptr_null(m.filename);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("tus_metadata");
    TCase *tcase = tcase_create("parse");
    tcase_add_loop_test(tcase, takes_what_is_used, 0, sizeof good / sizeof *good);
    tcase_add_loop_test(tcase, refuses_what_is_malformed, 0, sizeof bad / sizeof *bad);
    tcase_add_test(tcase, has_bounds);
    tcase_add_test(tcase, keeps_nothing_without_memory);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
