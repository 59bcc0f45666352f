/* The workloads of a scenario as programs: iperf3 for TCP, our own for UDP and RoCE (they know one-way times), a person's
 * commands. Each flow has a program at its source and, but for RoCE (one per host) and commands without a server, one at its
 * sink. */
#ifndef MERIDIAN_LAB_WORK_H
#define MERIDIAN_LAB_WORK_H

#include "lab/process.h"
#include "lab/world.h"

#define LAB_FIRST_PORT 20000u /* of flow i: this plus i, TCP and UDP */

struct lab_flow {
    const struct plan_flow *flow;
    struct lab_process source, sink;
    bool started, ended; /* its source; ended: on purpose (its time is over, or the scenario's) */
};

struct lab_work {
    struct lab_world *world;
    int64_t duration_ns; /* of the scenario */
    struct lab_flow *flows;
    uint32_t n_flows;
    struct lab_process *receivers; /* RoCE, by host; pid 0: none */
    uint32_t only;                 /* a workload that runs alone; SCENARIO_NONE: all */
};

/* Starts the sinks and waits until they are ready. */
int lab_work_create(struct lab_work **ret, struct lab_world *w, int64_t duration_ns, uint32_t only, struct error *err);
void lab_work_free(struct lab_work *k); /* NULL is fine; programs that still run are killed with the world */

/* Starts every source that is due `elapsed_ns` after the scenario's start, ends what has run its time. */
int lab_work_at(struct lab_work *k, int64_t elapsed_ns, struct error *err);
/* Nothing more will happen: all sources that have an end have ended, and none is to come. */
bool lab_work_over(const struct lab_work *k);
/* Ends the sources, then the sinks: their results are in their files then. */
void lab_work_stop(struct lab_work *k);
/* A host takes nothing more (or goes on). */
void lab_work_stall(struct lab_work *k, uint32_t host, bool stall);

/* The mark of a flow's packets. */
uint8_t lab_work_dscp(const struct plan *p, const struct plan_flow *f);
/* Is this flow's workload meant to run? */
bool lab_work_wanted(const struct lab_work *k, uint32_t workload);

#endif
