/* The state of an upload: a cached one that is taken is written and read again as the same; and a log, one record a line,
 * whose fold is what its cache says. */

#include "base/buf.h"
#include "domain/upload_state.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool same_tails(const struct upload_tail *a, const struct upload_tail *b, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (a[i].seq != b[i].seq || a[i].head != b[i].head || a[i].size_bytes != b[i].size_bytes ||
            a[i].crc32c != b[i].crc32c || a[i].alone != b[i].alone)
            return false;
    return true;
}

static bool same(const struct upload_state *a, const struct upload_state *b)
{
    return a->seq == b->seq && a->kind == b->kind && a->fence == b->fence && a->length == b->length &&
           a->offset == b->offset && a->in_parts == b->in_parts && a->reserved == b->reserved &&
           a->part_count == b->part_count && strcmp(a->upload_id, b->upload_id) == 0 &&
           strcmp(a->video_id, b->video_id) == 0 && a->tail_count == b->tail_count && a->held_count == b->held_count &&
           same_tails(a->tails, b->tails, a->tail_count) && same_tails(a->held, b->held, a->held_count);
}

/* `must`: it has to be taken again. */
static void check_again(const struct upload_state *s, bool must)
{
    UPLOAD_STATE_AUTO struct upload_state again = {0};
    BUF_AUTO struct buf text;
    struct err e = {0};

    buf_init(&text, UPLOAD_STATE_MAX);
    if (upload_state_write(s, &text, &e) != 0)
        return; /* escaped, it may be longer than it was */
    int r = upload_state_parse(buf_cstr(&text), text.len, &again, &e);
    if ((r != 0 && must) || (r == 0 && !same(s, &again)))
        abort();
}

static void fold(const char *text, size_t len)
{
    UPLOAD_STATE_AUTO struct upload_state s = {.video_id = "v_01arz3ndektsv4rrffq69g5fav"};
    struct err e = {0};
    size_t head = 0;

    for (uint64_t seq = 1; len > 0; seq++, text += head, len -= head) {
        UPLOAD_RECORD_AUTO struct upload_record record = {0};
        if (upload_record_parse(text, len, &record, &head, &e) != 0)
            break;
        uint64_t before = s.offset;
        if (upload_state_add(&s, seq, &record, head, &e) == 0 && s.kind != UPLOAD_CLOSED &&
            (s.offset < before || s.in_parts > s.offset))
            abort();
    }
    if (s.seq > 0)
        check_again(&s, false); /* there may be a hole */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    UPLOAD_STATE_AUTO struct upload_state s = {0};
    struct err e = {0};

    if (upload_state_parse((const char *)data, size, &s, &e) == 0)
        check_again(&s, true);
    else if (s.seq != 0 || s.tails != NULL || s.facts.concat != NULL)
        abort(); /* results stay untouched on failure */
    fold((const char *)data, size);
    return 0;
}
