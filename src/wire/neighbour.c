/* ARP and neighbour discovery. */
#include "wire/neighbour.h"

#include "base/bytes.h"
#include "wire/checksum.h"

#include <errno.h>

/* --- ARP ---------------------------------------------------------------------------------------------------- */

enum { ARP_OP = 6, ARP_SENDER_MAC = 8, ARP_SENDER = 14, ARP_TARGET_MAC = 18, ARP_TARGET = 24 };

static const uint8_t arp_kind[6] = {0, 1, ETHER_IP4 >> 8, ETHER_IP4 & 255, 6, 4}; /* Ethernet, IPv4, their lengths */

int arp_parse(struct arp *ret, const uint8_t *p, size_t len)
{
    struct arp a;
    if (len < ARP_SIZE || memcmp(p, arp_kind, sizeof(arp_kind)))
        return -EPROTO;
    a.op = bytes_get_be16(p + ARP_OP);
    memcpy(a.sender_mac, p + ARP_SENDER_MAC, 6);
    memcpy(a.sender.b, p + ARP_SENDER, 4);
    memcpy(a.target_mac, p + ARP_TARGET_MAC, 6);
    memcpy(a.target.b, p + ARP_TARGET, 4);
    if ((a.op != ARP_REQUEST && a.op != ARP_REPLY) || !mac_is_unicast(a.sender_mac))
        return -EPROTO;
    *ret = a;
    return 0;
}

void arp_encode(uint8_t to[ARP_SIZE], const struct arp *a)
{
    memcpy(to, arp_kind, sizeof(arp_kind));
    bytes_put_be16(to + ARP_OP, a->op);
    memcpy(to + ARP_SENDER_MAC, a->sender_mac, 6);
    memcpy(to + ARP_SENDER, a->sender.b, 4);
    memcpy(to + ARP_TARGET_MAC, a->target_mac, 6);
    memcpy(to + ARP_TARGET, a->target.b, 4);
}

/* --- addresses ---------------------------------------------------------------------------------------------- */

const struct ip6 nd_all_nodes = {{0xff, 0x02, [15] = 1}};
static const struct ip6 solicited = {{0xff, 0x02, [11] = 1, [12] = 0xff}};
static const struct ip6 unspecified;

void nd_solicited_node(struct ip6 *ret, const struct ip6 *a)
{
    struct ip6 s = solicited;
    memcpy(s.b + 13, a->b + 13, 3);
    *ret = s;
}

void nd_multicast_mac(uint8_t ret[6], const struct ip6 *dst)
{
    ret[0] = ret[1] = 0x33;
    memcpy(ret + 2, dst->b + 12, 4);
}

void nd_link_local(struct ip6 *ret, const uint8_t mac[6])
{
    *ret = (struct ip6){{0xfe, 0x80, [8] = mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]}};
}

/* --- solicitations and advertisements ------------------------------------------------------------------------- */

enum { ND_TARGET = 8, ND_FLAGS = 4, SOURCE_MAC = 1, TARGET_MAC = 2, PREFIX = 3, MTU = 5 };

/* Bytes of ICMPv6 before the options; 0: a type that we do not read. */
static size_t fixed_size(uint8_t type)
{
    if (type == ICMP6_ROUTER_SOLICIT)
        return 8;
    return type == ICMP6_NEIGHBOUR_SOLICIT || type == ICMP6_NEIGHBOUR_ADVERT ? 24 : 0;
}

static uint8_t mac_option(uint8_t type)
{
    return type == ICMP6_NEIGHBOUR_ADVERT ? TARGET_MAC : SOURCE_MAC;
}

static int parse_options(struct nd *n, const uint8_t *p, size_t len)
{
    while (len) {
        if (len < 8 || p[1] == 0 || 8 * (size_t)p[1] > len)
            return -EPROTO;
        if (p[0] == mac_option(n->type)) {
            if (p[1] != 1 || !mac_is_unicast(p + 2))
                return -EPROTO;
            n->has_mac = true;
            memcpy(n->mac, p + 2, 6);
        }
        len -= 8 * (size_t)p[1];
        p += 8 * (size_t)p[1];
    }
    return 0;
}

/* What the RFC's lists of checks say beyond lengths and checksum. */
static bool is_valid(const struct nd *n)
{
    struct ip6 group;
    if (n->type == ICMP6_ROUTER_SOLICIT)
        return !(n->has_mac && ip6_equal(&n->src, &unspecified));
    if (n->target.b[0] == 0xff || n->src.b[0] == 0xff)
        return false;
    if (n->type == ICMP6_NEIGHBOUR_ADVERT)
        return !(n->dst.b[0] == 0xff && n->flags & ND_SOLICITED) && !ip6_equal(&n->src, &unspecified);
    if (!ip6_equal(&n->src, &unspecified))
        return true;
    nd_solicited_node(&group, &n->target);
    return !n->has_mac && ip6_equal(&n->dst, &group);
}

int nd_parse(struct nd *ret, const uint8_t *packet, size_t len)
{
    struct nd n = {0};
    const uint8_t *icmp = packet + IP6_SIZE;
    if (len < IP6_SIZE + ICMP_HEADER || packet[0] >> 4 != 6 || packet[IP6_NEXT] != IP_PROTO_ICMP6)
        return -ENOENT;
    size_t size = bytes_get_be16(packet + IP6_LEN), fixed = fixed_size(icmp[ICMP_TYPE]);
    if (!fixed)
        return -ENOENT;
    if (size > len - IP6_SIZE || size < fixed || packet[IP6_HOPS] != ND_HOPS || icmp[ICMP_CODE] != 0 ||
        checksum_ip6(packet + IP6_SRC, packet + IP6_DST, IP_PROTO_ICMP6, icmp, (uint32_t)size) != 0)
        return -EPROTO;
    n.type = icmp[ICMP_TYPE];
    memcpy(n.src.b, packet + IP6_SRC, 16);
    memcpy(n.dst.b, packet + IP6_DST, 16);
    if (n.type != ICMP6_ROUTER_SOLICIT)
        memcpy(n.target.b, icmp + ND_TARGET, 16);
    if (n.type == ICMP6_NEIGHBOUR_ADVERT)
        n.flags = icmp[ND_FLAGS] & (ND_ROUTER | ND_SOLICITED | ND_OVERRIDE);
    if (parse_options(&n, icmp + fixed, size - fixed) || !is_valid(&n))
        return -EPROTO;
    *ret = n;
    return 0;
}

/* The IPv6 header around `size` bytes of ICMPv6 that are already there, and their checksum. */
static size_t finish(uint8_t *to, const struct ip6 *src, const struct ip6 *dst, size_t size)
{
    bytes_put_be32(to, 6u << 28 | ICMP_TRAFFIC << 20);
    bytes_put_be16(to + IP6_LEN, (uint16_t)size);
    to[IP6_NEXT] = IP_PROTO_ICMP6;
    to[IP6_HOPS] = ND_HOPS;
    memcpy(to + IP6_SRC, src->b, 16);
    memcpy(to + IP6_DST, dst->b, 16);
    uint8_t *icmp = to + IP6_SIZE;
    bytes_put_be16(icmp + ICMP_SUM, 0);
    bytes_put_be16(icmp + ICMP_SUM, checksum_ip6(src->b, dst->b, IP_PROTO_ICMP6, icmp, (uint32_t)size));
    return IP6_SIZE + size;
}

static size_t put_mac(uint8_t *to, uint8_t option, const uint8_t mac[6])
{
    to[0] = option;
    to[1] = 1;
    memcpy(to + 2, mac, 6);
    return 8;
}

size_t nd_encode(uint8_t to[ND_SIZE_MOST], const struct nd *n)
{
    uint8_t *icmp = to + IP6_SIZE;
    size_t size = fixed_size(n->type);
    memset(icmp, 0, size);
    icmp[ICMP_TYPE] = n->type;
    if (n->type == ICMP6_NEIGHBOUR_ADVERT)
        icmp[ND_FLAGS] = n->flags;
    if (n->type != ICMP6_ROUTER_SOLICIT)
        memcpy(icmp + ND_TARGET, n->target.b, 16);
    if (n->has_mac)
        size += put_mac(icmp + size, mac_option(n->type), n->mac);
    return finish(to, &n->src, &n->dst, size);
}

/* --- router advertisements ------------------------------------------------------------------------------------ */

enum { RA_HOPS = 4, RA_LIFETIME = 6, RA_FIXED = 16 };
enum {
    PREFIX_LEN = 2,
    PREFIX_FLAGS = 3,
    PREFIX_VALID = 4,
    PREFIX_PREFERRED = 8,
    PREFIX_ADDRESS = 16,
    PREFIX_SIZE = 32
};
enum { PREFIX_ON_LINK = 0x80, PREFIX_AUTONOMOUS = 0x40 };

static size_t put_prefix(uint8_t *to, const struct ip_prefix *p)
{
    memset(to, 0, PREFIX_SIZE);
    to[0] = PREFIX;
    to[1] = PREFIX_SIZE / 8;
    to[PREFIX_LEN] = p->len;
    to[PREFIX_FLAGS] = PREFIX_ON_LINK | (p->len == ND_PREFIX_SLAAC ? PREFIX_AUTONOMOUS : 0);
    bytes_put_be32(to + PREFIX_VALID, ND_VALID_S);
    bytes_put_be32(to + PREFIX_PREFERRED, ND_PREFERRED_S);
    memcpy(to + PREFIX_ADDRESS, p->a.b, 16);
    return PREFIX_SIZE;
}

size_t nd_router_encode(uint8_t to[ND_ROUTER_MOST], const struct nd_router *r)
{
    uint8_t *icmp = to + IP6_SIZE;
    size_t size = RA_FIXED;
    memset(icmp, 0, RA_FIXED + 16);
    icmp[ICMP_TYPE] = ICMP6_ROUTER_ADVERT;
    icmp[RA_HOPS] = ND_ROUTER_HOPS;
    bytes_put_be16(icmp + RA_LIFETIME, r->lifetime_s);
    size += put_mac(icmp + size, SOURCE_MAC, r->mac);
    if (r->mtu) {
        icmp[size] = MTU;
        icmp[size + 1] = 1;
        bytes_put_be16(icmp + size + 2, 0);
        bytes_put_be32(icmp + size + 4, r->mtu);
        size += 8;
    }
    for (unsigned i = 0; i < r->n_prefixes; i++)
        size += put_prefix(icmp + size, &r->prefixes[i]);
    return finish(to, &r->src, &r->dst, size);
}
