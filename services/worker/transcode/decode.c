#include "decode.h"

#include "libav.h"

#include <libavutil/cpu.h>

#define THREADS_MAX 8

int decoder_open(struct decoder *d, const AVStream *stream, uint64_t max_pixels, struct err *e)
{
    const AVCodec *codec = avcodec_find_decoder(stream->codecpar->codec_id);
    AVDictionary *options = NULL;

    *d = (struct decoder){.stream = stream, .next_pts = stream->start_time};
    if (codec == NULL)
        return err_set(e, ERR_INVALID, "The file's %s coding (%s) is not known.",
                       av_get_media_type_string(stream->codecpar->codec_type),
                       avcodec_get_name(stream->codecpar->codec_id));
    d->codec = avcodec_alloc_context3(codec);
    d->frame = av_frame_alloc();
    if (d->codec == NULL || d->frame == NULL || avcodec_parameters_to_context(d->codec, stream->codecpar) < 0)
        return err_set(e, ERR_TEMPORARY, "no memory");
    d->codec->pkt_timebase = stream->time_base;
    d->codec->max_pixels = (int64_t)max_pixels;
    int cpus = av_cpu_count();
    d->codec->thread_count = cpus < THREADS_MAX ? cpus : THREADS_MAX;
    av_dict_set(&options, "codec_whitelist", input_decoders(), 0);
    int code = avcodec_open2(d->codec, codec, &options);
    av_dict_free(&options);
    if (code < 0)
        return libav_failed(e, ERR_INVALID, code, "The file's %s coding (%s) is not accepted",
                            av_get_media_type_string(codec->type), codec->name);
    return 0;
}

void decoder_close(struct decoder *d)
{
    avcodec_free_context(&d->codec);
    av_frame_free(&d->frame);
}

static void set_time(struct decoder *d)
{
    AVFrame *frame = d->frame;

    frame->pts = frame->best_effort_timestamp;
    if (frame->pts == AV_NOPTS_VALUE)
        frame->pts = d->next_pts == AV_NOPTS_VALUE ? 0 : d->next_pts;
    int64_t duration = libav_duration(frame);
    if (duration <= 0 && d->stream->avg_frame_rate.num > 0)
        duration = av_rescale_q(1, av_inv_q(d->stream->avg_frame_rate), d->stream->time_base);
    d->next_pts = frame->pts + (duration > 0 ? duration : 1);
}

/* Takes out what the decoder has ready. */
static int drain(struct decoder *d, decoder_frame *each, void *ctx, struct err *e)
{
    for (;;) {
        int code = avcodec_receive_frame(d->codec, d->frame);
        if (code == AVERROR(EAGAIN) || code == AVERROR_EOF)
            return 0;
        if (code == AVERROR(ENOMEM))
            return err_set(e, ERR_TEMPORARY, "no memory to decode");
        if (code < 0) {
            d->errors++;
            continue;
        }
        d->frames++;
        set_time(d);
        int r = each(ctx, d->frame, e);
        av_frame_unref(d->frame);
        if (r != 0)
            return r;
    }
}

int decoder_feed(struct decoder *d, const AVPacket *packet, decoder_frame *each, void *ctx, struct err *e)
{
    int code = avcodec_send_packet(d->codec, packet);

    if (code == AVERROR(ENOMEM))
        return err_set(e, ERR_TEMPORARY, "no memory to decode");
    if (code < 0 && code != AVERROR_EOF)
        d->errors++;
    return drain(d, each, ctx, e);
}
