#include "domain/layout.h"

#include "../suite.h"
#include "base/mem.h"

#define ID "v_01arz3ndektsv4rrffq69g5fav"
#define NONCE "0123456789abcdef"

START_TEST(keys_are_as_documented)
{
    struct layout_key asset;

    ck_assert_str_eq(layout_record(ID).s, ".videos/" ID ".json");
    ck_assert_str_eq(layout_deleted(ID).s, ".videos/" ID ".deleted");
    ck_assert_str_eq(layout_log(ID, 7).s, ".uploads/" ID "/log/00000007");
    ck_assert_str_eq(layout_log_prefix(ID).s, ".uploads/" ID "/log/");
    ck_assert_str_eq(layout_source(ID).s, ID "/source");
    ck_assert_str_eq(layout_partial(ID).s, ".uploads/" ID "/source");
    ck_assert_str_eq(layout_request(ID, 2).s, ".requests/" ID "/2.json");
    ck_assert_str_eq(layout_request_prefix(ID).s, ".requests/" ID "/");
    ck_assert_str_eq(layout_outcome(ID, 1).s, ".outcomes/" ID "/1.json");
    ck_assert_str_eq(layout_outcome_prefix(ID).s, ".outcomes/" ID "/");
    ck_assert_str_eq(layout_version_prefix(ID, "1-2-x").s, ID "/1-2-x/");
    ck_assert_str_eq(layout_video_prefix(ID).s, ID "/");
    ck_assert(layout_asset(ID, "1-2-x", "v720/seg_1.ts", &asset));
    ck_assert_str_eq(asset.s, ID "/1-2-x/v720/seg_1.ts");
    ck_assert(!layout_asset(ID, "1-2-x", "../x", &asset));
}
END_TEST

#define TEN "aaaaaaaaaa"

static const struct {
    const char *path;
    bool valid;
} paths[] = {
    {"master.m3u8", true},
    {"v720/seg_00001.ts", true},
    {"a/b/c/d", true},
    {"a/b/c/d/e", false}, /* deeper than 4 */
    {"", false},
    {"/a", false},
    {"a/", false},
    {"a//b", false},
    {".hidden", false},
    {"a/.hidden", false},
    {"..", false},
    {"a/../b", false},
    {"a b", false},
    {"a\\b", false},
    {"\xC3\xA9", false},
    {TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN "12345678", true}, /* 128 bytes */
    {TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN "123456789", false},
};

START_TEST(only_paths_that_weir_writes_are_valid)
{
    ck_assert_msg(layout_path_valid(paths[_i].path) == paths[_i].valid, "%s", paths[_i].path);
}
END_TEST

static const struct {
    const char *version;
    uint64_t generation; /* 0: not valid */
} versions[] = {
    {"1-1700000000000000-" NONCE, 1},
    {"12-1-" NONCE, 12},
    {"0-1-" NONCE, 0},
    {"01-1-" NONCE, 0},
    {"1-01-" NONCE, 0},
    {"-1-" NONCE, 0},
    {"1--" NONCE, 0},
    {"1-1", 0},
    {"1-1-", 0},
    {"1-1-0123456789ABCDEF", 0},
    {"1-1-0123456789abcde", 0},
    {"1-1-" NONCE "0", 0},
    {"1-1-" NONCE "/", 0},
    {"18446744073709551616-1-" NONCE, 0},
    {"", 0},
};

START_TEST(versions_name_their_generation)
{
    uint64_t generation = 0;

    ck_assert(layout_version_generation(versions[_i].version, &generation) == (versions[_i].generation != 0));
    ck_assert_uint_eq(generation, versions[_i].generation);
    ck_assert(layout_version_valid(versions[_i].version) == (versions[_i].generation != 0));
}
END_TEST

START_TEST(a_version_is_built_as_it_is_read)
{
    char version[LAYOUT_VERSION_SIZE];
    uint64_t generation = 0;

    layout_version(UINT64_MAX, UINT64_MAX, NONCE, version);
    ck_assert(layout_version_generation(version, &generation));
    ck_assert_uint_eq(generation, UINT64_MAX);
}
END_TEST

START_TEST(records_are_found_by_their_keys)
{
    char id[ID_VIDEO_SIZE] = "";
    bool marker = true;

    ck_assert(layout_parse_record(".videos/" ID ".json", id, &marker));
    ck_assert_str_eq(id, ID);
    ck_assert(!marker);
    ck_assert(layout_parse_record(".videos/" ID ".deleted", id, &marker));
    ck_assert(marker);
    ck_assert(!layout_parse_record(".videos/" ID, id, &marker));
    ck_assert(!layout_parse_record(".videos/" ID ".json.tmp", id, &marker));
    ck_assert(!layout_parse_record(".videos/x.json", id, &marker));
    ck_assert(!layout_parse_record(".outcomes/" ID ".json", id, &marker));
}
END_TEST

static const struct {
    const char *key;
    uint64_t number; /* 0: not such a key */
} numbered[] = {
    {".outcomes/" ID "/1.json", 1},
    {".outcomes/" ID "/10.json", 10},
    {".outcomes/" ID "/0.json", 0},
    {".outcomes/" ID "/01.json", 0},
    {".outcomes/" ID "/.json", 0},
    {".outcomes/" ID "/1.jsonx", 0},
    {".outcomes/" ID "/1", 0},
    {".outcomes/" ID "1.json", 0},
    {".outcomes/v_x/1.json", 0},
    {".requests/" ID "/1.json", 0},
    {".outcomes/", 0},
    {"", 0},
};

START_TEST(outcomes_are_found_by_their_keys)
{
    char id[ID_VIDEO_SIZE] = "";
    uint64_t number = 0;
    bool found = layout_parse_numbered(LAYOUT_OUTCOMES, numbered[_i].key, id, &number);

    ck_assert_msg(found == (numbered[_i].number != 0), "%s", numbered[_i].key);
    ck_assert_uint_eq(number, numbered[_i].number);
    ck_assert_str_eq(id, found ? ID : "");
}
END_TEST

START_TEST(content_types_follow_the_suffix)
{
    ck_assert_str_eq(layout_content_type("master.m3u8"), "application/vnd.apple.mpegurl");
    ck_assert_str_eq(layout_content_type("v720/seg_1.ts"), "video/mp2t");
    ck_assert_str_eq(layout_content_type("a.m4s"), "video/iso.segment");
    ck_assert_str_eq(layout_content_type("init.mp4"), "video/mp4");
    ck_assert_str_eq(layout_content_type("a.vtt"), "text/vtt");
    ck_assert_str_eq(layout_content_type("poster.jpg"), "image/jpeg");
    ck_assert_str_eq(layout_content_type("source"), "application/octet-stream");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("layout");
    TCase *t = tcase_create("layout");

    tcase_add_test(t, keys_are_as_documented);
    tcase_add_loop_test(t, only_paths_that_weir_writes_are_valid, 0, (int)ARRAY_SIZE(paths));
    tcase_add_loop_test(t, versions_name_their_generation, 0, (int)ARRAY_SIZE(versions));
    tcase_add_test(t, a_version_is_built_as_it_is_read);
    tcase_add_test(t, records_are_found_by_their_keys);
    tcase_add_loop_test(t, outcomes_are_found_by_their_keys, 0, (int)ARRAY_SIZE(numbered));
    tcase_add_test(t, content_types_follow_the_suffix);
    suite_add_tcase(suite, t);
    return run_suite(suite);
}
