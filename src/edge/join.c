/* Joining: read the kit, make a key, ask, check what comes back, write it down. cloud.json is written last: while it is
 * missing the folder has not joined, and the key waits in joining.key for another try. */
#include "base/clock.h"
#include "crypto/tls.h"
#include "edge/enrol_client.h"
#include "edge/identity.h"
#include "os/file.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <yyjson.h>

struct kit {
    char address[280], token[ENROL_MAX_TOKEN], root[PKI_FINGERPRINT], enrol[PKI_MAX_NAME];
    int64_t expires;
};

static bool get_text(char *to, size_t cap, yyjson_val *o, const char *key)
{
    yyjson_val *v = yyjson_obj_get(o, key);
    size_t len = yyjson_get_len(v);
    if (!yyjson_is_str(v) || !len || len >= cap || strlen(yyjson_get_str(v)) != len)
        return false;
    memcpy(to, yyjson_get_str(v), len + 1);
    return true;
}

static int read_kit(struct kit *ret, const char *path, struct error *err)
{
    struct buf text = {0};
    struct kit k = {0};
    int rc = file_read(&text, path, 65536, err);
    if (rc)
        return rc;
    yyjson_doc *doc = yyjson_read((const char *)text.data, text.len, 0);
    yyjson_val *o = yyjson_doc_get_root(doc);
    if (!yyjson_is_obj(o) || !yyjson_obj_get(o, "meridian_kit"))
        rc = error_set(err, EINVAL, "%s: this is no start-up kit (meridian cloud invite NAME writes one)", path);
    else if (yyjson_get_int(yyjson_obj_get(o, "meridian_kit")) != 1)
        rc = error_set(err, EINVAL, "%s: this kit is for another version of meridian", path);
    else if (!get_text(k.address, sizeof(k.address), o, "address") || !get_text(k.token, sizeof(k.token), o, "token") ||
             !get_text(k.root, sizeof(k.root), o, "root") || !get_text(k.enrol, sizeof(k.enrol), o, "enrol"))
        rc = error_set(err, EINVAL, "%s: this kit is damaged; ask for it again", path);
    k.expires = yyjson_get_sint(yyjson_obj_get(o, "expires"));
    yyjson_doc_free(doc);
    if (text.data)
        explicit_bzero(text.data, text.cap);
    buf_done(&text);
    if (!rc && k.expires && time(NULL) > k.expires)
        rc = error_set(err, EKEYEXPIRED, "%s: this invitation has expired: ask for a new one", path);
    if (!rc)
        *ret = k;
    return rc;
}

struct paths {
    char cloud[4096], key[4096], joining[4096], cert[4096], ca[4096];
};

static int make_paths(struct paths *p, const char *dir, struct error *err)
{
    if (snprintf(p->cloud, 4096, "%s/cloud.json", dir) >= 4096 || snprintf(p->key, 4096, "%s/key.pem", dir) >= 4096 ||
        snprintf(p->joining, 4096, "%s/joining.key", dir) >= 4096 ||
        snprintf(p->cert, 4096, "%s/cert.pem", dir) >= 4096 || snprintf(p->ca, 4096, "%s/ca.pem", dir) >= 4096)
        return error_set(err, ENAMETOOLONG, "%s: path too long", dir);
    return 0;
}

static int joining_key(EVP_PKEY **ret, const struct paths *p, struct error *err)
{
    if (!access(p->joining, F_OK))
        return pki_key_load(ret, p->joining, err);
    int rc = pki_key_create(ret, err);
    if (!rc && (rc = pki_key_save(*ret, p->joining, err)))
        EVP_PKEY_free(*ret);
    return rc;
}

static int ask(
    struct enrol_reply *ret, const struct kit *k, const char *path, EVP_PKEY *key, int keylog_fd, struct error *err)
{
    struct tls_config cfg = {
        .root_fingerprint = k->root, .peer = k->enrol, .alpn = TLS_ALPN_ENROL, .keylog_fd = keylog_fd};
    struct enrol_request *q = calloc(1, sizeof(*q));
    struct buf csr = {0};
    SSL_CTX *tls = NULL;
    int rc = q ? pki_request_create(&csr, key, err) : error_set(err, ENOMEM, "out of memory");
    if (!rc && csr.len >= sizeof(q->csr))
        rc = error_set(err, EINVAL, "the request is too long");
    if (!rc)
        rc = tls_context_create(&tls, &cfg, err);
    if (!rc) {
        q->op = ENROL_JOIN;
        memcpy(q->token, k->token, sizeof(q->token));
        memcpy(q->csr, buf_str(&csr), csr.len);
        rc = enrol_client_ask(ret, tls, k->address, k->enrol, q, 15 * NS_PER_S, err);
        if (rc == -EUNATCH)
            error_set(err, EUNATCH, "%s: a cloud answers there, but not the one of this kit (%s)", k->address, path);
    }
    SSL_CTX_free(tls);
    buf_done(&csr);
    if (q)
        explicit_bzero(q, sizeof(*q));
    free(q);
    return rc;
}

/* What the cloud gave must be for our key, from the root that the kit names. */
static int check(const struct enrol_reply *r, const struct kit *k, EVP_PKEY *key, struct error *err)
{
    struct pki_chain chain = {0}, root = {0};
    char fp[PKI_FINGERPRINT];
    int rc = pki_chain_parse(&chain, r->chain, strlen(r->chain), err);
    if (!rc)
        rc = pki_chain_parse(&root, r->root, strlen(r->root), err);
    if (!rc) {
        pki_fingerprint(fp, root.cert[0]);
        if (!pki_fingerprint_equal(fp, k->root))
            rc = error_set(err, EKEYREJECTED, "the cloud sent another root than the kit names");
    }
    if (!rc)
        rc = pki_verify(&chain, root.cert[0], PKI_CLIENT, r->id, err);
    if (!rc && X509_check_private_key(chain.cert[0], key) != 1)
        rc = error_set(err, EKEYREJECTED, "the cloud sent a certificate for another key");
    pki_chain_done(&chain);
    pki_chain_done(&root);
    return rc;
}

static int write_cloud(const struct paths *p, const struct kit *k, const struct enrol_reply *r, struct error *err)
{
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    size_t len = 0;
    char *text = NULL;
    if (doc) {
        yyjson_mut_val *o = yyjson_mut_obj(doc);
        yyjson_mut_doc_set_root(doc, o);
        yyjson_mut_obj_add_str(doc, o, "address", k->address);
        yyjson_mut_obj_add_str(doc, o, "id", r->id);
        yyjson_mut_obj_add_str(doc, o, "enrol", k->enrol);
        yyjson_mut_obj_add_str(doc, o, "root", k->root);
        text = yyjson_mut_write(doc, YYJSON_WRITE_PRETTY, &len);
    }
    int rc = text ? file_write(p->cloud, text, len, 0600, err) : error_set(err, ENOMEM, "out of memory");
    free(text);
    yyjson_mut_doc_free(doc);
    return rc;
}

static int write_down(const struct paths *p, const struct kit *k, const struct enrol_reply *r, struct error *err)
{
    int rc = 0;
    if (unlink(p->cloud) && errno != ENOENT)
        rc = error_set(err, errno, "%s: %s", p->cloud, strerror(errno));
    if (!rc)
        rc = file_write(p->ca, r->root, strlen(r->root), 0644, err);
    if (!rc)
        rc = file_write(p->cert, r->chain, strlen(r->chain), 0644, err);
    if (!rc && rename(p->joining, p->key))
        rc = error_set(err, errno, "%s: %s", p->key, strerror(errno));
    return rc ? rc : write_cloud(p, k, r, err);
}

int edge_join(const char *path, const char *dir, bool again, int keylog_fd, struct error *err)
{
    struct kit k;
    struct paths p;
    struct enrol_reply *r = calloc(1, sizeof(*r));
    EVP_PKEY *key = NULL;
    int rc = r ? read_kit(&k, path, err) : error_set(err, ENOMEM, "out of memory");
    if (!rc)
        rc = make_paths(&p, dir, err);
    if (!rc)
        rc = file_make_dir(dir, 0700, err);
    if (!rc && !again && !access(p.cloud, F_OK))
        rc = error_set(err, EEXIST, "%s has already joined a cloud; --again leaves that one and joins anew", dir);
    if (!rc)
        rc = joining_key(&key, &p, err);
    if (!rc)
        rc = ask(r, &k, path, key, keylog_fd, err);
    if (!rc)
        rc = check(r, &k, key, err);
    if (!rc)
        rc = write_down(&p, &k, r, err);
    EVP_PKEY_free(key);
    explicit_bzero(&k, sizeof(k));
    free(r);
    return rc;
}
