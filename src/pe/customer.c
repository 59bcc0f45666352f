/* Customers' routers (PE–CE, RFC 4364 7): VRFs that have some get a table in BGP (bgp/vrf.h), which chooses between what they say
 * and what comes from the VPN. Where a customer's route is best it leads to its router, over the access port whose subnet that is
 * in; what the configuration has itself (subnets, routes) stays, and customers are told of it. */
#include "pe/inner.h"

#include "bgp/vrf.h"
#include "wire/ip_text.h"

#include <errno.h>
#include <stdlib.h>

/* The sub-interface that the gateway is at; NULL: none of this VRF's. */
static const struct pe_own *subnet_of(const struct vrf *v, const struct ip_addr *gateway)
{
    const struct pe_own *found = NULL;
    for (unsigned i = 0; i < v->config.n_own; i++) {
        const struct pe_own *o = &v->config.own[i];
        if (o->attached && o->prefix.family == gateway->family && ip_match(&gateway->a, &o->prefix.a, o->prefix.len) &&
            (!found || o->prefix.len > found->prefix.len))
            found = o;
    }
    return found;
}

void customer_route(void *user, uint32_t vrf, const struct bgp_customer_route *r, bool withdrawn)
{
    struct pe *pe = user;
    struct vrf *v = vrf_of(pe, vrf);
    const struct pe_own *at = v && !withdrawn ? subnet_of(v, &r->gateway) : NULL;
    char gateway[IP_TEXT_SIZE];
    struct forward_route f = {.kind = ROUTE_GATEWAY, .gateway = r->gateway};
    if (!v)
        return;
    if (at) {
        f.port = at->port;
        f.vlan = at->vlan;
    } else if (!withdrawn) {
        pe_log(pe, true, "BGP: a customer's route leads to %s, which is in no subnet of VRF %u",
            ip_addr_print(gateway, &r->gateway), vrf);
    }
    vpn_customer(pe, v, &r->prefix, at ? &f : NULL);
}

static void hide(struct pe *pe, struct vrf *v)
{
    for (unsigned i = 0; i < v->n_shown; i++)
        bgp_vrf_withdraw(pe->speaker, v->config.id, &v->shown[i], pe->now);
    free(v->shown);
    v->shown = NULL;
    v->n_shown = 0;
}

static bool in_own(const struct vrf *v, const struct ip_prefix *p)
{
    for (unsigned i = 0; i < v->config.n_own; i++)
        if (v->config.own[i].announce && prefix_equal(&v->config.own[i].prefix, p))
            return true;
    return false;
}

/* What is still there is announced again, which says nothing; what is not is taken back. */
static int show(struct pe *pe, struct vrf *v, struct error *err)
{
    struct ip_prefix *now = malloc((v->config.n_own + 1) * sizeof *now);
    unsigned n = 0;
    int rc = now ? 0 : error_set(err, ENOMEM, "not enough memory for what customers are told");
    if (rc)
        return rc;
    for (unsigned i = 0; i < v->n_shown; i++)
        if (!in_own(v, &v->shown[i]))
            bgp_vrf_withdraw(pe->speaker, v->config.id, &v->shown[i], pe->now);
    for (unsigned i = 0; rc == 0 && i < v->config.n_own; i++)
        if (v->config.own[i].announce) {
            now[n++] = v->config.own[i].prefix;
            rc = bgp_vrf_announce(pe->speaker, v->config.id, &v->config.own[i].prefix, pe->now, err);
        }
    free(v->shown);
    v->shown = now;
    v->n_shown = n;
    return rc;
}

int customer_vrf(struct pe *pe, struct vrf *v, struct error *err)
{
    struct bgp_vrf_config c = {.vrf = v->config.id};
    uint8_t attributes[1024];
    if (!v->config.customers) {
        customer_vrf_end(pe, v);
        return 0;
    }
    if (v->config.n_import > BGP_VRF_TARGETS_MOST)
        return error_set(err, EINVAL, "VRF %u has customers' routers: it imports at most %u targets", v->config.id,
            BGP_VRF_TARGETS_MOST);
    memcpy(c.rd, v->config.rd, 8);
    c.n_imports = (uint8_t)v->config.n_import;
    if (c.n_imports)
        memcpy(c.imports, v->config.import, c.n_imports * 8u);
    c.attributes = attributes;
    c.len = export_attributes(v, attributes, sizeof attributes);
    int rc = bgp_vrf_set(pe->speaker, &c, pe->now, err);
    v->in_bgp = v->in_bgp || rc == 0;
    return rc ? rc : show(pe, v, err);
}

void customer_vrf_end(struct pe *pe, struct vrf *v)
{
    if (!v->in_bgp)
        return;
    hide(pe, v);
    if (bgp_vrf_remove(pe->speaker, v->config.id, pe->now) == 0)
        v->in_bgp = false;
}
