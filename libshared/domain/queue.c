#include "queue_call.h"

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define TOKEN_SIZE (21 + ID_NONCE_SIZE)    /* "<fence>:<nonce>" */
#define MAX_GENERATION (UINT64_C(1) << 53) /* a number in Lua is exact below */

static const char *const default_classes[] = {"default", NULL};

/* --- States --- */

static const char *const state_names[VIDEO_STATES] = {
    [VIDEO_UPLOADING] = "uploading", [VIDEO_WAITING] = "waiting",     [VIDEO_ACTIVE] = "active",
    [VIDEO_DELAYED] = "delayed",     [VIDEO_COMPLETED] = "completed", [VIDEO_FAILED] = "failed",
    [VIDEO_CANCELLED] = "cancelled",
};

const char *video_state_name(enum video_state s)
{
    return state_names[s];
}

bool video_state_parse(const char *name, enum video_state *ret)
{
    for (size_t i = 0; i < VIDEO_STATES; i++)
        if (strcmp(name, state_names[i]) == 0) {
            *ret = (enum video_state)i;
            return true;
        }
    return false;
}

bool video_state_terminal(enum video_state s)
{
    return s == VIDEO_COMPLETED || s == VIDEO_FAILED || s == VIDEO_CANCELLED;
}

/* --- Calling scripts --- */

int queue_new(struct redis *redis, const struct queue_options *options, struct queue **ret, struct err *e)
{
    struct queue *q = mem_alloc(sizeof *q);

    if (q == NULL)
        return err_set(e, ERR_TEMPORARY, "queue: no memory");
    *q = (struct queue){.redis = redis, .options = *options};
    queue_bell_init(&q->bell);
    *ret = q;
    return 0;
}

void queue_free(struct queue *q)
{
    if (q == NULL)
        return;
    queue_bell_release(&q->bell);
    mem_free(q);
}

struct redis *queue_redis(struct queue *q)
{
    return q->redis;
}

static const struct {
    const char *verdict;
    enum err_kind kind;
    const char *text;
} verdicts[] = {
    {"BUSY", ERR_BUSY, "the index of videos is being rebuilt from the store"},
    {"FULL", ERR_CONFLICT, "the queue is full"},
    {"GONE", ERR_NOT_FOUND, "the video was deleted"},
    {"NONE", ERR_NOT_FOUND, "there is none"},
    {"STALE", ERR_STALE, "another generation or another claim is current"},
    {"CONFLICT", ERR_CONFLICT, "its state does not allow that"},
};

/* Hands the answer over when its verdict is OK. */
static int judge(const struct redis_script *script, const char *about, struct redis_reply *reply,
                 struct redis_reply **ret, struct err *e)
{
    REDIS_REPLY_AUTO struct redis_reply *owned = reply;
    const char *verdict = redis_reply_string(redis_reply_at(reply, 0));

    if (verdict != NULL && strcmp(verdict, "OK") == 0) {
        if (ret != NULL) {
            *ret = reply;
            owned = NULL;
        }
        return 0;
    }
    for (size_t i = 0; i < ARRAY_SIZE(verdicts); i++)
        if (verdict != NULL && strcmp(verdict, verdicts[i].verdict) == 0)
            return err_set(e, verdicts[i].kind, "%s %s: %s", script->name, about, verdicts[i].text);
    return err_set(e, ERR_BUG, "%s %s: unexpected answer", script->name, about);
}

static const char *const prefix[] = {QUEUE_PREFIX};

int queue_call(struct queue *q, const struct redis_script *script, const char *about, size_t args,
               const char *const *arg, struct redis_reply **ret, struct err *e)
{
    struct redis_reply *reply;
    int result = redis_script(q->redis, script, 1, prefix, args, arg, &reply, e);

    return result != 0 ? result : judge(script, about, reply, ret, e);
}

int queue_call_joint(struct queue *q, const struct redis_script *script, const char *about, size_t shared, size_t args,
                     const char *const *arg, struct redis_reply **ret, struct err *e)
{
    struct redis_reply *reply;
    int result = redis_script_joint(q->redis, script, 1, prefix, shared, args, arg, &reply, e);

    return result != 0 ? result : judge(script, about, reply, ret, e);
}

uint64_t queue_number(const struct redis_reply *reply)
{
    const char *text = redis_reply_string(reply);
    int64_t integer = redis_reply_integer(reply);
    uint64_t n = 0;

    if (text != NULL)
        return str_to_u64(text, &n) ? n : 0;
    return integer > 0 ? (uint64_t)integer : 0;
}

char *queue_text(const struct redis_reply *reply, bool *ret_failed)
{
    const char *text = redis_reply_string(reply);

    if (text == NULL || *text == '\0')
        return NULL;
    char *copy = mem_strdup(text);
    *ret_failed |= copy == NULL;
    return copy;
}

static const char *or_empty(const char *s)
{
    return s != NULL ? s : "";
}

/* --- Admission --- */

int queue_admit(struct queue *q, const char *video_id, uint64_t bound, uint64_t ttl_ms, struct err *e)
{
    return QUEUE_CALL(q, admit, video_id, NULL, e, video_id, num_u64(bound).s, num_u64(ttl_ms).s);
}

int queue_admit_renew(struct queue *q, const char *video_id, uint64_t ttl_ms, struct err *e)
{
    return QUEUE_CALL(q, admit_renew, video_id, NULL, e, video_id, num_u64(ttl_ms).s);
}

int queue_admit_drop(struct queue *q, const char *video_id, struct err *e)
{
    return redis_do(q->redis, NULL, e, "ZREM", QUEUE_PREFIX "admitted", video_id, NULL);
}

/* --- Jobs --- */

static bool class_valid(const char *name)
{
    size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-");

    return len > 0 && len <= 32 && name[len] == '\0';
}

static int check_generation(const char *video_id, uint64_t generation, struct err *e)
{
    if (!id_video_valid(video_id))
        return err_set(e, ERR_INVALID, "\"%.40s\" is no video id", video_id);
    if (generation < 1 || generation >= MAX_GENERATION)
        return err_set(e, ERR_INVALID, "video %s: %" PRIu64 " is no generation", video_id, generation);
    return 0;
}

int queue_enqueue(struct queue *q, const struct queue_job_spec *spec, bool *ret_existed, struct err *e)
{
    REDIS_REPLY_AUTO struct redis_reply *reply = NULL;
    const char *job_class = spec->job_class != NULL ? spec->job_class : default_classes[0];
    char list[64];
    int result = check_generation(spec->video_id, spec->generation, e);

    if (result != 0)
        return result;
    if (!class_valid(job_class) || spec->priority > 2)
        return err_set(e, ERR_INVALID, "job class \"%.40s\", priority %u: not allowed", job_class, spec->priority);
    str_format(list, sizeof list, "%s:%u", job_class, spec->priority);
    const char *const arg[] = {list,
                               spec->video_id,
                               num_u64(spec->generation).s,
                               num_u64(spec->created_ms).s,
                               num_u64(spec->size_bytes).s,
                               or_empty(spec->record_json)};
    result = queue_call_joint(q, &queue_script_enqueue, spec->video_id, 1, ARRAY_SIZE(arg), arg, &reply, e);
    if (result == 0 && ret_existed != NULL)
        *ret_existed = queue_number(redis_reply_at(reply, 1)) != 0;
    return result;
}

void queue_job_release(struct queue_job *job)
{
    mem_free(job->record);
    mem_free(job->last_error);
    job->record = job->last_error = NULL;
}

/* "<fence>:<nonce>" */
static bool token_parse(const char *job_id, const char *text, struct queue_token *ret)
{
    const char *colon = text != NULL ? strchr(text, ':') : NULL;

    return job_id != NULL && colon != NULL && id_job_parse(job_id, ret->video_id, &ret->generation) &&
           str_copy(ret->job_id, sizeof ret->job_id, job_id) &&
           str_to_u64_n(text, (size_t)(colon - text), &ret->fence) &&
           str_copy(ret->nonce, sizeof ret->nonce, colon + 1);
}

/* As claim.lua hands over; tells others of the jobs that are left. */
static int job_parse(struct queue *q, const struct redis_reply *reply, struct queue_job *ret, struct err *e)
{
    bool failed = false;
    struct queue_job job = {
        .attempts = queue_number(redis_reply_at(reply, 3)),
        .stalls = queue_number(redis_reply_at(reply, 4)),
        .size_bytes = queue_number(redis_reply_at(reply, 5)),
        .lease_ms = q->options.lease_ms,
        .cancelled = queue_number(redis_reply_at(reply, 6)) != 0,
        .exhausted = queue_number(redis_reply_at(reply, 7)) != 0,
    };

    if (!token_parse(redis_reply_string(redis_reply_at(reply, 1)), redis_reply_string(redis_reply_at(reply, 2)),
                     &job.token))
        return err_set(e, ERR_BUG, "claim: malformed token");
    job.record = queue_text(redis_reply_at(reply, 8), &failed);
    job.last_error = queue_text(redis_reply_at(reply, 9), &failed);
    if (failed) {
        queue_job_release(&job);
        return err_set(e, ERR_TEMPORARY, "claim %s: no memory", job.token.job_id);
    }
    queue_bell_wake(&q->bell, queue_number(redis_reply_at(reply, 10)));
    *ret = job;
    return 0;
}

/* What claims have in common: who claims, for how long, up to where, which classes. */
#define CLAIM_WORDS (4 + QUEUE_MAX_CLASSES)
struct claim_words {
    struct num_text lease, attempts, stalls;
};

/* Adds them to `words`, which has room for CLAIM_WORDS; they stay valid with *texts. */
static int claim_words(const struct queue *q, const char *worker, const char *nonce, const char *const *classes,
                       struct claim_words *texts, const char **words, size_t *count, struct err *e)
{
    const char *const *c = classes != NULL ? classes : default_classes;
    size_t first_class = *count + 4;

    if (nonce[0] == '\0' || strlen(nonce) >= ID_NONCE_SIZE || strchr(nonce, ':') != NULL)
        return err_set(e, ERR_BUG, "claim: a nonce has 1 to %d characters", ID_NONCE_SIZE - 1);
    *texts = (struct claim_words){num_u64(q->options.lease_ms), num_u64(q->options.attempts),
                                  num_u64(q->options.max_stalls)};
    words[(*count)++] = worker;
    words[(*count)++] = texts->lease.s;
    words[(*count)++] = texts->attempts.s;
    words[(*count)++] = texts->stalls.s;
    for (; *c != NULL; c++) {
        if (*count - first_class == QUEUE_MAX_CLASSES || !class_valid(*c))
            return err_set(e, ERR_INVALID, "job class \"%.40s\": malformed or too many", *c);
        words[(*count)++] = *c;
    }
    return 0;
}

int queue_claim(struct queue *q, const char *worker, const char *nonce, const char *const *classes,
                struct queue_job *ret, struct err *e)
{
    REDIS_REPLY_AUTO struct redis_reply *reply = NULL;
    const char *words[CLAIM_WORDS + 1];
    struct claim_words texts;
    size_t shared = 0;
    int result = claim_words(q, worker, nonce, classes, &texts, words, &shared, e);

    if (result != 0)
        return result;
    words[shared] = nonce;
    result = queue_call_joint(q, &queue_script_claim, nonce, shared, shared + 1, words, &reply, e);
    return result != 0 ? result : job_parse(q, reply, ret, e);
}

struct token_text {
    char generation[24], token[TOKEN_SIZE];
};

static struct token_text token_text(const struct queue_token *t)
{
    struct token_text text;

    str_format(text.generation, sizeof text.generation, "%" PRIu64, t->generation);
    str_format(text.token, sizeof text.token, "%" PRIu64 ":%s", t->fence, t->nonce);
    return text;
}

int queue_heartbeat(struct queue *q, const struct queue_token *t, const char *progress_json, bool *ret_cancel,
                    struct err *e)
{
    REDIS_REPLY_AUTO struct redis_reply *reply = NULL;
    struct token_text text = token_text(t);
    int result = QUEUE_CALL(q, heartbeat, t->job_id, &reply, e, t->video_id, text.generation, text.token,
                            num_u64(q->options.lease_ms).s, or_empty(progress_json));

    if (result == 0 && ret_cancel != NULL)
        *ret_cancel = queue_number(redis_reply_at(reply, 1)) != 0;
    return result;
}

static int check_terminal(const char *about, enum video_state state, struct err *e)
{
    if (!video_state_terminal(state))
        return err_set(e, ERR_BUG, "%s: \"%s\" ends nothing", about, video_state_name(state));
    return 0;
}

/* `next` may be NULL. */
static int ack(struct queue *q, const struct queue_token *t, enum video_state state, const char *outcome_json,
               const char *error, const struct queue_next *next, struct redis_reply **ret, struct err *e)
{
    struct token_text text = token_text(t);
    const char *words[1 + CLAIM_WORDS + 6] = {video_state_name(state)};
    struct claim_words texts;
    size_t shared = 1;
    int result = check_terminal(t->job_id, state, e);

    if (result == 0 && next != NULL)
        result = claim_words(q, next->worker, next->nonce, next->classes, &texts, words, &shared, e);
    if (result != 0)
        return result;
    size_t count = shared;
    words[count++] = t->video_id;
    words[count++] = text.generation;
    words[count++] = text.token;
    words[count++] = or_empty(outcome_json);
    words[count++] = or_empty(error);
    if (next != NULL)
        words[count++] = next->nonce;
    return queue_call_joint(q, &queue_script_ack, t->job_id, shared, count, words, ret, e);
}

int queue_ack(struct queue *q, const struct queue_token *t, enum video_state state, const char *outcome_json,
              const char *error, struct err *e)
{
    return ack(q, t, state, outcome_json, error, NULL, NULL, e);
}

int queue_ack_next(struct queue *q, const struct queue_token *t, enum video_state state, const char *outcome_json,
                   const char *error, struct queue_next *next, struct err *e)
{
    REDIS_REPLY_AUTO struct redis_reply *reply = NULL;
    int result = ack(q, t, state, outcome_json, error, next, &reply, e);

    if (result != 0)
        return result;
    bool got = redis_reply_length(reply) > 1;
    if (got && (result = job_parse(q, reply, &next->job, e)) != 0)
        return result;
    next->got = got;
    return 0;
}

int queue_fail(struct queue *q, const struct queue_token *t, const char *error, struct err *e)
{
    struct token_text text = token_text(t);

    return QUEUE_CALL(q, fail, t->job_id, NULL, e, t->video_id, text.generation, text.token, or_empty(error),
                      num_u64(q->options.backoff_ms).s, num_u64(q->options.backoff_max_ms).s,
                      num_u64(id_random_u64() >> 32).s);
}

int queue_release(struct queue *q, const struct queue_token *t, struct err *e)
{
    struct token_text text = token_text(t);

    return QUEUE_CALL(q, release, t->job_id, NULL, e, t->video_id, text.generation, text.token);
}

int queue_scan(struct queue *q, struct queue_scan *ret, struct err *e)
{
    REDIS_REPLY_AUTO struct redis_reply *reply = NULL;
    int result = QUEUE_CALL(q, scan, "jobs", &reply, e, num_u64(q->options.lease_ms).s,
                            num_u64(q->options.backoff_max_ms).s);

    if (result != 0)
        return result;
    *ret = (struct queue_scan){
        .promoted = (unsigned)queue_number(redis_reply_at(reply, 1)),
        .reclaimed = (unsigned)queue_number(redis_reply_at(reply, 2)),
        .extended = (unsigned)queue_number(redis_reply_at(reply, 3)),
    };
    return 0;
}

int queue_wait(struct queue *q, const char *const *classes, uint64_t wait_ms, struct err *e)
{
    size_t count = 0;

    if (classes == NULL)
        classes = default_classes;
    for (; classes[count] != NULL; count++)
        if (count == QUEUE_MAX_CLASSES || !class_valid(classes[count]))
            return err_set(e, ERR_INVALID, "job class \"%.40s\": malformed or too many", classes[count]);
    return wait_ms == 0 ? 0 : queue_bell_wait(&q->bell, q->redis, classes, wait_ms, e);
}

int queue_cancel(struct queue *q, const char *video_id, uint64_t generation, const char *outcome_json,
                 enum video_state *ret_state, struct err *e)
{
    REDIS_REPLY_AUTO struct redis_reply *reply = NULL;
    enum video_state state;
    int result = check_generation(video_id, generation, e);

    (void)outcome_json; /* only published outcomes are kept in the index */
    if (result == 0)
        result = QUEUE_CALL(q, cancel, video_id, &reply, e, video_id, num_u64(generation).s);
    if (result != 0)
        return result;
    const char *name = redis_reply_string(redis_reply_at(reply, 1));
    if (name == NULL || !video_state_parse(name, &state))
        return err_set(e, ERR_BUG, "cancel %s: malformed answer", video_id);
    if (ret_state != NULL)
        *ret_state = state;
    return 0;
}

int queue_settle(struct queue *q, const char *video_id, uint64_t generation, enum video_state state,
                 const char *outcome_json, const char *error, struct err *e)
{
    int result = check_generation(video_id, generation, e);

    if (result == 0)
        result = check_terminal(video_id, state, e);
    if (result != 0)
        return result;
    return QUEUE_CALL(q, settle, video_id, NULL, e, video_id, num_u64(generation).s, video_state_name(state),
                      or_empty(outcome_json), or_empty(error));
}
