/* POST /api/v1/upload: a form whose file goes straight into the store. */

#include "api.h"
#include "base/mem.h"
#include "base/str.h"
#include "domain/upload.h"
#include "proto/form.h"
#include "upload_metrics.h"
#include "upload_refusal.h"

#include <inttypes.h>
#include <string.h>

#define READ_SIZE (64 * 1024)
#define FORM_OVERHEAD (256 * 1024) /* what a body may hold besides the file */

struct form_upload {
    struct upload *upload;
    struct buf title, description;
    struct buf *field; /* the text that the current part fills */
    bool has_title, has_description;
    enum { BEFORE_FILE, IN_FILE, AFTER_FILE } place;
    bool begun; /* the file's first byte was seen */
    char filename[FORM_FILENAME_SIZE];
    unsigned char data[READ_SIZE];
};

/* --- The form's parts --- */

static int begin_text(struct form_upload *f, struct buf *field, bool *seen, const char *name, struct err *e)
{
    if (f->place == AFTER_FILE)
        return err_set(e, ERR_INVALID, "the field \"%s\" comes after the file; put it before", name);
    if (*seen)
        return err_set(e, ERR_INVALID, "the field \"%s\" is there twice; send it once", name);
    *seen = true;
    f->field = field;
    return 0;
}

static int begin_file(struct form_upload *f, const struct form_part *part, struct err *e)
{
    if (strcmp(part->name, "video") != 0)
        return err_set(e, ERR_INVALID, "the file must be in the field \"video\", not in another one");
    if (f->place != BEFORE_FILE)
        return err_set(e, ERR_INVALID, "the form holds more than one file; upload them one by one");
    f->place = IN_FILE;
    str_copy(f->filename, sizeof f->filename, part->filename);
    return video_check_text("filename", f->filename, VIDEO_FILENAME_MAX, e);
}

static int part_begin(void *ctx, const struct form_part *part, struct err *e)
{
    struct form_upload *f = ctx;

    f->field = NULL;
    if (part->is_file)
        return begin_file(f, part, e);
    if (strcmp(part->name, "video") == 0)
        return err_set(e, ERR_INVALID, "the field \"video\" must be a file, with a filename");
    if (strcmp(part->name, "title") == 0)
        return begin_text(f, &f->title, &f->has_title, "title", e);
    if (strcmp(part->name, "description") == 0)
        return begin_text(f, &f->description, &f->has_description, "description", e);
    return 0; /* other fields are let pass unread: forms carry all sorts of things */
}

static int file_data(struct form_upload *f, const void *data, size_t len, struct err *e)
{
    if (!f->begun) {
        const struct upload_spec spec = {
            .title = buf_cstr(&f->title),
            .description = buf_cstr(&f->description),
            .filename = f->filename,
            .length = UPLOAD_LENGTH_UNKNOWN,
        };
        f->begun = true;
        int r = upload_begin(f->upload, &spec, e);
        if (r != 0)
            return r;
    }
    upload_count_bytes(len);
    return upload_write(f->upload, data, len, e);
}

static int part_data(void *ctx, const void *data, size_t len, struct err *e)
{
    struct form_upload *f = ctx;

    if (f->place == IN_FILE)
        return file_data(f, data, len, e);
    if (f->field == NULL)
        return 0;
    if (memchr(data, '\0', len) != NULL)
        return err_set(e, ERR_INVALID, "a text field holds a NUL byte; leave it out");
    buf_append(f->field, data, len);
    return 0;
}

static int end_text(struct form_upload *f, struct err *e)
{
    bool is_title = f->field == &f->title;
    const char *name = is_title ? "title" : "description";
    size_t max = is_title ? VIDEO_TITLE_MAX : VIDEO_DESCRIPTION_MAX;

    if (f->field->too_large)
        return err_set(e, ERR_INVALID, "%s is too long, at most %zu characters are taken; shorten it", name, max);
    int r = buf_check(f->field, name, e);
    return r == 0 ? video_check_text(name, buf_cstr(f->field), max, e) : r;
}

static int part_end(void *ctx, struct err *e)
{
    struct form_upload *f = ctx;

    if (f->place == IN_FILE) {
        f->place = AFTER_FILE;
        return f->begun
                   ? 0
                   : err_set(e, ERR_INVALID, "the file is empty, or none was chosen; choose one that holds a video");
    }
    return f->field != NULL ? end_text(f, e) : 0;
}

/* --- The request --- */

/* What is known before the body: nothing of it is read. */
static int check_length(const struct api *api, const struct http_request *rq, struct err *e)
{
    uint64_t length, max = api->settings->upload_max_size;

    if (http_content_length(rq, &length) && length > FORM_OVERHEAD && length - FORM_OVERHEAD > max)
        return err_set(e, ERR_TOO_LARGE,
                       "the file is larger than %" PRIu64 " bytes, the most that is taken; send a smaller one", max);
    return 0;
}

static int respond_refused(const struct api *api, struct http_request *rq, enum upload_refusal refusal)
{
    struct upload_refused refused;

    upload_describe_refusal(api->settings, refusal, &refused);
    const struct num_text seconds = num_u64(refused.retry_after_s);
    const struct http_field fields[] = {{"Retry-After", seconds.s}, {0}};
    upload_note_refusal(http_log_ids(rq), refusal, refused.type, http_peer(rq));
    http_problem(rq, refused.is_clients ? 429 : 503, refused.type, fields, refused.detail);
    return 0;
}

static int receive(struct form_upload *f, struct http_request *rq, struct form_parser *form, struct err *e)
{
    size_t len;

    for (;;) {
        bool woken = false;
        int r = http_read_or_wake(rq, upload_wake_fd(f->upload), f->data, sizeof f->data, &len, &woken, e);
        if (r == 0 && woken)
            r = upload_attend(f->upload, e);
        else if (r == 0)
            r = len > 0 ? form_feed(form, f->data, len, e) : form_finish(form, e);
        if (r != 0)
            return r;
        if (len == 0 && !woken)
            break;
    }
    if (f->place == BEFORE_FILE)
        return err_set(e, ERR_INVALID, "the form has no field \"video\" with a file; add it");
    return 0;
}

static int respond_created(const struct api *api, struct http_request *rq, const struct queue_video *v, struct err *e)
{
    struct log_ids ids = {.request = http_log_ids(rq)->request, .video = v->id};

    upload_count_end("accepted");
    log_info(&ids, "upload accepted", "bytes", num_u64(v->size_bytes).s, "client", http_peer(rq));
    return api_respond_video(api, rq, 201, v, e);
}

/* The bytes are safe, but nobody was told of them yet: the client must not believe that it is done. */
static int respond_unqueued(const struct api *api, struct http_request *rq, const char *video_id, const struct err *why)
{
    struct log_ids ids = {.request = http_log_ids(rq)->request, .video = video_id};
    char detail[256];

    log_warn(&ids, "upload stored but not queued", "error", why->text);
    reconcile_soon(api->reconciler);
    str_format(
        detail, sizeof detail,
        "The file is stored, but the queue did not answer. It will be processed as %s once the queue is back: do not "
        "send it again.",
        video_id);
    http_problem(rq, 503, "unavailable", NULL, detail);
    return 0;
}

static int finish(const struct api *api, struct form_upload *f, struct http_request *rq, struct err *e)
{
    struct queue_video video = {0};
    bool stored;

    int r = upload_finish(f->upload, &video, &stored, e);
    if (r == 0) {
        r = respond_created(api, rq, &video, e);
        queue_video_release(&video);
        return r;
    }
    if (stored && r != -ERR_NOT_FOUND)
        return respond_unqueued(api, rq, upload_video_id(f->upload), e);
    if (r != -ERR_NOT_FOUND)
        reconcile_soon(api->reconciler);
    return r;
}

/* Somebody has closed the upload under our hands. */
static int respond_closed(const struct api *api, struct http_request *rq, const char *video_id, const struct err *why)
{
    bool deleted = why->kind == ERR_NOT_FOUND;

    if (deleted || (queue_deleted(api->library.queue, video_id, &deleted, NULL) == 0 && deleted))
        http_problem(rq, 410, "gone", NULL,
                     "The video was deleted during its upload. Upload the file again if it is still wanted.");
    else
        http_problem(rq, 409, "stale", NULL,
                     "The upload was closed, since its server seemed to be gone. Look for it among the videos before "
                     "you upload the file again.");
    return 0;
}

/* Nobody is there to be answered, so nobody else would say it. */
static void log_interruption(const struct upload *u, const struct http_request *rq, const struct err *why)
{
    struct log_ids ids = {.request = http_log_ids(rq)->request, .video = upload_video_id(u)};

    log_info(&ids, "upload interrupted", "why", err_kind_name(why->kind), "error", why->text, "client", http_peer(rq));
}

static int take_upload(const struct api *api, struct form_upload *f, struct http_request *rq, struct form_parser *form,
                       struct err *e)
{
    enum upload_refusal refusal;

    int r = upload_new(api->uploads, UPLOAD_FORM, http_peer_group(rq), &f->upload, &refusal, e);
    if (r != 0 && refusal != UPLOAD_FAILED)
        return respond_refused(api, rq, refusal);
    if (r == 0)
        r = receive(f, rq, form, e);
    if (r == 0)
        r = finish(api, f, rq, e);
    if (r != 0)
        upload_count_end(err_kind_name(e->kind));
    if (r == -ERR_DISCONNECTED)
        log_interruption(f->upload, rq, e);
    if (f->upload != NULL && (r == -ERR_STALE || r == -ERR_NOT_FOUND))
        r = respond_closed(api, rq, upload_video_id(f->upload), e);
    upload_free(f->upload);
    return r;
}

int api_upload_form(struct http_request *rq, void *ctx, struct err *e)
{
    static const struct form_calls calls = {part_begin, part_data, part_end};
    const struct api *api = ctx;
    struct form_parser *form = NULL;
    MEM_AUTO struct form_upload *f = mem_alloc(sizeof *f);

    int r = api_check_started(api, e);
    if (r == 0)
        r = check_length(api, rq, e);
    if (r == 0 && f == NULL)
        r = err_set(e, ERR_TEMPORARY, "no memory for an upload");
    if (r != 0)
        return r;
    memset(f, 0, offsetof(struct form_upload, data));
    buf_init(&f->title, VIDEO_TITLE_MAX * 4);
    buf_init(&f->description, VIDEO_DESCRIPTION_MAX * 4);
    r = form_new(http_header(rq, "Content-Type"), &calls, f, &form, e);
    if (r == 0)
        r = take_upload(api, f, rq, form, e);
    form_free(form);
    buf_release(&f->title);
    buf_release(&f->description);
    return r;
}
