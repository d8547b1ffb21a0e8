#ifndef WEIR_BOUNDED_H
#define WEIR_BOUNDED_H

#include <stdbool.h>
#include <stdint.h>

/* Runs `work` on a thread of its own and waits at most max_ms for its end. False: it is still running (or there was no
 * thread for it), so what it uses must stay as it is; a main then ends the process by quick_exit. */
bool run_bounded(uint64_t max_ms, void (*work)(void *ctx), void *ctx);

#endif
