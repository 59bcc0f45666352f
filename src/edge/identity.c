#include "edge/identity.h"

#include "base/clock.h"
#include "base/log.h"
#include "crypto/tls.h"
#include "edge/enrol_client.h"
#include "os/file.h"
#include "split/link_tls.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <yyjson.h>

#define RETRY_NS (600 * NS_PER_S)
#define DAY      86400ll

struct edge_identity {
    char cert_path[4096], address[280], id[PKI_MAX_NAME], enrol[PKI_MAX_NAME];
    EVP_PKEY *key;
    X509 *root;
    int keylog_fd;
    int64_t next_try_ns, next_alarm_ns;
    pthread_mutex_t lock; /* of what follows, which a renewal replaces */
    SSL_CTX *split, *renewing;
    int64_t not_before, not_after;
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

static int path_in(char to[4096], const char *dir, const char *name, struct error *err)
{
    if (snprintf(to, 4096, "%s/%s", dir, name) >= 4096)
        return error_set(err, ENAMETOOLONG, "%s: path too long", dir);
    return 0;
}

static int read_cloud(struct edge_identity *i, const char *dir, struct error *err)
{
    char path[4096];
    struct buf text = {0};
    int rc = path_in(path, dir, "cloud.json", err);
    if (!rc && access(path, F_OK))
        return error_set(err, ENOENT, "%s has joined no cloud yet: meridian edge join KIT --dir %s", dir, dir);
    if (!rc)
        rc = file_read(&text, path, 65536, err);
    if (rc)
        return rc;
    yyjson_doc *doc = yyjson_read((const char *)text.data, text.len, 0);
    yyjson_val *o = yyjson_doc_get_root(doc);
    if (!get_text(i->address, sizeof(i->address), o, "address") || !get_text(i->id, sizeof(i->id), o, "id") ||
        !get_text(i->enrol, sizeof(i->enrol), o, "enrol"))
        rc = error_set(err, EINVAL, "%s: damaged; restore it, or join again", path);
    yyjson_doc_free(doc);
    buf_done(&text);
    return rc;
}

/* Contexts for this certificate take the place of those there are. */
static int use_chain(struct edge_identity *i, const struct pki_chain *chain, struct error *err)
{
    SSL_CTX *split = NULL, *renewing = NULL;
    struct tls_config cfg = {.key = i->key, .chain = chain, .root = i->root, .keylog_fd = i->keylog_fd};
    if (X509_check_private_key(chain->cert[0], i->key) != 1)
        return error_set(err, EKEYREJECTED, "%s is not for the key beside it: join again", i->cert_path);
    cfg.peer = i->id;
    cfg.alpn = TLS_ALPN_SPLIT;
    int rc = tls_context_create(&split, &cfg, err);
    cfg.peer = i->enrol;
    cfg.alpn = TLS_ALPN_ENROL;
    if (!rc)
        rc = tls_context_create(&renewing, &cfg, err);
    if (rc) {
        SSL_CTX_free(split);
        return rc;
    }
    pthread_mutex_lock(&i->lock);
    SSL_CTX *old = i->split, *old2 = i->renewing;
    i->split = split;
    i->renewing = renewing;
    i->not_before = pki_not_before(chain->cert[0]);
    i->not_after = pki_not_after(chain->cert[0]);
    pthread_mutex_unlock(&i->lock);
    SSL_CTX_free(old);
    SSL_CTX_free(old2);
    return 0;
}

static int load(struct edge_identity *i, const char *dir, struct error *err)
{
    char path[4096];
    struct pki_chain chain = {0}, root = {0};
    int rc = read_cloud(i, dir, err);
    if (!rc)
        rc = path_in(path, dir, "key.pem", err);
    if (!rc)
        rc = pki_key_load(&i->key, path, err);
    if (!rc)
        rc = path_in(path, dir, "ca.pem", err);
    if (!rc)
        rc = pki_chain_load(&root, path, err);
    if (!rc)
        X509_up_ref(i->root = root.cert[0]);
    if (!rc)
        rc = path_in(i->cert_path, dir, "cert.pem", err);
    if (!rc)
        rc = pki_chain_load(&chain, i->cert_path, err);
    if (!rc)
        rc = use_chain(i, &chain, err);
    pki_chain_done(&chain);
    pki_chain_done(&root);
    return rc;
}

int edge_identity_open(struct edge_identity **ret, const char *dir, int keylog_fd, struct error *err)
{
    struct edge_identity *i = calloc(1, sizeof(*i));
    if (!i)
        return error_set(err, ENOMEM, "out of memory");
    pthread_mutex_init(&i->lock, NULL);
    i->keylog_fd = keylog_fd;
    int rc = load(i, dir, err);
    if (rc) {
        edge_identity_free(i);
        return rc;
    }
    *ret = i;
    return 0;
}

void edge_identity_free(struct edge_identity *i)
{
    if (!i)
        return;
    SSL_CTX_free(i->split);
    SSL_CTX_free(i->renewing);
    EVP_PKEY_free(i->key);
    X509_free(i->root);
    pthread_mutex_destroy(&i->lock);
    free(i);
}

/* One more reference on a context that may be replaced meanwhile. */
static SSL_CTX *hold(struct edge_identity *i, SSL_CTX *const *which)
{
    pthread_mutex_lock(&i->lock);
    SSL_CTX *ctx = *which;
    SSL_CTX_up_ref(ctx);
    pthread_mutex_unlock(&i->lock);
    return ctx;
}

int edge_identity_connect(void *identity, unsigned dscp, struct link **ret, struct error *err)
{
    struct edge_identity *i = identity;
    SSL_CTX *ctx = hold(i, &i->split);
    int rc = link_tls_connect(ret, ctx, i->address, i->id, dscp, 10 * NS_PER_S, err);
    SSL_CTX_free(ctx);
    return rc;
}

/* --- renewal --- */

static int accept_certificate(struct edge_identity *i, const struct enrol_reply *r, struct error *err)
{
    struct pki_chain chain = {0};
    int rc = pki_chain_parse(&chain, r->chain, strlen(r->chain), err);
    if (!rc)
        rc = pki_verify(&chain, i->root, PKI_CLIENT, i->id, err);
    if (!rc)
        rc = use_chain(i, &chain, err);
    if (!rc)
        rc = file_write(i->cert_path, r->chain, strlen(r->chain), 0644, err);
    pki_chain_done(&chain);
    return rc;
}

int edge_identity_renew(struct edge_identity *i, struct error *err)
{
    struct enrol_request *q = calloc(1, sizeof(*q));
    struct enrol_reply *r = calloc(1, sizeof(*r));
    struct buf csr = {0};
    int rc = q && r ? pki_request_create(&csr, i->key, err) : error_set(err, ENOMEM, "out of memory");
    if (!rc && csr.len >= sizeof(q->csr))
        rc = error_set(err, EINVAL, "the request is too long");
    if (!rc) {
        q->op = ENROL_RENEW;
        memcpy(q->csr, buf_str(&csr), csr.len);
        SSL_CTX *ctx = hold(i, &i->renewing);
        rc = enrol_client_ask(r, ctx, i->address, i->enrol, q, 15 * NS_PER_S, err);
        SSL_CTX_free(ctx);
    }
    if (!rc)
        rc = accept_certificate(i, r, err);
    buf_done(&csr);
    free(q);
    free(r);
    return rc;
}

static int64_t life(struct edge_identity *i)
{
    pthread_mutex_lock(&i->lock);
    int64_t s = i->not_after - i->not_before;
    pthread_mutex_unlock(&i->lock);
    return s;
}

int edge_identity_tick(struct edge_identity *i, struct error *err)
{
    int64_t now = clock_now_ns();
    struct error own;
    int rc = 0;
    err = err ? err : &own;
    if (edge_identity_seconds_left(i) < life(i) / 3 && now >= i->next_try_ns) {
        i->next_try_ns = now + RETRY_NS;
        rc = edge_identity_renew(i, err);
        if (rc)
            log_warn("this edge's certificate could not be renewed: %s", err->text);
        else
            log_info("this edge's certificate was renewed, it is good for %lld days",
                (long long)(edge_identity_seconds_left(i) / DAY));
        rc = rc ? rc : 1;
    }
    int64_t left = edge_identity_seconds_left(i);
    bool short_lived = life(i) < 3 * EDGE_ALARM_DAYS * DAY; /* then a third of it is what counts */
    if (now >= i->next_alarm_ns && left < (short_lived ? life(i) / 4 : EDGE_ALARM_DAYS * DAY)) {
        i->next_alarm_ns = now + DAY * NS_PER_S;
        log_error(
            "this edge's certificate %s %lld days and could not be renewed; without it the cloud cannot be reached",
            left < 0 ? "ended before" : "ends in", (long long)((left < 0 ? -left : left) / DAY));
    }
    return rc;
}

int64_t edge_identity_seconds_left(const struct edge_identity *identity)
{
    struct edge_identity *i = (struct edge_identity *)(uintptr_t)identity;
    pthread_mutex_lock(&i->lock);
    int64_t left = i->not_after - (int64_t)time(NULL);
    pthread_mutex_unlock(&i->lock);
    return left;
}

const char *edge_identity_address(const struct edge_identity *i)
{
    return i->address;
}
