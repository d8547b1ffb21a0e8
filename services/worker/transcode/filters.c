#include "filters.h"

#include "libav.h"
#include "timing.h"

#include "base/buf.h"
#include "base/str.h"

#include <libavfilter/buffersink.h>
#include <libavfilter/buffersrc.h>
#include <libavutil/pixdesc.h>

#define GRAPH_MAX 4096
#define HD_SHORTER 720 /* pictures of this size, upright or not, are meant as BT.709 when they do not say */
#define HD_LONGER 1280

static bool is_rgb(int format)
{
    const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(format);
    return d != NULL && (d->flags & (AV_PIX_FMT_FLAG_RGB | AV_PIX_FMT_FLAG_PAL)) != 0;
}

struct colours colours_of(const AVCodecParameters *par)
{
    struct colours c = {par->color_space, par->color_primaries, par->color_trc};
    int shorter = par->width < par->height ? par->width : par->height;
    int longer = par->width < par->height ? par->height : par->width;
    bool hd = shorter >= HD_SHORTER || longer >= HD_LONGER;

    if (c.matrix == AVCOL_SPC_UNSPECIFIED || c.matrix == AVCOL_SPC_RGB || c.matrix == AVCOL_SPC_RESERVED ||
        is_rgb(par->format))
        c.matrix = hd || is_rgb(par->format) ? AVCOL_SPC_BT709 : AVCOL_SPC_SMPTE170M;
    if (c.primaries == AVCOL_PRI_UNSPECIFIED || c.primaries == AVCOL_PRI_RESERVED)
        c.primaries = c.matrix == AVCOL_SPC_BT709 ? AVCOL_PRI_BT709 : AVCOL_PRI_SMPTE170M;
    if (c.transfer == AVCOL_TRC_UNSPECIFIED || c.transfer == AVCOL_TRC_RESERVED || is_rgb(par->format))
        c.transfer = c.transfer == AVCOL_TRC_SMPTE2084 ? c.transfer : AVCOL_TRC_BT709;
    return c;
}

const char *colours_video_range(const struct colours *c)
{
    if (c->transfer == AVCOL_TRC_SMPTE2084)
        return "PQ";
    return c->transfer == AVCOL_TRC_ARIB_STD_B67 ? "HLG" : "SDR";
}

int filters_init(struct filters *f, const struct ladder *ladder, struct orientation orientation, struct colours colours,
                 struct err *e)
{
    *f = (struct filters){.ladder = ladder, .orientation = orientation, .colours = colours};
    f->frame = av_frame_alloc();
    return f->frame == NULL ? err_set(e, ERR_TEMPORARY, "no memory") : 0;
}

void filters_release(struct filters *f)
{
    avfilter_graph_free(&f->graph);
    av_frame_free(&f->frame);
}

static struct filters_shape shape_of(const struct filters *f, const AVFrame *frame)
{
    struct filters_shape s = {.width = frame->width,
                              .height = frame->height,
                              .format = frame->format,
                              .sar = frame->sample_aspect_ratio,
                              .range = frame->color_range,
                              .matrix = frame->colorspace,
                              .interlaced = f->shape.interlaced || libav_interlaced(frame)};
    if (s.sar.num <= 0 || s.sar.den <= 0)
        s.sar = (AVRational){1, 1};
    return s;
}

static bool same_shape(const struct filters_shape *a, const struct filters_shape *b)
{
    return a->width == b->width && a->height == b->height && a->format == b->format && av_cmp_q(a->sar, b->sar) == 0 &&
           a->range == b->range && a->matrix == b->matrix && a->interlaced == b->interlaced;
}

static void put_turn(struct buf *b, struct orientation o)
{
    static const char *const turns[] = {[TURN_RIGHT] = "transpose=clock,",
                                        [TURN_HALF] = "hflip,vflip,",
                                        [TURN_LEFT] = "transpose=cclock,",
                                        [TURN_NONE] = ""};
    buf_printf(b, "%s%s%s", o.flip_horizontal ? "hflip," : "", o.flip_vertical ? "vflip," : "", turns[o.turn]);
}

/* Everything up to the picture of the largest rung. What needs no work is left out: even a scaler that changes nothing
 * would copy. */
static int put_first_rung(struct buf *b, const struct filters *f, const struct filters_shape *s, struct err *e)
{
    const struct rung *top = &f->ladder->rungs[0];
    bool quarter = f->orientation.turn == TURN_LEFT || f->orientation.turn == TURN_RIGHT;
    int width = quarter ? s->height : s->width, height = quarter ? s->width : s->height;
    bool full = s->range == AVCOL_RANGE_JPEG || s->format == AV_PIX_FMT_YUVJ420P;
    struct picture shown;

    int r = picture_shown((unsigned)s->width, (unsigned)s->height, s->sar.num, s->sar.den, quarter, &shown, e);
    if (r != 0)
        return r;
    struct picture box = {top->width, top->height}, fit = picture_fit(shown, box);
    if (s->interlaced)
        buf_puts(b, "bwdif=mode=send_frame:deint=interlaced,");
    put_turn(b, f->orientation);
    if (fit.width != (unsigned)width || fit.height != (unsigned)height || s->format != AV_PIX_FMT_YUV420P || full) {
        buf_printf(b, "scale=%u:%u", fit.width, fit.height);
        if (is_rgb(s->format))
            buf_printf(b, ":out_color_matrix=%s", f->colours.matrix == AVCOL_SPC_BT709 ? "bt709" : "bt601");
        if (full || is_rgb(s->format))
            buf_puts(b, ":out_range=tv");
        buf_puts(b, ",format=yuv420p,");
    }
    if (fit.width != box.width || fit.height != box.height)
        buf_printf(b, "pad=%u:%u:-1:-1,", box.width, box.height);
    buf_puts(b, "setsar=1");
    return 0;
}

/* A rung is scaled from the smallest one that is at least twice its size: nearer ones would cost sharpness, the largest
 * one time. */
static size_t scaled_from(const struct ladder *ladder, size_t rung)
{
    size_t from = 0;

    for (size_t i = 1; i < rung; i++)
        if (ladder->rungs[i].width >= 2 * ladder->rungs[rung].width - 2)
            from = i;
    return from;
}

/* [for1]scale=…,split=3[out1][for2][for3];[out1]buffersink@1; */
static void put_rung(struct buf *b, const struct ladder *ladder, size_t rung)
{
    size_t copies = 1;

    if (rung > 0)
        buf_printf(b, "[for%zu]scale=%u:%u", rung, ladder->rungs[rung].width, ladder->rungs[rung].height);
    for (size_t i = rung + 1; i < ladder->count; i++)
        copies += scaled_from(ladder, i) == rung;
    buf_printf(b, ",split=%zu[out%zu]", copies, rung);
    for (size_t i = rung + 1; i < ladder->count; i++)
        if (scaled_from(ladder, i) == rung)
            buf_printf(b, "[for%zu]", i);
    buf_printf(b, ";[out%zu]buffersink@%zu%s", rung, rung, rung + 1 < ladder->count ? ";" : "");
}

static int describe_graph(struct buf *b, const struct filters *f, const struct filters_shape *s, struct err *e)
{
    buf_printf(b, "buffer@in=video_size=%dx%d:pix_fmt=%d:time_base=1/%d:pixel_aspect=%d/%d", s->width, s->height,
               s->format, TICKS_PER_S, s->sar.num, s->sar.den);
#if LIBAVFILTER_VERSION_INT >= AV_VERSION_INT(10, 0, 100)
    buf_printf(b, ":colorspace=%d:range=%d", (int)s->matrix, (int)s->range);
#endif
    buf_putc(b, ',');
    int r = put_first_rung(b, f, s, e);
    if (r != 0)
        return r;
    for (size_t i = 0; i < f->ladder->count; i++)
        put_rung(b, f->ladder, i);
    return buf_check(b, "filter graph", e);
}

static int build(struct filters *f, const struct filters_shape *s, struct err *e)
{
    AVFilterInOut *inputs = NULL, *outputs = NULL;
    BUF_AUTO struct buf text;

    buf_init(&text, GRAPH_MAX);
    int r = describe_graph(&text, f, s, e);
    if (r != 0)
        return r;
    avfilter_graph_free(&f->graph);
    f->graph = avfilter_graph_alloc();
    if (f->graph == NULL)
        return err_set(e, ERR_TEMPORARY, "no memory");
    f->graph->nb_threads = 0;
    int code = avfilter_graph_parse2(f->graph, buf_cstr(&text), &inputs, &outputs);
    if (code >= 0)
        code = avfilter_graph_config(f->graph, NULL);
    avfilter_inout_free(&inputs);
    avfilter_inout_free(&outputs);
    if (code < 0)
        return libav_failed(e, ERR_INVALID, code, "The video's picture format cannot be converted");
    f->source = avfilter_graph_get_filter(f->graph, "buffer@in");
    for (size_t i = 0; i < f->ladder->count; i++) {
        char name[24];
        str_format(name, sizeof name, "buffersink@%zu", i);
        f->sinks[i] = avfilter_graph_get_filter(f->graph, name);
    }
    f->shape = *s;
    return 0;
}

/* Gives on what the sinks have ready, the largest rung first. */
static int drain(struct filters *f, filters_frame *each, void *ctx, struct err *e)
{
    const AVRational ticks = {1, TICKS_PER_S};

    for (size_t i = 0; i < f->ladder->count; i++)
        for (;;) {
            int code = av_buffersink_get_frame(f->sinks[i], f->frame);
            if (code == AVERROR(EAGAIN) || code == AVERROR_EOF)
                break;
            if (code < 0)
                return libav_failed(e, ERR_TEMPORARY, code, "filtering");
            f->frame->pts = av_rescale_q(f->frame->pts, av_buffersink_get_time_base(f->sinks[i]), ticks);
            AVFrame *out = av_frame_alloc();
            if (out == NULL)
                return err_set(e, ERR_TEMPORARY, "no memory");
            av_frame_move_ref(out, f->frame);
            int r = each(ctx, i, out, e);
            if (r != 0)
                return r;
        }
    return 0;
}

/* What the graph holds back (a deinterlacer waits for the next frame) comes out before it is built anew. */
static int flush(struct filters *f, filters_frame *each, void *ctx, struct err *e)
{
    if (f->graph == NULL)
        return 0;
    int code = av_buffersrc_add_frame_flags(f->source, NULL, AV_BUFFERSRC_FLAG_PUSH);
    if (code < 0)
        return libav_failed(e, ERR_TEMPORARY, code, "filtering");
    return drain(f, each, ctx, e);
}

int filters_feed(struct filters *f, const AVFrame *frame, filters_frame *each, void *ctx, struct err *e)
{
    if (frame == NULL)
        return flush(f, each, ctx, e);

    struct filters_shape shape = shape_of(f, frame);
    if (f->graph == NULL || !same_shape(&shape, &f->shape)) {
        int r = flush(f, each, ctx, e);
        if (r == 0)
            r = build(f, &shape, e);
        if (r != 0)
            return r;
    }
    int code = av_frame_ref(f->frame, frame);
    if (code >= 0)
        code = av_buffersrc_add_frame_flags(f->source, f->frame, AV_BUFFERSRC_FLAG_PUSH);
    if (code < 0) {
        av_frame_unref(f->frame);
        return libav_failed(e, ERR_TEMPORARY, code, "filtering");
    }
    return drain(f, each, ctx, e);
}
