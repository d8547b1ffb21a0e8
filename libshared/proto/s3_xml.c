#include "s3_xml.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"

#include <expat.h>
#include <stddef.h>
#include <string.h>

#define PATH_SIZE 128
#define DEPTH_MAX 16

enum field_type { FIELD_TEXT, FIELD_NUMBER, FIELD_TIME, FIELD_TRUE };

/* Where an element's text goes: an offset into the answer or into the current item. */
struct field {
    const char *path;
    enum field_type type;
    bool of_item;
    size_t offset, size;
};

#define ANSWER(p, t, member)                                                                                           \
    {                                                                                                                  \
        p, t, false, offsetof(struct s3_answer, member), sizeof(((struct s3_answer *)0)->member)                       \
    }
#define ITEM(p, t, member)                                                                                             \
    {                                                                                                                  \
        p, t, true, offsetof(struct s3_item, member), sizeof(((struct s3_item *)0)->member)                            \
    }

static const struct field fields[] = {
    ANSWER("Error/Code", FIELD_TEXT, code),
    ANSWER("InitiateMultipartUploadResult/UploadId", FIELD_TEXT, upload_id),
    ANSWER("CompleteMultipartUploadResult/ETag", FIELD_TEXT, etag),
    ANSWER("CopyPartResult/ETag", FIELD_TEXT, etag),
    ANSWER("ListBucketResult/IsTruncated", FIELD_TRUE, truncated),
    ANSWER("ListBucketResult/NextContinuationToken", FIELD_TEXT, next_token),
    ITEM("ListBucketResult/Contents/Key", FIELD_TEXT, key),
    ITEM("ListBucketResult/Contents/Size", FIELD_NUMBER, size_bytes),
    ITEM("ListBucketResult/Contents/LastModified", FIELD_TIME, modified_ms),
    ANSWER("ListPartsResult/IsTruncated", FIELD_TRUE, truncated),
    ANSWER("ListPartsResult/NextPartNumberMarker", FIELD_NUMBER, next_part),
    ITEM("ListPartsResult/Part/PartNumber", FIELD_NUMBER, part_number),
    ITEM("ListPartsResult/Part/ETag", FIELD_TEXT, etag),
    ITEM("ListPartsResult/Part/Size", FIELD_NUMBER, size_bytes),
    ITEM("ListMultipartUploadsResult/Upload/Key", FIELD_TEXT, key),
    ITEM("ListMultipartUploadsResult/Upload/UploadId", FIELD_TEXT, upload_id),
};

static const char *const item_paths[] = {"ListBucketResult/Contents", "ListPartsResult/Part",
                                         "ListMultipartUploadsResult/Upload"};

struct parse {
    XML_Parser expat;
    struct s3_answer answer;
    struct s3_item item;
    char path[PATH_SIZE];    /* of the open element, "a/b/c" */
    char text[S3_TEXT_SIZE]; /* of the open element, when it is a leaf */
    size_t text_len, depth;
    s3_each *each;
    void *ctx;
    int result; /* first failure, or what `each` returned */
    struct err *e;
};

static void fail(struct parse *p, const char *why)
{
    if (p->result == 0)
        p->result = err_set(p->e, ERR_TEMPORARY, "bad answer: %s", why);
    XML_StopParser(p->expat, XML_FALSE);
}

static void on_start(void *ctx, const char *name, const char **attributes)
{
    struct parse *p = ctx;
    size_t used = strlen(p->path);
    (void)attributes;

    if (++p->depth > DEPTH_MAX || !str_format(p->path + used, PATH_SIZE - used, "%s%s", used > 0 ? "/" : "", name)) {
        fail(p, "too deep");
        return;
    }
    if (used == 0 && !str_copy(p->answer.root, sizeof p->answer.root, name))
        fail(p, "a name too long");
    p->text_len = 0;
}

static void on_text(void *ctx, const char *text, int len)
{
    struct parse *p = ctx;
    size_t room = S3_TEXT_SIZE - 1 - p->text_len;

    if ((size_t)len > room) {
        /* Texts that do not matter (an error's message) may be long; one that does is refused when it ends. */
        p->text_len = S3_TEXT_SIZE;
        return;
    }
    if (p->text_len < S3_TEXT_SIZE) {
        memcpy(p->text + p->text_len, text, (size_t)len);
        p->text_len += (size_t)len;
    }
}

static void store_field(struct parse *p, const struct field *f)
{
    char *to = (f->of_item ? (char *)&p->item : (char *)&p->answer) + f->offset;
    bool ok = p->text_len < S3_TEXT_SIZE;

    if (ok) {
        p->text[p->text_len] = '\0';
        switch (f->type) {
        case FIELD_TEXT:
            ok = str_copy(to, f->size, p->text);
            break;
        case FIELD_NUMBER:
            ok = str_to_u64(p->text, (uint64_t *)(void *)to);
            break;
        case FIELD_TIME:
            ok = clock_parse_rfc3339(p->text, (uint64_t *)(void *)to);
            break;
        case FIELD_TRUE:
            *(bool *)to = strcmp(p->text, "true") == 0;
            break;
        }
    }
    if (!ok)
        fail(p, f->path);
}

static void end_item(struct parse *p)
{
    if (p->each != NULL) {
        p->result = p->each(p->ctx, &p->item, p->e);
        if (p->result != 0)
            XML_StopParser(p->expat, XML_FALSE);
    }
    p->item = (struct s3_item){.size_bytes = 0};
}

static void on_end(void *ctx, const char *name)
{
    struct parse *p = ctx;
    (void)name;

    if (p->result != 0)
        return;
    for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
        if (strcmp(p->path, fields[i].path) == 0)
            store_field(p, &fields[i]);
    for (size_t i = 0; i < ARRAY_SIZE(item_paths) && p->result == 0; i++)
        if (strcmp(p->path, item_paths[i]) == 0)
            end_item(p);
    char *slash = strrchr(p->path, '/');
    *(slash != NULL ? slash : p->path) = '\0';
    p->depth--;
    p->text_len = S3_TEXT_SIZE; /* text between elements belongs to nothing */
}

static void on_doctype(void *ctx, const char *name, const char *sysid, const char *pubid, int has_internal_subset)
{
    (void)name, (void)sysid, (void)pubid, (void)has_internal_subset;
    fail(ctx, "a DOCTYPE");
}

static int parse_all(struct parse *p, const char *xml, size_t len)
{
    XML_SetUserData(p->expat, p);
    XML_SetElementHandler(p->expat, on_start, on_end);
    XML_SetCharacterDataHandler(p->expat, on_text);
    XML_SetStartDoctypeDeclHandler(p->expat, on_doctype);
    while (len > 0 && strchr(" \t\r\n", *xml) != NULL && *xml != '\0') { /* sent to keep a slow answer's line alive */
        xml++;
        len--;
    }
    if (len > INT32_MAX)
        return err_set(p->e, ERR_TEMPORARY, "bad answer: too long");
    enum XML_Status status = XML_Parse(p->expat, xml, (int)len, 1);
    if (p->result != 0)
        return p->result;
    if (status != XML_STATUS_OK)
        return err_set(p->e, ERR_TEMPORARY, "bad answer: %s", XML_ErrorString(XML_GetErrorCode(p->expat)));
    return 0;
}

int s3_xml_parse(const char *xml, size_t len, struct s3_answer *ret, s3_each *each, void *ctx, struct err *e)
{
    struct parse *p = mem_zalloc(sizeof *p); /* too large for the stack of a server's thread */
    XML_Parser expat = XML_ParserCreate("UTF-8");
    if (p == NULL || expat == NULL) {
        mem_free(p);
        if (expat != NULL)
            XML_ParserFree(expat);
        return err_set(e, ERR_TEMPORARY, "out of memory");
    }
    p->expat = expat;
    p->each = each;
    p->ctx = ctx;
    p->e = e;
    int r = parse_all(p, xml, len);
    if (r == 0)
        *ret = p->answer;
    XML_ParserFree(expat);
    mem_free(p);
    return r;
}

void s3_xml_escape(struct buf *out, const char *s)
{
    for (; *s != '\0'; s++) {
        switch (*s) {
        case '&':
            buf_puts(out, "&amp;");
            break;
        case '<':
            buf_puts(out, "&lt;");
            break;
        case '>':
            buf_puts(out, "&gt;");
            break;
        case '"':
            buf_puts(out, "&quot;");
            break;
        default:
            buf_putc(out, *s);
        }
    }
}
