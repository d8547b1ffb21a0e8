#ifndef WEIR_STORE_DIR_H
#define WEIR_STORE_DIR_H

#include "store_backend.h"

#include <dirent.h>
#include <sys/stat.h>

/* What the files of the directory store share: store_dir.c (objects), store_dir_list.c (the sorted walk),
 * store_dir_upload.c (multipart uploads).
 *
 *   <dir>/<bucket>/<key>            an object
 *   <dir>/.tmp/<nonce>              an object being written
 *   <dir>/.tmp/<upload id>/key      "<bucket>/<key>" of a multipart upload; it ends when this file goes
 *   <dir>/.tmp/<upload id>/<00001>  a part
 *
 * A file gets its final name only when its bytes are on disk, by link(2) (fails when somebody was first) or rename(2)
 * (replaces); then the directories up to the bucket are synced. Other processes do the same at the same time. */

struct store_dir {
    struct store base;
    int root_fd, tmp_fd;
};

#define DIR_PATH_SIZE (STORE_BUCKET_MAX + 1 + STORE_KEY_MAX + 1)
#define DIR_TEMP_SIZE 24 /* a temporary file's name */
#define DIR_UPLOAD_ID_SIZE 33

void dir_path(char path[DIR_PATH_SIZE], const char *bucket, const char *key);

/* "what: text of errno" as ERR_TEMPORARY (or ERR_INVALID where the name itself is impossible). */
int dir_fail(const char *what, struct err *e);

/* ERR_TEMPORARY when the bucket is missing, else ERR_NOT_FOUND saying `text`. */
int dir_not_found(const struct store_dir *d, const char *bucket, const char *text, struct err *e);

/* A new file in `dir_fd` with the body's bytes, on disk, under a name of its own. */
int dir_write_temp(int dir_fd, const struct store_body *body, char ret_name[DIR_TEMP_SIZE],
                   char ret_etag[STORE_ETAG_SIZE], struct err *e);
/* The two halves of it, for a file whose bytes come from elsewhere. On failure of the second the file is gone. */
int dir_temp_open(int dir_fd, char ret_name[DIR_TEMP_SIZE], int *ret_fd, struct err *e);
int dir_temp_seal(int dir_fd, const char *name, int fd, char ret_etag[STORE_ETAG_SIZE], struct err *e);

/* Opens an object for reading. ERR_NOT_FOUND as dir_not_found. */
int dir_open_object(const struct store_dir *d, const char *bucket, const char *key, int *ret_fd, struct store_info *ret,
                    struct err *e);

/* Appends bytes [first, first + count) of one file to another. File systems that can share blocks (XFS, Btrfs) copy
 * nothing at all then. */
int dir_copy_range(int from_fd, uint64_t first, uint64_t count, int to_fd, struct err *e);

/* Gives the file its place as an object, durably. With if_none_match the file keeps its old name too (the caller removes
 * it) and ERR_CONFLICT tells that the object exists. */
int dir_publish(struct store_dir *d, int from_dir_fd, const char *from, const char *bucket, const char *key,
                bool if_none_match, struct err *e);

int dir_sync(int dir_fd, const char *path, struct err *e); /* fsync of a directory; one that is gone is fine */

/* Syncs every folder from the object's up to the bucket. Not only those just made: another process may have made one of
 * them a moment ago and not synced it yet. */
int dir_sync_folders(const struct store_dir *d, const char *path, struct err *e);

void dir_info(const struct stat *st, struct store_info *ret);

/* Opens a directory of its own offset for reading; NULL sets errno. */
DIR *dir_open_list(int dir_fd, const char *path);

/* Removes what crashed processes left in .tmp long ago. */
void dir_sweep_temp(struct store_dir *d);

/* store_ops */
int dir_list(struct store *s, const char *bucket, const char *prefix, const char *start_after, uint64_t max,
             store_each *each, void *ctx, struct err *e);
int dir_multipart_create(struct store *s, const char *bucket, const char *key, const char *content_type,
                         char ret_upload_id[STORE_UPLOAD_ID_SIZE], struct err *e);
int dir_multipart_put(struct store *s, const char *bucket, const char *key, const char *upload_id, unsigned number,
                      const struct store_body *body, char ret_etag[STORE_ETAG_SIZE], struct err *e);
int dir_multipart_copy(struct store *s, const char *bucket, const char *key, const char *upload_id, unsigned number,
                       const struct store_range *source, char ret_etag[STORE_ETAG_SIZE], struct err *e);
int dir_multipart_list(struct store *s, const char *bucket, const char *key, const char *upload_id,
                       store_each_part *each, void *ctx, struct err *e);
int dir_multipart_complete(struct store *s, const char *bucket, const char *key, const char *upload_id,
                           const struct store_part *parts, size_t count, bool if_none_match, struct err *e);
int dir_multipart_find(struct store *s, const char *bucket, const char *key, store_each_upload *each, void *ctx,
                       struct err *e);
int dir_multipart_abort(struct store *s, const char *bucket, const char *key, const char *upload_id, struct err *e);

#endif
