#include "proto/json.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is parsed can be written, and what is written parses to the same tree. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    JSON_AUTO json_t *value = NULL, *back = NULL;
    BUF_AUTO struct buf out, literal;
    struct err e;

    buf_init(&out, 1u << 20);
    buf_init(&literal, 1u << 20);
    if (json_parse((const char *)data, size, 64u << 10, "input", &value, &e) == 0) {
        if (json_write(value, &out, &e) != 0 || json_parse(out.data, out.len, SIZE_MAX, "output", &back, &e) != 0)
            abort();
        /* reals lose their 16th and 17th digit */
        if (memchr(out.data, '.', out.len) == NULL && memchr(out.data, 'e', out.len) == NULL &&
            !json_equal(value, back))
            abort();
    }

    JSON_AUTO json_t *text = NULL;
    buf_append(&out, data, size);
    json_quote(&literal, buf_cstr(&out));
    if (json_parse(literal.data, literal.len, SIZE_MAX, "literal", &text, &e) != 0)
        abort();
    return 0;
}
