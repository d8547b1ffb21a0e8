#include "redis.h"

#include "base/mem.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#define MAX_WORDS 64   /* of one command */
#define MAX_SCRIPTS 64 /* of one process */
#define SHA_SIZE 41

struct loaded_script {
    const struct redis_script *script;
    char sha[SHA_SIZE];
};

struct redis {
    char *host, *password;
    uint16_t port;
    unsigned db;
    uint64_t connect_timeout_ms, read_timeout_ms;

    pthread_mutex_t lock; /* of all below */
    redisContext **idle;  /* a stack: the connection used last is the likeliest to be alive */
    size_t idle_count, max_idle;
    struct loaded_script loaded[MAX_SCRIPTS];
    size_t loaded_count;
};

/* --- Replies: a redisReply under another name --- */

static const redisReply *raw(const struct redis_reply *reply)
{
    return (const redisReply *)reply;
}

void redis_reply_free(struct redis_reply *reply)
{
    if (reply != NULL)
        freeReplyObject(reply);
}

void redis_reply_auto(struct redis_reply **reply)
{
    redis_reply_free(*reply);
}

enum redis_type redis_reply_type(const struct redis_reply *reply)
{
    switch (reply == NULL ? REDIS_REPLY_NIL : raw(reply)->type) {
    case REDIS_REPLY_INTEGER:
        return REDIS_INTEGER;
    case REDIS_REPLY_STRING:
        return REDIS_STRING;
    case REDIS_REPLY_ARRAY:
        return REDIS_ARRAY;
    case REDIS_REPLY_STATUS:
        return REDIS_STATUS;
    default:
        return REDIS_NIL;
    }
}

int64_t redis_reply_integer(const struct redis_reply *reply)
{
    return redis_reply_type(reply) == REDIS_INTEGER ? raw(reply)->integer : 0;
}

const char *redis_reply_string(const struct redis_reply *reply)
{
    enum redis_type type = redis_reply_type(reply);

    return type == REDIS_STRING || type == REDIS_STATUS ? raw(reply)->str : NULL;
}

size_t redis_reply_length(const struct redis_reply *reply)
{
    if (redis_reply_type(reply) == REDIS_ARRAY)
        return raw(reply)->elements;
    return redis_reply_string(reply) != NULL ? (size_t)raw(reply)->len : 0;
}

const struct redis_reply *redis_reply_at(const struct redis_reply *reply, size_t i)
{
    if (redis_reply_type(reply) != REDIS_ARRAY || i >= raw(reply)->elements)
        return NULL;
    return (const struct redis_reply *)raw(reply)->element[i];
}

const char *redis_reply_field(const struct redis_reply *reply, const char *field)
{
    for (size_t i = 0; i + 1 < redis_reply_length(reply); i += 2) {
        const char *name = redis_reply_string(redis_reply_at(reply, i));
        if (name != NULL && strcmp(name, field) == 0)
            return redis_reply_string(redis_reply_at(reply, i + 1));
    }
    return NULL;
}

/* --- Connections --- */

static struct timeval timeval_of(uint64_t ms)
{
    return (struct timeval){.tv_sec = (time_t)(ms / 1000), .tv_usec = (suseconds_t)(ms % 1000 * 1000)};
}

/* hiredis writes without MSG_NOSIGNAL; a connection that Redis closed must be an error, not the end of the process. */
static void ignore_sigpipe(void)
{
    struct sigaction action;

    if (sigaction(SIGPIPE, NULL, &action) == 0 && action.sa_handler == SIG_DFL) {
        action = (struct sigaction){.sa_handler = SIG_IGN};
        sigaction(SIGPIPE, &action, NULL);
    }
}

int redis_new(const struct redis_options *options, struct redis **ret, struct err *e)
{
    struct redis *r = mem_zalloc(sizeof *r);

    if (r == NULL)
        return err_set(e, ERR_TEMPORARY, "redis: no memory");
    pthread_mutex_init(&r->lock, NULL);
    r->port = options->port;
    r->db = options->db;
    r->connect_timeout_ms = options->connect_timeout_ms != 0 ? options->connect_timeout_ms : 2000;
    r->read_timeout_ms = options->read_timeout_ms != 0 ? options->read_timeout_ms : 5000;
    r->max_idle = options->max_idle != 0 ? options->max_idle : 64;
    r->host = mem_strdup(options->host);
    r->password = mem_strdup(options->password != NULL ? options->password : "");
    r->idle = mem_calloc(r->max_idle, sizeof *r->idle);
    if (r->host == NULL || r->password == NULL || r->idle == NULL) {
        redis_free(r);
        return err_set(e, ERR_TEMPORARY, "redis: no memory");
    }
    ignore_sigpipe();
    *ret = r;
    return 0;
}

void redis_free(struct redis *r)
{
    if (r == NULL)
        return;
    while (r->idle_count > 0)
        redisFree(r->idle[--r->idle_count]);
    pthread_mutex_destroy(&r->lock);
    mem_free(r->idle);
    mem_free(r->host);
    mem_free(r->password);
    mem_free(r);
}

/* One command on one connection. NULL: the connection is of no more use. */
static redisReply *exchange(redisContext *c, size_t argc, const char *const *argv, const size_t *lens)
{
    const char *words[MAX_WORDS]; /* hiredis wants the pointers writable */

    memcpy(words, argv, argc * sizeof *words);
    return redisCommandArgv(c, (int)argc, words, lens);
}

/* AUTH and SELECT: an answer other than OK is an error of the connection. */
static int introduce(const struct redis *r, redisContext *c, const char *command, const char *argument, struct err *e)
{
    redisReply *reply = exchange(c, 2, (const char *const[]){command, argument}, NULL);
    int result = 0;

    if (reply == NULL)
        result = err_set(e, ERR_TEMPORARY, "redis %s:%u: %s: %s", r->host, r->port, command, c->errstr);
    else if (reply->type != REDIS_REPLY_STATUS)
        result = err_set(e, ERR_TEMPORARY, "redis %s:%u: %s refused: %s", r->host, r->port, command,
                         reply->type == REDIS_REPLY_ERROR ? reply->str : "unexpected answer");
    if (reply != NULL)
        freeReplyObject(reply);
    return result;
}

static int set_up(const struct redis *r, redisContext *c, struct err *e)
{
    if (c->err != 0)
        return err_set(e, ERR_TEMPORARY, "redis %s:%u: connect: %s", r->host, r->port, c->errstr);
    if (fcntl(c->fd, F_SETFD, FD_CLOEXEC) != 0 || redisSetTimeout(c, timeval_of(r->read_timeout_ms)) != REDIS_OK)
        return err_set(e, ERR_TEMPORARY, "redis %s:%u: set up: %s", r->host, r->port, strerror(errno));
    redisEnableKeepAlive(c); /* helps to notice a lost peer; not needed */
    if (r->password[0] != '\0' && introduce(r, c, "AUTH", r->password, e) != 0)
        return -(int)e->kind;
    if (r->db != 0 && introduce(r, c, "SELECT", num_u64(r->db).s, e) != 0)
        return -(int)e->kind;
    return 0;
}

static int connect_new(const struct redis *r, redisContext **ret, struct err *e)
{
    struct err local;
    redisContext *c = redisConnectWithTimeout(r->host, r->port, timeval_of(r->connect_timeout_ms));

    if (c == NULL)
        return err_set(e, ERR_TEMPORARY, "redis %s:%u: connect: no memory", r->host, r->port);
    if (set_up(r, c, e != NULL ? e : &local) != 0) {
        redisFree(c);
        return -(int)(e != NULL ? e : &local)->kind;
    }
    *ret = c;
    return 0;
}

/* Nothing to read is what an idle connection should have. Its end, after a restart of Redis, is noticed here, before a
 * command is lost on it. */
static bool still_open(const redisContext *c)
{
    char byte;
    ssize_t got = recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

    return got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
}

static int borrow(struct redis *r, redisContext **ret, struct err *e)
{
    for (;;) {
        redisContext *c = NULL;
        pthread_mutex_lock(&r->lock);
        if (r->idle_count > 0)
            c = r->idle[--r->idle_count];
        pthread_mutex_unlock(&r->lock);
        if (c == NULL)
            return connect_new(r, ret, e);
        if (still_open(c)) {
            *ret = c;
            return 0;
        }
        redisFree(c);
    }
}

static void give_back(struct redis *r, redisContext *c)
{
    pthread_mutex_lock(&r->lock);
    bool keep = r->idle_count < r->max_idle;
    if (keep)
        r->idle[r->idle_count++] = c;
    pthread_mutex_unlock(&r->lock);
    if (!keep)
        redisFree(c);
}

/* --- Error replies --- */

static const struct {
    const char *code;
    bool closes; /* the next connection may find the new master */
} temporary_errors[] = {
    {"READONLY", true}, {"MASTERDOWN", true}, {"UNBLOCKED", true},    {"NOAUTH", true},      {"LOADING", false},
    {"OOM", false},     {"MISCONF", false},   {"BUSY", false},        {"NOREPLICAS", false}, {"TRYAGAIN", false},
    {"ERR max", true},  {"NOSCRIPT", false},  {"CLUSTERDOWN", false},
};

static bool begins_with_code(const char *text, const char *code)
{
    return str_starts(text, code) && (text[strlen(code)] == ' ' || text[strlen(code)] == '\0');
}

static enum err_kind classify(const char *text, bool *ret_closes)
{
    for (size_t i = 0; i < ARRAY_SIZE(temporary_errors); i++)
        if (begins_with_code(text, temporary_errors[i].code)) {
            *ret_closes = temporary_errors[i].closes;
            return ERR_TEMPORARY;
        }
    *ret_closes = false;
    return ERR_BUG;
}

/* --- Commands --- */

/* `noscript` (may be NULL) is set when the server does not know a script; the result is an error then too. */
static int command(struct redis *r, uint64_t block_ms, size_t argc, const char *const *argv, const size_t *lens,
                   struct redis_reply **ret, bool *noscript, struct err *e)
{
    redisContext *c;
    int result;

    if (argc == 0 || argc > MAX_WORDS)
        return err_set(e, ERR_BUG, "redis: a command of %zu words", argc);
    if ((result = borrow(r, &c, e)) != 0)
        return result;

    if (block_ms != 0)
        redisSetTimeout(c, timeval_of(block_ms + r->read_timeout_ms));
    redisReply *reply = exchange(c, argc, argv, lens);
    if (reply == NULL) { /* also after a time-out: the answer could still come and be taken for another's */
        bool timed_out = c->err == REDIS_ERR_IO && (errno == EAGAIN || errno == EWOULDBLOCK);
        result = err_set(e, ERR_TEMPORARY, "redis %s:%u: %s: %s", r->host, r->port, argv[0],
                         timed_out ? "no answer in time" : c->errstr);
        redisFree(c);
        return result;
    }

    bool closes = false;
    if (reply->type == REDIS_REPLY_ERROR) {
        if (noscript != NULL)
            *noscript = begins_with_code(reply->str, "NOSCRIPT");
        result = err_set(e, classify(reply->str, &closes), "redis %s:%u: %s: %s", r->host, r->port, argv[0],
                         reply->str);
    }
    if (block_ms != 0 && redisSetTimeout(c, timeval_of(r->read_timeout_ms)) != REDIS_OK)
        closes = true;
    if (closes)
        redisFree(c);
    else
        give_back(r, c);
    if (result == 0 && ret != NULL)
        *ret = (struct redis_reply *)reply;
    else
        freeReplyObject(reply);
    return result;
}

int redis_command(struct redis *r, size_t argc, const char *const *argv, const size_t *lens, struct redis_reply **ret,
                  struct err *e)
{
    return command(r, 0, argc, argv, lens, ret, NULL, e);
}

int redis_command_blocking(struct redis *r, uint64_t block_ms, size_t argc, const char *const *argv,
                           struct redis_reply **ret, struct err *e)
{
    return command(r, block_ms, argc, argv, NULL, ret, NULL, e);
}

int redis_do(struct redis *r, struct redis_reply **ret, struct err *e, ...)
{
    const char *words[MAX_WORDS];
    size_t count = 0;
    va_list args;

    va_start(args, e);
    const char *word = va_arg(args, const char *);
    for (; word != NULL && count < MAX_WORDS; word = va_arg(args, const char *))
        words[count++] = word;
    va_end(args);
    if (word != NULL)
        return err_set(e, ERR_BUG, "redis: a command of more than %d words", MAX_WORDS);
    return redis_command(r, count, words, NULL, ret, e);
}

/* --- Scripts --- */

static bool known_sha(struct redis *r, const struct redis_script *script, char ret[SHA_SIZE])
{
    bool found = false;

    pthread_mutex_lock(&r->lock);
    for (size_t i = 0; i < r->loaded_count && !found; i++) {
        found = r->loaded[i].script == script;
        if (found)
            memcpy(ret, r->loaded[i].sha, SHA_SIZE);
    }
    pthread_mutex_unlock(&r->lock);
    return found;
}

static void remember_sha(struct redis *r, const struct redis_script *script, const char *sha)
{
    pthread_mutex_lock(&r->lock);
    size_t i = 0;
    while (i < r->loaded_count && r->loaded[i].script != script) /* two threads may have loaded it at once */
        i++;
    if (i < MAX_SCRIPTS) {
        r->loaded[i].script = script;
        memcpy(r->loaded[i].sha, sha, SHA_SIZE);
        r->loaded_count = i == r->loaded_count ? i + 1 : r->loaded_count;
    }
    pthread_mutex_unlock(&r->lock);
}

/* The SHA1 under which the server knows the script. */
static int find_sha(struct redis *r, const struct redis_script *script, char ret[SHA_SIZE], struct err *e)
{
    REDIS_REPLY_AUTO struct redis_reply *reply = NULL;
    int result;

    if (known_sha(r, script, ret))
        return 0;
    if ((result = redis_do(r, &reply, e, "SCRIPT", "LOAD", script->source, NULL)) != 0)
        return result;
    if (redis_reply_length(reply) != SHA_SIZE - 1 || redis_reply_string(reply) == NULL)
        return err_set(e, ERR_BUG, "redis: SCRIPT LOAD answered no SHA1");
    memcpy(ret, redis_reply_string(reply), SHA_SIZE);
    remember_sha(r, script, ret);
    return 0;
}

int redis_script(struct redis *r, const struct redis_script *script, size_t keys, const char *const *key, size_t args,
                 const char *const *arg, struct redis_reply **ret, struct err *e)
{
    const char *words[MAX_WORDS];
    struct num_text key_count = num_u64(keys);
    char sha[SHA_SIZE];
    bool noscript = false;
    int result;

    if (keys > MAX_WORDS || args > MAX_WORDS || 3 + keys + args > MAX_WORDS)
        return err_set(e, ERR_BUG, "redis: script %s with %zu keys and %zu arguments", script->name, keys, args);
    if ((result = find_sha(r, script, sha, e)) != 0)
        return result;
    words[0] = "EVALSHA";
    words[1] = sha;
    words[2] = key_count.s;
    for (size_t i = 0; i < keys; i++)
        words[3 + i] = key[i];
    for (size_t i = 0; i < args; i++)
        words[3 + keys + i] = arg[i];

    result = command(r, 0, 3 + keys + args, words, NULL, ret, &noscript, e);
    if (noscript) { /* restarted, or SCRIPT FLUSH: EVAL runs it and makes it known again */
        words[0] = "EVAL";
        words[1] = script->source;
        result = command(r, 0, 3 + keys + args, words, NULL, ret, NULL, e);
    }
    return result != 0 && e != NULL ? err_wrap(e, "%s", script->name) : result;
}

/* --- About the server --- */

int redis_ping(struct redis *r, struct err *e)
{
    return redis_do(r, NULL, e, "PING", NULL);
}

/* The value of "name:value" in an answer of INFO. */
static bool info_value(const struct redis_reply *info, const char *name, char *ret, size_t size)
{
    const char *text = redis_reply_string(info);
    size_t len = strlen(name);

    for (const char *line = text; line != NULL && *line != '\0';) {
        if (strncmp(line, name, len) == 0 && line[len] == ':')
            return str_format(ret, size, "%.*s", (int)strcspn(line + len + 1, "\r\n"), line + len + 1);
        line = strchr(line, '\n');
        line = line == NULL ? NULL : line + 1;
    }
    return false;
}

int redis_identity(struct redis *r, char *ret, size_t size, struct err *e)
{
    REDIS_REPLY_AUTO struct redis_reply *server = NULL, *replication = NULL;
    char run_id[48], role[16];
    int result;

    if ((result = redis_do(r, &server, e, "INFO", "server", NULL)) != 0 ||
        (result = redis_do(r, &replication, e, "INFO", "replication", NULL)) != 0)
        return result;
    if (!info_value(server, "run_id", run_id, sizeof run_id) || !info_value(replication, "role", role, sizeof role))
        return err_set(e, ERR_BUG, "redis: INFO names no run_id or role");
    if (!str_format(ret, size, "%s %s", run_id, role))
        return err_set(e, ERR_BUG, "redis: identity longer than %zu bytes", size);
    return 0;
}

struct durability {
    char appendonly[16], appendfsync[16], policy[32]; /* "" when it can't be told */
};

static int config_value(struct redis *r, const char *name, char *ret, size_t size, struct err *e)
{
    REDIS_REPLY_AUTO struct redis_reply *reply = NULL;
    int result = redis_do(r, &reply, e, "CONFIG", "GET", name, NULL);

    if (result != 0)
        return result;
    const char *value = redis_reply_field(reply, name);
    str_copy(ret, size, value != NULL ? value : "");
    return 0;
}

/* Managed servers forbid CONFIG; INFO tells all but appendfsync. */
static int durability_from_info(struct redis *r, struct durability *ret, struct err *e)
{
    REDIS_REPLY_AUTO struct redis_reply *persistence = NULL, *memory = NULL;
    char enabled[4];
    int result;

    if ((result = redis_do(r, &persistence, e, "INFO", "persistence", NULL)) != 0 ||
        (result = redis_do(r, &memory, e, "INFO", "memory", NULL)) != 0)
        return result;
    if (info_value(persistence, "aof_enabled", enabled, sizeof enabled))
        str_copy(ret->appendonly, sizeof ret->appendonly, strcmp(enabled, "1") == 0 ? "yes" : "no");
    if (!info_value(memory, "maxmemory_policy", ret->policy, sizeof ret->policy))
        ret->policy[0] = '\0';
    return 0;
}

static int durability_read(struct redis *r, struct durability *ret, struct err *e)
{
    int result;

    if ((result = config_value(r, "appendonly", ret->appendonly, sizeof ret->appendonly, e)) == -ERR_BUG)
        return durability_from_info(r, ret, e);
    if (result != 0 || (result = config_value(r, "appendfsync", ret->appendfsync, sizeof ret->appendfsync, e)) != 0)
        return result;
    return config_value(r, "maxmemory-policy", ret->policy, sizeof ret->policy, e);
}

int redis_durability(struct redis *r, char *ret_warning, size_t size, struct err *e)
{
    struct durability d = {0};
    const char *warning = "";
    struct err local;
    int result = durability_read(r, &d, e != NULL ? e : &local);

    if (result != 0)
        return result;
    if (strcmp(d.appendonly, "no") == 0)
        warning =
            "Redis keeps no append-only file, a restart loses jobs: set `appendonly yes` and `appendfsync always`";
    else if (d.policy[0] != '\0' && strcmp(d.policy, "noeviction") != 0)
        warning = "Redis may evict jobs when its memory is full: set `maxmemory-policy noeviction`";
    else if (d.appendonly[0] == '\0' || d.appendfsync[0] == '\0' || d.policy[0] == '\0')
        warning = "Redis does not tell whether it is durable: make sure of `appendonly yes`, `appendfsync always` and "
                  "`maxmemory-policy noeviction`";
    else if (strcmp(d.appendfsync, "always") != 0)
        warning = "Redis may lose the last second of jobs when its machine dies: set `appendfsync always`";
    str_copy(ret_warning, size, warning);
    return 0;
}
