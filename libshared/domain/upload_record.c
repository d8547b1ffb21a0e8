#include "upload_record.h"

#include "base/mem.h"
#include "base/str.h"
#include "proto/json.h"

#include <string.h>

static const char *const kind_names[] = {"created", "writer", "parts", "completing", "closed"};

void upload_record_release(struct upload_record *r)
{
    if (r == NULL)
        return;
    mem_free(r->parts);
    r->parts = NULL;
    r->part_count = 0;
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

static bool fill(json_t *o, const struct upload_record *r)
{
    json_t *parts = json_array();
    bool ok = json_put_text(o, "kind", kind_names[r->kind]) && json_put_u64(o, "fence", r->fence) &&
              json_put_text(o, "writer", r->writer) && json_put_u64(o, "written_ms", r->written_ms) &&
              json_put_u64(o, "offset", r->offset) && json_put_u64(o, "part_size", r->part_size) &&
              json_put_u64(o, "reserved", r->reserved) && json_put_text(o, "upload_id", r->upload_id);

    for (size_t i = 0; ok && i < r->part_count; i++)
        ok = append_part(parts, &r->parts[i]);
    return json_object_set_new(o, "parts", parts) == 0 && ok;
}

int upload_record_write(const struct upload_record *r, struct buf *out, struct err *e)
{
    JSON_AUTO json_t *o = json_object();

    if (!fill(o, r))
        return err_set(e, ERR_TEMPORARY, "upload record: no memory");
    return json_write(o, out, e);
}

/* --- Reading --- */

static bool read_kind(const json_t *o, enum upload_kind *ret)
{
    const char *name = json_get_string(o, "kind");

    for (size_t i = 0; name != NULL && i < ARRAY_SIZE(kind_names); i++)
        if (strcmp(name, kind_names[i]) == 0) {
            *ret = (enum upload_kind)i;
            return true;
        }
    return false;
}

static bool read_reserved(const json_t *o, unsigned *ret)
{
    uint64_t n;

    if (!json_get_u64(o, "reserved", &n) || n > STORE_PART_MAX)
        return false;
    *ret = (unsigned)n;
    return true;
}

static bool read_part(const json_t *entry, struct store_part *ret)
{
    json_int_t number = json_integer_value(json_array_get(entry, 0));
    json_int_t size = json_integer_value(json_array_get(entry, 1));
    const char *etag = json_string_value(json_array_get(entry, 2));

    if (number < 1 || number > STORE_PART_MAX || size < 1 || etag == NULL ||
        !str_copy(ret->etag, sizeof ret->etag, etag))
        return false;
    ret->number = (unsigned)number;
    ret->size_bytes = (uint64_t)size;
    return true;
}

static bool read_parts(const json_t *parts, struct upload_record *r)
{
    for (size_t i = 0; i < json_array_size(parts); i++, r->part_count++)
        if (!read_part(json_array_get(parts, i), &r->parts[i]))
            return false;
    return true;
}

static bool parts_fit(const struct upload_record *r)
{
    uint64_t total = 0;
    unsigned last = 0;

    for (size_t i = 0; i < r->part_count; i++) {
        const struct store_part *part = &r->parts[i];
        if (part->number <= last || part->number > r->reserved ||
            __builtin_add_overflow(total, part->size_bytes, &total))
            return false;
        last = part->number;
    }
    if (r->part_count > 0 && r->upload_id[0] == '\0')
        return false;
    if (r->kind == UPLOAD_COMPLETING && r->upload_id[0] != '\0')
        return total == r->offset;
    return total <= r->offset;
}

static bool read_members(const json_t *o, struct upload_record *r)
{
    return read_kind(o, &r->kind) && json_get_u64(o, "fence", &r->fence) &&
           json_get_text(o, "writer", r->writer, sizeof r->writer) && json_get_u64(o, "written_ms", &r->written_ms) &&
           json_get_u64(o, "offset", &r->offset) && json_get_u64(o, "part_size", &r->part_size) &&
           read_reserved(o, &r->reserved) && json_get_text(o, "upload_id", r->upload_id, sizeof r->upload_id);
}

int upload_record_parse(const char *text, size_t len, struct upload_record *ret, struct err *e)
{
    JSON_AUTO json_t *o = NULL;
    UPLOAD_RECORD_AUTO struct upload_record record = {0};

    int r = json_parse(text, len, UPLOAD_RECORD_MAX, "upload record", &o, e);
    if (r != 0)
        return r;
    const json_t *parts = json_object_get(o, "parts");
    if (!read_members(o, &record) || json_array_size(parts) > STORE_PART_MAX)
        return err_set(e, ERR_INVALID, "upload record: a member is missing or wrong");
    record.parts = mem_calloc(json_array_size(parts), sizeof *record.parts);
    if (record.parts == NULL)
        return err_set(e, ERR_TEMPORARY, "upload record: no memory");
    if (!read_parts(parts, &record) || !parts_fit(&record))
        return err_set(e, ERR_INVALID, "upload record: its parts contradict it");
    *ret = record;
    record.parts = NULL;
    return 0;
}
