#include "proto/tus.h"
#include "proto/tus_reply.h"
#include "suite.h"

#include <string.h>

/* The numbers are those of docs/tus.md. */

#define MAX 1000000
#define STREAM "application/offset+octet-stream"
#define PARTIAL_UPLOAD "application/partial-upload"

static const struct tus_limits limits = {.max_size = MAX, .now_ms = 1000000};

static const char *field(const struct tus_reply *r, const char *name)
{
    for (size_t i = 0; i < r->count; i++)
        if (strcmp(r->fields[i].name, name) == 0)
            return tus_field_value(&r->fields[i]);
    return NULL;
}

/* 0 when it was taken, else the status of the refusal, which must be a whole one. */
static int parse(const struct tus_request *rq, struct tus_command *c)
{
    struct tus_reply reply;

    if (tus_parse(rq, &limits, c, &reply))
        return 0;
    ck_assert_ptr_nonnull(reply.type);
    ck_assert_uint_gt(strlen(reply.detail), 10);
    if (c->interop_version == 0)
        ck_assert_str_eq(field(&reply, "Tus-Resumable"), TUS_VERSION);
    else
        ck_assert_ptr_nonnull(field(&reply, "Upload-Draft-Interop-Version"));
    if (reply.status == 412)
        ck_assert_str_eq(field(&reply, "Tus-Version"), TUS_VERSION);
    return reply.status;
}

/* --- 1: the version --- */

static const struct {
    enum tus_method method;
    const char *tus, *interop;
    int status;
    unsigned version;
} versions[] = {
    {TUS_HEAD, "1.0.0", NULL, 0, 0},     {TUS_DELETE, "1.0.0", NULL, 0, 0},
    {TUS_GET, NULL, NULL, 0, 0},         {TUS_OPTIONS, NULL, NULL, 0, 0},
    {TUS_OPTIONS, "0.2.2", NULL, 0, 0},  {TUS_HEAD, NULL, NULL, 412, 0},
    {TUS_HEAD, "", NULL, 412, 0},        {TUS_HEAD, "1", NULL, 412, 0},
    {TUS_HEAD, "1.0.1", NULL, 412, 0},   {TUS_HEAD, "1.0.0, 1.0.0", NULL, 412, 0},
    {TUS_DELETE, "0.2.2", NULL, 412, 0}, {TUS_PATCH, NULL, NULL, 412, 0},
    {TUS_POST, NULL, NULL, 412, 0},      {TUS_HEAD, NULL, "3", 0, 3},
    {TUS_HEAD, NULL, "4", 0, 4},         {TUS_HEAD, NULL, "5", 0, 5},
    {TUS_HEAD, NULL, "6", 0, 6},         {TUS_HEAD, "1.0.0", "6", 0, 6},
    {TUS_HEAD, "1.0.0", "77", 0, 0},     {TUS_HEAD, NULL, "2", 412, 0},
    {TUS_HEAD, NULL, "7", 412, 0},       {TUS_HEAD, NULL, "+5", 412, 0},
    {TUS_HEAD, NULL, "", 412, 0},
};

START_TEST(knows_the_versions)
{
    const struct tus_request rq = {
        .method = versions[_i].method, .tus_resumable = versions[_i].tus, .interop_version = versions[_i].interop};
    struct tus_command c;

    ck_assert_int_eq(parse(&rq, &c), versions[_i].status);
    ck_assert_uint_eq(c.interop_version, versions[_i].version);
}
END_TEST

START_TEST(refuses_a_field_that_came_twice)
{
    const struct tus_request rq = {.method = TUS_HEAD, .tus_resumable = "1.0.0", .twice = "Upload-Length"};
    struct tus_command c;

    ck_assert_int_eq(parse(&rq, &c), 400);
}
END_TEST

/* --- 4: PATCH --- */

static const char *const not_numbers[] = {
    "",
    "+5",
    "-1",
    "-0",
    "0x10",
    "5.0",
    "1e3",
    "5 5",
    "5,5",
    "five",
    "5;",
    " 5",
    "5 ",
    "\xc2\xb2",
    "0b1",
    "18446744073709551616",
    "99999999999999999999999999",
};

static struct tus_request patch_request(void)
{
    return (struct tus_request){
        .method = TUS_PATCH, .tus_resumable = "1.0.0", .content_type = STREAM, .offset = "0", .body_length = 10};
}

START_TEST(numbers_are_strict)
{
    struct tus_request rq = patch_request();
    struct tus_command c;

    rq.offset = not_numbers[_i];
    ck_assert_int_eq(parse(&rq, &c), 400);
    rq.offset = "0";
    rq.length = not_numbers[_i];
    ck_assert_int_eq(parse(&rq, &c), 400);
    rq = (struct tus_request){.method = TUS_POST, .tus_resumable = "1.0.0", .length = not_numbers[_i]};
    ck_assert_int_eq(parse(&rq, &c), 400);
}
END_TEST

static const struct {
    const char *type;
    unsigned interop;
    int status;
} types[] = {
    {STREAM, 0, 0},
    {"Application/Offset+Octet-Stream", 0, 0},
    {STREAM "; charset=utf-8", 0, 0},
    {NULL, 0, 415},
    {"", 0, 415},
    {"application/octet-stream", 0, 415},
    {STREAM "s", 0, 415},
    {PARTIAL_UPLOAD, 0, 415},
    {NULL, 3, 0},
    {"text/plain", 5, 0},
    {NULL, 6, 415},
    {STREAM, 6, 415},
    {PARTIAL_UPLOAD, 6, 0},
};

START_TEST(patch_has_a_type)
{
    static const char *const interop[] = {[3] = "3", [5] = "5", [6] = "6"};
    struct tus_request rq = patch_request();
    struct tus_command c;

    rq.interop_version = interop[types[_i].interop];
    rq.content_type = types[_i].type;
    ck_assert_int_eq(parse(&rq, &c), types[_i].status);
}
END_TEST

START_TEST(patch_needs_an_offset)
{
    struct tus_request rq = patch_request();
    struct tus_command c;

    rq.offset = NULL;
    ck_assert_int_eq(parse(&rq, &c), 400);
    rq.offset = "18446744073709551615";
    ck_assert_int_eq(parse(&rq, &c), 0);
    ck_assert_uint_eq(c.offset, UINT64_MAX);
}
END_TEST

/* What is recorded, what is asked for, and what comes of it. */
static const struct {
    uint64_t at, length; /* of the upload; length U: not declared */
    bool finished;
    uint64_t offset, declared, body; /* of the request; body U: chunked */
    bool completes;
    enum tus_verdict verdict;
    int status; /* of a refusal */
    uint64_t to_declare;
} decisions[] = {
#define U TUS_UNKNOWN
    /* 4: offsets and bodies */
    {0, 10, false, 0, U, 10, false, TUS_RECEIVE, 0, U},
    {4, 10, false, 4, U, 6, false, TUS_RECEIVE, 0, U},
    {4, 10, false, 4, U, 0, false, TUS_RECEIVE, 0, U},
    {4, 10, false, 4, U, U, false, TUS_RECEIVE, 0, U},
    {4, 10, false, 4, U, 7, false, TUS_REFUSED, 413, U},
    {4, 10, false, 4, U, UINT64_MAX - 1, false, TUS_REFUSED, 413, U},
    {4, 10, false, 0, U, 6, false, TUS_REFUSED, 409, U},
    {4, 10, false, 5, U, 5, false, TUS_REFUSED, 409, U},
    {4, 10, false, UINT64_MAX, U, 5, false, TUS_REFUSED, 409, U},
    {4, U, false, 4, U, MAX - 4, false, TUS_RECEIVE, 0, U},
    {4, U, false, 4, U, MAX - 3, false, TUS_REFUSED, 413, U},
    /* 4 and 16: a finished one, whose last answer may be lost */
    {10, 10, true, 10, U, 0, false, TUS_NOTHING, 0, U},
    {10, 10, true, 10, U, U, false, TUS_NOTHING, 0, U},
    {10, 10, true, 10, 10, 0, false, TUS_NOTHING, 0, U},
    {10, 10, true, 10, U, 1, false, TUS_REFUSED, 413, U},
    {10, 10, true, 9, U, 1, false, TUS_REFUSED, 409, U},
    {10, 10, true, 10, 11, 0, false, TUS_REFUSED, 400, U},
    {0, 0, true, 0, U, 0, false, TUS_NOTHING, 0, U},
    /* 8: the length later */
    {4, U, false, 4, 10, 6, false, TUS_RECEIVE, 0, 10},
    {4, U, false, 4, 10, 0, false, TUS_RECEIVE, 0, 10},
    {4, U, false, 4, 4, 0, false, TUS_RECEIVE, 0, 4},
    {4, 10, false, 4, 10, 2, false, TUS_RECEIVE, 0, U},
    {4, 10, false, 4, 11, 2, false, TUS_REFUSED, 400, U},
    {4, U, false, 4, 3, 0, false, TUS_REFUSED, 400, U},
    {4, U, false, 4, 6, 3, false, TUS_REFUSED, 413, U},
    {0, U, false, 0, 0, 0, false, TUS_RECEIVE, 0, 0},
    /* the drafts: the file ends with this body */
    {4, U, false, 4, U, 6, true, TUS_RECEIVE, 0, 10},
    {4, U, false, 4, 10, 6, true, TUS_RECEIVE, 0, 10},
    {4, U, false, 4, U, U, true, TUS_RECEIVE, 0, U},
    {4, 10, false, 4, U, 6, true, TUS_RECEIVE, 0, U},
    {4, 10, false, 4, U, 5, true, TUS_REFUSED, 400, U},
    {4, U, false, 4, 11, 6, true, TUS_REFUSED, 400, U},
    {4, U, false, 4, U, MAX, true, TUS_REFUSED, 413, U},
    {4, U, false, 4, U, UINT64_MAX - 1, true, TUS_REFUSED, 413, U},
    {10, 10, true, 10, U, 0, true, TUS_NOTHING, 0, U},
#undef U
};

START_TEST(decides_about_a_patch)
{
    const struct tus_upload u = {
        .offset = decisions[_i].at, .length = decisions[_i].length, .finished = decisions[_i].finished};
    const struct tus_command c = {.method = TUS_PATCH,
                                  .interop_version = decisions[_i].completes ? 6 : 0,
                                  .offset = decisions[_i].offset,
                                  .length = decisions[_i].declared,
                                  .body_length = decisions[_i].body,
                                  .completes = decisions[_i].completes};
    uint64_t to_declare = 0;
    struct tus_reply reply = {0};

    ck_assert_int_eq(tus_decide(&c, &u, &limits, &to_declare, &reply), decisions[_i].verdict);
    ck_assert_int_eq(reply.status, decisions[_i].status);
    if (decisions[_i].verdict != TUS_REFUSED)
        ck_assert_uint_eq(to_declare, decisions[_i].to_declare);
    if (reply.status == 409)
        ck_assert_ptr_nonnull(field(&reply, "Upload-Offset"));
}
END_TEST

START_TEST(nothing_is_added_to_a_final_upload)
{
    const struct tus_upload u = {.offset = 6, .length = 6, .finished = true, .concat = "final;/a /b"};
    uint64_t to_declare;
    struct tus_reply reply;

    for (uint64_t offset = 0; offset < 8; offset++) {
        const struct tus_command c = {.method = TUS_PATCH, .offset = offset, .length = TUS_UNKNOWN};
        ck_assert_int_eq(tus_decide(&c, &u, &limits, &to_declare, &reply), TUS_REFUSED);
        ck_assert_int_eq(reply.status, 403);
    }
}
END_TEST

static const struct {
    uint64_t offset, length;
    bool completes, good;
    uint64_t to_declare;
} ends[] = {
    {10, TUS_UNKNOWN, true, true, 10},  {10, TUS_UNKNOWN, false, true, TUS_UNKNOWN}, {10, 10, true, true, TUS_UNKNOWN},
    {10, 20, true, false, TUS_UNKNOWN}, {10, 20, false, true, TUS_UNKNOWN},          {0, TUS_UNKNOWN, true, true, 0},
};

START_TEST(a_draft_may_end_the_file_after_the_body)
{
    const struct tus_upload u = {.offset = ends[_i].offset, .length = ends[_i].length};
    const struct tus_command c = {.method = TUS_PATCH, .interop_version = 5, .completes = ends[_i].completes};
    uint64_t to_declare = 77;
    struct tus_reply reply;

    ck_assert_int_eq(tus_decide_end(&c, &u, &to_declare, &reply), ends[_i].good);
    if (ends[_i].good)
        ck_assert_uint_eq(to_declare, ends[_i].to_declare);
    else
        ck_assert_int_eq(reply.status, 400);
}
END_TEST

/* --- 7, 9, 13: POST --- */

static const struct {
    const char *length, *defer, *concat, *type;
    uint64_t body;
    int status;
    uint64_t declared;
    enum tus_concat kind;
} creations[] = {
#define U TUS_UNKNOWN
    {"5", NULL, NULL, NULL, 0, 0, 5, TUS_WHOLE},
    {"0", NULL, NULL, NULL, 0, 0, 0, TUS_WHOLE},
    {"1000000", NULL, NULL, NULL, 0, 0, MAX, TUS_WHOLE},
    {"1000001", NULL, NULL, NULL, 0, 413, 0, 0},
    {"9223372036854775807", NULL, NULL, NULL, 0, 413, 0, 0},
    {"18446744073709551615", NULL, NULL, NULL, 0, 413, 0, 0},
    {NULL, "1", NULL, NULL, 0, 0, U, TUS_WHOLE},
    {NULL, NULL, NULL, NULL, 0, 400, 0, 0},
    {"5", "1", NULL, NULL, 0, 400, 0, 0},
    {NULL, "0", NULL, NULL, 0, 400, 0, 0},
    {NULL, "2", NULL, NULL, 0, 400, 0, 0},
    {NULL, "", NULL, NULL, 0, 400, 0, 0},
    {NULL, "true", NULL, NULL, 0, 400, 0, 0},
    /* with bytes */
    {"5", NULL, NULL, STREAM, 5, 0, 5, TUS_WHOLE},
    {"5", NULL, NULL, STREAM, 3, 0, 5, TUS_WHOLE},
    {"5", NULL, NULL, STREAM, U, 0, 5, TUS_WHOLE},
    {"5", NULL, NULL, STREAM, 6, 413, 0, 0},
    {NULL, "1", NULL, STREAM, MAX + 1, 413, 0, 0},
    {"5", NULL, NULL, "text/plain", 5, 415, 0, 0},
    {"5", NULL, NULL, NULL, U, 415, 0, 0},
    {"5", NULL, NULL, "text/plain", 0, 0, 5, TUS_WHOLE},
    /* concatenation */
    {"5", NULL, "partial", NULL, 0, 0, 5, TUS_PARTIAL},
    {NULL, "1", "partial", STREAM, 3, 0, U, TUS_PARTIAL},
    {NULL, NULL, "final;/a /b", NULL, 0, 0, U, TUS_FINAL},
    {NULL, NULL, "final; /a", NULL, 0, 0, U, TUS_FINAL},
    {"5", NULL, "final;/a /b", NULL, 0, 400, 0, 0},
    {NULL, "1", "final;/a /b", NULL, 0, 400, 0, 0},
    {NULL, NULL, "final;/a /b", STREAM, 1, 400, 0, 0},
    {NULL, NULL, "final;", NULL, 0, 400, 0, 0},
    {NULL, NULL, "final;  ", NULL, 0, 400, 0, 0},
    {NULL, NULL, "final", NULL, 0, 400, 0, 0},
    {"5", NULL, "", NULL, 0, 400, 0, 0},
    {"5", NULL, "Partial", NULL, 0, 400, 0, 0},
    {"5", NULL, "partial;", NULL, 0, 400, 0, 0},
    {"5", NULL, "partial x", NULL, 0, 400, 0, 0},
    {NULL, NULL, "final,/a", NULL, 0, 400, 0, 0},
#undef U
};

START_TEST(creates_as_tus_says)
{
    const struct tus_request rq = {.method = TUS_POST,
                                   .tus_resumable = "1.0.0",
                                   .length = creations[_i].length,
                                   .defer_length = creations[_i].defer,
                                   .concat = creations[_i].concat,
                                   .content_type = creations[_i].type,
                                   .metadata = "",
                                   .body_length = creations[_i].body};
    struct tus_command c;

    ck_assert_int_eq(parse(&rq, &c), creations[_i].status);
    if (creations[_i].status != 0)
        return;
    ck_assert_uint_eq(c.length, creations[_i].declared);
    ck_assert_int_eq(c.concat, creations[_i].kind);
    ck_assert_ptr_null(c.metadata);
    if (c.concat == TUS_FINAL)
        ck_assert_ptr_nonnull(strstr(c.urls, "/a"));
}
END_TEST

static const struct {
    const char *interop, *complete, *incomplete, *length;
    uint64_t body;
    int status;
    uint64_t declared;
    bool completes;
} draft_creations[] = {
#define U TUS_UNKNOWN
    {"3", NULL, "?1", NULL, 0, 0, U, false}, /* Upload-Incomplete */
    {"3", NULL, "?0", NULL, 5, 0, 5, true},          {"3", "?1", NULL, NULL, 5, 400, 0, false},
    {"5", "?0", NULL, "5", 0, 0, 5, false},          {"5", "?1", NULL, NULL, 5, 0, 5, true},
    {"5", "?1", NULL, "5", 5, 0, 5, true},           {"5", "?1", NULL, NULL, U, 0, U, true},
    {"6", "?1", NULL, NULL, 0, 0, 0, true}, /* an empty file */
    {"6", "?0", NULL, NULL, 5, 0, U, false},         {"6", "?1", NULL, "6", 5, 400, 0, false},
    {"6", "?0", NULL, "3", 5, 413, 0, false},        {"6", "?0", NULL, "1000001", 0, 413, 0, false},
    {"6", "?1", NULL, NULL, MAX + 1, 413, 0, false}, {"6", NULL, NULL, "5", 5, 400, 0, false},
    {"6", NULL, "?1", "5", 5, 400, 0, false},        {"6", "1", NULL, "5", 5, 400, 0, false},
    {"6", "?2", NULL, "5", 5, 400, 0, false},        {"6", "", NULL, "5", 5, 400, 0, false},
    {"6", "?0", NULL, "+5", 0, 400, 0, false},
#undef U
};

START_TEST(creates_as_the_drafts_say)
{
    const struct tus_request rq = {.method = TUS_POST,
                                   .interop_version = draft_creations[_i].interop,
                                   .complete = draft_creations[_i].complete,
                                   .incomplete = draft_creations[_i].incomplete,
                                   .length = draft_creations[_i].length,
                                   .body_length = draft_creations[_i].body};
    struct tus_command c;

    ck_assert_int_eq(parse(&rq, &c), draft_creations[_i].status);
    if (draft_creations[_i].status != 0)
        return;
    ck_assert_uint_eq(c.length, draft_creations[_i].declared);
    ck_assert_int_eq(c.completes, draft_creations[_i].completes);
}
END_TEST

START_TEST(the_drafts_have_no_concatenation)
{
    const struct tus_request rq = {.method = TUS_POST, .interop_version = "6", .complete = "?0", .concat = "partial"};
    struct tus_command c;

    ck_assert_int_eq(parse(&rq, &c), 400);
}
END_TEST

START_TEST(a_drafts_patch_may_leave_out_whether_it_completes)
{
    struct tus_request rq = {
        .method = TUS_PATCH, .interop_version = "6", .content_type = PARTIAL_UPLOAD, .offset = "3", .length = "3"};
    struct tus_command c;

    ck_assert_int_eq(parse(&rq, &c), 0);
    ck_assert(!c.completes);
    rq.complete = "?1";
    ck_assert_int_eq(parse(&rq, &c), 0);
    ck_assert(c.completes);
    rq.complete = "true";
    ck_assert_int_eq(parse(&rq, &c), 400);
}
END_TEST

/* --- 10: checksums --- */

static const struct {
    const char *checksum, *trailer;
    uint64_t body;
    int status;
    enum tus_check check;
} checks[] = {
    {NULL, NULL, 5, 0, TUS_UNCHECKED},
    {"sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=", NULL, 5, 0, TUS_CHECK_HEADER},
    {"sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=", "X-Other", TUS_UNKNOWN, 0, TUS_CHECK_HEADER},
    {NULL, "Upload-Checksum", TUS_UNKNOWN, 0, TUS_CHECK_TRAILER},
    {NULL, "x-other, upload-checksum", TUS_UNKNOWN, 0, TUS_CHECK_TRAILER},
    {NULL, "x-upload-checksum", TUS_UNKNOWN, 0, TUS_UNCHECKED},
    {NULL, "Upload-Checksum", 5, 400, 0},
    {"sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=", "Upload-Checksum", TUS_UNKNOWN, 400, 0},
    {"sha0 AAAA", NULL, 5, 400, 0},
    {"", NULL, 5, 400, 0},
};

START_TEST(knows_how_a_body_is_checked)
{
    struct tus_request rq = patch_request();
    struct tus_command c;

    rq.checksum = checks[_i].checksum;
    rq.trailer = checks[_i].trailer;
    rq.body_length = checks[_i].body;
    ck_assert_int_eq(parse(&rq, &c), checks[_i].status);
    if (checks[_i].status == 0)
        ck_assert_int_eq(c.check, checks[_i].check);
    rq.method = TUS_POST;
    rq.length = "5";
    ck_assert_int_eq(parse(&rq, &c), checks[_i].status);
}
END_TEST

#define LOOP(tcase, test, table) tcase_add_loop_test(tcase, test, 0, sizeof(table) / sizeof *(table))

int main(void)
{
    Suite *suite = suite_create("tus");
    TCase *tcase = tcase_create("requests");
    LOOP(tcase, knows_the_versions, versions);
    tcase_add_test(tcase, refuses_a_field_that_came_twice);
    LOOP(tcase, numbers_are_strict, not_numbers);
    LOOP(tcase, patch_has_a_type, types);
    tcase_add_test(tcase, patch_needs_an_offset);
    LOOP(tcase, creates_as_tus_says, creations);
    LOOP(tcase, creates_as_the_drafts_say, draft_creations);
    tcase_add_test(tcase, the_drafts_have_no_concatenation);
    tcase_add_test(tcase, a_drafts_patch_may_leave_out_whether_it_completes);
    LOOP(tcase, knows_how_a_body_is_checked, checks);
    suite_add_tcase(suite, tcase);
    tcase = tcase_create("decisions");
    LOOP(tcase, decides_about_a_patch, decisions);
    tcase_add_test(tcase, nothing_is_added_to_a_final_upload);
    LOOP(tcase, a_draft_may_end_the_file_after_the_body, ends);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
