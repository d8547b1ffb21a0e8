#include "http_request.h"

#include "base/str.h"

#include <string.h>
#include <strings.h>

/* --- Head --- */

/* Always false, so that a check ends in `return refuse(…)`. */
static bool refuse(struct http_refusal *ret, int status, const char *type, const char *detail)
{
    *ret = (struct http_refusal){.status = status, .type = type, .detail = detail};
    return false;
}

const char *http_head_find(const struct http_head *head, const char *name)
{
    for (size_t i = 0; i < head->count; i++)
        if (strcasecmp(head->headers[i].name, name) == 0)
            return head->headers[i].value;
    return NULL;
}

static size_t count_named(const struct http_head *head, const char *name)
{
    size_t n = 0;

    for (size_t i = 0; i < head->count; i++)
        n += strcasecmp(head->headers[i].name, name) == 0;
    return n;
}

static bool is_token(const char *s)
{
    static const char allowed[] = "!#$%&'*+-.^_`|~0123456789"
                                  "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

    return *s != '\0' && s[strspn(s, allowed)] == '\0';
}

static bool is_field_value(const char *s)
{
    for (; *s != '\0'; s++)
        if (((unsigned char)*s < 0x20 && *s != '\t') || *s == 0x7F)
            return false;
    return true;
}

bool http_fields_valid(const struct http_head *head)
{
    for (size_t i = 0; i < head->count; i++)
        if (!is_token(head->headers[i].name) || !is_field_value(head->headers[i].value))
            return false;
    return true;
}

static bool check_fields(const struct http_head *head, struct http_refusal *refusal)
{
    if (head->count > HTTP_MAX_HEADERS)
        return refuse(refusal, 400, "too-many-headers", "The request has more than 63 headers.");
    if (!http_fields_valid(head))
        return refuse(refusal, 400, "bad-request",
                      "A header's name or value holds a character that is not allowed there.");
    return true;
}

/* The characters of a name or address and a port (RFC 3986, 3.2.2); no path, user or second host. */
static bool is_host(const char *s)
{
    static const char allowed[] = "-._~%!$&'()*+;=[]:0123456789"
                                  "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

    return s[strspn(s, allowed)] == '\0';
}

static bool check_host(const struct http_head *head, struct http_refusal *refusal)
{
    const char *value = http_head_find(head, "Host");

    if (value == NULL ? strcmp(head->version, "1.1") == 0 : count_named(head, "Host") > 1)
        return refuse(refusal, 400, "bad-request", "A request needs exactly one Host header.");
    if (value != NULL && !is_host(value))
        return refuse(refusal, 400, "bad-request", "The Host header is not a host.");
    return true;
}

/* Spaces around the digits were removed by who split the lines; a list "5, 5" is not accepted, though RFC 9112 lets us. */
static bool check_length(const struct http_head *head, struct http_framing *framing, struct http_refusal *refusal)
{
    const char *value = http_head_find(head, "Content-Length");

    if (value == NULL)
        return true;
    if (count_named(head, "Content-Length") > 1)
        return refuse(refusal, 400, "ambiguous-length", "The request has more than one Content-Length header.");
    if (!str_to_u64(value, &framing->length) || framing->length > INT64_MAX)
        return refuse(refusal, 400, "ambiguous-length", "The Content-Length header is not a number of bytes.");
    framing->has_length = true;
    return true;
}

static bool check_transfer(const struct http_head *head, struct http_framing *framing, struct http_refusal *refusal)
{
    const char *value = http_head_find(head, "Transfer-Encoding");

    if (value == NULL)
        return true;
    if (count_named(head, "Transfer-Encoding") > 1)
        return refuse(refusal, 400, "ambiguous-length", "The request has more than one Transfer-Encoding header.");
    if (framing->has_length)
        return refuse(refusal, 400, "ambiguous-length",
                      "The request has both a Transfer-Encoding and a Content-Length header.");
    if (strcmp(head->version, "1.1") != 0)
        return refuse(refusal, 400, "ambiguous-length", "Transfer-Encoding needs HTTP/1.1.");
    if (strcasecmp(value, "chunked") != 0)
        return refuse(refusal, 400, "bad-request", "The only transfer coding that this server knows is chunked.");
    framing->chunked = true;
    return true;
}

static bool check_expect(const struct http_head *head, struct http_framing *framing, struct http_refusal *refusal)
{
    const char *value = http_head_find(head, "Expect");

    if (value == NULL || strcmp(head->version, "1.1") != 0)
        return true;
    if (strcasecmp(value, "100-continue") != 0)
        return refuse(refusal, 417, "bad-request", "The only expectation that this server knows is 100-continue.");
    framing->expects_continue = framing->chunked || framing->length > 0;
    return true;
}

static bool wants_keep_alive(const struct http_head *head)
{
    bool keep_alive = strcmp(head->version, "1.1") == 0;

    for (size_t i = 0; i < head->count; i++) {
        if (strcasecmp(head->headers[i].name, "Connection") != 0)
            continue;
        if (http_list_holds(head->headers[i].value, "close"))
            return false;
        if (http_list_holds(head->headers[i].value, "keep-alive"))
            keep_alive = true;
    }
    return keep_alive;
}

bool http_head_check(const struct http_head *head, struct http_framing *ret, struct http_refusal *ret_refusal)
{
    struct http_framing framing = {0};

    if (!check_fields(head, ret_refusal) || !check_length(head, &framing, ret_refusal) ||
        !check_transfer(head, &framing, ret_refusal) || !check_host(head, ret_refusal) ||
        !check_expect(head, &framing, ret_refusal))
        return false;
    framing.keep_alive = wants_keep_alive(head);
    *ret = framing;
    return true;
}

/* --- Path and query --- */

/* One escape "%41" → 'A'; false when it is malformed. */
static bool decode_escape(const char *s, unsigned char *ret)
{
    char digits[3] = {0};

    if (s[0] != '%' || s[1] == '\0')
        return false;
    memcpy(digits, s + 1, 2);
    return hex_decode(digits, ret, 1);
}

static bool is_dot_segment(const char *segment, size_t len)
{
    return (len == 1 && segment[0] == '.') || (len == 2 && segment[0] == '.' && segment[1] == '.');
}

static bool has_dot_segment(const char *path)
{
    for (const char *segment = path; segment != NULL; segment = strchr(segment, '/')) {
        segment++;
        if (is_dot_segment(segment, strcspn(segment, "/")))
            return true;
    }
    return false;
}

bool http_path_decode(const char *raw, char out[HTTP_PATH_SIZE])
{
    size_t len = 0;

    if (*raw != '/')
        return false;
    while (*raw != '\0') {
        unsigned char c = (unsigned char)*raw;
        if (c == '%') {
            if (!decode_escape(raw, &c) || c == '/')
                return false;
            raw += 2;
        }
        if (c < 0x20 || c == 0x7F || len + 1 >= HTTP_PATH_SIZE)
            return false;
        out[len++] = (char)c;
        raw++;
    }
    out[len] = '\0';
    return utf8_valid(out, len) && !has_dot_segment(out);
}

/* Decodes one name or value of a query. False when it is malformed or does not fit. */
static bool decode_query(const char *s, size_t len, char *out, size_t size)
{
    size_t n = 0;

    for (size_t i = 0; i < len; i++) {
        unsigned char c = s[i] == '+' ? ' ' : (unsigned char)s[i];
        if (c == '%') {
            if (len - i < 3 || !decode_escape(s + i, &c))
                return false;
            i += 2;
        }
        if (c == '\0' || n + 1 >= size)
            return false;
        out[n++] = (char)c;
    }
    out[n] = '\0';
    return utf8_valid(out, n);
}

bool http_query_valid(const char *query)
{
    char scrap[HTTP_HEAD_SIZE];

    for (const char *part = query; part != NULL && *part != '\0';) {
        size_t len = strcspn(part, "=&");
        if (!decode_query(part, len, scrap, sizeof scrap))
            return false;
        part += len + (part[len] != '\0');
    }
    return true;
}

static bool query_name_is(const char *s, size_t len, const char *name)
{
    char decoded[64];

    return decode_query(s, len, decoded, sizeof decoded) && strcmp(decoded, name) == 0;
}

enum http_query_result http_query_find(const char *query, const char *name, char *out, size_t size)
{
    char value[HTTP_HEAD_SIZE];

    for (const char *pair = query; pair != NULL && *pair != '\0';) {
        size_t len = strcspn(pair, "&");
        size_t name_len = strcspn(pair, "=&");
        if (query_name_is(pair, name_len, name)) {
            size_t skip = name_len < len ? name_len + 1 : len;
            bool fits = decode_query(pair + skip, len - skip, value, sizeof value) && strlen(value) < size;
            return fits && str_copy(out, size, value) ? HTTP_QUERY_FOUND : HTTP_QUERY_BAD;
        }
        pair += len + (pair[len] == '&');
    }
    return HTTP_QUERY_ABSENT;
}

/* --- Routes --- */

/* Takes "{name}" at the pattern's place apart; 0 when there is none, else its length. */
static size_t read_placeholder(const char *pattern, char name[HTTP_PARAM_NAME_SIZE], bool *ret_rest)
{
    size_t len = strcspn(pattern, "}");

    if (pattern[0] != '{' || pattern[len] != '}')
        return 0;
    size_t name_len = len - 1;
    *ret_rest = name_len > 3 && memcmp(pattern + len - 3, "...", 3) == 0;
    if (*ret_rest)
        name_len -= 3;
    if (name_len >= HTTP_PARAM_NAME_SIZE)
        return 0;
    memcpy(name, pattern + 1, name_len);
    name[name_len] = '\0';
    return len + 1;
}

bool http_route_match(const char *pattern, const char *path, struct http_match *ret)
{
    const char *values[HTTP_MAX_PARAMS];
    size_t lens[HTTP_MAX_PARAMS], count = 0, used = 0;
    char names[HTTP_MAX_PARAMS][HTTP_PARAM_NAME_SIZE];

    while (*pattern != '\0') {
        bool rest = false;
        size_t placeholder = count < HTTP_MAX_PARAMS ? read_placeholder(pattern, names[count], &rest) : 0;
        if (placeholder == 0) {
            if (*pattern++ != *path++)
                return false;
            continue;
        }
        size_t len = rest ? strlen(path) : strcspn(path, "/");
        if (len == 0)
            return false;
        values[count] = path;
        lens[count++] = len;
        path += len;
        pattern += placeholder;
    }
    if (*path != '\0')
        return false;

    ret->count = count;
    for (size_t i = 0; i < count; i++) {
        memcpy(ret->params[i].name, names[i], HTTP_PARAM_NAME_SIZE);
        ret->params[i].value = memcpy(ret->text + used, values[i], lens[i]);
        used += lens[i];
        ret->text[used++] = '\0';
    }
    return true;
}

const char *http_match_param(const struct http_match *match, const char *name)
{
    for (size_t i = 0; i < match->count; i++)
        if (strcmp(match->params[i].name, name) == 0)
            return match->params[i].value;
    return NULL;
}

/* --- Lists --- */

/* The next member of a comma-separated list without the spaces around it; false at the end. */
static bool next_member(const char **list, const char **ret, size_t *ret_len)
{
    *list += strspn(*list, " \t,");
    if (**list == '\0')
        return false;
    *ret = *list;
    *ret_len = strcspn(*list, ",");
    *list += *ret_len;
    while (*ret_len > 0 && strchr(" \t", (*ret)[*ret_len - 1]) != NULL)
        --*ret_len;
    return true;
}

static bool equals_token(const char *s, size_t len, const char *token)
{
    return strlen(token) == len && strncasecmp(s, token, len) == 0;
}

enum http_origin http_origin_match(const char *list, const char *origin)
{
    enum http_origin best = HTTP_ORIGIN_NONE;
    const char *member;
    size_t len;

    while (next_member(&list, &member, &len)) {
        if (origin != NULL && strlen(origin) == len && memcmp(origin, member, len) == 0)
            return HTTP_ORIGIN_NAMED;
        if (len == 1 && *member == '*')
            best = HTTP_ORIGIN_ANY;
    }
    return best;
}

bool http_list_holds(const char *list, const char *token)
{
    const char *member;
    size_t len;

    while (next_member(&list, &member, &len))
        if (equals_token(member, len, token))
            return true;
    return false;
}

/* Whether a member's parameters say q=0 (or 0.0, 0.00, 0.000). */
static bool has_zero_weight(const char *parameters, size_t len)
{
    const char *end = parameters + len;

    for (const char *p = parameters; p < end; p++) {
        if ((*p != 'q' && *p != 'Q') || end - p < 3 || p[1] != '=')
            continue;
        for (p += 2; p < end && (*p == '0' || *p == '.'); p++)
            ;
        return p == end || *p == ' ' || *p == ';';
    }
    return false;
}

bool http_accepts_encoding(const char *header, const char *coding)
{
    const char *member;
    size_t len;
    bool any = false;

    while (header != NULL && next_member(&header, &member, &len)) {
        size_t name_len = 0;
        while (name_len < len && strchr("; \t", member[name_len]) == NULL)
            name_len++;
        bool accepted = !has_zero_weight(member + name_len, len - name_len);
        if (equals_token(member, name_len, coding))
            return accepted;
        if (equals_token(member, name_len, "*"))
            any = accepted;
    }
    return any;
}

/* --- Reasons --- */

const char *http_reason(int status)
{
    static const struct {
        int status;
        const char *reason;
    } reasons[] = {
        {104, "Upload Resumption Supported"},
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {204, "No Content"},
        {206, "Partial Content"},
        {301, "Moved Permanently"},
        {302, "Found"},
        {303, "See Other"},
        {304, "Not Modified"},
        {307, "Temporary Redirect"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {406, "Not Acceptable"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {410, "Gone"},
        {411, "Length Required"},
        {412, "Precondition Failed"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {416, "Range Not Satisfiable"},
        {417, "Expectation Failed"},
        {422, "Unprocessable Content"},
        {423, "Locked"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {460, "Checksum Mismatch"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
        {507, "Insufficient Storage"},
    };

    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
        if (reasons[i].status == status)
            return reasons[i].reason;
    return "Unknown";
}
