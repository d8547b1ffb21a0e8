#ifndef WEIR_OUTCOME_H
#define WEIR_OUTCOME_H

#include "base/buf.h"
#include "domain/layout.h"
#include "domain/queue.h"
#include "io/store.h"

#include <stdbool.h>
#include <stdint.h>

/* The outcome of a generation: processed/.outcomes/<video_id>/<generation>.json, written last, with If-None-Match: *, by
 * whoever is first; everybody else adopts what is there. It alone says what happened and what is played. Thread-safe. */

#define OUTCOME_MAX (256 * 1024) /* bytes of the JSON */
#define OUTCOME_ERROR_SIZE 512

struct outcome {
    uint64_t generation;
    enum video_state state;            /* VIDEO_COMPLETED ("published"), VIDEO_FAILED or VIDEO_CANCELLED */
    char version[LAYOUT_VERSION_SIZE]; /* published: what to serve; else "" */
    char error[OUTCOME_ERROR_SIZE];    /* failed: the sentence for the uploader; else "" */
    uint64_t created_ms;
    char *text; /* the JSON itself, owned */
};
void outcome_release(struct outcome *o); /* NULL-tolerant, repeatable */
#define OUTCOME_AUTO __attribute__((cleanup(outcome_release)))

/* The JSON texts, appended to `out`.
 * published: {"outcome":"published","video":…,"generation":…,"version":…,"created_at":…, and the members of the child's
 * result.json: "duration","width","height","renditions","audio","poster","segments","bytes"}. `result` is that text. */
int outcome_write_published(const char *video_id, uint64_t generation, const char *version, const char *result,
                            size_t result_len, struct buf *out, struct err *e) __attribute__((warn_unused_result));
int outcome_write_failed(const char *video_id, uint64_t generation, const char *error, struct buf *out, struct err *e)
    __attribute__((warn_unused_result));
int outcome_write_cancelled(const char *video_id, uint64_t generation, struct buf *out, struct err *e)
    __attribute__((warn_unused_result));

/* Checks and takes apart; *ret owns a copy of the text. */
int outcome_parse(const char *text, size_t len, struct outcome *ret, struct err *e) __attribute__((warn_unused_result));

/* Creates the outcome if none is there. 0 either way, with *ret the outcome that stands and *ret_ours whether it is the
 * text given (also when an earlier try of ours won and its answer was lost). */
int outcome_create(struct store *s, const char *processed_bucket, const char *video_id, uint64_t generation,
                   const char *text, size_t len, struct outcome *ret, bool *ret_ours, struct err *e)
    __attribute__((warn_unused_result));

/* ERR_NOT_FOUND: none yet. */
int outcome_read(struct store *s, const char *processed_bucket, const char *video_id, uint64_t generation,
                 struct outcome *ret, struct err *e) __attribute__((warn_unused_result));

/* The newest published outcome of a video, from a LIST of its outcomes: what play serves. ERR_NOT_FOUND: none. */
int outcome_published(struct store *s, const char *processed_bucket, const char *video_id, struct outcome *ret,
                      struct err *e) __attribute__((warn_unused_result));

/* Whether the video's deletion marker stands. */
int outcome_video_deleted(struct store *s, const char *raw_bucket, const char *video_id, bool *ret, struct err *e)
    __attribute__((warn_unused_result));

#endif
