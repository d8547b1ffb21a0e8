#ifndef WEIR_TRANSCODE_QUEUE_H
#define WEIR_TRANSCODE_QUEUE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

/* A bounded queue of pointers between one producer and one consumer; full means the producer waits, which is what
 * bounds the memory of the whole pipeline. Thread-safe. */

#define QUEUE_MAX 32

struct queue {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    void *items[QUEUE_MAX];
    size_t first, count, max;
    bool closed;
};

void queue_init(struct queue *q, size_t max_items); /* at most QUEUE_MAX */
void queue_destroy(struct queue *q); /* items still in it are the caller's to free: queue_pop them first */

/* Waits for room. False when the queue is closed; the item is then still the caller's. */
bool queue_push(struct queue *q, void *item);

/* Waits for an item. NULL when the queue is closed and empty. */
void *queue_pop(struct queue *q);

/* Either end: nothing more goes in, what is in can still be taken out. */
void queue_close(struct queue *q);

#endif
