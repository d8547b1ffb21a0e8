#include "proto/config.h"

#include "base/mem.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define MAX_PAIRS 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Splits lines NAME=value in place. */
static size_t split(char *text, struct config_pair pairs[MAX_PAIRS])
{
    size_t count = 0;

    for (char *line = text; line != NULL && count < MAX_PAIRS;) {
        char *end = strchr(line, '\n'), *equals = strchr(line, '=');
        if (end != NULL)
            *end = '\0';
        if (equals != NULL && (end == NULL || equals < end)) {
            *equals = '\0';
            pairs[count++] = (struct config_pair){line, equals + 1, "fuzz"};
            (void)config_known(line);
        }
        line = end == NULL ? NULL : end + 1;
    }
    return count;
}

static int parse(enum config_service service, const char *text, size_t len, const char *also, struct buf *dump)
{
    struct config_pair pairs[MAX_PAIRS];
    struct settings s;
    struct err e;
    BUF_AUTO struct buf copy;

    buf_init(&copy, 1u << 20);
    buf_append(&copy, text, len);
    buf_puts(&copy, also);
    int r = config_parse(service, pairs, copy.len == 0 ? 0 : split(copy.data, pairs), &s, &e);
    if (r == 0)
        config_dump(service, &s, dump);
    return r;
}

/* What --check-config prints is taken again and means the same. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum config_service services[] = {CONFIG_API, CONFIG_WORKER, CONFIG_PLAY};
    BUF_AUTO struct buf first, second;

    buf_init(&first, 1u << 20);
    buf_init(&second, 1u << 20);
    if (size > 64u << 10)
        return 0;
    for (size_t i = 0; i < ARRAY_SIZE(services); i++) {
        buf_reset(&first);
        buf_reset(&second);
        if (parse(services[i], (const char *)data, size, "\nSTORE_URL=file:///x", &first) != 0 &&
            parse(services[i], (const char *)data, size, "", &first) != 0)
            continue;
        if (parse(services[i], buf_cstr(&first), first.len, "", &second) != 0 ||
            strcmp(buf_cstr(&first), buf_cstr(&second)) != 0)
            abort();
    }
    return 0;
}
