#ifndef WEIR_TUS_H
#define WEIR_TUS_H

#include "tus_checksum.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The protocol of resumable uploads, without any I/O: header fields in, a command or a reply out; what is known of an upload
 * in, a decision or a reply out. Speaks tus 1.0.0 with its extensions, and the drafts of "Resumable Uploads for HTTP" whose
 * interop version is 3 to 6 (draft-ietf-httpbis-resumable-upload-01 to -05). Pure; safe from any thread.
 *
 * An upload is the same thing in both protocols, with one difference to the drafts: it is complete when its length is
 * declared and every byte of it is there, whether or not the client said Upload-Complete: ?1 with the last byte (tus-js-client
 * leaves it out when a stream ends with its chunk, and takes a full offset for success). */

#define TUS_VERSION "1.0.0"
#define TUS_EXTENSIONS                                                                                                 \
    "creation,creation-with-upload,creation-defer-length,expiration,checksum,checksum-trailer,termination,"            \
    "concatenation"

/* For the HTTP server: what pages of other origins may do. */
#define TUS_CORS_METHODS "GET, HEAD, POST, PATCH, DELETE, OPTIONS"
#define TUS_CORS_HEADERS                                                                                               \
    "Authorization, Content-Type, Tus-Resumable, Upload-Checksum, Upload-Complete, Upload-Concat, "                    \
    "Upload-Defer-Length, Upload-Draft-Interop-Version, Upload-Incomplete, Upload-Length, Upload-Metadata, "           \
    "Upload-Offset, X-HTTP-Method-Override, X-Request-ID, X-Requested-With"
#define TUS_CORS_EXPOSE                                                                                                \
    "Location, Retry-After, Tus-Checksum-Algorithm, Tus-Extension, Tus-Max-Size, Tus-Resumable, Tus-Version, "         \
    "Upload-Complete, Upload-Concat, Upload-Defer-Length, Upload-Draft-Interop-Version, Upload-Expires, "              \
    "Upload-Incomplete, Upload-Length, Upload-Limit, Upload-Metadata, Upload-Offset, X-Request-ID"

#define TUS_UNKNOWN UINT64_MAX /* of a length */

enum tus_method { TUS_OPTIONS, TUS_POST, TUS_HEAD, TUS_GET, TUS_PATCH, TUS_DELETE };

/* What the client sent. NULL: the field is not there. */
struct tus_request {
    enum tus_method method;
    const char *tus_resumable, *interop_version; /* Upload-Draft-Interop-Version */
    const char *content_type, *trailer;
    const char *length, *defer_length, *offset, *metadata, *concat, *checksum; /* Upload-… */
    const char *complete, *incomplete;                                         /* of the drafts */
    const char *twice;    /* the name of one of them that came more than once */
    uint64_t body_length; /* TUS_UNKNOWN: chunked; 0: no body */
};

enum tus_concat { TUS_WHOLE, TUS_PARTIAL, TUS_FINAL };
enum tus_check { TUS_UNCHECKED, TUS_CHECK_HEADER, TUS_CHECK_TRAILER };

/* What it means. Strings are those of the request. */
struct tus_command {
    enum tus_method method;
    unsigned interop_version; /* 0: tus 1.0.0 */
    uint64_t length;          /* declared here; TUS_UNKNOWN: not */
    uint64_t offset;          /* PATCH */
    uint64_t body_length;     /* as above */
    bool completes;           /* of the drafts: the file ends with this body */
    enum tus_concat concat;
    const char *urls;                   /* TUS_FINAL: those of its partial uploads, separated by spaces */
    const char *metadata, *concat_text; /* POST: as received, NULL when empty */
    enum tus_check check;
    struct tus_checksum checksum; /* TUS_CHECK_HEADER */
};

struct tus_limits {
    uint64_t max_size; /* bytes */
    uint64_t now_ms;   /* wall clock */
};

/* What is recorded of an upload. */
struct tus_upload {
    uint64_t offset, length; /* length TUS_UNKNOWN: not declared yet */
    bool finished;
    uint64_t expires_ms;           /* 0: it does not */
    const char *metadata, *concat; /* as received, NULL: none */
};

/* --- Replies (tus_reply.h makes them) --- */

#define TUS_FIELDS_MAX 12
#define TUS_FIELD_SIZE 96
#define TUS_DETAIL_SIZE 512

struct tus_field {
    const char *name;
    const char *borrowed; /* the value, of an upload, a command or a constant; NULL: it is in `text` */
    char text[TUS_FIELD_SIZE];
};

struct tus_reply {
    int status;
    const char *type; /* of a problem: urn:weir:error:<type>; NULL: an answer without a body */
    char detail[TUS_DETAIL_SIZE];
    struct tus_field fields[TUS_FIELDS_MAX];
    size_t count;
};

/* --- Requests --- */

/* False when it must be refused as *ret_reply says; *ret then holds what is known, at least the method and the version, for
 * further replies. */
bool tus_parse(const struct tus_request *rq, const struct tus_limits *limits, struct tus_command *ret,
               struct tus_reply *ret_reply) __attribute__((warn_unused_result));

enum tus_verdict {
    TUS_REFUSED, /* as *ret_reply says */
    TUS_RECEIVE, /* take the body, from the offset on */
    TUS_NOTHING, /* every byte is there, and the length is what it was: a body must be empty */
};
/* What becomes of a PATCH, before its body is read. *ret_length: what is to be declared first, TUS_UNKNOWN: nothing. */
enum tus_verdict tus_decide(const struct tus_command *c, const struct tus_upload *u, const struct tus_limits *limits,
                            uint64_t *ret_length, struct tus_reply *ret_reply) __attribute__((warn_unused_result));

/* The same after the body, which ended as it should: a draft's client may have said that the file ends here. *ret_length:
 * as above. False: refused, what came is kept. */
bool tus_decide_end(const struct tus_command *c, const struct tus_upload *u, uint64_t *ret_length,
                    struct tus_reply *ret_reply) __attribute__((warn_unused_result));

#endif
