#ifndef WEIR_REDIS_H
#define WEIR_REDIS_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Redis through hiredis, shared by all threads: what they say at the same time goes over one connection in one go; a
 * command that blocks on the server gets a connection of its own, of which up to `max_idle` are kept.
 *
 * Every failure to reach Redis, a time-out (which poisons and closes that connection), LOADING, READONLY, MASTERDOWN, OOM
 * and MISCONF are ERR_TEMPORARY; READONLY, MASTERDOWN and UNBLOCKED also close the connection, so that the next one finds
 * the new master. Any other error reply is ERR_BUG. When a call fails as temporary nobody knows whether it took effect:
 * scripts are written so that repeating them is harmless. Thread-safe.
 *
 * redis_new makes the process ignore SIGPIPE (unless it is handled): hiredis can't write without it. */

struct redis;

struct redis_options {
    const char *host;
    uint16_t port;
    const char *password; /* NULL or "": none */
    unsigned db;
    uint64_t connect_timeout_ms; /* 0: 2000 */
    uint64_t read_timeout_ms;    /* 0: 5000; also for a Redis that is stopped but still connected */
    size_t max_idle;             /* 0: 64 */
};

/* No connection is made yet. */
int redis_new(const struct redis_options *options, struct redis **ret, struct err *e)
    __attribute__((warn_unused_result));
void redis_free(struct redis *r); /* NULL is fine; no call may be running */

/* A reply: a tree of values owned by the root. */
struct redis_reply;
enum redis_type { REDIS_NIL, REDIS_INTEGER, REDIS_STRING, REDIS_ARRAY, REDIS_STATUS };
void redis_reply_free(struct redis_reply *reply); /* roots only; NULL is fine */
void redis_reply_auto(struct redis_reply **reply);
#define REDIS_REPLY_AUTO __attribute__((cleanup(redis_reply_auto)))
enum redis_type redis_reply_type(const struct redis_reply *reply); /* NULL counts as REDIS_NIL */
int64_t redis_reply_integer(const struct redis_reply *reply);      /* 0 unless REDIS_INTEGER */
const char *redis_reply_string(const struct redis_reply *reply);   /* NUL-terminated; NULL unless STRING or STATUS */
size_t redis_reply_length(const struct redis_reply *reply);        /* bytes of a string, elements of an array, else 0 */
const struct redis_reply *redis_reply_at(const struct redis_reply *reply, size_t i); /* NULL past the end */
/* Value of a field in a flat array of field, value, field, value (HGETALL); NULL when absent. */
const char *redis_reply_field(const struct redis_reply *reply, const char *field);

/* One command. `ret` may be NULL when the reply does not matter. argv are NUL-terminated, or take `lens` (may be NULL). */
int redis_command(struct redis *r, size_t argc, const char *const *argv, const size_t *lens, struct redis_reply **ret,
                  struct err *e) __attribute__((warn_unused_result));
/* The same for literal words: redis_do(r, &reply, e, "ZCARD", "{weir}:open", NULL). */
int redis_do(struct redis *r, struct redis_reply **ret, struct err *e, ...)
    __attribute__((sentinel, warn_unused_result));

/* The same for a command that blocks on the server for up to `block_ms`: the read time-out is stretched over it. */
int redis_command_blocking(struct redis *r, uint64_t block_ms, size_t argc, const char *const *argv,
                           struct redis_reply **ret, struct err *e) __attribute__((warn_unused_result));

/* Lua scripts, embedded at build from .lua files; called by SHA1, sent whole on NOSCRIPT. All keys of Weir share one
 * hash tag, so a script gets its keys as names built from KEYS[1]..n. */
struct redis_script {
    const char *name;
    const char *source;
    const char *sha1; /* of the source, 40 hexadecimal digits */
};
int redis_script(struct redis *r, const struct redis_script *script, size_t keys, const char *const *key, size_t args,
                 const char *const *arg, struct redis_reply **ret, struct err *e) __attribute__((warn_unused_result));
/* The same for a script that answers many calls at once: those that threads make at the same time, with the same keys, the
 * same first `shared` arguments and as many of the others, at least one, go as one. The script gets the number of these
 * others, `shared`, the shared arguments, and then the others of each call. It must answer with an array of the answers, in
 * which the failure of a call is an error that harms no other. */
int redis_script_joint(struct redis *r, const struct redis_script *script, size_t keys, const char *const *key,
                       size_t shared, size_t args, const char *const *arg, struct redis_reply **ret, struct err *e)
    __attribute__((warn_unused_result));

/* Repeats a call that failed as temporary until `deadline_ms` (clock_mono_ms) is for callers; this one answers PING. */
int redis_ping(struct redis *r, struct err *e) __attribute__((warn_unused_result));

/* Looks whether this Redis could lose or evict jobs: appendonly, appendfsync, maxmemory-policy (CONFIG GET, else INFO).
 * 0 with *ret_warning == "" when durable; 0 with a sentence naming what to change when not, or when it can't be told. */
int redis_durability(struct redis *r, char *ret_warning, size_t size, struct err *e)
    __attribute__((warn_unused_result));

/* "run_id role" of the server now, to notice a restart or a failover. `size` ≥ 64. */
int redis_identity(struct redis *r, char *ret, size_t size, struct err *e) __attribute__((warn_unused_result));

#endif
