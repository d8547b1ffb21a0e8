#ifndef WEIR_TRANSCODE_SEGMENT_H
#define WEIR_TRANSCODE_SEGMENT_H

#include "proto/hls.h"

#include "base/err.h"

#include <stdbool.h>

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>

/* The segments of one rendition: MPEG-TS files seg_00000.ts … in a folder of the output directory, each beginning with
 * PAT and PMT, continuity counters running on across them. One thread at a time. */

struct segmenter {
    struct hls_segment *segments; /* those that are complete */
    size_t count;

    /* private */
    char folder[16];
    int output_fd, file_fd;
    AVFormatContext *mux;
    size_t room;
    uint64_t bytes;
    int64_t start; /* of the segment being written; ticks */
};

/* Makes the folder. `codec` is opened. segmenter_release afterwards in any case. */
int segmenter_open(struct segmenter *s, int output_fd, const char *folder, const AVCodecContext *codec, struct err *e)
    __attribute__((warn_unused_result));
void segmenter_release(struct segmenter *s);

/* Writes a packet whose times are ticks of 90 kHz; with `cut`, and for the first packet, a new segment begins. The times
 * are moved by a constant, the same for every rendition, so that none is negative. */
int segmenter_write(struct segmenter *s, AVPacket *packet, bool cut, struct err *e) __attribute__((warn_unused_result));

/* The presentation ends at `end` ticks: closes the last segment. */
int segmenter_finish(struct segmenter *s, int64_t end, struct err *e) __attribute__((warn_unused_result));

#endif
