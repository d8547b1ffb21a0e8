#include "tus_checksum.h"

#include "base/mem.h"
#include "base64.h"
#include "crc32c.h"

#include <openssl/evp.h>
#include <string.h>

static const struct {
    const char *name;
    size_t size;               /* bytes */
    const EVP_MD *(*md)(void); /* NULL: CRC-32C */
} algorithms[TUS_ALGORITHM_COUNT] = {
    [TUS_SHA1] = {"sha1", 20, EVP_sha1},
    [TUS_SHA256] = {"sha256", 32, EVP_sha256},
    [TUS_MD5] = {"md5", 16, EVP_md5},
    [TUS_CRC32C] = {"crc32c", 4, NULL},
};

/* --- The field --- */

static bool find_algorithm(const char *name, size_t len, enum tus_algorithm *ret)
{
    for (enum tus_algorithm a = 0; a < TUS_ALGORITHM_COUNT; a++)
        if (strlen(algorithms[a].name) == len && memcmp(algorithms[a].name, name, len) == 0) {
            *ret = a;
            return true;
        }
    return false;
}

int tus_checksum_parse(const char *text, struct tus_checksum *ret, struct err *e)
{
    unsigned char value[BASE64_DECODED_SIZE(64) + 1];
    struct tus_checksum checksum = {0};
    size_t name_len = strcspn(text, " "), size;

    if (name_len == 0 || text[name_len] != ' ')
        return err_set(e, ERR_INVALID, "Upload-Checksum must be an algorithm, a space and the checksum in base64");
    if (!find_algorithm(text, name_len, &checksum.algorithm))
        return err_set(e, ERR_INVALID, "Upload-Checksum names an algorithm that is not one of %s",
                       TUS_CHECKSUM_ALGORITHMS);
    const char *encoded = text + name_len + 1;
    if (strlen(encoded) > 64 || !base64_decode(encoded, strlen(encoded), value, &size) ||
        size != algorithms[checksum.algorithm].size)
        return err_set(e, ERR_INVALID, "Upload-Checksum must hold %zu bytes in base64 for %s",
                       algorithms[checksum.algorithm].size, algorithms[checksum.algorithm].name);
    memcpy(checksum.value, value, size);
    *ret = checksum;
    return 0;
}

/* --- The bytes --- */

struct tus_digest {
    EVP_MD_CTX *md[TUS_ALGORITHM_COUNT]; /* NULL: not asked for, or CRC-32C */
    bool has_crc32c;
    uint32_t crc32c;
};

static int add_algorithm(struct tus_digest *d, enum tus_algorithm a, struct err *e)
{
    if (algorithms[a].md == NULL) {
        d->has_crc32c = true;
        return 0;
    }
    d->md[a] = EVP_MD_CTX_new();
    if (d->md[a] == NULL || EVP_DigestInit_ex(d->md[a], algorithms[a].md(), NULL) != 1)
        return err_set(e, ERR_TEMPORARY, "no memory for a checksum, or libcrypto has no %s", algorithms[a].name);
    return 0;
}

int tus_digest_new(enum tus_algorithm algorithm, struct tus_digest **ret, struct err *e)
{
    struct tus_digest *d = mem_zalloc(sizeof *d);
    int r = 0;

    if (d == NULL)
        return err_set(e, ERR_TEMPORARY, "no memory for a checksum");
    for (enum tus_algorithm a = 0; a < TUS_ALGORITHM_COUNT && r == 0; a++)
        if (a == algorithm || algorithm == TUS_ALGORITHM_COUNT)
            r = add_algorithm(d, a, e);
    if (r != 0) {
        tus_digest_free(d);
        return r;
    }
    *ret = d;
    return 0;
}

void tus_digest_free(struct tus_digest *d)
{
    if (d == NULL)
        return;
    for (enum tus_algorithm a = 0; a < TUS_ALGORITHM_COUNT; a++)
        EVP_MD_CTX_free(d->md[a]);
    mem_free(d);
}

int tus_digest_add(struct tus_digest *d, const void *data, size_t len, struct err *e)
{
    for (enum tus_algorithm a = 0; a < TUS_ALGORITHM_COUNT; a++)
        if (d->md[a] != NULL && EVP_DigestUpdate(d->md[a], data, len) != 1)
            return err_set(e, ERR_BUG, "libcrypto would not add to %s", algorithms[a].name);
    if (d->has_crc32c)
        d->crc32c = crc32c_update(d->crc32c, data, len);
    return 0;
}

static void network_order(uint32_t n, unsigned char out[4])
{
    for (int i = 0; i < 4; i++)
        out[i] = (unsigned char)(n >> (24 - 8 * i));
}

int tus_digest_matches(struct tus_digest *d, const struct tus_checksum *checksum, bool *ret, struct err *e)
{
    enum tus_algorithm a = checksum->algorithm;
    unsigned char value[EVP_MAX_MD_SIZE];

    if (a == TUS_CRC32C && d->has_crc32c)
        network_order(d->crc32c, value);
    else if (a == TUS_CRC32C || d->md[a] == NULL || EVP_DigestFinal_ex(d->md[a], value, NULL) != 1)
        return err_set(e, ERR_BUG, "no %s was computed", algorithms[a].name);
    *ret = memcmp(value, checksum->value, algorithms[a].size) == 0;
    return 0;
}
