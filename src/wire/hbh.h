/* The hop-by-hop options header of a packet on a core link (RFC 8200 section 4.3). Three options of ours may be in it:
 *
 *   alternate marking (RFC 9343)  type 0x12, 4 bytes: FlowMonID 20 bits, L, D, 10 reserved bits
 *   NR (draft-ietf-6man-enhanced-vpn-vtn-id)  no type assigned yet, so configurable; 8 bytes: flags, context type 0,
 *                                 reserved 16 bits, 32-bit identifier: the tenant's slice
 *   lane (router.md, Lanes)       type 0x3E (RFC 4727 experiment: skip if unknown, may change on the way), 8 bytes: lane
 *                                 index 16, epoch 16, number of the packet's first cell 32: rewritten on every link
 *
 * All of them are written at 4n+2, so that their data is aligned to 4. With all three the header has always the same 32
 * bytes, the canonical layout, which hbh_canonical recognises in a few comparisons:
 *
 *    0 next  3    12 04   |  4 FlowMonID L D     8 01 00  nr 08  | 12 flags 0 reserved
 *   16 identifier         | 20 01 00  3e 08     24 index epoch   | 28 cell
 *
 * hbh_parse reads anything: any order, any padding, options it does not know. Pure; nothing is allocated. */
#ifndef MERIDIAN_WIRE_HBH_H
#define MERIDIAN_WIRE_HBH_H

#include "base/bytes.h"
#include "wire/ip.h"

#define HBH_SIZE         32u /* with all options */
#define HBH_NO_LANE_SIZE 24u /* with marking and NR */
#define HBH_OPTIONS_MOST 32u /* a header with more, padding included, is refused (RFC 9673 section 5.2.2) */

enum hbh_option {
    HBH_PAD1 = 0x00,
    HBH_PADN = 0x01,
    HBH_ALTMARK = 0x12,
    HBH_NR_DEFAULT = 0x1e, /* RFC 4727 experiment: skip if unknown, does not change */
    HBH_LANE_DEFAULT = 0x3e,
};

enum hbh_has { HBH_HAS_MARK = 1, HBH_HAS_NR = 2, HBH_HAS_LANE = 4, HBH_HAS_ALL = 7 };

enum hbh_mark { HBH_MARK_L = 1, HBH_MARK_D = 2 }; /* the same bits as enum marking_bits */

/* Offsets of the options' data in the canonical layout. */
enum { HBH_MARK_AT = 4, HBH_NR_AT = 12, HBH_LANE_AT = 24, HBH_LANE_SIZE = 8 };

struct hbh_types { /* the configurable code points; 0 is not allowed here */
    uint8_t nr, lane;
};

struct hbh {
    uint16_t size; /* bytes of the header */
    uint8_t next;  /* the header behind it */
    uint8_t has;   /* enum hbh_has: which of the following were there */
    uint8_t mark;  /* enum hbh_mark */
    uint8_t nr_flags;
    uint16_t mark_at, nr_at, lane_at; /* offset of the option's data from the header's first byte; 0: absent */
    uint16_t lane_index, lane_epoch;
    uint32_t lane_cell;
    uint32_t flow_mon_id; /* 20 bits */
    uint32_t slice;       /* of the NR option */
};

enum hbh_verdict {
    HBH_OK,
    HBH_DISCARD,         /* an unknown option says: drop silently (01) */
    HBH_PROBLEM,         /* drop and answer with parameter problem, code 2 (10), whatever the destination */
    HBH_PROBLEM_UNICAST, /* the same, but only if the destination is no multicast address (11) */
    HBH_MALFORMED,       /* lengths that do not fit, one of our options twice or of a wrong length, too many options */
};

/* Reads the header at p, of which at most `len` bytes are there. *ret is written when HBH_OK; otherwise *ret_at is the
 * offset of the offending option from the header's first byte (what the parameter problem points to). */
enum hbh_verdict hbh_parse(
    struct hbh *ret, uint32_t *ret_at, const uint8_t *p, size_t len, const struct hbh_types *types);

/* Bytes of the header that hbh_encode writes for these options: 0 (none), 8, 16, 24 or HBH_SIZE. */
size_t hbh_size(unsigned has);
/* Writes the options h->has in our layout with h's values (size and offsets are not read). `to` has hbh_size bytes. Returns
 * them; 0: no option, nothing written. */
size_t hbh_encode(uint8_t *to, const struct hbh *h, const struct hbh_types *types);

static inline void hbh_lane_put(uint8_t data[HBH_LANE_SIZE], uint16_t index, uint16_t epoch, uint32_t cell)
{
    bytes_put_be16(data, index);
    bytes_put_be16(data + 2, epoch);
    bytes_put_be32(data + 4, cell);
}

static inline void hbh_lane_get(struct hbh *h, const uint8_t data[HBH_LANE_SIZE])
{
    h->lane_index = bytes_get_be16(data);
    h->lane_epoch = bytes_get_be16(data + 2);
    h->lane_cell = bytes_get_be32(data + 4);
}

static inline void hbh_mark_get(struct hbh *h, const uint8_t data[4])
{
    uint32_t v = bytes_get_be32(data);
    h->flow_mon_id = v >> 12;
    h->mark = (uint8_t)((v >> 11 & 1) | (v >> 9 & 2));
}

/* True when the header at p (with at least `len` bytes there) is in the canonical layout, with all three options or without
 * the lane's; then *ret is what hbh_parse would give. False says nothing: hbh_parse decides. */
static inline bool hbh_canonical(struct hbh *ret, const uint8_t *p, size_t len, const struct hbh_types *types)
{
    uint32_t head = len >= HBH_NO_LANE_SIZE ? bytes_get_be32(p) << 8 : 0;
    if ((head & ~0x01000000u) != 0x02120400u || bytes_get_be32(p + 8) != (0x01000008u | (uint32_t)types->nr << 8) ||
        p[HBH_NR_AT + 1] != 0)
        return false;
    bool lane = head & 0x01000000u;
    if (lane ? len < HBH_SIZE || bytes_get_be32(p + 20) != (0x01000008u | (uint32_t)types->lane << 8)
             : bytes_get_be32(p + 20) != 0x01020000u)
        return false;
    ret->size = lane ? HBH_SIZE : HBH_NO_LANE_SIZE;
    ret->next = p[0];
    ret->has = lane ? HBH_HAS_ALL : HBH_HAS_MARK | HBH_HAS_NR;
    ret->nr_flags = p[HBH_NR_AT];
    ret->mark_at = HBH_MARK_AT;
    ret->nr_at = HBH_NR_AT;
    ret->lane_at = lane ? HBH_LANE_AT : 0;
    ret->slice = bytes_get_be32(p + HBH_NR_AT + 4);
    hbh_mark_get(ret, p + HBH_MARK_AT);
    ret->lane_index = ret->lane_epoch = 0;
    ret->lane_cell = 0;
    if (lane)
        hbh_lane_get(ret, p + HBH_LANE_AT);
    return true;
}

#endif
