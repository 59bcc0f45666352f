/* MTU planning: what an encapsulation costs, which host packet fits a link, which link a host packet needs. All sizes are
 * bytes of IP packets (an Ethernet header or VLAN tag is not in an MTU). */
#ifndef MERIDIAN_FORWARD_MTU_H
#define MERIDIAN_FORWARD_MTU_H

#include <stdbool.h>
#include <stdint.h>

#define MTU_LEAST_IP6 1280u
#define MTU_LEAST_IP4 576u

struct mtu_encap {
    uint8_t options;   /* enum hbh_has: hop-by-hop options; 0: no such header */
    uint8_t addresses; /* of the path: destination address first, the rest in a reduced SRH (H.Encaps.Red) */
    bool esp;          /* ESP with AES-GCM (RFC 4303, 4106): 8 header, 8 IV, padding to 4, 16 ICV */
};

/* Bytes before the inner packet. */
uint32_t mtu_overhead(const struct mtu_encap *e);
/* Bytes on the link for an inner packet of this size, ESP's trailer included. */
uint32_t mtu_outer(const struct mtu_encap *e, uint32_t inner);
/* The largest inner packet whose outer one is at most link_mtu; 0: none fits. mtu_outer(mtu_inner(m)) <= m. */
uint32_t mtu_inner(const struct mtu_encap *e, uint32_t link_mtu);

/* The largest inner packet that takes at most `room` bytes with ESP around it; 0: none fits. */
uint32_t mtu_sealed(uint32_t room);

/* Hosts with IPv6 cannot live below this (RFC 8200 section 5). */
static inline bool mtu_usable(uint32_t inner)
{
    return inner >= MTU_LEAST_IP6;
}

#endif
