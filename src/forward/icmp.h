/* When this router answers a packet with an ICMP error, and the packet that does (RFC 4443, 1812; wire/icmp.h has the formats).
 *
 * Which address speaks: about a host's packet, our gateway address of the sub-interface where it came in; about a
 * packet on a core link, our loopback, and the error goes to the packet's source, the PE that made the encapsulation. That PE
 * knows what was inside (icmp_quoted_parse). Packets that are too big are answered at the ingress before they are
 * encapsulated, so errors from inside the core are the exception.
 *
 * Rate-limited (RFC 4443 section 2.4 f) by a token bucket on `now`; what the limit holds back is counted. */
#ifndef MERIDIAN_FORWARD_ICMP_H
#define MERIDIAN_FORWARD_ICMP_H

#include "lane/packet.h"
#include "wire/icmp.h"

struct icmp_limit {
    int64_t interval_ns; /* between errors in the long run */
    int64_t burst_ns;    /* how much may be sent at once: burst × interval */
    int64_t free_ns;     /* the bucket is full again then */
    uint64_t sent, held; /* errors; those that the limit held back */
};

/* rate: errors a second, burst: at once; 0: 1000 and 100. */
void icmp_limit_init(struct icmp_limit *l, uint32_t rate, uint32_t burst);
bool icmp_limit_pass(struct icmp_limit *l, int64_t now);

struct icmp_ops {
    void *user;
    struct rte_mbuf *(*alloc)(void *user); /* as in struct forward_ops */
    void (*free)(void *user, struct rte_mbuf *m);
};

/* The error about m, whose IP header is at offset l3 of the frame (0: there is no frame around it). m stays the caller's.
 * An IP packet without Ethernet header, its meta zero but arrived_ns; NULL: none may be sent, or the limit or
 * memory forbids. from: of the packet's family, else NULL is returned. */
struct rte_mbuf *icmp_error(struct icmp_limit *l, const struct icmp_ops *ops, enum icmp_error_kind kind, uint32_t value,
    struct rte_mbuf *m, unsigned l3, const struct ip_addr *from, int64_t now);

#endif
