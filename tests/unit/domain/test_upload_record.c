#include "domain/upload_record.h"

#include "../suite.h"
#include "base/mem.h"

#include <string.h>

static int parse(const char *text, struct upload_record *ret)
{
    struct err e = {0};

    return upload_record_parse(text, strlen(text), ret, &e);
}

START_TEST(a_record_is_read_as_it_was_written)
{
    struct store_part parts[] = {{.number = 1, .size_bytes = 8, .etag = "\"a\""},
                                 {.number = 7, .size_bytes = 3, .etag = "\"b\""}};
    const struct upload_record record = {
        .kind = UPLOAD_COMPLETING,
        .fence = 3,
        .writer = "0123456789abcdef",
        .written_ms = 1767323045678,
        .offset = 11,
        .part_size = 8,
        .reserved = 9,
        .upload_id = "u/1+x==",
        .parts = parts,
        .part_count = 2,
    };
    UPLOAD_RECORD_AUTO struct upload_record back = {0};
    BUF_AUTO struct buf text;
    struct err e = {0};

    buf_init(&text, UPLOAD_RECORD_MAX);
    ck_assert_int_eq(upload_record_write(&record, &text, &e), 0);
    ck_assert_int_eq(upload_record_parse(buf_cstr(&text), text.len, &back, &e), 0);
    ck_assert_int_eq(back.kind, record.kind);
    ck_assert_uint_eq(back.fence, record.fence);
    ck_assert_str_eq(back.writer, record.writer);
    ck_assert_uint_eq(back.written_ms, record.written_ms);
    ck_assert_uint_eq(back.offset, record.offset);
    ck_assert_uint_eq(back.part_size, record.part_size);
    ck_assert_uint_eq(back.reserved, record.reserved);
    ck_assert_str_eq(back.upload_id, record.upload_id);
    ck_assert_uint_eq(back.part_count, 2);
    ck_assert_uint_eq(back.parts[1].number, 7);
    ck_assert_uint_eq(back.parts[1].size_bytes, 3);
    ck_assert_str_eq(back.parts[1].etag, "\"b\"");
}
END_TEST

#define MEMBERS(kind, offset, reserved, id)                                                                            \
    "{\"kind\":\"" kind "\",\"fence\":1,\"writer\":\"0123456789abcdef\",\"written_ms\":1,\"offset\":" offset           \
    ",\"part_size\":8,\"reserved\":" reserved ",\"upload_id\":\"" id "\",\"parts\":"

static const struct {
    const char *text;
    int result;
} texts[] = {
    {MEMBERS("created", "0", "8", "") "[]}", 0},
    {MEMBERS("writer", "0", "8", "u") "[]}", 0},
    {MEMBERS("parts", "8", "8", "u") "[[1,8,\"e\"]]}", 0},
    {MEMBERS("parts", "16", "8", "u") "[[2,8,\"e\"]]}", 0}, /* the first part stands in an earlier record */
    {MEMBERS("completing", "11", "8", "u") "[[1,8,\"e\"],[2,3,\"e\"]]}", 0},
    {MEMBERS("completing", "5", "8", "") "[]}", 0}, /* a file under one part */
    {MEMBERS("closed", "8", "8", "u") "[]}", 0},
    {MEMBERS("closed", "0", "0", "") "[]}", 0},
    {MEMBERS("opened", "0", "8", "") "[]}", -ERR_INVALID},
    {MEMBERS("parts", "8", "8", "") "[[1,8,\"e\"]]}", -ERR_INVALID},                    /* without an upload */
    {MEMBERS("parts", "7", "8", "u") "[[1,8,\"e\"]]}", -ERR_INVALID},                   /* more than the offset */
    {MEMBERS("parts", "8", "8", "u") "[[9,8,\"e\"]]}", -ERR_INVALID},                   /* not reserved */
    {MEMBERS("parts", "16", "8", "u") "[[2,8,\"e\"],[1,8,\"e\"]]}", -ERR_INVALID},      /* not ascending */
    {MEMBERS("parts", "16", "8", "u") "[[1,8,\"e\"],[1,8,\"e\"]]}", -ERR_INVALID},      /* twice */
    {MEMBERS("completing", "16", "8", "u") "[[1,8,\"e\"],[2,3,\"e\"]]}", -ERR_INVALID}, /* a part is missing */
    {MEMBERS("parts", "8", "8", "u") "[[0,8,\"e\"]]}", -ERR_INVALID},
    {MEMBERS("parts", "8", "8", "u") "[[1,0,\"e\"]]}", -ERR_INVALID},
    {MEMBERS("parts", "8", "8", "u") "[[1,-8,\"e\"]]}", -ERR_INVALID},
    {MEMBERS("parts", "8", "8", "u") "[[1,8]]}", -ERR_INVALID},
    {MEMBERS("parts", "8", "8", "u") "[7]}", -ERR_INVALID},
    {MEMBERS("parts", "9223372036854775807", "8",
             "u") "[[1,9223372036854775807,\"e\"],[2,9223372036854775807,\"e\"],[3,2,\"e\"]]}",
     -ERR_INVALID}, /* 2^64 */
    {MEMBERS("created", "0", "10001", "") "[]}", -ERR_INVALID},
    {MEMBERS("created", "-1", "8", "") "[]}", -ERR_INVALID},
    {"{}", -ERR_INVALID},
    {"[]", -ERR_INVALID},
    {"", -ERR_INVALID},
};

START_TEST(records_are_checked)
{
    UPLOAD_RECORD_AUTO struct upload_record back = {0};

    ck_assert_msg(parse(texts[_i].text, &back) == texts[_i].result, "%s", texts[_i].text);
}
END_TEST

START_TEST(the_longest_record_fits)
{
    struct upload_record record = {.kind = UPLOAD_COMPLETING, .reserved = STORE_PART_MAX, .part_count = STORE_PART_MAX};
    UPLOAD_RECORD_AUTO struct upload_record back = {0};
    BUF_AUTO struct buf text;
    struct err e = {0};

    record.parts = mem_calloc(STORE_PART_MAX, sizeof *record.parts);
    for (unsigned i = 0; i < STORE_PART_MAX; i++) {
        record.parts[i] = (struct store_part){.number = i + 1, .size_bytes = UINT64_C(700) << 20};
        memset(record.parts[i].etag, '"', STORE_ETAG_SIZE - 1);
        record.offset += record.parts[i].size_bytes;
    }
    memset(record.upload_id, 'x', STORE_UPLOAD_ID_SIZE - 1);
    buf_init(&text, UPLOAD_RECORD_MAX);
    ck_assert_int_eq(upload_record_write(&record, &text, &e), 0);
    ck_assert_int_eq(upload_record_parse(buf_cstr(&text), text.len, &back, &e), 0);
    ck_assert_uint_eq(back.part_count, STORE_PART_MAX);
    upload_record_release(&record);
}
END_TEST

START_TEST(every_allocation_may_fail)
{
    const char *text = MEMBERS("parts", "8", "8", "u") "[[1,8,\"e\"]]}";

    for (uint64_t nth = 1;; nth++) {
        UPLOAD_RECORD_AUTO struct upload_record back = {0};
        mem_fail_from(nth);
        int r = parse(text, &back);
        mem_fail_from(0);
        if (r == 0)
            break;
        ck_assert_int_eq(r, -ERR_TEMPORARY);
        ck_assert_ptr_null(back.parts);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("upload_record");
    TCase *t = tcase_create("upload_record");

    tcase_add_test(t, a_record_is_read_as_it_was_written);
    tcase_add_loop_test(t, records_are_checked, 0, (int)ARRAY_SIZE(texts));
    tcase_add_test(t, the_longest_record_fits);
    tcase_add_test(t, every_allocation_may_fail);
    suite_add_tcase(suite, t);
    return run_suite(suite);
}
