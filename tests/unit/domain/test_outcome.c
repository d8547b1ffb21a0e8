#include "domain/outcome.h"

#include "../suite.h"
#include "library_fixture.h"

#include "base/mem.h"

#include <string.h>

#define VERSION(generation) generation "-7-0123456789abcdef"
#define RESULT "{\"duration\":10.5,\"renditions\":[{\"name\":\"240p\"}],\"poster\":\"poster.jpg\",\"secret\":1}"

static struct buf made; /* what the last write made */

static void write_failed(unsigned generation, const char *error)
{
    buf_release(&made);
    buf_init(&made, OUTCOME_MAX);
    ok(outcome_write_failed(video(1), generation, error, &made, &e));
}

static void release_made(void)
{
    buf_release(&made);
}

START_TEST(published_holds_what_the_child_measured_and_nothing_else)
{
    JSON_AUTO json_t *json = NULL;
    OUTCOME_AUTO struct outcome o = {0};
    BUF_AUTO struct buf text;

    buf_init(&text, OUTCOME_MAX);
    ok(outcome_write_published(video(1), 1, VERSION("1"), RESULT, strlen(RESULT), &text, &e));
    ok(outcome_parse(buf_cstr(&text), text.len, &o, &e));
    ck_assert_int_eq(o.state, VIDEO_COMPLETED);
    ck_assert_str_eq(o.version, VERSION("1"));
    ck_assert_str_eq(o.text, buf_cstr(&text));
    ok(json_parse(buf_cstr(&text), text.len, OUTCOME_MAX, "outcome", &json, &e));
    ck_assert_str_eq(json_get_string(json, "outcome"), "published");
    ck_assert_str_eq(json_get_string(json, "poster"), "poster.jpg");
    ck_assert_ptr_null(json_object_get(json, "secret"));
}
END_TEST

static const char *const bad_results[] = {"",
                                          "[]",
                                          "{}",
                                          "{\"duration\":1}",
                                          "{\"duration\":1,\"renditions\":[]}",
                                          "{\"duration\":\"1\",\"renditions\":[{}]}"};

START_TEST(a_result_without_renditions_is_not_published)
{
    BUF_AUTO struct buf text;

    buf_init(&text, OUTCOME_MAX);
    fails(ERR_INVALID,
          outcome_write_published(video(1), 1, VERSION("1"), bad_results[_i], strlen(bad_results[_i]), &text, &e));
}
END_TEST

START_TEST(a_long_error_is_cut_between_characters)
{
    OUTCOME_AUTO struct outcome o = {0};
    char error[2000];

    memset(error, 'x', sizeof error);
    for (size_t i = 1; i + 2 < sizeof error; i += 2)
        memcpy(error + i, "\xC3\xA9", 2);
    error[sizeof error - 1] = '\0';
    write_failed(1, error);
    ok(outcome_parse(buf_cstr(&made), made.len, &o, &e));
    ck_assert_int_eq(o.state, VIDEO_FAILED);
    ck_assert_uint_gt(strlen(o.error), 500);
}
END_TEST

#define HEAD "\"video\":\"v_01arz3ndektsv4rrffq69g5fav\",\"created_at\":\"2026-01-02T03:04:05.678Z\""

static const struct {
    const char *text;
    int result;
} texts[] = {
    {"{\"outcome\":\"cancelled\",\"generation\":1," HEAD "}", 0},
    {"{\"outcome\":\"failed\",\"generation\":1,\"error\":\"x\"," HEAD "}", 0},
    {"{\"outcome\":\"failed\",\"generation\":1," HEAD "}", -ERR_INVALID},
    {"{\"outcome\":\"published\",\"generation\":1,\"version\":\"" VERSION("1") "\"," HEAD "}", 0},
    {"{\"outcome\":\"published\",\"generation\":2,\"version\":\"" VERSION("1") "\"," HEAD "}", -ERR_INVALID},
    {"{\"outcome\":\"published\",\"generation\":1,\"version\":\"../x\"," HEAD "}", -ERR_INVALID},
    {"{\"outcome\":\"published\",\"generation\":1," HEAD "}", -ERR_INVALID},
    {"{\"outcome\":\"waiting\",\"generation\":1," HEAD "}", -ERR_INVALID},
    {"{\"outcome\":\"cancelled\",\"generation\":0," HEAD "}", -ERR_INVALID},
    {"{\"outcome\":\"cancelled\",\"generation\":1}", -ERR_INVALID},
    {"{}", -ERR_INVALID},
    {"[]", -ERR_INVALID},
    {"", -ERR_INVALID},
};

START_TEST(texts_are_checked)
{
    OUTCOME_AUTO struct outcome o = {0};
    struct err e = {0};

    ck_assert_msg(outcome_parse(texts[_i].text, strlen(texts[_i].text), &o, &e) == texts[_i].result, "%s: %s",
                  texts[_i].text, e.text);
}
END_TEST

START_TEST(the_first_outcome_wins_and_everybody_adopts_it)
{
    OUTCOME_AUTO struct outcome first = {0}, second = {0};
    BUF_AUTO struct buf cancelled;
    bool ours = false;

    buf_init(&cancelled, OUTCOME_MAX);
    ok(outcome_write_cancelled(video(1), 1, &cancelled, &e));
    ok(outcome_create(test_store, "processed", video(1), 1, buf_cstr(&cancelled), cancelled.len, &first, &ours, &e));
    ck_assert(ours);
    write_failed(1, "late");
    ok(outcome_create(test_store, "processed", video(1), 1, buf_cstr(&made), made.len, &second, &ours, &e));
    ck_assert(!ours);
    ck_assert_int_eq(second.state, VIDEO_CANCELLED);
    ck_assert_str_eq(second.text, buf_cstr(&cancelled));
}
END_TEST

START_TEST(an_outcome_whose_answer_was_lost_is_ours)
{
    OUTCOME_AUTO struct outcome o = {0};
    bool ours = false;

    write_failed(1, "x");
    faulty_store_fail(test_store, 1, FAULT_AFTER);
    fails(ERR_TEMPORARY,
          outcome_create(test_store, "processed", video(1), 1, buf_cstr(&made), made.len, &o, &ours, &e));
    ck_assert_ptr_null(o.text);
    ok(outcome_create(test_store, "processed", video(1), 1, buf_cstr(&made), made.len, &o, &ours, &e));
    ck_assert(ours);
}
END_TEST

START_TEST(the_newest_published_is_found)
{
    OUTCOME_AUTO struct outcome o = {0};

    fails(ERR_NOT_FOUND, outcome_published(test_store, "processed", video(1), &o, &e));
    put_failed(video(1), 1, "x");
    fails(ERR_NOT_FOUND, outcome_published(test_store, "processed", video(1), &o, &e));
    put_published(video(1), 2, VERSION("2"));
    put_published(video(1), 10, VERSION("10")); /* "10.json" comes before "2.json" in a LIST */
    put_failed(video(1), 11, "x");
    ok(outcome_published(test_store, "processed", video(1), &o, &e));
    ck_assert_uint_eq(o.generation, 10);
    ck_assert_str_eq(o.version, VERSION("10"));
}
END_TEST

START_TEST(the_marker_tells_that_a_video_was_deleted)
{
    bool deleted = true;

    ok(outcome_video_deleted(test_store, "raw", video(1), &deleted, &e));
    ck_assert(!deleted);
    object_put("raw", layout_deleted(video(1)).s, "{}");
    ok(outcome_video_deleted(test_store, "raw", video(1), &deleted, &e));
    ck_assert(deleted);
    faulty_store_fail(test_store, 1, FAULT_BEFORE);
    fails(ERR_TEMPORARY, outcome_video_deleted(test_store, "raw", video(1), &deleted, &e));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("outcome");
    TCase *texts_case = tcase_create("texts"), *store_case = tcase_create("store");

    tcase_add_checked_fixture(texts_case, NULL, release_made);
    tcase_add_test(texts_case, published_holds_what_the_child_measured_and_nothing_else);
    tcase_add_loop_test(texts_case, a_result_without_renditions_is_not_published, 0, (int)ARRAY_SIZE(bad_results));
    tcase_add_test(texts_case, a_long_error_is_cut_between_characters);
    tcase_add_loop_test(texts_case, texts_are_checked, 0, (int)ARRAY_SIZE(texts));
    suite_add_tcase(suite, texts_case);

    tcase_add_unchecked_fixture(store_case, queue_server_up, queue_server_down);
    tcase_add_checked_fixture(store_case, library_up, library_down);
    tcase_add_checked_fixture(store_case, NULL, release_made);
    tcase_add_test(store_case, the_first_outcome_wins_and_everybody_adopts_it);
    tcase_add_test(store_case, an_outcome_whose_answer_was_lost_is_ours);
    tcase_add_test(store_case, the_newest_published_is_found);
    tcase_add_test(store_case, the_marker_tells_that_a_video_was_deleted);
    suite_add_tcase(suite, store_case);
    return run_suite(suite);
}
