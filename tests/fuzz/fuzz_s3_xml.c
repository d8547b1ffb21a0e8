#include "proto/s3_xml.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

/* Whatever a server answers: no text leaves its array, and what is refused changes nothing. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int check_item(void *ctx, const struct s3_item *item, struct err *e)
{
    size_t *left = ctx;

    if (memchr(item->key, '\0', sizeof item->key) == NULL || memchr(item->etag, '\0', sizeof item->etag) == NULL)
        abort();
    return (*left)-- == 0 ? err_set(e, ERR_STALE, "enough") : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct s3_answer answer = {.root = "untouched"};
    size_t left = size > 0 ? data[0] : 0;
    struct err e;

    int r = s3_xml_parse((const char *)data, size, &answer, check_item, &left, &e);
    if (r != 0 && (strcmp(answer.root, "untouched") != 0 || (r != -ERR_TEMPORARY && r != -ERR_STALE)))
        abort();
    if (r == 0 && (memchr(answer.root, '\0', sizeof answer.root) == NULL || answer.root[0] == '\0' ||
                   memchr(answer.code, '\0', sizeof answer.code) == NULL))
        abort();

    /* What is escaped is read back as it was. */
    struct buf xml;
    buf_init(&xml, 1 << 20);
    char *text = mem_strndup((const char *)data, size < 400 ? size : 400);
    buf_puts(&xml, "<InitiateMultipartUploadResult><UploadId>");
    s3_xml_escape(&xml, text);
    buf_puts(&xml, "</UploadId></InitiateMultipartUploadResult>");
    if (s3_xml_parse(xml.data, xml.len, &answer, NULL, NULL, &e) == 0 && strchr(text, '\r') == NULL &&
        strcmp(answer.upload_id, text) != 0)
        abort();
    mem_free(text);
    buf_release(&xml);
    return 0;
}
