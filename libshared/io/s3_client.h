#ifndef WEIR_S3_CLIENT_H
#define WEIR_S3_CLIENT_H

#include "base/buf.h"
#include "http_client.h"
#include "proto/s3_xml.h"
#include "proto/sigv4.h"
#include "store.h"

/* Signed requests to an S3 server, tried again where that helps: the part of the S3 back end that knows HTTP but not what
 * the operations mean. Thread-safe. */

struct s3_client;

int s3_client_new(const struct store_s3_options *options, struct s3_client **ret, struct err *e)
    __attribute__((warn_unused_result));
void s3_client_free(struct s3_client *c);
unsigned s3_client_attempts(const struct s3_client *c);
const char *s3_client_region(const struct s3_client *c);

#define S3_EXTRAS_MAX 8

/* Headers of the answer that are kept; indexes into s3_call.fields. */
enum s3_field { S3_ETAG, S3_LAST_MODIFIED, S3_CONTENT_LENGTH, S3_CONTENT_RANGE, S3_DATE, S3_FIELDS };

struct s3_call {
    const char *method, *bucket, *key; /* key NULL: the bucket */
    struct sigv4_pair query[S3_EXTRAS_MAX], headers[S3_EXTRAS_MAX];
    size_t query_count, header_count;
    const struct http_body *body;
    uint64_t stall_timeout_ms; /* 0: the store's */
    http_sink *sink;           /* takes the body of a 2xx answer; NULL: it is kept in `text` */
    void *ctx;

    /* filled by s3_run */
    unsigned status;
    struct http_field fields[S3_FIELDS];
    struct buf text;         /* the answer's body, but for what the sink took */
    struct s3_answer answer; /* what the XML in it said */
    bool broken;             /* failed after the sink had got bytes: not tried again here */
    int callback_result;     /* what sink or body returned when that ended it */

    /* private */
    struct http_answer http;
    uint64_t delivered;
};

/* On the heap because the threads of a server have small stacks. NULL: no memory. */
struct s3_call *s3_call_new(const char *method, const char *bucket, const char *key);
void s3_call_free(struct s3_call **call); /* at the end of its scope: S3_CALL_AUTO struct s3_call *call = … */
#define S3_CALL_AUTO __attribute__((cleanup(s3_call_free)))
void s3_call_query(struct s3_call *call, const char *name, const char *value); /* must live as long as the call */
void s3_call_header(struct s3_call *call, const char *name, const char *value);

/* 0 for a 2xx answer that is no error in disguise. Else what a callback returned, or a kind with a text like
 * "503 SlowDown": ERR_NOT_FOUND (404, but for a missing bucket), ERR_CONFLICT (412), ERR_INVALID (the request is wrong),
 * ERR_TEMPORARY. */
int s3_run(struct s3_client *c, struct s3_call *call, struct err *e) __attribute__((warn_unused_result));

#endif
