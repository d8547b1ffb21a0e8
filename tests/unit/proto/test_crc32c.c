#include "proto/crc32c.h"

#include "base/mem.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

/* RFC 3720, appendix B.4, and the usual check value. */
static const struct {
    unsigned char first, step;
    uint32_t crc;
    const char *base64;
} blocks[] = {
    {0x00, 0, 0x8A9136AA, "ipE2qg=="},
    {0xFF, 0, 0x62A8AB43, "YqirQw=="},
    {0x00, 1, 0x46DD794E, "Rt15Tg=="},
};

START_TEST(agrees_with_the_rfc)
{
    unsigned char data[32];
    char base64[CRC32C_BASE64_SIZE];

    for (unsigned i = 0; i < sizeof data; i++)
        data[i] = (unsigned char)(blocks[_i].first + i * blocks[_i].step);
    ck_assert_uint_eq(crc32c_update(0, data, sizeof data), blocks[_i].crc);
    for (size_t cut = 0; cut <= sizeof data; cut++) /* in two pieces */
        ck_assert_uint_eq(crc32c_update(crc32c_update(0, data, cut), data + cut, sizeof data - cut), blocks[_i].crc);
    crc32c_base64(blocks[_i].crc, base64);
    ck_assert_str_eq(base64, blocks[_i].base64);
}
END_TEST

START_TEST(check_value)
{
    ck_assert_uint_eq(crc32c_update(0, "123456789", 9), 0xE3069283);
    ck_assert_uint_eq(crc32c_update(0, "", 0), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("crc32c");
    TCase *tcase = tcase_create("crc32c");
    tcase_add_loop_test(tcase, agrees_with_the_rfc, 0, (int)ARRAY_SIZE(blocks));
    tcase_add_test(tcase, check_value);
    suite_add_tcase(suite, tcase);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
