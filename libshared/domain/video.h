#ifndef WEIR_VIDEO_H
#define WEIR_VIDEO_H

#include "domain/queue.h"
#include "proto/json.h"

#include <stdint.h>

/* A video's durable record (.videos/<id>.json, created once, If-None-Match: *) and the JSON that clients see. */

#define VIDEO_TITLE_MAX 200 /* characters; bytes ≤ 4 × that */
#define VIDEO_DESCRIPTION_MAX 5000
#define VIDEO_FILENAME_MAX 255
#define VIDEO_RECORD_MAX (64 * 1024) /* bytes of the JSON */

struct video_record {
    char id[ID_VIDEO_SIZE];
    char title[VIDEO_TITLE_MAX * 4 + 1];
    char description[VIDEO_DESCRIPTION_MAX * 4 + 1];
    char filename[VIDEO_FILENAME_MAX * 4 + 1];
    char client[64]; /* address of the uploader, for operators; never shown to clients */
    uint64_t created_ms;
};

/* Checks a text from a client: UTF-8, at most `max_characters`, no control characters but (in descriptions) tab and line
 * ends. ERR_INVALID with a sentence naming `field`. */
int video_check_text(const char *field, const char *text, size_t max_characters, struct err *e)
    __attribute__((warn_unused_result));

int video_record_write(const struct video_record *v, struct buf *out, struct err *e)
    __attribute__((warn_unused_result));
int video_record_parse(const char *text, size_t len, struct video_record *ret, struct err *e)
    __attribute__((warn_unused_result));

/* The video object of contract.md, from what the index holds; "size" is null while it is uploaded. `play_url` is PUBLIC_PLAY_URL. The caller owns *ret. */
int video_view(const struct queue_video *v, const char *play_url, json_t **ret, struct err *e)
    __attribute__((warn_unused_result));

#endif
