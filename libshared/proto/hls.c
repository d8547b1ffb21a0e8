#include "hls.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define US_PER_S 1000000

static uint64_t bits_per_second(uint64_t bytes, int64_t duration_us)
{
    if (duration_us <= 0)
        return 0;
    double rate = (double)bytes * 8 * US_PER_S / (double)duration_us + 0.5;
    return rate < (double)INT64_MAX ? (uint64_t)rate : INT64_MAX; /* petabytes in a microsecond: no one can mean it */
}

/* The densest run of segments that starts at `segments` and lasts between min_us and max_us. */
static uint64_t peak_from(const struct hls_segment *segments, size_t count, int64_t min_us, int64_t max_us)
{
    uint64_t bytes = 0, peak = 0;
    int64_t duration_us = 0;

    for (size_t i = 0; i < count; i++) {
        bytes += segments[i].bytes;
        duration_us += segments[i].duration_us;
        if (duration_us > max_us)
            break;
        uint64_t rate = bits_per_second(bytes, duration_us);
        if (duration_us >= min_us && rate > peak)
            peak = rate;
    }
    return peak;
}

struct hls_rate hls_measure(const struct hls_segment *segments, size_t count, unsigned target_s)
{
    int64_t target_us = (int64_t)target_s * US_PER_S, total_us = 0;
    struct hls_rate rate = {0};
    uint64_t bytes = 0;

    for (size_t i = 0; i < count; i++) {
        uint64_t peak = peak_from(segments + i, count - i, target_us / 2, target_us + target_us / 2);
        if (peak > rate.peak)
            rate.peak = peak;
        bytes += segments[i].bytes;
        total_us += segments[i].duration_us;
    }
    rate.average = bits_per_second(bytes, total_us);
    if (rate.peak < rate.average)
        rate.peak = rate.average;
    return rate;
}

unsigned hls_target_s(const struct hls_segment *segments, size_t count)
{
    int64_t target_s = 1;

    for (size_t i = 0; i < count; i++) {
        int64_t rounded_s = (segments[i].duration_us + US_PER_S / 2) / US_PER_S;
        if (rounded_s > target_s)
            target_s = rounded_s;
    }
    return (unsigned)target_s;
}

void hls_segment_uri(size_t number, char out[HLS_SEGMENT_URI_SIZE])
{
    snprintf(out, HLS_SEGMENT_URI_SIZE, "seg_%05zu.ts", number % 10000000000);
}

void hls_write_media(struct buf *out, const struct hls_segment *segments, size_t count, unsigned target_s)
{
    buf_printf(out,
               "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:%u\n#EXT-X-MEDIA-SEQUENCE:0\n"
               "#EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-INDEPENDENT-SEGMENTS\n",
               target_s);
    for (size_t i = 0; i < count; i++) {
        char uri[HLS_SEGMENT_URI_SIZE];
        hls_segment_uri(i, uri);
        buf_printf(out, "#EXTINF:%" PRId64 ".%06" PRId64 ",\n%s\n", segments[i].duration_us / US_PER_S,
                   segments[i].duration_us % US_PER_S, uri);
    }
    buf_puts(out, "#EXT-X-ENDLIST\n");
}

/* ,NAME="value" */
static void put_quoted(struct buf *out, const char *attribute, const char *value)
{
    buf_printf(out, ",%s=\"", attribute);
    for (; *value != '\0'; value++)
        if ((unsigned char)*value >= 0x20 && *value != 0x7f && *value != '"')
            buf_putc(out, *value);
    buf_putc(out, '"');
}

static void put_audio(struct buf *out, const struct hls_audio *a)
{
    buf_puts(out, "#EXT-X-MEDIA:TYPE=AUDIO");
    put_quoted(out, "GROUP-ID", a->group);
    put_quoted(out, "NAME", a->name);
    put_quoted(out, "LANGUAGE", a->language);
    buf_printf(out, ",DEFAULT=%s,AUTOSELECT=YES,CHANNELS=\"%u\"", a->is_default ? "YES" : "NO", a->channels);
    put_quoted(out, "URI", a->uri);
    buf_putc(out, '\n');
}

static void put_variant(struct buf *out, const struct hls_variant *v)
{
    buf_printf(out, "#EXT-X-STREAM-INF:BANDWIDTH=%" PRIu64 ",AVERAGE-BANDWIDTH=%" PRIu64, v->rate.peak,
               v->rate.average);
    put_quoted(out, "CODECS", v->codecs);
    buf_printf(out, ",RESOLUTION=%ux%u,FRAME-RATE=%u.%03u,VIDEO-RANGE=%s", v->width, v->height,
               v->frame_rate_milli / 1000, v->frame_rate_milli % 1000, v->video_range);
    if (v->audio_group != NULL)
        put_quoted(out, "AUDIO", v->audio_group);
    buf_printf(out, "\n%s\n", v->uri);
}

void hls_write_master(struct buf *out, const struct hls_master *master)
{
    buf_puts(out, "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-INDEPENDENT-SEGMENTS\n");
    for (size_t i = 0; i < master->audio_count; i++)
        put_audio(out, &master->audio[i]);
    for (size_t i = 0; i < master->variant_count; i++)
        put_variant(out, &master->variants[i]);
}

#define NAL_SPS 7

bool hls_codec_avc1(const uint8_t *data, size_t len, char out[HLS_CODEC_SIZE])
{
    const uint8_t *profile = NULL; /* profile_idc, constraint flags, level_idc: three bytes in a row in both forms */

    if (len >= 4 && data[0] == 1)
        profile = data + 1;
    for (size_t i = 0; profile == NULL && i + 7 <= len; i++)
        if (data[i] == 0 && data[i + 1] == 0 && data[i + 2] == 1 && (data[i + 3] & 0x1f) == NAL_SPS)
            profile = data + i + 4;
    if (profile == NULL)
        return false;
    snprintf(out, HLS_CODEC_SIZE, "avc1.%02x%02x%02x", profile[0], profile[1], profile[2]);
    return true;
}

struct uri_walk {
    int (*each)(void *ctx, const char *uri, size_t len, struct err *e);
    void *ctx;
    size_t line; /* counted from 1, for messages */
};

static int give_uri(const struct uri_walk *walk, const char *uri, size_t len, struct err *e)
{
    if (len == 0)
        return err_set(e, ERR_INVALID, "playlist line %zu: empty URI", walk->line);
    return walk->each(walk->ctx, uri, len, e);
}

/* The attribute list of a tag: NAME=value or NAME="value", separated by commas. */
static int walk_attributes(const struct uri_walk *walk, const char *p, const char *end, struct err *e)
{
    while (p < end) {
        const char *name = p;
        while (p < end && *p != '=' && *p != ',')
            p++;
        size_t name_len = (size_t)(p - name);
        if (p < end && *p == '=' && p + 1 < end && p[1] == '"') {
            const char *value = p + 2;
            p = memchr(value, '"', (size_t)(end - value));
            if (p == NULL)
                return err_set(e, ERR_INVALID, "playlist line %zu: a quote that does not end", walk->line);
            int r = name_len == 3 && memcmp(name, "URI", 3) == 0 ? give_uri(walk, value, (size_t)(p - value), e) : 0;
            if (r != 0)
                return r;
        }
        while (p < end && *p != ',')
            p++;
        if (p < end)
            p++;
    }
    return 0;
}

static int walk_line(const struct uri_walk *walk, const char *line, size_t len, struct err *e)
{
    static const char tag[] = "#EXT", title_tag[] = "#EXTINF:";

    for (size_t i = 0; i < len; i++)
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            return err_set(e, ERR_INVALID, "playlist line %zu: a control character", walk->line);
    if (len == 0)
        return 0;
    if (line[0] != '#')
        return give_uri(walk, line, len, e);
    if (len < sizeof tag - 1 || memcmp(line, tag, sizeof tag - 1) != 0)
        return 0; /* a comment */
    if (len >= sizeof title_tag - 1 && memcmp(line, title_tag, sizeof title_tag - 1) == 0)
        return 0; /* followed by free text, not by attributes */
    const char *colon = memchr(line, ':', len);
    return colon == NULL ? 0 : walk_attributes(walk, colon + 1, line + len, e);
}

int hls_each_uri(const char *text, size_t len, int (*each)(void *ctx, const char *uri, size_t len, struct err *e),
                 void *ctx, struct err *e)
{
    static const char head[] = "#EXTM3U";
    struct uri_walk walk = {.each = each, .ctx = ctx};
    const char *end = text + len;

    if (len < sizeof head - 1 || memcmp(text, head, sizeof head - 1) != 0)
        return err_set(e, ERR_INVALID, "not a playlist: it does not start with #EXTM3U");
    for (const char *line = text, *next; line < end; line = next) {
        const char *newline = memchr(line, '\n', (size_t)(end - line));
        const char *line_end = newline == NULL ? end : newline;
        next = newline == NULL ? end : newline + 1;
        size_t line_len = (size_t)(line_end - line);
        if (line_len > 0 && line[line_len - 1] == '\r')
            line_len--;
        walk.line++;
        int r = walk_line(&walk, line, line_len, e);
        if (r != 0)
            return r;
    }
    return 0;
}
