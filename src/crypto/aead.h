/* AES-256-GCM (NIST SP 800-38D) over packets in place, many at a time: ipsec-mb where it is (x86-64; the widest
 * instructions that the processor has), OpenSSL elsewhere. Contexts are made once; sealing and opening allocate nothing.
 * One aead per thread. */
#ifndef MERIDIAN_CRYPTO_AEAD_H
#define MERIDIAN_CRYPTO_AEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AEAD_KEY   32
#define AEAD_NONCE 12
#define AEAD_TAG   16

struct aead;
int aead_create(struct aead **ret);          /* -ENOMEM, -EIO */
void aead_free(struct aead *a);              /* NULL allowed */
const char *aead_name(const struct aead *a); /* "ipsec-mb AVX512", "OpenSSL": for figures and `show` */

/* A key, expanded once; wiped when freed. */
struct aead_key;
int aead_key_create(struct aead_key **ret, struct aead *a, const uint8_t key[AEAD_KEY]); /* -ENOMEM, -EIO */
void aead_key_free(struct aead_key *k);                                                  /* NULL allowed */

struct aead_job {
    const struct aead_key *key;
    uint8_t *bytes; /* len of them, changed in place */
    uint32_t len;
    const uint8_t *aad; /* aad_len bytes that are only authenticated */
    uint32_t aad_len;
    uint8_t nonce[AEAD_NONCE]; /* never twice under one key */
    uint8_t *tag;              /* sealing: written; opening: what must come out */
    bool good;                 /* opening: it did, in constant time; if not, `bytes` are zeroed */
};
void aead_seal(struct aead *a, struct aead_job *jobs, unsigned n);
void aead_open(struct aead *a, struct aead_job *jobs, unsigned n);

#endif
