#include "upload_state.h"

#include "base/mem.h"
#include "base/str.h"
#include "domain/upload_json.h"

#include <inttypes.h>
#include <string.h>

void upload_state_release(struct upload_state *s)
{
    if (s == NULL)
        return;
    upload_facts_release(&s->facts);
    mem_free(s->tails);
    mem_free(s->held);
    mem_free(s->parts);
    *s = (struct upload_state){0};
}

bool upload_state_full(const struct upload_state *s)
{
    return s->length != UPLOAD_LENGTH_UNKNOWN && s->offset == s->length;
}

bool upload_state_whole(const struct upload_state *s)
{
    uint64_t missing = s->offset - s->in_parts;

    for (size_t i = 0; i < s->tail_count; i++)
        missing -= s->tails[i].size_bytes;
    return missing == 0;
}

/* --- What may follow --- */

static bool same_writer(const struct upload_state *s, const struct upload_record *r)
{
    return strcmp(s->writer, r->writer) == 0;
}

static bool parts_follow(const struct upload_state *s, const struct upload_record *r)
{
    uint64_t total = 0;

    if (r->kind == UPLOAD_COMPLETING) /* names all of them once more */
        return true;
    if (r->part_count > 0 && s->parts != NULL && r->parts[0].number <= s->parts[s->part_count - 1].number)
        return false;
    for (size_t i = 0; i < r->part_count; i++)
        total += r->parts[i].size_bytes;
    return total == r->in_parts - s->in_parts;
}

/* NULL, or how the record contradicts those before it. */
static const char *find_fault(const struct upload_state *s, uint64_t seq, const struct upload_record *r)
{
    if (seq <= s->seq)
        return "its number does not rise";
    if (r->kind == UPLOAD_CLOSED || s->kind == UPLOAD_CLOSED)
        return NULL;
    if ((s->seq == 0) != (r->kind == UPLOAD_CREATED))
        return "only the first, and every first, tells of the creation";
    if (s->seq > 0 && s->kind == UPLOAD_COMPLETING)
        return "it follows a completing one";
    if (r->offset < s->offset || r->in_parts < s->in_parts)
        return "its offset goes back";
    if (s->seq > 0 && s->length != UPLOAD_LENGTH_UNKNOWN && r->length != s->length)
        return "the length was declared before";
    if (r->takes_held && !same_writer(s, r))
        return "it takes what somebody else held";
    return parts_follow(s, r) ? NULL : "its parts don't follow those before";
}

/* --- Tails --- */

/* How many tails at the end of a list hold the bytes before *at, as far back as `first`; *at is then where they begin. */
static size_t reach_back(const struct upload_tail *tails, size_t count, uint64_t first, uint64_t *at)
{
    size_t used = 0;

    for (; used < count && *at - first >= tails[count - 1 - used].size_bytes; used++)
        *at -= tails[count - 1 - used].size_bytes;
    return used;
}

/* Appends the last `added` of `from`. */
static void add_last(struct upload_tail *to, size_t *count, size_t added, const struct upload_tail *from,
                     size_t from_count)
{
    if (added > 0)
        memcpy(to + *count, from + (from_count - added), added * sizeof *to);
    *count += added;
}

/* How many of the recorded tails end at `at` or before; 0 when none ends just there. A record may repeat those before it as
 * one larger tail. */
static size_t tails_until(const struct upload_state *s, uint64_t at)
{
    size_t count = s->tail_count;
    uint64_t end = s->offset;

    while (count > 0 && end > at)
        end -= s->tails[--count].size_bytes;
    return end == at ? count : 0;
}

/* The tails from in_parts to the offset after a record, whose own tail is `own`: those before, those that were held and now
 * count, its own. Found from the end, since what lies before in_parts is in parts now. Where a record is missing there is a
 * gap; a part that is still to come holds what is before it. */
static bool place_tails(const struct upload_state *s, const struct upload_record *r, const struct upload_tail *own,
                        struct upload_tail **ret, size_t *ret_count)
{
    bool counts = r->tail_bytes > 0 && !r->held;
    size_t held = r->takes_held ? s->held_count : 0, from_held, kept = 0, before = 0, count = 0;
    uint64_t at = r->offset - (counts ? r->tail_bytes : 0);

    from_held = reach_back(s->held, held, r->in_parts, &at);
    if (from_held == held)
        kept = tails_until(s, at);
    before = reach_back(s->tails, kept, r->in_parts, &at);
    if (before + from_held + counts > 0) {
        struct upload_tail *tails = mem_calloc(before + from_held + counts, sizeof *tails);
        if (tails == NULL)
            return false;
        add_last(tails, &count, before, s->tails, kept);
        add_last(tails, &count, from_held, s->held, held);
        add_last(tails, &count, counts, own, counts);
        *ret = tails;
    }
    *ret_count = count;
    return true;
}

/* Those that are still held after the record. */
static bool place_held(const struct upload_state *s, const struct upload_record *r, const struct upload_tail *own,
                       struct upload_tail **ret, size_t *ret_count)
{
    size_t before = r->held && same_writer(s, r) ? s->held_count : 0, added = r->held && r->tail_bytes > 0, count = 0;

    if (before + added == 0)
        return true;
    struct upload_tail *tails = mem_calloc(before + added, sizeof *tails);
    if (tails == NULL)
        return false;
    add_last(tails, &count, before, s->held, before);
    add_last(tails, &count, added, own, added);
    *ret = tails;
    *ret_count = count;
    return true;
}

/* --- Adding --- */

/* Makes room for the parts of a record behind those that are there. */
static bool reserve_parts(struct upload_state *s, const struct upload_record *r)
{
    if (r->kind == UPLOAD_COMPLETING || r->part_count == 0 || (s->part_count > 0 && !s->parts_known))
        return true;
    struct store_part *grown = mem_resize(s->parts, s->part_count + r->part_count, sizeof *grown);
    if (grown == NULL)
        return false;
    s->parts = grown;
    return true;
}

static void take_parts(struct upload_state *s, struct upload_record *r)
{
    if (r->kind == UPLOAD_COMPLETING) {
        mem_free(s->parts);
        s->parts = r->parts;
        s->part_count = r->part_count;
        s->parts_known = true;
        r->parts = NULL;
        return;
    }
    if (s->part_count == 0)
        s->parts_known = true;
    if (s->parts_known && r->part_count > 0)
        memcpy(s->parts + s->part_count, r->parts, r->part_count * sizeof *s->parts);
    s->part_count += r->part_count;
}

static void replace(struct upload_tail **tails, size_t *count, struct upload_tail *by, size_t by_count)
{
    mem_free(*tails);
    *tails = by;
    *count = by_count;
}

/* Who has waited for all his parts gives the numbers back that he has not used; nobody else can. */
static bool gives_back(const struct upload_state *s, const struct upload_record *r)
{
    return r->kind == UPLOAD_BYTES && same_writer(s, r);
}

static void take_members(struct upload_state *s, const struct upload_record *r)
{
    if (r->reserved > s->reserved || gives_back(s, r))
        s->reserved = r->reserved;
    s->kind = r->kind;
    s->fence = r->fence > s->fence ? r->fence : s->fence;
    memcpy(s->writer, r->writer, sizeof s->writer);
    s->written_ms = r->written_ms;
    s->length = r->length;
    s->offset = r->offset;
    s->in_parts = r->in_parts;
    memcpy(s->upload_id, r->upload_id, sizeof s->upload_id);
}

/* What it says but that, and the multipart upload to abort, is of no use any more; an emptied one says nothing. */
static void take_end(struct upload_state *s, const struct upload_record *r)
{
    if (s->seq == 0)
        take_members(s, r);
    s->kind = UPLOAD_CLOSED;
    s->parts_known = s->parts_known || s->part_count == 0;
    s->written_ms = r->written_ms;
    if (r->upload_id[0] != '\0')
        memcpy(s->upload_id, r->upload_id, sizeof s->upload_id);
    replace(&s->held, &s->held_count, NULL, 0);
}

static int add(struct upload_state *s, uint64_t seq, struct upload_record *r, size_t head, struct err *e)
{
    const struct upload_tail own = {.seq = seq,
                                    .head = head,
                                    .size_bytes = r->tail_bytes,
                                    .crc32c = r->tail_crc32c,
                                    .alone = upload_record_is_tail(r)};
    struct upload_tail *tails = NULL, *held = NULL;
    size_t tail_count = 0, held_count = 0;

    if (!place_tails(s, r, &own, &tails, &tail_count) || !place_held(s, r, &own, &held, &held_count) ||
        !reserve_parts(s, r)) {
        mem_free(tails);
        mem_free(held);
        return err_set(e, ERR_TEMPORARY, "no memory for the state of an upload");
    }
    replace(&s->tails, &s->tail_count, tails, tail_count);
    replace(&s->held, &s->held_count, held, held_count);
    take_parts(s, r);
    take_members(s, r);
    if (r->kind == UPLOAD_CREATED) {
        s->facts = r->facts;
        r->facts = (struct upload_facts){0};
    }
    return 0;
}

int upload_state_add(struct upload_state *s, uint64_t seq, struct upload_record *record, size_t head, struct err *e)
{
    const char *fault = find_fault(s, seq, record);
    int r = 0;

    if (fault != NULL)
        return err_set(e, ERR_BUG, "record %" PRIu64 ": %s", seq, fault);
    if (s->seq > 0 && s->kind == UPLOAD_CLOSED)
        ; /* nothing counts any more */
    else if (record->kind == UPLOAD_CLOSED)
        take_end(s, record);
    else
        r = add(s, seq, record, head, e);
    if (r != 0)
        return r;
    s->seq = seq;
    upload_record_release(record);
    return 0;
}

/* --- JSON --- */

/* The members that a state shares with a record; what it owns is borrowed. */
static struct upload_record as_record(const struct upload_state *s)
{
    struct upload_record r = {.kind = s->kind,
                              .fence = s->fence,
                              .written_ms = s->written_ms,
                              .length = s->length,
                              .offset = s->offset,
                              .in_parts = s->in_parts,
                              .reserved = s->reserved};

    memcpy(r.writer, s->writer, sizeof r.writer);
    memcpy(r.upload_id, s->upload_id, sizeof r.upload_id);
    return r;
}

/* A tail is [seq, head, bytes, checksum, alone]. */
static bool append_tail(json_t *tails, const struct upload_tail *tail)
{
    json_t *entry = json_array();

    return json_array_append_new(tails, entry) == 0 &&
           json_array_append_new(entry, json_integer((json_int_t)tail->seq)) == 0 &&
           json_array_append_new(entry, json_integer((json_int_t)tail->head)) == 0 &&
           json_array_append_new(entry, json_integer((json_int_t)tail->size_bytes)) == 0 &&
           json_array_append_new(entry, json_integer((json_int_t)tail->crc32c)) == 0 &&
           json_array_append_new(entry, json_boolean(tail->alone)) == 0;
}

static bool put_tails(json_t *o, const char *name, const struct upload_tail *tails, size_t count)
{
    json_t *array = json_array();

    bool ok = json_object_set_new(o, name, array) == 0;
    for (size_t i = 0; ok && i < count; i++)
        ok = append_tail(array, &tails[i]);
    return ok;
}

int upload_state_write(const struct upload_state *s, struct buf *out, struct err *e)
{
    JSON_AUTO json_t *o = json_object();
    struct upload_record members = as_record(s);

    bool ok = json_put_text(o, "video", s->video_id) && json_put_u64(o, "seq", s->seq) &&
              upload_json_put_members(o, &members) && json_put_u64(o, "part_count", s->part_count) &&
              put_tails(o, "tails", s->tails, s->tail_count) &&
              (s->held_count == 0 || put_tails(o, "held", s->held, s->held_count)) &&
              (s->facts.part_size == 0 || upload_json_put_facts(o, &s->facts));
    if (!ok)
        return err_set(e, ERR_TEMPORARY, "no memory for the state of an upload");
    return json_write(o, out, e);
}

static bool read_tail(const json_t *entry, struct upload_tail *ret)
{
    json_int_t n[4];

    for (size_t i = 0; i < ARRAY_SIZE(n); i++) {
        const json_t *number = json_array_get(entry, i);
        n[i] = json_integer_value(number);
        if (!json_is_integer(number) || n[i] < (i < 3)) /* only a checksum may be 0 */
            return false;
    }
    if (json_array_size(entry) != 5 || !json_is_boolean(json_array_get(entry, 4)) || n[1] > UPLOAD_RECORD_MAX ||
        n[3] > UINT32_MAX)
        return false;
    *ret = (struct upload_tail){.seq = (uint64_t)n[0],
                                .head = (uint64_t)n[1],
                                .size_bytes = (uint64_t)n[2],
                                .crc32c = (uint32_t)n[3],
                                .alone = json_is_true(json_array_get(entry, 4))};
    return true;
}

/* `most`: bytes that they may hold. */
static int read_tails(const json_t *array, uint64_t last_seq, uint64_t most, struct upload_tail **ret,
                      size_t *ret_count, struct err *e)
{
    size_t count = json_array_size(array);
    uint64_t seq = 0;

    if (count == 0)
        return 0;
    struct upload_tail *tails = mem_calloc(count, sizeof *tails);
    if (tails == NULL)
        return err_set(e, ERR_TEMPORARY, "no memory for the state of an upload");
    *ret = tails;
    for (size_t i = 0; i < count; i++) {
        if (!read_tail(json_array_get(array, i), &tails[i]) || tails[i].seq <= seq || tails[i].seq > last_seq ||
            tails[i].size_bytes > most)
            return err_set(e, ERR_INVALID, "state of an upload: tail %zu is none", i);
        seq = tails[i].seq;
        most -= tails[i].size_bytes;
    }
    *ret_count = count;
    return 0;
}

static bool read_counts(const json_t *o, struct upload_state *s)
{
    uint64_t count;

    if (!json_get_text(o, "video", s->video_id, sizeof s->video_id) || !id_video_valid(s->video_id) ||
        !json_get_u64(o, "seq", &s->seq) || s->seq == 0 || !json_get_u64(o, "part_count", &count) ||
        count > STORE_PART_MAX || !json_is_array(json_object_get(o, "tails")))
        return false;
    s->part_count = count;
    s->parts_known = count == 0;
    return s->in_parts <= s->offset && s->offset <= s->length && (count == 0) == (s->in_parts == 0) &&
           (count == 0 || s->upload_id[0] != '\0');
}

static int read_state(const json_t *o, struct upload_state *s, struct err *e)
{
    struct upload_record members = {0};

    bool ok = upload_json_get_members(o, &members);
    take_members(s, &members);
    if (!ok || !read_counts(o, s))
        return err_set(e, ERR_INVALID, "state of an upload: a member is missing or wrong");
    int r = read_tails(json_object_get(o, "tails"), s->seq, s->offset - s->in_parts, &s->tails, &s->tail_count, e);
    if (r == 0)
        r = read_tails(json_object_get(o, "held"), s->seq, INT64_MAX, &s->held, &s->held_count, e);
    if (r == 0 && (s->kind != UPLOAD_CLOSED || json_object_get(o, "facts") != NULL))
        r = upload_json_get_facts(o, &s->facts, e);
    if (r == 0 && s->kind < UPLOAD_COMPLETING && !upload_state_whole(s))
        return err_set(e, ERR_INVALID, "state of an upload: nothing holds some of its bytes");
    return r;
}

int upload_state_parse(const char *text, size_t len, struct upload_state *ret, struct err *e)
{
    JSON_AUTO json_t *o = NULL;
    UPLOAD_STATE_AUTO struct upload_state s = {0};

    int r = json_parse(text, len, UPLOAD_STATE_MAX, "state of an upload", &o, e);
    if (r == 0)
        r = read_state(o, &s, e);
    if (r != 0)
        return r;
    *ret = s;
    s = (struct upload_state){0};
    return 0;
}
