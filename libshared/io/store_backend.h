#ifndef WEIR_STORE_BACKEND_H
#define WEIR_STORE_BACKEND_H

#include "store.h"

/* What a back end gives store.c: the functions of store.h without what is common to all. store.c has checked bucket, key,
 * prefix, part numbers and upload ids before, puts "GET raw/v_7/source: " before an error's text afterwards, and
 * counts; `e`, `options` and ret_… are never NULL. A callback's result other than 0 ends the call and is returned as it
 * is. */

#define STORE_BUCKET_MAX 63   /* bytes */
#define STORE_SEGMENT_MAX 255 /* bytes between two '/' of a key: a file's name in the directory store */

struct store_ops {
    void (*free)(struct store *s);
    int (*ensure_bucket)(struct store *s, const char *bucket, struct err *e);
    int (*put)(struct store *s, const char *bucket, const char *key, const struct store_body *body,
               const struct store_put_options *options, char ret_etag[STORE_ETAG_SIZE], struct err *e);
    int (*get)(struct store *s, const char *bucket, const char *key, uint64_t first, uint64_t count, store_sink *sink,
               void *ctx, struct store_info *ret_info, struct err *e);
    int (*head)(struct store *s, const char *bucket, const char *key, struct store_info *ret, struct err *e);
    /* `start_after` is "" for none. `max` > 0 is only a hint how many are wanted: store.c stops after them. */
    int (*list)(struct store *s, const char *bucket, const char *prefix, const char *start_after, uint64_t max,
                store_each *each, void *ctx, struct err *e);
    int (*remove)(struct store *s, const char *bucket, const char *key, struct err *e);
    int (*multipart_create)(struct store *s, const char *bucket, const char *key, const char *content_type,
                            char ret_upload_id[STORE_UPLOAD_ID_SIZE], struct err *e);
    int (*multipart_put)(struct store *s, const char *bucket, const char *key, const char *upload_id, unsigned number,
                         const struct store_body *body, char ret_etag[STORE_ETAG_SIZE], struct err *e);
    int (*multipart_copy)(struct store *s, const char *bucket, const char *key, const char *upload_id, unsigned number,
                          const struct store_range *source, char ret_etag[STORE_ETAG_SIZE], struct err *e);
    int (*multipart_list)(struct store *s, const char *bucket, const char *key, const char *upload_id,
                          store_each_part *each, void *ctx, struct err *e);
    int (*multipart_complete)(struct store *s, const char *bucket, const char *key, const char *upload_id,
                              const struct store_part *parts, size_t count, bool if_none_match, struct err *e);
    int (*multipart_find)(struct store *s, const char *bucket, const char *key, store_each_upload *each, void *ctx,
                          struct err *e);
    int (*multipart_abort)(struct store *s, const char *bucket, const char *key, const char *upload_id, struct err *e);
};

/* The first member of every back end's object. */
struct store {
    const struct store_ops *ops;
    char name[256]; /* for texts: "s3 http://localhost:9000", "directory /var/lib/weir" */
};

/* 1 … STORE_KEY_MAX bytes of UTF-8 without control characters; no segment empty, ".", ".." or over STORE_SEGMENT_MAX:
 * what every back end can keep and list. */
bool store_key_valid(const char *key);

#endif
