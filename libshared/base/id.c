#include "id.h"

#include "str.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define PREFIX_LEN 2  /* "v_" */
#define TIME_LEN 10   /* 48 bits of milliseconds, 5 to a character; the two bits left over are 0 */
#define RANDOM_LEN 16 /* 80 random bits */

static const char crockford[] = "0123456789abcdefghjkmnpqrstvwxyz"; /* without i, l, o, u */

void id_random(void *out, size_t len)
{
    unsigned char *at = out;

    while (len > 0) {
        ssize_t got = getrandom(at, len, 0);
        if (got < 0) {
            if (errno == EINTR)
                continue;
            abort(); /* a kernel without getrandom: ids that can be guessed would be worse */
        }
        at += got;
        len -= (size_t)got;
    }
}

uint64_t id_random_u64(void)
{
    uint64_t n;

    id_random(&n, sizeof n);
    return n;
}

void id_nonce(char out[ID_NONCE_SIZE])
{
    unsigned char bytes[(ID_NONCE_SIZE - 1) / 2];

    id_random(bytes, sizeof bytes);
    hex_encode(bytes, sizeof bytes, out);
}

void id_video(uint64_t wall_ms, char out[ID_VIDEO_SIZE])
{
    unsigned char random[RANDOM_LEN];
    char *at = out;

    wall_ms &= (UINT64_C(1) << 48) - 1;
    *at++ = 'v';
    *at++ = '_';
    for (int shift = 5 * (TIME_LEN - 1); shift >= 0; shift -= 5)
        *at++ = crockford[wall_ms >> shift & 31];
    id_random(random, sizeof random);
    for (size_t i = 0; i < RANDOM_LEN; i++)
        *at++ = crockford[random[i] & 31];
    *at = '\0';
}

bool id_video_valid(const char *s)
{
    return strlen(s) == ID_VIDEO_SIZE - 1 && str_starts(s, "v_") && s[PREFIX_LEN] >= '0' && s[PREFIX_LEN] <= '7' &&
           strspn(s + PREFIX_LEN, crockford) == TIME_LEN + RANDOM_LEN;
}

bool id_video_time(const char *s, uint64_t *ret_wall_ms)
{
    uint64_t wall_ms = 0;

    if (!id_video_valid(s))
        return false;
    for (size_t i = 0; i < TIME_LEN; i++)
        wall_ms = wall_ms << 5 | (uint64_t)(strchr(crockford, s[PREFIX_LEN + i]) - crockford);
    *ret_wall_ms = wall_ms;
    return true;
}

void id_job(const char *video_id, uint64_t generation, char out[ID_JOB_SIZE])
{
    str_format(out, ID_JOB_SIZE, "%s.%" PRIu64, video_id, generation);
}

bool id_job_parse(const char *s, char ret_video_id[ID_VIDEO_SIZE], uint64_t *ret_generation)
{
    const char *dot = strchr(s, '.');
    char video_id[ID_VIDEO_SIZE];
    uint64_t generation;

    if (dot == NULL || dot - s != ID_VIDEO_SIZE - 1)
        return false;
    memcpy(video_id, s, ID_VIDEO_SIZE - 1);
    video_id[ID_VIDEO_SIZE - 1] = '\0';
    if (!id_video_valid(video_id) || dot[1] == '0' || !str_to_u64(dot + 1, &generation))
        return false;
    memcpy(ret_video_id, video_id, sizeof video_id);
    *ret_generation = generation;
    return true;
}

bool id_request_valid(const char *s)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    size_t len = strnlen(s, 65);

    return len >= 1 && len <= 64 && strspn(s, allowed) == len;
}
