#include "services/worker/transcode/hold.h"
#include "services/worker/transcode/timing.h"

#include "suite.h"

#include "base/mem.h"

#include <check.h>

#define RATE 48000

static struct hold hold;

static void setup(void)
{
    hold_init(&hold, 6, RATE);
}

static void teardown(void)
{
    hold_release(&hold);
}

static void put(int64_t samples)
{
    AVFrame *frame = av_frame_alloc();
    ck_assert_ptr_nonnull(frame);
    frame->pts = samples;
    hold_put(&hold, frame);
}

/* The next frame's samples, negative when a segment starts with it; INT64_MIN when there is none. */
static int64_t take(bool all)
{
    AVFrame *frame = hold_take(&hold, all);
    if (frame == NULL)
        return INT64_MIN;
    int64_t pts = frame->pict_type == AV_PICTURE_TYPE_I ? -frame->pts - 1 : frame->pts;
    av_frame_free(&frame);
    return pts;
}

START_TEST(sound_waits_for_the_picture)
{
    put(0);
    put(1024);
    ck_assert_int_eq(take(false), INT64_MIN);
    ck_assert_int_eq(hold_picture(&hold, 0, true, NULL), 0);
    ck_assert_int_eq(take(false), -1); /* the first segment */
    ck_assert_int_eq(take(false), INT64_MIN);
    ck_assert_int_eq(hold_picture(&hold, 1920, false, NULL), 0);
    ck_assert_int_eq(take(false), 1024);
    ck_assert_int_eq(take(false), INT64_MIN);
}
END_TEST

START_TEST(a_segment_starts_with_the_first_frame_at_or_behind_the_cut)
{
    const int64_t cut = 6 * TICKS_PER_S + 1000; /* 288533.3 samples */

    put(0);
    put(288533);
    put(288534);
    put(289558);
    ck_assert_int_eq(hold_picture(&hold, 0, true, NULL), 0);
    ck_assert_int_eq(hold_picture(&hold, cut, true, NULL), 0);
    ck_assert_int_eq(hold_picture(&hold, 7 * TICKS_PER_S, false, NULL), 0);
    ck_assert_int_eq(take(false), -1);
    ck_assert_int_eq(take(false), 288533 - 0);
    ck_assert_int_eq(take(false), -288534 - 1);
    ck_assert_int_eq(take(false), 289558);
}
END_TEST

START_TEST(full_means_nominal_cuts)
{
    for (int64_t i = 0; i < HOLD_MAX; i++)
        put(i * 1024);
    ck_assert_int_eq(take(false), -1); /* no picture yet */
    ck_assert_int_eq(take(false), INT64_MIN);
    put((int64_t)HOLD_MAX * 1024);
    ck_assert_int_eq(take(false), 1024);
    for (int64_t i = 2; i * 1024 < 6 * RATE; i++) {
        put((HOLD_MAX + i) * 1024);
        ck_assert_int_eq(take(false), i * 1024);
    }
    put((int64_t)2 * HOLD_MAX * 1024);
    ck_assert_int_eq(take(false), -(6 * RATE / 1024 + 1) * 1024 - 1);
}
END_TEST

START_TEST(at_the_end_everything_goes)
{
    put(0);
    put(6 * RATE);
    ck_assert_int_eq(hold_picture(&hold, 0, true, NULL), 0);
    ck_assert_int_eq(take(true), -1);
    ck_assert_int_eq(take(true), 6 * RATE); /* the picture ended before the next segment: there is none */
    ck_assert_int_eq(take(true), INT64_MIN);
}
END_TEST

START_TEST(no_memory_is_told)
{
    struct err e;

    mem_fail_from(1);
    int r = hold_picture(&hold, 0, true, &e);
    mem_fail_from(0);
    ck_assert_int_eq(r, -ERR_TEMPORARY);
    for (int i = 0; i < 200; i++)
        ck_assert_int_eq(hold_picture(&hold, (int64_t)i * 6 * TICKS_PER_S, true, &e), 0);
    ck_assert_uint_eq(hold.cut_count, 200);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("hold");
    TCase *tcase = tcase_create("hold");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, sound_waits_for_the_picture);
    tcase_add_test(tcase, a_segment_starts_with_the_first_frame_at_or_behind_the_cut);
    tcase_add_test(tcase, full_means_nominal_cuts);
    tcase_add_test(tcase, at_the_end_everything_goes);
    tcase_add_test(tcase, no_memory_is_told);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
