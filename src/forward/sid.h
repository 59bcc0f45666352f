/* SRv6 endpoint behaviours (RFC 8986) and their NEXT-C-SID flavours (RFC 9800). sid_run is in core.h. */
#ifndef MERIDIAN_FORWARD_SID_H
#define MERIDIAN_FORWARD_SID_H

#include "forward/core.h"

/* struct lane_above: where SID number `at` of a path leads from here. */
int sid_resolve(struct forward *, const struct ip6 *sids, unsigned n, unsigned at, struct lane_hop *ret);

/* End.DT*: takes the outer headers off and sends the inner packet through the SID's VRF (decap.c). Takes ownership. */
void decap_run(struct forward *, struct walk *, const struct hop *);
/* What was inside, its data at the IP header. rx: of the lane that it came in; NULL: none. Takes ownership. */
void decap_inner(struct forward *, struct rte_mbuf *, struct vrf *, struct lane_rx *rx, uint8_t proto,
    unsigned outer_ecn, int64_t now);

#endif
