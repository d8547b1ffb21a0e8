#include "url.h"

#include "base/str.h"

#include <http_parser.h>
#include <string.h>

static bool is_unreserved(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
           c == '_' || c == '~';
}

void url_encode(struct buf *out, const char *s, bool keep_slashes)
{
    for (; *s != '\0'; s++) {
        if (is_unreserved(*s) || (*s == '/' && keep_slashes))
            buf_putc(out, *s);
        else
            buf_printf(out, "%%%02X", (unsigned)(unsigned char)*s);
    }
}

static bool has(const struct http_parser_url *u, enum http_parser_url_fields field)
{
    return (u->field_set & (1u << field)) != 0;
}

static bool field_is(const char *text, const struct http_parser_url *u, enum http_parser_url_fields field,
                     const char *expected)
{
    return has(u, field) && u->field_data[field].len == strlen(expected) &&
           strncmp(text + u->field_data[field].off, expected, strlen(expected)) == 0;
}

int url_parse_endpoint(const char *text, struct url_endpoint *ret, struct err *e)
{
    struct url_endpoint found = {.tls = false};
    struct http_parser_url u;

    http_parser_url_init(&u);
    size_t len = strnlen(text, URL_AUTHORITY_SIZE);
    if (len == URL_AUTHORITY_SIZE || http_parser_parse_url(text, len, 0, &u) != 0)
        return err_set(e, ERR_INVALID, "not a URL like http://host:port");
    found.tls = field_is(text, &u, UF_SCHEMA, "https");
    if (!found.tls && !field_is(text, &u, UF_SCHEMA, "http"))
        return err_set(e, ERR_INVALID, "neither http:// nor https://");
    if (!has(&u, UF_HOST) || (has(&u, UF_PORT) && u.port == 0))
        return err_set(e, ERR_INVALID, "no host, or port 0");
    if (has(&u, UF_USERINFO) || has(&u, UF_QUERY) || has(&u, UF_FRAGMENT) ||
        (has(&u, UF_PATH) && !field_is(text, &u, UF_PATH, "/")))
        return err_set(e, ERR_INVALID, "has more than scheme, host and port");

    const char *host = text + u.field_data[UF_HOST].off;
    bool bracketed = host[-1] == '['; /* an IPv6 address; the parser leaves the brackets out */
    bool fits = str_format(found.authority, sizeof found.authority, bracketed ? "[%.*s]" : "%.*s",
                           (int)u.field_data[UF_HOST].len, host);
    size_t used = strlen(found.authority);
    if (fits && has(&u, UF_PORT) && u.port != (found.tls ? 443 : 80))
        fits = str_format(found.authority + used, sizeof found.authority - used, ":%u", (unsigned)u.port);
    if (!fits)
        return err_set(e, ERR_INVALID, "the host's name is too long");
    *ret = found;
    return 0;
}
