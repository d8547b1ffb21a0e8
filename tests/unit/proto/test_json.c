#include "proto/json.h"

#include "base/mem.h"
#include "suite.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define NESTED_32 "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]"

static const struct {
    const char *text;
    int result;
    const char *said; /* part of the error's text */
} parse_cases[] = {
    {"{}", 0, NULL},
    {" [1, 2.5, \"x\", null, true] ", 0, NULL},
    {"7", 0, NULL}, /* any value, not only objects and arrays */
    {NESTED_32, 0, NULL},
    {"[\"" NESTED_32 NESTED_32 "\\\"[[\"]", 0, NULL}, /* brackets in a string do not nest */
    {"[" NESTED_32 "]", -ERR_INVALID, "deeper than 32"},
    {"", -ERR_INVALID, "thing: not JSON: line 1"},
    {"{", -ERR_INVALID, "not JSON"},
    {"{} {}", -ERR_INVALID, "not JSON"}, /* exactly one value */
    {"{\"a\": 1, \"a\": 2}", -ERR_INVALID, "duplicate"},
    {"{'a': 1}", -ERR_INVALID, "not JSON"},
    {"[1,]", -ERR_INVALID, "not JSON"},
    {"[NaN]", -ERR_INVALID, "not JSON"},
    {"[18446744073709551616]", -ERR_INVALID, "too big"},
    {"[1e999]", -ERR_INVALID, "overflow"},
    {"[\"\xff\"]", -ERR_INVALID, "not JSON"},
    {"[\"\\ud800\"]", -ERR_INVALID, "not JSON"},   /* half a surrogate pair */
    {"[\"a\\u0000b\"]", -ERR_INVALID, "not JSON"}, /* C strings could not hold it */
};

START_TEST(parses_strictly)
{
    const char *text = parse_cases[_i].text;
    JSON_AUTO json_t *value = NULL;
    struct err e = {0};

    ck_assert_int_eq(json_parse(text, strlen(text), 200, "thing", &value, &e), parse_cases[_i].result);
    if (parse_cases[_i].result == 0) {
        ck_assert_ptr_nonnull(value);
    } else {
        ck_assert_ptr_null(value);
        ck_assert_msg(strstr(e.text, parse_cases[_i].said) != NULL, "%s", e.text);
    }
}
END_TEST

START_TEST(refuses_what_is_too_long)
{
    JSON_AUTO json_t *value = NULL;
    struct err e = {0};

    ck_assert_int_eq(json_parse("[1234]", 6, 6, "thing", &value, &e), 0);
    json_auto(&value);
    value = NULL;
    ck_assert_int_eq(json_parse("[1234]", 6, 5, "thing", &value, &e), -ERR_INVALID);
    ck_assert_str_eq(e.text, "thing: 6 bytes of JSON, at most 5 are read");
}
END_TEST

static json_t *must_parse(const char *text)
{
    json_t *value = NULL;
    struct err e = {0};

    ck_assert_msg(json_parse(text, strlen(text), SIZE_MAX, "test", &value, &e) == 0, "%s", e.text);
    return value;
}

START_TEST(gets_members_of_the_right_type_only)
{
    JSON_AUTO json_t *o = must_parse(
        "{\"n\": 9223372036854775807, \"neg\": -1, \"d\": 1.5, \"t\": true, \"s\": \"four\","
        " \"z\": null}");
    uint64_t n = 7;
    double d = 7;
    bool b = false;
    char text[5] = "?";

    ck_assert(json_get_u64(o, "n", &n) && n == INT64_MAX);
    ck_assert(!json_get_u64(o, "neg", &n) && !json_get_u64(o, "d", &n) && !json_get_u64(o, "s", &n));
    ck_assert(!json_get_u64(o, "none", &n) && !json_get_u64(NULL, "n", &n) && n == INT64_MAX);
    ck_assert(json_get_double(o, "d", &d) && d == 1.5 && json_get_double(o, "neg", &d) && d == -1);
    ck_assert(!json_get_double(o, "t", &d) && d == -1);
    ck_assert(json_get_bool(o, "t", &b) && b);
    ck_assert(!json_get_bool(o, "n", &b) && !json_get_bool(o, "z", &b) && b);
    ck_assert(!json_get_text(o, "s", text, 4) && !json_get_text(o, "d", text, 5));
    ck_assert_str_eq(text, "?");
    ck_assert(json_get_text(o, "s", text, 5));
    ck_assert_str_eq(text, "four");
    ck_assert_str_eq(json_get_string(o, "s"), "four");
    ck_assert_ptr_null(json_get_string(o, "z"));
    ck_assert_ptr_null(json_get_string(o, "none"));
}
END_TEST

START_TEST(writes_in_the_order_of_setting)
{
    JSON_AUTO json_t *o = json_object();
    BUF_AUTO struct buf out;
    struct err e;

    buf_init(&out, 1024);
    ck_assert(json_put_text(o, "z", "a\"\xc3\xa9") && json_put_text(o, "none", NULL));
    ck_assert(json_put_u64(o, "n", INT64_MAX) && !json_put_u64(o, "big", (uint64_t)INT64_MAX + 1));
    ck_assert(json_put_double(o, "d", 41.20049) && json_put_double(o, "ten", 10) && json_put_double(o, "neg", -0.0625));
    ck_assert(json_put_double(o, "nan", (double)NAN) && json_put_double(o, "inf", (double)INFINITY));
    ck_assert(json_put_double(o, "huge", 1e300) && json_put_bool(o, "b", false));
    ck_assert(json_put_time(o, "at", 1767323045678));
    ck_assert(!json_put_text(o, "bad", "\xff") && !json_put_text(o, "\xff", "x"));
    ck_assert_int_eq(json_write(o, &out, &e), 0);
    ck_assert_str_eq(buf_cstr(&out),
                     "{\"z\":\"a\\\"\xc3\xa9\",\"none\":null,\"n\":9223372036854775807,\"d\":41.2,\"ten\":10.0,"
                     "\"neg\":-0.063,\"nan\":null,\"inf\":null,\"huge\":1e300,\"b\":false,"
                     "\"at\":\"2026-01-02T03:04:05.678Z\"}");
}
END_TEST

START_TEST(writing_is_bounded)
{
    JSON_AUTO json_t *o = must_parse("[1,2,3]");
    BUF_AUTO struct buf out;
    struct err e;

    buf_init(&out, 6);
    ck_assert_int_eq(json_write(o, &out, &e), -ERR_TOO_LARGE);
    ck_assert_int_eq(json_write(NULL, &out, &e), -ERR_TOO_LARGE);
    buf_reset(&out);
    ck_assert_int_eq(json_write(NULL, &out, &e), -ERR_TEMPORARY); /* a tree that could not be built */
}
END_TEST

/* Whichever allocation fails: an error, no crash, no leak, and never half a text. */
START_TEST(survives_without_memory)
{
    static const char text[] = "{\"a\":[1,\"two\",{\"b\":null}],\"c\":1.5}";
    bool done = false;

    for (uint64_t nth = 1; !done; nth++) {
        JSON_AUTO json_t *value = NULL;
        BUF_AUTO struct buf out;
        struct err e = {0};

        ck_assert_uint_lt(nth, 1000);
        buf_init(&out, 1024);
        mem_fail_from(nth);
        int parsed = json_parse(text, strlen(text), 1024, "thing", &value, &e);
        bool put = parsed == 0 && json_put_text(value, "d", "e");
        int written = put ? json_write(value, &out, &e) : -1;
        mem_fail_from(0);
        if (parsed != 0)
            ck_assert_msg(parsed == -ERR_TEMPORARY, "allocation %u: %s", (unsigned)nth, e.text);
        else if (put && written != 0)
            ck_assert_int_eq(written, -ERR_TEMPORARY);
        done = written == 0;
        if (done)
            ck_assert_str_eq(buf_cstr(&out), "{\"a\":[1,\"two\",{\"b\":null}],\"c\":1.5,\"d\":\"e\"}");
    }
}
END_TEST

static const struct {
    const char *text, *quoted;
} quote_cases[] = {
    {"", "\"\""},
    {"plain \xc3\xa9 \xf0\x9f\x8e\xac", "\"plain \xc3\xa9 \xf0\x9f\x8e\xac\""},
    {"\"\\/", "\"\\\"\\\\/\""},
    {"a\nb\x01\x7f", "\"a\\u000ab\\u0001\\u007f\""},
    {"a\xff\xc3", "\"a\xef\xbf\xbd\xef\xbf\xbd\""},
};

START_TEST(quotes)
{
    BUF_AUTO struct buf out;
    JSON_AUTO json_t *back = NULL;
    struct err e;

    buf_init(&out, 100);
    json_quote(&out, quote_cases[_i].text);
    ck_assert_str_eq(buf_cstr(&out), quote_cases[_i].quoted);
    ck_assert_int_eq(json_parse(out.data, out.len, 100, "quoted", &back, &e), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("json");
    TCase *tcase = tcase_create("json");
    tcase_add_loop_test(tcase, parses_strictly, 0, (int)ARRAY_SIZE(parse_cases));
    tcase_add_test(tcase, refuses_what_is_too_long);
    tcase_add_test(tcase, gets_members_of_the_right_type_only);
    tcase_add_test(tcase, writes_in_the_order_of_setting);
    tcase_add_test(tcase, writing_is_bounded);
    tcase_add_test(tcase, survives_without_memory);
    tcase_add_loop_test(tcase, quotes, 0, (int)ARRAY_SIZE(quote_cases));
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
