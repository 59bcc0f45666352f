/* A port of a router as the lane layer sees it: what waits to be sent, in what order, and how fast.
 *
 * Core ports join two of our routers: lanes, credits, HELLO (struct lane_link). Access ports join hosts: per-VLAN
 * sub-interfaces are forward's business; here they have priorities, PFC and one queue per arriving lane. */
#ifndef MERIDIAN_LANE_PORT_H
#define MERIDIAN_LANE_PORT_H

#include "lane/queue.h"

#include <stdbool.h>
#include <stdint.h>

#define PORT_MOST 64 /* of a router: a bit of 64 for each */

struct lane_node;
struct lane_link;
struct lane_above;
struct loss_log;

enum port_kind { PORT_CORE, PORT_ACCESS };

struct port_config {
    enum port_kind kind;
    uint64_t rate_bps; /* the scheduler shapes to it; 0: as fast as the shell takes packets */
    uint32_t mtu;      /* bytes of IP packet on this link */
    uint8_t mac[6];
    uint8_t peer_mac[6];    /* core: of a peer that speaks no HELLO (a foreign router); all zero: HELLO tells it */
    uint32_t pool_cells;    /* core: most cells reserved for the peer's lanes (sum of L - F) */
    uint32_t tenant_cells;  /* core: most of these for one tenant; 0: no limit of its own */
    uint32_t link_window;   /* core: cells that our receive ring and CPU can take unclassified */
    int64_t rtt_ns;         /* core: known round trip; 0: measured by HELLO */
    uint8_t pfc_priorities; /* access: bit per 802.1p priority on which PFC is spoken both ways; 0: none */
    /* Of each lossy queue. drop_cells 0: what the port sends in 10 ms, at least 64 cells. In LANE_MODE_PFC pfc_xoff_cells,
     * pfc_xon_cells and drop_cells bound what packets that came in here and share a priority occupy, whatever port they
     * wait for (0: half, a quarter, and all of the default). */
    struct queue_limits lossy;
    bool one_queue; /* comparison runs: all packets in one queue instead of one per class */
};

/* What the ports of one router share; owned by whoever makes the ports, there before and after them. */
struct port_set {
    const struct lane_above *above; /* alloc and free are used */
    struct loss_log *loss;
    uint8_t mode;                  /* enum lane_mode */
    int64_t late_ns;               /* how far a shaped port may catch up; less than PORT_LATE_NS: that */
    uint64_t ready;                /* bit per port that holds something which only its wire's rate may keep back */
    struct port *ports[PORT_MOST]; /* by index; NULL: none */
};

/* Queues in deficit round robin: circular; `head` is served next. */
struct port_ring {
    struct queue *head;
};

/* PFC that we tell the other side of a port. */
struct port_pfc {
    uint16_t holders[8];       /* queues and (LANE_MODE_PFC) shares of the buffer that want the priority stopped */
    uint8_t stopped;           /* bit per priority: as we have told it */
    uint8_t tell;              /* bit per priority: to be told with the next packet */
    int64_t refresh_ns;        /* when `stopped` must be told again; INT64_MAX: none is */
    uint8_t full;              /* LANE_MODE_PFC: bit per priority whose share is above its limit */
    uint32_t ingress_cells[8]; /* LANE_MODE_PFC: occupied by packets that came in here, per priority */
    uint32_t ingress_peak_cells;
    uint64_t told, heard; /* frames */
};

/* Rings of a port: what is guaranteed in class order, then what exceeds it in class order; a bit of `rings` each. */
enum { PORT_WITHIN = 0, PORT_EXCESS = LANE_CLASSES, PORT_RINGS = 2 * LANE_CLASSES };

struct port {
    struct lane_node *node;
    uint16_t index;
    struct port_config config;
    bool up;
    /* core: where its packets go; from the config, then from the peer's HELLO. All zero: unknown yet, nothing but lane
     * frames is sent */
    uint8_t peer_mac[6];

    struct port_set *set;

    struct queue control;              /* lane frames: before everything else, never gated, short */
    struct queue lossy[LANE_CLASSES];  /* packets without a lane; CONTROL: our ICMP, ND, BGP, with 2% guaranteed */
    struct port_ring ring[PORT_RINGS]; /* of queues that may be served now */
    uint32_t rings;                    /* bit per ring that is not empty */
    uint32_t active;                   /* queues in the rings */
    struct wheel guarantees, caps;     /* of its queues: those that have no tokens now */
    uint64_t guaranteed_bps;           /* sum over its queues: whoever adds one keeps it below the rate */

    int64_t free_at_ns; /* when the wire is free for the next packet (shaping) */
    uint32_t free_at_frac;
    uint64_t ns_per_byte; /* 32.32; 0: not shaped */

    uint8_t paused;             /* bit per priority: PFC from the other side */
    int64_t paused_until[8];    /* ns */
    struct port_ring parked[8]; /* QUEUE_PAUSED, per priority */
    struct port_pfc pfc;

    struct lane_link *link; /* core only */

    uint64_t rx_packets, rx_bytes, tx_packets, tx_bytes;
};

/* Everything below returns without blocking or allocating. */

/* p: the caller's, zeroed or not. Puts itself into set->ports. */
void port_init(struct port *p, struct port_set *set, struct lane_node *node, uint16_t index, const struct port_config *,
    int64_t now);
/* Frees the packets of its own queues; those of lanes must be gone. */
void port_done(struct port *p);

/* Takes ownership of m. 0, or -ENOBUFS when the queue's limits drop it: m was freed, counted and recorded as lost. */
int port_enqueue(struct port *p, struct queue *q, struct rte_mbuf *m, int64_t now);

/* The next packets in the scheduler's order, at most `most`; lane options stamped, credits taken. The caller sends them and
 * then calls port_sent with each one whose descriptor is free again. A shaped port that is polled late catches up with
 * what its wire could have sent meanwhile, up to PORT_LATE_NS of it, or as late as this router is known to look. */
unsigned port_dequeue(struct port *p, struct rte_mbuf **ret, unsigned most, int64_t now);
#define PORT_LATE_NS 1000000

/* What port_dequeue gave but the shell could not send yet stays the shell's to retry: never lost, never reordered. */
void port_sent(struct port *p, struct rte_mbuf *const *pkts, unsigned n, int64_t now); /* frees them; cells return */
/* A packet is dropped after it was received: gives back what it occupies, records the loss at port p (where it would have
 * left, or came in) and frees it. */
void port_drop(struct port *p, struct rte_mbuf *m, int reason, int64_t now);

/* When port_dequeue may have something again: now or earlier: at once; INT64_MAX: when something is enqueued or woken. It
 * is exact for the rate, caps, pauses and PFC to be repeated; a queue that meets its pause or the end of its credit only
 * when its turn comes makes port_dequeue return 0 once. */
int64_t port_next(const struct port *p, int64_t now);

/* For a packet without a lane (and in comparison runs for all). */
struct queue *port_lossy_queue(struct port *p, enum lane_class c);

/* A MAC control frame that came in at p, from behind its Ethernet header. 0; -EPROTO: no PFC frame; -ENOTSUP: PFC is not
 * spoken here (counted in pfc.heard nevertheless). */
int port_pfc_received(struct port *p, const uint8_t *body, size_t len, int64_t now);

/* LANE_MODE_PFC, in other modes nothing: a packet of class packet_meta.class_ has come in at p, a core port, and will be
 * kept. 0, or -ENOBUFS when the headroom of its priority is used up: m was freed, counted and recorded. */
int port_account_arrival(struct port *p, struct rte_mbuf *m, int64_t now);

void queue_init(struct queue *q, struct port *p, enum lane_class c);
/* The port's guaranteed_bps follows. 0 for neither. */
void queue_set_rates(struct queue *q, uint64_t guarantee_bps, uint64_t cap_bps, int64_t now);
/* A queue that was BLOCKED, PAUSED or HELD may be served again. */
void queue_wake(struct queue *q, int64_t now);
void queue_hold(struct queue *q);
/* Discards all it holds, each one recorded with `reason` (enum loss_reason). Returns how many packets. A held queue stays
 * held; its rates stay. */
uint32_t queue_flush(struct queue *q, int reason, int64_t now);
/* The frames that wait, at a core port, go to this neighbour. */
void queue_readdress(struct queue *q, const uint8_t mac[6]);
/* Discards its first packet, recorded with `reason`; it has at least two. */
void queue_drop_head(struct queue *q, int reason, int64_t now);
/* The hosts that are paused because of this queue may go on, however full it is. */
void queue_let_go(struct queue *q, int64_t now);

#endif
