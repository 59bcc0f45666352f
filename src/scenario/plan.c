#include "scenario/plan_inner.h"

#include "base/bytes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_0   0xfcbb
#define BLOCK_1   0xbb00
#define ADJACENCY 0xe000u
#define SERVICE   0xf000u

void *plan_grow(void **list, uint32_t *n, size_t size)
{
    /* Room doubles at powers of two: the count alone says when. */
    if ((*n & (*n - 1)) == 0) {
        void *more = realloc(*list, (size_t)(*n ? 2 * *n : 1) * size);
        if (!more)
            return NULL;
        *list = more;
    }
    void *entry = (char *)*list + (size_t)(*n)++ * size;
    memset(entry, 0, size);
    return entry;
}

static struct ip6 in_block(uint16_t a, uint16_t b)
{
    struct ip6 x = {0};
    bytes_put_be16(x.b, BLOCK_0);
    bytes_put_be16(x.b + 2, BLOCK_1);
    bytes_put_be16(x.b + 4, a);
    bytes_put_be16(x.b + 6, b);
    return x;
}

struct ip6 plan_service_sid(const struct plan *p, uint32_t router, uint32_t vpn)
{
    return in_block((uint16_t)p->routers[router].id, (uint16_t)(SERVICE + p->scenario->vpns[vpn].vrf));
}

uint32_t plan_core_port(const struct plan *p, uint32_t router, uint32_t link)
{
    for (uint32_t i = 0; i < p->routers[router].n_ports; i++)
        if (!p->routers[router].ports[i].access && p->routers[router].ports[i].link == link)
            return i;
    return SCENARIO_NONE;
}

/* --- routers and their core ports ------------------------------------------------------------------------------- */

static void identify(struct plan_router *r, uint32_t id)
{
    r->id = id;
    r->loopback = (struct ip6){{0xfd, 0x00, 0x6d, 0x65}};
    bytes_put_be16(r->loopback.b + 14, (uint16_t)id);
    r->locator = (struct ip_prefix){.family = IP_V6, .len = PLAN_BLOCK_BITS + 16, .a = in_block((uint16_t)id, 0)};
}

static int core_port(struct plan *p, uint32_t link, uint32_t side)
{
    const struct scenario_link *l = &p->scenario->links[link];
    struct plan_router *r = &p->routers[l->router[side]];
    struct plan_port *port = PLAN_ADD(r->ports, r->n_ports);
    if (!port)
        return -ENOMEM;
    *port = (struct plan_port){.link = link,
        .side = side,
        .peer = l->router[!side],
        .rate_bps = l->rate_bps,
        .delay_ns = l->delay_ns,
        .mtu = l->mtu,
        .mac = {0x02, 0x4d, (uint8_t)(r->id >> 8), (uint8_t)r->id, (uint8_t)(r->n_ports - 1), 0}};
    return 0;
}

static int core_ports(struct plan *p)
{
    const struct scenario *s = p->scenario;
    int rc = 0;
    for (uint32_t l = 0; l < s->n_links && !rc; l++) {
        rc = core_port(p, l, 0);
        rc = rc ? rc : core_port(p, l, 1);
    }
    for (uint32_t l = 0; l < s->n_links && !rc; l++)
        for (uint32_t side = 0; side < 2; side++) {
            uint32_t here = s->links[l].router[side], there = s->links[l].router[!side];
            p->routers[here].ports[plan_core_port(p, here, l)].peer_port = plan_core_port(p, there, l);
        }
    return rc;
}

/* --- SIDs and the underlay ---------------------------------------------------------------------------------------- */

static int add_sid(
    struct plan_router *r, enum plan_sid_kind kind, struct ip6 sid, uint8_t len, uint32_t port, uint32_t vrf)
{
    struct plan_sid *x = PLAN_ADD(r->sids, r->n_sids);
    if (!x)
        return -ENOMEM;
    *x = (struct plan_sid){.kind = kind, .sid = {.family = IP_V6, .len = len, .a = sid}, .port = port, .vrf = vrf};
    return 0;
}

static int sids(struct plan *p, uint32_t router)
{
    struct plan_router *r = &p->routers[router];
    int rc = add_sid(r, PLAN_SID_NODE, r->locator.a, r->locator.len, 0, 0);
    for (uint32_t i = 0; i < r->n_ports && !rc; i++) {
        if (r->ports[i].access)
            continue;
        uint16_t function = (uint16_t)(ADJACENCY + i);
        rc = add_sid(r, PLAN_SID_ADJACENCY, in_block((uint16_t)r->id, function), PLAN_BLOCK_BITS + 32, i, 0);
        rc = rc ? rc : add_sid(r, PLAN_SID_ADJACENCY, in_block(function, 0), PLAN_BLOCK_BITS + 16, i, 0);
    }
    for (uint32_t i = 0; i < r->n_vpns && !rc; i++)
        rc = add_sid(r, PLAN_SID_SERVICE, plan_service_sid(p, router, r->vpns[i]), PLAN_BLOCK_BITS + 32, 0,
            p->scenario->vpns[r->vpns[i]].vrf);
    return rc;
}

static int underlay_route(struct plan_router *r, struct ip_prefix prefix, enum plan_route_kind kind, uint32_t port)
{
    struct plan_route *x = PLAN_ADD(r->routes, r->n_routes);
    if (!x)
        return -ENOMEM;
    *x = (struct plan_route){.prefix = prefix, .kind = kind, .port = port};
    return 0;
}

static int underlay(struct plan *p, uint32_t router, uint32_t *first)
{
    struct plan_router *r = &p->routers[router];
    int rc = walk_first_links(p->scenario, router, first);
    for (uint32_t to = 0; to < p->scenario->n_routers && !rc; to++) {
        const struct plan_router *t = &p->routers[to];
        struct ip_prefix loopback = {.family = IP_V6, .len = 128, .a = t->loopback};
        if (to == router) {
            rc = underlay_route(r, loopback, PLAN_ROUTE_LOCAL, 0);
        } else if (first[to] != SCENARIO_NONE) {
            uint32_t port = plan_core_port(p, router, first[to]);
            rc = underlay_route(r, loopback, PLAN_ROUTE_ADJACENT, port);
            rc = rc ? rc : underlay_route(r, t->locator, PLAN_ROUTE_ADJACENT, port);
        }
    }
    return rc;
}

static int routers(struct plan *p, struct error *err)
{
    const struct scenario *s = p->scenario;
    uint32_t *first = malloc((s->n_routers + 1) * sizeof(*first));
    int rc = first ? 0 : -ENOMEM;
    for (uint32_t i = 0; i < s->n_routers && !rc; i++) {
        rc = sids(p, i);
        rc = rc ? rc : underlay(p, i, first);
    }
    free(first);
    return rc ? error_set(err, -rc, "no memory") : 0;
}

static int few_ports(const struct plan *p, struct error *err)
{
    for (uint32_t i = 0; i < p->scenario->n_routers; i++)
        if (p->routers[i].n_ports > PLAN_PORTS_MOST)
            return error_set(err, EINVAL,
                "router %s: more than %u ports; share its links and hosts among several routers",
                p->scenario->routers[i].name, PLAN_PORTS_MOST);
    return 0;
}

int plan_create(struct plan **ret, const struct scenario *s, struct error *err)
{
    struct plan *p = calloc(1, sizeof(*p));
    if (!p)
        return error_set(err, ENOMEM, "no memory");
    p->scenario = s;
    p->hello_ns = s->hello_ns;
    p->silence_ns = s->silence_ns;
    p->routers = calloc(s->n_routers + 1, sizeof(*p->routers));
    p->hosts = calloc(s->n_hosts + 1, sizeof(*p->hosts));
    int rc = p->routers && p->hosts ? 0 : -ENOMEM;
    for (uint32_t i = 0; i < s->n_routers && !rc; i++)
        identify(&p->routers[i], s->routers[i].id);
    rc = rc ? rc : core_ports(p);
    if (rc)
        error_set(err, ENOMEM, "no memory");
    rc = rc ? rc : plan_hosts(p, err);
    rc = rc ? rc : few_ports(p, err);
    rc = rc ? rc : routers(p, err);
    rc = rc ? rc : plan_paths(p, err);
    rc = rc ? rc : plan_flows(p, err);
    if (rc) {
        plan_free(p);
        return rc;
    }
    *ret = p;
    return 0;
}

void plan_free(struct plan *p)
{
    if (!p)
        return;
    for (uint32_t i = 0; p->routers && i < p->scenario->n_routers; i++) {
        struct plan_router *r = &p->routers[i];
        free(r->ports);
        free(r->access);
        free(r->sids);
        free(r->vpns);
        free(r->routes);
        free(r->paths);
        free(r->slices);
    }
    free(p->routers);
    free(p->hosts);
    free(p->flows);
    free(p);
}
