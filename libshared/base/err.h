#ifndef WEIR_ERR_H
#define WEIR_ERR_H

/* What went wrong, in words made where it happened and wrapped on the way up:
 * "video v_7: download: store: GET raw/v_7/source: 503 SlowDown".
 *
 * A function that can fail returns 0 or -kind, takes a `struct err *` last and leaves its results untouched on failure.
 * The kind alone decides the HTTP status and whether a job is tried again. */

enum err_kind {
    ERR_INVALID = 1,  /* the caller's input is wrong: 400, never tried again */
    ERR_TOO_LARGE,    /* 413 */
    ERR_NOT_FOUND,    /* 404 */
    ERR_CONFLICT,     /* somebody else was first, or the state forbids it: 409 */
    ERR_STALE,        /* our lease or fence is no longer the current one: stop, touch nothing */
    ERR_BUSY,         /* full or not ready: 503 with Retry-After */
    ERR_TEMPORARY,    /* network, store, Redis, memory: tried again; 503 */
    ERR_TIMEOUT,      /* the client sent nothing, or too little, for too long: 408 */
    ERR_DISCONNECTED, /* the client is gone in mid-request: nobody is left to answer */
    ERR_BUG,          /* an invariant of ours is broken: 500, logged loudly */
};

struct err {
    enum err_kind kind;
    char text[512]; /* always terminated, always valid UTF-8; a longer text is cut between characters, ends in "..." */
};

/* Sets kind and text. Returns -kind. `e` may be NULL when nobody will read the text. */
int err_set(struct err *e, enum err_kind kind, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Puts "fmt: " before the text; the kind stays. Returns -kind, so that `return err_wrap(…)` passes the failure on.
 * `e` is what a failed call filled, not NULL. */
int err_wrap(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* A failure is never 0: one without a kind is a bug of ours. Wrapped around both here, where compilers and analyzers, which
 * see one file at a time, learn it too. */
static inline int err_failure(int r)
{
    return r < 0 ? r : -(int)ERR_BUG;
}
#define err_set(...) err_failure(err_set(__VA_ARGS__))
#define err_wrap(...) err_failure(err_wrap(__VA_ARGS__))

/* The kind's stable name for logs and metrics: "invalid", "temporary", … */
const char *err_kind_name(enum err_kind kind);

#endif
