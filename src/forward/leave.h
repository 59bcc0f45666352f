/* The last steps of a packet: out over a core link, or dropped. */
#ifndef MERIDIAN_FORWARD_LEAVE_H
#define MERIDIAN_FORWARD_LEAVE_H

#include "forward/forward_inner.h"

/* The Ethernet header of an IPv6 packet on the core link of p, at the frame's start. */
static inline void ether_put(struct rte_mbuf *m, const struct port *p)
{
    uint8_t *e = packet_at(m, 0);
    memcpy(e + ETHER_DST, p->peer_mac, 6);
    memcpy(e + ETHER_SRC, p->config.mac, 6);
    bytes_put_be16(e + ETHER_TYPE, ETHER_IP6);
}

/* Takes ownership. `q` is a queue of core port p. */
static inline void leave_core(struct port *p, struct queue *q, struct rte_mbuf *m, int64_t now)
{
    ether_put(m, p);
    port_enqueue(p, q, m, now);
}

/* Comparison runs with pauses between routers: the packet joins its ingress port's share of the buffer, whichever port it
 * leaves by, hosts' ports on either side included. False: that was full, and the packet is gone (recorded). */
static inline bool leave_admitted(struct forward *f, struct rte_mbuf *m, int64_t now)
{
    uint16_t in = packet_meta(m)->in_port;
    return forward_likely(f->config.lanes.mode != LANE_MODE_PFC) || in >= LANE_PORTS_MOST || !f->ports[in].port ||
           port_account_arrival(f->ports[in].port, m, now) == 0;
}

/* Dropped and recorded; its cells go back. `port`: where it would have left, or came in; LANE_PORTS_MOST: nowhere. */
void leave_dropped(struct forward *, struct rte_mbuf *, uint16_t port, enum loss_reason, int64_t now);

/* Shortens the packet, whose data may be chained, virtual or whole, to `size` bytes. */
void leave_out_tail(struct forward *, struct rte_mbuf *, uint32_t size);

static inline void packet_pull(struct rte_mbuf *m, uint32_t n)
{
    m->data_off = (uint16_t)(m->data_off + n);
    m->data_len = (uint16_t)(m->data_len - n);
    m->pkt_len -= n;
}

#endif
