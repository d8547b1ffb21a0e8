#ifndef WEIR_TEST_FLAKY_STORE_H
#define WEIR_TEST_FLAKY_STORE_H

#include "io/store.h"

#include <stdatomic.h>
#include <stdbool.h>

/* A directory store in a temporary folder with buckets "raw" and "processed", whose next calls can be made to fail. */

struct flaky_store {
    struct store *store;                 /* hand this to the code under test */
    atomic_int puts, gets, heads, lists; /* calls so far */
    atomic_int failing;                  /* so many further calls of any kind are ERR_TEMPORARY */
    atomic_int cut_at;                   /* a GET breaks off after so many bytes, once; 0: never */
    atomic_bool hanging;                 /* calls wait until this is false again */
    char folder[64];
};

void flaky_store_start(struct flaky_store *s);
void flaky_store_stop(struct flaky_store *s); /* and removes the folder */

void remove_folder(const char *folder); /* with all that is in it */

void flaky_store_put(struct flaky_store *s, const char *bucket, const char *key, const void *data, size_t len);

#endif
