#include "process.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOOK_MS 10

struct process {
    pid_t pid; /* also the group */
    int pidfd; /* -1 on a system that has none */
    bool ended;
    struct process_end end;
};

/* What a child tells over a pipe that closes when the program runs. */
enum stage { STAGE_GROUP, STAGE_FDS, STAGE_LIMITS, STAGE_PRIVILEGES, STAGE_PARENT, STAGE_EXEC, STAGES };
static const char *const stage_names[STAGES] = {"process group", "descriptors", "limits",
                                                "privileges",    "parent",      "start"};
struct report {
    enum stage stage;
    int error;
};

/* --- In the child, between fork and exec: async-signal-safe calls only --- */

static _Noreturn void give_up(int report_fd, enum stage stage)
{
    struct report report = {stage, errno};

    (void)!write(report_fd, &report, sizeof report); /* fits into a pipe; a parent that is gone does not mind */
    _exit(127);
}

static bool is_target(const struct process_options *o, int fd)
{
    for (size_t i = 0; i < o->fd_count; i++)
        if (o->fds[i].to == fd)
            return true;
    return false;
}

/* Puts every listed descriptor where it belongs and marks all others to be closed by exec. Copies above the targets come
 * first, since a target may be the number of another's source. */
static bool arrange_fds(const struct process_options *o, int null_fd)
{
    int copies[PROCESS_MAX_FDS];

    for (size_t i = 0; i < o->fd_count; i++)
        if ((copies[i] = fcntl(o->fds[i].from, F_DUPFD_CLOEXEC, PROCESS_MAX_FD + 1)) < 0)
            return false;
    for (size_t i = 0; i < o->fd_count; i++)
        if (dup2(copies[i], o->fds[i].to) < 0)
            return false;
    for (int fd = 0; fd <= STDERR_FILENO; fd++)
        if (!is_target(o, fd) && dup2(null_fd, fd) < 0)
            return false;
    for (int fd = STDERR_FILENO + 1; fd <= PROCESS_MAX_FD; fd++)
        if (!is_target(o, fd))
            (void)fcntl(fd, F_SETFD, FD_CLOEXEC); /* most are not open */
    return close_range(PROCESS_MAX_FD + 1, ~0U, CLOSE_RANGE_CLOEXEC) == 0;
}

static bool set_limits(const struct process_options *o)
{
    for (size_t i = 0; i < o->limit_count; i++) {
        const struct process_limit *l = &o->limits[i];
        struct rlimit now;
        if (getrlimit((__rlimit_resource_t)l->resource, &now) != 0)
            return false;
        rlim_t value = l->value < now.rlim_max ? l->value : now.rlim_max;
        struct rlimit wanted = {.rlim_cur = value, .rlim_max = value};
        if (setrlimit((__rlimit_resource_t)l->resource, &wanted) != 0)
            return false;
    }
    return true;
}

static void reset_signals(void)
{
    struct sigaction normal = {.sa_handler = SIG_DFL};
    sigset_t none;

    for (int s = 1; s < NSIG; s++)
        (void)sigaction(s, &normal, NULL); /* some can't be changed */
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static _Noreturn void become(const struct process_options *o, pid_t parent, int null_fd, int report_fd)
{
    static const char *const no_env[] = {NULL};
    union { /* execve takes what it promises not to change without const */
        const char *const *in;
        char *const *out;
    } argv = {.in = o->argv}, env = {.in = o->env == NULL ? no_env : o->env};

    /* First of all above the targets, where no copy lands on them. */
    int report_copy = fcntl(report_fd, F_DUPFD_CLOEXEC, PROCESS_MAX_FD + 1);
    int null_copy = fcntl(null_fd, F_DUPFD_CLOEXEC, PROCESS_MAX_FD + 1);
    if (report_copy < 0 || null_copy < 0)
        give_up(report_fd, STAGE_FDS);
    close(report_fd);
    report_fd = report_copy;
    null_fd = null_copy;

    if (setpgid(0, 0) != 0)
        give_up(report_fd, STAGE_GROUP);
    if (!arrange_fds(o, null_fd))
        give_up(report_fd, STAGE_FDS);
    if (!set_limits(o))
        give_up(report_fd, STAGE_LIMITS);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        give_up(report_fd, STAGE_PRIVILEGES);
    /* Last, and then looked at: a parent that died before would never send the signal. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)
        give_up(report_fd, STAGE_PARENT);
    reset_signals();
    execve(o->argv[0], argv.out, env.out);
    give_up(report_fd, STAGE_EXEC);
}

/* --- The thread that forks --- */

struct order {
    const struct process_options *options;
    int null_fd, report_fd;
    pid_t pid;
    int error;
    bool done;
};

static struct {
    pthread_once_t once;
    pthread_mutex_t lock;
    pthread_cond_t placed, done;
    struct order *order; /* one at a time */
    int error;           /* the thread could not be started */
} forker = {.once = PTHREAD_ONCE_INIT,
            .lock = PTHREAD_MUTEX_INITIALIZER,
            .placed = PTHREAD_COND_INITIALIZER,
            .done = PTHREAD_COND_INITIALIZER};

static void fork_order(struct order *order)
{
    pid_t parent = getpid();

    order->pid = fork();
    if (order->pid == 0)
        become(order->options, parent, order->null_fd, order->report_fd);
    order->error = errno;
}

static void *forker_main(void *unused)
{
    (void)unused;
    pthread_mutex_lock(&forker.lock);
    for (;;) {
        while (forker.order == NULL || forker.order->done)
            pthread_cond_wait(&forker.placed, &forker.lock);
        fork_order(forker.order);
        forker.order->done = true;
        pthread_cond_broadcast(&forker.done);
    }
    return NULL;
}

/* All signals are blocked in that thread, so that no handler of ours runs in a child that is not yet its own program. */
static void forker_start(void)
{
    pthread_attr_t attr;
    pthread_t thread;
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    forker.error = pthread_create(&thread, &attr, forker_main, NULL);
    pthread_attr_destroy(&attr);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static int place(struct order *order)
{
    pthread_once(&forker.once, forker_start);
    if (forker.error != 0)
        return forker.error;
    pthread_mutex_lock(&forker.lock);
    while (forker.order != NULL)
        pthread_cond_wait(&forker.done, &forker.lock);
    forker.order = order;
    pthread_cond_signal(&forker.placed);
    while (!order->done)
        pthread_cond_wait(&forker.done, &forker.lock);
    forker.order = NULL;
    pthread_cond_broadcast(&forker.done);
    pthread_mutex_unlock(&forker.lock);
    return order->pid < 0 ? order->error : 0;
}

/* --- In the parent --- */

static bool options_valid(const struct process_options *o)
{
    if (o->argv == NULL || o->argv[0] == NULL || o->fd_count > PROCESS_MAX_FDS || o->limit_count > PROCESS_MAX_LIMITS)
        return false;
    for (size_t i = 0; i < o->fd_count; i++)
        for (size_t j = 0; j <= i; j++)
            if (o->fds[i].to < 0 || o->fds[i].to > PROCESS_MAX_FD || (i != j && o->fds[i].to == o->fds[j].to))
                return false;
    return true;
}

/* Reads until the pipe closes: with nothing in it the program runs. */
static bool read_report(int fd, struct report *ret)
{
    ssize_t n;

    do
        n = read(fd, ret, sizeof *ret);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)sizeof *ret && ret->stage < STAGES;
}

static int system_error(struct err *e, const char *program, const char *what, int error)
{
    char text[128];

    return err_set(e, ERR_TEMPORARY, "%s: %s: %s", program, what, strerror_r(error, text, sizeof text));
}

static void reap(pid_t pid)
{
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
}

static int start(struct process *p, const struct process_options *o, int null_fd, const int pipe_fds[2], struct err *e)
{
    struct order order = {.options = o, .null_fd = null_fd, .report_fd = pipe_fds[1]};
    struct report report;

    int error = place(&order);
    close(pipe_fds[1]);
    if (error != 0) {
        close(pipe_fds[0]);
        return system_error(e, o->argv[0], "fork", error);
    }
    bool failed = read_report(pipe_fds[0], &report);
    close(pipe_fds[0]);
    if (failed) {
        reap(order.pid);
        return system_error(e, o->argv[0], stage_names[report.stage], report.error);
    }
    p->pid = order.pid;
    p->pidfd = pidfd_open(order.pid, 0);
    return 0;
}

int process_spawn(const struct process_options *options, struct process **ret, struct err *e)
{
    int pipe_fds[2];

    if (!options_valid(options))
        return err_set(e, ERR_BUG, "process: bad options");
    struct process *p = mem_zalloc(sizeof *p);
    if (p == NULL)
        return err_set(e, ERR_TEMPORARY, "%s: out of memory", options->argv[0]);
    int r;
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null_fd < 0)
        r = system_error(e, options->argv[0], "/dev/null", errno);
    else if (pipe2(pipe_fds, O_CLOEXEC) != 0)
        r = system_error(e, options->argv[0], "pipe", errno);
    else
        r = start(p, options, null_fd, pipe_fds, e);
    if (null_fd >= 0)
        close(null_fd);
    if (r != 0) {
        mem_free(p);
        return r;
    }
    *ret = p;
    return 0;
}

pid_t process_pid(const struct process *p)
{
    return p->pid;
}

int process_fd(const struct process *p)
{
    return p->pidfd;
}

void process_kill(struct process *p, int signal_number)
{
    if (!p->ended)
        kill(-p->pid, signal_number);
}

/* Leaves the zombie: while there is one its number can't be given to another process or group. */
static bool has_ended(const struct process *p)
{
    siginfo_t info = {0};

    return waitid(P_PID, (id_t)p->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == p->pid;
}

static bool wait_for_end(const struct process *p, uint64_t timeout_ms)
{
    uint64_t now = clock_mono_ms(), deadline = timeout_ms < UINT64_MAX - now ? now + timeout_ms : UINT64_MAX;
    struct pollfd poll_fd = {.fd = p->pidfd, .events = POLLIN}; /* without a pidfd it just sleeps */
    uint64_t most_ms = p->pidfd < 0 ? LOOK_MS : 60000;

    while (!has_ended(p)) {
        now = clock_mono_ms();
        if (now >= deadline)
            return false;
        (void)poll(&poll_fd, 1, (int)(deadline - now < most_ms ? deadline - now : most_ms));
    }
    return true;
}

int process_wait(struct process *p, uint64_t timeout_ms, struct process_end *ret, struct err *e)
{
    int status = 0;

    if (!p->ended) {
        if (!wait_for_end(p, timeout_ms))
            return err_set(e, ERR_TIMEOUT, "process %d still runs", (int)p->pid);
        kill(-p->pid, SIGKILL);
        while (waitpid(p->pid, &status, 0) < 0 && errno == EINTR)
            ;
        p->ended = true;
        p->end.signalled = WIFSIGNALED(status);
        p->end.code = p->end.signalled ? WTERMSIG(status) : WEXITSTATUS(status);
    }
    if (ret != NULL)
        *ret = p->end;
    return 0;
}

void process_free(struct process *p)
{
    if (p == NULL)
        return;
    process_kill(p, SIGKILL);
    while (process_wait(p, 60000, NULL, NULL) != 0) /* only a process stuck in the kernel takes so long */
        ;
    if (p->pidfd >= 0)
        close(p->pidfd);
    mem_free(p);
}

void process_end_text(const struct process_end *end, char out[PROCESS_END_SIZE])
{
    const char *name = end->signalled ? sigdescr_np(end->code) : NULL;

    if (end->signalled)
        str_format(out, PROCESS_END_SIZE, "signal %d (%s)", end->code, name == NULL ? "unknown" : name);
    else
        str_format(out, PROCESS_END_SIZE, "exit status %d", end->code);
}
