#include "proto/progress.h"

#include "base/str.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int look_at_block(void *ctx, const struct progress_block *block, struct err *e)
{
    char json[PROGRESS_JSON_SIZE];
    double percent = progress_percent(block), eta_s = progress_eta_s(block);

    (void)ctx;
    (void)e;
    if (!(percent >= 0 && percent <= 100) || !isfinite(eta_s) || !isfinite(block->fps) || block->fps < 0)
        abort();
    progress_json(block, json);
    if (json[strlen(json) - 1] != '}')
        abort();
    return 0;
}

static int look_at_message(void *ctx, bool permanent, const char *message, struct err *e)
{
    (void)ctx;
    (void)permanent;
    (void)e;
    if (!utf8_valid(message, strlen(message)))
        abort();
    return 0;
}

/* The first byte says how the rest is cut into pieces. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct progress_calls calls = {.block = look_at_block, .failed = look_at_message};
    struct progress_parser parser;
    struct err e;
    int r = 0;

    if (size == 0)
        return 0;
    size_t piece = data[0] == 0 ? 1 : data[0];
    progress_parser_init(&parser, &calls, NULL);
    for (size_t at = 1; r == 0 && at < size; at += piece)
        r = progress_parser_feed(&parser, data + at, size - at < piece ? size - at : piece, &e);
    if (r != 0 && !utf8_valid(e.text, strlen(e.text)))
        abort();
    return 0;
}
