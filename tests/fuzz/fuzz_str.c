#include "base/clock.h"
#include "base/err.h"
#include "base/id.h"
#include "base/str.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* What is read from text and written again must be the text itself; what is cut or repaired must be valid. */

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void check_numbers(const char *s, size_t len)
{
    uint64_t n;

    if (!str_to_u64_n(s, len, &n))
        return;
    while (len > 1 && *s == '0')
        s++, len--;
    require(strlen(num_u64(n).s) == len && memcmp(num_u64(n).s, s, len) == 0);
}

static void check_utf8(char *s, size_t len)
{
    bool valid = utf8_valid(s, len);

    for (size_t max = 0; max <= len && max < 64; max++) {
        size_t kept = utf8_cut(s, len, max);
        require(kept <= max && kept + 4 > max);
        require(!valid || utf8_valid(s, kept));
    }

    struct err e;
    err_set(&e, ERR_INVALID, "%s", s);
    require(utf8_valid(e.text, strlen(e.text)));
    err_wrap(&e, "%s", s);
    require(utf8_valid(e.text, strlen(e.text)));

    char small[16];
    bool fits = str_copy(small, sizeof small, s);
    require(fits == (strcmp(small, s) == 0));

    utf8_repair(s);
    require(utf8_valid(s, strlen(s)));
}

static void check_dates(const char *s)
{
    char http_date[CLOCK_HTTP_DATE_SIZE], rfc3339[CLOCK_RFC3339_SIZE];
    uint64_t wall_ms;

    if (clock_parse_http_date(s, &wall_ms)) {
        clock_http_date(wall_ms, http_date);
        require(strcmp(http_date, s) == 0);
    }
    if (clock_parse_rfc3339(s, &wall_ms)) {
        clock_rfc3339(wall_ms, rfc3339);
        require(strncmp(rfc3339, s, 19) == 0);
    }
}

static void check_ids(const char *s)
{
    char video_id[ID_VIDEO_SIZE], job_id[ID_JOB_SIZE];
    uint64_t generation, wall_ms;

    if (id_job_parse(s, video_id, &generation)) {
        id_job(video_id, generation, job_id);
        require(strcmp(job_id, s) == 0 && id_video_valid(video_id));
    }
    if (id_video_time(s, &wall_ms))
        require(id_video_valid(s) && wall_ms >> 48 == 0);
    if (id_request_valid(s))
        require(utf8_valid(s, strlen(s)));
}

static void check_hex(const char *s, size_t len)
{
    unsigned char bytes[512];
    char again[2 * sizeof bytes + 1];

    if (len / 2 > sizeof bytes || !hex_decode(s, bytes, len / 2))
        return;
    hex_encode(bytes, len / 2, again);
    require(strcasecmp(again, s) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char s[1024];

    if (size >= sizeof s)
        return 0;
    memcpy(s, data, size);
    s[size] = '\0';
    check_numbers(s, size);
    check_dates(s);
    check_ids(s);
    check_hex(s, strlen(s));
    check_utf8(s, strlen(s));
    return 0;
}
