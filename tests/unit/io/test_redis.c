#include "../suite.h"
#include "redis_server.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "io/redis.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Against a real redis-server: what a client meets when the server restarts, hangs, moves, or is full. */

#define READ_TIMEOUT_MS 600
#define UNKNOWN "0000000000000000000000000000000000000000" /* the SHA1 of no script: it is sent whole every time */

static struct redis_server server;
static struct redis *r;
static struct err e;

#define ok(call) ck_assert_msg((call) == 0, "%s: %s", #call, e.text)
#define fails(kind, call) ck_assert_msg((call) == -(kind), "%s: %s", #call, e.text)

static struct redis *open_redis(struct redis_options options)
{
    struct redis *opened;

    options.host = "127.0.0.1";
    if (options.port == 0)
        options.port = server.port;
    ok(redis_new(&options, &opened, &e));
    return opened;
}

static void start_with(const char *const *options)
{
    redis_server_start(&server, options);
    r = open_redis((struct redis_options){.read_timeout_ms = READ_TIMEOUT_MS});
}

static void up(void)
{
    start_with(NULL);
}

static void down(void)
{
    redis_free(r);
    redis_server_stop(&server);
}

static int64_t number(const char *command, const char *key)
{
    REDIS_REPLY_AUTO struct redis_reply *reply = NULL;

    ok(redis_do(r, &reply, &e, command, key, NULL));
    return redis_reply_integer(reply);
}

/* --- Replies --- */

START_TEST(replies_are_read_as_what_they_are)
{
    REDIS_REPLY_AUTO struct redis_reply *reply = NULL;

    ok(redis_do(r, &reply, &e, "EVAL", "return {1, 'two', false, {'a', 'b', 'c'}, redis.status_reply('FINE'), -7}", "0",
                NULL));
    ck_assert_int_eq(redis_reply_type(reply), REDIS_ARRAY);
    ck_assert_uint_eq(redis_reply_length(reply), 6);
    ck_assert_int_eq(redis_reply_integer(redis_reply_at(reply, 0)), 1);
    ck_assert_str_eq(redis_reply_string(redis_reply_at(reply, 1)), "two");
    ck_assert_uint_eq(redis_reply_length(redis_reply_at(reply, 1)), 3);
    ck_assert_int_eq(redis_reply_type(redis_reply_at(reply, 2)), REDIS_NIL);
    ck_assert_ptr_null(redis_reply_string(redis_reply_at(reply, 2)));
    ck_assert_uint_eq(redis_reply_length(redis_reply_at(reply, 3)), 3);
    ck_assert_str_eq(redis_reply_field(redis_reply_at(reply, 3), "a"), "b");
    ck_assert_ptr_null(redis_reply_field(redis_reply_at(reply, 3), "b"));
    ck_assert_ptr_null(redis_reply_field(redis_reply_at(reply, 3), "c")); /* a name without a value */
    ck_assert_int_eq(redis_reply_type(redis_reply_at(reply, 4)), REDIS_STATUS);
    ck_assert_str_eq(redis_reply_string(redis_reply_at(reply, 4)), "FINE");
    ck_assert_int_eq(redis_reply_integer(redis_reply_at(reply, 5)), -7);
    ck_assert_ptr_null(redis_reply_at(reply, 6));
    ck_assert_ptr_null(redis_reply_at(redis_reply_at(reply, 0), 0));
    ck_assert_int_eq(redis_reply_type(NULL), REDIS_NIL);
    ck_assert_uint_eq(redis_reply_length(NULL), 0);
    ck_assert_int_eq(redis_reply_integer(redis_reply_at(reply, 1)), 0);
    redis_reply_free(NULL);
}
END_TEST

START_TEST(words_may_hold_any_bytes)
{
    REDIS_REPLY_AUTO struct redis_reply *reply = NULL;
    const char *const words[] = {"ECHO", "a\0\r\n$b"};
    const size_t lens[] = {4, 6};

    ok(redis_command(r, 2, words, lens, &reply, &e));
    ck_assert_uint_eq(redis_reply_length(reply), 6);
    ck_assert_mem_eq(redis_reply_string(reply), words[1], 6);
}
END_TEST

START_TEST(an_error_reply_is_a_bug_and_leaves_the_result_alone)
{
    struct redis_reply *reply = (struct redis_reply *)&e;
    const char *const many[65] = {"PING"};

    fails(ERR_BUG, redis_do(r, &reply, &e, "NO-SUCH-COMMAND", NULL));
    fails(ERR_BUG, redis_do(r, &reply, &e, "EVAL", "return redis.error_reply('ERR of ours')", "0", NULL));
    ck_assert_ptr_nonnull(strstr(e.text, "of ours"));
    fails(ERR_BUG, redis_command(r, 0, many, NULL, &reply, &e));
    fails(ERR_BUG, redis_command(r, 65, many, NULL, &reply, &e));
    ck_assert_ptr_eq(reply, (struct redis_reply *)&e);
    ok(redis_ping(r, &e));
}
END_TEST

static const struct {
    const char *code;
    int kind;
} codes[] = {
    {"READONLY You can't write against a read only replica.", ERR_TEMPORARY},
    {"MASTERDOWN Link with MASTER is down", ERR_TEMPORARY},
    {"UNBLOCKED force unblock from blocking operation", ERR_TEMPORARY},
    {"LOADING Redis is loading the dataset in memory", ERR_TEMPORARY},
    {"OOM command not allowed when used memory > 'maxmemory'.", ERR_TEMPORARY},
    {"MISCONF Errors writing to the AOF file: No space left on device", ERR_TEMPORARY},
    {"BUSY Redis is busy running a script.", ERR_TEMPORARY},
    {"NOAUTH Authentication required.", ERR_TEMPORARY},
    {"OOMPH is another code", ERR_BUG},
    {"WRONGTYPE Operation against a key holding the wrong kind of value", ERR_BUG},
};

START_TEST(error_codes_decide_the_kind)
{
    char script[160];

    str_format(script, sizeof script, "return redis.error_reply(\"%s\")", codes[_i].code);
    fails(codes[_i].kind, redis_do(r, NULL, &e, "EVAL", script, "0", NULL));
    ok(redis_ping(r, &e));
}
END_TEST

/* --- Connections --- */

START_TEST(nobody_listening_is_temporary)
{
    redis_server_stop(&server);
    fails(ERR_TEMPORARY, redis_ping(r, &e));
    ck_assert_ptr_nonnull(strstr(e.text, "127.0.0.1"));
    fails(ERR_TEMPORARY, redis_ping(r, NULL));
}
END_TEST

START_TEST(connections_are_used_again)
{
    for (int i = 0; i < 20; i++)
        ok(redis_ping(r, &e));
    ck_assert_int_eq(number("CLIENT", "ID"), number("CLIENT", "ID"));
}
END_TEST

START_TEST(a_restart_costs_no_call)
{
    ok(redis_ping(r, &e));
    redis_server_restart(&server);
    ok(redis_ping(r, &e)); /* the idle connection is dead, which is noticed in time */
}
END_TEST

/* The time-outs are set on every connection, not only on the first. */
START_TEST(a_server_that_hangs_is_given_up_after_the_read_timeout)
{
    for (int round = 0; round < 3; round++) {
        ok(redis_ping(r, &e));
        redis_server_freeze(&server);
        for (int i = 0; i < 2; i++) { /* on the old connection, then on a new one: the kernel still accepts */
            uint64_t start = clock_mono_ms();
            fails(ERR_TEMPORARY, redis_ping(r, &e));
            ck_assert_uint_ge(clock_mono_ms() - start, READ_TIMEOUT_MS - 50);
            ck_assert_uint_lt(clock_mono_ms() - start, 5 * READ_TIMEOUT_MS);
        }
        redis_server_thaw(&server);
    }
}
END_TEST

static void *ping_once(void *ret_ms)
{
    uint64_t start = clock_mono_ms(), *ms = ret_ms;
    struct err local;

    clock_sleep_ms(*ms);
    *ms = redis_ping(r, &local) == -ERR_TEMPORARY ? clock_mono_ms() - start : 0;
    return NULL;
}

/* Nobody waits for the time-outs of those before him. */
START_TEST(all_threads_learn_at_once_that_the_server_hangs)
{
    pthread_t threads[6];
    uint64_t ms[6];

    ok(redis_ping(r, &e));
    redis_server_freeze(&server);
    for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
        ms[i] = i * 20;
        ck_assert_int_eq(pthread_create(&threads[i], NULL, ping_once, &ms[i]), 0);
    }
    for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
        pthread_join(threads[i], NULL);
        ck_assert_uint_gt(ms[i], 0);
        ck_assert_uint_lt(ms[i], 3 * READ_TIMEOUT_MS);
    }
    redis_server_thaw(&server);
    ok(redis_ping(r, &e));
}
END_TEST

/* The late answer of a call that timed out must never be taken for the answer of the next. */
START_TEST(a_late_answer_is_nobodys)
{
    REDIS_REPLY_AUTO struct redis_reply *reply = NULL;

    ok(redis_ping(r, &e));
    redis_server_freeze(&server);
    fails(ERR_TEMPORARY, redis_do(r, NULL, &e, "ECHO", "late", NULL));
    redis_server_thaw(&server);
    ok(redis_do(r, &reply, &e, "ECHO", "now", NULL));
    ck_assert_str_eq(redis_reply_string(reply), "now");
}
END_TEST

START_TEST(a_blocking_command_may_last_longer_than_the_read_timeout)
{
    const char *const words[] = {"BLPOP", "nothing", "1.8"};
    REDIS_REPLY_AUTO struct redis_reply *reply = NULL;
    uint64_t start = clock_mono_ms();

    ok(redis_command_blocking(r, 3 * READ_TIMEOUT_MS, 3, words, &reply, &e));
    ck_assert_int_eq(redis_reply_type(reply), REDIS_NIL);
    ck_assert_uint_ge(clock_mono_ms() - start, 3 * READ_TIMEOUT_MS - 50);

    redis_server_freeze(&server); /* and afterwards the ordinary time-out counts again */
    start = clock_mono_ms();
    fails(ERR_TEMPORARY, redis_ping(r, &e));
    ck_assert_uint_lt(clock_mono_ms() - start, 3 * READ_TIMEOUT_MS);
    redis_server_thaw(&server);
}
END_TEST

static void *unblock_all(void *unused)
{
    struct redis *other = open_redis((struct redis_options){0});
    char id[32];
    struct err local;

    (void)unused;
    for (int i = 0; i < 100; i++) {
        clock_sleep_ms(10);
        str_format(id, sizeof id, "%d", i);
        if (redis_do(other, NULL, &local, "CLIENT", "UNBLOCK", id, "ERROR", NULL) != 0)
            break;
    }
    redis_free(other);
    return NULL;
}

static int64_t blocking_client_id(void)
{
    REDIS_REPLY_AUTO struct redis_reply *reply = NULL;

    ok(redis_command_blocking(r, 100, 2, (const char *const[]){"CLIENT", "ID"}, &reply, &e));
    return redis_reply_integer(reply);
}

START_TEST(unblocked_is_temporary_and_closes_the_connection)
{
    const char *const words[] = {"BLPOP", "nothing", "5"};
    pthread_t thread;
    int64_t before = blocking_client_id();

    ck_assert_int_eq(blocking_client_id(), before);

    ck_assert_int_eq(pthread_create(&thread, NULL, unblock_all, NULL), 0);
    fails(ERR_TEMPORARY, redis_command_blocking(r, 5000, 3, words, NULL, &e));
    ck_assert_ptr_nonnull(strstr(e.text, "UNBLOCKED"));
    ck_assert_int_ne(blocking_client_id(), before);
    pthread_join(thread, NULL);
}
END_TEST

START_TEST(a_read_only_replica_is_left_for_the_new_master)
{
    int64_t before = number("CLIENT", "ID");

    ok(redis_do(r, NULL, &e, "REPLICAOF", "127.0.0.1", "1", NULL));
    fails(ERR_TEMPORARY, redis_do(r, NULL, &e, "SET", "k", "v", NULL));
    ck_assert_ptr_nonnull(strstr(e.text, "READONLY"));
    ck_assert_int_ne(number("CLIENT", "ID"), before);

    const struct redis_script writer = {"writer", "return redis.call('SET', KEYS[1], 1)", UNKNOWN};
    fails(ERR_TEMPORARY, redis_script(r, &writer, 1, (const char *const[]){"k"}, 0, NULL, NULL, &e));
    ck_assert_ptr_nonnull(strstr(e.text, "READONLY"));
}
END_TEST

START_TEST(idle_connections_are_bounded)
{
    struct redis *small = open_redis((struct redis_options){.max_idle = 1});
    ok(redis_ping(small, &e));
    ok(redis_ping(small, &e));
    redis_free(small);
    redis_free(NULL);
}
END_TEST

static _Atomic unsigned mixed_up;

static void *echo_many(void *unused)
{
    (void)unused;
    for (int i = 0; i < 200; i++) {
        REDIS_REPLY_AUTO struct redis_reply *reply = NULL;
        struct num_text word = num_u64((uint64_t)(uintptr_t)pthread_self() + (uint64_t)i);
        struct err local;
        if (redis_do(r, &reply, &local, "ECHO", word.s, NULL) != 0 || strcmp(redis_reply_string(reply), word.s) != 0)
            mixed_up++;
    }
    return NULL;
}

START_TEST(threads_share_a_connection)
{
    pthread_t threads[8];

    for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, echo_many, NULL), 0);
    for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
        pthread_join(threads[i], NULL);
    ck_assert_uint_eq(mixed_up, 0);
}
END_TEST

START_TEST(no_memory_is_temporary)
{
    const struct redis_options options = {.host = "127.0.0.1", .port = 1};
    struct redis *opened = NULL;
    int result = -1;

    for (uint64_t n = 1; result != 0 && n < 10; n++) {
        mem_fail_from(n);
        result = redis_new(&options, &opened, &e);
        mem_fail_from(0);
        ck_assert(result == 0 || result == -ERR_TEMPORARY);
    }
    redis_free(opened);
}
END_TEST

/* --- A server that is none --- */

static const char *const babble[] = {
    "HTTP/1.1 400 Bad Request\r\n\r\n", "*-5\r\n", "$99999999999999\r\n", "*1\r\n*1\r\n", "$5\r\nab", ""};

static void *serve_babble(void *which)
{
    const int *listener = which;
    char request[256];

    int fd = accept(listener[0], NULL, NULL);
    if (fd >= 0 && recv(fd, request, sizeof request, 0) > 0)
        (void)!write(fd, babble[listener[1]], strlen(babble[listener[1]]));
    close(fd);
    return NULL;
}

START_TEST(nonsense_from_the_server_is_temporary)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof address;
    int listener[] = {socket(AF_INET, SOCK_STREAM, 0), _i};
    pthread_t thread;

    ck_assert_int_eq(bind(listener[0], (struct sockaddr *)&address, len), 0);
    ck_assert_int_eq(listen(listener[0], 1), 0);
    ck_assert_int_eq(getsockname(listener[0], (struct sockaddr *)&address, &len), 0);
    struct redis *other = open_redis((struct redis_options){.port = ntohs(address.sin_port)});
    ck_assert_int_eq(pthread_create(&thread, NULL, serve_babble, listener), 0);
    fails(ERR_TEMPORARY, redis_ping(other, &e));
    pthread_join(thread, NULL);
    close(listener[0]);
    redis_free(other);
}
END_TEST

/* --- Password and database --- */

static const char *const with_password[] = {"--requirepass", "river", NULL};

static void up_with_password(void)
{
    start_with(with_password);
}

START_TEST(a_wrong_or_missing_password_is_named)
{
    fails(ERR_TEMPORARY, redis_ping(r, &e));
    ck_assert_ptr_nonnull(strstr(e.text, "NOAUTH"));
    struct redis *wrong = open_redis((struct redis_options){.password = "lake"});
    fails(ERR_TEMPORARY, redis_ping(wrong, &e));
    ck_assert_ptr_nonnull(strstr(e.text, "AUTH refused"));
    ck_assert_ptr_null(strstr(e.text, "lake"));
    redis_free(wrong);
}
END_TEST

START_TEST(password_and_database_are_given_on_every_connection)
{
    struct redis *zero = open_redis((struct redis_options){.password = "river"});

    redis_free(r);
    r = open_redis((struct redis_options){.password = "river", .db = 3});
    ok(redis_do(r, NULL, &e, "SET", "k", "v", NULL));
    ok(redis_do(zero, NULL, &e, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes", NULL));
    ck_assert_int_eq(number("EXISTS", "k"), 1);
    redis_server_restart(&server);
    ok(redis_do(r, NULL, &e, "SET", "k", "v", NULL));
    ck_assert_int_eq(number("EXISTS", "k"), 1);

    REDIS_REPLY_AUTO struct redis_reply *reply = NULL;
    ok(redis_do(zero, &reply, &e, "EXISTS", "k", NULL));
    ck_assert_int_eq(redis_reply_integer(reply), 0);
    redis_free(zero);
    struct redis *beyond = open_redis((struct redis_options){.password = "river", .db = 99});
    fails(ERR_TEMPORARY, redis_ping(beyond, &e));
    ck_assert_ptr_nonnull(strstr(e.text, "SELECT refused"));
    redis_free(beyond);
}
END_TEST

/* --- Scripts --- */

static const struct redis_script add = {"add", "return redis.call('INCRBY', KEYS[1], ARGV[1])",
                                        "8cd00688c05c46bde4a2e60658ef20a2e5c0b248"};

static int64_t run_add(const char *amount)
{
    REDIS_REPLY_AUTO struct redis_reply *reply = NULL;

    ok(redis_script(r, &add, 1, (const char *const[]){"sum"}, 1, (const char *const[]){amount}, &reply, &e));
    return redis_reply_integer(reply);
}

static void expect_loaded(const struct redis_script *script)
{
    REDIS_REPLY_AUTO struct redis_reply *reply = NULL;

    ok(redis_do(r, &reply, &e, "SCRIPT", "EXISTS", script->sha1, NULL));
    ck_assert_int_eq(redis_reply_integer(redis_reply_at(reply, 0)), 1);
}

START_TEST(scripts_are_loaded_again_when_the_server_forgot_them)
{
    ck_assert_int_eq(run_add("1"), 1);
    ck_assert_int_eq(run_add("2"), 3);
    expect_loaded(&add);
    ok(redis_do(r, NULL, &e, "SCRIPT", "FLUSH", NULL));
    ck_assert_int_eq(run_add("3"), 6);
    redis_server_restart(&server);
    ck_assert_int_eq(run_add("4"), 4);
}
END_TEST

START_TEST(a_script_that_fails_names_itself)
{
    const struct redis_script broken = {"broken", "return redis.call('INCR')", UNKNOWN};
    const struct redis_script wrong = {"wrong", "return return", UNKNOWN};

    fails(ERR_BUG, redis_script(r, &broken, 0, NULL, 0, NULL, NULL, &e));
    ck_assert_ptr_nonnull(strstr(e.text, "broken"));
    fails(ERR_BUG, redis_script(r, &wrong, 0, NULL, 0, NULL, NULL, &e));
    fails(ERR_BUG, redis_script(r, &add, 60, NULL, 60, NULL, NULL, &e));
    fails(ERR_BUG, redis_script(r, &broken, 0, NULL, 0, NULL, NULL, NULL));
}
END_TEST

/* --- Calls that go as one --- */

static int64_t redis_runs(void)
{
    REDIS_REPLY_AUTO struct redis_reply *reply = NULL;
    uint64_t runs = 0;

    ok(redis_do(r, &reply, &e, "GET", "runs", NULL));
    ck_assert(str_to_u64(redis_reply_string(reply), &runs));
    return (int64_t)runs;
}

/* Answers each of its calls with twice its argument, or fails; counts how often it runs. */
static const struct redis_script twice = {
    .name = "twice",
    .source = "redis.call('INCR', KEYS[1])\n"
              "local answers = {}\n"
              "for i = 4, #ARGV, tonumber(ARGV[1]) do\n"
              "    answers[#answers + 1] = ARGV[i] == '13' and redis.error_reply('ERR unlucky') or ARGV[i] * ARGV[3]\n"
              "end\n"
              "return answers\n",
    .sha1 = "80d33d3842f1dccc4bad9afaae13ab3a1313c017",
};

static int run_twice(const char *number, int64_t *ret, struct err *local)
{
    REDIS_REPLY_AUTO struct redis_reply *reply = NULL;
    int result = redis_script_joint(r, &twice, 1, (const char *const[]){"runs"}, 1, 2,
                                    (const char *const[]){"2", number}, &reply, local);

    if (result == 0)
        *ret = redis_reply_integer(reply);
    return result;
}

static void *double_many(void *unused)
{
    (void)unused;
    for (uint64_t i = 0; i < 200; i++) {
        struct err local;
        int64_t answer = -1;
        int result = run_twice(num_u64(i).s, &answer, &local);
        if (i == 13 ? result != -ERR_BUG || strstr(local.text, "unlucky") == NULL
                    : result != 0 || answer != 2 * (int64_t)i)
            mixed_up++;
    }
    return NULL;
}

START_TEST(calls_of_threads_go_as_one_and_each_gets_its_answer)
{
    pthread_t threads[8];

    for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, i % 4 == 3 ? echo_many : double_many, NULL), 0);
    for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
        pthread_join(threads[i], NULL);
    ck_assert_uint_eq(mixed_up, 0);
    ck_assert_int_lt(redis_runs(), 6 * 200);
}
END_TEST

START_TEST(a_joint_script_is_loaded_again_too)
{
    int64_t answer;

    ok(run_twice("1", &answer, &e));
    expect_loaded(&twice);
    ok(redis_do(r, NULL, &e, "SCRIPT", "FLUSH", NULL));
    ok(run_twice("2", &answer, &e));
    ck_assert_int_eq(answer, 4);
}
END_TEST

START_TEST(an_answer_that_is_not_one_for_each_call_is_a_bug)
{
    static const char *const sources[] = {"return {}", "return {1, 2}", "return 1",
                                          "return redis.error_reply('ERR x')"};
    struct redis_reply *reply = NULL;

    for (size_t i = 0; i < ARRAY_SIZE(sources); i++) {
        const struct redis_script wrong = {"wrong", sources[i], UNKNOWN};
        fails(ERR_BUG, redis_script_joint(r, &wrong, 0, NULL, 0, 1, (const char *const[]){"a"}, &reply, &e));
        ck_assert_ptr_nonnull(strstr(e.text, "wrong"));
    }
    fails(ERR_BUG, redis_script_joint(r, &twice, 0, NULL, 1, 1, (const char *const[]){"2"}, &reply, &e));
    ok(redis_do(r, NULL, &e, "CONFIG", "SET", "maxmemory", "1", NULL));
    int64_t answer;
    fails(ERR_TEMPORARY, run_twice("1", &answer, &e));
}
END_TEST

START_TEST(a_full_redis_is_temporary)
{
    ok(redis_do(r, NULL, &e, "CONFIG", "SET", "maxmemory", "1", NULL));
    fails(ERR_TEMPORARY, redis_do(r, NULL, &e, "SET", "k", "v", NULL));
    ck_assert_ptr_nonnull(strstr(e.text, "OOM"));
    fails(ERR_TEMPORARY,
          redis_script(r, &add, 1, (const char *const[]){"sum"}, 1, (const char *const[]){"1"}, NULL, &e));
    ok(redis_do(r, NULL, &e, "CONFIG", "SET", "maxmemory", "0", NULL));
    ck_assert_int_eq(run_add("1"), 1);
}
END_TEST

/* --- About the server --- */

static const struct {
    const char *appendonly, *appendfsync, *policy;
    const char *warning; /* a word of it; "": durable */
} durabilities[] = {
    {"yes", "always", "noeviction", ""},
    {"no", "always", "noeviction", "append-only"},
    {"yes", "everysec", "noeviction", "last second"},
    {"yes", "always", "allkeys-lru", "evict"},
};

START_TEST(a_redis_that_may_lose_or_evict_is_noticed)
{
    char warning[256] = "?";

    ok(redis_do(r, NULL, &e, "CONFIG", "SET", "appendonly", durabilities[_i].appendonly, NULL));
    ok(redis_do(r, NULL, &e, "CONFIG", "SET", "appendfsync", durabilities[_i].appendfsync, NULL));
    ok(redis_do(r, NULL, &e, "CONFIG", "SET", "maxmemory-policy", durabilities[_i].policy, NULL));
    ok(redis_durability(r, warning, sizeof warning, &e));
    if (durabilities[_i].warning[0] == '\0')
        ck_assert_str_eq(warning, "");
    else
        ck_assert_ptr_nonnull(strstr(warning, durabilities[_i].warning));
}
END_TEST

static const char *const without_config[] = {"--rename-command", "CONFIG", "", "--appendonly", "yes", NULL};

START_TEST(without_config_what_info_tells_must_do)
{
    char warning[256] = "";

    redis_server_stop(&server);
    redis_free(r);
    start_with(without_config);
    ok(redis_durability(r, warning, sizeof warning, &e));
    ck_assert_ptr_nonnull(strstr(warning, "does not tell"));
    redis_server_stop(&server);
    fails(ERR_TEMPORARY, redis_durability(r, warning, sizeof warning, NULL));
}
END_TEST

START_TEST(the_identity_changes_with_a_restart_and_with_the_role)
{
    char first[64], second[64], third[64], tiny[8];

    ok(redis_identity(r, first, sizeof first, &e));
    ok(redis_identity(r, second, sizeof second, &e));
    ck_assert_str_eq(first, second);
    ck_assert(str_ends(first, " master"));
    ok(redis_do(r, NULL, &e, "REPLICAOF", "127.0.0.1", "1", NULL));
    ok(redis_identity(r, second, sizeof second, &e));
    ck_assert(str_ends(second, " slave"));
    redis_server_restart(&server);
    ok(redis_identity(r, third, sizeof third, &e));
    ck_assert_str_ne(first, third);
    fails(ERR_BUG, redis_identity(r, tiny, sizeof tiny, &e));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("redis");
    TCase *plain = tcase_create("plain"), *secret = tcase_create("password");
    tcase_set_timeout(plain, 60);
    tcase_add_checked_fixture(plain, up, down);
    tcase_add_test(plain, replies_are_read_as_what_they_are);
    tcase_add_test(plain, words_may_hold_any_bytes);
    tcase_add_test(plain, an_error_reply_is_a_bug_and_leaves_the_result_alone);
    tcase_add_loop_test(plain, error_codes_decide_the_kind, 0, (int)ARRAY_SIZE(codes));
    tcase_add_test(plain, nobody_listening_is_temporary);
    tcase_add_test(plain, connections_are_used_again);
    tcase_add_test(plain, a_restart_costs_no_call);
    tcase_add_test(plain, a_server_that_hangs_is_given_up_after_the_read_timeout);
    tcase_add_test(plain, all_threads_learn_at_once_that_the_server_hangs);
    tcase_add_test(plain, a_late_answer_is_nobodys);
    tcase_add_test(plain, a_blocking_command_may_last_longer_than_the_read_timeout);
    tcase_add_test(plain, unblocked_is_temporary_and_closes_the_connection);
    tcase_add_test(plain, a_read_only_replica_is_left_for_the_new_master);
    tcase_add_test(plain, idle_connections_are_bounded);
    tcase_add_test(plain, threads_share_a_connection);
    tcase_add_test(plain, no_memory_is_temporary);
    tcase_add_loop_test(plain, nonsense_from_the_server_is_temporary, 0, (int)ARRAY_SIZE(babble));
    tcase_add_test(plain, scripts_are_loaded_again_when_the_server_forgot_them);
    tcase_add_test(plain, a_script_that_fails_names_itself);
    tcase_add_test(plain, calls_of_threads_go_as_one_and_each_gets_its_answer);
    tcase_add_test(plain, a_joint_script_is_loaded_again_too);
    tcase_add_test(plain, an_answer_that_is_not_one_for_each_call_is_a_bug);
    tcase_add_test(plain, a_full_redis_is_temporary);
    tcase_add_loop_test(plain, a_redis_that_may_lose_or_evict_is_noticed, 0, (int)ARRAY_SIZE(durabilities));
    tcase_add_test(plain, without_config_what_info_tells_must_do);
    tcase_add_test(plain, the_identity_changes_with_a_restart_and_with_the_role);
    suite_add_tcase(suite, plain);
    tcase_add_checked_fixture(secret, up_with_password, down);
    tcase_add_test(secret, a_wrong_or_missing_password_is_named);
    tcase_add_test(secret, password_and_database_are_given_on_every_connection);
    suite_add_tcase(suite, secret);
    return run_suite(suite);
}
