#ifndef WEIR_PROCESS_H
#define WEIR_PROCESS_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

/* Child processes that hold nothing they were not given and never outlive their parent.
 *
 * A child gets its own process group, no environment but the one listed, /dev/null for standard streams that are not
 * listed, no other descriptor, default signal handlers, no way to gain privileges, and SIGKILL when this process dies.
 * That signal would also come when the thread that forked ends, so all children are forked by one thread, started at
 * first use, that lives as long as the process. */

struct process; /* one thread at a time; process_spawn may be called by many */

#define PROCESS_MAX_FD 15 /* highest descriptor that can be handed to a child */
#define PROCESS_MAX_FDS 8 /* how many can be */
#define PROCESS_MAX_LIMITS 8

struct process_fd {
    int from; /* ours, stays open here */
    int to;   /* number in the child, 0 … PROCESS_MAX_FD, each once */
};
struct process_limit {
    int resource; /* RLIMIT_… */
    rlim_t value; /* soft and hard; never above what this process may have */
};

struct process_options {
    const char *const *argv; /* argv[0] is the path of the program, not searched for; NULL-terminated */
    const char *const *env;  /* "NAME=value", NULL-terminated; NULL: empty */
    const struct process_fd *fds;
    size_t fd_count;
    const struct process_limit *limits;
    size_t limit_count;
};

/* How a process ended. */
struct process_end {
    bool signalled;
    int code; /* the signal, or the exit status */
};

/* Returns when the program runs. ERR_TEMPORARY naming the step and the program when it could not be started (also when it
 * does not exist). The caller ends with process_free. */
int process_spawn(const struct process_options *options, struct process **ret, struct err *e)
    __attribute__((warn_unused_result));
pid_t process_pid(const struct process *p);
/* A descriptor that polls readable once the process has ended; owned by `p`. -1 where the system has none (valgrind): then
 * only process_wait tells. */
int process_fd(const struct process *p);

/* Signals the whole group. Nothing happens after the end. */
void process_kill(struct process *p, int signal_number);

/* Waits up to timeout_ms (0: only looks) for the end, kills what is left of the group, and reaps: no zombie is left.
 * Repeatable. ERR_TIMEOUT while it runs. ret may be NULL. */
int process_wait(struct process *p, uint64_t timeout_ms, struct process_end *ret, struct err *e)
    __attribute__((warn_unused_result));

/* Kills the group with SIGKILL if it runs, reaps, frees. NULL is fine. */
void process_free(struct process *p);

/* "exit status 1", "signal 9 (Killed)". */
#define PROCESS_END_SIZE 64
void process_end_text(const struct process_end *end, char out[PROCESS_END_SIZE]);

#endif
