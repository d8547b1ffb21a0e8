#include "settings.h"

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"
#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ENV_FILE_MAX (64u << 10)
#define SECRET_MAX (4u << 10)

/* Every NAME=value found, the least important first. All strings are owned. */
struct found {
    char *name, *value, *origin;
};
struct sources {
    struct found *at;
    size_t count, cap;
};

static void release_sources(struct sources *s)
{
    for (size_t i = 0; i < s->count; i++) {
        mem_free(s->at[i].name);
        mem_free(s->at[i].value);
        mem_free(s->at[i].origin);
    }
    mem_free(s->at);
}

static int no_memory(struct err *e)
{
    return err_set(e, ERR_TEMPORARY, "no memory to read the settings");
}

static int add(struct sources *s, const char *name, size_t name_len, const char *value, size_t value_len,
               const char *origin, struct err *e)
{
    if (s->count == s->cap) {
        size_t cap = s->cap == 0 ? 32 : 2 * s->cap;
        struct found *grown = mem_resize(s->at, cap, sizeof *grown);
        if (grown == NULL)
            return no_memory(e);
        s->at = grown;
        s->cap = cap;
    }
    struct found *f = &s->at[s->count++];
    *f = (struct found){mem_strndup(name, name_len), mem_strndup(value, value_len), mem_strdup(origin)};
    return f->name == NULL || f->value == NULL || f->origin == NULL ? no_memory(e) : 0;
}

/* A whole file of text, at most what `out` holds. */
static int read_file(const char *path, struct buf *out, struct err *e)
{
    char block[4096];
    ssize_t n;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return err_set(e, ERR_INVALID, "%.200s: %s", path, strerror(errno));
    while ((n = read(fd, block, sizeof block)) > 0 || (n < 0 && errno == EINTR))
        if (n > 0)
            buf_append(out, block, (size_t)n);
    int failed = n < 0 ? errno : 0;
    close(fd);

    if (failed != 0)
        return err_set(e, ERR_INVALID, "%.200s: %s", path, strerror(failed));
    if (out->too_large)
        return err_set(e, ERR_INVALID, "%.200s: more than %zu bytes", path, out->max);
    if (out->failed)
        return no_memory(e);
    if (strlen(buf_cstr(out)) != out->len)
        return err_set(e, ERR_INVALID, "%.200s: holds a NUL byte", path);
    return 0;
}

static size_t trimmed(const char *s, size_t len)
{
    while (len > 0 && strchr(" \t\r", s[len - 1]) != NULL)
        len--;
    return len;
}

/* The value behind '=': "…" or '…' taken literally, or words up to a comment. False for anything after the quotes. */
static bool unquote(const char **value, size_t *len)
{
    const char *s = *value;

    if (*len > 0 && (*s == '"' || *s == '\'')) {
        const char *end = memchr(s + 1, *s, *len - 1);
        if (end == NULL)
            return false;
        const char *rest = end + 1;
        rest += strspn(rest, " \t");
        *value = s + 1;
        bool only_comment = rest >= s + *len || *rest == '#';
        *len = (size_t)(end - s - 1);
        return only_comment;
    }
    for (size_t i = 0; i < *len; i++)
        if (s[i] == '#' && (i == 0 || s[i - 1] == ' ' || s[i - 1] == '\t'))
            *len = i;
    *len = trimmed(s, *len);
    return true;
}

/* One line of an ENV_FILE. */
static int add_line(struct sources *s, const char *line, size_t len, const char *origin, struct err *e)
{
    char known[64];
    size_t blank = strspn(line, " \t");

    if (blank >= len || line[blank] == '#')
        return 0;
    line += blank;
    len -= blank;
    const char *equals = memchr(line, '=', len);
    if (equals == NULL)
        return err_set(e, ERR_INVALID, "%s: not of the form NAME=value", origin);
    size_t name_len = trimmed(line, (size_t)(equals - line));
    if (!str_format(known, sizeof known, "%.*s", (int)name_len, line) || !config_known(known))
        return err_set(e, ERR_INVALID, "%s: %.*s is not a setting", origin, (int)(name_len < 64 ? name_len : 64), line);
    const char *value = equals + 1;
    value += strspn(value, " \t");
    size_t value_len = value < line + len ? (size_t)(line + len - value) : 0;
    if (!unquote(&value, &value_len))
        return err_set(e, ERR_INVALID, "%s: quotes of %s do not match", origin, known);
    return add(s, line, name_len, value, value_len, origin, e);
}

static int add_env_file(struct sources *s, const char *path, struct err *e)
{
    BUF_AUTO struct buf text;
    char origin[300];
    unsigned number = 1;

    buf_init(&text, ENV_FILE_MAX);
    int r = read_file(path, &text, e);
    if (r != 0)
        return err_wrap(e, "ENV_FILE");
    const char *line = buf_cstr(&text);
    for (size_t len; *line != '\0'; line += len + (line[len] == '\n'), number++) {
        len = strcspn(line, "\n");
        str_format(origin, sizeof origin, "%.250s line %u", path, number);
        r = add_line(s, line, trimmed(line, len), origin, e);
        if (r != 0)
            return r;
    }
    return 0;
}

/* The environment's names that mean something to Weir, and TMPDIR, which gives SCRATCH_DIR its default. */
static int add_environment(struct sources *s, struct err *e)
{
    char name[64];

    for (char **variable = environ; *variable != NULL; variable++) {
        const char *equals = strchr(*variable, '=');
        if (equals == NULL || !str_format(name, sizeof name, "%.*s", (int)(equals - *variable), *variable))
            continue;
        if (!config_known(name) && strcmp(name, "TMPDIR") != 0)
            continue;
        int r = add(s, name, strlen(name), equals + 1, strlen(equals + 1), "environment", e);
        if (r != 0)
            return r;
    }
    return 0;
}

static const struct found *find_given(const struct sources *s, const char *name)
{
    for (size_t i = s->count; i > 0; i--)
        if (strcmp(s->at[i - 1].name, name) == 0 && s->at[i - 1].value[0] != '\0')
            return &s->at[i - 1];
    return NULL;
}

/* NAME_FILE=/path at `i` becomes NAME=<what the file holds>. */
static int read_secret(struct sources *s, size_t i, struct err *e)
{
    BUF_AUTO struct buf text;
    char name[64];

    buf_init(&text, SECRET_MAX);
    str_format(name, sizeof name, "%.*s", (int)(strlen(s->at[i].name) - strlen("_FILE")), s->at[i].name);
    if (find_given(s, name) != NULL)
        return err_set(e, ERR_INVALID, "%s and %s_FILE are both set: give one of them", name, name);
    int r = read_file(s->at[i].value, &text, e);
    if (r != 0)
        return err_wrap(e, "%s_FILE", name);
    size_t len = text.len;
    if (len > 0 && text.data[len - 1] == '\n')
        len--;
    if (len == 0)
        return err_set(e, ERR_INVALID, "%s_FILE: %.200s is empty", name, s->at[i].value);
    char *value = mem_strndup(text.data, len);
    if (value == NULL)
        return no_memory(e);
    mem_free(s->at[i].value);
    s->at[i].value = value;
    s->at[i].name[strlen(name)] = '\0';
    return 0;
}

static int read_secrets(struct sources *s, struct err *e)
{
    for (size_t i = 0; i < s->count; i++) {
        const struct found *f = &s->at[i];
        if (!str_ends(f->name, "_FILE") || f->value[0] == '\0' || find_given(s, f->name) != f)
            continue; /* given again by somebody more important */
        int r = read_secret(s, i, e);
        if (r != 0)
            return r;
    }
    return 0;
}

static int parse(enum config_service service, const struct sources *s, const struct config_pair *overrides,
                 size_t count, struct settings *ret, struct err *e)
{
    MEM_AUTO struct config_pair *pairs = mem_calloc(s->count + count, sizeof *pairs);

    if (pairs == NULL)
        return no_memory(e);
    for (size_t i = 0; i < s->count; i++)
        pairs[i] = (struct config_pair){s->at[i].name, s->at[i].value, s->at[i].origin};
    for (size_t i = 0; i < count; i++)
        pairs[s->count + i] = overrides[i];
    return config_parse(service, pairs, s->count + count, ret, e);
}

int settings_load(enum config_service service, const struct config_pair *overrides, size_t count, struct settings *ret,
                  struct err *e)
{
    __attribute__((cleanup(release_sources))) struct sources sources = {0};
    const char *env_file = getenv("ENV_FILE");
    int r;

    if (env_file != NULL && env_file[0] != '\0' && (r = add_env_file(&sources, env_file, e)) != 0)
        return r;
    if ((r = add_environment(&sources, e)) != 0 || (r = read_secrets(&sources, e)) != 0)
        return r;
    return parse(service, &sources, overrides, count, ret, e);
}

/* --- The part of main that all services share --- */

#define MAX_OVERRIDES 8

static const char *service_name(enum config_service service)
{
    return service == CONFIG_API ? "api" : service == CONFIG_WORKER ? "worker" : "play";
}

static int print_help(enum config_service service, const char *program, const char *usage_extra)
{
    BUF_AUTO struct buf text;

    buf_init(&text, ENV_FILE_MAX);
    buf_printf(&text,
               "Usage: %s [OPTION]...\n\n"
               "  --help           this text\n"
               "  --version        the version\n"
               "  --check-config   print the effective settings, secrets masked, and end\n"
               "%s\n"
               "Settings (environment, or lines NAME=value in the file that ENV_FILE names; a secret NAME also as\n"
               "NAME_FILE=/path of a file that holds it; an empty value counts as not set):\n",
               program, usage_extra == NULL ? "" : usage_extra);
    config_help(service, &text);
    return fputs(buf_cstr(&text), stdout) < 0 || fflush(stdout) != 0 ? 1 : 0;
}

static int print_settings(enum config_service service, const struct settings *s)
{
    BUF_AUTO struct buf text;

    buf_init(&text, ENV_FILE_MAX);
    config_dump(service, s, &text);
    return fputs(buf_cstr(&text), stdout) < 0 || fflush(stdout) != 0 ? 1 : 0;
}

static const char *setting_of(const char *arg, const struct settings_option *options, size_t count)
{
    if (arg[0] == '-' && arg[1] != '\0')
        for (size_t i = 0; i < count; i++)
            if (arg[1] == options[i].letter)
                return options[i].setting;
    return NULL;
}

static bool take_flag(const char *arg, const struct settings_option *options, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (options[i].flag != NULL && strcmp(arg, options[i].flag) == 0)
            return *options[i].ret_given = true;
    return false;
}

/* What the command line asks for. */
struct command {
    bool help, version, check;
    const char *unknown; /* the first argument that means nothing, or NULL */
    struct config_pair overrides[MAX_OVERRIDES];
    size_t override_count;
};

static int read_arguments(const struct settings_option *options, size_t option_count, int argc, char **argv,
                          struct command *ret, struct err *e)
{
    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i], *setting = setting_of(arg, options, option_count);
        if (strcmp(argv[i], "--help") == 0) {
            ret->help = true;
        } else if (strcmp(argv[i], "--version") == 0) {
            ret->version = true;
        } else if (strcmp(argv[i], "--check-config") == 0) {
            ret->check = true;
        } else if (setting != NULL) {
            const char *value = arg[2] != '\0' ? arg + 2 : i + 1 < argc ? argv[++i] : "";
            if (value[0] == '\0' || ret->override_count == MAX_OVERRIDES)
                return err_set(e, ERR_INVALID, "%.2s %s", arg,
                               value[0] == '\0' ? "needs a value" : "is given too often");
            ret->overrides[ret->override_count++] = (struct config_pair){setting, value, "command line"};
        } else if (!take_flag(arg, options, option_count) && ret->unknown == NULL) {
            ret->unknown = arg;
        }
    }
    return 0;
}

int settings_main(enum config_service service, const char *program, const char *usage_extra,
                  const struct settings_option *options, size_t option_count, int argc, char **argv,
                  struct settings *ret)
{
    struct command command = {0};
    struct err e;

    if (read_arguments(options, option_count, argc, argv, &command, &e) != 0) {
        fprintf(stderr, "%s: %s (--help lists the options)\n", program, e.text);
        return 2;
    }
    if (command.help)
        return print_help(service, program, usage_extra);
    if (command.version)
        return printf("%s %s\n", program, WEIR_VERSION) < 0 ? 1 : 0;
    if (command.unknown != NULL) {
        fprintf(stderr, "%s: unknown argument %s (--help lists the options)\n", program, command.unknown);
        return 2;
    }
    if (settings_load(service, command.overrides, command.override_count, ret, &e) != 0) {
        fprintf(stderr, "%s: %s\n", program, e.text);
        return 2;
    }
    if (command.check)
        return print_settings(service, ret);
    log_init(service_name(service), ret->log_level, ret->log_format);
    return -1;
}

int settings_open_store(const struct settings *s, struct store **ret, struct err *e)
{
    return settings_open_store_within(s, 0, 0, ret, e);
}

int settings_open_store_within(const struct settings *s, uint64_t stall_timeout_ms, unsigned attempts,
                               struct store **ret, struct err *e)
{
    if (s->store_dir[0] != '\0')
        return store_dir_new(s->store_dir, ret, e);
    return store_s3_new(&(struct store_s3_options){.endpoint = s->s3_endpoint,
                                                   .access_key = s->s3_access_key,
                                                   .secret_key = s->s3_secret_key,
                                                   .region = s->s3_region,
                                                   .connect_timeout_ms = stall_timeout_ms,
                                                   .stall_timeout_ms = stall_timeout_ms,
                                                   .attempts = attempts},
                        ret, e);
}
