#include "base/mem.h"
#include "base/str.h"
#include "suite.h"

#include <math.h>
#include <string.h>

static const struct {
    const char *src, *kept;
    size_t size;
    bool fits;
} copies[] = {
    {"", "", 1, true},     {"abc", "abc", 4, true}, {"abc", "ab", 3, false}, {"abc", "", 1, false},
    {"aé", "aé", 4, true}, {"aé", "a", 3, false},   {"a€", "a", 4, false},   {"a😀", "a", 5, false},
    {"😀", "", 4, false},   {"é", "", 2, false},
};

START_TEST(copies_between_characters)
{
    char copied[16] = "untouched", formatted[16] = "untouched";

    ck_assert_int_eq(str_copy(copied, copies[_i].size, copies[_i].src), copies[_i].fits);
    ck_assert_str_eq(copied, copies[_i].kept);
    ck_assert_int_eq(str_format(formatted, copies[_i].size, "%s", copies[_i].src), copies[_i].fits);
    ck_assert_str_eq(formatted, copies[_i].kept);
}
END_TEST

START_TEST(nothing_fits_into_nothing)
{
    char c = 'c';

    ck_assert(!str_copy(&c, 0, ""));
    ck_assert(!str_format(&c, 0, "%s", ""));
    ck_assert_int_eq(c, 'c');
}
END_TEST

START_TEST(finds_beginnings_and_ends)
{
    ck_assert(str_starts("v_123", "v_") && str_starts("v_", "v_") && str_starts("x", ""));
    ck_assert(!str_starts("v", "v_") && !str_starts("", "v_"));
    ck_assert(str_ends("a.ts", ".ts") && str_ends(".ts", ".ts") && str_ends("x", ""));
    ck_assert(!str_ends("ts", ".ts") && !str_ends("a.ts.", ".ts"));
}
END_TEST

static const struct {
    const char *text;
    bool ok;
    uint64_t number;
} numbers[] = {
    {"0", true, 0},
    {"007", true, 7},
    {"18446744073709551615", true, UINT64_MAX},
    {"00000000000000000000000000000001", true, 1},
    {"18446744073709551616", false, 0},
    {"99999999999999999999", false, 0},
    {"", false, 0},
    {"-1", false, 0},
    {"+1", false, 0},
    {" 1", false, 0},
    {"1 ", false, 0},
    {"1\n", false, 0},
    {"0x10", false, 0},
    {"1e3", false, 0},
    {"1.0", false, 0},
    {"٣", false, 0}, /* a digit, but not ASCII */
};

START_TEST(numbers_are_strict)
{
    uint64_t n = 42;

    ck_assert_int_eq(str_to_u64(numbers[_i].text, &n), numbers[_i].ok);
    ck_assert_uint_eq(n, numbers[_i].ok ? numbers[_i].number : 42);
}
END_TEST

START_TEST(numbers_end_where_told)
{
    uint64_t n = 42;

    ck_assert(str_to_u64_n("1234", 2, &n));
    ck_assert_uint_eq(n, 12);
    ck_assert(!str_to_u64_n("12", 0, &n));
    ck_assert(!str_to_u64_n("1\0", 2, &n));
}
END_TEST

START_TEST(numbers_become_text)
{
    ck_assert_str_eq(num_u64(UINT64_MAX).s, "18446744073709551615");
    ck_assert_str_eq(num_i64(INT64_MIN).s, "-9223372036854775808");
    ck_assert_str_eq(num_double(41.25, 1).s, "41.2");
    ck_assert_str_eq(num_double(-0.5, 3).s, "-0.500");
    ck_assert_str_eq(num_double(7, 0).s, "7");
    ck_assert_str_eq(num_double(1e300, 3).s, "1.0000000000000001e+300");
    ck_assert_str_eq(num_double((double)INFINITY, 3).s, "inf");
}
END_TEST

static const struct {
    const char *bytes, *repaired;
} texts[] = {
    {"plain", NULL},
    {"\x7f", NULL},
    {"é€😀", NULL},
    {"\xc2\x80", NULL},                /* U+0080, the first of two bytes */
    {"\xdf\xbf", NULL},                /* U+07FF, the last */
    {"\xe0\xa0\x80", NULL},            /* U+0800 */
    {"\xed\x9f\xbf", NULL},            /* U+D7FF, before the surrogates */
    {"\xee\x80\x80", NULL},            /* U+E000, after them */
    {"\xf0\x90\x80\x80", NULL},        /* U+10000 */
    {"\xf4\x8f\xbf\xbf", NULL},        /* U+10FFFF, the last */
    {"\xf4\x90\x80\x80", "????"},      /* one more */
    {"\xed\xa0\x80", "???"},           /* a surrogate */
    {"\xc0\x80", "??"},                /* NUL, overlong */
    {"\xc1\xbf", "??"},                /* overlong */
    {"\xe0\x9f\xbf", "???"},           /* overlong */
    {"\xf0\x8f\xbf\xbf", "????"},      /* overlong */
    {"\x80", "?"},                     /* a continuation alone */
    {"a\xc3", "a?"},                   /* the end is missing */
    {"\xe2\x82", "??"},                /* the end is missing */
    {"\xf0\x9f\x98", "???"},           /* the end is missing */
    {"\xc3\xc3\xa9", "?\xc3\xa9"},     /* a new character begins too early */
    {"\xf8\x88\x80\x80\x80", "?????"}, /* five bytes were never allowed */
    {"\xfe\xff", "??"},
};

START_TEST(knows_valid_utf8)
{
    const char *bytes = texts[_i].bytes;
    char repaired[16];

    ck_assert_int_eq(utf8_valid(bytes, strlen(bytes)), texts[_i].repaired == NULL);
    memcpy(repaired, bytes, strlen(bytes) + 1);
    utf8_repair(repaired);
    ck_assert_str_eq(repaired, texts[_i].repaired == NULL ? bytes : texts[_i].repaired);
}
END_TEST

START_TEST(decodes_every_character)
{
    uint32_t c = 0;

    ck_assert_uint_eq(utf8_decode("a", 1, &c), 1);
    ck_assert_uint_eq(c, 'a');
    ck_assert_uint_eq(utf8_decode("é", 2, &c), 2);
    ck_assert_uint_eq(c, 0xE9);
    ck_assert_uint_eq(utf8_decode("€", 3, &c), 3);
    ck_assert_uint_eq(c, 0x20AC);
    ck_assert_uint_eq(utf8_decode("😀", 4, &c), 4);
    ck_assert_uint_eq(c, 0x1F600);
    ck_assert_uint_eq(utf8_decode("😀", 3, &c), 0);
    ck_assert_uint_eq(utf8_decode("", 0, &c), 0);
    ck_assert_uint_eq(utf8_decode("", 1, &c), 1); /* a NUL within its length is a character */
    ck_assert_uint_eq(c, 0);
}
END_TEST

static const struct {
    const char *text;
    size_t max, kept;
} cuts[] = {
    {"abc", 3, 3},      {"abc", 9, 3},
    {"abc", 2, 2},      {"abc", 0, 0},
    {"é", 1, 0},        {"aé", 2, 1},
    {"a€", 3, 1},       {"a😀b", 4, 1},
    {"a😀b", 5, 5},      {"\x80\x80\x80\x80\x80\x80\x80", 5, 5}, /* no character anywhere: cut where it is */
    {"\x80\x80", 1, 1},
};

START_TEST(cuts_between_characters)
{
    ck_assert_uint_eq(utf8_cut(cuts[_i].text, strlen(cuts[_i].text), cuts[_i].max), cuts[_i].kept);
}
END_TEST

START_TEST(hex_goes_there_and_back)
{
    static const unsigned char bytes[] = {0x00, 0x0f, 0xf0, 0xff, 0x5a, 0xa5};
    unsigned char back[sizeof bytes] = {0};
    char hex[2 * sizeof bytes + 1];

    hex_encode(bytes, sizeof bytes, hex);
    ck_assert_str_eq(hex, "000ff0ff5aa5");
    ck_assert(hex_decode(hex, back, sizeof back));
    ck_assert_mem_eq(back, bytes, sizeof bytes);
    ck_assert(hex_decode("000FF0Ff5aA5", back, sizeof back));
    ck_assert_mem_eq(back, bytes, sizeof bytes);
    ck_assert(hex_decode("", back, 0));
}
END_TEST

START_TEST(hex_is_strict)
{
    static const char *const wrong[] = {"", "0", "000", "0000", "0g", "g0", " 0", "0x", "-1", "\xb0\xb0"};
    unsigned char byte = 42;

    ck_assert(!hex_decode(wrong[_i], &byte, 1));
    ck_assert_int_eq(byte, 42);
}
END_TEST

START_TEST(secrets_are_compared_whole)
{
    ck_assert(str_equal_secret("", ""));
    ck_assert(str_equal_secret("token", "token"));
    ck_assert(!str_equal_secret("token", "tokem"));
    ck_assert(!str_equal_secret("token", "Token"));
    ck_assert(!str_equal_secret("token", "token1"));
    ck_assert(!str_equal_secret("token", ""));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("str");
    TCase *tcase = tcase_create("str");
    tcase_add_loop_test(tcase, copies_between_characters, 0, ARRAY_SIZE(copies));
    tcase_add_test(tcase, nothing_fits_into_nothing);
    tcase_add_test(tcase, finds_beginnings_and_ends);
    tcase_add_loop_test(tcase, numbers_are_strict, 0, ARRAY_SIZE(numbers));
    tcase_add_test(tcase, numbers_end_where_told);
    tcase_add_test(tcase, numbers_become_text);
    tcase_add_loop_test(tcase, knows_valid_utf8, 0, ARRAY_SIZE(texts));
    tcase_add_test(tcase, decodes_every_character);
    tcase_add_loop_test(tcase, cuts_between_characters, 0, ARRAY_SIZE(cuts));
    tcase_add_test(tcase, hex_goes_there_and_back);
    tcase_add_loop_test(tcase, hex_is_strict, 0, 10);
    tcase_add_test(tcase, secrets_are_compared_whole);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
