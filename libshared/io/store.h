#ifndef WEIR_STORE_H
#define WEIR_STORE_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The object store: two back ends, S3 (store_s3.c) and a directory (store_dir.c), behind one vtable and held to one set
 * of contract tests. Weir's safety rests on two of its promises:
 *
 *   - An object is seen whole or not at all, and once a call returned 0 the bytes are durable.
 *   - With `if_none_match` exactly one of any number of racing creators gets 0; every other gets ERR_CONFLICT, and then
 *     the winner's object is readable.
 *
 * A lost answer is retried inside the back end (bounded, with back-off), so a creator may get ERR_CONFLICT for an object
 * that is its own: callers read what is there and compare. Failures of the network or the server, also 401 and 403, are
 * ERR_TEMPORARY; a missing object or upload is ERR_NOT_FOUND. Thread-safe. */

#define STORE_ETAG_SIZE 72                 /* with quotes and NUL */
#define STORE_UPLOAD_ID_SIZE 512           /* with NUL */
#define STORE_KEY_MAX 1024                 /* bytes, without NUL */
#define STORE_PART_MAX 10000               /* highest part number */
#define STORE_COPY_MAX (UINT64_C(5) << 30) /* bytes of a part that is copied */
#define STORE_PART_MIN_SIZE (5u << 20)     /* S3: every part but the last; the directory store enforces it too */

struct store;

/* Bytes to be sent, read at any offset and possibly more than once (checksum, retry). `read_at` gives exactly `size`
 * bytes (offset + size ≤ size_bytes) or fails. */
struct store_body {
    uint64_t size_bytes;
    int (*read_at)(void *ctx, uint64_t offset, void *to, size_t size, struct err *e);
    void *ctx;
    bool has_crc32c; /* the checksum is known, which spares a pass over the bytes */
    uint32_t crc32c;
};

struct store_bytes {
    const void *data;
    size_t len;
};
/* Bodies of bytes in memory (`bytes` must live as long as the body) and of an open regular file from offset 0. */
struct store_body store_body_bytes(const struct store_bytes *bytes);
struct store_body store_body_file(const int *fd, uint64_t size_bytes);

struct store_put_options {
    bool if_none_match;        /* If-None-Match: * */
    const char *content_type;  /* NULL: application/octet-stream; a hint, not all back ends keep it */
    const char *cache_control; /* NULL: none */
};

struct store_info {
    uint64_t size_bytes;        /* of the whole object */
    uint64_t modified_ms;       /* wall clock */
    char etag[STORE_ETAG_SIZE]; /* strong, in quotes */
};

/* Receives an object's bytes in order. Non-zero (-kind, with *e set) ends the transfer and is passed on. */
typedef int store_sink(void *ctx, const void *data, size_t len, struct err *e);

struct store_entry {
    const char *key; /* valid during the call only */
    uint64_t size_bytes, modified_ms;
};
typedef int store_each(void *ctx, const struct store_entry *entry, struct err *e);

struct store_part {
    unsigned number; /* 1 … STORE_PART_MAX */
    uint64_t size_bytes;
    char etag[STORE_ETAG_SIZE];
};
typedef int store_each_part(void *ctx, const struct store_part *part, struct err *e);

void store_free(struct store *s); /* NULL is fine; no call may be running */

/* Creates the bucket when it is missing. */
int store_ensure_bucket(struct store *s, const char *bucket, struct err *e) __attribute__((warn_unused_result));

/* Creates one key three times with If-None-Match, by PUT, PUT and CompleteMultipartUpload, and removes it again;
 * ERR_INVALID, naming the store, when a later creator is not refused: Weir must not start on such a store. */
int store_probe(struct store *s, const char *bucket, struct err *e) __attribute__((warn_unused_result));

/* ret_etag may be NULL. ERR_CONFLICT: the object exists (only with if_none_match). */
int store_put(struct store *s, const char *bucket, const char *key, const struct store_body *body,
              const struct store_put_options *options, char ret_etag[STORE_ETAG_SIZE], struct err *e)
    __attribute__((warn_unused_result));

/* Short form for small objects in memory. */
int store_put_bytes(struct store *s, const char *bucket, const char *key, const void *data, size_t len,
                    const struct store_put_options *options, struct err *e) __attribute__((warn_unused_result));

/* Bytes [first, first + count) cut at the end of the object; count UINT64_MAX: to the end. An object of size ≤ first
 * gives no bytes and 0. ret_info (may be NULL) is set before the first byte reaches the sink. A transfer that broke after
 * bytes were delivered is resumed at the right offset, on the same ETag only, else ERR_TEMPORARY. */
int store_get(struct store *s, const char *bucket, const char *key, uint64_t first, uint64_t count, store_sink *sink,
              void *ctx, struct store_info *ret_info, struct err *e) __attribute__((warn_unused_result));

/* A whole small object into an owned, NUL-terminated block (mem_free); ERR_TOO_LARGE over `max`. ret_len may be NULL. */
int store_get_bytes(struct store *s, const char *bucket, const char *key, size_t max, char **ret_data, size_t *ret_len,
                    struct err *e) __attribute__((warn_unused_result));

int store_head(struct store *s, const char *bucket, const char *key, struct store_info *ret, struct err *e)
    __attribute__((warn_unused_result));

/* Every object under `prefix` (a plain string prefix) with a key greater than `start_after` (NULL: from the first), in
 * byte order of keys, until `each` returns non-zero, which is passed on; `max` > 0 ends after so many. */
int store_list(struct store *s, const char *bucket, const char *prefix, const char *start_after, uint64_t max,
               store_each *each, void *ctx, struct err *e) __attribute__((warn_unused_result));

/* Deleting what is not there is success. */
int store_delete(struct store *s, const char *bucket, const char *key, struct err *e)
    __attribute__((warn_unused_result));

/* Everything under the prefix; ret_count (may be NULL): objects deleted. */
int store_delete_prefix(struct store *s, const char *bucket, const char *prefix, uint64_t *ret_count, struct err *e)
    __attribute__((warn_unused_result));

/* Multipart uploads. Part numbers may have gaps; the same number again replaces that part. */
int store_multipart_create(struct store *s, const char *bucket, const char *key, const char *content_type,
                           char ret_upload_id[STORE_UPLOAD_ID_SIZE], struct err *e) __attribute__((warn_unused_result));
int store_multipart_put(struct store *s, const char *bucket, const char *key, const char *upload_id, unsigned number,
                        const struct store_body *body, char ret_etag[STORE_ETAG_SIZE], struct err *e)
    __attribute__((warn_unused_result));
int store_multipart_list(struct store *s, const char *bucket, const char *key, const char *upload_id,
                         store_each_part *each, void *ctx, struct err *e) __attribute__((warn_unused_result));
struct store_range {
    const char *key;
    uint64_t first, count; /* bytes [first, first + count) of the object */
};
/* Makes a part of some bytes of another object of the same bucket, inside the store: no byte passes
 * through this process (S3: UploadPartCopy). count: 1 … STORE_COPY_MAX; S3 proper copies ranges only of objects over 5 MiB.
 * ERR_INVALID: the object ends before the range. ERR_NOT_FOUND: no such upload, or no such object. */
int store_multipart_copy(struct store *s, const char *bucket, const char *key, const char *upload_id, unsigned number,
                         const struct store_range *source, char ret_etag[STORE_ETAG_SIZE], struct err *e)
    __attribute__((warn_unused_result));
/* `parts` ascending by number. With if_none_match ERR_CONFLICT when the object exists. ERR_NOT_FOUND: the store knows no
 * such upload (any more): completed by somebody, aborted or purged; callers look whether the object is there. */
int store_multipart_complete(struct store *s, const char *bucket, const char *key, const char *upload_id,
                             const struct store_part *parts, size_t count, bool if_none_match, struct err *e)
    __attribute__((warn_unused_result));
/* Multipart uploads to this key, until `each` returns non-zero, which is passed on. Not all need be told: a store may know
 * more of them than it lists, and the rest comes with the next call. */
typedef int store_each_upload(void *ctx, const char *upload_id, struct err *e);
int store_multipart_find(struct store *s, const char *bucket, const char *key, store_each_upload *each, void *ctx,
                         struct err *e) __attribute__((warn_unused_result));
/* Repeats until the store has no part left of it. Aborting what is not there is success. */
int store_multipart_abort(struct store *s, const char *bucket, const char *key, const char *upload_id, struct err *e)
    __attribute__((warn_unused_result));

/* The back ends. */
struct store_s3_options {
    const char *endpoint; /* http(s)://host[:port] */
    const char *access_key, *secret_key, *region;
    uint64_t connect_timeout_ms; /* 0: 5 s */
    uint64_t stall_timeout_ms;   /* no byte for so long ends an attempt; 0: 30 s */
    unsigned attempts;           /* per call; 0: 5 */
};
int store_s3_new(const struct store_s3_options *options, struct store **ret, struct err *e)
    __attribute__((warn_unused_result));

/* Objects are the plain files <dir>/<bucket>/<key>; temporary and multipart files stand under <dir>/.tmp on the same file
 * system; a call returned means fsync of file and directory. `dir` is absolute and is created. Keys with empty, "." or
 * ".." segments are ERR_INVALID. Safe for many processes on one machine. */
int store_dir_new(const char *dir, struct store **ret, struct err *e) __attribute__((warn_unused_result));

#endif
