#ifndef WEIR_PROGRESS_H
#define WEIR_PROGRESS_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What the transcoding child prints on its progress pipe (services/worker/wire.h): a push parser of `key=value` lines,
 * bytes in, in pieces of any size. The child works on hostile media, so nothing it says is trusted: lines are bounded,
 * numbers finite, texts repaired to UTF-8. Keys that are not known are skipped; a value that is no number, or below zero,
 * counts as not known. Pure. */

#define PROGRESS_LINE_MAX 512 /* bytes of a line without its end */
#define PROGRESS_MESSAGE_SIZE 401

/* The last complete block. 0: not known. */
struct progress_block {
    uint64_t out_time_us, duration_us, frame;
    double fps, speed; /* frames per second; times real time */
    bool end;          /* progress=end */
};

/* NULL members are not called. Non-zero ends the feeding and is passed on. */
struct progress_calls {
    int (*block)(void *ctx, const struct progress_block *block, struct err *e);
    int (*file)(void *ctx, const char *path, struct err *e); /* complete; the path is not checked */
    int (*failed)(void *ctx, bool permanent, const char *message, struct err *e);
};

struct progress_parser {
    const struct progress_calls *calls;
    void *ctx;
    struct progress_block block; /* being collected */
    bool failing, permanent;     /* error=… was read, its message is next */
    size_t len;
    char line[PROGRESS_LINE_MAX + 1];
};

void progress_parser_init(struct progress_parser *p, const struct progress_calls *calls, void *ctx);

/* ERR_INVALID: a line without "=", with a NUL byte, or too long; a word that its key does not allow. */
int progress_parser_feed(struct progress_parser *p, const void *data, size_t len, struct err *e)
    __attribute__((warn_unused_result));

/* How far a block is. Percent lies in 0 … 100, 0 when the duration is not known; eta_s is -1 when it can't be told. */
double progress_percent(const struct progress_block *block);
double progress_eta_s(const struct progress_block *block);

/* {"percent": 41.2, "fps": 120.5, "speed": 4.1, "eta_seconds": 12.0}; eta_seconds null when it can't be told. */
#define PROGRESS_JSON_SIZE 160
void progress_json(const struct progress_block *block, char out[PROGRESS_JSON_SIZE]);

#endif
