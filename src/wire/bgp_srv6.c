/* The SRv6 L3 Service TLV of the Prefix-SID attribute (RFC 8669, 9252): which SID a VPN route leads to. */
#include "base/bytes.h"
#include "wire/bgp_update.h"

#include <errno.h>
#include <string.h>

enum { TLV_L3_SERVICE = 5, SUB_SID_INFORMATION = 1, SUB_SUB_STRUCTURE = 1 };

/* Puts the label's upper bits back where RFC 9252 4 took them from: `len` bits at bit `offset` of the SID. */
static bool untranspose(struct ip6 *sid, unsigned offset, unsigned len, uint32_t label)
{
    if (len > 24 || offset + len > 128)
        return false;
    uint32_t bits = (label & 0xfffff0) >> 4; /* the 20-bit label field; its upper `len` bits count */
    for (unsigned i = 0; i < len && i < 20; i++) {
        unsigned at = offset + i;
        uint8_t mask = (uint8_t)(0x80 >> at % 8);
        bool one = bits >> (19 - i) & 1;
        sid->b[at / 8] = (uint8_t)(one ? sid->b[at / 8] | mask : sid->b[at / 8] & ~mask);
    }
    return true;
}

static int take_structure(struct bgp_srv6_service *s, const uint8_t *v, size_t len, uint32_t label)
{
    for (size_t at = 0; at < len;) {
        if (len - at < 3 || len - at - 3 < bytes_get_be16(v + at + 1))
            return -EPROTO;
        size_t n = bytes_get_be16(v + at + 1);
        const uint8_t *p = v + at + 3;
        at += 3 + n;
        if (p[-3] != SUB_SUB_STRUCTURE)
            continue;
        if (n != 6 || p[0] + p[1] + p[2] + p[3] > 128 || (p[4] && !untranspose(&s->sid, p[5], p[4], label)))
            return -EPROTO;
        s->block_bits = p[0];
        s->node_bits = p[1];
        s->function_bits = p[2];
        s->argument_bits = p[3];
    }
    return 0;
}

/* reserved 1, then sub-TLVs of {type 1, length 2}: SID information = reserved 1, SID 16, flags 1, behaviour 2, reserved 1. */
static int take_service(struct bgp_srv6_service *s, const uint8_t *v, size_t len, uint32_t label)
{
    bool found = false;
    if (len < 1)
        return -EPROTO;
    for (size_t at = 1; at < len;) {
        if (len - at < 3 || len - at - 3 < bytes_get_be16(v + at + 1))
            return -EPROTO;
        size_t n = bytes_get_be16(v + at + 1);
        const uint8_t *p = v + at + 3;
        at += 3 + n;
        if (p[-3] != SUB_SID_INFORMATION || found)
            continue; /* the first one counts (RFC 9252 3.1) */
        if (n < 21)
            return -EPROTO;
        memcpy(s->sid.b, p + 1, 16);
        s->behaviour = bytes_get_be16(p + 18);
        if (take_structure(s, p + 21, n - 21, label))
            return -EPROTO;
        found = true;
    }
    return found ? 0 : -ENOENT;
}

int bgp_srv6_service_decode(struct bgp_srv6_service *ret, const uint8_t *value, size_t len, uint32_t label)
{
    for (size_t at = 0; at < len;) {
        if (len - at < 3 || len - at - 3 < bytes_get_be16(value + at + 1))
            return -EPROTO;
        size_t n = bytes_get_be16(value + at + 1);
        if (value[at] == TLV_L3_SERVICE) {
            struct bgp_srv6_service s = {0};
            int rc = take_service(&s, value + at + 3, n, label);
            if (rc == 0)
                *ret = s;
            return rc;
        }
        at += 3 + n;
    }
    return -ENOENT;
}

unsigned bgp_srv6_service_encode(const struct bgp_srv6_service *s, uint8_t to[64])
{
    uint8_t *p = to;
    *p++ = TLV_L3_SERVICE;
    bytes_put_be16(p, 34);
    p[2] = 0;
    p[3] = SUB_SID_INFORMATION;
    bytes_put_be16(p + 4, 30);
    p[6] = 0;
    memcpy(p + 7, s->sid.b, 16);
    p[23] = 0;
    bytes_put_be16(p + 24, s->behaviour);
    p[26] = 0;
    p[27] = SUB_SUB_STRUCTURE;
    bytes_put_be16(p + 28, 6);
    p[30] = s->block_bits;
    p[31] = s->node_bits;
    p[32] = s->function_bits;
    p[33] = s->argument_bits;
    p[34] = 0; /* no transposition */
    p[35] = 0;
    return 37;
}
