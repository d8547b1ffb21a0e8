#ifndef WEIR_TRANSCODE_PIPELINE_H
#define WEIR_TRANSCODE_PIPELINE_H

#include "audio.h"
#include "decode.h"
#include "encode.h"
#include "filters.h"
#include "hold.h"
#include "input.h"
#include "options.h"
#include "poster.h"
#include "report.h"
#include "timing.h"

/* One decode → every rendition. This thread reads, decodes, filters and hands frames to a thread per encoder; their
 * queues are bounded, so it waits for the slowest. */

struct pipeline {
    const struct options *options;
    int output_fd;
    struct input input;
    struct ladder ladder;
    struct frame_rate rate;
    struct encoder video[LADDER_MAX], audio[LADDER_MAX]; /* as many as there are rungs, and distinct audio rates */
    unsigned audio_kbps[LADDER_MAX];
    size_t audio_count; /* 0: silent */
    uint64_t frames;    /* shown */
    int64_t end;        /* ticks; of the presentation, once it is known */

    /* private */
    struct decoder video_decoder, audio_decoder;
    struct filters filters;
    struct audio sound;
    struct hold hold;
    struct pacer pacer;
    struct cutter cutter;
    struct poster poster;
    size_t poster_rung;
    struct report report;
    struct failure failure;
    AVFrame *last; /* shown last, to be shown again in gaps */
    int64_t frame_ticks;
};

/* Runs to the end: afterwards every segment is written and `video`, `audio` say what was made. pipeline_release
 * afterwards in any case. */
int pipeline_run(struct pipeline *p, const struct options *options, struct source *source, int output_fd, struct err *e)
    __attribute__((warn_unused_result));
void pipeline_release(struct pipeline *p);

#endif
