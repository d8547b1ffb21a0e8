#include "str.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool str_copy(char *dst, size_t dst_size, const char *src)
{
    if (dst_size == 0)
        return false;
    size_t len = strlen(src);
    size_t kept = utf8_cut(src, len, dst_size - 1);
    memcpy(dst, src, kept);
    dst[kept] = '\0';
    return kept == len;
}

bool str_format(char *dst, size_t dst_size, const char *fmt, ...)
{
    va_list args;

    if (dst_size == 0)
        return false;
    dst[0] = '\0';
    va_start(args, fmt);
    int len = vsnprintf(dst, dst_size, fmt, args);
    va_end(args);
    if (len >= 0 && (size_t)len < dst_size)
        return true;

    /* What vsnprintf cut may end in a part of a character. */
    size_t kept = strlen(dst), start = kept;
    uint32_t c;
    while (start > 0 && kept - start < 4 && ((unsigned char)dst[--start] & 0xC0) == 0x80)
        ;
    if (kept > 0 && ((unsigned char)dst[start] & 0x80) != 0 && utf8_decode(dst + start, kept - start, &c) == 0)
        dst[start] = '\0';
    return false;
}

bool str_starts(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool str_ends(const char *s, const char *suffix)
{
    size_t len = strlen(s), suffix_len = strlen(suffix);

    return len >= suffix_len && memcmp(s + len - suffix_len, suffix, suffix_len) == 0;
}

bool str_to_u64(const char *s, uint64_t *ret)
{
    return str_to_u64_n(s, strlen(s), ret);
}

bool str_to_u64_n(const char *s, size_t len, uint64_t *ret)
{
    uint64_t n = 0;

    if (len == 0)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (s[i] < '0' || s[i] > '9')
            return false;
        if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, (uint64_t)(s[i] - '0'), &n))
            return false;
    }
    *ret = n;
    return true;
}

struct num_text num_u64(uint64_t n)
{
    struct num_text text;

    snprintf(text.s, sizeof text.s, "%" PRIu64, n);
    return text;
}

struct num_text num_i64(int64_t n)
{
    struct num_text text;

    snprintf(text.s, sizeof text.s, "%" PRId64, n);
    return text;
}

struct num_text num_double(double x, int decimals)
{
    struct num_text text;

    if (snprintf(text.s, sizeof text.s, "%.*f", decimals, x) >= (int)sizeof text.s)
        snprintf(text.s, sizeof text.s, "%.17g", x);
    return text;
}

/* Length of the sequence that a first byte announces, 0 for a byte that can't be first. */
static size_t sequence_len(unsigned char first)
{
    if (first < 0x80)
        return 1;
    if (first < 0xC0)
        return 0;
    if (first < 0xE0)
        return 2;
    if (first < 0xF0)
        return 3;
    return first < 0xF8 ? 4 : 0;
}

size_t utf8_decode(const char *s, size_t len, uint32_t *ret)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000}; /* less than this is an overlong form */
    const unsigned char *u = (const unsigned char *)s;
    size_t n = len == 0 ? 0 : sequence_len(u[0]);

    if (n == 0 || n > len)
        return 0;
    uint32_t c = n == 1 ? u[0] : u[0] & (0x7FU >> n);
    for (size_t i = 1; i < n; i++) {
        if ((u[i] & 0xC0) != 0x80)
            return 0;
        c = c << 6 | (u[i] & 0x3FU);
    }
    if (c < least[n] || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF))
        return 0;
    *ret = c;
    return n;
}

bool utf8_valid(const char *s, size_t len)
{
    uint32_t c;

    for (size_t at = 0, n; at < len; at += n)
        if ((n = utf8_decode(s + at, len - at, &c)) == 0)
            return false;
    return true;
}

void utf8_repair(char *s)
{
    uint32_t c;

    for (size_t at = 0, len = strlen(s), n; at < len; at += n)
        if ((n = utf8_decode(s + at, len - at, &c)) == 0) {
            s[at] = '?';
            n = 1;
        }
}

size_t utf8_cut(const char *s, size_t len, size_t max)
{
    if (len <= max)
        return len;
    /* A character has at most three bytes after its first; text that has more of them in a row is cut anywhere. */
    for (size_t back = 0; back <= 3 && back <= max; back++)
        if (((unsigned char)s[max - back] & 0xC0) != 0x80)
            return max - back;
    return max;
}

void hex_encode(const void *data, size_t len, char *out)
{
    static const char digits[] = "0123456789abcdef";
    const unsigned char *bytes = data;

    for (size_t i = 0; i < len; i++) {
        *out++ = digits[bytes[i] >> 4];
        *out++ = digits[bytes[i] & 0xF];
    }
    *out = '\0';
}

/* Of a hex digit, upper or lower case. */
static unsigned hex_value(char digit)
{
    return digit <= '9' ? (unsigned)(digit - '0') : (unsigned)((digit | 0x20) - 'a') + 10;
}

bool hex_decode(const char *hex, void *out, size_t len)
{
    unsigned char *bytes = out;

    if (len > SIZE_MAX / 2 || strlen(hex) != 2 * len || strspn(hex, "0123456789abcdefABCDEF") != 2 * len)
        return false;
    for (size_t i = 0; i < len; i++)
        bytes[i] = (unsigned char)(hex_value(hex[2 * i]) << 4 | hex_value(hex[2 * i + 1]));
    return true;
}

bool str_equal_secret(const char *a, const char *b)
{
    size_t len = strlen(a);
    volatile unsigned char different = 0; /* volatile: the loop must not end at the first difference */

    if (strlen(b) != len)
        return false;
    for (size_t i = 0; i < len; i++)
        different |= (unsigned char)(a[i] ^ b[i]);
    return different == 0;
}
