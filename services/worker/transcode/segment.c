#include "segment.h"

#include "libav.h"
#include "report.h"
#include "timing.h"

#include "base/mem.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <libavutil/mem.h>
#include <libavutil/opt.h>

#define IO_BUFFER (64 * 1024)
#define MUX_DELAY_US 700000           /* how much sound is packed together at most is half of that */
#define FIRST_TICK (10 * TICKS_PER_S) /* room for decoding times before the first picture, and an encoder's priming */
#define SEGMENTS_MAX 100000
#define NEVER_S "1000000"

#if LIBAVFORMAT_VERSION_MAJOR >= 61
typedef const uint8_t io_byte;
#else
typedef uint8_t io_byte;
#endif

static int write_bytes(void *opaque, io_byte *data, int size)
{
    struct segmenter *s = opaque;

    for (int done = 0; done < size;) {
        ssize_t n = write(s->file_fd, data + done, (size_t)(size - done));
        if (n < 0 && errno != EINTR)
            return AVERROR(errno);
        if (n > 0)
            done += (int)n;
    }
    s->bytes += (uint64_t)size;
    return size;
}

static int open_mux(struct segmenter *s, const AVCodecContext *codec, struct err *e)
{
    AVDictionary *options = NULL;

    int code = avformat_alloc_output_context2(&s->mux, NULL, "mpegts", NULL);
    if (code < 0)
        return libav_failed(e, ERR_TEMPORARY, code, "MPEG-TS muxer");
    uint8_t *buffer = av_malloc(IO_BUFFER);
    s->mux->pb = buffer == NULL ? NULL : avio_alloc_context(buffer, IO_BUFFER, 1, s, NULL, write_bytes, NULL);
    AVStream *stream = avformat_new_stream(s->mux, NULL);
    if (s->mux->pb == NULL || stream == NULL || avcodec_parameters_from_context(stream->codecpar, codec) < 0)
        return err_set(e, ERR_TEMPORARY, "no memory");
    stream->time_base = (AVRational){1, TICKS_PER_S};
    s->mux->avoid_negative_ts = 0;
    s->mux->max_delay = MUX_DELAY_US;
    s->mux->flags |= AVFMT_FLAG_BITEXACT;            /* the libraries' versions are nobody's business */
    av_dict_set(&options, "pat_period", NEVER_S, 0); /* only where a segment begins */
    av_dict_set(&options, "sdt_period", NEVER_S, 0);
    av_dict_set(&options, "mpegts_flags", "resend_headers", 0);
    code = avformat_write_header(s->mux, &options);
    av_dict_free(&options);
    if (code < 0)
        return libav_failed(e, ERR_TEMPORARY, code, "MPEG-TS muxer");
    return 0;
}

int segmenter_open(struct segmenter *s, int output_fd, const char *folder, const AVCodecContext *codec, struct err *e)
{
    *s = (struct segmenter){.output_fd = output_fd, .file_fd = -1};
    str_copy(s->folder, sizeof s->folder, folder);
    if (mkdirat(output_fd, folder, 0755) != 0 && errno != EEXIST)
        return err_set(e, ERR_TEMPORARY, "make folder %s: %s", folder, strerror(errno));
    return open_mux(s, codec, e);
}

void segmenter_release(struct segmenter *s)
{
    if (s->mux != NULL) {
        if (s->mux->pb != NULL)
            av_freep(&s->mux->pb->buffer);
        avio_context_free(&s->mux->pb);
        avformat_free_context(s->mux);
        s->mux = NULL;
    }
    if (s->file_fd >= 0)
        close(s->file_fd);
    mem_free(s->segments);
    *s = (struct segmenter){.file_fd = -1};
}

static bool segment_path(const struct segmenter *s, char *path, size_t size)
{
    char uri[HLS_SEGMENT_URI_SIZE];

    hls_segment_uri(s->count, uri);
    return str_format(path, size, "%s/%s", s->folder, uri);
}

static int begin(struct segmenter *s, int64_t start, struct err *e)
{
    char path[64];

    segment_path(s, path, sizeof path);
    if (s->count == SEGMENTS_MAX)
        return err_set(e, ERR_INVALID, "The video needs more segments than this service makes.");
    if (s->count == s->room) {
        size_t room = s->room == 0 ? 64 : s->room * 2;
        struct hls_segment *more = mem_resize(s->segments, room, sizeof *more);
        if (more == NULL)
            return err_set(e, ERR_TEMPORARY, "no memory");
        s->segments = more;
        s->room = room;
    }
    s->file_fd = openat(s->output_fd, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (s->file_fd < 0)
        return err_set(e, ERR_TEMPORARY, "create %s: %s", path, strerror(errno));
    s->bytes = 0;
    s->start = start;
    av_opt_set(s->mux->priv_data, "mpegts_flags", "+resend_headers", 0);
    return 0;
}

/* Completes the segment being written, which lasts until `end`. */
static int end_segment(struct segmenter *s, int64_t end, struct err *e)
{
    char path[64];

    segment_path(s, path, sizeof path);
    int code = av_write_frame(s->mux, NULL);
    avio_flush(s->mux->pb);
    if (code >= 0 && s->mux->pb->error < 0)
        code = s->mux->pb->error;
    if (close(s->file_fd) != 0 && code >= 0)
        code = AVERROR(errno);
    s->file_fd = -1;
    if (code < 0)
        return libav_failed(e, ERR_TEMPORARY, code, "write %s", path);
    /* rounding the ends, not the durations, keeps their sum exact */
    const AVRational ticks = {1, TICKS_PER_S};
    int64_t start_us = av_rescale_q(s->start, ticks, AV_TIME_BASE_Q), end_us = av_rescale_q(end, ticks, AV_TIME_BASE_Q);
    s->segments[s->count++] = (struct hls_segment){.duration_us = end_us - start_us, .bytes = s->bytes};
    report_file(path);
    return 0;
}

int segmenter_write(struct segmenter *s, AVPacket *packet, bool cut, struct err *e)
{
    int r = 0;

    if (cut && s->file_fd >= 0)
        r = end_segment(s, packet->pts, e);
    if (r == 0 && s->file_fd < 0)
        r = begin(s, packet->pts > 0 ? packet->pts : 0, e);
    if (r != 0)
        return r;
    packet->pts += FIRST_TICK;
    packet->dts += FIRST_TICK;
    packet->stream_index = 0;
    int code = av_write_frame(s->mux, packet);
    if (code < 0)
        return libav_failed(e, ERR_TEMPORARY, code, "write %s", s->folder);
    return 0;
}

int segmenter_finish(struct segmenter *s, int64_t end, struct err *e)
{
    if (s->file_fd < 0)
        return 0;
    return end_segment(s, end > s->start ? end : s->start + 1, e);
}
