#ifndef WEIR_UPLOAD_SERVICE_H
#define WEIR_UPLOAD_SERVICE_H

#include "domain/block_pool.h"
#include "domain/library.h"
#include "domain/part_sender.h"
#include "domain/upload_desk.h"
#include "domain/upload_writer.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

/* What the uploads of a process share: the memory, the threads that send parts, the sessions, and the limits. A session
 * that receives has a reservation in Redis, a place in the bounded queue that was taken before the body was read and is
 * renewed for as long as it lives, so others see which uploads still have a writer. Thread-safe. */

struct upload_options {
    const struct library *library; /* borrowed */
    uint64_t max_size, memory;     /* UPLOAD_MAX_SIZE, UPLOAD_MEMORY: bytes */
    uint64_t part_size;            /* the least of every part but the last: config_part_size(max_size) */
    uint64_t part_most;            /* what parts grow to while there is plenty of memory; 0: 32 MiB */
    uint64_t queue_max;            /* QUEUE_MAX */
    uint64_t per_client;           /* UPLOADS_PER_CLIENT: open at once, over all processes */
    uint64_t in_all;               /* UPLOADS_MAX: the same of all clients */
    uint64_t expiry_ms;            /* UPLOAD_EXPIRY_S: from creation */
    uint64_t creations_per_minute; /* CREATIONS_PER_MINUTE, of one client in this process */
    uint64_t record_every_ms;      /* how often the log of an upload in progress gets a record of its parts; 0: 30 s */
};

#define UPLOAD_RATE_SLOTS 4096

struct upload;
struct upload_broom;

struct upload_service {
    struct upload_options options; /* read only from here … */
    struct block_pool *pool;
    struct part_sender *sender;
    struct upload_desk *desk;
    struct upload_broom *broom; /* … to here */
    pthread_mutex_t lock;       /* private from here on */
    pthread_cond_t changed;     /* a session has ended, or has recorded what it was asked for */
    struct upload *sessions;    /* those with a thread, and those that linger between two requests */
    uint64_t busy_count, lingering_count, renewed_ms;
    _Atomic uint64_t full_ms;       /* when the queue was found to be full last */
    _Atomic uint64_t full_until_ms; /* it is taken to be so until then */
    struct {
        uint64_t minute;
        uint32_t count;
    } creations[UPLOAD_RATE_SLOTS]; /* by a hash of the client: two clients may share a slot, which is rarely felt */
};

int upload_service_new(const struct upload_options *options, struct upload_service **ret, struct err *e)
    __attribute__((warn_unused_result));
void upload_service_free(struct upload_service *s); /* NULL is fine; every session was ended */

/* To be called each second: renews reservations and leases every few seconds, ends what has lingered for long. */
void upload_service_tick(struct upload_service *s);

/* Why there is no place for it, as a protocol answer. */
enum upload_refusal {
    UPLOAD_FAILED,      /* a failure like any other: the error says which */
    UPLOAD_CLIENT_RATE, /* too many new uploads of this client in a minute */
    UPLOAD_CLIENT_FULL, /* too many uploads of this client at once */
    UPLOAD_TOTAL_FULL,  /* too many uploads of all clients at once */
    UPLOAD_QUEUE_FULL,
    UPLOAD_REBUILDING,  /* the index is being rebuilt */
    UPLOAD_MEMORY_FULL, /* after waiting for two parts' worth of memory (forms only: they can't come back later) */
    UPLOAD_LOCKED,      /* its writer did not stop in time: 423 */
};

/* Whether an upload has a reservation, in any process: somebody is receiving it. */
int upload_seat_taken(const struct library *l, const char *video_id, bool *ret, struct err *e)
    __attribute__((warn_unused_result));

#endif
