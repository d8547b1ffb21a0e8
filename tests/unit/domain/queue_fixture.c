#include "queue_fixture.h"

#include "base/str.h"

#include <string.h>

struct redis_server queue_server;
struct redis *test_redis;
struct queue *test_queue;
const struct queue_options queue_test_options = {
    .lease_ms = 30000, .attempts = 5, .max_stalls = 3, .backoff_ms = 1000, .backoff_max_ms = 300000};

void queue_server_up(void)
{
    redis_server_start(&queue_server, NULL);
}

void queue_server_down(void)
{
    redis_server_stop(&queue_server);
}

void begin_test_epoch(void)
{
    ok(queue_reconciler_lease(test_queue, "test", 60000, &e));
    ok(queue_epoch_begin(test_queue, "test", &e));
    ok(queue_reconciler_release(test_queue, "test", &e));
}

void queue_up(void)
{
    const struct redis_options options = {.host = "127.0.0.1", .port = queue_server.port};

    ok(redis_new(&options, &test_redis, &e));
    ok(queue_new(test_redis, &queue_test_options, &test_queue, &e));
    redis_run("FLUSHALL");
    begin_test_epoch();
    scan(); /* the first one only looks at the clock */
}

void queue_down_untidy(void)
{
    queue_free(test_queue);
    redis_free(test_redis);
}

void queue_down(void)
{
    queue_check_invariants();
    queue_down_untidy();
}

/* --- Redis behind the queue's back --- */

static struct redis_reply *last_reply;

static const struct redis_reply *run_words(const char *const *words)
{
    size_t count = 0;

    while (words[count] != NULL)
        count++;
    redis_reply_free(last_reply);
    last_reply = NULL;
    ok(redis_command(test_redis, count, words, NULL, &last_reply, &e));
    return last_reply;
}

int64_t redis_number_of(const char *const *words)
{
    int64_t n = redis_reply_integer(run_words(words));

    redis_reply_free(last_reply);
    last_reply = NULL;
    return n;
}

const char *redis_text_of(const char *const *words)
{
    return redis_reply_string(run_words(words));
}

uint64_t redis_now_ms(void)
{
    uint64_t seconds = 0, us = 0;
    REDIS_REPLY_AUTO struct redis_reply *reply = NULL;

    ok(redis_do(test_redis, &reply, &e, "TIME", NULL));
    ck_assert(str_to_u64(redis_reply_string(redis_reply_at(reply, 0)), &seconds));
    ck_assert(str_to_u64(redis_reply_string(redis_reply_at(reply, 1)), &us));
    return seconds * 1000 + us / 1000;
}

struct queue_digest queue_digest(void)
{
    struct queue_digest d;

    str_copy(d.text, sizeof d.text, redis_text("DEBUG", "DIGEST", NULL));
    return d;
}

/* --- Invariants --- */

static const char invariants[] =
    "local call, wrong, place, seen = redis.call, {}, {}, 0\n"
    "local function check(yes, ...) if not yes then wrong[#wrong + 1] = table.concat({...}, ' ') end end\n"
    "local function put(id, state)\n"
    "    check(not place[id], id, 'in two places:', place[id] or '', state)\n"
    "    place[id] = state\n"
    "end\n"
    "for _, list in ipairs(call('KEYS', '{weir}:wait:*')) do\n"
    "    for _, id in ipairs(call('LRANGE', list, 0, -1)) do\n"
    "        put(id, 'waiting')\n"
    "        local place = call('HGET', '{weir}:video:' .. string.match(id, '^[^.]*'), 'list') or 'default:1'\n"
    "        check(list == '{weir}:wait:' .. (place or ''), id, 'in the wrong list', list)\n"
    "    end\n"
    "end\n"
    "for _, id in ipairs(call('LRANGE', '{weir}:active', 0, -1)) do\n"
    "    put(id, 'active')\n"
    "    check(call('ZSCORE', '{weir}:lease', id), id, 'active without lease')\n"
    "    local f = call('HMGET', '{weir}:video:' .. string.match(id, '^[^.]*'), 'token', 'attempts', 'created_ms')\n"
    "    local claim = call('HGET', '{weir}:claims', string.match(f[1] or '', ':(.*)$') or '') or ''\n"
    "    local says = table.concat({id, f[1] or '-', f[2] or '-', f[3] or '-'}, ' ') .. ' '\n"
    "    check(string.sub(claim, 1, #says) == says, id, 'is not what its nonce claims:', claim)\n"
    "end\n"
    "check(call('ZCARD', '{weir}:lease') == call('LLEN', '{weir}:active'), 'more leases than active jobs')\n"
    "check(call('HLEN', '{weir}:claims') == call('LLEN', '{weir}:active'), 'more claims than active jobs')\n"
    "for _, id in ipairs(call('ZRANGE', '{weir}:delayed', 0, -1)) do put(id, 'delayed') end\n"
    "for _, id in ipairs(call('ZRANGE', '{weir}:open', 0, -1)) do check(place[id], id, 'open, but nowhere') end\n"
    "for id, state in pairs(place) do\n"
    "    seen = seen + 1\n"
    "    local video, generation = string.match(id, '^(.*)%.(%d+)$')\n"
    "    local v = call('HMGET', '{weir}:video:' .. video, 'state', 'generation')\n"
    "    check(call('PTTL', '{weir}:job:' .. id) < 0, id, 'open, but its hash expires')\n"
    "    check(v[1] == state and v[2] == generation, id, 'is', state, 'but its video is not')\n"
    "end\n"
    "check(call('ZCARD', '{weir}:open') == seen, 'open:', call('ZCARD', '{weir}:open'), 'in lists:', seen)\n"
    "local listed = 0\n"
    "for _, key in ipairs(call('KEYS', '{weir}:video:*')) do\n"
    "    local id = string.sub(key, 14)\n"
    "    if call('EXISTS', '{weir}:deleted:' .. id) == 0 then\n"
    "        local v = call('HMGET', key, 'state', 'created_ms')\n"
    "        listed = listed + 1\n"
    "        check(call('ZSCORE', '{weir}:videos', id) == v[2], id, 'not in the index')\n"
    "        check(call('ZSCORE', '{weir}:videos:' .. v[1], id) == v[2], id, 'not in the index of', v[1])\n"
    "    end\n"
    "end\n"
    "local by_state = 0\n"
    "for _, key in ipairs(call('KEYS', '{weir}:videos:*')) do by_state = by_state + call('ZCARD', key) end\n"
    "check(call('ZCARD', '{weir}:videos') == listed, 'more in the index than there are videos')\n"
    "check(by_state == listed, 'a video in the index of two states')\n"
    "for _, key in ipairs(call('KEYS', '{weir}:job:*')) do\n"
    "    check(place[string.sub(key, 12)] or call('PTTL', key) > 0, key, 'has ended, but would stay for ever')\n"
    "end\n"
    "return table.concat(wrong, '; ')\n";

void queue_check_invariants(void)
{
    ck_assert_str_eq(redis_text("EVAL", invariants, "0", NULL), "");
}

/* --- Steps --- */

const char *video(unsigned n)
{
    static char ids[256][ID_VIDEO_SIZE];

    ck_assert_uint_lt(n, 256);
    str_format(ids[n], ID_VIDEO_SIZE, "v_0%025u", n);
    return ids[n];
}

const char *job_key(unsigned n, unsigned generation)
{
    static char key[80];

    str_format(key, sizeof key, "{weir}:job:%s.%u", video(n), generation);
    return key;
}

const char *video_key(unsigned n)
{
    static char key[80];

    str_format(key, sizeof key, "{weir}:video:%s", video(n));
    return key;
}

struct queue_job_spec spec(unsigned n, unsigned generation)
{
    return (struct queue_job_spec){.video_id = video(n),
                                   .generation = generation,
                                   .priority = 1,
                                   .created_ms = 1000 + n,
                                   .size_bytes = 77,
                                   .record_json = RECORD};
}

void enqueue(unsigned n)
{
    struct queue_job_spec s = spec(n, 1);
    bool existed = true;

    ok(queue_enqueue(test_queue, &s, &existed, &e));
    ck_assert(!existed);
}

struct queue_token claim(unsigned n)
{
    char nonce[ID_NONCE_SIZE];
    struct queue_job job;

    id_nonce(nonce);
    ok(queue_claim(test_queue, "worker-1", nonce, NULL, &job, &e));
    ck_assert_str_eq(job.token.video_id, video(n));
    ck_assert_str_eq(job.token.nonce, nonce);
    queue_job_release(&job);
    return job.token;
}

struct queue_token active(unsigned n)
{
    enqueue(n);
    return claim(n);
}

void expect_nothing_to_claim(void)
{
    char nonce[ID_NONCE_SIZE];
    struct queue_job job;

    id_nonce(nonce);
    fails(ERR_NOT_FOUND, queue_claim(test_queue, "worker-1", nonce, NULL, &job, &e));
}

struct queue_video view(unsigned n)
{
    struct queue_video v;

    ok(queue_video_get(test_queue, video(n), &v, &e));
    return v;
}

enum video_state state_of(unsigned n)
{
    struct queue_video v = view(n);

    queue_video_release(&v);
    return v.state;
}

struct queue_counts counts(void)
{
    struct queue_counts c;

    ok(queue_counts(test_queue, &c, &e));
    return c;
}

struct queue_scan scan(void)
{
    struct queue_scan s;

    ok(queue_scan(test_queue, &s, &e));
    return s;
}
