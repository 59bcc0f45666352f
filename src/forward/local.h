/* What is for this router, what is from it, and its way to the hosts beside it. */
#ifndef MERIDIAN_FORWARD_LOCAL_H
#define MERIDIAN_FORWARD_LOCAL_H

#include "forward/inner.h"

/* To the shell (BGP, ping of a loopback…), from the IP header at offset l3 on. Its cells go back. Takes ownership. */
void local_punt(struct forward *, struct vrf *, struct rte_mbuf *, uint32_t l3, int64_t now);
/* An IP packet of our own: data begins at the IP header. Takes ownership. */
void local_send(struct forward *, struct vrf *, struct rte_mbuf *, int64_t now);
/* To the host, or the customer's router, that the hop says, as soon as its MAC is known. Takes ownership. */
void local_deliver(struct forward *, struct inner *, const struct hop *);
/* The neighbour table's callbacks; their user is the forwarding core. */
void local_neighbour_ops(struct neighbour_ops *ret, struct forward *);

#endif
