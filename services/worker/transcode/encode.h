#ifndef WEIR_TRANSCODE_ENCODE_H
#define WEIR_TRANSCODE_ENCODE_H

#include "filters.h"
#include "ladder.h"
#include "queue.h"
#include "segment.h"
#include "timing.h"

#include <pthread.h>

/* One rendition: a thread that encodes the frames of its queue and writes them as segments. */

/* The first failure of any thread; the others are stopped by it. Thread-safe. */
struct failure {
    pthread_mutex_t lock;
    bool happened;
    struct err e;
};
void failure_init(struct failure *f);
void failure_set(struct failure *f, const struct err *e);
int failure_get(struct failure *f, struct err *e); /* 0 or the failure */

#define MARKS_MAX 256

struct encoder {
    struct segmenter segments; /* after encoder_finish: what was written */
    char codec_name[HLS_CODEC_SIZE];

    /* private */
    AVCodecContext *codec;
    AVPacket *packet;
    struct cutter cutter;
    struct queue queue;
    pthread_t thread;
    bool running;
    struct failure *failure;
    int64_t marks[MARKS_MAX]; /* times at which segments start whose packets have not come out yet */
    size_t first_mark, mark_count;
    bool begun;
    int64_t end;
};

struct video_settings {
    const struct rung *rung;
    const char *preset;
    struct colours colours;
    struct frame_rate rate;
    bool constant_rate;
    unsigned segment_s;
    int threads;
};

/* Open, then start. encoder_release afterwards in any case. */
int encoder_open_video(struct encoder *enc, const struct video_settings *settings, int output_fd,
                       struct failure *failure, struct err *e) __attribute__((warn_unused_result));
int encoder_open_audio(struct encoder *enc, unsigned kbps, int sample_rate, int output_fd, struct failure *failure,
                       struct err *e) __attribute__((warn_unused_result));
int encoder_start(struct encoder *enc, struct err *e) __attribute__((warn_unused_result));

/* Takes over `frame`, waiting for room. Its pts are ticks (video) or samples (audio); an audio frame with which a
 * segment starts has pict_type I. Fails with what stopped the encoder. */
int encoder_push(struct encoder *enc, AVFrame *frame, struct err *e) __attribute__((warn_unused_result));

/* No more frames; the presentation ends at `end` ticks. Waits until everything is written. */
void encoder_finish(struct encoder *enc, int64_t end);
void encoder_release(struct encoder *enc);

#endif
