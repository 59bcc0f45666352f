/* SRH and NEXT-C-SID containers. */
#include "wire/srh.h"

#include <errno.h>

int srh_parse(struct srh *ret, const uint8_t *p, size_t len)
{
    if (len < SRH_FIXED || len < 8 + 8 * (size_t)p[SRH_LEN])
        return -EPROTO;
    if (p[SRH_ROUTING_TYPE] != SRH_TYPE)
        return -EPROTONOSUPPORT;
    struct srh h = {
        .size = (uint16_t)(8 + 8 * p[SRH_LEN]),
        .next = p[SRH_NEXT],
        .left = p[SRH_LEFT],
        .flags = p[SRH_FLAGS],
        .tag = bytes_get_be16(p + SRH_TAG),
    };
    unsigned n = p[SRH_LAST] + 1u;
    if (n > SRH_SEGMENTS_MOST || SRH_FIXED + 16 * n > h.size)
        return -EPROTO;
    if (h.left > n)
        return -ERANGE;
    h.n = (uint8_t)n;
    *ret = h;
    return 0;
}

size_t srh_encode(uint8_t *to, uint8_t next, const struct ip6 *segments, unsigned n)
{
    size_t size = srh_size(n);
    if (size == 0)
        return 0;
    to[SRH_NEXT] = next;
    to[SRH_LEN] = (uint8_t)(size / 8 - 1);
    to[SRH_ROUTING_TYPE] = SRH_TYPE;
    to[SRH_LEFT] = (uint8_t)(n - 1);
    to[SRH_LAST] = (uint8_t)(n - 2);
    to[SRH_FLAGS] = 0;
    bytes_put_be16(to + SRH_TAG, 0);
    for (unsigned i = 0; i + 1 < n; i++) /* the last one of the path comes first */
        memcpy(to + SRH_FIXED + 16 * (size_t)i, segments[n - 1 - i].b, 16);
    return size;
}

/* 16-bit groups of the SID's C-SID: 1 or 2; 0 when it cannot be compressed with this block. */
static unsigned csid_groups(const struct ip6 *sid, const struct ip6 *block, unsigned block_bits)
{
    const uint8_t *csid = sid->b + block_bits / 8;
    unsigned groups = (128 - block_bits) / 16;
    if (memcmp(sid->b, block->b, block_bits / 8) || bytes_get_be16(csid) == 0)
        return 0;
    while (bytes_get_be16(csid + 2 * (groups - 1)) == 0)
        groups--;
    return groups <= 2 ? groups : 0;
}

int csid_pack(struct ip6 *ret, unsigned most, const struct ip6 *sids, unsigned n, unsigned block_bits)
{
    if (n == 0 || (block_bits != 32 && block_bits != 48))
        return -EINVAL;
    const unsigned room = (128 - block_bits) / 16, block = block_bits / 8;
    unsigned used = 0, filled = 0; /* containers; groups in the last one, `room` when nothing fits any more */
    for (unsigned i = 0; i < n; i++) {
        /* Each container has the block of the SID that opened it. */
        unsigned groups = csid_groups(&sids[i], &sids[i], block_bits);
        const uint8_t *csid = sids[i].b + block;
        if (groups == 1 && i + 1 < n && csid_groups(&sids[i + 1], &sids[i], block_bits) == 2 &&
            !memcmp(csid, sids[i + 1].b + block, 2))
            continue;
        if (used && groups && filled + groups <= room && !memcmp(ret[used - 1].b, sids[i].b, block)) {
            memcpy(ret[used - 1].b + block + 2 * filled, csid, 2 * groups);
            filled += groups;
            continue;
        }
        if (used == most)
            return -ENOSPC;
        ret[used++] = sids[i];
        filled = groups ? groups : room;
    }
    return (int)used;
}
