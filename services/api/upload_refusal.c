#include "upload_refusal.h"

#include "base/str.h"

#include <stddef.h>

/* A sentence with the limit's number in its middle, or one that needs none. */
struct reason {
    const char *type;
    unsigned retry_after_s;
    bool is_clients;
    size_t limit; /* where it stands in the settings; 0: nowhere */
    const char *before, *after;
};

#define LIMIT(member) offsetof(struct settings, member)

static const struct reason reasons[] = {
    [UPLOAD_CLIENT_RATE] = {"rate-limited", 60, true, LIMIT(creations_per_minute), "This client has begun as many as ",
                            " uploads in this minute, the most it may (CREATIONS_PER_MINUTE). Try again in a minute."},
    [UPLOAD_CLIENT_FULL] = {"too-many-uploads", 10, true, LIMIT(uploads_per_client), "This client has ",
                            " open uploads, the most it may have (UPLOADS_PER_CLIENT). Finish or delete one of them, "
                            "then try again."},
    [UPLOAD_TOTAL_FULL] = {"too-many-uploads", 30, false, LIMIT(uploads_max), "All clients together have ",
                           " open uploads, the most that are taken (UPLOADS_MAX). Try again when one of them is "
                           "finished, deleted or expired."},
    [UPLOAD_QUEUE_FULL] = {"queue-full", 10, false, LIMIT(queue_max), "The queue of videos is full, it takes ",
                           " (QUEUE_MAX); nothing was received. Try again in a little while."},
    [UPLOAD_REBUILDING] = {"rebuilding", 5, false, 0,
                           "The index of videos is being rebuilt; nothing was received. Try again in a moment.", ""},
    [UPLOAD_MEMORY_FULL] = {"busy", 5, false, 0,
                            "The uploads in progress need all memory that there is for them (UPLOAD_MEMORY); nothing "
                            "was received. Try again in a moment.",
                            ""},
    [UPLOAD_LOCKED] = {"locked", 1, false, 0,
                       "Another request writes to this upload now. Ask for the offset in a moment and go on.", ""},
};

void upload_describe_refusal(const struct settings *s, enum upload_refusal why, struct upload_refused *ret)
{
    const struct reason *r = &reasons[why];
    const char *number = "";
    struct num_text text;

    if (r->limit != 0) {
        text = num_u64(*(const uint64_t *)(const void *)((const char *)s + r->limit));
        number = text.s;
    }
    *ret = (struct upload_refused){.type = r->type, .retry_after_s = r->retry_after_s, .is_clients = r->is_clients};
    str_format(ret->detail, sizeof ret->detail, "%s%s%s", r->before, number, r->after);
}
