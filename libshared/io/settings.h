#ifndef WEIR_SETTINGS_H
#define WEIR_SETTINGS_H

#include "proto/config.h"

/* Reads settings from the environment, from ENV_FILE when that is set (lines NAME=value, # comments, optional quotes; an
 * unknown name or a broken line is an error naming file and line; the environment wins over the file), and secrets from
 * NAME_FILE (whole file, one trailing newline removed, at most 4 KiB; both NAME and NAME_FILE set is an error).
 * `overrides` (may be NULL when count is 0) come from the command line and win over everything. */
int settings_load(enum config_service service, const struct config_pair *overrides, size_t count, struct settings *ret,
                  struct err *e) __attribute__((warn_unused_result));

/* The part of main that all services share: understands --help, --version, --check-config and the given short options
 * (each sets a setting, like {'q', "QUEUE_MAX"}), loads the settings, sets up the log. Returns -1 to go on with *ret
 * filled, else the exit status to end with (0, or 2 for a bad setting or usage, already reported on stderr).
 * Anything else on the command line is refused before the settings are looked at. */
struct settings_option {
    char letter;         /* -q N */
    const char *setting; /* QUEUE_MAX */
    const char *flag;    /* or --reconcile-once: */
    bool *ret_given;     /* becomes true */
};
int settings_main(enum config_service service, const char *program, const char *usage_extra,
                  const struct settings_option *options, size_t option_count, int argc, char **argv,
                  struct settings *ret);

/* Opens the store that the settings name. */
struct store;
int settings_open_store(const struct settings *s, struct store **ret, struct err *e)
    __attribute__((warn_unused_result));
/* The same with a patience of one's own, see store_s3_options; 0: as usual. */
int settings_open_store_within(const struct settings *s, uint64_t stall_timeout_ms, unsigned attempts,
                               struct store **ret, struct err *e) __attribute__((warn_unused_result));

#endif
