#include "services/play/transform.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

START_TEST(puts_the_prefix_before_every_uri_and_changes_nothing_else)
{
    static const char before[] = "#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",URI=\"audio/128/index.m3u8\"\n"
                                 "#EXT-X-STREAM-INF:BANDWIDTH=1,AUDIO=\"a\"\nv720/index.m3u8\n";
    static const char after[] = "#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",URI=\"1-2-c/audio/128/index.m3u8\"\n"
                                "#EXT-X-STREAM-INF:BANDWIDTH=1,AUDIO=\"a\"\n1-2-c/v720/index.m3u8\n";
    struct buf out;
    struct err e;

    buf_init(&out, 4096);
    ck_assert_int_eq(transform_prefix(before, strlen(before), "1-2-c/", &out, &e), 0);
    ck_assert_str_eq(buf_cstr(&out), after);
    buf_release(&out);
}
END_TEST

START_TEST(refuses_what_is_no_playlist)
{
    struct buf out;
    struct err e;

    buf_init(&out, 4096);
    ck_assert_int_eq(transform_prefix("hello", 5, "p/", &out, &e), -ERR_INVALID);
    buf_release(&out);
}
END_TEST

START_TEST(gzip_gives_the_bytes_back)
{
    static unsigned char data[100000], back[sizeof data];
    struct buf out, again;
    struct err e;
    z_stream z = {0};

    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (unsigned char)(i * i >> 3);
    buf_init(&out, sizeof data * 2);
    buf_init(&again, sizeof data * 2);
    ck_assert_int_eq(transform_gzip(data, sizeof data, &out, &e), 0);
    ck_assert_int_eq(transform_gzip(data, sizeof data, &again, &e), 0);
    ck_assert_uint_eq(out.len, again.len);
    ck_assert_mem_eq(out.data, again.data, out.len);

    ck_assert_int_eq(inflateInit2(&z, 15 + 16), Z_OK);
    z.next_in = (Bytef *)out.data;
    z.avail_in = (uInt)out.len;
    z.next_out = back;
    z.avail_out = sizeof back;
    ck_assert_int_eq(inflate(&z, Z_FINISH), Z_STREAM_END);
    inflateEnd(&z);
    ck_assert_mem_eq(data, back, sizeof data);
    buf_release(&out);
    buf_release(&again);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("transform");
    TCase *tcase = tcase_create("transform");
    tcase_add_test(tcase, puts_the_prefix_before_every_uri_and_changes_nothing_else);
    tcase_add_test(tcase, refuses_what_is_no_playlist);
    tcase_add_test(tcase, gzip_gives_the_bytes_back);
    suite_add_tcase(suite, tcase);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
