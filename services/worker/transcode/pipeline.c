#include "pipeline.h"

#include "libav.h"

#include "base/log.h"
#include "base/str.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include <libavutil/cpu.h>

static int too_long(const struct pipeline *p, struct err *e)
{
    return err_set(e, ERR_INVALID, "The video is longer than the %llu seconds that this service takes.",
                   (unsigned long long)p->options->max_duration_s);
}

static bool past_limit(const struct pipeline *p, int64_t ticks)
{
    return ticks > (int64_t)p->options->max_duration_s * TICKS_PER_S;
}

/* A rung's share of the machine by its pixels, rounded up so that the largest one keeps no core waiting: on two cores
 * two threads for the largest, one for the others. */
static int encoder_threads(const struct ladder *ladder, size_t rung)
{
    double pixels = 0, own = (double)ladder->rungs[rung].width * ladder->rungs[rung].height;

    for (size_t i = 0; i < ladder->count; i++)
        pixels += (double)ladder->rungs[i].width * ladder->rungs[i].height;
    int threads = (int)(own / pixels * av_cpu_count() + 1);
    return threads < 1 ? 1 : threads > 16 ? 16 : threads;
}

static int open_video(struct pipeline *p, struct err *e)
{
    const AVRational nominal = p->input.frame_rate, real = p->input.video->r_frame_rate,
                     average = p->input.video->avg_frame_rate;
    struct video_settings settings = {.preset = p->options->preset,
                                      .colours = p->filters.colours,
                                      .rate = p->rate,
                                      .segment_s = p->options->segment_s};

    settings.constant_rate = nominal.num > 0 && av_cmp_q(real, average) == 0;
    for (size_t i = 0; i < p->ladder.count; i++) {
        settings.rung = &p->ladder.rungs[i];
        settings.threads = encoder_threads(&p->ladder, i);
        int r = encoder_open_video(&p->video[i], &settings, p->output_fd, &p->failure, e);
        if (r != 0)
            return r;
        if (settings.rung->width <= POSTER_WIDTH_MAX && p->poster_rung == p->ladder.count)
            p->poster_rung = i;
    }
    if (p->poster_rung == p->ladder.count)
        p->poster_rung = p->ladder.count - 1;
    return 0;
}

/* One encoder for each bit rate that a rung asks for. */
static int open_audio(struct pipeline *p, struct err *e)
{
    int rate = audio_rate_for(p->input.audio->codecpar->sample_rate);

    int r = audio_init(&p->sound, rate, e);
    if (r != 0)
        return r;
    hold_init(&p->hold, p->options->segment_s, rate);
    if (mkdirat(p->output_fd, "audio", 0755) != 0 && errno != EEXIST)
        return err_set(e, ERR_TEMPORARY, "make folder audio: %s", strerror(errno));
    for (size_t i = 0; r == 0 && i < p->ladder.count; i++) {
        unsigned kbps = p->ladder.rungs[i].audio_kbps;
        if (p->audio_count > 0 && p->audio_kbps[p->audio_count - 1] == kbps)
            continue;
        p->audio_kbps[p->audio_count] = kbps;
        r = encoder_open_audio(&p->audio[p->audio_count++], kbps, rate, p->output_fd, &p->failure, e);
    }
    return r;
}

static int plan(struct pipeline *p, struct err *e)
{
    const struct frame_rate source = {p->input.frame_rate.num, p->input.frame_rate.den};
    const struct frame_rate average = {p->input.video->avg_frame_rate.num, p->input.video->avg_frame_rate.den};

    ladder_plan(&p->options->ladder, p->input.shown.width, p->input.shown.height, &p->ladder);
    p->poster_rung = p->ladder.count;
    p->rate = frame_rate_cap(source, frame_rate_cap(average, (struct frame_rate){25, 1}));
    p->frame_ticks = (int64_t)TICKS_PER_S * p->rate.den / p->rate.num;
    pacer_init(&p->pacer, source);
    cutter_init(&p->cutter, p->options->segment_s);
    poster_init(&p->poster, p->input.duration_us);
    report_init(&p->report, p->input.duration_us);
    p->last = av_frame_alloc();
    if (p->last == NULL)
        return err_set(e, ERR_TEMPORARY, "no memory");
    return filters_init(&p->filters, &p->ladder, p->input.orientation, colours_of(p->input.video->codecpar), e);
}

/* A video whose sound cannot be decoded is still worth watching. */
static int open_decoders(struct pipeline *p, struct err *e)
{
    struct err why;

    int r = decoder_open(&p->video_decoder, p->input.video, p->options->max_pixels, e);
    if (r != 0 || p->input.audio == NULL)
        return r;
    if (decoder_open(&p->audio_decoder, p->input.audio, p->options->max_pixels, &why) != 0) {
        log_warn(NULL, "going on without sound", "reason", why.text);
        p->input.audio = NULL;
    }
    return 0;
}

static int open_all(struct pipeline *p, struct source *source, struct err *e)
{
    int r = input_open(&p->input, source, p->options->max_duration_s, p->options->max_pixels, e);
    if (r == 0)
        r = open_decoders(p, e);
    if (r == 0)
        r = plan(p, e);
    if (r == 0)
        r = open_video(p, e);
    if (r == 0 && p->input.audio != NULL)
        r = open_audio(p, e);
    for (size_t i = 0; r == 0 && i < p->ladder.count; i++)
        r = encoder_start(&p->video[i], e);
    for (size_t i = 0; r == 0 && i < p->audio_count; i++)
        r = encoder_start(&p->audio[i], e);
    return r;
}

/* Sound that the picture has passed goes to the encoders. */
static int release_sound(struct pipeline *p, bool all, struct err *e)
{
    for (AVFrame *frame; (frame = hold_take(&p->hold, all)) != NULL;) {
        int r = 0;
        for (size_t i = 0; r == 0 && i < p->audio_count; i++) {
            AVFrame *copy = av_frame_clone(frame);
            r = copy == NULL ? err_set(e, ERR_TEMPORARY, "no memory") : encoder_push(&p->audio[i], copy, e);
        }
        av_frame_free(&frame);
        if (r != 0)
            return r;
    }
    return 0;
}

static int on_sound(void *ctx, AVFrame *frame, struct err *e)
{
    struct pipeline *p = ctx;

    hold_put(&p->hold, frame);
    return release_sound(p, false, e);
}

static int on_audio(void *ctx, AVFrame *frame, struct err *e)
{
    struct pipeline *p = ctx;
    int64_t ticks = input_ticks(&p->input, p->input.audio, frame->pts);

    if (past_limit(p, ticks))
        return too_long(p, e);
    return audio_feed(&p->sound, frame, ticks, on_sound, p, e);
}

static int on_picture(void *ctx, size_t rung, AVFrame *frame, struct err *e)
{
    struct pipeline *p = ctx;

    if (rung == p->poster_rung) {
        int r = poster_offer(&p->poster, frame, frame->pts, e);
        if (r != 0) {
            av_frame_free(&frame);
            return r;
        }
    }
    return encoder_push(&p->video[rung], frame, e);
}

static int show(struct pipeline *p, AVFrame *frame, int64_t pts, struct err *e)
{
    frame->pts = pts;
    int r = filters_feed(&p->filters, frame, on_picture, p, e);
    if (r != 0)
        return r;
    p->frames++;
    r = hold_picture(&p->hold, pts, cutter_next(&p->cutter, pts) == CUT_SEGMENT, e);
    return r != 0 || p->audio_count == 0 ? r : release_sound(p, false, e);
}

/* The picture that gaps are filled with. */
static int keep(struct pipeline *p, const AVFrame *frame, struct err *e)
{
    av_frame_unref(p->last);
    return av_frame_ref(p->last, frame) < 0 ? err_set(e, ERR_TEMPORARY, "no memory") : 0;
}

static void tell(struct pipeline *p)
{
    int64_t shown = p->pacer.last > 0 ? p->pacer.last : 0;
    report_tick(&p->report, p->frames, av_rescale(shown, 1000000, TICKS_PER_S), false);
}

/* Shows the last picture again until it is time for the one of `pts`. */
static int fill_gap(struct pipeline *p, int64_t pts, struct err *e)
{
    int64_t again;

    while (pacer_repeat(&p->pacer, pts, &again)) {
        int r = show(p, p->last, again, e);
        if (r != 0)
            return r;
        tell(p);
    }
    return 0;
}

static int on_video(void *ctx, AVFrame *frame, struct err *e)
{
    struct pipeline *p = ctx;
    int64_t pts = input_ticks(&p->input, p->input.video, frame->pts);

    if (past_limit(p, pts))
        return too_long(p, e);
    frame->sample_aspect_ratio = av_guess_sample_aspect_ratio(p->input.format, p->input.video, frame);
    int r = p->frames == 0 ? keep(p, frame, e) : 0; /* when it comes late it stands from the start on */
    if (r == 0)
        r = fill_gap(p, pts, e);
    if (r != 0 || !pacer_keep(&p->pacer, pts))
        return r;
    r = show(p, frame, pts, e);
    return r != 0 ? r : keep(p, frame, e);
}

static int read_all(struct pipeline *p, AVPacket *packet, struct err *e)
{
    for (;;) {
        bool end;
        int r = input_read(&p->input, packet, &end, e);
        if (r != 0 || end)
            return r;
        bool is_video = packet->stream_index == p->input.video->index;
        r = is_video ? decoder_feed(&p->video_decoder, packet, on_video, p, e)
                     : decoder_feed(&p->audio_decoder, packet, on_audio, p, e);
        av_packet_unref(packet);
        if (r != 0)
            return r;
        tell(p);
    }
}

/* The longer of picture and sound decides: the last picture stands until the sound ends, sound is filled up with
 * silence. */
static int finish_streams(struct pipeline *p, struct err *e)
{
    int r = decoder_feed(&p->video_decoder, NULL, on_video, p, e);
    if (r == 0 && p->input.audio != NULL)
        r = decoder_feed(&p->audio_decoder, NULL, on_audio, p, e);
    if (r == 0 && p->input.audio != NULL)
        r = audio_flush(&p->sound, on_sound, p, e);
    if (r != 0)
        return r;
    if (p->frames == 0)
        return err_set(e, ERR_INVALID, "No picture of the video could be decoded; the file is damaged or cut off.");

    p->end = p->pacer.last + p->frame_ticks;
    int64_t sound_end = p->sound.made == 0 ? 0 : av_rescale(p->sound.made, TICKS_PER_S, p->sound.rate);
    if (sound_end > p->end + p->frame_ticks)
        p->end = sound_end;
    r = fill_gap(p, p->end, e);
    if (r == 0)
        r = filters_feed(&p->filters, NULL, on_picture, p, e);
    if (r == 0 && p->sound.made > 0)
        r = audio_pad(&p->sound, p->end, on_sound, p, e);
    return r != 0 || p->audio_count == 0 ? r : release_sound(p, true, e);
}

int pipeline_run(struct pipeline *p, const struct options *options, struct source *source, int output_fd, struct err *e)
{
    *p = (struct pipeline){.options = options, .output_fd = output_fd};
    failure_init(&p->failure);
    int r = open_all(p, source, e);
    AVPacket *packet = av_packet_alloc();
    if (r == 0 && packet == NULL)
        r = err_set(e, ERR_TEMPORARY, "no memory");
    if (r == 0)
        r = read_all(p, packet, e);
    av_packet_free(&packet);
    if (r == 0)
        r = finish_streams(p, e);
    for (size_t i = 0; i < p->ladder.count; i++)
        encoder_finish(&p->video[i], p->end);
    for (size_t i = 0; i < p->audio_count; i++)
        encoder_finish(&p->audio[i], p->end);
    if (r == 0)
        r = failure_get(&p->failure, e);
    if (p->sound.made == 0)
        p->audio_count = 0; /* a sound track without sound */
    if (p->video_decoder.errors + p->audio_decoder.errors > 0)
        log_info(NULL, "damaged places", "video", num_u64(p->video_decoder.errors).s, "audio",
                 num_u64(p->audio_decoder.errors).s);
    return r != 0 ? r : poster_write(&p->poster, output_fd, e);
}

void pipeline_release(struct pipeline *p)
{
    for (size_t i = 0; i < LADDER_MAX; i++) {
        encoder_release(&p->video[i]);
        encoder_release(&p->audio[i]);
    }
    hold_release(&p->hold);
    poster_release(&p->poster);
    audio_release(&p->sound);
    filters_release(&p->filters);
    decoder_close(&p->video_decoder);
    decoder_close(&p->audio_decoder);
    input_close(&p->input);
    av_frame_free(&p->last);
    pthread_mutex_destroy(&p->failure.lock);
}
