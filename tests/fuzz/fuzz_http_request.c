#include "proto/http_address.h"
#include "proto/http_request.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Input: a request target, then headers, a line each. What is let through can be read in one way only. */

#define MAX_LINES 70

static void require(bool condition)
{
    if (!condition)
        abort();
}

static size_t count_named(const struct http_head *head, const char *name)
{
    size_t n = 0;

    for (size_t i = 0; i < head->count; i++)
        n += strcasecmp(head->headers[i].name, name) == 0;
    return n;
}

static void check_head(const struct http_head *head)
{
    struct http_framing framing = {0};
    struct http_refusal refusal = {0};

    if (!http_head_check(head, &framing, &refusal)) {
        require(refusal.status >= 400 && refusal.type != NULL && refusal.detail != NULL);
        return;
    }
    require(head->count <= HTTP_MAX_HEADERS);
    require(count_named(head, "Content-Length") + count_named(head, "Transfer-Encoding") <= 1);
    require(framing.has_length == (count_named(head, "Content-Length") == 1));
    require(framing.chunked == (count_named(head, "Transfer-Encoding") == 1));
    require(framing.length <= INT64_MAX && (framing.has_length || framing.length == 0));
}

static void check_address(const struct http_head *head)
{
    struct http_networks trusted = {0};
    char client[HTTP_ADDRESS_SIZE];
    const char *list = http_head_find(head, "Trusted");

    if (list == NULL || http_networks_parse(list, &trusted, NULL) != 0)
        require(http_networks_parse("127.0.0.1, ::1", &trusted, NULL) == 0);
    http_client_address(&trusted, "127.0.0.1", head, client);
    require(*client != '\0' && strlen(client) < sizeof client);
}

static void check_path(const char *target)
{
    static const char *const patterns[] = {"/v/{id}", "/v/{id}/{rest...}", "/{a}/{b}/{c}/{d}", "/"};
    static struct http_match match;
    char path[HTTP_PATH_SIZE], value[64];

    http_query_find(strchr(target, '?'), "q", value, sizeof value);
    http_query_find(target, "", value, sizeof value);
    if (!http_path_decode(target, path))
        return;
    require(*path == '/' && strstr(path, "/../") == NULL && strstr(path, "/./") == NULL);
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        if (!http_route_match(patterns[i], path, &match))
            continue;
        for (size_t j = 0; j < match.count; j++)
            require(*http_match_param(&match, match.params[j].name) != '\0');
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char text[16 * 1024];
    struct http_header headers[MAX_LINES];
    struct http_head head = {.version = size % 2 == 0 ? "1.1" : "1.0", .headers = headers};

    if (size >= sizeof text)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';

    char *line = strchr(text, '\n');
    while (line != NULL && head.count < MAX_LINES) {
        *line++ = '\0';
        char *end = strchr(line, '\n');
        char *colon = strchr(line, ':');
        if (colon != NULL && (end == NULL || colon < end)) {
            *colon = '\0';
            headers[head.count++] = (struct http_header){.name = line, .value = colon + 1};
        }
        line = end;
    }
    check_head(&head);
    check_address(&head);
    check_path(text);
    http_accepts_encoding(http_head_find(&head, "Accept-Encoding"), "gzip");
    return 0;
}
