#include "base64.h"

#include <openssl/evp.h>
#include <string.h>

#define QUAD 4   /* characters that stand for … */
#define TRIPLE 3 /* … bytes */

/* The decoder of libcrypto lets through white space, missing bits and more; its encoder knows one spelling only. So what it
 * made of four characters must give these four again. */
static bool decode_quad(const unsigned char text[QUAD], unsigned char out[TRIPLE], size_t bytes)
{
    unsigned char again[QUAD + 1];

    return EVP_DecodeBlock(out, text, QUAD) == TRIPLE && EVP_EncodeBlock(again, out, (int)bytes) == QUAD &&
           memcmp(again, text, QUAD) == 0;
}

static size_t bytes_of_last(const unsigned char *end)
{
    if (end[-1] != '=')
        return TRIPLE;
    return end[-2] != '=' ? TRIPLE - 1 : TRIPLE - 2;
}

bool base64_decode(const char *text, size_t len, void *out, size_t *ret_len)
{
    const unsigned char *at = (const unsigned char *)text, *end = at + len;
    unsigned char *to = out;

    if (len % QUAD != 0)
        return false;
    for (; at < end; at += QUAD) {
        unsigned char bytes[TRIPLE];
        size_t count = at + QUAD == end ? bytes_of_last(end) : TRIPLE;
        if (!decode_quad(at, bytes, count))
            return false;
        memcpy(to, bytes, count);
        to += count;
    }
    *ret_len = (size_t)(to - (unsigned char *)out);
    return true;
}
