/* A router in virtual time: the forwarding core itself (forward/forward.h), configured from the plan, between its wires.
 *
 * It receives at the moment of arrival, or, where the scenario gives it a `poll` time, when it next looks at its receive
 * rings; `pps` limits how much it takes then, and what finds a ring full is lost as a NIC loses it. Its timers run a
 * microsecond after something happened, as often as a busy worker's loop does, and at their deadlines. */
#ifndef MERIDIAN_SIM_NODE_H
#define MERIDIAN_SIM_NODE_H

#include "forward/forward.h"
#include "forward/tables.h"
#include "scenario/plan.h"
#include "sim/wire.h"

#define NODE_ROUND_NS 1000  /* between two runs of the timers of a busy router */
#define NODE_RING     4096u /* frames of a receive ring, where one is modelled */

struct sim;

struct node_frame {
    struct rte_mbuf *m;
    uint16_t port;
};

struct node {
    struct sim *sim;
    uint32_t index;
    struct forward *f;                 /* NULL: killed */
    struct wire *out[PLAN_PORTS_MOST]; /* by port; the router's ends of its links and cables */
    uint32_t n_ports;
    struct event_source timers, look;
    int64_t poll_ns;
    double per_look; /* frames that it forwards in poll_ns; 0: any number */
    double budget;
    struct node_frame *ring;
    uint32_t ring_head, ring_tail;
    uint64_t draws;
    uint32_t lives; /* how often it was started */
    bool draining;  /* it ends when it has no lane any more */

    uint64_t lost;          /* packets of streams that it dropped */
    uint64_t lost_copies;   /* and of those that a link had repeated */
    uint64_t lost_dead;     /* that came while it was dead (in `lost` too) */
    uint64_t lost_killed;   /* that it held when it was killed */
    uint64_t copies_killed; /* of lost_copies: that came while it was dead, or that it held then */
    uint64_t lost_ring;     /* at full receive rings (in `lost` too) */
    uint64_t recorded;      /* packets in loss records of earlier lives */
    uint64_t received, control_received, punted;
    uint64_t gap_cells[PLAN_PORTS_MOST]; /* by its records: lost on the link to that port */
    uint64_t records_overrun;
    uint64_t events[16]; /* enum lane_event_kind */
};

/* Ports have wires already. */
int node_start(struct node *n, struct sim *sim, uint32_t index, struct error *err);
void node_kill(struct node *n, int64_t now);
void node_drain(struct node *n, int64_t now);
int node_restart(struct node *n, int64_t now, struct error *err);
void node_done(struct node *n);

/* The ends of wires. */
struct rte_mbuf *node_pull(void *node, uint16_t port, int64_t now, int64_t *ret_next);
void node_sent(void *node, uint16_t port, struct rte_mbuf *m, int64_t now);
void node_arrive(void *node, uint16_t port, struct rte_mbuf **pkts, unsigned n, int64_t now);

int node_move(struct node *n, const struct scenario_fault *x, int64_t now, struct error *err);
/* Reads the loss records since the last call into gap_cells. */
void node_read_losses(struct node *n);
/* What its loss log counts as dropped here; packets a link lost are not among them. */
uint64_t node_recorded(const struct node *n);

#endif
