#include "proto/sigv4.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

/* Canonicalisation: the input is a list of strings, each ended by a newline: path, then pairs of names and values, which
 * are signed once as given and once in reverse order. Both must give the same text. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool in_target(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("-._~%/?=&", c) != NULL;
}

static size_t split(char *text, struct sigv4_pair *pairs, size_t max)
{
    size_t count = 0;

    for (char *at = text; at != NULL && count < max; count++) {
        pairs[count].name = strsep(&at, "\n");
        pairs[count].value = at != NULL ? strsep(&at, "\n") : "";
    }
    return count;
}

static char *canonical(const char *path, const struct sigv4_pair *pairs, size_t count)
{
    static const struct sigv4_key key = {"key", "secret", "us-east-1", "s3"};
    struct sigv4_request request = {.method = "GET",
                                    .path = path,
                                    .query = pairs,
                                    .query_count = count,
                                    .headers = pairs,
                                    .header_count = count,
                                    .payload = SIGV4_UNSIGNED_PAYLOAD};
    struct buf out, target, authorization;

    buf_init(&out, 1 << 20);
    buf_init(&target, 1 << 20);
    buf_init(&authorization, 1 << 20);
    if (sigv4_target(&request, &target, NULL) == 0)
        for (size_t i = 0; i < target.len; i++)
            if (!in_target(target.data[i]))
                abort();
    int r = sigv4_canonical(&request, &out, NULL);
    if (r != sigv4_authorization(&request, &key, "20260102T030405Z", &authorization, NULL))
        abort();
    char *text = r == 0 ? buf_detach(&out) : NULL;
    buf_release(&out);
    buf_release(&target);
    buf_release(&authorization);
    return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sigv4_pair pairs[SIGV4_PAIRS_MAX], reversed[SIGV4_PAIRS_MAX];

    char *text = mem_strndup((const char *)data, size < 4096 ? size : 4096);
    char *rest = text;
    const char *path = strsep(&rest, "\n");
    size_t count = rest != NULL ? split(rest, pairs, SIGV4_PAIRS_MAX) : 0;
    for (size_t i = 0; i < count; i++)
        reversed[i] = pairs[count - 1 - i];
    char *one = canonical(path, pairs, count), *two = canonical(path, reversed, count);
    if ((one == NULL) != (two == NULL) || (one != NULL && strcmp(one, two) != 0))
        abort();
    mem_free(one);
    mem_free(two);
    mem_free(text);
    return 0;
}
