#include "upload.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "domain/layout.h"
#include "domain/removal.h"
#include "domain/upload_log.h"

#include <inttypes.h>
#include <string.h>

#define IN_FLIGHT 3 /* parts on their way while the next one fills */
#define BLOCK_WAIT_MS 60000
#define RECORD_EVERY_MS 30000 /* well below the age at which an upload without a seat is taken for abandoned */

enum stage {
    ADMITTED,   /* a seat, nothing in the store */
    OPEN,       /* its writer is the only one who adds to it */
    STALE,      /* somebody else has closed it: touch nothing */
    COMPLETING, /* the reconciler may finish it as well */
    FINISHED,   /* it has a job */
};

struct upload {
    struct upload_service *service;
    const struct library *library;
    struct upload_seat seat;
    enum stage stage;
    uint64_t created_ms;
    struct buf record; /* JSON of the video's record */
    struct layout_key source;

    uint64_t seq, recorded_ms; /* of the last record in the log; monotonic */
    char writer[ID_NONCE_SIZE];
    char upload_id[STORE_UPLOAD_ID_SIZE]; /* "" while there is no multipart upload */
    unsigned next_number;
    uint64_t received, confirmed; /* bytes: from the client, by the store */

    struct block_chain filling;
    struct part_job jobs[IN_FLIGHT]; /* a ring: `flying` of them from `oldest` on */
    unsigned oldest, flying;
    struct store_part *parts; /* confirmed */
    size_t part_count, part_room, parts_recorded;
};

const char *upload_video_id(const struct upload *u)
{
    return u->seat.video_id;
}

int upload_new(struct upload_service *s, const char *client, struct upload **ret, enum upload_refusal *ret_refusal,
               struct err *e)
{
    struct upload *u = mem_zalloc(sizeof *u);

    *ret_refusal = UPLOAD_FAILED;
    if (u == NULL)
        return err_set(e, ERR_TEMPORARY, "no memory for an upload");
    int r = upload_seat_take(s, client, &u->seat, ret_refusal, e);
    if (r != 0) {
        mem_free(u);
        return r;
    }
    u->service = s;
    u->library = s->options.library;
    u->source = layout_source(u->seat.video_id);
    u->next_number = 1;
    id_nonce(u->writer);
    buf_init(&u->record, VIDEO_RECORD_MAX);
    *ret = u;
    return 0;
}

/* --- The log --- */

/* Adds the next record. `parts` are those it confirms. */
static int add_record(struct upload *u, enum upload_kind kind, struct store_part *parts, size_t count, struct err *e)
{
    struct upload_record record = {
        .kind = kind,
        .fence = 1, /* a form upload has one writer only */
        .written_ms = clock_wall_ms(),
        .offset = kind == UPLOAD_COMPLETING ? u->received : u->confirmed,
        .part_size = u->service->options.part_size,
        .reserved = STORE_PART_MAX,
        .parts = parts,
        .part_count = count,
    };
    memcpy(record.writer, u->writer, sizeof record.writer);
    memcpy(record.upload_id, u->upload_id, sizeof record.upload_id);

    int r = upload_log_append(u->library->store, u->library->raw, u->seat.video_id, u->seq + 1, &record, e);
    if (r == -ERR_STALE) {
        u->stage = STALE;
        return err_set(e, ERR_STALE, "the upload was closed: the video was deleted, or its writer seemed to be gone");
    }
    if (r != 0)
        return r;
    u->seq++;
    u->recorded_ms = clock_mono_ms();
    return 0;
}

/* --- Beginning --- */

static int write_video_record(struct upload *u, const char *title, const char *description, const char *filename,
                              struct err *e)
{
    MEM_AUTO struct video_record *v = mem_zalloc(sizeof *v);

    if (v == NULL)
        return err_set(e, ERR_TEMPORARY, "no memory for an upload");
    str_copy(v->id, sizeof v->id, u->seat.video_id);
    str_copy(v->title, sizeof v->title, title);
    str_copy(v->description, sizeof v->description, description);
    str_copy(v->filename, sizeof v->filename, filename);
    str_copy(v->client, sizeof v->client, u->seat.client);
    v->created_ms = u->created_ms = clock_wall_ms();
    return video_record_write(v, &u->record, e);
}

/* The next part. Each may be larger than the one before, so that the first is soon on its way. */
static void open_filling(struct upload *u)
{
    block_chain_open(&u->filling, u->service->pool, u->next_number);
}

static int store_video_record(struct upload *u, struct err *e)
{
    static const struct store_put_options first_wins = {.if_none_match = true, .content_type = "application/json"};

    int r = store_put_bytes(u->library->store, u->library->raw, layout_record(u->seat.video_id).s, buf_cstr(&u->record),
                            u->record.len, &first_wins, e);
    return r == -ERR_CONFLICT ? 0 : r; /* nobody else has this new id: it is ours, its answer was lost */
}

int upload_begin(struct upload *u, const char *title, const char *description, const char *filename, struct err *e)
{
    int r = write_video_record(u, title, description, filename, e);
    if (r != 0)
        return r;
    u->stage = OPEN;
    r = store_video_record(u, e);
    if (r == 0)
        r = add_record(u, UPLOAD_CREATED, NULL, 0, e);
    if (r == 0)
        r = queue_video_put(u->library->queue, u->seat.video_id, u->created_ms, buf_cstr(&u->record), e);
    if (r == 0)
        open_filling(u);
    return r;
}

/* --- Parts --- */

/* The log names the multipart upload before the first part is sent, so that none with bytes in it can be forgotten. One
 * that no record names is ours to abort, even when somebody else has closed the upload. */
static int open_multipart(struct upload *u, struct err *e)
{
    const struct library *l = u->library;

    if (u->upload_id[0] != '\0')
        return 0;
    int r = store_multipart_create(l->store, l->raw, u->source.s, NULL, u->upload_id, e);
    if (r != 0)
        return r;
    r = add_record(u, UPLOAD_WRITER, NULL, 0, e);
    if (r != 0)
        (void)!store_multipart_abort(l->store, l->raw, u->source.s, u->upload_id, NULL);
    return r;
}

static int keep_part(struct upload *u, const struct store_part *part, struct err *e)
{
    if (u->part_count == u->part_room) {
        size_t room = u->part_room == 0 ? 16 : u->part_room * 2;
        struct store_part *grown = mem_resize(u->parts, room, sizeof *grown);
        if (grown == NULL)
            return err_set(e, ERR_TEMPORARY, "no memory for an upload");
        u->parts = grown;
        u->part_room = room;
    }
    u->parts[u->part_count++] = *part;
    u->confirmed += part->size_bytes;
    return 0;
}

/* Waits for the part that was sent first. */
static int confirm_oldest(struct upload *u, struct err *e)
{
    struct part_job *job = &u->jobs[u->oldest];

    int r = part_sender_wait(u->service->sender, job);
    u->oldest = (u->oldest + 1) % IN_FLIGHT;
    u->flying--;
    if (r == -ERR_NOT_FOUND)
        return err_set(e, ERR_STALE, "the upload was closed: the video was deleted, or the store has forgotten it");
    if (r != 0) {
        *e = job->error;
        return r;
    }
    return keep_part(u, &job->part, e);
}

/* Now and then, the parts that were confirmed since the last record: a sign of life that does not hang on Redis. Each part
 * need not be recorded at once, since nobody can go on with a form that broke off. */
static int record_parts(struct upload *u, struct err *e)
{
    uint64_t every_ms = u->service->options.record_every_ms;
    size_t count = u->part_count - u->parts_recorded;

    if (count == 0 || clock_mono_ms() - u->recorded_ms < (every_ms == 0 ? RECORD_EVERY_MS : every_ms))
        return 0;
    int r = add_record(u, UPLOAD_PARTS, &u->parts[u->parts_recorded], count, e);
    if (r == 0)
        u->parts_recorded = u->part_count;
    return r;
}

static void submit_filling(struct upload *u)
{
    struct part_job *job = &u->jobs[(u->oldest + u->flying++) % IN_FLIGHT];

    *job = (struct part_job){
        .bucket = u->library->raw,
        .key = u->source.s,
        .upload_id = u->upload_id,
        .chain = u->filling,
        .part.number = u->next_number++,
    };
    part_sender_submit(u->service->sender, job);
    open_filling(u);
}

/* Sends the part that was being filled. Others are recorded only then, while as many as may be are on their way. */
static int send_filling(struct upload *u, struct err *e)
{
    block_chain_seal(&u->filling); /* before anything is waited for */
    int r = open_multipart(u, e);
    if (r == 0 && u->flying == IN_FLIGHT)
        r = confirm_oldest(u, e);
    if (r != 0)
        return r;
    submit_filling(u);
    return record_parts(u, e);
}

int upload_write(struct upload *u, const void *data, size_t len, struct err *e)
{
    const struct upload_options *options = &u->service->options;

    if (len > options->max_size - u->received)
        return err_set(e, ERR_TOO_LARGE, "the file is larger than %" PRIu64 " bytes, the most that is taken",
                       options->max_size);
    for (const char *at = data; len > 0;) {
        size_t taken = 0;
        int r = block_chain_append(&u->filling, at, len, BLOCK_WAIT_MS, &taken, e);
        u->received += taken;
        at += taken;
        len -= taken;
        if (r == 0 && len > 0) /* the part is full */
            r = send_filling(u, e);
        if (r != 0)
            return r;
    }
    return 0;
}

/* --- Finishing --- */

static int find_source(const struct library *l, const char *video_id, uint64_t size_bytes, bool *ret_there,
                       struct err *e)
{
    struct store_info info;

    int r = store_head(l->store, l->raw, layout_source(video_id).s, &info, e);
    if (r != 0 && r != -ERR_NOT_FOUND)
        return r;
    if (r == 0 && info.size_bytes != size_bytes)
        return err_set(e, ERR_BUG, "the source has %" PRIu64 " bytes instead of %" PRIu64, info.size_bytes, size_bytes);
    *ret_there = r == 0;
    return 0;
}

int upload_complete(const struct library *l, const char *video_id, const struct upload_record *completing,
                    bool *ret_done, struct err *e)
{
    if (completing->upload_id[0] != '\0') {
        int r = store_multipart_complete(l->store, l->raw, layout_source(video_id).s, completing->upload_id,
                                         completing->parts, completing->part_count, true, e);
        if (r == 0)
            *ret_done = true;
        if (r != -ERR_CONFLICT && r != -ERR_NOT_FOUND) /* these two: somebody was faster, so look */
            return r;
    }
    return find_source(l, video_id, completing->offset, ret_done, e);
}

static int complete_multipart(struct upload *u, struct err *e)
{
    struct upload_record completing = {.offset = u->received, .parts = u->parts, .part_count = u->part_count};
    bool done = false;

    memcpy(completing.upload_id, u->upload_id, sizeof completing.upload_id);
    int r = upload_complete(u->library, u->seat.video_id, &completing, &done, e);
    if (r == 0 && !done)
        return err_set(e, ERR_TEMPORARY, "the store has forgotten the upload");
    return r;
}

/* A file under one part. */
static int put_whole(struct upload *u, struct err *e)
{
    static const struct store_put_options first_wins = {.if_none_match = true};
    struct store_body body = block_chain_body(&u->filling);
    bool there = false;

    int r = store_put(u->library->store, u->library->raw, u->source.s, &body, &first_wins, NULL, e);
    if (r != -ERR_CONFLICT)
        return r;
    r = find_source(u->library, u->seat.video_id, u->received, &there, e);
    return r == 0 && !there ? err_set(e, ERR_TEMPORARY, "the source went again") : r;
}

/* The completing record will name these parts with all the others. */
static int send_rest(struct upload *u, struct err *e)
{
    int r = 0;

    if (u->upload_id[0] == '\0')
        return 0;
    if (u->filling.len > 0)
        r = send_filling(u, e);
    while (r == 0 && u->flying > 0)
        r = confirm_oldest(u, e);
    return r;
}

/* The mark lets the reconciler mend in seconds what a crash leaves half done. Without Redis it takes longer, and the bytes
 * are made safe all the same. */
static void mark_finishing(struct upload *u)
{
    struct log_ids ids = {.video = u->seat.video_id};
    struct err e = {0};

    if (queue_finishing_add(u->library->queue, u->seat.video_id, &e) != 0)
        log_warn(&ids, "no finishing mark", "error", e.text);
}

static int enqueue(struct upload *u, struct err *e)
{
    struct queue_job_spec spec = {
        .video_id = u->seat.video_id,
        .generation = 1,
        .priority = 1,
        .created_ms = u->created_ms,
        .size_bytes = u->received,
        .record_json = buf_cstr(&u->record),
    };
    struct err ignored = {0};

    int r = queue_enqueue(u->library->queue, &spec, NULL, e);
    if (r == -ERR_NOT_FOUND) { /* deleted while it was completed: what came after the deletion goes too */
        if (removal_objects(u->library, u->seat.video_id, NULL, &ignored) != 0)
            log_warn(&(struct log_ids){.video = u->seat.video_id}, "left to the reconciler", "error", ignored.text);
        return err_set(e, ERR_NOT_FOUND, "the video was deleted during its upload");
    }
    return r;
}

static void describe(struct upload *u, struct queue_video *ret)
{
    *ret = (struct queue_video){
        .state = VIDEO_WAITING,
        .generation = 1,
        .created_ms = u->created_ms,
        .updated_ms = clock_wall_ms(),
        .size_bytes = u->received,
        .record = buf_detach(&u->record),
    };
    memcpy(ret->id, u->seat.video_id, sizeof ret->id);
}

int upload_finish(struct upload *u, struct queue_video *ret, bool *ret_stored, struct err *e)
{
    *ret_stored = false;
    block_chain_seal(&u->filling);
    int r = send_rest(u, e);
    if (r != 0)
        return r;
    mark_finishing(u);
    r = add_record(u, UPLOAD_COMPLETING, u->parts, u->part_count, e);
    if (r != 0)
        return r;
    u->stage = COMPLETING;
    r = u->upload_id[0] != '\0' ? complete_multipart(u, e) : put_whole(u, e);
    if (r != 0)
        return r;
    *ret_stored = true;
    r = enqueue(u, e);
    if (r != 0)
        return r;
    u->stage = FINISHED;
    describe(u, ret);
    return 0;
}

/* --- Ending --- */

static void wait_for_parts(struct upload *u)
{
    for (; u->flying > 0; u->flying--) {
        (void)!part_sender_wait(u->service->sender, &u->jobs[u->oldest]);
        u->oldest = (u->oldest + 1) % IN_FLIGHT;
    }
}

/* Takes back everything, in an order that leaves the reconciler a way to do it should one step fail. */
static int take_back(struct upload *u, struct err *e)
{
    const struct library *l = u->library;
    const char *id = u->seat.video_id;
    UPLOAD_RECORD_AUTO struct upload_record before = {0};

    int r = upload_log_close(l->store, l->raw, id, true, &before, e);
    if (r == 0 && (before.kind == UPLOAD_COMPLETING || before.kind == UPLOAD_CLOSED))
        return 0; /* a record of ours did arrive, or somebody else was first: the rest is not ours to do */
    if (r == 0 && u->upload_id[0] != '\0')
        r = store_multipart_abort(l->store, l->raw, u->source.s, u->upload_id, e);
    if (r == 0)
        r = store_delete(l->store, l->raw, layout_record(id).s, e);
    if (r == 0)
        r = queue_video_forget(l->queue, id, e);
    return r;
}

void upload_free(struct upload *u)
{
    struct err e = {0};

    if (u == NULL)
        return;
    wait_for_parts(u);
    block_chain_release(&u->filling);
    if (u->stage == OPEN && take_back(u, &e) != 0)
        log_warn(&(struct log_ids){.video = u->seat.video_id}, "an aborted upload is left to the reconciler", "error",
                 e.text);
    upload_seat_leave(u->service, &u->seat, u->stage == FINISHED);
    buf_release(&u->record);
    mem_free(u->parts);
    mem_free(u);
}
