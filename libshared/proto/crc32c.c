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

/* A product modulo Castagnoli's polynomial. Bits are reflected as in the checksum: the highest one is x^0. */
static uint32_t multiply(uint32_t a, uint32_t b)
{
    uint32_t product = 0;

    for (uint32_t bit = UINT32_C(1) << 31; bit != 0; bit >>= 1) {
        if ((a & bit) != 0)
            product ^= b;
        b = (b & 1) != 0 ? b >> 1 ^ UINT32_C(0x82F63B78) : b >> 1;
    }
    return product;
}

/* Bytes that follow move the first stretch up by eight powers of x each; the inversions at begin and end cancel out. */
uint32_t crc32c_combine(uint32_t first, uint32_t second, uint64_t second_len)
{
    uint32_t power = UINT32_C(1) << 23; /* x^8, then its squares */

    for (; second_len > 0; second_len >>= 1) {
        if ((second_len & 1) != 0)
            first = multiply(first, power);
        power = multiply(power, power);
    }
    return first ^ second;
}

void crc32c_base64(uint32_t crc, char out[CRC32C_BASE64_SIZE])
{
    const unsigned char bytes[4] = {(unsigned char)(crc >> 24), (unsigned char)(crc >> 16), (unsigned char)(crc >> 8),
                                    (unsigned char)crc};

    EVP_EncodeBlock((unsigned char *)out, bytes, sizeof bytes);
}
