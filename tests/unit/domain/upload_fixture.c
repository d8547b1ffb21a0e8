#include "upload_fixture.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "domain/layout.h"
#include "domain/reconcile.h"
#include "domain/upload_log.h"

#include <string.h>

unsigned char *upload_bytes;
struct upload_service *service;

struct upload_options upload_test_options(void)
{
    return (struct upload_options){
        .library = &test_library,
        .max_size = UPLOAD_BYTES_MAX,
        .memory = 4 * PART,
        .part_size = PART,
        .part_most = PART,
        .queue_max = 200,
        .per_client = 150,
        .in_all = 150,
        .expiry_ms = 3600000,
        .creations_per_minute = 1000000,
    };
}

struct upload_service *start_service(const struct upload_options *o)
{
    struct upload_service *s = NULL;

    ok(upload_service_new(o, &s, &e));
    return s;
}

void upload_up(void)
{
    struct upload_options o = upload_test_options();
    uint32_t x = 1;

    library_up();
    service = start_service(&o);
    upload_bytes = mem_alloc(UPLOAD_BYTES_MAX + MIB);
    for (size_t i = 0; i < UPLOAD_BYTES_MAX + MIB; i++) {
        x = x * 1664525 + 1013904223;
        upload_bytes[i] = (unsigned char)(x >> 24);
    }
}

void upload_down(void)
{
    upload_service_free(service);
    mem_free(upload_bytes);
    library_down();
}

/* --- A client --- */

static struct file create_with(struct upload_service *s, enum upload_origin origin, uint64_t size, bool deferred)
{
    struct file f = {.size = size, .deferred = deferred};
    const struct upload_spec spec = {.title = "Title",
                                     .description = "",
                                     .filename = "clip.mp4",
                                     .length = deferred ? UPLOAD_LENGTH_UNKNOWN : size,
                                     .secret = SECRET,
                                     .metadata = "filename Y2xpcC5tcDQ="};
    struct upload *u = NULL;
    enum upload_refusal refusal;

    ok(upload_new(s, origin, CLIENT, &u, &refusal, &e));
    str_copy(f.id, sizeof f.id, upload_video_id(u));
    ok(upload_begin(u, &spec, &e));
    upload_free(u);
    return f;
}

struct file create(struct upload_service *s, enum upload_origin origin, uint64_t size)
{
    return create_with(s, origin, size, false);
}

struct file create_deferred(struct upload_service *s, uint64_t size)
{
    return create_with(s, UPLOAD_TUS, size, true);
}

int try_look(struct upload_service *s, const struct file *f, struct upload_state *ret, struct err *e)
{
    return upload_look(s, f->id, SECRET, ret, e);
}

uint64_t look(struct upload_service *s, const struct file *f)
{
    UPLOAD_STATE_AUTO struct upload_state state = {0};

    ok(try_look(s, f, &state, &e));
    return state.offset;
}

static int resume(struct upload_service *s, const struct file *f, struct upload **ret, struct err *e)
{
    UPLOAD_STATE_AUTO struct upload_state state = {0};
    enum upload_refusal refusal;

    int r = upload_find(s, f->id, SECRET, &state, e);
    return r == 0 ? upload_resume(s, &state, CLIENT, ret, &refusal, e) : r;
}

struct upload *begin_patch(struct upload_service *s, const struct file *f)
{
    struct upload *u = NULL;

    ok(resume(s, f, &u, &e));
    return u;
}

/* Where there is room, else with a copy, as the api does it. */
int write_bytes(struct upload *u, uint64_t offset, uint64_t count, struct err *e)
{
    int r = 0;

    for (uint64_t at = 0, n; r == 0 && at < count; at += n) {
        size_t size;
        void *room = upload_room(u, &size);
        n = size == 0 || size > 65536 ? 65536 : size;
        if (n > count - at)
            n = count - at;
        if (size > 0)
            memcpy(room, upload_bytes + offset + at, n);
        r = size > 0 ? upload_wrote(u, n, e) : upload_write(u, upload_bytes + offset + at, n, e);
    }
    return r;
}

static int end_patch(struct upload *u, const struct file *f, uint64_t offset, struct err *e)
{
    struct queue_video v = {0};
    bool stored;
    int r = 0;

    if (offset == f->size)
        r = upload_declare(u, f->size, e);
    if (r == 0)
        r = offset == f->size ? upload_finish(u, &v, &stored, e) : upload_pause(u, e);
    queue_video_release(&v);
    return r;
}

int try_patch(struct upload_service *s, const struct file *f, uint64_t offset, uint64_t count, struct err *e)
{
    struct upload *u = NULL;

    int r = resume(s, f, &u, e);
    if (r != 0)
        return r;
    if (upload_recorded(u)->offset != offset)
        r = err_set(e, ERR_CONFLICT, "another offset");
    if (r == 0) {
        r = write_bytes(u, offset, count, e);
        if (r == 0)
            r = end_patch(u, f, offset + count, e);
        else
            (void)!upload_pause(u, &(struct err){0});
    }
    upload_free(u);
    return r;
}

void patch(struct upload_service *s, const struct file *f, uint64_t offset, uint64_t count)
{
    ok(try_patch(s, f, offset, count, &e));
}

void send_all(struct upload_service *s, const struct file *f, uint64_t piece)
{
    uint64_t at = 0;

    do {
        uint64_t n = f->size - at < piece ? f->size - at : piece;
        patch(s, f, at, n);
        at += n;
    } while (at < f->size);
}

/* --- What came of it --- */

void expect_content(const char *key, uint64_t size)
{
    MEM_AUTO char *text = NULL;
    size_t len = 0;

    ok(store_get_bytes(test_store, "raw", key, UPLOAD_BYTES_MAX, &text, &len, &e));
    ck_assert_uint_eq(len, size);
    ck_assert_int_eq(memcmp(text, upload_bytes, size), 0);
}

enum video_state indexed_state(const char *id)
{
    struct queue_video v = {0};

    ok(queue_video_get(test_queue, id, &v, &e));
    enum video_state state = v.state;
    queue_video_release(&v);
    return state;
}

/* What is spent is overwritten in the background. */
void expect_no_parts(void)
{
    uint64_t deadline_ms = clock_mono_ms() + 10000;

    while (open_multiparts() > 0 && clock_mono_ms() < deadline_ms)
        clock_sleep_ms(2);
    ck_assert_uint_eq(open_multiparts(), 0);
}

void expect_finished(const struct file *f)
{
    expect_content(layout_source(f->id).s, f->size);
    ck_assert_int_eq(indexed_state(f->id), VIDEO_WAITING);
    ck_assert_uint_eq(counts().waiting, 1);
    expect_no_parts();
    ck_assert_int_eq(redis_number("ZCARD", "{weir}:finishing", NULL), 0);
    ck_assert_int_eq(redis_number("ZCARD", "{weir}:uploads", NULL), 0);
}

void expect_nothing(const char *id)
{
    UPLOAD_RECORD_AUTO struct upload_record newest = {.kind = UPLOAD_CLOSED};
    struct err e = {0};
    uint64_t seq;

    ck_assert(!object_exists("raw", layout_record(id).s));
    ck_assert(!object_exists("raw", layout_source(id).s));
    ck_assert(!object_exists("raw", layout_partial(id).s));
    expect_no_parts();
    int r = upload_log_newest(test_store, "raw", id, &newest, &seq, &e);
    ck_assert(r == 0 || r == -ERR_NOT_FOUND);
    ck_assert_int_eq(newest.kind, UPLOAD_CLOSED);
}

size_t records(const struct file *f)
{
    return objects("raw", layout_log_prefix(f->id).s);
}

struct upload_state folded(const struct file *f)
{
    struct upload_state s = {0};

    ok(upload_log_fold(test_store, "raw", f->id, &s, &e));
    return s;
}

void repair(void)
{
    const struct reconcile_options now = {.library = &test_library, .videos_per_second = 1000000, .abandoned_ms = 1};
    struct reconcile_counts counts = {0};
    struct reconciler *r = NULL;

    clock_sleep_ms(5); /* so that every record is older than abandoned_ms */
    ok(reconcile_new(&now, &r, &e));
    ok(reconcile_once(r, false, &counts, &e));
    ck_assert_uint_eq(counts.failed, 0);
    reconcile_free(r);
}
