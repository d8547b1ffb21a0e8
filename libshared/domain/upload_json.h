#ifndef WEIR_UPLOAD_JSON_H
#define WEIR_UPLOAD_JSON_H

#include "domain/upload_record.h"
#include "proto/json.h"

/* What a record of an upload's log and the cached state of a log have in common as JSON. Pure. */

/* kind, fence, writer, written_ms, length, offset, in_parts, reserved, upload_id. False: no memory, or for reading: a
 * member is missing or wrong. */
bool upload_json_put_members(json_t *object, const struct upload_record *r);
bool upload_json_get_members(const json_t *object, struct upload_record *ret);

/* The member "facts". When it is read, *ret owns its strings: ERR_INVALID, ERR_TEMPORARY. */
bool upload_json_put_facts(json_t *object, const struct upload_facts *f);
int upload_json_get_facts(const json_t *object, struct upload_facts *ret, struct err *e)
    __attribute__((warn_unused_result));

/* NULL, or what is wrong with facts that are about to be written. */
const char *upload_json_facts_fault(const struct upload_facts *f);

/* false when absent; *ret_ok is cleared when it is there but no boolean. */
bool upload_json_flag(const json_t *object, const char *key, bool *ret_ok);

#endif
