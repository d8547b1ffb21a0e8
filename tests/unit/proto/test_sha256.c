#include "proto/sha256.h"

#include "../suite.h"

#include <string.h>

/* FIPS 180-4, examples. */
static const struct {
    const char *text, *hex;
} hashes[] = {
    {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
    {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
    {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
     "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
};

START_TEST(agrees_with_the_standard)
{
    char hex[SHA256_HEX_SIZE];

    sha256_hex(hashes[_i].text, strlen(hashes[_i].text), hex);
    ck_assert_str_eq(hex, hashes[_i].hex);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sha256");
    TCase *t = tcase_create("sha256");

    tcase_add_loop_test(t, agrees_with_the_standard, 0, (int)(sizeof hashes / sizeof *hashes));
    suite_add_tcase(suite, t);
    return run_suite(suite);
}
