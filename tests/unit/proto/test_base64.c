#include "proto/base64.h"
#include "suite.h"

#include <string.h>

static const struct {
    const char *text, *bytes;
    size_t len;
} good[] = {
    {"", "", 0},
    {"AA==", "\0", 1},
    {"Zg==", "f", 1},
    {"Zm8=", "fo", 2},
    {"Zm9v", "foo", 3},
    {"Zm9vYmFyCg==", "foobar\n", 7},
    {"+/+/", "\xfb\xff\xbf", 3},
    {"AAAAAAA=", "\0\0\0\0\0", 5},
};

START_TEST(decodes)
{
    char out[64];
    size_t len = 99;

    ck_assert(base64_decode(good[_i].text, strlen(good[_i].text), out, &len));
    ck_assert_uint_eq(len, good[_i].len);
    ck_assert_mem_eq(out, good[_i].bytes, len);
}
END_TEST

static const char *const bad[] = {
    "Z",        "Zg",   "Zg=",      "Zm9v=",  "Zm9vY===", "====", "=",        "Z===",    "Zh==", /* bits that no byte has */
    "Zm9=",                                                                                      /* likewise */
    "Zg==Zg==", "Zm 9", " Zg=",     "Zg==\n", "Zg== ",    "-_-_", "Zm9v!!!!", "Zm9\xc3", "Zg=A", "=Zg=",
    "Zm=v",     "    ", "\n\n\n\n",
};

START_TEST(refuses_what_is_not_base64)
{
    char out[64];
    size_t len = 99;

    ck_assert(!base64_decode(bad[_i], strlen(bad[_i]), out, &len));
    ck_assert_uint_eq(len, 99);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("base64");
    TCase *tcase = tcase_create("decode");
    tcase_add_loop_test(tcase, decodes, 0, sizeof good / sizeof *good);
    tcase_add_loop_test(tcase, refuses_what_is_not_base64, 0, sizeof bad / sizeof *bad);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
