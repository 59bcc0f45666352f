#include "router/router_customers.h"

#include "base/bytes.h"
#include "peering/peering.h"
#include "router/router_inner.h"
#include "wire/ip_text.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define BGP_PORT     179u
#define PROTOCOL_TCP 6u
#define MTU          1500u
#define GATEWAYS     16u

/* --- TUNs ------------------------------------------------------------------------------------------------------------------ */

static struct router_customers *customers_of(const struct router *r, uint32_t vrf)
{
    for (unsigned i = 0; i < r->n_customers; i++)
        if (r->customers[i].vrf == vrf)
            return (struct router_customers *)&r->customers[i];
    return NULL;
}

const char *customers_device(const struct router *r, uint32_t vrf)
{
    const struct router_customers *c = customers_of(r, vrf);
    return c ? c->device : NULL;
}

static bool has_gateway(const struct ip_addr *all, unsigned n, const struct ip_addr *a)
{
    for (unsigned i = 0; i < n; i++)
        if (ip_addr_equal(&all[i], a))
            return true;
    return false;
}

/* Our addresses in this VRF at ports where customers are. */
static unsigned gateways_of(const struct router_config *c, uint32_t vrf, struct ip_addr ret[GATEWAYS])
{
    unsigned n = 0;
    for (unsigned i = 0; i < c->bgp.n_customers; i++) {
        const struct config_customer *k = &c->bgp.customers[i];
        if (k->vrf == vrf && n < GATEWAYS && !has_gateway(ret, n, &k->local))
            ret[n++] = k->local;
    }
    return n;
}

static unsigned routes_of(const struct router_config *c, uint32_t vrf, struct ip_prefix ret[CONFIG_CUSTOMERS_MOST])
{
    unsigned n = 0;
    for (unsigned i = 0; i < c->bgp.n_customers; i++) {
        const struct config_customer *k = &c->bgp.customers[i];
        if (k->vrf == vrf)
            ret[n++] = (struct ip_prefix){k->address.family, k->address.family == IP_V4 ? 32 : 128, k->address.a};
    }
    return n;
}

static int open_vrf(struct router *r, uint32_t vrf, struct error *err)
{
    struct ip_addr addresses[GATEWAYS];
    struct ip_prefix routes[CONFIG_CUSTOMERS_MOST];
    struct router_customers *c = &r->customers[r->n_customers];
    if (r->n_customers == ROUTER_CUSTOMERS)
        return error_set(err, ENOSPC, "at most %u VRFs can have customers' routers", ROUTER_CUSTOMERS);
    c->vrf = vrf;
    if (snprintf(c->device, sizeof(c->device), "%s.%u", r->config.punt.device, vrf) >= (int)sizeof(c->device))
        return error_set(err, ENAMETOOLONG, "%s.%u: too long for an interface's name; give punt.device a shorter one",
            r->config.punt.device, vrf);
    int rc = punt_open(&c->punt,
        &(struct punt_config){.device = c->device,
            .mtu = r->config.punt.mtu && r->config.punt.mtu < MTU ? r->config.punt.mtu : MTU,
            .addresses = addresses,
            .n_addresses = gateways_of(&r->config, vrf, addresses),
            .routes = routes,
            .n_routes = routes_of(&r->config, vrf, routes),
            .metric = r->n_customers + 1},
        &r->pool, err);
    if (rc)
        return rc;
    c->punt.vrf = vrf;
    c->punt.forward = r->forward;
    r->n_customers++;
    return 0;
}

int customers_open(struct router *r, struct error *err)
{
    int rc = 0;
    for (unsigned i = 0; !rc && r->config.has_bgp && i < r->config.bgp.n_customers; i++)
        if (!customers_of(r, r->config.bgp.customers[i].vrf))
            rc = open_vrf(r, r->config.bgp.customers[i].vrf, err);
    return rc;
}

void customers_close(struct router *r)
{
    for (unsigned i = 0; i < r->n_customers; i++)
        punt_close(&r->customers[i].punt);
    r->n_customers = 0;
}

/* --- packets --------------------------------------------------------------------------------------------------------------- */

/* TCP from or to BGP's port; in fragments, or behind extension headers, BGP does not come. */
static bool is_bgp(const uint8_t *ip, uint32_t len)
{
    uint32_t at;
    if (len < IP4_SIZE)
        return false;
    if (ip[0] >> 4 == 4) {
        at = (uint32_t)(ip[0] & 15) * 4;
        if (at < IP4_SIZE || ip[IP4_PROTO] != PROTOCOL_TCP || (bytes_get_be16(ip + IP4_FRAG) & 0x3fff))
            return false;
    } else {
        at = IP6_SIZE;
        if (ip[0] >> 4 != 6 || len < IP6_SIZE || ip[IP6_NEXT] != PROTOCOL_TCP)
            return false;
    }
    return len >= at + 4 && (bytes_get_be16(ip + at) == BGP_PORT || bytes_get_be16(ip + at + 2) == BGP_PORT);
}

bool customers_punt(struct router *r, uint32_t vrf, struct rte_mbuf *m)
{
    struct router_customers *c = vrf ? customers_of(r, vrf) : NULL;
    if (!c || !is_bgp(packet_at(m, 0), m->data_len))
        return false;
    punt_write(&c->punt, m);
    return true;
}

bool customers_read(struct router *r, int64_t now)
{
    bool more = false;
    for (unsigned i = 0; i < r->n_customers; i++)
        more |= punt_read(&r->customers[i].punt, now);
    return more;
}

/* --- sockets --------------------------------------------------------------------------------------------------------------- */

int customers_listen(struct router *r, struct peering *p, struct error *err)
{
    int rc = 0;
    for (unsigned i = 0; i < r->n_customers; i++) {
        struct ip_addr at[GATEWAYS];
        unsigned n = gateways_of(&r->config, r->customers[i].vrf, at);
        for (unsigned k = 0; !rc && k < n; k++)
            rc = peering_listen_vrf(p, r->customers[i].vrf, &at[k], r->customers[i].device, err);
    }
    return rc;
}

int customers_may_change(const struct router *r, const struct router_config *to, struct error *err)
{
    for (unsigned i = 0; to->has_bgp && i < to->bgp.n_customers; i++) {
        const struct config_customer *k = &to->bgp.customers[i];
        bool there = false;
        for (unsigned j = 0; j < r->config.bgp.n_customers; j++)
            there |= r->config.bgp.customers[j].vrf == k->vrf &&
                     ip_addr_equal(&r->config.bgp.customers[j].address, &k->address);
        if (!there)
            return error_set(err, EPERM, "bgp.customers[%u] is new; that takes a restart", i);
    }
    return 0;
}
