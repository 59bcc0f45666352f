/* Lanes of one router: one tenant's service class on one strict loop-free path, hop by hop (router.md, "Lanes").
 *
 *   host → [ingress queue = lane_tx] → link → [lane_rx → lane_tx] → link → [lane_rx] → egress queues → host
 *
 * At every hop an arriving lane (lane_rx) is bound to the next hop's lane_tx, or, at its last router, to the VRF behind
 * its service SID. The queue between them is lane_tx.queue; its packets occupy cells of lane_rx until they are sent on,
 * and only then does lane_rx give the upstream neighbour new credit. Nothing is shared between lanes but the pool from
 * which windows are reserved, so no lane ever waits for another.
 *
 * The lane layer knows nothing of SIDs or VRFs: it asks the layer above through struct lane_above. Pure: `now` comes in,
 * frames come in, packets and next deadlines go out. All memory is allocated at creation. */
#ifndef MERIDIAN_LANE_LANE_H
#define MERIDIAN_LANE_LANE_H

#include "base/error.h"
#include "lane/credit.h"
#include "lane/port.h"
#include "telemetry/loss.h"
#include "wire/ip.h"

#include <stdbool.h>
#include <stdint.h>

#define LANE_PORTS_MOST PORT_MOST
#define LANE_SIDS_MOST  16 /* hops of a strict path */

/* How packets without lanes, or all of them in a comparison run, are treated (acceptance: "without Meridian's network"). */
enum lane_mode {
    LANE_MODE_LANES, /* ours */
    LANE_MODE_FIFO,  /* drop-tail best effort, one queue per port and class */
    LANE_MODE_ECN,   /* as FIFO, marking CE above a threshold */
    LANE_MODE_PFC,   /* port-level priority pause between routers over shared queues: head-of-line blocking and all */
};

/* The sender's end of a link: what all its lanes share (lane/stamp.h). */
struct lane_wire {
    struct credit_sender window;    /* cells that the peer's receive ring and CPU take unclassified */
    bool windowed;                  /* else there is no such limit */
    bool up;                        /* a session stands; nothing of a lane leaves otherwise */
    struct lane_tx *waiting, *last; /* lanes that the link's window holds back, first come first */
    struct lane_tx *busy;           /* lanes that began to send, or to wait for credit, since the last lane_poll */
    struct history *history;        /* what left lately, by lane_tx.slot */
};

/* The receiver's end: lanes whose credit is to be told. */
struct lane_told {
    struct lane_rx *dirty; /* through lane_rx.dirty; NULL: none */
    bool ripe;             /* one of them has so much to tell that it should not wait */
};

/* The sender's end of a lane on one link. */
struct lane_tx {
    struct credit_sender credit;
    uint64_t
        hold_at; /* the peer's queue rises: it asks not to send beyond this cell, whatever credit allows (press.c) */
    struct queue queue;
    struct lane_wire *wire;     /* of the link it leaves by; never NULL */
    struct lane_tx *waits_next; /* in wire->waiting; self: at its end; NULL: not in it */
    struct lane_tx *busy_next;  /* in wire->busy; self: at its end; NULL: not in it */
    bool watched;               /* it has been in wire->busy, and timers look after it until it is quiet */
    uint32_t slot;              /* of this node's lane_tx */
    uint64_t id;                /* global: ingress router id << 32 | its counter */
    struct lane_rx *from;       /* the same lane arriving here; NULL at its ingress */
    uint16_t index;             /* the peer's local index: goes into the lane option */
    uint16_t epoch;             /* low bits of the link session in which the index is valid */
    bool open;                  /* the next hop accepted */
    bool complete;              /* every hop down to the egress accepted: only then may an ingress send */
    struct lane_tx *moved;      /* its successor takes what comes from now on (lane_ingress); NULL: not moved */
    /* signalling, timers: lane/lane_inner.h */
    struct lane_tx_inner *inner;
};

/* The receiver's end of a lane on one link. */
struct lane_rx {
    struct credit_receiver credit;
    struct lane_told *told; /* of the link it arrives by; never NULL */
    uint64_t id;
    uint32_t tenant;
    uint16_t in_port, index;
    uint16_t out_port; /* bound by LANE_OPEN; LANE_OUT_LOCAL: ends here */
    uint8_t class_;
    bool live;
    struct lane_tx *next;  /* NULL when it ends here */
    uint32_t vrf;          /* when it ends here: the service SID's VRF (X3: the packet's must agree) */
    struct lane_rx *dirty; /* in the port's list of lanes whose credit is to be told; self: at its end */
    struct lane_rx_inner *inner;
};

#define LANE_OUT_LOCAL 0xffffu

/* What a strict path does at this router: answered by the layer above. */
struct lane_hop {
    uint16_t out_port; /* LANE_OUT_LOCAL: the path ends here, in `vrf` */
    uint32_t vrf;
    unsigned sids_used; /* SIDs of the path that stand for this router, 0 meaning one: the next hop reads behind them */
};

enum lane_event_kind {
    LANE_EVENT_LINK_UP,   /* HELLO verified both ways; peer known */
    LANE_EVENT_LINK_DOWN, /* silence, or the shell said so */
    LANE_EVENT_MISCABLED, /* the peer is not whom the config expects */
    LANE_EVENT_OPEN,      /* complete to the egress */
    LANE_EVENT_REFUSED,   /* detail: enum lane_refusal */
    LANE_EVENT_DOWN,
    LANE_EVENT_WATCHDOG,      /* the sink never consumes: the lane is being discarded */
    LANE_EVENT_RECOVERED,     /* it consumes again */
    LANE_EVENT_MOVED,         /* lane: the old one. From this very call on its packets belong to the new one */
    LANE_EVENT_MOVE_DONE,     /* lane: the old one, which has ended; its lane_tx is no longer valid after this call */
    LANE_EVENT_MOVE_REVERTED, /* lane: the new one; its traffic goes by the old path again, through a third lane_tx
                               * (lane/move.h): lane_ingress finds it */
    LANE_EVENT_LEAVING, /* peer: a router on the way that is going to end (lane_drain). A lane that is moved from inside
                               * this call goes on meanwhile; otherwise it ends behind what it has sent, and waits */
    LANE_EVENT_VERSION, /* the neighbour speaks version `detail` of lane frames, which is not ours: there is no link. Once,
                         * until there was one */
};

/* LANE_EVENT_MISCABLED's detail. */
enum lane_miscabled {
    LANE_MISCABLED_SELF = 1, /* the cable comes back to us */
    LANE_MISCABLED_ROUTER,   /* not the expected one */
    LANE_MISCABLED_KEY,      /* its key is not trusted */
    LANE_MISCABLED_CELL,     /* it counts in cells of another size */
};

/* LANE_EVENT_LINK_UP's detail: bits. */
enum lane_up {
    LANE_UP_UNVERIFIED = 1, /* any key is trusted here */
    LANE_UP_MTU_DIFFERS = 2,
};

struct lane_event {
    enum lane_event_kind kind;
    int64_t at_ns;
    uint64_t lane; /* 0: about the link */
    uint16_t port;
    uint32_t detail;
    uint64_t peer; /* router id */
};

/* The layers around, as function pointers; `user` is theirs. */
struct lane_above {
    void *user;
    struct rte_mbuf *(*alloc)(void *user); /* an empty mbuf with PACKET_HEADROOM in front; NULL: none left */
    void (*free)(void *user, struct rte_mbuf *m);
    /* Where SID number `at` of a path leads from here. 0; -ENOENT: not ours or no such adjacency. */
    int (*resolve)(void *user, const struct ip6 *sids, unsigned n, unsigned at, struct lane_hop *ret);
    void (*event)(void *user, const struct lane_event *e); /* states that a person or a controller wants to know */
    /* Epochs and ephemeral keys: a router's shell draws from the kernel (getrandom), the simulator from its seed. */
    uint64_t (*random)(void *user);
    /* The end-marker of a lane that is being moved: an mbuf from `alloc` with the encapsulation that the lane's own packets
     * have and IP_PROTO_LANE_MARKER inside; lane_option of its meta set. Whoever decapsulates it hands it to lane_marker.
     * NULL, or no memory: the CLOSE that follows does the same a little later. */
    struct rte_mbuf *(*marker)(void *user, struct lane_tx *t);
};

struct lane_spec {
    uint32_t tenant;
    enum lane_class class_;
    struct ip6 sids[LANE_SIDS_MOST]; /* the strict path behind this router: each router's SID, the service SID last */
    unsigned n_sids;
    uint16_t out_port;          /* the first link */
    uint64_t guarantee_bps;     /* a share of every link on the way that is this lane's whenever it wants it */
    uint64_t cap_bps;           /* 0: none; shaped at the ingress */
    uint64_t rate_bps;          /* what its window is sized for; 0: the guarantee, else the link's rate */
    uint32_t window_least;      /* cells every hop must grant or refuse the lane */
    struct queue_limits limits; /* of its ingress buffer */
};

struct lane_node_config {
    uint64_t router_id;
    uint8_t identity[32];                    /* Ed25519 private seed: signs HELLO */
    uint64_t expected_peer[LANE_PORTS_MOST]; /* router id; 0: anyone whose key is trusted */
    uint8_t (*trusted)[32]; /* Ed25519 public keys of routers, in no order; NULL: any (the alarm says so) */
    unsigned n_trusted;
    uint32_t lanes_most; /* of lane_rx and of lane_tx */
    enum lane_mode mode;
    int64_t hello_ns;         /* between hellos on an idle link; 0: 3 ms */
    int64_t silence_ns;       /* link is down after it; 0: 10 ms */
    int64_t watchdog_ns;      /* 0: 5 s */
    int64_t move_ns;          /* a move whose end-marker has not come by then is reverted; 0: 1 s */
    double control_loss;      /* share of lost control frames that windows are sized to hide; 0: 0.01 */
    uint32_t history_packets; /* remembered per port, so that lost ones can be named; 0: 16384 */
};

struct lane_node;

int lane_node_create(
    struct lane_node **ret, const struct lane_node_config *, const struct lane_above *, struct error *);
void lane_node_free(struct lane_node *);
int lane_port_add(struct lane_node *, uint16_t index, const struct port_config *, struct error *);
struct port *lane_port(struct lane_node *, uint16_t index); /* NULL: there is none */
struct loss_log *lane_loss(struct lane_node *);
uint64_t lane_ready_ports(const struct lane_node *); /* bit per port that may have something to send now */

/* Ingress: the lane's queue is held until complete. Returns its lane_tx by *ret, valid until lane_close has drained. A lane
 * that is refused, or goes down, stays and is tried again (LANE_EVENT_OPEN tells) until it is closed or moved; meanwhile its
 * queue is held and its limits rule. */
int lane_open(struct lane_node *, const struct lane_spec *, int64_t now, struct lane_tx **ret, struct error *);
void lane_close(struct lane_node *, struct lane_tx *, bool drain, int64_t now);

/* This router is going to end, and nothing that it holds may be lost by it (lane/leave.c). Lanes that pass or end here are
 * refused from now on, and those that do are asked to go: their ingress moves them, or lets them end and waits. Lanes that
 * begin here are closed by whoever opened them. Drained: but for lanes
 * that begin here and were not closed there is none any more, and the neighbours know. */
void lane_drain(struct lane_node *, int64_t now);
bool lane_drained(const struct lane_node *, int64_t now);
/* Same lane over another path without loss or reordering (lane/move.h). Packets go on into `old` until LANE_EVENT_MOVED;
 * enqueue to lane_ingress(t)->queue and there is nothing to get wrong. `old` is closed by itself (LANE_EVENT_MOVE_DONE). */
int lane_move(struct lane_node *, struct lane_tx *old, const struct lane_spec *, int64_t now, struct lane_tx **ret,
    struct error *);

/* Where a packet for this lane goes now, at its ingress. */
static inline struct lane_tx *lane_ingress(struct lane_tx *t)
{
    while (t->moved)
        t = t->moved;
    return t;
}

/* A packet with a lane option: the lane, or NULL when it must be dropped (*ret_reason; counted and recorded here, the
 * caller frees it). On success the caller sets packet_meta.from and .cells; from then on port_sent returns the cells. */
struct lane_rx *lane_receive(
    struct lane_node *, uint16_t port, const uint8_t option[8], uint32_t cells, int64_t now, int *ret_reason);
/* Gives back the cells of a packet that is dropped after lane_receive. */
void lane_discard(struct lane_rx *, uint32_t cells);
/* The end-marker of a lane that ends here was decapsulated; the caller frees the packet and calls lane_discard. */
void lane_marker(struct lane_node *, struct lane_rx *, int64_t now);
/* A frame of ETHER_LANE type (from its first byte behind the Ethernet header) that came in at `port`. */
void lane_frame(struct lane_node *, uint16_t port, const uint8_t *bytes, uint32_t len, int64_t now);
/* The queue at access port `out` for packets of a lane that ends here; made on first use. NULL: none left. */
struct queue *lane_egress_queue(struct lane_node *, struct lane_rx *, uint16_t out);

/* HELLO, credits to tell, SYNC, RELEASE, refreshes, watchdogs. Call after each batch and at the deadline it returns. */
int64_t lane_poll(struct lane_node *, int64_t now);
/* The shell was awake until `now` and only had nothing to do: the time since lane_poll is no delay that windows must hide. */
void lane_awake(struct lane_node *, int64_t now);
void lane_link_down(struct lane_node *, uint16_t port, int64_t now); /* the shell lost carrier */

/* A lane that arrives here, for reports (`meridian top`, IPFIX, the simulator). */
struct lane_info {
    uint64_t id;
    uint32_t tenant, vrf; /* vrf: when it ends here */
    uint16_t in_port, out_port, index;
    uint8_t class_;
    bool live;
    uint32_t window, window_most; /* cells: now, and the largest it ever was */
    uint32_t held, held_most;     /* cells in its buffer: now, and at most ever */
    uint64_t arrived, lost;       /* cells of its slot, ever */
};
/* The next one from *at on (0 at first; moved behind it). False: there are no more. */
bool lane_info_next(const struct lane_node *, uint32_t *at, struct lane_info *ret);

/* A lane that leaves here. */
struct lane_sender_info {
    uint64_t id;
    uint16_t out_port;
    uint8_t class_;
    bool complete, blocked; /* blocked: packets wait for the next hop's credit */
    uint32_t cells;         /* that wait here */
};
bool lane_sender_next(const struct lane_node *, uint32_t *at, struct lane_sender_info *ret);

/* F <= R <= L, reservations <= pool, per port and tenant, and every counter agrees with every queue: 0, or the first
 * violation in words (-EPROTO). Tests and the simulator call it after every step; it looks at every lane. */
int lane_check(const struct lane_node *, struct error *);
/* And at every packet in every queue. */
int lane_check_packets(const struct lane_node *, struct error *);

#endif
