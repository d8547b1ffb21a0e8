#include "clock.h"

#include "str.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define LAST_MS UINT64_C(253402300799999) /* the end of the year 9999: later has no four-digit year */

static uint64_t now_us(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

uint64_t clock_mono_ms(void)
{
    return now_us(CLOCK_MONOTONIC) / 1000;
}

uint64_t clock_mono_us(void)
{
    return now_us(CLOCK_MONOTONIC);
}

uint64_t clock_wall_ms(void)
{
    return now_us(CLOCK_REALTIME) / 1000;
}

void clock_sleep_ms(uint64_t ms)
{
    struct timespec left = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};

    while (clock_nanosleep(CLOCK_MONOTONIC, 0, &left, &left) == EINTR)
        ;
}

static struct tm utc(uint64_t wall_ms)
{
    time_t seconds = (time_t)((wall_ms < LAST_MS ? wall_ms : LAST_MS) / 1000);
    struct tm tm;

    gmtime_r(&seconds, &tm);
    return tm;
}

void clock_rfc3339(uint64_t wall_ms, char out[CLOCK_RFC3339_SIZE])
{
    wall_ms = wall_ms < LAST_MS ? wall_ms : LAST_MS;
    struct tm tm = utc(wall_ms);
    size_t len = strftime(out, CLOCK_RFC3339_SIZE, "%Y-%m-%dT%H:%M:%S", &tm);

    snprintf(out + len, CLOCK_RFC3339_SIZE - len, ".%03uZ", (unsigned)(wall_ms % 1000));
}

/* Not strftime's %a and %b: those follow the locale. */
static const char days[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

void clock_http_date(uint64_t wall_ms, char out[CLOCK_HTTP_DATE_SIZE])
{
    struct tm tm = utc(wall_ms);
    char text[64];

    snprintf(text, sizeof text, "%s, %02d %s %04d %02d:%02d:%02d GMT", days[tm.tm_wday], tm.tm_mday, months[tm.tm_mon],
             tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
    str_copy(out, CLOCK_HTTP_DATE_SIZE, text);
}

void clock_amz_date(uint64_t wall_ms, char out[CLOCK_AMZ_DATE_SIZE])
{
    struct tm tm = utc(wall_ms);

    strftime(out, CLOCK_AMZ_DATE_SIZE, "%Y%m%dT%H%M%SZ", &tm);
}

static int number(const char *s, size_t digits)
{
    uint64_t n;

    return str_to_u64_n(s, digits, &n) ? (int)n : -1;
}

/* Both parsers read the numbers where they must stand and let the formatter judge the rest: the text is right when
 * formatting what was read gives it again. That finds 30 February and a wrong weekday too. */
static bool to_wall_ms(struct tm tm, uint64_t *ret)
{
    time_t seconds = timegm(&tm);

    if (seconds < 0)
        return false;
    *ret = (uint64_t)seconds * 1000;
    return true;
}

bool clock_parse_http_date(const char *s, uint64_t *ret_wall_ms)
{
    char again[CLOCK_HTTP_DATE_SIZE];
    uint64_t wall_ms;
    int month = 0;

    if (strlen(s) != CLOCK_HTTP_DATE_SIZE - 1)
        return false;
    while (month < 11 && memcmp(s + 8, months[month], 3) != 0)
        month++;
    struct tm tm = {.tm_mday = number(s + 5, 2),
                    .tm_mon = month,
                    .tm_year = number(s + 12, 4) - 1900,
                    .tm_hour = number(s + 17, 2),
                    .tm_min = number(s + 20, 2),
                    .tm_sec = number(s + 23, 2)};
    if (!to_wall_ms(tm, &wall_ms))
        return false;
    clock_http_date(wall_ms, again);
    if (strcmp(s, again) != 0)
        return false;
    *ret_wall_ms = wall_ms;
    return true;
}

/* ".678Z" or "Z": the milliseconds, further digits are cut off; -1 when it is something else. */
static int read_fraction(const char *s)
{
    int ms = 0, weight = 100;

    if (*s == '.') {
        if (s[1] < '0' || s[1] > '9')
            return -1;
        for (s++; *s >= '0' && *s <= '9'; s++, weight /= 10)
            ms += (*s - '0') * weight;
    }
    return strcmp(s, "Z") == 0 ? ms : -1;
}

bool clock_parse_rfc3339(const char *s, uint64_t *ret_wall_ms)
{
    static const size_t seconds_len = sizeof "2026-01-02T03:04:05" - 1;
    char again[CLOCK_RFC3339_SIZE];
    uint64_t wall_ms;

    if (strlen(s) <= seconds_len)
        return false;
    int ms = read_fraction(s + seconds_len);
    struct tm tm = {.tm_year = number(s, 4) - 1900,
                    .tm_mon = number(s + 5, 2) - 1,
                    .tm_mday = number(s + 8, 2),
                    .tm_hour = number(s + 11, 2),
                    .tm_min = number(s + 14, 2),
                    .tm_sec = number(s + 17, 2)};
    if (ms < 0 || !to_wall_ms(tm, &wall_ms))
        return false;
    clock_rfc3339(wall_ms, again);
    if (memcmp(s, again, seconds_len) != 0)
        return false;
    *ret_wall_ms = wall_ms + (uint64_t)ms;
    return true;
}

uint64_t backoff_ms(uint64_t base_ms, uint64_t max_ms, unsigned attempt, uint64_t random)
{
    uint64_t limit;

    if (attempt >= 64 || __builtin_mul_overflow(base_ms, UINT64_C(1) << attempt, &limit) || limit > max_ms)
        limit = base_ms == 0 ? 0 : max_ms;
    return limit == UINT64_MAX ? random : random % (limit + 1);
}
