#ifndef WEIR_UPLOAD_BROOM_H
#define WEIR_UPLOAD_BROOM_H

#include "domain/library.h"

/* Clears away, on a thread of its own, what uploads have left and nobody waits for. What is forgotten by a crash or an
 * overflow is space only: it goes with the log, or when the upload expires. Thread-safe. */

struct upload_broom;

int upload_broom_new(const struct library *l, struct upload_broom **ret, struct err *e)
    __attribute__((warn_unused_result));
/* Ends what it has begun and what is in line, up to the first failure. NULL is fine. */
void upload_broom_free(struct upload_broom *b);

/* These records, nothing but tails, are not needed any more (upload_log_spend). */
void upload_broom_spend(struct upload_broom *b, const char *video_id, const uint64_t *seq, size_t count);

/* A finished upload that was sent in parts: multipart uploads that nothing names go (removal_multiparts). */
void upload_broom_finished(struct upload_broom *b, const char *video_id);

/* While somebody is in a hurry, since a client waits, nothing new is begun, for a second at most: each hurry has its end. */
void upload_broom_hurry(struct upload_broom *b);
void upload_broom_hurry_end(struct upload_broom *b);

/* A partial upload that a final one holds now: all of it goes. */
void upload_broom_remove(struct upload_broom *b, const char *video_id);

#endif
