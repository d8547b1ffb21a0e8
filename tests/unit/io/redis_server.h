#ifndef WEIR_TEST_REDIS_SERVER_H
#define WEIR_TEST_REDIS_SERVER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* A real redis-server of a test's own: on a free port of 127.0.0.1, data in a temporary directory, ended by its process
 * id. One that is missing or does not start ends the process with a failure. */

#define REDIS_SERVER_OPTIONS 16

struct redis_server {
    pid_t pid; /* 0: not running */
    uint16_t port;
    char folder[64];
    const char *options[REDIS_SERVER_OPTIONS + 1];
};

/* `options`: further words of the command line ("--maxmemory", "10mb", …, NULL), kept by reference; NULL: none. */
void redis_server_start(struct redis_server *s, const char *const *options);
void redis_server_restart(struct redis_server *s); /* kill -9, then again on the same port with the same data */
void redis_server_stop(struct redis_server *s);    /* and removes the data; a server that does not run is fine */
void redis_server_freeze(const struct redis_server *s);
void redis_server_thaw(const struct redis_server *s);

#endif
