/* A router's configuration as src/pe wants it: who we are, what the VRFs have themselves, which services others reach them by. */
#include "router/router_bgp.h"

#include "wire/ip_text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct arrays { /* what the pointers of a struct pe_config point to */
    struct pe_vrf *vrfs;
    struct pe_own *own;
    uint8_t (*targets)[8];
    struct pe_static *statics, *crosses;
    struct ip_prefix *announce;
};

static struct queue_limits limits_of(const struct config_limits *l)
{
    return (struct queue_limits){l->ecn_cells, l->pfc_xoff_cells, l->pfc_xon_cells, l->drop_cells};
}

static struct ip_prefix subnet_of(const struct ip_prefix *gateway)
{
    struct ip_prefix p = *gateway;
    ip_mask(&p.a, p.len);
    return p;
}

/* Subnets of hosts and routes to the customer's routers are told to others; the rest only keeps BGP's out of its place. */
static unsigned own_of(const struct router_config *c, uint32_t vrf, struct pe_own *ret)
{
    unsigned n = 0;
    for (unsigned i = 0; i < c->n_access; i++)
        for (unsigned k = 0; c->access[i].vrf == vrf && k < c->access[i].n_gateways; k++)
            ret[n++] = (struct pe_own){.prefix = subnet_of(&c->access[i].gateways[k]),
                .announce = true,
                .attached = true,
                .port = (uint16_t)c->access[i].port,
                .vlan = (uint16_t)c->access[i].vlan};
    for (unsigned i = 0; i < c->n_routes; i++)
        if (c->routes[i].vrf == vrf)
            ret[n++] = (struct pe_own){.prefix = c->routes[i].prefix, .announce = c->routes[i].kind == ROUTE_GATEWAY};
    return n;
}

static unsigned own_most(const struct router_config *c)
{
    unsigned n = c->n_routes;
    for (unsigned i = 0; i < c->n_access; i++)
        n += c->access[i].n_gateways;
    return n;
}

static struct bgp_srv6_service service_of(const struct router_config *c, uint32_t vrf)
{
    const struct config_sid *s = router_config_service(c, vrf);
    if (!s)
        return (struct bgp_srv6_service){0};
    struct bgp_srv6_service r = {.sid = s->sid.a,
        .behaviour = (uint16_t)s->behaviour,
        .block_bits = (uint8_t)c->block_bits,
        .node_bits = (uint8_t)(c->locator.len - c->block_bits),
        .function_bits = (uint8_t)(s->sid.len > c->locator.len ? s->sid.len - c->locator.len : 0)};
    if (router_config_encrypted(c, vrf))
        r.behaviour = s->behaviour == SID_END_DT46 ? SID_END_ESP_DT46 : SID_END_ESP_DT46_NEXT_CSID;
    return r;
}

static int fill_vrf(const struct router_config *c, unsigned i, struct arrays *a, unsigned *n_own, unsigned *n_targets,
    struct error *err)
{
    const struct config_vrf *from = &c->vrfs[i];
    struct pe_vrf *v = &a->vrfs[i];
    *v = (struct pe_vrf){.id = from->id,
        .tenant = from->tenant,
        .encrypted = from->encrypt,
        .service = service_of(c, from->id),
        .own = a->own + *n_own};
    v->n_own = own_of(c, from->id, a->own + *n_own);
    *n_own += v->n_own;
    for (unsigned k = 0; k < c->bgp.n_customers; k++)
        v->customers |= c->bgp.customers[k].vrf == from->id;
    for (unsigned k = 0; k < from->n_classes; k++) {
        const struct config_class *x = &from->classes[k];
        v->class_[x->class_] = (struct pe_class){.color = x->color,
            .no_lane = !x->lane,
            .guarantee_bps = x->guarantee_bps,
            .cap_bps = x->cap_bps,
            .rate_bps = x->rate_bps,
            .window_least = x->window_least,
            .limits = limits_of(&x->limits)};
    }
    int rc = router_config_rd(c, i, v->rd, err);
    for (int exports = 0; rc >= 0 && exports < 2; exports++) {
        rc = router_config_targets(c, i, exports, a->targets + *n_targets, CONFIG_TARGETS_MOST, err);
        *(exports ? &v->export : &v->import) = (const uint8_t(*)[8])(a->targets + *n_targets);
        *(exports ? &v->n_export : &v->n_import) = rc > 0 ? (unsigned)rc : 0;
        *n_targets += rc > 0 ? (unsigned)rc : 0;
    }
    return rc < 0 ? rc : 0;
}

static const uint8_t no_mac[6];

static void fill_underlay(const struct router_config *c, struct arrays *a, struct pe_config *ret)
{
    for (unsigned i = 0; i < c->n_routes; i++) {
        const struct config_route *r = &c->routes[i];
        bool link = r->kind == ROUTE_ADJACENT;
        if (!r->vrf)
            a->statics[ret->n_statics++] = (struct pe_static){.prefix = r->prefix,
                .port = link ? (uint16_t)r->port : UINT16_MAX, /* elsewhere than over a link */
                .foreign = link && memcmp(c->ports[r->port].foreign, no_mac, 6) != 0};
    }
    for (unsigned i = 0; i < c->n_sids; i++)
        if (c->sids[i].behaviour == SID_END_X || c->sids[i].behaviour == SID_END_X_NEXT_CSID)
            a->crosses[ret->n_crosses++] =
                (struct pe_static){.prefix = c->sids[i].sid, .port = (uint16_t)c->sids[i].port};
    for (unsigned i = 0; i < c->punt.n_addresses; i++)
        if (c->punt.addresses[i].family == IP_V6)
            a->announce[ret->n_announce++] = (struct ip_prefix){IP_V6, 128, c->punt.addresses[i].a};
    for (unsigned i = 0; i < c->bgp.n_announce; i++)
        a->announce[ret->n_announce++] = c->bgp.announce[i];
    ret->statics = a->statics;
    ret->crosses = a->crosses;
    ret->announce = a->announce;
}

static void free_arrays(struct arrays *a)
{
    free(a->vrfs);
    free(a->own);
    free(a->targets);
    free(a->statics);
    free(a->crosses);
    free(a->announce);
}

void router_bgp_config_free(struct pe_config *c)
{
    struct arrays a = {.vrfs = (struct pe_vrf *)(uintptr_t)c->vrfs,
        .own = c->n_vrfs ? (struct pe_own *)(uintptr_t)c->vrfs[0].own : NULL,
        .targets = c->n_vrfs ? (uint8_t(*)[8])(uintptr_t)c->vrfs[0].import : NULL,
        .statics = (struct pe_static *)(uintptr_t)c->statics,
        .crosses = (struct pe_static *)(uintptr_t)c->crosses,
        .announce = (struct ip_prefix *)(uintptr_t)c->announce};
    free_arrays(&a);
}

int router_bgp_config(const struct router_config *c, struct pe_config *ret, struct error *err)
{
    struct arrays a = {.vrfs = calloc(c->n_vrfs + 1, sizeof(*a.vrfs)),
        .own = c->n_vrfs ? calloc(own_most(c) + 1, sizeof(*a.own)) : NULL,
        .targets = c->n_vrfs ? calloc((size_t)c->n_vrfs * 2 * CONFIG_TARGETS_MOST + 1, 8) : NULL,
        .statics = calloc(c->n_routes + 1, sizeof(*a.statics)),
        .crosses = calloc(c->n_sids + 1, sizeof(*a.crosses)),
        .announce = calloc(c->bgp.n_announce + c->punt.n_addresses + 1, sizeof(*a.announce))};
    unsigned own = 0, targets = 0;
    int rc = 0;
    *ret = (struct pe_config){.router = c->id,
        .as = c->bgp.as,
        .loopback = c->loopback,
        .locator = c->locator,
        .block_bits = (uint8_t)c->block_bits,
        .links = c->bgp.links};
    memcpy(ret->identifier, c->bgp.identifier.a.b, 4);
    if (!a.vrfs || !a.statics || !a.crosses || !a.announce || (c->n_vrfs && (!a.own || !a.targets)))
        rc = error_set(err, ENOMEM, "no memory");
    for (unsigned i = 0; !rc && i < c->n_vrfs; i++)
        if ((rc = fill_vrf(c, i, &a, &own, &targets, err)) != 0)
            error_prefix(err, rc, "vrfs[%u]", i);
    if (rc) {
        free_arrays(&a);
        *ret = (struct pe_config){0};
        return rc;
    }
    ret->vrfs = a.vrfs;
    ret->n_vrfs = c->n_vrfs;
    fill_underlay(c, &a, ret);
    return 0;
}
