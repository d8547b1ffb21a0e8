#ifndef WEIR_SIGV4_H
#define WEIR_SIGV4_H

#include "base/buf.h"

#include <stddef.h>

/* AWS Signature Version 4 in the Authorization header, as S3 wants it: the path is encoded once and not normalised.
 * Pure; safe from any thread. */

#define SIGV4_UNSIGNED_PAYLOAD "UNSIGNED-PAYLOAD"
#define SIGV4_PAIRS_MAX 16 /* headers of a request, or parameters of its query */

struct sigv4_pair {
    const char *name, *value;
};

struct sigv4_request {
    const char *method;               /* upper case */
    const char *path;                 /* not encoded: "/raw/v_7/source" */
    const struct sigv4_pair *query;   /* not encoded, in any order */
    const struct sigv4_pair *headers; /* those to be signed, in any order and case, each name once; "host" and
                                       * "x-amz-date" are among them */
    size_t query_count, header_count;
    const char *payload; /* SHA-256 of the body in lower-case hex, or SIGV4_UNSIGNED_PAYLOAD */
};

struct sigv4_key {
    const char *access_key, *secret_key, *region, *service;
};

/* Appends path and query in the form that is signed and must be sent: "/raw/v_7/a%20b?list-type=2&prefix=x". */
int sigv4_target(const struct sigv4_request *request, struct buf *out, struct err *e)
    __attribute__((warn_unused_result));

/* Appends the canonical request, the text whose hash is signed (for tests and for debugging a refused signature). */
int sigv4_canonical(const struct sigv4_request *request, struct buf *out, struct err *e)
    __attribute__((warn_unused_result));

/* Appends the value of the Authorization header. `amz_date` is the x-amz-date header's: "20130524T000000Z".
 * ERR_INVALID for another form of date or too many pairs; ERR_TEMPORARY without memory. */
int sigv4_authorization(const struct sigv4_request *request, const struct sigv4_key *key, const char *amz_date,
                        struct buf *out, struct err *e) __attribute__((warn_unused_result));

#endif
