/* Frames of hosts: which sub-interface, which class, and into its VRF. */
#ifndef MERIDIAN_FORWARD_ACCESS_H
#define MERIDIAN_FORWARD_ACCESS_H

#include "forward/forward_inner.h"

/* n frames of an access port; takes ownership. Returns their bytes. */
uint64_t access_receive(struct forward *, struct forward_port *, struct rte_mbuf *const *pkts, unsigned n, int64_t now);

/* The sub-interface of this VLAN (0: untagged), or NULL. */
static inline struct access *access_find(const struct forward *f, uint16_t port, uint16_t vlan)
{
    const struct forward_port *p = port < LANE_PORTS_MOST ? &f->ports[port] : NULL;
    uint16_t at = p && p->access_of && vlan < VLANS ? p->access_of[vlan] : 0;
    return at ? &f->access[at - 1] : NULL;
}

#endif
