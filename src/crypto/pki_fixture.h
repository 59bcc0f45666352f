/* A small world of certificates for tests: a root, an issuer under it, and leaves on demand. */
#ifndef MERIDIAN_CRYPTO_PKI_FIXTURE_H
#define MERIDIAN_CRYPTO_PKI_FIXTURE_H

#include "base/test.h"
#include "crypto/pki.h"

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <time.h>

struct pki_world {
    EVP_PKEY *root_key, *issuer_key;
    X509 *root, *issuer;
};

static inline void pki_world_init(struct pki_world *w)
{
    int64_t now = time(NULL);
    struct pki_subject root = {PKI_ROOT, "root", now - 60, now + 86400};
    struct pki_subject issuer = {PKI_ISSUER, "issuer", now - 60, now + 43200};
    assert_int_equal(pki_key_create(&w->root_key, NULL), 0);
    assert_int_equal(pki_key_create(&w->issuer_key, NULL), 0);
    assert_int_equal(pki_sign(&w->root, &root, w->root_key, NULL, NULL, NULL), 0);
    assert_int_equal(pki_sign(&w->issuer, &issuer, w->issuer_key, w->root_key, w->root, NULL), 0);
}

static inline void pki_world_done(struct pki_world *w)
{
    EVP_PKEY_free(w->root_key);
    EVP_PKEY_free(w->issuer_key);
    X509_free(w->root);
    X509_free(w->issuer);
}

/* A leaf valid from now + from to now + until seconds, with its chain (leaf, issuer and, if asked, the root). */
static inline EVP_PKEY *pki_world_leaf(struct pki_world *w, enum pki_role role, const char *name, int64_t from,
    int64_t until, bool with_root, struct pki_chain *ret)
{
    EVP_PKEY *key;
    int64_t now = time(NULL);
    struct pki_subject leaf = {role, name, now + from, now + until};
    assert_int_equal(pki_key_create(&key, NULL), 0);
    *ret = (struct pki_chain){.n = with_root ? 3 : 2};
    assert_int_equal(pki_sign(&ret->cert[0], &leaf, key, w->issuer_key, w->issuer, NULL), 0);
    X509_up_ref(ret->cert[1] = w->issuer);
    if (with_root)
        X509_up_ref(ret->cert[2] = w->root);
    return key;
}

#endif
