#include "wire/bgp_nlri.h"

#include "base/bytes.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static unsigned octets(unsigned bits)
{
    return (bits + 7) / 8;
}

/* Copies `bits` of an address, host bits cleared (they are not part of the key, whatever the peer wrote there). */
static void prefix_copy(uint8_t *to, const uint8_t *from, unsigned bits)
{
    memcpy(to, from, octets(bits));
    if (bits % 8)
        to[bits / 8] &= (uint8_t)(0xff << (8 - bits % 8));
}

static unsigned address_bits(uint32_t family)
{
    return family >> 16 == 2 ? 128 : 32;
}

/* --- one family after the other: how long the NLRI at p is, and its key ----------------------------------------------- */

static int next_prefix(uint32_t family, const uint8_t *p, size_t left, struct bgp_nlri *n)
{
    unsigned bits = p[0];
    if (bits > address_bits(family) || left < 1u + octets(bits))
        return -EPROTO;
    n->raw_len = (uint16_t)(1 + octets(bits));
    n->key[0] = p[0];
    prefix_copy(n->key + 1, p + 1, bits);
    n->key_len = (uint8_t)n->raw_len;
    return 1;
}

/* length in bits, label 3, RD 8, prefix (RFC 4364; RFC 8277: one label without its stack being announced). */
static int next_vpn(uint32_t family, const uint8_t *p, size_t left, struct bgp_nlri *n)
{
    unsigned bits = p[0];
    if (bits < 88 || bits - 88 > address_bits(family) || left < 1u + octets(bits))
        return -EPROTO;
    n->raw_len = (uint16_t)(1 + octets(bits));
    n->key[0] = (uint8_t)(bits - 24);
    memcpy(n->key + 1, p + 4, 8);
    prefix_copy(n->key + 9, p + 12, bits - 88);
    n->key_len = (uint8_t)(n->raw_len - 3);
    return 1;
}

/* RT-5: RD 8, ESI 10, tag 4, prefix length 1, prefix, gateway, label 3. Key: RD, tag, length, prefix. */
static int key_rt5(const uint8_t *v, unsigned len, struct bgp_nlri *n)
{
    if (len != 34 && len != 58)
        return -EBADMSG;
    unsigned width = len == 34 ? 4 : 16;
    if (v[22] > width * 8)
        return -EBADMSG;
    n->key[0] = BGP_EVPN_PREFIX;
    n->key[1] = (uint8_t)width;
    memcpy(n->key + 2, v, 8);
    memcpy(n->key + 10, v + 18, 4);
    n->key[14] = v[22];
    memset(n->key + 15, 0, width);
    prefix_copy(n->key + 15, v + 23, v[22]);
    n->key_len = (uint8_t)(15 + width);
    return 1;
}

static int next_evpn(const uint8_t *p, size_t left, struct bgp_nlri *n)
{
    if (left < 2 || left - 2 < p[1])
        return -EPROTO;
    n->raw_len = (uint16_t)(2 + p[1]);
    if (p[0] == BGP_EVPN_PREFIX)
        return key_rt5(p + 2, p[1], n);
    n->known = false; /* carried, never imported; known by all its bytes */
    if (n->raw_len > BGP_NLRI_KEY_MOST)
        return -EBADMSG;
    memcpy(n->key, p, n->raw_len);
    n->key_len = (uint8_t)n->raw_len;
    return 1;
}

static int next_sr_policy(uint32_t family, const uint8_t *p, size_t left, struct bgp_nlri *n)
{
    unsigned want = 64 + address_bits(family);
    if (left < 1u + octets(p[0]))
        return -EPROTO;
    n->raw_len = (uint16_t)(1 + octets(p[0]));
    if (p[0] != want)
        return -EBADMSG;
    memcpy(n->key, p, n->raw_len);
    n->key_len = (uint8_t)n->raw_len;
    return 1;
}

static int next_rtc(const uint8_t *p, size_t left, struct bgp_nlri *n)
{
    unsigned bits = p[0];
    if (bits > 96 || left < 1u + octets(bits))
        return -EPROTO;
    n->raw_len = (uint16_t)(1 + octets(bits));
    if (bits && bits < 32)
        return -EBADMSG;
    n->key[0] = p[0];
    prefix_copy(n->key + 1, p + 1, bits);
    n->key_len = (uint8_t)n->raw_len;
    return 1;
}

int bgp_nlri_next(uint32_t family, bool add_path, const uint8_t *bytes, size_t len, size_t *at, struct bgp_nlri *ret)
{
    if (*at >= len)
        return 0;
    struct bgp_nlri n = {.known = true};
    size_t start = *at;
    if (add_path) {
        if (len - start < 5)
            return -EPROTO;
        n.path_id = bytes_get_be32(bytes + start);
        start += 4;
    }
    n.raw = bytes + start;
    size_t left = len - start;
    int rc = -EPROTO;
    switch (family) {
    case BGP_IPV4_UNICAST:
    case BGP_IPV6_UNICAST:
        rc = next_prefix(family, n.raw, left, &n);
        break;
    case BGP_VPNV4:
    case BGP_VPNV6:
        rc = next_vpn(family, n.raw, left, &n);
        break;
    case BGP_EVPN:
        rc = next_evpn(n.raw, left, &n);
        break;
    case BGP_SR_POLICY_V4:
    case BGP_SR_POLICY_V6:
        rc = next_sr_policy(family, n.raw, left, &n);
        break;
    case BGP_RTC:
        rc = next_rtc(n.raw, left, &n);
        break;
    default:
        break;
    }
    if (rc == -EPROTO)
        return rc;
    *at = start + n.raw_len;
    *ret = n;
    return rc;
}

/* --- fields ------------------------------------------------------------------------------------------------------------ */

static int whole(uint32_t family, const uint8_t *raw, size_t len)
{
    struct bgp_nlri n;
    size_t at = 0;
    return bgp_nlri_next(family, false, raw, len, &at, &n) == 1 && n.known && at == len ? 0 : -EINVAL;
}

int bgp_rt5_decode(struct bgp_rt5 *ret, const uint8_t *raw, size_t len)
{
    if (whole(BGP_EVPN, raw, len))
        return -EINVAL;
    const uint8_t *v = raw + 2;
    unsigned width = raw[1] == 34 ? 4 : 16;
    struct bgp_rt5 r = {.tag = bytes_get_be32(v + 18), .prefix = {.family = width == 4 ? IP_V4 : IP_V6, .len = v[22]}};
    memcpy(r.rd, v, 8);
    memcpy(r.esi, v + 8, 10);
    prefix_copy(r.prefix.a.b, v + 23, v[22]);
    memcpy(r.gateway.b, v + 23 + width, width);
    const uint8_t *label = v + 23 + 2 * width;
    /* Some daemons flip the three EXP bits in transit: they mean nothing here. */
    r.label = ((uint32_t)label[0] << 16 | (uint32_t)label[1] << 8 | label[2]) & 0xfffff1;
    *ret = r;
    return 0;
}

unsigned bgp_rt5_encode(const struct bgp_rt5 *r, uint8_t to[64])
{
    unsigned width = r->prefix.family == IP_V4 ? 4 : 16;
    to[0] = BGP_EVPN_PREFIX;
    to[1] = (uint8_t)(26 + 2 * width);
    uint8_t *v = to + 2;
    memcpy(v, r->rd, 8);
    memcpy(v + 8, r->esi, 10);
    bytes_put_be32(v + 18, r->tag);
    v[22] = r->prefix.len;
    memset(v + 23, 0, width);
    prefix_copy(v + 23, r->prefix.a.b, r->prefix.len);
    memcpy(v + 23 + width, r->gateway.b, width);
    v[23 + 2 * width] = (uint8_t)(r->label >> 16);
    bytes_put_be16(v + 24 + 2 * width, (uint16_t)r->label);
    return 2u + to[1];
}

int bgp_vpn_decode(struct bgp_vpn *ret, uint32_t family, const uint8_t *raw, size_t len)
{
    if ((family != BGP_VPNV4 && family != BGP_VPNV6) || whole(family, raw, len))
        return -EINVAL;
    struct bgp_vpn v = {
        .prefix = {.family = family == BGP_VPNV4 ? IP_V4 : IP_V6, .len = (uint8_t)(raw[0] - 88)},
        .label = ((uint32_t)raw[1] << 16 | (uint32_t)raw[2] << 8 | raw[3]) & 0xfffff1,
    };
    memcpy(v.rd, raw + 4, 8);
    prefix_copy(v.prefix.a.b, raw + 12, v.prefix.len);
    *ret = v;
    return 0;
}

unsigned bgp_vpn_encode(const struct bgp_vpn *v, uint32_t family, uint8_t to[64])
{
    (void)family;
    to[0] = (uint8_t)(88 + v->prefix.len);
    to[1] = (uint8_t)(v->label >> 16);
    bytes_put_be16(to + 2, (uint16_t)v->label);
    memcpy(to + 4, v->rd, 8);
    prefix_copy(to + 12, v->prefix.a.b, v->prefix.len);
    return 12 + octets(v->prefix.len);
}

int bgp_prefix_decode(struct ip_prefix *ret, uint32_t family, const uint8_t *raw, size_t len)
{
    if ((family != BGP_IPV4_UNICAST && family != BGP_IPV6_UNICAST) || whole(family, raw, len))
        return -EINVAL;
    struct ip_prefix p = {.family = family == BGP_IPV4_UNICAST ? IP_V4 : IP_V6, .len = raw[0]};
    prefix_copy(p.a.b, raw + 1, p.len);
    *ret = p;
    return 0;
}

unsigned bgp_prefix_encode(const struct ip_prefix *p, uint8_t to[64])
{
    to[0] = p->len;
    prefix_copy(to + 1, p->a.b, p->len);
    return 1 + octets(p->len);
}

int bgp_sr_policy_decode(struct bgp_sr_policy *ret, uint32_t family, const uint8_t *raw, size_t len)
{
    if ((family != BGP_SR_POLICY_V4 && family != BGP_SR_POLICY_V6) || whole(family, raw, len))
        return -EINVAL;
    struct bgp_sr_policy p = {
        .distinguisher = bytes_get_be32(raw + 1),
        .color = bytes_get_be32(raw + 5),
        .endpoint.family = family == BGP_SR_POLICY_V4 ? IP_V4 : IP_V6,
    };
    memcpy(p.endpoint.a.b, raw + 9, address_bits(family) / 8);
    *ret = p;
    return 0;
}

unsigned bgp_sr_policy_encode(const struct bgp_sr_policy *p, uint8_t to[64])
{
    unsigned width = p->endpoint.family == IP_V4 ? 4 : 16;
    to[0] = (uint8_t)(64 + 8 * width);
    bytes_put_be32(to + 1, p->distinguisher);
    bytes_put_be32(to + 5, p->color);
    memcpy(to + 9, p->endpoint.a.b, width);
    return 9 + width;
}

int bgp_rtc_decode(struct bgp_rtc *ret, const uint8_t *raw, size_t len)
{
    if (whole(BGP_RTC, raw, len))
        return -EINVAL;
    uint8_t value[12] = {0};
    prefix_copy(value, raw + 1, raw[0]);
    struct bgp_rtc r = {.origin_as = bytes_get_be32(value), .bits = raw[0]};
    memcpy(r.target, value + 4, 8);
    *ret = r;
    return 0;
}

unsigned bgp_rtc_encode(const struct bgp_rtc *r, uint8_t to[64])
{
    uint8_t value[12];
    bytes_put_be32(value, r->origin_as);
    memcpy(value + 4, r->target, 8);
    to[0] = r->bits;
    prefix_copy(to + 1, value, r->bits);
    return 1 + octets(r->bits);
}

/* --- for people ------------------------------------------------------------------------------------------------------------ */

static const char *rd_text(const uint8_t rd[8], char to[64])
{
    switch (bytes_get_be16(rd)) {
    case 0:
        snprintf(to, 64, "%u:%u", bytes_get_be16(rd + 2), bytes_get_be32(rd + 4));
        break;
    case 1:
        snprintf(to, 64, "%u.%u.%u.%u:%u", rd[2], rd[3], rd[4], rd[5], bytes_get_be16(rd + 6));
        break;
    default:
        snprintf(to, 64, "%u:%u", bytes_get_be32(rd + 2), bytes_get_be16(rd + 6));
        break;
    }
    return to;
}

static const char *address_text(const uint8_t *a, bool v4, char to[INET6_ADDRSTRLEN])
{
    if (!inet_ntop(v4 ? AF_INET : AF_INET6, a, to, INET6_ADDRSTRLEN))
        to[0] = 0;
    return to;
}

const char *bgp_nlri_text(uint32_t family, const uint8_t *raw, size_t len, char *to, size_t cap)
{
    char rd[64], address[INET6_ADDRSTRLEN];
    struct bgp_rt5 rt5;
    struct bgp_vpn vpn;
    struct ip_prefix prefix;
    struct bgp_sr_policy policy;
    struct bgp_rtc rtc;
    if (family == BGP_EVPN && bgp_rt5_decode(&rt5, raw, len) == 0)
        snprintf(to, cap, "RT-5 %s %s/%u", rd_text(rt5.rd, rd),
            address_text(rt5.prefix.a.b, rt5.prefix.family == IP_V4, address), rt5.prefix.len);
    else if (family == BGP_EVPN && len)
        snprintf(to, cap, "RT-%u, %zu bytes", raw[0], len);
    else if (bgp_vpn_decode(&vpn, family, raw, len) == 0)
        snprintf(to, cap, "VPN %s %s/%u", rd_text(vpn.rd, rd),
            address_text(vpn.prefix.a.b, vpn.prefix.family == IP_V4, address), vpn.prefix.len);
    else if (bgp_prefix_decode(&prefix, family, raw, len) == 0)
        snprintf(to, cap, "%s/%u", address_text(prefix.a.b, prefix.family == IP_V4, address), prefix.len);
    else if (bgp_sr_policy_decode(&policy, family, raw, len) == 0)
        snprintf(to, cap, "policy colour %u to %s (%u)", policy.color,
            address_text(policy.endpoint.a.b, policy.endpoint.family == IP_V4, address), policy.distinguisher);
    else if (family == BGP_RTC && bgp_rtc_decode(&rtc, raw, len) == 0)
        snprintf(to, cap, "route target of AS %u, %u bits", rtc.origin_as, rtc.bits);
    else
        snprintf(to, cap, "%zu bytes that are no route", len);
    return to;
}
