#ifndef WEIR_TRANSCODE_LIBAV_H
#define WEIR_TRANSCODE_LIBAV_H

#include "base/err.h"

#include <libavutil/frame.h>
#include <stdbool.h>

/* What the use of libav* has in common here. */

/* Sends libav's own messages (errors only) to our log; a file that provokes many is cut off after a hundred. */
void libav_log_init(void);

/* err_set with libav's words for `code` behind the text. Lack of memory is always ERR_TEMPORARY. */
int libav_failed(struct err *e, enum err_kind kind, int code, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* libav 5 and 7 have different members for this. */
bool libav_interlaced(const AVFrame *frame);
int64_t libav_duration(const AVFrame *frame); /* in the stream's time base; 0: not known */

#endif
