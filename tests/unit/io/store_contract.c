#include "store_contract.h"

#include "base/clock.h"
#include "base/id.h"
#include "base/mem.h"
#include "base/str.h"

#include <stdlib.h>
#include <string.h>

struct store *store;
char bucket[32];
struct err e;

const char *const odd_keys[ODD_KEYS] = {
    ".videos/v_1.json",
    ".hidden",
    "a b",
    "a+b",
    "a%20b",
    "a%2Fb",
    "a&b=c",
    "a?b#c",
    "a=b",
    "a'b\"c",
    "<a>&amp;</a>",
    "a:b@c",
    "[a]{b}|c^d`e",
    "~a-b_c.d!e*f(g)",
    "$a,b;c",
    "ünïcödé/日本語/😀",
    "…/..a/a../...",
    "a\\b",
    "-",
    "Key/key/KEY",
    "%",
    "%zz",
    "+",
    " lead and trail ",
};

void open_backend(int i)
{
    char nonce[ID_NONCE_SIZE];

    store = store_servers_open((enum store_server)i);
    id_nonce(nonce);
    str_format(bucket, sizeof bucket, "test-%s", nonce);
    ck_assert_msg(store_ensure_bucket(store, bucket, &e) == 0, "%s", e.text);
}

void close_backend(void)
{
    store_free(store);
    store = NULL;
}

static unsigned char pattern_byte(uint64_t seed, uint64_t at)
{
    uint64_t x = (seed + at / 4096) * UINT64_C(0x9E3779B97F4A7C15);
    return (unsigned char)(x >> 32 ^ at);
}

static int read_pattern(void *ctx, uint64_t offset, void *to, size_t size, struct err *err)
{
    const struct pattern *p = ctx;
    unsigned char *bytes = to;

    if (p->fail_at > 0 && offset + size > p->fail_at)
        return err_set(err, ERR_DISCONNECTED, "the client is gone");
    for (size_t i = 0; i < size; i++)
        bytes[i] = pattern_byte(p->seed, offset + i);
    return 0;
}

int check_pattern(void *ctx, const void *data, size_t len, struct err *err)
{
    struct pattern *p = ctx;
    const unsigned char *bytes = data;

    for (size_t i = 0; i < len; i++, p->at++)
        if (bytes[i] != pattern_byte(p->seed, p->at))
            return err_set(err, ERR_BUG, "wrong byte at %llu", (unsigned long long)p->at);
    return 0;
}

struct store_body pattern_body(struct pattern *p, uint64_t size)
{
    return (struct store_body){.size_bytes = size, .read_at = read_pattern, .ctx = p};
}

void put_pattern(const char *key, uint64_t seed, uint64_t size, char etag[STORE_ETAG_SIZE])
{
    struct pattern p = {.seed = seed};
    struct store_body body = pattern_body(&p, size);

    OK(store_put(store, bucket, key, &body, NULL, etag, &e));
}

void expect_pattern_from(const char *key, uint64_t seed, uint64_t at, uint64_t first, uint64_t count, uint64_t expected)
{
    struct pattern p = {.seed = seed, .at = at};
    struct store_info info;

    OK(store_get(store, bucket, key, first, count, check_pattern, &p, &info, &e));
    ck_assert_uint_eq(p.at - at, expected);
}

void expect_pattern(const char *key, uint64_t seed, uint64_t first, uint64_t count, uint64_t expected)
{
    expect_pattern_from(key, seed, first, first, count, expected);
}

void put(const char *key, const char *text)
{
    OK(store_put_bytes(store, bucket, key, text, strlen(text), NULL, &e));
}

void expect(const char *key, const char *text)
{
    char *data = NULL;
    size_t len = 0;

    OK(store_get_bytes(store, bucket, key, 1 << 20, &data, &len, &e));
    ck_assert_str_eq(data, text);
    ck_assert_uint_eq(len, strlen(text));
    mem_free(data);
}

void expect_missing(const char *key)
{
    struct store_info info;

    FAILS(ERR_NOT_FOUND, store_head(store, bucket, key, &info, &e));
}

int see(void *ctx, const struct store_entry *entry, struct err *err)
{
    struct seen *seen = ctx;

    ck_assert_uint_gt(entry->modified_ms, UINT64_C(1500000000000));
    buf_printf(&seen->keys, "%s=%llu\n", entry->key, (unsigned long long)entry->size_bytes);
    if (++seen->count != seen->stop_at)
        return 0;
    return seen->stop_with < 0 ? err_set(err, (enum err_kind) - seen->stop_with, "stopped") : seen->stop_with;
}

void expect_list(const char *prefix, const char *start_after, uint64_t max, const char *expected)
{
    struct seen seen = {0};

    buf_init(&seen.keys, 1 << 20);
    OK(store_list(store, bucket, prefix, start_after, max, see, &seen, &e));
    ck_assert_str_eq(buf_cstr(&seen.keys), expected);
    buf_release(&seen.keys);
}

int run_over_all_stores(const char *name, const TTest *const *tests, size_t count)
{
    Suite *suite = suite_create(name);

    for (int server = 0; server < STORE_SERVERS; server++) {
        TCase *tcase = tcase_create(store_server_names[server]);
        tcase_set_timeout(tcase, 120);
        for (size_t i = 0; i < count; i++)
            tcase_add_loop_test(tcase, tests[i], server, server + 1);
        suite_add_tcase(suite, tcase);
    }
    SRunner *runner = srunner_create(suite);
    store_servers_start();
    srunner_run_all(runner, CK_ENV);
    store_servers_stop();
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
