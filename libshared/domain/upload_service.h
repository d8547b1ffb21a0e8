#ifndef WEIR_UPLOAD_SERVICE_H
#define WEIR_UPLOAD_SERVICE_H

#include "domain/block_pool.h"
#include "domain/library.h"
#include "domain/part_sender.h"
#include "domain/upload_desk.h"
#include "domain/upload_writer.h"

#include <pthread.h>
#include <stdint.h>

/* What the uploads of a process share: the memory, the threads that send parts, and the seats. A seat is a place in the
 * bounded queue, taken before the body is read; it is a reservation in Redis that is renewed for as long as the upload
 * lives, so others see which uploads still have a writer. Thread-safe. */

struct upload_seat {
    char video_id[ID_VIDEO_SIZE];
    char client[UPLOAD_CLIENT_SIZE]; /* address */
    struct upload_seat *prev, *next; /* private */
};

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

struct upload_service {
    struct upload_options options; /* read only from here … */
    struct block_pool *pool;
    struct part_sender *sender; /* … to here */
    pthread_mutex_t lock;       /* private from here on */
    struct upload_seat *seats;
    uint64_t seat_count, renewed_ms;
    struct {
        uint64_t minute;
        uint32_t count;
    } creations[UPLOAD_RATE_SLOTS]; /* by a hash of the client: two clients may share a slot, which is rarely felt */
};

int upload_service_new(const struct upload_options *options, struct upload_service **ret, struct err *e)
    __attribute__((warn_unused_result));
void upload_service_free(struct upload_service *s); /* NULL is fine; every seat was left */

/* To be called each second: renews the reservations of all seats, every few seconds. */
void upload_service_tick(struct upload_service *s);

/* Why there is no seat, as a protocol answer. */
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

/* Takes a seat for a new video. *ret_refusal says why not. The seat must not move until it is left. */
int upload_seat_take(struct upload_service *s, const char *client, struct upload_seat *seat,
                     enum upload_refusal *ret_refusal, struct err *e) __attribute__((warn_unused_result));
/* `became_job`: the reservation went with queue_enqueue. */
void upload_seat_leave(struct upload_service *s, struct upload_seat *seat, bool became_job);

/* Whether an upload has a seat, in any process. */
int upload_seat_taken(const struct library *l, const char *video_id, bool *ret, struct err *e)
    __attribute__((warn_unused_result));

#endif
