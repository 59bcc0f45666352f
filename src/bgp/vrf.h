/* Tables of VRFs and what passes between them, the VPN and customers' routers (RFC 4364 7): a BGP_PEER_CUSTOMER's IPv4 and IPv6
 * routes live in the table of its VRF, beside those that the VRF imports from the VPN and those that start here.
 *
 *   customer → table → best is a customer's: sink (customer_route), and out into the VPN as RT-5, with its AS_PATH and site
 *   VPN (RT-5, VPNv4, VPNv6 with one of our targets) → table → customers, our AS in front
 *
 * Nothing is told inside a change: exports and imports read the tables in their order of versions, as peers do. */
#ifndef MERIDIAN_BGP_VRF_H
#define MERIDIAN_BGP_VRF_H

#include "bgp/speaker.h"

#define BGP_VRF_TARGETS_MOST 32u

struct bgp_vrf_config {
    uint32_t vrf; /* > 0 */
    uint8_t rd[8];
    uint8_t imports[BGP_VRF_TARGETS_MOST][8]; /* route targets whose VPN routes are imported */
    uint8_t n_imports;
    /* What customers' routes carry into the VPN, raw as for bgp_originate: their route targets and the VRF's service SID. Copied.
     * len 0: nothing is exported. */
    const uint8_t *attributes;
    size_t len;
};

/* Makes the VRF's table, or changes what the VRF imports and exports; routes follow. -EINVAL, -ENOMEM with a sentence. */
int bgp_vrf_set(struct bgp_speaker *s, const struct bgp_vrf_config *c, int64_t now, struct error *err);
/* -ENOENT; -EBUSY: a customer's peer is still in it. */
int bgp_vrf_remove(struct bgp_speaker *s, uint32_t vrf, int64_t now);

/* A route of the VRF that starts here (a connected subnet, a static route): told to customers, not exported. */
int bgp_vrf_announce(struct bgp_speaker *s, uint32_t vrf, const struct ip_prefix *p, int64_t now, struct error *err);
int bgp_vrf_withdraw(struct bgp_speaker *s, uint32_t vrf, const struct ip_prefix *p, int64_t now);

/* BGP_IPV4_UNICAST, BGP_IPV6_UNICAST. NULL: no such VRF. */
struct bgp_rib *bgp_vrf_rib(const struct bgp_speaker *s, uint32_t vrf, uint32_t family);
/* The VRFs there are, in no order that means anything: the i-th; 0: no more. */
uint32_t bgp_vrf_at(const struct bgp_speaker *s, unsigned i);

#endif
