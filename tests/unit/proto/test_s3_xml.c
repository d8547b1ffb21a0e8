#include "proto/s3_xml.h"

#include "base/mem.h"
#include "base/str.h"

#include <check.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define XML "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
#define NS " xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\""

static struct err e;

static int collect(void *ctx, const struct s3_item *item, struct err *err)
{
    struct buf *out = ctx;
    (void)err;

    buf_printf(out, "%s|%s|%" PRIu64 "|%" PRIu64 "|%" PRIu64 "\n", item->key, item->etag, item->size_bytes,
               item->modified_ms, item->part_number);
    return 0;
}

START_TEST(reads_a_list_of_objects)
{
    static const char xml[] = XML
        "<ListBucketResult" NS "><Name>raw</Name><Prefix>a &amp; b</Prefix><KeyCount>2</KeyCount>"
        "<MaxKeys>2</MaxKeys><IsTruncated>true</IsTruncated><NextContinuationToken>to/ken=</NextContinuationToken>"
        "<Contents><Key>a &amp; b/&lt;1&gt;</Key><LastModified>2026-01-02T03:04:05.678Z</LastModified>"
        "<ETag>&quot;x&quot;</ETag><Size>12345678901</Size><Owner><ID>me</ID></Owner></Contents>\n"
        "<Contents><Key>\xc3\xa9&#x20;&#65;</Key><LastModified>2026-01-02T03:04:05Z</LastModified><Size>0</Size>"
        "<StorageClass>STANDARD</StorageClass></Contents>"
        "<CommonPrefixes><Prefix>x/</Prefix></CommonPrefixes></ListBucketResult>";
    struct s3_answer answer;
    BUF_AUTO struct buf items;

    buf_init(&items, 10000);
    ck_assert_msg(s3_xml_parse(xml, strlen(xml), &answer, collect, &items, &e) == 0, "%s", e.text);
    ck_assert_str_eq(answer.root, "ListBucketResult");
    ck_assert(answer.truncated);
    ck_assert_str_eq(answer.next_token, "to/ken=");
    ck_assert_str_eq(buf_cstr(&items), "a & b/<1>||12345678901|1767323045678|0\n\xc3\xa9 A||0|1767323045000|0\n");
}
END_TEST

START_TEST(reads_a_list_of_parts)
{
    static const char xml[] = XML
        "<ListPartsResult" NS "><Bucket>raw</Bucket><UploadId>u</UploadId><PartNumberMarker>0</PartNumberMarker>"
        "<NextPartNumberMarker>7</NextPartNumberMarker><IsTruncated>false</IsTruncated>"
        "<Part><PartNumber>4</PartNumber><LastModified>2026-01-02T03:04:05.678Z</LastModified>"
        "<ETag>&#34;abc&#34;</ETag><Size>5242880</Size></Part>"
        "<Part><Size>1</Size><ETag>def</ETag><PartNumber>7</PartNumber></Part></ListPartsResult>";
    struct s3_answer answer;
    BUF_AUTO struct buf items;

    buf_init(&items, 10000);
    ck_assert_msg(s3_xml_parse(xml, strlen(xml), &answer, collect, &items, &e) == 0, "%s", e.text);
    ck_assert(!answer.truncated);
    ck_assert_uint_eq(answer.next_part, 7);
    ck_assert_str_eq(buf_cstr(&items), "|\"abc\"|5242880|0|4\n|def|1|0|7\n");
}
END_TEST

static int collect_upload(void *ctx, const struct s3_item *item, struct err *err)
{
    (void)err;
    buf_printf(ctx, "%s|%s\n", item->key, item->upload_id);
    return 0;
}

START_TEST(reads_a_list_of_uploads)
{
    static const char xml[] = XML
        "<ListMultipartUploadsResult" NS "><Bucket>raw</Bucket><KeyMarker></KeyMarker><UploadIdMarker></UploadIdMarker>"
        "<NextKeyMarker>k</NextKeyMarker><NextUploadIdMarker>u2</NextUploadIdMarker><MaxUploads>1000</MaxUploads>"
        "<IsTruncated>false</IsTruncated><Prefix>k</Prefix>"
        "<Upload><Key>k</Key><UploadId>u1</UploadId><Initiated>2026-01-02T03:04:05.678Z</Initiated></Upload>"
        "<Upload><UploadId>u2</UploadId><Key>k2</Key></Upload></ListMultipartUploadsResult>";
    struct s3_answer answer;
    BUF_AUTO struct buf items;

    buf_init(&items, 10000);
    ck_assert_msg(s3_xml_parse(xml, strlen(xml), &answer, collect_upload, &items, &e) == 0, "%s", e.text);
    ck_assert_str_eq(buf_cstr(&items), "k|u1\nk2|u2\n");
    ck_assert_str_eq(answer.upload_id, "");
}
END_TEST

static const struct {
    const char *xml, *root, *code, *upload_id;
} answers[] = {
    {XML "<Error><Code>NoSuchKey</Code><Message>no</Message><Key>k</Key></Error>", "Error", "NoSuchKey", ""},
    {XML "  \n<Error>\n  <Code>SlowDown</Code>\n</Error>\n", "Error", "SlowDown", ""},
    {" \r\n\t" XML "<Error><Code>InternalError</Code></Error>", "Error", "InternalError",
     ""}, /* kept alive by spaces */
    {"<Error><Message>x</Message></Error>", "Error", "", ""},
    {XML "<InitiateMultipartUploadResult" NS "><Bucket>b</Bucket><Key>k</Key><UploadId>2~a+b/c=</UploadId>"
         "</InitiateMultipartUploadResult>",
     "InitiateMultipartUploadResult", "", "2~a+b/c="},
    {"<CompleteMultipartUploadResult><ETag>\"x-3\"</ETag></CompleteMultipartUploadResult>",
     "CompleteMultipartUploadResult", "", ""},
    {"<a><b/><c>text</c>tail</a>", "a", "", ""},
    {"<wrapped><Error><Code>NotReally</Code></Error></wrapped>", "wrapped", "", ""},
};

START_TEST(reads_etags)
{
    static const char *const xml[] = {
        "<CompleteMultipartUploadResult><ETag>&quot;x-3&quot;</ETag></CompleteMultipartUploadResult>",
        XML "<CopyPartResult" NS "><LastModified>2026-01-02T03:04:05.678Z</LastModified><ETag>\"x-3\"</ETag>"
            "</CopyPartResult>",
    };
    struct s3_answer answer;

    for (size_t i = 0; i < ARRAY_SIZE(xml); i++) {
        ck_assert_msg(s3_xml_parse(xml[i], strlen(xml[i]), &answer, NULL, NULL, &e) == 0, "%s", e.text);
        ck_assert_str_eq(answer.etag, "\"x-3\"");
    }
}
END_TEST

START_TEST(reads_answers)
{
    struct s3_answer answer;

    ck_assert_msg(s3_xml_parse(answers[_i].xml, strlen(answers[_i].xml), &answer, NULL, NULL, &e) == 0, "%s", e.text);
    ck_assert_str_eq(answer.root, answers[_i].root);
    ck_assert_str_eq(answer.code, answers[_i].code);
    ck_assert_str_eq(answer.upload_id, answers[_i].upload_id);
}
END_TEST

static const char *const broken[] = {
    "",
    "   ",
    "not xml",
    "<html><body>502 Bad Gateway<br></body></html>",
    "<Error><Code>NoSuchKey</Code>",
    "<Error><Code>NoSuchKey</Error>",
    "<Error><Code>a code that is much longer than any code that a sane server of S3 could give</Code></Error>",
    "<Error><Code>\xff</Code></Error>",
    "<!DOCTYPE Error [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;\">]><Error><Code>&b;</Code></Error>",
    "<!DOCTYPE x SYSTEM \"file:///etc/passwd\"><Error/>",
    "<Error><Code>&undefined;</Code></Error>",
    "<ListBucketResult><Contents><Size>-1</Size></Contents></ListBucketResult>",
    "<ListBucketResult><Contents><Size>99999999999999999999</Size></Contents></ListBucketResult>",
    "<ListBucketResult><Contents><LastModified>yesterday</LastModified></Contents></ListBucketResult>",
    "<AnElementWithANameThatIsLongerThanAnythingThatTheProtocolHas/>",
};

START_TEST(refuses_broken_answers)
{
    struct s3_answer answer = {.root = "untouched"};

    ck_assert_int_eq(s3_xml_parse(broken[_i], strlen(broken[_i]), &answer, NULL, NULL, &e), -ERR_TEMPORARY);
    ck_assert_str_eq(answer.root, "untouched");
}
END_TEST

START_TEST(bounds_texts)
{
    BUF_AUTO struct buf xml;
    struct s3_answer answer;

    buf_init(&xml, 100000);
    buf_puts(&xml, "<Error><Message>"); /* one that does not matter may be long */
    for (unsigned i = 0; i < 10000; i++)
        buf_puts(&xml, "&amp;x");
    buf_puts(&xml, "</Message><Code>C</Code></Error>");
    ck_assert_msg(s3_xml_parse(xml.data, xml.len, &answer, NULL, NULL, &e) == 0, "%s", e.text);
    ck_assert_str_eq(answer.code, "C");

    buf_reset(&xml);
    buf_puts(&xml, "<ListBucketResult><Contents><Key>");
    for (unsigned i = 0; i < S3_TEXT_SIZE; i++)
        buf_putc(&xml, 'k');
    buf_puts(&xml, "</Key></Contents></ListBucketResult>");
    ck_assert_int_eq(s3_xml_parse(xml.data, xml.len, &answer, NULL, NULL, &e), -ERR_TEMPORARY);
}
END_TEST

static int stop(void *ctx, const struct s3_item *item, struct err *err)
{
    int *results = ctx;
    (void)item;

    return results[0]-- == 1 ? err_set(err, ERR_STALE, "stopped") : 0;
}

START_TEST(bounds_depth)
{
    BUF_AUTO struct buf xml;
    struct s3_answer answer;

    buf_init(&xml, 10000);
    for (unsigned depth = 1; depth <= 17; depth++) {
        buf_reset(&xml);
        for (unsigned i = 0; i < depth; i++)
            buf_puts(&xml, "<a>");
        for (unsigned i = 0; i < depth; i++)
            buf_puts(&xml, "</a>");
        ck_assert_int_eq(s3_xml_parse(xml.data, xml.len, &answer, NULL, NULL, &e), depth <= 16 ? 0 : -ERR_TEMPORARY);
    }
}
END_TEST

START_TEST(passes_on_what_the_callback_returns)
{
    static const char xml[] = "<ListBucketResult><Contents><Key>a</Key></Contents><Contents><Key>b</Key></Contents>"
                              "<Contents><Key>c</Key></Contents></ListBucketResult>";
    struct s3_answer answer;
    int left = 2;

    ck_assert_int_eq(s3_xml_parse(xml, strlen(xml), &answer, stop, &left, &e), -ERR_STALE);
    ck_assert_str_eq(e.text, "stopped");
    ck_assert_int_eq(left, 0);
}
END_TEST

START_TEST(escapes)
{
    BUF_AUTO struct buf out;

    buf_init(&out, 1000);
    s3_xml_escape(&out, "\"a\"&<b>'\xc3\xa9");
    ck_assert_str_eq(buf_cstr(&out), "&quot;a&quot;&amp;&lt;b&gt;'\xc3\xa9");
}
END_TEST

START_TEST(survives_failing_allocations)
{
    struct s3_answer answer;

    mem_fail_from(1);
    ck_assert_int_eq(s3_xml_parse("<a/>", 4, &answer, NULL, NULL, &e), -ERR_TEMPORARY);
    mem_fail_from(0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("s3_xml");
    TCase *tcase = tcase_create("parse");
    tcase_add_test(tcase, reads_a_list_of_objects);
    tcase_add_test(tcase, reads_a_list_of_parts);
    tcase_add_test(tcase, reads_a_list_of_uploads);
    tcase_add_test(tcase, reads_etags);
    tcase_add_loop_test(tcase, reads_answers, 0, (int)ARRAY_SIZE(answers));
    tcase_add_loop_test(tcase, refuses_broken_answers, 0, (int)ARRAY_SIZE(broken));
    tcase_add_test(tcase, bounds_texts);
    tcase_add_test(tcase, bounds_depth);
    tcase_add_test(tcase, passes_on_what_the_callback_returns);
    tcase_add_test(tcase, escapes);
    tcase_add_test(tcase, survives_failing_allocations);
    suite_add_tcase(suite, tcase);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
