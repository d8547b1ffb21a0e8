#ifndef WEIR_TRANSCODE_OPTIONS_H
#define WEIR_TRANSCODE_OPTIONS_H

#include "base/err.h"

#include "ladder.h"
#include "sandbox.h"

#include <stdbool.h>
#include <stdint.h>

/* The command line. */

struct options {
    const char *input; /* a local file; NULL with a source_fd */
    int source_fd;     /* -1 with an input */
    const char *output;
    struct ladder_wish ladder;
    const char *ladder_text;
    unsigned segment_s;
    const char *preset;
    uint64_t max_duration_s, max_pixels;
    enum sandbox_mode sandbox;
};

enum options_action { OPTIONS_RUN, OPTIONS_HELP, OPTIONS_VERSION, OPTIONS_CHECK };

/* Texts point into argv. ERR_INVALID names the option that is wrong. */
int options_parse(int argc, char **argv, struct options *ret, enum options_action *ret_action, struct err *e)
    __attribute__((warn_unused_result));

void options_print_help(void);
void options_print_settings(const struct options *o);

#endif
