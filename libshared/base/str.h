#ifndef WEIR_STR_H
#define WEIR_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Strings in arrays of fixed size, strict numbers, encodings. Pure; safe from any thread. */

/* Copies with termination; false when it did not fit (dst then holds the cut text, between UTF-8 characters). */
bool str_copy(char *dst, size_t dst_size, const char *src);
bool str_format(char *dst, size_t dst_size, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

bool str_starts(const char *s, const char *prefix);
bool str_ends(const char *s, const char *suffix);

/* Strict decimal numbers: only digits, no sign, no space, no overflow, the whole string. *ret untouched on false. */
bool str_to_u64(const char *s, uint64_t *ret);
/* The same from exactly `len` bytes, which need not be terminated. */
bool str_to_u64_n(const char *s, size_t len, uint64_t *ret);

/* A number as text that lives until the end of the full expression: log_info(ids, "sent", "bytes", num_u64(n).s). */
struct num_text {
    char s[32];
};
struct num_text num_u64(uint64_t n);
struct num_text num_i64(int64_t n);
struct num_text num_double(double x, int decimals);

/* Bytes of the character that `s` begins with (1–4), its code point in *ret; 0 when there is no valid one (RFC 3629). */
size_t utf8_decode(const char *s, size_t len, uint32_t *ret);
bool utf8_valid(const char *s, size_t len); /* RFC 3629: no overlong forms, no surrogates */
/* Puts '?' in place of every byte that is not part of a valid character. */
void utf8_repair(char *s);
/* Longest prefix of at most `max` bytes that ends between characters. */
size_t utf8_cut(const char *s, size_t len, size_t max);

/* Lower-case hex; `out` holds 2 × len + 1 bytes. */
void hex_encode(const void *data, size_t len, char *out);
/* Exactly 2 × len hex digits into `len` bytes; false when there is anything else. */
bool hex_decode(const char *hex, void *out, size_t len);

/* Equal in constant time for equal lengths (secrets, tokens). */
bool str_equal_secret(const char *a, const char *b);

#endif
