#include "http_address.h"

#include "base/str.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

static const unsigned char mapped[12] = {[10] = 0xFF, [11] = 0xFF}; /* ::ffff:0:0/96 */

static bool parse_address(const char *text, unsigned char ret[16])
{
    unsigned char four[4];

    if (inet_pton(AF_INET6, text, ret) == 1)
        return true;
    if (inet_pton(AF_INET, text, four) != 1)
        return false;
    memcpy(ret, mapped, sizeof mapped);
    memcpy(ret + sizeof mapped, four, sizeof four);
    return true;
}

/* "10.0.0.0/8", "::1" */
static bool parse_network(const char *text, size_t len, struct http_network *ret)
{
    char address[HTTP_ADDRESS_SIZE];
    const char *slash = memchr(text, '/', len);
    size_t address_len = slash == NULL ? len : (size_t)(slash - text);
    uint64_t prefix;

    if (address_len >= sizeof address)
        return false;
    memcpy(address, text, address_len);
    address[address_len] = '\0';
    if (!parse_address(address, ret->address))
        return false;

    bool is_v4 = strchr(address, ':') == NULL;
    uint64_t bits = is_v4 ? 32 : 128;
    if (slash == NULL)
        prefix = bits;
    else if (!str_to_u64_n(slash + 1, len - address_len - 1, &prefix) || prefix > bits)
        return false;
    ret->prefix = (unsigned)(is_v4 ? prefix + 96 : prefix);
    return true;
}

int http_networks_parse(const char *list, struct http_networks *ret, struct err *e)
{
    struct http_networks networks = {0};

    for (list += strspn(list, " ,"); *list != '\0'; list += strspn(list, " ,")) {
        size_t len = strcspn(list, " ,");
        if (networks.count == HTTP_MAX_NETWORKS)
            return err_set(e, ERR_INVALID, "more than %d addresses or blocks", HTTP_MAX_NETWORKS);
        if (!parse_network(list, len, &networks.networks[networks.count]))
            return err_set(e, ERR_INVALID, "\"%.*s\" is neither an address nor a block such as 10.0.0.0/8",
                           len > 64 ? 64 : (int)len, list);
        networks.count++;
        list += len;
    }
    *ret = networks;
    return 0;
}

static bool holds(const struct http_network *network, const unsigned char address[16])
{
    unsigned whole = network->prefix / 8, bits = network->prefix % 8;

    if (memcmp(network->address, address, whole) != 0)
        return false;
    return bits == 0 || (network->address[whole] ^ address[whole]) >> (8 - bits) == 0;
}

bool http_networks_hold(const struct http_networks *networks, const char *address)
{
    unsigned char bytes[16];

    if (networks->count == 0 || !parse_address(address, bytes))
        return false;
    for (size_t i = 0; i < networks->count; i++)
        if (holds(&networks->networks[i], bytes))
            return true;
    return false;
}

void http_address_group(const char *address, char out[HTTP_ADDRESS_SIZE])
{
    unsigned char bytes[16];
    char text[HTTP_ADDRESS_SIZE];

    str_copy(out, HTTP_ADDRESS_SIZE, address);
    if (!parse_address(address, bytes))
        return;
    if (memcmp(bytes, mapped, sizeof mapped) == 0) {
        inet_ntop(AF_INET, bytes + sizeof mapped, out, HTTP_ADDRESS_SIZE);
        return;
    }
    memset(bytes + 8, 0, 8);
    inet_ntop(AF_INET6, bytes, text, sizeof text);
    str_format(out, HTTP_ADDRESS_SIZE, "%s/64", text);
}

/* One member of X-Forwarded-For: an address, perhaps with a port ("1.2.3.4:5", "[::1]:5"). False when it is none. */
static bool read_hop(const char *text, size_t len, char out[HTTP_ADDRESS_SIZE])
{
    char hop[HTTP_ADDRESS_SIZE + 8];
    unsigned char bytes[16];
    char *start = hop;

    while (len > 0 && (*text == ' ' || *text == '\t')) {
        text++;
        len--;
    }
    while (len > 0 && (text[len - 1] == ' ' || text[len - 1] == '\t'))
        len--;
    if (len >= sizeof hop)
        return false;
    memcpy(hop, text, len);
    hop[len] = '\0';

    if (*hop == '[') {
        start++;
        hop[strcspn(hop, "]")] = '\0';
    } else if (strchr(hop, '.') != NULL && strchr(hop, ':') == strrchr(hop, ':')) {
        hop[strcspn(hop, ":")] = '\0';
    }
    return parse_address(start, bytes) && str_copy(out, HTTP_ADDRESS_SIZE, start);
}

/* Walks one header's list from the right. False when the walk ends there. */
static bool walk_list(const struct http_networks *trusted, const char *list, char client[HTTP_ADDRESS_SIZE])
{
    size_t end = strlen(list);

    for (;;) {
        size_t start = end;
        while (start > 0 && list[start - 1] != ',')
            start--;
        if (!read_hop(list + start, end - start, client) || !http_networks_hold(trusted, client))
            return false;
        if (start == 0)
            return true;
        end = start - 1;
    }
}

void http_client_address(const struct http_networks *trusted, const char *peer, const struct http_head *head,
                         char out[HTTP_ADDRESS_SIZE])
{
    str_copy(out, HTTP_ADDRESS_SIZE, peer);
    if (!http_networks_hold(trusted, peer))
        return;
    for (size_t i = head->count; i-- > 0;)
        if (strcasecmp(head->headers[i].name, "X-Forwarded-For") == 0 &&
            !walk_list(trusted, head->headers[i].value, out))
            return;
}
