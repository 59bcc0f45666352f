/* ICMPv6 (RFC 4443) and ICMPv4 (RFC 792, 1122, 1812): errors about a packet, echo replies, and what an error about a tunnel's
 * packet says about the packet inside (RFC 2473 section 8). Bytes to bytes; nothing is allocated. */
#ifndef MERIDIAN_WIRE_ICMP_H
#define MERIDIAN_WIRE_ICMP_H

#include "wire/ip.h"

#define ICMP6_ERROR_MOST 1280u /* bytes of the IPv6 packet that carries an error (RFC 4443 section 2.4 c) */
#define ICMP4_ERROR_MOST 576u  /* RFC 1812 section 4.3.2.3 */
#define ICMP_HOPS        64u
#define ICMP_TRAFFIC     0xc0u /* CS6, as network control (RFC 1812 section 4.3.2.5) */

enum icmp6_type {
    ICMP6_UNREACHABLE = 1,
    ICMP6_TOO_BIG = 2,
    ICMP6_TIME_EXCEEDED = 3,
    ICMP6_PARAMETER = 4,
    ICMP6_INFORMATIONAL = 128, /* this and above: no errors */
    ICMP6_ECHO_REQUEST = 128,
    ICMP6_ECHO_REPLY = 129,
    ICMP6_ROUTER_SOLICIT = 133,
    ICMP6_ROUTER_ADVERT = 134,
    ICMP6_NEIGHBOUR_SOLICIT = 135,
    ICMP6_NEIGHBOUR_ADVERT = 136,
    ICMP6_REDIRECT = 137,
};

enum icmp4_type {
    ICMP4_ECHO_REPLY = 0,
    ICMP4_UNREACHABLE = 3,
    ICMP4_QUENCH = 4,
    ICMP4_REDIRECT = 5,
    ICMP4_ECHO_REQUEST = 8,
    ICMP4_TIME_EXCEEDED = 11,
    ICMP4_PARAMETER = 12,
};

enum {
    ICMP_TYPE = 0,
    ICMP_CODE = 1,
    ICMP_SUM = 2,
    ICMP_VALUE = 4,
    ICMP_HEADER = 8
}; /* offsets, and the header's size */

/* What went wrong, for both families. */
enum icmp_error_kind {
    ICMP_NO_ROUTE,
    ICMP_PROHIBITED, /* by policy */
    ICMP_NO_HOST,    /* no neighbour answers */
    ICMP_NO_PORT,
    ICMP_TOO_BIG, /* value: the MTU */
    ICMP_HOP_LIMIT,
    ICMP_BAD_FIELD,  /* value: offset in the packet */
    ICMP_BAD_NEXT,   /* unknown next header or protocol; value: offset */
    ICMP_BAD_OPTION, /* IPv6: option of type 10 or 11; value: offset */
    ICMP_BAD_UPPER,  /* what an SRv6 endpoint does not serve (RFC 8986 section 9.1); value: offset */
    ICMP_ERROR_KINDS,
};

/* The error about `packet` (its IP header and what follows, of which `len` bytes are there), sent by `from` (of the same
 * family) to the packet's source: a whole IP packet. As much of the packet as fits is in it. Returns its bytes, at most
 * `room`; 0: it must not be sent (RFC 4443 section 2.4 e, RFC 1812 section 4.3.2.7: about an error or redirect, an IPv4 fragment
 * that is not the first, a multicast or unspecified address, or what cannot be told), or there is no room. */
size_t icmp_error_write(uint8_t *to, size_t room, enum icmp_error_kind kind, uint32_t value, const uint8_t *packet,
    size_t len, const struct ip_addr *from);

/* Turns an echo request, of which at least `len` bytes are there, into its reply in place: addresses change places, checksums
 * are updated, so that a wrong one stays wrong. False, nothing changed: it is no whole echo request to a unicast address. */
bool icmp_echo_reply(uint8_t *packet, size_t len);

/* What an ICMPv6 error that was sent to us says about one of our encapsulations. */
struct icmp_quoted {
    uint8_t type, code;
    uint32_t value;       /* MTU, pointer */
    struct ip6 dst;       /* of the outer packet when the error was made */
    struct ip6 last;      /* the last segment: of its SRH, else dst */
    uint32_t outer_at;    /* offsets from the error's own IPv6 header; where the quoted outer packet starts */
    uint32_t inner_at;    /* where the packet inside starts */
    uint8_t inner_family; /* IP_V4, IP_V6 */
};
/* packet: the error from its IPv6 header on, `len` bytes there. 0; -EPROTO: no well-formed ICMPv6 error (its checksum
 * included); -ENOENT: it quotes no packet of ours with an IP packet inside in clear (ESP, or cut too short). */
int icmp_quoted_parse(struct icmp_quoted *ret, const uint8_t *packet, size_t len);

#endif
