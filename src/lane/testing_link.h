/* A network of lane nodes in memory, for tests: links that lose, repeat, reorder and delay control and data frames apart,
 * hosts that send and consume, cuts and restarts. Virtual time; the same seed gives the same run.
 *
 *   struct testing_net *net = testing_net_create(seed, 8192);
 *   testing_node_add(net, 1, NULL); …; testing_link_add(net, 1, 0, 2, 0, &link);
 *   unsigned f = testing_flow_add(net, &flow);                 // opens a lane from flow.node along flow.path
 *   testing_net_run(net, 50 * NS_PER_MS);                      // for so long
 *
 * After every step all nodes are checked (lane_check) and every lane's two ends against each other: S - F is what the
 * receiver has committed at most, nothing beyond credit ever arrives, what is delivered is in order and once. A violation
 * ends the program with a sentence.
 *
 * Packets: 14 bytes of Ethernet, 8 of lane option, 8 flow, 8 sequence, 1 marker; the rest of their length is virtual. */
#ifndef MERIDIAN_LANE_TESTING_LINK_H
#define MERIDIAN_LANE_TESTING_LINK_H

#include "base/clock.h"
#include "base/rng.h"
#include "lane/lane.h"
#include "lane/testing_mbuf.h"

#include <stdbool.h>
#include <stdint.h>

enum { TESTING_NODES = 8, TESTING_LINKS = 12, TESTING_HOST_PORT = 60, TESTING_PATH = 6, TESTING_EVENTS = 64 };

struct testing_impair {
    double loss, duplicate, reorder; /* shares of frames */
    int64_t reorder_ns;              /* a reordered one is late by up to this */
};

struct testing_link {
    uint32_t node[2];
    uint16_t port[2];
    int64_t delay_ns;                    /* one way */
    struct testing_impair control, data; /* of either direction */
    bool cut;                            /* what is sent now is lost */
    uint64_t lost[2], lost_cells[2];     /* data packets that were lost on purpose, by direction */
    uint64_t late[2];                    /* data packets that were reordered */
    uint64_t control_lost;
};

struct testing_flow {
    uint32_t node;
    uint32_t path[TESTING_PATH];   /* nodes behind it, in order; 0 ends */
    uint32_t backup[TESTING_PATH]; /* where it moves when a router of its path leaves; 0: nowhere */
    uint32_t tenant;
    enum lane_class class_;
    uint64_t guarantee_bps, rate_bps;
    uint32_t window_least;
    uint32_t size;       /* bytes of a frame */
    uint32_t backlog;    /* packets: the source keeps its ingress queue as full; 0: see interval_ns */
    int64_t interval_ns; /* one packet each; 0: none */
    uint64_t most;       /* packets; 0: no end */
    bool off;            /* the source is silent */
    bool manual;         /* no lane is opened */

    struct lane_tx *tx;
    uint64_t lane;                  /* id of the first lane; enough to find the flow's events */
    uint64_t sent, delivered, next; /* next: the lowest sequence that may come */
    uint64_t delivered_bytes;
    int64_t due;
};

struct testing_node {
    struct testing_net *net;
    uint32_t id;
    struct lane_node *lanes;
    struct lane_node_config config;
    uint32_t incarnation;
    bool stalled;             /* its host consumes nothing */
    bool no_markers, no_sids; /* makes none; knows none of its own */
    uint64_t unreachable;     /* packets dropped for want of an egress queue */
    unsigned n_events;
    struct lane_event event[TESTING_EVENTS]; /* the last ones */
    unsigned of_kind[16];
};

struct testing_net {
    uint64_t seed, drawn;
    int64_t now;
    struct testing_mbufs *slab;
    struct testing_node node[TESTING_NODES + 1]; /* by id, 1… */
    struct testing_link link[TESTING_LINKS];
    struct port_config port[TESTING_LINKS][2];
    unsigned n_links;
    struct testing_flow *flow;
    unsigned n_flows, flows_most;
    struct testing_frame *heap;
    unsigned n_heap, heap_most;
    uint64_t order, steps, seen_order;
    int64_t descriptor_ns; /* a frame's descriptor is free so long after it was sent */
    unsigned check_every;  /* steps; 0: each one */
    bool deep;             /* look at every packet after every step */
    double forge;          /* share of control frames of which a bit is turned (a copy; the frame itself goes on) */
    bool replay;           /* every control frame comes again, up to 5 ms later */
};

extern unsigned testing_net_mbufs; /* of the next network: 16384 */
struct testing_net *testing_net_create(uint64_t seed, unsigned flows_most);
void testing_net_free(struct testing_net *net); /* all mbufs must be back */

/* What a test may change before a node is made; NULL: lanes_most 12, everything else by default. */
struct testing_node *testing_node_add(struct testing_net *net, uint32_t id, const struct lane_node_config *c);
/* c: rate, mtu, pool…; macs are filled in. Both ends the same. */
struct testing_link *testing_link_add(struct testing_net *net, uint32_t a, uint16_t port_a, uint32_t b, uint16_t port_b,
    int64_t delay_ns, const struct port_config *c);
/* Nodes 1 … n in a row, port 1 of each joined to port 0 of the next. */
struct testing_net *testing_chain(
    uint64_t seed, unsigned n, const struct lane_node_config *c, int64_t delay_ns, const struct port_config *port);
unsigned testing_flow_add(struct testing_net *net, const struct testing_flow *f);
/* The lane that testing_flow_add would open along `path`. */
void testing_spec(
    const struct testing_net *net, const struct testing_flow *f, const uint32_t *path, struct lane_spec *ret);
void testing_flow_move(struct testing_net *net, unsigned flow, const uint32_t *path);

void testing_net_run(struct testing_net *net, int64_t ns);
/* Until the flow has delivered so many packets in all; false: not within `ns`. */
bool testing_net_until(struct testing_net *net, unsigned flow, uint64_t delivered, int64_t ns);
bool testing_net_complete(struct testing_net *net, int64_t ns); /* every flow's lane */
void testing_net_drain(struct testing_net *net, int64_t ns);    /* sources stop */

/* It forgets everything, and begins anew; flows that begin there open their lanes again. */
void testing_node_restart(struct testing_net *net, uint32_t id);

/* Control frames on their way to a port that were sent at this very moment or since; each is seen once if asked often
 * enough (every delay_ns). Returns how many were copied. */
unsigned testing_frames_under_way(
    struct testing_net *net, uint32_t node, uint16_t port, uint8_t (*ret)[1400], uint32_t *ret_len, unsigned most);

/* A control frame with this body comes in at a port, sealed as the neighbour would seal it: what a neighbour may send that
 * has our key and means ill. False: there is no session. */
bool testing_inject(
    struct testing_net *net, uint32_t node, uint16_t port, uint8_t type, const uint8_t *body, uint32_t len);
/* Time passes for one node alone; all that it sends is discarded. */
void testing_node_alone(struct testing_net *net, uint32_t node, int64_t ns);

uint64_t testing_losses(const struct testing_net *net, enum loss_reason r); /* packets, all nodes */
uint64_t testing_loss_cells(const struct testing_net *net, enum loss_reason r);
unsigned testing_events(const struct testing_net *net, enum lane_event_kind k);    /* all nodes */
uint64_t testing_lost_on_purpose(const struct testing_net *net);                   /* data packets */
struct lane_rx *testing_rx(struct testing_net *net, uint32_t node, uint64_t lane); /* live one of that id; NULL */

#endif
