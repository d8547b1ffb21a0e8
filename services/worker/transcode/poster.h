#ifndef WEIR_TRANSCODE_POSTER_H
#define WEIR_TRANSCODE_POSTER_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#include <libavutil/frame.h>

/* The still picture that stands for the video: of the frames a tenth of the way in, the first that is neither dark nor
 * empty; when there is none, the best seen. */

#define POSTER_NAME "poster.jpg"
#define POSTER_WIDTH_MAX 1280

struct poster {
    int64_t from; /* ticks: where the search begins */
    int64_t next; /* ticks: frames before are not looked at */
    unsigned looked_at;
    double best_score;
    AVFrame *best;
    bool chosen;
};

void poster_init(struct poster *p, int64_t duration_us); /* 0: not known */
void poster_release(struct poster *p);

/* Looks at a frame (yuv420p) of time `pts` in ticks, and may keep a reference. */
int poster_offer(struct poster *p, const AVFrame *frame, int64_t pts, struct err *e)
    __attribute__((warn_unused_result));

/* Writes what was chosen as poster.jpg, at most POSTER_WIDTH_MAX wide. */
int poster_write(const struct poster *p, int output_fd, struct err *e) __attribute__((warn_unused_result));

#endif
