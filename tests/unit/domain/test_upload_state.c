#include "domain/upload_state.h"

#include "../suite.h"
#include "base/mem.h"
#include "base/str.h"

#include <string.h>

#define ID "v_01arz3ndektsv4rrffq69g5fav"

static struct upload_record record(enum upload_kind kind, uint64_t offset, uint64_t in_parts)
{
    return (struct upload_record){.kind = kind,
                                  .fence = 1,
                                  .writer = "aaaaaaaaaaaaaaaa",
                                  .length = UPLOAD_LENGTH_UNKNOWN,
                                  .offset = offset,
                                  .in_parts = in_parts,
                                  .reserved = 8,
                                  .upload_id = "u",
                                  .facts.part_size = kind == UPLOAD_CREATED ? 8 : 0};
}

static struct upload_record with_part(struct upload_record r, unsigned number, uint64_t size)
{
    r.parts = mem_resize(r.parts, r.part_count + 1, sizeof *r.parts);
    r.parts[r.part_count++] = (struct store_part){.number = number, .size_bytes = size, .etag = "\"e\""};
    return r;
}

static int add(struct upload_state *s, uint64_t seq, struct upload_record r)
{
    struct err e = {0};
    int result = upload_state_add(s, seq, &r, 100, &e);

    ck_assert(result != 0 || (r.parts == NULL && r.facts.metadata == NULL));
    upload_record_release(&r);
    return result;
}

/* --- What follows what --- */

START_TEST(a_log_begins_with_its_creation_or_its_end)
{
    for (enum upload_kind kind = UPLOAD_CREATED; kind <= UPLOAD_CLOSED; kind++) {
        UPLOAD_STATE_AUTO struct upload_state s = {0};
        bool may = kind == UPLOAD_CREATED || kind == UPLOAD_CLOSED;
        ck_assert_int_eq(add(&s, 1, record(kind, 0, 0)), may ? 0 : -ERR_BUG);
        ck_assert_uint_eq(s.seq, may);
    }
}
END_TEST

static const struct {
    const char *what;
    struct upload_record r;
    uint64_t seq;
    int result;
} successors[] = {
    {"a number again", {.kind = UPLOAD_BYTES, .length = 100, .offset = 20, .in_parts = 8}, 3, -ERR_BUG},
    {"a gap in the numbers", {.kind = UPLOAD_BYTES, .length = 100, .offset = 20, .in_parts = 8}, 9, 0},
    {"a second creation", {.kind = UPLOAD_CREATED, .length = 100, .offset = 20, .in_parts = 8}, 4, -ERR_BUG},
    {"a lower offset", {.kind = UPLOAD_BYTES, .length = 100, .offset = 19, .in_parts = 8}, 4, -ERR_BUG},
    {"lower in_parts", {.kind = UPLOAD_BYTES, .length = 100, .offset = 20, .in_parts = 7}, 4, -ERR_BUG},
    {"in_parts without parts", {.kind = UPLOAD_BYTES, .length = 100, .offset = 20, .in_parts = 9}, 4, -ERR_BUG},
    {"another length", {.kind = UPLOAD_BYTES, .length = 99, .offset = 20, .in_parts = 8}, 4, -ERR_BUG},
    {"a length taken back",
     {.kind = UPLOAD_BYTES, .length = UPLOAD_LENGTH_UNKNOWN, .offset = 20, .in_parts = 8},
     4,
     -ERR_BUG},
    {"what another writer held",
     {.kind = UPLOAD_BYTES, .length = 100, .offset = 20, .in_parts = 8, .takes_held = true},
     4,
     -ERR_BUG},
    {"another writer", {.kind = UPLOAD_WRITER, .length = 100, .offset = 20, .in_parts = 8}, 4, 0},
    {"an end that says nothing", {.kind = UPLOAD_CLOSED}, 4, 0},
};

START_TEST(a_record_that_contradicts_those_before_it_is_refused)
{
    UPLOAD_STATE_AUTO struct upload_state s = {0};
    struct upload_record declared = with_part(record(UPLOAD_BYTES, 8, 8), 1, 8), tail = record(UPLOAD_BYTES, 20, 8);

    declared.length = tail.length = 100;
    tail.tail_bytes = 12;
    ck_assert_int_eq(add(&s, 1, record(UPLOAD_CREATED, 0, 0)), 0);
    ck_assert_int_eq(add(&s, 2, declared), 0);
    ck_assert_int_eq(add(&s, 3, tail), 0);
    ck_assert_msg(add(&s, successors[_i].seq, successors[_i].r) == successors[_i].result, "%s", successors[_i].what);
    ck_assert_uint_eq(s.seq, successors[_i].result == 0 ? successors[_i].seq : 3);
    ck_assert_uint_eq(s.offset, 20);
    ck_assert_uint_eq(s.tail_count, 1);
    ck_assert_uint_eq(s.part_count, 1);
}
END_TEST

START_TEST(parts_must_ascend)
{
    UPLOAD_STATE_AUTO struct upload_state s = {0};

    ck_assert_int_eq(add(&s, 1, record(UPLOAD_CREATED, 0, 0)), 0);
    ck_assert_int_eq(add(&s, 2, with_part(record(UPLOAD_BYTES, 8, 8), 4, 8)), 0);
    ck_assert_int_eq(add(&s, 3, with_part(record(UPLOAD_BYTES, 16, 16), 4, 8)), -ERR_BUG);
    ck_assert_int_eq(add(&s, 3, with_part(record(UPLOAD_BYTES, 16, 16), 3, 8)), -ERR_BUG);
    ck_assert_int_eq(add(&s, 3, with_part(record(UPLOAD_BYTES, 16, 16), 5, 8)), 0);
}
END_TEST

START_TEST(after_its_completion_a_log_can_only_end)
{
    UPLOAD_STATE_AUTO struct upload_state s = {0};

    ck_assert_int_eq(add(&s, 1, record(UPLOAD_CREATED, 0, 0)), 0);
    ck_assert_int_eq(add(&s, 2, record(UPLOAD_COMPLETING, 5, 0)), 0);
    ck_assert(!upload_state_whole(&s)); /* its bytes were with the writer */
    ck_assert_int_eq(add(&s, 3, record(UPLOAD_WRITER, 5, 0)), -ERR_BUG);
    ck_assert_int_eq(add(&s, 3, record(UPLOAD_COMPLETING, 5, 0)), -ERR_BUG);
    ck_assert_int_eq(add(&s, 3, record(UPLOAD_CLOSED, 5, 0)), 0);
    ck_assert_int_eq(s.kind, UPLOAD_CLOSED);
}
END_TEST

/* As when emptying a closed log was cut short. */
START_TEST(what_follows_an_end_counts_for_nothing)
{
    UPLOAD_STATE_AUTO struct upload_state s = {0};
    struct upload_record end = record(UPLOAD_CLOSED, 8, 8);

    str_copy(end.upload_id, sizeof end.upload_id, "other");
    ck_assert_int_eq(add(&s, 1, (struct upload_record){.kind = UPLOAD_CLOSED}), 0);
    ck_assert_int_eq(add(&s, 2, with_part(record(UPLOAD_BYTES, 8, 8), 1, 8)), 0);
    ck_assert_int_eq(add(&s, 3, end), 0);
    ck_assert_int_eq(s.kind, UPLOAD_CLOSED);
    ck_assert_uint_eq(s.seq, 3);
    ck_assert_uint_eq(s.part_count, 0);
}
END_TEST

START_TEST(a_later_writer_never_lowers_fence_or_numbers)
{
    UPLOAD_STATE_AUTO struct upload_state s = {0};
    struct upload_record high = record(UPLOAD_WRITER, 0, 0), low = record(UPLOAD_WRITER, 0, 0);

    high.fence = 9;
    high.reserved = 16;
    ck_assert_int_eq(add(&s, 1, record(UPLOAD_CREATED, 0, 0)), 0);
    ck_assert_int_eq(add(&s, 2, high), 0);
    ck_assert_int_eq(add(&s, 3, low), 0);
    ck_assert_uint_eq(s.fence, 9);
    ck_assert_uint_eq(s.reserved, 16);
}
END_TEST

START_TEST(a_writer_gives_back_the_numbers_that_he_has_not_used)
{
    UPLOAD_STATE_AUTO struct upload_state s = {0};
    struct upload_record high = record(UPLOAD_WRITER, 0, 0), clean = record(UPLOAD_BYTES, 0, 0), other = clean;

    high.reserved = 16;
    clean.reserved = 9;
    other.reserved = 1;
    str_copy(other.writer, sizeof other.writer, "bbbbbbbbbbbbbbbb");
    ck_assert_int_eq(add(&s, 1, record(UPLOAD_CREATED, 0, 0)), 0);
    ck_assert_int_eq(add(&s, 2, high), 0);
    ck_assert_int_eq(add(&s, 3, clean), 0);
    ck_assert_uint_eq(s.reserved, 9);
    ck_assert_int_eq(add(&s, 4, other), 0); /* not what another one may have used */
    ck_assert_uint_eq(s.reserved, 9);
}
END_TEST

static struct upload_record with_tail(uint64_t offset, uint64_t tail)
{
    struct upload_record r = record(UPLOAD_BYTES, offset, 0);

    r.tail_bytes = tail;
    return r;
}

START_TEST(a_tail_may_repeat_those_before_it)
{
    UPLOAD_STATE_AUTO struct upload_state s = {0};

    ck_assert_int_eq(add(&s, 1, record(UPLOAD_CREATED, 0, 0)), 0);
    for (uint64_t i = 1; i <= 4; i++)
        ck_assert_int_eq(add(&s, 1 + i, with_tail(10 * i, 10)), 0);
    ck_assert_uint_eq(s.tail_count, 4);
    ck_assert_int_eq(add(&s, 6, with_tail(45, 25)), 0); /* the last two, and five bytes */
    ck_assert_uint_eq(s.tail_count, 3);
    ck_assert_uint_eq(s.tails[1].seq, 3);
    ck_assert_uint_eq(s.tails[2].seq, 6);
    ck_assert_uint_eq(s.tails[2].size_bytes, 25);
    ck_assert(upload_state_whole(&s));
    ck_assert_int_eq(add(&s, 7, with_tail(45, 45)), 0); /* all of them */
    ck_assert_uint_eq(s.tail_count, 1);
    ck_assert(upload_state_whole(&s));
}
END_TEST

START_TEST(an_upload_is_full_when_its_declared_length_is_there)
{
    struct upload_state s = {.length = UPLOAD_LENGTH_UNKNOWN, .offset = 7};

    ck_assert(!upload_state_full(&s));
    s.length = 8;
    ck_assert(!upload_state_full(&s));
    s.length = 7;
    ck_assert(upload_state_full(&s));
}
END_TEST

/* --- Random histories. A model keeps the bytes as a stream of pieces, each where it stands; the fold must agree. --- */

#define MOST_RECORDS 80
#define MOST_PIECES 512

static uint64_t seed;

static unsigned any(unsigned below)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(seed >> 33) % below;
}

struct piece {
    uint64_t size;
    unsigned seq; /* of the record whose tail it is; 0: in the writer's memory */
    bool held;
};

struct model {
    struct piece piece[MOST_PIECES]; /* from in_parts on; held ones last */
    size_t count;
    uint64_t in_parts, offset, length, fence;
    char writer[ID_NONCE_SIZE];
    unsigned reserved, next_number;
    struct store_part part[MOST_PIECES];
    size_t part_count, recorded; /* parts: all, those in the log */
    enum upload_kind kind;

    struct upload_record log[MOST_RECORDS + 1]; /* from 1 on */
    bool spent[MOST_RECORDS + 1];               /* a tail whose bytes are in a recorded part, or discarded */
    unsigned seq;
};

static void own(struct upload_record *r, const struct store_part *parts, size_t count)
{
    r->part_count = count;
    r->parts = count == 0 ? NULL : mem_calloc(count, sizeof *parts);
    if (count > 0)
        memcpy(r->parts, parts, count * sizeof *parts);
}

static struct upload_record begin(const struct model *m, enum upload_kind kind)
{
    struct upload_record r = {.kind = kind, .fence = m->fence, .written_ms = m->seq + 1, .length = m->length};

    memcpy(r.writer, m->writer, sizeof r.writer);
    return r;
}

static void discard(struct model *m)
{
    while (m->count > 0 && m->piece[m->count - 1].held) {
        m->count--;
        if (m->piece[m->count].seq > 0)
            m->spent[m->piece[m->count].seq] = true;
    }
}

static void keep(struct model *m)
{
    for (size_t i = 0; i < m->count; i++)
        if (m->piece[i].held) {
            m->offset += m->piece[i].size;
            m->piece[i].held = false;
        }
}

static void receive(struct model *m, unsigned seq, bool held)
{
    m->piece[m->count++] = (struct piece){.size = 1 + any(1000), .seq = seq, .held = held};
    if (!held)
        m->offset += m->piece[m->count - 1].size;
}

/* Puts the first pieces into a part. */
static void send_part(struct model *m, size_t pieces)
{
    struct store_part part = {.etag = "\"e\""};

    if (pieces == 0)
        return;
    for (size_t i = 0; i < pieces; i++) {
        part.size_bytes += m->piece[i].size;
        if (m->piece[i].seq > 0)
            m->spent[m->piece[i].seq] = true;
    }
    memmove(m->piece, m->piece + pieces, (m->count - pieces) * sizeof *m->piece);
    m->count -= pieces;
    part.number = m->next_number += 1 + any(2);
    m->reserved = m->next_number > m->reserved ? m->next_number + 8 : m->reserved;
    m->in_parts += part.size_bytes;
    m->part[m->part_count++] = part;
}

/* Parts for a random number of pieces, at least as far as one is in memory only. */
static void send_some(struct model *m)
{
    size_t least = 0;

    for (size_t i = 0; i < m->count; i++)
        if (m->piece[i].seq == 0)
            least = i + 1;
    size_t wanted = least + any((unsigned)(m->count - least) + 1), first = any((unsigned)wanted + 1);
    if (m->part_count + 2 >= MOST_PIECES)
        return;
    send_part(m, first);
    send_part(m, wanted - first);
}

static void append(struct model *m, struct upload_record r)
{
    r.in_parts = m->in_parts;
    r.offset = m->offset;
    r.reserved = m->reserved;
    str_copy(r.upload_id, sizeof r.upload_id, m->part_count > 0 ? "u" : "");
    m->kind = r.kind;
    m->log[++m->seq] = r;
}

/* A record of a body that counts at once: parts, a tail, both or neither. */
static void step_bytes(struct model *m)
{
    struct upload_record r = begin(m, UPLOAD_BYTES);

    discard(m);
    if (any(2) == 0) {
        if (any(2) == 0)
            receive(m, 0, false);
        send_some(m);
    }
    if (any(3) > 0) {
        receive(m, m->seq + 1, false);
        r.tail_bytes = m->piece[m->count - 1].size;
        r.tail_crc32c = any(1000);
    }
    own(&r, m->part + m->recorded, m->part_count - m->recorded);
    m->recorded = m->part_count;
    append(m, r);
}

/* A part of a body whose checksum is still to come, some of which only the writer's memory (or a part it sent) has. */
static void step_held(struct model *m)
{
    struct upload_record r = begin(m, UPLOAD_BYTES);

    r.held = true;
    if (any(3) == 0)
        receive(m, 0, true);
    if (any(4) > 0) {
        receive(m, m->seq + 1, true);
        r.tail_bytes = m->piece[m->count - 1].size;
        r.tail_crc32c = any(1000);
    }
    append(m, r);
}

static void step_keep(struct model *m)
{
    struct upload_record r = begin(m, UPLOAD_BYTES);

    keep(m);
    send_some(m);
    r.takes_held = true;
    if (any(2) == 0) {
        receive(m, m->seq + 1, false);
        r.tail_bytes = m->piece[m->count - 1].size;
    }
    own(&r, m->part + m->recorded, m->part_count - m->recorded);
    m->recorded = m->part_count;
    append(m, r);
}

/* One larger tail in place of the last ones, and the numbers that are not needed come back. The records of those that it
 * repeats stay. */
static void step_repeat(struct model *m)
{
    struct upload_record r = begin(m, UPLOAD_BYTES);
    size_t row = 0;

    discard(m);
    while (row < m->count && m->piece[m->count - 1 - row].seq > 0)
        row++;
    row = any((unsigned)row + 1);
    receive(m, m->seq + 1, false);
    for (size_t i = 0; i < row; i++, m->count--) {
        m->piece[m->count - 2].size += m->piece[m->count - 1].size;
        m->piece[m->count - 2].seq = m->seq + 1;
    }
    r.tail_bytes = m->piece[m->count - 1].size;
    r.tail_crc32c = any(1000);
    m->reserved = m->next_number;
    append(m, r);
}

static void step_takeover(struct model *m)
{
    discard(m);
    m->fence += 1 + any(3);
    str_format(m->writer, sizeof m->writer, "%016x", any(1000000));
    m->next_number = m->reserved;
    m->reserved += 8;
    append(m, begin(m, UPLOAD_WRITER));
}

static void step_complete(struct model *m)
{
    struct upload_record r = begin(m, UPLOAD_COMPLETING);

    discard(m);
    if (m->part_count > 0) {
        send_part(m, m->count);
        own(&r, m->part, m->part_count);
        m->recorded = m->part_count;
    }
    r.length = m->length = m->offset;
    append(m, r);
}

static void step(struct model *m)
{
    static void (*const steps[])(struct model *) = {step_bytes, step_bytes,  step_held,    step_held,
                                                    step_keep,  step_repeat, step_takeover};

    if (any(30) == 0)
        step_complete(m);
    else
        steps[any(ARRAY_SIZE(steps))](m);
}

static void create(struct model *m)
{
    *m = (struct model){.length = UPLOAD_LENGTH_UNKNOWN, .fence = 1, .writer = "aaaaaaaaaaaaaaaa"};
    struct upload_record r = begin(m, UPLOAD_CREATED);
    r.facts = (struct upload_facts){.part_size = 8, .client = "::1", .metadata = mem_strdup("a b")};
    append(m, r);
}

/* A copy, as a reader of the log would have it. */
static struct upload_record copy(const struct upload_record *r)
{
    struct upload_record c = *r;

    own(&c, r->parts, r->part_count);
    c.facts.metadata = mem_strdup(r->facts.metadata);
    return c;
}

static void check_tails(const struct model *m, const struct upload_tail *tails, size_t count, bool held)
{
    size_t n = 0;

    for (size_t i = 0; i < m->count; i++) {
        const struct piece *piece = &m->piece[i];
        if (piece->held != held || piece->seq == 0)
            continue;
        ck_assert_uint_lt(n, count);
        ck_assert_uint_eq(tails[n].seq, piece->seq);
        ck_assert_uint_eq(tails[n].head, 1000 + piece->seq);
        ck_assert_uint_eq(tails[n].size_bytes, piece->size);
        ck_assert_uint_eq(tails[n].crc32c, m->log[piece->seq].tail_crc32c);
        ck_assert(tails[n].alone == upload_record_is_tail(&m->log[piece->seq]));
        n++;
    }
    ck_assert_uint_eq(n, count);
}

/* A record that gave numbers back may be missing: more are reserved then, which does no harm. */
static void check_numbers(const struct model *m, const struct upload_state *s, bool all)
{
    ck_assert_str_eq(s->writer, m->writer);
    ck_assert_uint_ge(s->reserved, m->reserved);
    ck_assert(!all || s->reserved == m->reserved);
    ck_assert_uint_eq(s->part_count, m->recorded);
    for (size_t i = 0; s->parts_known && i < s->part_count; i++) {
        ck_assert_uint_eq(s->parts[i].number, m->part[i].number);
        ck_assert_uint_eq(s->parts[i].size_bytes, m->part[i].size_bytes);
    }
}

/* `all`: of every record. */
static void check_state(const struct model *m, const struct upload_state *s, bool all)
{
    ck_assert_int_eq(s->kind, m->kind);
    ck_assert_uint_eq(s->seq, m->seq);
    ck_assert_uint_eq(s->offset, m->offset);
    ck_assert_uint_eq(s->in_parts, m->in_parts);
    ck_assert_uint_eq(s->length, m->length);
    ck_assert_uint_eq(s->fence, m->fence);
    ck_assert_uint_eq(s->written_ms, m->seq);
    ck_assert_str_eq(s->facts.metadata, "a b");
    ck_assert(upload_state_whole(s));
    check_tails(m, s->tails, s->tail_count, false);
    check_tails(m, s->held, s->held_count, true);
    check_numbers(m, s, all);
}

static void add_record(const struct model *m, struct upload_state *s, unsigned seq)
{
    struct upload_record r = copy(&m->log[seq]);
    struct err e = {0};

    ck_assert_msg(upload_state_add(s, seq, &r, 1000 + seq, &e) == 0, "%s", e.text);
}

/* Some, or all, of what is spent is missing. */
static void check_fold(const struct model *m, unsigned one_in)
{
    UPLOAD_STATE_AUTO struct upload_state s = {.video_id = ID};

    bool all = true;
    for (unsigned seq = 1; seq <= m->seq; seq++)
        if (!m->spent[seq] || !upload_record_is_tail(&m->log[seq]) || any(one_in) > 0)
            add_record(m, &s, seq);
        else
            all = false;
    check_state(m, &s, all);
    ck_assert(s.parts_known);
}

/* What a cached state says, and what comes of it when it goes on from there. */
static void through_the_cache(const struct model *m, struct upload_state *s)
{
    BUF_AUTO struct buf text;
    struct err e = {0};

    buf_init(&text, UPLOAD_STATE_MAX);
    ck_assert_int_eq(upload_state_write(s, &text, &e), 0);
    upload_state_release(s);
    ck_assert_msg(upload_state_parse(buf_cstr(&text), text.len, s, &e) == 0, "%s: %s", e.text, buf_cstr(&text));
    ck_assert_str_eq(s->video_id, ID);
    ck_assert(s->parts_known == (s->part_count == 0));
    check_state(m, s, true);
}

START_TEST(a_fold_agrees_with_the_writer)
{
    MEM_AUTO struct model *m = mem_alloc(sizeof *m);

    for (unsigned history = 0; history < 25; history++) {
        UPLOAD_STATE_AUTO struct upload_state s = {.video_id = ID};
        seed = (uint64_t)_i * 1000 + history;
        create(m);
        add_record(m, &s, 1);
        while (m->kind != UPLOAD_COMPLETING && m->seq < MOST_RECORDS) {
            bool memory_only = m->part_count == 0 && m->seq == MOST_RECORDS - 1;
            (memory_only ? step_complete : step)(m);
            add_record(m, &s, m->seq);
            check_state(m, &s, true);
            check_fold(m, 1);
            check_fold(m, 2);
            if (any(4) == 0)
                through_the_cache(m, &s);
        }
        for (unsigned seq = 1; seq <= m->seq; seq++)
            upload_record_release(&m->log[seq]);
    }
}
END_TEST

/* A tail is missing that no part holds. */
START_TEST(a_hole_is_seen)
{
    UPLOAD_STATE_AUTO struct upload_state s = {0};
    struct upload_record tail = record(UPLOAD_BYTES, 20, 0);

    tail.tail_bytes = 5;
    ck_assert_int_eq(add(&s, 1, record(UPLOAD_CREATED, 0, 0)), 0);
    ck_assert_int_eq(add(&s, 3, tail), 0);
    ck_assert(!upload_state_whole(&s));
    ck_assert_int_eq(add(&s, 4, with_part(record(UPLOAD_BYTES, 20, 20), 1, 20)), 0);
    ck_assert(upload_state_whole(&s));
    ck_assert_uint_eq(s.tail_count, 0);
}
END_TEST

/* --- The cache --- */

#define STATE(kind, length, offset, in_parts, parts)                                                                   \
    "{\"video\":\"" ID "\",\"seq\":9,\"kind\":\"" kind                                                                 \
    "\",\"fence\":1,\"writer\":\"a\",\"written_ms\":1,\"length\":" length ",\"offset\":" offset                        \
    ",\"in_parts\":" in_parts ",\"reserved\":8,\"upload_id\":\"u\",\"part_count\":" parts
#define FACTS                                                                                                          \
    ",\"facts\":{\"origin\":\"tus\",\"created_ms\":1,\"expires_ms\":2,\"part_size\":8,\"secret_hash\":\"\","           \
    "\"client\":\"::1\",\"metadata\":null,\"concat\":\"partial\"}"

static const struct {
    const char *text;
    int result;
} texts[] = {
    {STATE("bytes", "null", "0", "0", "0") ",\"tails\":[]" FACTS "}", 0},
    {STATE("bytes", "20", "12", "8", "1") ",\"tails\":[[3,90,3,7,true],[9,90,1,0,false]]" FACTS "}", 0},
    {STATE("bytes", "20", "0", "0", "0") ",\"tails\":[],\"held\":[[9,90,3,7,true]]" FACTS "}", 0},
    {STATE("completing", "20", "20", "0", "0") ",\"tails\":[[3,90,3,7,true]]" FACTS "}", 0},
    {STATE("closed", "0", "0", "0", "0") ",\"tails\":[]}", 0},
    {STATE("closed", "20", "12", "8", "1") ",\"tails\":[]}", 0},
    {STATE("bytes", "20", "12", "8", "1") ",\"tails\":[[3,90,3,7,true]]" FACTS "}", -ERR_INVALID}, /* a hole */
    {STATE("bytes", "20", "12", "8", "1") ",\"tails\":[[3,90,5,7,true]]" FACTS "}", -ERR_INVALID}, /* too much */
    {STATE("bytes", "20", "12", "8", "1") ",\"tails\":[[3,90,3,7,true],[3,90,1,7,true]]" FACTS "}", -ERR_INVALID},
    {STATE("bytes", "20", "12", "8", "1") ",\"tails\":[[10,90,4,7,true]]" FACTS "}", -ERR_INVALID}, /* yet to come */
    {STATE("bytes", "20", "12", "8", "1") ",\"tails\":[[3,90,4,4294967296,true]]" FACTS "}", -ERR_INVALID},
    {STATE("bytes", "20", "12", "8", "1") ",\"tails\":[[3,90,4,7,1]]" FACTS "}", -ERR_INVALID},
    {STATE("bytes", "20", "12", "8", "1") ",\"tails\":[[3,0,4,7,true]]" FACTS "}", -ERR_INVALID},
    {STATE("bytes", "20", "12", "8", "1") ",\"tails\":[[3,90,4,7,true,1]]" FACTS "}", -ERR_INVALID},
    {STATE("bytes", "20", "12", "8", "1") ",\"tails\":[7]" FACTS "}", -ERR_INVALID},
    {STATE("bytes", "20", "8", "8", "0") ",\"tails\":[]" FACTS "}", -ERR_INVALID}, /* no part holds them */
    {STATE("bytes", "20", "0", "0", "1") ",\"tails\":[]" FACTS "}", -ERR_INVALID},
    {STATE("bytes", "7", "8", "8", "1") ",\"tails\":[]" FACTS "}", -ERR_INVALID},
    {STATE("bytes", "20", "8", "9", "1") ",\"tails\":[]" FACTS "}", -ERR_INVALID},
    {STATE("bytes", "20", "8", "8", "10001") ",\"tails\":[]" FACTS "}", -ERR_INVALID},
    {STATE("bytes", "20", "8", "8", "1") FACTS "}", -ERR_INVALID},
    {STATE("bytes", "20", "8", "8", "1") ",\"tails\":[]}", -ERR_INVALID},
    {"{}", -ERR_INVALID},
    {"", -ERR_INVALID},
};

START_TEST(cached_states_are_checked)
{
    UPLOAD_STATE_AUTO struct upload_state s = {0};
    struct err e = {0};
    int got = upload_state_parse(texts[_i].text, strlen(texts[_i].text), &s, &e);

    ck_assert_msg(got == texts[_i].result, "%d instead of %d: %s: %s", got, texts[_i].result, e.text, texts[_i].text);
    ck_assert_uint_eq(s.seq, got == 0 ? 9 : 0);
}
END_TEST

START_TEST(every_allocation_may_fail)
{
    for (uint64_t nth = 1;; nth++) {
        UPLOAD_STATE_AUTO struct upload_state s = {0};
        struct err e = {0};
        mem_fail_from(nth);
        int r = upload_state_parse(texts[1].text, strlen(texts[1].text), &s, &e);
        mem_fail_from(0);
        if (r == 0)
            break;
        ck_assert_int_eq(r, -ERR_TEMPORARY);
        ck_assert_uint_eq(s.seq, 0);
    }
}
END_TEST

START_TEST(adding_without_memory_changes_nothing)
{
    UPLOAD_STATE_AUTO struct upload_state s = {0};
    struct upload_record held = record(UPLOAD_BYTES, 0, 0), taken;

    held.held = true;
    held.tail_bytes = 3;
    ck_assert_int_eq(add(&s, 1, record(UPLOAD_CREATED, 0, 0)), 0);
    ck_assert_int_eq(add(&s, 2, held), 0);
    for (uint64_t nth = 1;; nth++) {
        taken = with_part(record(UPLOAD_BYTES, 13, 8), 1, 8);
        taken.takes_held = true;
        taken.tail_bytes = 2;
        mem_fail_from(nth);
        int r = add(&s, 3, taken);
        mem_fail_from(0);
        if (r == 0)
            break;
        ck_assert_int_eq(r, -ERR_TEMPORARY);
        ck_assert_uint_eq(s.seq, 2);
        ck_assert_uint_eq(s.offset, 0);
        ck_assert_uint_eq(s.held_count, 1);
        ck_assert_uint_eq(s.part_count, 0);
    }
    ck_assert_uint_eq(s.tail_count, 2);
    ck_assert_uint_eq(s.held_count, 0);
    ck_assert(upload_state_whole(&s));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("upload_state");
    TCase *t = tcase_create("fold"), *cache = tcase_create("cache");

    tcase_add_test(t, a_log_begins_with_its_creation_or_its_end);
    tcase_add_loop_test(t, a_record_that_contradicts_those_before_it_is_refused, 0, (int)ARRAY_SIZE(successors));
    tcase_add_test(t, parts_must_ascend);
    tcase_add_test(t, after_its_completion_a_log_can_only_end);
    tcase_add_test(t, what_follows_an_end_counts_for_nothing);
    tcase_add_test(t, a_later_writer_never_lowers_fence_or_numbers);
    tcase_add_test(t, a_writer_gives_back_the_numbers_that_he_has_not_used);
    tcase_add_test(t, a_tail_may_repeat_those_before_it);
    tcase_add_test(t, an_upload_is_full_when_its_declared_length_is_there);
    tcase_add_test(t, a_hole_is_seen);
    tcase_add_loop_test(t, a_fold_agrees_with_the_writer, 0, 4);
    tcase_add_test(t, adding_without_memory_changes_nothing);
    tcase_set_timeout(t, 60);
    suite_add_tcase(suite, t);
    tcase_add_loop_test(cache, cached_states_are_checked, 0, (int)ARRAY_SIZE(texts));
    tcase_add_test(cache, every_allocation_may_fail);
    suite_add_tcase(suite, cache);
    return run_suite(suite);
}
