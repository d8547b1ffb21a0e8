#include "io/free_port.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#define LOWEST 10000
#define HIGHEST 32000

static bool is_free(uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_port = htons(port)};

    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool bound = fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0;
    if (fd >= 0)
        close(fd);
    return bound;
}

uint16_t free_port(void)
{
    for (unsigned i = 0; i < 1000; i++) {
        uint32_t random;
        if (getrandom(&random, sizeof random, 0) != sizeof random)
            break;
        uint16_t port = (uint16_t)(LOWEST + random % (HIGHEST - LOWEST));
        if (is_free(port))
            return port;
    }
    fprintf(stderr, "free_port: there is none\n");
    exit(EXIT_FAILURE);
}
