#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "suite.h"

#include <string.h>

START_TEST(set_fills_and_returns_the_kind)
{
    struct err e;

    ck_assert_int_eq(err_set(&e, ERR_NOT_FOUND, "video %s", "v_7"), -ERR_NOT_FOUND);
    ck_assert_int_eq(e.kind, ERR_NOT_FOUND);
    ck_assert_str_eq(e.text, "video v_7");
    ck_assert_int_eq(err_set(NULL, ERR_BUSY, "nobody reads this"), -ERR_BUSY);
}
END_TEST

START_TEST(wrap_adds_context_and_keeps_the_kind)
{
    struct err e;

    err_set(&e, ERR_TEMPORARY, "503 SlowDown");
    ck_assert_int_eq(err_wrap(&e, "GET %s", "raw/v_7/source"), -ERR_TEMPORARY);
    ck_assert_int_eq(err_wrap(&e, "video v_7"), -ERR_TEMPORARY);
    ck_assert_str_eq(e.text, "video v_7: GET raw/v_7/source: 503 SlowDown");
}
END_TEST

START_TEST(text_may_be_its_own_argument)
{
    struct err e;

    err_set(&e, ERR_INVALID, "bad line");
    err_set(&e, ERR_INVALID, "file: %s", e.text);
    ck_assert_str_eq(e.text, "file: bad line");
    err_wrap(&e, "again (%s)", e.text);
    ck_assert_str_eq(e.text, "again (file: bad line): file: bad line");
}
END_TEST

/* One text for each place where the cut may fall in a character of one to four bytes. */
START_TEST(long_text_is_cut_between_characters)
{
    static const char *const characters[] = {"x", "é", "€", "😀"};
    char long_text[2 * sizeof((struct err *)0)->text];
    struct err e;

    size_t len = (size_t)(_i / 4); /* of plain letters before the others */
    memset(long_text, 'a', len);
    for (const char *c = characters[_i % 4]; len + 5 < sizeof long_text; len += strlen(c))
        memcpy(long_text + len, c, strlen(c) + 1);

    err_set(&e, ERR_INVALID, "%s", long_text);
    size_t got = strlen(e.text);
    ck_assert_uint_lt(got, sizeof e.text);
    ck_assert_uint_ge(got, sizeof e.text - 4);
    ck_assert(str_ends(e.text, "..."));
    ck_assert(utf8_valid(e.text, got));
    ck_assert_mem_eq(e.text, long_text, got - 3);

    err_wrap(&e, "outer");
    ck_assert(str_starts(e.text, "outer: "));
    ck_assert(str_ends(e.text, "..."));
    ck_assert(utf8_valid(e.text, strlen(e.text)));
}
END_TEST

START_TEST(long_context_is_cut_too)
{
    char context[1024];
    struct err e;

    memset(context, 'c', sizeof context - 1);
    context[sizeof context - 1] = '\0';
    err_set(&e, ERR_STALE, "inner");
    ck_assert_int_eq(err_wrap(&e, "%s", context), -ERR_STALE);
    ck_assert_uint_eq(strlen(e.text), sizeof e.text - 1);
    ck_assert(str_ends(e.text, "c..."));
}
END_TEST

START_TEST(text_that_just_fits_is_whole)
{
    char text[sizeof((struct err *)0)->text];
    struct err e;

    memset(text, 't', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    err_set(&e, ERR_INVALID, "%s", text);
    ck_assert_str_eq(e.text, text);
}
END_TEST

START_TEST(bytes_that_are_no_text_are_replaced)
{
    struct err e;

    err_set(&e, ERR_INVALID, "name \"%s\"", "a\xff\xc3z\xed\xa0\x80");
    ck_assert_str_eq(e.text, "name \"a??z???\"");
}
END_TEST

START_TEST(failure_without_a_kind_is_a_bug)
{
    struct err e = {0};

    ck_assert_int_eq(err_wrap(&e, "nobody set it"), -ERR_BUG);
}
END_TEST

START_TEST(every_kind_has_its_own_name)
{
    for (enum err_kind a = ERR_INVALID; a <= ERR_BUG; a++) {
        ck_assert_str_ne(err_kind_name(a), "unknown");
        for (enum err_kind b = ERR_INVALID; b < a; b++)
            ck_assert_str_ne(err_kind_name(a), err_kind_name(b));
    }
    ck_assert_str_eq(err_kind_name((enum err_kind)0), "unknown");
    ck_assert_str_eq(err_kind_name(ERR_TEMPORARY), "temporary");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("err");
    TCase *tcase = tcase_create("err");
    tcase_add_test(tcase, set_fills_and_returns_the_kind);
    tcase_add_test(tcase, wrap_adds_context_and_keeps_the_kind);
    tcase_add_test(tcase, text_may_be_its_own_argument);
    tcase_add_loop_test(tcase, long_text_is_cut_between_characters, 0, 16);
    tcase_add_test(tcase, long_context_is_cut_too);
    tcase_add_test(tcase, text_that_just_fits_is_whole);
    tcase_add_test(tcase, bytes_that_are_no_text_are_replaced);
    tcase_add_test(tcase, failure_without_a_kind_is_a_bug);
    tcase_add_test(tcase, every_kind_has_its_own_name);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
