/* Inside of a run. */
#ifndef MERIDIAN_SIM_SIM_INNER_H
#define MERIDIAN_SIM_SIM_INNER_H

#include "base/rng.h"
#include "sim/node.h"
#include "sim/sim.h"
#include "sim/stream.h"

#define SENSE_LANES_MOST 64

struct sense_lane {
    uint64_t id;
    uint32_t router;
    int64_t sensed_ns; /* -1: it does not fill */
    bool withheld;
};

struct sim {
    const struct plan *plan;
    struct sim_options options;
    uint64_t seed;
    enum scenario_mode mode;
    int64_t end_ns;
    struct events events;
    struct slab slab;
    struct hosts hosts;
    struct node *nodes;
    struct wire *wires;   /* two for each link: from its a to its b, and back */
    struct wire *downs;   /* one for each cable: router → host */
    uint64_t *lane_cells; /* by wire: cells of lane packets that it lost */
    uint8_t (*trusted)[32];

    struct node *inside; /* the router whose code runs: a packet freed now is its loss, or was for itself */
    bool at_wire;        /* a wire is losing it: counted already */

    struct event_source fault_timer;
    uint32_t next_fault;
    int64_t check_at;
    uint64_t checks;
    struct error error; /* of a fault that could not be done */
    int failed;

    uint64_t hash;
    uint64_t lost_wire; /* packets of streams */
    uint64_t lost_cut, lost_control;
    uint64_t host_packets; /* of streams, freed: delivered or lost */
    bool killed;           /* a router was */
    double seconds;

    struct event_source sense_timer;
    struct sense_lane sense[SENSE_LANES_MOST];
    uint32_t n_sense;
    struct quantile sensed;
};

/* What a run's hash folds. */
enum sim_trace { TRACE_DELIVERED, TRACE_WIRE, TRACE_ROUTER };
void sim_fold(struct sim *s, enum sim_trace what, uint64_t a, uint64_t b, int64_t now);
void sim_lane_event(struct sim *s, struct node *n, const struct lane_event *e);
void sim_lost_at_dead(struct sim *s, struct node *n, struct rte_mbuf *m, int64_t now);

/* world.c */
int sim_build(struct sim *s, struct error *err);
int sim_public_key(const uint8_t seed[32], uint8_t ret[32], struct error *err);
/* fault.c */
int sim_faults_init(struct sim *s, struct error *err);
/* sense.c */
int sim_sense_init(struct sim *s, struct error *err);
/* node_configure.c */
int node_configure(struct node *n, const struct forward_ops *ops, int64_t now, struct error *err);
/* node_keys.c: of encrypted VPNs, with every router that lives */
int node_keys(struct node *n, struct error *err);
void node_close_slices(struct node *n, int64_t now);
int sim_trusted_keys(struct sim *s, struct error *err);

#endif
