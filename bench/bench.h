#ifndef WEIR_BENCH_H
#define WEIR_BENCH_H

#include "base/err.h"

/* One function per area: argv[0] is the mode. Prints one JSON object as its last line. */
int bench_queue(int argc, char **argv, struct err *e) __attribute__((warn_unused_result));

#endif
