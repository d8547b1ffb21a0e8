#include "proto/url.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

/* An accepted endpoint, put together again, is accepted again and means the same. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct url_endpoint once, twice;
    struct buf out;

    char *text = mem_strndup((const char *)data, size);
    buf_init(&out, 1 << 20);
    if (url_parse_endpoint(text, &once, NULL) == 0) {
        if (once.authority[0] == '\0' || once.authority[strcspn(once.authority, "\r\n /?#@")] != '\0')
            abort();
        buf_printf(&out, "%s://%s", once.tls ? "https" : "http", once.authority);
        if (url_parse_endpoint(buf_cstr(&out), &twice, NULL) != 0 || strcmp(once.authority, twice.authority) != 0 ||
            once.tls != twice.tls)
            abort();
    }
    buf_reset(&out);
    url_encode(&out, text, true);
    if (!out.failed &&
        strspn(buf_cstr(&out), "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~/%") != out.len)
        abort();
    buf_release(&out);
    mem_free(text);
    return 0;
}
