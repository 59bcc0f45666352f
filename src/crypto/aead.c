#include "crypto/aead.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#ifdef MERIDIAN_IPSEC_MB
#include <intel-ipsec-mb.h>

struct aead {
    IMB_MGR *mgr;
    const char *name;
};

struct aead_key {
    struct gcm_key_data data; /* its alignment is the library's */
};

int aead_create(struct aead **ret)
{
    struct aead *a = calloc(1, sizeof *a);
    IMB_ARCH arch = IMB_ARCH_NONE;
    if (!a)
        return -ENOMEM;
    a->mgr = alloc_mb_mgr(0);
    if (a->mgr)
        init_mb_mgr_auto(a->mgr, &arch);
    if (!a->mgr || arch == IMB_ARCH_NONE) {
        aead_free(a);
        return -EIO;
    }
    a->name = arch == IMB_ARCH_AVX512 ? "ipsec-mb AVX512" : arch == IMB_ARCH_AVX2 ? "ipsec-mb AVX2" : "ipsec-mb SSE";
    *ret = a;
    return 0;
}

void aead_free(struct aead *a)
{
    if (!a)
        return;
    if (a->mgr)
        free_mb_mgr(a->mgr);
    free(a);
}

int aead_key_create(struct aead_key **ret, struct aead *a, const uint8_t key[AEAD_KEY])
{
    struct aead_key *k = aligned_alloc(64, (sizeof *k + 63) / 64 * 64);
    if (!k)
        return -ENOMEM;
    memset(k, 0, sizeof *k);
    IMB_AES256_GCM_PRE(a->mgr, key, &k->data);
    *ret = k;
    return 0;
}

static void run(struct aead *a, struct aead_job *j, bool sealing, uint8_t tag[AEAD_TAG])
{
    struct gcm_context_data c;
    if (sealing)
        IMB_AES256_GCM_ENC(
            a->mgr, &j->key->data, &c, j->bytes, j->bytes, j->len, j->nonce, j->aad, j->aad_len, tag, AEAD_TAG);
    else
        IMB_AES256_GCM_DEC(
            a->mgr, &j->key->data, &c, j->bytes, j->bytes, j->len, j->nonce, j->aad, j->aad_len, tag, AEAD_TAG);
}

#else

struct aead {
    EVP_CIPHER *cipher;
};

struct aead_key {
    EVP_CIPHER_CTX *seal, *open;
};

int aead_create(struct aead **ret)
{
    struct aead *a = calloc(1, sizeof *a);
    if (!a)
        return -ENOMEM;
    a->cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    if (!a->cipher) {
        free(a);
        return -EIO;
    }
    *ret = a;
    return 0;
}

void aead_free(struct aead *a)
{
    if (!a)
        return;
    EVP_CIPHER_free(a->cipher);
    free(a);
}

int aead_key_create(struct aead_key **ret, struct aead *a, const uint8_t key[AEAD_KEY])
{
    struct aead_key *k = calloc(1, sizeof *k);
    if (!k)
        return -ENOMEM;
    k->seal = EVP_CIPHER_CTX_new();
    k->open = EVP_CIPHER_CTX_new();
    if (!k->seal || !k->open || !EVP_EncryptInit_ex2(k->seal, a->cipher, key, NULL, NULL) ||
        !EVP_DecryptInit_ex2(k->open, a->cipher, key, NULL, NULL)) {
        aead_key_free(k);
        return -EIO;
    }
    *ret = k;
    return 0;
}

static void run(struct aead *a, struct aead_job *j, bool sealing, uint8_t tag[AEAD_TAG])
{
    EVP_CIPHER_CTX *c = sealing ? j->key->seal : j->key->open;
    int n;
    (void)a;
    if (sealing) {
        EVP_EncryptInit_ex2(c, NULL, NULL, j->nonce, NULL);
        EVP_EncryptUpdate(c, NULL, &n, j->aad, (int)j->aad_len);
        EVP_EncryptUpdate(c, j->bytes, &n, j->bytes, (int)j->len);
        EVP_EncryptFinal_ex(c, j->bytes + n, &n);
        EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, AEAD_TAG, tag);
        return;
    }
    /* The library compares itself; `tag` becomes what was wanted when it agreed, its complement otherwise. */
    EVP_DecryptInit_ex2(c, NULL, NULL, j->nonce, NULL);
    EVP_DecryptUpdate(c, NULL, &n, j->aad, (int)j->aad_len);
    EVP_DecryptUpdate(c, j->bytes, &n, j->bytes, (int)j->len);
    EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_TAG, AEAD_TAG, j->tag);
    bool good = EVP_DecryptFinal_ex(c, j->bytes + n, &n) > 0;
    for (int i = 0; i < AEAD_TAG; i++)
        tag[i] = (uint8_t)(good ? j->tag[i] : ~j->tag[i]);
}

#endif

const char *aead_name(const struct aead *a)
{
#ifdef MERIDIAN_IPSEC_MB
    return a->name;
#else
    (void)a;
    return "OpenSSL";
#endif
}

void aead_key_free(struct aead_key *k)
{
    if (!k)
        return;
#ifndef MERIDIAN_IPSEC_MB
    EVP_CIPHER_CTX_free(k->seal);
    EVP_CIPHER_CTX_free(k->open);
#endif
    OPENSSL_cleanse(k, sizeof *k);
    free(k);
}

void aead_seal(struct aead *a, struct aead_job *jobs, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        run(a, &jobs[i], true, jobs[i].tag);
}

void aead_open(struct aead *a, struct aead_job *jobs, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        uint8_t tag[AEAD_TAG];
        run(a, &jobs[i], false, tag);
        jobs[i].good = CRYPTO_memcmp(tag, jobs[i].tag, AEAD_TAG) == 0;
        if (!jobs[i].good)
            memset(jobs[i].bytes, 0, jobs[i].len);
    }
}
