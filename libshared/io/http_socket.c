#include "http_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

/* The back end keeps its descriptors to itself, so they are found by what they are connected to, once per connection.
 * Descriptors are given out lowest first, so the search is short; after a gap of so many unused ones it ends. */
#define MAX_GAP 4096

/* Address as text and port of one end; false for what is no TCP socket. */
static bool describe(const struct sockaddr_storage *end, uint16_t *ret_port, char text[HTTP_ADDRESS_SIZE])
{
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;

    if (end->ss_family == AF_INET) {
        memcpy(&v4, end, sizeof v4);
        *ret_port = ntohs(v4.sin_port);
        return text == NULL || inet_ntop(AF_INET, &v4.sin_addr, text, HTTP_ADDRESS_SIZE) != NULL;
    }
    if (end->ss_family == AF_INET6) {
        memcpy(&v6, end, sizeof v6);
        *ret_port = ntohs(v6.sin6_port);
        return text == NULL || inet_ntop(AF_INET6, &v6.sin6_addr, text, HTTP_ADDRESS_SIZE) != NULL;
    }
    return false;
}

static bool has_peer(int fd, const char *peer, uint16_t peer_port)
{
    struct sockaddr_storage end = {0};
    socklen_t len = sizeof end;
    char text[HTTP_ADDRESS_SIZE];
    uint16_t port;

    return getpeername(fd, (struct sockaddr *)&end, &len) == 0 && describe(&end, &port, NULL) && port == peer_port &&
           describe(&end, &port, text) && strcmp(text, peer) == 0;
}

static bool has_local_port(int fd, uint16_t wanted)
{
    struct sockaddr_storage end = {0};
    socklen_t len = sizeof end;
    uint16_t port;

    return getsockname(fd, (struct sockaddr *)&end, &len) == 0 && describe(&end, &port, NULL) && port == wanted;
}

static bool is_connection(int fd, uint16_t local_port, const char *peer, uint16_t peer_port)
{
    return has_peer(fd, peer, peer_port) && has_local_port(fd, local_port);
}

static bool is_listener(int fd, uint16_t local_port)
{
    int listens = 0;
    socklen_t len = sizeof listens;

    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) == 0 && listens != 0 &&
           has_local_port(fd, local_port);
}

/* `peer` NULL: the listening socket. */
static int find(uint16_t local_port, const char *peer, uint16_t peer_port)
{
    for (int fd = 0, gap = 0; gap < MAX_GAP; fd++) {
        errno = 0;
        if (peer == NULL ? is_listener(fd, local_port) : is_connection(fd, local_port, peer, peer_port))
            return fd;
        gap = errno == EBADF ? gap + 1 : 0;
    }
    return -1;
}

int http_socket_find(uint16_t local_port, const char *peer, uint16_t peer_port)
{
    return find(local_port, peer, peer_port);
}

int http_socket_find_listener(uint16_t local_port)
{
    return find(local_port, NULL, 0);
}

static bool wait_writable(int fd, int stall_ms)
{
    struct pollfd pollfd = {.fd = fd, .events = POLLOUT};
    int n;

    while ((n = poll(&pollfd, 1, stall_ms)) < 0 && errno == EINTR)
        ;
    return n > 0;
}

/* Takes `sent` bytes off the front. */
static void advance(struct iovec **parts, size_t *count, size_t sent)
{
    while (*count > 0 && sent >= (*parts)->iov_len) {
        sent -= (*parts)->iov_len;
        ++*parts;
        --*count;
    }
    if (*count > 0) {
        (*parts)->iov_base = (char *)(*parts)->iov_base + sent;
        (*parts)->iov_len -= sent;
    }
}

bool http_socket_send(int fd, struct iovec *parts, size_t count, int stall_ms)
{
    advance(&parts, &count, 0); /* empty ones */
    while (count > 0) {
        struct msghdr message = {.msg_iov = parts, .msg_iovlen = count};
        ssize_t sent = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent >= 0)
            advance(&parts, &count, (size_t)sent);
        else if (errno == EAGAIN ? !wait_writable(fd, stall_ms) : errno != EINTR)
            return false;
    }
    return true;
}

int64_t http_socket_available(int fd)
{
    char byte;
    int n;

    if (ioctl(fd, FIONREAD, &n) != 0)
        return -1;
    if (n > 0)
        return n;
    ssize_t got = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return got > 0 ? 1 : got < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
}

bool http_socket_peer(const struct sockaddr_storage *end, char text[HTTP_ADDRESS_SIZE])
{
    struct in_addr v4;
    struct in6_addr v6;
    uint16_t port;

    if (end->ss_family != AF_INET6)
        return describe(end, &port, text);
    memcpy(&v6, &((const struct sockaddr_in6 *)(const void *)end)->sin6_addr, sizeof v6);
    if (!IN6_IS_ADDR_V4MAPPED(&v6))
        return describe(end, &port, text);
    memcpy(&v4, v6.s6_addr + 12, sizeof v4);
    return inet_ntop(AF_INET, &v4, text, HTTP_ADDRESS_SIZE) != NULL;
}

/* --- Lingering --- */

#define LINGER_MS 5000       /* whatever comes */
#define LINGER_QUIET_MS 2000 /* when nothing comes */
#define LINGER_BYTES (64 * 1024 * 1024)

struct http_linger http_linger_begin(int fd, uint64_t now_ms)
{
    shutdown(fd, SHUT_WR);
    return (struct http_linger){
        .end_ms = now_ms + LINGER_MS, .quiet_ms = now_ms + LINGER_QUIET_MS, .left = LINGER_BYTES};
}

bool http_linger_read(struct http_linger *l, int fd, uint64_t now_ms)
{
    char scrap[64 * 1024];
    ssize_t n = recv(fd, scrap, sizeof scrap, MSG_DONTWAIT | MSG_TRUNC); /* TCP: dropped without being copied */

    if (n > 0) {
        l->quiet_ms = now_ms + LINGER_QUIET_MS;
        l->left -= (uint64_t)n < l->left ? (uint64_t)n : l->left;
    }
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        return false;
    return l->left > 0 && now_ms < l->end_ms && now_ms < l->quiet_ms;
}
