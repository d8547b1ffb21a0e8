#include "ladder.h"

#include "base/mem.h"
#include "base/str.h"

#include <string.h>

#define MAX_SIDE 65534

static const struct ladder_row {
    unsigned height, max_kbps, buffer_kbit, audio_kbps;
} rows[LADDER_MAX] = {
    {4320, 30000, 42000, 192}, {2160, 15000, 21000, 192}, {1080, 5350, 7500, 192}, {720, 3000, 4200, 128},
    {480, 1500, 2100, 128},    {360, 856, 1200, 96},      {240, 430, 600, 64},
};

int ladder_parse(const char *text, struct ladder_wish *ret, struct err *e)
{
    struct ladder_wish wish = {0};
    bool wanted[LADDER_MAX] = {false};

    for (const char *at = text;; at++) {
        size_t len = strcspn(at, ","), row = 0;
        uint64_t height;
        if (!str_to_u64_n(at, len, &height))
            return err_set(e, ERR_INVALID, "ladder \"%s\": heights separated by commas are wanted", text);
        while (row < LADDER_MAX && rows[row].height != height)
            row++;
        if (row == LADDER_MAX)
            return err_set(e, ERR_INVALID, "ladder \"%s\": heights are 4320, 2160, 1080, 720, 480, 360 and 240", text);
        if (wanted[row])
            return err_set(e, ERR_INVALID, "ladder \"%s\": %u stands there twice", text, rows[row].height);
        wanted[row] = true;
        at += len;
        if (*at == '\0')
            break;
    }
    for (size_t row = 0; row < LADDER_MAX; row++)
        if (wanted[row])
            wish.heights[wish.count++] = rows[row].height;
    *ret = wish;
    return 0;
}

static unsigned even(uint64_t n)
{
    return n < 2 ? 2 : (unsigned)(n & ~UINT64_C(1));
}

/* a × b / c to the nearest even number */
static unsigned even_ratio(uint64_t a, uint64_t b, uint64_t c)
{
    return even((a * b + c) / c);
}

/* A rung whose shorter side is `side`; its rates are those of the lowest row that is not below it. */
static struct rung make_rung(unsigned side, unsigned width, unsigned height)
{
    const struct ladder_row *row = &rows[LADDER_MAX - 1];
    struct rung rung;

    while (row > rows && row->height < side)
        row--;
    rung = (struct rung){.max_kbps = row->max_kbps, .buffer_kbit = row->buffer_kbit, .audio_kbps = row->audio_kbps};
    str_format(rung.name, sizeof rung.name, "%up", side);
    rung.width = width < height ? side : even_ratio(side, width, height);
    rung.height = width < height ? even_ratio(side, height, width) : side;
    return rung;
}

void ladder_plan(const struct ladder_wish *wish, unsigned width, unsigned height, struct ladder *ret)
{
    unsigned shorter = width < height ? width : height;
    struct ladder ladder = {0};

    for (size_t i = 0; i < wish->count; i++)
        if (wish->heights[i] <= shorter)
            ladder.rungs[ladder.count++] = make_rung(wish->heights[i], width, height);
    if (ladder.count == 0) {
        struct rung own = make_rung(even(shorter), width, height);
        own.width = even(width);
        own.height = even(height);
        ladder.rungs[ladder.count++] = own;
    }
    *ret = ladder;
}

int picture_shown(unsigned coded_width, unsigned coded_height, int sar_num, int sar_den, bool quarter_turn,
                  struct picture *ret, struct err *e)
{
    uint64_t width = coded_width, height = coded_height;

    if (sar_num > 0 && sar_den > 0 && sar_num > sar_den)
        width = (width * (uint64_t)sar_num + (uint64_t)sar_den / 2) / (uint64_t)sar_den;
    else if (sar_num > 0 && sar_den > 0)
        height = (height * (uint64_t)sar_den + (uint64_t)sar_num / 2) / (uint64_t)sar_num;
    if (width == 0 || height == 0 || width > MAX_SIDE || height > MAX_SIDE)
        return err_set(e, ERR_INVALID, "The video's picture size or pixel shape cannot be shown.");
    *ret = quarter_turn ? (struct picture){(unsigned)height, (unsigned)width}
                        : (struct picture){(unsigned)width, (unsigned)height};
    return 0;
}

struct picture picture_fit(struct picture shown, struct picture box)
{
    struct picture fit = {box.width, even_ratio(box.width, shown.height, shown.width)};

    if (fit.height > box.height) {
        fit.height = box.height;
        fit.width = even_ratio(box.height, shown.width, shown.height);
    }
    if (fit.width + 2 >= box.width && fit.height + 2 >= box.height)
        return box;
    return fit;
}
