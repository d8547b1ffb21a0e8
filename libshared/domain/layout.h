#ifndef WEIR_LAYOUT_H
#define WEIR_LAYOUT_H

#include "base/id.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Every object key in one place; docs/objects.md lists them with writer, precondition and deleter. Keys are built from
 * checked ids only, never from names that users gave. Pure. */

#define LAYOUT_KEY_SIZE 256
#define LAYOUT_VERSION_SIZE 64 /* "<generation>-<fence>-<nonce>" + NUL */

struct layout_key {
    char s[LAYOUT_KEY_SIZE];
};

/* raw bucket */
#define LAYOUT_VIDEOS ".videos/"
#define LAYOUT_UPLOADS ".uploads/"
#define LAYOUT_REQUESTS ".requests/"
struct layout_key layout_record(const char *video_id);            /* .videos/<id>.json */
struct layout_key layout_deleted(const char *video_id);           /* .videos/<id>.deleted */
struct layout_key layout_log(const char *video_id, uint64_t seq); /* .uploads/<id>/log/<seq, 8 digits> */
struct layout_key layout_log_prefix(const char *video_id);
struct layout_key layout_source(const char *video_id);  /* <id>/source */
struct layout_key layout_partial(const char *video_id); /* .uploads/<id>/source: a finished partial upload */
struct layout_key layout_request(const char *video_id, uint64_t generation); /* .requests/<id>/<generation>.json */
struct layout_key layout_request_prefix(const char *video_id);

/* processed bucket */
#define LAYOUT_OUTCOMES ".outcomes/"
struct layout_key layout_outcome(const char *video_id, uint64_t generation); /* .outcomes/<id>/<generation>.json */
struct layout_key layout_outcome_prefix(const char *video_id);
struct layout_key layout_version_prefix(const char *video_id, const char *version); /* <id>/<version>/ */
struct layout_key layout_video_prefix(const char *video_id);                        /* <id>/ */
/* <id>/<version>/<path>; false when the path is not one that Weir writes (layout_path_valid) or the key gets too long. */
bool layout_asset(const char *video_id, const char *version, const char *path, struct layout_key *ret);

/* Names below a version: segments of [A-Za-z0-9_.-], not starting with a dot, at most 4 deep and 128 bytes. */
bool layout_path_valid(const char *path);

void layout_version(uint64_t generation, uint64_t fence, const char *nonce, char out[LAYOUT_VERSION_SIZE]);
bool layout_version_valid(const char *version);
bool layout_version_generation(const char *version, uint64_t *ret_generation);

/* Takes ids out of keys found by a LIST; false for anything that is not such a key. */
bool layout_parse_record(const char *key, char ret_video_id[ID_VIDEO_SIZE], bool *ret_deleted_marker);
bool layout_parse_numbered(const char *prefix, const char *key, char ret_video_id[ID_VIDEO_SIZE],
                           uint64_t *ret_number); /* .outcomes/<id>/<n>.json, .requests/<id>/<n>.json */

/* Content type by a path's suffix, as delivery.md lists; application/octet-stream for others. */
const char *layout_content_type(const char *path);

#endif
