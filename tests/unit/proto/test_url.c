#include "proto/url.h"

#include "base/mem.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *text, *authority; /* NULL: invalid */
    bool tls;
} endpoints[] = {
    {"http://localhost:9000", "localhost:9000", false},
    {"http://localhost:9000/", "localhost:9000", false},
    {"http://minio", "minio", false},
    {"http://minio:80", "minio", false}, /* as the Host header has it */
    {"https://s3.eu-central-1.amazonaws.com", "s3.eu-central-1.amazonaws.com", true},
    {"https://s3.example.com:443", "s3.example.com", true},
    {"https://s3.example.com:80", "s3.example.com:80", true},
    {"http://127.0.0.1:1", "127.0.0.1:1", false},
    {"http://[::1]:9000", "[::1]:9000", false},
    {"http://[fe80::1]", "[fe80::1]", false},
    {"http://[0F%eth0]:1", "[0F%eth0]:1", false},
    {"", NULL, false},
    {"minio:9000", NULL, false},
    {"//minio", NULL, false},
    {"ftp://minio", NULL, false},
    {"http://", NULL, false},
    {"http://minio:0", NULL, false},
    {"http://minio:65536", NULL, false},
    {"http://minio:port", NULL, false},
    {"http://user:secret@minio", NULL, false},
    {"http://minio/bucket", NULL, false},
    {"http://minio?x", NULL, false},
    {"http://minio#x", NULL, false},
    {"http://mi nio", NULL, false},
    {"http://minio\r\nHost: x", NULL, false},
};

START_TEST(parses_endpoints)
{
    struct url_endpoint got = {.authority = "untouched"};
    struct err e;

    int r = url_parse_endpoint(endpoints[_i].text, &got, &e);
    if (endpoints[_i].authority == NULL) {
        ck_assert_int_eq(r, -ERR_INVALID);
        ck_assert_str_eq(got.authority, "untouched");
        return;
    }
    ck_assert_msg(r == 0, "%s: %s", endpoints[_i].text, e.text);
    ck_assert_str_eq(got.authority, endpoints[_i].authority);
    ck_assert_int_eq(got.tls, endpoints[_i].tls);
}
END_TEST

START_TEST(refuses_long_hosts)
{
    char text[600] = "http://";
    struct url_endpoint got;

    memset(text + 7, 'x', sizeof text - 8);
    ck_assert_int_eq(url_parse_endpoint(text, &got, NULL), -ERR_INVALID);
}
END_TEST

START_TEST(encodes_all_but_unreserved_characters)
{
    BUF_AUTO struct buf out;

    buf_init(&out, 1000);
    url_encode(&out, "aZ09-._~ /%+\xc3\xa9\x01", false);
    buf_puts(&out, "|");
    url_encode(&out, "a/b c", true);
    ck_assert_str_eq(buf_cstr(&out), "aZ09-._~%20%2F%25%2B%C3%A9%01|a/b%20c");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("url");
    TCase *tcase = tcase_create("url");
    tcase_add_loop_test(tcase, parses_endpoints, 0, (int)ARRAY_SIZE(endpoints));
    tcase_add_test(tcase, refuses_long_hosts);
    tcase_add_test(tcase, encodes_all_but_unreserved_characters);
    suite_add_tcase(suite, tcase);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
