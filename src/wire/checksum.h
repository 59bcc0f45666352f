/* The Internet checksum (RFC 1071), its pseudo-headers (RFC 768, 8200 section 8.1), and its update when a 16-bit word
 * changes (RFC 1624). Sums are 32-bit and unfolded: at most 65535 bytes may be added up before folding. */
#ifndef MERIDIAN_WIRE_CHECKSUM_H
#define MERIDIAN_WIRE_CHECKSUM_H

#include "base/bytes.h"
#include "wire/ip.h"

static inline uint32_t checksum_add(uint32_t sum, const uint8_t *p, size_t len)
{
    for (; len >= 2; p += 2, len -= 2)
        sum += bytes_get_be16(p);
    return len ? sum + (uint32_t)(p[0] << 8) : sum;
}

static inline uint16_t checksum_fold(uint32_t sum)
{
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

/* What goes into the field when the field itself was zero. */
static inline uint16_t checksum_ip4(const uint8_t *header, size_t len)
{
    return checksum_fold(checksum_add(0, header, len));
}

/* Of an upper-layer packet of `len` bytes between these addresses; its own checksum field zero, or to be checked: then a
 * result of 0 means that it is right. */
static inline uint16_t checksum_ip6(
    const uint8_t src[16], const uint8_t dst[16], uint8_t proto, const uint8_t *p, uint32_t len)
{
    uint32_t sum = checksum_add(checksum_add(0, src, 16), dst, 16) + (len >> 16) + (len & 0xffff) + proto;
    return checksum_fold(checksum_add(sum, p, len));
}

/* The checksum of a header one of whose aligned 16-bit words changed (RFC 1624, equation 3). */
static inline uint16_t checksum_update(uint16_t checksum, uint16_t from, uint16_t to)
{
    return checksum_fold((uint32_t)(uint16_t)~checksum + (uint16_t)~from + to);
}

#endif
