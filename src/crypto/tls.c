#include "crypto/tls.h"

#include "base/log.h"
#include "crypto/ssl_error.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What hangs on an SSL_CTX, freed with it. */
struct extra {
    bool server, by_fingerprint;
    atomic_bool refuse_all;
    int keylog_fd;
    char root_fingerprint[PKI_FINGERPRINT], peer[PKI_MAX_NAME];
    unsigned char alpn[33]; /* length, bytes */
};

static int extra_index = -1;

static void extra_free(void *parent, void *ptr, CRYPTO_EX_DATA *ad, int index, long argl, void *argp)
{
    free(ptr);
}

static void make_index(void)
{
    extra_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, extra_free);
}

static struct extra *extra_of(SSL_CTX *ctx)
{
    return SSL_CTX_get_ex_data(ctx, extra_index);
}

/* --- who the peer is --- */

/* Joining: the root is known only by its fingerprint and must be among what the peer sent. */
static X509 *find_root(X509_STORE_CTX *v, const struct extra *x)
{
    STACK_OF(X509) *sent = X509_STORE_CTX_get0_untrusted(v);
    for (int i = 0; i < sk_X509_num(sent); i++) {
        char fp[PKI_FINGERPRINT];
        pki_fingerprint(fp, sk_X509_value(sent, i));
        if (pki_fingerprint_equal(fp, x->root_fingerprint))
            return sk_X509_value(sent, i);
    }
    return NULL;
}

static int verify_under(X509_STORE_CTX *v, X509 *root)
{
    STACK_OF(X509) *roots = sk_X509_new_null();
    int ok = roots && sk_X509_push(roots, root) > 0;
    if (ok) {
        X509_STORE_CTX_set0_trusted_stack(v, roots);
        ok = X509_verify_cert(v);
    }
    sk_X509_free(roots);
    return ok;
}

static int refused(X509_STORE_CTX *v, int code)
{
    X509_STORE_CTX_set_error(v, code);
    return 0;
}

static int verify_peer(X509_STORE_CTX *v, void *user)
{
    struct extra *x = user;
    X509 *leaf = X509_STORE_CTX_get0_cert(v);
    if (x->by_fingerprint) {
        X509 *root = find_root(v, x);
        if (!root)
            return refused(v, X509_V_ERR_CERT_UNTRUSTED);
        if (verify_under(v, root) != 1)
            return 0;
    } else if (X509_verify_cert(v) != 1) {
        return 0;
    }
    if (x->peer[0] && X509_check_host(leaf, x->peer, 0, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT, NULL) != 1)
        return refused(v, X509_V_ERR_HOSTNAME_MISMATCH);
    if (atomic_load(&x->refuse_all))
        return refused(v, X509_V_ERR_CERT_REVOKED);
    return 1;
}

void tls_context_refuse(SSL_CTX *ctx, bool refuse_all)
{
    atomic_store(&extra_of(ctx)->refuse_all, refuse_all);
}

/* --- the context --- */

static int choose_alpn(
    SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in, unsigned in_len, void *user)
{
    const struct extra *x = user;
    for (unsigned i = 0; i + 1 <= in_len && i + 1 + in[i] <= in_len; i += 1u + in[i])
        if (in[i] == x->alpn[0] && !memcmp(in + i + 1, x->alpn + 1, x->alpn[0])) {
            *out = in + i + 1;
            *out_len = in[i];
            return SSL_TLSEXT_ERR_OK;
        }
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static void write_keylog(const SSL *ssl, const char *line)
{
    char text[512];
    int n = snprintf(text, sizeof(text), "%s\n", line);
    if (n > 0 && (size_t)n < sizeof(text) && write(extra_of(SSL_get_SSL_CTX(ssl))->keylog_fd, text, (size_t)n) < 0)
        log_warn("cannot write the key log: %s", strerror(errno));
}

static bool set_identity(SSL_CTX *ctx, const struct tls_config *cfg)
{
    if (!cfg->key)
        return true;
    if (!cfg->chain->n || !SSL_CTX_use_certificate(ctx, cfg->chain->cert[0]) ||
        !SSL_CTX_use_PrivateKey(ctx, cfg->key) || !SSL_CTX_check_private_key(ctx))
        return false;
    for (unsigned i = 1; i < cfg->chain->n; i++)
        if (!SSL_CTX_add1_chain_cert(ctx, cfg->chain->cert[i]))
            return false;
    return true;
}

static bool set_alpn(SSL_CTX *ctx, struct extra *x)
{
    if (!x->server)
        return !SSL_CTX_set_alpn_protos(ctx, x->alpn, x->alpn[0] + 1u);
    SSL_CTX_set_alpn_select_cb(ctx, choose_alpn, x);
    return true;
}

static bool set_trust(SSL_CTX *ctx, const struct tls_config *cfg, struct extra *x)
{
    if (cfg->root && !X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), cfg->root))
        return false;
    int mode = SSL_VERIFY_PEER | (cfg->peer_may_be_nobody ? 0 : SSL_VERIFY_FAIL_IF_NO_PEER_CERT);
    SSL_CTX_set_verify(ctx, mode, NULL);
    SSL_CTX_set_verify_depth(ctx, PKI_MAX_CHAIN);
    SSL_CTX_set_cert_verify_callback(ctx, verify_peer, x);
    SSL_CTX_set_purpose(ctx, cfg->server ? X509_PURPOSE_SSL_CLIENT : X509_PURPOSE_SSL_SERVER);
    return true;
}

static void set_manners(SSL_CTX *ctx)
{
    SSL_CTX_set_options(
        ctx, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_CLEANSE_PLAINTEXT | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_num_tickets(ctx, 0);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_max_early_data(ctx, 0);
    SSL_CTX_set_mode(
        ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_read_ahead(ctx, 1);
    SSL_CTX_set_default_read_buffer_len(ctx, 65536);
    SSL_CTX_set_max_cert_list(ctx, PKI_MAX_PEM);
}

static struct extra *extra_create(const struct tls_config *cfg)
{
    struct extra *x = calloc(1, sizeof(*x));
    if (!x)
        return NULL;
    x->server = cfg->server;
    x->keylog_fd = cfg->keylog_fd;
    x->by_fingerprint = !cfg->root;
    size_t n = strlen(cfg->alpn);
    bool fits = n < sizeof(x->alpn) && n > 0;
    if (fits) {
        x->alpn[0] = (unsigned char)n;
        memcpy(x->alpn + 1, cfg->alpn, n);
    }
    fits = fits && (size_t)snprintf(x->peer, sizeof(x->peer), "%s", cfg->peer ? cfg->peer : "") < sizeof(x->peer) &&
           (size_t)snprintf(x->root_fingerprint, sizeof(x->root_fingerprint), "%s",
               cfg->root_fingerprint ? cfg->root_fingerprint : "") < sizeof(x->root_fingerprint);
    if (!fits) {
        free(x);
        return NULL;
    }
    return x;
}

int tls_context_create(SSL_CTX **ret, const struct tls_config *cfg, struct error *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_index);
    if (!cfg->root && !cfg->root_fingerprint)
        return error_set(err, EINVAL, "TLS needs a root to trust");
    struct extra *x = extra_create(cfg);
    if (!x)
        return error_set(err, EINVAL, "a name for TLS is too long");
    SSL_CTX *ctx = SSL_CTX_new(cfg->server ? TLS_server_method() : TLS_client_method());
    if (!ctx || !SSL_CTX_set_ex_data(ctx, extra_index, x)) {
        free(x);
        SSL_CTX_free(ctx);
        return ssl_error(err, ENOMEM, "cannot set up TLS");
    }
    set_manners(ctx);
    if (!SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) || !set_identity(ctx, cfg) || !set_alpn(ctx, x) ||
        !set_trust(ctx, cfg, x)) {
        SSL_CTX_free(ctx);
        return ssl_error(err, EINVAL, "cannot set up TLS: key and certificate do not fit");
    }
    if (cfg->keylog_fd >= 0)
        SSL_CTX_set_keylog_callback(ctx, write_keylog);
    *ret = ctx;
    return 0;
}

int tls_keylog_open(int *ret_fd, const char *path, struct error *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0) {
        int code = errno;
        return error_set(err, code, "%s: cannot open the key log: %s", path, strerror(code));
    }
    log_warn("UNSAFE: TLS secrets are written to %s; whoever reads it can read the traffic", path);
    *ret_fd = fd;
    return 0;
}

int tls_session_create(SSL **ret, SSL_CTX *ctx, int fd, const char *name, struct error *err)
{
    SSL *ssl = SSL_new(ctx);
    if (!ssl || !SSL_set_fd(ssl, fd) || (name && !SSL_set_tlsext_host_name(ssl, name))) {
        SSL_free(ssl);
        return ssl_error(err, ENOMEM, "cannot set up a TLS session");
    }
    if (extra_of(ctx)->server)
        SSL_set_accept_state(ssl);
    else
        SSL_set_connect_state(ssl);
    *ret = ssl;
    return 0;
}

int tls_peer_name(char ret[PKI_MAX_NAME], const SSL *ssl)
{
    X509 *cert = SSL_get0_peer_certificate(ssl);
    if (!cert)
        return -ENOENT;
    return pki_name(ret, cert);
}

void tls_alert_encode(unsigned char to[7], enum tls_alert alert)
{
    const unsigned char record[7] = {21, 3, 3, 0, 2, 2, (unsigned char)alert};
    memcpy(to, record, 7);
}

/* --- what went wrong, in words --- */

/* We refused the peer. */
static int explain_refusal(SSL *ssl, long code, struct error *err)
{
    const struct extra *x = extra_of(SSL_get_SSL_CTX(ssl));
    const char *whose = x->server ? "the edge's certificate" : "the cloud's certificate";
    switch (code) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
        return error_set(err, EKEYEXPIRED, "%s has expired", whose);
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return error_set(err, EKEYREJECTED, "%s is not valid yet: compare the clocks of both sides", whose);
    case X509_V_ERR_HOSTNAME_MISMATCH:
        return error_set(err, EKEYREJECTED, "%s is for another name than %s", whose, x->peer);
    case X509_V_ERR_CERT_REVOKED:
        return error_set(err, EKEYREVOKED, "%s has been revoked", whose);
    case X509_V_ERR_CERT_UNTRUSTED:
        return error_set(err, EKEYREJECTED,
            "the cloud's root certificate does not have the fingerprint %s: this is another cloud, or someone in "
            "between",
            x->root_fingerprint);
    case X509_V_ERR_INVALID_PURPOSE:
        return error_set(err, EKEYREJECTED, "%s is for another purpose", whose);
    default:
        return error_set(err, EKEYREJECTED, "%s does not come from the pinned root (%s)", whose,
            X509_verify_cert_error_string(code));
    }
}

struct reason {
    int reason, code;
    const char *text; /* %s: who said it */
};

/* The peer refused us: the alerts it may have sent, then our own complaints. */
static const struct reason reasons[] = {
    {SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED, EKEYREVOKED,
        "the peer says that our certificate has been revoked; ask for a new invitation and join again"},
    {SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED, EKEYEXPIRED,
        "the peer says that our certificate has expired; ask for a new invitation and join again"},
    {SSL_R_TLSV1_ALERT_UNKNOWN_CA, EKEYREJECTED, "the peer does not trust the root of our certificate"},
    {SSL_R_SSLV3_ALERT_BAD_CERTIFICATE, EKEYREJECTED, "the peer refused our certificate: it is not for this name"},
    {SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE, EKEYREJECTED, "the peer refused our certificate: wrong purpose"},
    {SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN, EKEYREJECTED, "the peer refused our certificate"},
    {SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED, EKEYREJECTED, "the peer wants a certificate and we have none"},
    {SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE, EKEYREJECTED, "the peer showed no certificate"},
    {SSL_R_TLSV1_UNRECOGNIZED_NAME, EUNATCH,
        "the cloud does not know this name; is the address right, and has the hospital joined?"},
    {SSL_R_TLSV1_ALERT_INTERNAL_ERROR, EBUSY, "the cloud has nobody to answer just now; trying again helps"},
    {SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL, EPROTO, "the peer speaks another protocol or version"},
    {SSL_R_NO_APPLICATION_PROTOCOL, EPROTO, "the peer speaks another protocol or version"},
    {SSL_R_TLSV1_ALERT_PROTOCOL_VERSION, EPROTO, "the peer has no TLS 1.3"},
    {SSL_R_UNSUPPORTED_PROTOCOL, EPROTO, "the peer has no TLS 1.3"},
    {SSL_R_WRONG_VERSION_NUMBER, EPROTO, "what answers there does not speak TLS; is the address right?"},
    {SSL_R_UNEXPECTED_EOF_WHILE_READING, ECONNRESET, "the peer cut the connection"},
};

static int explain_reason(struct error *err)
{
    unsigned long e = ERR_peek_error();
    for (size_t i = 0; i < sizeof(reasons) / sizeof(*reasons); i++)
        if (ERR_GET_LIB(e) == ERR_LIB_SSL && ERR_GET_REASON(e) == reasons[i].reason)
            return error_set(err, reasons[i].code, "%s", reasons[i].text);
    const char *text = ERR_reason_error_string(e);
    return error_set(err, EPROTO, "TLS failed: %s", text ? text : "unknown reason");
}

static int explain_errno(int code, struct error *err)
{
    if (!code)
        return error_set(err, ECONNRESET, "the peer cut the connection");
    return error_set(err, code, "the connection is lost: %s", strerror(code));
}

int tls_result(SSL *ssl, int n, short *ret_events, struct error *err)
{
    int code = errno, kind = SSL_get_error(ssl, n), rc;
    switch (kind) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        *ret_events = kind == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT;
        return -EAGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    case SSL_ERROR_SYSCALL:
        rc = explain_errno(code, err);
        break;
    default: {
        long verified = SSL_get_verify_result(ssl);
        bool ours = ERR_GET_REASON(ERR_peek_error()) == SSL_R_CERTIFICATE_VERIFY_FAILED;
        rc = ours && verified != X509_V_OK ? explain_refusal(ssl, verified, err) : explain_reason(err);
    }
    }
    ERR_clear_error();
    return rc;
}
