#ifndef WEIR_UPLOAD_SESSION_H
#define WEIR_UPLOAD_SESSION_H

#include "base/buf.h"
#include "domain/layout.h"
#include "domain/upload.h"

#include <stdatomic.h>

/* A session from the inside, shared by the sources of upload.h and known to nobody else:
 *
 *   upload.c          looking, beginning, taking up, ending
 *   upload_table.c    the sessions of a process: one writer for an upload, and who wants what of it
 *   upload_journal.c  the next record: log, state, cache
 *   upload_write.c    bytes into parts and tails
 *   upload_finish.c   from the last byte to the job
 *   upload_concat.c   a final upload out of partial ones
 *
 * Bytes of the file, from its beginning: [0, state.offset) is recorded. Behind it, or instead of the recorded tails, stand
 * parts: those before `confirmed` are in the store and wait for a record that names them, those before `submitted` are on
 * their way. [submitted, received) is pending: tails first, in memory the rest. */

#define UPLOAD_IN_FLIGHT 3 /* parts on their way while the next one fills */
#define UPLOAD_STOP_WAIT_MS 10000
#define UPLOAD_LOOK_WAIT_MS 5000
#define UPLOAD_RESERVATION_MS 30000

enum upload_stage {
    UPLOAD_ADMITTED, /* nothing is in the store */
    UPLOAD_OPEN,     /* its writer goes on */
    UPLOAD_STOPPED,  /* it was told to stop */
    UPLOAD_LOST,     /* somebody else goes on with it, or has ended it: touch nothing */
    UPLOAD_ENDING,   /* completing: the reconciler may finish it as well */
    UPLOAD_FINISHED,
};

/* What others want of a writer. */
enum upload_want {
    UPLOAD_WANT_RECORD = 1,
    UPLOAD_WANT_STOP = 2,
    UPLOAD_WANT_SPILL = 4,
    UPLOAD_WANT_LEAVE = 8,   /* with the lease: the other one is in another process */
    UPLOAD_WANT_ANSWER = 16, /* through Redis */
};

struct upload {
    struct upload_service *service;
    const struct library *library;
    char video_id[ID_VIDEO_SIZE];
    char client[UPLOAD_CLIENT_SIZE];
    enum upload_origin origin;
    enum upload_stage stage;
    bool begun;        /* upload_begin has come to its end */
    bool seated;       /* it was admitted as a new one, by a reservation of its own */
    struct buf record; /* JSON of the video's record; empty until it is needed */
    struct layout_key source;

    /* The log. */
    struct upload_state state; /* what is recorded */
    char nonce[ID_NONCE_SIZE];
    uint64_t fence;
    char epoch[QUEUE_EPOCH_SIZE]; /* "" when nothing of it is to be cached */
    char upload_id[STORE_UPLOAD_ID_SIZE];
    uint64_t recorded_ms; /* monotonic */
    uint64_t cache_ms;    /* when the cache could not be told, else 0 */
    bool doubtful;        /* a record may or may not have been written */

    /* What is not recorded. */
    uint64_t length; /* declared */
    uint64_t confirmed, submitted, received;
    bool holding; /* the body has a checksum that was not checked yet */
    bool broken;  /* a part got lost: what came after `confirmed` counts for nothing */
    struct block_chain filling;
    bool fills;              /* `filling` was opened and not handed on */
    unsigned ordinal;        /* parts sent since the body began */
    unsigned last_number;    /* highest part number that was used, by anyone */
    size_t held_sent;        /* of state.held, those that stand in a part by now */
    struct store_part *part; /* confirmed */
    size_t part_count, part_room;
    struct part_job jobs[UPLOAD_IN_FLIGHT];          /* a ring: `flying` of them from `oldest` on */
    struct upload_tail *job_tails[UPLOAD_IN_FLIGHT]; /* owned */
    unsigned oldest, flying;
    bool reserved;                   /* a sender, for the next one */
    char (*partials)[ID_VIDEO_SIZE]; /* of a final upload, owned: those that it is made of */
    size_t partial_count;

    /* The table's, under its lock but for `wants`. */
    struct upload *next;
    bool busy;   /* it has a thread; else it lingers */
    bool leased; /* in Redis */
    uint64_t idle_ms;
    uint64_t asked, answering, answered; /* tickets of those who want to know how far it is */
    _Atomic unsigned wants;              /* of enum upload_want */
    int wake_fd;                         /* −1: none */
};

/* --- upload_table.c --- */

/* Frees one that is in no table. */
void upload_release(struct upload *u);
/* Puts it into the table, with a thread: it has an id of its own. ERR_TEMPORARY: no descriptor. */
int upload_table_add(struct upload *u, struct err *e) __attribute__((warn_unused_result));
/* The same for one that may be there already: whoever is busy with it is told to stop, and waited for. *ret is `fresh`, or
 * the one that lingers, and `fresh` is not used. ERR_BUSY: it did not stop in time. */
int upload_table_enter(struct upload *fresh, uint64_t deadline_ms, struct upload **ret, struct err *e)
    __attribute__((warn_unused_result));
void upload_table_leased(struct upload *u, bool leased);
/* Its thread leaves it. False: it can't linger, since another process wants it or there are too many. */
bool upload_table_linger(struct upload *u);
bool upload_table_wanted_elsewhere(struct upload *u);
void upload_table_remove(struct upload *u);
/* So many of this client, which were admitted as new and are not finished yet. With the lock held. */
uint64_t upload_table_seats(const struct upload_service *s, const char *client);

void upload_table_want(struct upload *u, unsigned wants); /* thread-safe; of one that can't go meanwhile */
/* Its own thread: what is wanted now. Then it says what it has done. */
unsigned upload_table_wants(struct upload *u);
void upload_table_answer(struct upload *u, unsigned wants);

/* Asks the writer of this process for a record, and waits for it until the deadline. False: there is none. */
bool upload_table_ask(struct upload_service *s, const char *video_id, uint64_t deadline_ms);
/* The same of another process. */
void upload_table_ask_remote(struct upload_service *s, const struct upload_state *known, const char *holder,
                             uint64_t deadline_ms);
/* Forgets one that lingers: the upload was deleted. */
void upload_table_forget(struct upload_service *s, const char *video_id);
upload_desk_call upload_table_called; /* the desk's; ctx is the service */
void upload_table_tick(struct upload_service *s, bool renew);
/* Ends those that linger. */
void upload_table_clear(struct upload_service *s);

/* --- upload.c --- */

/* Whether it is still there, for an answer that no record was needed for. ERR_STALE: it was deleted, or has expired. */
int upload_check_alive(struct upload *u, struct err *e) __attribute__((warn_unused_result));

/* --- upload_service.c --- */

/* Before anything is done for a new upload. ERR_BUSY: the queue was full a moment ago. */
int upload_check_room(struct upload_service *s, enum upload_refusal *ret_refusal, struct err *e)
    __attribute__((warn_unused_result));
int upload_admit(struct upload *u, enum upload_refusal *ret_refusal, struct err *e) __attribute__((warn_unused_result));
/* Gives its reservation back, unless it became a job. */
void upload_dismiss(struct upload *u);

/* --- upload_journal.c --- */

bool upload_resumable(const struct upload *u); /* else it goes when its request fails */
/* The next record, which says what the last one did and nothing more. */
struct upload_record upload_next_record(const struct upload *u, enum upload_kind kind);
/* Writes it to the log, adds it to the state, which takes over its parts, and tells the cache. ERR_STALE: somebody else
 * was faster; then stage is UPLOAD_LOST. */
int upload_add_record(struct upload *u, struct upload_record *record, const struct store_body *tail, struct err *e)
    __attribute__((warn_unused_result));
/* Somebody else was faster, and knows better: stage is UPLOAD_LOST, and what Redis says, which came from us or was believed
 * by us, goes. Always ERR_STALE. */
int upload_lose(struct upload *u, struct err *e);
/* Tells the cache what it does not know yet, also that a completing one is finished. */
int upload_cache(struct upload *u, struct err *e) __attribute__((warn_unused_result));
/* The writer's record, unless it has one. With `sending` the next part has a number, and a multipart upload to go to. */
int upload_become_writer(struct upload *u, bool sending, struct err *e) __attribute__((warn_unused_result));
unsigned upload_reservation(const struct upload *u); /* the highest part number that a record is to reserve now */
/* The state as the log has it, read anew. ERR_STALE: it was deleted. */
int upload_fold(const struct library *l, const char *video_id, struct upload_state *ret, struct err *e)
    __attribute__((warn_unused_result));
/* Begins anew from what is recorded. */
void upload_rewind(struct upload *u);

/* --- upload_write.c --- */

uint64_t upload_pending(const struct upload *u);
int upload_send_pending(struct upload *u, struct err *e) __attribute__((warn_unused_result));
/* Waits for all parts that are on their way. */
int upload_land(struct upload *u, struct err *e) __attribute__((warn_unused_result));
int upload_keep_part(struct upload *u, const struct store_part *part, struct err *e)
    __attribute__((warn_unused_result));
void upload_seal(struct upload *u);
void upload_drop_bytes(struct upload *u); /* those in memory; waits for those on their way */
int upload_check_open(const struct upload *u, struct err *e) __attribute__((warn_unused_result));
/* The tails of what is pending, in an owned array. */
int upload_pending_tails(const struct upload *u, struct upload_tail **ret, size_t *ret_count, struct err *e)
    __attribute__((warn_unused_result));

/* --- upload_finish.c --- */

/* Brings one that is completing to its end: object, job, cache. ERR_BUSY: its bytes are not there yet. */
int upload_bring_to_end(struct upload_service *s, const struct upload_state *completing, const char *epoch,
                        struct err *e) __attribute__((warn_unused_result));
int upload_take_back(struct upload *u, struct err *e) __attribute__((warn_unused_result));

/* --- upload_concat.c --- */

/* What is kept of Upload-Concat, owned: without the secrets of the partial uploads, so their ids alone. NULL for NULL, or
 * without memory. */
char *upload_concat_public(const char *received) __attribute__((warn_unused_result));

#endif
