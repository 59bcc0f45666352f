/* Curve25519 for identities and links: Ed25519 signatures (RFC 8032) and X25519 key agreement (RFC 7748). Thin over
 * OpenSSL. Everything here allocates inside the library: for handshakes, never per packet. */
#ifndef MERIDIAN_CRYPTO_CURVE25519_H
#define MERIDIAN_CRYPTO_CURVE25519_H

#include <stddef.h>
#include <stdint.h>

struct ed25519; /* a private key, ready to sign */

int ed25519_create(struct ed25519 **ret, const uint8_t seed[32]); /* -ENOMEM */
void ed25519_free(struct ed25519 *k);                             /* NULL allowed; the key is wiped */
const uint8_t *ed25519_public(const struct ed25519 *k);           /* 32 bytes */
int ed25519_sign(struct ed25519 *k, const uint8_t *msg, size_t len, uint8_t ret_signature[64]); /* -EIO */
/* 0; -EPROTO: not signed by that key, or it is no key. About 100 µs. */
int ed25519_verify(const uint8_t public[32], const uint8_t *msg, size_t len, const uint8_t signature[64]);

int x25519_public(uint8_t ret[32], const uint8_t private[32]); /* -EIO */
/* -EPROTO: the peer's key is one of those that make every secret the same (RFC 7748, 6.1). */
int x25519_shared(uint8_t ret[32], const uint8_t private[32], const uint8_t peer[32]);

#endif
