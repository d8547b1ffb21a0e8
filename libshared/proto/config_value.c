#include "config_value.h"

#include "base/mem.h"
#include "base/str.h"

#include <arpa/inet.h>
#include <http_parser.h>
#include <inttypes.h>
#include <string.h>
#include <strings.h>

static void *member(const struct config_row *row, struct settings *s)
{
    return (char *)s + row->at;
}

static const void *const_member(const struct config_row *row, const struct settings *s)
{
    return (const char *)s + row->at;
}

/* --- Numbers and sizes --- */

static const struct {
    const char *name;
    uint64_t bytes;
} units[] = {{"GiB", 1u << 30}, {"MiB", 1u << 20}, {"KiB", 1u << 10}, {"", 1}};

static bool put_bounded(const struct config_row *row, uint64_t n, struct settings *s)
{
    if (n < row->min || n > row->max)
        return false;
    *(uint64_t *)member(row, s) = n;
    return true;
}

static bool parse_number(const struct config_row *row, const char *value, struct settings *s)
{
    uint64_t n;

    return str_to_u64(value, &n) && put_bounded(row, n, s);
}

static bool parse_size(const struct config_row *row, const char *value, struct settings *s)
{
    size_t digits = strspn(value, "0123456789");
    uint64_t n;

    if (!str_to_u64_n(value, digits, &n))
        return false;
    for (size_t i = 0; i < ARRAY_SIZE(units); i++)
        if (strcmp(value + digits, units[i].name) == 0)
            return !__builtin_mul_overflow(n, units[i].bytes, &n) && put_bounded(row, n, s);
    return false;
}

static void print_number(const struct config_row *row, const struct settings *s, struct buf *out)
{
    buf_printf(out, "%" PRIu64, *(const uint64_t *)const_member(row, s));
}

static void print_bytes(uint64_t n, struct buf *out)
{
    size_t i = 0;

    while (n == 0 ? units[i].bytes != 1 : n % units[i].bytes != 0)
        i++;
    buf_printf(out, "%" PRIu64 "%s", n / units[i].bytes, units[i].name);
}

static void print_size(const struct config_row *row, const struct settings *s, struct buf *out)
{
    print_bytes(*(const uint64_t *)const_member(row, s), out);
}

const struct config_kind config_number = {.parse = parse_number, .print = print_number};
const struct config_kind config_size = {.parse = parse_size, .print = print_size};

/* --- One of a few words --- */

_Static_assert(sizeof(enum log_level) == sizeof(unsigned) && sizeof(enum log_format) == sizeof(unsigned) &&
                   sizeof(enum config_sandbox) == sizeof(unsigned),
               "choices are stored as unsigned");

static bool find_choice(const struct config_row *row, const char *value, unsigned *ret)
{
    for (unsigned i = 0; row->kind->choices[i] != NULL; i++)
        if (strcmp(value, row->kind->choices[i]) == 0) {
            *ret = i;
            return true;
        }
    return false;
}

static bool parse_choice(const struct config_row *row, const char *value, struct settings *s)
{
    unsigned i;

    if (!find_choice(row, value, &i))
        return false;
    memcpy(member(row, s), &i, sizeof i);
    return true;
}

static void print_choice(const struct config_row *row, const struct settings *s, struct buf *out)
{
    unsigned i;

    memcpy(&i, const_member(row, s), sizeof i);
    buf_puts(out, row->kind->choices[i]);
}

/* The second choice is true. */
static bool parse_flag(const struct config_row *row, const char *value, struct settings *s)
{
    unsigned i;

    if (!find_choice(row, value, &i))
        return false;
    *(bool *)member(row, s) = i == 1;
    return true;
}

static void print_flag(const struct config_row *row, const struct settings *s, struct buf *out)
{
    buf_puts(out, row->kind->choices[*(const bool *)const_member(row, s) ? 1 : 0]);
}

/* --- Texts --- */

static bool put_text(const struct config_row *row, const char *value, struct settings *s)
{
    return str_copy(member(row, s), CONFIG_TEXT_SIZE, value);
}

static void print_text(const struct config_row *row, const struct settings *s, struct buf *out)
{
    buf_puts(out, const_member(row, s));
}

static void print_secret(const struct config_row *row, const struct settings *s, struct buf *out)
{
    const char *text = const_member(row, s);

    buf_puts(out, text[0] == '\0' ? "" : "***");
}

static bool parse_preset(const struct config_row *row, const char *value, struct settings *s)
{
    unsigned i;

    return find_choice(row, value, &i) && put_text(row, value, s);
}

static bool is_address(const char *s)
{
    unsigned char binary[sizeof(struct in6_addr)];

    return inet_pton(AF_INET, s, binary) == 1 || inet_pton(AF_INET6, s, binary) == 1;
}

static bool made_of(const char *s, const char *allowed)
{
    return s[strspn(s, allowed)] == '\0';
}

#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

static bool is_host(const char *s)
{
    bool name = made_of(s, LOWER UPPER DIGITS ".-_") && strchr(".-", s[0]) == NULL && strlen(s) <= 253;

    return name || is_address(s);
}

static bool parse_host(const struct config_row *row, const char *value, struct settings *s)
{
    return is_host(value) && put_text(row, value, s);
}

static bool is_plain(const char *s)
{
    for (const char *p = s; *p != '\0'; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7F)
            return false;
    return utf8_valid(s, strlen(s));
}

static bool parse_path(const struct config_row *row, const char *value, struct settings *s)
{
    bool initial = strcmp(value, row->initial) == 0; /* "$TMPDIR/…", resolved by config_parse */

    return (initial || value[0] == '/') && is_plain(value) && put_text(row, value, s);
}

static bool parse_bucket(const struct config_row *row, const char *value, struct settings *s)
{
    size_t len = strlen(value);

    return len >= 3 && len <= 63 && made_of(value, LOWER DIGITS ".-") && strchr(".-", value[0]) == NULL &&
           strchr(".-", value[len - 1]) == NULL && strstr(value, "..") == NULL && put_text(row, value, s);
}

static bool parse_region(const struct config_row *row, const char *value, struct settings *s)
{
    return made_of(value, LOWER UPPER DIGITS "-_") && put_text(row, value, s);
}

static bool parse_secret(const struct config_row *row, const char *value, struct settings *s)
{
    return is_plain(value) && put_text(row, value, s);
}

/* --- URLs --- */

/* http(s)://host[:port][/path] and nothing else. */
static bool split_url(const char *text, struct http_parser_url *ret)
{
    unsigned needed = 1u << UF_SCHEMA | 1u << UF_HOST, allowed = needed | 1u << UF_PORT | 1u << UF_PATH;

    http_parser_url_init(ret);
    if (!is_plain(text) || http_parser_parse_url(text, strlen(text), 0, ret) != 0)
        return false;
    if ((ret->field_set & needed) != needed || (ret->field_set & ~allowed) != 0)
        return false;
    return (ret->field_set & 1u << UF_PORT) == 0 || ret->port != 0;
}

static bool is_web(const char *text)
{
    return str_starts(text, "http://") || str_starts(text, "https://");
}

static bool parse_endpoint(const struct config_row *row, const char *value, struct settings *s)
{
    struct http_parser_url url;
    char text[CONFIG_TEXT_SIZE];
    bool bare = strstr(value, "://") == NULL; /* "minio", "minio:9000" */

    if (!str_format(text, sizeof text, "%s%s", bare ? "http://" : "", value) || !is_web(text) || !split_url(text, &url))
        return false;
    if (url.field_data[UF_PATH].len > 1) /* more than "/" */
        return false;
    if ((url.field_set & 1u << UF_PATH) != 0)
        text[url.field_data[UF_PATH].off] = '\0';
    bool add_port = bare && (url.field_set & 1u << UF_PORT) == 0;
    return str_format(member(row, s), CONFIG_TEXT_SIZE, "%s%s", text, add_port ? ":9000" : "");
}

static bool parse_public_url(const struct config_row *row, const char *value, struct settings *s)
{
    struct http_parser_url url;
    char *text = member(row, s);

    if (!is_web(value) || !split_url(value, &url) || !put_text(row, value, s))
        return false;
    for (size_t len = strlen(text); text[len - 1] == '/'; len--)
        text[len - 1] = '\0';
    return true;
}

static bool parse_store_url(const struct config_row *row, const char *value, struct settings *s)
{
    static const char file[] = "file://";

    (void)row;
    if (strcmp(value, "s3://") == 0) /* the S3 settings say the rest */
        return true;
    if (!str_starts(value, file) || value[sizeof file - 1] != '/' || !is_plain(value))
        return false;
    return str_copy(s->store_dir, sizeof s->store_dir, value + sizeof file - 1);
}

static void print_store_url(const struct config_row *row, const struct settings *s, struct buf *out)
{
    (void)row;
    buf_printf(out, "%s%s", s->store_dir[0] != '\0' ? "file://" : "s3://", s->store_dir);
}

/* Kubernetes sets REDIS_PORT=tcp://10.0.0.1:6379 for a service that is called redis. */
static bool parse_redis_port(const struct config_row *row, const char *value, struct settings *s)
{
    struct http_parser_url url;

    if (!str_starts(value, "tcp://"))
        return parse_number(row, value, s);
    if (!split_url(value, &url) || url.port == 0 || (url.field_set & 1u << UF_PATH) != 0)
        return false;
    s->redis_port = url.port;
    return str_format(s->redis_host, sizeof s->redis_host, "%.*s", (int)url.field_data[UF_HOST].len,
                      value + url.field_data[UF_HOST].off) &&
           is_host(s->redis_host);
}

/* --- Lists --- */

/* The next item of a comma-separated list without the spaces around it; *at is NULL after the last. False when it is
 * empty or too long. */
static bool next_item(const char **at, char *item, size_t size)
{
    const char *start = *at + strspn(*at, " ");
    size_t len = strcspn(start, ",");

    *at = start[len] == ',' ? start + len + 1 : NULL;
    while (len > 0 && start[len - 1] == ' ')
        len--;
    return len > 0 && str_format(item, size, "%.*s", (int)len, start);
}

/* "10.0.0.0/8", "fd00::/8", "192.0.2.1" */
static bool is_address_block(const char *item)
{
    char address[64];
    const char *slash = strchr(item, '/');
    size_t len = slash == NULL ? strlen(item) : (size_t)(slash - item);
    uint64_t bits = 0;

    if (!str_format(address, sizeof address, "%.*s", (int)len, item) || !is_address(address))
        return false;
    return slash == NULL || (str_to_u64(slash + 1, &bits) && bits <= (strchr(address, ':') == NULL ? 32 : 128));
}

/* A list of items that `is_good`, as the member without spaces. */
static bool parse_list(const struct config_row *row, const char *value, bool (*is_good)(const char *item),
                       struct settings *s)
{
    char item[CONFIG_TEXT_SIZE], *list = member(row, s);
    size_t used = 0;

    for (const char *at = value; at != NULL; used = strlen(list))
        if (!next_item(&at, item, sizeof item) || !is_good(item) ||
            !str_format(list + used, CONFIG_TEXT_SIZE - used, "%s%s", used == 0 ? "" : ",", item))
            return false;
    return true;
}

static bool parse_addresses(const struct config_row *row, const char *value, struct settings *s)
{
    return parse_list(row, value, is_address_block, s);
}

/* As browsers send them: in lower case, without a path, not even "/". */
static bool is_origin(const char *item)
{
    struct http_parser_url url;

    if (strcmp(item, "*") == 0)
        return true;
    return split_url(item, &url) && (url.field_set & 1u << UF_PATH) == 0 && strpbrk(item, UPPER) == NULL;
}

static bool parse_origins(const struct config_row *row, const char *value, struct settings *s)
{
    return strcmp(value, "none") == 0 ? put_text(row, value, s) : parse_list(row, value, is_origin, s);
}

static bool parse_ladder(const struct config_row *row, const char *value, struct settings *s)
{
    static const unsigned heights[CONFIG_MAX_RUNGS] = {4320, 2160, 1080, 720, 480, 360, 240};
    bool wanted[CONFIG_MAX_RUNGS] = {false};
    char item[8], *text = member(row, s);
    uint64_t height;
    size_t rungs = 0;

    for (const char *at = value; at != NULL;) {
        size_t i = 0;
        if (!next_item(&at, item, sizeof item) || !str_to_u64(item, &height) || height == 0)
            return false;
        while (i < CONFIG_MAX_RUNGS && heights[i] != height)
            i++;
        if (i == CONFIG_MAX_RUNGS || wanted[i])
            return false;
        wanted[i] = true;
    }
    memset(s->ladder, 0, sizeof s->ladder);
    text[0] = '\0';
    for (size_t i = 0; i < CONFIG_MAX_RUNGS; i++)
        if (wanted[i]) {
            size_t used = strlen(text);
            str_format(text + used, CONFIG_TEXT_SIZE - used, "%s%u", rungs == 0 ? "" : ",", heights[i]);
            s->ladder[rungs++] = heights[i];
        }
    return true;
}

/* --- The kinds --- */

const struct config_kind config_log_level = {
    .parse = parse_choice, .print = print_choice, .choices = {"debug", "info", "warn", "error"}};
const struct config_kind config_log_format = {
    .parse = parse_choice, .print = print_choice, .choices = {"text", "json"}};
const struct config_kind config_durability = {.parse = parse_flag, .print = print_flag, .choices = {"warn", "strict"}};
const struct config_kind config_sandbox_kind = {
    .parse = parse_choice, .print = print_choice, .choices = {"auto", "required", "off"}};
const struct config_kind config_preset = {.parse = parse_preset,
                                          .print = print_text,
                                          .choices = {"ultrafast", "superfast", "veryfast", "faster", "fast", "medium",
                                                      "slow", "slower", "veryslow", "placebo"}};
const struct config_kind config_host = {parse_host, print_text, "a host name or an IP address", {NULL}};
const struct config_kind config_path = {parse_path, print_text, "an absolute path", {NULL}};
const struct config_kind config_bucket = {
    parse_bucket,
    print_text,
    "a bucket name: 3 to 63 of a-z, 0-9, '.', '-', with a letter or digit at both ends",
    {NULL}};
const struct config_kind config_region = {parse_region, print_text, "a region's name", {NULL}};
const struct config_kind config_secret_text = {
    parse_secret, print_secret, "at most 511 bytes of UTF-8 without control characters", {NULL}};
const struct config_kind config_store_url = {
    parse_store_url, print_store_url, "file:///absolute/directory (taken literally), or s3://", {NULL}};
const struct config_kind config_endpoint = {
    parse_endpoint, print_text, "host, host:port or http(s)://host[:port]", {NULL}};
const struct config_kind config_public_url = {parse_public_url, print_text, "http(s)://host[:port][/path]", {NULL}};
const struct config_kind config_redis_port = {
    parse_redis_port, print_number, "a port from 1 to 65535, or tcp://host:port", {NULL}};
const struct config_kind config_addresses = {
    parse_addresses, print_text, "IP addresses or CIDR blocks, separated by commas", {NULL}};
const struct config_kind config_origins = {
    parse_origins, print_text, "*, none, or origins such as https://example.com, separated by commas", {NULL}};
const struct config_kind config_ladder = {
    parse_ladder, print_text, "some of 4320,2160,1080,720,480,360,240, each once", {NULL}};

void config_allowed(const struct config_row *row, struct buf *out)
{
    const struct config_kind *kind = row->kind;

    if (kind->allowed != NULL) {
        buf_puts(out, kind->allowed);
    } else if (kind->choices[0] != NULL) {
        for (size_t i = 0; kind->choices[i] != NULL; i++)
            buf_printf(out, "%s%s", i == 0 ? "" : kind->choices[i + 1] == NULL ? " or " : ", ", kind->choices[i]);
    } else if (kind == &config_size) {
        print_bytes(row->min, out);
        buf_puts(out, " to ");
        print_bytes(row->max, out);
        buf_puts(out, ", in bytes or with KiB, MiB, GiB");
    } else {
        buf_printf(out, "a whole number from %" PRIu64 " to %" PRIu64, row->min, row->max);
    }
}
