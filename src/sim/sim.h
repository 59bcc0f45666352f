/* The twin: a scenario run in virtual time on the routers' own code.
 *
 *   sim_create(&s, plan, &options, err);
 *   while (sim_step(s, until)) …;        // or sim_run
 *   sim_result(s, &result);              // what is known now; the run may go on
 *   sim_free(s);
 *
 * Every packet is accounted for at any time: sent = delivered + lost, by reason and place + under way (sim_check, which also
 * asks every router whether its lanes keep their promises). A run is a function of scenario, seed and mode: its hash folds
 * every delivery and every loss, and twice the same seed gives twice the same hash. */
#ifndef MERIDIAN_SIM_SIM_H
#define MERIDIAN_SIM_SIM_H

#include "scenario/plan.h"
#include "telemetry/loss.h"
#include "telemetry/quantile.h"

#include <stdio.h>

struct sim;

struct sim_options {
    uint64_t seed; /* 0: the scenario's */
    enum scenario_mode mode;
    int64_t duration_ns; /* 0: the scenario's */
    uint32_t only;       /* a workload that runs alone; SCENARIO_NONE: all */
    int64_t check_ns;    /* between two sim_check; 0: 1 ms; 1: after every event */
    uint64_t memory;     /* bytes of packets; 0: 8 GiB */
    bool sense;          /* measure how fast backpressure is (slow; runs of few lanes) */
    FILE *trace;         /* one line an event of interest (deliveries are not); NULL: none. Borrowed */
};

int sim_create(struct sim **ret, const struct plan *p, const struct sim_options *o, struct error *err);
void sim_free(struct sim *s);

/* One event. False: the end is reached, or something is wrong that sim_run would tell. */
bool sim_step(struct sim *s, int64_t until_ns);
/* To until_ns or the end. -EPROTO with the first violation of what must always hold; -ENOMEM when packets found no memory. */
int sim_run(struct sim *s, int64_t until_ns, struct error *err);
int sim_check(struct sim *s, struct error *err);

int64_t sim_now(const struct sim *s);
int64_t sim_end(const struct sim *s);
uint64_t sim_events(
    const struct sim *s); /* packet-hops and control frames that arrived so far: what the bench counts */
uint64_t sim_hash(const struct sim *s);
uint64_t sim_payload(const struct sim *s, uint32_t workload); /* bytes delivered in order so far */

struct sim_work_result {
    const char *name, *type;
    uint64_t sent, delivered, lost_links, lost_routers, lost_hosts, under_way; /* packets of data */
    uint64_t held_back;
    uint64_t payload, wanted;
    double goodput_bps, wire_bps; /* payload in order; frames as they came over the sink's cable, with gaps */
    int64_t least_ns, p50_ns, p99_ns, p999_ns, most_ns, silence_ns, first_ns, last_ns;
    int64_t ramp_ns; /* from its start until it was delivered at full rate; 0: it never was */
    uint64_t retransmitted, marked, reordered, broken;
    double completed; /* share of `wanted`; NAN when it has no end */
    bool ran;
};

/* The sending end of a lane at one hop, with what its receiving end reserves for it. */
struct sim_lane_result {
    uint64_t id;
    uint32_t router, port; /* whose lane_rx this is and where it arrives */
    uint32_t tenant;
    uint8_t class_;
    uint32_t window, peak; /* cells: the largest window, the highest occupancy */
    uint64_t cells;        /* that arrived */
};

struct sim_result {
    enum scenario_mode mode;
    bool as_lab; /* the plan was changed to what a lab needs */
    uint64_t seed, hash, events, fired, checks;
    int64_t now_ns;
    double seconds; /* of processor time in sim_run */
    struct sim_work_result *works;
    uint32_t n_works;
    struct sim_lane_result *lanes;
    uint32_t n_lanes;
    uint64_t lane_drops;              /* SCENARIO_LANE_DROPS */
    uint64_t by_reason[LOSS_REASONS]; /* all routers; LOSS_LINK in cells */
    uint64_t lost_links, lost_control, lost_cut, lost_killed;
    uint64_t sent, delivered, under_way;
    uint64_t misdelivered; /* packets that reached a host they were not for */
    double peak_over_w;
    uint64_t unaccounted;                   /* SCENARIO_UNACCOUNTED, cells */
    uint64_t refused, miscabled, watchdogs; /* lane events */
    struct quantile
        sense; /* congestion sensed at a hop → the upstream's last cell withheld (sense.c); with sim_options.sense */
};

/* -ENOMEM. */
int sim_result(struct sim *s, struct sim_result *ret);
void sim_result_done(struct sim_result *r);

/* What an expectation's metric is in this result. NAN: it does not apply. */
double sim_metric(const struct sim_result *r, const struct scenario_expect *e);

#endif
