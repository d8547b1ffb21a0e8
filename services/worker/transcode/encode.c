#include "encode.h"

#include "libav.h"

#include "base/str.h"

#include <libavutil/opt.h>

#define CRF "23"
#define VIDEO_QUEUE 3
#define AUDIO_QUEUE QUEUE_MAX
#define FAST_CODER_KBPS 128 /* from here on libavcodec's fast search is also the better one, says its manual */
#define KEY_FRAME_MAX_S 10  /* never reached: there is an IDR frame every two seconds */

static const AVRational ticks = {1, TICKS_PER_S};

void failure_init(struct failure *f)
{
    *f = (struct failure){.happened = false};
    pthread_mutex_init(&f->lock, NULL);
}

void failure_set(struct failure *f, const struct err *e)
{
    pthread_mutex_lock(&f->lock);
    if (!f->happened)
        f->e = *e;
    f->happened = true;
    pthread_mutex_unlock(&f->lock);
}

int failure_get(struct failure *f, struct err *e)
{
    int r = 0;

    pthread_mutex_lock(&f->lock);
    if (f->happened) {
        *e = f->e;
        r = -(int)f->e.kind;
    }
    pthread_mutex_unlock(&f->lock);
    return r;
}

static int prepare(struct encoder *enc, const char *name, size_t queue_items, struct failure *failure, struct err *e)
{
    const AVCodec *codec = avcodec_find_encoder_by_name(name);

    *enc = (struct encoder){.failure = failure, .segments = {.file_fd = -1}};
    queue_init(&enc->queue, queue_items);
    if (codec == NULL)
        return err_set(e, ERR_TEMPORARY, "libavcodec has no encoder %s", name);
    enc->codec = avcodec_alloc_context3(codec);
    enc->packet = av_packet_alloc();
    return enc->codec == NULL || enc->packet == NULL ? err_set(e, ERR_TEMPORARY, "no memory") : 0;
}

static void set_video(AVCodecContext *codec, const struct video_settings *v)
{
    const struct rung *rung = v->rung;

    codec->width = (int)rung->width;
    codec->height = (int)rung->height;
    codec->pix_fmt = AV_PIX_FMT_YUV420P;
    codec->sample_aspect_ratio = (AVRational){1, 1};
    codec->time_base = ticks;
    codec->framerate = (AVRational){v->rate.num, v->rate.den};
    codec->color_range = AVCOL_RANGE_MPEG;
    codec->colorspace = v->colours.matrix;
    codec->color_primaries = v->colours.primaries;
    codec->color_trc = v->colours.transfer;
    codec->rc_max_rate = (int64_t)rung->max_kbps * 1000;
    codec->rc_buffer_size = (int)rung->buffer_kbit * 1000;
    codec->gop_size = (int)((int64_t)KEY_FRAME_MAX_S * v->rate.num / v->rate.den) + 1;
    codec->thread_count = v->threads;
    av_opt_set(codec->priv_data, "preset", v->preset, 0);
    av_opt_set(codec->priv_data, "profile", "high", 0);
    av_opt_set(codec->priv_data, "crf", CRF, 0);
    av_opt_set(codec->priv_data, "forced-idr", "1", 0);
    av_opt_set(codec->priv_data, "aud", "1", 0);
    if (v->constant_rate)
        av_opt_set(codec->priv_data, "x264-params", "force-cfr=1", 0);
}

int encoder_open_video(struct encoder *enc, const struct video_settings *settings, int output_fd,
                       struct failure *failure, struct err *e)
{
    char folder[RUNG_NAME_SIZE + 1];

    int r = prepare(enc, "libx264", VIDEO_QUEUE, failure, e);
    if (r != 0)
        return r;
    set_video(enc->codec, settings);
    cutter_init(&enc->cutter, settings->segment_s);
    int code = avcodec_open2(enc->codec, NULL, NULL);
    if (code < 0)
        return libav_failed(e, ERR_TEMPORARY, code, "libx264 for %s", settings->rung->name);
    str_format(folder, sizeof folder, "v%s", settings->rung->name);
    folder[strlen(folder) - 1] = '\0'; /* "v720" of "720p" */
    return segmenter_open(&enc->segments, output_fd, folder, enc->codec, e);
}

int encoder_open_audio(struct encoder *enc, unsigned kbps, int sample_rate, int output_fd, struct failure *failure,
                       struct err *e)
{
    char folder[16];

    int r = prepare(enc, "aac", AUDIO_QUEUE, failure, e);
    if (r != 0)
        return r;
    enc->codec->sample_fmt = AV_SAMPLE_FMT_FLTP;
    enc->codec->sample_rate = sample_rate;
    enc->codec->ch_layout = (AVChannelLayout)AV_CHANNEL_LAYOUT_STEREO;
    enc->codec->time_base = (AVRational){1, sample_rate};
    enc->codec->bit_rate = (int64_t)kbps * 1000;
    enc->codec->thread_count = 1;
    av_opt_set(enc->codec->priv_data, "aac_coder", kbps >= FAST_CODER_KBPS ? "fast" : "twoloop", 0);
    int code = avcodec_open2(enc->codec, NULL, NULL);
    if (code < 0)
        return libav_failed(e, ERR_TEMPORARY, code, "aac at %u kbit/s", kbps);
    str_copy(enc->codec_name, sizeof enc->codec_name, HLS_CODEC_AAC_LC);
    str_format(folder, sizeof folder, "audio/%u", kbps);
    return segmenter_open(&enc->segments, output_fd, folder, enc->codec, e);
}

/* Whether a segment starts with the packet that came out. The first one does in any case: an audio encoder's priming
 * comes before its first mark. */
static bool take_mark(struct encoder *enc)
{
    bool due = enc->begun ? enc->packet->pts >= enc->marks[enc->first_mark] : true;

    if (enc->mark_count == 0 || !due)
        return false;
    enc->begun = true;
    enc->first_mark = (enc->first_mark + 1) % MARKS_MAX;
    enc->mark_count--;
    return true;
}

static int put_mark(struct encoder *enc, int64_t pts, struct err *e)
{
    if (enc->mark_count == MARKS_MAX)
        return err_set(e, ERR_BUG, "an encoder holds back more than %d segments", MARKS_MAX);
    enc->marks[(enc->first_mark + enc->mark_count++) % MARKS_MAX] = pts;
    return 0;
}

static int write_packets(struct encoder *enc, struct err *e)
{
    for (;;) {
        int code = avcodec_receive_packet(enc->codec, enc->packet);
        if (code == AVERROR(EAGAIN) || code == AVERROR_EOF)
            return 0;
        if (code < 0)
            return libav_failed(e, ERR_TEMPORARY, code, "encoding");
        av_packet_rescale_ts(enc->packet, enc->codec->time_base, ticks);
        if (enc->codec_name[0] == '\0')
            hls_codec_avc1(enc->packet->data, (size_t)enc->packet->size, enc->codec_name);
        bool can_start = (enc->packet->flags & AV_PKT_FLAG_KEY) != 0;
        int r = segmenter_write(&enc->segments, enc->packet, can_start && take_mark(enc), e);
        av_packet_unref(enc->packet);
        if (r != 0)
            return r;
    }
}

static int encode(struct encoder *enc, AVFrame *frame, struct err *e)
{
    bool segment = false;

    if (frame != NULL && enc->codec->codec_type == AVMEDIA_TYPE_VIDEO) {
        enum cut cut = cutter_next(&enc->cutter, frame->pts);
        frame->pict_type = cut == CUT_NONE ? AV_PICTURE_TYPE_NONE : AV_PICTURE_TYPE_I;
        segment = cut == CUT_SEGMENT;
    } else if (frame != NULL) {
        segment = frame->pict_type == AV_PICTURE_TYPE_I;
    }
    int r = segment ? put_mark(enc, av_rescale_q(frame->pts, enc->codec->time_base, ticks), e) : 0;
    if (r != 0)
        return r;
    int code = avcodec_send_frame(enc->codec, frame);
    if (code < 0)
        return libav_failed(e, ERR_TEMPORARY, code, "encoding");
    return write_packets(enc, e);
}

static void *run(void *arg)
{
    struct encoder *enc = arg;
    struct err e = {0};
    int r = 0;

    for (AVFrame *frame; (frame = queue_pop(&enc->queue)) != NULL;) {
        if (r == 0)
            r = encode(enc, frame, &e);
        av_frame_free(&frame);
        if (r != 0)
            queue_close(&enc->queue);
    }
    if (r == 0)
        r = encode(enc, NULL, &e);
    if (r == 0)
        r = segmenter_finish(&enc->segments, enc->end, &e);
    if (r != 0)
        failure_set(enc->failure, &e);
    return NULL;
}

int encoder_start(struct encoder *enc, struct err *e)
{
    int code = pthread_create(&enc->thread, NULL, run, enc);
    if (code != 0)
        return err_set(e, ERR_TEMPORARY, "start a thread: %s", strerror(code));
    enc->running = true;
    return 0;
}

int encoder_push(struct encoder *enc, AVFrame *frame, struct err *e)
{
    if (queue_push(&enc->queue, frame))
        return 0;
    av_frame_free(&frame);
    encoder_finish(enc, 0); /* it ends by itself: wait until it has told why */
    int r = failure_get(enc->failure, e);
    return r != 0 ? r : err_set(e, ERR_BUG, "an encoder ended early");
}

void encoder_finish(struct encoder *enc, int64_t end)
{
    if (!enc->running)
        return;
    enc->end = end;
    queue_close(&enc->queue);
    pthread_join(enc->thread, NULL);
    enc->running = false;
}

void encoder_release(struct encoder *enc)
{
    encoder_finish(enc, 0);
    avcodec_free_context(&enc->codec);
    av_packet_free(&enc->packet);
    segmenter_release(&enc->segments);
    queue_destroy(&enc->queue);
}
