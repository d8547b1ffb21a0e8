#include "proto/hls.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Every URI given must lie inside the text and hold no control character. */
static int look(void *ctx, const char *uri, size_t len, struct err *e)
{
    (void)ctx;
    (void)e;
    if (len == 0)
        abort();
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)uri[i] < 0x20)
            abort();
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char codec[HLS_CODEC_SIZE];
    struct err e;

    int r = hls_each_uri((const char *)data, size, look, NULL, &e);
    if (r != 0 && r != -ERR_INVALID)
        abort();
    if (hls_codec_avc1(data, size, codec) && strlen(codec) != 11)
        abort();

    struct hls_segment segments[64];
    size_t count = size / sizeof *segments < 64 ? size / sizeof *segments : 64;
    if (count > 0)
        memcpy(segments, data, count * sizeof *segments);
    for (size_t i = 0; i < count; i++) { /* what a muxer can report: a petabyte, eleven days */
        segments[i].duration_us = (int64_t)((uint64_t)segments[i].duration_us % 1000000000000);
        segments[i].bytes %= 1000000000000000;
    }
    struct hls_rate rate = hls_measure(segments, count, hls_target_s(segments, count));
    if (rate.peak < rate.average)
        abort();
    return 0;
}
