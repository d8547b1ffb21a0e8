#include "services/worker/transcode/source.h"
#include "services/worker/wire.h"

#include "suite.h"

#include "base/mem.h"

#include <check.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* The worker's end, answering from memory as a test wants it. */
struct worker {
    int fd;
    const char *content;
    unsigned fail_from; /* request number from which WIRE_FAILED is answered; 0: never */
    uint32_t too_much;  /* added to the length of an answer */
    bool hang_up;       /* instead of the second answer */
};

static void *answer(void *arg)
{
    struct worker *w = arg;
    struct wire_request request;
    size_t size = strlen(w->content);

    for (unsigned number = 1; recv(w->fd, &request, sizeof request, MSG_WAITALL) == sizeof request; number++) {
        if (w->hang_up && number == 2)
            break;
        size_t left = request.offset < size ? size - request.offset : 0;
        struct wire_answer head = {.status = w->fail_from != 0 && number >= w->fail_from ? WIRE_FAILED : WIRE_OK,
                                   .length = request.length < left ? request.length : (uint32_t)left,
                                   .size = size};
        size_t length = head.length;
        head.length += number > 1 ? w->too_much : 0;
        if (send(w->fd, &head, sizeof head, MSG_NOSIGNAL) != sizeof head)
            break;
        if (length > 0 && head.status == WIRE_OK)
            send(w->fd, w->content + request.offset, length, MSG_NOSIGNAL);
    }
    close(w->fd);
    return NULL;
}

static pthread_t start(struct worker *w, int *ret_fd)
{
    pthread_t thread;
    int pair[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    w->fd = pair[0];
    *ret_fd = pair[1];
    ck_assert_int_eq(pthread_create(&thread, NULL, answer, w), 0);
    return thread;
}

START_TEST(reads_what_the_worker_sends)
{
    struct worker w = {.content = "0123456789"};
    struct source s;
    char data[16];
    size_t got;
    int fd;
    pthread_t thread = start(&w, &fd);

    ck_assert_int_eq(source_open_socket(&s, fd, NULL), 0);
    ck_assert_uint_eq(s.size, 10);
    ck_assert_int_eq(source_read(&s, 3, data, 4, &got), 0);
    ck_assert_uint_eq(got, 4);
    ck_assert_mem_eq(data, "3456", 4);
    ck_assert_int_eq(source_read(&s, 8, data, sizeof data, &got), 0);
    ck_assert_uint_eq(got, 2);
    ck_assert_int_eq(source_read(&s, 10, data, sizeof data, &got), 0);
    ck_assert_uint_eq(got, 0);
    ck_assert_int_eq(source_read(&s, UINT64_MAX, data, sizeof data, &got), 0);
    ck_assert_uint_eq(got, 0);
    ck_assert(!s.failed);
    source_close(&s);
    pthread_join(thread, NULL);
}
END_TEST

START_TEST(failure_is_temporary_and_remembered)
{
    static const struct worker kinds[] = {{.content = "0123", .fail_from = 2},
                                          {.content = "0123", .too_much = 100},
                                          {.content = "0123", .hang_up = true}};
    struct worker w = kinds[_i];
    struct source s;
    char data[16];
    size_t got = 99;
    int fd;
    pthread_t thread = start(&w, &fd);

    ck_assert_int_eq(source_open_socket(&s, fd, NULL), 0);
    ck_assert_int_ne(source_read(&s, 0, data, 4, &got), 0);
    ck_assert_uint_eq(got, 99);
    ck_assert(s.failed);
    ck_assert_int_ne(s.reason.kind, ERR_INVALID);
    source_close(&s);
    pthread_join(thread, NULL);
}
END_TEST

START_TEST(no_worker_no_source)
{
    struct worker w = {.content = "", .fail_from = 1};
    struct source s;
    struct err e;
    int fd;
    pthread_t thread = start(&w, &fd);

    ck_assert_int_eq(source_open_socket(&s, fd, &e), -ERR_TEMPORARY);
    close(fd);
    pthread_join(thread, NULL);
}
END_TEST

START_TEST(reads_a_file)
{
    char path[] = "/tmp/weir-test-source-XXXXXX", data[8];
    int fd = mkstemp(path);
    struct source s;
    size_t got;

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, "abcdef", 6), 6);
    ck_assert_int_eq(source_open_file(&s, path, NULL), 0);
    ck_assert_uint_eq(s.size, 6);
    ck_assert_int_eq(source_read(&s, 4, data, sizeof data, &got), 0);
    ck_assert_uint_eq(got, 2);
    ck_assert_mem_eq(data, "ef", 2);
    source_close(&s);
    close(fd);
    unlink(path);
    ck_assert_int_eq(source_open_file(&s, path, NULL), -ERR_TEMPORARY);
    ck_assert_int_eq(source_open_file(&s, "/tmp", NULL), -ERR_TEMPORARY);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("source");
    TCase *tcase = tcase_create("source");
    tcase_add_test(tcase, reads_what_the_worker_sends);
    tcase_add_loop_test(tcase, failure_is_temporary_and_remembered, 0, 3);
    tcase_add_test(tcase, no_worker_no_source);
    tcase_add_test(tcase, reads_a_file);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
