#include "crypto/sha256.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdlib.h>

struct sha256 {
    EVP_MD_CTX *ctx;
    bool bad;
};

struct sha256 *sha256_create(void)
{
    struct sha256 *s = calloc(1, sizeof(*s));
    if (!s)
        return NULL;
    s->ctx = EVP_MD_CTX_new();
    if (s->ctx && EVP_DigestInit_ex(s->ctx, EVP_sha256(), NULL) == 1)
        return s;
    sha256_free(s);
    return NULL;
}

void sha256_add(struct sha256 *s, const void *bytes, size_t len)
{
    if (len && EVP_DigestUpdate(s->ctx, bytes, len) != 1)
        s->bad = true;
}

int sha256_end(struct sha256 *s, uint8_t ret[32])
{
    uint8_t digest[32];
    bool ok = !s->bad && EVP_DigestFinal_ex(s->ctx, digest, NULL) == 1;
    for (int i = 0; i < 32 && ok; i++)
        ret[i] = digest[i];
    sha256_free(s);
    return ok ? 0 : -EIO;
}

void sha256_free(struct sha256 *s)
{
    if (!s)
        return;
    EVP_MD_CTX_free(s->ctx);
    free(s);
}

int sha256_of(const void *bytes, size_t len, uint8_t ret[32])
{
    struct sha256 *s = sha256_create();
    if (!s)
        return -ENOMEM;
    sha256_add(s, bytes, len);
    return sha256_end(s, ret);
}
