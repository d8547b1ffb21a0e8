/* weir-transcode: one video file in, an HLS ladder out. The steps are in `run`; wire.h says how it talks to the worker. */

#include "libav.h"
#include "options.h"
#include "output.h"
#include "pipeline.h"
#include "report.h"
#include "result.h"
#include "sandbox.h"
#include "source.h"

#include "../wire.h"

#include "base/log.h"
#include "base/mem.h"

#include <libavutil/mem.h>
#include <stdio.h>
#include <stdlib.h>

#define EXIT_USAGE 2
#define ALLOCATION_MAX (1u << 30) /* no single block that libav asks for may be larger */

static int open_source(struct source *source, const struct options *o, struct err *e)
{
    return o->input != NULL ? source_open_file(source, o->input, e) : source_open_socket(source, o->source_fd, e);
}

static int transcode(struct pipeline *p, const struct options *o, struct source *source, int output_fd, struct err *e)
{
    int r = pipeline_run(p, o, source, output_fd, e);
    if (r == 0)
        r = result_write(p, e);
    if (r == 0)
        report_tick(&p->report, p->frames, av_rescale(p->end, 1000000, TICKS_PER_S), true);
    pipeline_release(p);
    return r;
}

static int run(const struct options *o, struct err *e)
{
    MEM_AUTO struct pipeline *pipeline = mem_zalloc(sizeof *pipeline);
    struct source source = {.fd = -1};
    int output_fd = -1;

    if (pipeline == NULL)
        return err_set(e, ERR_TEMPORARY, "no memory");
    libav_log_init();
    av_max_alloc(ALLOCATION_MAX);
    int r = output_open(o->output, &output_fd, e);
    if (r == 0)
        r = open_source(&source, o, e);
    if (r == 0)
        r = sandbox_enter(o->sandbox, output_fd, o->max_duration_s, o->max_pixels, e);
    if (r == 0)
        r = transcode(pipeline, o, &source, output_fd, e);
    source_close(&source);
    return r;
}

static int exit_status(const struct err *e)
{
    bool permanent = e->kind == ERR_INVALID || e->kind == ERR_TOO_LARGE;

    log_error(NULL, "failed", "kind", err_kind_name(e->kind), "error", e->text);
    report_error(permanent, e->text);
    return permanent ? WIRE_EXIT_PERMANENT : WIRE_EXIT_TEMPORARY;
}

int main(int argc, char **argv)
{
    enum options_action action;
    struct options options;
    struct err e;

    log_init("transcode", LOG_INFO, LOG_TEXT);
    if (options_parse(argc, argv, &options, &action, &e) != 0) {
        fprintf(stderr, "weir-transcode: %s\n", e.text);
        return EXIT_USAGE;
    }
    switch (action) {
    case OPTIONS_HELP:
        options_print_help();
        return EXIT_SUCCESS;
    case OPTIONS_VERSION:
        puts("weir-transcode " WEIR_VERSION);
        return EXIT_SUCCESS;
    case OPTIONS_CHECK:
        options_print_settings(&options);
        return EXIT_SUCCESS;
    case OPTIONS_RUN:
        break;
    }
    return run(&options, &e) == 0 ? EXIT_SUCCESS : exit_status(&e);
}
