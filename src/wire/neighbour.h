/* Who has which address on a link: ARP for IPv4 over Ethernet (RFC 826, 5227), neighbour and router discovery for IPv6
 * (RFC 4861). Codecs only; the neighbour table is forward/neighbour.h. Nothing is allocated. */
#ifndef MERIDIAN_WIRE_NEIGHBOUR_H
#define MERIDIAN_WIRE_NEIGHBOUR_H

#include "wire/icmp.h"
#include "wire/ip.h"

#define ARP_SIZE        28u
#define ND_SIZE_MOST    72u /* of an IPv6 packet that nd_encode writes */
#define ND_PREFIXES     4u
#define ND_ROUTER_MOST  (IP6_SIZE + 16u + 8u + 8u + 32u * ND_PREFIXES)
#define ND_HOPS         255u /* in every discovery packet: proof that no router was between */
#define ND_ROUTER_HOPS  64u  /* the hop limit that hosts are told to use */
#define ND_VALID_S      2592000u
#define ND_PREFERRED_S  604800u
#define ND_PREFIX_SLAAC 64u /* only prefixes of this length let hosts make addresses (RFC 4862 section 5.5.3) */

enum arp_op { ARP_REQUEST = 1, ARP_REPLY = 2 };

struct arp {
    uint16_t op; /* enum arp_op */
    uint8_t sender_mac[6], target_mac[6];
    struct ip4 sender, target;
};

/* 0; -EPROTO: no ARP for IPv4 over Ethernet, another operation, or a sender without unicast MAC. */
int arp_parse(struct arp *ret, const uint8_t *p, size_t len);
void arp_encode(uint8_t to[ARP_SIZE], const struct arp *a);

enum nd_flags { ND_ROUTER = 0x80, ND_SOLICITED = 0x40, ND_OVERRIDE = 0x20 };

/* A neighbour solicitation, neighbour advertisement or router solicitation. */
struct nd {
    uint8_t type;  /* enum icmp6_type */
    uint8_t flags; /* enum nd_flags, of an advertisement */
    bool has_mac;  /* there is a link-layer address option of the right kind */
    uint8_t mac[6];
    struct ip6 src, dst, target; /* target: not of a router solicitation */
};

/* packet: from its IPv6 header on, `len` bytes there. 0; -ENOENT: none of the three kinds, directly in IPv6; -EPROTO: one of
 * them that is to be discarded silently (RFC 4861 sections 6.1.1, 7.1.1, 7.1.2). */
int nd_parse(struct nd *ret, const uint8_t *packet, size_t len);
/* Writes the whole IPv6 packet; returns its bytes. */
size_t nd_encode(uint8_t to[ND_SIZE_MOST], const struct nd *n);

/* A router advertisement: M and O off; each prefix on-link (L), and autonomous (A) if it is a /64. */
struct nd_router {
    struct ip6 src, dst;
    uint8_t mac[6];
    uint16_t lifetime_s; /* 0: no default router any more */
    uint32_t mtu;        /* 0: no such option */
    unsigned n_prefixes;
    struct ip_prefix prefixes[ND_PREFIXES]; /* IPv6, no bits behind the length */
};
size_t nd_router_encode(uint8_t to[ND_ROUTER_MOST], const struct nd_router *r);

void nd_solicited_node(struct ip6 *ret, const struct ip6 *a); /* ff02::1:ffxx:xxxx */
void nd_multicast_mac(uint8_t ret[6], const struct ip6 *dst); /* 33:33:… (RFC 2464 section 7) */
void nd_link_local(struct ip6 *ret, const uint8_t mac[6]);    /* fe80:: with the modified EUI-64 (RFC 4291) */
extern const struct ip6 nd_all_nodes;                         /* ff02::1 */

static inline bool nd_is_link_local(const struct ip6 *a)
{
    return a->b[0] == 0xfe && (a->b[1] & 0xc0) == 0x80;
}

static inline bool mac_is_unicast(const uint8_t mac[6])
{
    static const uint8_t zero[6];
    return !(mac[0] & 1) && memcmp(mac, zero, 6) != 0;
}

#endif
