#include "crypto/seal.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

struct seal {
    EVP_CIPHER *cipher;
    EVP_CIPHER_CTX *ctx;
    uint8_t nonce[4];
    bool keyed;
};

int seal_create(struct seal **ret)
{
    struct seal *s = calloc(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    s->cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    s->ctx = EVP_CIPHER_CTX_new();
    if (!s->cipher || !s->ctx) {
        seal_free(s);
        return -ENOMEM;
    }
    *ret = s;
    return 0;
}

void seal_free(struct seal *s)
{
    if (!s)
        return;
    EVP_CIPHER_CTX_free(s->ctx); /* wipes the key schedule */
    EVP_CIPHER_free(s->cipher);
    OPENSSL_cleanse(s, sizeof *s);
    free(s);
}

int seal_key(struct seal *s, const uint8_t key[SEAL_KEY])
{
    EVP_CIPHER_CTX_reset(s->ctx);
    s->keyed = false;
    OPENSSL_cleanse(s->nonce, sizeof s->nonce);
    if (!key)
        return 0;
    if (EVP_EncryptInit_ex2(s->ctx, s->cipher, key, NULL, NULL) != 1)
        return -EIO;
    memcpy(s->nonce, key + 32, 4);
    s->keyed = true;
    return 0;
}

/* GMAC: nothing is encrypted, so checking computes the same seal again. */
int seal_make(struct seal *s, uint64_t seq, const uint8_t *bytes, size_t len, uint8_t ret[SEAL_SIZE])
{
    uint8_t iv[12], none[SEAL_SIZE];
    int n;
    memcpy(iv, s->nonce, 4);
    for (int i = 0; i < 8; i++)
        iv[4 + i] = (uint8_t)(seq >> (56 - 8 * i));
    if (!s->keyed || len > INT32_MAX || EVP_EncryptInit_ex2(s->ctx, NULL, NULL, iv, NULL) != 1 ||
        EVP_EncryptUpdate(s->ctx, NULL, &n, bytes, (int)len) != 1 || EVP_EncryptFinal_ex(s->ctx, none, &n) != 1 ||
        EVP_CIPHER_CTX_ctrl(s->ctx, EVP_CTRL_GCM_GET_TAG, SEAL_SIZE, ret) != 1)
        return -EIO;
    return 0;
}

int seal_check(struct seal *s, uint64_t seq, const uint8_t *bytes, size_t len, const uint8_t want[SEAL_SIZE])
{
    uint8_t made[SEAL_SIZE];
    if (seal_make(s, seq, bytes, len, made) != 0 || CRYPTO_memcmp(made, want, SEAL_SIZE) != 0)
        return -EPROTO;
    return 0;
}

#define WINDOW (64u * 16)

bool seal_window_pass(struct seal_window *w, uint64_t seq)
{
    if (seq == UINT64_MAX || (seq < w->next && w->next - seq > WINDOW))
        return false;
    for (; w->next <= seq; w->next++) {
        if (seq - w->next >= WINDOW) { /* all of it is new */
            memset(w->seen, 0, sizeof w->seen);
            w->next = seq;
        }
        w->seen[w->next / 64 % 16] &= ~(1ull << w->next % 64);
    }
    uint64_t *word = &w->seen[seq / 64 % 16], bit = 1ull << seq % 64;
    if (*word & bit)
        return false;
    *word |= bit;
    return true;
}
