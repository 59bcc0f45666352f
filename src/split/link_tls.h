/* A link over TLS 1.3 over TCP (or, in tests, any connected stream socket). See crypto/tls.h for what is checked and for
 * the meaning of the error codes; why() has the sentence.
 *
 * Everything is driven by recv and send: also connecting and the handshake, so nothing here waits (except for a name
 * server, when the address is a name). Call recv when poll(2) reports what events() asked for, and at least once a
 * second while not yet open: that is how the time limit is noticed (-ETIMEDOUT). A peer's certificate is refused
 * before recv or send has moved a byte. After -EAGAIN from send, the next send must begin with the same bytes. */
#ifndef MERIDIAN_SPLIT_LINK_TLS_H
#define MERIDIAN_SPLIT_LINK_TLS_H

#include "base/error.h"
#include "split/link.h"

#include <openssl/types.h>
#include <stdbool.h>
#include <stdint.h>

/* Begins to connect to "host:port", "192.0.2.1:7443" or "[2001:db8::1]:7443"; a host's addresses are tried in turn.
 * name: the SNI sent, which is also what the peer's certificate must carry if the context says so. timeout_ns: from now
 * until the handshake has ended; 0: 10 s. dscp: the mark of its packets, from the SYN on (os/dscp.h); 0: none. The link
 * keeps its own reference on ctx. */
int link_tls_connect(struct link **ret, SSL_CTX *ctx, const char *address, const char *name, unsigned dscp,
    int64_t timeout_ns, struct error *err);

/* The server's side of a connection that was accepted. Takes fd over, also when it fails. */
int link_tls_accept(struct link **ret, SSL_CTX *ctx, int fd, int64_t timeout_ns, struct error *err);

/* Drives the handshake without moving data: 0 it is done and the peer is who it should be, -EAGAIN, or broken (why). */
int link_tls_handshake(struct link *l);

/* "203.0.113.9:7443" as far as known, valid as long as the link. */
const char *link_tls_peer(const struct link *l);
SSL *link_tls_session(struct link *l); /* borrowed; for tls_peer_name */

#endif
