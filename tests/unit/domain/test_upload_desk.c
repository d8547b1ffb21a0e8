#include "domain/upload_desk.h"

#include "../suite.h"
#include "queue_fixture.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"

#include <pthread.h>
#include <string.h>

#define PATIENCE_MS 20000

/* Who works at a desk: writes down what is asked there. */
struct clerk {
    pthread_mutex_t lock;
    pthread_cond_t noted;
    unsigned count;
    char text[4096]; /* "R:<id> S:<id> " */
};

static struct clerk first, second;
static struct upload_desk *desk, *other_desk;
static struct redis *desk_redis; /* learns within a second that Redis is frozen */

static void note(void *ctx, const char *video_id, enum upload_ask ask)
{
    struct clerk *c = ctx;

    pthread_mutex_lock(&c->lock);
    size_t len = strlen(c->text);
    str_format(c->text + len, sizeof c->text - len, "%c:%s ", ask == UPLOAD_ASK_STOP ? 'S' : 'R', video_id);
    c->count++;
    pthread_cond_signal(&c->noted);
    pthread_mutex_unlock(&c->lock);
}

static void clerk_up(struct clerk *c)
{
    *c = (struct clerk){.lock = PTHREAD_MUTEX_INITIALIZER, .noted = PTHREAD_COND_INITIALIZER};
}

static void expect(struct clerk *c, unsigned count, const char *text)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_MS / 1000;
    pthread_mutex_lock(&c->lock);
    while (c->count < count && pthread_cond_timedwait(&c->noted, &c->lock, &until) == 0)
        ;
    ck_assert_uint_eq(c->count, count);
    if (text != NULL)
        ck_assert_str_eq(c->text, text);
    pthread_mutex_unlock(&c->lock);
}

static void up(void)
{
    const struct redis_options options = {
        .host = "127.0.0.1", .port = queue_server.port, .connect_timeout_ms = 1000, .read_timeout_ms = 1000};

    log_init("test", LOG_ERROR, LOG_TEXT);
    queue_up();
    ok(redis_new(&options, &desk_redis, &e));
    clerk_up(&first);
    clerk_up(&second);
    ok(upload_desk_new(desk_redis, note, &first, &desk, &e));
    ok(upload_desk_new(desk_redis, note, &second, &other_desk, &e));
}

static void down(void)
{
    upload_desk_free(desk);
    upload_desk_free(other_desk);
    redis_free(desk_redis);
    queue_down_untidy();
}

static void ask(const struct upload_desk *d, unsigned n, enum upload_ask what)
{
    ok(upload_desk_ask(test_redis, upload_desk_process(d), video(n), what, &e));
}

START_TEST(each_desk_gets_its_own_notes_in_order)
{
    char expected[200];

    ck_assert_str_ne(upload_desk_process(desk), upload_desk_process(other_desk));
    ask(desk, 1, UPLOAD_ASK_RECORD);
    ask(other_desk, 2, UPLOAD_ASK_STOP);
    ask(desk, 3, UPLOAD_ASK_STOP);
    str_format(expected, sizeof expected, "R:%s S:%s ", video(1), video(3));
    expect(&first, 2, expected);
    str_format(expected, sizeof expected, "S:%s ", video(2));
    expect(&second, 1, expected);
    ck_assert_int_eq(redis_number("EXISTS", "{weir}:desk:x"), 0);
}
END_TEST

START_TEST(a_desk_ends_at_once)
{
    uint64_t started = clock_mono_ms();
    struct upload_desk *d = NULL;

    for (unsigned i = 0; i < 5; i++) {
        ok(upload_desk_new(desk_redis, note, &first, &d, &e));
        upload_desk_free(d);
    }
    upload_desk_free(NULL);
    ck_assert_uint_lt(clock_mono_ms() - started, 2000); /* the time of one BRPOP */
}
END_TEST

START_TEST(nobody_at_a_desk_leaves_a_short_list_that_goes)
{
    static const char *const nobody = "0123456789abcdef";

    for (unsigned i = 0; i < 1010; i++)
        ok(upload_desk_ask(test_redis, nobody, video(i % 200), UPLOAD_ASK_RECORD, &e));
    ck_assert_int_eq(redis_number("LLEN", "{weir}:desk:0123456789abcdef"), 1000);
    int64_t left = redis_number("PTTL", "{weir}:desk:0123456789abcdef");
    ck_assert_int_gt(left, 0);
    ck_assert_int_le(left, 15000);
}
END_TEST

START_TEST(what_is_no_note_is_passed_over)
{
    static const char *const notes[] = {"",
                                        "stop",
                                        "stop ",
                                        "stop v_1",
                                        "halt v_00000000000000000000000001",
                                        "wake",
                                        " ",
                                        "stopp v_00000000000000000000000001"};
    char key[64];

    str_format(key, sizeof key, "{weir}:desk:%s", upload_desk_process(desk));
    for (size_t i = 0; i < sizeof notes / sizeof *notes; i++)
        redis_run("LPUSH", key, notes[i]);
    ask(desk, 1, UPLOAD_ASK_STOP);
    expect(&first, 1, NULL);
    fails(ERR_INVALID, upload_desk_ask(test_redis, "x", "v_1", UPLOAD_ASK_STOP, &e));
}
END_TEST

/* Asks until it arrives: the first ones may be lost with Redis. */
static void ask_until_heard(unsigned n)
{
    uint64_t deadline = clock_mono_ms() + PATIENCE_MS;
    bool heard = false;

    while (!heard && clock_mono_ms() < deadline) {
        (void)!upload_desk_ask(test_redis, upload_desk_process(desk), video(n), UPLOAD_ASK_RECORD, NULL);
        clock_sleep_ms(20);
        pthread_mutex_lock(&first.lock);
        heard = strstr(first.text, video(n)) != NULL;
        pthread_mutex_unlock(&first.lock);
    }
    ck_assert(heard);
}

START_TEST(a_desk_lives_through_a_redis_that_dies)
{
    ask_until_heard(1);
    redis_server_restart(&queue_server);
    ask_until_heard(2);
}
END_TEST

START_TEST(a_desk_lives_through_a_redis_that_freezes_and_can_end_then)
{
    struct upload_desk *d = NULL;

    ask_until_heard(1);
    ok(upload_desk_new(desk_redis, note, &second, &d, &e));
    ask(d, 3, UPLOAD_ASK_RECORD);
    expect(&second, 1, NULL); /* it is at its desk */
    redis_server_freeze(&queue_server);
    upload_desk_free(d);
    redis_server_thaw(&queue_server);
    ask_until_heard(2);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("upload_desk");
    TCase *t = tcase_create("upload_desk"), *faults = tcase_create("faults");

    tcase_add_unchecked_fixture(t, queue_server_up, queue_server_down);
    tcase_add_checked_fixture(t, up, down);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, each_desk_gets_its_own_notes_in_order);
    tcase_add_test(t, a_desk_ends_at_once);
    tcase_add_test(t, nobody_at_a_desk_leaves_a_short_list_that_goes);
    tcase_add_test(t, what_is_no_note_is_passed_over);
    suite_add_tcase(suite, t);
    tcase_add_checked_fixture(faults, queue_server_up, queue_server_down); /* one of its own */
    tcase_add_checked_fixture(faults, up, down);
    tcase_set_timeout(faults, 60);
    tcase_add_test(faults, a_desk_lives_through_a_redis_that_dies);
    tcase_add_test(faults, a_desk_lives_through_a_redis_that_freezes_and_can_end_then);
    suite_add_tcase(suite, faults);
    return run_suite(suite);
}
