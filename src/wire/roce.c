#include "wire/roce.h"

#include "base/bytes.h"
#include "wire/checksum.h"
#include "wire/crc32.h"

#include <assert.h>
#include <errno.h>

static uint32_t ip_size(uint8_t family)
{
    return family == IP_V4 ? IP4_SIZE : IP6_SIZE;
}

/* What stands between BTH and payload; -1: not an opcode of ours. */
static int extension_size(uint8_t opcode)
{
    switch (opcode) {
    case ROCE_WRITE_FIRST:
    case ROCE_WRITE_ONLY:
        return ROCE_RETH_SIZE;
    case ROCE_WRITE_MIDDLE:
    case ROCE_WRITE_LAST:
        return 0;
    case ROCE_ACKNOWLEDGE:
        return ROCE_AETH_SIZE;
    case ROCE_CNP:
        return ROCE_CNP_SIZE;
    default:
        return -1;
    }
}

static uint32_t pad_of(uint32_t payload)
{
    return -payload & 3;
}

uint32_t roce_headers_size(const struct roce_packet *p)
{
    int extension = extension_size(p->opcode);
    assert(extension >= 0);
    return ip_size(p->src.family) + UDP_SIZE + ROCE_BTH_SIZE + (uint32_t)extension;
}

uint32_t roce_size(const struct roce_packet *p)
{
    return roce_headers_size(p) + p->payload + pad_of(p->payload) + ROCE_ICRC_SIZE;
}

/* --- headers out --- */

static void ip4_put(uint8_t *ip, const struct roce_packet *p, uint32_t len)
{
    memset(ip, 0, IP4_SIZE);
    ip[0] = 0x45;
    ip[IP4_TOS] = (uint8_t)(p->dscp << 2 | p->ecn);
    bytes_put_be16(ip + IP4_LEN, (uint16_t)len);
    bytes_put_be16(ip + IP4_FRAG, 0x4000); /* don't fragment; an atomic datagram's identification is 0 (RFC 6864) */
    ip[IP4_TTL] = p->hops;
    ip[IP4_PROTO] = IP_PROTO_UDP;
    memcpy(ip + IP4_SRC, p->src.a.b, 4);
    memcpy(ip + IP4_DST, p->dst.a.b, 4);
    bytes_put_be16(ip + IP4_SUM, checksum_ip4(ip, IP4_SIZE));
}

static void ip6_put(uint8_t *ip, const struct roce_packet *p, uint32_t len)
{
    uint32_t class_ = (uint32_t)(p->dscp << 2 | p->ecn);
    bytes_put_be32(ip + IP6_FLOW, 6u << 28 | class_ << 20 | (p->flow_label & 0xfffff));
    bytes_put_be16(ip + IP6_LEN, (uint16_t)(len - IP6_SIZE));
    ip[IP6_NEXT] = IP_PROTO_UDP;
    ip[IP6_HOPS] = p->hops;
    memcpy(ip + IP6_SRC, p->src.a.b, 16);
    memcpy(ip + IP6_DST, p->dst.a.b, 16);
}

static void bth_put(uint8_t *b, const struct roce_packet *p)
{
    b[0] = p->opcode;
    b[1] = (uint8_t)(p->solicited << 7 | pad_of(p->payload) << 4); /* transport version 0 */
    bytes_put_be16(b + 2, p->pkey);
    bytes_put_be32(b + 4, (uint32_t)p->becn << 30 | (p->qp & 0xffffff));
    bytes_put_be32(b + 8, (uint32_t)p->ack_request << 31 | (p->psn & ROCE_PSN_MASK));
}

static void extension_put(uint8_t *x, const struct roce_packet *p)
{
    switch (p->opcode) {
    case ROCE_WRITE_FIRST:
    case ROCE_WRITE_ONLY:
        bytes_put_be64(x, p->address);
        bytes_put_be32(x + 8, p->key);
        bytes_put_be32(x + 12, p->size);
        break;
    case ROCE_ACKNOWLEDGE:
        bytes_put_be32(x, (uint32_t)p->syndrome << 24 | (p->msn & 0xffffff));
        break;
    case ROCE_CNP:
        memset(x, 0, ROCE_CNP_SIZE);
        break;
    default:
        break;
    }
}

uint32_t roce_put(uint8_t *to, const struct roce_packet *p)
{
    assert(p->src.family == p->dst.family && p->payload <= ROCE_PAYLOAD_MAX);
    uint32_t len = roce_size(p), ip = ip_size(p->src.family);
    if (p->src.family == IP_V4)
        ip4_put(to, p, len);
    else
        ip6_put(to, p, len);
    uint8_t *udp = to + ip;
    bytes_put_be16(udp, p->src_port);
    bytes_put_be16(udp + 2, ROCE_PORT);
    bytes_put_be16(udp + 4, (uint16_t)(len - ip));
    bytes_put_be16(udp + 6, 0); /* annex A17.4.5.3: the ICRC protects */
    bth_put(udp + UDP_SIZE, p);
    extension_put(udp + UDP_SIZE + ROCE_BTH_SIZE, p);
    return roce_headers_size(p);
}

/* --- ICRC (annex A17.3.3) --- */

/* Eight bytes of ones stand for the LRH that RoCE does not have; then the packet with its mutable fields as ones. */
static uint32_t icrc(const uint8_t *ip, uint32_t len)
{
    uint8_t head[8 + IP6_SIZE + UDP_SIZE + ROCE_BTH_SIZE], *h = head + 8;
    uint32_t ip_bytes = ip_size(ip[0] >> 4), n = ip_bytes + UDP_SIZE + ROCE_BTH_SIZE;
    memset(head, 0xff, 8);
    memcpy(h, ip, n);
    if (ip[0] >> 4 == IP_V4) {
        h[IP4_TOS] = h[IP4_TTL] = h[IP4_SUM] = h[IP4_SUM + 1] = 0xff;
    } else {
        h[0] |= 0x0f; /* traffic class and flow label */
        h[1] = h[2] = h[3] = h[IP6_HOPS] = 0xff;
    }
    h[ip_bytes + 6] = h[ip_bytes + 7] = 0xff; /* UDP checksum */
    h[ip_bytes + UDP_SIZE + 4] = 0xff;        /* BTH: FECN, BECN and resv8a */
    uint32_t state = crc32_update(CRC32_START, head, 8 + n);
    return ~crc32_update(state, ip + n, len - ROCE_ICRC_SIZE - n);
}

void roce_icrc_put(uint8_t *ip, uint32_t len)
{
    bytes_put_u32(ip + len - ROCE_ICRC_SIZE, icrc(ip, len)); /* least significant byte first, as Ethernet's FCS */
}

bool roce_icrc_valid(const uint8_t *ip, uint32_t len)
{
    return bytes_get_u32(ip + len - ROCE_ICRC_SIZE) == icrc(ip, len);
}

/* --- headers in --- */

/* 0 and the packet's own length; see roce_decode for the errors. */
static int ip4_decode(struct roce_packet *p, const uint8_t *ip, uint32_t have, uint32_t *ret_len)
{
    if (have < IP4_SIZE)
        return -ENOENT;
    if (ip[0] != 0x45 || ip[IP4_PROTO] != IP_PROTO_UDP || bytes_get_be16(ip + IP4_FRAG) & 0x3fff)
        return -ENOENT;
    p->src.family = p->dst.family = IP_V4;
    memcpy(p->src.a.b, ip + IP4_SRC, 4);
    memcpy(p->dst.a.b, ip + IP4_DST, 4);
    p->dscp = ip[IP4_TOS] >> 2;
    p->ecn = ip[IP4_TOS] & 3;
    p->hops = ip[IP4_TTL];
    *ret_len = bytes_get_be16(ip + IP4_LEN);
    return 0;
}

static int ip6_decode(struct roce_packet *p, const uint8_t *ip, uint32_t have, uint32_t *ret_len)
{
    if (have < IP6_SIZE || ip[0] >> 4 != 6 || ip[IP6_NEXT] != IP_PROTO_UDP)
        return -ENOENT;
    uint32_t first = bytes_get_be32(ip + IP6_FLOW);
    p->src.family = p->dst.family = IP_V6;
    memcpy(p->src.a.b, ip + IP6_SRC, 16);
    memcpy(p->dst.a.b, ip + IP6_DST, 16);
    p->dscp = first >> 22 & 0x3f;
    p->ecn = first >> 20 & 3;
    p->flow_label = first & 0xfffff;
    p->hops = ip[IP6_HOPS];
    *ret_len = IP6_SIZE + (uint32_t)bytes_get_be16(ip + IP6_LEN);
    return 0;
}

static void bth_decode(struct roce_packet *p, const uint8_t *b)
{
    p->opcode = b[0];
    p->solicited = b[1] >> 7;
    p->pkey = bytes_get_be16(b + 2);
    p->becn = b[4] >> 6 & 1;
    p->qp = bytes_get_be32(b + 4) & 0xffffff;
    p->ack_request = b[8] >> 7;
    p->psn = bytes_get_be32(b + 8) & ROCE_PSN_MASK;
}

static void extension_decode(struct roce_packet *p, const uint8_t *x)
{
    if (p->opcode == ROCE_WRITE_FIRST || p->opcode == ROCE_WRITE_ONLY) {
        p->address = bytes_get_be64(x);
        p->key = bytes_get_be32(x + 8);
        p->size = bytes_get_be32(x + 12);
    } else if (p->opcode == ROCE_ACKNOWLEDGE) {
        p->syndrome = x[0];
        p->msn = bytes_get_be32(x) & 0xffffff;
    }
}

/* Which lengths an opcode may have: `body` is payload and pad. */
static bool lengths_agree(const struct roce_packet *p, uint32_t body, uint32_t pad)
{
    if (body & 3 || body < pad || body - pad > ROCE_PAYLOAD_MAX)
        return false;
    switch (p->opcode) {
    case ROCE_WRITE_FIRST: /* a whole path MTU, and more comes */
        return pad == 0 && body > 0 && p->size > body;
    case ROCE_WRITE_MIDDLE:
        return pad == 0 && body > 0;
    case ROCE_WRITE_LAST:
        return body > pad;
    case ROCE_WRITE_ONLY:
        return body - pad == p->size;
    default:
        return body == 0;
    }
}

int roce_decode(struct roce_packet *ret, const uint8_t *ip, uint32_t have, uint32_t len)
{
    struct roce_packet p = {0};
    uint32_t own = 0;
    int rc = have && ip[0] >> 4 == 4 ? ip4_decode(&p, ip, have, &own) : ip6_decode(&p, ip, have, &own);
    if (rc)
        return rc;
    uint32_t at = ip_size(p.src.family);
    if (have < at + UDP_SIZE || own < at + UDP_SIZE || bytes_get_be16(ip + at + 2) != ROCE_PORT)
        return -ENOENT;
    if (p.src.family == IP_V4 && checksum_ip4(ip, IP4_SIZE))
        return -EPROTO;
    p.src_port = bytes_get_be16(ip + at);
    if (own > len || bytes_get_be16(ip + at + 4) != own - at)
        return -EPROTO;
    at += UDP_SIZE;
    if (have < at + ROCE_BTH_SIZE || own < at + ROCE_BTH_SIZE + ROCE_ICRC_SIZE || ip[at + 1] & 15)
        return -EPROTO;
    bth_decode(&p, ip + at);
    uint32_t pad = ip[at + 1] >> 4 & 3;
    at += ROCE_BTH_SIZE;
    int extension = extension_size(p.opcode);
    if (extension < 0)
        return -ENOTSUP;
    if (have < at + (uint32_t)extension || own < at + (uint32_t)extension + ROCE_ICRC_SIZE)
        return -EPROTO;
    extension_decode(&p, ip + at);
    uint32_t body = own - at - (uint32_t)extension - ROCE_ICRC_SIZE;
    if (!lengths_agree(&p, body, pad))
        return -EPROTO;
    p.payload = body - pad;
    *ret = p;
    return 0;
}
