#include "libav.h"

#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include <libavutil/error.h>
#include <libavutil/log.h>

#define MESSAGES_MAX 100

static void to_log(void *object, int level, const char *fmt, va_list args)
{
    static atomic_uint messages;
    char line[512];
    int prefix = 1;

    if (level > AV_LOG_ERROR || atomic_fetch_add(&messages, 1) >= MESSAGES_MAX)
        return;
    av_log_format_line2(object, level, fmt, args, line, sizeof line, &prefix);
    line[strcspn(line, "\n")] = '\0';
    log_info(NULL, "libav", "text", line);
}

void libav_log_init(void)
{
    av_log_set_level(AV_LOG_ERROR);
    av_log_set_callback(to_log);
}

int libav_failed(struct err *e, enum err_kind kind, int code, const char *fmt, ...)
{
    char what[256], why[AV_ERROR_MAX_STRING_SIZE] = "";
    va_list args;

    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    av_strerror(code, why, sizeof why);
    return err_set(e, code == AVERROR(ENOMEM) ? ERR_TEMPORARY : kind, "%s: %s", what, why);
}

bool libav_interlaced(const AVFrame *frame)
{
#ifdef AV_FRAME_FLAG_INTERLACED
    return (frame->flags & AV_FRAME_FLAG_INTERLACED) != 0;
#else
    return frame->interlaced_frame != 0;
#endif
}

int64_t libav_duration(const AVFrame *frame)
{
#if LIBAVUTIL_VERSION_INT >= AV_VERSION_INT(57, 30, 100)
    return frame->duration;
#else
    return frame->pkt_duration;
#endif
}
