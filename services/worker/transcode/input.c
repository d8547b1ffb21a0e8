#include "input.h"

#include "libav.h"
#include "timing.h"

#include "base/log.h"
#include "base/mem.h"

#include <string.h>

#include <libavutil/mathematics.h>
#include <libavutil/mem.h>

#define IO_BUFFER (256 * 1024)
#define STREAMS_MAX "100"
#define ERRORS_IN_A_ROW_MAX 100
#define AUDIO_LEAD_TRIMMED_US 100000 /* an encoder's delay, no content */
#define CLOCK_BACK_US 100000
#define CLOCK_AHEAD_US 10000000
#define CLOCK_SAME_US 500000

static const char formats[] =
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,mpegts,mpeg,avi,flv,mxf,asf,ogg,wav,mp3,flac,aac,h264,hevc,dv";

static const char decoders[] =
    "h264,hevc,av1,libdav1d,vp8,vp9,libvpx,libvpx-vp9,mpeg1video,mpeg2video,mpegvideo,mpeg4,h263,flv,msmpeg4v1,"
    "msmpeg4v2,msmpeg4,wmv1,wmv2,wmv3,vc1,mjpeg,prores,dnxhd,cfhd,ffv1,huffyuv,ffvhuff,utvideo,magicyuv,rawvideo,v210,"
    "v410,theora,vp3,vp6,vp6f,dvvideo,svq3,qtrle,png,jpeg2000,"
    "aac,aac_latm,mp3,mp3float,mp2,mp2float,ac3,eac3,opus,libopus,vorbis,flac,alac,dca,truehd,wmav1,wmav2,wmapro,"
    "amrnb,amrwb,libopencore_amrnb,libopencore_amrwb,adpcm_ima_qt,adpcm_ima_wav,adpcm_ms,adpcm_swf,nellymoser,speex,"
    "pcm_s16le,pcm_s16be,pcm_s24le,pcm_s24be,pcm_s32le,pcm_s32be,pcm_f32le,pcm_f32be,pcm_f64le,pcm_f64be,pcm_u8,"
    "pcm_s8,pcm_alaw,pcm_mulaw,pcm_bluray,pcm_dvd";

const char *input_decoders(void)
{
    return decoders;
}

static int read_bytes(void *opaque, uint8_t *data, int size)
{
    struct input *in = opaque;
    size_t got;

    if (source_read(in->source, in->offset, data, (size_t)size, &got) != 0)
        return AVERROR(EIO);
    in->offset += got;
    return got == 0 ? AVERROR_EOF : (int)got;
}

static int64_t seek_bytes(void *opaque, int64_t offset, int whence)
{
    struct input *in = opaque;
    int64_t size = (int64_t)in->source->size;

    whence &= ~AVSEEK_FORCE;
    if (whence == AVSEEK_SIZE)
        return size;
    if (whence == SEEK_CUR)
        offset += (int64_t)in->offset;
    else if (whence == SEEK_END)
        offset += size;
    else if (whence != SEEK_SET)
        return AVERROR(EINVAL);
    if (offset < 0)
        return AVERROR(EINVAL);
    in->offset = (uint64_t)offset;
    return offset;
}

/* What a file names besides itself stays closed. */
static int refuse_open(AVFormatContext *format, AVIOContext **ret, const char *url, int flags, AVDictionary **options)
{
    (void)format;
    (void)ret;
    (void)url;
    (void)flags;
    (void)options;
    return AVERROR(EACCES);
}

static int not_readable(const struct input *in, struct err *e)
{
    if (in->source->failed) {
        *e = in->source->reason;
        return err_wrap(e, "source");
    }
    return err_set(
        e, ERR_INVALID,
        "This is not a video file that can be read: its format is unknown or not accepted, or it is cut off.");
}

static int open_format(struct input *in, struct err *e)
{
    AVDictionary *options = NULL;
    uint8_t *buffer = av_malloc(IO_BUFFER);
    AVIOContext *io = buffer == NULL ? NULL
                                     : avio_alloc_context(buffer, IO_BUFFER, 0, in, read_bytes, NULL, seek_bytes);

    if (io == NULL) {
        av_free(buffer);
        return err_set(e, ERR_TEMPORARY, "no memory");
    }
    in->format = avformat_alloc_context();
    if (in->format == NULL) {
        av_freep(&io->buffer);
        avio_context_free(&io);
        return err_set(e, ERR_TEMPORARY, "no memory");
    }
    AVFormatContext *format = in->format; /* freed by avformat_open_input when it fails */
    format->pb = io;
    format->io_open = refuse_open;
    format->flags |= AVFMT_FLAG_CUSTOM_IO;
    av_dict_set(&options, "format_whitelist", formats, 0);
    av_dict_set(&options, "codec_whitelist", decoders, 0);
    av_dict_set(&options, "protocol_whitelist", "none", 0);
    av_dict_set(&options, "max_streams", STREAMS_MAX, 0);
    int code = avformat_open_input(&in->format, NULL, NULL, &options);
    av_dict_free(&options);
    if (code < 0) {
        av_freep(&io->buffer);
        avio_context_free(&io);
        return code == AVERROR(ENOMEM) ? err_set(e, ERR_TEMPORARY, "no memory") : not_readable(in, e);
    }
    return 0;
}

void input_close(struct input *in)
{
    if (in->format == NULL)
        return;
    AVIOContext *io = in->format->pb;
    avformat_close_input(&in->format);
    av_freep(&io->buffer);
    avio_context_free(&io);
}

static int check_pixels(const AVCodecParameters *par, uint64_t max_pixels, struct err *e)
{
    if (par->codec_type != AVMEDIA_TYPE_VIDEO || par->width <= 0 || par->height <= 0)
        return 0;
    if ((uint64_t)par->width * (uint64_t)par->height > max_pixels)
        return err_set(e, ERR_INVALID, "The picture of %d x %d pixels is larger than this service takes.", par->width,
                       par->height);
    return 0;
}

/* Decodes a little to learn what the header does not say; the decoders it opens have our limits too. */
static int find_streams(struct input *in, uint64_t max_pixels, struct err *e)
{
    unsigned count = in->format->nb_streams;
    MEM_AUTO AVDictionary **options = mem_calloc(count + 1, sizeof(AVDictionary *));
    int r = 0;

    if (options == NULL)
        return err_set(e, ERR_TEMPORARY, "no memory");
    for (unsigned i = 0; r == 0 && i < count; i++) {
        r = check_pixels(in->format->streams[i]->codecpar, max_pixels, e);
        av_dict_set_int(&options[i], "max_pixels", (int64_t)max_pixels, 0);
        av_dict_set(&options[i], "codec_whitelist", decoders, 0);
        av_dict_set_int(&options[i], "threads", 1, 0);
    }
    if (r == 0 && avformat_find_stream_info(in->format, options) < 0)
        r = not_readable(in, e);
    for (unsigned i = 0; i < count; i++)
        av_dict_free(&options[i]);
    for (unsigned i = 0; r == 0 && i < in->format->nb_streams; i++)
        r = check_pixels(in->format->streams[i]->codecpar, max_pixels, e);
    return r;
}

/* Cover pictures are no video. */
static bool is_still(const AVStream *s)
{
    return (s->disposition &
            (AV_DISPOSITION_ATTACHED_PIC | AV_DISPOSITION_STILL_IMAGE | AV_DISPOSITION_TIMED_THUMBNAILS)) != 0;
}

static bool is_video(const AVStream *s)
{
    return s->codecpar->codec_type == AVMEDIA_TYPE_VIDEO && s->codecpar->width > 0 && s->codecpar->height > 0 &&
           s->codecpar->format >= 0 && !is_still(s);
}

static bool is_audio(const AVStream *s)
{
    return s->codecpar->codec_type == AVMEDIA_TYPE_AUDIO && s->codecpar->sample_rate > 0 &&
           s->codecpar->ch_layout.nb_channels > 0 && avcodec_find_decoder(s->codecpar->codec_id) != NULL;
}

/* The default stream of its kind, else the first; a larger picture wins among videos. */
static bool better(const AVStream *a, const AVStream *b)
{
    if (b == NULL)
        return true;
    int a_default = (a->disposition & AV_DISPOSITION_DEFAULT) != 0;
    int b_default = (b->disposition & AV_DISPOSITION_DEFAULT) != 0;
    if (a_default != b_default)
        return a_default > b_default;
    return (int64_t)a->codecpar->width * a->codecpar->height > (int64_t)b->codecpar->width * b->codecpar->height;
}

static int no_video(const struct input *in, struct err *e)
{
    bool claimed = false;

    for (unsigned i = 0; i < in->format->nb_streams; i++) {
        const AVStream *s = in->format->streams[i];
        claimed = claimed || (s->codecpar->codec_type == AVMEDIA_TYPE_VIDEO && !is_still(s));
    }
    if (!claimed && in->audio != NULL)
        return err_set(e, ERR_INVALID, "The file has sound but no video.");
    return err_set(e, ERR_INVALID, "The file holds no video that can be read; it may be cut off or damaged.");
}

static int choose_streams(struct input *in, struct err *e)
{
    for (unsigned i = 0; i < in->format->nb_streams; i++) {
        AVStream *s = in->format->streams[i];
        if (is_video(s) && better(s, in->video))
            in->video = s;
        else if (is_audio(s) && better(s, in->audio))
            in->audio = s;
    }
    for (unsigned i = 0; i < in->format->nb_streams; i++)
        if (in->format->streams[i] != in->video && in->format->streams[i] != in->audio)
            in->format->streams[i]->discard = AVDISCARD_ALL;
    if (in->source->failed)
        return not_readable(in, e);
    return in->video == NULL ? no_video(in, e) : 0;
}

static const int32_t *display_matrix(const AVStream *s)
{
#if LIBAVFORMAT_VERSION_INT >= AV_VERSION_INT(60, 15, 100)
    const AVPacketSideData *data = av_packet_side_data_get(s->codecpar->coded_side_data,
                                                           s->codecpar->nb_coded_side_data, AV_PKT_DATA_DISPLAYMATRIX);
    return data != NULL && data->size >= 9 * sizeof(int32_t) ? (const int32_t *)(const void *)data->data : NULL;
#else
    size_t size;
    const uint8_t *data = av_stream_get_side_data(s, AV_PKT_DATA_DISPLAYMATRIX, &size);
    return data != NULL && size >= 9 * sizeof(int32_t) ? (const int32_t *)(const void *)data : NULL;
#endif
}

/* The nearest of the eight ways to turn and mirror a picture. The matrix maps (x, y) to (a x + c y, b x + d y). */
static struct orientation read_orientation(const AVStream *s)
{
    const int32_t *m = display_matrix(s);
    struct orientation o = {.turn = TURN_NONE};

    if (m == NULL)
        return o;
    int64_t a = m[0], b = m[1], c = m[3], d = m[4];
    if (llabs(b) + llabs(c) > llabs(a) + llabs(d)) { /* a quarter turn: to the right, b > 0 > c */
        bool mirrored = (b > 0) == (c > 0);
        o.turn = b > 0 ? TURN_RIGHT : TURN_LEFT;
        o.flip_vertical = mirrored;
    } else {
        o.flip_horizontal = a < 0;
        o.flip_vertical = d < 0;
        if (o.flip_horizontal && o.flip_vertical)
            o = (struct orientation){.turn = TURN_HALF};
    }
    return o;
}

static int64_t start_us(const AVStream *s)
{
    if (s == NULL || s->start_time == AV_NOPTS_VALUE)
        return AV_NOPTS_VALUE;
    return av_rescale_q(s->start_time, s->time_base, AV_TIME_BASE_Q);
}

static int64_t find_origin_us(const struct input *in)
{
    int64_t video_us = start_us(in->video), audio_us = start_us(in->audio);

    if (video_us == AV_NOPTS_VALUE)
        return audio_us == AV_NOPTS_VALUE ? 0 : audio_us;
    if (audio_us == AV_NOPTS_VALUE || audio_us + AUDIO_LEAD_TRIMMED_US >= video_us)
        return video_us;
    return audio_us;
}

static int describe(struct input *in, uint64_t max_duration_s, struct err *e)
{
    const AVCodecParameters *par = in->video->codecpar;
    AVRational sar = av_guess_sample_aspect_ratio(in->format, in->video, NULL);

    in->orientation = read_orientation(in->video);
    bool quarter = in->orientation.turn == TURN_LEFT || in->orientation.turn == TURN_RIGHT;
    int r = picture_shown((unsigned)par->width, (unsigned)par->height, sar.num, sar.den, quarter, &in->shown, e);
    if (r != 0)
        return r;
    in->frame_rate = av_guess_frame_rate(in->format, in->video, NULL);
    in->origin_us = find_origin_us(in);
    in->duration_us = in->format->duration > 0 ? in->format->duration : 0;
    if ((uint64_t)in->duration_us > max_duration_s * AV_TIME_BASE)
        return err_set(e, ERR_INVALID, "The video is longer than the %llu seconds that this service takes.",
                       (unsigned long long)max_duration_s);
    return 0;
}

int input_open(struct input *in, struct source *source, uint64_t max_duration_s, uint64_t max_pixels, struct err *e)
{
    *in = (struct input){.source = source,
                         .clocks = {{.expected_us = AV_NOPTS_VALUE}, {.expected_us = AV_NOPTS_VALUE}}};
    int r = open_format(in, e);
    if (r == 0)
        r = find_streams(in, max_pixels, e);
    if (r == 0)
        r = choose_streams(in, e);
    if (r == 0)
        r = describe(in, max_duration_s, e);
    return r;
}

static bool jumps(const struct input_clock *clock, int64_t dts_us)
{
    return clock->expected_us != AV_NOPTS_VALUE &&
           (dts_us < clock->expected_us - CLOCK_BACK_US || dts_us > clock->expected_us + CLOCK_AHEAD_US);
}

/* Transport streams may start their clock anew in the middle: the presentation goes on where it was. The two streams
 * meet the place at different packets; the second one takes the first one's shift, so that they stay in step. */
static void repair_clock(struct input *in, const AVStream *stream, AVPacket *packet)
{
    struct input_clock *own = &in->clocks[stream == in->audio], *other = &in->clocks[stream != in->audio];

    if ((in->format->iformat->flags & AVFMT_TS_DISCONT) == 0 || packet->dts == AV_NOPTS_VALUE)
        return;
    int64_t dts_us = av_rescale_q(packet->dts, stream->time_base, AV_TIME_BASE_Q);
    if (jumps(own, dts_us + own->shift_us)) {
        int64_t needed_us = own->expected_us - dts_us;
        own->shift_us = llabs(needed_us - other->shift_us) < CLOCK_SAME_US ? other->shift_us : needed_us;
    }
    own->expected_us = dts_us + own->shift_us + av_rescale_q(packet->duration, stream->time_base, AV_TIME_BASE_Q);
    int64_t shift = av_rescale_q(own->shift_us, AV_TIME_BASE_Q, stream->time_base);
    packet->dts += shift;
    if (packet->pts != AV_NOPTS_VALUE)
        packet->pts += shift;
}

int input_read(struct input *in, AVPacket *packet, bool *ret_end, struct err *e)
{
    for (;;) {
        int code = av_read_frame(in->format, packet);
        if (in->source->failed) {
            av_packet_unref(packet);
            return not_readable(in, e);
        }
        if (code == AVERROR(ENOMEM))
            return err_set(e, ERR_TEMPORARY, "no memory");
        if (code == AVERROR_EOF || (code < 0 && ++in->errors_in_a_row > ERRORS_IN_A_ROW_MAX)) {
            *ret_end = true;
            return 0;
        }
        if (code < 0)
            continue;
        in->errors_in_a_row = 0;
        const AVStream *stream = in->format->streams[packet->stream_index];
        if (stream == in->video || stream == in->audio) {
            repair_clock(in, stream, packet);
            *ret_end = false;
            return 0;
        }
        av_packet_unref(packet);
    }
}

int64_t input_ticks(const struct input *in, const AVStream *stream, int64_t pts)
{
    const AVRational ticks = {1, TICKS_PER_S};
    return av_rescale_q(pts, stream->time_base, ticks) - av_rescale_q(in->origin_us, AV_TIME_BASE_Q, ticks);
}
