#include "base/siphash.h"

#include <string.h>

static inline uint64_t turn(uint64_t x, unsigned by)
{
    return x << by | x >> (64 - by);
}

static inline void rounds(uint64_t v[4], unsigned n)
{
    while (n--) {
        v[0] += v[1];
        v[2] += v[3];
        v[1] = turn(v[1], 13) ^ v[0];
        v[3] = turn(v[3], 16) ^ v[2];
        v[0] = turn(v[0], 32);
        v[2] += v[1];
        v[0] += v[3];
        v[1] = turn(v[1], 17) ^ v[2];
        v[3] = turn(v[3], 21) ^ v[0];
        v[2] = turn(v[2], 32);
    }
}

static inline uint64_t little(const uint8_t *p)
{
    uint64_t w;
    memcpy(&w, p, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    w = __builtin_bswap64(w);
#endif
    return w;
}

uint64_t siphash(const struct siphash_seed *seed, const uint8_t *bytes, size_t len)
{
    uint64_t a = seed->k[0], b = seed->k[1], last = (uint64_t)len << 56;
    uint64_t v[4] = {a ^ 0x736f6d6570736575, b ^ 0x646f72616e646f6d, a ^ 0x6c7967656e657261, b ^ 0x7465646279746573};
    size_t whole = len & ~(size_t)7;
    for (size_t at = 0; at < whole; at += 8) {
        uint64_t m = little(bytes + at);
        v[3] ^= m;
        rounds(v, 2);
        v[0] ^= m;
    }
    for (size_t i = 0; i < len - whole; i++)
        last |= (uint64_t)bytes[whole + i] << (8 * i);
    v[3] ^= last;
    rounds(v, 2);
    v[0] ^= last;
    v[2] ^= 0xff;
    rounds(v, 4);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}
