#include "reconcile.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/str.h"
#include "domain/layout.h"
#include "domain/reconcile_video.h"
#include "domain/upload_writer.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define LEASE_MS 15000
#define LEASE_RENEW_MS 5000
#define IDENTITY_EVERY_MS 5000
#define FINISHING_EVERY_MS 20000
#define FINISHING_MIN_AGE_MS 10000
#define FINISHING_MAX_AGE_MS 600000
#define EXPIRED_EVERY_MS 20000
#define EXPIRED_MOST 1000 /* in one pass */
#define ABANDONED_EVERY_MS 60000
#define PATIENCE_MS 60000 /* reservations are renewed several times in it */
#define ONCE_WAIT_MS 60000
#define RETRY_MS 5000 /* after a pass that failed */
#define RECENT_MS (UINT64_C(60) * 60 * 1000)
#define DAY_TEXT "86400000"
#define DAILY_EVERY_MS (UINT64_C(60) * 60 * 1000) /* how often a replica asks whether a day is over */
#define DEFAULT_RATE 200
#define DEFAULT_ABANDONED_MS 120000
#define MAX_IDS 10000000
#define IDENTITY_SIZE 128

static struct metric passes = METRIC_COUNTER("weir_reconcile_passes_total", "Passes of the reconciler.", "pass");
static struct metric failures = METRIC_COUNTER("weir_reconcile_failures_total", "Videos that a pass had to leave.",
                                               "pass");

struct reconciler {
    const struct library *library;
    struct upload_service *uploads;
    uint64_t pause_us; /* per video */
    uint64_t expiry_ms, abandoned_ms;
    char holder[ID_NONCE_SIZE];
    _Atomic bool stopping, soon;
    uint64_t leased_ms;
    char identity[IDENTITY_SIZE]; /* of Redis, "" before the first look */
    bool redis_was_away, rebuilding;
    uint64_t identity_ms; /* when to look again */
    uint64_t patient_ms;  /* until then live writers show themselves */
    uint64_t due_ms[6];   /* by pass */
};

int reconcile_new(const struct reconcile_options *options, struct reconciler **ret, struct err *e)
{
    struct reconciler *r = mem_zalloc(sizeof *r);
    uint64_t rate = options->videos_per_second == 0 ? DEFAULT_RATE : options->videos_per_second;

    if (r == NULL)
        return err_set(e, ERR_TEMPORARY, "reconciler: no memory");
    r->library = options->library;
    r->uploads = options->uploads;
    r->pause_us = 1000000 / rate;
    r->expiry_ms = options->expiry_ms;
    r->abandoned_ms = options->abandoned_ms == 0 ? DEFAULT_ABANDONED_MS : options->abandoned_ms;
    *ret = r;
    return 0;
}

void reconcile_free(struct reconciler *r)
{
    mem_free(r);
}

void reconcile_stop(struct reconciler *r)
{
    atomic_store(&r->stopping, true);
}

void reconcile_soon(struct reconciler *r)
{
    atomic_store(&r->soon, true);
}

/* --- Ids --- */

typedef char video_id[ID_VIDEO_SIZE];

struct ids {
    video_id *id; /* owned */
    size_t count, room;
};

static void ids_release(struct ids *ids)
{
    mem_free(ids->id);
    *ids = (struct ids){0};
}

static int ids_add(struct ids *ids, const char *id, struct err *e)
{
    if (ids->count > 0 && strcmp(ids->id[ids->count - 1], id) == 0)
        return 0;
    if (ids->count == ids->room) {
        size_t room = ids->room == 0 ? 256 : ids->room * 2;
        video_id *grown = room <= MAX_IDS ? mem_resize(ids->id, room, sizeof *grown) : NULL;
        if (grown == NULL)
            return err_set(e, ERR_TEMPORARY, "no memory for %zu videos", room);
        ids->id = grown;
        ids->room = room;
    }
    memcpy(ids->id[ids->count++], id, sizeof *ids->id);
    return 0;
}

static int compare_ids(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void ids_sort(struct ids *ids)
{
    size_t kept = 0;

    if (ids->count == 0)
        return;
    qsort(ids->id, ids->count, sizeof *ids->id, compare_ids);
    for (size_t i = 1; i < ids->count; i++)
        if (strcmp(ids->id[kept], ids->id[i]) != 0 && ++kept != i)
            memcpy(ids->id[kept], ids->id[i], sizeof *ids->id);
    ids->count = kept + 1;
}

struct listing {
    struct ids *ids;
    size_t skip; /* bytes of the prefix before the id */
    uint64_t newer_than_ms;
};

static int add_listed(void *ctx, const struct store_entry *entry, struct err *e)
{
    const struct listing *listing = ctx;
    video_id id;

    if (entry->modified_ms < listing->newer_than_ms || strlen(entry->key) < listing->skip + sizeof id - 1)
        return 0;
    memcpy(id, entry->key + listing->skip, sizeof id - 1);
    id[sizeof id - 1] = '\0';
    return id_video_valid(id) ? ids_add(listing->ids, id, e) : 0;
}

/* Every id of which something under a dot-prefix was written since then. */
static int list_ids(const struct library *l, uint64_t newer_than_ms, struct ids *ids, struct err *e)
{
    const struct {
        const char *bucket, *prefix;
    } places[] = {
        {l->raw, LAYOUT_VIDEOS},
        {l->raw, LAYOUT_UPLOADS},
        {l->raw, LAYOUT_REQUESTS},
        {l->processed, LAYOUT_OUTCOMES},
    };

    for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
        struct listing listing = {.ids = ids, .skip = strlen(places[i].prefix), .newer_than_ms = newer_than_ms};
        int result = store_list(l->store, places[i].bucket, places[i].prefix, NULL, 0, add_listed, &listing, e);
        if (result != 0)
            return result;
    }
    ids_sort(ids);
    return 0;
}

static int add_marked(void *ctx, const char *id, struct err *e)
{
    return ids_add(ctx, id, e);
}

static int add_uploading(void *ctx, const struct queue_video *v, struct err *e)
{
    return ids_add(ctx, v->id, e);
}

static int list_uploading(const struct library *l, struct ids *ids, struct err *e)
{
    static const enum video_state uploading = VIDEO_UPLOADING;
    char cursor[QUEUE_CURSOR_SIZE] = "", next[QUEUE_CURSOR_SIZE] = "";
    bool rebuilding;

    do {
        int r = queue_video_list(l->queue, &uploading, cursor[0] == '\0' ? NULL : cursor, 100, add_uploading, ids, next,
                                 &rebuilding, e);
        if (r != 0)
            return r;
        memcpy(cursor, next, sizeof cursor);
    } while (cursor[0] != '\0');
    return 0;
}

/* --- A pass --- */

/* A name for each pass: a lease that went and came back is another one. */
static int take_lease(struct reconciler *r, struct err *e)
{
    id_nonce(r->holder);
    int result = queue_reconciler_lease(r->library->queue, r->holder, LEASE_MS, e);
    if (result == 0)
        r->leased_ms = clock_mono_ms();
    return result;
}

static int keep_lease(struct reconciler *r, struct err *e)
{
    uint64_t now_ms = clock_mono_ms();

    if (now_ms - r->leased_ms < LEASE_RENEW_MS)
        return 0;
    int result = queue_reconciler_renew(r->library->queue, r->holder, LEASE_MS, e);
    if (result == -ERR_CONFLICT)
        return err_set(e, ERR_STALE, "the lease was lost: Redis was emptied, or another replica took over");
    if (result == 0)
        r->leased_ms = now_ms;
    return result;
}

static void drop_lease(struct reconciler *r)
{
    (void)!queue_reconciler_release(r->library->queue, r->holder, NULL); /* else it runs out */
}

static void pause_briefly(const struct reconciler *r, uint64_t since_us)
{
    uint64_t spent_us = clock_mono_us() - since_us;

    if (spent_us + 1000 <= r->pause_us)
        clock_sleep_ms((r->pause_us - spent_us) / 1000);
}

/* One that fails for now ends the pass; one that is broken for good is left behind, and a loud line. */
static int look_at(struct reconciler *r, const struct reconcile_scope *scope, const char *id, const char *pass,
                   struct reconcile_counts *counts, struct err *e)
{
    int result = reconcile_video(scope, id, counts, e);

    if (result == 0)
        return 0;
    counts->failed++;
    metric_add(&failures, pass, 1);
    if (result == -ERR_TEMPORARY && !atomic_load(&r->stopping))
        return result;
    log_error(&(struct log_ids){.video = id}, "reconciling failed", "pass", pass, "error", e->text);
    return 0;
}

static int look_at_all(struct reconciler *r, const struct reconcile_scope *scope, const struct ids *ids,
                       const char *pass, struct reconcile_counts *counts, struct err *e)
{
    for (size_t i = 0; i < ids->count; i++) {
        uint64_t since_us = clock_mono_us();
        if (atomic_load(&r->stopping))
            return err_set(e, ERR_BUSY, "the process is ending");
        int result = scope->dry_run ? 0 : keep_lease(r, e);
        if (result == 0)
            result = look_at(r, scope, ids->id[i], pass, counts, e);
        if (result != 0)
            return result;
        pause_briefly(r, since_us);
    }
    return 0;
}

static void log_counts(const char *pass, const struct reconcile_counts *counts, uint64_t since_ms)
{
    log_info(NULL, "reconciled", "pass", pass, "videos", num_u64(counts->videos).s, "indexed",
             num_u64(counts->indexed).s, "completed", num_u64(counts->completed).s, "removed",
             num_u64(counts->removed).s, "collected", num_u64(counts->collected).s, "failed", num_u64(counts->failed).s,
             "ms", num_u64(clock_mono_ms() - since_ms).s);
}

/* --- The kinds of passes --- */

enum kind { REBUILD, FINISHING, EXPIRED, ABANDONED, RECENT, DAILY };
static const char *const kind_names[] = {"rebuild", "finishing", "expired", "abandoned", "recent", "daily"};

static int list_for(const struct library *l, enum kind kind, struct ids *ids, struct err *e)
{
    switch (kind) {
    case FINISHING:
        return queue_finishing_list(l->queue, FINISHING_MIN_AGE_MS, add_marked, ids, e);
    case EXPIRED:
        return upload_open_expired(l->queue, EXPIRED_MOST, add_marked, ids, e);
    case ABANDONED:
        return list_uploading(l, ids, e);
    case RECENT:
        return list_ids(l, clock_wall_ms() - RECENT_MS, ids, e);
    default:
        return list_ids(l, 0, ids, e);
    }
}

static int remove_mark(void *ctx, const char *id, struct err *e)
{
    const struct library *l = ctx;

    return queue_finishing_remove(l->queue, id, e);
}

/* Marks go with the job that they wait for. One that is still there after so long waits for nothing any more; a younger
 * one may stand for a record or a request that is just being written. */
static int forget_marks(struct library l, struct err *e)
{
    return queue_finishing_list(l.queue, FINISHING_MAX_AGE_MS, remove_mark, &l, e);
}

/* What has expired and is there still was finished before it was counted out; or there is nothing of it at all. */
static int count_out(const struct library *l, const struct ids *ids, struct err *e)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < ids->count; i++)
        r = upload_open_end(l->queue, ids->id[i], "", e);
    return r;
}

/* After a rebuild comes the daily pass, unless this day had one: what waits for a client, the rebuild could not count. */
static int conclude(struct reconciler *r, enum kind kind, const struct ids *ids, struct err *e)
{
    if (kind == FINISHING)
        return forget_marks(*r->library, e);
    if (kind == EXPIRED)
        return count_out(r->library, ids, e);
    if (kind == REBUILD)
        r->due_ms[DAILY] = 0;
    return kind == REBUILD ? queue_epoch_begin(r->library->queue, r->holder, e) : 0;
}

static int run_pass(struct reconciler *r, enum kind kind, bool dry_run, struct reconcile_counts *counts, struct err *e)
{
    struct reconcile_scope scope = {
        .library = r->library,
        .uploads = r->uploads,
        .expiry_ms = r->expiry_ms,
        .abandoned_ms = r->abandoned_ms,
        .dry_run = dry_run,
        .patient = kind == REBUILD || clock_mono_ms() < r->patient_ms,
        .collecting = kind == DAILY,
        .abandoned = kind == ABANDONED,
    };
    uint64_t since_ms = clock_mono_ms();
    struct ids ids = {0};

    int result = list_for(r->library, kind, &ids, e);
    if (result == 0)
        result = look_at_all(r, &scope, &ids, kind_names[kind], counts, e);
    if (result == 0 && !dry_run)
        result = conclude(r, kind, &ids, e);
    if (ids.count > 0 || kind == REBUILD || kind == DAILY)
        log_counts(kind_names[kind], counts, since_ms);
    metric_add(&passes, kind_names[kind], 1);
    ids_release(&ids);
    return result;
}

static int run_leased(struct reconciler *r, enum kind kind, bool dry_run, struct reconcile_counts *counts,
                      struct err *e)
{
    int result = dry_run ? 0 : take_lease(r, e);
    if (result != 0)
        return result;
    result = run_pass(r, kind, dry_run, counts, e);
    if (!dry_run)
        drop_lease(r);
    return result == 0 ? 0 : err_wrap(e, "%s pass", kind_names[kind]);
}

/* --- When --- */

/* One replica a day: who sets the key does it. */
static int claim_day(const struct library *l, bool *ret, struct err *e)
{
    REDIS_REPLY_AUTO struct redis_reply *reply = NULL;

    int r = redis_do(queue_redis(l->queue), &reply, e, "SET", "{weir}:daily", "1", "NX", "PX", DAY_TEXT, NULL);
    if (r == 0)
        *ret = redis_reply_type(reply) != REDIS_NIL;
    return r;
}

/* Asks Redis who it is; a restart or a failover may have lost the last writes. */
static int notice_changes(struct reconciler *r, struct err *e)
{
    char identity[IDENTITY_SIZE] = "", epoch[QUEUE_EPOCH_SIZE] = "";

    int result = queue_epoch(r->library->queue, epoch, e);
    if (result == 0)
        r->rebuilding = epoch[0] == '\0';
    if (result != 0 || (clock_mono_ms() < r->identity_ms && !r->redis_was_away))
        return result;
    result = redis_identity(queue_redis(r->library->queue), identity, sizeof identity, e);
    if (result != 0)
        return result;
    if (r->redis_was_away || strcmp(identity, r->identity) != 0) /* also the first look: who knows what was before */
        reconcile_soon(r);
    r->redis_was_away = false;
    memcpy(r->identity, identity, sizeof r->identity);
    r->identity_ms = clock_mono_ms() + IDENTITY_EVERY_MS;
    return 0;
}

static bool is_due(struct reconciler *r, enum kind kind)
{
    if (r->rebuilding != (kind == REBUILD)) /* until the epoch stands only the rebuild works */
        return false;
    if (kind == RECENT && !atomic_load(&r->soon))
        return false;
    return clock_mono_ms() >= r->due_ms[kind];
}

static void run_due(struct reconciler *r, enum kind kind)
{
    static const uint64_t every_ms[] = {0, FINISHING_EVERY_MS, EXPIRED_EVERY_MS, ABANDONED_EVERY_MS, 0, DAILY_EVERY_MS};
    struct reconcile_counts counts = {0};
    struct err e = {0};
    bool mine = true;

    if (kind == RECENT)
        atomic_store(&r->soon, false); /* what comes from here on counts for the next one */
    int result = kind == DAILY ? claim_day(r->library, &mine, &e) : 0;
    if (result == 0 && mine)
        result = run_leased(r, kind, false, &counts, &e);
    r->due_ms[kind] = clock_mono_ms() + (result == 0 ? every_ms[kind] : RETRY_MS);
    if (result == 0)
        return;
    if (kind == RECENT)
        reconcile_soon(r);
    if (kind == DAILY && mine) /* the day is not done */
        (void)!redis_do(queue_redis(r->library->queue), NULL, &e, "DEL", "{weir}:daily", NULL);
    if (result != -ERR_CONFLICT && !atomic_load(&r->stopping))
        log_warn(NULL, "reconciling will be tried again", "pass", kind_names[kind], "error", e.text);
}

void reconcile_tick(struct reconciler *r)
{
    struct err e = {0};

    if (atomic_load(&r->stopping))
        return;
    if (notice_changes(r, &e) != 0) { /* said by the readiness watch */
        r->redis_was_away = true;
        r->patient_ms = 0;
        return;
    }
    if (r->patient_ms == 0 || r->rebuilding) {
        r->patient_ms = clock_mono_ms() + PATIENCE_MS;
        r->due_ms[ABANDONED] = r->patient_ms;
    }
    for (enum kind kind = REBUILD; kind <= DAILY; kind++)
        if (is_due(r, kind))
            run_due(r, kind);
}

/* A pass of another replica is waited for. */
static int run_in_turn(struct reconciler *r, enum kind kind, bool dry_run, struct reconcile_counts *counts,
                       struct err *e)
{
    uint64_t deadline_ms = clock_mono_ms() + ONCE_WAIT_MS;
    int result;

    while ((result = run_leased(r, kind, dry_run, counts, e)) == -ERR_CONFLICT && clock_mono_ms() < deadline_ms)
        clock_sleep_ms(200);
    return result;
}

int reconcile_once(struct reconciler *r, bool dry_run, struct reconcile_counts *ret, struct err *e)
{
    int result = notice_changes(r, e);
    if (result == 0 && r->rebuilding)
        result = run_in_turn(r, REBUILD, dry_run, ret, e);
    if (result == 0)
        result = run_in_turn(r, DAILY, dry_run, ret, e);
    return result;
}
