#ifndef WEIR_HLS_H
#define WEIR_HLS_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* HLS playlists (RFC 8216 and its second edition), written from measured segments, and read only for the URIs in them.
 * Pure; safe from any thread. */

struct hls_segment {
    int64_t duration_us;
    uint64_t bytes;
};

/* Bits per second. */
struct hls_rate {
    uint64_t peak;    /* of the contiguous segments that last 0.5 to 1.5 times the target duration, the densest */
    uint64_t average; /* of everything */
};

/* Measures one rendition. Shorter than half a target: the peak is the average. No segments: both 0. */
struct hls_rate hls_measure(const struct hls_segment *segments, size_t count, unsigned target_s);

/* The smallest EXT-X-TARGETDURATION that these segments allow: the longest one, rounded as the RFC rounds; at least 1. */
unsigned hls_target_s(const struct hls_segment *segments, size_t count);

#define HLS_SEGMENT_URI_SIZE 24
/* The name of segment `number` of a rendition, counted from 0: "seg_00000.ts". */
void hls_segment_uri(size_t number, char out[HLS_SEGMENT_URI_SIZE]);

/* A finished (VOD) media playlist of MPEG-TS segments. Check `out` afterwards. */
void hls_write_media(struct buf *out, const struct hls_segment *segments, size_t count, unsigned target_s);

/* One EXT-X-MEDIA of type AUDIO. Renditions of one group carry the same content at the same bit rate. */
struct hls_audio {
    const char *group, *name, *language, *uri; /* language: RFC 5646, "und" when not known */
    unsigned channels;
    bool is_default;
};

/* One EXT-X-STREAM-INF; the rates are those of the video and the audio group together. */
struct hls_variant {
    const char *uri, *codecs;
    const char *audio_group; /* NULL for a silent video */
    const char *video_range; /* "SDR", "PQ" or "HLG" */
    struct hls_rate rate;
    unsigned width, height;
    unsigned frame_rate_milli; /* frames in 1000 s */
};

struct hls_master {
    const struct hls_variant *variants;
    size_t variant_count;
    const struct hls_audio *audio;
    size_t audio_count;
};

/* Characters that a quoted string cannot hold (quotes, control characters) are left out of names. */
void hls_write_master(struct buf *out, const struct hls_master *master);

#define HLS_CODEC_SIZE 16
#define HLS_CODEC_AAC_LC "mp4a.40.2"
/* The RFC 6381 name ("avc1.64001f") of the H.264 stream whose first sequence parameter set stands in `data`: an Annex B
 * byte stream or an avcC record. False, and `out` untouched, when there is none. */
bool hls_codec_avc1(const uint8_t *data, size_t len, char out[HLS_CODEC_SIZE]);

/* Calls `each` for every URI of a playlist: the lines that are no tags, and the URI="…" attributes of tags. `uri` is
 * not terminated and holds no control characters. Stops with what `each` returns unless that is 0.
 * ERR_INVALID when the text does not start with #EXTM3U, has a NUL or other control character, a quote that does not
 * end within its line, or a URI that is empty. */
int hls_each_uri(const char *text, size_t len, int (*each)(void *ctx, const char *uri, size_t len, struct err *e),
                 void *ctx, struct err *e) __attribute__((warn_unused_result));

#endif
