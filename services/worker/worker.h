#ifndef WEIR_WORKER_H
#define WEIR_WORKER_H

#include "domain/queue.h"
#include "io/store.h"
#include "proto/config.h"

/* What every job of this process shares. Made by main, read-only afterwards. */
struct worker {
    const struct settings *settings;
    struct store *store;
    struct queue *queue;
    struct heartbeat *heartbeat;
    const char *transcoder; /* path of weir-transcode */
    char name[96];          /* host, process and a nonce: who holds a job, for people */
};

#endif
