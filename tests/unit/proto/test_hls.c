#include "proto/hls.h"

#include "suite.h"

#include "base/mem.h"

#include <check.h>
#include <string.h>

#define S 1000000

START_TEST(peak_is_the_densest_run_of_half_to_one_and_a_half_targets)
{
    static const struct {
        struct hls_segment segments[4];
        size_t count;
        unsigned target_s;
        uint64_t peak, average;
    } cases[] = {
        {{{0}}, 0, 6, 0, 0},
        {{{6 * S, 600000}}, 1, 6, 800000, 800000},
        {{{6 * S, 600000}, {6 * S, 900000}}, 2, 6, 1200000, 1000000},
        /* a last segment shorter than half a target counts only with its neighbour */
        {{{6 * S, 600000}, {1 * S, 900000}}, 2, 6, 1714286, 1714286},
        {{{6 * S, 600000}, {6 * S, 600000}, {1 * S, 300000}}, 3, 6, 1028571, 923077},
        /* two short ones make a run, three of 3 s are too long with a fourth */
        {{{2 * S, 100000}, {2 * S, 500000}, {2 * S, 100000}, {4 * S, 100000}}, 4, 6, 1200000, 640000},
        /* everything is shorter than half a target */
        {{{1 * S, 1000}}, 1, 6, 8000, 8000},
        /* one segment longer than one and a half targets */
        {{{20 * S, 2000000}}, 1, 6, 800000, 800000},
        /* durations of 0 divide nothing */
        {{{0, 1000}}, 1, 6, 0, 0},
    };

    struct hls_rate rate = hls_measure(cases[_i].segments, cases[_i].count, cases[_i].target_s);
    ck_assert_uint_eq(rate.peak, cases[_i].peak);
    ck_assert_uint_eq(rate.average, cases[_i].average);
}
END_TEST

START_TEST(target_is_the_longest_duration_rounded)
{
    struct hls_segment segments[] = {{6 * S + 499999, 1}, {5 * S, 1}};

    ck_assert_uint_eq(hls_target_s(segments, 2), 6);
    segments[1].duration_us = 6 * S + 500000;
    ck_assert_uint_eq(hls_target_s(segments, 2), 7);
    segments[0].duration_us = 1000;
    ck_assert_uint_eq(hls_target_s(segments, 1), 1);
    ck_assert_uint_eq(hls_target_s(NULL, 0), 1);
}
END_TEST

START_TEST(media_playlist_is_complete)
{
    const struct hls_segment segments[] = {{6006000, 100}, {1 * S, 50}};
    BUF_AUTO struct buf out;

    buf_init(&out, 4096);
    hls_write_media(&out, segments, 2, 6);
    ck_assert_int_eq(buf_check(&out, "playlist", NULL), 0);
    ck_assert_str_eq(buf_cstr(&out), "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:6\n#EXT-X-MEDIA-SEQUENCE:0\n"
                                     "#EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-INDEPENDENT-SEGMENTS\n"
                                     "#EXTINF:6.006000,\nseg_00000.ts\n#EXTINF:1.000000,\nseg_00001.ts\n"
                                     "#EXT-X-ENDLIST\n");
}
END_TEST

static const struct hls_variant variant = {
    .uri = "v720/index.m3u8",
    .codecs = "avc1.64001f,mp4a.40.2",
    .audio_group = "aac128",
    .video_range = "SDR",
    .rate = {.peak = 3000000, .average = 2000000},
    .width = 1280,
    .height = 720,
    .frame_rate_milli = 29970,
};

START_TEST(master_playlist_is_complete)
{
    const struct hls_audio audio = {.group = "aac128",
                                    .name = "Eng\"\nlish",
                                    .language = "en",
                                    .uri = "audio/128/index.m3u8",
                                    .channels = 2,
                                    .is_default = true};
    BUF_AUTO struct buf out;

    buf_init(&out, 4096);
    hls_write_master(&out, &(struct hls_master){&variant, 1, &audio, 1});
    ck_assert_int_eq(buf_check(&out, "playlist", NULL), 0);
    ck_assert_str_eq(buf_cstr(&out),
                     "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-INDEPENDENT-SEGMENTS\n"
                     "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"aac128\",NAME=\"English\",LANGUAGE=\"en\",DEFAULT=YES,"
                     "AUTOSELECT=YES,CHANNELS=\"2\",URI=\"audio/128/index.m3u8\"\n"
                     "#EXT-X-STREAM-INF:BANDWIDTH=3000000,AVERAGE-BANDWIDTH=2000000,"
                     "CODECS=\"avc1.64001f,mp4a.40.2\",RESOLUTION=1280x720,FRAME-RATE=29.970,VIDEO-RANGE=SDR,"
                     "AUDIO=\"aac128\"\nv720/index.m3u8\n");
}
END_TEST

START_TEST(silent_variant_names_no_group)
{
    struct hls_variant silent = variant;
    BUF_AUTO struct buf out;

    silent.audio_group = NULL;
    buf_init(&out, 4096);
    hls_write_master(&out, &(struct hls_master){&silent, 1, NULL, 0});
    ck_assert_ptr_null(strstr(buf_cstr(&out), "AUDIO"));
}
END_TEST

START_TEST(playlist_that_does_not_fit_or_finds_no_memory_fails)
{
    const struct hls_segment segment = {6 * S, 100};
    BUF_AUTO struct buf out;

    buf_init(&out, 100);
    hls_write_media(&out, &segment, 1, 6);
    ck_assert_int_eq(buf_check(&out, "playlist", NULL), -ERR_TOO_LARGE);

    buf_release(&out);
    buf_init(&out, 4096);
    mem_fail_from(1);
    hls_write_media(&out, &segment, 1, 6);
    mem_fail_from(0);
    ck_assert_int_eq(buf_check(&out, "playlist", NULL), -ERR_TEMPORARY);
}
END_TEST

START_TEST(codec_is_read_from_the_parameter_set)
{
    static const uint8_t annex_b[] = {0, 0, 0, 1, 9, 0xf0, 0, 0, 0, 1, 0x67, 0x64, 0x00, 0x1f, 0xac};
    static const uint8_t avcc[] = {1, 0x42, 0xc0, 0x1e, 0xff};
    static const uint8_t cut[] = {0, 0, 1, 0x67, 0x64, 0x00};
    char codec[HLS_CODEC_SIZE] = "untouched";

    ck_assert(!hls_codec_avc1(cut, sizeof cut, codec));
    ck_assert(!hls_codec_avc1(cut, 0, codec));
    ck_assert_str_eq(codec, "untouched");
    ck_assert(hls_codec_avc1(annex_b, sizeof annex_b, codec));
    ck_assert_str_eq(codec, "avc1.64001f");
    ck_assert(hls_codec_avc1(avcc, sizeof avcc, codec));
    ck_assert_str_eq(codec, "avc1.42c01e");
}
END_TEST

static int join(void *ctx, const char *uri, size_t len, struct err *e)
{
    struct buf *out = ctx;

    if (len == 4 && memcmp(uri, "stop", 4) == 0)
        return err_set(e, ERR_CONFLICT, "asked to stop");
    buf_append(out, uri, len);
    buf_putc(out, ' ');
    return 0;
}

static const struct {
    const char *text;
    int result;
    const char *uris;
} walks[] = {
    {"#EXTM3U\n#EXTINF:6,\na.ts\n\n#EXTINF:6,\nb.ts", 0, "a.ts b.ts "},
    {"#EXTM3U\r\n#EXTINF:6,\r\na.ts\r\n", 0, "a.ts "},
    {"#EXTM3U\n#EXT-X-MAP:URI=\"init.mp4\",BYTERANGE=\"1@0\"\n", 0, "init.mp4 "},
    {"#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,NAME=\"a,URI=\",URI=\"x/y.m3u8\"\nv.m3u8\n", 0, "x/y.m3u8 v.m3u8 "},
    {"#EXTM3U\n#EXT-X-MEDIA:X-URI=\"no\",URI=\"yes\"\n", 0, "yes "},
    {"#EXTM3U\n#EXT-X-PROGRAM-DATE-TIME:2026-01-02T03:04:05Z\n#EXT-X-ENDLIST\n", 0, ""},
    {"#EXTM3U\n#EXTINF:6,title URI=\"no\"\na b.ts\n", 0, "a b.ts "},
    {"#EXTM3U\n# comment URI=\"no\"\n", 0, ""},
    {"#EXTM3U\n#EXT-X-KEY:METHOD=NONE,URI=bare\n", 0, ""}, /* a URI is a quoted string */
    {"#EXTM3U", 0, ""},
    {"#EXTM3U\na\nstop\nb\n", -ERR_CONFLICT, "a "},
    {"#EXTM3U\n#EXT-X-MAP:URI=\"\"\n", -ERR_INVALID, ""},
    {"#EXTM3U\n#EXT-X-MAP:URI=\"init\n", -ERR_INVALID, ""},
    {"#EXTM3U\na\x01.ts\n", -ERR_INVALID, ""},
    {"#EXTM3U\na\rb.ts\n", -ERR_INVALID, ""},
    {"#EXTM3\n", -ERR_INVALID, ""},
    {"\xef\xbb\xbf#EXTM3U\n", -ERR_INVALID, ""}, /* the RFC forbids a byte order mark */
    {"", -ERR_INVALID, ""},
};

START_TEST(every_uri_is_given_in_order)
{
    BUF_AUTO struct buf uris;
    struct err e = {0};

    buf_init(&uris, 4096);
    ck_assert_int_eq(hls_each_uri(walks[_i].text, strlen(walks[_i].text), join, &uris, &e), walks[_i].result);
    ck_assert_str_eq(buf_cstr(&uris), walks[_i].uris);
}
END_TEST

START_TEST(nul_in_a_line_is_refused)
{
    BUF_AUTO struct buf uris;

    buf_init(&uris, 4096);
    ck_assert_int_eq(hls_each_uri("#EXTM3U\na\0b\n", 12, join, &uris, NULL), -ERR_INVALID);
}
END_TEST

START_TEST(what_is_written_can_be_walked)
{
    const struct hls_segment segments[] = {{6 * S, 1}, {6 * S, 1}};
    BUF_AUTO struct buf out, uris;

    buf_init(&uris, 4096);
    buf_init(&out, 4096);
    hls_write_media(&out, segments, 2, 6);
    ck_assert_int_eq(hls_each_uri(out.data, out.len, join, &uris, NULL), 0);
    ck_assert_str_eq(buf_cstr(&uris), "seg_00000.ts seg_00001.ts ");
}
END_TEST

START_TEST(absurd_rates_stop_at_the_largest_number)
{
    const struct hls_segment absurd = {.duration_us = 1, .bytes = UINT64_C(1) << 60};
    struct hls_rate rate = hls_measure(&absurd, 1, 1);

    ck_assert_uint_eq(rate.average, INT64_MAX);
    ck_assert_uint_eq(rate.peak, INT64_MAX);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("hls");
    TCase *writer = tcase_create("write"), *reader = tcase_create("read");

    tcase_add_loop_test(writer, peak_is_the_densest_run_of_half_to_one_and_a_half_targets, 0, 9);
    tcase_add_test(writer, target_is_the_longest_duration_rounded);
    tcase_add_test(writer, absurd_rates_stop_at_the_largest_number);
    tcase_add_test(writer, media_playlist_is_complete);
    tcase_add_test(writer, master_playlist_is_complete);
    tcase_add_test(writer, silent_variant_names_no_group);
    tcase_add_test(writer, playlist_that_does_not_fit_or_finds_no_memory_fails);
    tcase_add_test(writer, codec_is_read_from_the_parameter_set);
    tcase_add_loop_test(reader, every_uri_is_given_in_order, 0, (int)ARRAY_SIZE(walks));
    tcase_add_test(reader, nul_in_a_line_is_refused);
    tcase_add_test(reader, what_is_written_can_be_walked);
    suite_add_tcase(suite, writer);
    suite_add_tcase(suite, reader);
    return run_suite(suite);
}
