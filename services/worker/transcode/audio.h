#ifndef WEIR_TRANSCODE_AUDIO_H
#define WEIR_TRANSCODE_AUDIO_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#include <libavfilter/avfilter.h>
#include <libavutil/audio_fifo.h>
#include <libavutil/frame.h>

/* Decoded sound → stereo float frames of AUDIO_FRAME samples without gap from time 0 on: a late start and gaps become
 * silence, what lies before 0 or overlaps is dropped, small drift is stretched away. Mono becomes stereo as well, so
 * that every rendition of every video has the same shape; more channels are mixed down. */

#define AUDIO_FRAME 1024 /* samples, as AAC takes them */

/* Takes over the reference in `frame`; its pts count samples. */
typedef int audio_frame(void *ctx, AVFrame *frame, struct err *e);

struct audio {
    int rate;     /* samples per second that come out */
    int64_t made; /* samples that came out of the graph or were put in as silence */

    /* private */
    int64_t sent;     /* samples given on */
    int64_t expected; /* where the next decoded frame should begin, in output samples */
    AVFilterGraph *graph;
    AVFilterContext *source, *sink;
    AVAudioFifo *fifo;
    AVFrame *frame;
    int in_rate, in_format; /* what the graph was built for */
    AVChannelLayout in_layout;
};

/* 44100 for that family of source rates, else 48000. */
int audio_rate_for(int source_rate);

int audio_init(struct audio *a, int rate, struct err *e) __attribute__((warn_unused_result));
void audio_release(struct audio *a);

/* `ticks`: the time of the frame, 90 kHz, from the start of the presentation. */
int audio_feed(struct audio *a, const AVFrame *frame, int64_t ticks, audio_frame *each, void *ctx, struct err *e)
    __attribute__((warn_unused_result));

/* Takes out what is held back; `made` is then final but for audio_pad. */
int audio_flush(struct audio *a, audio_frame *each, void *ctx, struct err *e) __attribute__((warn_unused_result));

/* Fills up with silence until `end` ticks and gives on the last, shorter frame. */
int audio_pad(struct audio *a, int64_t end, audio_frame *each, void *ctx, struct err *e)
    __attribute__((warn_unused_result));

#endif
