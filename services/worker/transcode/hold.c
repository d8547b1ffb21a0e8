#include "hold.h"

#include "timing.h"

#include "base/mem.h"

#include <libavutil/mathematics.h>

void hold_init(struct hold *h, unsigned segment_s, int rate)
{
    *h = (struct hold){.segment = (int64_t)segment_s * TICKS_PER_S, .rate = rate, .seen_until = -1};
}

void hold_release(struct hold *h)
{
    for (; h->count > 0; h->count--) {
        av_frame_free(&h->frames[h->first]);
        h->first = (h->first + 1) % HOLD_MAX;
    }
    mem_free(h->cuts);
    h->cuts = NULL;
}

int hold_picture(struct hold *h, int64_t pts, bool segment, struct err *e)
{
    h->seen_until = pts;
    if (!segment)
        return 0;
    if (h->cut_count == h->cut_room) {
        size_t room = h->cut_room == 0 ? 64 : h->cut_room * 2;
        int64_t *more = mem_resize(h->cuts, room, sizeof *more);
        if (more == NULL)
            return err_set(e, ERR_TEMPORARY, "no memory");
        h->cuts = more;
        h->cut_room = room;
    }
    h->cuts[h->cut_count++] = pts;
    return 0;
}

void hold_put(struct hold *h, AVFrame *frame)
{
    h->frames[(h->first + h->count++) % HOLD_MAX] = frame;
}

AVFrame *hold_take(struct hold *h, bool all)
{
    if (h->count == 0)
        return NULL;
    AVFrame *frame = h->frames[h->first];
    int64_t pts = av_rescale(frame->pts, TICKS_PER_S, h->rate);
    if (!all && pts > h->seen_until && h->count < HOLD_MAX)
        return NULL;
    h->first = (h->first + 1) % HOLD_MAX;
    h->count--;

    int64_t cut = h->next_cut < h->cut_count ? h->cuts[h->next_cut] : (int64_t)h->next_cut * h->segment;
    bool known = h->next_cut < h->cut_count || (!all && pts > h->seen_until);
    frame->pict_type = AV_PICTURE_TYPE_NONE;
    if (known && pts >= cut) {
        frame->pict_type = AV_PICTURE_TYPE_I;
        h->next_cut++;
    }
    return frame;
}
