/* A small hash table: keys of one fixed size to 32-bit values, at most as many as said at creation, no allocation later.
 * Open addressing with linear probing, at most half full, deletion without tombstones. Deterministic for a seed; the
 * seed keeps a host from choosing keys that all fall together. */
#ifndef MERIDIAN_FORWARD_TABLE_H
#define MERIDIAN_FORWARD_TABLE_H

#include "base/rng.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define TABLE_NONE     UINT32_MAX
#define TABLE_KEY_MOST 64u

struct table {
    uint8_t *keys;    /* [mask + 1][key_size] */
    uint32_t *values; /* TABLE_NONE: the place is free */
    uint32_t mask, n, most;
    uint32_t key_size;
    uint64_t seed;
};

/* key_size: a multiple of 8, at most TABLE_KEY_MOST; keys are compared as bytes, so their padding must be zero. 1 <= most <=
 * 2^30. 0 or -ENOMEM. */
int table_init(struct table *t, uint32_t key_size, uint32_t most, uint64_t seed);
void table_done(struct table *t);

/* Replaces the value of a key that is there. 0; -ENOSPC: full. value is not TABLE_NONE. */
int table_set(struct table *t, const void *key, uint32_t value);
/* The value that was there, or TABLE_NONE. */
uint32_t table_del(struct table *t, const void *key);

static inline uint32_t table_place(const struct table *t, const void *key)
{
    uint64_t h = t->seed, w;
    for (uint32_t i = 0; i < t->key_size; i += 8) {
        memcpy(&w, (const uint8_t *)key + i, 8);
        h = rng_mix(h ^ w) + 0x9e3779b97f4a7c15u;
    }
    return (uint32_t)(h >> 32) & t->mask;
}

static inline uint32_t table_find(const struct table *t, const void *key)
{
    for (uint32_t i = table_place(t, key);; i = (i + 1) & t->mask)
        if (t->values[i] == TABLE_NONE || memcmp(t->keys + (size_t)i * t->key_size, key, t->key_size) == 0)
            return t->values[i];
}

#endif
