#include "http/tls_files.h"

#include "base/buf.h"
#include "os/file.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PEM_MOST (1 << 20)
#define DAY_S    86400

void tls_files_done(struct tls_files *t)
{
    if (t->key_pem)
        OPENSSL_cleanse(t->key_pem, strlen(t->key_pem));
    free(t->key_pem);
    free(t->cert_pem);
    *t = (struct tls_files){0};
}

static X509 *parse_cert(const char *pem)
{
    BIO *b = BIO_new_mem_buf(pem, -1);
    X509 *x = b ? PEM_read_bio_X509(b, NULL, NULL, NULL) : NULL;
    BIO_free(b);
    return x;
}

static EVP_PKEY *parse_key(const char *pem)
{
    BIO *b = BIO_new_mem_buf(pem, -1);
    EVP_PKEY *k = b ? PEM_read_bio_PrivateKey(b, NULL, NULL, NULL) : NULL;
    BIO_free(b);
    return k;
}

static int64_t seconds_of(const ASN1_TIME *t)
{
    struct tm tm = {0};
    return ASN1_TIME_to_tm(t, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

static void describe(struct tls_files *t, X509 *x)
{
    uint8_t md[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    X509_digest(x, EVP_sha256(), md, &len);
    for (unsigned i = 0; i < len && i < 32; i++)
        sprintf(t->fingerprint + 3 * i, "%02X%s", md[i], i < 31 ? ":" : "");
    t->not_after = seconds_of(X509_get0_notAfter(x));
}

static int read_pem(char **ret, const char *path, struct error *err)
{
    struct buf b = {0};
    int rc = file_read(&b, path, PEM_MOST, err);
    if (!rc && buf_append(&b, "", 1))
        rc = error_set(err, ENOMEM, "no memory");
    if (rc)
        buf_done(&b);
    else
        *ret = (char *)b.data;
    return rc;
}

int tls_files_load(struct tls_files *ret, const char *cert_file, const char *key_file, struct error *err)
{
    struct tls_files t = {0};
    int rc = read_pem(&t.cert_pem, cert_file, err);
    if (!rc)
        rc = read_pem(&t.key_pem, key_file, err);
    X509 *x = rc ? NULL : parse_cert(t.cert_pem);
    EVP_PKEY *k = rc ? NULL : parse_key(t.key_pem);
    if (!rc && !x)
        rc = error_set(err, EINVAL, "%s holds no certificate in PEM", cert_file);
    if (!rc && !k)
        rc = error_set(err, EINVAL, "%s holds no private key in PEM (without a passphrase)", key_file);
    if (!rc && X509_check_private_key(x, k) != 1)
        rc = error_set(err, EINVAL, "%s and %s do not belong together", cert_file, key_file);
    if (!rc) {
        describe(&t, x);
        if (t.not_after < time(NULL))
            rc = error_set(err, EINVAL, "the certificate in %s has expired; renew it", cert_file);
    }
    X509_free(x);
    EVP_PKEY_free(k);
    if (rc)
        tls_files_done(&t);
    else
        *ret = t;
    return rc;
}

static void add_name(char *names, size_t cap, const char *name)
{
    struct in6_addr scratch;
    bool ip = inet_pton(AF_INET, name, &scratch) == 1 || inet_pton(AF_INET6, name, &scratch) == 1;
    for (const char *p = name; !ip && *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr("-._", *p))
            return;
    size_t n = strlen(names);
    snprintf(names + n, cap - n, ",%s:%s", ip ? "IP" : "DNS", name);
}

static int add_extension(X509 *x, int nid, const char *value)
{
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, nid, value);
    int ok = e && X509_add_ext(x, e, -1);
    X509_EXTENSION_free(e);
    return ok;
}

static X509 *make_cert(EVP_PKEY *key, const char *name)
{
    char names[1024] = "DNS:localhost,IP:127.0.0.1,IP:::1", host[256] = "";
    if (!gethostname(host, sizeof(host) - 1) && host[0])
        add_name(names, sizeof(names), host);
    if (name && name[0])
        add_name(names, sizeof(names), name);
    uint64_t serial = 0;
    X509 *x = X509_new();
    int ok = x && RAND_bytes((uint8_t *)&serial, sizeof(serial)) == 1 && X509_set_version(x, X509_VERSION_3) &&
             ASN1_INTEGER_set_uint64(X509_get_serialNumber(x), serial >> 1) &&
             X509_gmtime_adj(X509_getm_notBefore(x), -3600) && X509_gmtime_adj(X509_getm_notAfter(x), 825l * DAY_S) &&
             X509_set_pubkey(x, key);
    X509_NAME *subject = ok ? X509_get_subject_name(x) : NULL;
    ok = ok && X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const uint8_t *)"meridian edge", -1, -1, 0) &&
         X509_set_issuer_name(x, subject) && add_extension(x, NID_subject_alt_name, names) &&
         add_extension(x, NID_basic_constraints, "critical,CA:FALSE") &&
         add_extension(x, NID_ext_key_usage, "serverAuth") && X509_sign(x, key, EVP_sha256());
    if (ok)
        return x;
    X509_free(x);
    return NULL;
}

static char *bio_text(BIO *b)
{
    char *data;
    long len = BIO_get_mem_data(b, &data);
    return len > 0 ? strndup(data, (size_t)len) : NULL;
}

static int make_pair(struct tls_files *t, const char *name)
{
    EVP_PKEY *k = EVP_EC_gen("P-256");
    X509 *x = k ? make_cert(k, name) : NULL;
    BIO *cert = BIO_new(BIO_s_mem()), *key = BIO_new(BIO_s_secmem());
    int rc = -EIO;
    if (x && cert && key && PEM_write_bio_X509(cert, x) &&
        PEM_write_bio_PrivateKey(key, k, NULL, NULL, 0, NULL, NULL)) {
        t->cert_pem = bio_text(cert);
        t->key_pem = bio_text(key);
        describe(t, x);
        rc = t->cert_pem && t->key_pem ? 0 : -ENOMEM;
    }
    BIO_free(cert);
    BIO_free(key);
    X509_free(x);
    EVP_PKEY_free(k);
    return rc;
}

int tls_files_self_signed(struct tls_files *ret, const char *dir, const char *name, struct error *err)
{
    char cert[4096], key[4096];
    struct tls_files t = {0};
    if (snprintf(cert, sizeof(cert), "%s/edge-tls.crt", dir) >= (int)sizeof(cert) ||
        snprintf(key, sizeof(key), "%s/edge-tls.key", dir) >= (int)sizeof(key))
        return error_set(err, ENAMETOOLONG, "the path %.100s… is too long", dir);
    bool there = !access(cert, F_OK) && !access(key, F_OK);
    if (there && !tls_files_load(&t, cert, key, NULL)) {
        if (t.not_after - time(NULL) > DAY_S) {
            *ret = t;
            return 0;
        }
        tls_files_done(&t);
    }
    int rc = file_make_dir(dir, 0700, err);
    if (!rc && (rc = make_pair(&t, name)))
        rc = error_set(err, -rc, "cannot make a certificate");
    if (!rc)
        rc = file_write(key, t.key_pem, strlen(t.key_pem), 0600, err);
    if (!rc)
        rc = file_write(cert, t.cert_pem, strlen(t.cert_pem), 0644, err);
    t.made = true;
    if (rc)
        tls_files_done(&t);
    else
        *ret = t;
    return rc;
}

bool tls_fingerprint_parse(const char *text, uint8_t ret[32])
{
    uint8_t out[32];
    size_t n = 0;
    for (; *text && n < 64; text++) {
        if (*text == ':')
            continue;
        if (!isxdigit((unsigned char)*text))
            return false;
        int v = isdigit((unsigned char)*text) ? *text - '0' : (tolower((unsigned char)*text) - 'a' + 10);
        out[n / 2] = (uint8_t)(n % 2 ? out[n / 2] | v : v << 4);
        n++;
    }
    if (*text || n != 64)
        return false;
    memcpy(ret, out, 32);
    return true;
}
