#ifndef WEIR_WIRE_H
#define WEIR_WIRE_H

#include <stdint.h>

/* Between weir-worker and its child weir-transcode. Both run on one machine and come from one build, so the structs go
 * over the wire as they are, in the machine's byte order.
 *
 * Command line   weir-transcode --source-fd 3 --output DIR [settings as options, see --help]
 * fd 3           one end of a SOCK_STREAM socket pair. The child asks for bytes of the source, one request at a time;
 *                the worker answers each in order. The worker retries the store on its own; it answers WIRE_FAILED only
 *                when it gave up, which ends the attempt as temporary.
 * fd 1           progress: lines `key=value`, in blocks that end with `progress=continue` or `progress=end`:
 *                  out_time_us=…  frame=…  fps=…  speed=…  duration_us=…  (0: not known)
 *                and between blocks, each as soon as it is true:
 *                  file=v720/seg_00001.ts        that file of the output directory is complete and will not change
 *                  playable=1                    from now on the playlists written could be started (later use)
 *                  error=permanent|temporary     with the sentence for the uploader in the next line
 *                  message=…                     one line of UTF-8, at most 400 bytes
 * fd 2           log lines for the operator, at most 64 KiB are kept.
 * result.json    in the output directory, written last (file=result.json is printed after every other file):
 *                  {"duration": s, "width": w, "height": h, "renditions": [as in contract.md], "audio": […],
 *                   "poster": "poster.jpg", "segments": n, "bytes": n}
 * exit status    0 done; WIRE_EXIT_PERMANENT the input can never work; anything else, or a signal: temporary. */

#define WIRE_SOURCE_FD 3
#define WIRE_EXIT_TEMPORARY 1
#define WIRE_EXIT_PERMANENT 3

#define WIRE_MAX_READ (1u << 20) /* bytes of one request */

struct wire_request {
    uint64_t offset;
    uint32_t length; /* 1 … WIRE_MAX_READ; 0 asks for the size only */
    uint32_t unused;
};

enum wire_status { WIRE_OK, WIRE_FAILED };

/* Followed by `length` bytes. length is less than asked only at the end of the source, 0 at or past it. */
struct wire_answer {
    uint32_t status;
    uint32_t length;
    uint64_t size; /* of the whole source, bytes */
};

#endif
