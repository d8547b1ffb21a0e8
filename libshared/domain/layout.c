#include "layout.h"

#include "base/mem.h"
#include "base/str.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define PATH_MAX_BYTES 128
#define PATH_MAX_DEPTH 4

static const char path_characters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-";

/* Every part of these keys is bounded by its own format, so they always fit. */
__attribute__((format(printf, 1, 2))) static struct layout_key make_key(const char *fmt, ...)
{
    struct layout_key key;
    va_list args;

    va_start(args, fmt);
    vsnprintf(key.s, sizeof key.s, fmt, args);
    va_end(args);
    return key;
}

struct layout_key layout_record(const char *video_id)
{
    return make_key(LAYOUT_VIDEOS "%s.json", video_id);
}

struct layout_key layout_deleted(const char *video_id)
{
    return make_key(LAYOUT_VIDEOS "%s.deleted", video_id);
}

struct layout_key layout_log(const char *video_id, uint64_t seq)
{
    return make_key(LAYOUT_UPLOADS "%s/log/%08" PRIu64, video_id, seq);
}

struct layout_key layout_log_prefix(const char *video_id)
{
    return make_key(LAYOUT_UPLOADS "%s/log/", video_id);
}

struct layout_key layout_source(const char *video_id)
{
    return make_key("%s/source", video_id);
}

struct layout_key layout_partial(const char *video_id)
{
    return make_key(LAYOUT_UPLOADS "%s/source", video_id);
}

struct layout_key layout_request(const char *video_id, uint64_t generation)
{
    return make_key(LAYOUT_REQUESTS "%s/%" PRIu64 ".json", video_id, generation);
}

struct layout_key layout_request_prefix(const char *video_id)
{
    return make_key(LAYOUT_REQUESTS "%s/", video_id);
}

struct layout_key layout_outcome(const char *video_id, uint64_t generation)
{
    return make_key(LAYOUT_OUTCOMES "%s/%" PRIu64 ".json", video_id, generation);
}

struct layout_key layout_outcome_prefix(const char *video_id)
{
    return make_key(LAYOUT_OUTCOMES "%s/", video_id);
}

struct layout_key layout_version_prefix(const char *video_id, const char *version)
{
    return make_key("%s/%s/", video_id, version);
}

struct layout_key layout_video_prefix(const char *video_id)
{
    return make_key("%s/", video_id);
}

bool layout_asset(const char *video_id, const char *version, const char *path, struct layout_key *ret)
{
    struct layout_key key;

    if (!layout_path_valid(path) || !str_format(key.s, sizeof key.s, "%s/%s/%s", video_id, version, path))
        return false;
    *ret = key;
    return true;
}

bool layout_path_valid(const char *path)
{
    unsigned depth = 0;

    if (strnlen(path, PATH_MAX_BYTES + 1) > PATH_MAX_BYTES)
        return false;
    for (const char *segment = path;; segment++) {
        size_t len = strspn(segment, path_characters);
        if (len == 0 || segment[0] == '.' || ++depth > PATH_MAX_DEPTH)
            return false;
        segment += len;
        if (*segment != '/')
            return *segment == '\0';
    }
}

void layout_version(uint64_t generation, uint64_t fence, const char *nonce, char out[LAYOUT_VERSION_SIZE])
{
    str_format(out, LAYOUT_VERSION_SIZE, "%" PRIu64 "-%" PRIu64 "-%s", generation, fence, nonce);
}

/* A number as Weir prints it: no leading zero, not 0. Moves *at behind it. */
static bool read_number(const char **at, uint64_t *ret)
{
    size_t len = strspn(*at, "0123456789");
    uint64_t n;

    if (**at == '0' || !str_to_u64_n(*at, len, &n))
        return false;
    *at += len;
    *ret = n;
    return true;
}

bool layout_version_generation(const char *version, uint64_t *ret_generation)
{
    const char *at = version;
    uint64_t generation, fence;

    if (!read_number(&at, &generation) || *at++ != '-' || !read_number(&at, &fence) || *at++ != '-')
        return false;
    if (strlen(at) != ID_NONCE_SIZE - 1 || strspn(at, "0123456789abcdef") != ID_NONCE_SIZE - 1)
        return false;
    *ret_generation = generation;
    return true;
}

bool layout_version_valid(const char *version)
{
    uint64_t generation;

    return layout_version_generation(version, &generation);
}

/* The id that `s` begins with; the rest in *ret_rest. */
static bool read_video_id(const char *s, char ret[ID_VIDEO_SIZE], const char **ret_rest)
{
    char id[ID_VIDEO_SIZE];

    if (strnlen(s, ID_VIDEO_SIZE - 1) < ID_VIDEO_SIZE - 1)
        return false;
    memcpy(id, s, ID_VIDEO_SIZE - 1);
    id[ID_VIDEO_SIZE - 1] = '\0';
    if (!id_video_valid(id))
        return false;
    memcpy(ret, id, sizeof id);
    *ret_rest = s + ID_VIDEO_SIZE - 1;
    return true;
}

bool layout_parse_record(const char *key, char ret_video_id[ID_VIDEO_SIZE], bool *ret_deleted_marker)
{
    char id[ID_VIDEO_SIZE];
    const char *suffix;

    if (!str_starts(key, LAYOUT_VIDEOS) || !read_video_id(key + strlen(LAYOUT_VIDEOS), id, &suffix))
        return false;
    bool marker = strcmp(suffix, ".deleted") == 0;
    if (!marker && strcmp(suffix, ".json") != 0)
        return false;
    memcpy(ret_video_id, id, sizeof id);
    *ret_deleted_marker = marker;
    return true;
}

bool layout_parse_numbered(const char *prefix, const char *key, char ret_video_id[ID_VIDEO_SIZE], uint64_t *ret_number)
{
    char id[ID_VIDEO_SIZE];
    const char *at;
    uint64_t number;

    if (!str_starts(key, prefix) || !read_video_id(key + strlen(prefix), id, &at) || *at++ != '/' ||
        !read_number(&at, &number) || strcmp(at, ".json") != 0)
        return false;
    memcpy(ret_video_id, id, sizeof id);
    *ret_number = number;
    return true;
}

const char *layout_content_type(const char *path)
{
    static const struct {
        const char *suffix, *type;
    } types[] = {
        {".m3u8", "application/vnd.apple.mpegurl"},
        {".ts", "video/mp2t"},
        {".m4s", "video/iso.segment"},
        {".mp4", "video/mp4"},
        {".vtt", "text/vtt"},
        {".jpg", "image/jpeg"},
        {".gif", "image/gif"},
        {".webp", "image/webp"},
        {".png", "image/png"},
        {".json", "application/json"},
        {".html", "text/html; charset=utf-8"},
        {".css", "text/css; charset=utf-8"},
        {".js", "text/javascript; charset=utf-8"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(types); i++)
        if (str_ends(path, types[i].suffix))
            return types[i].type;
    return "application/octet-stream";
}
