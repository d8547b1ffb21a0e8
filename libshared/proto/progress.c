#include "progress.h"

#include "base/mem.h"
#include "base/str.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#define NUMBER_MAX 1e9 /* no rate is that high; keeps texts short */

void progress_parser_init(struct progress_parser *p, const struct progress_calls *calls, void *ctx)
{
    *p = (struct progress_parser){.calls = calls, .ctx = ctx};
}

static int bad_word(const char *key, const char *value, struct err *e)
{
    char shown[64];

    str_copy(shown, sizeof shown, value);
    utf8_repair(shown);
    return err_set(e, ERR_INVALID, "progress: %s=%s", key, shown);
}

/* "12", "12.5": what printf("%.2f") writes for a finite number, not below zero, whatever the locale. */
static bool parse_decimal(const char *s, double *ret)
{
    size_t whole_len = strcspn(s, ".");
    uint64_t whole, part = 0;
    double scale = 1;

    if (!str_to_u64_n(s, whole_len, &whole))
        return false;
    if (s[whole_len] == '.') {
        const char *digits = s + whole_len + 1;
        size_t len = strlen(digits);
        if (len > 15 || !str_to_u64_n(digits, len, &part))
            return false;
        scale = pow(10, (double)len);
    }
    double x = (double)whole + (double)part / scale;
    *ret = x < NUMBER_MAX ? x : NUMBER_MAX;
    return true;
}

/* --- What the lines mean --- */

static int take_block_end(struct progress_parser *p, const char *value, struct err *e)
{
    bool end = strcmp(value, "end") == 0;

    if (!end && strcmp(value, "continue") != 0)
        return bad_word("progress", value, e);
    p->block.end = end;
    return p->calls->block == NULL ? 0 : p->calls->block(p->ctx, &p->block, e);
}

static int take_file(struct progress_parser *p, const char *value, struct err *e)
{
    return p->calls->file == NULL ? 0 : p->calls->file(p->ctx, value, e);
}

static int take_error(struct progress_parser *p, const char *value, struct err *e)
{
    bool permanent = strcmp(value, "permanent") == 0;

    if (!permanent && strcmp(value, "temporary") != 0)
        return bad_word("error", value, e);
    p->failing = true;
    p->permanent = permanent;
    return 0;
}

static int take_message(struct progress_parser *p, const char *value, struct err *e)
{
    char message[PROGRESS_MESSAGE_SIZE];

    if (!p->failing)
        return err_set(e, ERR_INVALID, "progress: a message without an error");
    p->failing = false;
    str_copy(message, sizeof message, value);
    utf8_repair(message);
    return p->calls->failed == NULL ? 0 : p->calls->failed(p->ctx, p->permanent, message, e);
}

static const struct {
    const char *key;
    int (*take)(struct progress_parser *p, const char *value, struct err *e); /* NULL: a number of the block */
    size_t number;                                                            /* where it goes */
    bool decimal;
} keys[] = {
    {"out_time_us", NULL, offsetof(struct progress_block, out_time_us), false},
    {"duration_us", NULL, offsetof(struct progress_block, duration_us), false},
    {"frame", NULL, offsetof(struct progress_block, frame), false},
    {"fps", NULL, offsetof(struct progress_block, fps), true},
    {"speed", NULL, offsetof(struct progress_block, speed), true},
    {"progress", take_block_end, 0, false},
    {"file", take_file, 0, false},
    {"error", take_error, 0, false},
    {"message", take_message, 0, false},
};

static void take_number(struct progress_block *block, size_t at, bool is_decimal, const char *value)
{
    double decimal = 0;
    uint64_t n = 0;

    if (is_decimal) {
        (void)parse_decimal(value, &decimal);
        memcpy((char *)block + at, &decimal, sizeof decimal);
    } else {
        (void)str_to_u64(value, &n);
        memcpy((char *)block + at, &n, sizeof n);
    }
}

static int take_line(struct progress_parser *p, struct err *e)
{
    char *value = strchr(p->line, '=');

    if (value == NULL)
        return err_set(e, ERR_INVALID, "progress: a line without \"=\"");
    *value++ = '\0';
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
        if (strcmp(p->line, keys[i].key) != 0)
            continue;
        if (keys[i].take != NULL)
            return keys[i].take(p, value, e);
        take_number(&p->block, keys[i].number, keys[i].decimal, value);
        return 0;
    }
    return 0;
}

int progress_parser_feed(struct progress_parser *p, const void *data, size_t len, struct err *e)
{
    const char *bytes = data;

    for (size_t i = 0; i < len; i++) {
        if (bytes[i] == '\0')
            return err_set(e, ERR_INVALID, "progress: a NUL byte");
        if (bytes[i] != '\n') {
            if (p->len == PROGRESS_LINE_MAX)
                return err_set(e, ERR_INVALID, "progress: a line of more than %d bytes", PROGRESS_LINE_MAX);
            p->line[p->len++] = bytes[i];
            continue;
        }
        p->line[p->len] = '\0';
        p->len = 0;
        int r = take_line(p, e);
        if (r != 0)
            return r;
    }
    return 0;
}

double progress_percent(const struct progress_block *block)
{
    if (block->end)
        return 100;
    if (block->duration_us == 0)
        return 0;
    double percent = 100.0 * (double)block->out_time_us / (double)block->duration_us;
    return percent < 100 ? percent : 100;
}

double progress_eta_s(const struct progress_block *block)
{
    if (block->end)
        return 0;
    if (block->duration_us == 0 || !(block->speed > 0))
        return -1;
    if (block->out_time_us >= block->duration_us)
        return 0;
    double eta_s = (double)(block->duration_us - block->out_time_us) / 1e6 / block->speed;
    return eta_s < NUMBER_MAX ? eta_s : -1;
}

void progress_json(const struct progress_block *block, char out[PROGRESS_JSON_SIZE])
{
    double eta_s = progress_eta_s(block);

    str_format(out, PROGRESS_JSON_SIZE, "{\"percent\":%s,\"fps\":%s,\"speed\":%s,\"eta_seconds\":%s}",
               num_double(progress_percent(block), 1).s, num_double(block->fps, 1).s, num_double(block->speed, 2).s,
               eta_s < 0 ? "null" : num_double(eta_s, 1).s);
}
