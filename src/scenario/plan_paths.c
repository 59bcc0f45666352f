/* Paths between PEs, the slices (lanes) that run over them, and the VPNs' routes. */
#include "scenario/plan_inner.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define POOL_SLACK_NS 1000000      /* beyond the round trip: polling and credits that wait to be told */
#define POOL_TIMES    4            /* cells hold 2048 bytes and are rarely full; lanes grow while others shrink */
#define POOL_LANE     (512u << 10) /* for each lane, busy or not */
#define PROTECT_CELLS 2            /* packets of half a cell in the mean */

#define RISK_ROUTER 100000u /* beside links, which are numbered from 1 */
#define RISK_GROUP  200000u

static void add_risk(struct plan_path *x, uint32_t risk)
{
    for (uint32_t i = 0; i < x->n_risks; i++)
        if (x->risks[i] == risk)
            return;
    if (x->n_risks < PLAN_RISKS_MOST)
        x->risks[x->n_risks++] = risk;
}

/* A group's number is that of its first link. */
static uint32_t group_of(const struct scenario *s, const char *group)
{
    uint32_t i = 0;
    while (!s->links[i].group || strcmp(s->links[i].group, group) != 0)
        i++;
    return RISK_GROUP + i;
}

static void risks_of(const struct scenario *s, struct plan_path *x, uint32_t from)
{
    uint32_t at = from;
    for (uint32_t i = 0; i < x->n_links; i++) {
        const struct scenario_link *l = &s->links[x->links[i]];
        add_risk(x, 1 + x->links[i]);
        if (l->group)
            add_risk(x, group_of(s, l->group));
        if (i)
            add_risk(x, RISK_ROUTER + at);
        at = walk_other_end(s, x->links[i], at);
    }
}

/* Turns a walk from `from` into a path of that router. */
static int add_path(struct plan *p, uint32_t from, uint32_t of, const struct walk *w, uint32_t *ret_id)
{
    const struct scenario *s = p->scenario;
    struct plan_router *r = &p->routers[from];
    struct plan_path *x = PLAN_ADD(r->paths, r->n_paths);
    if (!x)
        return -ENOMEM;
    *x = (struct plan_path){.id = r->n_paths, .of = of, .rate_bps = UINT64_MAX, .mtu = UINT32_MAX, .n_links = w->n};
    x->out_port = plan_core_port(p, from, w->link[0]);
    uint32_t at = from;
    for (uint32_t i = 0; i < w->n; i++) {
        const struct scenario_link *l = &s->links[w->link[i]];
        if (i) {
            uint32_t port = plan_core_port(p, at, w->link[i]);
            for (uint32_t k = 0; k < p->routers[at].n_sids; k++) {
                const struct plan_sid *sid = &p->routers[at].sids[k];
                if (sid->kind == PLAN_SID_ADJACENCY && sid->port == port && sid->sid.len == PLAN_BLOCK_BITS + 16)
                    x->sids[x->n_sids++] = sid->sid.a;
            }
        }
        x->links[i] = w->link[i];
        x->rate_bps = l->rate_bps < x->rate_bps ? l->rate_bps : x->rate_bps;
        x->mtu = l->mtu < x->mtu ? l->mtu : x->mtu;
        x->delay_ns += l->delay_ns;
        at = walk_other_end(s, w->link[i], at);
    }
    x->egress = at;
    risks_of(s, x, from);
    *ret_id = x->id;
    return 0;
}

static struct walk backwards(const struct walk *w)
{
    struct walk b = {.n = w->n};
    for (uint32_t i = 0; i < w->n; i++)
        b.link[i] = w->link[w->n - 1 - i];
    return b;
}

static int scenario_paths(struct plan *p, struct error *err)
{
    const struct scenario *s = p->scenario;
    struct walk *walks = calloc(s->n_paths + 1, sizeof(*walks));
    uint32_t id;
    int rc = walks ? 0 : error_set(err, ENOMEM, "no memory");
    for (uint32_t i = 0; i < s->n_paths && !rc; i++) {
        rc = walk_of_path(s, i, walks, &walks[i], err);
        if (rc)
            break;
        struct walk back = backwards(&walks[i]);
        rc = add_path(p, s->paths[i].from, i, &walks[i], &id);
        if (!rc && s->paths[i].both)
            rc = add_path(p, s->paths[i].to, i, &back, &id);
        if (rc)
            error_set(err, ENOMEM, "no memory");
    }
    free(walks);
    return rc;
}

/* The path that a VPN's class takes to an egress: the first listed one that is meant for it, else the shortest. */
static int choose(struct plan *p, uint32_t from, uint32_t to, uint32_t vpn, enum scenario_class c, uint32_t *ret)
{
    const struct scenario *s = p->scenario;
    const struct plan_router *r = &p->routers[from];
    struct walk w;
    for (uint32_t i = 0; i < r->n_paths; i++) {
        const struct plan_path *x = &r->paths[i];
        const struct scenario_path *of = x->of == SCENARIO_NONE ? NULL : &s->paths[x->of];
        bool meant = !of || (!of->standby && of->protects == SCENARIO_NONE &&
                                (of->vpn == SCENARIO_NONE || of->vpn == vpn) && (of->classes >> c & 1));
        if (x->egress == to && meant) {
            *ret = x->id;
            return 0;
        }
    }
    int rc = walk_shortest(s, from, to, NULL, &w);
    return rc ? rc : add_path(p, from, SCENARIO_NONE, &w, ret);
}

static int add_slice(struct plan *p, uint32_t from, const struct plan_path *path, uint32_t vpn, enum scenario_class c)
{
    const struct scenario_slice *in = &p->scenario->vpns[vpn].slice[c];
    struct plan_slice *x = PLAN_ADD(p->routers[from].slices, p->routers[from].n_slices);
    if (!x)
        return -ENOMEM;
    *x = (struct plan_slice){.vpn = vpn,
        .path = path->id,
        .class_ = c,
        .service_sid = plan_service_sid(p, path->egress, vpn),
        .guarantee_bps = in->guarantee_bps,
        .cap_bps = in->cap_bps,
        .rate_bps = in->rate_bps ? in->rate_bps : path->rate_bps,
        .window_least = in->window_least,
        .ecn_at = in->ecn_at,
        .xoff_at = in->xoff_at,
        .xon_at = in->xon_at,
        .drop_at = in->drop_at};
    if (!in->rate_bps && in->cap_bps && in->cap_bps < x->rate_bps)
        x->rate_bps = in->cap_bps;
    return 0;
}

/* Standby paths have slices too, marked so: a move opens them. */
static int standby_slices(struct plan *p, uint32_t from, uint32_t to, uint32_t vpn)
{
    const struct scenario *s = p->scenario;
    int rc = 0;
    for (uint32_t i = 0; i < p->routers[from].n_paths; i++) {
        const struct plan_path *x = &p->routers[from].paths[i];
        const struct scenario_path *of = x->of == SCENARIO_NONE ? NULL : &s->paths[x->of];
        if (x->egress != to || !of || !of->standby || (of->vpn != SCENARIO_NONE && of->vpn != vpn))
            continue;
        for (int c = SCENARIO_INFERENCE; c < SCENARIO_CLASSES && !rc; c++)
            if (s->vpns[vpn].slice[c].wanted && (of->classes >> c & 1)) {
                rc = add_slice(p, from, x, vpn, c);
                if (!rc)
                    p->routers[from].slices[p->routers[from].n_slices - 1].standby = true;
            }
    }
    return rc;
}

static bool has_vpn(const struct plan_router *r, uint32_t vpn)
{
    for (uint32_t i = 0; i < r->n_vpns; i++)
        if (r->vpns[i] == vpn)
            return true;
    return false;
}

/* The other PE's subnets of this VPN, over the chosen paths. */
static int vpn_routes(struct plan *p, uint32_t from, uint32_t to, uint32_t vpn, const uint32_t *path_of_class)
{
    const struct scenario_vpn *v = &p->scenario->vpns[vpn];
    struct plan_router *r = &p->routers[from];
    const struct plan_router *there = &p->routers[to];
    for (uint32_t i = 0; i < 2 * there->n_access; i++) {
        const struct plan_access *a = &there->access[i / 2];
        if (a->vpn != vpn)
            continue;
        struct plan_route *x = PLAN_ADD(r->routes, r->n_routes);
        if (!x)
            return -ENOMEM;
        *x = (struct plan_route){.vrf = v->vrf,
            .prefix = i % 2 ? a->gateway6 : a->gateway4,
            .kind = PLAN_ROUTE_REMOTE,
            .service_sid = plan_service_sid(p, to, vpn),
            .encrypted = v->encrypted,
            .egress = to};
        /* The subnet without its host bits. */
        for (unsigned bit = x->prefix.len; bit < 128; bit++)
            x->prefix.a.b[bit / 8] &= (uint8_t)~(0x80u >> bit % 8);
        memcpy(x->path_of_class, path_of_class, sizeof(x->path_of_class));
    }
    return 0;
}

static const char *risk_name(const struct scenario *s, uint32_t risk)
{
    return risk >= RISK_GROUP    ? s->links[risk - RISK_GROUP].group
           : risk >= RISK_ROUTER ? s->routers[risk - RISK_ROUTER].name
                                 : s->links[risk - 1].name;
}

/* The last slice of a router goes by a second path too, if there is one that protects its path. The faster one's packets wait for
 * the slower one's at the end: the windows hold what that is, in packets that do not fill their cells. */
static int protect(struct plan *p, uint32_t from, struct error *err)
{
    const struct scenario *s = p->scenario;
    struct plan_router *r = &p->routers[from];
    struct plan_slice *x = &r->slices[r->n_slices - 1];
    const struct plan_path *first = &r->paths[x->path - 1], *second = NULL;
    for (uint32_t i = 0; i < r->n_paths && first->of != SCENARIO_NONE; i++) {
        const struct scenario_path *of = r->paths[i].of == SCENARIO_NONE ? NULL : &s->paths[r->paths[i].of];
        if (of && of->protects == first->of && r->paths[i].egress == first->egress && (of->classes >> x->class_ & 1) &&
            (of->vpn == SCENARIO_NONE || of->vpn == x->vpn))
            second = &r->paths[i];
    }
    if (!second)
        return 0;
    for (uint32_t i = 0; i < first->n_risks; i++)
        for (uint32_t k = 0; k < second->n_risks; k++)
            if (first->risks[i] == second->risks[k])
                return error_set(err, EINVAL,
                    "path %s protects %s, but both depend on %s: choose two that share nothing",
                    s->paths[second->of].name, s->paths[first->of].name, risk_name(s, first->risks[i]));
    int64_t skew =
        first->delay_ns > second->delay_ns ? first->delay_ns - second->delay_ns : second->delay_ns - first->delay_ns;
    uint64_t held = (uint64_t)((double)x->rate_bps / 8 * (double)skew * 1e-9 * PROTECT_CELLS);
    x->protect = second->id;
    x->window_least = x->window_least > held ? x->window_least : held;
    return 0;
}

static int connect_pair(struct plan *p, uint32_t from, uint32_t to, uint32_t vpn, struct error *err)
{
    const struct scenario *s = p->scenario;
    uint32_t path_of_class[SCENARIO_CLASSES] = {0};
    int rc = 0;
    for (int c = SCENARIO_INFERENCE; c < SCENARIO_CLASSES && !rc; c++) {
        rc = choose(p, from, to, vpn, c, &path_of_class[c]);
        if (rc == -ENOENT || rc == -E2BIG)
            return error_set(err, EINVAL, "VPN %s: no way of at most %u links leads from %s to %s", s->vpns[vpn].name,
                PLAN_SIDS_MOST, s->routers[from].name, s->routers[to].name);
        if (!rc && s->vpns[vpn].slice[c].wanted)
            rc = add_slice(p, from, &p->routers[from].paths[path_of_class[c] - 1], vpn, c);
        if (!rc && s->vpns[vpn].slice[c].wanted && protect(p, from, err))
            return -EINVAL;
    }
    path_of_class[SCENARIO_CONTROL] = path_of_class[SCENARIO_BULK];
    rc = rc ? rc : standby_slices(p, from, to, vpn);
    rc = rc ? rc : vpn_routes(p, from, to, vpn, path_of_class);
    return rc ? error_set(err, ENOMEM, "no memory") : 0;
}

/* --- pools ------------------------------------------------------------------------------------------------------------- */

static void pools_on(struct plan *p, uint32_t from, const struct plan_path *path, const struct plan_slice *x)
{
    uint32_t at = from;
    for (uint32_t l = 0; l < path->n_links; l++) {
        at = walk_other_end(p->scenario, path->links[l], at);
        p->routers[at].ports[plan_core_port(p, at, path->links[l])].pool += POOL_LANE + x->window_least;
    }
}

/* What a port may promise: the scenario's word, or enough that neither distance nor the number of lanes limits them. */
static void pools(struct plan *p)
{
    const struct scenario *s = p->scenario;
    for (uint32_t i = 0; i < s->n_routers; i++)
        for (uint32_t k = 0; k < p->routers[i].n_slices; k++) {
            const struct plan_slice *x = &p->routers[i].slices[k];
            pools_on(p, i, &p->routers[i].paths[x->path - 1], x);
            if (x->protect)
                pools_on(p, i, &p->routers[i].paths[x->protect - 1], x);
        }
    for (uint32_t i = 0; i < s->n_routers; i++)
        for (uint32_t k = 0; k < p->routers[i].n_ports; k++) {
            struct plan_port *x = &p->routers[i].ports[k];
            double round_trip = (double)(2 * x->delay_ns + POOL_SLACK_NS) * 1e-9;
            x->pool += (uint64_t)((double)x->rate_bps / 8 * round_trip * POOL_TIMES);
            if (s->routers[i].pool)
                x->pool = s->routers[i].pool;
            x->tenant_pool = s->routers[i].tenant_pool;
            if (x->access)
                x->pool = x->tenant_pool = 0;
        }
}

int plan_paths(struct plan *p, struct error *err)
{
    const struct scenario *s = p->scenario;
    int rc = scenario_paths(p, err);
    for (uint32_t v = 0; v < s->n_vpns && !rc; v++)
        for (uint32_t a = 0; a < s->n_routers && !rc; a++)
            for (uint32_t b = 0; b < s->n_routers && !rc; b++)
                if (a != b && has_vpn(&p->routers[a], v) && has_vpn(&p->routers[b], v))
                    rc = connect_pair(p, a, b, v, err);
    if (!rc)
        pools(p);
    return rc;
}
