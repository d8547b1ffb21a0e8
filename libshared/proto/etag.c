#include "etag.h"

#include <stddef.h>
#include <string.h>

/* One opaque-tag in quotes, without its W/; NULL when there is none. */
static const char *tag_end(const char *p)
{
    if (*p != '"')
        return NULL;
    const char *end = strchr(p + 1, '"');
    return end != NULL ? end + 1 : NULL;
}

bool etag_listed(const char *header, const char *etag)
{
    if (header == NULL)
        return false;
    if (strcmp(header, "*") == 0)
        return true;

    const char *p = header;
    while (*p != '\0') {
        p += strspn(p, " \t,");
        if (p[0] == 'W' && p[1] == '/')
            p += 2;
        const char *end = tag_end(p);
        if (end == NULL)
            return false;
        if ((size_t)(end - p) == strlen(etag) && memcmp(p, etag, (size_t)(end - p)) == 0)
            return true;
        p = end;
    }
    return false;
}

bool etag_allows_range(const char *header, const char *etag)
{
    return header == NULL || strcmp(header, etag) == 0;
}
