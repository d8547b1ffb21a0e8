#include "redis_pool.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#define MAX_BATCH 64         /* commands sent in one go */
#define MAX_JOINT_WORDS 1024 /* of those that go as one */
#define PATIENCE 8           /* which part of a round trip the next one waits for those who were answered by the last */

/* A thread's command, on its stack while it waits for the answer. */
struct call {
    const struct redis_words *words;
    size_t joined;     /* how many go as one with it, itself included; those behind the first of them have 0 */
    redisReply *reply; /* NULL: result and e say why */
    int result;
    struct err *e;

    bool leads; /* when its turn has come: its thread is to send what waits; else it is answered */
    sem_t turn;
    struct call *next;
};

struct redis_pool {
    char *host, *password;
    char name[300];
    uint16_t port;
    unsigned db;
    uint64_t connect_timeout_ms, read_timeout_ms;

    redisContext *shared;      /* the leader's; NULL: to be made */
    pthread_mutex_t lock;      /* of all below */
    struct call *first, *last; /* what waits for the shared connection */
    atomic_size_t waiting;
    size_t last_batch; /* calls */
    uint64_t last_us;  /* how long the last batch took */
    bool led;
    redisContext **idle; /* for blocking commands; a stack: the one used last is the likeliest to be alive */
    size_t idle_count, max_idle;
};

/* hiredis writes without MSG_NOSIGNAL; a connection that Redis closed must be an error, not the end of the process. */
static void ignore_sigpipe(void)
{
    struct sigaction action;

    if (sigaction(SIGPIPE, NULL, &action) == 0 && action.sa_handler == SIG_DFL) {
        action = (struct sigaction){.sa_handler = SIG_IGN};
        sigaction(SIGPIPE, &action, NULL);
    }
}

int redis_pool_new(const struct redis_options *options, struct redis_pool **ret, struct err *e)
{
    struct redis_pool *p = mem_zalloc(sizeof *p);

    if (p == NULL)
        return err_set(e, ERR_TEMPORARY, "redis: no memory");
    pthread_mutex_init(&p->lock, NULL);
    p->port = options->port;
    p->db = options->db;
    p->connect_timeout_ms = options->connect_timeout_ms != 0 ? options->connect_timeout_ms : 2000;
    p->read_timeout_ms = options->read_timeout_ms != 0 ? options->read_timeout_ms : 5000;
    p->max_idle = options->max_idle != 0 ? options->max_idle : 64;
    p->host = mem_strdup(options->host);
    p->password = mem_strdup(options->password != NULL ? options->password : "");
    p->idle = mem_calloc(p->max_idle, sizeof *p->idle);
    if (p->host == NULL || p->password == NULL || p->idle == NULL) {
        redis_pool_free(p);
        return err_set(e, ERR_TEMPORARY, "redis: no memory");
    }
    str_format(p->name, sizeof p->name, "redis %s:%u", p->host, p->port);
    ignore_sigpipe();
    *ret = p;
    return 0;
}

void redis_pool_free(struct redis_pool *p)
{
    if (p == NULL)
        return;
    for (size_t i = 0; p->idle != NULL && i < p->idle_count; i++)
        redisFree(p->idle[i]);
    if (p->shared != NULL)
        redisFree(p->shared);
    pthread_mutex_destroy(&p->lock);
    mem_free(p->idle);
    mem_free(p->host);
    mem_free(p->password);
    mem_free(p);
}

const char *redis_pool_name(const struct redis_pool *p)
{
    return p->name;
}

/* --- Error replies --- */

static const struct {
    const char *code;
    bool closes; /* the next connection may find the new master */
} temporary_errors[] = {
    {"READONLY", true},  {"MASTERDOWN", true},   {"UNBLOCKED", true}, {"NOAUTH", true}, {"ERR max", true},
    {"LOADING", false},  {"OOM", false},         {"MISCONF", false},  {"BUSY", false},  {"NOREPLICAS", false},
    {"TRYAGAIN", false}, {"CLUSTERDOWN", false}, {"NOSCRIPT", false},
};

bool redis_error_is(const char *text, const char *code)
{
    size_t len = strlen(code);

    return str_starts(text, code) && (text[len] == ' ' || text[len] == '\0');
}

enum err_kind redis_error_kind(const char *text)
{
    for (size_t i = 0; i < ARRAY_SIZE(temporary_errors); i++)
        if (redis_error_is(text, temporary_errors[i].code))
            return ERR_TEMPORARY;
    return ERR_BUG;
}

static bool closes_connection(const redisReply *reply)
{
    for (size_t i = 0; reply->type == REDIS_REPLY_ERROR && i < ARRAY_SIZE(temporary_errors); i++)
        if (temporary_errors[i].closes && redis_error_is(reply->str, temporary_errors[i].code))
            return true;
    return false;
}

/* --- One connection --- */

static struct timeval timeval_of(uint64_t ms)
{
    return (struct timeval){.tv_sec = (time_t)(ms / 1000), .tv_usec = (suseconds_t)(ms % 1000 * 1000)};
}

static void append(redisContext *c, const struct redis_words *words)
{
    const char *word[REDIS_MAX_WORDS]; /* hiredis wants the pointers writable */

    memcpy(word, words->word, words->count * sizeof *word);
    redisAppendCommandArgv(c, (int)words->count, word, words->lens);
}

/* NULL: the connection is of no more use; its late answers could be taken for another's. */
static redisReply *read_reply(const struct redis_pool *p, redisContext *c, const char *command, bool *ret_timed_out,
                              struct err *e)
{
    void *reply = NULL;

    errno = 0;
    if (redisGetReply(c, &reply) == REDIS_OK)
        return reply;
    *ret_timed_out = c->err == REDIS_ERR_IO && (errno == EAGAIN || errno == EWOULDBLOCK);
    err_set(e, ERR_TEMPORARY, "%s: %s: %s", p->name, command, *ret_timed_out ? "no answer in time" : c->errstr);
    return NULL;
}

/* AUTH and SELECT: any answer but OK ends the connection. */
static int introduce(const struct redis_pool *p, redisContext *c, const char *command, const char *argument,
                     struct err *e)
{
    bool timed_out;

    append(c, &(struct redis_words){.count = 2, .word = (const char *const[]){command, argument}});
    redisReply *reply = read_reply(p, c, command, &timed_out, e);
    if (reply == NULL)
        return -ERR_TEMPORARY;
    int result = 0;
    if (reply->type != REDIS_REPLY_STATUS)
        result = err_set(e, ERR_TEMPORARY, "%s: %s refused: %s", p->name, command,
                         reply->type == REDIS_REPLY_ERROR ? reply->str : "unexpected answer");
    freeReplyObject(reply);
    return result;
}

static int set_up(const struct redis_pool *p, redisContext *c, struct err *e)
{
    int result = 0;

    if (c->err != 0)
        return err_set(e, ERR_TEMPORARY, "%s: connect: %s", p->name, c->errstr);
    if (fcntl(c->fd, F_SETFD, FD_CLOEXEC) != 0 || redisSetTimeout(c, timeval_of(p->read_timeout_ms)) != REDIS_OK)
        return err_set(e, ERR_TEMPORARY, "%s: set up: %s", p->name, strerror(errno));
    redisEnableKeepAlive(c); /* helps to notice a lost peer; not needed */
    if (p->password[0] != '\0')
        result = introduce(p, c, "AUTH", p->password, e);
    if (result == 0 && p->db != 0)
        result = introduce(p, c, "SELECT", num_u64(p->db).s, e);
    return result;
}

static int connect_new(const struct redis_pool *p, redisContext **ret, struct err *e)
{
    redisContext *c = redisConnectWithTimeout(p->host, p->port, timeval_of(p->connect_timeout_ms));

    if (c == NULL)
        return err_set(e, ERR_TEMPORARY, "%s: connect: no memory", p->name);
    int result = set_up(p, c, e);
    if (result == 0)
        *ret = c;
    else
        redisFree(c);
    return result;
}

/* Nothing to read is what an idle connection should have. Its end, after a restart of Redis, is noticed here, before a
 * command is lost on it. */
static bool still_open(const redisContext *c)
{
    char byte;
    ssize_t got = recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

    return got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
}

static void fail_one(struct call *call, const struct err *e)
{
    call->result = -(int)e->kind;
    if (call->e != NULL)
        *call->e = *e;
}

/* --- Commands that go as one --- */

static bool joins(const struct redis_words *a, const struct redis_words *b)
{
    if (a->head == 0 || a->head != b->head)
        return false;
    for (size_t i = 0; i < a->head; i++)
        if (strcmp(a->word[i], b->word[i]) != 0)
            return false;
    return true;
}

/* Moves those that go as one with the first of these calls right behind it, in their order. */
static struct call *join_to(struct call *first)
{
    struct call *last = first;
    size_t words = first->words->count;

    first->joined = 1;
    for (struct call *before = first; before->next != NULL;) {
        struct call *call = before->next;
        size_t more = call->words->count - call->words->head;
        if (!joins(first->words, call->words) || words + more > MAX_JOINT_WORDS) {
            before = call;
            continue;
        }
        before->next = call->next;
        call->next = last->next;
        last->next = call;
        if (before == last)
            before = call;
        last = call;
        words += more;
        first->joined++;
        call->joined = 0;
    }
    return last;
}

static void join_all(struct call *batch)
{
    for (struct call *call = batch; call != NULL; call = call->next)
        call = join_to(call);
}

/* The first call that does not go as one with this one. */
static struct call *behind_joined(struct call *call)
{
    for (size_t i = call->joined; i > 0; i--)
        call = call->next;
    return call;
}

static void append_joined(redisContext *c, const struct call *first)
{
    const struct call *call = first;
    const char *word[MAX_JOINT_WORDS];
    size_t count = first->words->head;

    memcpy(word, first->words->word, count * sizeof *word);
    for (size_t i = 0; i < first->joined; i++, call = call->next) {
        size_t more = call->words->count - call->words->head;
        memcpy(word + count, call->words->word + call->words->head, more * sizeof *word);
        count += more;
    }
    redisAppendCommandArgv(c, (int)count, word, NULL);
}

/* NULL without memory, as hiredis has it. */
static redisReply *error_reply(redisContext *c, const char *text)
{
    const redisReadTask task = {.type = REDIS_REPLY_ERROR};
    char copy[512]; /* hiredis wants it writable */

    str_copy(copy, sizeof copy, text);
    return c->reader->fn->createString(&task, copy, strlen(copy));
}

/* Gives each of the calls its part of the answer; all get the same error when that is what came. */
static void share_out(redisContext *c, struct call *first, redisReply *reply)
{
    bool array = reply->type == REDIS_REPLY_ARRAY && reply->elements == first->joined;
    const char *text = reply->type == REDIS_REPLY_ERROR ? reply->str : "ERR not an answer for each call";
    struct call *call = first;
    struct err no_memory;

    for (size_t i = 0; i < first->joined; i++, call = call->next) {
        call->reply = array ? reply->element[i] : error_reply(c, text);
        if (array)
            reply->element[i] = NULL;
        if (call->reply == NULL && err_set(&no_memory, ERR_TEMPORARY, "redis: no memory") != 0)
            fail_one(call, &no_memory);
    }
    freeReplyObject(reply);
}

/* --- The shared connection --- */

static void fail_all(struct call *call, const struct err *e)
{
    for (; call != NULL; call = call->next)
        fail_one(call, e);
}

/* All commands in one go, then their answers in the same order. False, with *failure: Redis can't be reached, or hangs. */
static bool exchange(const struct redis_pool *p, redisContext **connection, struct call *batch, struct err *failure)
{
    bool closes = false, away = false;

    if (*connection != NULL && !still_open(*connection)) {
        redisFree(*connection);
        *connection = NULL;
    }
    if (*connection == NULL && connect_new(p, connection, failure) != 0) {
        fail_all(batch, failure);
        return false;
    }
    join_all(batch);
    for (struct call *call = batch; call != NULL; call = behind_joined(call))
        if (call->words->head != 0)
            append_joined(*connection, call);
        else
            append(*connection, call->words);
    for (struct call *call = batch; call != NULL; call = behind_joined(call)) {
        redisReply *reply = read_reply(p, *connection, call->words->word[0], &away, failure);
        if (reply == NULL) {
            fail_all(call, failure);
            closes = true;
            break;
        }
        closes |= closes_connection(reply);
        if (call->words->head != 0)
            share_out(*connection, call, reply);
        else
            call->reply = reply;
    }
    if (closes) {
        redisFree(*connection);
        *connection = NULL;
    }
    return !away;
}

/* Puts the call behind those that wait. True when its thread leads, since nobody does. */
static bool stand_in_line(struct redis_pool *p, struct call *call)
{
    pthread_mutex_lock(&p->lock);
    if (p->first == NULL)
        p->first = call;
    else
        p->last->next = call;
    p->last = call;
    p->waiting++;
    bool leads = !p->led;
    p->led = true;
    pthread_mutex_unlock(&p->lock);
    return leads;
}

/* With the lock held: lets those catch up who were answered last and are likely to be back at once, since Redis pays for
 * every batch with a read, a write and an fsync. A lonely caller never waits here, others for a part of a round trip. */
static void gather(struct redis_pool *p)
{
    uint64_t until_us = clock_mono_us() + p->last_us / PATIENCE;

    while (atomic_load_explicit(&p->waiting, memory_order_relaxed) < p->last_batch && clock_mono_us() < until_us)
        sched_yield();
}

/* With the lock held: takes what waits, the leader's own call first. */
static struct call *take_batch(struct redis_pool *p)
{
    struct call *batch = p->first, *end = batch;
    size_t count = 1;

    for (; end->next != NULL && count < MAX_BATCH; end = end->next)
        count++;
    p->first = end->next;
    p->waiting -= count;
    p->last_batch = count;
    end->next = NULL;
    return batch;
}

static void answer(struct call *calls)
{
    for (struct call *next; calls != NULL; calls = next) {
        next = calls->next; /* once it is answered, the call is gone with its stack */
        sem_post(&calls->turn);
    }
}

/* Sends what waits, the thread's own call first, and gives the turn to the next that waits. When Redis is away everybody
 * learns that now, instead of waiting for it in turn. */
static void lead(struct redis_pool *p)
{
    struct err failure = {.kind = ERR_TEMPORARY};
    struct call *failed = NULL, *next = NULL;

    gather(p);
    pthread_mutex_lock(&p->lock);
    struct call *batch = take_batch(p);
    pthread_mutex_unlock(&p->lock);
    uint64_t start_us = clock_mono_us();
    bool reached = exchange(p, &p->shared, batch, &failure);

    pthread_mutex_lock(&p->lock);
    p->last_us = clock_mono_us() - start_us;
    if (reached) {
        next = p->first;
    } else {
        failed = p->first;
        p->first = NULL;
        p->waiting = 0;
    }
    p->led = next != NULL;
    pthread_mutex_unlock(&p->lock);

    if (next != NULL) {
        next->leads = true;
        sem_post(&next->turn);
    }
    fail_all(failed, &failure);
    answer(failed);
    answer(batch->next);
}

int redis_pool_call(struct redis_pool *p, const struct redis_words *words, redisReply **ret, struct err *e)
{
    struct call call = {.words = words, .e = e};

    sem_init(&call.turn, 0, 0);
    bool leads = stand_in_line(p, &call);
    if (!leads) {
        while (sem_wait(&call.turn) != 0) /* a signal */
            ;
        leads = call.leads;
    }
    if (leads)
        lead(p);
    sem_destroy(&call.turn);
    if (call.result == 0)
        *ret = call.reply;
    return call.result;
}

/* --- Blocking commands --- */

static redisContext *take_idle(struct redis_pool *p)
{
    redisContext *c = NULL;

    pthread_mutex_lock(&p->lock);
    if (p->idle_count > 0)
        c = p->idle[--p->idle_count];
    pthread_mutex_unlock(&p->lock);
    return c;
}

static void give_back(struct redis_pool *p, redisContext *c)
{
    pthread_mutex_lock(&p->lock);
    bool keep = p->idle_count < p->max_idle;
    if (keep)
        p->idle[p->idle_count++] = c;
    pthread_mutex_unlock(&p->lock);
    if (!keep)
        redisFree(c);
}

int redis_pool_call_blocking(struct redis_pool *p, uint64_t block_ms, const struct redis_words *words, redisReply **ret,
                             struct err *e)
{
    struct call call = {.words = words, .e = e};
    redisContext *c = take_idle(p);
    struct err failure = {.kind = ERR_TEMPORARY};

    if (c != NULL && !still_open(c)) {
        redisFree(c);
        c = NULL;
    }
    if (c == NULL && connect_new(p, &c, &failure) != 0) {
        fail_all(&call, &failure);
        return call.result;
    }
    redisSetTimeout(c, timeval_of(block_ms + p->read_timeout_ms));
    exchange(p, &c, &call, &failure);
    if (c != NULL)
        give_back(p, c);
    if (call.result == 0)
        *ret = call.reply;
    return call.result;
}
