#ifndef WEIR_ETAG_H
#define WEIR_ETAG_H

#include <stdbool.h>

/* Entity tags in conditions (RFC 9110, 8.8.3 and 13.1). Pure; safe from any thread. `etag` is in quotes. */

/* If-None-Match: whether the list names `etag`, by the weak comparison, or is "*". False when the header is NULL. */
bool etag_listed(const char *header, const char *etag);

/* If-Range: whether a range may be sent. True when the header is NULL; else it must be exactly this strong tag. A date
 * never matches: Weir's objects are told apart by their tags only. */
bool etag_allows_range(const char *header, const char *etag);

#endif
