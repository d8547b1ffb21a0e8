#include "log.h"

#include "clock.h"
#include "mem.h"
#include "str.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define DIGITS "0123456789"

static const char *const level_names[] = {"debug", "info", "warn", "error"};

static struct {
    const char *service;
    enum log_level level;
    enum log_format format;
} settings = {.level = LOG_INFO, .format = LOG_TEXT};

/* One line in the making. What no longer fits is left out; TAIL bytes are kept free for closing what was begun. */
#define LINE_SIZE 8192
#define TAIL_SIZE (sizeof "...\"}\n")

struct line {
    char data[LINE_SIZE];
    size_t len;
    bool full;
};

void log_init(const char *service, enum log_level level, enum log_format format)
{
    settings.service = service;
    settings.level = level;
    settings.format = format;
}

bool log_enabled(enum log_level level)
{
    return level >= settings.level;
}

/* All of the text or nothing: an escape or a character is never cut. */
static void put(struct line *l, const char *text, size_t len)
{
    if (l->full || l->len + len > LINE_SIZE - TAIL_SIZE) {
        l->full = true;
        return;
    }
    memcpy(l->data + l->len, text, len);
    l->len += len;
}

static void put_text(struct line *l, const char *text)
{
    put(l, text, strlen(text));
}

/* Into the room that `put` keeps free. */
static void put_tail(struct line *l, const char *text)
{
    size_t len = strlen(text);

    memcpy(l->data + l->len, text, len);
    l->len += len;
}

/* What could move a terminal's cursor or turn the direction of its text is not printable either. */
static bool is_printable(uint32_t c)
{
    return c >= 0x20 && !(c >= 0x7F && c <= 0x9F) && !(c >= 0x2028 && c <= 0x202E) && !(c >= 0x2066 && c <= 0x2069);
}

/* Characters as they are, others as \" \\ \n \uXXXX; a byte that is no UTF-8 as \xNN (in JSON \\xNN). */
static void put_escaped(struct line *l, const char *s, bool quoted)
{
    char escape[16];
    uint32_t c;
    size_t n;

    for (size_t at = 0, len = strlen(s); at < len && !l->full; at += n) {
        n = utf8_decode(s + at, len - at, &c);
        if (n == 0) {
            str_format(escape, sizeof escape, settings.format == LOG_JSON ? "\\\\x%02x" : "\\x%02x",
                       (unsigned)(unsigned char)s[at]);
            n = 1;
        } else if (quoted && (c == '"' || c == '\\')) {
            str_format(escape, sizeof escape, "\\%c", (int)c);
        } else if (c == '\n') {
            str_copy(escape, sizeof escape, "\\n");
        } else if (!is_printable(c)) {
            str_format(escape, sizeof escape, "\\u%04x", (unsigned)c);
        } else {
            put(l, s + at, n);
            continue;
        }
        put_text(l, escape);
    }
}

static void put_quoted(struct line *l, const char *s)
{
    put_text(l, "\"");
    if (l->full)
        return;
    put_escaped(l, s, true);
    put_tail(l, l->full ? "...\"" : "\"");
}

/* In text a value is quoted only when it could be misread otherwise. */
static void put_bare(struct line *l, const char *s)
{
    if (*s == '\0' || strpbrk(s, " \"\\=") != NULL) {
        put_quoted(l, s);
        return;
    }
    put_escaped(l, s, false);
    if (l->full)
        put_tail(l, "...");
}

/* What is counted or measured. A table, since a value that only looks like a number, a name of digits, must not change its
 * type from line to line. */
static bool is_numeric_key(const char *key)
{
    static const char *const keys[] = {
        "attempt", "attempts", "bytes", "collected", "completed", "concurrency", "count",  "eta_seconds",  "extended",
        "failed",  "fps",      "from",  "indexed",   "ms",        "objects",     "offset", "percent",      "promoted",
        "removed", "seconds",  "speed", "stalls",    "status",    "reclaimed",   "to",     "source_bytes", "videos",
    };

    for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
        if (strcmp(key, keys[i]) == 0)
            return true;
    return false;
}

/* As JSON has it, with no more digits than every reader keeps. */
static bool is_number(const char *s)
{
    size_t whole = strspn(s, DIGITS), fraction = s[whole] == '.' ? strspn(s + whole + 1, DIGITS) : 0;

    return whole > 0 && (s[0] != '0' || whole == 1) && whole + fraction <= 15 &&
           s[whole + (fraction > 0 ? fraction + 1 : 0)] == '\0';
}

/* Of the pair that begins at `start`: a part of a number would be another one. */
static void put_number(struct line *l, size_t start, const char *value)
{
    put_text(l, value);
    if (l->full)
        l->len = start;
}

/* A pair whose key no longer fits is left out whole. */
static void put_pair(struct line *l, const char *key, const char *value)
{
    size_t start = l->len;
    bool json = settings.format == LOG_JSON;

    if (l->full)
        return;
    put_text(l, json ? (start == 1 ? "\"" : ",\"") : " ");
    put_text(l, key);
    put_text(l, json ? "\":\"" : "=\"");
    if (l->full) {
        l->len = start;
        return;
    }
    l->len--; /* the quote was there to be sure that it fits */
    if (json && value != NULL && is_numeric_key(key) && is_number(value))
        put_number(l, start, value);
    else if (json)
        put_quoted(l, value == NULL ? "-" : value);
    else
        put_bare(l, value == NULL ? "-" : value);
}

static void put_optional(struct line *l, const char *key, const char *value)
{
    if (value != NULL)
        put_pair(l, key, value);
}

static void begin_text(struct line *l, const char *time, enum log_level level, const char *message)
{
    char head[64];

    str_format(head, sizeof head, "%s %-5s ", time, level_names[level]);
    put_text(l, head);
    put_escaped(l, message, false);
    if (l->full)
        put_tail(l, "...");
    put_optional(l, "service", settings.service);
}

static void begin_json(struct line *l, const char *time, enum log_level level, const char *message)
{
    put_text(l, "{");
    put_pair(l, "time", time);
    put_pair(l, "level", level_names[level]);
    put_optional(l, "service", settings.service);
    put_pair(l, "message", message);
}

static void write_line(const struct line *l)
{
    size_t done = 0;

    while (done < l->len) {
        ssize_t n = write(STDERR_FILENO, l->data + done, l->len - done);
        if (n < 0 && errno != EINTR)
            return; /* nobody is left to tell */
        done += n < 0 ? 0 : (size_t)n;
    }
}

void log_write(enum log_level level, const struct log_ids *ids, const char *message, ...)
{
    int saved_errno = errno;
    char time[CLOCK_RFC3339_SIZE];
    struct line l;
    va_list args;

    if (!log_enabled(level))
        return;
    l.len = 0;
    l.full = false;
    clock_rfc3339(clock_wall_ms(), time);
    if (settings.format == LOG_JSON)
        begin_json(&l, time, level, message);
    else
        begin_text(&l, time, level, message);
    if (ids != NULL) {
        put_optional(&l, "request", ids->request);
        put_optional(&l, "video", ids->video);
        put_optional(&l, "job", ids->job);
    }

    va_start(args, message);
    for (const char *key = va_arg(args, const char *); key != NULL; key = va_arg(args, const char *))
        put_pair(&l, key, va_arg(args, const char *));
    va_end(args);

    put_tail(&l, settings.format == LOG_JSON ? "}\n" : "\n");
    write_line(&l);
    errno = saved_errno;
}
