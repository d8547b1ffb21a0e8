#include "sha256.h"

#include "base/str.h"

#include <openssl/sha.h>

void sha256_hex(const void *data, size_t len, char out[SHA256_HEX_SIZE])
{
    unsigned char digest[SHA256_DIGEST_LENGTH];

    SHA256(data, len, digest);
    hex_encode(digest, sizeof digest, out);
}
