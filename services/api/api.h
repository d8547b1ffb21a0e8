#ifndef WEIR_API_H
#define WEIR_API_H

#include "domain/library.h"
#include "domain/ready.h"
#include "domain/reconcile.h"
#include "domain/upload_service.h"
#include "io/http_server.h"
#include "proto/config.h"

#include <stdatomic.h>
#include <stdbool.h>

/* Everything a request of the api needs; the routes' context. */
struct api {
    const struct settings *settings;
    struct store *store;
    struct redis *redis;
    struct library library;
    struct upload_service *uploads;
    struct reconciler *reconciler;
    struct ready *ready;
    _Atomic bool started; /* buckets are there, the store was probed, Redis has answered */
};

/* Makes the parts; touches neither store nor Redis. */
int api_open(struct api *api, const struct settings *s, struct err *e) __attribute__((warn_unused_result));
void api_close(struct api *api); /* also after a failed api_open; no request is running */

/* What must be true before the first request is served: buckets, the probe of If-None-Match, a Redis that keeps what it
 * is told. ERR_TEMPORARY: try again later. ERR_INVALID: Weir must not run on this store or this Redis. */
int api_start(struct api *api, struct err *e) __attribute__((warn_unused_result));

/* ERR_BUSY until it has started: the first thing that a handler asks. */
int api_check_started(const struct api *api, struct err *e) __attribute__((warn_unused_result));

extern const struct http_route api_routes[];

/* Handlers, by file. */
int api_upload_form(struct http_request *rq, void *ctx, struct err *e);    /* upload_form.c */
int api_create_upload(struct http_request *rq, void *ctx, struct err *e);  /* upload_create.c */
int api_upload_options(struct http_request *rq, void *ctx, struct err *e); /* upload_tus.c */
int api_head_upload(struct http_request *rq, void *ctx, struct err *e);
int api_patch_upload(struct http_request *rq, void *ctx, struct err *e);
int api_delete_upload(struct http_request *rq, void *ctx, struct err *e);
int api_get_upload(struct http_request *rq, void *ctx, struct err *e);  /* upload_status.c */
int api_list_videos(struct http_request *rq, void *ctx, struct err *e); /* videos.c */
int api_get_video(struct http_request *rq, void *ctx, struct err *e);
int api_delete_video(struct http_request *rq, void *ctx, struct err *e);
int api_cancel_video(struct http_request *rq, void *ctx, struct err *e); /* jobs.c */
int api_retry_video(struct http_request *rq, void *ctx, struct err *e);
int api_get_page(struct http_request *rq, void *ctx, struct err *e); /* page.c */
int api_get_web(struct http_request *rq, void *ctx, struct err *e);

/* For handlers of videos (videos.c). */

/* The video that the path names, from Redis, or from the store while Redis is being filled. ERR_NOT_FOUND with a sentence
 * for the client. */
int api_read_video(const struct api *api, const struct http_request *rq, struct queue_video *ret, struct err *e)
    __attribute__((warn_unused_result));
/* Answers with the video object. */
int api_respond_video(const struct api *api, struct http_request *rq, int status, const struct queue_video *v,
                      struct err *e) __attribute__((warn_unused_result));

#endif
