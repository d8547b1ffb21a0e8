#include "services/worker/transcode/ladder.h"

#include "suite.h"

#include "base/mem.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *text;
    int result;
    size_t count;
    unsigned highest;
} wishes[] = {
    {"1080,720,480,240", 0, 4, 1080},
    {"240,4320", 0, 2, 4320}, /* any order */
    {"360", 0, 1, 360},
    {"4320,2160,1080,720,480,360,240", 0, 7, 4320},
    {"", -ERR_INVALID, 0, 0},
    {"720,", -ERR_INVALID, 0, 0},
    {",720", -ERR_INVALID, 0, 0},
    {"720,720", -ERR_INVALID, 0, 0},
    {"721", -ERR_INVALID, 0, 0},
    {"720p", -ERR_INVALID, 0, 0},
    {"-720", -ERR_INVALID, 0, 0},
    {"18446744073709552336", -ERR_INVALID, 0, 0},
};

START_TEST(reads_heights)
{
    struct ladder_wish wish = {.count = 99};
    struct err e;

    ck_assert_int_eq(ladder_parse(wishes[_i].text, &wish, &e), wishes[_i].result);
    if (wishes[_i].result != 0) {
        ck_assert_uint_eq(wish.count, 99);
        return;
    }
    ck_assert_uint_eq(wish.count, wishes[_i].count);
    ck_assert_uint_eq(wish.heights[0], wishes[_i].highest);
    for (size_t i = 1; i < wish.count; i++)
        ck_assert_uint_lt(wish.heights[i], wish.heights[i - 1]);
}
END_TEST

static const struct {
    const char *wish;
    unsigned width, height;
    const char *rungs; /* "name WxH max-rate audio-rate; …" */
} plans[] = {
    {"1080,720,480,240", 1920, 1080,
     "1080p 1920x1080 5350 192; 720p 1280x720 3000 128; 480p 854x480 1500 128; "
     "240p 426x240 430 64; "},
    /* never larger than the source */
    {"1080,720,480,240", 1280, 720, "720p 1280x720 3000 128; 480p 854x480 1500 128; 240p 426x240 430 64; "},
    {"1080,720,480,240", 1918, 1078, "720p 1282x720 3000 128; 480p 854x480 1500 128; 240p 428x240 430 64; "},
    /* the shorter side counts */
    {"1080,720", 1080, 1920, "1080p 1080x1920 5350 192; 720p 720x1280 3000 128; "},
    {"1080,720", 1080, 1080, "1080p 1080x1080 5350 192; 720p 720x720 3000 128; "},
    {"480,240", 2048, 858, "480p 1146x480 1500 128; 240p 572x240 430 64; "},
    /* below the lowest rung: its own, even, size */
    {"1080,720,480,240", 320, 180, "180p 320x180 430 64; "},
    {"1080,720,480,240", 161, 101, "100p 160x100 430 64; "},
    {"1080,720", 854, 480, "480p 854x480 1500 128; "},
    {"1080,720", 480, 854, "480p 480x854 1500 128; "},
    {"240", 1, 1, "2p 2x2 430 64; "},
    {"240", 320, 2, "2p 320x2 430 64; "},
    {"240", 65534, 240, "240p 65534x240 430 64; "},
};

START_TEST(plans_rungs)
{
    struct ladder_wish wish;
    struct ladder ladder;
    char got[512] = "";
    size_t used = 0;

    ck_assert_int_eq(ladder_parse(plans[_i].wish, &wish, NULL), 0);
    ladder_plan(&wish, plans[_i].width, plans[_i].height, &ladder);
    for (size_t i = 0; i < ladder.count; i++) {
        const struct rung *r = &ladder.rungs[i];
        used += (size_t)snprintf(got + used, sizeof got - used, "%s %ux%u %u %u; ", r->name, r->width, r->height,
                                 r->max_kbps, r->audio_kbps);
        ck_assert_uint_gt(r->buffer_kbit, r->max_kbps);
    }
    ck_assert_str_eq(got, plans[_i].rungs);
}
END_TEST

static const struct {
    unsigned width, height;
    int sar_num, sar_den;
    bool quarter_turn;
    int result;
    unsigned shown_width, shown_height;
} pictures[] = {
    {1920, 1080, 1, 1, false, 0, 1920, 1080},
    {1920, 1080, 0, 0, false, 0, 1920, 1080}, /* not known: square */
    {1920, 1080, -3, 4, false, 0, 1920, 1080},
    {1920, 1080, 1, 1, true, 0, 1080, 1920},
    {720, 576, 64, 45, false, 0, 1024, 576},
    {720, 480, 8, 9, false, 0, 720, 540}, /* narrow pixels make the picture higher, not narrower */
    {720, 576, 64, 45, true, 0, 576, 1024},
    {1440, 1080, 4, 3, false, 0, 1920, 1080},
    {100, 100, 1, 1000, false, -ERR_INVALID, 0, 0},
    {100, 100, 1000, 1, false, -ERR_INVALID, 0, 0},
    {1, 1, 1, 1, false, 0, 1, 1},
    {0, 100, 1, 1, false, -ERR_INVALID, 0, 0},
    {65534, 65534, 2147483647, 2147483646, false, 0, 65534, 65534},
    {4294967295u, 4294967295u, 2147483647, 1, false, -ERR_INVALID, 0, 0},
};

START_TEST(shows_square_pixels_upright)
{
    struct picture shown = {7, 7};
    int r = picture_shown(pictures[_i].width, pictures[_i].height, pictures[_i].sar_num, pictures[_i].sar_den,
                          pictures[_i].quarter_turn, &shown, NULL);

    ck_assert_int_eq(r, pictures[_i].result);
    ck_assert_uint_eq(shown.width, r == 0 ? pictures[_i].shown_width : 7);
    ck_assert_uint_eq(shown.height, r == 0 ? pictures[_i].shown_height : 7);
}
END_TEST

static const struct {
    struct picture shown, box, fit;
} fits[] = {
    {{1920, 1080}, {1280, 720}, {1280, 720}}, {{1919, 1079}, {1280, 720}, {1280, 720}}, /* within two pixels: no bars */
    {{854, 480}, {1280, 720}, {1280, 720}},   {{640, 480}, {1280, 720}, {960, 720}},    /* bars at the sides */
    {{1080, 1920}, {1280, 720}, {406, 720}},  {{2048, 858}, {1280, 720}, {1280, 536}},  /* bars above and below */
    {{1, 65534}, {1280, 720}, {2, 720}},
};

START_TEST(fits_into_a_box)
{
    struct picture fit = picture_fit(fits[_i].shown, fits[_i].box);

    ck_assert_uint_eq(fit.width, fits[_i].fit.width);
    ck_assert_uint_eq(fit.height, fits[_i].fit.height);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("ladder");
    TCase *tcase = tcase_create("ladder");
    tcase_add_loop_test(tcase, reads_heights, 0, ARRAY_SIZE(wishes));
    tcase_add_loop_test(tcase, plans_rungs, 0, ARRAY_SIZE(plans));
    tcase_add_loop_test(tcase, shows_square_pixels_upright, 0, ARRAY_SIZE(pictures));
    tcase_add_loop_test(tcase, fits_into_a_box, 0, ARRAY_SIZE(fits));
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
