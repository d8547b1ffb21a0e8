#include "io/process.h"

#include "../suite.h"
#include "base/clock.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define WAIT_MS 20000

struct run {
    char out[4096];
    struct process_end end;
};

static struct process *spawn(const struct process_options *options)
{
    struct process *p = NULL;
    struct err e = {0};

    ck_assert_msg(process_spawn(options, &p, &e) == 0, "%s", e.text);
    return p;
}

static void read_all(int fd, char *out, size_t size)
{
    size_t len = 0;
    ssize_t n;

    while (len < size - 1 && (n = read(fd, out + len, size - 1 - len)) > 0)
        len += (size_t)n;
    out[len] = '\0';
}

/* Runs `argv` to its end and takes what it prints. `more` is changed: its stdout is the test's. */
static struct run run(const char *const *argv, struct process_options more)
{
    struct run run = {0};
    struct err e = {0};
    int pipe_fds[2];

    ck_assert_int_eq(pipe2(pipe_fds, O_CLOEXEC), 0);
    const struct process_fd fds[] = {{pipe_fds[1], STDOUT_FILENO}};
    more.argv = argv;
    more.fds = fds;
    more.fd_count = 1;
    struct process *p = spawn(&more);
    close(pipe_fds[1]);
    read_all(pipe_fds[0], run.out, sizeof run.out);
    close(pipe_fds[0]);
    ck_assert_msg(process_wait(p, WAIT_MS, &run.end, &e) == 0, "%s", e.text);
    process_free(p);
    return run;
}

#define SHELL(text) ((const char *const[]){"/bin/sh", "-c", (text), NULL})
static const struct process_options plain = {0};

static const struct {
    const char *script;
    bool signalled;
    int code;
    const char *text;
} ends[] = {
    {"exit 0", false, 0, "exit status 0"},
    {"exit 3", false, 3, "exit status 3"},
    {"kill -KILL $$", true, SIGKILL, "signal 9 (Killed)"},
    {"kill -SEGV $$", true, SIGSEGV, "signal 11 (Segmentation fault)"},
    {"kill -PIPE $$", true, SIGPIPE, "signal 13 (Broken pipe)"}, /* ignored by the test, not by the child */
    {"kill -TERM $$", true, SIGTERM, "signal 15 (Terminated)"},  /* blocked by the test */
};

START_TEST(tells_how_it_ended)
{
    char text[PROCESS_END_SIZE];
    sigset_t term;

    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &term, NULL);
    signal(SIGPIPE, SIG_IGN);
    struct run r = run(SHELL(ends[_i].script), plain);
    ck_assert_int_eq(r.end.signalled, ends[_i].signalled);
    ck_assert_int_eq(r.end.code, ends[_i].code);
    process_end_text(&r.end, text);
    ck_assert_str_eq(text, ends[_i].text);
}
END_TEST

START_TEST(gives_no_environment_but_the_listed)
{
    const char *const argv[] = {"/usr/bin/env", NULL};

    setenv("WEIR_TEST_SECRET", "s3cret", 1);
    ck_assert_str_eq(run(argv, plain).out, "");
    ck_assert_str_eq(run(argv, (struct process_options){.env = (const char *const[]){"A=1", "B=2", NULL}}).out,
                     "A=1\nB=2\n");
}
END_TEST

START_TEST(gives_no_descriptor_but_the_listed)
{
    char out[256], wanted[256];
    int pipe_fds[2], low = fcntl(STDERR_FILENO, F_DUPFD, 10),
                     high = fcntl(STDERR_FILENO, F_DUPFD, 200); /* not close-on-exec */
    struct err e;

    ck_assert_int_eq(pipe(pipe_fds), 0);
    const struct process_fd fds[] = {{pipe_fds[1], STDOUT_FILENO}, {pipe_fds[0], 9}};
    struct process *p = spawn(
        &(struct process_options){.argv = SHELL("echo /proc/$$/fd/*"), .fds = fds, .fd_count = 2});
    close(pipe_fds[1]);
    read_all(pipe_fds[0], out, sizeof out);
    ck_assert_int_eq(process_wait(p, WAIT_MS, NULL, &e), 0);
    int pid = (int)process_pid(p);
    /* 3 is the directory that the shell reads to tell */
    snprintf(wanted, sizeof wanted, "/proc/%d/fd/0 /proc/%d/fd/1 /proc/%d/fd/2 /proc/%d/fd/3 /proc/%d/fd/9\n", pid, pid,
             pid, pid, pid);
    ck_assert_str_eq(out, wanted);
    process_free(p);
    close(pipe_fds[0]);
    close(low);
    close(high);
}
END_TEST

START_TEST(swaps_descriptors)
{
    int a[2], b[2];
    char from_a[16], from_b[16];

    ck_assert_int_eq(pipe2(a, O_CLOEXEC), 0);
    ck_assert_int_eq(pipe2(b, O_CLOEXEC), 0);
    ck_assert_int_le(a[1], 9); /* one digit for the shell */
    ck_assert_int_le(b[1], 9);
    const struct process_fd fds[] = {{a[1], b[1]}, {b[1], a[1]}};
    char script[64];
    snprintf(script, sizeof script, "echo in-a >&%d; echo in-b >&%d", a[1], b[1]);
    struct process *p = spawn(&(struct process_options){.argv = SHELL(script), .fds = fds, .fd_count = 2});
    close(a[1]);
    close(b[1]);
    read_all(a[0], from_a, sizeof from_a);
    read_all(b[0], from_b, sizeof from_b);
    ck_assert_str_eq(from_a, "in-b\n");
    ck_assert_str_eq(from_b, "in-a\n");
    process_free(p);
    close(a[0]);
    close(b[0]);
}
END_TEST

START_TEST(standard_streams_are_null_unless_listed)
{
    struct run r = run(SHELL("readlink /proc/self/fd/0 /proc/self/fd/2"), plain);

    ck_assert_str_eq(r.out, "/dev/null\n/dev/null\n");
}
END_TEST

/* What process_spawn opens for itself takes the lowest free numbers, which may be just those that the child shall get. */
START_TEST(targets_may_be_any_free_number)
{
    char out[512];
    int pipe_fds[2];

    ck_assert_int_eq(pipe(pipe_fds), 0);
    int high = fcntl(pipe_fds[1], F_DUPFD_CLOEXEC, 20);
    int first = pipe_fds[0] == 3 ? 4 : 3; /* the lowest two that are free from here on, or hold nothing we need */
    close(pipe_fds[1]);
    const struct process_fd fds[] = {{high, STDOUT_FILENO}, {high, first}, {high, first + 1}, {high, first + 2}};
    struct process *p = spawn(
        &(struct process_options){.argv = SHELL("readlink /proc/$$/fd/0"), .fds = fds, .fd_count = ARRAY_SIZE(fds)});
    close(high);
    read_all(pipe_fds[0], out, sizeof out);
    ck_assert_str_eq(out, "/dev/null\n");
    process_free(p);
    close(pipe_fds[0]);
}
END_TEST

START_TEST(sets_limits)
{
    static const struct process_limit limits[] = {{RLIMIT_NOFILE, 64}, {RLIMIT_CORE, 0}};
    struct process_options options = {.limits = limits, .limit_count = 2};

    ck_assert_str_eq(run(SHELL("ulimit -n; ulimit -Hn; ulimit -c"), options).out, "64\n64\n0\n");
}
END_TEST

START_TEST(can_gain_no_privileges)
{
    ck_assert_str_eq(run(SHELL("grep NoNewPrivs /proc/self/status"), plain).out, "NoNewPrivs:\t1\n");
}
END_TEST

START_TEST(leads_its_own_group_and_the_group_ends_with_it)
{
    int pipe_fds[2];
    char out[16];
    struct err e;

    /* The background sleep holds the pipe: it ends when the whole group is dead. */
    ck_assert_int_eq(pipe2(pipe_fds, O_CLOEXEC), 0);
    const struct process_fd fds[] = {{pipe_fds[1], STDOUT_FILENO}};
    struct process *p = spawn(
        &(struct process_options){.argv = SHELL("sleep 1000 & exec sleep 1000"), .fds = fds, .fd_count = 1});
    close(pipe_fds[1]);
    ck_assert_int_eq(getpgid(process_pid(p)), process_pid(p));
    ck_assert_int_eq(process_wait(p, 0, NULL, &e), -ERR_TIMEOUT);
    process_kill(p, SIGTERM);
    struct process_end end;
    ck_assert_int_eq(process_wait(p, WAIT_MS, &end, &e), 0);
    ck_assert(end.signalled && end.code == SIGTERM);
    read_all(pipe_fds[0], out, sizeof out);
    ck_assert_int_eq(process_wait(p, 0, &end, &e), 0); /* again */
    pid_t pid = process_pid(p);
    process_free(p);
    ck_assert(waitpid(pid, NULL, WNOHANG) < 0 && errno == ECHILD); /* no zombie */
    close(pipe_fds[0]);
}
END_TEST

START_TEST(a_leader_that_ends_takes_its_group_along)
{
    struct run r = run(SHELL("sleep 1000 >/dev/null & echo $!"), plain);
    pid_t left = (pid_t)strtol(r.out, NULL, 10);

    /* Ours neither to wait for nor to reap: dead is gone, or a zombie of init. */
    for (int i = 0; i < 1000; i++) {
        char path[64], stat[256] = "";
        snprintf(path, sizeof path, "/proc/%d/stat", (int)left);
        int fd = open(path, O_RDONLY);
        if (fd < 0)
            return;
        read_all(fd, stat, sizeof stat);
        close(fd);
        if (strstr(stat, ") Z ") != NULL || stat[0] == '\0')
            return;
        clock_sleep_ms(10);
    }
    ck_abort_msg("process %d lives", (int)left);
}
END_TEST

START_TEST(free_kills)
{
    struct process *p = spawn(&(struct process_options){.argv = SHELL("sleep 1000")});
    pid_t pid = process_pid(p);

    process_free(p);
    ck_assert(kill(pid, 0) < 0 && errno == ESRCH);
    process_free(NULL);
}
END_TEST

/* What the test below runs as a program of its own: spawns a child, tells its number, waits to be killed. */
static int be_a_parent(void)
{
    struct process *p;
    struct err e;

    if (process_spawn(&(struct process_options){.argv = SHELL("exec sleep 1000")}, &p, &e) != 0)
        return EXIT_FAILURE;
    pid_t pid = process_pid(p);
    if (write(STDOUT_FILENO, &pid, sizeof pid) == sizeof pid)
        pause();
    return EXIT_FAILURE;
}

START_TEST(dies_with_its_parent)
{
    int pipe_fds[2], status;
    pid_t grandchild;
    struct err e;

    /* We adopt what the parent leaves, so that we can see its end. */
    ck_assert_int_eq(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    ck_assert_int_eq(pipe2(pipe_fds, O_CLOEXEC), 0);
    const char *const argv[] = {"/proc/self/exe", "--parent", NULL};
    const struct process_fd fds[] = {{pipe_fds[1], STDOUT_FILENO}};
    struct process *parent = spawn(&(struct process_options){.argv = argv, .fds = fds, .fd_count = 1});
    close(pipe_fds[1]);
    ck_assert_int_eq(read(pipe_fds[0], &grandchild, sizeof grandchild), sizeof grandchild);
    ck_assert_int_eq(kill(process_pid(parent), SIGKILL), 0);
    ck_assert_int_eq(process_wait(parent, WAIT_MS, NULL, &e), 0);
    ck_assert_int_eq(waitpid(grandchild, &status, 0), grandchild); /* hangs until the test's time-out if it lives */
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    process_free(parent);
    close(pipe_fds[0]);
}
END_TEST

static void *spawn_sleep(void *ret)
{
    *(struct process **)ret = spawn(&(struct process_options){.argv = SHELL("exec sleep 1000")});
    return NULL;
}

START_TEST(outlives_the_thread_that_asked_for_it)
{
    struct process *children[8];
    pthread_t threads[8];
    struct err e;

    for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, spawn_sleep, &children[i]), 0);
    for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
        pthread_join(threads[i], NULL);
    ck_assert_int_eq(process_wait(children[0], 200, NULL, &e), -ERR_TIMEOUT);
    for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
        ck_assert_int_eq(process_wait(children[i], 0, NULL, &e), -ERR_TIMEOUT);
        process_free(children[i]);
    }
}
END_TEST

static const struct {
    const char *program, *text;
    enum err_kind kind;
} failures[] = {
    {"/nowhere/weir-transcode", "/nowhere/weir-transcode: start: No such file or directory", ERR_TEMPORARY},
    {"/etc/passwd", "/etc/passwd: start: Permission denied", ERR_TEMPORARY},
};

START_TEST(names_what_failed)
{
    struct process *p = NULL;
    struct err e;

    int r = process_spawn(&(struct process_options){.argv = (const char *const[]){failures[_i].program, NULL}}, &p, &e);
    ck_assert_int_eq(r, -(int)failures[_i].kind);
    ck_assert_str_eq(e.text, failures[_i].text);
    ck_assert_ptr_null(p);
    ck_assert(waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD); /* no zombie */
}
END_TEST

START_TEST(refuses_a_closed_descriptor_and_bad_options)
{
    const struct process_fd closed[] = {{900, 1}}, twice[] = {{0, 1}, {2, 1}}, far[] = {{0, PROCESS_MAX_FD + 1}};
    struct process_options options = {.argv = SHELL("exit"), .fds = closed, .fd_count = 1};
    struct process *p;
    struct err e;

    ck_assert_int_eq(process_spawn(&options, &p, &e), -ERR_TEMPORARY);
    ck_assert_str_eq(e.text, "/bin/sh: descriptors: Bad file descriptor");
    options.fds = twice;
    options.fd_count = 2;
    ck_assert_int_eq(process_spawn(&options, &p, &e), -ERR_BUG);
    options.fds = far;
    options.fd_count = 1;
    ck_assert_int_eq(process_spawn(&options, &p, &e), -ERR_BUG);
    mem_fail_from(1);
    options.fd_count = 0;
    ck_assert_int_eq(process_spawn(&options, &p, &e), -ERR_TEMPORARY);
    mem_fail_from(0);
}
END_TEST

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--parent") == 0)
        return be_a_parent();

    Suite *suite = suite_create("process");
    TCase *tcase = tcase_create("children");

    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, tells_how_it_ended, 0, (int)ARRAY_SIZE(ends));
    tcase_add_test(tcase, gives_no_environment_but_the_listed);
    tcase_add_test(tcase, gives_no_descriptor_but_the_listed);
    tcase_add_test(tcase, swaps_descriptors);
    tcase_add_test(tcase, standard_streams_are_null_unless_listed);
    tcase_add_test(tcase, targets_may_be_any_free_number);
    tcase_add_test(tcase, sets_limits);
    tcase_add_test(tcase, can_gain_no_privileges);
    tcase_add_test(tcase, leads_its_own_group_and_the_group_ends_with_it);
    tcase_add_test(tcase, a_leader_that_ends_takes_its_group_along);
    tcase_add_test(tcase, free_kills);
    tcase_add_test(tcase, dies_with_its_parent);
    tcase_add_test(tcase, outlives_the_thread_that_asked_for_it);
    tcase_add_loop_test(tcase, names_what_failed, 0, (int)ARRAY_SIZE(failures));
    tcase_add_test(tcase, refuses_a_closed_descriptor_and_bad_options);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
