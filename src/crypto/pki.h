/* Keys, requests and certificates of the split: thin over OpenSSL's X.509.
 *
 * Three tiers, all Ed25519. A root, whose key is needed only to sign issuers and can be kept on another machine; an
 * issuer, whose key lives in the cloud's enrol process; leaves, for edges (clients) and workers (servers). An edge pins
 * the root by its fingerprint, so a new issuer needs nothing from it. A leaf carries one name, an opaque id: never who
 * the hospital is. Times are seconds since 1970. Keys are the caller's to free with EVP_PKEY_free (which wipes them). */
#ifndef MERIDIAN_CRYPTO_PKI_H
#define MERIDIAN_CRYPTO_PKI_H

#include "base/buf.h"
#include "base/error.h"

#include <openssl/types.h>
#include <stdbool.h>
#include <stdint.h>

#define PKI_MAX_CHAIN   4
#define PKI_MAX_PEM     16384u /* bytes of one PEM text from a peer */
#define PKI_FINGERPRINT 72     /* "sha256:" and 64 hex digits and NUL */
#define PKI_MAX_NAME    64     /* of a leaf, with NUL: letters, digits, '-' and '.' */

/* A leaf (or issuer) and what signed it, towards the root, which is not part of it. {0} is valid and empty. */
struct pki_chain {
    X509 *cert[PKI_MAX_CHAIN];
    unsigned n;
};
void pki_chain_done(struct pki_chain *c);

int pki_key_create(EVP_PKEY **ret, struct error *err);
int pki_key_save(EVP_PKEY *key, const char *path, struct error *err); /* PKCS#8 PEM, mode 0600, atomically */
int pki_key_load(EVP_PKEY **ret, const char *path, struct error *err);

int pki_chain_parse(struct pki_chain *ret, const void *pem, size_t len, struct error *err);
int pki_chain_load(struct pki_chain *ret, const char *path, struct error *err);
int pki_chain_print(struct buf *ret, const struct pki_chain *c, struct error *err); /* PEM, appended */

/* A request: proves possession of the key and says nothing else; the name is given by who signs. */
int pki_request_create(struct buf *ret_pem, EVP_PKEY *key, struct error *err);
/* Checks the form, the kind of key (Ed25519 or P-256) and the signature. *ret_key: the public key. */
int pki_request_parse(EVP_PKEY **ret_key, const void *pem, size_t len, struct error *err);

enum pki_role { PKI_ROOT, PKI_ISSUER, PKI_CLIENT, PKI_SERVER };

struct pki_subject {
    enum pki_role role;
    const char *name;
    int64_t not_before, not_after;
};
/* Signs `key`. Root: signed by itself, by_* are ignored. A leaf never outlives who signs it (not_after is cut). */
int pki_sign(
    X509 **ret, const struct pki_subject *subject, EVP_PKEY *key, EVP_PKEY *by_key, X509 *by_cert, struct error *err);

/* Is the chain's leaf good for this role now, up to this root, and (name not NULL) for this name? The sentence says what
 * is wrong: -EKEYEXPIRED, -EKEYREJECTED. */
int pki_verify(const struct pki_chain *c, X509 *root, enum pki_role role, const char *name, struct error *err);

void pki_fingerprint(char ret[PKI_FINGERPRINT], const X509 *cert);
void pki_key_fingerprint(char ret[PKI_FINGERPRINT], EVP_PKEY *key); /* of the public half */
bool pki_fingerprint_equal(const char *a, const char *b);           /* letter case does not matter */
int64_t pki_not_after(const X509 *cert);
int64_t pki_not_before(const X509 *cert);
int pki_name(char ret[PKI_MAX_NAME], const X509 *cert); /* its common name; -EINVAL if it has none that is allowed */
bool pki_name_allowed(const char *name);

#endif
