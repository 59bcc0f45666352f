/* The segment routing header (RFC 8754) and compressed segment lists of the NEXT-C-SID flavour (RFC 9800).
 *
 * A NEXT-C-SID container is one IPv6 address: the locator block, then 16-bit groups, each hop's C-SID one or two of them
 * (node, or node and function), then zeros. A hop whose C-SID is behind the block moves the rest up to the block
 * (csid_shift); when nothing is left, the next container is taken from the SRH. Pure; nothing is allocated. */
#ifndef MERIDIAN_WIRE_SRH_H
#define MERIDIAN_WIRE_SRH_H

#include "base/bytes.h"
#include "wire/ip.h"

#define SRH_TYPE          4u
#define SRH_FIXED         8u  /* bytes before the segment list */
#define SRH_SEGMENTS_MOST 16u /* that we write or accept */

/* Offsets. */
enum { SRH_NEXT = 0, SRH_LEN = 1, SRH_ROUTING_TYPE = 2, SRH_LEFT = 3, SRH_LAST = 4, SRH_FLAGS = 5, SRH_TAG = 6 };

struct srh {
    uint16_t size; /* bytes of the header with TLVs */
    uint8_t next, left, flags;
    uint8_t n; /* segments in it: last entry + 1 */
    uint16_t tag;
};

/* A routing header at p, of which at most `len` bytes are there. 0; -EPROTO: lengths do not fit, or more segments than we
 * accept; -EPROTONOSUPPORT: another routing type; -ERANGE: segments left points beyond the list (RFC 8986 section 4.1: answer
 * with parameter problem, code 0, pointing to SRH_LEFT). Segments left may be n in a reduced header; TLVs are not read. */
int srh_parse(struct srh *ret, const uint8_t *p, size_t len);

static inline void srh_segment(struct ip6 *ret, const uint8_t *srh, unsigned i)
{
    memcpy(ret->b, srh + SRH_FIXED + 16 * (size_t)i, 16);
}

/* Bytes of the reduced header for a path of n segments, the first of which is only in the destination address; 0 for one. */
static inline size_t srh_size(unsigned n)
{
    return n > 1 ? SRH_FIXED + 16 * (size_t)(n - 1) : 0;
}

/* Writes that header: `segments` in the order of travel, 1 <= n <= SRH_SEGMENTS_MOST. Returns srh_size(n). */
size_t srh_encode(uint8_t *to, uint8_t next, const struct ip6 *segments, unsigned n);

/* --- NEXT-C-SID ------------------------------------------------------------------------------------------- */

/* Packs n SIDs in the order of travel into containers, likewise in order: the first is the destination address. The C-SID of
 * a SID are its 16-bit groups behind the block up to the last that is not zero; a SID of another block, with a zero
 * node or longer than two groups stays alone and whole. A node just before a NODE:FUNCTION of the same node is left
 * out: the second says it. block_bits: 32 or 48. Returns the containers, at most `most`; -ENOSPC; -EINVAL. */
int csid_pack(struct ip6 *ret, unsigned most, const struct ip6 *sids, unsigned n, unsigned block_bits);

__extension__ typedef unsigned __int128 csid_wide;

static inline csid_wide csid_load(const struct ip6 *a)
{
    return (csid_wide)bytes_get_be64(a->b) << 64 | bytes_get_be64(a->b + 8);
}

static inline void csid_store(struct ip6 *a, csid_wide v)
{
    bytes_put_be64(a->b, (uint64_t)(v >> 64));
    bytes_put_be64(a->b + 8, (uint64_t)v);
}

/* The hop's C-SID, csid_bits (16, 32) behind the block, was ours: the argument behind it moves up. False when there is
 * none left (then nothing changed, and the SRH says how to go on). 0 < block_bits, block_bits + csid_bits < 128. */
static inline bool csid_shift(struct ip6 *a, unsigned block_bits, unsigned csid_bits)
{
    csid_wide v = csid_load(a), argument = v << (block_bits + csid_bits);
    if (argument == 0)
        return false;
    csid_store(a, v >> (128 - block_bits) << (128 - block_bits) | argument >> block_bits);
    return true;
}

#endif
