#ifndef WEIR_ID_H
#define WEIR_ID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Identifiers. Random bytes come from getrandom(2), which does not fail once the machine is up. Thread-safe. */

#define ID_VIDEO_SIZE 29 /* "v_" + 26 characters of ULID + NUL */
#define ID_NONCE_SIZE 17 /* 64 bits in hex + NUL */
#define ID_JOB_SIZE 50   /* "<video>.<generation>" + NUL */

/* A new video id: "v_" + ULID in lower-case Crockford base32, so ids sort by their time of creation. */
void id_video(uint64_t wall_ms, char out[ID_VIDEO_SIZE]);
bool id_video_valid(const char *s);                       /* exactly that form */
bool id_video_time(const char *s, uint64_t *ret_wall_ms); /* the time inside */

void id_nonce(char out[ID_NONCE_SIZE]);
void id_random(void *out, size_t len);
uint64_t id_random_u64(void);

/* Job ids: "<video_id>.<generation>", generation ≥ 1. */
void id_job(const char *video_id, uint64_t generation, char out[ID_JOB_SIZE]);
bool id_job_parse(const char *s, char ret_video_id[ID_VIDEO_SIZE], uint64_t *ret_generation);

/* A request id given by a client: 1–64 characters of [A-Za-z0-9._-]. */
bool id_request_valid(const char *s);

#endif
