#ifndef WEIR_REDIS_POOL_H
#define WEIR_REDIS_POOL_H

#include "redis.h"

#include <hiredis/hiredis.h>

/* The connections behind redis.h. What all threads say goes over one: whoever finds it free sends every command that
 * waits in one go and hands out the answers, while the next ones gather. So a Redis that writes to disk before it answers
 * does that once for all of them, and a lonely call costs no detour. Commands that block get a connection of their own.
 * Thread-safe. */

#define REDIS_MAX_WORDS 64 /* of one command */

struct redis_pool;

int redis_pool_new(const struct redis_options *options, struct redis_pool **ret, struct err *e)
    __attribute__((warn_unused_result));
void redis_pool_free(struct redis_pool *p);              /* NULL is fine */
const char *redis_pool_name(const struct redis_pool *p); /* "redis HOST:PORT" */

struct redis_words {
    size_t count; /* 1 … REDIS_MAX_WORDS */
    const char *const *word;
    const size_t *lens; /* NULL: the words are NUL-terminated */

    /* Not 0: commands that wait at the same time and begin with the same `head` words go as one, which has these once and
     * then the rest of each; also when it is only one. Its answer must be an array of theirs. NUL-terminated words only. */
    size_t head;
};

/* The answer, which may be an error reply; it belongs to the caller. Fails only when there is none. */
int redis_pool_call(struct redis_pool *p, const struct redis_words *words, redisReply **ret, struct err *e)
    __attribute__((warn_unused_result));
int redis_pool_call_blocking(struct redis_pool *p, uint64_t block_ms, const struct redis_words *words, redisReply **ret,
                             struct err *e) __attribute__((warn_unused_result));

/* What an error reply means for the caller. */
enum err_kind redis_error_kind(const char *text);
bool redis_error_is(const char *text, const char *code); /* "NOSCRIPT" */

#endif
