#include "report.h"

#include "base/clock.h"
#include "base/str.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#define EVERY_MS 500
#define MESSAGE_MAX 400

/* A reader that is gone ends us by SIGPIPE; any other failure leaves nobody to tell. */
static void print(const char *text)
{
    for (size_t len = strlen(text); len > 0;) {
        ssize_t n = write(STDOUT_FILENO, text, len);
        if (n < 0 && errno != EINTR)
            return;
        if (n > 0) {
            text += n;
            len -= (size_t)n;
        }
    }
}

void report_init(struct report *p, int64_t duration_us)
{
    uint64_t now_ms = clock_mono_ms();
    *p = (struct report){.started_ms = now_ms, .printed_ms = now_ms, .duration_us = duration_us};
}

void report_tick(struct report *p, uint64_t frames, int64_t out_time_us, bool end)
{
    uint64_t now_ms = clock_mono_ms();
    char block[256];

    if (!end && now_ms - p->printed_ms < EVERY_MS)
        return;
    p->printed_ms = now_ms;
    double seconds = (double)(now_ms - p->started_ms + 1) / 1000;
    str_format(block, sizeof block,
               "frame=%" PRIu64 "\nfps=%.2f\nout_time_us=%" PRId64 "\nspeed=%.3f\nduration_us=%" PRId64
               "\nprogress=%s\n",
               frames, (double)frames / seconds, out_time_us, (double)out_time_us / 1e6 / seconds, p->duration_us,
               end ? "end" : "continue");
    print(block);
}

void report_file(const char *path)
{
    char line[256];

    if (str_format(line, sizeof line, "file=%s\n", path))
        print(line);
}

void report_error(bool permanent, const char *message)
{
    char lines[MESSAGE_MAX + 64];
    char text[MESSAGE_MAX + 1];

    str_copy(text, sizeof text, message);
    for (char *p = text; *p != '\0'; p++)
        if ((unsigned char)*p < 0x20)
            *p = ' ';
    str_format(lines, sizeof lines, "error=%s\nmessage=%s\n", permanent ? "permanent" : "temporary", text);
    print(lines);
}
