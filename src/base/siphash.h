/* SipHash-2-4 (Aumasson, Bernstein: "SipHash: a fast short-input PRF", 2012): a hash for tables whose keys strangers choose. Who
 * does not know the seed cannot make entries that meet in one bucket. */
#ifndef MERIDIAN_BASE_SIPHASH_H
#define MERIDIAN_BASE_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

struct siphash_seed {
    uint64_t k[2];
};

uint64_t siphash(const struct siphash_seed *seed, const uint8_t *bytes, size_t len);

#endif
