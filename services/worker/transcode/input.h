#ifndef WEIR_TRANSCODE_INPUT_H
#define WEIR_TRANSCODE_INPUT_H

#include "base/err.h"

#include "ladder.h"
#include "source.h"

#include <stdint.h>

#include <libavformat/avformat.h>

/* The uploaded file as packets of one video and at most one audio stream. Formats and decoders are allow-listed, no
 * other file and no address is ever opened. */

/* How the picture has to be turned before it is shown. */
enum turn { TURN_NONE, TURN_RIGHT, TURN_HALF, TURN_LEFT };
struct orientation {
    enum turn turn; /* after the flips */
    bool flip_horizontal, flip_vertical;
};

/* Repairs the times of one stream. */
struct input_clock {
    int64_t shift_us;    /* is added to them */
    int64_t expected_us; /* where they should go on */
};

struct input {
    AVFormatContext *format;
    AVStream *video, *audio; /* audio NULL: silent */
    struct picture shown;    /* square pixels, turned */
    struct orientation orientation;
    AVRational frame_rate; /* 0/0: not known */
    int64_t origin_us;     /* time in the container at which the presentation starts */
    int64_t duration_us;   /* 0: not known */

    /* private */
    struct source *source;
    uint64_t offset;
    struct input_clock clocks[2]; /* of video and audio */
    unsigned errors_in_a_row;
};

/* ERR_INVALID, with a sentence for the uploader, when the file is no video that we take; ERR_TEMPORARY when it could
 * not be read. `source` must outlive the input. input_close afterwards in any case. */
int input_open(struct input *in, struct source *source, uint64_t max_duration_s, uint64_t max_pixels, struct err *e)
    __attribute__((warn_unused_result));
void input_close(struct input *in);

/* The allow-list of decoders, in libav's syntax. */
const char *input_decoders(void);

/* The next packet of one of the two streams: *ret_end false; or the end of the file. A damaged place is skipped.
 * ERR_TEMPORARY when the source could not be read. */
int input_read(struct input *in, AVPacket *packet, bool *ret_end, struct err *e) __attribute__((warn_unused_result));

/* A time of `stream` in ticks of 90 kHz from the start of the presentation. */
int64_t input_ticks(const struct input *in, const AVStream *stream, int64_t pts);

#endif
