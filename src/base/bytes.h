/* Integers in unaligned bytes, for codecs: little-endian, and network byte order (the _be forms). */
#ifndef MERIDIAN_BASE_BYTES_H
#define MERIDIAN_BASE_BYTES_H

#include <stdint.h>
#include <string.h>

static inline uint16_t bytes_get_u16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t bytes_get_u32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint64_t bytes_get_u64(const uint8_t *p)
{
    return (uint64_t)bytes_get_u32(p) | (uint64_t)bytes_get_u32(p + 4) << 32;
}

/* Network byte order, on a path of many millions a second: whole loads and stores, not byte by byte. */
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define BYTES_BE16(v) __builtin_bswap16(v)
#define BYTES_BE32(v) __builtin_bswap32(v)
#define BYTES_BE64(v) __builtin_bswap64(v)
#else
#define BYTES_BE16(v) (v)
#define BYTES_BE32(v) (v)
#define BYTES_BE64(v) (v)
#endif

static inline uint16_t bytes_get_be16(const uint8_t *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return BYTES_BE16(v);
}

static inline uint32_t bytes_get_be32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return BYTES_BE32(v);
}

static inline uint64_t bytes_get_be64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return BYTES_BE64(v);
}

static inline void bytes_put_be16(uint8_t *p, uint16_t v)
{
    v = BYTES_BE16(v);
    memcpy(p, &v, sizeof v);
}

static inline void bytes_put_be32(uint8_t *p, uint32_t v)
{
    v = BYTES_BE32(v);
    memcpy(p, &v, sizeof v);
}

static inline void bytes_put_be64(uint8_t *p, uint64_t v)
{
    v = BYTES_BE64(v);
    memcpy(p, &v, sizeof v);
}

static inline float bytes_get_f32(const uint8_t *p)
{
    uint32_t u = bytes_get_u32(p);
    float f;
    memcpy(&f, &u, 4);
    return f;
}

static inline double bytes_get_f64(const uint8_t *p)
{
    uint64_t u = bytes_get_u64(p);
    double f;
    memcpy(&f, &u, 8);
    return f;
}

static inline void bytes_put_u16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}

static inline void bytes_put_u32(uint8_t *p, uint32_t v)
{
    bytes_put_u16(p, (uint16_t)v);
    bytes_put_u16(p + 2, (uint16_t)(v >> 16));
}

static inline void bytes_put_u64(uint8_t *p, uint64_t v)
{
    bytes_put_u32(p, (uint32_t)v);
    bytes_put_u32(p + 4, (uint32_t)(v >> 32));
}

static inline void bytes_put_f32(uint8_t *p, float f)
{
    uint32_t u;
    memcpy(&u, &f, 4);
    bytes_put_u32(p, u);
}

static inline void bytes_put_f64(uint8_t *p, double f)
{
    uint64_t u;
    memcpy(&u, &f, 8);
    bytes_put_u64(p, u);
}

#endif
