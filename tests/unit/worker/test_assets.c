#include "services/worker/assets.h"

#include "../suite.h"
#include "base/clock.h"
#include "base/mem.h"
#include "flaky_store.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define VIDEO "v_01jd0000000000000000000000"
#define VERSION "1-7-0123456789abcdef"
#define MASTER "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nv240/index.m3u8\n"
#define MEDIA "#EXTM3U\n#EXTINF:6,\nseg_00000.ts\n#EXTINF:6,\nseg_00001.ts\n"

static struct flaky_store flaky;
static struct control control;
static struct assets *assets;
static int dir = -1;
static char scratch[96];

static void up(void)
{
    struct err e;

    flaky_store_start(&flaky);
    snprintf(scratch, sizeof scratch, "%s/scratch", flaky.folder);
    ck_assert_int_eq(mkdir(scratch, 0700), 0);
    dir = open(scratch, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_ge(dir, 0);
    ck_assert_int_eq(control_init(&control, &e), 0);
    ck_assert_int_eq(assets_start(&(struct assets_options){.store = flaky.store,
                                                           .bucket = "processed",
                                                           .video_id = VIDEO,
                                                           .version = VERSION,
                                                           .dir_fd = dir,
                                                           .patience_ms = 500,
                                                           .control = &control},
                                  &assets, &e),
                     0);
}

static void down(void)
{
    assets_free(assets);
    control_release(&control);
    close(dir);
    flaky_store_stop(&flaky);
}

static void write_file(const char *path, const char *text)
{
    const char *slash = strchr(path, '/');
    char folder[64];

    if (slash != NULL) {
        snprintf(folder, sizeof folder, "%.*s", (int)(slash - path), path);
        (void)mkdirat(dir, folder, 0700);
    }
    int fd = openat(dir, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

static void add(const char *path, const char *text)
{
    struct err e = {0};

    write_file(path, text);
    ck_assert_msg(assets_add(assets, path, &e) == 0, "%s", e.text);
}

static const char *stored(const char *path)
{
    static char text[4096];
    char file[256];

    snprintf(file, sizeof file, "%s/processed/%s/%s/%s", flaky.folder, VIDEO, VERSION, path);
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    ssize_t n = read(fd, text, sizeof text - 1);
    text[n < 0 ? 0 : n] = '\0';
    close(fd);
    return text;
}

static bool in_scratch(const char *path)
{
    return faccessat(dir, path, F_OK, 0) == 0;
}

static void add_a_ladder(void)
{
    add("v240/seg_00000.ts", "first");
    add("v240/index.m3u8", MEDIA); /* playlists may come early, they wait */
    add("master.m3u8", MASTER);
    add("v240/seg_00001.ts", "second");
    add("poster.jpg", "jpeg");
}

START_TEST(uploads_verifies_and_removes)
{
    struct err e = {0};

    add_a_ladder();
    add("result.json", "{\"duration\":12}");
    ck_assert_ptr_null(stored("master.m3u8"));
    ck_assert_msg(assets_finish(assets, &e) == 0, "%s", e.text);
    ck_assert_msg(assets_verify(assets, &e) == 0, "%s", e.text);
    ck_assert_str_eq(stored("v240/seg_00001.ts"), "second");
    ck_assert_str_eq(stored("v240/index.m3u8"), MEDIA);
    ck_assert_str_eq(stored("master.m3u8"), MASTER);
    ck_assert_str_eq(stored("poster.jpg"), "jpeg");
    ck_assert_ptr_null(stored("result.json"));
    ck_assert_str_eq(assets_result(assets), "{\"duration\":12}");
    ck_assert(!in_scratch("v240/seg_00000.ts") && !in_scratch("master.m3u8") && !in_scratch("poster.jpg"));
    ck_assert_uint_eq(assets_bytes(assets), strlen("firstsecondjpeg" MASTER MEDIA));
    ck_assert_uint_eq(assets_count(assets), 5);
}
END_TEST

START_TEST(tries_again_what_failed)
{
    struct err e = {0};

    flaky.failing = 4;
    add_a_ladder();
    ck_assert_msg(assets_finish(assets, &e) == 0, "%s", e.text);
    ck_assert_int_eq(flaky.puts, 9);
}
END_TEST

START_TEST(gives_up_after_its_patience)
{
    struct err e;

    flaky.failing = 1000000;
    add("v240/seg_00000.ts", "first");
    add("master.m3u8", MASTER);
    ck_assert_int_eq(assets_finish(assets, &e), -ERR_TEMPORARY);
    ck_assert_str_eq(e.text, "upload: PUT processed/" VIDEO "/" VERSION "/v240/seg_00000.ts: the store is away");
    ck_assert_int_eq(assets_check(assets, &e), -ERR_TEMPORARY);
    ck_assert_ptr_null(stored("master.m3u8"));
}
END_TEST

START_TEST(has_no_room_while_too_much_waits)
{
    char path[64];
    struct err e;

    flaky.hanging = true;
    for (unsigned i = 0; i < 30; i++) {
        snprintf(path, sizeof path, "v240/seg_%05u.ts", i);
        add(path, "x");
    }
    ck_assert(assets_room(assets));
    for (unsigned i = 30; i < 40; i++) {
        snprintf(path, sizeof path, "v240/seg_%05u.ts", i);
        add(path, "x");
    }
    ck_assert(!assets_room(assets));
    control_calm(&control);
    flaky.hanging = false;
    for (int i = 0; i < 1000 && !assets_room(assets); i++)
        clock_sleep_ms(5);
    ck_assert(assets_room(assets));
    uint64_t nudges;
    ck_assert_int_eq(read(control.wake_fd, &nudges, sizeof nudges), sizeof nudges);
    ck_assert_int_eq(assets_finish(assets, &e), 0);
}
END_TEST

static const struct {
    const char *path;
    enum err_kind kind;
} names[] = {
    {"../secret", ERR_INVALID}, {"/etc/passwd", ERR_INVALID}, {"a/../b", ERR_INVALID},     {".hidden", ERR_INVALID},
    {"", ERR_INVALID},          {"a//b", ERR_INVALID},        {"with space", ERR_INVALID}, {"a\tb", ERR_INVALID},
    {"a/b/c/d/e", ERR_INVALID}, {"\xC3\xA4.ts", ERR_INVALID},
};

START_TEST(refuses_names_that_weir_does_not_write)
{
    struct err e;

    ck_assert_int_eq(assets_add(assets, names[_i].path, &e), -(int)names[_i].kind);
}
END_TEST

START_TEST(nothing_may_follow_the_result)
{
    struct err e;

    add("result.json", "{}");
    write_file("late.ts", "x");
    ck_assert_int_eq(assets_add(assets, "late.ts", &e), -ERR_INVALID);
    ck_assert_int_eq(assets_add(assets, "result.json", &e), -ERR_INVALID);
}
END_TEST

static void make_link(void)
{
    ck_assert_int_eq(symlinkat("/etc/passwd", dir, "x.ts"), 0);
}
static void make_folder_link(void)
{
    ck_assert_int_eq(symlinkat("/etc", dir, "v240"), 0);
}
static void make_fifo(void)
{
    ck_assert_int_eq(mkfifoat(dir, "x.ts", 0600), 0);
}
static void make_folder(void)
{
    ck_assert_int_eq(mkdirat(dir, "x.ts", 0700), 0);
}
static void make_nothing(void)
{
}

static const struct {
    const char *path;
    void (*make)(void);
} no_files[] = {
    {"x.ts", make_link},    {"v240/passwd", make_folder_link}, {"x.ts", make_fifo}, {"x.ts", make_folder},
    {"x.ts", make_nothing},
};

START_TEST(uploads_regular_files_only)
{
    struct err e;

    no_files[_i].make();
    ck_assert_int_eq(assets_add(assets, no_files[_i].path, &e), 0);
    ck_assert_int_ne(assets_finish(assets, &e), 0);
    ck_assert_int_eq(flaky.puts, 0);
}
END_TEST

static const struct {
    const char *text; /* of v240/index.m3u8 */
    const char *error;
} playlists[] = {
    {"#EXTM3U\n#EXTINF:6,\nseg_00009.ts\n", "playlist v240/index.m3u8 names seg_00009.ts, which was not uploaded"},
    {"#EXTM3U\n#EXT-X-MAP:URI=\"init.mp4\"\n", "playlist v240/index.m3u8 names init.mp4, which was not uploaded"},
    {"#EXTM3U\n#EXTINF:6,\n../poster.jpg\n", "playlist v240/index.m3u8 names ../poster.jpg, which was not uploaded"},
    {"#EXTM3U\n#EXTINF:6,\nhttps://example.org/a.ts\n",
     "playlist v240/index.m3u8 names https://example.org/a.ts, which was not uploaded"},
    {"no playlist", NULL},
};

START_TEST(verifies_what_playlists_name)
{
    struct err e = {0};

    add_a_ladder();
    write_file("v240/index.m3u8", playlists[_i].text); /* before it is uploaded */
    ck_assert_msg(assets_finish(assets, &e) == 0, "%s", e.text);
    ck_assert_int_ne(assets_verify(assets, &e), 0);
    if (playlists[_i].error != NULL)
        ck_assert_str_eq(e.text, playlists[_i].error);
}
END_TEST

static void remove_stored(const char *path)
{
    char file[256];

    snprintf(file, sizeof file, "%s/processed/%s/%s/%s", flaky.folder, VIDEO, VERSION, path);
    ck_assert_int_eq(unlink(file), 0);
}

START_TEST(verifies_what_stands_in_the_store)
{
    struct err e;

    add_a_ladder();
    ck_assert_int_eq(assets_finish(assets, &e), 0);
    flaky_store_put(&flaky, "processed", VIDEO "/" VERSION "/v240/seg_00001.ts", "longer than it was", 18);
    ck_assert_int_eq(assets_verify(assets, &e), -ERR_TEMPORARY);
    ck_assert_str_eq(e.text, "v240/seg_00001.ts has the wrong size in the store");
    remove_stored("v240/seg_00001.ts");
    ck_assert_int_eq(assets_verify(assets, &e), -ERR_TEMPORARY);
    ck_assert_str_eq(e.text, "v240/seg_00001.ts is not in the store");
}
END_TEST

START_TEST(verifies_that_there_is_a_master)
{
    struct err e;

    add("v240/seg_00000.ts", "first");
    ck_assert_int_eq(assets_finish(assets, &e), 0);
    ck_assert_int_eq(assets_verify(assets, &e), -ERR_TEMPORARY);
    ck_assert_str_eq(e.text, "the transcoder wrote no master.m3u8");
}
END_TEST

START_TEST(verifies_that_nothing_came_twice)
{
    struct err e = {0};

    add_a_ladder();
    while (in_scratch("v240/seg_00000.ts"))
        clock_sleep_ms(5);
    add("v240/seg_00000.ts", "again");
    ck_assert_msg(assets_finish(assets, &e) == 0, "%s", e.text);
    ck_assert_int_eq(assets_verify(assets, &e), -ERR_TEMPORARY);
    ck_assert_str_eq(e.text, "the transcoder named v240/seg_00000.ts twice");
}
END_TEST

START_TEST(a_stop_ends_the_trying)
{
    uint64_t start_ms = clock_mono_ms();

    flaky.failing = 1000000;
    add_a_ladder();
    control_stop(&control, STOP_STALE);
    assets_free(assets);
    assets = NULL;
    ck_assert_uint_lt(clock_mono_ms() - start_ms, 5000);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("assets");
    TCase *tcase = tcase_create("files");

    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, up, down);
    tcase_add_test(tcase, uploads_verifies_and_removes);
    tcase_add_test(tcase, tries_again_what_failed);
    tcase_add_test(tcase, gives_up_after_its_patience);
    tcase_add_test(tcase, has_no_room_while_too_much_waits);
    tcase_add_loop_test(tcase, refuses_names_that_weir_does_not_write, 0, (int)ARRAY_SIZE(names));
    tcase_add_test(tcase, nothing_may_follow_the_result);
    tcase_add_loop_test(tcase, uploads_regular_files_only, 0, (int)ARRAY_SIZE(no_files));
    tcase_add_loop_test(tcase, verifies_what_playlists_name, 0, (int)ARRAY_SIZE(playlists));
    tcase_add_test(tcase, verifies_what_stands_in_the_store);
    tcase_add_test(tcase, verifies_that_there_is_a_master);
    tcase_add_test(tcase, verifies_that_nothing_came_twice);
    tcase_add_test(tcase, a_stop_ends_the_trying);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
