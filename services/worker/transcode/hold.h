#ifndef WEIR_TRANSCODE_HOLD_H
#define WEIR_TRANSCODE_HOLD_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <libavutil/frame.h>

/* Sound waits here until the picture has passed it: only then is it known where segments start, and every rendition
 * has to cut at the same times. Bounded: when sound runs ahead of the picture too far (a file that is badly
 * interleaved), cuts are taken to be where they nominally are, which is right to within one picture. */

#define HOLD_MAX 1500 /* frames of 1024 samples: half a minute */

struct hold {
    int64_t segment; /* ticks of one segment */
    int64_t *cuts;   /* when segment i starts, as far as is known; ticks */
    size_t cut_count, cut_room;
    size_t next_cut;    /* that the sound comes to */
    int64_t seen_until; /* the picture's time; ticks */
    int rate;           /* samples per second */
    AVFrame *frames[HOLD_MAX];
    size_t first, count;
};

void hold_init(struct hold *h, unsigned segment_s, int rate);
void hold_release(struct hold *h);

/* A picture of time `pts` was shown; a segment starts with it or not. */
int hold_picture(struct hold *h, int64_t pts, bool segment, struct err *e) __attribute__((warn_unused_result));

/* Takes over a frame of sound, its pts in samples. Never full: hold_take first until it gives NULL. */
void hold_put(struct hold *h, AVFrame *frame);

/* The next frame that may go on, its pict_type I when a segment starts with it; NULL when there is none yet. With
 * `all`, whatever the picture does. */
AVFrame *hold_take(struct hold *h, bool all);

#endif
