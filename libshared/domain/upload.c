#include "upload_session.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "domain/upload_log.h"
#include "proto/config.h"
#include "proto/sha256.h"

#include <inttypes.h>
#include <string.h>

#define TAKE_POLL_MS 2 /* doubled until … */
#define TAKE_POLL_MAX_MS 32
#define ASK_EVERY_MS 1000 /* what is asked may be lost */
#define FORM_FENCE 1      /* a form has one writer only */

const char *upload_video_id(const struct upload *u)
{
    return u->video_id;
}

const struct upload_state *upload_recorded(const struct upload *u)
{
    return &u->state;
}

/* --- The object --- */

static struct upload *new_session(struct upload_service *s, enum upload_origin origin, const char *video_id,
                                  const char *client)
{
    struct upload *u = mem_zalloc(sizeof *u);

    if (u == NULL)
        return NULL;
    u->service = s;
    u->library = s->options.library;
    u->origin = origin;
    u->length = UPLOAD_LENGTH_UNKNOWN;
    u->wake_fd = -1;
    str_copy(u->video_id, sizeof u->video_id, video_id);
    str_copy(u->client, sizeof u->client, client);
    u->source = upload_source(origin, u->video_id);
    id_nonce(u->nonce);
    buf_init(&u->record, VIDEO_RECORD_MAX);
    return u;
}

/* --- Beginning --- */

int upload_new(struct upload_service *s, enum upload_origin origin, const char *client, struct upload **ret,
               enum upload_refusal *ret_refusal, struct err *e)
{
    char video_id[ID_VIDEO_SIZE];

    *ret_refusal = UPLOAD_FAILED;
    int r = upload_check_room(s, ret_refusal, e);
    if (r != 0)
        return r;
    id_video(clock_wall_ms(), video_id);
    struct upload *u = new_session(s, origin, video_id, client);
    if (u == NULL)
        return err_set(e, ERR_TEMPORARY, "no memory for an upload");
    r = upload_table_add(u, e);
    if (r == 0) {
        r = upload_admit(u, ret_refusal, e);
        if (r != 0)
            upload_table_remove(u);
    }
    if (r != 0) {
        upload_release(u);
        return r;
    }
    if (origin == UPLOAD_FORM)
        u->fence = FORM_FENCE;
    *ret = u;
    return 0;
}

static int write_video_record(struct upload *u, const struct upload_spec *spec, uint64_t created_ms, struct err *e)
{
    MEM_AUTO struct video_record *v = mem_zalloc(sizeof *v);

    if (v == NULL)
        return err_set(e, ERR_TEMPORARY, "no memory for an upload");
    str_copy(v->id, sizeof v->id, u->video_id);
    str_copy(v->title, sizeof v->title, spec->title);
    str_copy(v->description, sizeof v->description, spec->description);
    str_copy(v->filename, sizeof v->filename, spec->filename);
    str_copy(v->client, sizeof v->client, u->client);
    v->created_ms = created_ms;
    return video_record_write(v, &u->record, e);
}

static int store_video_record(struct upload *u, struct err *e)
{
    static const struct store_put_options first_wins = {.if_none_match = true, .content_type = "application/json"};

    int r = store_put_bytes(u->library->store, u->library->raw, layout_record(u->video_id).s, buf_cstr(&u->record),
                            u->record.len, &first_wins, e);
    return r == -ERR_CONFLICT ? 0 : r; /* nobody else has this new id: it is ours, its answer was lost */
}

static int set_facts(struct upload *u, const struct upload_spec *spec, struct upload_facts *f, struct err *e)
{
    const struct upload_options *o = &u->service->options;

    f->origin = u->origin;
    f->created_ms = clock_wall_ms();
    f->expires_ms = f->created_ms + o->expiry_ms;
    f->part_size = spec->length == UPLOAD_LENGTH_UNKNOWN ? o->part_size : config_part_size(spec->length);
    if (f->part_size > o->part_size)
        f->part_size = o->part_size;
    str_copy(f->client, sizeof f->client, u->client);
    if (spec->secret != NULL)
        sha256_hex(spec->secret, strlen(spec->secret), f->secret_hash);
    f->metadata = mem_strdup(spec->metadata);
    f->concat = upload_concat_public(spec->concat);
    bool ok = (f->metadata != NULL) == (spec->metadata != NULL) && (f->concat != NULL) == (spec->concat != NULL);
    return ok ? 0 : err_set(e, ERR_TEMPORARY, "no memory for an upload");
}

static int check_length(const struct upload *u, uint64_t length, struct err *e)
{
    uint64_t max = u->service->options.max_size;

    if (length != UPLOAD_LENGTH_UNKNOWN && length > max)
        return err_set(e, ERR_TOO_LARGE,
                       "the file is larger than %" PRIu64 " bytes, the most that is taken; send a smaller one", max);
    return 0;
}

/* Video's record, log, index, cache. */
static int store_beginning(struct upload *u, struct upload_record *created, struct err *e)
{
    uint64_t created_ms = created->facts.created_ms;
    bool video = u->origin != UPLOAD_PARTIAL;
    int r = 0;

    if (u->origin != UPLOAD_FORM)
        r = queue_epoch(u->library->queue, u->epoch, e);
    if (r == 0 && video)
        r = store_video_record(u, e);
    if (r == 0)
        r = upload_add_record(u, created, NULL, e);
    if (r == 0 && video)
        r = queue_video_put(u->library->queue, u->video_id, created_ms, buf_cstr(&u->record), e);
    return r == 0 ? upload_cache(u, e) : r;
}

int upload_begin(struct upload *u, const struct upload_spec *spec, struct err *e)
{
    int r = check_length(u, spec->length, e);
    if (r != 0)
        return r;
    u->length = spec->length;
    memcpy(u->state.video_id, u->video_id, sizeof u->state.video_id);
    UPLOAD_RECORD_AUTO struct upload_record created = upload_next_record(u, UPLOAD_CREATED);
    r = set_facts(u, spec, &created.facts, e);
    if (r == 0 && u->origin != UPLOAD_PARTIAL)
        r = write_video_record(u, spec, created.facts.created_ms, e);
    if (r != 0)
        return r;
    u->stage = UPLOAD_OPEN;
    r = store_beginning(u, &created, e);
    u->begun = r == 0;
    return r;
}

int upload_declare(struct upload *u, uint64_t length, struct err *e)
{
    if (u->length != UPLOAD_LENGTH_UNKNOWN && u->length != length)
        return err_set(e, ERR_INVALID, "another length was declared before: %" PRIu64, u->length);
    if (length < u->received)
        return err_set(e, ERR_INVALID, "%" PRIu64 " bytes are there already", u->received);
    int r = check_length(u, length, e);
    if (r == 0)
        u->length = length;
    return r;
}

/* --- Looking --- */

/* What is known of it, and by whom. */
struct sight {
    struct upload_state state;
    char epoch[QUEUE_EPOCH_SIZE];
    bool held; /* somebody is its writer: the process `holder` */
    char holder[ID_NONCE_SIZE];
};

static void sight_release(struct sight *s)
{
    upload_state_release(&s->state);
}
#define SIGHT_AUTO __attribute__((cleanup(sight_release)))

/* A log that is completing does not tell whether it was brought to its end; the cache does. */
static int read_log(struct upload_service *s, const char *video_id, struct sight *ret, struct err *e)
{
    const struct library *l = s->options.library;
    UPLOAD_STATE_AUTO struct upload_state state = {0};

    int r = upload_fold(l, video_id, &state, e);
    if (r == 0 && state.kind == UPLOAD_COMPLETING)
        r = upload_bring_to_end(s, &state, ret->epoch, e);
    else if (r == 0 && state.kind != UPLOAD_CLOSED)
        r = upload_cache_put(l->queue, &state, ret->epoch, e);
    if (r != 0)
        return r;
    ret->state = state;
    state = (struct upload_state){0};
    return 0;
}

static int see(struct upload_service *s, const char *video_id, struct sight *ret, struct err *e)
{
    int r = upload_cache_get(s->options.library->queue, video_id, ret->epoch, &ret->state, &ret->held, ret->holder, e);
    if (r == -ERR_NOT_FOUND)
        return err_set(e, ERR_STALE, "the upload was deleted");
    if (r == 0 && ret->state.seq == 0)
        r = read_log(s, video_id, ret, e);
    return r;
}

static int check_secret(const struct upload_state *s, const char *secret, struct err *e)
{
    char hash[SHA256_HEX_SIZE];

    sha256_hex(secret, strlen(secret), hash);
    if (s->facts.secret_hash[0] == '\0' || !str_equal_secret(hash, s->facts.secret_hash))
        return err_set(e, ERR_NOT_FOUND, "there is no such upload");
    return 0;
}

/* Whoever is told that it has expired must not see it go on later: nothing may follow in its log. ERR_BUSY: its writer has
 * completed it just now. */
static int end_expired(const struct library *l, const char *video_id, struct err *e)
{
    UPLOAD_RECORD_AUTO struct upload_record before = {0};

    int r = upload_log_close(l->store, l->raw, video_id, true, &before, e);
    if (r != 0)
        return r;
    if (before.kind == UPLOAD_COMPLETING)
        return err_set(e, ERR_BUSY, "the upload is being finished");
    return err_set(e, ERR_STALE, "the upload has expired");
}

/* A finished one does not expire. */
static int check_alive(const struct library *l, const struct upload_state *s, struct err *e)
{
    if (s->kind == UPLOAD_CLOSED)
        return err_set(e, ERR_STALE, "the upload was deleted or given up");
    if (s->kind != UPLOAD_COMPLETING && s->facts.expires_ms != 0 && clock_wall_ms() > s->facts.expires_ms)
        return end_expired(l, s->video_id, e);
    return 0;
}

int upload_check_alive(struct upload *u, struct err *e)
{
    bool deleted = false;

    int r = check_alive(u->library, &u->state, e);
    if (r == 0)
        r = queue_deleted(u->library->queue, u->video_id, &deleted, e);
    if (r == 0 && deleted)
        r = err_set(e, ERR_STALE, "the upload was deleted");
    if (r == -ERR_STALE)
        u->stage = UPLOAD_LOST;
    return r;
}

static int see_own(struct upload_service *s, const char *video_id, const char *secret, struct sight *ret, struct err *e)
{
    if (!id_video_valid(video_id))
        return err_set(e, ERR_NOT_FOUND, "there is no such upload");
    int r = see(s, video_id, ret, e);
    if (r == 0 && ret->state.kind == UPLOAD_CLOSED && ret->state.facts.part_size == 0) /* emptied: nobody's */
        return check_alive(s->options.library, &ret->state, e);
    if (r == 0)
        r = check_secret(&ret->state, secret, e);
    if (r != 0)
        return r;
    r = check_alive(s->options.library, &ret->state, e);
    if (r != -ERR_BUSY)
        return r;
    upload_state_release(&ret->state);
    r = read_log(s, video_id, ret, e);
    if (r != 0 || ret->state.kind == UPLOAD_COMPLETING)
        return r;
    return ret->state.kind == UPLOAD_CLOSED ? check_alive(s->options.library, &ret->state, e)
                                            : err_set(e, ERR_BUSY, "its writer goes on; ask again in a moment");
}

static void hand_over(struct sight *s, struct upload_state *ret)
{
    *ret = s->state;
    s->state = (struct upload_state){0};
}

int upload_find(struct upload_service *s, const char *video_id, const char *secret, struct upload_state *ret,
                struct err *e)
{
    SIGHT_AUTO struct sight found = {0};

    int r = see_own(s, video_id, secret, &found, e);
    if (r == 0)
        hand_over(&found, ret);
    return r;
}

int upload_finish_full(struct upload_service *s, struct upload_state *state, struct err *e)
{
    struct queue_video video = {0};
    struct upload *u = NULL;
    enum upload_refusal refusal;
    bool stored;

    int r = upload_resume(s, state, state->facts.client, &u, &refusal, e);
    if (r != 0)
        return r;
    r = upload_finish(u, &video, &stored, e);
    if (r == 0) {
        upload_state_release(state);
        *state = u->state;
        u->state = (struct upload_state){0};
    }
    queue_video_release(&video);
    upload_free(u);
    return r;
}

/* Asks whoever receives it now to record what he has. */
static int ask_writer(struct upload_service *s, const struct sight *seen, bool *ret_asked, struct err *e)
{
    uint64_t deadline_ms = clock_mono_ms() + UPLOAD_LOOK_WAIT_MS;
    bool receiving = false;

    *ret_asked = upload_table_ask(s, seen->state.video_id, deadline_ms);
    if (*ret_asked || !seen->held || strcmp(seen->holder, upload_desk_process(s->desk)) == 0)
        return 0;
    int r = upload_seat_taken(s->options.library, seen->state.video_id, &receiving, e);
    if (r == 0 && receiving)
        upload_table_ask_remote(s, &seen->state, seen->holder, deadline_ms);
    *ret_asked = receiving;
    return r;
}

int upload_look(struct upload_service *s, const char *video_id, const char *secret, struct upload_state *ret,
                struct err *e)
{
    SIGHT_AUTO struct sight before = {0}, now = {0};
    struct sight *seen = &before;
    bool asked = false;

    int r = see_own(s, video_id, secret, &before, e);
    if (r == 0 && before.state.kind != UPLOAD_COMPLETING)
        r = ask_writer(s, &before, &asked, e);
    if (r == 0 && asked) {
        seen = &now;
        r = see_own(s, video_id, secret, &now, e);
    }
    if (r != 0)
        return r;
    if (upload_state_full(&seen->state) && seen->state.kind != UPLOAD_COMPLETING &&
        upload_finish_full(s, &seen->state, e) != 0)
        return err_set(e, ERR_BUSY, "every byte is there, and the upload is being finished; ask again in a moment");
    hand_over(seen, ret);
    return 0;
}

/* --- Taking up --- */

/* What the session knows of its log: what it knew, when it is still the writer; else what the cache says, or the log. */
static int take_up(struct upload *u, bool same_lease, struct upload_state *cached, struct err *e)
{
    bool knows = same_lease && u->state.seq > 0 && cached->seq <= u->state.seq;
    int r = 0;

    if (knows && cached->seq == u->state.seq)
        return 0;
    if (knows)
        return upload_cache_put(u->library->queue, &u->state, u->epoch, e);
    upload_state_release(&u->state);
    if (cached->seq > 0) {
        u->state = *cached;
        *cached = (struct upload_state){0};
    } else {
        r = upload_fold(u->library, u->video_id, &u->state, e);
        if (r == 0 && u->state.kind < UPLOAD_COMPLETING)
            r = upload_cache_put(u->library->queue, &u->state, u->epoch, e);
    }
    mem_free(u->state.held); /* by somebody who has not taken them */
    u->state.held = NULL;
    u->state.held_count = 0;
    u->last_number = u->state.reserved;
    return r;
}

/* Who holds it is asked to let go, now and then until he does. */
static int wait_for_lease(struct upload *u, const struct upload_take *take, uint64_t deadline_ms, uint64_t *ret_fence,
                          struct upload_state *ret_cached, enum upload_refusal *ret_refusal, struct err *e)
{
    struct queue *q = u->library->queue;
    enum upload_take_verdict verdict;
    char holder[ID_NONCE_SIZE];
    uint64_t ask_ms = 0, pause_ms = TAKE_POLL_MS;
    int r;

    while ((r = upload_writer_take(q, take, &verdict, holder, ret_fence, u->epoch, ret_cached, e)) == 0 &&
           verdict == UPLOAD_HELD) {
        uint64_t now_ms = clock_mono_ms();
        if (now_ms >= deadline_ms) {
            *ret_refusal = UPLOAD_LOCKED;
            return err_set(e, ERR_BUSY, "another server is writing to this upload and did not stop in time");
        }
        if (now_ms >= ask_ms) {
            (void)!upload_desk_ask(queue_redis(q), holder, u->video_id, UPLOAD_ASK_STOP, NULL);
            ask_ms = now_ms + ASK_EVERY_MS;
        }
        clock_sleep_ms(pause_ms);
        pause_ms = pause_ms < TAKE_POLL_MAX_MS ? pause_ms * 2 : pause_ms;
    }
    if (r == 0 && verdict == UPLOAD_FULL) {
        *ret_refusal = UPLOAD_QUEUE_FULL;
        return err_set(e, ERR_BUSY, "the queue is full");
    }
    if (r == -ERR_BUSY)
        *ret_refusal = UPLOAD_REBUILDING;
    return r == -ERR_NOT_FOUND ? err_set(e, ERR_STALE, "the upload was deleted") : r;
}

/* One that is full only has to be finished, which is never refused. */
static int take_lease(struct upload *u, bool full, uint64_t deadline_ms, enum upload_refusal *ret_refusal,
                      struct err *e)
{
    const struct upload_take take = {.video_id = u->video_id,
                                     .process = upload_desk_process(u->service->desk),
                                     .nonce = u->nonce,
                                     .bound = full ? UINT32_MAX : u->service->options.queue_max};
    UPLOAD_STATE_AUTO struct upload_state cached = {0};
    uint64_t fence = 0;

    int r = wait_for_lease(u, &take, deadline_ms, &fence, &cached, ret_refusal, e);
    if (r != 0)
        return r;
    upload_table_leased(u, true);
    r = take_up(u, fence == u->fence, &cached, e);
    u->fence = fence;
    return r == 0 ? check_alive(u->library, &u->state, e) : r;
}

/* Ends a session without a word to the log. */
static void leave(struct upload *u, bool linger)
{
    struct queue *q = u->library->queue;

    if (u->leased)
        (void)!upload_writer_rest(q, u->video_id, u->nonce, !linger, NULL); /* else it runs out */
    if (linger && upload_table_linger(u))
        return;
    if (linger)
        (void)!upload_writer_rest(q, u->video_id, u->nonce, true, NULL);
    upload_table_remove(u);
    upload_release(u);
}

int upload_resume(struct upload_service *s, const struct upload_state *found, const char *client, struct upload **ret,
                  enum upload_refusal *ret_refusal, struct err *e)
{
    uint64_t deadline_ms = clock_mono_ms() + UPLOAD_STOP_WAIT_MS;
    struct upload *u = NULL;

    *ret_refusal = UPLOAD_FAILED;
    struct upload *fresh = new_session(s, found->facts.origin, found->video_id, client);
    if (fresh == NULL)
        return err_set(e, ERR_TEMPORARY, "no memory for an upload");
    int r = upload_table_enter(fresh, deadline_ms, &u, e);
    if (r == -ERR_BUSY)
        *ret_refusal = UPLOAD_LOCKED;
    if (r != 0 || u != fresh)
        upload_release(fresh);
    if (r != 0)
        return r;
    r = take_lease(u, upload_state_full(found), deadline_ms, ret_refusal, e);
    if (r != 0) {
        leave(u, false);
        return r;
    }
    u->stage = UPLOAD_OPEN;
    u->begun = true;
    u->ordinal = 0;
    u->doubtful = false;
    upload_rewind(u);
    *ret = u;
    return 0;
}

/* --- Ending --- */

static void take_back(struct upload *u)
{
    struct err e = {0};

    if (u->stage == UPLOAD_OPEN && upload_take_back(u, &e) != 0)
        log_warn(&(struct log_ids){.video = u->video_id}, "an aborted upload is left to the reconciler", "error",
                 e.text);
}

void upload_free(struct upload *u)
{
    if (u == NULL)
        return;
    bool goes = !u->begun || !upload_resumable(u);

    upload_drop_bytes(u);
    if (u->holding)
        upload_discard(u);
    if (goes)
        take_back(u);
    if (u->seated)
        upload_dismiss(u);
    leave(u, u->leased && !goes && !u->doubtful && u->cache_ms == 0 && !upload_table_wanted_elsewhere(u) &&
                 (u->stage == UPLOAD_OPEN || u->stage == UPLOAD_STOPPED));
}
