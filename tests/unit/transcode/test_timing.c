#include "services/worker/transcode/timing.h"

#include "suite.h"

#include "base/mem.h"

#include <check.h>

#define MS 90 /* ticks */

static const struct {
    struct frame_rate source, capped;
} rates[] = {
    {{30, 1}, {30, 1}},
    {{60, 1}, {60, 1}},
    {{60000, 1001}, {60000, 1001}},
    {{24000, 1001}, {24000, 1001}},
    {{120, 1}, {120, 2}},
    {{144, 1}, {144, 3}},
    {{90, 1}, {90, 2}},
    {{61, 1}, {61, 2}},
    {{1000, 1}, {1000, 17}},
    {{1, 4}, {1, 4}},
    {{0, 0}, {25, 1}},
    {{0, 1}, {25, 1}},
    {{90000, 1}, {25, 1}},
    {{1001, 1}, {25, 1}},
    {{-30, 1}, {25, 1}},
    {{30, -1}, {25, 1}},
};

START_TEST(rate_is_a_whole_fraction_of_at_most_60)
{
    struct frame_rate got = frame_rate_cap(rates[_i].source, (struct frame_rate){25, 1});

    ck_assert_int_eq(got.num, rates[_i].capped.num);
    ck_assert_int_eq(got.den, rates[_i].capped.den);
}
END_TEST

/* Frames in milliseconds, and those shown; a repeated one is negative. */
static const struct {
    struct frame_rate rate;
    int frames[16];
    size_t count;
    int shown[20];
    size_t shown_count;
} paces[] = {
    {{30, 1}, {0, 33, 67, 100}, 4, {0, 33, 67, 100}, 4},
    {{60, 1}, {0, 17, 33, 50}, 4, {0, 17, 33, 50}, 4},             /* rounding to milliseconds drops nothing */
    {{120, 1}, {0, 8, 17, 25, 33, 42, 50}, 7, {0, 17, 33, 50}, 4}, /* every second one */
    {{144, 1}, {0, 7, 14, 21, 28, 35, 42}, 7, {0, 21, 42}, 3},     /* every third one */
    {{30, 1}, {0, 5, 10, 15, 20, 25, 30}, 7, {0, 15, 30}, 3},      /* a burst that the nominal rate does not say */
    {{25, 1}, {0, 40, 30, 80}, 4, {0, 40, 80}, 3},                 /* back in time */
    {{25, 1}, {-40, 0, 40}, 3, {0, 40}, 2},                        /* before the start */
    {{25, 1}, {0, 500, 1000}, 3, {0, 500, 1000}, 3},               /* two a second are enough */
    {{25, 1}, {0, 1700}, 2, {0, -500, -1000, -1500, 1700}, 5},     /* a gap is filled on the grid */
    {{25, 1}, {0, 490, 1100}, 3, {0, 490, -1000, 1100}, 4},        /* not 10 ms behind a frame */
    {{25, 1}, {80, 120}, 2, {-1, 80, 120}, 3},                     /* a late start: from 0 on (-1) */
    {{25, 1}, {10, 50}, 2, {-1, 50}, 2},                           /* hardly late: it is the one at 0 */
    {{25, 1}, {900, 940}, 2, {-1, -500, 900, 940}, 4},
};

START_TEST(paces_frames)
{
    struct pacer p;
    int got[32];
    size_t n = 0;

    pacer_init(&p, paces[_i].rate);
    for (size_t i = 0; i < paces[_i].count; i++) {
        int64_t pts = (int64_t)paces[_i].frames[i] * MS, again;
        while (pacer_repeat(&p, pts, &again)) {
            ck_assert_uint_lt(n, ARRAY_SIZE(got));
            got[n++] = again == 0 ? -1 : -(int)(again / MS);
        }
        if (pacer_keep(&p, pts))
            got[n++] = paces[_i].frames[i];
    }
    ck_assert_uint_eq(n, paces[_i].shown_count);
    for (size_t i = 0; i < n; i++)
        ck_assert_int_eq(got[i], paces[_i].shown[i]);
}
END_TEST

static const struct {
    int64_t closest;
    struct frame_rate nominal;
    unsigned milli;
} said[] = {
    {3003, {30000, 1001}, 29970}, {2970, {30, 1}, 30000}, /* jitter */
    {0, {25, 1}, 25000},          {45000, {25, 1}, 2000}, {45000, {1, 4}, 2000},
    {1500, {25, 1}, 60000},       {1350, {25, 1}, 60000}, /* never over the limit */
};

START_TEST(says_the_rate_that_was_shown)
{
    struct pacer p = {.closest = said[_i].closest};

    ck_assert_uint_eq(pacer_rate_milli(&p, said[_i].nominal), said[_i].milli);
}
END_TEST

/* Shows a frame every `step` ticks for a minute and writes down where segments and IDR frames are, in ticks. */
static size_t cut_all(unsigned segment_s, int64_t step, int64_t *segments, size_t *ret_idrs, int64_t *ret_longest)
{
    struct cutter c;
    size_t count = 0;
    int64_t last_idr = 0;

    cutter_init(&c, segment_s);
    *ret_idrs = 0;
    *ret_longest = 0;
    for (int64_t pts = 0; pts < 60 * TICKS_PER_S; pts += step) {
        enum cut cut = cutter_next(&c, pts);
        if (cut == CUT_SEGMENT)
            segments[count++] = pts;
        if (cut == CUT_NONE)
            continue;
        ++*ret_idrs;
        if (pts - last_idr > *ret_longest)
            *ret_longest = pts - last_idr;
        last_idr = pts;
    }
    return count;
}

static const struct {
    unsigned segment_s;
    int64_t step;
    size_t segments, idrs;
} cuttings[] = {
    {6, 3000, 10, 30}, {6, 3003, 10, 30}, {5, 3003, 12, 36}, /* IDR at 0, 2 and 4 s of each */
    {1, 1500, 60, 60}, {2, 3600, 30, 30}, {10, 45000, 6, 30}, {60, 3003, 1, 30}, {6, 89999, 10, 30},
};

START_TEST(cuts_at_the_first_frame_of_each_multiple)
{
    int64_t segments[64], longest;
    size_t idrs;
    size_t count = cut_all(cuttings[_i].segment_s, cuttings[_i].step, segments, &idrs, &longest);

    ck_assert_uint_eq(count, cuttings[_i].segments);
    ck_assert_uint_eq(idrs, cuttings[_i].idrs);
    ck_assert_int_lt(longest, 2 * TICKS_PER_S + cuttings[_i].step);
    for (size_t i = 0; i < count; i++) {
        int64_t nominal = (int64_t)(i * cuttings[_i].segment_s) * TICKS_PER_S;
        ck_assert_int_ge(segments[i], nominal);
        ck_assert_int_lt(segments[i], nominal + cuttings[_i].step);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("timing");
    TCase *tcase = tcase_create("timing");
    tcase_add_loop_test(tcase, rate_is_a_whole_fraction_of_at_most_60, 0, ARRAY_SIZE(rates));
    tcase_add_loop_test(tcase, paces_frames, 0, ARRAY_SIZE(paces));
    tcase_add_loop_test(tcase, says_the_rate_that_was_shown, 0, ARRAY_SIZE(said));
    tcase_add_loop_test(tcase, cuts_at_the_first_frame_of_each_multiple, 0, ARRAY_SIZE(cuttings));
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
