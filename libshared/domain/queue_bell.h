#ifndef WEIR_QUEUE_BELL_H
#define WEIR_QUEUE_BELL_H

#include "io/redis.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Waiting for work: of the threads that wait for the same classes one listens to the bell in Redis, on a connection that
 * blocks; who hears of more work than it can take itself wakes others here. Thread-safe. */

struct queue_bell {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    const char *const *classes; /* of the one who listens */
    bool listening;
    size_t waiting, woken; /* for that one; how many of them may go and look */
};

void queue_bell_init(struct queue_bell *b);
void queue_bell_release(struct queue_bell *b);

/* Waits up to wait_ms, more than 0, for a ring or a call of queue_bell_wake; 0 also when there was none. `classes` are the
 * same as those of another thread when it is the same pointer. */
int queue_bell_wait(struct queue_bell *b, struct redis *redis, const char *const *classes, uint64_t wait_ms,
                    struct err *e) __attribute__((warn_unused_result));
/* So many more could find work. */
void queue_bell_wake(struct queue_bell *b, uint64_t count);

#endif
