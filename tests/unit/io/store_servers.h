#ifndef WEIR_TEST_STORE_SERVERS_H
#define WEIR_TEST_STORE_SERVERS_H

#include "io/store.h"

/* The stores that the contract tests run over: a directory, a real MinIO and a real versitygw, started on free ports of
 * 127.0.0.1 with their data in one temporary directory. Binaries: $WEIR_MINIO and $WEIR_VERSITYGW, else PATH, else
 * ~/.cache/weir/bin. One that is missing or does not start ends the process with a failure. */

enum store_server { STORE_DIRECTORY, STORE_MINIO, STORE_VERSITYGW, STORE_SERVERS };
extern const char *const store_server_names[STORE_SERVERS];

void store_servers_start(void);
void store_servers_stop(void); /* ends the servers and removes the data; also at exit */

struct store *store_servers_open(enum store_server server);   /* fails the process when it can't */
const char *store_servers_endpoint(enum store_server server); /* http://127.0.0.1:PORT; NULL for the directory */

#define STORE_SERVERS_USER "weir-test"
#define STORE_SERVERS_PASSWORD "weir-test-secret"

#endif
