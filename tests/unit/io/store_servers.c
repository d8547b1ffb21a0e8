#include "store_servers.h"

#include "base/clock.h"
#include "base/str.h"
#include "io/free_port.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define START_TIMEOUT_MS 60000

const char *const store_server_names[STORE_SERVERS] = {"directory", "minio", "versitygw"};

static pid_t owner;
static pid_t pids[STORE_SERVERS];
static unsigned ports[STORE_SERVERS];
static char endpoints[STORE_SERVERS][64];
static char root[64];

static void die(const char *what, const char *detail)
{
    fprintf(stderr, "store_servers: %s: %s\n", what, detail);
    exit(EXIT_FAILURE);
}

static bool find_in(const char *folder, size_t folder_len, const char *name, char path[PATH_MAX])
{
    return str_format(path, PATH_MAX, "%.*s/%s", (int)folder_len, folder, name) && access(path, X_OK) == 0;
}

static void find_binary(const char *variable, const char *name, char path[PATH_MAX])
{
    const char *given = getenv(variable), *search = getenv("PATH"), *home = getenv("HOME");

    if (given != NULL && given[0] != '\0') {
        if (!str_copy(path, PATH_MAX, given) || access(path, X_OK) != 0)
            die(variable, "is no program");
        return;
    }
    for (const char *p = search; p != NULL && *p != '\0'; p += strcspn(p, ":"), p += *p == ':')
        if (find_in(p, strcspn(p, ":"), name, path))
            return;
    char cache[PATH_MAX];
    if (!str_format(cache, sizeof cache, "%s/.cache/weir/bin", home != NULL ? home : "/root") ||
        !find_in(cache, strlen(cache), name, path))
        die(name, "not found: run `make setup`");
}

static bool accepts(unsigned port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_port = htons((uint16_t)port)};

    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool yes = connect(fd, (struct sockaddr *)&address, sizeof address) == 0;
    close(fd);
    return yes;
}

/* In the child: the server's output goes to a file beside its data. */
static void become(const char *binary, enum store_server server, const char *folder)
{
    char address[64], log[PATH_MAX];

    str_format(address, sizeof address, "127.0.0.1:%u", ports[server]);
    str_format(log, sizeof log, "%s.log", folder);
    int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0644);
    dup2(fd, STDOUT_FILENO);
    dup2(fd, STDERR_FILENO);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (server == STORE_MINIO) {
        setenv("MINIO_ROOT_USER", STORE_SERVERS_USER, 1);
        setenv("MINIO_ROOT_PASSWORD", STORE_SERVERS_PASSWORD, 1);
        setenv("MINIO_BROWSER", "off", 1);
        execl(binary, binary, "server", "--quiet", "--address", address, folder, (char *)NULL);
    } else {
        setenv("ROOT_ACCESS_KEY", STORE_SERVERS_USER, 1);
        setenv("ROOT_SECRET_KEY", STORE_SERVERS_PASSWORD, 1);
        execl(binary, binary, "--port", address, "posix", folder, (char *)NULL);
    }
    _exit(127);
}

static void start(enum store_server server, const char *variable)
{
    char binary[PATH_MAX], folder[PATH_MAX];

    find_binary(variable, store_server_names[server], binary);
    str_format(folder, sizeof folder, "%s/%s", root, store_server_names[server]);
    if (mkdir(folder, 0755) != 0)
        die(folder, strerror(errno));
    ports[server] = free_port();
    str_format(endpoints[server], sizeof endpoints[server], "http://127.0.0.1:%u", ports[server]);
    pids[server] = fork();
    if (pids[server] == 0)
        become(binary, server, folder);
}

/* Listening is not ready: waits until a bucket can be made. */
static void await(enum store_server server)
{
    uint64_t deadline = clock_mono_ms() + START_TIMEOUT_MS;
    struct err e = {.text = "does not listen"};
    struct store *s;
    int r = -1;

    while (!accepts(ports[server]) && clock_mono_ms() < deadline && waitpid(pids[server], NULL, WNOHANG) == 0)
        clock_sleep_ms(20);
    s = store_servers_open(server);
    while ((r = store_ensure_bucket(s, "ready", &e)) != 0 && clock_mono_ms() < deadline)
        clock_sleep_ms(50);
    store_free(s);
    if (r != 0)
        die(store_server_names[server], e.text);
}

void store_servers_start(void)
{
    str_copy(root, sizeof root, "/tmp/weir-test-store-XXXXXX");
    if (mkdtemp(root) == NULL)
        die(root, strerror(errno));
    owner = getpid();
    atexit(store_servers_stop);
    start(STORE_MINIO, "WEIR_MINIO");
    start(STORE_VERSITYGW, "WEIR_VERSITYGW");
    await(STORE_MINIO);
    await(STORE_VERSITYGW);
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

void store_servers_stop(void)
{
    if (owner != getpid())
        return;
    owner = 0;
    for (int i = 0; i < STORE_SERVERS; i++) {
        if (pids[i] <= 0)
            continue;
        kill(pids[i], SIGTERM);
        waitpid(pids[i], NULL, 0);
    }
    nftw(root, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

const char *store_servers_endpoint(enum store_server server)
{
    return server == STORE_DIRECTORY ? NULL : endpoints[server];
}

struct store *store_servers_open(enum store_server server)
{
    char folder[PATH_MAX];
    struct store *s = NULL;
    struct err e;
    int r;

    if (server == STORE_DIRECTORY) {
        str_format(folder, sizeof folder, "%s/directory", root);
        r = store_dir_new(folder, &s, &e);
    } else {
        struct store_s3_options options = {.endpoint = endpoints[server],
                                           .access_key = STORE_SERVERS_USER,
                                           .secret_key = STORE_SERVERS_PASSWORD,
                                           .region = "us-east-1"};
        r = store_s3_new(&options, &s, &e);
    }
    if (r != 0)
        die(store_server_names[server], e.text);
    return s;
}
