#ifndef WEIR_HTTP_REQUEST_H
#define WEIR_HTTP_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What the server decides from the head of an HTTP/1.1 request (RFC 9110, 9112) before any handler sees it: how long the
 * body is, whether the request could be read in two ways, which route it means. Pure; safe from any thread. */

#define HTTP_HEAD_SIZE (16 * 1024) /* the longest head, its empty line included */
#define HTTP_MAX_HEADERS 63        /* civetweb can't tell 64 from more */
#define HTTP_PATH_SIZE 2048        /* a decoded path and NUL */
#define HTTP_MAX_PARAMS 4          /* in one route */
#define HTTP_PARAM_NAME_SIZE 24    /* "{name}" without the braces, and NUL */

struct http_header {
    const char *name, *value;
};

struct http_head {
    const char *version; /* "1.0" or "1.1" */
    const struct http_header *headers;
    size_t count;
};

/* A protocol answer: not a failure, so not a `struct err`. */
struct http_refusal {
    int status;
    const char *type, *detail; /* "urn:weir:error:<type>" and a sentence */
};

struct http_framing {
    bool has_length;       /* a Content-Length was given */
    uint64_t length;       /* 0 without one */
    bool chunked;          /* the length is not known before the end */
    bool expects_continue; /* the client waits for 100 before it sends the body */
    bool keep_alive;       /* the client would like to go on with this connection */
};

/* Value of the first header of that name (names are case-insensitive), or NULL. */
const char *http_head_find(const struct http_head *head, const char *name);

/* Whether all names are tokens and no value holds a control character. */
bool http_fields_valid(const struct http_head *head);

/* True, and *ret filled, when the request can be read in one way only. Else *ret_refusal says why not: several or malformed
 * Content-Length, several Transfer-Encoding or one that is not "chunked", both, several Host or none in HTTP/1.1 or one that
 * is no host, header names that are no tokens, control characters in values, more than HTTP_MAX_HEADERS, an Expect other
 * than 100-continue. The connection of a refused request must be closed. */
bool http_head_check(const struct http_head *head, struct http_framing *ret, struct http_refusal *ret_refusal)
    __attribute__((warn_unused_result));

/* Decodes the path of a request target. False when it does not begin with '/', holds a malformed escape, an encoded
 * slash or NUL, a control character, something that is not UTF-8, or a segment "." or "..", or is too long: what is left
 * means the same to everybody. */
bool http_path_decode(const char *raw, char out[HTTP_PATH_SIZE]) __attribute__((warn_unused_result));

struct http_match {
    size_t count;
    struct {
        char name[HTTP_PARAM_NAME_SIZE];
        const char *value; /* into text */
    } params[HTTP_MAX_PARAMS];
    char text[HTTP_PATH_SIZE + HTTP_MAX_PARAMS];
};

/* Whether a decoded path fits a route's pattern such as "/videos/{id}/retry" or "/v/{id}/{rest...}". "{name}" takes one
 * segment that is not empty, "{name...}" (last) the rest of the path, not empty either. *ret is set only when it fits. */
bool http_route_match(const char *pattern, const char *path, struct http_match *ret);
const char *http_match_param(const struct http_match *match, const char *name); /* NULL when the route has none such */

/* Decodes the value of the first `name` in a query (NULL: none; "a=1&b=%20+"; "+" is a space; a name alone has the value "").
 * BAD: the escapes are malformed, NUL or text that is not UTF-8 comes out, or it does not fit. */
enum http_query_result { HTTP_QUERY_ABSENT, HTTP_QUERY_FOUND, HTTP_QUERY_BAD };
enum http_query_result http_query_find(const char *query, const char *name, char *out, size_t size);
/* Whether every name and value of a query (NULL: none) is properly escaped UTF-8 without NUL. */
bool http_query_valid(const char *query);

/* What a list of origins ("*", or "https://a.example, http://b:8080", with "*" too perhaps) says about one (NULL: absent). */
enum http_origin { HTTP_ORIGIN_NONE, HTTP_ORIGIN_ANY, HTTP_ORIGIN_NAMED };
enum http_origin http_origin_match(const char *list, const char *origin);

/* Whether Accept-Encoding (NULL: absent) lets the server use `coding`, as "gzip;q=0.5, *;q=0" (RFC 9110, 12.5.3). */
bool http_accepts_encoding(const char *header, const char *coding);

/* Whether a comma-separated list such as Connection's holds a token, whatever its case. */
bool http_list_holds(const char *list, const char *token);

/* The reason phrase of a status, "Unknown" for one that Weir does not use. */
const char *http_reason(int status);

#endif
