#include "io/store.h"

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"

#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* What only the directory store promises: plain files, nothing left over, folders of any size. */

static char root[64];
static struct store *store;
static struct err e;

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static void open_store(void)
{
    str_copy(root, sizeof root, "/tmp/weir-test-dir-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(root));
    ck_assert_msg(store_dir_new(root, &store, &e) == 0, "%s", e.text);
    ck_assert_int_eq(store_ensure_bucket(store, "raw", &e), 0);
}

static void close_store(void)
{
    store_free(store);
    nftw(root, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static const char *path_of(const char *name)
{
    static char path[256];

    ck_assert(str_format(path, sizeof path, "%s/%s", root, name));
    return path;
}

static void make_file(const char *name, const char *text)
{
    int fd = open(path_of(name), O_WRONLY | O_CREAT | O_EXCL, 0644);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

static size_t count_entries(const char *name)
{
    const struct dirent *entry;
    size_t count = 0;

    DIR *list = opendir(path_of(name));
    ck_assert_ptr_nonnull(list);
    while ((entry = readdir(list)) != NULL)
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(list);
    return count;
}

static int put(const char *key, const char *text)
{
    return store_put_bytes(store, "raw", key, text, strlen(text), NULL, &e);
}

static int count_keys(void *ctx, const struct store_entry *entry, struct err *err)
{
    (void)entry, (void)err;
    ++*(size_t *)ctx;
    return 0;
}

START_TEST(objects_are_plain_files)
{
    char text[8] = "";

    ck_assert_int_eq(put("v_1/source", "bytes"), 0);
    int fd = open(path_of("raw/v_1/source"), O_RDONLY);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(read(fd, text, sizeof text), 5);
    ck_assert_str_eq(text, "bytes");
    close(fd);
    ck_assert_uint_eq(count_entries(".tmp"), 0);

    char *data = NULL;
    make_file("raw/by-hand", "hello"); /* and a plain file is an object */
    ck_assert_int_eq(store_get_bytes(store, "raw", "by-hand", 10, &data, NULL, &e), 0);
    ck_assert_str_eq(data, "hello");
    mem_free(data);
}
END_TEST

START_TEST(folders_go_with_their_last_object)
{
    ck_assert_int_eq(put("a/b/c/1", "x"), 0);
    ck_assert_int_eq(put("a/b/2", "x"), 0);
    ck_assert_int_eq(store_delete(store, "raw", "a/b/c/1", &e), 0);
    ck_assert_int_ne(access(path_of("raw/a/b/c"), F_OK), 0);
    ck_assert_int_eq(access(path_of("raw/a/b"), F_OK), 0);
    ck_assert_int_eq(store_delete(store, "raw", "a/b/2", &e), 0);
    ck_assert_int_ne(access(path_of("raw/a"), F_OK), 0);
    ck_assert_int_eq(access(path_of("raw"), F_OK), 0);
}
END_TEST

START_TEST(only_regular_files_are_objects)
{
    struct store_info info;
    size_t count = 0;

    ck_assert_int_eq(symlink("/etc/passwd", path_of("raw/link")), 0);
    ck_assert_int_eq(mkfifo(path_of("raw/fifo"), 0644), 0);
    ck_assert_int_eq(mkdir(path_of("raw/folder"), 0755), 0);
    make_file("raw/line\nfeed", "x");
    ck_assert_int_eq(store_head(store, "raw", "link", &info, &e), -ERR_NOT_FOUND);
    ck_assert_int_eq(store_head(store, "raw", "fifo", &info, &e), -ERR_NOT_FOUND);
    ck_assert_int_eq(store_head(store, "raw", "folder", &info, &e), -ERR_NOT_FOUND);
    ck_assert_int_eq(store_list(store, "raw", "", NULL, 0, count_keys, &count, &e), 0);
    ck_assert_uint_eq(count, 0);
    ck_assert_int_eq(put("folder", "an empty folder is nothing"), 0);
}
END_TEST

/* More names in one folder than are kept in memory at once. */
#define CROWD 20000

struct order {
    char last[64];
    size_t count;
};

static int check_order(void *ctx, const struct store_entry *entry, struct err *err)
{
    struct order *order = ctx;
    (void)err;

    ck_assert_str_lt(order->last, entry->key);
    ck_assert(str_copy(order->last, sizeof order->last, entry->key));
    order->count++;
    return 0;
}

START_TEST(lists_a_crowded_folder)
{
    struct order order = {.last = ""};
    char name[64];

    ck_assert_int_eq(mkdir(path_of("raw/crowd"), 0755), 0);
    for (unsigned i = 0; i < CROWD; i++) {
        str_format(name, sizeof name, "raw/crowd/%08x", i * 2654435761u); /* all different, in no order */
        make_file(name, "");
    }
    ck_assert_int_eq(store_list(store, "raw", "crowd/", NULL, 0, check_order, &order, &e), 0);
    ck_assert_uint_eq(order.count, CROWD);

    order = (struct order){.last = "crowd/80000000"};
    ck_assert_int_eq(store_list(store, "raw", "crowd/", "crowd/80000000", 10000, check_order, &order, &e), 0);
    ck_assert_uint_gt(order.count, CROWD / 2 - 100);
    ck_assert_uint_le(order.count, 10000);
}
END_TEST

START_TEST(a_full_disk_is_temporary)
{
    struct rlimit before, small;
    struct store_info info;
    char text[5000] = "";

    signal(SIGXFSZ, SIG_IGN);
    memset(text, 'x', sizeof text - 1);
    ck_assert_int_eq(put("k", "small"), 0);
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = (struct rlimit){.rlim_cur = 1000, .rlim_max = before.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    ck_assert_int_eq(put("k", text), -ERR_TEMPORARY);
    ck_assert_int_eq(put("l", text), -ERR_TEMPORARY);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
    ck_assert_uint_eq(count_entries(".tmp"), 0);
    ck_assert_int_eq(store_head(store, "raw", "k", &info, &e), 0);
    ck_assert_uint_eq(info.size_bytes, 5);
    ck_assert_int_eq(store_head(store, "raw", "l", &info, &e), -ERR_NOT_FOUND);
}
END_TEST

static void make_old(const char *name)
{
    struct timespec times[2] = {{.tv_sec = time(NULL) - 31L * 24 * 3600}, {.tv_sec = time(NULL) - 31L * 24 * 3600}};

    ck_assert_int_eq(utimensat(AT_FDCWD, path_of(name), times, 0), 0);
}

START_TEST(sweeps_what_crashes_left_long_ago)
{
    char id[STORE_UPLOAD_ID_SIZE], young[STORE_UPLOAD_ID_SIZE], name[STORE_UPLOAD_ID_SIZE + 16];
    struct store_body body = store_body_bytes(&(struct store_bytes){"x", 1});
    struct store *again;

    ck_assert_int_eq(store_multipart_create(store, "raw", "k", NULL, id, &e), 0);
    ck_assert_int_eq(store_multipart_create(store, "raw", "k", NULL, young, &e), 0);
    ck_assert_int_eq(store_multipart_put(store, "raw", "k", id, 1, &body, NULL, &e), 0);
    make_file(".tmp/t-old", "x");
    make_file(".tmp/t-young", "x");
    make_old(".tmp/t-old");
    str_format(name, sizeof name, ".tmp/%s", id);
    make_old(name);

    ck_assert_int_eq(store_dir_new(root, &again, &e), 0);
    store_free(again);
    ck_assert_uint_eq(count_entries(".tmp"), 2);
    ck_assert_int_eq(access(path_of(".tmp/t-young"), F_OK), 0);
    ck_assert_int_eq(store_multipart_put(store, "raw", "k", id, 1, &body, NULL, &e), -ERR_NOT_FOUND);
    ck_assert_int_eq(store_multipart_put(store, "raw", "k", young, 1, &body, NULL, &e), 0);
}
END_TEST

START_TEST(leaves_nothing_after_an_upload)
{
    char id[STORE_UPLOAD_ID_SIZE];
    struct store_body body = store_body_bytes(&(struct store_bytes){"x", 1});
    struct store_part part = {.number = 1};

    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(store_multipart_create(store, "raw", "k", NULL, id, &e), 0);
        ck_assert_int_eq(store_multipart_put(store, "raw", "k", id, 1, &body, part.etag, &e), 0);
        ck_assert_int_eq(i == 0 ? store_multipart_complete(store, "raw", "k", id, &part, 1, true, &e)
                                : store_multipart_abort(store, "raw", "k", id, &e),
                         0);
        ck_assert_uint_eq(count_entries(".tmp"), 0);
    }
}
END_TEST

static void expect_part(const char *id, const char *text)
{
    char name[STORE_UPLOAD_ID_SIZE + 16], got[64] = "";

    str_format(name, sizeof name, ".tmp/%s/00001", id);
    int fd = open(path_of(name), O_RDONLY);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(read(fd, got, sizeof got - 1), (ssize_t)strlen(text));
    ck_assert_str_eq(got, text);
    close(fd);
}

/* The kernel refuses to copy by itself here, so it is done by hand. */
START_TEST(copies_between_file_systems)
{
    char id[STORE_UPLOAD_ID_SIZE], elsewhere[64] = "/dev/shm/weir-test-dir-XXXXXX";

    ck_assert_ptr_nonnull(mkdtemp(elsewhere));
    ck_assert_int_eq(rmdir(path_of("raw")), 0);
    ck_assert_int_eq(symlink(elsewhere, path_of("raw")), 0);
    make_file("raw/source", "0123456789");
    ck_assert_int_eq(store_multipart_create(store, "raw", "k", NULL, id, &e), 0);
    int r = store_multipart_copy(store, "raw", "k", id, 1, &(struct store_range){"source", 3, 5}, NULL, &e);
    nftw(elsewhere, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    ck_assert_msg(r == 0, "%s", e.text);
    expect_part(id, "34567");
}
END_TEST

START_TEST(a_full_disk_ends_a_copy)
{
    char id[STORE_UPLOAD_ID_SIZE], text[5000] = "", folder[STORE_UPLOAD_ID_SIZE + 8];
    struct rlimit before, small;

    signal(SIGXFSZ, SIG_IGN);
    memset(text, 'x', sizeof text - 1);
    ck_assert_int_eq(put("source", text), 0);
    ck_assert_int_eq(store_multipart_create(store, "raw", "k", NULL, id, &e), 0);
    str_format(folder, sizeof folder, ".tmp/%s", id);
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = (struct rlimit){.rlim_cur = 1000, .rlim_max = before.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    ck_assert_int_eq(store_multipart_copy(store, "raw", "k", id, 1, &(struct store_range){"source", 0, 4999}, NULL, &e),
                     -ERR_TEMPORARY);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
    ck_assert_uint_eq(count_entries(folder), 1); /* its key */
    ck_assert_int_eq(store_multipart_copy(store, "raw", "k", id, 1, &(struct store_range){"source", 0, 5}, NULL, &e),
                     0);
    expect_part(id, "xxxxx");
}
END_TEST

/* A process died within an abort: the key file is gone, parts are still there. */
START_TEST(an_abort_that_was_cut_is_finished)
{
    char id[STORE_UPLOAD_ID_SIZE], name[STORE_UPLOAD_ID_SIZE + 16];
    struct store_body body = store_body_bytes(&(struct store_bytes){"x", 1});

    ck_assert_int_eq(store_multipart_create(store, "raw", "k", NULL, id, &e), 0);
    ck_assert_int_eq(store_multipart_put(store, "raw", "k", id, 1, &body, NULL, &e), 0);
    str_format(name, sizeof name, ".tmp/%s/key", id);
    ck_assert_int_eq(unlink(path_of(name)), 0);
    ck_assert_int_eq(store_multipart_put(store, "raw", "k", id, 2, &body, NULL, &e), -ERR_NOT_FOUND);
    ck_assert_int_eq(store_multipart_abort(store, "raw", "k", id, &e), 0);
    ck_assert_uint_eq(count_entries(".tmp"), 0);
}
END_TEST

START_TEST(survives_failing_allocations)
{
    size_t count = 0;
    char *data = NULL;

    ck_assert_int_eq(put("a/b", "x"), 0);
    for (uint64_t nth = 1; nth < 12; nth++) {
        mem_fail_from(nth);
        int results[] = {put("a/c", "y"), store_get_bytes(store, "raw", "a/b", 10, &data, NULL, &e),
                         store_list(store, "raw", "", NULL, 0, count_keys, &count, &e),
                         store_delete_prefix(store, "raw", "nothing", NULL, &e)};
        mem_fail_from(0);
        for (size_t i = 0; i < ARRAY_SIZE(results); i++)
            ck_assert(results[i] == 0 || results[i] == -ERR_TEMPORARY);
        mem_free(data);
        data = NULL;
        ck_assert_uint_eq(count_entries(".tmp"), 0);
    }
}
END_TEST

START_TEST(refuses_wrong_folders)
{
    struct store *other = NULL;

    ck_assert_int_eq(store_dir_new("relative/path", &other, &e), -ERR_INVALID);
    make_file("file", "x");
    ck_assert_int_eq(store_dir_new(path_of("file"), &other, &e), -ERR_INVALID);
    ck_assert_int_eq(store_dir_new(path_of("file/below"), &other, &e), -ERR_INVALID);
    ck_assert_ptr_null(other);
    ck_assert_int_eq(store_dir_new(path_of("made/with/parents/"), &other, &e), 0);
    store_free(other);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        objects_are_plain_files,        folders_go_with_their_last_object, only_regular_files_are_objects,
        lists_a_crowded_folder,         a_full_disk_is_temporary,          sweeps_what_crashes_left_long_ago,
        leaves_nothing_after_an_upload, an_abort_that_was_cut_is_finished, survives_failing_allocations,
        refuses_wrong_folders,          copies_between_file_systems,       a_full_disk_ends_a_copy,
    };
    Suite *suite = suite_create("store_dir");
    TCase *tcase = tcase_create("directory");
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, open_store, close_store);
    for (size_t i = 0; i < ARRAY_SIZE(tests); i++)
        tcase_add_test(tcase, tests[i]);
    suite_add_tcase(suite, tcase);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
