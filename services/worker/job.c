#include "job.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/str.h"
#include "child.h"
#include "domain/outcome.h"
#include "heartbeat.h"
#include "source.h"

#include <string.h>
#include <unistd.h>

static const double seconds_bounds[METRIC_BUCKETS] = {1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 14400};
static struct metric ended = METRIC_COUNTER("weir_worker_jobs_total", "Jobs that left this worker, by how.", "result");
static struct metric transcode_seconds = METRIC_HISTOGRAM(
    "weir_worker_transcode_seconds", "Time that transcoding took, by how it ended.", "result", seconds_bounds);
static struct metric source_bytes = METRIC_COUNTER("weir_worker_source_bytes_total",
                                                   "Bytes of sources read from the store.", NULL);
static struct metric uploaded_bytes = METRIC_COUNTER("weir_worker_uploaded_bytes_total",
                                                     "Bytes of segments, playlists and images uploaded.", NULL);

/* --- The outcome --- */

static void stop_uploads(struct job *job)
{
    if (job->assets == NULL)
        return;
    job->uploaded = assets_count(job->assets) > 0;
    metric_add(&uploaded_bytes, NULL, (double)assets_bytes(job->assets));
    assets_free(job->assets);
    job->assets = NULL;
}

/* Only after an outcome was read that names another version, or the deletion marker was seen. What a failure leaves is
 * collected by the reconciler. */
static void remove_output(struct job *job)
{
    struct layout_key prefix = layout_version_prefix(job->claim.token.video_id, job->version);
    uint64_t count = 0;
    struct err e;

    if (!job->uploaded)
        return;
    if (store_delete_prefix(job->worker->store, job->worker->settings->processed_bucket, prefix.s, &count, &e) != 0)
        log_warn(&job->ids, "output not removed", "version", job->version, "error", e.text);
    else
        log_info(&job->ids, "output removed", "version", job->version, "objects", num_u64(count).s);
    job->uploaded = false;
}

static bool video_deleted(struct job *job)
{
    bool deleted = false;
    struct err e;

    if (outcome_video_deleted(job->worker->store, job->worker->settings->raw_bucket, job->claim.token.video_id,
                              &deleted, &e) != 0)
        log_warn(&job->ids, "deletion marker not looked for", "error", e.text);
    return deleted;
}

/* `next` (may be NULL): the slot's next job comes with the end of this one. */
static int end_in_queue(struct job *job, const struct outcome *o, struct queue_next *next, struct err *e)
{
    const char *error = o->error[0] == '\0' ? NULL : o->error;
    struct queue *queue = job->worker->queue;

    return next == NULL ? queue_ack(queue, &job->claim.token, o->state, o->text, error, e)
                        : queue_ack_next(queue, &job->claim.token, o->state, o->text, error, next, e);
}

/* Brings the queue in line with the outcome that stands. A failure does no harm: whoever claims the job next sees it. */
static void acknowledge(struct job *job, const struct outcome *o)
{
    struct patience patience = {.max_ms = job->worker->settings->orphan_max_ms};
    char nonce[ID_NONCE_SIZE];
    struct queue_next next = {.worker = job->worker->name, .nonce = nonce};
    bool goes_on = !atomic_load(job->stopping) &&
                   !job->got_next; /* once: what was asked is asked until a reply comes */
    struct err e;
    int r;

    id_nonce(nonce);
    do
        r = end_in_queue(job, o, goes_on ? &next : NULL, &e);
    while (control_retry(&job->control, &patience, r));
    if (next.got) {
        job->next = next.job;
        job->got_next = true;
    }
    job->result = r == -ERR_STALE ? "stale" : video_state_name(o->state);
    if (r == -ERR_NOT_FOUND && video_deleted(job))
        remove_output(job);
    else if (r != 0)
        log_warn(&job->ids, "outcome stands, but the job was not acknowledged", "error", e.text);
}

static void adopt(struct job *job, const struct outcome *o)
{
    log_info(&job->ids, "outcome", "state", video_state_name(o->state), "version", o->version, "error", o->error);
    if (job->uploaded && (strcmp(o->version, job->version) != 0 || video_deleted(job)))
        remove_output(job);
    acknowledge(job, o);
}

/* Creates the outcome, or learns who was first; either way the job ends as it says. */
static int settle(struct job *job, const struct buf *text, struct err *e)
{
    const struct worker *w = job->worker;
    const struct queue_token *t = &job->claim.token;
    struct patience patience = {.max_ms = w->settings->orphan_max_ms};
    OUTCOME_AUTO struct outcome standing = {0};
    bool ours = false;

    int r = buf_check(text, "outcome", e);
    if (r != 0)
        return r;
    stop_uploads(job);
    do
        r = outcome_create(w->store, w->settings->processed_bucket, t->video_id, t->generation, text->data, text->len,
                           &standing, &ours, e);
    while (control_retry(&job->control, &patience, r));
    if (r != 0)
        return r;
    if (!ours)
        log_info(&job->ids, "somebody else was first");
    adopt(job, &standing);
    return 0;
}

static int settle_failed(struct job *job, const char *why, struct err *e)
{
    const struct queue_token *t = &job->claim.token;
    BUF_AUTO struct buf text;

    buf_init(&text, OUTCOME_MAX);
    int r = outcome_write_failed(t->video_id, t->generation, why, &text, e);
    return r == 0 ? settle(job, &text, e) : r;
}

static int settle_cancelled(struct job *job, struct err *e)
{
    const struct queue_token *t = &job->claim.token;
    BUF_AUTO struct buf text;

    buf_init(&text, OUTCOME_MAX);
    int r = outcome_write_cancelled(t->video_id, t->generation, &text, e);
    return r == 0 ? settle(job, &text, e) : r;
}

/* --- The steps --- */

static int find_outcome(struct job *job, struct err *e)
{
    const struct worker *w = job->worker;
    const struct queue_token *t = &job->claim.token;
    OUTCOME_AUTO struct outcome standing = {0};

    int r = outcome_read(w->store, w->settings->processed_bucket, t->video_id, t->generation, &standing, e);
    if (r == 0)
        adopt(job, &standing);
    return r == -ERR_NOT_FOUND ? 0 : r;
}

static int find_deletion(struct job *job, struct err *e)
{
    if (!video_deleted(job))
        return 0;
    control_stop(&job->control, STOP_DELETED);
    return control_check(&job->control, e);
}

/* What an uploader may read of a failed attempt: names of buckets and hosts are none of theirs. */
static const char *public_reason(const struct job *job, const struct err *why)
{
    return job->transcoding ? why->text : "a failure of the server, not of the video";
}

static int settle_given_up(struct job *job, const char *last_reason, struct err *e)
{
    char why[OUTCOME_ERROR_SIZE];

    str_format(why, sizeof why, "The video could not be processed in %llu attempts. The last one ended with: %s",
               (unsigned long long)job->claim.attempts, last_reason);
    return settle_failed(job, why, e);
}

static int end_hopeless(struct job *job, struct err *e)
{
    char why[128];

    if (job->claim.cancelled)
        return settle_cancelled(job, e);
    if (!job->claim.exhausted)
        return 0;
    if (job->claim.last_error != NULL)
        return settle_given_up(job, job->claim.last_error, e);
    str_format(why, sizeof why, "The video could not be processed: %llu workers in a row went away while they did.",
               (unsigned long long)job->claim.stalls);
    return settle_failed(job, why, e);
}

static int prepare(struct job *job, struct err *e)
{
    const struct settings *s = job->worker->settings;
    const struct queue_token *t = &job->claim.token;

    int r = scratch_make(s->scratch_dir, t->job_id, t->nonce, &job->scratch, e);
    if (r != 0)
        return r;
    job->has_scratch = true;
    return assets_start(&(struct assets_options){.store = job->worker->store,
                                                 .bucket = s->processed_bucket,
                                                 .video_id = t->video_id,
                                                 .version = job->version,
                                                 .dir_fd = job->scratch.fd,
                                                 .patience_ms = s->transcode_stall_ms,
                                                 .control = &job->control},
                        &job->assets, e);
}

static int run_child(struct job *job, struct source *source, int source_fd, struct err *e)
{
    struct err reason;

    int r = child_run(&(struct child_options){.program = job->worker->transcoder,
                                              .dir = job->scratch.path,
                                              .source_fd = source_fd,
                                              .settings = job->worker->settings,
                                              .assets = job->assets,
                                              .control = &job->control,
                                              .ids = &job->ids},
                      &job->permanent, e);
    /* A child that got no bytes can say nothing good about the video. */
    if (r != 0 && source_check(source, &reason) != 0) {
        job->permanent = false;
        *e = reason;
        r = -(int)reason.kind;
    } else if (r != 0) {
        job->transcoding = assets_check(job->assets, &reason) == 0;
    }
    return r;
}

static int transcode(struct job *job, struct err *e)
{
    const struct settings *s = job->worker->settings;
    struct layout_key key = layout_source(job->claim.token.video_id);
    struct source *source = NULL;
    uint64_t start_ms = clock_mono_ms();
    int source_fd;

    int r = source_start(&(struct source_options){.store = job->worker->store,
                                                  .bucket = s->raw_bucket,
                                                  .key = key.s,
                                                  .cache_bytes = s->source_cache,
                                                  .patience_ms = s->transcode_stall_ms / 2,
                                                  .control = &job->control},
                         &source, &source_fd, e);
    if (r != 0)
        return err_wrap(e, "source");
    log_info(&job->ids, "transcoding started", "source_bytes", num_u64(source_size(source)).s, "version", job->version);
    r = run_child(job, source, source_fd, e);
    close(source_fd);
    metric_add(&source_bytes, NULL, (double)source_fetched(source));
    source_free(source);
    metric_observe(&transcode_seconds, r == 0 ? "done" : "failed", (double)(clock_mono_ms() - start_ms) / 1000);
    if (r == 0)
        control_transcoded(&job->control);
    return r;
}

static int upload(struct job *job, struct err *e)
{
    return assets_finish(job->assets, e);
}

static int verify(struct job *job, struct err *e)
{
    return assets_verify(job->assets, e);
}

/* Waits for Redis, since a job that somebody else holds is theirs to publish. During a rebuild nobody holds it, and the
 * outcome is the best thing the rebuild can find. */
static int confirm(struct job *job, struct err *e)
{
    struct patience patience = {.max_ms = job->worker->settings->orphan_max_ms};
    bool cancelled = false;
    int r;

    do
        r = queue_heartbeat(job->worker->queue, &job->claim.token, NULL, &cancelled, e);
    while (control_retry(&job->control, &patience, r));
    if (r == -ERR_NOT_FOUND)
        control_stop(&job->control, STOP_DELETED);
    if (r == 0 && cancelled)
        control_stop(&job->control, STOP_CANCELLED);
    return r == -ERR_BUSY ? 0 : r;
}

static int publish(struct job *job, struct err *e)
{
    const struct queue_token *t = &job->claim.token;
    const char *result = assets_result(job->assets);
    BUF_AUTO struct buf text;

    buf_init(&text, OUTCOME_MAX);
    int r = outcome_write_published(t->video_id, t->generation, job->version, result, strlen(result), &text, e);
    if (r != 0)
        return err_set(e, ERR_TEMPORARY, "the transcoder's %s", e->text);
    return settle(job, &text, e);
}

static const struct step {
    const char *name;
    int (*run)(struct job *job, struct err *e);
} steps[] = {
    {"look for the outcome", find_outcome},          /* a crash between publish and ack: nothing left to do */
    {"look for the deletion marker", find_deletion}, /* nobody wants the video any more */
    {"end what is hopeless", end_hopeless},          /* past its attempts, or cancelled while nobody held it */
    {"prepare", prepare},                            /* scratch directory, uploaders */
    {"transcode",
     transcode},          /* the source goes to the child over the socket pair, segments are uploaded as they close */
    {"upload", upload},   /* the last segments, then media playlists, then the master playlist */
    {"verify", verify},   /* what the playlists name is in the store */
    {"confirm", confirm}, /* the lease is still ours */
    {"publish", publish}, /* the outcome, If-None-Match; the deletion marker once more; ack */
};

static int run_steps(struct job *job, struct err *e)
{
    for (size_t i = 0; i < ARRAY_SIZE(steps) && job->result == NULL; i++) {
        uint64_t start_ms = clock_mono_ms();
        log_debug(&job->ids, "step", "name", steps[i].name);
        int r = control_check(&job->control, e);
        if (r == 0)
            r = steps[i].run(job, e);
        if (r != 0 && job->permanent) /* the sentence is the uploader's */
            return r;
        if (r != 0)
            return err_wrap(e, "%s", steps[i].name);
        log_debug(&job->ids, "step done", "name", steps[i].name, "ms", num_u64(clock_mono_ms() - start_ms).s);
    }
    return 0;
}

/* --- Ends that are no outcome --- */

/* The attempt failed; the job waits for the next one. */
static void give_back(struct job *job, const char *why)
{
    struct patience patience = {.max_ms = job->worker->settings->orphan_max_ms};
    struct err e;
    int r;

    do
        r = queue_fail(job->worker->queue, &job->claim.token, why, &e);
    while (control_retry(&job->control, &patience, r));
    if (r != 0)
        log_info(&job->ids, "not given back, its lease will end", "error", e.text);
}

/* Somebody else has the job. When the generation has ended already, what this attempt uploaded can go. */
static void tidy(struct job *job)
{
    const struct worker *w = job->worker;
    const struct queue_token *t = &job->claim.token;
    OUTCOME_AUTO struct outcome standing = {0};
    struct err e;

    stop_uploads(job);
    int r = outcome_read(w->store, w->settings->processed_bucket, t->video_id, t->generation, &standing, &e);
    if (r == 0 && strcmp(standing.version, job->version) != 0)
        remove_output(job);
    else if (r != 0 && r != -ERR_NOT_FOUND)
        log_warn(&job->ids, "outcome not looked for", "error", e.text);
}

static void end_stopped(struct job *job, enum stop why, const struct err *where)
{
    struct err e;

    log_info(&job->ids, "job stopped", "reason", stop_name(why), "error", where->text);
    switch (why) {
    case STOP_CANCELLED:
        if (settle_cancelled(job, &e) != 0)
            log_warn(&job->ids, "not settled as cancelled, its lease will end", "error", e.text);
        job->result = "cancelled";
        break;
    case STOP_DELETED:
        stop_uploads(job);
        if (video_deleted(job))
            remove_output(job);
        give_back(job, "The video is being deleted.");
        job->result = "deleted";
        break;
    case STOP_RELEASED: /* whoever stopped it has handed it back */
        job->result = "released";
        break;
    default:
        tidy(job);
        job->result = why == STOP_ORPHANED ? "orphaned" : "stale";
    }
}

static void end_failed(struct job *job, const struct err *why)
{
    bool last = job->claim.attempts >= job->worker->settings->job_attempts;
    struct err e;

    log_warn(&job->ids, job->permanent ? "the video can't be processed" : "attempt failed", "attempt",
             num_u64(job->claim.attempts).s, "error", why->text);
    if (job->permanent && settle_failed(job, why->text, &e) == 0)
        return;
    if (!job->permanent && last && settle_given_up(job, public_reason(job, why), &e) == 0)
        return;
    give_back(job, public_reason(job, why));
    job->result = "retried";
}

/* --- Life --- */

int job_open(struct job *job, const struct worker *worker, struct queue_job *claim, const atomic_bool *stopping,
             struct err *e)
{
    *job = (struct job){.worker = worker, .claim = *claim, .stopping = stopping};
    job->ids = (struct log_ids){.video = job->claim.token.video_id, .job = job->claim.token.job_id};
    layout_version(claim->token.generation, claim->token.fence, claim->token.nonce, job->version);
    int r = control_init(&job->control, e);
    if (r != 0) {
        queue_job_release(&job->claim);
        return r;
    }
    heartbeat_add(worker->heartbeat, &job->claim.token, &job->control);
    return 0;
}

void job_run(struct job *job)
{
    uint64_t start_ms = clock_mono_ms();
    struct err e = {0};

    log_info(&job->ids, "claimed", "attempt", num_u64(job->claim.attempts).s, "stalls", num_u64(job->claim.stalls).s,
             "exhausted", job->claim.exhausted ? "yes" : "no");
    int r = run_steps(job, &e);
    enum stop stop = control_stopped(&job->control);
    if (r == -ERR_STALE && stop == STOP_NONE)
        stop = STOP_STALE;
    if (r != 0 && stop != STOP_NONE)
        end_stopped(job, stop, &e);
    else if (r != 0)
        end_failed(job, &e);
    log_info(&job->ids, "job left", "result", job->result, "seconds",
             num_double((double)(clock_mono_ms() - start_ms) / 1000, 1).s);
    metric_add(&ended, job->result, 1);
}

void job_close(struct job *job)
{
    heartbeat_remove(job->worker->heartbeat, &job->claim.token);
    stop_uploads(job);
    if (job->has_scratch)
        scratch_remove(&job->scratch);
    control_release(&job->control);
    queue_job_release(&job->claim);
}
