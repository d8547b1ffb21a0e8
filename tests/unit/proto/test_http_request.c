#include "base/mem.h"
#include "base/str.h"
#include "proto/http_address.h"
#include "proto/http_request.h"
#include "suite.h"

#include <string.h>

/* --- Heads --- */

#define MAX_LINES 6

static const struct {
    const char *version;
    struct http_header headers[MAX_LINES];
    int status; /* 0: accepted */
    struct http_framing framing;
} heads[] = {
    {"1.1", {{"Host", "a"}}, 0, {.keep_alive = true}},
    {"1.1", {{"hOST", "a"}, {"content-length", "5"}}, 0, {.has_length = true, .length = 5, .keep_alive = true}},
    {"1.1", {{"Host", "a"}, {"Content-Length", "0"}}, 0, {.has_length = true, .keep_alive = true}},
    {"1.1", {{"Host", "a"}, {"Content-Length", "007"}}, 0, {.has_length = true, .length = 7, .keep_alive = true}},
    {"1.1", {{"Host", "a"}, {"Transfer-Encoding", "Chunked"}}, 0, {.chunked = true, .keep_alive = true}},
    {"1.1", {{"Host", "a"}, {"Connection", "close"}}, 0, {.keep_alive = false}},
    {"1.1", {{"Host", "a"}, {"Connection", "TE, Keep-Alive"}}, 0, {.keep_alive = true}},
    {"1.1", {{"Host", "a"}, {"Connection", "keep-alive, close"}}, 0, {.keep_alive = false}},
    {"1.1", {{"Host", "a"}, {"Connection", "TE"}, {"Connection", "Close"}}, 0, {.keep_alive = false}},
    {"1.1", {{"Host", "a"}, {"Connection", "TE"}}, 0, {.keep_alive = true}},
    {"1.1", {{"Host", "a"}, {"Connection", "Upgrade"}}, 0, {.keep_alive = true}},  /* RFC 9110, 7.8: may be ignored */
    {"1.1", {{"Host", "a"}, {"Expect", "100-Continue"}}, 0, {.keep_alive = true}}, /* no body: nothing to wait for */
    {"1.1",
     {{"Host", "a"}, {"Expect", "100-continue"}, {"Content-Length", "1"}},
     0,
     {.has_length = true, .length = 1, .expects_continue = true, .keep_alive = true}},
    {"1.1", {{"Host", "a"}, {"X", "tab\there"}}, 0, {.keep_alive = true}},
    {"1.0", {{"Host", "a"}}, 0, {.keep_alive = false}},
    {"1.0", {{"X", ""}}, 0, {.keep_alive = false}}, /* Host came with HTTP/1.1 */
    {"1.0", {{"Connection", "keep-alive"}}, 0, {.keep_alive = true}},
    {"1.0", {{"Expect", "anything"}}, 0, {.keep_alive = false}}, /* unknown to HTTP/1.0 */

    {"1.1", {{"X", "a"}}, 400, {0}}, /* no Host */
    {"1.1", {{"Host", "a"}, {"Host", "a"}}, 400, {0}},
    {"1.1", {{"Host", "[::1]:80"}}, 0, {.keep_alive = true}},
    {"1.1", {{"Host", ""}}, 0, {.keep_alive = true}}, /* RFC 9112, 3.2: there may be none */
    {"1.1", {{"Host", "a, b"}}, 400, {0}},
    {"1.1", {{"Host", "a b"}}, 400, {0}},
    {"1.1", {{"Host", "a/b"}}, 400, {0}},
    {"1.1", {{"Host", "user@a"}}, 400, {0}},
    {"1.1", {{"Host", "\xC3\xA4"}}, 400, {0}},
    {"1.1", {{"Host", "a"}, {"Content-Length", "5abc"}}, 400, {0}},
    {"1.1", {{"Host", "a"}, {"Content-Length", ""}}, 400, {0}},
    {"1.1", {{"Host", "a"}, {"Content-Length", "-1"}}, 400, {0}},
    {"1.1", {{"Host", "a"}, {"Content-Length", "+5"}}, 400, {0}},
    {"1.1", {{"Host", "a"}, {"Content-Length", " 5"}}, 400, {0}},
    {"1.1", {{"Host", "a"}, {"Content-Length", "5 "}}, 400, {0}},
    {"1.1", {{"Host", "a"}, {"Content-Length", "5, 5"}}, 400, {0}},
    {"1.1", {{"Host", "a"}, {"Content-Length", "0x5"}}, 400, {0}},
    {"1.1", {{"Host", "a"}, {"Content-Length", "9223372036854775808"}}, 400, {0}}, /* 2^63 */
    {"1.1", {{"Host", "a"}, {"Content-Length", "18446744073709551616"}}, 400, {0}},
    {"1.1", {{"Host", "a"}, {"Content-Length", "5"}, {"content-length", "5"}}, 400, {0}},
    {"1.1", {{"Host", "a"}, {"Content-Length", "5"}, {"Transfer-Encoding", "chunked"}}, 400, {0}},
    {"1.1", {{"Host", "a"}, {"Transfer-Encoding", "chunked"}, {"Transfer-Encoding", "chunked"}}, 400, {0}},
    {"1.1", {{"Host", "a"}, {"Transfer-Encoding", "gzip, chunked"}}, 400, {0}},
    {"1.1", {{"Host", "a"}, {"Transfer-Encoding", "identity"}}, 400, {0}},
    {"1.1", {{"Host", "a"}, {"Transfer-Encoding", "\vchunked"}}, 400, {0}},
    {"1.1", {{"Host", "a"}, {"Transfer-Encoding", "chunked "}}, 400, {0}},
    {"1.0", {{"Transfer-Encoding", "chunked"}}, 400, {0}},
    {"1.1", {{"Host", "a"}, {"Bad Name", "x"}}, 400, {0}},
    {"1.1", {{"Host", "a"}, {"", "x"}}, 400, {0}},
    {"1.1", {{"Host", "a"}, {"X(", "x"}}, 400, {0}},
    {"1.1", {{"Host", "a"}, {"X", "a\x01"}}, 400, {0}},
    {"1.1", {{"Host", "a"}, {"X", "a\x7F"}}, 400, {0}},
    {"1.1", {{"Host", "a"}, {"Expect", "200-ok"}}, 417, {0}},
};

START_TEST(reads_a_head_in_one_way_or_refuses_it)
{
    struct http_head head = {.version = heads[_i].version, .headers = heads[_i].headers};
    const struct http_framing *want = &heads[_i].framing;
    struct http_framing got = {0};
    struct http_refusal refusal = {0};

    while (head.count < MAX_LINES && head.headers[head.count].name != NULL)
        head.count++;
    ck_assert_int_eq(http_head_check(&head, &got, &refusal), heads[_i].status == 0);
    ck_assert_int_eq(refusal.status, heads[_i].status);
    ck_assert_int_eq(refusal.detail != NULL, heads[_i].status != 0);
    ck_assert_int_eq(got.has_length, want->has_length);
    ck_assert_uint_eq(got.length, want->length);
    ck_assert_int_eq(got.chunked, want->chunked);
    ck_assert_int_eq(got.expects_continue, want->expects_continue);
    ck_assert_int_eq(got.keep_alive, want->keep_alive);
}
END_TEST

START_TEST(takes_63_headers_and_no_more)
{
    struct http_header headers[HTTP_MAX_HEADERS + 1];
    struct http_head head = {.version = "1.1", .headers = headers, .count = HTTP_MAX_HEADERS};
    struct http_framing framing;
    struct http_refusal refusal;

    for (size_t i = 0; i <= HTTP_MAX_HEADERS; i++)
        headers[i] = (struct http_header){i == 0 ? "Host" : "X", "a"};
    ck_assert(http_head_check(&head, &framing, &refusal));
    head.count++;
    ck_assert(!http_head_check(&head, &framing, &refusal));
    ck_assert_int_eq(refusal.status, 400);
}
END_TEST

/* --- Paths --- */

static const struct {
    const char *raw, *decoded; /* NULL: refused */
} paths[] = {
    {"/", "/"},
    {"/a/b", "/a/b"},
    {"/a%20b", "/a b"},
    {"/%C3%A4", "/\xC3\xA4"},
    {"/\xC3\xA4", "/\xC3\xA4"},
    {"/a+b", "/a+b"}, /* a plus is a plus here */
    {"/a//b/", "/a//b/"},
    {"/...", "/..."},
    {"/.well-known/x", "/.well-known/x"},
    {"/a/..b", "/a/..b"},
    {"", NULL},
    {"a", NULL},
    {"*", NULL},
    {"/%", NULL},
    {"/%4", NULL},
    {"/%4g", NULL},
    {"/%00", NULL},
    {"/a%2Fb", NULL}, /* a slash in a segment means something else to everybody */
    {"/%0D%0A", NULL},
    {"/a\x7F", NULL},
    {"/%E4", NULL}, /* not UTF-8 */
    {"/%C0%AE%C0%AE/", NULL},
    {"/.", NULL},
    {"/..", NULL},
    {"/a/../b", NULL},
    {"/a/%2e%2E/b", NULL},
    {"/a/.%2e", NULL},
    {"/./a", NULL},
};

START_TEST(decodes_paths)
{
    char out[HTTP_PATH_SIZE];

    ck_assert_int_eq(http_path_decode(paths[_i].raw, out), paths[_i].decoded != NULL);
    if (paths[_i].decoded != NULL)
        ck_assert_str_eq(out, paths[_i].decoded);
}
END_TEST

START_TEST(bounds_paths)
{
    char raw[HTTP_PATH_SIZE + 1], out[HTTP_PATH_SIZE];

    memset(raw, 'a', sizeof raw);
    raw[0] = '/';
    raw[HTTP_PATH_SIZE - 1] = '\0';
    ck_assert(http_path_decode(raw, out));
    raw[HTTP_PATH_SIZE - 1] = 'a';
    raw[HTTP_PATH_SIZE] = '\0';
    ck_assert(!http_path_decode(raw, out));
}
END_TEST

static const struct {
    const char *pattern, *path;
    bool fits;
    const char *id, *rest;
} routes[] = {
    {"/", "/", true, NULL, NULL},
    {"/healthz", "/healthz", true, NULL, NULL},
    {"/healthz", "/healthz/", false, NULL, NULL},
    {"/healthz", "/health", false, NULL, NULL},
    {"/healthz", "/healthzz", false, NULL, NULL},
    {"/v/{id}", "/v/a", true, "a", NULL},
    {"/v/{id}", "/v/", false, NULL, NULL},
    {"/v/{id}", "/v", false, NULL, NULL},
    {"/v/{id}", "/v/a/", false, NULL, NULL},
    {"/v/{id}", "/v/a/b", false, NULL, NULL},
    {"/v/{id}/retry", "/v/a/retry", true, "a", NULL},
    {"/v/{id}/retry", "/v/a/cancel", false, NULL, NULL},
    {"/v/{id}/retry", "/v//retry", false, NULL, NULL},
    {"/v/{id}/{rest...}", "/v/a/b", true, "a", "b"},
    {"/v/{id}/{rest...}", "/v/a/b/c.ts", true, "a", "b/c.ts"},
    {"/v/{id}/{rest...}", "/v/a/", false, NULL, NULL},
    {"/v/{id}/{rest...}", "/v/a", false, NULL, NULL},
    {"/{rest...}", "/x", true, NULL, "x"},
    {"/{id}.json", "/x.json", false, NULL, NULL}, /* a parameter is a whole segment */
};

START_TEST(matches_routes)
{
    static struct http_match match;
    const char *id, *rest;

    match.count = 0;
    ck_assert_int_eq(http_route_match(routes[_i].pattern, routes[_i].path, &match), routes[_i].fits);
    id = http_match_param(&match, "id");
    rest = http_match_param(&match, "rest");
    ck_assert_pstr_eq(id, routes[_i].id);
    ck_assert_pstr_eq(rest, routes[_i].rest);
    ck_assert_ptr_null(http_match_param(&match, "other"));
}
END_TEST

/* --- Queries --- */

static const char bad[] = "before";

static const struct {
    const char *query, *name, *value; /* NULL: none */
} queries[] = {
    {NULL, "a", NULL},
    {"", "a", NULL},
    {"a=1", "a", "1"},
    {"b=2&a=1", "a", "1"},
    {"a=1&a=2", "a", "1"},
    {"a", "a", ""},
    {"a=", "a", ""},
    {"a&b", "b", ""},
    {"&&a=1&", "a", "1"},
    {"ab=1", "a", NULL},
    {"xa=1", "a", NULL},
    {"a=b=c", "a", "b=c"},
    {"a=b+c%20d%2B", "a", "b c d+"},
    {"%61=1", "a", "1"},
    {"a=%C3%A4", "a", "\xC3\xA4"},
    {"a=12345678", "a", bad}, /* does not fit into 8 bytes */
    {"a=1234567", "a", "1234567"},
    {"a=%", "a", bad},
    {"a=%4&b", "a", bad},
    {"a=%00", "a", bad},
    {"a=%E4", "a", bad},
    {"a=%4g", "a", bad},
};

START_TEST(finds_query_parameters)
{
    char out[8] = "before";

    ck_assert_int_eq(http_query_find(queries[_i].query, queries[_i].name, out, sizeof out),
                     queries[_i].value == bad    ? HTTP_QUERY_BAD
                     : queries[_i].value != NULL ? HTTP_QUERY_FOUND
                                                 : HTTP_QUERY_ABSENT);
    ck_assert_str_eq(out, queries[_i].value == NULL ? "before" : queries[_i].value);
}
END_TEST

static const struct {
    const char *query;
    bool valid;
} whole_queries[] = {
    {NULL, true},          {"", true},       {"a", true},          {"a=1&b=%20+&&c", true},
    {"=&=", true},         {"a=b=c", true},  {"a=%zz", false},     {"a=1&%", false},
    {"%4=1", false},       {"a=%00", false}, {"a=1&b=%E4", false}, {"a=1&b=%C3%A4", true},
    {"a=%C3&%A4=", false},
};

START_TEST(checks_queries)
{
    ck_assert_int_eq(http_query_valid(whole_queries[_i].query), whole_queries[_i].valid);
}
END_TEST

/* --- Lists --- */

static const struct {
    const char *list, *origin;
    enum http_origin match;
} origins[] = {
    {"*", "https://a.example", HTTP_ORIGIN_ANY},
    {"*", NULL, HTTP_ORIGIN_ANY},
    {"", "https://a.example", HTTP_ORIGIN_NONE},
    {"https://a.example", "https://a.example", HTTP_ORIGIN_NAMED},
    {"https://a.example", NULL, HTTP_ORIGIN_NONE},
    {"https://a.example", "https://a.example.evil", HTTP_ORIGIN_NONE},
    {"https://a.example", "https://a.exampl", HTTP_ORIGIN_NONE},
    {"https://a.example", "http://a.example", HTTP_ORIGIN_NONE},
    {"https://a.example", "", HTTP_ORIGIN_NONE},
    {"https://a.example , http://b:8080", "http://b:8080", HTTP_ORIGIN_NAMED},
    {"https://a.example, *", "http://b", HTTP_ORIGIN_ANY},
    {"*, https://a.example", "https://a.example", HTTP_ORIGIN_NAMED},
};

START_TEST(matches_origins)
{
    ck_assert_int_eq(http_origin_match(origins[_i].list, origins[_i].origin), origins[_i].match);
}
END_TEST

static const struct {
    const char *header;
    bool accepted;
} encodings[] = {
    {NULL, false},           {"", false},
    {"gzip", true},          {"GZIP", true},
    {"deflate, gzip", true}, {"deflate , gzip;q=1.0", true},
    {"br", false},           {"gzip;q=0", false},
    {"gzip;q=0.000", false}, {"gzip; q=0.001", true},
    {"gzip ; Q=0", false},   {"*", true},
    {"*;q=0", false},        {"gzip;q=0, *", false},
    {"*;q=0, gzip", true},   {"xgzip", false},
    {"gzipx", false},        {"identity;q=1, *;q=0", false},
};

START_TEST(reads_accept_encoding)
{
    ck_assert_int_eq(http_accepts_encoding(encodings[_i].header, "gzip"), encodings[_i].accepted);
}
END_TEST

START_TEST(knows_reasons)
{
    ck_assert_str_eq(http_reason(200), "OK");
    ck_assert_str_eq(http_reason(503), "Service Unavailable");
    ck_assert_str_eq(http_reason(299), "Unknown");
}
END_TEST

/* --- Addresses --- */

static const struct {
    const char *list, *address;
    bool held;
} networks[] = {
    {"", "10.1.2.3", false},
    {"10.0.0.0/8", "10.1.2.3", true},
    {"10.0.0.0/8", "11.1.2.3", false},
    {"10.1.2.3", "10.1.2.3", true},
    {"10.1.2.3", "10.1.2.4", false},
    {"10.0.0.0/8, 192.168.7.0/25", "192.168.7.127", true},
    {"10.0.0.0/8,192.168.7.0/25", "192.168.7.128", false},
    {"0.0.0.0/0", "203.0.113.9", true},
    {"0.0.0.0/0", "2001:db8::1", false},
    {"::/0", "2001:db8::1", true},
    {"2001:db8::/33", "2001:db8:7fff::1", true},
    {"2001:db8::/33", "2001:db8:8000::1", false},
    {"10.0.0.0/8", "::ffff:10.1.2.3", true}, /* the same address on a socket for both */
    {"::1", "::1", true},
    {"10.0.0.0/8", "unknown", false},
};

START_TEST(holds_addresses)
{
    struct http_networks parsed;
    struct err e;

    ck_assert_int_eq(http_networks_parse(networks[_i].list, &parsed, &e), 0);
    ck_assert_int_eq(http_networks_hold(&parsed, networks[_i].address), networks[_i].held);
}
END_TEST

static const char *const bad_networks[] = {
    "10.0.0",         "10.0.0.0/33", "::1/129",
    "10.0.0.0/",      "10.0.0.0/x",  "localhost",
    "10.0.0.0/8;::1", "/8",          "1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc:dddd",
};

START_TEST(refuses_bad_networks)
{
    struct http_networks parsed = {.count = 7};
    struct err e;

    ck_assert_int_eq(http_networks_parse(bad_networks[_i], &parsed, &e), -ERR_INVALID);
    ck_assert_uint_eq(parsed.count, 7);
}
END_TEST

START_TEST(bounds_networks)
{
    char list[HTTP_MAX_NETWORKS * 4 + 4] = "";
    struct http_networks parsed;
    struct err e;

    for (int i = 0; i < HTTP_MAX_NETWORKS; i++)
        memcpy(list + 4 * i, "::1,", 5);
    ck_assert_int_eq(http_networks_parse(list, &parsed, &e), 0);
    memcpy(list + (size_t)4 * HTTP_MAX_NETWORKS, "::1", 4);
    ck_assert_int_eq(http_networks_parse(list, &parsed, &e), -ERR_INVALID);
}
END_TEST

START_TEST(counts_one_customer_once)
{
    static const struct {
        const char *address, *group;
    } rows[] = {
        {"192.0.2.1", "192.0.2.1"},
        {"::ffff:192.0.2.1", "192.0.2.1"},
        {"2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"},
        {"2001:0DB8:1:2::1", "2001:db8:1:2::/64"},
        {"2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db8:ffff:ffff::/64"},
        {"::1", "::/64"},
        {"unknown", "unknown"},
    };
    char group[HTTP_ADDRESS_SIZE];

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        http_address_group(rows[i].address, group);
        ck_assert_str_eq(group, rows[i].group);
    }
}
END_TEST

static const struct {
    const char *peer, *first, *second; /* X-Forwarded-For lines */
    const char *client;
} clients[] = {
    {"203.0.113.1", NULL, NULL, "203.0.113.1"},
    {"203.0.113.1", "198.51.100.1", NULL, "203.0.113.1"}, /* not trusted: anybody can write that */
    {"10.0.0.1", NULL, NULL, "10.0.0.1"},
    {"10.0.0.1", "198.51.100.1", NULL, "198.51.100.1"},
    {"10.0.0.1", "1.1.1.1, 198.51.100.1", NULL, "198.51.100.1"}, /* what the client itself claimed does not count */
    {"10.0.0.1", "198.51.100.1, 10.0.0.2", NULL, "198.51.100.1"},
    {"10.0.0.1", "198.51.100.1", "10.0.0.2", "198.51.100.1"}, /* two lines are one list */
    {"10.0.0.1", "198.51.100.1", "198.51.100.2", "198.51.100.2"},
    {"10.0.0.1", "10.0.0.3, 10.0.0.2", NULL, "10.0.0.3"}, /* all are ours: the first of them */
    {"10.0.0.1", "198.51.100.1:4711", NULL, "198.51.100.1"},
    {"10.0.0.1", "[2001:db8::1]:4711", NULL, "2001:db8::1"},
    {"10.0.0.1", "2001:db8::1", NULL, "2001:db8::1"},
    {"10.0.0.1", "unknown", NULL, "10.0.0.1"},
    {"10.0.0.1", "198.51.100.1, unknown", NULL, "10.0.0.1"},
    {"10.0.0.1", "198.51.100.1, _x, 10.0.0.2", NULL, "10.0.0.2"},
    {"10.0.0.1", "", NULL, "10.0.0.1"},
    {"10.0.0.1", " , ", NULL, "10.0.0.1"},
    {"10.0.0.1", "1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc:dddd", NULL, "10.0.0.1"},
};

START_TEST(finds_the_client_behind_trusted_proxies)
{
    struct http_header headers[2] = {{"x-forwarded-for", clients[_i].first}, {"X-Forwarded-For", clients[_i].second}};
    struct http_head head = {.headers = headers, .count = (size_t)(clients[_i].first != NULL)};
    struct http_networks trusted;
    char out[HTTP_ADDRESS_SIZE];
    struct err e;

    head.count += clients[_i].second != NULL;
    ck_assert_int_eq(http_networks_parse("10.0.0.0/8", &trusted, &e), 0);
    http_client_address(&trusted, clients[_i].peer, &head, out);
    ck_assert_str_eq(out, clients[_i].client);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("http_request");
    TCase *tcase = tcase_create("http_request");

    tcase_add_loop_test(tcase, reads_a_head_in_one_way_or_refuses_it, 0, (int)ARRAY_SIZE(heads));
    tcase_add_test(tcase, takes_63_headers_and_no_more);
    tcase_add_loop_test(tcase, decodes_paths, 0, (int)ARRAY_SIZE(paths));
    tcase_add_test(tcase, bounds_paths);
    tcase_add_loop_test(tcase, matches_routes, 0, (int)ARRAY_SIZE(routes));
    tcase_add_loop_test(tcase, finds_query_parameters, 0, (int)ARRAY_SIZE(queries));
    tcase_add_loop_test(tcase, checks_queries, 0, (int)ARRAY_SIZE(whole_queries));
    tcase_add_loop_test(tcase, matches_origins, 0, (int)ARRAY_SIZE(origins));
    tcase_add_loop_test(tcase, reads_accept_encoding, 0, (int)ARRAY_SIZE(encodings));
    tcase_add_test(tcase, knows_reasons);
    tcase_add_loop_test(tcase, holds_addresses, 0, (int)ARRAY_SIZE(networks));
    tcase_add_loop_test(tcase, refuses_bad_networks, 0, (int)ARRAY_SIZE(bad_networks));
    tcase_add_test(tcase, bounds_networks);
    tcase_add_test(tcase, counts_one_customer_once);
    tcase_add_loop_test(tcase, finds_the_client_behind_trusted_proxies, 0, (int)ARRAY_SIZE(clients));
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
