/* A flow: the inner 5-tuple, and its 64-bit name in records (a keyless mix, the same in router and twin). */
#ifndef MERIDIAN_TELEMETRY_FLOW_H
#define MERIDIAN_TELEMETRY_FLOW_H

#include "base/rng.h"
#include "wire/ip.h"

#include <stdint.h>

struct flow_key {
    uint8_t family; /* IP_V4, IP_V6 */
    uint8_t proto;
    uint16_t src_port, dst_port; /* 0 where the protocol has none */
    uint32_t vrf;
    struct ip6 src, dst;
};

/* From the addresses' four words as they lie in memory; each is mixed by itself, so that a processor does it at once. */
static inline uint64_t flow_hash_words(uint32_t vrf, uint8_t family, uint8_t proto, uint16_t src_port,
    uint16_t dst_port, uint64_t s0, uint64_t s1, uint64_t d0, uint64_t d1)
{
    uint64_t h = rng_mix((uint64_t)vrf << 32 | (uint64_t)proto << 8 | family);
    uint64_t ports = rng_mix(((uint64_t)src_port << 16 | dst_port) + 0x9e3779b97f4a7c15u);
    uint64_t src = rng_mix(s0 + 0xd1b54a32d192ed03u) + 3 * rng_mix(s1 + 0xaef17502108ef2d9u);
    uint64_t dst = rng_mix(d0 + 0x8cb92ba72f3d8dd7u) + 3 * rng_mix(d1 + 0xabc98388fb8fac03u);
    h = rng_mix(h + 5 * ports + 7 * src + 11 * dst);
    return h ? h : 1; /* 0 means: not known */
}

static inline uint64_t flow_hash(const struct flow_key *k)
{
    uint64_t w[4];
    memcpy(w, k->src.b, 16);
    memcpy(w + 2, k->dst.b, 16);
    return flow_hash_words(k->vrf, k->family, k->proto, k->src_port, k->dst_port, w[0], w[1], w[2], w[3]);
}

#endif
