/* Inside the simulated control plane. control.c: life, nodes, the run; control_wire.c: byte streams; control_routes.c: what each
 * PE announces, and who is right; control_fault.c: faults and the underlay; control_make.c: scenarios of any size;
 * control_report.c: what came of it. */
#ifndef MERIDIAN_SIM_CONTROL_INNER_H
#define MERIDIAN_SIM_CONTROL_INNER_H

#include "bgp/speaker.h"
#include "scenario/distances.h"
#include "sim/control.h"
#include "sim/event.h"

#define CONTROL_AS 65000u

struct control_wire;

struct control_node {
    struct event_source work, hears;
    struct control *above;
    uint32_t router, index; /* of the scenario; among PEs, or among reflectors */
    bool reflector, alive;
    struct bgp_speaker *speaker; /* NULL: it does not run */
    struct control_wire **wires;
    uint32_t n_wires;
    int64_t busy_until_ns, hears_last_ns;
    bool *reaches; /* PE by index: what its underlay says */
};

/* --- byte streams --- */

enum control_kind { CONTROL_SYN, CONTROL_ACCEPTED, CONTROL_DATA, CONTROL_CLOSE };

struct control_piece {
    struct control_piece *next;
    int64_t at_ns; /* of its arrival; INT64_MAX: there is no way */
    enum control_kind kind;
    uint32_t connection, len;
    uint8_t bytes[];
};

struct control_end { /* of a wire, and what is under way from it */
    struct control_node *node;
    struct control_wire *wire;
    uint16_t peer;
    enum bgp_side side;
    uint32_t connection; /* number of the one that is, or was last, open here */
    bool open, dialing;
    struct event_source arrives; /* at the other end */
    struct control_piece *first, **last;
    size_t under_way;
    int64_t free_ns, last_ns; /* the line is free; the last arrival */
};

struct control_wire { /* between a PE and a reflector */
    struct control_end end[2];
    struct distance way;
};

/* --- routes --- */

struct control_routes { /* that a PE announces in one VPN: their numbers are first, first + 1, … */
    uint32_t first, n;
};

struct control {
    const struct scenario *scenario;
    struct control_options options;
    struct events events;
    struct event_source fault_timer, ticks;
    int64_t end_ns;
    bool stopped;
    int failed;

    struct control_node *nodes; /* PEs, then reflectors */
    uint32_t n_pes, n_reflectors;
    struct control_wire *wires;
    uint32_t n_wires;

    bool *down_link, *down_router;
    struct distance *distances; /* [node * n_routers + router] */
    uint32_t next_fault;

    struct control_routes *routes; /* [PE * n_vpns + VPN] */
    uint32_t n_routes;
    uint32_t *owner, *vpn_of; /* by route */
    uint8_t *holds, *expects; /* [PE * n_routes + route] */
    uint32_t *wrong;          /* by PE */
    bool *was_wrong;          /* since the last thing that happened */
    int64_t *right_at;

    struct control_window *windows;
    uint32_t n_windows;
    uint64_t hash, octets, updates;
};

static inline struct control_node *control_pe(struct control *c, uint32_t i)
{
    return &c->nodes[i];
}

void control_note(struct control *c, uint64_t what, uint64_t a, uint64_t b); /* into the hash */
void control_spend(struct control_node *n, size_t octets);                   /* processor time */
int control_node_start(struct control_node *n, int64_t now);
void control_node_stop(struct control_node *n);

/* control_wire.c */
void control_wire_arrival(struct event_source *e, int64_t now);
void control_wire_tend(struct control_end *x, int64_t now); /* dials, writes, closes */
void control_wire_forget(struct control_end *x);            /* what is under way from it is lost */
void control_wire_hang_up(struct control_end *x, int64_t now);
void control_wire_way(struct control_wire *w, struct distance way, int64_t noticed_ns);
void control_wire_done(struct control_wire *w);

/* control_routes.c */
int control_routes_init(struct control *c);
void control_routes_done(struct control *c);
int control_routes_announce(struct control_node *n, int64_t now);
void control_routes_lost(struct control_node *n); /* it does not run any more */
struct ip6 control_loopback(uint32_t pe);
void control_vpn_route(void *node, const struct bgp_vpn_route *r, bool withdrawn);
void control_truth(struct control *c); /* what is right has changed */
int control_window_begin(struct control *c, const char *what);
void control_window_end(struct control *c);

/* control_fault.c */
int control_faults_init(struct control *c);
int control_underlay(struct control *c); /* ways of wires and who can reach whom, from what is down now */
void control_hears(struct event_source *e, int64_t now);

#endif
