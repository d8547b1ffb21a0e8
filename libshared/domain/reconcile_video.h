#ifndef WEIR_RECONCILE_VIDEO_H
#define WEIR_RECONCILE_VIDEO_H

#include "domain/reconcile.h"

/* What is to be done about one video, decided from the store. Thread-safe. */

struct reconcile_scope {
    const struct library *library;
    struct upload_service *uploads;
    uint64_t expiry_ms, abandoned_ms; /* these four: see struct reconcile_options */
    bool dry_run;                     /* only count */
    bool patient;                     /* reservations may be lost, so every unfinished upload counts as alive */
    bool collecting;                  /* deletions again, and leftovers */
    bool abandoned;                   /* only uploads that have lost their writer: most others need no look */
};

int reconcile_video(const struct reconcile_scope *scope, const char *video_id, struct reconcile_counts *counts,
                    struct err *e) __attribute__((warn_unused_result));

#endif
