#include "upload_record.h"

#include "base/mem.h"
#include "base/str.h"
#include "domain/upload_json.h"

#include <string.h>

void upload_record_release(struct upload_record *r)
{
    if (r == NULL)
        return;
    mem_free(r->parts);
    r->parts = NULL;
    r->part_count = 0;
    upload_facts_release(&r->facts);
}

bool upload_record_is_tail(const struct upload_record *r)
{
    return r->kind == UPLOAD_BYTES && r->tail_bytes > 0 && r->part_count == 0;
}

/* --- What a record may say --- */

static bool parts_fit(const struct upload_record *r)
{
    uint64_t total = 0;
    unsigned last = 0;

    for (size_t i = 0; i < r->part_count; i++) {
        const struct store_part *part = &r->parts[i];
        if (part->number <= last || part->number > r->reserved || part->size_bytes == 0 || part->etag[0] == '\0' ||
            __builtin_add_overflow(total, part->size_bytes, &total))
            return false;
        last = part->number;
    }
    if (r->part_count > 0 && r->upload_id[0] == '\0')
        return false;
    return r->kind == UPLOAD_COMPLETING ? total == r->in_parts : total <= r->in_parts;
}

/* What a record that is held adds is bytes beyond its offset. */
static bool tail_fits(const struct upload_record *r)
{
    uint64_t end = r->length != UPLOAD_LENGTH_UNKNOWN ? r->length : INT64_MAX;

    if (r->tail_bytes > 0 && r->kind == UPLOAD_CLOSED)
        return false;
    return r->held ? r->tail_bytes <= end - r->offset : r->tail_bytes <= r->offset - r->in_parts;
}

static bool holding_fits(const struct upload_record *r)
{
    if (r->held)
        return r->kind == UPLOAD_BYTES && !r->takes_held;
    return !r->takes_held || r->kind == UPLOAD_BYTES || r->kind == UPLOAD_COMPLETING;
}

static bool completing_fits(const struct upload_record *r)
{
    return (r->in_parts == 0 || r->in_parts == r->offset) &&
           (r->length == UPLOAD_LENGTH_UNKNOWN || r->length == r->offset);
}

/* NULL, or how the record contradicts itself. */
static const char *find_fault(const struct upload_record *r)
{
    if (r->reserved > STORE_PART_MAX || r->offset > INT64_MAX || r->in_parts > r->offset || r->offset > r->length)
        return "its numbers contradict each other";
    if (!parts_fit(r))
        return "its parts contradict it";
    if (!tail_fits(r))
        return "its tail has no place";
    if (!holding_fits(r))
        return "it holds what it can't";
    if (r->kind == UPLOAD_COMPLETING && !completing_fits(r))
        return "it is not complete";
    return NULL;
}

/* --- Writing --- */

/* A part is [number, bytes, "etag"]: there may be thousands. */
static bool append_part(json_t *parts, const struct store_part *part)
{
    json_t *entry = json_array();

    return json_array_append_new(parts, entry) == 0 &&
           json_array_append_new(entry, json_integer((json_int_t)part->number)) == 0 &&
           json_array_append_new(entry, json_integer((json_int_t)part->size_bytes)) == 0 &&
           json_array_append_new(entry, json_string(part->etag)) == 0;
}

static bool put_parts(json_t *o, const struct upload_record *r)
{
    json_t *parts = json_array();

    bool ok = json_object_set_new(o, "parts", parts) == 0;
    for (size_t i = 0; ok && i < r->part_count; i++)
        ok = append_part(parts, &r->parts[i]);
    return ok;
}

/* [bytes, checksum] */
static bool put_tail(json_t *o, const struct upload_record *r)
{
    json_t *tail = json_array();

    return json_object_set_new(o, "tail", tail) == 0 &&
           json_array_append_new(tail, json_integer((json_int_t)r->tail_bytes)) == 0 &&
           json_array_append_new(tail, json_integer((json_int_t)r->tail_crc32c)) == 0;
}

static bool fill(json_t *o, const struct upload_record *r)
{
    return upload_json_put_members(o, r) && (!r->held || json_put_bool(o, "held", true)) &&
           (!r->takes_held || json_put_bool(o, "takes_held", true)) && (r->tail_bytes == 0 || put_tail(o, r)) &&
           (r->part_count == 0 || put_parts(o, r)) &&
           (r->kind != UPLOAD_CREATED || upload_json_put_facts(o, &r->facts));
}

int upload_record_write(const struct upload_record *r, struct buf *out, struct err *e)
{
    JSON_AUTO json_t *o = json_object();
    const char *fault = find_fault(r);

    if (fault == NULL && r->kind == UPLOAD_CREATED)
        fault = upload_json_facts_fault(&r->facts);
    if (fault != NULL)
        return err_set(e, ERR_BUG, "upload record: %s", fault);
    if (!fill(o, r))
        return err_set(e, ERR_TEMPORARY, "upload record: no memory");
    int result = json_write(o, out, e);
    if (result != 0)
        return result;
    buf_putc(out, '\n');
    return buf_check(out, "upload record", e);
}

/* --- Reading --- */

static bool read_part(const json_t *entry, struct store_part *ret)
{
    const json_t *number = json_array_get(entry, 0), *size = json_array_get(entry, 1);
    const char *etag = json_string_value(json_array_get(entry, 2));

    if (json_array_size(entry) != 3 || !json_is_integer(number) || !json_is_integer(size) || etag == NULL ||
        json_integer_value(number) < 1 || json_integer_value(number) > STORE_PART_MAX || json_integer_value(size) < 1)
        return false;
    ret->number = (unsigned)json_integer_value(number);
    ret->size_bytes = (uint64_t)json_integer_value(size);
    return str_copy(ret->etag, sizeof ret->etag, etag);
}

static int read_parts(const json_t *o, struct upload_record *r, struct err *e)
{
    const json_t *parts = json_object_get(o, "parts");
    size_t count = json_array_size(parts);

    if (parts == NULL)
        return 0;
    if (count == 0 || count > STORE_PART_MAX)
        return err_set(e, ERR_INVALID, "%zu parts", count);
    r->parts = mem_calloc(count, sizeof *r->parts);
    if (r->parts == NULL)
        return err_set(e, ERR_TEMPORARY, "no memory for parts");
    for (; r->part_count < count; r->part_count++)
        if (!read_part(json_array_get(parts, r->part_count), &r->parts[r->part_count]))
            return err_set(e, ERR_INVALID, "part %zu is none", r->part_count);
    return 0;
}

static bool read_tail(const json_t *o, struct upload_record *r)
{
    const json_t *tail = json_object_get(o, "tail");
    const json_t *size = json_array_get(tail, 0), *crc = json_array_get(tail, 1);

    if (tail == NULL)
        return true;
    if (json_array_size(tail) != 2 || !json_is_integer(size) || !json_is_integer(crc) || json_integer_value(size) < 1 ||
        json_integer_value(crc) < 0 || json_integer_value(crc) > UINT32_MAX)
        return false;
    r->tail_bytes = (uint64_t)json_integer_value(size);
    r->tail_crc32c = (uint32_t)json_integer_value(crc);
    return true;
}

static int read_members(const json_t *o, struct upload_record *r, struct err *e)
{
    bool ok = true;

    r->held = upload_json_flag(o, "held", &ok);
    r->takes_held = upload_json_flag(o, "takes_held", &ok);
    if (!ok || !upload_json_get_members(o, r) || !read_tail(o, r))
        return err_set(e, ERR_INVALID, "a member is missing or wrong");
    int result = read_parts(o, r, e);
    if (result != 0)
        return result;
    const char *fault = find_fault(r);
    if (fault != NULL)
        return err_set(e, ERR_INVALID, "%s", fault);
    return r->kind == UPLOAD_CREATED ? upload_json_get_facts(o, &r->facts, e) : 0;
}

int upload_record_parse(const char *text, size_t len, struct upload_record *ret, size_t *ret_head, struct err *e)
{
    JSON_AUTO json_t *o = NULL;
    UPLOAD_RECORD_AUTO struct upload_record record = {0};
    const char *end = len > 0 ? memchr(text, '\n', len < UPLOAD_RECORD_MAX ? len : UPLOAD_RECORD_MAX) : NULL;

    if (end == NULL && len >= UPLOAD_RECORD_MAX)
        return err_set(e, ERR_INVALID, "upload record: its line is too long");
    if (end == NULL)
        return err_set(e, ERR_NOT_FOUND, "upload record: its line does not end within %zu bytes", len);
    int r = json_parse(text, (size_t)(end - text), UPLOAD_RECORD_MAX, "upload record", &o, e);
    if (r != 0)
        return r;
    r = read_members(o, &record, e);
    if (r != 0)
        return err_wrap(e, "upload record");
    *ret = record;
    *ret_head = (size_t)(end - text) + 1;
    record = (struct upload_record){0};
    return 0;
}
