#include "audio.h"

#include "libav.h"
#include "timing.h"

#include "base/str.h"

#include <libavfilter/buffersink.h>
#include <libavfilter/buffersrc.h>
#include <libavutil/channel_layout.h>
#include <libavutil/mathematics.h>
#include <libavutil/samplefmt.h>

#define CHANNELS 2

int audio_rate_for(int source_rate)
{
    return source_rate > 0 && 44100 % source_rate == 0 ? 44100 : 48000;
}

int audio_init(struct audio *a, int rate, struct err *e)
{
    *a = (struct audio){.rate = rate};
    a->frame = av_frame_alloc();
    a->fifo = av_audio_fifo_alloc(AV_SAMPLE_FMT_FLTP, CHANNELS, 2 * AUDIO_FRAME);
    return a->frame == NULL || a->fifo == NULL ? err_set(e, ERR_TEMPORARY, "no memory") : 0;
}

void audio_release(struct audio *a)
{
    avfilter_graph_free(&a->graph);
    av_frame_free(&a->frame);
    if (a->fifo != NULL)
        av_audio_fifo_free(a->fifo);
    a->fifo = NULL;
    av_channel_layout_uninit(&a->in_layout);
}

static AVFrame *new_frame(const struct audio *a, int samples)
{
    AVFrame *frame = av_frame_alloc();

    if (frame == NULL)
        return NULL;
    frame->format = AV_SAMPLE_FMT_FLTP;
    frame->sample_rate = a->rate;
    frame->nb_samples = samples;
    frame->ch_layout = (AVChannelLayout)AV_CHANNEL_LAYOUT_STEREO;
    if (av_frame_get_buffer(frame, 0) < 0)
        av_frame_free(&frame);
    return frame;
}

/* Gives on full frames; with `rest` also what is left. */
static int send_frames(struct audio *a, bool rest, audio_frame *each, void *ctx, struct err *e)
{
    for (int size; (size = av_audio_fifo_size(a->fifo)) >= AUDIO_FRAME || (rest && size > 0);) {
        int samples = size < AUDIO_FRAME ? size : AUDIO_FRAME;
        AVFrame *frame = new_frame(a, samples);
        if (frame == NULL)
            return err_set(e, ERR_TEMPORARY, "no memory");
        av_audio_fifo_read(a->fifo, (void **)frame->extended_data, samples);
        frame->pts = a->sent;
        a->sent += samples;
        int r = each(ctx, frame, e);
        if (r != 0)
            return r;
    }
    return 0;
}

static int store(struct audio *a, const AVFrame *frame, struct err *e)
{
    if (av_audio_fifo_write(a->fifo, (void **)frame->extended_data, frame->nb_samples) < frame->nb_samples)
        return err_set(e, ERR_TEMPORARY, "no memory");
    a->made += frame->nb_samples;
    return 0;
}

/* Silence up to the sample `until`, a frame at a time. */
static int put_silence(struct audio *a, int64_t until, audio_frame *each, void *ctx, struct err *e)
{
    int r = 0;

    while (r == 0 && a->made < until) {
        int64_t missing = until - a->made;
        int samples = missing < AUDIO_FRAME ? (int)missing : AUDIO_FRAME;
        AVFrame *silence = new_frame(a, samples);
        if (silence == NULL)
            return err_set(e, ERR_TEMPORARY, "no memory");
        av_samples_set_silence(silence->extended_data, 0, samples, CHANNELS, AV_SAMPLE_FMT_FLTP);
        r = store(a, silence, e);
        av_frame_free(&silence);
        if (r == 0)
            r = send_frames(a, false, each, ctx, e);
    }
    return r;
}

static int drain(struct audio *a, audio_frame *each, void *ctx, struct err *e)
{
    for (;;) {
        int code = av_buffersink_get_frame(a->sink, a->frame);
        if (code == AVERROR(EAGAIN) || code == AVERROR_EOF)
            return 0;
        if (code < 0)
            return libav_failed(e, ERR_TEMPORARY, code, "resampling");
        int r = store(a, a->frame, e);
        av_frame_unref(a->frame);
        if (r == 0)
            r = send_frames(a, false, each, ctx, e);
        if (r != 0)
            return r;
    }
}

int audio_flush(struct audio *a, audio_frame *each, void *ctx, struct err *e)
{
    if (a->graph == NULL)
        return 0;
    int code = av_buffersrc_add_frame_flags(a->source, NULL, AV_BUFFERSRC_FLAG_PUSH);
    int r = code < 0 ? libav_failed(e, ERR_TEMPORARY, code, "resampling") : drain(a, each, ctx, e);
    avfilter_graph_free(&a->graph);
    return r;
}

int audio_pad(struct audio *a, int64_t end, audio_frame *each, void *ctx, struct err *e)
{
    int r = put_silence(a, av_rescale(end, a->rate, TICKS_PER_S), each, ctx, e);
    return r != 0 ? r : send_frames(a, true, each, ctx, e);
}

/* A graph whose first sample out is number `made`. flags=res: libswresample would start its resampler only when it first
 * has to stretch, and then forget where it is. */
static int build(struct audio *a, const AVFrame *frame, struct err *e)
{
    AVFilterInOut *inputs = NULL, *outputs = NULL;
    char layout[128], text[640];

    if (av_channel_layout_describe(&frame->ch_layout, layout, sizeof layout) < 0)
        return err_set(e, ERR_INVALID, "The video's sound has an unknown arrangement of channels.");
    str_format(text, sizeof text,
               "abuffer@in=time_base=1/%d:sample_rate=%d:sample_fmt=%d:channel_layout=%s,"
               "aresample=%d:flags=res:async=1000:first_pts=%lld,aformat=sample_fmts=fltp:channel_layouts=stereo,"
               "abuffersink@out",
               frame->sample_rate, frame->sample_rate, frame->format, layout, a->rate,
               (long long)av_rescale(a->made, frame->sample_rate, a->rate));
    a->graph = avfilter_graph_alloc();
    if (a->graph == NULL)
        return err_set(e, ERR_TEMPORARY, "no memory");
    a->graph->nb_threads = 1;
    int code = avfilter_graph_parse2(a->graph, text, &inputs, &outputs);
    if (code >= 0)
        code = avfilter_graph_config(a->graph, NULL);
    avfilter_inout_free(&inputs);
    avfilter_inout_free(&outputs);
    if (code >= 0)
        code = av_channel_layout_copy(&a->in_layout, &frame->ch_layout);
    if (code < 0)
        return libav_failed(e, ERR_INVALID, code, "The video's sound format cannot be converted");
    a->source = avfilter_graph_get_filter(a->graph, "abuffer@in");
    a->sink = avfilter_graph_get_filter(a->graph, "abuffersink@out");
    a->in_rate = frame->sample_rate;
    a->in_format = frame->format;
    return 0;
}

static bool same_shape(const struct audio *a, const AVFrame *frame)
{
    return a->in_rate == frame->sample_rate && a->in_format == frame->format &&
           av_channel_layout_compare(&a->in_layout, &frame->ch_layout) == 0;
}

/* Large gaps are filled here: the resampler would hold them in memory. */
static int follow_time(struct audio *a, const AVFrame *frame, int64_t begin, audio_frame *each, void *ctx,
                       struct err *e)
{
    bool gap = begin - (a->graph != NULL ? a->expected : a->made) > a->rate / 2;
    int r = 0;

    if (a->graph != NULL && (gap || !same_shape(a, frame)))
        r = audio_flush(a, each, ctx, e);
    if (r == 0 && gap)
        r = put_silence(a, begin, each, ctx, e);
    if (r == 0 && a->graph == NULL)
        r = build(a, frame, e);
    return r;
}

int audio_feed(struct audio *a, const AVFrame *frame, int64_t ticks, audio_frame *each, void *ctx, struct err *e)
{
    if (frame->sample_rate <= 0 || frame->nb_samples <= 0)
        return 0;
    int64_t begin = av_rescale(ticks, a->rate, TICKS_PER_S);
    int64_t end = begin + av_rescale(frame->nb_samples, a->rate, frame->sample_rate);
    if (end <= 0 || (a->graph != NULL && begin < a->expected - a->rate / 2))
        return 0; /* before the start, or a jump back */
    AVFrame *in = av_frame_clone(frame);
    if (in == NULL)
        return err_set(e, ERR_TEMPORARY, "no memory");
    if (in->ch_layout.order == AV_CHANNEL_ORDER_UNSPEC)
        av_channel_layout_default(&in->ch_layout, frame->ch_layout.nb_channels);
    in->pts = av_rescale(ticks, frame->sample_rate, TICKS_PER_S);
    int r = follow_time(a, in, begin, each, ctx, e);
    if (r == 0) {
        a->expected = end;
        int code = av_buffersrc_add_frame_flags(a->source, in, AV_BUFFERSRC_FLAG_PUSH);
        r = code < 0 ? libav_failed(e, ERR_TEMPORARY, code, "resampling") : drain(a, each, ctx, e);
    }
    av_frame_free(&in);
    return r;
}
