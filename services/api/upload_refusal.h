#ifndef WEIR_API_UPLOAD_REFUSAL_H
#define WEIR_API_UPLOAD_REFUSAL_H

#include "domain/upload_service.h"
#include "proto/config.h"

/* What a client is told that is not let in, however it uploads: which limit it met, and what to do. */

struct upload_refused {
    const char *type;       /* of the problem */
    unsigned retry_after_s; /* when it makes sense to come back */
    bool is_clients;        /* the limit is the client's own, not everybody's */
    char detail[256];
};

/* Of any refusal but UPLOAD_FAILED. */
void upload_describe_refusal(const struct settings *s, enum upload_refusal why, struct upload_refused *ret);

#endif
