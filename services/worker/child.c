#include "child.h"

#include "base/clock.h"
#include "base/str.h"
#include "io/process.h"
#include "proto/progress.h"
#include "wire.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#define WORDS_MAX (64u << 10) /* of what it says to the operator; the rest is thrown away */
#define WORDS_LINE 400
#define LINE_COST 64    /* what a line counts beyond its bytes: each becomes a line of the log */
#define PIPE_BYTES 4096 /* small, so that a child that is held up stops soon */
#define LOG_PERCENT 10
#define END_MS 10000          /* from its last word to its end */
#define SLOWEST 50            /* times the length of the video that the whole work may take … */
#define LEAST_MS 600000       /* … and this much on top */
#define FILES_MAX 256         /* open descriptors */
#define FILE_MAX (4ull << 30) /* bytes of one file it writes */

struct child {
    const struct child_options *options;
    struct process *process;
    int progress_fd, words_fd; /* our ends; -1 once closed */

    struct progress_parser parser;
    uint64_t started_ms, moved_ms; /* when it last got on */
    struct progress_block last;
    unsigned logged_percent;
    bool failed, permanent; /* it said so */
    char message[PROGRESS_MESSAGE_SIZE];

    size_t words, line_len;
    char line[WORDS_LINE + 1]; /* the one being collected */
    char last_line[WORDS_LINE + 1];
};

/* --- What it prints as progress --- */

static int on_block(void *ctx, const struct progress_block *block, struct err *e)
{
    struct child *c = ctx;
    unsigned percent = (unsigned)progress_percent(block);

    (void)e;
    if (block->frame > c->last.frame || block->out_time_us > c->last.out_time_us)
        c->moved_ms = clock_mono_ms();
    c->last = *block;
    control_progress(c->options->control, block);
    if (percent / LOG_PERCENT > c->logged_percent / LOG_PERCENT) {
        c->logged_percent = percent;
        log_info(c->options->ids, "transcoding", "percent", num_u64(percent).s, "fps", num_double(block->fps, 1).s,
                 "speed", num_double(block->speed, 2).s, "eta_seconds", num_double(progress_eta_s(block), 0).s);
    }
    return 0;
}

static int on_file(void *ctx, const char *path, struct err *e)
{
    struct child *c = ctx;

    c->moved_ms = clock_mono_ms();
    return assets_add(c->options->assets, path, e);
}

static int on_failed(void *ctx, bool permanent, const char *message, struct err *e)
{
    struct child *c = ctx;

    (void)e;
    c->failed = true;
    c->permanent = permanent;
    str_copy(c->message, sizeof c->message, message);
    return 0;
}

static const struct progress_calls calls = {on_block, on_file, on_failed};

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* Takes what is there. What the child says wrong is a defect of ours or an attack, in no case the uploader's fault. */
static int read_progress(struct child *c, struct err *e)
{
    char data[PIPE_BYTES];

    for (;;) {
        ssize_t n = read(c->progress_fd, data, sizeof data);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return 0;
        if (n <= 0) {
            close_fd(&c->progress_fd);
            return 0;
        }
        if (progress_parser_feed(&c->parser, data, (size_t)n, e) != 0) {
            e->kind = ERR_TEMPORARY;
            return -ERR_TEMPORARY;
        }
        if (!assets_room(c->options->assets))
            return 0;
    }
}

/* --- What it says to the operator --- */

static void end_line(struct child *c)
{
    c->line[c->line_len] = '\0';
    c->words += LINE_COST;
    if (c->line_len > 0) {
        utf8_repair(c->line);
        log_debug(c->options->ids, "transcoder says", "line", c->line);
        str_copy(c->last_line, sizeof c->last_line, c->line);
    }
    c->line_len = 0;
}

static void take_words(struct child *c, const char *data, size_t len)
{
    for (size_t i = 0; i < len && c->words < WORDS_MAX; i++, c->words++) {
        if (data[i] == '\n' || c->line_len == WORDS_LINE)
            end_line(c);
        if (data[i] != '\n' && data[i] != '\0')
            c->line[c->line_len++] = data[i];
    }
}

static void read_words(struct child *c)
{
    char data[PIPE_BYTES];

    for (;;) {
        ssize_t n = read(c->words_fd, data, sizeof data);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            end_line(c);
            close_fd(&c->words_fd);
            return;
        }
        take_words(c, data, (size_t)n);
    }
}

/* --- Starting --- */

static int open_pipes(int progress[2], int words[2], struct err *e)
{
    if (pipe2(progress, O_CLOEXEC) != 0)
        return err_set(e, ERR_TEMPORARY, "no pipe for the transcoder");
    if (pipe2(words, O_CLOEXEC) != 0) {
        close(progress[0]);
        close(progress[1]);
        return err_set(e, ERR_TEMPORARY, "no pipe for the transcoder");
    }
    (void)fcntl(progress[0], F_SETPIPE_SZ, PIPE_BYTES);
    (void)fcntl(progress[0], F_SETFL, O_NONBLOCK); /* our ends only: the child's write ends wait */
    (void)fcntl(words[0], F_SETFL, O_NONBLOCK);
    return 0;
}

static int start(struct child *c, struct err *e)
{
    static const char *const sandbox[] = {
        [CONFIG_SANDBOX_AUTO] = "auto", [CONFIG_SANDBOX_REQUIRED] = "required", [CONFIG_SANDBOX_OFF] = "off"};
    const struct child_options *o = c->options;
    const struct settings *s = o->settings;
    struct num_text source_fd = num_u64(WIRE_SOURCE_FD), segment_s = num_u64(s->segment_seconds);
    struct num_text max_duration_s = num_u64(s->max_duration_s), max_pixels = num_u64(s->max_pixels);
    const char *const argv[] = {o->program,
                                "--source-fd",
                                source_fd.s,
                                "--output",
                                o->dir,
                                "--ladder",
                                s->ladder_text,
                                "--segment-seconds",
                                segment_s.s,
                                "--preset",
                                s->x264_preset,
                                "--max-duration-s",
                                max_duration_s.s,
                                "--max-pixels",
                                max_pixels.s,
                                "--sandbox",
                                sandbox[s->sandbox],
                                NULL};
    static const struct process_limit limits[] = {
        {RLIMIT_CORE, 0}, {RLIMIT_NOFILE, FILES_MAX}, {RLIMIT_FSIZE, FILE_MAX}};
    int progress[2], words[2];

    int r = open_pipes(progress, words, e);
    if (r != 0)
        return r;
    const struct process_fd fds[] = {
        {progress[1], STDOUT_FILENO}, {words[1], STDERR_FILENO}, {o->source_fd, WIRE_SOURCE_FD}};
    r = process_spawn(&(struct process_options){.argv = argv,
                                                .fds = fds,
                                                .fd_count = sizeof fds / sizeof *fds,
                                                .limits = limits,
                                                .limit_count = sizeof limits / sizeof *limits},
                      &c->process, e);
    close(progress[1]);
    close(words[1]);
    c->progress_fd = progress[0];
    c->words_fd = words[0];
    return r;
}

/* --- Watching --- */

enum { POLL_WAKE, POLL_END, POLL_PROGRESS, POLL_WORDS, POLLS };

/* How long the whole work may take, however well it seems to get on. Before the length is known: as for the longest. */
static uint64_t patience_ms(const struct child *c)
{
    uint64_t longest_ms = c->options->settings->max_duration_s * 1000;
    uint64_t duration_ms = c->last.duration_us > 0 ? (uint64_t)c->last.duration_us / 1000 : longest_ms;

    return LEAST_MS + SLOWEST * (duration_ms < longest_ms ? duration_ms : longest_ms);
}

/* 0 while the child may go on. */
static int look(struct child *c, bool room, struct err *e)
{
    const struct child_options *o = c->options;
    uint64_t now = clock_mono_ms();

    int r = control_check(o->control, e);
    if (r == 0)
        r = assets_check(o->assets, e);
    if (r != 0)
        return r;
    if (!room) /* it is us who hold it up; the uploads have a patience of their own */
        c->moved_ms = now;
    if (now - c->started_ms >= patience_ms(c))
        return err_set(e, ERR_TEMPORARY, "the transcoder took longer than %llu s",
                       (unsigned long long)(patience_ms(c) / 1000));
    if (now - c->moved_ms >= o->settings->transcode_stall_ms)
        return err_set(e, ERR_TEMPORARY, "the transcoder made no progress for %llu s",
                       (unsigned long long)(o->settings->transcode_stall_ms / 1000));
    return 0;
}

/* Returns 0 when the child has ended by itself, or has closed its progress, which it does in no other case. */
static int watch(struct child *c, struct err *e)
{
    const struct child_options *o = c->options;

    for (;;) {
        bool room = assets_room(o->assets);
        int r = look(c, room, e);
        if (r != 0)
            return r;
        uint64_t left_ms = c->moved_ms + o->settings->transcode_stall_ms - clock_mono_ms();
        struct pollfd fds[POLLS] = {
            [POLL_WAKE] = {.fd = o->control->wake_fd, .events = POLLIN},
            [POLL_END] = {.fd = process_fd(c->process), .events = POLLIN},
            [POLL_PROGRESS] = {.fd = room ? c->progress_fd : -1, .events = POLLIN},
            [POLL_WORDS] = {.fd = c->words_fd, .events = POLLIN},
        };
        (void)poll(fds, POLLS, left_ms < 1000 ? (int)left_ms + 1 : 1000);
        control_calm(o->control);
        if (fds[POLL_WORDS].revents != 0)
            read_words(c);
        if (fds[POLL_PROGRESS].revents != 0 && (r = read_progress(c, e)) != 0)
            return r;
        if (fds[POLL_END].revents != 0 || c->progress_fd < 0)
            return 0;
    }
}

/* --- Ending --- */

/* The child's own sentence if it left one, else how it died and its last words. */
static int judge(struct child *c, const struct process_end *end, bool *ret_permanent, struct err *e)
{
    char text[PROCESS_END_SIZE];

    if (!end->signalled && end->code == 0)
        return assets_result(c->options->assets) != NULL
                   ? 0
                   : err_set(e, ERR_TEMPORARY, "the transcoder ended without a result");
    if (!end->signalled && end->code == WIRE_EXIT_PERMANENT) {
        *ret_permanent = true;
        return err_set(e, ERR_INVALID, "%s", c->failed ? c->message : "This file can't be converted.");
    }
    process_end_text(end, text);
    if (c->failed)
        return err_set(e, ERR_TEMPORARY, "transcoder: %s (%s)", c->message, text);
    return err_set(e, ERR_TEMPORARY, "transcoder: %s%s%s", text,
                   c->last_line[0] == '\0' ? "" : ", last words: ", c->last_line);
}

static int finish(struct child *c, bool *ret_permanent, struct err *e)
{
    struct process_end end;
    int r = process_wait(c->process, END_MS, &end, e);
    if (r != 0)
        return err_set(e, ERR_TEMPORARY, "the transcoder went silent without ending");

    /* The whole group is dead, so both pipes end; something that left the group is not waited for. */
    while (r == 0 && c->progress_fd >= 0 && poll(&(struct pollfd){c->progress_fd, POLLIN, 0}, 1, 100) > 0)
        r = read_progress(c, e);
    if (c->words_fd >= 0)
        read_words(c);
    return r == 0 ? judge(c, &end, ret_permanent, e) : r;
}

int child_run(const struct child_options *options, bool *ret_permanent, struct err *e)
{
    struct child c = {.options = options, .progress_fd = -1, .words_fd = -1};

    c.started_ms = c.moved_ms = clock_mono_ms();
    progress_parser_init(&c.parser, &calls, &c);
    int r = start(&c, e);
    if (r == 0)
        r = watch(&c, e);
    if (r == 0)
        r = finish(&c, ret_permanent, e);
    process_free(c.process);
    close_fd(&c.progress_fd);
    close_fd(&c.words_fd);
    if (r != 0 && !*ret_permanent && c.last_line[0] != '\0' && control_stopped(options->control) == STOP_NONE)
        log_warn(options->ids, "transcoder failed", "last_words", c.last_line);
    return r;
}
