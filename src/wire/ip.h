/* IP on the wire: addresses, fixed offsets and numbers that everything above shares (RFC 791, 8200, 4443, 8754, 8986).
 * Headers are read and written with the _be forms of base/bytes.h at these offsets; nothing is cast onto packet memory. */
#ifndef MERIDIAN_WIRE_IP_H
#define MERIDIAN_WIRE_IP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct ip4 {
    uint8_t b[4];
};

struct ip6 {
    uint8_t b[16];
};

/* An address of either family; of a v4 address the first four bytes are used, the rest is zero. */
struct ip_addr {
    uint8_t family; /* IP_V4, IP_V6 */
    struct ip6 a;
};

struct ip_prefix {
    uint8_t family, len; /* len: bits; host bits are zero */
    struct ip6 a;
};

enum { IP_V4 = 4, IP_V6 = 6 };

enum { ETHER_SIZE = 14, VLAN_SIZE = 4, IP4_SIZE = 20, IP6_SIZE = 40, UDP_SIZE = 8, ICMP6_SIZE = 8 };

enum ether_type {
    ETHER_IP4 = 0x0800,
    ETHER_ARP = 0x0806,
    ETHER_VLAN = 0x8100,
    ETHER_IP6 = 0x86dd,
    ETHER_MAC_CONTROL = 0x8808, /* IEEE 802.1Qbb PFC */
    ETHER_LANE = 0x88b5,        /* IEEE 802 local experimental 1: lane control frames between two of our routers */
};

enum ip_proto {
    IP_PROTO_HOPOPT = 0,
    IP_PROTO_ICMP = 1,
    IP_PROTO_IPIP = 4,
    IP_PROTO_TCP = 6,
    IP_PROTO_UDP = 17,
    IP_PROTO_IPV6 = 41,
    IP_PROTO_ROUTING = 43,
    IP_PROTO_FRAGMENT = 44,
    IP_PROTO_ESP = 50,
    IP_PROTO_ICMP6 = 58,
    IP_PROTO_NONE = 59,
    IP_PROTO_DSTOPTS = 60,
    IP_PROTO_LANE_MARKER = 253, /* RFC 3692 experimental: the end-marker of a moved lane (lane/move.h) */
};

/* Byte offsets in the IPv6 header. */
enum { IP6_FLOW = 0, IP6_LEN = 4, IP6_NEXT = 6, IP6_HOPS = 7, IP6_SRC = 8, IP6_DST = 24 };
/* Byte offsets in the IPv4 header. */
enum { IP4_TOS = 1, IP4_LEN = 2, IP4_FRAG = 6, IP4_TTL = 8, IP4_PROTO = 9, IP4_SUM = 10, IP4_SRC = 12, IP4_DST = 16 };
/* Byte offsets in the Ethernet header. */
enum { ETHER_DST = 0, ETHER_SRC = 6, ETHER_TYPE = 12 };

static inline bool ip6_equal(const struct ip6 *a, const struct ip6 *b)
{
    return memcmp(a->b, b->b, 16) == 0;
}

#endif
