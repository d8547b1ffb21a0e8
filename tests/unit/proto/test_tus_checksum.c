#include "base/mem.h"
#include "proto/tus_checksum.h"
#include "suite.h"

#include <string.h>

/* Of "hello world". */
static const char *const of_hello[] = {
    "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
    "sha256 uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek=",
    "md5 XrY7u+Ae7tCTyyK7j1rNww==",
    "crc32c yZRlqg==",
};

static const char *const bad[] = {
    "",
    "sha1",
    "sha1 ",
    " sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
    "SHA1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
    "sha1  Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
    "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0",
    "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0= ",
    "sha1\tKq5sNclPz7QV2+lfQIuc6R7oRu0=",
    "sha256 Kq5sNclPz7QV2+lfQIuc6R7oRu0=", /* of another algorithm's size */
    "sha1 2aae6c35c94fcfb415dbe95f408b9ce91ee846ed",
    "sha1:Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
    "Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
    "sha512 AAAA",
    "crc32 yZRlqg==",
    "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=, md5 XrY7u+Ae7tCTyyK7j1rNww==",
    "md5 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", /* far too long */
};

START_TEST(refuses_what_is_malformed_or_unknown)
{
    struct tus_checksum got = {.algorithm = 77};
    struct err e;

    ck_assert_int_eq(tus_checksum_parse(bad[_i], &got, &e), -ERR_INVALID);
    ck_assert_int_eq(got.algorithm, 77);
    ck_assert_ptr_nonnull(strstr(e.text, "Upload-Checksum"));
}
END_TEST

static bool matches(enum tus_algorithm computed, const char *text, const char *data)
{
    struct tus_checksum checksum;
    struct tus_digest *d;
    size_t half = strlen(data) / 2;
    bool same;

    ck_assert_int_eq(tus_checksum_parse(text, &checksum, NULL), 0);
    ck_assert_int_eq(tus_digest_new(computed == TUS_ALGORITHM_COUNT ? computed : checksum.algorithm, &d, NULL), 0);
    ck_assert_int_eq(tus_digest_add(d, data, half, NULL), 0);
    ck_assert_int_eq(tus_digest_add(d, data + half, strlen(data) - half, NULL), 0);
    ck_assert_int_eq(tus_digest_matches(d, &checksum, &same, NULL), 0);
    tus_digest_free(d);
    return same;
}

START_TEST(knows_the_right_one_from_a_wrong_one)
{
    ck_assert(matches(0, of_hello[_i], "hello world"));
    ck_assert(!matches(0, of_hello[_i], "hello worle"));
    ck_assert(!matches(0, of_hello[_i], ""));
    ck_assert(matches(TUS_ALGORITHM_COUNT, of_hello[_i], "hello world"));
    ck_assert(!matches(TUS_ALGORITHM_COUNT, of_hello[_i], "Hello world"));
}
END_TEST

START_TEST(answers_only_for_what_it_computed)
{
    struct tus_checksum md5, crc;
    struct tus_digest *d;
    struct err e;
    bool same;

    ck_assert_int_eq(tus_checksum_parse(of_hello[2], &md5, NULL), 0);
    ck_assert_int_eq(tus_checksum_parse(of_hello[3], &crc, NULL), 0);
    ck_assert_int_eq(tus_digest_new(TUS_SHA1, &d, NULL), 0);
    ck_assert_int_eq(tus_digest_matches(d, &md5, &same, &e), -ERR_BUG);
    ck_assert_int_eq(tus_digest_matches(d, &crc, &same, &e), -ERR_BUG);
    tus_digest_free(d);
    tus_digest_free(NULL);
}
END_TEST

START_TEST(says_that_there_is_no_memory)
{
    struct tus_digest *d = NULL;
    struct err e;

    mem_fail_from(1);
    ck_assert_int_eq(tus_digest_new(TUS_SHA1, &d, &e), -ERR_TEMPORARY);
    mem_fail_from(0);
    ck_assert_ptr_null(d);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("tus_checksum");
    TCase *tcase = tcase_create("checksum");
    tcase_add_loop_test(tcase, refuses_what_is_malformed_or_unknown, 0, sizeof bad / sizeof *bad);
    tcase_add_loop_test(tcase, knows_the_right_one_from_a_wrong_one, 0, sizeof of_hello / sizeof *of_hello);
    tcase_add_test(tcase, answers_only_for_what_it_computed);
    tcase_add_test(tcase, says_that_there_is_no_memory);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
