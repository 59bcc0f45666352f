/* HKDF-SHA256 (RFC 5869): keys from a shared secret. Thin over OpenSSL; for handshakes. */
#ifndef MERIDIAN_CRYPTO_HKDF_H
#define MERIDIAN_CRYPTO_HKDF_H

#include <stddef.h>
#include <stdint.h>

int hkdf_sha256(uint8_t *ret, size_t len, const uint8_t *secret, size_t secret_len, const uint8_t *salt,
    size_t salt_len, const uint8_t *info, size_t info_len); /* -EIO; len <= 255 * 32 */

#endif
