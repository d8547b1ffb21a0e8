#include "io/settings.h"

#include "base/mem.h"
#include "base/str.h"
#include "suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[64];

/* Every test starts with an empty environment and an empty folder of its own. */
static void start(void)
{
    str_copy(folder, sizeof folder, "/tmp/weir-settings-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    ck_assert_int_eq(clearenv(), 0);
}

static void end(void)
{
    char path[128];
    static const char *const names[] = {"env", "secret", "out"};

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        str_format(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
    ck_assert_int_eq(rmdir(folder), 0);
}

/* Writes a file of the folder and lets a variable name it. */
static void file_of(const char *variable, const char *name, const char *text, size_t len)
{
    char path[128];

    str_format(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    ck_assert(f != NULL && fwrite(text, 1, len, f) == len && fclose(f) == 0);
    ck_assert_int_eq(setenv(variable, path, 1), 0);
}

static void set(const char *name, const char *value)
{
    ck_assert_int_eq(setenv(name, value, 1), 0);
}

static void must_load(struct settings *s)
{
    struct err e = {0};

    ck_assert_msg(settings_load(CONFIG_API, NULL, 0, s, &e) == 0, "%s", e.text);
}

static void must_refuse(const char *said)
{
    struct settings s;
    struct err e = {0};

    ck_assert_int_eq(settings_load(CONFIG_API, NULL, 0, &s, &e), -ERR_INVALID);
    ck_assert_msg(strstr(e.text, said) != NULL, "%s", e.text);
}

START_TEST(reads_the_environment)
{
    struct settings s;

    set("STORE_URL", "file:///d");
    set("QUEUE_MAX", "5");
    set("UNRELATED", "x");
    must_load(&s);
    ck_assert_str_eq(s.store_dir, "/d");
    ck_assert_uint_eq(s.queue_max, 5);
}
END_TEST

START_TEST(tmpdir_gives_the_scratch_folder)
{
    struct settings s;
    struct err e;

    set("STORE_URL", "file:///d");
    set("TMPDIR", "/var/tmp");
    ck_assert_int_eq(settings_load(CONFIG_WORKER, NULL, 0, &s, &e), 0);
    ck_assert_str_eq(s.scratch_dir, "/var/tmp/weir");
}
END_TEST

START_TEST(file_then_environment_then_command_line)
{
    static const char text[] = "QUEUE_MAX=1\nAPI_PORT=2\nGC_DAYS=3\nSTORE_URL=file:///d\n";
    struct config_pair over = {"GC_DAYS", "30", "command line"};
    struct settings s;
    struct err e = {0};

    file_of("ENV_FILE", "env", text, strlen(text));
    set("API_PORT", "20");
    set("GC_DAYS", "20");
    ck_assert_msg(settings_load(CONFIG_API, &over, 1, &s, &e) == 0, "%s", e.text);
    ck_assert_uint_eq(s.queue_max, 1);
    ck_assert_uint_eq(s.api_port, 20);
    ck_assert_uint_eq(s.gc_days, 30);
}
END_TEST

/* One line of an ENV_FILE and the bucket name it gives; NULL: refused. */
static const struct {
    const char *line, *bucket;
} line_cases[] = {
    {"RAW_BUCKET=abc", "abc"},
    {"  RAW_BUCKET = abc  ", "abc"},
    {"RAW_BUCKET=abc\r", "abc"},
    {"RAW_BUCKET=\"abc\"", "abc"},
    {"RAW_BUCKET='abc' # why", "abc"},
    {"RAW_BUCKET=abc # why", "abc"},
    {"RAW_BUCKET=", "raw"},
    {"RAW_BUCKET=# nothing", "raw"},
    {"RAW_BUCKET=\"\"", "raw"},
    {"# RAW_BUCKET=abc", "raw"},
    {"\t", "raw"},
    {"RAW_BUCKET=abc#d", NULL}, /* no comment: nothing separates it */
    {"RAW_BUCKET=\"abc", NULL},
    {"RAW_BUCKET=\"abc\"d", NULL},
    {"RAW_BUCKET=' abc'", NULL},
    {"RAW_BUCKET", NULL},
    {"=abc", NULL},
    {"RAW_BUCKETS=abc", NULL},
    {"export RAW_BUCKET=abc", NULL},
    {"PATH=/bin", NULL},
    {"TMPDIR=/tmp", NULL},
};

START_TEST(lines_of_a_file)
{
    char text[128];
    struct settings s;

    str_format(text, sizeof text, "STORE_URL=file:///d\n%s", line_cases[_i].line);
    file_of("ENV_FILE", "env", text, strlen(text));
    if (line_cases[_i].bucket == NULL) {
        must_refuse("env line 2");
        return;
    }
    must_load(&s);
    ck_assert_str_eq(s.raw_bucket, line_cases[_i].bucket);
    ck_assert_str_eq(s.store_dir, "/d");
}
END_TEST

START_TEST(broken_files_are_named)
{
    char big[70000];

    set("ENV_FILE", "/nowhere/at/all");
    must_refuse("ENV_FILE: /nowhere/at/all: No such file");
    set("ENV_FILE", folder);
    must_refuse("Is a directory");
    file_of("ENV_FILE", "env", "STORE_URL=file:///d\0x", 21);
    must_refuse("holds a NUL byte");
    memset(big, '#', sizeof big);
    file_of("ENV_FILE", "env", big, sizeof big);
    must_refuse("more than 65536 bytes");
}
END_TEST

START_TEST(secrets_come_from_files)
{
    struct settings s;

    set("STORE_URL", "file:///d");
    file_of("REDIS_PASSWORD_FILE", "secret", "pass word\n\n", 11);
    must_refuse("REDIS_PASSWORD"); /* only one newline is removed, and the rest has one */
    file_of("REDIS_PASSWORD_FILE", "secret", "pass word\n", 10);
    must_load(&s);
    ck_assert_str_eq(s.redis_password, "pass word");
    set("REDIS_PASSWORD", "");
    must_load(&s);
    set("REDIS_PASSWORD", "x");
    must_refuse("REDIS_PASSWORD and REDIS_PASSWORD_FILE are both set");
    unsetenv("REDIS_PASSWORD");
    file_of("REDIS_PASSWORD_FILE", "secret", "\n", 1);
    must_refuse("is empty");
    set("REDIS_PASSWORD_FILE", "/nowhere");
    must_refuse("REDIS_PASSWORD_FILE: /nowhere: No such file");
    set("REDIS_PASSWORD_FILE", "");
    must_load(&s);
}
END_TEST

START_TEST(environment_names_another_secret_file)
{
    static const char text[] = "STORE_URL=file:///d\nREDIS_PASSWORD_FILE=/nowhere\n";
    struct settings s;

    file_of("ENV_FILE", "env", text, strlen(text));
    must_refuse("/nowhere");
    file_of("REDIS_PASSWORD_FILE", "secret", "other", 5);
    must_load(&s);
    ck_assert_str_eq(s.redis_password, "other");
}
END_TEST

START_TEST(survives_without_memory)
{
    static const char text[] = "QUEUE_MAX=1\n";
    struct settings s;
    int r = -ERR_TEMPORARY;

    set("STORE_URL", "file:///d");
    file_of("ENV_FILE", "env", text, strlen(text));
    file_of("REDIS_PASSWORD_FILE", "secret", "x", 1);
    for (uint64_t nth = 1; r != 0; nth++) {
        struct err e = {0};
        mem_fail_from(nth);
        r = settings_load(CONFIG_API, NULL, 0, &s, &e);
        mem_fail_from(0);
        ck_assert_msg(r == 0 || r == -ERR_TEMPORARY, "allocation %u: %s", (unsigned)nth, e.text);
        ck_assert_uint_lt(nth, 1000);
    }
}
END_TEST

/* Runs settings_main in a child, with what it prints in *out; its result is the child's status (255: went on). */
static int run_main(int argc, char **argv, struct buf *out)
{
    bool once = false;
    const struct settings_option options[] = {{.letter = 'q', .setting = "QUEUE_MAX"},
                                              {.flag = "--reconcile-once", .ret_given = &once}};
    char path[128], block[1024];
    int status;
    size_t n;

    str_format(path, sizeof path, "%s/out", folder);
    pid_t child = fork();
    if (child == 0) {
        struct settings s;
        if (freopen(path, "w", stdout) == NULL || dup2(fileno(stdout), STDERR_FILENO) < 0)
            _exit(99);
        int r = settings_main(CONFIG_API, "weir-api", "  -q N   bound\n", options, ARRAY_SIZE(options), argc, argv, &s);
        if (r < 0)
            printf("queue_max=%u once=%d\n", (unsigned)s.queue_max, once);
        fflush(stdout);
        _exit(r);
    }
    ck_assert(waitpid(child, &status, 0) == child && WIFEXITED(status));
    FILE *f = fopen(path, "r");
    ck_assert_ptr_nonnull(f);
    while ((n = fread(block, 1, sizeof block, f)) > 0)
        buf_append(out, block, n);
    fclose(f);
    return WEXITSTATUS(status);
}

static const struct {
    const char *arguments[5];
    int status;
    const char *said;
} main_cases[] = {
    {{NULL}, 255, "queue_max=1000 once=0"},
    {{"-q", "7"}, 255, "queue_max=7 once=0"},
    {{"-q7", "-q", "8"}, 255, "queue_max=8"},
    {{"--reconcile-once", "-q", "7"}, 255, "queue_max=7 once=1"},
    {{"--bogus", "-q", "many"}, 2, "weir-api: unknown argument --bogus (--help lists the options)\n"},
    {{"bogus", "--check-config"}, 2, "weir-api: unknown argument bogus"},
    {{"-q", "7", "-x", "-y"}, 2, "weir-api: unknown argument -x"},
    {{"--bogus", "--help"}, 0, "  -q N   bound\n"},
    {{"-q"}, 2, "weir-api: -q needs a value"},
    {{"-q", "many"}, 2, "weir-api: QUEUE_MAX=many (command line) must be a whole number"},
    {{"--version"}, 0, "weir-api " WEIR_VERSION "\n"},
    {{"--help"}, 0, "  -q N   bound\n"},
    {{"--help"}, 0, "  QUEUE_MAX "},
    {{"--check-config", "-q", "9"}, 0, "QUEUE_MAX=9\n"},
    {{"--check-config"}, 0, "REDIS_PASSWORD=***\n"},
};

START_TEST(command_line)
{
    char program[] = "weir-api", words[5][32];
    char *argv[7] = {program};
    int argc = 1;
    BUF_AUTO struct buf out;

    buf_init(&out, 64u << 10);
    for (; argc < 6 && main_cases[_i].arguments[argc - 1] != NULL; argc++) {
        str_copy(words[argc - 1], sizeof words[0], main_cases[_i].arguments[argc - 1]);
        argv[argc] = words[argc - 1];
    }
    set("STORE_URL", "file:///d");
    set("REDIS_PASSWORD", "hunter2");
    ck_assert_int_eq(run_main(argc, argv, &out), main_cases[_i].status);
    ck_assert_msg(strstr(buf_cstr(&out), main_cases[_i].said) != NULL, "%s", buf_cstr(&out));
    ck_assert_ptr_null(strstr(buf_cstr(&out), "hunter2"));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("settings");
    TCase *tcase = tcase_create("settings");
    tcase_add_checked_fixture(tcase, start, end);
    tcase_add_test(tcase, reads_the_environment);
    tcase_add_test(tcase, tmpdir_gives_the_scratch_folder);
    tcase_add_test(tcase, file_then_environment_then_command_line);
    tcase_add_loop_test(tcase, lines_of_a_file, 0, (int)ARRAY_SIZE(line_cases));
    tcase_add_test(tcase, broken_files_are_named);
    tcase_add_test(tcase, secrets_come_from_files);
    tcase_add_test(tcase, environment_names_another_secret_file);
    tcase_add_test(tcase, survives_without_memory);
    tcase_add_loop_test(tcase, command_line, 0, (int)ARRAY_SIZE(main_cases));
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
