/* The configuration's BGP: what must be there together, and what follows when it is not said: identifiers, targets, RDs and
 * service SIDs. What follows is the same after every start, since peers keep it over a restart. */
#include "router/router_config.h"

#include "base/bytes.h"
#include "pe/pe.h"
#include "wire/ip_text.h"
#include "wire/route_target.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FUNCTIONS_FROM 0xf000u /* of services that are derived; the last twelve bits are those of the VRF's id */

uint32_t router_config_family(uint32_t family)
{
    static const uint32_t of[] = {BGP_EVPN, BGP_VPNV4, BGP_VPNV6, BGP_SR_POLICY_V6, BGP_SR_POLICY_V4, BGP_RTC};
    return of[family];
}

/* --- VRFs ------------------------------------------------------------------------------------------------------ */

/* A route target and an RD of the same text differ in two octets only (RFC 4360, 4364). */
static int rd_parse(uint8_t ret[8], const char *text, struct error *err)
{
    int rc = route_target_parse(ret, text, err);
    ret[1] = ret[0];
    ret[0] = 0;
    return rc;
}

int router_config_rd(const struct router_config *c, unsigned i, uint8_t ret[8], struct error *err)
{
    const struct config_vrf *v = &c->vrfs[i];
    uint8_t rd[8] = {0, 1};
    if (v->rd_text[0]) {
        int rc = rd_parse(rd, v->rd_text, err);
        if (rc)
            return error_prefix(err, rc, "rd");
    } else {
        if (v->id > UINT16_MAX)
            return error_set(err, EINVAL, "rd is missing: it cannot be made of an id above 65535");
        memcpy(rd + 2, c->bgp.identifier.a.b, 4);
        bytes_put_be16(rd + 6, (uint16_t)v->id);
    }
    memcpy(ret, rd, 8);
    return 0;
}

static int usual_target(const struct router_config *c, unsigned i, uint8_t ret[8], struct error *err)
{
    char text[32];
    snprintf(text, sizeof(text), "%u:%u", c->bgp.as, c->vrfs[i].id);
    if (c->bgp.as > UINT16_MAX && c->vrfs[i].id > UINT16_MAX)
        return error_set(err, EINVAL, "import and export are missing: they cannot be made of numbers above 65535");
    return route_target_parse(ret, text, err);
}

int router_config_targets(
    const struct router_config *c, unsigned i, bool exports, uint8_t (*ret)[8], unsigned most, struct error *err)
{
    const struct config_vrf *v = &c->vrfs[i];
    const struct config_target *t = exports ? v->exports : v->imports;
    unsigned n = exports ? v->n_exports : v->n_imports;
    int rc = 0;
    if (n == 0) {
        rc = usual_target(c, i, ret[0], err);
        return rc ? rc : 1;
    }
    for (unsigned k = 0; rc == 0 && k < n && k < most; k++) {
        rc = route_target_parse(ret[k], t[k].text, err);
        if (rc)
            error_prefix(err, rc, "%s[%u]", exports ? "export" : "import", k);
    }
    return rc ? rc : (int)(n < most ? n : most);
}

bool router_config_encrypted(const struct router_config *c, uint32_t vrf)
{
    for (unsigned i = 0; i < c->n_vrfs; i++)
        if (c->vrfs[i].id == vrf)
            return c->vrfs[i].encrypt;
    return false;
}

static bool takes_both(const struct config_sid *s)
{
    return s->behaviour == SID_END_DT46 || s->behaviour == SID_END_DT46_NEXT_CSID;
}

const struct config_sid *router_config_service(const struct router_config *c, uint32_t vrf)
{
    const struct config_sid *found = NULL;
    for (unsigned i = 0; i < c->n_sids; i++)
        if (c->sids[i].vrf == vrf && (!found || (takes_both(&c->sids[i]) && !takes_both(found))))
            found = &c->sids[i];
    return found;
}

/* locator:f000+id, as if it stood in the file. */
static int derive_service(struct router_config *c, unsigned i, struct error *err)
{
    struct config_sid *more, s = {.sid = c->locator, .behaviour = SID_END_DT46_NEXT_CSID, .vrf = c->vrfs[i].id};
    if (c->locator.len % 8 || c->locator.len > 112)
        return error_set(
            err, EINVAL, "its service SID does not follow from a locator of %u bits: name one in sids", c->locator.len);
    bytes_put_be16(s.sid.a.b + c->locator.len / 8, (uint16_t)(FUNCTIONS_FROM | (c->vrfs[i].id & 0xfff)));
    s.sid.len = (uint8_t)(c->locator.len + 16);
    snprintf(s.vrf_name, sizeof(s.vrf_name), "%s", c->vrfs[i].name);
    for (unsigned k = 0; k < c->n_sids; k++)
        if (c->sids[k].sid.len == s.sid.len && ip6_equal(&c->sids[k].sid.a, &s.sid.a))
            return error_set(err, EINVAL, "the service SID that follows from its id is taken: name another in sids");
    more = realloc(c->sids, (c->n_sids + 1) * sizeof(*more));
    if (!more)
        return error_set(err, ENOMEM, "no memory");
    c->sids = more;
    c->sids[c->n_sids++] = s;
    return 0;
}

static int check_classes(const struct config_vrf *v, struct error *err)
{
    for (unsigned i = 0; i < v->n_classes; i++) {
        for (unsigned k = 0; k < i; k++)
            if (v->classes[k].class_ == v->classes[i].class_)
                return error_set(err, EINVAL, "classes[%u]: the same class twice", i);
        if (v->classes[i].cap_bps && v->classes[i].cap_bps < v->classes[i].guarantee_bps)
            return error_set(err, EINVAL, "classes[%u]: cap is below guarantee", i);
    }
    return 0;
}

static int check_vrf(struct router_config *c, unsigned i, struct error *err)
{
    const struct config_vrf *v = &c->vrfs[i];
    uint8_t rd[8], targets[CONFIG_TARGETS_MOST][8];
    int rc = check_classes(v, err);
    if (!rc && c->has_bgp) {
        rc = router_config_rd(c, i, rd, err);
        for (int exports = 0; rc >= 0 && exports < 2; exports++)
            rc = router_config_targets(c, i, exports, targets, CONFIG_TARGETS_MOST, err);
        rc = rc < 0 ? rc : router_config_service(c, v->id) ? 0 : derive_service(c, i, err);
    } else if (!rc && (v->rd_text[0] || v->n_imports || v->n_exports)) {
        rc = error_set(err, EINVAL, "rd, import and export are for BGP: the section bgp is missing");
    }
    for (unsigned k = 0; !rc && v->encrypt && k < c->n_sids; k++)
        if (c->sids[k].vrf == v->id && !takes_both(&c->sids[k]))
            rc = error_set(err, EINVAL, "it is encrypted: its service must be uDT46 or End.DT46");
    return rc;
}

/* --- what every router of BGP has ---------------------------------------------------------------------------------- */

static int derive_local(struct router_config *c, const struct ip6 *a, struct error *err)
{
    struct config_route *more,
        r = {.prefix = {.family = IP_V6, .len = 128, .a = *a}, .local = true, .kind = ROUTE_LOCAL};
    for (unsigned i = 0; i < c->n_routes; i++)
        if (!c->routes[i].vrf && c->routes[i].prefix.len == 128 && ip6_equal(&c->routes[i].prefix.a, a))
            return 0;
    more = realloc(c->routes, (c->n_routes + 1) * sizeof(*more));
    if (!more)
        return error_set(err, ENOMEM, "no memory");
    c->routes = more;
    c->routes[c->n_routes++] = r;
    return 0;
}

static int derive_node(struct router_config *c, struct error *err)
{
    struct config_sid *more, s = {.sid = c->locator, .behaviour = SID_END_NEXT_CSID};
    for (unsigned i = 0; i < c->n_sids; i++)
        if (c->sids[i].behaviour == SID_END_NEXT_CSID || c->sids[i].behaviour == SID_END)
            return 0;
    more = realloc(c->sids, (c->n_sids + 1) * sizeof(*more));
    if (!more)
        return error_set(err, ENOMEM, "no memory");
    c->sids = more;
    c->sids[c->n_sids++] = s;
    return 0;
}

/* --- the section ------------------------------------------------------------------------------------------------- */

static int check_peers(const struct config_bgp *b, struct error *err)
{
    for (unsigned i = 0; i < b->n_peers; i++)
        for (unsigned k = 0; k < i; k++)
            if (ip_addr_equal(&b->peers[i].address, &b->peers[k].address))
                return error_set(err, EINVAL, "bgp.peers[%u]: the same address twice", i);
    return 0;
}

static int check_section(struct router_config *c, struct error *err)
{
    struct config_bgp *b = &c->bgp;
    if (!c->has_punt)
        return error_set(err, EINVAL, "bgp: its connections need punt");
    if (b->links && c->id >= UINT32_MAX - PE_LINK_AS)
        return error_set(
            err, EINVAL, "bgp.links: ids above %u have no AS number of their own", UINT32_MAX - PE_LINK_AS - 1);
    if (!b->identifier.family) {
        b->identifier.family = IP_V4;
        bytes_put_be32(b->identifier.a.b, c->id);
    }
    if (b->identifier.family != IP_V4)
        return error_set(err, EINVAL, "bgp.identifier: is written like an IPv4 address");
    for (unsigned i = 0; i < b->n_announce; i++)
        if (b->announce[i].family != IP_V6)
            return error_set(err, EINVAL, "bgp.announce[%u]: the underlay is IPv6", i);
    int rc = check_peers(b, err);
    rc = rc ? rc : derive_local(c, &c->loopback, err);
    for (unsigned i = 0; !rc && i < c->punt.n_addresses; i++)
        if (c->punt.addresses[i].family == IP_V6)
            rc = derive_local(c, &c->punt.addresses[i].a, err);
    return rc ? rc : derive_node(c, err);
}

/* --- customers' routers ---------------------------------------------------------------------------------------------- */

/* The access port in whose subnet it is, and our addresses there. */
static bool find_gateways(const struct router_config *c, struct config_customer *k)
{
    for (unsigned i = 0; i < c->n_access; i++) {
        const struct config_access *a = &c->access[i];
        bool here = false;
        k->next_hop4 = k->next_hop6 = (struct ip6){{0}};
        for (unsigned g = 0; a->vrf == k->vrf && g < a->n_gateways; g++) {
            const struct ip_prefix *p = &a->gateways[g];
            *(p->family == IP_V4 ? &k->next_hop4 : &k->next_hop6) = p->a;
            if (p->family != k->address.family || !ip_match(&p->a, &k->address.a, p->len))
                continue;
            here = true;
            k->local = (struct ip_addr){.family = p->family, .a = p->a};
        }
        if (here)
            return true;
    }
    return false;
}

static int check_customer(struct router_config *c, unsigned i, struct error *err)
{
    struct config_customer *k = &c->bgp.customers[i];
    for (unsigned v = 0; v < c->n_vrfs; v++)
        if (!strcmp(c->vrfs[v].name, k->vrf_name))
            k->vrf = c->vrfs[v].id;
    if (!k->vrf)
        return error_set(err, EINVAL, "there is no VRF \"%s\"", k->vrf_name);
    if (k->as == c->bgp.as)
        return error_set(err, EINVAL, "as: a customer has another AS number than ours");
    if (!find_gateways(c, k))
        return error_set(err, EINVAL, "address: it is in no subnet of an access port of VRF \"%s\"", k->vrf_name);
    if (ip_addr_equal(&k->address, &k->local))
        return error_set(err, EINVAL, "address: it is our own");
    for (unsigned j = 0; j < i; j++)
        if (c->bgp.customers[j].vrf == k->vrf && ip_addr_equal(&c->bgp.customers[j].address, &k->address))
            return error_set(err, EINVAL, "the same address twice");
    if (k->site_text[0]) {
        int rc = route_target_parse(k->site, k->site_text, err);
        k->site[1] = 3; /* RFC 4364 7: a site of origin is written like a target */
        return rc ? error_prefix(err, rc, "site") : 0;
    }
    return 0;
}

int router_config_check_bgp(struct router_config *c, struct error *err)
{
    int rc = c->has_bgp ? check_section(c, err) : 0;
    for (unsigned i = 0; !rc && c->has_bgp && i < c->bgp.n_customers; i++)
        if ((rc = check_customer(c, i, err)) != 0)
            error_prefix(err, rc, "bgp.customers[%u]", i);
    for (unsigned i = 0; !rc && i < c->n_vrfs; i++)
        if ((rc = check_vrf(c, i, err)) != 0)
            error_prefix(err, rc, "vrfs[%u]", i);
    return rc;
}
