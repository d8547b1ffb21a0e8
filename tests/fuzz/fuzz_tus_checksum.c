#include "proto/base64.h"
#include "proto/tus_checksum.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

/* The input is an Upload-Checksum, and base64: what can be decoded must be the encoding of what comes out. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[256], again[256];
    unsigned char bytes[BASE64_DECODED_SIZE(256) + 1];
    struct tus_checksum checksum;
    size_t len;

    if (size >= sizeof text)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    if (base64_decode(text, size, bytes, &len)) {
        EVP_EncodeBlock((unsigned char *)again, bytes, (int)len);
        if (strlen(again) != size || memcmp(again, text, size) != 0)
            abort();
    }
    if (tus_checksum_parse(text, &checksum, NULL) == 0 && checksum.algorithm >= TUS_ALGORITHM_COUNT)
        abort();
    return 0;
}
