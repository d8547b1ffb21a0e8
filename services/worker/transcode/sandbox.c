#include "sandbox.h"

#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <sched.h>
#include <seccomp.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

/* Memory for decoding and encoding on top of what the largest picture needs: a decoder keeps up to 16 of them, at up
 * to 8 bytes per pixel, besides those on their way to the encoders. */
#define MEMORY_BASE (UINT64_C(2) << 30)
#define MEMORY_PER_PIXEL 192
#define FILE_MAX (UINT64_C(1) << 30)
#define FILES_MAX 64
#define CPU_PER_SECOND 200 /* of the longest video; slow presets on large pictures need many */

struct limits {
    int output_fd;
    uint64_t max_duration_s, max_pixels;
};

static int failed(struct err *e, const char *what)
{
    return err_set(e, ERR_TEMPORARY, "%s: %s", what, strerror(errno));
}

static int no_new_privileges(const struct limits *limits, struct err *e)
{
    (void)limits;
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ? failed(e, "PR_SET_NO_NEW_PRIVS") : 0;
}

/* With privileges a namespace of our own; without, one inside a new user namespace, where the host allows that. */
static int no_network(const struct limits *limits, struct err *e)
{
    (void)limits;
    if (unshare(CLONE_NEWNET) == 0 || unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0)
        return 0;
    return failed(e, "unshare");
}

static int set_limit(__rlimit_resource_t resource, uint64_t max, const char *name, struct err *e)
{
    struct rlimit now, wanted = {.rlim_cur = max, .rlim_max = max};

    if (getrlimit(resource, &now) == 0 && now.rlim_max < max)
        return 0; /* stricter already */
    return setrlimit(resource, &wanted) != 0 ? failed(e, name) : 0;
}

static int limit_resources(const struct limits *limits, struct err *e)
{
    uint64_t memory = MEMORY_BASE + limits->max_pixels * MEMORY_PER_PIXEL;

    int r = set_limit(RLIMIT_CORE, 0, "RLIMIT_CORE", e);
    if (r == 0)
        r = set_limit(RLIMIT_NOFILE, FILES_MAX, "RLIMIT_NOFILE", e);
    if (r == 0)
        r = set_limit(RLIMIT_FSIZE, FILE_MAX, "RLIMIT_FSIZE", e);
    if (r == 0)
        r = set_limit(RLIMIT_CPU, limits->max_duration_s * CPU_PER_SECOND, "RLIMIT_CPU", e);
    if (r == 0 && !SANITIZED) /* the sanitizers' shadow memory counts */
        r = set_limit(RLIMIT_DATA, memory, "RLIMIT_DATA", e);
    return r;
}

/* Landlock: nothing can be opened, made or removed but plain files and folders below the output directory. */
static int only_output(const struct limits *limits, struct err *e)
{
    const uint64_t all = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1; /* everything that version 1 knows */
    struct landlock_ruleset_attr ruleset = {.handled_access_fs = all};
    struct landlock_path_beneath_attr below = {
        .allowed_access = LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_DIR,
        .parent_fd = limits->output_fd,
    };

    if (SANITIZED)
        return err_set(e, ERR_TEMPORARY, "a sanitizer build reads /proc at its end");
    int fd = (int)syscall(SYS_landlock_create_ruleset, &ruleset, sizeof ruleset, 0);
    if (fd < 0)
        return failed(e, "landlock");
    int r = 0;
    if (syscall(SYS_landlock_add_rule, fd, LANDLOCK_RULE_PATH_BENEATH, &below, 0) != 0 ||
        syscall(SYS_landlock_restrict_self, fd, 0) != 0)
        r = failed(e, "landlock");
    close(fd);
    return r;
}

/* Memory, threads, time, and files by descriptors that are open. Opening is Landlock's business; connecting, executing
 * and touching other processes are nobody's. */
static const int allowed[] = {
    SCMP_SYS(brk),
    SCMP_SYS(mmap),
    SCMP_SYS(mremap),
    SCMP_SYS(munmap),
    SCMP_SYS(mprotect),
    SCMP_SYS(madvise),
    SCMP_SYS(futex),
    SCMP_SYS(set_robust_list),
    SCMP_SYS(rseq),
    SCMP_SYS(sched_yield),
    SCMP_SYS(gettid),
    SCMP_SYS(getpid),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
    SCMP_SYS(sched_getaffinity),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(sigaltstack),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(clock_getres),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(nanosleep),
    SCMP_SYS(time),
    SCMP_SYS(read),
    SCMP_SYS(write),
    SCMP_SYS(readv),
    SCMP_SYS(writev),
    SCMP_SYS(pread64),
    SCMP_SYS(lseek),
    SCMP_SYS(close),
    SCMP_SYS(openat),
    SCMP_SYS(mkdirat),
    SCMP_SYS(fstat),
    SCMP_SYS(newfstatat),
    SCMP_SYS(getrandom),
    SCMP_SYS(getrlimit),
    SCMP_SYS(sysinfo),
};

/* Calls that are allowed with some arguments only. */
static int add_conditional(scmp_filter_ctx filter)
{
    const struct {
        int call;
        unsigned count;
        struct scmp_arg_cmp args[2];
    } rules[] = {
        /* threads, no processes */
        {SCMP_SYS(clone), 1, {SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD)}},
        {SCMP_SYS(prctl), 1, {SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME, 0)}},
        /* abort, and nobody else's threads */
        {SCMP_SYS(tgkill), 1, {SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid(), 0)}},
        /* reading our own limits */
        {SCMP_SYS(prlimit64), 2, {SCMP_A0(SCMP_CMP_EQ, 0, 0), SCMP_A2(SCMP_CMP_EQ, 0, 0)}},
        /* no F_SETOWN, no O_ASYNC: they send signals to whom one likes */
        {SCMP_SYS(fcntl), 1, {SCMP_A1(SCMP_CMP_EQ, F_GETFD, 0)}},
        {SCMP_SYS(fcntl), 1, {SCMP_A1(SCMP_CMP_EQ, F_SETFD, 0)}},
        {SCMP_SYS(fcntl), 1, {SCMP_A1(SCMP_CMP_EQ, F_GETFL, 0)}},
        {SCMP_SYS(fcntl), 2, {SCMP_A1(SCMP_CMP_EQ, F_SETFL, 0), SCMP_A2(SCMP_CMP_MASKED_EQ, O_ASYNC, 0)}},
        {SCMP_SYS(fcntl), 1, {SCMP_A1(SCMP_CMP_EQ, F_DUPFD_CLOEXEC, 0)}},
    };
    int r = 0;

    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(rules); i++)
        r = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, rules[i].call, rules[i].count, rules[i].args);
    return r;
}

static int add_rules(scmp_filter_ctx filter)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(allowed); i++)
        r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0);
    if (r == 0)
        r = add_conditional(filter);
    if (r == 0) /* clone3 hides its flags in memory: the C library falls back to clone */
        r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    return r == 0 ? seccomp_load(filter) : r;
}

static int only_known_calls(const struct limits *limits, struct err *e)
{
    (void)limits;
    if (SANITIZED)
        return err_set(e, ERR_TEMPORARY, "a sanitizer build needs more system calls");
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    if (filter == NULL)
        return err_set(e, ERR_TEMPORARY, "seccomp_init failed");
    int r = add_rules(filter);
    seccomp_release(filter);
    return r != 0 ? err_set(e, ERR_TEMPORARY, "seccomp: %s", strerror(-r)) : 0;
}

/* In this order: each needs calls that a later one takes away. */
static const struct layer {
    const char *name;
    int (*enter)(const struct limits *limits, struct err *e);
} layers[] = {
    {"network namespace", no_network}, {"no_new_privs", no_new_privileges}, {"resource limits", limit_resources},
    {"landlock", only_output},         {"seccomp", only_known_calls},
};

int sandbox_enter(enum sandbox_mode mode, int output_fd, uint64_t max_duration_s, uint64_t max_pixels, struct err *e)
{
    const struct limits limits = {output_fd, max_duration_s, max_pixels};
    struct err why;

    for (size_t i = 0; mode != SANDBOX_OFF && i < ARRAY_SIZE(layers); i++) {
        if (layers[i].enter(&limits, &why) == 0)
            continue;
        if (mode == SANDBOX_REQUIRED)
            return err_set(e, ERR_TEMPORARY, "the sandbox is required but this host lacks its layer %s: %s",
                           layers[i].name, why.text);
        log_info(NULL, "sandbox layer not available", "layer", layers[i].name, "reason", why.text);
    }
    return 0;
}
