#ifndef WEIR_SHA256_H
#define WEIR_SHA256_H

#include <stddef.h>

/* SHA-256 over libcrypto. Pure; safe from any thread. */

#define SHA256_HEX_SIZE 65 /* NUL included */

/* Of `len` bytes, in lower-case hex. */
void sha256_hex(const void *data, size_t len, char out[SHA256_HEX_SIZE]);

#endif
