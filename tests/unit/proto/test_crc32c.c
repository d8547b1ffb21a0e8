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

static uint32_t zeros(uint32_t crc, uint64_t count)
{
    static const unsigned char block[1 << 20];

    for (; count > sizeof block; count -= sizeof block)
        crc = crc32c_update(crc, block, sizeof block);
    return crc32c_update(crc, block, (size_t)count);
}

START_TEST(combines_any_two_stretches)
{
    unsigned char data[4099];
    uint32_t seed = 1;

    for (size_t i = 0; i < sizeof data; i++) {
        seed = seed * 1664525 + 1013904223;
        data[i] = (unsigned char)(seed >> 24);
    }
    uint32_t whole = crc32c_update(0, data, sizeof data);
    for (size_t cut = 0; cut <= sizeof data; cut++) {
        uint32_t first = crc32c_update(0, data, cut);
        uint32_t second = crc32c_update(0, data + cut, sizeof data - cut);
        ck_assert_uint_eq(crc32c_combine(first, second, sizeof data - cut), whole);
    }
    ck_assert_uint_eq(crc32c_combine(0, whole, sizeof data), whole);
    ck_assert_uint_eq(crc32c_combine(whole, 0, 0), whole);
}
END_TEST

/* More than 32 bits of length; many pieces in a row. */
START_TEST(combines_long_stretches)
{
    uint32_t first = crc32c_update(0, "123456789", 9);
    uint64_t len = (UINT64_C(4) << 30) + 12345;
    uint32_t second = 0, chunk = zeros(0, 1 << 20);

    for (uint64_t i = 0; i < len >> 20; i++)
        second = crc32c_combine(second, chunk, 1 << 20);
    second = crc32c_combine(second, zeros(0, len % (1 << 20)), len % (1 << 20));
    ck_assert_uint_eq(second, zeros(0, len));
    ck_assert_uint_eq(crc32c_combine(first, second, len), zeros(first, len));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("crc32c");
    TCase *tcase = tcase_create("crc32c");
    tcase_add_loop_test(tcase, agrees_with_the_rfc, 0, (int)ARRAY_SIZE(blocks));
    tcase_add_test(tcase, check_value);
    tcase_add_test(tcase, combines_any_two_stretches);
    tcase_add_test(tcase, combines_long_stretches);
    tcase_set_timeout(tcase, 60);
    suite_add_tcase(suite, tcase);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
