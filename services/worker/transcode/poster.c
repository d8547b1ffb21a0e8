#include "poster.h"

#include "libav.h"
#include "output.h"
#include "timing.h"

#include <libavcodec/avcodec.h>
#include <libavutil/mathematics.h>
#include <libswscale/swscale.h>

#define TRIES 20
#define LOOK_EVERY (TICKS_PER_S / 2)
#define UNKNOWN_FROM (3 * TICKS_PER_S)
#define DARK 40.0      /* mean luma, 16 is black */
#define CONTRAST 144.0 /* variance of luma, below which a picture is empty */
#define QUALITY 4      /* of 2 … 31 */

void poster_init(struct poster *p, int64_t duration_us)
{
    *p = (struct poster){.best_score = -1};
    p->from = duration_us > 0 ? av_rescale(duration_us, TICKS_PER_S, 10 * INT64_C(1000000)) : UNKNOWN_FROM;
}

void poster_release(struct poster *p)
{
    av_frame_free(&p->best);
}

/* Variance of the luma; a dark picture counts less. Every fourth sample of every fourth line is plenty. */
static double score(const AVFrame *frame, bool *ret_good)
{
    uint64_t sum = 0, squares = 0, count = 0;

    for (int y = 0; y < frame->height; y += 4) {
        const uint8_t *line = frame->data[0] + (ptrdiff_t)y * frame->linesize[0];
        for (int x = 0; x < frame->width; x += 4, count++) {
            sum += line[x];
            squares += (uint64_t)line[x] * line[x];
        }
    }
    double mean = (double)sum / (double)count, variance = (double)squares / (double)count - mean * mean;
    *ret_good = mean >= DARK && variance >= CONTRAST;
    return mean >= DARK ? variance : variance / 16;
}

int poster_offer(struct poster *p, const AVFrame *frame, int64_t pts, struct err *e)
{
    bool good;

    if (p->chosen || (p->best != NULL && pts < p->next))
        return 0;
    double s = score(frame, &good);
    if (s > p->best_score) {
        av_frame_free(&p->best);
        p->best = av_frame_clone(frame);
        if (p->best == NULL)
            return err_set(e, ERR_TEMPORARY, "no memory");
        p->best_score = s;
    }
    if (pts >= p->from)
        p->chosen = good || ++p->looked_at >= TRIES;
    if (pts < p->from) /* the first frame is only there for a video that ends before */
        p->best_score = -1;
    p->next = pts < p->from ? p->from : pts + LOOK_EVERY;
    return 0;
}

/* To full range, as JPEG has it, and to the poster's size. */
static AVFrame *convert(const AVFrame *in)
{
    AVFrame *out = av_frame_alloc();
    struct SwsContext *sws = NULL;

    if (out == NULL)
        return NULL;
    out->width = in->width < POSTER_WIDTH_MAX ? in->width : POSTER_WIDTH_MAX;
    out->height = (int)av_rescale(in->height, out->width, in->width) & ~1;
    out->height = out->height < 2 ? 2 : out->height;
    out->format = AV_PIX_FMT_YUVJ420P;
    out->color_range = AVCOL_RANGE_JPEG;
    sws = sws_getContext(in->width, in->height, AV_PIX_FMT_YUV420P, out->width, out->height, AV_PIX_FMT_YUVJ420P,
                         SWS_BICUBIC, NULL, NULL, NULL);
    if (sws == NULL || av_frame_get_buffer(out, 0) < 0)
        av_frame_free(&out);
    else
        sws_scale(sws, (const uint8_t *const *)in->data, in->linesize, 0, in->height, out->data, out->linesize);
    sws_freeContext(sws);
    return out;
}

static int encode(const AVFrame *frame, AVPacket *packet, struct err *e)
{
    const AVCodec *jpeg = avcodec_find_encoder(AV_CODEC_ID_MJPEG);
    AVCodecContext *codec = jpeg == NULL ? NULL : avcodec_alloc_context3(jpeg);

    if (codec == NULL)
        return err_set(e, ERR_TEMPORARY, "no JPEG encoder");
    codec->width = frame->width;
    codec->height = frame->height;
    codec->pix_fmt = AV_PIX_FMT_YUVJ420P;
    codec->color_range = AVCOL_RANGE_JPEG;
    codec->time_base = (AVRational){1, 1};
    codec->thread_count = 1;
    codec->flags |= AV_CODEC_FLAG_QSCALE | AV_CODEC_FLAG_BITEXACT;
    codec->global_quality = QUALITY * FF_QP2LAMBDA;
    int code = avcodec_open2(codec, jpeg, NULL);
    if (code >= 0)
        code = avcodec_send_frame(codec, frame);
    if (code >= 0)
        code = avcodec_receive_packet(codec, packet);
    avcodec_free_context(&codec);
    return code < 0 ? libav_failed(e, ERR_TEMPORARY, code, "JPEG encoder") : 0;
}

int poster_write(const struct poster *p, int output_fd, struct err *e)
{
    if (p->best == NULL)
        return err_set(e, ERR_BUG, "no frame for the poster");
    AVPacket *packet = av_packet_alloc();
    AVFrame *frame = convert(p->best);
    int r = 0;

    if (packet == NULL || frame == NULL) {
        r = err_set(e, ERR_TEMPORARY, "no memory");
    } else {
        frame->quality = QUALITY * FF_QP2LAMBDA;
        frame->pts = 0;
        r = encode(frame, packet, e);
    }
    if (r == 0)
        r = output_write(output_fd, POSTER_NAME, packet->data, (size_t)packet->size, e);
    av_frame_free(&frame);
    av_packet_free(&packet);
    return r;
}
