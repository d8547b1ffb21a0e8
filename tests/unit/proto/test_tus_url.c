#include "proto/tus_url.h"
#include "suite.h"

#include <string.h>

#define ID "v_01arz3ndektsv4rrffq69g5fav"
#define SECRET "0123456789abcdef0123456789abcdef"
#define NAME ID "~" SECRET

START_TEST(reads_what_it_writes)
{
    struct tus_name n;
    char text[TUS_NAME_SIZE];

    ck_assert(tus_name_parse(NAME, &n));
    ck_assert_str_eq(n.video_id, ID);
    ck_assert_str_eq(n.secret, SECRET);
    tus_name_write(&n, text);
    ck_assert_str_eq(text, NAME);
}
END_TEST

static const char *const not_names[] = {
    "",
    "~",
    ID,
    ID "~",
    "~" SECRET,
    ID SECRET,
    ID "~" SECRET "0",
    ID "~0123456789abcdef0123456789abcde",
    ID "~0123456789ABCDEF0123456789ABCDEF",
    ID "~0123456789abcdef0123456789abcdeg",
    "v_01ARZ3NDEKTSV4RRFFQ69G5FAV~" SECRET,
    "x_01arz3ndektsv4rrffq69g5fav~" SECRET,
    "v_01arz3ndektsv4rrffq69g5fau~" SECRET,
    " " NAME,
    NAME " ",
    ID "~~" SECRET,
};

START_TEST(refuses_other_names)
{
    struct tus_name n = {.video_id = "untouched"};

    ck_assert(!tus_name_parse(not_names[_i], &n));
    ck_assert(!tus_url_parse(not_names[_i], strlen(not_names[_i]), &n));
    ck_assert_str_eq(n.video_id, "untouched");
}
END_TEST

static const struct {
    const char *url;
    bool good;
} urls[] = {
    {"http://localhost:3000/api/v1/uploads/" NAME, true},
    {"https://example.com/a/prefix/api/v1/uploads/" NAME, true},
    {"/api/v1/uploads/" NAME, true},
    {"uploads/" NAME, true},
    {"./" NAME, true},
    {NAME, true},
    {"/api/v1/uploads/" NAME "?a=b", true},
    {"/api/v1/uploads/" NAME "#/x", true},
    {"/api/v1/uploads/" ID "%7E" SECRET, true},
    {"/api/v1/uploads/" ID "%7e" SECRET, true},
    {"/api/v1/uploads/" NAME "/", false},
    {"/api/v1/uploads/" ID "%" SECRET, false},
    {"/api/v1/uploads/" ID "%00" SECRET, false},
    {"/api/v1/uploads/%2F" NAME, false},
    {"?" NAME, false},
    {"/api/v1/uploads/..", false},
    {"/", false},
    {"%", false},
    {"\xe9", false},
    {"/\xe9/" NAME, false},
    {"/\x7f/" NAME, false},
    {NAME "?\xe9", false},
    {"http://elsewhere.example/files/"
     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
     "aaaaaaaaa",
     false},
};

START_TEST(takes_the_last_segment_of_a_url)
{
    struct tus_name n;

    ck_assert_int_eq(tus_url_parse(urls[_i].url, strlen(urls[_i].url), &n), urls[_i].good);
    if (urls[_i].good)
        ck_assert_str_eq(n.secret, SECRET);
}
END_TEST

START_TEST(walks_a_list)
{
    const char *list = " /a  /bb /c ", *rest = list;
    static const char *const wanted[] = {"/a", "/bb", "/c"};
    size_t len;

    for (int i = 0; i < 3; i++) {
        const char *url = tus_url_next(&rest, &len);
        ck_assert_ptr_nonnull(url);
        ck_assert_uint_eq(len, strlen(wanted[i]));
        ck_assert_mem_eq(url, wanted[i], len);
    }
    ck_assert_ptr_null(tus_url_next(&rest, &len));
    ck_assert_ptr_null(tus_url_next(&rest, &len));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("tus_url");
    TCase *tcase = tcase_create("url");
    tcase_add_test(tcase, reads_what_it_writes);
    tcase_add_loop_test(tcase, refuses_other_names, 0, sizeof not_names / sizeof *not_names);
    tcase_add_loop_test(tcase, takes_the_last_segment_of_a_url, 0, sizeof urls / sizeof *urls);
    tcase_add_test(tcase, walks_a_list);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
