/* Counter-based noise: a pure function of (key, counter), so the same draw can be made again anywhere, in any order
 * (sampling after a recovery, data order after a resume, weights of a new model). Not for secrets. */
#ifndef MERIDIAN_BASE_RNG_H
#define MERIDIAN_BASE_RNG_H

#include <stdint.h>

/* 64 well-mixed bits (the finaliser of SplitMix64, applied to both words). */
static inline uint64_t rng_mix(uint64_t x)
{
    x ^= x >> 30;
    x *= 0xbf58476d1ce4e5b9u;
    x ^= x >> 27;
    x *= 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static inline uint64_t rng_u64(uint64_t key, uint64_t counter)
{
    return rng_mix(rng_mix(key + 0x9e3779b97f4a7c15u) + counter * 0x9e3779b97f4a7c15u);
}

/* Uniform in the open interval (0, 1): never 0, so its logarithm is finite. */
static inline double rng_uniform(uint64_t key, uint64_t counter)
{
    return ((double)(rng_u64(key, counter) >> 11) + 0.5) * 0x1p-53;
}

/* Uniform in [0, n), n > 0 (bias below 2^-32 for n < 2^32). */
static inline uint32_t rng_below(uint64_t key, uint64_t counter, uint32_t n)
{
    return (uint32_t)(((rng_u64(key, counter) >> 32) * n) >> 32);
}

#endif
