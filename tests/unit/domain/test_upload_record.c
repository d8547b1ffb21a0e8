#include "domain/upload_record.h"

#include "../suite.h"
#include "base/mem.h"
#include "base/str.h"

#include <string.h>

static int parse(const char *text, struct upload_record *ret)
{
    struct err e = {0};
    size_t head;

    return upload_record_parse(text, strlen(text), ret, &head, &e);
}

/* Writes it, and reads it again with the bytes of a tail behind it. */
static void there_and_back(const struct upload_record *r, struct upload_record *back)
{
    BUF_AUTO struct buf text;
    struct err e = {0};
    size_t head = 0;

    buf_init(&text, UPLOAD_RECORD_MAX + 16);
    ck_assert_msg(upload_record_write(r, &text, &e) == 0, "%s", e.text);
    size_t written = text.len;
    buf_puts(&text, "\n{tail\n");
    ck_assert_msg(upload_record_parse(buf_cstr(&text), text.len, back, &head, &e) == 0, "%s", e.text);
    ck_assert_uint_eq(head, written);
}

START_TEST(a_record_is_read_as_it_was_written)
{
    struct store_part parts[] = {{.number = 1, .size_bytes = 8, .etag = "\"a\""},
                                 {.number = 7, .size_bytes = 3, .etag = "\"b\""}};
    const struct upload_record record = {
        .kind = UPLOAD_BYTES,
        .fence = 3,
        .writer = "0123456789abcdef",
        .written_ms = 1767323045678,
        .length = UPLOAD_LENGTH_UNKNOWN,
        .offset = 20,
        .in_parts = 11,
        .reserved = 9,
        .upload_id = "u/1+x==",
        .takes_held = true,
        .tail_bytes = 9,
        .tail_crc32c = UINT32_MAX,
        .parts = parts,
        .part_count = 2,
    };
    UPLOAD_RECORD_AUTO struct upload_record back = {0};

    there_and_back(&record, &back);
    ck_assert_int_eq(back.kind, record.kind);
    ck_assert_uint_eq(back.fence, record.fence);
    ck_assert_str_eq(back.writer, record.writer);
    ck_assert_uint_eq(back.written_ms, record.written_ms);
    ck_assert_uint_eq(back.length, record.length);
    ck_assert_uint_eq(back.offset, record.offset);
    ck_assert_uint_eq(back.in_parts, record.in_parts);
    ck_assert_uint_eq(back.reserved, record.reserved);
    ck_assert_str_eq(back.upload_id, record.upload_id);
    ck_assert(!back.held);
    ck_assert(back.takes_held);
    ck_assert_uint_eq(back.tail_bytes, record.tail_bytes);
    ck_assert_uint_eq(back.tail_crc32c, record.tail_crc32c);
    ck_assert_uint_eq(back.part_count, 2);
    ck_assert_uint_eq(back.parts[1].number, 7);
    ck_assert_uint_eq(back.parts[1].size_bytes, 3);
    ck_assert_str_eq(back.parts[1].etag, "\"b\"");
}
END_TEST

START_TEST(facts_are_read_as_they_were_written)
{
    char metadata[] = "name Tml0YSBvbiB0b3VyLm1wNA==,wip", hash[UPLOAD_HASH_SIZE] = {0};
    struct upload_record record = {
        .kind = UPLOAD_CREATED,
        .length = 1 << 20,
        .facts = {.origin = UPLOAD_PARTIAL,
                  .created_ms = 1767323045678,
                  .expires_ms = 1767409445678,
                  .part_size = 8 << 20,
                  .client = "2001:db8::1",
                  .metadata = metadata},
    };
    UPLOAD_RECORD_AUTO struct upload_record back = {0};

    memset(hash, 'a', sizeof hash - 1);
    memcpy(record.facts.secret_hash, hash, sizeof hash);
    there_and_back(&record, &back);
    ck_assert_uint_eq(back.length, 1 << 20);
    ck_assert_int_eq(back.facts.origin, UPLOAD_PARTIAL);
    ck_assert_uint_eq(back.facts.created_ms, record.facts.created_ms);
    ck_assert_uint_eq(back.facts.expires_ms, record.facts.expires_ms);
    ck_assert_uint_eq(back.facts.part_size, 8 << 20);
    ck_assert_str_eq(back.facts.secret_hash, hash);
    ck_assert_str_eq(back.facts.client, "2001:db8::1");
    ck_assert_str_eq(back.facts.metadata, metadata);
    ck_assert_ptr_null(back.facts.concat);
}
END_TEST

#define MEMBERS(kind, length, offset, in_parts, reserved, id)                                                          \
    "{\"kind\":\"" kind "\",\"fence\":1,\"writer\":\"0123456789abcdef\",\"written_ms\":1,\"length\":" length           \
    ",\"offset\":" offset ",\"in_parts\":" in_parts ",\"reserved\":" reserved ",\"upload_id\":\"" id "\""
#define NO_PARTS(kind, length, offset) MEMBERS(kind, length, offset, "0", "0", "")
#define FACTS(size, hash, client, metadata)                                                                            \
    ",\"facts\":{\"origin\":\"tus\",\"created_ms\":1,\"expires_ms\":2,\"part_size\":" size ",\"secret_hash\":\"" hash  \
    "\",\"client\":\"" client "\",\"metadata\":" metadata ",\"concat\":null}"
#define HASH "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static const struct {
    const char *text;
    int result;
} texts[] = {
    {NO_PARTS("created", "null", "0") FACTS("8", "", "::1", "null") "}\n", 0},
    {NO_PARTS("created", "10", "0") FACTS("8", HASH, "::1", "\"\"") "}\n", 0},
    {NO_PARTS("created", "10", "4") FACTS("8", HASH, "::1", "\"\"") ",\"tail\":[4,7]}\n", 0},
    {MEMBERS("writer", "null", "0", "0", "8", "u") "}\n", 0},
    {MEMBERS("bytes", "null", "8", "8", "8", "u") ",\"parts\":[[1,8,\"e\"]]}\n", 0},
    {MEMBERS("bytes", "null", "16", "16", "8", "u") ",\"parts\":[[2,8,\"e\"]]}\n", 0}, /* the first stands before */
    {MEMBERS("bytes", "null", "11", "8", "8", "u") ",\"tail\":[3,0],\"parts\":[[1,8,\"e\"]]}\n", 0},
    {NO_PARTS("bytes", "null", "8") ",\"tail\":[8,4294967295]}\n", 0},
    {NO_PARTS("bytes", "null", "0") ",\"held\":true,\"tail\":[8,1]}\n", 0},
    {NO_PARTS("bytes", "8", "0") ",\"held\":true,\"tail\":[8,1]}\n", 0},
    {NO_PARTS("bytes", "8", "0") ",\"held\":true}\n", 0},
    {NO_PARTS("bytes", "8", "8") ",\"takes_held\":true}\n", 0},
    {NO_PARTS("bytes", "8", "0") ",\"unheard\":{\"of\":true}}\n", 0},
    {MEMBERS("completing", "11", "11", "11", "8", "u") ",\"parts\":[[1,8,\"e\"],[2,3,\"e\"]]}\n", 0},
    {NO_PARTS("completing", "5", "5") "}\n", 0}, /* a file under one part */
    {NO_PARTS("completing", "null", "5") ",\"takes_held\":true,\"tail\":[2,1]}\n", 0},
    {NO_PARTS("completing", "0", "0") "}\n", 0},
    {MEMBERS("closed", "null", "9", "8", "8", "u") "}\n", 0},
    {NO_PARTS("closed", "0", "0") "}\n", 0},

    {NO_PARTS("opened", "null", "0") "}\n", -ERR_INVALID},
    {NO_PARTS("created", "null", "0") "}\n", -ERR_INVALID}, /* without facts */
    {NO_PARTS("created", "null", "0") FACTS("0", "", "::1", "null") "}\n", -ERR_INVALID},
    {NO_PARTS("created", "null", "0") FACTS("8", "abc", "::1", "null") "}\n", -ERR_INVALID},
    {NO_PARTS("created", "null", "0") FACTS("8", "x" HASH, "::1", "null") "}\n", -ERR_INVALID},
    {NO_PARTS("created", "null", "0") FACTS("8", HASH, HASH, "null") "}\n", -ERR_INVALID}, /* a client too long */
    {NO_PARTS("created", "null", "0") FACTS("8", HASH, "::1", "7") "}\n", -ERR_INVALID},
    {NO_PARTS("created", "null", "0") ",\"facts\":[]}\n", -ERR_INVALID},
    {MEMBERS("bytes", "null", "8", "8", "8", "") ",\"parts\":[[1,8,\"e\"]]}\n", -ERR_INVALID},  /* without an upload */
    {MEMBERS("bytes", "null", "8", "7", "8", "u") ",\"parts\":[[1,8,\"e\"]]}\n", -ERR_INVALID}, /* more than in_parts */
    {MEMBERS("bytes", "null", "8", "9", "8", "u") "}\n", -ERR_INVALID},                         /* … than offset */
    {MEMBERS("bytes", "7", "8", "8", "8", "u") "}\n", -ERR_INVALID},                            /* … than length */
    {MEMBERS("bytes", "null", "8", "8", "8", "u") ",\"parts\":[[9,8,\"e\"]]}\n", -ERR_INVALID}, /* not reserved */
    {MEMBERS("bytes", "null", "16", "16", "8", "u") ",\"parts\":[[2,8,\"e\"],[1,8,\"e\"]]}\n", -ERR_INVALID},
    {MEMBERS("bytes", "null", "16", "16", "8", "u") ",\"parts\":[[1,8,\"e\"],[1,8,\"e\"]]}\n", -ERR_INVALID},
    {MEMBERS("bytes", "null", "8", "8", "8", "u") ",\"parts\":[]}\n", -ERR_INVALID},
    {MEMBERS("bytes", "null", "8", "8", "8", "u") ",\"parts\":{}}\n", -ERR_INVALID},
    {MEMBERS("bytes", "null", "8", "8", "8", "u") ",\"parts\":[[0,8,\"e\"]]}\n", -ERR_INVALID},
    {MEMBERS("bytes", "null", "8", "8", "8", "u") ",\"parts\":[[1,0,\"e\"]]}\n", -ERR_INVALID},
    {MEMBERS("bytes", "null", "8", "8", "8", "u") ",\"parts\":[[1,-8,\"e\"]]}\n", -ERR_INVALID},
    {MEMBERS("bytes", "null", "8", "8", "8", "u") ",\"parts\":[[1.0,8,\"e\"]]}\n", -ERR_INVALID},
    {MEMBERS("bytes", "null", "8", "8", "8", "u") ",\"parts\":[[1,8,\"\"]]}\n", -ERR_INVALID},
    {MEMBERS("bytes", "null", "8", "8", "8", "u") ",\"parts\":[[1,8]]}\n", -ERR_INVALID},
    {MEMBERS("bytes", "null", "8", "8", "8", "u") ",\"parts\":[[1,8,\"e\",9]]}\n", -ERR_INVALID},
    {MEMBERS("bytes", "null", "8", "8", "8", "u") ",\"parts\":[7]}\n", -ERR_INVALID},
    {MEMBERS("bytes", "null", "9223372036854775807", "9223372036854775807", "8",
             "u") ",\"parts\":[[1,9223372036854775807,\"e\"],[2,9223372036854775807,\"e\"],[3,2,\"e\"]]}\n",
     -ERR_INVALID},                                                                     /* 2^64 */
    {MEMBERS("bytes", "null", "11", "8", "8", "u") ",\"tail\":[4,0]}\n", -ERR_INVALID}, /* begins before in_parts */
    {NO_PARTS("bytes", "null", "8") ",\"tail\":[8,4294967296]}\n", -ERR_INVALID},
    {NO_PARTS("bytes", "null", "8") ",\"tail\":[8,-1]}\n", -ERR_INVALID},
    {NO_PARTS("bytes", "null", "8") ",\"tail\":[0,1]}\n", -ERR_INVALID},
    {NO_PARTS("bytes", "null", "8") ",\"tail\":[8]}\n", -ERR_INVALID},
    {NO_PARTS("bytes", "null", "8") ",\"tail\":8}\n", -ERR_INVALID},
    {NO_PARTS("bytes", "8", "1") ",\"held\":true,\"tail\":[8,1]}\n", -ERR_INVALID}, /* ends behind the length */
    {NO_PARTS("bytes", "null", "1") ",\"held\":true,\"tail\":[9223372036854775807,1]}\n", -ERR_INVALID},
    {NO_PARTS("bytes", "null", "8") ",\"held\":1}\n", -ERR_INVALID},
    {NO_PARTS("bytes", "null", "8") ",\"held\":true,\"takes_held\":true}\n", -ERR_INVALID},
    {NO_PARTS("writer", "null", "8") ",\"held\":true}\n", -ERR_INVALID},
    {NO_PARTS("writer", "null", "8") ",\"takes_held\":true}\n", -ERR_INVALID},
    {NO_PARTS("closed", "null", "8") ",\"tail\":[8,1]}\n", -ERR_INVALID},
    {MEMBERS("completing", "16", "16", "16", "8", "u") ",\"parts\":[[1,8,\"e\"],[2,3,\"e\"]]}\n", -ERR_INVALID},
    {MEMBERS("completing", "16", "16", "11", "8", "u") ",\"parts\":[[1,8,\"e\"],[2,3,\"e\"]]}\n", -ERR_INVALID},
    {MEMBERS("completing", "11", "11", "11", "8", "u") "}\n", -ERR_INVALID}, /* parts are missing */
    {NO_PARTS("completing", "9", "8") "}\n", -ERR_INVALID},
    {MEMBERS("bytes", "null", "0", "0", "10001", "") "}\n", -ERR_INVALID},
    {NO_PARTS("bytes", "null", "-1") "}\n", -ERR_INVALID},
    {NO_PARTS("bytes", "-1", "0") "}\n", -ERR_INVALID},
    {NO_PARTS("bytes", "\"8\"", "0") "}\n", -ERR_INVALID},
    {NO_PARTS("bytes", "null", "0") ",\"kind\":\"closed\"}\n", -ERR_INVALID}, /* twice */
    {"{}\n", -ERR_INVALID},
    {"[]\n", -ERR_INVALID},
    {"\n", -ERR_INVALID},
    {"", -ERR_NOT_FOUND},
    {NO_PARTS("bytes", "null", "8") "}", -ERR_NOT_FOUND}, /* no line end yet */
};

START_TEST(records_are_checked)
{
    UPLOAD_RECORD_AUTO struct upload_record back = {0};
    int got = parse(texts[_i].text, &back);

    ck_assert_msg(got == texts[_i].result, "%d instead of %d: %s", got, texts[_i].result, texts[_i].text);
}
END_TEST

/* What could not be read is not written. */
START_TEST(a_record_that_contradicts_itself_is_not_written)
{
    static const struct upload_record wrong[] = {
        {.kind = UPLOAD_BYTES, .length = 8, .offset = 9},
        {.kind = UPLOAD_BYTES, .length = 8, .offset = 7, .in_parts = 8},
        {.kind = UPLOAD_BYTES, .length = UPLOAD_LENGTH_UNKNOWN, .offset = UINT64_MAX},
        {.kind = UPLOAD_BYTES, .length = 8, .offset = 4, .tail_bytes = 5},
        {.kind = UPLOAD_BYTES, .length = 8, .offset = 4, .tail_bytes = 5, .held = true},
        {.kind = UPLOAD_COMPLETING, .length = 8, .offset = 4},
        {.kind = UPLOAD_CREATED, .length = 8},
        {.kind = UPLOAD_BYTES, .reserved = STORE_PART_MAX + 1},
    };

    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        BUF_AUTO struct buf text;
        struct err e = {0};

        buf_init(&text, UPLOAD_RECORD_MAX);
        ck_assert_msg(upload_record_write(&wrong[i], &text, &e) == -ERR_BUG, "record %zu", i);
        ck_assert_uint_eq(text.len, 0);
    }
}
END_TEST

START_TEST(only_bytes_without_parts_are_nothing_but_a_tail)
{
    struct upload_record r = {.kind = UPLOAD_BYTES, .tail_bytes = 1};

    ck_assert(upload_record_is_tail(&r));
    r.held = true;
    ck_assert(upload_record_is_tail(&r));
    r.part_count = 1;
    ck_assert(!upload_record_is_tail(&r));
    r = (struct upload_record){.kind = UPLOAD_WRITER, .tail_bytes = 1};
    ck_assert(!upload_record_is_tail(&r));
    r = (struct upload_record){.kind = UPLOAD_BYTES};
    ck_assert(!upload_record_is_tail(&r));
}
END_TEST

START_TEST(the_longest_record_fits)
{
    struct upload_record record = {.kind = UPLOAD_COMPLETING, .reserved = STORE_PART_MAX, .part_count = STORE_PART_MAX};
    UPLOAD_RECORD_AUTO struct upload_record back = {0};

    record.parts = mem_calloc(STORE_PART_MAX, sizeof *record.parts);
    for (unsigned i = 0; i < STORE_PART_MAX; i++) {
        record.parts[i] = (struct store_part){.number = i + 1, .size_bytes = UINT64_C(700) << 20};
        memset(record.parts[i].etag, '"', STORE_ETAG_SIZE - 1);
        record.in_parts = record.length = record.offset += record.parts[i].size_bytes;
    }
    memset(record.upload_id, 'x', STORE_UPLOAD_ID_SIZE - 1);
    there_and_back(&record, &back);
    ck_assert_uint_eq(back.part_count, STORE_PART_MAX);
    upload_record_release(&record);
}
END_TEST

START_TEST(the_longest_facts_fit_and_longer_ones_do_not)
{
    struct upload_record record = {.kind = UPLOAD_CREATED, .facts.part_size = 8};
    UPLOAD_RECORD_AUTO struct upload_record back = {0};
    BUF_AUTO struct buf text;
    struct err e = {0};

    record.facts.metadata = mem_zalloc(UPLOAD_METADATA_MAX + 2);
    record.facts.concat = mem_zalloc(UPLOAD_CONCAT_MAX + 1);
    memset(record.facts.metadata, 1, UPLOAD_METADATA_MAX); /* six characters each, in JSON */
    memset(record.facts.concat, 1, UPLOAD_CONCAT_MAX);
    there_and_back(&record, &back);
    ck_assert_str_eq(back.facts.metadata, record.facts.metadata);
    ck_assert_str_eq(back.facts.concat, record.facts.concat);

    buf_init(&text, UPLOAD_RECORD_MAX);
    record.facts.metadata[UPLOAD_METADATA_MAX] = 'x';
    ck_assert_int_eq(upload_record_write(&record, &text, &e), -ERR_BUG);
    record.facts.metadata[1] = '\0';
    record.facts.metadata[0] = '\xff'; /* not UTF-8 */
    ck_assert_int_eq(upload_record_write(&record, &text, &e), -ERR_BUG);
    upload_record_release(&record);
}
END_TEST

START_TEST(a_line_that_never_ends_is_no_record)
{
    MEM_AUTO char *text = mem_alloc(UPLOAD_RECORD_MAX + 1);
    struct upload_record back = {0};
    struct err e = {0};
    size_t head;

    memset(text, ' ', UPLOAD_RECORD_MAX);
    text[UPLOAD_RECORD_MAX] = '\n';
    ck_assert_int_eq(upload_record_parse(text, UPLOAD_RECORD_MAX - 1, &back, &head, &e), -ERR_NOT_FOUND);
    ck_assert_int_eq(upload_record_parse(text, UPLOAD_RECORD_MAX, &back, &head, &e), -ERR_INVALID);
    ck_assert_int_eq(upload_record_parse(text, UPLOAD_RECORD_MAX + 1, &back, &head, &e), -ERR_INVALID);
}
END_TEST

static const char *const rich[] = {
    MEMBERS("bytes", "null", "8", "8", "8", "u") ",\"parts\":[[1,8,\"e\"]]}\n",
    NO_PARTS("created", "10", "0") FACTS("8", HASH, "::1", "\"m\"") "}\n",
};

START_TEST(every_allocation_may_fail)
{
    for (uint64_t nth = 1;; nth++) {
        UPLOAD_RECORD_AUTO struct upload_record back = {0};
        mem_fail_from(nth);
        int r = parse(rich[_i], &back);
        mem_fail_from(0);
        if (r == 0)
            break;
        ck_assert_int_eq(r, -ERR_TEMPORARY);
        ck_assert_ptr_null(back.parts);
        ck_assert_ptr_null(back.facts.metadata);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("upload_record");
    TCase *t = tcase_create("upload_record");

    tcase_add_test(t, a_record_is_read_as_it_was_written);
    tcase_add_test(t, facts_are_read_as_they_were_written);
    tcase_add_loop_test(t, records_are_checked, 0, (int)ARRAY_SIZE(texts));
    tcase_add_test(t, a_record_that_contradicts_itself_is_not_written);
    tcase_add_test(t, only_bytes_without_parts_are_nothing_but_a_tail);
    tcase_add_test(t, the_longest_record_fits);
    tcase_add_test(t, the_longest_facts_fit_and_longer_ones_do_not);
    tcase_add_test(t, a_line_that_never_ends_is_no_record);
    tcase_add_loop_test(t, every_allocation_may_fail, 0, (int)ARRAY_SIZE(rich));
    suite_add_tcase(suite, t);
    return run_suite(suite);
}
