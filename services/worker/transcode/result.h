#ifndef WEIR_TRANSCODE_RESULT_H
#define WEIR_TRANSCODE_RESULT_H

#include "pipeline.h"

/* Writes the playlists, with rates measured from the segments, and result.json (wire.h), the last file of all. */
int result_write(const struct pipeline *p, struct err *e) __attribute__((warn_unused_result));

#endif
