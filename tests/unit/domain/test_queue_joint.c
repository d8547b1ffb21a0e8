#include "../suite.h"
#include "queue_fixture.h"

#include "base/mem.h"
#include "base/str.h"
#include "domain/queue_call.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Calls that go as one mean what they mean one by one. Two Redis databases are told the same: in one, calls go together,
 * in the other each by itself. Whatever is drawn, the answers are the same, and so is what stands there in the end. */

#define VIDEOS 250
#define OLD_VIDEOS 7 /* of which there is talk again and again */
#define NONCES 400
#define OLD_NONCES 40
#define MAX_CALLS 4
#define ROUNDS 200
#define SIDES 2

struct side {
    struct redis *redis;
    struct queue *queue;
    bool together;
    struct queue_token token[NONCES]; /* what the claim with that nonce got; job_id "": nothing yet */
};
static struct side sides[SIDES];
static unsigned drawn, next_video, next_nonce;
static bool acked[NONCES];

static unsigned draw(unsigned below)
{
    drawn = drawn * 1103515245u + 12345u;
    return (drawn >> 16) % below;
}

static void nonce_name(unsigned n, char ret[ID_NONCE_SIZE])
{
    str_format(ret, ID_NONCE_SIZE, "n%u", n);
}

static void sides_up(void)
{
    queue_up();
    next_video = OLD_VIDEOS;
    next_nonce = OLD_NONCES;
    memset(acked, 0, sizeof acked);
    for (unsigned i = 0; i < SIDES; i++) {
        const struct redis_options options = {.host = "127.0.0.1", .port = queue_server.port, .db = i + 1};
        struct side *s = &sides[i];
        *s = (struct side){.together = i == 0};
        ok(redis_new(&options, &s->redis, &e));
        ok(queue_new(s->redis, &queue_test_options, &s->queue, &e));
        ok(redis_do(s->redis, NULL, &e, "SET", "{weir}:epoch", "e", NULL));
    }
}

static void sides_down(void)
{
    for (unsigned i = 0; i < SIDES; i++) {
        queue_free(sides[i].queue);
        redis_free(sides[i].redis);
    }
    queue_down();
}

/* --- Calls --- */

#define MAX_WORDS 8

struct calls {
    bool ordinary; /* new videos, new nonces, tokens that are current */
    const struct redis_script *script;
    unsigned count, shared, words;
    char common[MAX_WORDS][48], word[MAX_CALLS][MAX_WORDS][48];
    unsigned token[MAX_CALLS], nonce[MAX_CALLS]; /* NONCES: none */
};

static void put(char ret[48], const char *word)
{
    ck_assert(str_copy(ret, 48, word));
}

static void share_claim(struct calls *c)
{
    static const char *const words[] = {"w", "30000", "3", "2", "default", "big"};

    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        put(c->common[c->shared++], words[i]);
}

static void add_nonce(struct calls *c, unsigned call, unsigned at)
{
    bool new = c->ordinary &&next_nonce < NONCES;

    c->nonce[call] = new ? next_nonce++ : draw(OLD_NONCES);
    nonce_name(c->nonce[call], c->word[call][at]);
    c->words = at + 1;
}

static void draw_enqueue(struct calls *c, unsigned call)
{
    bool new = c->ordinary &&next_video < VIDEOS;

    c->script = &queue_script_enqueue;
    if (call == 0)
        str_format(c->common[c->shared++], sizeof c->common[0], "%s:%u", draw(4) == 0 ? "big" : "default", draw(3));
    put(c->word[call][0], video(new ? next_video++ : draw(OLD_VIDEOS)));
    put(c->word[call][1], num_u64(new ? 1 : 1 + draw(2)).s);
    put(c->word[call][2], num_u64(1000 + draw(3)).s);
    put(c->word[call][3], "77");
    put(c->word[call][4], RECORD);
    c->words = 5;
}

static void draw_claim(struct calls *c, unsigned call)
{
    c->script = &queue_script_claim;
    if (call == 0)
        share_claim(c);
    add_nonce(c, call, 0);
}

/* Whose claim got a job that was not acked since. */
static unsigned draw_holder(void)
{
    unsigned n = draw(NONCES), tries = 0;

    while (tries++ < NONCES && (acked[n] || sides[0].token[n].job_id[0] == '\0'))
        n = (n + 1) % NONCES;
    acked[n] = true;
    return n;
}

static void draw_ack(struct calls *c, unsigned call)
{
    static const char *const states[] = {"completed", "failed", "cancelled"};

    c->script = &queue_script_ack;
    if (call == 0)
        put(c->common[c->shared++], states[draw(3)]);
    c->token[call] = c->ordinary ? draw_holder() : draw(OLD_NONCES); /* words 0 to 2, which differ from side to side */
    put(c->word[call][3], OUTCOME);
    put(c->word[call][4], "broken");
    c->words = 5;
}

static void draw_ack_next(struct calls *c, unsigned call)
{
    draw_ack(c, call);
    if (call == 0)
        share_claim(c);
    add_nonce(c, call, 5);
}

/* --- Both sides --- */

static void fill_in_token(const struct side *s, struct calls *c, unsigned call)
{
    const struct queue_token *t = &s->token[c->token[call]];

    put(c->word[call][0], t->job_id[0] == '\0' ? video(0) : t->video_id);
    put(c->word[call][1], num_u64(t->generation).s);
    str_format(c->word[call][2], sizeof c->word[call][2], "%" PRIu64 ":%s", t->fence, t->nonce);
}

static struct redis_reply *send(const struct side *s, const struct calls *c, unsigned first, unsigned count)
{
    struct num_text own = num_u64(c->words), shared = num_u64(c->shared);
    const char *words[64] = {"EVAL", c->script->source, "1", QUEUE_PREFIX, own.s, shared.s};
    struct redis_reply *reply;
    size_t n = 6;

    for (unsigned i = 0; i < c->shared; i++)
        words[n++] = c->common[i];
    for (unsigned call = first; call < first + count; call++) {
        for (unsigned i = 0; i < c->words; i++)
            words[n++] = c->word[call][i];
    }
    ok(redis_command(s->redis, n, words, NULL, &reply, &e));
    ck_assert_uint_eq(redis_reply_length(reply), count);
    return reply;
}

/* An answer without what differs from side to side: "verdict job attempts stalls cancelled exhausted error left". */
static void describe(const struct redis_reply *answer, char ret[200])
{
    char *end = ret;

    for (size_t i = 0; i < redis_reply_length(answer); i++) {
        const struct redis_reply *part = redis_reply_at(answer, i);
        const char *text = redis_reply_string(part);
        if (i != 2 && i != 10) /* the token; and how many are left counts the calls that went with it */
            str_format(end, 200 - (size_t)(end - ret), "%s%" PRId64 " ", text ? text : "", redis_reply_integer(part));
        end += strlen(end);
    }
}

static void remember(struct side *s, unsigned nonce, const struct redis_reply *answer)
{
    const char *job = redis_reply_string(redis_reply_at(answer, 1)), *colon;
    struct queue_token *t = &s->token[nonce];
    const char *text = redis_reply_string(redis_reply_at(answer, 2));

    if (job == NULL || text == NULL)
        return;
    ck_assert(id_job_parse(job, t->video_id, &t->generation) && str_copy(t->job_id, sizeof t->job_id, job));
    colon = strchr(text, ':');
    ck_assert(str_to_u64_n(text, (size_t)(colon - text), &t->fence));
    ck_assert(str_copy(t->nonce, sizeof t->nonce, colon + 1));
}

static void run_on(struct side *s, struct calls *c, char ret[MAX_CALLS][200])
{
    for (unsigned call = 0; call < c->count; call++) /* before an answer brings others */
        if (c->token[call] < NONCES)
            fill_in_token(s, c, call);
    for (unsigned call = 0; call < c->count; call += s->together ? c->count : 1) {
        unsigned count = s->together ? c->count : 1;
        REDIS_REPLY_AUTO struct redis_reply *reply = send(s, c, call, count);
        for (unsigned i = 0; i < count; i++) {
            describe(redis_reply_at(reply, i), ret[call + i]);
            if (c->nonce[call + i] < NONCES)
                remember(s, c->nonce[call + i], redis_reply_at(reply, i));
        }
    }
}

/* Everything but times, fences and ids of events; events in their order for each job. */
static const char contents[] =
    "local call, out = redis.call, {}\n"
    "local function flat(key, list, step, skip)\n"
    "    local items = {}\n"
    "    for i = 1, #list, step do\n"
    "        items[#items + 1] = list[i] .. (step == 2 and not (skip and skip[list[i]]) and '=' .. list[i + 1] or '')\n"
    "    end\n"
    "    table.sort(items)\n"
    "    return table.concat(items, ' ')\n"
    "end\n"
    "local timed = {lease = true, open = true, delayed = true, admitted = true, finishing = true}\n"
    "local skipped = {token = true, updated_ms = true}\n"
    "local keys = call('KEYS', '{weir}:*')\n"
    "table.sort(keys)\n"
    "for _, key in ipairs(keys) do\n"
    "    local name, kind, text = string.sub(key, 8), call('TYPE', key).ok, ''\n"
    "    if kind == 'list' then\n"
    "        text = table.concat(call('LRANGE', key, 0, -1), ' ')\n"
    "    elseif kind == 'zset' then\n"
    "        text = flat(key, call('ZRANGE', key, 0, -1, 'WITHSCORES'), 2, timed[name] and setmetatable({}, {__index "
    "=\n"
    "            function() return true end}))\n"
    "    elseif name == 'claims' then\n"
    "        text = string.gsub(flat(key, call('HGETALL', key), 2), '(=%S+) %d+:', '%1 ')\n"
    "    elseif kind == 'hash' then\n"
    "        text = flat(key, call('HGETALL', key), 2, skipped)\n"
    "    elseif kind == 'stream' then\n"
    "        local by_job = {}\n"
    "        for _, entry in ipairs(call('XRANGE', key, '-', '+')) do\n"
    "            local f = entry[2]\n"
    "            local attempts = string.gmatch(f[8], '%d+')\n"
    "            for job in string.gmatch(f[6], '%S+') do\n"
    "                by_job[job] = (by_job[job] or job) .. ' ' .. f[2] .. ',' .. f[4] .. ',' .. attempts()\n"
    "            end\n"
    "        end\n"
    "        local lines = {}\n"
    "        for _, line in pairs(by_job) do lines[#lines + 1] = line end\n"
    "        table.sort(lines)\n"
    "        text = table.concat(lines, ' ')\n"
    "    end\n"
    "    out[#out + 1] = name .. ': ' .. text\n"
    "end\n"
    "return table.concat(out, '\\n')\n";

static void compare_contents(unsigned round)
{
    struct redis_reply *replies[SIDES];

    for (unsigned i = 0; i < SIDES; i++)
        ok(redis_do(sides[i].redis, &replies[i], &e, "EVAL", contents, "0", NULL));
    const char *together = redis_reply_string(replies[0]), *alone = redis_reply_string(replies[1]);
    size_t same = 0;
    while (together[same] != '\0' && together[same] == alone[same])
        same++;
    same = same > 200 ? same - 200 : 0;
    ck_assert_msg(strcmp(together, alone) == 0, "round %u\n--- together\n%.600s\n--- one by one\n%.600s", round,
                  together + same, alone + same);
    for (unsigned i = 0; i < SIDES; i++)
        redis_reply_free(replies[i]);
}

/* What changes the queue in between, on both sides alike. */
static void disturb(void)
{
    unsigned what = draw(24), n = draw(NONCES), v = draw(OLD_VIDEOS), generation = 1 + draw(2);
    struct err e;

    for (unsigned i = 0; i < SIDES; i++) {
        const struct side *s = &sides[i];
        int result = 0;
        if (what < 4)
            result = queue_release(s->queue, &s->token[n], &e);
        else if (what < 8)
            result = queue_cancel(s->queue, video(v), generation, "{}", NULL, &e);
        else if (what < 12)
            result = queue_heartbeat(s->queue, &s->token[n], "{\"percent\":1}", NULL, &e);
        else if (what == 12)
            result = queue_delete_begin(s->queue, video(v), 60000, &e);
        else if (what < 18)
            result = queue_video_put(s->queue, video(v), 999, RECORD, &e);
        else if (what < 21)
            result = redis_do(s->redis, NULL, &e, "DEL", "{weir}:deleted:v_00000000000000000000000001", NULL);
        else
            result = queue_settle(s->queue, video(v), generation, VIDEO_COMPLETED, OUTCOME, NULL, &e);
        ck_assert(result == 0 || result == -ERR_STALE || result == -ERR_NOT_FOUND);
    }
}

/* Half of the videos that come into the queue were uploaded before. */
static void upload_first(const struct calls *c)
{
    for (unsigned i = 0; c->script == &queue_script_enqueue && i < SIDES * c->count; i++) {
        struct err e;
        int result = queue_video_put(sides[i % SIDES].queue, c->word[i / SIDES][0], 999, RECORD, &e);
        ck_assert(result == 0 || result == -ERR_NOT_FOUND);
    }
}

START_TEST(calls_that_go_as_one_mean_what_they_mean_one_by_one)
{
    static void (*const draws[])(struct calls *, unsigned) = {draw_enqueue, draw_claim, draw_ack, draw_ack_next};

    drawn = (unsigned)_i;
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct calls c = {.count = 1 + draw(MAX_CALLS), .ordinary = draw(4) != 0};
        char answers[SIDES][MAX_CALLS][200] = {0};
        unsigned kind = draw(ARRAY_SIZE(draws));
        for (unsigned call = 0; call < c.count; call++) {
            c.token[call] = c.nonce[call] = NONCES;
            draws[kind](&c, call);
        }
        if (draw(2) == 0)
            upload_first(&c);
        for (unsigned i = 0; i < SIDES; i++)
            run_on(&sides[i], &c, answers[i]);
        for (unsigned call = 0; call < c.count; call++)
            ck_assert_msg(strcmp(answers[0][call], answers[1][call]) == 0,
                          "round %u, %s, call %u: \"%s\", alone \"%s\"", round, c.script->name, call, answers[0][call],
                          answers[1][call]);
        if (draw(3) == 0)
            disturb();
        compare_contents(round);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("queue joint");
    TCase *joint = tcase_create("joint");
    tcase_set_timeout(joint, 60);
    tcase_add_unchecked_fixture(joint, queue_server_up, queue_server_down);
    tcase_add_checked_fixture(joint, sides_up, sides_down);
    tcase_add_loop_test(joint, calls_that_go_as_one_mean_what_they_mean_one_by_one, 1, 13);
    suite_add_tcase(suite, joint);
    return run_suite(suite);
}
