#ifndef WEIR_START_H
#define WEIR_START_H

#include "slots.h"

/* Getting ready, in a thread of its own since a store that is down may take its time: the buckets are made, the store is
 * probed, Redis is looked at; then the slots start. Says what it waits for, and goes on by itself. Thread-safe. */

struct start;

/* `fatal` is called, from that thread, when waiting would not help: the store does not refuse a second creator, or Redis
 * could lose jobs and REDIS_DURABILITY=strict. */
int start_new(const struct worker *worker, void (*fatal)(void), struct start **ret, struct err *e)
    __attribute__((warn_unused_result));

/* 0 once the slots run; ERR_BUSY naming what is waited for before that; else why it will never be. */
int start_check(struct start *s, struct err *e) __attribute__((warn_unused_result));

/* Ends the waiting and stops the slots (slots_stop); start_check says ERR_BUSY from then on. NULL is fine. */
void start_stop(struct start *s, uint64_t grace_ms);
void start_free(struct start *s); /* after start_stop; NULL is fine */

#endif
