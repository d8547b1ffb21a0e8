#include "http_head.h"

#include "base/mem.h"
#include "base/str.h"

#include <http_parser.h>
#include <string.h>
#include <strings.h>

/* --- The end --- */

enum scan_state { FIRST, FIRST_CR, LINE, LINE_CR, TEXT, TEXT_CR, ENDED, FAILED };
enum byte_class { OTHER, CR, LF, CONTROL };

/* clang-format off */
static const unsigned char scan_steps[][4] = {
    /*              OTHER   CR        LF      CONTROL */
    [FIRST] =    {TEXT,   FIRST_CR, FAILED, FAILED},
    [FIRST_CR] = {FAILED, FAILED,   LINE,   FAILED},
    [LINE] =     {TEXT,   LINE_CR,  FAILED, FAILED},
    [LINE_CR] =  {FAILED, FAILED,   ENDED,  FAILED},
    [TEXT] =     {TEXT,   TEXT_CR,  FAILED, FAILED},
    [TEXT_CR] =  {FAILED, FAILED,   LINE,   FAILED},
};
/* clang-format on */

static enum byte_class class_of(unsigned char c)
{
    if (c >= 0x20)
        return c == 0x7F ? CONTROL : OTHER;
    return c == '\r' ? CR : c == '\n' ? LF : c == '\t' ? OTHER : CONTROL;
}

struct http_scan http_scan_head(void)
{
    return (struct http_scan){.state = FIRST};
}

struct http_scan http_scan_trailer(void)
{
    return (struct http_scan){.state = LINE};
}

enum http_scan_result http_scan_take(struct http_scan *scan, const char *data, size_t len, size_t *ret_used)
{
    unsigned char state = scan->state;
    size_t i = 0;

    while (i < len && state != ENDED && state != FAILED)
        state = scan_steps[state][class_of((unsigned char)data[i++])];
    scan->state = state;
    *ret_used = i;
    return state == ENDED ? HTTP_SCAN_END : state == FAILED ? HTTP_SCAN_BAD : HTTP_SCAN_MORE;
}

/* --- What http-parser makes of it --- */

struct span {
    const char *at;
    size_t len;
};

struct field {
    struct span name, value;
};

struct reading {
    struct span target;
    struct field fields[HTTP_MAX_HEADERS + 1];
    size_t names, values, max;
    bool ended;
};

static int on_target(http_parser *parser, const char *at, size_t len)
{
    struct reading *reading = parser->data;

    reading->target = (struct span){at, len};
    return 0;
}

static int on_name(http_parser *parser, const char *at, size_t len)
{
    struct reading *reading = parser->data;

    if (reading->names == reading->max || reading->names != reading->values)
        return 1;
    reading->fields[reading->names++].name = (struct span){at, len};
    return 0;
}

static int on_value(http_parser *parser, const char *at, size_t len)
{
    struct reading *reading = parser->data;

    if (reading->values + 1 != reading->names) /* a second line of a folded value */
        return 1;
    reading->fields[reading->values++].value = (struct span){at, len};
    return 0;
}

static int on_end(http_parser *parser)
{
    struct reading *reading = parser->data;

    reading->ended = true;
    return 0;
}

static const http_parser_settings callbacks = {
    .on_url = on_target, .on_header_field = on_name, .on_header_value = on_value, .on_headers_complete = on_end};

static void begin_reading(http_parser *parser, struct reading *reading, size_t max)
{
    reading->target = (struct span){NULL, 0};
    reading->names = reading->values = 0;
    reading->max = max;
    reading->ended = false;
    http_parser_init(parser, HTTP_REQUEST);
    parser->data = reading;
}

/* --- Whether that is all there is --- */

struct cursor {
    char *at, *end;
};

static bool take(struct cursor *c, const char *text, size_t len)
{
    if ((size_t)(c->end - c->at) < len || memcmp(c->at, text, len) != 0)
        return false;
    c->at += len;
    return true;
}

static bool take_text(struct cursor *c, const char *text)
{
    return take(c, text, strlen(text));
}

/* What http-parser has found must begin right here. */
static bool take_span(struct cursor *c, const struct span *span)
{
    if (span->at != c->at || (size_t)(c->end - c->at) < span->len)
        return false;
    c->at += span->len;
    return true;
}

static void skip_spaces(struct cursor *c)
{
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\t'))
        c->at++;
}

/* "name: value CRLF". The separators become NULs, which the next line does not look at. */
static bool take_field(struct cursor *c, const struct field *field, struct http_header *ret)
{
    char *colon, *value, *end;

    if (!take_span(c, &field->name) || !take_text(c, ":"))
        return false;
    colon = c->at - 1;
    skip_spaces(c);
    value = end = c->at;
    if (field->value.len > 0) {
        if (!take_span(c, &field->value))
            return false;
        for (end = c->at; end > value && (end[-1] == ' ' || end[-1] == '\t'); end--)
            ;
    }
    if (!take_text(c, "\r\n"))
        return false;
    *colon = *end = '\0';
    *ret = (struct http_header){.name = field->name.at, .value = value};
    return true;
}

static bool take_fields(struct cursor *c, const struct reading *reading, struct http_header *ret, size_t *ret_count)
{
    for (size_t i = 0; i < reading->names; i++)
        if (!take_field(c, &reading->fields[i], &ret[i]))
            return false;
    *ret_count = reading->names;
    return take_text(c, "\r\n") && c->at == c->end;
}

/* "METHOD target HTTP/x.y CRLF" */
static bool take_line(struct cursor *c, const http_parser *parser, const struct reading *reading, struct http_line *ret,
                      char **ret_digits)
{
    const char *method = http_method_str((enum http_method)parser->method);
    char *target, *end;

    if (!take_text(c, method) || !take_text(c, " "))
        return false;
    target = c->at;
    if (!take_span(c, &reading->target))
        return false;
    end = c->at;
    if (!take_text(c, " HTTP/") || c->end - c->at < 3)
        return false;
    *ret_digits = c->at;
    c->at += 3;
    if (!take_text(c, "\r\n"))
        return false;
    *end = '\0';
    ret->method = method;
    ret->target = target;
    return true;
}

/* --- Heads --- */

static const struct http_refusal not_http = {400, "bad-request",
                                             "The request is not well-formed HTTP/1.1, or its method is not known."};
static const struct http_refusal not_header = {
    400, "bad-request", "The headers have a line that is not a header, or does not end in CR and LF."};
static const struct http_refusal too_many = {400, "too-many-headers", "The request has more than 63 headers."};
static const struct http_refusal bad_length = {400, "ambiguous-length",
                                               "The Content-Length header is not a number of bytes."};
static const struct http_refusal two_lengths = {
    400, "ambiguous-length",
    "The request has more than one Content-Length header, or both a Transfer-Encoding and a Content-Length."};
static const struct http_refusal bad_coding = {400, "bad-request",
                                               "The only transfer coding that this server knows is chunked."};
static const struct http_refusal bad_version = {505, "bad-request", "This server speaks HTTP/1.1."};

static const struct http_refusal *refusal_of(const http_parser *parser, const struct reading *reading)
{
    switch (HTTP_PARSER_ERRNO(parser)) {
    case HPE_INVALID_CONTENT_LENGTH:
        return &bad_length;
    case HPE_UNEXPECTED_CONTENT_LENGTH:
        return &two_lengths;
    case HPE_INVALID_TRANSFER_ENCODING:
        return &bad_coding;
    default:
        return reading->names == reading->max ? &too_many : reading->names > 0 ? &not_header : &not_http;
    }
}

static bool refuse(struct http_refusal *ret, const struct http_refusal *refusal)
{
    *ret = *refusal;
    return false;
}

bool http_head_split(char *text, size_t len, struct http_line *ret, struct http_header *ret_headers, size_t *ret_count,
                     struct http_refusal *ret_refusal)
{
    struct cursor cursor = {.at = text, .end = text + len};
    struct http_line line = {0};
    struct reading reading;
    http_parser parser;
    char *digits = NULL;

    take_text(&cursor, "\r\n"); /* RFC 9112, 2.2 */
    begin_reading(&parser, &reading, HTTP_MAX_HEADERS + 1);
    http_parser_execute(&parser, &callbacks, cursor.at, (size_t)(cursor.end - cursor.at));
    if (HTTP_PARSER_ERRNO(&parser) != HPE_OK)
        return refuse(ret_refusal, refusal_of(&parser, &reading));
    if (!reading.ended || parser.method == HTTP_CONNECT || /* nobody knows what follows it */
        !take_line(&cursor, &parser, &reading, &line, &digits))
        return refuse(ret_refusal, &not_http);
    if (memcmp(digits, "1.1", 3) != 0 && memcmp(digits, "1.0", 3) != 0)
        return refuse(ret_refusal, &bad_version);
    line.version = digits[2] == '1' ? "1.1" : "1.0";
    if (!take_fields(&cursor, &reading, ret_headers, ret_count))
        return refuse(ret_refusal, &not_header);
    *ret = line;
    return true;
}

/* --- Trailers --- */

bool http_trailer_split(char *text, size_t len, struct http_header *ret_headers, size_t max, size_t *ret_count)
{
    static const char *const forbidden[] = {"Content-Length", "Transfer-Encoding", "Host", "Trailer"};
    static const char line[] = "GET / HTTP/1.1\r\n"; /* http-parser knows fields only below a request line */
    struct cursor cursor = {.at = text, .end = text + len};
    struct reading reading;
    struct http_head head = {.version = "1.1", .headers = ret_headers};
    http_parser parser;

    begin_reading(&parser, &reading, max < HTTP_MAX_HEADERS ? max : HTTP_MAX_HEADERS);
    http_parser_execute(&parser, &callbacks, line, sizeof line - 1);
    http_parser_execute(&parser, &callbacks, text, len);
    if (HTTP_PARSER_ERRNO(&parser) != HPE_OK || !reading.ended ||
        !take_fields(&cursor, &reading, ret_headers, &head.count) || !http_fields_valid(&head))
        return false;
    for (size_t i = 0; i < ARRAY_SIZE(forbidden); i++)
        if (http_head_find(&head, forbidden[i]) != NULL)
            return false;
    *ret_count = head.count;
    return true;
}

/* --- Targets --- */

/* The rest of "http://host/path" when that is the host that the request is for. */
static char *skip_authority(char *target, const struct http_head *head)
{
    static const char *const schemes[] = {"http://", "https://"};
    const char *host = http_head_find(head, "Host");

    for (size_t i = 0; host != NULL && *host != '\0' && i < ARRAY_SIZE(schemes); i++) {
        size_t len = strlen(schemes[i]), host_len = strlen(host);
        if (strncasecmp(target, schemes[i], len) != 0 || strcspn(target + len, "/?") != host_len ||
            strncasecmp(target + len, host, host_len) != 0)
            continue;
        return target + len + host_len;
    }
    return NULL;
}

static bool is_plain(const char *target)
{
    for (; *target != '\0'; target++)
        if ((unsigned char)*target > 0x7E || *target == '#')
            return false;
    return true;
}

bool http_target_split(char *target, const struct http_head *head, const char **ret_path, const char **ret_query)
{
    char *path = *target == '/' ? target : skip_authority(target, head);

    if (path == NULL || !is_plain(path))
        return false;
    char *query = strchr(path, '?');
    if (query != NULL)
        *query++ = '\0';
    *ret_path = *path == '\0' ? "/" : path;
    *ret_query = query;
    return true;
}
