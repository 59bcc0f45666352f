/* A packet on its way through a VRF: of a host, out of a tunnel, or our own. Its data begins at the IP header. */
#ifndef MERIDIAN_FORWARD_INNER_H
#define MERIDIAN_FORWARD_INNER_H

#include "forward/forward_inner.h"

enum inner_origin { INNER_ACCESS, INNER_CORE, INNER_OURS };

struct inner {
    struct rte_mbuf *m;
    struct packet_meta *meta;
    struct vrf *vrf;
    uint8_t *ip;
    uint32_t size;           /* of the IP packet: m's length */
    uint64_t src[2], dst[2]; /* addresses as they lie in memory, an IPv4 one in the first half of the first word */
    uint16_t port;           /* where it came in; LANE_PORTS_MOST: nowhere */
    uint16_t vlan;
    uint8_t family;
    uint8_t origin; /* enum inner_origin */
    struct lane_rx *rx;
    int64_t now;
};

/* Sets ip, size and flow; cuts off what is behind the packet. LOSS_NONE, or why it cannot be forwarded: broken, or between
 * addresses that no router forwards (RFC 1812 section 5.3.7, RFC 4291). */
enum loss_reason inner_parse(struct forward *, struct inner *, uint8_t family);

static inline unsigned inner_traffic_class(const struct inner *p)
{
    return p->family == IP_V4 ? p->ip[IP4_TOS] : bytes_get_be16(p->ip) >> 4 & 0xff;
}

static inline uint8_t *inner_ttl(const struct inner *p)
{
    return p->ip + (p->family == IP_V4 ? IP4_TTL : IP6_HOPS);
}

/* Looks it up and sends it on. Takes ownership. */
void inner_route(struct forward *, struct inner *);

void inner_drop(struct forward *, const struct inner *, enum loss_reason, uint16_t port);

#endif
