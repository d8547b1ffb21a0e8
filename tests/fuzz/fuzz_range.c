#include "proto/range.h"

#include <stdlib.h>
#include <string.h>

/* The first eight bytes are the object's size, the rest is the header. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct byte_range range = {0};
    uint64_t object_size;
    char header[256];

    if (size < sizeof object_size || size - sizeof object_size >= sizeof header)
        return 0;
    memcpy(&object_size, data, sizeof object_size);
    memcpy(header, data + sizeof object_size, size - sizeof object_size);
    header[size - sizeof object_size] = '\0';

    if (range_resolve(header, object_size, &range) != RANGE_PART) {
        if (range.first != 0 || range.count != 0)
            abort(); /* untouched */
    } else if (range.count == 0 || range.first >= object_size || range.count > object_size - range.first) {
        abort(); /* within the object */
    }
    return 0;
}
