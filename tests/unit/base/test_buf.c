#include "base/buf.h"
#include "base/mem.h"
#include "suite.h"

#include <stdint.h>
#include <string.h>

START_TEST(starts_empty_without_memory)
{
    struct buf b;

    mem_fail_from(1);
    buf_init(&b, 10);
    ck_assert_str_eq(buf_cstr(&b), "");
    ck_assert_int_eq(buf_check(&b, "it", NULL), 0);
    buf_append(&b, NULL, 0);
    buf_puts(&b, "");
    buf_printf(&b, "%s", "");
    buf_drop_front(&b, 0);
    ck_assert_int_eq(buf_check(&b, "it", NULL), 0);
    buf_release(&b);
    buf_release(NULL);
    mem_fail_from(0);
}
END_TEST

START_TEST(holds_what_was_appended)
{
    BUF_AUTO struct buf b;

    buf_init(&b, 1000);
    buf_puts(&b, "one ");
    buf_putc(&b, '2');
    buf_printf(&b, " %s %d", "three", 4);
    buf_append(&b, "\0five", 5);
    ck_assert_uint_eq(b.len, 18);
    ck_assert_mem_eq(b.data, "one 2 three 4\0five", 19);
    ck_assert_int_eq(buf_check(&b, "it", NULL), 0);
}
END_TEST

START_TEST(grows_by_any_step)
{
    size_t step = (size_t)_i;
    char block[300];
    BUF_AUTO struct buf b;

    memset(block, 'b', sizeof block);
    buf_init(&b, 100 * step);
    for (size_t i = 0; i < 100; i++) {
        if (i % 2 == 0)
            buf_append(&b, block, step);
        else
            buf_printf(&b, "%.*s", (int)step, block);
        ck_assert_uint_eq(b.len, (i + 1) * step);
        ck_assert_uint_eq(strlen(buf_cstr(&b)), b.len);
    }
    ck_assert_int_eq(buf_check(&b, "it", NULL), 0);
    ck_assert_uint_le(b.cap, b.max + 1);
}
END_TEST

START_TEST(refuses_more_than_its_maximum)
{
    struct err e;
    BUF_AUTO struct buf b;

    buf_init(&b, 5);
    buf_puts(&b, "12345");
    ck_assert_int_eq(buf_check(&b, "it", &e), 0);
    buf_putc(&b, '6');
    ck_assert_int_eq(buf_check(&b, "the list", &e), -ERR_TOO_LARGE);
    ck_assert_str_eq(e.text, "the list: more than 5 bytes");
    ck_assert_str_eq(buf_cstr(&b), "12345");

    buf_drop_front(&b, 5);
    buf_puts(&b, "ignored"); /* failed is failed, though there would be room */
    ck_assert_uint_eq(b.len, 0);
    buf_printf(&b, "%d", 1);
    ck_assert_uint_eq(b.len, 0);
    ck_assert_ptr_null(buf_detach(&b));

    buf_reset(&b);
    buf_printf(&b, "%05d", 7);
    ck_assert_int_eq(buf_check(&b, "it", &e), 0);
    ck_assert_str_eq(buf_cstr(&b), "00007");
}
END_TEST

START_TEST(takes_nothing_when_its_maximum_is_zero)
{
    BUF_AUTO struct buf b;

    buf_init(&b, 0);
    buf_puts(&b, "");
    ck_assert_int_eq(buf_check(&b, "it", NULL), 0);
    buf_putc(&b, 'x');
    ck_assert_int_eq(buf_check(&b, "it", NULL), -ERR_TOO_LARGE);
}
END_TEST

START_TEST(sizes_never_overflow)
{
    BUF_AUTO struct buf b;

    buf_init(&b, SIZE_MAX);
    buf_puts(&b, "x");
    buf_append(&b, "y", SIZE_MAX - 1);
    ck_assert_int_eq(buf_check(&b, "it", NULL), -ERR_TOO_LARGE);
    ck_assert_str_eq(buf_cstr(&b), "x");
}
END_TEST

START_TEST(remembers_that_memory_was_short)
{
    struct err e;
    BUF_AUTO struct buf b;

    buf_init(&b, 100000);
    buf_puts(&b, "kept");
    mem_fail_from(1);
    buf_printf(&b, "%1000d", 1);
    mem_fail_from(0);
    buf_puts(&b, "ignored");
    ck_assert_int_eq(buf_check(&b, "list", &e), -ERR_TEMPORARY);
    ck_assert_str_eq(e.text, "list: out of memory");
    ck_assert_str_eq(buf_cstr(&b), "kept");
    buf_reset(&b);
    buf_puts(&b, "anew");
    ck_assert_str_eq(buf_cstr(&b), "anew");
}
END_TEST

START_TEST(drops_from_the_front)
{
    BUF_AUTO struct buf b;

    buf_init(&b, 100);
    buf_puts(&b, "0123456789");
    buf_drop_front(&b, 4);
    ck_assert_str_eq(buf_cstr(&b), "456789");
    buf_putc(&b, 'a');
    ck_assert_str_eq(buf_cstr(&b), "456789a");
    buf_drop_front(&b, 7);
    ck_assert_str_eq(buf_cstr(&b), "");
    ck_assert_uint_eq(b.len, 0);
}
END_TEST

START_TEST(gives_its_content_away)
{
    BUF_AUTO struct buf b;

    buf_init(&b, 100);
    buf_puts(&b, "mine");
    MEM_AUTO char *text = buf_detach(&b);
    ck_assert_str_eq(text, "mine");
    ck_assert_str_eq(buf_cstr(&b), "");
    MEM_AUTO char *empty = buf_detach(&b);
    ck_assert_str_eq(empty, "");
    buf_puts(&b, "usable");
    ck_assert_str_eq(buf_cstr(&b), "usable");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("buf");
    TCase *tcase = tcase_create("buf");
    tcase_add_test(tcase, starts_empty_without_memory);
    tcase_add_test(tcase, holds_what_was_appended);
    tcase_add_loop_test(tcase, grows_by_any_step, 1, 40);
    tcase_add_test(tcase, refuses_more_than_its_maximum);
    tcase_add_test(tcase, takes_nothing_when_its_maximum_is_zero);
    tcase_add_test(tcase, sizes_never_overflow);
    tcase_add_test(tcase, remembers_that_memory_was_short);
    tcase_add_test(tcase, drops_from_the_front);
    tcase_add_test(tcase, gives_its_content_away);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
