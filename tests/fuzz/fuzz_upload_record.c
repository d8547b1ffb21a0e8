/* Records of an upload's log: whatever is taken is written and read again as the same. */

#include "base/buf.h"
#include "domain/upload_record.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool same_text(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static bool same(const struct upload_record *a, const struct upload_record *b)
{
    for (size_t i = 0; i < a->part_count && a->part_count == b->part_count; i++)
        if (a->parts[i].number != b->parts[i].number || a->parts[i].size_bytes != b->parts[i].size_bytes ||
            strcmp(a->parts[i].etag, b->parts[i].etag) != 0)
            return false;
    return a->kind == b->kind && a->fence == b->fence && a->written_ms == b->written_ms && a->length == b->length &&
           a->offset == b->offset && a->in_parts == b->in_parts && a->reserved == b->reserved && a->held == b->held &&
           a->takes_held == b->takes_held && a->tail_bytes == b->tail_bytes && a->tail_crc32c == b->tail_crc32c &&
           a->part_count == b->part_count && strcmp(a->writer, b->writer) == 0 &&
           strcmp(a->upload_id, b->upload_id) == 0 && same_text(a->facts.metadata, b->facts.metadata) &&
           same_text(a->facts.concat, b->facts.concat) && strcmp(a->facts.client, b->facts.client) == 0;
}

static void check_again(const struct upload_record *record)
{
    UPLOAD_RECORD_AUTO struct upload_record again = {0};
    BUF_AUTO struct buf text;
    struct err e = {0};
    size_t head;

    buf_init(&text, UPLOAD_RECORD_MAX);
    int r = upload_record_write(record, &text, &e);
    if (r == -ERR_TOO_LARGE) /* escaped, it may be longer than it was */
        return;
    if (r != 0 || upload_record_parse(buf_cstr(&text), text.len, &again, &head, &e) != 0 || head != text.len ||
        !same(record, &again))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    UPLOAD_RECORD_AUTO struct upload_record record = {0};
    struct err e = {0};
    size_t head = SIZE_MAX;

    if (upload_record_parse((const char *)data, size, &record, &head, &e) == 0) {
        if (head > size || data[head - 1] != '\n')
            abort();
        check_again(&record);
    } else if (record.parts != NULL || record.facts.metadata != NULL || head != SIZE_MAX) {
        abort(); /* results stay untouched on failure */
    }
    return 0;
}
