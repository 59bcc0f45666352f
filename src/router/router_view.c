#include "router/router_inner.h"

#include <string.h>

static void view_port(struct router *r, unsigned i, struct port_view *v)
{
    struct lane_node *node = forward_lanes(r->forward);
    const struct port *p = lane_port(node, (uint16_t)i);
    const struct router_port *own = &r->ports[i];
    *v = (struct port_view){.up = own->device->up,
        .core = lane_link_view(node, (uint16_t)i, &v->link),
        .rx_packets = p->rx_packets,
        .rx_bytes = p->rx_bytes,
        .tx_packets = p->tx_packets,
        .tx_bytes = p->tx_bytes,
        .paused = p->paused,
        .stopped = p->pfc.stopped,
        .pfc_told = p->pfc.told,
        .pfc_heard = p->pfc.heard,
        .device = own->inner->n,
        .has_fibre = device_is_fibre(own->device)};
    if (v->core)
        lane_link_view(node, (uint16_t)i, &v->link);
    for (unsigned c = 0; c < LANE_CLASSES; c++) {
        v->waiting_packets += p->lossy[c].packets;
        v->waiting_cells += p->lossy[c].cells;
        v->dropped_packets += p->lossy[c].dropped_packets;
    }
    if (v->has_fibre)
        device_fibre_counters(own->device, &v->fibre);
    loop_port_counters(r->loop, (uint16_t)i, &v->loop);
}

struct call {
    struct router *router;
    void *ret;
    uint32_t *cursor;
    unsigned most, got;
};

static void view_ports(void *user, int64_t now)
{
    struct call *c = user;
    struct ports_view *v = c->ret;
    v->at_ns = now;
    v->n = c->router->config.n_ports;
    for (unsigned i = 0; i < v->n; i++)
        view_port(c->router, i, &v->port[i]);
}

void router_view_ports(struct router *r, struct ports_view *ret)
{
    loop_call(r->loop, view_ports, &(struct call){r, ret});
}

static void view_totals(void *user, int64_t now)
{
    struct call *c = user;
    struct router *r = c->router;
    struct router_totals *t = c->ret;
    const struct loss_log *loss = forward_loss(r->forward);
    *t = (struct router_totals){.at_ns = now,
        .loop = *loop_counters(r->loop),
        .forward = forward_counts(r->forward),
        .loss_overrun = loss->overrun,
        .pool_free = pool_free_count(&r->pool),
        .punt_in = r->punt.in,
        .punt_out = r->punt.out,
        .punt_refused = r->punt.refused,
        .echoes_answered = r->echoes.answered,
        .echoes_dropped = r->echoes.dropped};
    memcpy(t->loss_packets, loss->packets, sizeof(t->loss_packets));
    memcpy(t->loss_cells, loss->cells, sizeof(t->loss_cells));
}

void router_view_totals(struct router *r, struct router_totals *ret)
{
    loop_call(r->loop, view_totals, &(struct call){r, ret});
}

static void view_lanes(void *user, int64_t now)
{
    struct call *c = user;
    c->got = lane_view(forward_lanes(c->router->forward), c->cursor, c->ret, c->most);
}

unsigned router_view_lanes(struct router *r, uint32_t *cursor, struct lane_view *ret, unsigned most)
{
    struct call c = {r, ret, cursor, most, 0};
    loop_call(r->loop, view_lanes, &c);
    return c.got;
}

static void view_routes(void *user, int64_t now)
{
    struct call *c = user;
    c->got = forward_routes_view(c->router->forward, c->cursor, c->ret, c->most);
}

unsigned router_view_routes(struct router *r, uint32_t *cursor, struct forward_route_view *ret, unsigned most)
{
    struct call c = {r, ret, cursor, most, 0};
    loop_call(r->loop, view_routes, &c);
    return c.got;
}

static void view_neighbours(void *user, int64_t now)
{
    struct call *c = user;
    c->got = forward_neighbours_view(c->router->forward, c->cursor, c->ret, c->most);
}

unsigned router_view_neighbours(struct router *r, uint32_t *cursor, struct forward_neighbour_view *ret, unsigned most)
{
    struct call c = {r, ret, cursor, most, 0};
    loop_call(r->loop, view_neighbours, &c);
    return c.got;
}

static void view_protects(void *user, int64_t now)
{
    struct call *c = user;
    c->got = forward_protects_view(c->router->forward, c->cursor, c->ret, c->most);
}

unsigned router_view_protects(struct router *r, uint32_t *cursor, struct forward_protect_view *ret, unsigned most)
{
    struct call c = {r, ret, cursor, most, 0};
    loop_call(r->loop, view_protects, &c);
    return c.got;
}

static void view_streams(void *user, int64_t now)
{
    struct call *c = user;
    c->got = forward_streams_view(c->router->forward, c->cursor, c->ret, c->most);
}

unsigned router_view_streams(struct router *r, uint32_t *cursor, struct forward_stream_view *ret, unsigned most)
{
    struct call c = {r, ret, cursor, most, 0};
    loop_call(r->loop, view_streams, &c);
    return c.got;
}
