#include "redis_server.h"

#include "base/clock.h"
#include "base/str.h"
#include "io/free_port.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define START_TIMEOUT_MS 20000

static void die(const char *what)
{
    fprintf(stderr, "redis_server: %s: %s\n", what, strerror(errno));
    exit(EXIT_FAILURE);
}

/* Whether the server answers anything but LOADING. */
static bool answers(uint16_t port)
{
    static const char ping[] = "PING\r\n";
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_port = htons(port)};
    char answer[64];
    ssize_t len = -1;

    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0 &&
        send(fd, ping, sizeof ping - 1, MSG_NOSIGNAL) == (ssize_t)sizeof ping - 1)
        len = recv(fd, answer, sizeof answer, 0);
    close(fd);
    return len > 0 && memcmp(answer, "-LOADING", 8) != 0;
}

static void become_server(const struct redis_server *s)
{
    char port[8], log[96];
    const char *words[14 + REDIS_SERVER_OPTIONS] = {
        "redis-server",           "--bind", "127.0.0.1",   "--port", port, "--dir", s->folder, "--save", "",
        "--enable-debug-command", "yes",    "--daemonize", "no"};
    size_t count = 13;

    str_format(port, sizeof port, "%u", s->port);
    str_format(log, sizeof log, "%s/log", s->folder);
    for (size_t i = 0; s->options[i] != NULL; i++)
        words[count++] = s->options[i];
    int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0644);
    dup2(fd, STDOUT_FILENO);
    dup2(fd, STDERR_FILENO);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    execvp(words[0], (char *const *)(uintptr_t)words);
    _exit(127);
}

static void launch(struct redis_server *s)
{
    uint64_t deadline_ms = clock_mono_ms() + START_TIMEOUT_MS;

    s->pid = fork();
    if (s->pid < 0)
        die("fork");
    if (s->pid == 0)
        become_server(s);
    while (!answers(s->port)) {
        errno = ETIMEDOUT;
        if (clock_mono_ms() > deadline_ms || waitpid(s->pid, NULL, WNOHANG) != 0)
            die("redis-server did not start");
        clock_sleep_ms(5);
    }
}

void redis_server_start(struct redis_server *s, const char *const *options)
{
    *s = (struct redis_server){.folder = "/tmp/weir-redis-XXXXXX", .port = free_port()};
    for (size_t i = 0; options != NULL && options[i] != NULL && i < REDIS_SERVER_OPTIONS; i++)
        s->options[i] = options[i];
    if (mkdtemp(s->folder) == NULL)
        die(s->folder);
    launch(s);
}

static void end(struct redis_server *s)
{
    if (s->pid > 0) {
        kill(s->pid, SIGKILL);
        waitpid(s->pid, NULL, 0);
    }
    s->pid = 0;
}

void redis_server_restart(struct redis_server *s)
{
    end(s);
    launch(s);
}

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *where)
{
    (void)info, (void)type, (void)where;
    return remove(path);
}

void redis_server_stop(struct redis_server *s)
{
    end(s);
    if (s->folder[0] != '\0')
        nftw(s->folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    s->folder[0] = '\0';
}

void redis_server_freeze(const struct redis_server *s)
{
    kill(s->pid, SIGSTOP);
}

void redis_server_thaw(const struct redis_server *s)
{
    kill(s->pid, SIGCONT);
}
