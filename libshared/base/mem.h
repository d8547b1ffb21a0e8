#ifndef WEIR_MEM_H
#define WEIR_MEM_H

#include <stddef.h>
#include <stdint.h>

/* The only place that calls malloc or mmap. Every function may return NULL; callers turn that into ERR_TEMPORARY.
 * Thread-safe. */

void *mem_alloc(size_t size_bytes);                         /* uninitialised; size 0 gives a block of 1 */
void *mem_zalloc(size_t size_bytes);                        /* zeroed */
void *mem_calloc(size_t count, size_t size_bytes);          /* zeroed; NULL on overflow */
void *mem_resize(void *p, size_t count, size_t size_bytes); /* realloc; NULL on overflow, `p` then still valid */
char *mem_strdup(const char *s);                            /* NULL gives NULL */
char *mem_strndup(const char *s, size_t max);
void mem_free(void *p); /* NULL is fine */

/* Frees what a local pointer holds when it leaves scope: `MEM_AUTO char *name = mem_strdup(…)`. */
void mem_auto_free(void *pointer_to_pointer);
#define MEM_AUTO __attribute__((cleanup(mem_auto_free)))

/* Zeroed pages that take memory of the system only when they are written to. mem_discard gives that of whole pages back;
 * they read as zero again. */
void *mem_map(size_t size_bytes);
void mem_unmap(void *p, size_t size_bytes); /* NULL is fine */
void mem_discard(void *p, size_t size_bytes);

/* Before the first thread of a server that has many: what is freed soon goes back to the system. */
void mem_keep_small(void);

/* For tests: the `nth` allocation from now on (1 = the next one) and every later one fails; 0 ends that. */
void mem_fail_from(uint64_t nth);

#define ARRAY_SIZE(a) (sizeof(a) / sizeof *(a))

#endif
