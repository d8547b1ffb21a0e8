#include "base/clock.h"
#include "base/id.h"
#include "base/mem.h"
#include "suite.h"

#include <string.h>

#define VIDEO "v_01kdz2v4zy9x8r7q6p5n4m3k2j"

START_TEST(video_ids_are_valid_and_carry_their_time)
{
    char id[ID_VIDEO_SIZE];
    uint64_t wall_ms;

    id_video(1767323045678, id);
    ck_assert(id_video_valid(id));
    ck_assert(id_video_time(id, &wall_ms));
    ck_assert_uint_eq(wall_ms, 1767323045678);
    id_video((UINT64_C(1) << 48) - 1, id);
    ck_assert(id_video_time(id, &wall_ms));
    ck_assert_uint_eq(wall_ms, (UINT64_C(1) << 48) - 1);
    id_video(UINT64_C(1) << 48, id); /* the year 10889: wraps, and stays valid */
    ck_assert(id_video_valid(id));
}
END_TEST

START_TEST(video_ids_sort_by_time)
{
    char before[ID_VIDEO_SIZE], after[ID_VIDEO_SIZE];

    for (uint64_t bit = 0; bit < 48; bit++) {
        id_video((UINT64_C(1) << bit) - 1, before);
        id_video(UINT64_C(1) << bit, after);
        ck_assert_str_lt(before, after);
    }
}
END_TEST

START_TEST(ids_do_not_repeat)
{
    enum { COUNT = 200 };
    static char ids[COUNT][ID_VIDEO_SIZE], nonces[COUNT][ID_NONCE_SIZE];

    for (size_t i = 0; i < COUNT; i++) {
        id_video(1, ids[i]);
        id_nonce(nonces[i]);
        ck_assert_uint_eq(strspn(nonces[i], "0123456789abcdef"), ID_NONCE_SIZE - 1);
        for (size_t j = 0; j < i; j++)
            ck_assert(strcmp(ids[i], ids[j]) != 0 && strcmp(nonces[i], nonces[j]) != 0);
    }
    ck_assert_uint_ne(id_random_u64(), id_random_u64());
}
END_TEST

START_TEST(random_fills_exactly_what_was_asked)
{
    unsigned char bytes[600] = {0};
    size_t zeros = 0;

    id_random(bytes + 1, 0);
    id_random(bytes + 1, 598);
    for (size_t i = 0; i < sizeof bytes; i++)
        zeros += bytes[i] == 0;
    ck_assert_int_eq(bytes[0], 0);
    ck_assert_int_eq(bytes[599], 0);
    ck_assert_uint_lt(zeros, 30);
}
END_TEST

static const struct {
    const char *text;
    bool valid;
} videos[] = {
    {VIDEO, true},
    {"v_00000000000000000000000000", true},
    {"v_7zzzzzzzzzzzzzzzzzzzzzzzzz", true},
    {"v_8zzzzzzzzzzzzzzzzzzzzzzzzz", false}, /* more than 128 bits */
    {"v_01kdz2v4zy9x8r7q6p5n4m3k2", false},
    {"v_01kdz2v4zy9x8r7q6p5n4m3k2jj", false},
    {"v_01kdz2v4zy9x8r7q6p5n4m3k2i", false}, /* no i, l, o, u */
    {"v_01kdz2v4zy9x8r7q6p5n4m3k2l", false},
    {"v_01kdz2v4zy9x8r7q6p5n4m3k2o", false},
    {"v_01kdz2v4zy9x8r7q6p5n4m3k2u", false},
    {"v_01KDZ2V4ZY9X8R7Q6P5N4M3K2J", false}, /* one form only */
    {"V_01kdz2v4zy9x8r7q6p5n4m3k2j", false},
    {"v-01kdz2v4zy9x8r7q6p5n4m3k2j", false},
    {"v_../../../../../etc/passwd", false},
    {"v_01kdz2v4zy9x8r7q6p5n4m3k/j", false},
    {"v_", false},
    {"", false},
};

START_TEST(video_ids_have_one_form)
{
    uint64_t wall_ms = 42;

    ck_assert_int_eq(id_video_valid(videos[_i].text), videos[_i].valid);
    ck_assert_int_eq(id_video_time(videos[_i].text, &wall_ms), videos[_i].valid);
    ck_assert(videos[_i].valid || wall_ms == 42);
}
END_TEST

static const struct {
    const char *text;
    uint64_t generation; /* 0: not valid */
} jobs[] = {
    {VIDEO ".1", 1},
    {VIDEO ".18446744073709551615", UINT64_MAX},
    {VIDEO ".18446744073709551616", 0},
    {VIDEO ".0", 0},
    {VIDEO ".01", 0},
    {VIDEO ".", 0},
    {VIDEO, 0},
    {VIDEO "1.1", 0},
    {VIDEO ".1.1", 0},
    {VIDEO ".-1", 0},
    {VIDEO ". 1", 0},
    {"v_81kdz2v4zy9x8r7q6p5n4m3k2j.1", 0},
    {".1", 0},
    {"", 0},
};

START_TEST(job_ids_have_one_form)
{
    char video_id[ID_VIDEO_SIZE] = "untouched", again[ID_JOB_SIZE];
    uint64_t generation = 42;
    bool valid = jobs[_i].generation != 0;

    ck_assert_int_eq(id_job_parse(jobs[_i].text, video_id, &generation), valid);
    ck_assert_str_eq(video_id, valid ? VIDEO : "untouched");
    ck_assert_uint_eq(generation, valid ? jobs[_i].generation : 42);
    if (valid) {
        id_job(video_id, generation, again);
        ck_assert_str_eq(again, jobs[_i].text);
    }
}
END_TEST

START_TEST(request_ids_are_short_and_plain)
{
    static const char *const valid[] = {"a", "A.b_c-9", "123e4567-e89b-12d3-a456-426614174000",
                                        "0123456789012345678901234567890123456789012345678901234567890123"};
    static const char *const invalid[] = {
        "", "a b", "a\n", "é", "a/b", "\"", "01234567890123456789012345678901234567890123456789012345678901234"};

    for (size_t i = 0; i < ARRAY_SIZE(valid); i++)
        ck_assert_msg(id_request_valid(valid[i]), "%s", valid[i]);
    for (size_t i = 0; i < ARRAY_SIZE(invalid); i++)
        ck_assert_msg(!id_request_valid(invalid[i]), "%s", invalid[i]);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("id");
    TCase *tcase = tcase_create("id");
    tcase_add_test(tcase, video_ids_are_valid_and_carry_their_time);
    tcase_add_test(tcase, video_ids_sort_by_time);
    tcase_add_test(tcase, ids_do_not_repeat);
    tcase_add_test(tcase, random_fills_exactly_what_was_asked);
    tcase_add_loop_test(tcase, video_ids_have_one_form, 0, ARRAY_SIZE(videos));
    tcase_add_loop_test(tcase, job_ids_have_one_form, 0, ARRAY_SIZE(jobs));
    tcase_add_test(tcase, request_ids_are_short_and_plain);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
