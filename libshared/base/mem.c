#include "mem.h"

#include <malloc.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* 0: allocations are real; 1: they fail; more: that many minus one are still real. */
static _Atomic uint64_t fail_countdown;

static bool must_fail(void)
{
    uint64_t left = atomic_load_explicit(&fail_countdown, memory_order_relaxed);

    while (left > 1)
        if (atomic_compare_exchange_weak(&fail_countdown, &left, left - 1))
            return false;
    return left == 1;
}

void mem_fail_from(uint64_t nth)
{
    atomic_store(&fail_countdown, nth);
}

void *mem_alloc(size_t size_bytes)
{
    return must_fail() ? NULL : malloc(size_bytes == 0 ? 1 : size_bytes);
}

void *mem_zalloc(size_t size_bytes)
{
    return mem_calloc(1, size_bytes);
}

void *mem_calloc(size_t count, size_t size_bytes)
{
    size_t total;

    if (__builtin_mul_overflow(count, size_bytes, &total) || must_fail())
        return NULL;
    return calloc(1, total == 0 ? 1 : total);
}

void *mem_resize(void *p, size_t count, size_t size_bytes)
{
    size_t total;

    if (__builtin_mul_overflow(count, size_bytes, &total) || must_fail())
        return NULL;
    return realloc(p, total == 0 ? 1 : total);
}

char *mem_strdup(const char *s)
{
    return s == NULL ? NULL : mem_strndup(s, SIZE_MAX);
}

char *mem_strndup(const char *s, size_t max)
{
    if (s == NULL)
        return NULL;
    size_t len = strnlen(s, max);
    char *copy = mem_alloc(len + 1);
    if (copy == NULL)
        return NULL;
    memcpy(copy, s, len);
    copy[len] = '\0';
    return copy;
}

void mem_free(void *p)
{
    free(p);
}

void *mem_map(size_t size_bytes)
{
    if (must_fail())
        return NULL;
    void *p = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

void mem_unmap(void *p, size_t size_bytes)
{
    if (p != NULL)
        munmap(p, size_bytes);
}

void mem_discard(void *p, size_t size_bytes)
{
    madvise(p, size_bytes, MADV_DONTNEED);
}

/* glibc gives each thread a heap of its own, up to eight for a processor, and takes ever larger blocks from them once such
 * have been freed: buffers that were needed for a moment would stay. */
void mem_keep_small(void)
{
    mallopt(M_ARENA_MAX, 2);
    mallopt(M_MMAP_THRESHOLD, 64 * 1024);
    mallopt(M_TRIM_THRESHOLD, 512 * 1024);
}

void mem_auto_free(void *pointer_to_pointer)
{
    void *p;

    memcpy(&p, pointer_to_pointer, sizeof p); /* it may point to a pointer of any type */
    mem_free(p);
}
