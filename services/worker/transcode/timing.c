#include "timing.h"

#define GRID (TICKS_PER_S / 2)
#define IDR_EVERY (2 * TICKS_PER_S)
#define RATE_IMPLAUSIBLE 1000

static bool plausible(struct frame_rate r)
{
    return r.num > 0 && r.den > 0 && (double)r.num / r.den <= RATE_IMPLAUSIBLE;
}

struct frame_rate frame_rate_cap(struct frame_rate source, struct frame_rate fallback)
{
    if (!plausible(source))
        return fallback;
    int64_t limit = (int64_t)FRAME_RATE_MAX * source.den;
    int64_t every = (source.num + limit - 1) / limit;
    return (struct frame_rate){source.num, (int)(source.den * every)};
}

void pacer_init(struct pacer *p, struct frame_rate source)
{
    const struct frame_rate limit = {FRAME_RATE_MAX, 1};
    bool faster = plausible(source) && source.num > (int64_t)FRAME_RATE_MAX * source.den;
    struct frame_rate rate = faster ? frame_rate_cap(source, limit) : limit;

    int64_t interval = (int64_t)TICKS_PER_S * rate.den / rate.num;
    /* timestamps are often rounded to milliseconds, so a frame may come a little early */
    *p = (struct pacer){.shortest = interval - interval / 10, .last = -1};
}

static void shown(struct pacer *p, int64_t pts)
{
    int64_t gap = pts - p->last;

    if (p->last >= 0 && (p->closest == 0 || gap < p->closest))
        p->closest = gap;
    p->last = pts;
}

bool pacer_repeat(struct pacer *p, int64_t pts, int64_t *ret)
{
    int64_t again;

    if (p->last < 0) {
        if (pts <= 0)
            return false;
        again = 0;
    } else {
        if (pts - p->last <= GRID)
            return false;
        again = (p->last / GRID + 1) * GRID;
        if (again - p->last < p->shortest)
            again += GRID;
        if (again >= pts)
            return false;
    }
    shown(p, again);
    *ret = again;
    return true;
}

bool pacer_keep(struct pacer *p, int64_t pts)
{
    if (pts < 0 || (p->last >= 0 && pts - p->last < p->shortest))
        return false;
    shown(p, pts);
    return true;
}

unsigned pacer_rate_milli(const struct pacer *p, struct frame_rate nominal)
{
    double said = (double)nominal.num / nominal.den;
    double measured = p->closest == 0 ? said : (double)TICKS_PER_S / (double)p->closest;

    if (measured > FRAME_RATE_MAX)
        measured = FRAME_RATE_MAX;
    bool near = measured < said * 1.3 && measured > said / 1.3;
    return (unsigned)((near ? said : measured) * 1000 + 0.5);
}

void cutter_init(struct cutter *c, unsigned segment_s)
{
    *c = (struct cutter){.segment = (int64_t)segment_s * TICKS_PER_S};
}

enum cut cutter_next(struct cutter *c, int64_t pts)
{
    if (pts >= c->next_segment) {
        int64_t start = pts / c->segment * c->segment;
        c->next_segment = start + c->segment;
        c->next_idr = start + IDR_EVERY;
        return CUT_SEGMENT;
    }
    if (pts >= c->next_idr) {
        c->next_idr += ((pts - c->next_idr) / IDR_EVERY + 1) * IDR_EVERY;
        return CUT_IDR;
    }
    return CUT_NONE;
}
