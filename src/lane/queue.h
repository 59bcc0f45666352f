/* A queue: what the scheduler of a port serves. One per lane and link; at access ports one per arriving lane; and per
 * port and class one lossy queue for packets without a lane.
 *
 * A FIFO of mbufs linked through their packet_meta. A queue belongs to one port for its whole life. It is in one of the
 * states below; only ACTIVE ones cost the scheduler anything, so a thousand stalled lanes cost nothing. */
#ifndef MERIDIAN_LANE_QUEUE_H
#define MERIDIAN_LANE_QUEUE_H

#include "lane/packet.h"

#include <stdbool.h>
#include <stdint.h>

struct port;
struct lane_tx;

/* Strict order between classes for what exceeds the guarantees (router.md). */
enum lane_class { LANE_CONTROL, LANE_INFERENCE, LANE_PARAMETER, LANE_BULK, LANE_CLASSES };

enum queue_state {
    QUEUE_IDLE,    /* empty */
    QUEUE_ACTIVE,  /* in the scheduler's lists */
    QUEUE_BLOCKED, /* has packets, no credit: lane_tx wakes it when a CREDIT comes */
    QUEUE_PAUSED,  /* has packets, PFC from the host (access) or from the peer (comparison mode) holds its priority */
    QUEUE_HELD,    /* has packets, a move holds it (lane/move.h) or its lane is not open yet */
};

/* A token bucket in bytes; rate 0: guarantee none / cap unlimited. Filled lazily from `now`. */
struct queue_bucket {
    uint64_t rate_bps; /* bits a second */
    int64_t burst;     /* bytes */
    int64_t level;     /* bytes; may go negative by one packet */
    int64_t filled_ns;
};

/* What an ingress queue does with a host that sends more than the lane takes (router.md 7). 0: never. */
struct queue_limits {
    uint32_t ecn_cells;      /* above: mark CE where ECT */
    uint32_t pfc_xoff_cells; /* above: PFC pause for the host's priority */
    uint32_t pfc_xon_cells;  /* below: resume */
    uint32_t drop_cells;     /* above: policed, LOSS_POLICED (or LOSS_TAIL for lossy queues) */
};

struct queue {
    struct rte_mbuf *head, *tail;
    uint32_t packets, cells;
    uint64_t bytes;
    uint32_t peak_cells;
    enum queue_state state;
    uint8_t class_;
    uint8_t pfc_priority; /* at access ports: the priority that pauses it */
    struct port *port;
    struct lane_tx *lane;     /* whose credit gates it; NULL: ungated */
    struct queue *next;       /* in the scheduler's list of its class and tier */
    int32_t quantum, deficit; /* bytes (deficit round robin) */
    struct queue_bucket guarantee, cap;
    struct queue_limits limits;
    uint64_t sent_packets, sent_bytes, dropped_packets, marked_packets;
    uint32_t tenant;
    uint32_t ingress_port_plus_1; /* whose host is paused by it; 0: none */
    bool ingress;                 /* packets come from a host here: limits apply */
    bool xoff;                    /* PFC pause is asserted because of this queue */
};

#endif
