#include "proto/progress.h"

#include "../suite.h"
#include "base/mem.h"
#include "base/str.h"

#include <stdio.h>
#include <string.h>

static char events[4096];

static void note(const char *text)
{
    size_t len = strlen(events);

    str_copy(events + len, sizeof events - len, text);
}

static int on_block(void *ctx, const struct progress_block *b, struct err *e)
{
    char text[256];

    (void)ctx;
    (void)e;
    snprintf(text, sizeof text, "[%lu/%lu us frame %lu fps %.2f speed %.3f%s]", b->out_time_us, b->duration_us,
             b->frame, b->fps, b->speed, b->end ? " end" : "");
    note(text);
    return 0;
}

static int on_file(void *ctx, const char *path, struct err *e)
{
    (void)ctx;
    if (strcmp(path, "refused") == 0)
        return err_set(e, ERR_BUSY, "refused");
    note("file ");
    note(path);
    note(";");
    return 0;
}

static int on_failed(void *ctx, bool permanent, const char *message, struct err *e)
{
    (void)ctx;
    (void)e;
    note(permanent ? "permanent: " : "temporary: ");
    note(message);
    return 0;
}

static const struct progress_calls calls = {on_block, on_file, on_failed};

static int feed(const char *text, size_t len, size_t piece, struct err *e)
{
    struct progress_parser parser;
    int r = 0;

    events[0] = '\0';
    progress_parser_init(&parser, &calls, NULL);
    for (size_t at = 0; r == 0 && at < len; at += piece)
        r = progress_parser_feed(&parser, text + at, len - at < piece ? len - at : piece, e);
    return r;
}

static const struct {
    const char *text, *events;
    int result;
    const char *error;
} cases[] = {
    {"frame=48\nfps=24.50\nout_time_us=2000000\nspeed=1.021\nduration_us=10000000\nprogress=continue\n",
     "[2000000/10000000 us frame 48 fps 24.50 speed 1.021]", 0, NULL},
    {"out_time_us=5\nprogress=end\n", "[5/0 us frame 0 fps 0.00 speed 0.000 end]", 0, NULL},
    /* what a block leaves out stays as it was */
    {"frame=1\nprogress=continue\nfps=2\nprogress=continue\n",
     "[0/0 us frame 1 fps 0.00 speed 0.000][0/0 us frame 1 fps 2.00 speed 0.000]", 0, NULL},
    {"file=v720/seg_00001.ts\nfile=master.m3u8\n", "file v720/seg_00001.ts;file master.m3u8;", 0, NULL},
    {"file=a=b\n", "file a=b;", 0, NULL},
    {"playable=1\nnews=whatever\nfile=x\n", "file x;", 0, NULL}, /* unknown keys */
    {"error=permanent\nmessage=No video stream.\n", "permanent: No video stream.", 0, NULL},
    {"error=temporary\nmessage=disk full\n", "temporary: disk full", 0, NULL},
    {"error=permanent\nmessage=\xff\xfe!\n", "permanent: ?\?!", 0, NULL},
    /* numbers that are none count as not known */
    {"fps=nan\nspeed=-1.0\nout_time_us=-5\nframe=12x\nduration_us=99999999999999999999\nprogress=continue\n",
     "[0/0 us frame 0 fps 0.00 speed 0.000]", 0, NULL},
    {"fps=1e99\nspeed=99999999999.5\nprogress=continue\n", "[0/0 us frame 0 fps 0.00 speed 1000000000.000]", 0, NULL},
    {"fps=.5\nspeed=5.\nprogress=continue\n", "[0/0 us frame 0 fps 0.00 speed 0.000]", 0, NULL},
    {"file=not ended", "", 0, NULL},
    {"progress=soon\n", "", -ERR_INVALID, "progress: progress=soon"},
    {"error=fatal\n", "", -ERR_INVALID, "progress: error=fatal"},
    {"message=out of the blue\n", "", -ERR_INVALID, "progress: a message without an error"},
    {"frame 48\n", "", -ERR_INVALID, "progress: a line without \"=\""},
    {"\n", "", -ERR_INVALID, "progress: a line without \"=\""},
    {"file=ok\nfile=refused\nfile=never\n", "file ok;", -ERR_BUSY, "refused"},
};

START_TEST(parses_in_pieces_of_any_size)
{
    static const size_t pieces[] = {1, 2, 7, 64, 4096};
    struct err e;

    for (size_t i = 0; i < ARRAY_SIZE(pieces); i++) {
        e = (struct err){0};
        ck_assert_int_eq(feed(cases[_i].text, strlen(cases[_i].text), pieces[i], &e), cases[_i].result);
        ck_assert_str_eq(events, cases[_i].events);
        if (cases[_i].error != NULL)
            ck_assert_str_eq(e.text, cases[_i].error);
    }
}
END_TEST

START_TEST(bounds_a_line)
{
    char text[PROGRESS_LINE_MAX + 3];
    struct err e;

    memset(text, 'x', sizeof text);
    memcpy(text, "file=", 5);
    text[PROGRESS_LINE_MAX] = '\n';
    ck_assert_int_eq(feed(text, PROGRESS_LINE_MAX + 1, 100, &e), 0);
    text[PROGRESS_LINE_MAX] = 'x';
    text[PROGRESS_LINE_MAX + 1] = '\n';
    ck_assert_int_eq(feed(text, PROGRESS_LINE_MAX + 2, 100, &e), -ERR_INVALID);
    ck_assert_int_eq(feed("file=a\0b\n", 9, 100, &e), -ERR_INVALID);
    ck_assert_str_eq(e.text, "progress: a NUL byte");
}
END_TEST

START_TEST(calls_may_be_missing)
{
    static const struct progress_calls none = {NULL, NULL, NULL};
    static const char text[] = "file=x\nprogress=continue\nerror=temporary\nmessage=m\n";
    struct progress_parser parser;
    struct err e;

    progress_parser_init(&parser, &none, NULL);
    ck_assert_int_eq(progress_parser_feed(&parser, text, sizeof text - 1, &e), 0);
}
END_TEST

static const struct {
    struct progress_block block;
    double percent, eta_s;
    const char *json;
} estimates[] = {
    {{0}, 0, -1, "{\"percent\":0.0,\"fps\":0.0,\"speed\":0.00,\"eta_seconds\":null}"},
    {{.out_time_us = 4000000, .duration_us = 10000000, .fps = 120.5, .speed = 2},
     40,
     3,
     "{\"percent\":40.0,\"fps\":120.5,\"speed\":2.00,\"eta_seconds\":3.0}"},
    {{.out_time_us = 4000000, .fps = 25, .speed = 1},
     0,
     -1,
     "{\"percent\":0.0,\"fps\":25.0,\"speed\":1.00,\"eta_seconds\":null}"}, /* a length that is not known */
    {{.out_time_us = 11, .duration_us = 10, .speed = 1},
     100,
     0,
     "{\"percent\":100.0,\"fps\":0.0,\"speed\":1.00,\"eta_seconds\":0.0}"},
    {{.duration_us = 10, .end = true}, 100, 0, "{\"percent\":100.0,\"fps\":0.0,\"speed\":0.00,\"eta_seconds\":0.0}"},
    {{.duration_us = UINT64_MAX, .speed = 1e-9},
     0,
     -1,
     "{\"percent\":0.0,\"fps\":0.0,\"speed\":0.00,\"eta_seconds\":null}"},
};

START_TEST(estimates_the_rest)
{
    char json[PROGRESS_JSON_SIZE];

    ck_assert_double_eq_tol(progress_percent(&estimates[_i].block), estimates[_i].percent, 1e-9);
    ck_assert_double_eq_tol(progress_eta_s(&estimates[_i].block), estimates[_i].eta_s, 1e-9);
    progress_json(&estimates[_i].block, json);
    ck_assert_str_eq(json, estimates[_i].json);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("progress");
    TCase *tcase = tcase_create("lines");

    tcase_add_loop_test(tcase, parses_in_pieces_of_any_size, 0, (int)ARRAY_SIZE(cases));
    tcase_add_test(tcase, bounds_a_line);
    tcase_add_test(tcase, calls_may_be_missing);
    tcase_add_loop_test(tcase, estimates_the_rest, 0, (int)ARRAY_SIZE(estimates));
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
