#include "sigv4.h"

#include "base/str.h"
#include "url.h"

#include <openssl/crypto.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <string.h>

#define TEXT_MAX ((size_t)64 << 10) /* bytes of a canonical request */
#define DATE_LEN 8                  /* "20130524" of "20130524T000000Z" */
#define SECRET_MAX 256

/* Pairs in canonical form, sorted: names and values stand in `text`, each with its NUL. */
struct canonical_pairs {
    struct buf text;
    struct {
        size_t name, value; /* offsets */
    } at[SIGV4_PAIRS_MAX];
    size_t count;
};

typedef void normalise(struct buf *out, const char *s);

static void encode(struct buf *out, const char *s)
{
    url_encode(out, s, false);
}

static void lower(struct buf *out, const char *s)
{
    for (; *s != '\0'; s++)
        buf_putc(out, *s >= 'A' && *s <= 'Z' ? (char)(*s - 'A' + 'a') : *s);
}

/* Without spaces at the ends, several in a row as one. */
static void squeeze(struct buf *out, const char *s)
{
    bool pending = false, any = false;

    for (; *s != '\0'; s++) {
        if (*s == ' ' || *s == '\t') {
            pending = any;
            continue;
        }
        if (pending)
            buf_putc(out, ' ');
        buf_putc(out, *s);
        pending = false;
        any = true;
    }
}

static size_t add_text(struct buf *text, normalise *how, const char *s)
{
    size_t at = text->len;

    how(text, s);
    buf_putc(text, '\0');
    return at;
}

static bool comes_before(const struct canonical_pairs *p, size_t a, size_t b)
{
    int order = strcmp(p->text.data + p->at[a].name, p->text.data + p->at[b].name);
    if (order == 0)
        order = strcmp(p->text.data + p->at[a].value, p->text.data + p->at[b].value);
    return order < 0;
}

static void sort(struct canonical_pairs *p)
{
    for (size_t i = 1; i < p->count; i++)
        for (size_t j = i; j > 0 && comes_before(p, j, j - 1); j--) {
            __typeof__(p->at[0]) swapped = p->at[j];
            p->at[j] = p->at[j - 1];
            p->at[j - 1] = swapped;
        }
}

/* The caller releases p->text, also after a failure. */
static int collect(struct canonical_pairs *p, const struct sigv4_pair *pairs, size_t count, normalise *name,
                   normalise *value, struct err *e)
{
    buf_init(&p->text, TEXT_MAX);
    if (count > SIGV4_PAIRS_MAX)
        return err_set(e, ERR_INVALID, "request to sign: too many headers or parameters");
    for (size_t i = 0; i < count; i++) {
        p->at[i].name = add_text(&p->text, name, pairs[i].name);
        p->at[i].value = add_text(&p->text, value, pairs[i].value);
    }
    int r = buf_check(&p->text, "request to sign", e);
    if (r != 0)
        return r;
    p->count = count;
    sort(p);
    return 0;
}

/* ---- the canonical request ----------------------------------------------------------------------------------------- */

static int append_query(const struct sigv4_request *request, const char *before, struct buf *out, struct err *e)
{
    struct canonical_pairs p;

    int r = collect(&p, request->query, request->query_count, encode, encode, e);
    for (size_t i = 0; r == 0 && i < p.count; i++)
        buf_printf(out, "%s%s=%s", i == 0 ? before : "&", p.text.data + p.at[i].name, p.text.data + p.at[i].value);
    buf_release(&p.text);
    return r;
}

static int append_headers(const struct sigv4_request *request, struct buf *out, struct err *e)
{
    struct canonical_pairs p;

    int r = collect(&p, request->headers, request->header_count, lower, squeeze, e);
    for (size_t i = 0; r == 0 && i < p.count; i++)
        buf_printf(out, "%s:%s\n", p.text.data + p.at[i].name, p.text.data + p.at[i].value);
    buf_release(&p.text);
    return r;
}

/* "host;x-amz-date" */
static int append_signed_names(const struct sigv4_request *request, struct buf *out, struct err *e)
{
    struct canonical_pairs p;

    int r = collect(&p, request->headers, request->header_count, lower, squeeze, e);
    for (size_t i = 0; r == 0 && i < p.count; i++)
        buf_printf(out, "%s%s", i == 0 ? "" : ";", p.text.data + p.at[i].name);
    buf_release(&p.text);
    return r;
}

int sigv4_target(const struct sigv4_request *request, struct buf *out, struct err *e)
{
    url_encode(out, request->path, true);
    int r = append_query(request, "?", out, e);
    return r != 0 ? r : buf_check(out, "request to sign", e);
}

int sigv4_canonical(const struct sigv4_request *request, struct buf *out, struct err *e)
{
    int r;

    buf_printf(out, "%s\n", request->method);
    url_encode(out, request->path, true);
    buf_putc(out, '\n');
    if ((r = append_query(request, "", out, e)) != 0)
        return r;
    buf_putc(out, '\n');
    if ((r = append_headers(request, out, e)) != 0)
        return r;
    buf_putc(out, '\n');
    if ((r = append_signed_names(request, out, e)) != 0)
        return r;
    buf_printf(out, "\n%s", request->payload);
    return buf_check(out, "request to sign", e);
}

/* ---- the signature ------------------------------------------------------------------------------------------------- */

struct mac {
    unsigned char bytes[SHA256_DIGEST_LENGTH];
};

static int hmac(const void *key, size_t key_len, const char *text, struct mac *ret, struct err *e)
{
    unsigned len = sizeof ret->bytes;

    if (HMAC(EVP_sha256(), key, (int)key_len, (const unsigned char *)text, strlen(text), ret->bytes, &len) == NULL)
        return err_set(e, ERR_TEMPORARY, "HMAC failed");
    return 0;
}

/* The key of a day, region and service: a chain that starts with "AWS4" and the secret. */
static int signing_key(const struct sigv4_key *key, const char *date, struct mac *ret, struct err *e)
{
    const char *const chain[] = {date, key->region, key->service, "aws4_request"};
    char secret[SECRET_MAX];
    struct mac mac;

    if (!str_format(secret, sizeof secret, "AWS4%s", key->secret_key))
        return err_set(e, ERR_INVALID, "the secret key is too long");
    int r = hmac(secret, strlen(secret), chain[0], &mac, e);
    for (size_t i = 1; r == 0 && i < sizeof chain / sizeof *chain; i++)
        r = hmac(mac.bytes, sizeof mac.bytes, chain[i], &mac, e);
    OPENSSL_cleanse(secret, sizeof secret);
    if (r == 0)
        *ret = mac;
    return r;
}

static int hash_canonical(const struct sigv4_request *request, char ret_hex[2 * SHA256_DIGEST_LENGTH + 1],
                          struct err *e)
{
    unsigned char hash[SHA256_DIGEST_LENGTH];
    BUF_AUTO struct buf text;

    buf_init(&text, TEXT_MAX);
    int r = sigv4_canonical(request, &text, e);
    if (r != 0)
        return r;
    SHA256((const unsigned char *)buf_cstr(&text), text.len, hash);
    hex_encode(hash, sizeof hash, ret_hex);
    return 0;
}

static bool date_valid(const char *s)
{
    return strlen(s) == 16 && strspn(s, "0123456789") == DATE_LEN && s[DATE_LEN] == 'T' &&
           strspn(s + DATE_LEN + 1, "0123456789") == 6 && s[15] == 'Z';
}

int sigv4_authorization(const struct sigv4_request *request, const struct sigv4_key *key, const char *amz_date,
                        struct buf *out, struct err *e)
{
    char date[DATE_LEN + 1], scope[128], hash[2 * SHA256_DIGEST_LENGTH + 1], signature[2 * SHA256_DIGEST_LENGTH + 1];
    char to_sign[320];
    struct mac mac;
    int r;

    if (!date_valid(amz_date))
        return err_set(e, ERR_INVALID, "request to sign: bad date");
    str_format(date, sizeof date, "%.*s", DATE_LEN, amz_date);
    if (!str_format(scope, sizeof scope, "%s/%s/%s/aws4_request", date, key->region, key->service))
        return err_set(e, ERR_INVALID, "request to sign: the region's name is too long");
    if ((r = hash_canonical(request, hash, e)) != 0 || (r = signing_key(key, date, &mac, e)) != 0)
        return r;
    str_format(to_sign, sizeof to_sign, "AWS4-HMAC-SHA256\n%s\n%s\n%s", amz_date, scope, hash);
    r = hmac(mac.bytes, sizeof mac.bytes, to_sign, &mac, e);
    if (r != 0)
        return r;
    hex_encode(mac.bytes, sizeof mac.bytes, signature);

    buf_printf(out, "AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=", key->access_key, scope);
    r = append_signed_names(request, out, e);
    if (r != 0)
        return r;
    buf_printf(out, ", Signature=%s", signature);
    return buf_check(out, "request to sign", e);
}
