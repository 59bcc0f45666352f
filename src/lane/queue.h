/* A queue: what the scheduler of a port serves. One per lane and link; at access ports one per arriving lane; and per
 * port and class one lossy queue for packets without a lane.
 *
 * A FIFO of mbufs linked through their packet_meta. A queue belongs to one port for its whole life. It is in one of the
 * states below; only ACTIVE ones cost the scheduler anything, so a thousand stalled lanes cost nothing.
 *
 * Rates count what a packet takes on an Ethernet wire: its frame (at least 60 bytes) and QUEUE_WIRE_EXTRA. */
#ifndef MERIDIAN_LANE_QUEUE_H
#define MERIDIAN_LANE_QUEUE_H

#include "lane/packet.h"
#include "lane/wheel.h"

#include <stdbool.h>
#include <stdint.h>

struct port;
struct lane_tx;

enum { QUEUE_WIRE_EXTRA = 24, QUEUE_WIRE_LEAST = 60 }; /* preamble 8, FCS 4, gap 12; the shortest frame without FCS */

static inline uint32_t queue_wire_bytes(uint32_t frame)
{
    return (frame < QUEUE_WIRE_LEAST ? QUEUE_WIRE_LEAST : frame) + QUEUE_WIRE_EXTRA;
}

/* Strict order between classes for what exceeds the guarantees (router.md). */
enum lane_class { LANE_CONTROL, LANE_INFERENCE, LANE_PARAMETER, LANE_BULK, LANE_CLASSES };

enum queue_state {
    QUEUE_IDLE,    /* empty */
    QUEUE_ACTIVE,  /* in the scheduler's rings */
    QUEUE_BLOCKED, /* has packets, no credit: lane_tx wakes it when a CREDIT comes */
    QUEUE_PAUSED,  /* has packets, PFC from the host (access) or from the peer (comparison mode) holds its priority */
    QUEUE_HELD,    /* a move holds it (lane/move.h) or its lane is not open yet; it may be empty */
    QUEUE_CAPPED,  /* has packets, its cap is used up: the port's wheel wakes it */
};

/* A token bucket told as time: there are tokens from ready_ns on, and what was saved up is how far that lies behind now.
 * Sending moves it forward by the packet's time at the bucket's rate. So nothing is ever filled, and the moment when the
 * next packet may go is known exactly. */
struct queue_bucket {
    uint64_t rate_bps;    /* wire bits a second; 0: guarantee none / cap unlimited */
    uint64_t ns_per_byte; /* 32.32 fixed point */
    int64_t burst_ns;     /* most time that may be saved up */
    int64_t ready_ns;
    uint32_t ready_frac;      /* of a nanosecond, 0.32 */
    struct wheel_timer timer; /* in one of the port's wheels: rings at ready_ns */
};

/* What an ingress queue does with a host that sends more than the lane takes (router.md 7). 0: never. */
struct queue_limits {
    uint32_t ecn_cells;      /* above: mark CE where ECT */
    uint32_t pfc_xoff_cells; /* above: PFC pause for the host's priority */
    uint32_t pfc_xon_cells;  /* at or below: resume */
    uint32_t drop_cells;     /* above: policed, LOSS_POLICED (or LOSS_TAIL for lossy queues) */
};

/* A host's priority that is stopped because of a queue. */
struct queue_feeder {
    uint8_t port, priority;
};
enum { QUEUE_FEEDERS = 4 }; /* stopped at a time because of one queue; further ones meet drop_cells only */

/* Its place in a ring: circular, both ways, so that it leaves in constant time. next NULL: in none. */
struct queue_link {
    struct queue *next, *prev;
};

struct queue {
    struct rte_mbuf *head, *tail;
    uint32_t packets, cells; /* cells as packet_meta.cells has them */
    uint64_t bytes;
    uint8_t state; /* enum queue_state */
    uint8_t class_;
    uint8_t pfc_priority; /* the priority whose pause stops it */
    bool ingress;         /* packets come from a host here: its limits are the host's */
    uint32_t peak_cells;
    struct port *port;
    struct lane_tx *lane; /* whose credit gates it; NULL: ungated */
    /* In the ring of its class of what exceeds guarantees while ACTIVE (or in the list of its priority while PAUSED), and
     * besides in the ring of what is guaranteed while its bucket has tokens: so it gets both. */
    struct queue_link excess, within;
    int32_t quantum, deficit_excess, deficit_within; /* bytes */
    struct queue_bucket guarantee, cap;
    struct queue_limits limits;
    uint64_t sent_packets, sent_bytes, dropped_packets, marked_packets;
    uint32_t tenant;
    uint8_t feeders; /* > 0: PFC pause is asserted because of this queue */
    struct queue_feeder feeder[QUEUE_FEEDERS];
};

/* There are tokens now. */
static inline bool queue_bucket_ready(const struct queue_bucket *b, int64_t now)
{
    return b->ready_ns <= now;
}

/* Forgets what was saved up beyond the burst. */
static inline void queue_bucket_clamp(struct queue_bucket *b, int64_t now)
{
    if (b->ready_ns < now - b->burst_ns)
        b->ready_ns = now - b->burst_ns;
}

static inline void queue_bucket_charge(struct queue_bucket *b, uint32_t bytes)
{
    unsigned __int128 t = (unsigned __int128)b->ns_per_byte * bytes + b->ready_frac;
    b->ready_ns += (int64_t)(t >> 32);
    b->ready_frac = (uint32_t)t;
}

/* 32.32 fixed point, rounded up so that nothing runs ahead of its rate; rate_bps > 0. */
static inline uint64_t queue_ns_per_byte(uint64_t rate_bps)
{
    return (uint64_t)((((unsigned __int128)8000000000u << 32) + rate_bps - 1) / rate_bps);
}

#endif
