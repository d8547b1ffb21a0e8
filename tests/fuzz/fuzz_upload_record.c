/* Records of an upload's log: whatever is taken is written and read again as the same. */

#include "base/buf.h"
#include "domain/upload_record.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_again(const struct upload_record *record)
{
    UPLOAD_RECORD_AUTO struct upload_record again = {0};
    BUF_AUTO struct buf text;
    struct err e = {0};

    buf_init(&text, UPLOAD_RECORD_MAX);
    if (upload_record_write(record, &text, &e) != 0)
        return; /* numbers over INT64_MAX don't come out of the parser; a record may still be too long */
    if (upload_record_parse(buf_cstr(&text), text.len, &again, &e) != 0 || again.kind != record->kind ||
        again.offset != record->offset || again.part_count != record->part_count ||
        strcmp(again.upload_id, record->upload_id) != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    UPLOAD_RECORD_AUTO struct upload_record record = {0};
    struct err e = {0};

    if (upload_record_parse((const char *)data, size, &record, &e) == 0)
        check_again(&record);
    else if (record.parts != NULL)
        abort(); /* results stay untouched on failure */
    return 0;
}
