#ifndef WEIR_STORE_S3_H
#define WEIR_STORE_S3_H

#include "s3_client.h"
#include "store_backend.h"

/* What the files of the S3 store share: store_s3.c (objects), store_s3_upload.c (multipart uploads). */

struct store_s3 {
    struct store base;
    struct s3_client *client;
};
struct s3_client *store_s3_client(struct store *s);

int s3_no_memory(struct err *e);

/* Sends a body whose bytes the server verifies; the answer's ETag is the result. */
int s3_send_body(struct s3_client *c, struct s3_call *call, const struct store_body *body,
                 char ret_etag[STORE_ETAG_SIZE], struct err *e);

/* Runs a call whose answer is a list; its entries are given only when all of it is well-formed. */
int s3_list_page(struct s3_client *c, struct s3_call *call, s3_each *each, void *ctx, struct err *e);

/* store_ops */
int s3_multipart_create(struct store *s, const char *bucket, const char *key, const char *content_type,
                        char ret_upload_id[STORE_UPLOAD_ID_SIZE], struct err *e);
int s3_multipart_put(struct store *s, const char *bucket, const char *key, const char *upload_id, unsigned number,
                     const struct store_body *body, char ret_etag[STORE_ETAG_SIZE], struct err *e);
int s3_multipart_copy(struct store *s, const char *bucket, const char *key, const char *upload_id, unsigned number,
                      const struct store_range *source, char ret_etag[STORE_ETAG_SIZE], struct err *e);
int s3_multipart_list(struct store *s, const char *bucket, const char *key, const char *upload_id,
                      store_each_part *each, void *ctx, struct err *e);
int s3_multipart_complete(struct store *s, const char *bucket, const char *key, const char *upload_id,
                          const struct store_part *parts, size_t count, bool if_none_match, struct err *e);
int s3_multipart_find(struct store *s, const char *bucket, const char *key, store_each_upload *each, void *ctx,
                      struct err *e);
int s3_multipart_abort(struct store *s, const char *bucket, const char *key, const char *upload_id, struct err *e);

#endif
