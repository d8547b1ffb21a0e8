#ifndef WEIR_BUF_H
#define WEIR_BUF_H

#include "err.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

/* A growing byte buffer with a maximum, always terminated by a NUL that is not counted.
 *
 * Appending never has to be checked one by one: the first append that does not fit or finds no memory sets `failed`,
 * after which every append is ignored; buf_check tells once at the end. Not thread-safe. */

struct buf {
    char *data; /* NULL until the first append; then `len` bytes and a NUL */
    size_t len; /* bytes */
    size_t cap, max;
    bool failed, too_large;
};

/* `max_bytes` is what the content may ever hold. No memory is taken yet. */
void buf_init(struct buf *b, size_t max_bytes);
void buf_release(struct buf *b); /* back to the state after buf_init; NULL is fine */
#define BUF_AUTO __attribute__((cleanup(buf_release)))

void buf_append(struct buf *b, const void *data, size_t len);
void buf_puts(struct buf *b, const char *s);
void buf_putc(struct buf *b, char c);
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_reset(struct buf *b);                  /* empties it, keeps the memory, clears `failed` */
void buf_drop_front(struct buf *b, size_t len); /* removes the first `len` bytes (≤ b->len) */

/* The content as a string, "" when empty. Valid until the next append. */
const char *buf_cstr(const struct buf *b);

/* 0, or ERR_TOO_LARGE / ERR_TEMPORARY naming `what` when an append failed since the last reset. */
int buf_check(const struct buf *b, const char *what, struct err *e) __attribute__((warn_unused_result));

/* Takes the content out as an owned string (mem_free); the buffer is empty afterwards. NULL when buf_check would fail. */
char *buf_detach(struct buf *b);

#endif
