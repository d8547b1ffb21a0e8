#ifndef WEIR_CRC32C_H
#define WEIR_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* CRC-32C (Castagnoli, RFC 3720) over ISA-L. Pure; safe from any thread. */

/* The checksum of what `crc` covers followed by `data`; start with 0. "123456789" gives 0xE3069283. */
uint32_t crc32c_update(uint32_t crc, const void *data, size_t len);

/* The checksum of two stretches of bytes, one after the other, from those of each. */
uint32_t crc32c_combine(uint32_t first, uint32_t second, uint64_t second_len);

/* As S3's and tus's headers carry it: the four bytes in network order, in base64. */
#define CRC32C_BASE64_SIZE 9
void crc32c_base64(uint32_t crc, char out[CRC32C_BASE64_SIZE]);

#endif
