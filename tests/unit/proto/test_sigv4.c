#include "proto/sigv4.h"

#include "base/mem.h"
#include "base/str.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

/* AWS's published vectors: the Signature Version 4 test suite, and the examples of the S3 documentation ("Authenticating
 * Requests: Using the Authorization Header"). */

#define EMPTY_HASH "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define UNRESERVED "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
#define SUITE_HEADERS                                                                                                  \
    {"Host", "example.amazonaws.com"},                                                                                 \
    {                                                                                                                  \
        "X-Amz-Date", "20150830T123600Z"                                                                               \
    }
#define S3_HEADERS                                                                                                     \
    {"Host", "examplebucket.s3.amazonaws.com"},                                                                        \
    {                                                                                                                  \
        "x-amz-date", "20130524T000000Z"                                                                               \
    }

static const struct sigv4_key suite = {"AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "us-east-1",
                                       "service"};
static const struct sigv4_key s3 = {"AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "us-east-1",
                                    "s3"};

static const struct {
    const char *name;
    const struct sigv4_key *key;
    const char *method, *path;
    struct sigv4_pair query[4], headers[6];
    const char *payload; /* NULL: of an empty body */
    const char *target, *signed_headers, *signature;
} cases[] = {
    {"get-vanilla",
     &suite,
     "GET",
     "/",
     {{0}},
     {SUITE_HEADERS},
     NULL,
     "/",
     "host;x-amz-date",
     "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
    {"get-vanilla-query-order-key-case",
     &suite,
     "GET",
     "/",
     {{"Param2", "value2"}, {"Param1", "value1"}},
     {SUITE_HEADERS},
     NULL,
     "/?Param1=value1&Param2=value2",
     "host;x-amz-date",
     "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"},
    {"get-vanilla-empty-query-key",
     &suite,
     "GET",
     "/",
     {{"Param1", "value1"}},
     {SUITE_HEADERS},
     NULL,
     "/?Param1=value1",
     "host;x-amz-date",
     "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb"},
    {"get-vanilla-query-unreserved",
     &suite,
     "GET",
     "/",
     {{UNRESERVED, UNRESERVED}},
     {SUITE_HEADERS},
     NULL,
     "/?" UNRESERVED "=" UNRESERVED,
     "host;x-amz-date",
     "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197"},
    {"get-vanilla-utf8-query",
     &suite,
     "GET",
     "/",
     {{"\u1234", "bar"}},
     {SUITE_HEADERS},
     NULL,
     "/?%E1%88%B4=bar",
     "host;x-amz-date",
     "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04"},
    {"get-unreserved",
     &suite,
     "GET",
     "/" UNRESERVED,
     {{0}},
     {SUITE_HEADERS},
     NULL,
     "/" UNRESERVED,
     "host;x-amz-date",
     "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f"},
    {"get-utf8",
     &suite,
     "GET",
     "/\u1234",
     {{0}},
     {SUITE_HEADERS},
     NULL,
     "/%E1%88%B4",
     "host;x-amz-date",
     "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"},
    {"get-space",
     &suite,
     "GET",
     "/example space/",
     {{0}},
     {SUITE_HEADERS},
     NULL,
     "/example%20space/",
     "host;x-amz-date",
     "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741"},
    {"get-header-value-trim",
     &suite,
     "GET",
     "/",
     {{0}},
     {SUITE_HEADERS, {"My-Header1", " value1"}, {"My-Header2", " \"a   b   c\""}},
     NULL,
     "/",
     "host;my-header1;my-header2;x-amz-date",
     "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736"},
    {"get-header-value-order",
     &suite,
     "GET",
     "/",
     {{0}},
     {{"My-Header1", "value4,value1,value3,value2"}, SUITE_HEADERS},
     NULL,
     "/",
     "host;my-header1;x-amz-date",
     "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01"},
    {"post-vanilla",
     &suite,
     "POST",
     "/",
     {{0}},
     {SUITE_HEADERS},
     NULL,
     "/",
     "host;x-amz-date",
     "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"},
    {"post-vanilla-query",
     &suite,
     "POST",
     "/",
     {{"Param1", "value1"}},
     {SUITE_HEADERS},
     NULL,
     "/?Param1=value1",
     "host;x-amz-date",
     "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11"},
    {"post-header-key-case",
     &suite,
     "POST",
     "/",
     {{0}},
     {SUITE_HEADERS, {"MY-HEADER1", "value1"}},
     NULL,
     "/",
     "host;my-header1;x-amz-date",
     "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c"},
    {"post-header-value-case",
     &suite,
     "POST",
     "/",
     {{0}},
     {SUITE_HEADERS, {"My-Header1", "VALUE1"}},
     NULL,
     "/",
     "host;my-header1;x-amz-date",
     "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d"},
    {"S3: GET Object",
     &s3,
     "GET",
     "/test.txt",
     {{0}},
     {S3_HEADERS, {"Range", "bytes=0-9"}, {"x-amz-content-sha256", EMPTY_HASH}},
     NULL,
     "/test.txt",
     "host;range;x-amz-content-sha256;x-amz-date",
     "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"},
    {"S3: PUT Object",
     &s3,
     "PUT",
     "/test$file.text",
     {{0}},
     {S3_HEADERS,
      {"Date", "Fri, 24 May 2013 00:00:00 GMT"},
      {"x-amz-storage-class", "REDUCED_REDUNDANCY"},
      {"x-amz-content-sha256", "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"}},
     "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
     "/test%24file.text",
     "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
     "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"},
    {"S3: GET Bucket Lifecycle",
     &s3,
     "GET",
     "/",
     {{"lifecycle", ""}},
     {S3_HEADERS, {"x-amz-content-sha256", EMPTY_HASH}},
     NULL,
     "/?lifecycle=",
     "host;x-amz-content-sha256;x-amz-date",
     "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"},
    {"S3: List Objects",
     &s3,
     "GET",
     "/",
     {{"prefix", "J"}, {"max-keys", "2"}},
     {S3_HEADERS, {"x-amz-content-sha256", EMPTY_HASH}},
     NULL,
     "/?max-keys=2&prefix=J",
     "host;x-amz-content-sha256;x-amz-date",
     "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"},
};

static size_t count_pairs(const struct sigv4_pair *pairs, size_t max)
{
    size_t n = 0;

    while (n < max && pairs[n].name != NULL)
        n++;
    return n;
}

static struct sigv4_request request_of(int i)
{
    return (struct sigv4_request){.method = cases[i].method,
                                  .path = cases[i].path,
                                  .query = cases[i].query,
                                  .query_count = count_pairs(cases[i].query, ARRAY_SIZE(cases[i].query)),
                                  .headers = cases[i].headers,
                                  .header_count = count_pairs(cases[i].headers, ARRAY_SIZE(cases[i].headers)),
                                  .payload = cases[i].payload != NULL ? cases[i].payload : EMPTY_HASH};
}

START_TEST(signs_as_published)
{
    struct sigv4_request request = request_of(_i);
    const char *date = cases[_i].key == &suite ? "20150830T123600Z" : "20130524T000000Z";
    BUF_AUTO struct buf got, expected, target;
    struct err e;

    buf_init(&got, 4096);
    buf_init(&target, 4096);
    buf_init(&expected, 4096);
    buf_printf(&expected,
               "AWS4-HMAC-SHA256 Credential=%s/%.8s/us-east-1/%s/aws4_request, SignedHeaders=%s, Signature=%s",
               cases[_i].key->access_key, date, cases[_i].key->service, cases[_i].signed_headers, cases[_i].signature);
    ck_assert_int_eq(sigv4_authorization(&request, cases[_i].key, date, &got, &e), 0);
    ck_assert_msg(strcmp(buf_cstr(&got), buf_cstr(&expected)) == 0, "%s:\n%s\n%s", cases[_i].name, buf_cstr(&got),
                  buf_cstr(&expected));
    ck_assert_int_eq(sigv4_target(&request, &target, &e), 0);
    ck_assert_str_eq(buf_cstr(&target), cases[_i].target);
}
END_TEST

/* The order is that of the encoded names, then of the encoded values. */
START_TEST(sorts_encoded_parameters)
{
    static const struct sigv4_pair query[] = {{"b", "2"},        {"a", "z"}, {"a", "y"},          {"a-", "1"},
                                              {"\xc3\xa9", "x"}, {"A", ""},  {"uploadId", "x/y="}};
    struct sigv4_request request = {.method = "GET",
                                    .path = "/b/a b/c+d",
                                    .query = query,
                                    .query_count = ARRAY_SIZE(query),
                                    .payload = SIGV4_UNSIGNED_PAYLOAD};
    BUF_AUTO struct buf out;

    buf_init(&out, 4096);
    ck_assert_int_eq(sigv4_target(&request, &out, NULL), 0);
    ck_assert_str_eq(buf_cstr(&out), "/b/a%20b/c%2Bd?%C3%A9=x&A=&a=y&a=z&a-=1&b=2&uploadId=x%2Fy%3D");
}
END_TEST

START_TEST(writes_the_canonical_request)
{
    static const struct sigv4_pair headers[] = {{"X-Amz-Date", "20260102T030405Z"},
                                                {"Host", " example.com "},
                                                {"Content-Type", "text/plain; \t  charset=utf-8"},
                                                {"Empty", "  "}};
    struct sigv4_request request = {.method = "PUT",
                                    .path = "/b/k",
                                    .headers = headers,
                                    .header_count = ARRAY_SIZE(headers),
                                    .payload = SIGV4_UNSIGNED_PAYLOAD};
    BUF_AUTO struct buf out;

    buf_init(&out, 4096);
    ck_assert_int_eq(sigv4_canonical(&request, &out, NULL), 0);
    ck_assert_str_eq(buf_cstr(&out), "PUT\n/b/k\n\ncontent-type:text/plain; charset=utf-8\nempty:\nhost:example.com\n"
                                     "x-amz-date:20260102T030405Z\n\ncontent-type;empty;host;x-amz-date\n"
                                     "UNSIGNED-PAYLOAD");
}
END_TEST

START_TEST(refuses_what_it_cannot_sign)
{
    static const char *const dates[] = {"",
                                        "20130524",
                                        "2013-05-24T00:00:00Z",
                                        "20130524T000000",
                                        "20130524T0000000",
                                        "20130524x000000Z",
                                        "20130524T00000aZ"};
    struct sigv4_pair many[SIGV4_PAIRS_MAX + 1];
    char secret[300] = "", region[200] = "";
    struct sigv4_key key = s3;
    struct sigv4_request request = request_of(0);
    BUF_AUTO struct buf out;

    buf_init(&out, 4096);
    for (size_t i = 0; i < ARRAY_SIZE(dates); i++)
        ck_assert_int_eq(sigv4_authorization(&request, &s3, dates[i], &out, NULL), -ERR_INVALID);
    memset(secret, 'x', sizeof secret - 1);
    memset(region, 'x', sizeof region - 1);
    key.secret_key = secret;
    ck_assert_int_eq(sigv4_authorization(&request, &key, "20130524T000000Z", &out, NULL), -ERR_INVALID);
    key = s3;
    key.region = region;
    ck_assert_int_eq(sigv4_authorization(&request, &key, "20130524T000000Z", &out, NULL), -ERR_INVALID);
    for (size_t i = 0; i < ARRAY_SIZE(many); i++)
        many[i] = (struct sigv4_pair){"a", "b"};
    request.headers = many;
    request.header_count = ARRAY_SIZE(many);
    ck_assert_int_eq(sigv4_authorization(&request, &s3, "20130524T000000Z", &out, NULL), -ERR_INVALID);
}
END_TEST

START_TEST(survives_failing_allocations)
{
    struct sigv4_request request = request_of(15);
    int r = -1;

    for (uint64_t nth = 1; r != 0 && nth < 100; nth++) {
        BUF_AUTO struct buf out;
        buf_init(&out, 4096);
        mem_fail_from(nth);
        r = sigv4_authorization(&request, &s3, "20130524T000000Z", &out, NULL);
        mem_fail_from(0);
        ck_assert(r == 0 || r == -ERR_TEMPORARY);
    }
    ck_assert_int_eq(r, 0);
}
END_TEST

int main(void)
{
    Suite *suite_ = suite_create("sigv4");
    TCase *tcase = tcase_create("sign");
    tcase_add_loop_test(tcase, signs_as_published, 0, (int)ARRAY_SIZE(cases));
    tcase_add_test(tcase, sorts_encoded_parameters);
    tcase_add_test(tcase, writes_the_canonical_request);
    tcase_add_test(tcase, refuses_what_it_cannot_sign);
    tcase_add_test(tcase, survives_failing_allocations);
    suite_add_tcase(suite_, tcase);

    SRunner *runner = srunner_create(suite_);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
