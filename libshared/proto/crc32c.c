#include "crc32c.h"

#include <isa-l.h>
#include <limits.h>
#include <openssl/evp.h>

/* ISA-L's function takes a pointer without const but only reads. */
static unsigned char *unconst(const void *p)
{
    union {
        const void *in;
        unsigned char *out;
    } u = {.in = p};
    return u.out;
}

uint32_t crc32c_update(uint32_t crc, const void *data, size_t len)
{
    unsigned char *at = unconst(data);

    /* ISA-L neither inverts the initial value nor the result. */
    crc = ~crc;
    while (len > 0) {
        int n = len < INT_MAX ? (int)len : INT_MAX;
        crc = crc32_iscsi(at, n, crc);
        at += n;
        len -= (size_t)n;
    }
    return ~crc;
}

void crc32c_base64(uint32_t crc, char out[CRC32C_BASE64_SIZE])
{
    const unsigned char bytes[4] = {(unsigned char)(crc >> 24), (unsigned char)(crc >> 16), (unsigned char)(crc >> 8),
                                    (unsigned char)crc};

    EVP_EncodeBlock((unsigned char *)out, bytes, sizeof bytes);
}
