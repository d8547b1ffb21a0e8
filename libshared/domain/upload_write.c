#include "upload_session.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "domain/removal.h"
#include "domain/upload_log.h"

#include <inttypes.h>
#include <string.h>

#define BLOCK_WAIT_MS 60000
#define RECORD_EVERY_MS 30000 /* well below the age at which a form without a seat is taken for abandoned */
#define SMALL_TAILS 64 /* in a row; then they become one, so that each PATCH costs the same however small it is */
/* The last part stays small when so much less than what waits is left to come. The one before it goes when a sender is free
 * for it, growing meanwhile, and at last without one. */
#define LAST_PART_AT_MOST 6
#define LAST_PART_AT_LEAST 32

/* --- How much --- */

uint64_t upload_pending(const struct upload *u)
{
    return u->received - u->submitted;
}

static uint64_t most_bytes(const struct upload *u)
{
    return u->length != UPLOAD_LENGTH_UNKNOWN ? u->length : u->service->options.max_size;
}

/* What a part must have at least. Usually a whole one; more when many part numbers were burnt, so that they never run out. */
static uint64_t part_goal(const struct upload *u)
{
    uint64_t left = u->last_number + 2 < STORE_PART_MAX ? STORE_PART_MAX - u->last_number - 2 : 1;
    uint64_t rest = most_bytes(u) > u->submitted ? most_bytes(u) - u->submitted : 0;
    uint64_t least = rest / left + 1, whole = u->state.facts.part_size;

    return least > whole ? least : whole;
}

/* All that is still to come makes one part, since it is too small for two. */
static bool one_part_is_left(const struct upload *u)
{
    return u->length != UPLOAD_LENGTH_UNKNOWN && u->length > u->received &&
           u->length - u->received < STORE_PART_MIN_SIZE;
}

/* A small part instead of a tail, when memory is short: whether there would be numbers for all the rest in such parts, and
 * it is not the one before the last, which is to be as large as it can be. */
static bool can_be_small(const struct upload *u)
{
    uint64_t left = STORE_PART_MAX - u->last_number;

    return upload_pending(u) >= STORE_PART_MIN_SIZE && !one_part_is_left(u) &&
           (most_bytes(u) - u->submitted) / STORE_PART_MIN_SIZE + STORE_PART_MAX / 8 < left;
}

/* The answer comes soon after the last byte when little is left to be sent then. True: it is to be sent now, by a sender that
 * was reserved for it unless it can't wait any longer. */
static bool goes_as_last_but_one(struct upload *u)
{
    uint64_t rest = u->length - u->received, pending = upload_pending(u);

    if (!one_part_is_left(u) || pending < STORE_PART_MIN_SIZE || rest > pending / LAST_PART_AT_MOST ||
        u->last_number + 2 >= STORE_PART_MAX)
        return false;
    u->reserved = part_sender_reserve(u->service->sender);
    return u->reserved || rest <= pending / LAST_PART_AT_LEAST;
}

int upload_check_open(const struct upload *u, struct err *e)
{
    if (u->stage == UPLOAD_STOPPED)
        return err_set(e, ERR_STALE, "another request goes on with this upload");
    if (u->stage == UPLOAD_LOST)
        return err_set(e, ERR_STALE, "somebody else goes on with this upload, or has ended it");
    if (u->stage != UPLOAD_OPEN)
        return err_set(e, ERR_BUG, "an upload that does not take bytes");
    return 0;
}

/* --- What waits to be sent --- */

static void ask_to_spill(void *ctx)
{
    upload_table_want(ctx, UPLOAD_WANT_SPILL);
}

/* Each part of a body may be larger than the one before, so that the first is soon on its way. */
static void open_filling(struct upload *u)
{
    uint64_t before = upload_pending(u);

    if (before >= u->service->options.part_size) /* numbers are scarce, so tails make up a part */
        before = 0;
    atomic_fetch_and(&u->wants, ~(unsigned)UPLOAD_WANT_SPILL); /* that was of the chain before */
    block_chain_open(&u->filling, u->service->pool, u->ordinal + 1, before, ask_to_spill, u);
    u->fills = true;
}

void upload_seal(struct upload *u)
{
    if (u->fills)
        block_chain_seal(&u->filling);
}

static void release_filling(struct upload *u)
{
    if (u->fills)
        block_chain_release(&u->filling);
    u->fills = false;
}

static void add_tails(struct upload_tail *to, size_t *count, const struct upload_tail *from, size_t added)
{
    if (added > 0)
        memcpy(to + *count, from, added * sizeof *to);
    *count += added;
}

int upload_pending_tails(const struct upload *u, struct upload_tail **ret, size_t *ret_count, struct err *e)
{
    size_t recorded = u->submitted == u->state.in_parts ? u->state.tail_count : 0, count = 0;
    size_t held = u->state.held_count - u->held_sent;
    struct upload_tail *tails = mem_calloc(recorded + held, sizeof *tails);

    if (tails == NULL)
        return err_set(e, ERR_TEMPORARY, "no memory for an upload");
    add_tails(tails, &count, u->state.tails, recorded);
    add_tails(tails, &count, u->state.held + u->held_sent, held);
    *ret = tails;
    *ret_count = count;
    return 0;
}

/* --- Parts on their way --- */

int upload_keep_part(struct upload *u, const struct store_part *part, struct err *e)
{
    if (u->part_count == u->part_room) {
        size_t room = u->part_room == 0 ? 16 : u->part_room * 2;
        struct store_part *grown = mem_resize(u->part, room, sizeof *grown);
        if (grown == NULL)
            return err_set(e, ERR_TEMPORARY, "no memory for an upload");
        u->part = grown;
        u->part_room = room;
    }
    u->part[u->part_count++] = *part;
    u->confirmed += part->size_bytes;
    return 0;
}

static int ignore_part(void *ctx, const struct store_part *part, struct err *e)
{
    (void)ctx;
    (void)part;
    (void)e;
    return 0;
}

/* Nobody has ended it, and yet the store does not know it any more. */
static bool is_forgotten(struct upload *u)
{
    const struct library *l = u->library;
    UPLOAD_RECORD_AUTO struct upload_record newest = {0};
    uint64_t seq;

    return upload_resumable(u) && upload_log_newest(l->store, l->raw, u->video_id, &newest, &seq, NULL) == 0 &&
           seq == u->state.seq &&
           store_multipart_list(l->store, l->raw, u->source.s, u->upload_id, ignore_part, NULL, NULL) == -ERR_NOT_FOUND;
}

/* The store says that there is no such multipart upload: somebody has ended it; or its parts are lost, and it with them. */
static int forget(struct upload *u, struct err *e)
{
    const struct log_ids ids = {.video = u->video_id};
    struct err why = {0};

    u->stage = UPLOAD_LOST;
    if (is_forgotten(u)) {
        log_error(&ids,
                  "the store has forgotten an upload; it must keep multipart uploads for longer than UPLOAD_EXPIRY_S",
                  "offset", num_u64(u->state.offset).s);
        if (removal_delete(u->library, u->video_id, NULL, &why) != 0)
            log_warn(&ids, "left to the reconciler", "error", why.text);
    }
    return err_set(e, ERR_STALE, "the upload was closed, or the store has forgotten it");
}

static int fail_part(struct upload *u, const struct part_job *job, struct err *e)
{
    u->broken = true;
    if (job->result == -ERR_NOT_FOUND)
        return forget(u, e);
    if (job->result == -ERR_STALE)
        u->stage = UPLOAD_LOST;
    if (e != NULL)
        *e = job->error;
    return job->result;
}

/* Waits for the part that was sent first. */
static int land_oldest(struct upload *u, struct err *e)
{
    struct part_job *job = &u->jobs[u->oldest];

    int r = part_sender_wait(u->service->sender, job);
    mem_free(u->job_tails[u->oldest]);
    u->job_tails[u->oldest] = NULL;
    u->oldest = (u->oldest + 1) % UPLOAD_IN_FLIGHT;
    u->flying--;
    if (u->broken) /* it follows one that is missing */
        return 0;
    if (r != 0)
        return fail_part(u, job, e);
    r = upload_keep_part(u, &job->part, e);
    u->broken = r != 0;
    return r;
}

int upload_land(struct upload *u, struct err *e)
{
    int r = 0;

    while (u->flying > 0) {
        struct err later = {0};
        int landed = land_oldest(u, r == 0 ? e : &later);
        r = r == 0 ? landed : r;
    }
    return r;
}

static int submit(struct upload *u, struct err *e)
{
    unsigned slot = (u->oldest + u->flying) % UPLOAD_IN_FLIGHT;
    struct part_job *job = &u->jobs[slot];
    size_t tail_count;

    int r = upload_pending_tails(u, &u->job_tails[slot], &tail_count, e);
    if (r != 0)
        return r;
    *job = (struct part_job){
        .bucket = u->library->raw,
        .key = u->source.s,
        .upload_id = u->upload_id,
        .video_id = u->video_id,
        .tails = u->job_tails[slot],
        .tail_count = tail_count,
        .reserved = u->reserved,
        .part.number = ++u->last_number,
    };
    if (u->fills)
        job->chain = u->filling;
    u->fills = false;
    u->filling = (struct block_chain){0};
    u->reserved = false;
    u->submitted = u->received;
    u->held_sent = u->state.held_count;
    u->ordinal++;
    u->flying++;
    part_sender_submit(u->service->sender, job);
    return 0;
}

int upload_send_pending(struct upload *u, struct err *e)
{
    upload_seal(u); /* before anything is waited for */
    int r = upload_become_writer(u, true, e);
    if (r == 0 && u->flying == UPLOAD_IN_FLIGHT)
        r = land_oldest(u, e);
    return r == 0 ? submit(u, e) : r;
}

void upload_drop_bytes(struct upload *u)
{
    struct err ignored = {0};

    upload_seal(u);
    (void)!upload_land(u, &ignored);
    release_filling(u);
}

/* --- Records --- */

/* Names the parts that were confirmed since the last one. */
static void name_parts(struct upload *u, struct upload_record *record)
{
    record->parts = u->part;
    record->part_count = u->part_count;
    record->in_parts = u->confirmed;
    if (record->offset < u->confirmed)
        record->offset = u->confirmed;
}

static int add_parts_record(struct upload *u, struct upload_record *record, const struct store_body *tail,
                            struct err *e)
{
    uint64_t seq = u->state.seq;

    int r = upload_add_record(u, record, tail, e);
    if (u->state.seq == seq) /* not taken over */
        return r;
    u->part = NULL;
    u->part_count = u->part_room = 0;
    return r;
}

/* While bytes go on coming. A form's need not be recorded each, since nobody can go on with a form that broke off: now and
 * then is enough, as a sign of life that does not hang on Redis. */
static int record_parts(struct upload *u, struct err *e)
{
    uint64_t every_ms = u->service->options.record_every_ms;

    if (every_ms == 0)
        every_ms = RECORD_EVERY_MS;
    if (u->part_count == 0 || u->holding || (!upload_resumable(u) && clock_mono_ms() - u->recorded_ms < every_ms))
        return 0;
    struct upload_record record = upload_next_record(u, UPLOAD_BYTES);
    name_parts(u, &record);
    record.reserved = upload_reservation(u);
    return add_parts_record(u, &record, NULL, e);
}

/* How many of the recorded tails are repeated in the next one: a row of small ones has become too long. */
static size_t repeated_tails(const struct upload *u)
{
    uint64_t small = u->state.facts.part_size / SMALL_TAILS;
    size_t row = 0;

    if (u->submitted != u->state.in_parts || u->state.held_count > 0) /* which stand between them and the next one */
        return 0;
    while (row < u->state.tail_count && u->state.tails[u->state.tail_count - 1 - row].size_bytes < small)
        row++;
    return row >= SMALL_TAILS ? row : 0;
}

/* Everything that was received and is not recorded: parts, and the rest as a tail. */
static int record_tail(struct upload *u, struct err *e)
{
    struct upload_record record = upload_next_record(u, UPLOAD_BYTES);
    size_t repeated = repeated_tails(u);
    struct part_body tail = {.store = u->library->store,
                             .bucket = u->library->raw,
                             .video_id = u->video_id,
                             .tails = u->state.tails + (u->state.tail_count - repeated),
                             .tail_count = repeated,
                             .chain = u->fills ? &u->filling : NULL};
    struct store_body body;

    part_body_init(&tail, &body);
    name_parts(u, &record);
    record.offset = u->received;
    record.takes_held = u->state.held_count > 0;
    record.tail_bytes = body.size_bytes;
    record.tail_crc32c = body.crc32c;
    if (upload_resumable(u))
        record.reserved = u->last_number; /* all were waited for, so the others were not used */
    int r = add_parts_record(u, &record, body.size_bytes > 0 ? &body : NULL, e);
    part_body_release(&tail);
    return r;
}

/* The parts before one that was lost; what came after them is forgotten. */
static int record_broken(struct upload *u, struct err *e)
{
    int r = 0;

    if (u->part_count > 0 && !u->holding) {
        struct upload_record record = upload_next_record(u, UPLOAD_BYTES);
        record.length = u->state.length;
        name_parts(u, &record);
        r = add_parts_record(u, &record, NULL, e);
    }
    release_filling(u);
    upload_rewind(u);
    u->broken = true;
    return r;
}

static bool is_recorded(const struct upload *u)
{
    return u->received == u->state.offset && u->part_count == 0 && u->length == u->state.length &&
           u->state.held_count == 0;
}

/* Records everything. `pressed`: memory is short, so a small part will do. */
static int record_all(struct upload *u, bool pressed, struct err *e)
{
    int r = 0;

    upload_seal(u);
    if (upload_pending(u) >= part_goal(u) || (pressed && can_be_small(u)))
        r = upload_send_pending(u, e);
    if (r == 0)
        r = upload_land(u, e);
    if (u->stage != UPLOAD_OPEN || (r != 0 && !u->broken))
        return r;
    if (u->broken) {
        struct err later = {0};
        int recorded = record_broken(u, r == 0 ? e : &later);
        return r == 0 ? recorded : r;
    }
    if (is_recorded(u))
        return 0;
    r = upload_become_writer(u, false, e);
    if (r == 0 && !is_recorded(u))
        r = record_tail(u, e);
    if (r == 0) {
        release_filling(u);
        u->confirmed = u->submitted = u->state.in_parts;
        u->held_sent = 0;
    }
    return r;
}

/* Of a body that is not known to be right: its bytes are put where they count for nothing yet. */
static int record_held(struct upload *u, struct err *e)
{
    struct store_body body;
    int r = 0;

    upload_seal(u);
    if (can_be_small(u))
        return upload_send_pending(u, e);
    if (!u->fills || u->filling.len == 0)
        return 0;
    r = upload_become_writer(u, false, e);
    if (r != 0)
        return r;
    struct upload_record record = upload_next_record(u, UPLOAD_BYTES);
    body = block_chain_body(&u->filling);
    record.held = true;
    record.tail_bytes = body.size_bytes;
    record.tail_crc32c = body.crc32c;
    r = upload_add_record(u, &record, &body, e);
    if (r == 0)
        release_filling(u);
    return r;
}

static int spill(struct upload *u, struct err *e)
{
    return u->holding ? record_held(u, e) : record_all(u, true, e);
}

/* --- Writing --- */

/* The chain takes no more, or `goes` as it is. */
static int pass_on(struct upload *u, enum block_need need, bool goes, struct err *e)
{
    if (goes || upload_pending(u) >= part_goal(u)) {
        int r = upload_send_pending(u, e);
        if (u->reserved) /* it failed before it was needed */
            part_sender_release(u->service->sender);
        u->reserved = false;
        return r == 0 ? record_parts(u, e) : r;
    }
    return need == BLOCK_MORE ? 0 : spill(u, e);
}

static bool is_enough(const struct upload *u, enum block_need need)
{
    return need != BLOCK_MORE ||
           (u->state.facts.part_size < u->service->options.part_size && upload_pending(u) >= part_goal(u));
}

static int check_size(const struct upload *u, size_t len, struct err *e)
{
    uint64_t max = u->service->options.max_size;

    if (u->length != UPLOAD_LENGTH_UNKNOWN && len > u->length - u->received)
        return err_set(e, ERR_TOO_LARGE, "more than the %" PRIu64 " bytes that were declared", u->length);
    if (u->received > max || len > max - u->received)
        return err_set(e, ERR_TOO_LARGE,
                       "the file is larger than %" PRIu64 " bytes, the most that is taken; send a smaller one", max);
    return 0;
}

/* Confirmed parts are recorded soon, but nobody waits for them. */
static int look_after(struct upload *u, struct err *e)
{
    int r = upload_attend(u, e);

    while (r == 0 && u->flying > 0 && part_sender_done(u->service->sender, &u->jobs[u->oldest]))
        r = land_oldest(u, e);
    return r == 0 ? record_parts(u, e) : r;
}

int upload_write(struct upload *u, const void *data, size_t len, struct err *e)
{
    const char *at = data;

    int r = upload_check_open(u, e);
    if (r == 0 && u->broken)
        r = err_set(e, ERR_TEMPORARY, "a part of the upload got lost");
    if (r == 0)
        r = check_size(u, len, e);
    if (r == 0)
        r = look_after(u, e);
    while (r == 0 && len > 0) {
        enum block_need need = BLOCK_MORE;
        size_t taken = 0;
        if (!u->fills)
            open_filling(u);
        r = block_chain_append(&u->filling, at, len, BLOCK_WAIT_MS, &taken, &need, e);
        u->received += taken;
        at += taken;
        len -= taken;
        bool goes = r == 0 && goes_as_last_but_one(u);
        if (r == 0 && (goes || is_enough(u, need)))
            r = pass_on(u, need, goes, e);
    }
    return r;
}

void *upload_room(struct upload *u, size_t *ret_size)
{
    *ret_size = 0;
    if (u->stage != UPLOAD_OPEN || u->broken || !u->fills)
        return NULL;
    void *room = block_chain_room(&u->filling, ret_size);
    if (most_bytes(u) < u->received || *ret_size > most_bytes(u) - u->received)
        *ret_size = 0; /* it may become too much */
    return room;
}

int upload_wrote(struct upload *u, size_t len, struct err *e)
{
    block_chain_add(&u->filling, len);
    u->received += len;
    int r = look_after(u, e);
    bool goes = r == 0 && goes_as_last_but_one(u);
    return r == 0 && (goes || is_enough(u, BLOCK_MORE)) ? pass_on(u, BLOCK_MORE, goes, e) : r;
}

/* --- A checksum --- */

void upload_hold(struct upload *u)
{
    u->holding = u->stage == UPLOAD_OPEN;
}

int upload_keep(struct upload *u, struct err *e)
{
    int r = upload_check_open(u, e);
    if (r != 0)
        return r;
    u->holding = false;
    return u->state.held_count > 0 ? record_all(u, false, e) : 0;
}

/* What was held must not be taken by a later record: one that takes nothing comes first. */
void upload_discard(struct upload *u)
{
    struct err e = {0};
    bool held = u->state.held_count > 0;

    upload_drop_bytes(u);
    upload_rewind(u);
    if (u->stage != UPLOAD_OPEN || !held)
        return;
    struct upload_record record = upload_next_record(u, UPLOAD_BYTES);
    if (upload_add_record(u, &record, NULL, &e) != 0)
        u->stage = UPLOAD_LOST;
}

/* --- Others --- */

static int stop(struct upload *u, struct err *e)
{
    struct err why = {0};

    if (u->holding)
        upload_discard(u);
    else if (u->stage == UPLOAD_OPEN && record_all(u, false, &why) != 0)
        log_warn(&(struct log_ids){.video = u->video_id}, "not everything was recorded", "error", why.text);
    if (u->stage == UPLOAD_OPEN)
        u->stage = UPLOAD_STOPPED;
    return err_set(e, ERR_STALE, "another request goes on with this upload");
}

int upload_wake_fd(const struct upload *u)
{
    return u->wake_fd;
}

int upload_attend(struct upload *u, struct err *e)
{
    if ((atomic_load(&u->wants) & ~(unsigned)UPLOAD_WANT_LEAVE) == 0)
        return 0;
    unsigned wants = upload_table_wants(u);
    int r = upload_check_open(u, e);
    if (r == 0 && (wants & UPLOAD_WANT_STOP) != 0)
        r = stop(u, e);
    else if (r == 0 && (wants & UPLOAD_WANT_SPILL) != 0)
        r = spill(u, e);
    else if (r == 0 && !u->holding)
        r = record_all(u, false, e);
    upload_table_answer(u, wants);
    return r;
}

int upload_pause(struct upload *u, struct err *e)
{
    int r = upload_check_open(u, e);
    if (r != 0 || u->state.kind == UPLOAD_COMPLETING) /* which the cache is told of when it is finished */
        return r;
    if (u->holding)
        upload_discard(u);
    bool broken = u->broken;
    uint64_t seq = u->state.seq;
    r = record_all(u, false, e);
    if (r == 0 && broken)
        r = err_set(e, ERR_TEMPORARY, "a part of the upload got lost");
    if (r == 0 && u->state.seq == seq) /* else its record would have met the end of the log */
        r = upload_check_alive(u, e);
    return r == 0 ? upload_cache(u, e) : r;
}
