#include "json.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"

#include <math.h>
#include <string.h>

/* jansson reports most failed allocations as syntax errors; this tells them apart. */
static _Thread_local bool out_of_memory;

static void *alloc_noting_failure(size_t size)
{
    void *p = mem_alloc(size);

    if (p == NULL)
        out_of_memory = true;
    return p;
}

/* Before main, as it must not change once jansson holds memory. */
__attribute__((constructor)) static void use_our_memory(void)
{
    json_set_alloc_funcs(alloc_noting_failure, mem_free);
}

/* Counted before parsing: jansson recurses, and its own limit of 2048 levels is more than a small stack holds. */
static bool too_deep(const char *text, size_t len)
{
    bool in_string = false;
    unsigned depth = 0;

    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '[' || c == '{') {
            if (++depth > JSON_MAX_DEPTH)
                return true;
        } else if ((c == ']' || c == '}') && depth > 0) {
            depth--;
        }
    }
    return false;
}

int json_parse(const char *text, size_t len, size_t max, const char *what, json_t **ret, struct err *e)
{
    if (len > max)
        return err_set(e, ERR_INVALID, "%s: %zu bytes of JSON, at most %zu are read", what, len, max);
    if (too_deep(text, len))
        return err_set(e, ERR_INVALID, "%s: JSON nested deeper than %d levels", what, JSON_MAX_DEPTH);

    json_error_t error;
    out_of_memory = false;
    json_t *value = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    if (value == NULL && out_of_memory)
        return err_set(e, ERR_TEMPORARY, "%s: no memory to parse JSON", what);
    if (value == NULL)
        return err_set(e, ERR_INVALID, "%s: not JSON: line %d: %s", what, error.line, error.text);
    *ret = value;
    return 0;
}

void json_auto(json_t **value)
{
    json_decref(*value);
}

static int append_dumped(const char *data, size_t len, void *out)
{
    buf_append(out, data, len);
    return 0;
}

int json_write(const json_t *value, struct buf *out, struct err *e)
{
    /* 15 digits are what a double keeps of a decimal number, so 41.2 stays "41.2" */
    size_t flags = JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15);

    if (json_dump_callback(value, append_dumped, out, flags) != 0)
        out->failed = true; /* half a text must not be used */
    return buf_check(out, "JSON", e);
}

bool json_get_u64(const json_t *object, const char *key, uint64_t *ret)
{
    const json_t *member = json_object_get(object, key);

    if (!json_is_integer(member) || json_integer_value(member) < 0)
        return false;
    *ret = (uint64_t)json_integer_value(member);
    return true;
}

bool json_get_double(const json_t *object, const char *key, double *ret)
{
    const json_t *member = json_object_get(object, key);

    if (!json_is_number(member))
        return false;
    *ret = json_number_value(member);
    return true;
}

bool json_get_bool(const json_t *object, const char *key, bool *ret)
{
    const json_t *member = json_object_get(object, key);

    if (!json_is_boolean(member))
        return false;
    *ret = json_is_true(member);
    return true;
}

bool json_get_text(const json_t *object, const char *key, char *out, size_t size)
{
    const char *text = json_get_string(object, key);

    if (text == NULL || strlen(text) >= size)
        return false;
    memcpy(out, text, strlen(text) + 1);
    return true;
}

const char *json_get_string(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

/* Takes `value` over; NULL, which jansson gives for no memory or no UTF-8, makes it fail. */
static bool put(json_t *object, const char *key, json_t *value)
{
    return json_object_set_new(object, key, value) == 0;
}

bool json_put_text(json_t *object, const char *key, const char *value)
{
    return put(object, key, value == NULL ? json_null() : json_string(value));
}

bool json_put_u64(json_t *object, const char *key, uint64_t value)
{
    return value <= INT64_MAX && put(object, key, json_integer((json_int_t)value));
}

bool json_put_double(json_t *object, const char *key, double value)
{
    if (!isfinite(value))
        return put(object, key, json_null());
    if (fabs(value) < 1e15) /* above, a double has no decimals to round */
        value = round(value * 1000) / 1000;
    return put(object, key, json_real(value));
}

bool json_put_bool(json_t *object, const char *key, bool value)
{
    return put(object, key, json_boolean(value));
}

bool json_put_time(json_t *object, const char *key, uint64_t wall_ms)
{
    char text[CLOCK_RFC3339_SIZE];

    clock_rfc3339(wall_ms, text);
    return put(object, key, json_string(text));
}

void json_quote(struct buf *out, const char *s)
{
    size_t left = strlen(s), step;
    uint32_t code;

    buf_putc(out, '"');
    for (; left > 0; s += step, left -= step) {
        step = utf8_decode(s, left, &code);
        if (step == 0) {
            step = 1;
            buf_puts(out, "\xEF\xBF\xBD"); /* U+FFFD, the replacement character */
        } else if (code == '"' || code == '\\') {
            buf_putc(out, '\\');
            buf_putc(out, (char)code);
        } else if (code < 0x20 || code == 0x7F) {
            buf_printf(out, "\\u%04x", (unsigned)code);
        } else {
            buf_append(out, s, step);
        }
    }
    buf_putc(out, '"');
}
