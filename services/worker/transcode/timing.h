#ifndef WEIR_TRANSCODE_TIMING_H
#define WEIR_TRANSCODE_TIMING_H

#include <stdbool.h>
#include <stdint.h>

/* When a frame is shown and where the segments are cut. Pure. Times are ticks of 90 kHz, as in MPEG-TS, counted from
 * the start of the presentation. */

#define TICKS_PER_S 90000
#define FRAME_RATE_MAX 60

/* The rate at which frames go on: at most FRAME_RATE_MAX, a whole fraction of the source's, so that motion stays even.
 * What is no plausible rate (none, or over 1000) gives `fallback`. */
struct frame_rate {
    int num, den;
};
struct frame_rate frame_rate_cap(struct frame_rate source, struct frame_rate fallback);

/* Decides which frames are shown. Frames that come too fast are dropped; where none comes for more than half a second
 * the last one is shown again, on a grid of half seconds, so that segments are cut at regular times whatever the
 * source does. Variable rates in between stay as they are. */
struct pacer {
    int64_t shortest; /* ticks that must lie between two frames */
    int64_t last;     /* when the last frame was shown; -1 before the first */
    int64_t closest;  /* ticks that lay between the two closest; 0: there were no two */
};

/* `source` is the rate that frame_rate_cap was asked for. */
void pacer_init(struct pacer *p, struct frame_rate source);

/* Call before a frame of time `pts` is shown, and at the end with the time of the end, until it gives false: each *ret
 * is a time at which the frame before has to be shown again (before the first one: `pts`'s own frame). */
bool pacer_repeat(struct pacer *p, int64_t pts, int64_t *ret);

/* Then: is the frame of time `pts` shown? */
bool pacer_keep(struct pacer *p, int64_t pts);

/* What FRAME-RATE has to say, in frames per 1000 s: the nominal rate, or, where the frames shown were much closer or
 * further apart than that, what the closest ones make. */
unsigned pacer_rate_milli(const struct pacer *p, struct frame_rate nominal);

/* Says for each shown frame whether it has to be an IDR frame and whether a segment starts with it: the first frame at
 * or after every multiple of the segment duration starts one, and within it there is an IDR frame every two seconds.
 * Every rendition is shown the same frames, so each cuts at the same times by asking a cutter of its own. */
struct cutter {
    int64_t segment; /* ticks */
    int64_t next_segment, next_idr;
};

enum cut { CUT_NONE, CUT_IDR, CUT_SEGMENT };

void cutter_init(struct cutter *c, unsigned segment_s);
enum cut cutter_next(struct cutter *c, int64_t pts);

#endif
