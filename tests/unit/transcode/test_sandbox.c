#include "services/worker/transcode/sandbox.h"

#include "../suite.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Runs in a child that has entered the sandbox; true when the attempt was refused. */
typedef bool attempt(pid_t sibling);

static bool refused(long result)
{
    return result == -1 && (errno == EPERM || errno == EACCES);
}

static bool kill_it(pid_t sibling)
{
    return refused(syscall(SYS_kill, sibling, SIGKILL));
}

static bool kill_a_thread_of_it(pid_t sibling)
{
    return refused(syscall(SYS_tgkill, sibling, sibling, SIGKILL));
}

static bool make_it_the_owner_of_a_descriptor(pid_t sibling)
{
    return refused(fcntl(STDERR_FILENO, F_SETOWN, sibling));
}

static bool ask_for_signals(pid_t sibling)
{
    (void)sibling;
    return refused(fcntl(STDERR_FILENO, F_SETFL, O_ASYNC));
}

static bool limit_it(pid_t sibling)
{
    const struct rlimit none = {0, 0};

    return refused(syscall(SYS_prlimit64, sibling, RLIMIT_NOFILE, &none, NULL));
}

static bool bind_it_to_a_processor(pid_t sibling)
{
    cpu_set_t one;

    CPU_ZERO(&one);
    CPU_SET(0, &one);
    return refused(sched_setaffinity(sibling, sizeof one, &one));
}

static bool start_a_process(pid_t sibling)
{
    (void)sibling;
    long pid = syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
    if (pid == 0)
        _exit(0);
    return refused(pid);
}

static bool make_a_socket(pid_t sibling)
{
    (void)sibling;
    return refused(socket(AF_INET, SOCK_STREAM, 0));
}

/* Landlock's part; a kernel or container may lack it. */
static bool has_landlock(void)
{
    return syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) >= 1;
}

static bool read_a_file(pid_t sibling)
{
    (void)sibling;
    return refused(open("/etc/passwd", O_RDONLY));
}

static bool execute(pid_t sibling)
{
    (void)sibling;
    char *argv[] = {NULL};
    return refused(execve("/bin/true", argv, argv));
}

static attempt *const attempts[] = {
    kill_it,
    kill_a_thread_of_it,
    make_it_the_owner_of_a_descriptor,
    ask_for_signals,
    limit_it,
    bind_it_to_a_processor,
    start_a_process,
    make_a_socket,
    read_a_file,
    execute,
};

#define ENTERED_NOT 77

/* Sanitizers need more system calls, so in their builds the sandbox leaves its last two layers out (sandbox.c). */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define ALL_LAYERS false
#else
#define ALL_LAYERS true
#endif

/* As `auto`: a container may forbid namespaces. What is tried below is forbidden by seccomp, which every host has. */
static bool enter(void)
{
    struct err e;
    int dir = open("/tmp", O_PATH | O_DIRECTORY | O_CLOEXEC);

    return dir >= 0 && sandbox_enter(SANDBOX_AUTO, dir, 60, 1 << 20, &e) == 0;
}

static int in_the_sandbox(attempt *try, pid_t sibling)
{
    if (try == read_a_file && !has_landlock())
        return 0;
    if (!enter())
        return ENTERED_NOT;
    return try(sibling) ? 0 : 1;
}

START_TEST(the_worker_and_its_other_children_are_out_of_reach)
{
    int status;
    pid_t sibling = fork();

    if (sibling == 0)
        for (;;)
            pause();
    pid_t child = fork();
    if (child == 0)
        _exit(in_the_sandbox(attempts[_i], sibling));
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    bool alive = waitpid(sibling, NULL, WNOHANG) == 0;
    kill(sibling, SIGKILL);
    waitpid(sibling, NULL, 0);
    ck_assert(alive);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "attempt %d: wait status %d", _i, status);
}
END_TEST

static void *nothing(void *arg)
{
    return arg;
}

/* What the pipeline does need. */
static int work(void)
{
    struct rlimit limit;
    pthread_t thread;

    if (!enter())
        return ENTERED_NOT;
    if (pthread_create(&thread, NULL, nothing, NULL) != 0 || pthread_join(thread, NULL) != 0)
        return 1;
    return getrlimit(RLIMIT_NOFILE, &limit) == 0 && fcntl(STDERR_FILENO, F_GETFD) >= 0 ? 0 : 2;
}

START_TEST(threads_and_looking_at_oneself_are_fine)
{
    int status;
    pid_t child = fork();

    if (child == 0)
        _exit(work());
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "wait status %d", status);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sandbox");
    TCase *tcase = tcase_create("sandbox");
    if (ALL_LAYERS)
        tcase_add_loop_test(tcase, the_worker_and_its_other_children_are_out_of_reach, 0,
                            (int)(sizeof attempts / sizeof *attempts));
    tcase_add_test(tcase, threads_and_looking_at_oneself_are_fine);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
