/* An orderly end: nothing more is taken from hosts, our lanes close once they have sent what they hold, lanes of others are asked
 * to go elsewhere or to wait (lane/leave.c), and when nothing is left anywhere in this router, or the time is up, it may go. */
#include "router/router_bgp.h"

#include "base/clock.h"
#include "base/log.h"

#define LANES 256u

static void stop_taking(void *user, int64_t now)
{
    struct router *r = user;
    const struct router_config *c = &r->config;
    for (unsigned i = 0; i < c->n_ports; i++)
        if (c->ports[i].kind == PORT_ACCESS)
            loop_deaf(r->loop, (uint16_t)i, true);
    for (unsigned i = 0; i < c->n_slices; i++)
        forward_slice_del(r->forward, c->slices[i].tenant, c->slices[i].path, (enum lane_class)c->slices[i].class_,
            &c->slices[i].sid, now);
    lane_drain(forward_lanes(r->forward), now);
}

void router_drain(struct router *r)
{
    if (r->draining)
        return;
    log_info("draining");
    r->draining = true;
    r->drain_until = clock_now_ns() + r->options.drain_ns;
    router_bgp_drain(r->bgp);
    loop_call(r->loop, stop_taking, r);
}

struct emptiness {
    struct router *router;
    bool empty;
};

static void look(void *user, int64_t now)
{
    struct emptiness *e = user;
    struct router *r = e->router;
    struct lane_node *node = forward_lanes(r->forward);
    struct lane_view v[LANES];
    uint32_t cursor = 0;
    unsigned n;
    e->empty = loop_settled(r->loop) && lane_drained(node, now);
    while (e->empty && (n = lane_view(node, &cursor, v, LANES)) > 0)
        for (unsigned i = 0; i < n; i++)
            e->empty &= v[i].queued_packets == 0 && v[i].occupied_cells == 0;
    for (unsigned i = 0; e->empty && i < r->config.n_ports; i++) {
        const struct port *p = lane_port(node, (uint16_t)i);
        e->empty = p->control.packets == 0;
        for (unsigned c = 0; c < LANE_CLASSES; c++)
            e->empty &= p->lossy[c].packets == 0;
    }
}

bool router_drained(struct router *r, int64_t now)
{
    struct emptiness e = {r, false};
    loop_call(r->loop, look, &e);
    if (e.empty)
        log_info("drained");
    else if (now >= r->drain_until)
        log_warn("not drained in time: what is left is lost");
    return e.empty || now >= r->drain_until;
}
