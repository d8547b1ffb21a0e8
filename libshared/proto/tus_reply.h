#ifndef WEIR_TUS_REPLY_H
#define WEIR_TUS_REPLY_H

#include "tus.h"

/* What a client of tus.h is told: status, header fields and, when it was refused, the problem. Pure. */

const char *tus_field_value(const struct tus_field *f);

/* --- Answers --- */

void tus_reply_options(const struct tus_command *c, const struct tus_limits *limits, struct tus_reply *ret);
/* Before the body of a POST, for the drafts: where to go on when the rest of it does not come. An interim answer. */
void tus_reply_resumable(const struct tus_command *c, const struct tus_upload *u, const struct tus_limits *limits,
                         const char *location, struct tus_reply *ret);
/* `location` is borrowed. `settled` false: the bytes are safe, but how far it is can't be told yet. */
void tus_reply_created(const struct tus_command *c, const struct tus_upload *u, const struct tus_limits *limits,
                       const char *location, bool settled, struct tus_reply *ret);
void tus_reply_head(const struct tus_command *c, const struct tus_upload *u, const struct tus_limits *limits,
                    struct tus_reply *ret);
void tus_reply_patched(const struct tus_command *c, const struct tus_upload *u, struct tus_reply *ret);
/* Only the fields that every reply to this command has: of DELETE, and for answers with a body of their own. */
void tus_reply_plain(const struct tus_command *c, int status, struct tus_reply *ret);

/* --- Refusals: with a sentence that says what to do --- */

void tus_refuse(const struct tus_command *c, int status, const char *type, struct tus_reply *ret, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));

void tus_refuse_version(const struct tus_command *c, struct tus_reply *ret);  /* 412 */
void tus_refuse_unknown(const struct tus_command *c, struct tus_reply *ret);  /* 404 */
void tus_refuse_gone(const struct tus_command *c, struct tus_reply *ret);     /* 410 */
void tus_refuse_too_long(const struct tus_command *c, struct tus_reply *ret); /* 413: more bytes than the length */
void tus_refuse_offset(const struct tus_command *c, const struct tus_upload *u, struct tus_reply *ret); /* 409 */

/* What is in the way will pass. `status` is 503, or 423 while somebody else writes to the upload; for HEAD it is always 423,
 * since clients take any other failure of it for the end of the upload and begin again. */
void tus_refuse_for_now(const struct tus_command *c, int status, unsigned retry_after_s, const char *type,
                        const char *detail, struct tus_reply *ret);

#endif
