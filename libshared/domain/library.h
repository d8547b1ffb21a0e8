#ifndef WEIR_LIBRARY_H
#define WEIR_LIBRARY_H

#include "domain/queue.h"
#include "domain/video.h"
#include "io/store.h"

#include <stdbool.h>
#include <stdint.h>

/* Where videos are kept: the store with its two buckets, which is the record, and the queue, which is the index of it.
 * Everything is borrowed. */
struct library {
    struct store *store;
    struct queue *queue;
    const char *raw, *processed; /* buckets */
    uint64_t gc_ms;              /* GC_DAYS */
};

/* What the store says about one video, without asking Redis. */
struct library_video {
    char id[ID_VIDEO_SIZE];
    bool deleted;           /* the marker stands; nothing else is looked at then */
    char *record;           /* text of .videos/<id>.json, owned; NULL: there is none */
    bool has_source;        /* the upload is finished */
    uint64_t size_bytes;    /* of the source, 0 without one */
    uint64_t generation;    /* the highest one asked for; 0 without a source */
    enum video_state state; /* uploading, waiting (no outcome yet), or as that generation's outcome says */
    uint64_t created_ms;    /* by its record, else by its id */
    uint64_t updated_ms;    /* when the newest of these was written */
    char *outcome;          /* text of the newest published outcome, owned, or NULL */
    char *error;            /* of a failed generation, owned, or NULL */
};

/* 0 also when the store knows nothing of that id (then neither `deleted`, `record` nor `has_source`). */
int library_read(const struct library *l, const char *video_id, struct library_video *ret, struct err *e)
    __attribute__((warn_unused_result));
void library_video_release(struct library_video *v); /* NULL-tolerant, repeatable */
#define LIBRARY_VIDEO_AUTO __attribute__((cleanup(library_video_release)))

#endif
