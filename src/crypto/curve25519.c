#include "crypto/curve25519.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>

struct ed25519 {
    EVP_PKEY *key;
    EVP_MD_CTX *ctx;
    uint8_t public[32];
};

int ed25519_create(struct ed25519 **ret, const uint8_t seed[32])
{
    struct ed25519 *k = calloc(1, sizeof *k);
    if (!k)
        return -ENOMEM;
    size_t len = sizeof k->public;
    k->key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, 32);
    k->ctx = EVP_MD_CTX_new();
    if (!k->key || !k->ctx || EVP_PKEY_get_raw_public_key(k->key, k->public, &len) != 1) {
        ed25519_free(k);
        return -ENOMEM;
    }
    *ret = k;
    return 0;
}

void ed25519_free(struct ed25519 *k)
{
    if (!k)
        return;
    EVP_MD_CTX_free(k->ctx);
    EVP_PKEY_free(k->key); /* the library wipes what it holds of a private key */
    free(k);
}

const uint8_t *ed25519_public(const struct ed25519 *k)
{
    return k->public;
}

int ed25519_sign(struct ed25519 *k, const uint8_t *msg, size_t len, uint8_t ret_signature[64])
{
    size_t n = 64;
    EVP_MD_CTX_reset(k->ctx);
    if (EVP_DigestSignInit(k->ctx, NULL, NULL, NULL, k->key) != 1 ||
        EVP_DigestSign(k->ctx, ret_signature, &n, msg, len) != 1 || n != 64)
        return -EIO;
    return 0;
}

int ed25519_verify(const uint8_t public[32], const uint8_t *msg, size_t len, const uint8_t signature[64])
{
    EVP_PKEY *key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, public, 32);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    int good = key && ctx && EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, key) == 1 &&
               EVP_DigestVerify(ctx, signature, 64, msg, len) == 1;
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(key);
    return good ? 0 : -EPROTO;
}

int x25519_public(uint8_t ret[32], const uint8_t private[32])
{
    size_t len = 32;
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL, private, 32);
    int good = key && EVP_PKEY_get_raw_public_key(key, ret, &len) == 1;
    EVP_PKEY_free(key);
    return good ? 0 : -EIO;
}

int x25519_shared(uint8_t ret[32], const uint8_t private[32], const uint8_t peer[32])
{
    size_t len = 32;
    uint8_t secret[32];
    EVP_PKEY *mine = EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL, private, 32);
    EVP_PKEY *theirs = EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, NULL, peer, 32);
    EVP_PKEY_CTX *ctx = mine ? EVP_PKEY_CTX_new(mine, NULL) : NULL;
    /* The library refuses keys of small order by itself. */
    int good = theirs && ctx && EVP_PKEY_derive_init(ctx) == 1 && EVP_PKEY_derive_set_peer(ctx, theirs) == 1 &&
               EVP_PKEY_derive(ctx, secret, &len) == 1 && len == 32;
    for (int i = 0; i < 32 && good; i++)
        ret[i] = secret[i];
    OPENSSL_cleanse(secret, sizeof secret);
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(theirs);
    EVP_PKEY_free(mine);
    return good ? 0 : -EPROTO;
}
