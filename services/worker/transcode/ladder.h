#ifndef WEIR_TRANSCODE_LADDER_H
#define WEIR_TRANSCODE_LADDER_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Which renditions a source gets. Pure. */

#define LADDER_MAX 7 /* heights that are known */

/* The heights wanted, each once, highest first. */
struct ladder_wish {
    unsigned heights[LADDER_MAX];
    size_t count;
};

/* "1080,720,480,240"; ERR_INVALID names what is no known height or stands there twice. */
int ladder_parse(const char *text, struct ladder_wish *ret, struct err *e) __attribute__((warn_unused_result));

#define RUNG_NAME_SIZE 12
struct rung {
    char name[RUNG_NAME_SIZE]; /* "720p" */
    unsigned width, height;    /* even, square pixels */
    unsigned max_kbps, buffer_kbit;
    unsigned audio_kbps;
};

struct ladder {
    struct rung rungs[LADDER_MAX]; /* largest first */
    size_t count;                  /* never 0 */
};

/* The rungs for a picture of width × height square pixels, both at least 1: the wanted heights, taken as the shorter
 * side, that are not larger than the source. When even the lowest is larger, one rung at the source's own size. */
void ladder_plan(const struct ladder_wish *wish, unsigned width, unsigned height, struct ladder *ret);

/* A picture as it is shown: the pixel aspect ratio (0/0 or negative: square) stretches the shorter direction, so that
 * nothing is lost, and a quarter turn swaps the sides. ERR_INVALID when a side would be over 65534. */
struct picture {
    unsigned width, height;
};
int picture_shown(unsigned coded_width, unsigned coded_height, int sar_num, int sar_den, bool quarter_turn,
                  struct picture *ret, struct err *e) __attribute__((warn_unused_result));

/* The largest even size with the aspect ratio of `shown` that fits into `box`; the box itself when they differ by less
 * than two pixels. */
struct picture picture_fit(struct picture shown, struct picture box);

#endif
