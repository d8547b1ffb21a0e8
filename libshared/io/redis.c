#include "redis_pool.h"

#include "base/mem.h"
#include "base/str.h"

#include <stdarg.h>
#include <string.h>

struct redis {
    struct redis_pool *pool;
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

/* --- Commands --- */

int redis_new(const struct redis_options *options, struct redis **ret, struct err *e)
{
    struct redis *r = mem_zalloc(sizeof *r);

    if (r == NULL)
        return err_set(e, ERR_TEMPORARY, "redis: no memory");
    int result = redis_pool_new(options, &r->pool, e);
    if (result == 0)
        *ret = r;
    else
        redis_free(r);
    return result;
}

void redis_free(struct redis *r)
{
    if (r == NULL)
        return;
    redis_pool_free(r->pool);
    mem_free(r);
}

/* `noscript` (may be NULL) is set when the server does not know a script; the result is an error then too. */
static int command(struct redis *r, uint64_t block_ms, const struct redis_words *words, struct redis_reply **ret,
                   bool *noscript, struct err *e)
{
    redisReply *reply;

    if (words->count == 0 || words->count > REDIS_MAX_WORDS)
        return err_set(e, ERR_BUG, "redis: a command of %zu words", words->count);
    int result = block_ms == 0 ? redis_pool_call(r->pool, words, &reply, e)
                               : redis_pool_call_blocking(r->pool, block_ms, words, &reply, e);
    if (result != 0)
        return result;
    if (reply->type == REDIS_REPLY_ERROR) {
        if (noscript != NULL)
            *noscript = redis_error_is(reply->str, "NOSCRIPT");
        result = err_set(e, redis_error_kind(reply->str), "%s: %s: %s", redis_pool_name(r->pool), words->word[0],
                         reply->str);
    }
    if (result == 0 && ret != NULL)
        *ret = (struct redis_reply *)reply;
    else
        freeReplyObject(reply);
    return result;
}

int redis_command(struct redis *r, size_t argc, const char *const *argv, const size_t *lens, struct redis_reply **ret,
                  struct err *e)
{
    return command(r, 0, &(struct redis_words){.count = argc, .word = argv, .lens = lens}, ret, NULL, e);
}

int redis_command_blocking(struct redis *r, uint64_t block_ms, size_t argc, const char *const *argv,
                           struct redis_reply **ret, struct err *e)
{
    return command(r, block_ms, &(struct redis_words){.count = argc, .word = argv}, ret, NULL, e);
}

int redis_do(struct redis *r, struct redis_reply **ret, struct err *e, ...)
{
    const char *words[REDIS_MAX_WORDS];
    size_t count = 0;
    va_list args;

    va_start(args, e);
    const char *word = va_arg(args, const char *);
    for (; word != NULL && count < REDIS_MAX_WORDS; word = va_arg(args, const char *))
        words[count++] = word;
    va_end(args);
    if (word != NULL)
        return err_set(e, ERR_BUG, "redis: a command of more than %d words", REDIS_MAX_WORDS);
    return redis_command(r, count, words, NULL, ret, e);
}

/* --- Scripts --- */

/* `words` names the script, its keys and its arguments, with room for the first two. */
static int run_script(struct redis *r, const struct redis_script *script, const char **words, size_t count, size_t head,
                      struct redis_reply **ret, struct err *e)
{
    const struct redis_words all = {.count = count, .word = words, .head = head};
    bool noscript = false;

    words[0] = "EVALSHA";
    words[1] = script->sha1;
    int result = command(r, 0, &all, ret, &noscript, e);
    if (noscript) { /* the first time, after a restart or SCRIPT FLUSH: EVAL runs it and makes it known */
        words[0] = "EVAL";
        words[1] = script->source;
        result = command(r, 0, &all, ret, NULL, e);
    }
    return result != 0 && e != NULL ? err_wrap(e, "%s", script->name) : result;
}

static size_t add_words(const char **words, size_t at, size_t count, const char *const *more)
{
    for (size_t i = 0; i < count; i++)
        words[at + i] = more[i];
    return at + count;
}

int redis_script(struct redis *r, const struct redis_script *script, size_t keys, const char *const *key, size_t args,
                 const char *const *arg, struct redis_reply **ret, struct err *e)
{
    struct num_text key_count = num_u64(keys);
    const char *words[REDIS_MAX_WORDS] = {[2] = key_count.s};

    if (keys > REDIS_MAX_WORDS || args > REDIS_MAX_WORDS || 3 + keys + args > REDIS_MAX_WORDS)
        return err_set(e, ERR_BUG, "%s: %zu keys and %zu arguments", script->name, keys, args);
    size_t count = add_words(words, 3, keys, key);
    count = add_words(words, count, args, arg);
    return run_script(r, script, words, count, 0, ret, e);
}

int redis_script_joint(struct redis *r, const struct redis_script *script, size_t keys, const char *const *key,
                       size_t shared, size_t args, const char *const *arg, struct redis_reply **ret, struct err *e)
{
    struct num_text key_count = num_u64(keys), own_count = num_u64(args - shared), shared_count = num_u64(shared);
    const char *words[REDIS_MAX_WORDS] = {[2] = key_count.s};

    if (keys > REDIS_MAX_WORDS || args > REDIS_MAX_WORDS || 5 + keys + args > REDIS_MAX_WORDS || shared >= args)
        return err_set(e, ERR_BUG, "%s: %zu keys and %zu arguments, %zu shared", script->name, keys, args, shared);
    size_t count = add_words(words, 3, keys, key);
    words[count++] = own_count.s;
    words[count++] = shared_count.s;
    count = add_words(words, count, args, arg);
    return run_script(r, script, words, count, count - (args - shared), ret, e);
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
