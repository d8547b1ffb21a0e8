#ifndef WEIR_HTTP_ADDRESS_H
#define WEIR_HTTP_ADDRESS_H

#include "base/err.h"
#include "http_request.h"

#include <stdbool.h>
#include <stddef.h>

/* Who a client is when proxies stand in between: X-Forwarded-For counts only as far as trusted peers wrote it. Pure. */

#define HTTP_ADDRESS_SIZE 46 /* INET6_ADDRSTRLEN */
#define HTTP_MAX_NETWORKS 32

struct http_network {
    unsigned char address[16]; /* IPv4 as ::ffff:a.b.c.d */
    unsigned prefix;           /* bits of it that count, 0–128 */
};

struct http_networks {
    size_t count;
    struct http_network networks[HTTP_MAX_NETWORKS];
};

/* Reads "10.0.0.0/8, ::1" (a list of addresses and blocks, empty is fine). ERR_INVALID naming the part that is none. */
int http_networks_parse(const char *list, struct http_networks *ret, struct err *e) __attribute__((warn_unused_result));

/* Whether an address (text, IPv4 or IPv6) lies in one of them. */
bool http_networks_hold(const struct http_networks *networks, const char *address);

/* Whom limits count as one: an IPv4 address ("192.0.2.1", from ::ffff:192.0.2.1 too), or of an IPv6 address the network of 64
 * bits ("2001:db8:1:2::/64"), in which one customer has as many addresses as they like. What is no address stays as it is. */
void http_address_group(const char *address, char out[HTTP_ADDRESS_SIZE]);

/* The client's address: the peer's own, unless that is trusted; then the last address in X-Forwarded-For (all lines of
 * it, in order) that is not, or the first when all are. Stops at anything that is not an address. */
void http_client_address(const struct http_networks *trusted, const char *peer, const struct http_head *head,
                         char out[HTTP_ADDRESS_SIZE]);

#endif
