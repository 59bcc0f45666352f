/* A router's tables from the plan: the same entries as the lab writes into `meridian router`'s configuration. */
#include "sim/sim_inner.h"

#include "base/clock.h"
#include "crypto/curve25519.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LANES_SPARE       64
#define HISTORY           4096
#define ACCESS_ECN        (256u << 10)
#define ACCESS_ECN_NS     (50 * NS_PER_US) /* or what the port brings in this time */
#define LINK_WINDOW_TIMES 4                /* packets that do not fill their cells */
#define XOFF_TIMES        4
#define DROP_TIMES        16

_Static_assert((int)SCENARIO_BULK == (int)LANE_BULK && (int)SCENARIO_CLASSES == (int)LANE_CLASSES, "the same classes");
_Static_assert(
    (int)SCENARIO_PFC == (int)LANE_MODE_PFC && (int)SCENARIO_LANES == (int)LANE_MODE_LANES, "the same modes");

static bool passes(const struct plan *p, uint32_t from, uint32_t path, uint32_t router)
{
    const struct plan_path *x = &p->routers[from].paths[path - 1];
    bool through = from == router;
    for (uint32_t l = 0; l < x->n_links; l++)
        for (int side = 0; side < 2; side++)
            through |= p->scenario->links[x->links[l]].router[side] == router;
    return through;
}

/* Every lane that passes any router could pass this one: the bound is the plan's number of slices that do. */
static uint32_t lanes_through(const struct plan *p, uint32_t router)
{
    uint32_t n = LANES_SPARE;
    for (uint32_t r = 0; r < p->scenario->n_routers; r++)
        for (uint32_t i = 0; i < p->routers[r].n_slices; i++) {
            const struct plan_slice *slice = &p->routers[r].slices[i];
            n += passes(p, r, slice->path, router) + (slice->protect && passes(p, r, slice->protect, router));
        }
    return n < 65535 ? n : 65535;
}

static void identity_of(const struct sim *s, uint32_t router, uint8_t seed[32])
{
    for (unsigned i = 0; i < 4; i++) {
        uint64_t x = rng_u64(rng_mix(s->seed ^ 0x6b657973) + router, i);
        memcpy(seed + 8 * i, &x, 8);
    }
}

static int lanes_config(struct node *n, struct lane_node_config *c, struct error *err)
{
    const struct scenario *sc = n->sim->plan->scenario;
    *c = (struct lane_node_config){.router_id = sc->routers[n->index].id,
        .lanes_most = lanes_through(n->sim->plan, n->index),
        .mode = (enum lane_mode)n->sim->mode,
        .hello_ns = n->sim->plan->hello_ns,
        .silence_ns = n->sim->plan->silence_ns,
        .watchdog_ns = sc->watchdog_ns,
        .control_loss = sc->control_loss,
        .history_packets = HISTORY};
    identity_of(n->sim, n->index, c->identity);
    const struct plan_router *r = &n->sim->plan->routers[n->index];
    for (uint32_t i = 0; i < r->n_ports; i++)
        if (!r->ports[i].access)
            c->expected_peer[i] = sc->routers[r->ports[i].peer].id;
    c->trusted = n->sim->trusted;
    c->n_trusted = sc->n_routers;
    return 0;
}

static uint32_t cells(uint64_t bytes)
{
    uint64_t c = (bytes + PACKET_CELL - 1) / PACKET_CELL;
    return c < UINT32_MAX ? (uint32_t)c : UINT32_MAX;
}

/* Cells that may wait to be classified, where receive rings are modelled: what is under way at full rate belongs to them,
 * since all of it arrives even if the router does not look. */
static uint32_t link_window(const struct plan_port *p)
{
    double under_way = (double)p->rate_bps / 8 * (double)(2 * p->delay_ns + NS_PER_MS) * 1e-9;
    return NODE_RING / 2 + cells((uint64_t)(under_way * LINK_WINDOW_TIMES));
}

static int port(struct node *n, uint32_t i, struct error *err)
{
    const struct plan_port *p = &n->sim->plan->routers[n->index].ports[i];
    struct port_config c = {.kind = p->access ? PORT_ACCESS : PORT_CORE,
        .rate_bps = p->rate_bps,
        .mtu = p->mtu,
        .pool_cells = cells(p->pool),
        .tenant_cells = cells(p->tenant_pool),
        .link_window = n->poll_ns && !p->access ? link_window(p) : 0,
        .pfc_priorities = p->access || n->sim->mode == SCENARIO_PFC ? p->pfc_priorities : 0};
    memcpy(c.mac, p->mac, 6);
    if (!p->access && n->sim->mode == SCENARIO_PFC)
        c.pfc_priorities = 0xff;
    return forward_port_add(n->f, (uint16_t)i, &c, err);
}

static int access_of(struct node *n, uint32_t i, int64_t now, struct error *err)
{
    const struct plan *p = n->sim->plan;
    const struct plan_access *a = &p->routers[n->index].access[i];
    const struct scenario_vpn *v = &p->scenario->vpns[a->vpn];
    struct forward_access x = {.port = (uint16_t)a->port,
        .vlan = a->vlan,
        .vrf = v->vrf,
        .gateway = {a->gateway4, a->gateway6},
        .tenant = v->tenant_id};
    memcpy(x.class_of_dscp, a->class_of_dscp, sizeof(x.class_of_dscp));
    for (int c = 0; c < SCENARIO_CLASSES; c++)
        x.priority_of_class[c] = v->slice[c].priority;
    return forward_access_set(n->f, &x, now, err);
}

static bool is_encrypted(const struct node *n, uint32_t vrf)
{
    const struct scenario *s = n->sim->plan->scenario;
    for (uint32_t i = 0; i < s->n_vpns; i++)
        if (s->vpns[i].vrf == vrf)
            return s->vpns[i].encrypted;
    return false;
}

static int sid(struct node *n, const struct plan_sid *in, struct error *err)
{
    static const enum sid_behaviour behaviours[] = {SID_END_NEXT_CSID, SID_END_X_NEXT_CSID, SID_END_DT46_NEXT_CSID};
    struct forward_sid x = {
        .sid = in->sid, .behaviour = behaviours[in->kind], .port = (uint16_t)in->port, .vrf = in->vrf};
    if (in->kind == PLAN_SID_SERVICE && is_encrypted(n, in->vrf))
        x.behaviour = SID_END_ESP_DT46_NEXT_CSID;
    return forward_sid_set(n->f, &x, err);
}

static int path(struct node *n, const struct plan_path *in, struct error *err)
{
    struct forward_path x = {.id = in->id, .n_sids = in->n_sids, .out_port = (uint16_t)in->out_port};
    memcpy(x.sids, in->sids, sizeof(x.sids));
    _Static_assert(PLAN_RISKS_MOST <= FORWARD_RISKS_MOST, "all fit");
    memcpy(x.risks, in->risks, sizeof(in->risks));
    x.n_risks = in->n_risks;
    return forward_path_set(n->f, &x, err);
}

static int route(struct node *n, const struct plan_route *in, struct error *err)
{
    static const enum route_kind kinds[] = {ROUTE_ADJACENT, ROUTE_LOCAL, ROUTE_REMOTE};
    struct forward_route x = {.kind = kinds[in->kind],
        .port = (uint16_t)in->port,
        .service_sid = in->service_sid,
        .encrypted = in->encrypted};
    if (in->encrypted)
        x.peer = n->sim->plan->routers[in->egress].loopback;
    for (int c = 0; c < SCENARIO_CLASSES; c++)
        x.path_of_class[c] = in->path_of_class[c];
    return forward_route_set(n->f, in->vrf, &in->prefix, &x, err);
}

/* The ingress buffer as planned: marks first, pauses at four times that, polices at sixteen. */
static void limits_of(const struct node *n, const struct plan_slice *in, struct queue_limits *l)
{
    uint64_t ecn = (uint64_t)((double)in->rate_bps / 8 * (double)ACCESS_ECN_NS * 1e-9);
    ecn = in->ecn_at ? in->ecn_at : ecn > ACCESS_ECN ? ecn : ACCESS_ECN;
    uint64_t xoff = in->xoff_at ? in->xoff_at : XOFF_TIMES * ecn;
    *l = (struct queue_limits){.ecn_cells = cells(ecn),
        .pfc_xoff_cells = cells(xoff),
        .pfc_xon_cells = cells(in->xon_at ? in->xon_at : xoff / 2),
        .drop_cells = cells(in->drop_at ? in->drop_at : DROP_TIMES * ecn)};
}

/* The path that the scenario has beside it. */
static uint32_t backup_of(const struct node *n, const struct plan_slice *in)
{
    const struct plan_router *r = &n->sim->plan->routers[n->index];
    for (uint32_t i = 0; i < r->n_slices; i++)
        if (r->slices[i].standby && r->slices[i].vpn == in->vpn && r->slices[i].class_ == in->class_ &&
            ip6_equal(&r->slices[i].service_sid, &in->service_sid))
            return r->slices[i].path;
    return 0;
}

static int slice(struct node *n, const struct plan_slice *in, int64_t now, struct error *err)
{
    struct forward_slice x = {.tenant = n->sim->plan->scenario->vpns[in->vpn].tenant_id,
        .path = in->path,
        .class_ = (enum lane_class)in->class_,
        .service_sid = in->service_sid,
        .guarantee_bps = in->guarantee_bps,
        .cap_bps = in->cap_bps,
        .rate_bps = in->rate_bps,
        .window_least = cells(in->window_least),
        .backup = backup_of(n, in),
        .protect = in->protect};
    limits_of(n, in, &x.limits);
    return forward_slice_set(n->f, &x, now, err);
}

int node_configure(struct node *n, const struct forward_ops *ops, int64_t now, struct error *err)
{
    const struct plan *p = n->sim->plan;
    const struct plan_router *r = &p->routers[n->index];
    struct forward_config c = {.loopback = r->loopback,
        .locator_block_bits = PLAN_BLOCK_BITS,
        .routes_most = r->n_routes + r->n_sids + 4 * r->n_access + 64,
        .vrfs_most = r->n_vpns + 2};
    int rc = lanes_config(n, &c.lanes, err);
    rc = rc ? rc : forward_create(&n->f, &c, ops, err);
    for (uint32_t i = 0; i < r->n_ports && !rc; i++)
        rc = port(n, i, err);
    for (uint32_t i = 0; i < r->n_vpns && !rc; i++)
        rc = forward_vrf_add(n->f, p->scenario->vpns[r->vpns[i]].vrf, p->scenario->vpns[r->vpns[i]].tenant_id, err);
    for (uint32_t i = 0; i < r->n_access && !rc; i++)
        rc = access_of(n, i, now, err);
    for (uint32_t i = 0; i < r->n_sids && !rc; i++)
        rc = sid(n, &r->sids[i], err);
    for (uint32_t i = 0; i < r->n_paths && !rc; i++)
        rc = path(n, &r->paths[i], err);
    for (uint32_t i = 0; i < r->n_routes && !rc; i++)
        rc = route(n, &r->routes[i], err);
    rc = rc ? rc : node_keys(n, err);
    for (uint32_t i = 0; i < r->n_slices && !rc && n->sim->mode == SCENARIO_LANES; i++)
        if (!r->slices[i].standby)
            rc = slice(n, &r->slices[i], now, err);
    return rc;
}

void node_close_slices(struct node *n, int64_t now)
{
    const struct plan_router *r = &n->sim->plan->routers[n->index];
    for (uint32_t i = 0; i < r->n_slices; i++)
        forward_slice_del(n->f, n->sim->plan->scenario->vpns[r->slices[i].vpn].tenant_id, r->slices[i].path,
            (enum lane_class)r->slices[i].class_, &r->slices[i].service_sid, now);
}

/* The path of this router that came from path `of` of the scenario. */
static uint32_t path_id(const struct plan_router *r, uint32_t of)
{
    for (uint32_t i = 0; i < r->n_paths; i++)
        if (r->paths[i].of == of)
            return r->paths[i].id;
    return 0;
}

int node_move(struct node *n, const struct scenario_fault *x, int64_t now, struct error *err)
{
    const struct plan *p = n->sim->plan;
    const struct plan_router *r = &p->routers[n->index];
    const struct scenario_path *to = &p->scenario->paths[x->to_path];
    struct ip6 service = plan_service_sid(p, to->to, x->what);
    if (!n->f)
        return 0;
    int rc = forward_slice_move(n->f, p->scenario->vpns[x->what].tenant_id, (enum lane_class)x->class_, &service,
        path_id(r, x->from_path), path_id(r, x->to_path), now, err);
    return rc;
}

int sim_trusted_keys(struct sim *s, struct error *err)
{
    uint32_t n = s->plan->scenario->n_routers;
    s->trusted = calloc(n + 1, sizeof(*s->trusted));
    int rc = s->trusted ? 0 : error_set(err, ENOMEM, "no memory");
    for (uint32_t i = 0; i < n && !rc; i++) {
        uint8_t seed[32];
        identity_of(s, i, seed);
        rc = sim_public_key(seed, s->trusted[i], err);
    }
    return rc;
}
