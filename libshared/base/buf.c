#include "buf.h"

#include "mem.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define BUF_FIRST_CAP 64

void buf_init(struct buf *b, size_t max_bytes)
{
    /* The limit leaves room for the NUL and keeps every sum below free of overflow. */
    *b = (struct buf){.max = max_bytes < PTRDIFF_MAX ? max_bytes : PTRDIFF_MAX - 1};
}

void buf_release(struct buf *b)
{
    if (b == NULL)
        return;
    mem_free(b->data);
    buf_init(b, b->max);
}

/* Makes room for `extra` bytes and the NUL. Doubles, so that appending is linear in the end. */
static bool make_room(struct buf *b, size_t extra)
{
    if (b->failed)
        return false;
    if (extra > b->max - b->len) {
        b->failed = b->too_large = true;
        return false;
    }
    size_t needed = b->len + extra + 1;
    if (needed <= b->cap)
        return true;

    size_t cap = b->cap == 0 ? BUF_FIRST_CAP : b->cap * 2;
    if (cap > b->max + 1)
        cap = b->max + 1;
    if (cap < needed)
        cap = needed;
    char *data = mem_resize(b->data, cap, 1);
    if (data == NULL) {
        b->failed = true;
        return false;
    }
    b->data = data;
    b->cap = cap;
    return true;
}

void buf_append(struct buf *b, const void *data, size_t len)
{
    if (len == 0 || !make_room(b, len))
        return;
    memcpy(b->data + b->len, data, len);
    b->len += len;
    b->data[b->len] = '\0';
}

void buf_puts(struct buf *b, const char *s)
{
    buf_append(b, s, strlen(s));
}

void buf_putc(struct buf *b, char c)
{
    buf_append(b, &c, 1);
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    int len = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (len <= 0) {
        b->failed = b->failed || len < 0;
        return;
    }
    if (!make_room(b, (size_t)len))
        return;

    va_start(args, fmt);
    vsnprintf(b->data + b->len, (size_t)len + 1, fmt, args);
    va_end(args);
    b->len += (size_t)len;
}

void buf_reset(struct buf *b)
{
    b->len = 0;
    b->failed = b->too_large = false;
    if (b->data != NULL)
        b->data[0] = '\0';
}

void buf_drop_front(struct buf *b, size_t len)
{
    if (len == 0)
        return;
    b->len -= len;
    memmove(b->data, b->data + len, b->len + 1);
}

const char *buf_cstr(const struct buf *b)
{
    return b->data == NULL ? "" : b->data;
}

int buf_check(const struct buf *b, const char *what, struct err *e)
{
    if (!b->failed)
        return 0;
    if (b->too_large)
        return err_set(e, ERR_TOO_LARGE, "%s: more than %zu bytes", what, b->max);
    return err_set(e, ERR_TEMPORARY, "%s: out of memory", what);
}

char *buf_detach(struct buf *b)
{
    if (b->failed)
        return NULL;
    char *text = b->data == NULL ? mem_strdup("") : b->data;
    b->data = NULL;
    buf_release(b);
    return text;
}
