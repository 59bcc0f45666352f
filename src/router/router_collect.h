/* What is looked at once in a while on the control thread: rates of ports, flows that are reported as elephants, lost packets,
 * marking periods, the kernel's and the cards' own counters. Readers (control socket, metrics, exporter) take it from here. */
#ifndef MERIDIAN_ROUTER_ROUTER_COLLECT_H
#define MERIDIAN_ROUTER_ROUTER_COLLECT_H

#include "router/reactor.h"
#include "router/router_view.h"

struct router;

#define COLLECT_FLOWS  256u
#define COLLECT_LOSSES 1024u

struct port_rates {
    double rx_bps, tx_bps, rx_pps, tx_pps;
};

struct collect {
    struct router *router;
    struct reactor_timer second, reports;
    struct ports_view ports; /* of the last second */
    struct port_rates rates[LANE_PORTS_MOST];
    struct elephant_report flows[COLLECT_FLOWS]; /* as last told; without those that are gone */
    unsigned n_flows;
    struct loss_record losses[COLLECT_LOSSES]; /* the last ones */
    uint64_t n_losses;
};

void collect_start(struct collect *c, struct router *r);
void collect_stop(struct collect *c);

#endif
