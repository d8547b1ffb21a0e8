#include "base/id.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "suite.h"

#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int saved_stderr;
static FILE *log_file;

static void catch_stderr(void)
{
    log_file = tmpfile();
    saved_stderr = dup(STDERR_FILENO);
    dup2(fileno(log_file), STDERR_FILENO);
}

static void release_stderr(void)
{
    dup2(saved_stderr, STDERR_FILENO);
    close(saved_stderr);
    fclose(log_file);
    log_init(NULL, LOG_INFO, LOG_TEXT);
}

/* What was logged since the last call. */
static const char *logged(void)
{
    static char text[1 << 20];
    off_t end = lseek(fileno(log_file), 0, SEEK_END);
    ssize_t n = pread(fileno(log_file), text, sizeof text - 1, 0);

    ck_assert_int_eq(n, end);
    text[n] = '\0';
    ck_assert_int_eq(ftruncate(fileno(log_file), 0), 0);
    lseek(fileno(log_file), 0, SEEK_SET);
    return text;
}

/* The line without its time, which must have the right form. */
static const char *logged_after_time(void)
{
    const char *line = logged();

    ck_assert_uint_gt(strlen(line), 25);
    ck_assert_int_eq(line[10], 'T');
    ck_assert_int_eq(line[23], 'Z');
    return line + 25;
}

static json_t *logged_json(void)
{
    const char *line = logged();
    size_t len = strlen(line);

    ck_assert_uint_gt(len, 0);
    ck_assert_uint_le(len, 8192);
    ck_assert_ptr_eq(strchr(line, '\n'), line + len - 1);
    json_t *object = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
    ck_assert_msg(object != NULL, "not JSON: %s", line);
    return object;
}

static const char *member(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

START_TEST(text_lines_read_well)
{
    const struct log_ids ids = {.request = "r-1", .video = "v_1", .job = "v_1.2"};

    log_info(NULL, "before init");
    ck_assert_str_eq(logged_after_time(), "info  before init\n");

    log_init("worker", LOG_DEBUG, LOG_TEXT);
    log_debug(NULL, "a step");
    ck_assert_str_eq(logged_after_time(), "debug a step service=worker\n");
    log_error(&ids, "claimed", "attempt", num_u64(3).s, "class", "default");
    ck_assert_str_eq(logged_after_time(),
                     "error claimed service=worker request=r-1 video=v_1 job=v_1.2 attempt=3 class=default\n");
    log_warn(&(struct log_ids){.job = "j"}, "gone", "why", NULL, "then", "é€");
    ck_assert_str_eq(logged_after_time(), "warn  gone service=worker job=j why=- then=é€\n");
}
END_TEST

START_TEST(levels_are_obeyed)
{
    log_init("api", LOG_WARN, LOG_TEXT);
    ck_assert(!log_enabled(LOG_DEBUG) && !log_enabled(LOG_INFO) && log_enabled(LOG_WARN) && log_enabled(LOG_ERROR));
    log_debug(NULL, "no");
    log_info(NULL, "no");
    ck_assert_str_eq(logged(), "");
    log_warn(NULL, "yes");
    ck_assert_str_eq(logged_after_time(), "warn  yes service=api\n");
}
END_TEST

static const struct {
    const char *value, *in_text, *in_json; /* in_json: what a reader of the JSON gets */
} values[] = {
    {"plain-1.5/x", "plain-1.5/x", "plain-1.5/x"},
    {"", "\"\"", ""},
    {"two words", "\"two words\"", "two words"},
    {"a=b", "\"a=b\"", "a=b"},
    {"say \"hi\"", "\"say \\\"hi\\\"\"", "say \"hi\""},
    {"back\\slash", "\"back\\\\slash\"", "back\\slash"},
    {"line\nbreak", "line\\nbreak", "line\nbreak"},
    {"\r\t\x01", "\\u000d\\u0009\\u0001", "\r\t\x01"},
    {"\x1b[31mred", "\\u001b[31mred", "\x1b[31mred"}, /* a terminal must not see it */
    {"\x7f", "\\u007f", "\x7f"},
    {"\xc2\x9b", "\\u009b", "\xc2\x9b"},         /* CSI in one character */
    {"\xe2\x80\xa8", "\\u2028", "\xe2\x80\xa8"}, /* a line separator */
    {"\xff\xc3", "\\xff\\xc3", "\\xff\\xc3"},    /* no text: the bytes can still be read */
    {"Ж€😀", "Ж€😀", "Ж€😀"},
};

START_TEST(values_are_escaped)
{
    char expected[128];

    log_init("api", LOG_INFO, LOG_TEXT);
    log_info(NULL, "m", "k", values[_i].value);
    str_format(expected, sizeof expected, "info  m service=api k=%s\n", values[_i].in_text);
    ck_assert_str_eq(logged_after_time(), expected);

    log_init("api", LOG_INFO, LOG_JSON);
    log_info(NULL, "m", "k", values[_i].value);
    json_t *object = logged_json();
    ck_assert_str_eq(member(object, "k"), values[_i].in_json);
    json_decref(object);
}
END_TEST

START_TEST(json_lines_have_all_members)
{
    const struct log_ids ids = {.request = "r-1", .video = "v_1", .job = "v_1.2"};

    log_init("play", LOG_INFO, LOG_JSON);
    log_info(&ids, "served \"it\"", "status", "200", "nothing", NULL);
    json_t *object = logged_json();
    ck_assert_uint_eq(json_object_size(object), 9);
    ck_assert_uint_eq(strlen(member(object, "time")), 24);
    ck_assert_str_eq(member(object, "level"), "info");
    ck_assert_str_eq(member(object, "service"), "play");
    ck_assert_str_eq(member(object, "message"), "served \"it\"");
    ck_assert_str_eq(member(object, "request"), "r-1");
    ck_assert_str_eq(member(object, "video"), "v_1");
    ck_assert_str_eq(member(object, "job"), "v_1.2");
    ck_assert_int_eq(json_integer_value(json_object_get(object, "status")), 200);
    ck_assert_str_eq(member(object, "nothing"), "-");
    json_decref(object);
}
END_TEST

static const struct {
    const char *key, *value;
    bool is_number;
} numbers[] = {
    {"bytes", "0", true},
    {"bytes", "123456789012345", true},
    {"bytes", "1234567890123456", false}, /* a reader with doubles would change it */
    {"ms", "0.25", true},
    {"ms", "12345678901234.5", true},
    {"ms", "12345678901234.56", false},
    {"ms", "1.", false},
    {"ms", ".5", false},
    {"ms", "1.2.3", false},
    {"ms", "nan", false},
    {"count", "", false},
    {"count", "007", false},
    {"count", "-1", false},
    {"count", "1e3", false},
    {"count", " 1", false},
    {"count", "1 ", false},
    {"name", "1", false},
};

START_TEST(what_is_counted_is_a_number_in_json)
{
    log_init("api", LOG_INFO, LOG_JSON);
    log_info(NULL, "m", numbers[_i].key, numbers[_i].value, "after", "x");
    json_t *object = logged_json(), *value = json_object_get(object, numbers[_i].key);
    ck_assert_int_eq(json_is_number(value), numbers[_i].is_number);
    if (!numbers[_i].is_number)
        ck_assert_str_eq(json_string_value(value), numbers[_i].value);
    ck_assert_str_eq(member(object, "after"), "x");
    json_decref(object);

    log_init("api", LOG_INFO, LOG_TEXT);
    log_info(NULL, "m", numbers[_i].key, numbers[_i].value, "after", "x");
    ck_assert(str_ends(logged(), " after=x\n"));
}
END_TEST

/* A number is there whole or not at all. */
START_TEST(a_number_is_never_cut)
{
    static char filler[9000];
    bool was_there = true;

    log_init("api", LOG_INFO, LOG_JSON);
    for (size_t len = 8000; len < 8190; len++) {
        memset(filler, 'x', len);
        filler[len] = '\0';
        log_info(NULL, "m", "value", filler, "bytes", "123456789");
        json_t *object = logged_json(), *value = json_object_get(object, "bytes");
        ck_assert(value == NULL || json_integer_value(value) == 123456789);
        ck_assert(was_there || value == NULL);
        was_there = value != NULL;
        json_decref(object);
    }
    ck_assert(!was_there);
}
END_TEST

/* Around the maximum every length is tried, with a filler of one character and with one that is escaped. */
START_TEST(long_lines_are_cut_and_stay_whole)
{
    static char filler[20000], key[20000];
    static const char *const units[] = {"x", "€", "\n", "\"", "\xff"};

    for (size_t u = 0; u < ARRAY_SIZE(units); u++)
        for (size_t len = 7900; len < 8300; len += 7) {
            size_t at = 0;
            for (; at < len; at += strlen(units[u]))
                memcpy(filler + at, units[u], strlen(units[u]) + 1);
            memset(key, 'k', len);
            key[len] = '\0';

            log_init("api", LOG_INFO, LOG_JSON);
            log_info(NULL, "m", "value", filler, "a", "1", "b", "2");
            json_decref(logged_json());
            log_info(NULL, filler, "a", "1");
            json_decref(logged_json());
            log_info(NULL, "m", key, "1", "b", "2");
            json_decref(logged_json());

            log_init("api", LOG_INFO, LOG_TEXT);
            log_info(NULL, "m", "value", filler, "a", "1");
            const char *line = logged();
            ck_assert_uint_le(strlen(line), 8192);
            ck_assert(str_ends(line, "\n") && utf8_valid(line, strlen(line)));
        }
}
END_TEST

START_TEST(what_was_cut_says_so)
{
    static char filler[20000];

    memset(filler, 'x', sizeof filler - 1);
    log_init("api", LOG_INFO, LOG_JSON);
    log_info(NULL, "m", "value", filler, "after", "left out");
    json_t *object = logged_json();
    ck_assert(str_ends(member(object, "value"), "xxx..."));
    ck_assert_ptr_null(member(object, "after"));
    json_decref(object);

    log_init("api", LOG_INFO, LOG_TEXT);
    log_info(NULL, filler);
    ck_assert(str_ends(logged(), "xxx...\n"));
}
END_TEST

START_TEST(random_bytes_stay_json)
{
    char noise[200];

    log_init("api", LOG_INFO, LOG_JSON);
    for (int i = 0; i < 300; i++) {
        id_random(noise, sizeof noise);
        noise[sizeof noise - 1] = '\0';
        log_info(&(struct log_ids){.request = noise}, noise, "k", noise);
        json_decref(logged_json());
    }
}
END_TEST

static void *log_many(void *name)
{
    for (int i = 0; i < 200; i++)
        log_info(NULL, "from a thread", "name", name, "again", name);
    return NULL;
}

START_TEST(threads_never_mix_lines)
{
    static char names[] = "a\0b\0c\0d";
    pthread_t threads[4];
    size_t lines = 0;

    log_init("api", LOG_INFO, LOG_TEXT);
    for (size_t i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, log_many, names + 2 * i), 0);
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    for (const char *line = logged(); *line != '\0'; line = strchr(line, '\n') + 1, lines++) {
        char name = line[25 + strlen("info  from a thread service=api name=")];
        ck_assert_int_ge(name, 'a');
        ck_assert_int_le(name, 'd');
        ck_assert_int_eq(line[25 + strlen("info  from a thread service=api name=a again=")], name);
    }
    ck_assert_uint_eq(lines, 800);
}
END_TEST

START_TEST(errno_is_kept)
{
    int closed = dup(STDERR_FILENO);

    close(STDERR_FILENO);
    errno = ENOENT;
    log_error(NULL, "nobody hears it");
    ck_assert_int_eq(errno, ENOENT);
    dup2(closed, STDERR_FILENO);
    close(closed);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("log");
    TCase *tcase = tcase_create("log");
    tcase_add_checked_fixture(tcase, catch_stderr, release_stderr);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, text_lines_read_well);
    tcase_add_test(tcase, levels_are_obeyed);
    tcase_add_loop_test(tcase, values_are_escaped, 0, ARRAY_SIZE(values));
    tcase_add_test(tcase, json_lines_have_all_members);
    tcase_add_loop_test(tcase, what_is_counted_is_a_number_in_json, 0, ARRAY_SIZE(numbers));
    tcase_add_test(tcase, a_number_is_never_cut);
    tcase_add_test(tcase, long_lines_are_cut_and_stay_whole);
    tcase_add_test(tcase, what_was_cut_says_so);
    tcase_add_test(tcase, random_bytes_stay_json);
    tcase_add_test(tcase, threads_never_mix_lines);
    tcase_add_test(tcase, errno_is_kept);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
