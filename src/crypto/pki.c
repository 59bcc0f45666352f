#include "crypto/pki.h"

#include "base/hex.h"
#include "crypto/ssl_error.h"
#include "os/file.h"

#include <ctype.h>
#include <errno.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

void pki_chain_done(struct pki_chain *c)
{
    for (unsigned i = 0; i < c->n; i++)
        X509_free(c->cert[i]);
    *c = (struct pki_chain){0};
}

/* --- keys --- */

int pki_key_create(EVP_PKEY **ret, struct error *err)
{
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    if (!key)
        return ssl_error(err, EIO, "cannot make a key");
    *ret = key;
    return 0;
}

int pki_key_save(EVP_PKEY *key, const char *path, struct error *err)
{
    BIO *bio = BIO_new(BIO_s_secmem());
    char *pem;
    int rc;
    if (!bio || !PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL))
        rc = ssl_error(err, EIO, "cannot write a key as PEM");
    else
        rc = file_write(path, pem, (size_t)BIO_get_mem_data(bio, &pem), 0600, err);
    BIO_free(bio); /* of secure memory: wiped */
    return rc;
}

/* Never asks a terminal for a passphrase. */
static int no_passphrase(char *to, int cap, int writing, void *user)
{
    return -1;
}

int pki_key_load(EVP_PKEY **ret, const char *path, struct error *err)
{
    struct buf pem = {0};
    int rc = file_read(&pem, path, PKI_MAX_PEM, err);
    if (rc)
        return rc;
    BIO *bio = BIO_new_mem_buf(pem.data, (int)pem.len);
    EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL) : NULL;
    BIO_free(bio);
    if (pem.data)
        OPENSSL_cleanse(pem.data, pem.cap);
    buf_done(&pem);
    if (!key) {
        rc = ssl_error(err, EINVAL, "not a private key without passphrase");
        return error_prefix(err, rc, "%s", path);
    }
    *ret = key;
    return 0;
}

/* --- certificates as text --- */

static int chain_read(struct pki_chain *c, BIO *bio)
{
    X509 *cert;
    while ((cert = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL))) {
        if (c->n == PKI_MAX_CHAIN) {
            X509_free(cert);
            return -E2BIG;
        }
        c->cert[c->n++] = cert;
    }
    /* The loop ends with "no start line" when all was read; anything else is a broken certificate. */
    bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    ERR_clear_error();
    return at_end && c->n ? 0 : -EINVAL;
}

int pki_chain_parse(struct pki_chain *ret, const void *pem, size_t len, struct error *err)
{
    if (len > PKI_MAX_PEM)
        return error_set(err, EFBIG, "certificates of more than %u bytes", PKI_MAX_PEM);
    struct pki_chain c = {0};
    BIO *bio = BIO_new_mem_buf(pem, (int)len);
    int rc = bio ? chain_read(&c, bio) : -ENOMEM;
    BIO_free(bio);
    if (rc) {
        pki_chain_done(&c);
        return error_set(err, -rc, "not a chain of one to %d certificates in PEM", PKI_MAX_CHAIN);
    }
    *ret = c;
    return 0;
}

int pki_chain_load(struct pki_chain *ret, const char *path, struct error *err)
{
    struct buf pem = {0};
    int rc = file_read(&pem, path, PKI_MAX_PEM, err);
    if (rc)
        return rc;
    rc = pki_chain_parse(ret, pem.data, pem.len, err);
    buf_done(&pem);
    return rc ? error_prefix(err, rc, "%s", path) : 0;
}

int pki_chain_print(struct buf *ret, const struct pki_chain *c, struct error *err)
{
    BIO *bio = BIO_new(BIO_s_mem());
    int ok = bio != NULL, rc = 0;
    for (unsigned i = 0; ok && i < c->n; i++)
        ok = PEM_write_bio_X509(bio, c->cert[i]);
    char *pem;
    if (!ok)
        rc = ssl_error(err, EIO, "cannot write a certificate as PEM");
    else if (buf_append(ret, pem, (size_t)BIO_get_mem_data(bio, &pem)))
        rc = error_set(err, ENOMEM, "out of memory");
    BIO_free(bio);
    return rc;
}

/* --- requests --- */

int pki_request_create(struct buf *ret_pem, EVP_PKEY *key, struct error *err)
{
    X509_REQ *req = X509_REQ_new();
    BIO *bio = BIO_new(BIO_s_mem());
    char *pem;
    int rc = 0;
    if (!req || !bio || !X509_REQ_set_pubkey(req, key) || !X509_REQ_sign(req, key, NULL) ||
        !PEM_write_bio_X509_REQ(bio, req))
        rc = ssl_error(err, EIO, "cannot make a certificate request");
    else if (buf_append(ret_pem, pem, (size_t)BIO_get_mem_data(bio, &pem)))
        rc = error_set(err, ENOMEM, "out of memory");
    BIO_free(bio);
    X509_REQ_free(req);
    return rc;
}

static bool key_kind_allowed(EVP_PKEY *key)
{
    char group[32] = "";
    if (EVP_PKEY_is_a(key, "ED25519"))
        return true;
    return EVP_PKEY_is_a(key, "EC") && EVP_PKEY_get_group_name(key, group, sizeof(group), NULL) &&
           !strcmp(group, "prime256v1");
}

int pki_request_parse(EVP_PKEY **ret_key, const void *pem, size_t len, struct error *err)
{
    if (len > PKI_MAX_PEM)
        return error_set(err, EFBIG, "a certificate request of more than %u bytes", PKI_MAX_PEM);
    BIO *bio = BIO_new_mem_buf(pem, (int)len);
    X509_REQ *req = bio ? PEM_read_bio_X509_REQ(bio, NULL, no_passphrase, NULL) : NULL;
    EVP_PKEY *key = req ? X509_REQ_get_pubkey(req) : NULL;
    int rc = 0;
    if (!key)
        rc = ssl_error(err, EINVAL, "not a certificate request in PEM");
    else if (!key_kind_allowed(key))
        rc = error_set(err, EINVAL, "the request's key is neither Ed25519 nor P-256");
    else if (X509_REQ_verify(req, key) != 1)
        rc = ssl_error(err, EBADMSG, "the request is not signed by its own key");
    BIO_free(bio);
    X509_REQ_free(req);
    if (rc) {
        EVP_PKEY_free(key);
        ERR_clear_error();
        return rc;
    }
    *ret_key = key;
    return 0;
}

/* --- signing --- */

static bool add_extension(X509 *cert, X509 *by, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, by, cert, NULL, NULL, 0);
    X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    bool ok = ext && X509_add_ext(cert, ext, -1);
    X509_EXTENSION_free(ext);
    return ok;
}

static bool add_extensions(X509 *cert, X509 *by, const struct pki_subject *s)
{
    char name[PKI_MAX_NAME + 8];
    snprintf(name, sizeof(name), "DNS:%s", s->name);
    bool leaf = s->role == PKI_CLIENT || s->role == PKI_SERVER;
    bool ok = add_extension(cert, by, NID_basic_constraints,
                  leaf                  ? "critical,CA:FALSE"
                  : s->role == PKI_ROOT ? "critical,CA:TRUE"
                                        : "critical,CA:TRUE,pathlen:0") &&
              add_extension(cert, by, NID_key_usage, leaf ? "critical,digitalSignature" : "critical,keyCertSign") &&
              add_extension(cert, by, NID_subject_key_identifier, "hash") &&
              (s->role == PKI_ROOT || add_extension(cert, by, NID_authority_key_identifier, "keyid:always"));
    if (ok && leaf)
        ok = add_extension(cert, by, NID_ext_key_usage, s->role == PKI_CLIENT ? "clientAuth" : "serverAuth") &&
             add_extension(cert, by, NID_subject_alt_name, name);
    return ok;
}

static bool set_serial(X509 *cert)
{
    unsigned char bytes[16];
    if (RAND_bytes(bytes, sizeof(bytes)) != 1)
        return false;
    bytes[0] = (bytes[0] & 0x7f) | 0x40; /* positive, always 16 bytes */
    BIGNUM *n = BN_bin2bn(bytes, sizeof(bytes), NULL);
    bool ok = n && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(cert));
    BN_free(n);
    return ok;
}

static bool set_times(X509 *cert, const struct pki_subject *s, const X509 *by)
{
    int64_t until = s->not_after;
    if (s->role != PKI_ROOT && until > pki_not_after(by))
        until = pki_not_after(by);
    return ASN1_TIME_set(X509_getm_notBefore(cert), (time_t)s->not_before) &&
           ASN1_TIME_set(X509_getm_notAfter(cert), (time_t)until);
}

int pki_sign(X509 **ret, const struct pki_subject *s, EVP_PKEY *key, EVP_PKEY *by_key, X509 *by_cert, struct error *err)
{
    if (!pki_name_allowed(s->name))
        return error_set(err, EINVAL, "\"%.80s\" cannot stand in a certificate", s->name);
    X509 *cert = X509_new();
    X509 *by = s->role == PKI_ROOT ? cert : by_cert;
    X509_NAME *name = cert ? X509_get_subject_name(cert) : NULL;
    bool ok =
        name && X509_set_version(cert, X509_VERSION_3) && set_serial(cert) && set_times(cert, s, by) &&
        X509_NAME_add_entry_by_NID(name, NID_commonName, MBSTRING_ASC, (const unsigned char *)s->name, -1, -1, 0) &&
        X509_set_issuer_name(cert, X509_get_subject_name(by)) && X509_set_pubkey(cert, key) &&
        add_extensions(cert, by, s) && X509_sign(cert, s->role == PKI_ROOT ? key : by_key, NULL);
    if (!ok) {
        X509_free(cert);
        return ssl_error(err, EIO, "cannot sign a certificate");
    }
    *ret = cert;
    return 0;
}

/* --- looking at them --- */

static int verify_failed(int code, enum pki_role role, const char *name, struct error *err)
{
    const char *whose = role == PKI_CLIENT ? "the edge's certificate" : "the cloud's certificate";
    if (code == X509_V_ERR_CERT_HAS_EXPIRED)
        return error_set(err, EKEYEXPIRED, "%s has expired", whose);
    if (code == X509_V_ERR_CERT_NOT_YET_VALID)
        return error_set(err, EKEYREJECTED, "%s is not valid yet: compare the clocks of both sides", whose);
    if (code == X509_V_ERR_HOSTNAME_MISMATCH)
        return error_set(err, EKEYREJECTED, "%s is not for %s", whose, name ? name : "this name");
    if (code == X509_V_ERR_INVALID_PURPOSE)
        return error_set(err, EKEYREJECTED, "%s is for another purpose", whose);
    return error_set(
        err, EKEYREJECTED, "%s does not come from the pinned root (%s)", whose, X509_verify_cert_error_string(code));
}

int pki_verify(const struct pki_chain *c, X509 *root, enum pki_role role, const char *name, struct error *err)
{
    if (!c->n)
        return error_set(err, EKEYREJECTED, "there is no certificate");
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    STACK_OF(X509) *others = sk_X509_new_null();
    bool ready = store && ctx && others && X509_STORE_add_cert(store, root);
    for (unsigned i = 1; ready && i < c->n; i++)
        ready = sk_X509_push(others, c->cert[i]) > 0;
    ready = ready && X509_STORE_CTX_init(ctx, store, c->cert[0], others);
    int rc = 0;
    if (!ready) {
        rc = ssl_error(err, ENOMEM, "cannot verify a certificate");
    } else {
        X509_STORE_CTX_set_purpose(ctx, role == PKI_CLIENT   ? X509_PURPOSE_SSL_CLIENT
                                        : role == PKI_SERVER ? X509_PURPOSE_SSL_SERVER
                                                             : X509_PURPOSE_ANY);
        if (name && X509_check_host(c->cert[0], name, 0, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT, NULL) != 1)
            rc = verify_failed(X509_V_ERR_HOSTNAME_MISMATCH, role, name, err);
        else if (X509_verify_cert(ctx) != 1)
            rc = verify_failed(X509_STORE_CTX_get_error(ctx), role, name, err);
    }
    sk_X509_free(others);
    X509_STORE_CTX_free(ctx);
    X509_STORE_free(store);
    ERR_clear_error();
    return rc;
}

static void print_fingerprint(char ret[PKI_FINGERPRINT], const unsigned char digest[32])
{
    memcpy(ret, "sha256:", 7);
    hex_put(ret + 7, digest, 32);
}

void pki_fingerprint(char ret[PKI_FINGERPRINT], const X509 *cert)
{
    unsigned char digest[32] = {0};
    X509_digest(cert, EVP_sha256(), digest, NULL);
    print_fingerprint(ret, digest);
}

void pki_key_fingerprint(char ret[PKI_FINGERPRINT], EVP_PKEY *key)
{
    unsigned char digest[32] = {0}, *der = NULL;
    int len = i2d_PUBKEY(key, &der);
    if (len > 0)
        EVP_Digest(der, (size_t)len, digest, NULL, EVP_sha256(), NULL);
    OPENSSL_free(der);
    print_fingerprint(ret, digest);
}

bool pki_fingerprint_equal(const char *a, const char *b)
{
    for (; *a && *b; a++, b++)
        if (tolower((unsigned char)*a) != tolower((unsigned char)*b))
            return false;
    return *a == *b;
}

static int64_t seconds_of(const ASN1_TIME *t)
{
    struct tm tm = {0};
    return ASN1_TIME_to_tm(t, &tm) ? (int64_t)timegm(&tm) : 0;
}

int64_t pki_not_after(const X509 *cert)
{
    return seconds_of(X509_get0_notAfter(cert));
}

int64_t pki_not_before(const X509 *cert)
{
    return seconds_of(X509_get0_notBefore(cert));
}

bool pki_name_allowed(const char *name)
{
    size_t n = strlen(name);
    if (!n || n >= PKI_MAX_NAME || name[0] == '.' || name[0] == '-')
        return false;
    for (; *name; name++)
        if (!isalnum((unsigned char)*name) && *name != '-' && *name != '.')
            return false;
    return true;
}

int pki_name(char ret[PKI_MAX_NAME], const X509 *cert)
{
    char name[PKI_MAX_NAME] = "";
    int n = X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, name, sizeof(name));
    if (n <= 0 || (size_t)n != strlen(name) || !pki_name_allowed(name))
        return -EINVAL;
    memcpy(ret, name, sizeof(name));
    return 0;
}
