/* The edge towards hosts: what keeps a host from sending more than its lane takes (router.md 7; L1: precise per tenant).
 *
 * A lane's ingress queue marks ECN first; if the host goes on, it is told by PFC to stop; what then still comes fits into
 * the headroom below drop_cells; a host that obeys neither is policed, counted apart, before the lane.
 *
 * A host has eight priorities. Lanes that share one share its PFC fate, so two tenants behind one port must not:
 * access_priorities_check refuses such maps. */
#ifndef MERIDIAN_LANE_ACCESS_H
#define MERIDIAN_LANE_ACCESS_H

#include "base/error.h"
#include "lane/port.h"

/* Marks Congestion Experienced in the IP header at packet_meta.l3 where its sender spoke ECN (RFC 3168; ECT(1) as well).
 * True: it carries the mark now. IPv4's checksum follows (RFC 1624). */
bool access_mark_ce(struct rte_mbuf *m);

/* Bytes that may still come after a pause was decided: what is on the wire both ways and one packet at each end that has
 * begun (rate x RTT + 2 MTU). rtt_ns holds cable and the reaction of both ends. */
uint64_t access_headroom_bytes(uint64_t rate_bps, int64_t rtt_ns, uint32_t mtu);
/* In cells, if all of it came in frames of `frame` bytes (>= 60): small packets take a cell each too. */
uint32_t access_headroom_cells(uint64_t rate_bps, int64_t rtt_ns, uint32_t mtu, uint32_t frame);

/* Limits that make sense: ECN before PFC before the drop, resume below pause, and headroom for full packets. 0; -EINVAL
 * with a sentence. All zero is fine: no limits. */
int access_limits_check(
    const struct queue_limits *l, uint64_t rate_bps, int64_t rtt_ns, uint32_t mtu, struct error *err);

/* One line of a port's map: packets of this tenant and class are paused by this priority. */
struct access_priority {
    uint16_t port;
    uint8_t priority;
    uint8_t class_;
    uint32_t tenant;
};
/* Refuses a map in which two tenants share a priority on which their port speaks PFC: stopping one would stop the other.
 * `spoken`: port_config.pfc_priorities of each port. 0; -EINVAL with a sentence that names both. */
int access_priorities_check(
    const struct access_priority *map, unsigned n, const uint8_t spoken[PORT_MOST], struct error *err);

#endif
