#include "result.h"

#include "language.h"
#include "output.h"

#include "base/mem.h"
#include "base/str.h"
#include "proto/json.h"

#define PLAYLIST_MAX (32 << 20)
#define RESULT_MAX (64 << 10)
#define CODECS_SIZE 40

/* What the playlists say about one rendition. */
struct rendition {
    const struct encoder *encoder;
    struct hls_rate rate;
    char folder[16], uri[40];
};

struct result {
    const struct pipeline *p;
    struct rendition video[LADDER_MAX], audio[LADDER_MAX];
    char codecs[LADDER_MAX][CODECS_SIZE];
    struct hls_variant variants[LADDER_MAX];
    struct hls_audio tracks[LADDER_MAX];
    char groups[LADDER_MAX][16];
    unsigned target_s;
    uint64_t bytes, segments;
};

/* One target duration for all: players compare. */
static unsigned common_target_s(const struct pipeline *p)
{
    unsigned target_s = 1;

    for (size_t i = 0; i < p->ladder.count + p->audio_count; i++) {
        const struct segmenter *s = i < p->ladder.count ? &p->video[i].segments
                                                        : &p->audio[i - p->ladder.count].segments;
        unsigned own_s = hls_target_s(s->segments, s->count);
        target_s = own_s > target_s ? own_s : target_s;
    }
    return target_s;
}

static void measure(struct result *r, struct rendition *rendition, const struct encoder *encoder)
{
    const struct segmenter *s = &encoder->segments;

    rendition->encoder = encoder;
    rendition->rate = hls_measure(s->segments, s->count, r->target_s);
    str_format(rendition->uri, sizeof rendition->uri, "%s/index.m3u8", rendition->folder);
    r->segments += s->count;
    for (size_t i = 0; i < s->count; i++)
        r->bytes += s->segments[i].bytes;
}

static void describe_audio(struct result *r)
{
    const struct pipeline *p = r->p;
    const AVDictionaryEntry *tag = p->input.audio == NULL ? NULL
                                                          : av_dict_get(p->input.audio->metadata, "language", NULL, 0);
    const struct language *language = language_find(tag == NULL ? NULL : tag->value);

    for (size_t i = 0; i < p->audio_count; i++) {
        str_format(r->audio[i].folder, sizeof r->audio[i].folder, "audio/%u", p->audio_kbps[i]);
        str_format(r->groups[i], sizeof r->groups[i], "aac%u", p->audio_kbps[i]);
        measure(r, &r->audio[i], &p->audio[i]);
        r->tracks[i] = (struct hls_audio){.group = r->groups[i],
                                          .name = language->name,
                                          .language = language->tag,
                                          .uri = r->audio[i].uri,
                                          .channels = 2,
                                          .is_default = true};
    }
}

static void describe_video(struct result *r)
{
    const struct pipeline *p = r->p;

    for (size_t i = 0, track = 0; i < p->ladder.count; i++) {
        const struct rung *rung = &p->ladder.rungs[i];
        str_format(r->video[i].folder, sizeof r->video[i].folder, "v%u",
                   rung->width < rung->height ? rung->width : rung->height);
        measure(r, &r->video[i], &p->video[i]);
        struct hls_rate rate = r->video[i].rate;
        if (p->audio_count > 0) {
            while (p->audio_kbps[track] != rung->audio_kbps)
                track++;
            rate.peak += r->audio[track].rate.peak;
            rate.average += r->audio[track].rate.average;
        }
        str_format(r->codecs[i], CODECS_SIZE, "%s%s", p->video[i].codec_name,
                   p->audio_count > 0 ? "," HLS_CODEC_AAC_LC : "");
        r->variants[i] = (struct hls_variant){
            .uri = r->video[i].uri,
            .codecs = r->codecs[i],
            .audio_group = p->audio_count > 0 ? r->groups[track] : NULL,
            .video_range = colours_video_range(&p->filters.colours),
            .rate = rate,
            .width = rung->width,
            .height = rung->height,
            .frame_rate_milli = pacer_rate_milli(&p->pacer, p->rate),
        };
    }
}

static int write_playlist(const struct result *r, const struct rendition *rendition, struct err *e)
{
    const struct segmenter *s = &rendition->encoder->segments;
    BUF_AUTO struct buf text;

    buf_init(&text, PLAYLIST_MAX);
    hls_write_media(&text, s->segments, s->count, r->target_s);
    int failed = buf_check(&text, rendition->uri, e);
    return failed != 0 ? failed : output_write(r->p->output_fd, rendition->uri, text.data, text.len, e);
}

static int write_playlists(const struct result *r, struct err *e)
{
    const struct hls_master master = {r->variants, r->p->ladder.count, r->tracks, r->p->audio_count};
    BUF_AUTO struct buf text;
    int failed = 0;

    for (size_t i = 0; failed == 0 && i < r->p->ladder.count; i++)
        failed = write_playlist(r, &r->video[i], e);
    for (size_t i = 0; failed == 0 && i < r->p->audio_count; i++)
        failed = write_playlist(r, &r->audio[i], e);
    buf_init(&text, PLAYLIST_MAX);
    hls_write_master(&text, &master);
    if (failed == 0)
        failed = buf_check(&text, "master.m3u8", e);
    return failed != 0 ? failed : output_write(r->p->output_fd, "master.m3u8", text.data, text.len, e);
}

static bool put_renditions(const struct result *r, json_t *list)
{
    bool ok = list != NULL;

    for (size_t i = 0; ok && i < r->p->ladder.count; i++) {
        const struct hls_variant *v = &r->variants[i];
        json_t *o = json_object();
        ok = json_put_text(o, "name", r->p->ladder.rungs[i].name) && json_put_u64(o, "width", v->width) &&
             json_put_u64(o, "height", v->height) && json_put_u64(o, "bandwidth", v->rate.peak) &&
             json_put_u64(o, "average_bandwidth", v->rate.average) && json_put_text(o, "codecs", v->codecs);
        ok = json_array_append_new(list, o) == 0 && ok;
    }
    return ok;
}

static bool put_audio(const struct result *r, json_t *list)
{
    bool ok = list != NULL;

    for (size_t i = 0; ok && i < r->p->audio_count; i++) {
        json_t *o = json_object();
        ok = json_put_text(o, "group", r->groups[i]) && json_put_text(o, "language", r->tracks[i].language) &&
             json_put_u64(o, "channels", r->tracks[i].channels) &&
             json_put_u64(o, "bandwidth", r->audio[i].rate.peak) &&
             json_put_u64(o, "average_bandwidth", r->audio[i].rate.average);
        ok = json_array_append_new(list, o) == 0 && ok;
    }
    return ok;
}

static int write_json(const struct result *r, struct err *e)
{
    JSON_AUTO json_t *o = json_object();
    json_t *renditions = json_array(), *audio = json_array();
    BUF_AUTO struct buf text;

    buf_init(&text, RESULT_MAX);
    bool ok = put_renditions(r, renditions) && put_audio(r, audio) &&
              json_put_double(o, "duration", (double)r->p->end / TICKS_PER_S) &&
              json_put_u64(o, "width", r->p->input.shown.width) && json_put_u64(o, "height", r->p->input.shown.height);
    ok = json_object_set_new(o, "renditions", renditions) == 0 && ok;
    ok = json_object_set_new(o, "audio", audio) == 0 && ok;
    ok = ok && json_put_text(o, "poster", POSTER_NAME) && json_put_u64(o, "segments", r->segments) &&
         json_put_u64(o, "bytes", r->bytes);
    if (!ok)
        return err_set(e, ERR_TEMPORARY, "no memory for result.json");
    int failed = json_write(o, &text, e);
    return failed != 0 ? failed : output_write(r->p->output_fd, "result.json", text.data, text.len, e);
}

int result_write(const struct pipeline *p, struct err *e)
{
    MEM_AUTO struct result *r = mem_zalloc(sizeof *r);

    if (r == NULL)
        return err_set(e, ERR_TEMPORARY, "no memory");
    r->p = p;
    r->target_s = common_target_s(p);
    describe_audio(r);
    describe_video(r);
    int failed = write_playlists(r, e);
    return failed != 0 ? failed : write_json(r, e);
}
