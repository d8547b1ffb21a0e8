#ifndef WEIR_TEST_QUEUE_FIXTURE_H
#define WEIR_TEST_QUEUE_FIXTURE_H

#include "../io/redis_server.h"

#include "domain/queue.h"

#include <check.h>

/* A queue on a real Redis that is empty, but for the epoch, before every test. */

extern struct redis_server queue_server;
extern struct redis *test_redis;
extern struct queue *test_queue;
extern const struct queue_options queue_test_options; /* lease 30 s, 5 attempts, 3 stalls, back-off 1 s … 5 min */

void queue_server_up(void); /* unchecked fixture: once for a test case */
void queue_server_down(void);
void queue_up(void); /* checked fixture: before each test */
void begin_test_epoch(void);
void queue_down(void); /* checks the invariants, then ends the connection */

/* Fails the test with every invariant that does not hold. Called by queue_down; queue_down_untidy leaves it out. */
void queue_check_invariants(void);
void queue_down_untidy(void);

/* A command that must succeed: its answer, if it is a number or a text. The text is valid until the next call. */
int64_t redis_number_of(const char *const *words);
const char *redis_text_of(const char *const *words);
#define redis_number(...) redis_number_of((const char *const[]){__VA_ARGS__, NULL})
#define redis_text(...) redis_text_of((const char *const[]){__VA_ARGS__, NULL})
#define redis_run(...) ((void)redis_number(__VA_ARGS__))
uint64_t redis_now_ms(void);

/* A digest of all data: equal before and after whatever changed nothing. */
struct queue_digest {
    char text[48];
};
struct queue_digest queue_digest(void);
#define assert_unchanged(before) ck_assert_str_eq((before).text, queue_digest().text)

/* Videos v_…1, v_…2, … below 256. */
const char *video(unsigned n);
const char *job_key(unsigned n, unsigned generation);
const char *video_key(unsigned n);

#define RECORD "{\"title\":\"Lock 7\"}"
#define OUTCOME "{\"outcome\":\"published\"}"

/* Steps that must succeed. */
#define ok(call)                                                                                                       \
    do {                                                                                                               \
        struct err e = {0};                                                                                            \
        int ok_result = (call);                                                                                        \
        ck_assert_msg(ok_result == 0, "%s: %s", #call, e.text);                                                        \
    } while (0)
/* … and that must fail so. */
#define fails(kind, call)                                                                                              \
    do {                                                                                                               \
        struct err e = {0};                                                                                            \
        int fails_result = (call);                                                                                     \
        ck_assert_msg(fails_result == -(kind), "%s: %d %s", #call, fails_result, e.text);                              \
    } while (0)

struct queue_job_spec spec(unsigned n, unsigned generation);
void enqueue(unsigned n);
struct queue_token claim(unsigned n);  /* claims; the job must be that of video n */
struct queue_token active(unsigned n); /* enqueue + claim */
void expect_nothing_to_claim(void);
struct queue_video view(unsigned n); /* to be released */
enum video_state state_of(unsigned n);
struct queue_counts counts(void);
struct queue_scan scan(void);

#endif
