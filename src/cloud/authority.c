#include "cloud/authority.h"

#include "os/file.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define DAY 86400ll
/* Leaves are valid from a little earlier, for clocks that are a little behind. */
#define BACKDATE 300

static int path_of(char to[4096], const char *dir, const char *name, struct error *err)
{
    if (snprintf(to, 4096, "%s/ca/%s", dir, name) >= 4096)
        return error_set(err, ENAMETOOLONG, "%s: path too long", dir);
    return 0;
}

static int save_certificate(X509 *cert, const char *path, struct error *err)
{
    struct pki_chain one = {.cert = {cert}, .n = 1};
    struct buf pem = {0};
    int rc = pki_chain_print(&pem, &one, err);
    if (!rc)
        rc = file_write(path, pem.data, pem.len, 0644, err);
    buf_done(&pem);
    return rc;
}

static int load_certificate(X509 **ret, const char *path, struct error *err)
{
    struct pki_chain c;
    int rc = pki_chain_load(&c, path, err);
    if (rc)
        return rc;
    X509_up_ref(*ret = c.cert[0]);
    pki_chain_done(&c);
    return 0;
}

static int make_root(const char *dir, struct error *err)
{
    char key_path[4096], path[4096];
    int64_t now = time(NULL);
    struct pki_subject s = {PKI_ROOT, "meridian-root", now - BACKDATE, now + AUTHORITY_ROOT_YEARS * 365 * DAY};
    EVP_PKEY *key = NULL;
    X509 *cert = NULL;
    int rc = path_of(key_path, dir, "root.key", err);
    if (!rc)
        rc = path_of(path, dir, "root.pem", err);
    if (!rc && !access(key_path, F_OK))
        rc = error_set(err, EEXIST, "%s: there is a root key but no root.pem; put its certificate back", key_path);
    if (!rc)
        rc = pki_key_create(&key, err);
    if (!rc)
        rc = pki_sign(&cert, &s, key, NULL, NULL, err);
    if (!rc)
        rc = pki_key_save(key, key_path, err);
    if (!rc)
        rc = save_certificate(cert, path, err);
    X509_free(cert);
    EVP_PKEY_free(key);
    return rc;
}

static int make_issuer(const char *dir, EVP_PKEY *root_key, X509 *root, struct error *err)
{
    char key_path[4096], path[4096];
    int64_t now = time(NULL);
    struct pki_subject s = {PKI_ISSUER, "meridian-issuer", now - BACKDATE, now + AUTHORITY_ISSUER_DAYS * DAY};
    EVP_PKEY *key = NULL;
    X509 *cert = NULL;
    int rc = path_of(key_path, dir, "issuer.key", err);
    if (!rc)
        rc = path_of(path, dir, "issuer.pem", err);
    if (!rc)
        rc = pki_key_create(&key, err);
    if (!rc)
        rc = pki_sign(&cert, &s, key, root_key, root, err);
    if (!rc)
        rc = pki_key_save(key, key_path, err);
    if (!rc)
        rc = save_certificate(cert, path, err);
    X509_free(cert);
    EVP_PKEY_free(key);
    return rc;
}

int authority_renew(const char *dir, const char *root_key_path, struct error *err)
{
    char key_path[4096], path[4096];
    EVP_PKEY *key = NULL;
    X509 *root = NULL;
    int rc = path_of(key_path, dir, "root.key", err);
    if (!rc)
        rc = path_of(path, dir, "root.pem", err);
    if (!rc)
        rc = load_certificate(&root, path, err);
    if (!rc)
        rc = pki_key_load(&key, root_key_path ? root_key_path : key_path, err);
    if (!rc && X509_check_private_key(root, key) != 1)
        rc = error_set(err, EINVAL, "%s is not the key of %s", root_key_path ? root_key_path : key_path, path);
    if (!rc)
        rc = make_issuer(dir, key, root, err);
    X509_free(root);
    EVP_PKEY_free(key);
    return rc;
}

int authority_ensure(const char *dir, struct error *err)
{
    char ca[4096], root[4096], issuer[4096];
    int rc = path_of(ca, dir, "", err);
    if (!rc)
        rc = path_of(root, dir, "root.pem", err);
    if (!rc)
        rc = path_of(issuer, dir, "issuer.pem", err);
    if (!rc)
        rc = file_make_dir(ca, 0700, err);
    if (!rc && access(root, F_OK))
        rc = make_root(dir, err);
    if (!rc && access(issuer, F_OK))
        rc = authority_renew(dir, NULL, err);
    return rc;
}

int authority_load(struct authority *ret, const char *dir, bool with_key, struct error *err)
{
    char path[4096];
    struct authority a = {0};
    int rc = path_of(path, dir, "root.pem", err);
    if (!rc)
        rc = load_certificate(&a.root, path, err);
    if (!rc && !(rc = path_of(path, dir, "issuer.pem", err)))
        rc = load_certificate(&a.issuer, path, err);
    if (!rc && with_key && !(rc = path_of(path, dir, "issuer.key", err)))
        rc = pki_key_load(&a.issuer_key, path, err);
    if (!rc && with_key && X509_check_private_key(a.issuer, a.issuer_key) != 1)
        rc = error_set(err, EINVAL, "%s/ca: issuer.key is not the key of issuer.pem; run: meridian cloud issuer", dir);
    if (rc) {
        authority_done(&a);
        return rc;
    }
    *ret = a;
    return 0;
}

void authority_done(struct authority *a)
{
    EVP_PKEY_free(a->issuer_key);
    X509_free(a->issuer);
    X509_free(a->root);
    *a = (struct authority){0};
}

int authority_sign(const struct authority *a, struct pki_chain *ret, enum pki_role role, const char *name,
    EVP_PKEY *key, int64_t lifetime_s, struct error *err)
{
    int64_t now = time(NULL);
    struct pki_subject s = {role, name, now - BACKDATE, now + lifetime_s};
    struct pki_chain c = {0};
    int rc = pki_sign(&c.cert[0], &s, key, a->issuer_key, a->issuer, err);
    if (rc)
        return rc;
    X509_up_ref(c.cert[1] = a->issuer);
    c.n = 2;
    *ret = c;
    return 0;
}

int64_t authority_seconds_left(const struct authority *a)
{
    return pki_not_after(a->issuer) - (int64_t)time(NULL);
}
