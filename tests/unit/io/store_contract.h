#ifndef WEIR_TEST_STORE_CONTRACT_H
#define WEIR_TEST_STORE_CONTRACT_H

#include "base/buf.h"
#include "io/store.h"
#include "io/store_servers.h"

#include <check.h>
#include <stdbool.h>

/* The contract of store.h as lists of cases (test_store.c, test_store_multipart.c), run over every back end. Each test makes
 * a bucket of its own. */

#define MIB ((uint64_t)1 << 20)

extern struct store *store;
extern char bucket[32];
extern struct err e;

void open_backend(int i);
void close_backend(void);

/* Every test runs once per back end: `_i` is its number. */
#define STORE_TEST(name)                                                                                               \
    static void name##_body(void);                                                                                     \
    START_TEST(name)                                                                                                   \
    {                                                                                                                  \
        open_backend(_i);                                                                                              \
        name##_body();                                                                                                 \
        close_backend();                                                                                               \
    }                                                                                                                  \
    END_TEST                                                                                                           \
    static void name##_body(void)

#define OK(call) ck_assert_msg((call) == 0, "%s: %s", #call, e.text)
#define FAILS(kind, call)                                                                                              \
    do {                                                                                                               \
        e.text[0] = '\0';                                                                                              \
        int got = (call);                                                                                              \
        ck_assert_msg(got == -(kind), "%s: %d, expected %d: %s", #call, got, -(kind), e.text);                         \
    } while (0)

/* --- Bodies with a pattern: nothing of them is in memory --- */

struct pattern {
    uint64_t seed, at; /* at: next byte expected by check_pattern */
    uint64_t fail_at;  /* reading the body fails from this offset on; 0: never */
};

int check_pattern(void *ctx, const void *data, size_t len, struct err *err); /* a store_sink */
struct store_body pattern_body(struct pattern *p, uint64_t size);
void put_pattern(const char *key, uint64_t seed, uint64_t size, char etag[STORE_ETAG_SIZE]);
/* [first, first + count) of the object are the pattern's from `at` on, `expected` bytes. */
void expect_pattern_from(const char *key, uint64_t seed, uint64_t at, uint64_t first, uint64_t count,
                         uint64_t expected);
void expect_pattern(const char *key, uint64_t seed, uint64_t first, uint64_t count, uint64_t expected);

/* --- Small objects and lists --- */

#define ODD_KEYS 24
extern const char *const odd_keys[ODD_KEYS];

void put(const char *key, const char *text);
void expect(const char *key, const char *text);
void expect_missing(const char *key);

struct seen {
    struct buf keys; /* one a line */
    size_t count, stop_at;
    int stop_with;
};
int see(void *ctx, const struct store_entry *entry, struct err *err); /* a store_each */
void expect_list(const char *prefix, const char *start_after, uint64_t max, const char *expected);

/* What the main of such a test ends with. */
int run_over_all_stores(const char *name, const TTest *const *tests, size_t count);

#endif
