/* SHA-256 (FIPS 180-4) over bytes that come in pieces. Thin over OpenSSL. */
#ifndef MERIDIAN_CRYPTO_SHA256_H
#define MERIDIAN_CRYPTO_SHA256_H

#include <stddef.h>
#include <stdint.h>

struct sha256;

struct sha256 *sha256_create(void); /* NULL: out of memory */
void sha256_add(struct sha256 *s, const void *bytes, size_t len);
/* The digest of everything added; s is freed. -EIO if the library failed on the way. */
int sha256_end(struct sha256 *s, uint8_t ret[32]);
void sha256_free(struct sha256 *s); /* without a digest; NULL allowed */

int sha256_of(const void *bytes, size_t len, uint8_t ret[32]);

#endif
