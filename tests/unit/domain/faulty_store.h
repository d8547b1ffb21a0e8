#ifndef WEIR_TEST_FAULTY_STORE_H
#define WEIR_TEST_FAULTY_STORE_H

#include "io/store.h"

#include <stdint.h>

/* A store before another one that can be made to fail at any of its calls, and that lets a test act between them. */

enum fault {
    FAULT_NONE,
    FAULT_BEFORE,      /* the call does nothing and fails as temporary */
    FAULT_AFTER,       /* it takes effect, but its answer is lost */
    FAULT_AWAY_BEFORE, /* this call and all later ones */
    FAULT_AWAY_AFTER,
};

struct faulty_store;

/* Takes `inner` over. */
struct store *faulty_store_new(struct store *inner);
/* The `nth` call from now on (1 = the next) fails as told. */
void faulty_store_fail(struct store *s, uint64_t nth, enum fault fault);
/* Calls since the last faulty_store_fail. */
uint64_t faulty_store_calls(struct store *s);
/* Bytes of objects and parts that went to it and that were read from it, since it was made. */
void faulty_store_traffic(struct store *s, uint64_t *ret_sent, uint64_t *ret_read);
/* Called before the `nth` call from now on, once; for what somebody else does at that moment. */
void faulty_store_interrupt(struct store *s, uint64_t nth, void (*act)(void *ctx), void *ctx);

#endif
