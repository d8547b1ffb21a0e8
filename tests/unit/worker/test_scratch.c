#include "services/worker/scratch.h"

#include "../suite.h"
#include "base/mem.h"
#include "base/str.h"
#include "flaky_store.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define JOB "v_01jd0000000000000000000000.1"
#define NONCE "0123456789abcdef"

static char folder[32], root[64];

static void up(void)
{
    str_copy(folder, sizeof folder, "/tmp/weir-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    str_format(root, sizeof root, "%s/a/b/weir", folder);
}

static void down(void)
{
    remove_folder(folder);
}

static char *in_root(const char *name)
{
    static char path[4][256];
    static size_t next;

    next = (next + 1) % ARRAY_SIZE(path);
    str_format(path[next], sizeof path[next], "%s/%s", root, name);
    return path[next];
}

static bool exists(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0;
}

static void prepare(void)
{
    struct err e = {0};

    ck_assert_msg(scratch_prepare(root, &e) == 0, "%s", e.text);
}

static void make_file(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    ck_assert_int_ge(fd, 0);
    close(fd);
}

START_TEST(makes_and_removes)
{
    struct scratch s;
    struct stat st;
    struct err e;
    char path[PATH_MAX + 32];

    prepare();
    ck_assert_int_eq(scratch_make(root, JOB, NONCE, &s, &e), 0);
    ck_assert_str_eq(s.path, in_root(JOB "-" NONCE));
    ck_assert_int_eq(stat(s.path, &st), 0);
    ck_assert_uint_eq(st.st_mode & 0777, 0700);
    snprintf(path, sizeof path, "%s/v720", s.path);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    snprintf(path, sizeof path, "%s/v720/seg_00000.ts", s.path);
    make_file(path);
    scratch_remove(&s);
    ck_assert(!exists(in_root(JOB "-" NONCE)));
    ck_assert(exists(root));
}
END_TEST

START_TEST(removes_what_the_dead_left_and_nothing_else)
{
    static const char *const others[] = {"notes", JOB, JOB "-0123", "x-" NONCE, JOB "-0123456789abcdeg"};
    struct scratch live;
    struct err e;

    prepare();
    ck_assert_int_eq(scratch_make(root, JOB, "00000000000000aa", &live, &e), 0);
    ck_assert_int_eq(mkdir(in_root(JOB "-" NONCE), 0700), 0); /* nobody holds it */
    make_file(in_root(JOB "-" NONCE "/file"));
    make_file(in_root("kept"));
    ck_assert_int_eq(symlink(in_root("kept"), in_root(JOB "-" NONCE "/link")), 0);
    for (size_t i = 0; i < ARRAY_SIZE(others); i++)
        ck_assert_int_eq(mkdir(in_root(others[i]), 0700), 0);
    prepare();
    ck_assert(!exists(in_root(JOB "-" NONCE)));
    ck_assert(exists(live.path) && exists(in_root("kept")));
    for (size_t i = 0; i < ARRAY_SIZE(others); i++)
        ck_assert(exists(in_root(others[i])));
    scratch_remove(&live);
    ck_assert(!exists(live.path));
}
END_TEST

START_TEST(the_hold_ends_with_the_holder)
{
    struct scratch s;
    struct err e;

    prepare();
    ck_assert_int_eq(scratch_make(root, JOB, NONCE, &s, &e), 0);
    close(s.fd); /* as the end of the process does */
    prepare();
    ck_assert(!exists(s.path));
}
END_TEST

START_TEST(the_same_name_twice_is_a_failure)
{
    struct scratch s, again;
    struct err e;

    prepare();
    ck_assert_int_eq(scratch_make(root, JOB, NONCE, &s, &e), 0);
    ck_assert_int_eq(scratch_make(root, JOB, NONCE, &again, &e), -ERR_TEMPORARY);
    ck_assert_ptr_nonnull(strstr(e.text, "File exists"));
    scratch_remove(&s);
}
END_TEST

START_TEST(refuses_roots_that_are_not_ours)
{
    struct err e;

    ck_assert_int_eq(scratch_prepare("relative", &e), -ERR_INVALID);
    ck_assert_int_eq(scratch_prepare("/proc/weir", &e), -ERR_INVALID);
    ck_assert_int_eq(mkdir(in_root("../.."), 0700), -1);
    str_format(root, sizeof root, "%s/link", folder);
    ck_assert_int_eq(symlink("/tmp", root), 0);
    ck_assert_int_eq(scratch_prepare(root, &e), -ERR_INVALID); /* a link that somebody laid */
    str_format(root, sizeof root, "%s/file", folder);
    make_file(root);
    ck_assert_int_eq(scratch_prepare(root, &e), -ERR_INVALID);
}
END_TEST

START_TEST(a_root_that_went_is_temporary)
{
    struct scratch s;
    struct err e;

    ck_assert_int_eq(scratch_make(root, JOB, NONCE, &s, &e), -ERR_TEMPORARY);
    ck_assert_ptr_nonnull(strstr(e.text, "No such file"));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("scratch");
    TCase *tcase = tcase_create("directories");

    tcase_add_checked_fixture(tcase, up, down);
    tcase_add_test(tcase, makes_and_removes);
    tcase_add_test(tcase, removes_what_the_dead_left_and_nothing_else);
    tcase_add_test(tcase, the_hold_ends_with_the_holder);
    tcase_add_test(tcase, the_same_name_twice_is_a_failure);
    tcase_add_test(tcase, refuses_roots_that_are_not_ours);
    tcase_add_test(tcase, a_root_that_went_is_temporary);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
