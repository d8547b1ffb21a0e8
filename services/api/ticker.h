#ifndef WEIR_TICKER_H
#define WEIR_TICKER_H

#include "base/err.h"

/* A thread that calls a function every second until it is stopped. */

struct ticker;
typedef void ticker_work(void *ctx);

int ticker_start(ticker_work *work, void *ctx, struct ticker **ret, struct err *e) __attribute__((warn_unused_result));
void ticker_stop(struct ticker *t); /* waits for a call that is running; NULL is fine */

#endif
