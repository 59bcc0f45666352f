/* A packet inside a router: a `struct rte_mbuf` and what we note beside it in the mbuf's private area.
 *
 * The private area (PACKET_META_SIZE bytes, set by whoever makes the pool) follows the mbuf. Only the layout of rte_mbuf
 * and its inline accessors are used below the shell, so that the simulator can hand in mbufs of its own: there the first
 * segment holds headers and the first bytes of the payload only, data_len < pkt_len with nb_segs 1 (a *virtual length*).
 * So: lengths come from pkt_len, bytes are touched within data_len. */
#ifndef MERIDIAN_LANE_PACKET_H
#define MERIDIAN_LANE_PACKET_H

#include "base/clock.h"

/* DPDK has a NS_PER_S too, an int, whose products overflow. It comes in here and is forgotten here: whoever includes DPDK's
 * headers includes this one first. */
#pragma push_macro("NS_PER_S")
#undef NS_PER_S
#include <rte_mbuf.h>
#pragma pop_macro("NS_PER_S")
_Static_assert(_Generic(NS_PER_S, long long: 1, default: 0), "NS_PER_S is base/clock.h's");

#include <stdint.h>

#define PACKET_META_SIZE 96
#define PACKET_CELL      2048u /* bytes of a cell: the unit of every window (router.md, Lanes) */
#define PACKET_HEADROOM  256   /* room in front of a received frame: enough for every encapsulation we make */

struct lane_rx;

struct packet_meta {
    struct rte_mbuf *next; /* the packet behind this one in its queue */
    struct lane_rx *from;  /* whose cells it occupies until transmitted; NULL: none (it came from a host, or from us) */
    int64_t arrived_ns;    /* when it was received here */
    uint64_t flow;         /* telemetry/flow.h: hash of the inner 5-tuple; on transit routers FlowMonID, then label */
    uint32_t cells;        /* ceil(pkt_len / PACKET_CELL) as received: what `from` gets back */
    uint32_t tenant;       /* slice id, 0: none */
    uint16_t in_port;
    uint16_t lane_option; /* offset of the lane option's 8 data bytes from the frame's start; 0: none */
    uint16_t l3;          /* offset of the outer IP header from the frame's start */
    uint8_t class_;       /* enum lane_class */
    uint8_t pfc_priority; /* at access ports: the 802.1p priority that its host sent it with */
    uint8_t accounted;    /* LANE_MODE_PFC: it occupies in_port's buffer share of pfc_priority (port_account_arrival) */
    /* Of a 1+1 stream that ends here (forward/stream.h): number of the stream + 1, 0: none; and where to go on with a packet
     * that was held: offsets from the outer header, what is there, and the hop that its SID leads to. */
    uint8_t stream_proto;
    uint16_t stream, stream_at, stream_next_at;
    uint32_t stream_hop;
};
_Static_assert(sizeof(struct packet_meta) <= PACKET_META_SIZE, "the private area holds it");

static inline struct packet_meta *packet_meta(struct rte_mbuf *m)
{
    return (struct packet_meta *)(void *)(m + 1);
}

static inline uint8_t *packet_at(struct rte_mbuf *m, unsigned offset)
{
    return rte_pktmbuf_mtod_offset(m, uint8_t *, offset);
}

static inline uint32_t packet_cells(uint32_t len)
{
    return (len + PACKET_CELL - 1) / PACKET_CELL;
}

#endif
