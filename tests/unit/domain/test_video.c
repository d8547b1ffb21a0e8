#include "domain/video.h"

#include "../suite.h"
#include "base/mem.h"

#include <string.h>

#define ID "v_01arz3ndektsv4rrffq69g5fav"

static const struct {
    const char *field, *text;
    size_t max;
    const char *why; /* a part of the sentence; NULL: fine */
} texts[] = {
    {"title", "", 3, NULL},
    {"title", "abc", 3, NULL},
    {"title", "\xC3\xA9\xC3\xA9\xC3\xA9", 3, NULL}, /* characters count, not bytes */
    {"title", "abcd", 3, "at most 3"},
    {"title", "a\nb", 9, "control character"},
    {"title", "a\tb", 9, "control character"},
    {"title", "a\x7F", 9, "control character"},
    {"title", "a\xC2\x85", 9, "control character"}, /* C1 */
    {"title", "\xFF", 9, "not valid UTF-8"},
    {"title", "\xC0\xAF", 9, "not valid UTF-8"}, /* overlong */
    {"description", "a\r\n\tb", 9, NULL},
    {"description", "a\x1B[1m", 9, "control character"},
};

START_TEST(texts_are_checked)
{
    struct err e = {0};
    int r = video_check_text(texts[_i].field, texts[_i].text, texts[_i].max, &e);

    ck_assert_int_eq(r, texts[_i].why == NULL ? 0 : -ERR_INVALID);
    if (texts[_i].why != NULL) {
        ck_assert_msg(strstr(e.text, texts[_i].why) != NULL, "%s", e.text);
        ck_assert_msg(strncmp(e.text, texts[_i].field, strlen(texts[_i].field)) == 0, "%s", e.text);
    }
}
END_TEST

static const struct video_record record = {
    .id = ID,
    .title = "A \"title\"",
    .description = "two\nlines",
    .filename = "clip \xC3\xA9.mp4",
    .client = "192.0.2.7",
    .created_ms = 1767323045678,
};

START_TEST(a_record_is_read_as_it_was_written)
{
    static struct video_record back;
    BUF_AUTO struct buf text;
    struct err e = {0};

    buf_init(&text, VIDEO_RECORD_MAX);
    ck_assert_int_eq(video_record_write(&record, &text, &e), 0);
    ck_assert_int_eq(video_record_parse(buf_cstr(&text), text.len, &back, &e), 0);
    ck_assert_str_eq(back.id, record.id);
    ck_assert_str_eq(back.title, record.title);
    ck_assert_str_eq(back.description, record.description);
    ck_assert_str_eq(back.filename, record.filename);
    ck_assert_str_eq(back.client, record.client);
    ck_assert_uint_eq(back.created_ms, record.created_ms);
}
END_TEST

START_TEST(the_longest_texts_fit_into_a_record)
{
    static struct video_record longest, back;
    BUF_AUTO struct buf text;
    struct err e = {0};

    longest = record;
    memset(longest.title, '"', sizeof longest.title - 1);
    memset(longest.description, '"', sizeof longest.description - 1);
    memset(longest.filename, '\\', sizeof longest.filename - 1);
    buf_init(&text, VIDEO_RECORD_MAX);
    ck_assert_int_eq(video_record_write(&longest, &text, &e), 0);
    ck_assert_int_eq(video_record_parse(buf_cstr(&text), text.len, &back, &e), 0);
    ck_assert_str_eq(back.description, longest.description);
}
END_TEST

static const char *const broken_records[] = {
    "",
    "[]",
    "{}",
    "{\"id\":\"v_x\",\"title\":\"\",\"description\":\"\",\"filename\":\"\",\"client\":\"\","
    "\"created_at\":\"2026-01-02T03:04:05Z\"}",
    "{\"id\":\"" ID "\",\"title\":7,\"description\":\"\",\"filename\":\"\",\"client\":\"\","
    "\"created_at\":\"2026-01-02T03:04:05Z\"}",
    "{\"id\":\"" ID "\",\"title\":\"\",\"description\":\"\",\"filename\":\"\",\"client\":\"\",\"created_at\":\"now\"}",
};

START_TEST(a_broken_record_is_refused)
{
    static struct video_record back;
    struct err e = {0};

    memset(&back, 0x55, sizeof back);
    ck_assert_int_eq(video_record_parse(broken_records[_i], strlen(broken_records[_i]), &back, &e), -ERR_INVALID);
    ck_assert_int_eq(back.id[0], 0x55); /* untouched */
}
END_TEST

/* --- What clients see --- */

#define RECORD "{\"title\":\"T\",\"description\":\"D\",\"filename\":\"f.mp4\",\"client\":\"192.0.2.7\"}"
#define OUTCOME                                                                                                        \
    "{\"outcome\":\"published\",\"duration\":10.5,\"width\":1920,\"height\":1080,\"poster\":\"poster.jpg\","           \
    "\"renditions\":[{\"name\":\"1080p\"}]}"

static char *text(const char *s)
{
    union {
        const char *in;
        char *out;
    } u = {.in = s}; /* struct queue_video owns its texts; these are constants that nobody frees */
    return u.out;
}

static struct queue_video waiting(void)
{
    return (struct queue_video){
        .id = ID,
        .state = VIDEO_WAITING,
        .generation = 1,
        .created_ms = 1767323045678,
        .updated_ms = 1767323045679,
        .size_bytes = 123,
        .record = text(RECORD),
    };
}

static json_t *view(const struct queue_video *v)
{
    json_t *json = NULL;
    struct err e = {0};

    ck_assert_msg(video_view(v, "http://play", &json, &e) == 0, "%s", e.text);
    return json;
}

START_TEST(a_waiting_video)
{
    struct queue_video v = waiting();
    JSON_AUTO json_t *json = view(&v);
    const json_t *links = json_object_get(json, "links");

    ck_assert_str_eq(json_get_string(json, "id"), ID);
    ck_assert_str_eq(json_get_string(json, "state"), "waiting");
    ck_assert_str_eq(json_get_string(json, "title"), "T");
    ck_assert_str_eq(json_get_string(json, "created_at"), "2026-01-02T03:04:05.678Z");
    ck_assert(json_is_null(json_object_get(json, "progress")));
    ck_assert(json_is_null(json_object_get(json, "error")));
    ck_assert(json_is_null(json_object_get(json, "renditions")));
    ck_assert(json_is_false(json_object_get(json, "playable")));
    ck_assert_str_eq(json_get_string(links, "self"), "/api/v1/videos/" ID);
    ck_assert_ptr_null(json_object_get(links, "master"));
    ck_assert_ptr_null(json_object_get(json, "client")); /* for operators only */
    ck_assert_int_eq(json_integer_value(json_object_get(json, "size")), 123);
}
END_TEST

START_TEST(a_video_whose_size_is_not_known_yet)
{
    struct queue_video v = waiting();

    v.state = VIDEO_UPLOADING;
    v.size_bytes = 0;
    JSON_AUTO json_t *json = view(&v);
    ck_assert(json_is_null(json_object_get(json, "size")));
}
END_TEST

START_TEST(a_completed_video)
{
    struct queue_video v = waiting();
    double number = 0;

    v.state = VIDEO_COMPLETED;
    v.outcome = text(OUTCOME);
    v.progress = text("{\"percent\":97.5,\"fps\":30,\"speed\":1,\"eta_seconds\":3}");
    JSON_AUTO json_t *json = view(&v);
    const json_t *links = json_object_get(json, "links");

    ck_assert(json_get_double(json_object_get(json, "progress"), "percent", &number) && number == 100);
    ck_assert(json_get_double(json, "duration", &number) && number == 10.5);
    ck_assert_uint_eq(json_array_size(json_object_get(json, "renditions")), 1);
    ck_assert(json_is_true(json_object_get(json, "playable")));
    ck_assert_str_eq(json_get_string(links, "watch"), "http://play/watch/" ID);
    ck_assert_str_eq(json_get_string(links, "master"), "http://play/v/" ID "/master.m3u8");
    ck_assert_str_eq(json_get_string(links, "poster"), "http://play/v/" ID "/poster.jpg");
}
END_TEST

START_TEST(a_retried_video_plays_what_was_published_before)
{
    struct queue_video v = waiting();

    v.state = VIDEO_FAILED;
    v.generation = 2;
    v.error = text("no video stream");
    v.outcome = text(OUTCOME);
    JSON_AUTO json_t *json = view(&v);

    ck_assert_str_eq(json_get_string(json, "error"), "no video stream");
    ck_assert(json_is_true(json_object_get(json, "playable")));
}
END_TEST

START_TEST(what_weir_wrote_itself_is_no_mistake_of_the_client)
{
    struct queue_video v = waiting();
    json_t *json = NULL;
    struct err e = {0};

    v.record = text("{");
    ck_assert_int_eq(video_view(&v, "", &json, &e), -ERR_BUG);
    ck_assert_ptr_null(json);
}
END_TEST

START_TEST(every_allocation_may_fail)
{
    struct queue_video v = waiting();
    struct err e = {0};

    v.state = VIDEO_COMPLETED;
    v.outcome = text(OUTCOME);
    for (uint64_t nth = 1;; nth++) {
        json_t *json = NULL;
        mem_fail_from(nth);
        int r = video_view(&v, "http://play", &json, &e);
        mem_fail_from(0);
        json_decref(json);
        if (r == 0)
            break;
        ck_assert_int_eq(r, -ERR_TEMPORARY);
        ck_assert_ptr_null(json);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("video");
    TCase *t = tcase_create("video");

    tcase_add_loop_test(t, texts_are_checked, 0, (int)ARRAY_SIZE(texts));
    tcase_add_test(t, a_record_is_read_as_it_was_written);
    tcase_add_test(t, the_longest_texts_fit_into_a_record);
    tcase_add_loop_test(t, a_broken_record_is_refused, 0, (int)ARRAY_SIZE(broken_records));
    tcase_add_test(t, a_waiting_video);
    tcase_add_test(t, a_video_whose_size_is_not_known_yet);
    tcase_add_test(t, a_completed_video);
    tcase_add_test(t, a_retried_video_plays_what_was_published_before);
    tcase_add_test(t, what_weir_wrote_itself_is_no_mistake_of_the_client);
    tcase_add_test(t, every_allocation_may_fail);
    suite_add_tcase(suite, t);
    return run_suite(suite);
}
