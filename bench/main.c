#include "bench.h"

#include "base/mem.h"

#include <stdio.h>
#include <string.h>

static const char usage[] =
    "usage: weir-bench queue MODE --port P [--n N] [--concurrency C] [--lock MS] [--stalled MS] [--trials T]\n"
    "\n"
    "  add        enqueue N jobs, C in flight\n"
    "  add-bulk   the same as fast as it goes: at least 64 in flight\n"
    "  process    claim and ack N jobs that are there already, C in flight\n"
    "  both       add and process at once\n"
    "  latency    from enqueue to start on an idle queue, N times\n"
    "  recovery   a worker that holds a job for --lock ms is lost: how long until another has it, T times;\n"
    "             lost leases are looked for every --stalled ms, at least every second\n"
    "\n"
    "The Redis on port P of 127.0.0.1 must be empty. The last line printed is a JSON object.\n";

static const struct {
    const char *name;
    int (*run)(int argc, char **argv, struct err *e);
} areas[] = {
    {"queue", bench_queue},
};

int main(int argc, char **argv)
{
    struct err e;

    for (size_t i = 0; argc > 2 && i < ARRAY_SIZE(areas); i++) {
        if (strcmp(argv[1], areas[i].name) != 0)
            continue;
        if (areas[i].run(argc - 2, argv + 2, &e) == 0)
            return 0;
        fprintf(stderr, "weir-bench: %s\n", e.text);
        return 1;
    }
    fputs(usage, argc == 2 && strcmp(argv[1], "--help") == 0 ? stdout : stderr);
    return argc == 2 && strcmp(argv[1], "--help") == 0 ? 0 : 2;
}
