#ifndef WEIR_TRANSCODE_DECODE_H
#define WEIR_TRANSCODE_DECODE_H

#include "input.h"

#include <libavcodec/avcodec.h>

/* One stream's decoder. Damaged packets are skipped and counted. */

struct decoder {
    AVCodecContext *codec;
    AVFrame *frame;
    const AVStream *stream;
    int64_t next_pts; /* where a frame without a time goes */
    uint64_t frames, errors;
};

/* A decoded frame with its time (stream's time base) in `pts`; `frame` is borrowed. A failure stops the decoding. */
typedef int decoder_frame(void *ctx, AVFrame *frame, struct err *e);

/* ERR_INVALID when there is no allowed decoder. decoder_close afterwards in any case. */
int decoder_open(struct decoder *d, const AVStream *stream, uint64_t max_pixels, struct err *e)
    __attribute__((warn_unused_result));
void decoder_close(struct decoder *d);

/* Decodes one packet, or with NULL what the decoder still holds. */
int decoder_feed(struct decoder *d, const AVPacket *packet, decoder_frame *each, void *ctx, struct err *e)
    __attribute__((warn_unused_result));

#endif
