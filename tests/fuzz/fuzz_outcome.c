/* Outcomes, videos' records and keys found by a LIST: what other processes have left in the store. */

#include "base/mem.h"
#include "domain/layout.h"
#include "domain/outcome.h"
#include "domain/video.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_outcome(const char *text, size_t len)
{
    OUTCOME_AUTO struct outcome o = {0};
    struct err e = {0};

    if (outcome_parse(text, len, &o, &e) != 0)
        return;
    if (o.generation == 0 || (o.state == VIDEO_COMPLETED) != (o.version[0] != '\0'))
        abort();
}

static void check_result(const char *text, size_t len)
{
    OUTCOME_AUTO struct outcome o = {0};
    BUF_AUTO struct buf out;
    struct err e = {0};

    buf_init(&out, OUTCOME_MAX);
    if (outcome_write_published("v_01arz3ndektsv4rrffq69g5fav", 1, "1-7-0123456789abcdef", text, len, &out, &e) == 0 &&
        outcome_parse(buf_cstr(&out), out.len, &o, &e) != 0)
        abort(); /* whatever the child measured, the outcome can be read */
}

static void check_record(const char *text, size_t len)
{
    static struct video_record record;
    BUF_AUTO struct buf out;
    struct err e = {0};

    buf_init(&out, VIDEO_RECORD_MAX);
    if (video_record_parse(text, len, &record, &e) == 0 && video_record_write(&record, &out, &e) != 0 &&
        e.kind != ERR_TOO_LARGE) /* control characters, which video_check_text refuses, take six bytes each */
        abort();
}

static void check_keys(const char *text)
{
    char id[ID_VIDEO_SIZE];
    uint64_t number;
    bool marker;

    if (layout_parse_numbered(LAYOUT_OUTCOMES, text, id, &number) && strcmp(layout_outcome(id, number).s, text) != 0)
        abort();
    if (layout_parse_record(text, id, &marker) &&
        strcmp(marker ? layout_deleted(id).s : layout_record(id).s, text) != 0)
        abort();
    if (layout_path_valid(text) && (strstr(text, "..") == text || strchr(text, '\\') != NULL || text[0] == '/'))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    MEM_AUTO char *text = mem_strndup((const char *)data, size);

    check_outcome((const char *)data, size);
    check_result((const char *)data, size);
    check_record((const char *)data, size);
    check_keys(text);
    return 0;
}
