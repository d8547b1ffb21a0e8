#ifndef WEIR_TEST_FREE_PORT_H
#define WEIR_TEST_FREE_PORT_H

#include <stdint.h>

/* A port of 127.0.0.1 that nobody listens on now, for a server that is to come back to it. It lies below those that the
 * kernel gives to connections, any of which may take it while the server is away. */
uint16_t free_port(void);

#endif
