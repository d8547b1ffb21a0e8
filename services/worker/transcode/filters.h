#ifndef WEIR_TRANSCODE_FILTERS_H
#define WEIR_TRANSCODE_FILTERS_H

#include "input.h"
#include "ladder.h"

#include <libavfilter/avfilter.h>

/* One decoded picture → one picture for each rung: deinterlaced when it is interlaced, turned upright, scaled in a
 * cascade (each rung from the one above), 8 bit 4:2:0 in limited range with square pixels. Every rung keeps its size
 * whatever the source does in the middle: a picture of another shape is fitted between bars. */

/* How colours are meant. What the source leaves open is settled once, by its size, and then said in every rung. */
struct colours {
    enum AVColorSpace matrix;
    enum AVColorPrimaries primaries;
    enum AVColorTransferCharacteristic transfer;
};
struct colours colours_of(const AVCodecParameters *par);
const char *colours_video_range(const struct colours *c); /* "SDR", "PQ" or "HLG" */

/* What the graph was built for. */
struct filters_shape {
    int width, height, format;
    AVRational sar;
    enum AVColorRange range;
    enum AVColorSpace matrix;
    bool interlaced;
};

struct filters {
    const struct ladder *ladder;
    struct orientation orientation;
    struct colours colours;
    struct filters_shape shape;
    AVFilterGraph *graph; /* NULL until the first frame */
    AVFilterContext *source, *sinks[LADDER_MAX];
    AVFrame *frame;
};

/* Takes over the reference in `frame`; its pts and time base are ticks of 90 kHz. */
typedef int filters_frame(void *ctx, size_t rung, AVFrame *frame, struct err *e);

int filters_init(struct filters *f, const struct ladder *ladder, struct orientation orientation, struct colours colours,
                 struct err *e) __attribute__((warn_unused_result));
void filters_release(struct filters *f);

/* Feeds one frame (its pts in ticks), or with NULL takes out what is held back. */
int filters_feed(struct filters *f, const AVFrame *frame, filters_frame *each, void *ctx, struct err *e)
    __attribute__((warn_unused_result));

#endif
