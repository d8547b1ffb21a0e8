#include "tus_metadata.h"

#include "base/mem.h"
#include "base64.h"

#include <stdbool.h>
#include <string.h>

struct pair {
    const char *key, *value; /* into the field */
    size_t key_len, value_len;
};

struct pairs {
    struct pair list[TUS_METADATA_KEYS];
    size_t count;
};

void tus_metadata_release(struct tus_metadata *m)
{
    if (m == NULL)
        return;
    mem_free(m->filename);
    mem_free(m->title);
    mem_free(m->description);
    *m = (struct tus_metadata){0};
}

/* --- Taking the field apart --- */

static bool is_key(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (s[i] <= ' ' || s[i] > '~' || s[i] == '=')
            return false;
    return len > 0;
}

static bool is_listed(const struct pairs *pairs, const struct pair *pair)
{
    for (size_t i = 0; i < pairs->count; i++)
        if (pairs->list[i].key_len == pair->key_len && memcmp(pairs->list[i].key, pair->key, pair->key_len) == 0)
            return true;
    return false;
}

/* "key", "key " or "key value"; white space around it is let pass. */
static int add_pair(struct pairs *pairs, const char *text, size_t len, struct err *e)
{
    unsigned char decoded[BASE64_DECODED_SIZE(TUS_METADATA_MAX) + 1];
    size_t decoded_len, indent = strspn(text, " "); /* ends at the comma at the latest */

    text += indent;
    len -= indent;
    const char *space = memchr(text, ' ', len);
    struct pair pair = {.key = text, .key_len = space != NULL ? (size_t)(space - text) : len, .value = ""};
    if (space != NULL) {
        pair.value = space + 1;
        pair.value_len = len - pair.key_len - 1;
        while (pair.value_len > 0 && pair.value[pair.value_len - 1] == ' ')
            pair.value_len--;
    }
    if (!is_key(pair.key, pair.key_len))
        return err_set(e, ERR_INVALID,
                       "Upload-Metadata must be pairs of an ASCII key and a value in base64, separated by one space, "
                       "and commas between them");
    if (!base64_decode(pair.value, pair.value_len, decoded, &decoded_len))
        return err_set(e, ERR_INVALID, "Upload-Metadata: the value of \"%.*s\" is not base64; encode it so",
                       (int)pair.key_len, pair.key);
    if (is_listed(pairs, &pair))
        return err_set(e, ERR_INVALID, "Upload-Metadata has \"%.*s\" twice; send it once", (int)pair.key_len, pair.key);
    if (pairs->count == TUS_METADATA_KEYS)
        return err_set(e, ERR_INVALID, "Upload-Metadata has more than %d keys; send fewer", TUS_METADATA_KEYS);
    pairs->list[pairs->count++] = pair;
    return 0;
}

static int split(const char *text, struct pairs *pairs, struct err *e)
{
    for (;;) {
        size_t len = strcspn(text, ",");
        int r = add_pair(pairs, text, len, e);
        if (r != 0 || text[len] == '\0')
            return r;
        text += len + 1;
    }
}

/* --- What of it is used --- */

/* Leaves *ret alone when the key is not there, or something was found already. */
static int take(const struct pairs *pairs, const char *key, char **ret, struct err *e)
{
    size_t len;

    for (size_t i = 0; i < pairs->count && *ret == NULL; i++) {
        const struct pair *pair = &pairs->list[i];
        if (pair->key_len != strlen(key) || memcmp(pair->key, key, pair->key_len) != 0)
            continue;
        MEM_AUTO char *value = mem_alloc(BASE64_DECODED_SIZE(pair->value_len) + 1);
        if (value == NULL)
            return err_set(e, ERR_TEMPORARY, "no memory for metadata");
        if (!base64_decode(pair->value, pair->value_len, value, &len) || memchr(value, '\0', len) != NULL)
            return err_set(e, ERR_INVALID, "Upload-Metadata: \"%s\" holds a NUL byte; leave it out", key);
        value[len] = '\0';
        *ret = value;
        value = NULL;
    }
    return 0;
}

int tus_metadata_parse(const char *text, struct tus_metadata *ret, struct err *e)
{
    struct tus_metadata m = {0};
    struct pairs pairs = {.count = 0};

    int r = 0;
    if (text != NULL && strlen(text) > TUS_METADATA_MAX)
        return err_set(e, ERR_TOO_LARGE, "Upload-Metadata has more than %d bytes; shorten it", TUS_METADATA_MAX);
    if (text != NULL && text[0] != '\0')
        r = split(text, &pairs, e);
    if (r == 0)
        r = take(&pairs, "filename", &m.filename, e);
    if (r == 0)
        r = take(&pairs, "name", &m.filename, e);
    if (r == 0)
        r = take(&pairs, "title", &m.title, e);
    if (r == 0)
        r = take(&pairs, "description", &m.description, e);
    if (r == 0)
        *ret = m;
    else
        tus_metadata_release(&m);
    return r;
}
