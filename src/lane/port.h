/* A port of a router as the lane layer sees it: what waits to be sent, in what order, and how fast.
 *
 * Core ports join two of our routers: lanes, credits, HELLO (struct lane_link). Access ports join hosts: per-VLAN
 * sub-interfaces are forward's business; here they have priorities, PFC and one queue per arriving lane. */
#ifndef MERIDIAN_LANE_PORT_H
#define MERIDIAN_LANE_PORT_H

#include "lane/queue.h"

#include <stdbool.h>
#include <stdint.h>

struct lane_node;
struct lane_link;

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
};

/* One list of active queues, served in deficit round robin. */
struct port_ring {
    struct queue *head, *tail;
};

struct port {
    struct lane_node *node;
    uint16_t index;
    struct port_config config;
    bool up;
    uint8_t peer_mac[6]; /* core: where its packets go; from the config, then from the peer's HELLO. All zero: unknown yet,
                          * nothing but lane frames is sent */

    struct queue control;                  /* our frames, ICMP, ND, BGP from the punt: never credit-gated */
    struct queue lossy[LANE_CLASSES];      /* packets without a lane */
    struct port_ring within[LANE_CLASSES]; /* queues whose guarantee has tokens */
    struct port_ring excess[LANE_CLASSES]; /* the others */
    uint32_t active;                       /* queues in all these rings */

    int64_t free_at_ns;      /* when the wire is free for the next packet (shaping) */
    uint8_t paused;          /* bit per priority: PFC from the other side */
    int64_t paused_until[8]; /* ns */

    struct lane_link *link; /* core only */

    uint64_t rx_packets, rx_bytes, tx_packets, tx_bytes;
};

/* Everything below returns without blocking or allocating. */

/* Takes ownership of m. 0, or -ENOBUFS when the queue's limits drop it: m was freed, counted and recorded as lost. */
int port_enqueue(struct port *p, struct queue *q, struct rte_mbuf *m, int64_t now);

/* The next packets in the scheduler's order, at most `most`; lane options stamped, credits taken. The caller sends them and
 * then calls port_sent with each one whose descriptor is free again. */
unsigned port_dequeue(struct port *p, struct rte_mbuf **ret, unsigned most, int64_t now);

/* What port_dequeue gave but the shell could not send yet stays the shell's to retry: never lost, never reordered. */
void port_sent(struct port *p, struct rte_mbuf *const *pkts, unsigned n, int64_t now); /* frees them; cells return */

/* When port_dequeue may have something again: now or earlier: at once; INT64_MAX: when something is enqueued or woken. */
int64_t port_next(const struct port *p, int64_t now);

void queue_init(struct queue *q, struct port *p, enum lane_class c);
void queue_set_rates(struct queue *q, uint64_t guarantee_bps, uint64_t cap_bps);
/* A queue that was BLOCKED, PAUSED or HELD may be served again. */
void queue_wake(struct queue *q, int64_t now);
void queue_hold(struct queue *q);
/* Discards all it holds, each one recorded with `reason` (enum loss_reason). Returns how many packets. */
uint32_t queue_flush(struct queue *q, int reason, int64_t now);

#endif
