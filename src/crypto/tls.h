/* TLS 1.3 and nothing older, both sides known by certificates under one pinned root, one application protocol, no
 * session tickets, no early data. What OpenSSL says when it fails is turned into a sentence for a person.
 *
 * A context is an SSL_CTX, counted by OpenSSL: sessions made from it keep it alive, SSL_CTX_free gives it up. */
#ifndef MERIDIAN_CRYPTO_TLS_H
#define MERIDIAN_CRYPTO_TLS_H

#include "base/error.h"
#include "crypto/pki.h"

#include <openssl/types.h>
#include <stdbool.h>

#define TLS_ALPN_SPLIT "meridian-split/1"
#define TLS_ALPN_ENROL "meridian-enrol/1"

struct tls_config {
    bool server;
    EVP_PKEY *key;                 /* NULL: this side has no certificate (an edge that joins) */
    const struct pki_chain *chain; /* with key */
    X509 *root;                    /* the pinned root; or NULL and … */
    const char *root_fingerprint;  /* … its fingerprint: then the peer must send the root along (joining) */
    const char *peer;              /* name the peer's certificate must carry; NULL: any under the root */
    bool peer_may_be_nobody;       /* server: a client without certificate is let in (to join) */
    const char *alpn;              /* the only one spoken */
    int keylog_fd;                 /* secrets of every session are appended here (SSLKEYLOGFILE form); -1: never */
};

/* Copies or counts all it needs of the configuration, except keylog_fd, which must stay open. */
int tls_context_create(SSL_CTX **ret, const struct tls_config *cfg, struct error *err);

/* From now on peers with this name are refused as revoked (server; also in handshakes under way). */
void tls_context_refuse(SSL_CTX *ctx, bool refuse_all);

/* Opens a key log for appending, 0600, and warns in the log: whoever has it can read the traffic. */
int tls_keylog_open(int *ret_fd, const char *path, struct error *err);

/* A session over a connected socket. `name`: client: the SNI to send; server: NULL. */
int tls_session_create(SSL **ret, SSL_CTX *ctx, int fd, const char *name, struct error *err);

/* What the last SSL_* call on this session, which returned n, means:
 *   0 the peer ended cleanly, -EAGAIN want more (*ret_events: POLLIN or POLLOUT), else broken, with a sentence:
 *   -EKEYREVOKED, -EKEYEXPIRED, -EKEYREJECTED: a certificate, ours or theirs; trying again does not help until a person
 *   acts. -EUNATCH: the peer does not know our name (SNI). -EBUSY: the peer has no worker for us just now.
 *   -ECONNRESET, -ETIMEDOUT, -EPROTO, …: the network or the peer. */
int tls_result(SSL *ssl, int n, short *ret_events, struct error *err);

/* The name in the peer's verified certificate; -ENOENT if it showed none. */
int tls_peer_name(char ret[PKI_MAX_NAME], const SSL *ssl);

/* One TLS alert record in the clear, for who is turned away before a handshake: 7 bytes. */
enum tls_alert { TLS_ALERT_REVOKED = 44, TLS_ALERT_BUSY = 80, TLS_ALERT_UNKNOWN_NAME = 112 };
void tls_alert_encode(unsigned char to[7], enum tls_alert alert);

#endif
