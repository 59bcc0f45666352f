/* The cloud's certificate authority as files: DIR/ca/{root.key,root.pem,issuer.key,issuer.pem}.
 *
 * root.key signs issuers and nothing else; it may be kept elsewhere ("offline") and is asked for again only when the
 * issuer must be renewed. issuer.key signs leaves and is read by the enrol process alone. */
#ifndef MERIDIAN_CLOUD_AUTHORITY_H
#define MERIDIAN_CLOUD_AUTHORITY_H

#include "crypto/pki.h"

#define AUTHORITY_ROOT_YEARS  20
#define AUTHORITY_ISSUER_DAYS 730
#define AUTHORITY_ALARM_DAYS  60 /* an issuer with less than this left is complained about */

struct authority {
    EVP_PKEY *issuer_key; /* NULL when loaded without */
    X509 *issuer, *root;
};

/* Makes the four files if there is no root yet; the root's private key is never overwritten. */
int authority_ensure(const char *dir, struct error *err);
/* A new issuer, signed by the root key at this path (NULL: DIR/ca/root.key). Edges notice nothing. */
int authority_renew(const char *dir, const char *root_key_path, struct error *err);

int authority_load(struct authority *ret, const char *dir, bool with_key, struct error *err);
void authority_done(struct authority *a);

/* A leaf for `key`, as a chain of leaf and issuer. */
int authority_sign(const struct authority *a, struct pki_chain *ret, enum pki_role role, const char *name,
    EVP_PKEY *key, int64_t lifetime_s, struct error *err);

int64_t authority_seconds_left(const struct authority *a); /* of the issuer */

#endif
