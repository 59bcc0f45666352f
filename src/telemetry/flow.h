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

static inline uint64_t flow_hash(const struct flow_key *k)
{
    uint64_t w[4], h = rng_mix((uint64_t)k->vrf << 32 | (uint64_t)k->proto << 8 | k->family);
    memcpy(w, k->src.b, 16);
    memcpy(w + 2, k->dst.b, 16);
    h = rng_mix(h ^ w[0]) + 0x9e3779b97f4a7c15u;
    h = rng_mix(h ^ w[1]) + 0x9e3779b97f4a7c15u;
    h = rng_mix(h ^ w[2]) + 0x9e3779b97f4a7c15u;
    h = rng_mix(h ^ w[3] ^ ((uint64_t)k->src_port << 16 | k->dst_port));
    return h ? h : 1; /* 0 means: not known */
}

#endif
