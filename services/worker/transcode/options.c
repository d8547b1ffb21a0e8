#include "options.h"

#include "base/mem.h"
#include "base/str.h"

#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

static const char *const presets[] = {"ultrafast", "superfast", "veryfast", "faster",   "fast",
                                      "medium",    "slow",      "slower",   "veryslow", "placebo"};
static const char *const sandbox_names[] = {
    [SANDBOX_AUTO] = "auto", [SANDBOX_REQUIRED] = "required", [SANDBOX_OFF] = "off"};

enum option_id {
    OPT_INPUT = 256,
    OPT_SOURCE_FD,
    OPT_OUTPUT,
    OPT_LADDER,
    OPT_SEGMENT_SECONDS,
    OPT_SEGMENT_TYPE,
    OPT_PRESET,
    OPT_MAX_DURATION_S,
    OPT_MAX_PIXELS,
    OPT_SANDBOX,
    OPT_HELP,
    OPT_VERSION,
    OPT_CHECK,
};

static const struct option long_options[] = {
    {"input", required_argument, NULL, OPT_INPUT},
    {"source-fd", required_argument, NULL, OPT_SOURCE_FD},
    {"output", required_argument, NULL, OPT_OUTPUT},
    {"ladder", required_argument, NULL, OPT_LADDER},
    {"segment-seconds", required_argument, NULL, OPT_SEGMENT_SECONDS},
    {"segment-type", required_argument, NULL, OPT_SEGMENT_TYPE},
    {"preset", required_argument, NULL, OPT_PRESET},
    {"max-duration-s", required_argument, NULL, OPT_MAX_DURATION_S},
    {"max-pixels", required_argument, NULL, OPT_MAX_PIXELS},
    {"sandbox", required_argument, NULL, OPT_SANDBOX},
    {"help", no_argument, NULL, OPT_HELP},
    {"version", no_argument, NULL, OPT_VERSION},
    {"check-config", no_argument, NULL, OPT_CHECK},
    {NULL, 0, NULL, 0},
};

void options_print_help(void)
{
    puts("weir-transcode: turns one video file into an HLS ladder\n"
         "\n"
         "  weir-transcode (--input FILE | --source-fd N) --output DIR [options]\n"
         "\n"
         "  --input FILE           the source, a local file\n"
         "  --source-fd N          the source, asked for over this socket (used by weir-worker)\n"
         "  --output DIR           an existing directory for playlists, segments, poster.jpg and result.json\n"
         "  --ladder HEIGHTS       of 4320,2160,1080,720,480,360,240            (1080,720,480,240)\n"
         "  --segment-seconds N    1 to 60                                      (6)\n"
         "  --segment-type ts      MPEG-TS is the only type so far              (ts)\n"
         "  --preset NAME          x264's, ultrafast to placebo                 (veryfast)\n"
         "  --max-duration-s N     longer sources are refused                   (43200)\n"
         "  --max-pixels N         sources with more pixels per frame, too      (35389440)\n"
         "  --sandbox MODE         auto: what the host offers; required; off    (auto)\n"
         "  --check-config         print the settings and end\n"
         "  --help, --version\n"
         "\n"
         "Progress goes to standard output as key=value lines, messages to standard error.\n"
         "Exit status: 0 done, 2 wrong usage, 3 this file can never work, anything else: try again.");
}

void options_print_settings(const struct options *o)
{
    printf("ladder=%s\nsegment-seconds=%u\nsegment-type=ts\npreset=%s\nmax-duration-s=%" PRIu64 "\nmax-pixels=%" PRIu64
           "\nsandbox=%s\n",
           o->ladder_text, o->segment_s, o->preset, o->max_duration_s, o->max_pixels, sandbox_names[o->sandbox]);
}

static int parse_number(const char *name, const char *text, uint64_t min, uint64_t max, uint64_t *ret, struct err *e)
{
    uint64_t n;

    if (!str_to_u64(text, &n) || n < min || n > max)
        return err_set(e, ERR_INVALID, "--%s %s: a number from %" PRIu64 " to %" PRIu64 " is wanted", name, text, min,
                       max);
    *ret = n;
    return 0;
}

/* The place of `text` among the names. */
static int parse_name(const char *option, const char *text, const char *const *names, size_t count, size_t *ret,
                      struct err *e)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(names[i], text) == 0) {
            *ret = i;
            return 0;
        }
    return err_set(e, ERR_INVALID, "--%s %s: not one of those that --help lists", option, text);
}

static int parse_one(struct options *o, int id, const char *value, struct err *e)
{
    uint64_t number = 0;
    size_t place = 0;
    int r = 0;

    switch (id) {
    case OPT_INPUT:
        o->input = value;
        return 0;
    case OPT_OUTPUT:
        o->output = value;
        return 0;
    case OPT_SOURCE_FD:
        r = parse_number("source-fd", value, 0, INT_MAX, &number, e);
        o->source_fd = (int)number;
        return r;
    case OPT_LADDER:
        o->ladder_text = value;
        return ladder_parse(value, &o->ladder, e);
    case OPT_SEGMENT_SECONDS:
        r = parse_number("segment-seconds", value, 1, 60, &number, e);
        o->segment_s = (unsigned)number;
        return r;
    case OPT_SEGMENT_TYPE:
        if (strcmp(value, "ts") != 0)
            return err_set(e, ERR_INVALID, "--segment-type %s: only ts can be made so far", value);
        return 0;
    case OPT_PRESET:
        o->preset = value;
        return parse_name("preset", value, presets, ARRAY_SIZE(presets), &place, e);
    case OPT_MAX_DURATION_S:
        return parse_number("max-duration-s", value, 1, 86400, &o->max_duration_s, e);
    case OPT_MAX_PIXELS:
        return parse_number("max-pixels", value, 1, UINT64_C(1) << 30, &o->max_pixels, e);
    case OPT_SANDBOX:
        r = parse_name("sandbox", value, sandbox_names, ARRAY_SIZE(sandbox_names), &place, e);
        o->sandbox = (enum sandbox_mode)place;
        return r;
    default:
        return err_set(e, ERR_INVALID, "unknown option or missing value; see --help");
    }
}

int options_parse(int argc, char **argv, struct options *ret, enum options_action *ret_action, struct err *e)
{
    struct options o = {.source_fd = -1,
                        .ladder_text = "1080,720,480,240",
                        .segment_s = 6,
                        .preset = "veryfast",
                        .max_duration_s = 43200,
                        .max_pixels = 35389440};
    enum options_action action = OPTIONS_RUN;
    int r = ladder_parse(o.ladder_text, &o.ladder, e);

    opterr = 0;
    optind = 1;
    for (int id; r == 0 && (id = getopt_long(argc, argv, "", long_options, NULL)) != -1;) {
        if (id == OPT_HELP || id == OPT_VERSION || id == OPT_CHECK)
            action = id == OPT_HELP ? OPTIONS_HELP : id == OPT_VERSION ? OPTIONS_VERSION : OPTIONS_CHECK;
        else
            r = parse_one(&o, id, optarg, e);
    }
    if (r != 0)
        return r;
    if (optind < argc)
        return err_set(e, ERR_INVALID, "unexpected argument %s", argv[optind]);
    if (action == OPTIONS_RUN && (o.input == NULL) == (o.source_fd < 0))
        return err_set(e, ERR_INVALID, "either --input or --source-fd is wanted; see --help");
    if (action == OPTIONS_RUN && o.output == NULL)
        return err_set(e, ERR_INVALID, "--output is missing; see --help");
    *ret = o;
    *ret_action = action;
    return 0;
}
