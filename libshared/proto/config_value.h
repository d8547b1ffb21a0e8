#ifndef WEIR_CONFIG_VALUE_H
#define WEIR_CONFIG_VALUE_H

#include "config.h"

/* The kinds of values that settings have: how a text becomes a member of struct settings and back. Part of config, apart
 * from it only so that its table can be read alone. Pure; safe from any thread. */

struct config_row;

struct config_kind {
    /* False: not what `allowed` says; the member is then undefined. `value` is never empty. */
    bool (*parse)(const struct config_row *row, const char *value, struct settings *s);
    void (*print)(const struct config_row *row, const struct settings *s, struct buf *out); /* so that parse takes it */
    const char *allowed;     /* "must be …", for people; NULL: made from the row's bounds */
    const char *choices[12]; /* of parse_choice: names in the order of the enum */
};

struct config_row {
    const char *name, *initial; /* initial: the default as text, "" for none */
    unsigned services;          /* who reads it: enum config_service, together */
    const struct config_kind *kind;
    size_t at; /* offset of the member */
    uint64_t min, max;
    const char *help;
};

extern const struct config_kind config_number, config_size, config_log_level, config_log_format, config_durability,
    config_sandbox_kind, config_preset, config_host, config_path, config_bucket, config_region, config_secret_text,
    config_store_url, config_endpoint, config_public_url, config_redis_port, config_addresses, config_origins,
    config_ladder;

/* What the row's value must be, for messages and --help. */
void config_allowed(const struct config_row *row, struct buf *out);

#endif
