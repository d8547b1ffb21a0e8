#include "upload_json.h"

#include "base/mem.h"
#include "base/str.h"

#include <string.h>

static const char *const kind_names[] = {
    [UPLOAD_CREATED] = "created",       [UPLOAD_WRITER] = "writer", [UPLOAD_BYTES] = "bytes",
    [UPLOAD_COMPLETING] = "completing", [UPLOAD_CLOSED] = "closed",
};
static const char *const origin_names[] = {[UPLOAD_FORM] = "form", [UPLOAD_TUS] = "tus", [UPLOAD_PARTIAL] = "partial"};

/* Index of a name; `count` when it is none of them. */
static size_t find_name(const char *name, const char *const *names, size_t count)
{
    for (size_t i = 0; name != NULL && i < count; i++)
        if (strcmp(name, names[i]) == 0)
            return i;
    return count;
}

bool upload_json_flag(const json_t *object, const char *key, bool *ret_ok)
{
    bool flag = false;

    if (json_object_get(object, key) != NULL && !json_get_bool(object, key, &flag))
        *ret_ok = false;
    return flag;
}

/* --- Members --- */

static bool put_length(json_t *object, uint64_t length)
{
    if (length == UPLOAD_LENGTH_UNKNOWN)
        return json_put_text(object, "length", NULL);
    return json_put_u64(object, "length", length);
}

static bool get_length(const json_t *object, uint64_t *ret)
{
    if (json_is_null(json_object_get(object, "length"))) {
        *ret = UPLOAD_LENGTH_UNKNOWN;
        return true;
    }
    return json_get_u64(object, "length", ret);
}

bool upload_json_put_members(json_t *object, const struct upload_record *r)
{
    return json_put_text(object, "kind", kind_names[r->kind]) && json_put_u64(object, "fence", r->fence) &&
           json_put_text(object, "writer", r->writer) && json_put_u64(object, "written_ms", r->written_ms) &&
           put_length(object, r->length) && json_put_u64(object, "offset", r->offset) &&
           json_put_u64(object, "in_parts", r->in_parts) && json_put_u64(object, "reserved", r->reserved) &&
           json_put_text(object, "upload_id", r->upload_id);
}

bool upload_json_get_members(const json_t *object, struct upload_record *ret)
{
    size_t kind = find_name(json_get_string(object, "kind"), kind_names, ARRAY_SIZE(kind_names));
    uint64_t reserved;

    if (kind == ARRAY_SIZE(kind_names) || !json_get_u64(object, "reserved", &reserved) || reserved > STORE_PART_MAX)
        return false;
    ret->kind = (enum upload_kind)kind;
    ret->reserved = (unsigned)reserved;
    return json_get_u64(object, "fence", &ret->fence) &&
           json_get_text(object, "writer", ret->writer, sizeof ret->writer) &&
           json_get_u64(object, "written_ms", &ret->written_ms) && get_length(object, &ret->length) &&
           json_get_u64(object, "offset", &ret->offset) && json_get_u64(object, "in_parts", &ret->in_parts) &&
           json_get_text(object, "upload_id", ret->upload_id, sizeof ret->upload_id);
}

/* --- Facts --- */

static bool text_fits(const char *text, size_t max)
{
    return text == NULL || (strnlen(text, max + 1) <= max && utf8_valid(text, strlen(text)));
}

const char *upload_json_facts_fault(const struct upload_facts *f)
{
    size_t hash = strlen(f->secret_hash);

    if (f->part_size == 0)
        return "no part size";
    if ((hash != 0 && hash != UPLOAD_HASH_SIZE - 1) || strspn(f->secret_hash, "0123456789abcdef") != hash)
        return "its secret's hash is none";
    if (!text_fits(f->client, UPLOAD_CLIENT_SIZE - 1) || !text_fits(f->metadata, UPLOAD_METADATA_MAX) ||
        !text_fits(f->concat, UPLOAD_CONCAT_MAX))
        return "a text of its creation is too long, or not UTF-8";
    return NULL;
}

void upload_facts_release(struct upload_facts *f)
{
    if (f == NULL)
        return;
    mem_free(f->metadata);
    mem_free(f->concat);
    f->metadata = f->concat = NULL;
}

bool upload_json_put_facts(json_t *object, const struct upload_facts *f)
{
    json_t *o = json_object();

    return json_object_set_new(object, "facts", o) == 0 && json_put_text(o, "origin", origin_names[f->origin]) &&
           json_put_u64(o, "created_ms", f->created_ms) && json_put_u64(o, "expires_ms", f->expires_ms) &&
           json_put_u64(o, "part_size", f->part_size) && json_put_text(o, "secret_hash", f->secret_hash) &&
           json_put_text(o, "client", f->client) && json_put_text(o, "metadata", f->metadata) &&
           json_put_text(o, "concat", f->concat);
}

/* A string or null. False: no memory; another type counts as wrong. */
static bool copy_text(const json_t *value, char **ret, bool *ok)
{
    if (json_is_null(value))
        return true;
    *ok = *ok && json_is_string(value);
    return !*ok || (*ret = mem_strdup(json_string_value(value))) != NULL;
}

int upload_json_get_facts(const json_t *object, struct upload_facts *ret, struct err *e)
{
    const json_t *o = json_object_get(object, "facts");
    size_t origin = find_name(json_get_string(o, "origin"), origin_names, ARRAY_SIZE(origin_names));
    struct upload_facts f = {.origin = (enum upload_origin)origin};

    bool ok = origin < ARRAY_SIZE(origin_names) && json_get_u64(o, "created_ms", &f.created_ms) &&
              json_get_u64(o, "expires_ms", &f.expires_ms) && json_get_u64(o, "part_size", &f.part_size) &&
              json_get_text(o, "secret_hash", f.secret_hash, sizeof f.secret_hash) &&
              json_get_text(o, "client", f.client, sizeof f.client);
    bool memory = !ok || (copy_text(json_object_get(o, "metadata"), &f.metadata, &ok) &&
                          copy_text(json_object_get(o, "concat"), &f.concat, &ok));
    ok = ok && (!memory || upload_json_facts_fault(&f) == NULL);
    if (memory && ok) {
        *ret = f;
        return 0;
    }
    upload_facts_release(&f);
    if (!memory)
        return err_set(e, ERR_TEMPORARY, "no memory for the facts of an upload");
    return err_set(e, ERR_INVALID, "a fact of the upload is missing or wrong");
}
