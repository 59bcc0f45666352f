/* Sub-interfaces: set and deleted whole, their gateways' routes with them. */
#include "forward/access.h"
#include "forward/classes.h"
#include "forward/vrf.h"
#include "wire/ip_text.h"

#include <errno.h>

#define GATEWAYS 4u

/* The gateway's subnet and its own address as prefixes. */
static struct ip_prefix subnet_of(const struct ip_prefix *gateway)
{
    struct ip_prefix p = *gateway;
    ip_mask(&p.a, p.len);
    return p;
}

static struct ip_prefix address_of(const struct ip_prefix *gateway)
{
    struct ip_prefix p = *gateway;
    p.len = (uint8_t)ip_bits(p.family);
    return p;
}

/* --- checks ------------------------------------------------------------------------------------------------- */

static int check_gateways(const struct forward *f, const struct vrf *v, const struct access *old,
    const struct forward_access *a, struct error *err)
{
    char text[IP_TEXT_SIZE];
    for (unsigned i = 0; i < GATEWAYS; i++) {
        const struct ip_prefix *g = &a->gateway[i];
        if (!g->family)
            continue;
        if (!ip_bits(g->family) || g->len > ip_bits(g->family) || g->len == 0)
            return error_set(err, EINVAL, "gateway %s is no address with its subnet", ip_prefix_print(text, g));
        struct ip_prefix both[2] = {subnet_of(g), address_of(g)};
        for (unsigned k = 0; k < 2; k++) {
            const struct hop *there = vrf_exact(f, v, &both[k]);
            bool mine = old && there && there->port == a->port && there->vlan == a->vlan;
            if (there && !mine)
                return error_set(
                    err, EEXIST, "VRF %u has a route to %s already", v->id, ip_prefix_print(text, &both[k]));
        }
    }
    return 0;
}

static int check(const struct forward *f, const struct forward_access *a, struct error *err)
{
    if (a->port >= LANE_PORTS_MOST || !f->ports[a->port].access_of)
        return error_set(err, EINVAL, "port %u is no access port", a->port);
    if (a->vlan >= VLANS - 1)
        return error_set(err, EINVAL, "there is no VLAN %u (1 to 4094, 0: untagged)", a->vlan);
    if (a->vrf == 0)
        return error_set(err, EINVAL, "hosts never see the underlay: port %u VLAN %u needs a VRF", a->port, a->vlan);
    const struct vrf *v = vrf_find(f, a->vrf);
    if (!v)
        return error_set(err, ENOENT, "there is no VRF %u", a->vrf);
    if (a->tenant && a->tenant != v->tenant)
        return error_set(err, EINVAL, "VRF %u is of tenant %u, not %u", a->vrf, v->tenant, a->tenant);
    for (unsigned c = 0; c < LANE_CLASSES; c++)
        if (a->priority_of_class[c] > 7)
            return error_set(err, EINVAL, "802.1p priorities are 0 to 7, not %u", a->priority_of_class[c]);
    const struct access *old = access_find(f, a->port, a->vlan);
    if (old && old->config.vrf != a->vrf)
        return error_set(
            err, EBUSY, "port %u VLAN %u is in VRF %u: delete it first", a->port, a->vlan, old->config.vrf);
    return check_gateways(f, v, old, a, err);
}

/* --- routes of gateways --------------------------------------------------------------------------------------- */

static void remove_routes(struct forward *f, const struct access *a)
{
    for (unsigned i = 0; i < GATEWAYS; i++) {
        const struct ip_prefix *g = &a->config.gateway[i];
        if (!g->family)
            continue;
        struct ip_prefix subnet = subnet_of(g), address = address_of(g);
        vrf_remove(f, a->vrf, &address, false);
        vrf_remove(f, a->vrf, &subnet, false); /* -ENOENT when the subnet is the address */
    }
}

static int put_routes(struct forward *f, const struct access *a, struct error *err)
{
    struct hop attached = {.kind = ROUTE_ATTACHED, .port = a->config.port, .vlan = a->config.vlan};
    struct hop local = {.kind = ROUTE_LOCAL, .port = a->config.port, .vlan = a->config.vlan};
    for (unsigned i = 0; i < GATEWAYS; i++) {
        const struct ip_prefix *g = &a->config.gateway[i];
        if (!g->family)
            continue;
        struct ip_prefix subnet = subnet_of(g), address = address_of(g);
        int rc = vrf_put(f, a->vrf, &subnet, &attached, err);
        if (!rc)
            rc = vrf_put(f, a->vrf, &address, &local, err);
        if (rc)
            return rc;
    }
    return 0;
}

/* The address that speaks for a VRF about packets that came in elsewhere: the first there is. */
static void choose_speakers(struct forward *f, struct vrf *v)
{
    v->speaker4 = v->speaker6 = (struct ip_addr){0};
    for (unsigned i = ACCESSES_MOST; i-- > 0;)
        for (unsigned k = GATEWAYS; k-- > 0;) {
            const struct ip_prefix *g = &f->access[i].config.gateway[k];
            if (!f->access[i].used || f->access[i].vrf != v || !g->family)
                continue;
            *(g->family == IP_V4 ? &v->speaker4 : &v->speaker6) = (struct ip_addr){g->family, g->a};
        }
}

/* --- set, delete ------------------------------------------------------------------------------------------------ */

static struct access *unused(struct forward *f)
{
    for (unsigned i = 0; i < ACCESSES_MOST; i++)
        if (!f->access[i].used)
            return &f->access[i];
    return NULL;
}

static void police_set(struct access *a, uint32_t mtu)
{
    uint64_t rate = a->config.police_bps;
    a->police = (struct queue_bucket){.rate_bps = rate};
    if (!rate)
        return;
    int64_t two_packets = (int64_t)((unsigned __int128)queue_ns_per_byte(rate) * 2u * (mtu + 64u) >> 32);
    a->police.ns_per_byte = queue_ns_per_byte(rate);
    a->police.burst_ns = two_packets > POLICE_BURST_NS ? two_packets : POLICE_BURST_NS;
    a->police.ready_ns = INT64_MIN / 2;
}

/* Hosts learn of our addresses. */
static int announce(struct forward *f, struct access *a, int64_t now, struct error *err)
{
    const struct port_config *port = &f->ports[a->config.port].port->config;
    struct neighbour_net net = {
        .port = a->config.port,
        .vlan = a->config.vlan,
        .advertise = a->config.advertise,
        .mtu = a->config.host_mtu ? a->config.host_mtu : port->mtu,
        .share = a->config.neighbours,
    };
    memcpy(net.mac, port->mac, sizeof net.mac);
    memcpy(net.gateway, a->config.gateway, sizeof net.gateway);
    return neighbour_net_set(f->neighbours, &net, now, &a->net, err);
}

int forward_access_set(struct forward *f, const struct forward_access *config, int64_t now, struct error *err)
{
    uint8_t classes[DSCP_COUNT];
    int rc = check(f, config, err);
    if (!rc)
        rc = classes_plan(classes, config->class_of_dscp, err);
    if (rc)
        return rc;
    struct access *a = access_find(f, config->port, config->vlan), before = a ? *a : (struct access){0};
    if (!a && !(a = unused(f)))
        return error_set(err, ENOSPC, "no more than %u sub-interfaces fit", ACCESSES_MOST);
    if (before.used)
        remove_routes(f, &before);
    *a = (struct access){.config = *config, .used = true, .vrf = vrf_find(f, config->vrf)};
    a->config.tenant = a->vrf->tenant;
    memcpy(a->class_of_dscp, classes, sizeof classes);
    rc = put_routes(f, a, err);
    if (!rc)
        rc = announce(f, a, now, err);
    if (rc) {
        remove_routes(f, a);
        *a = before;
        if (before.used)
            put_routes(f, a, NULL); /* they were there a moment ago: their memory is */
        return rc;
    }
    police_set(a, f->ports[config->port].port->config.mtu);
    if (!before.used)
        a->vrf->users++;
    f->access_of_net[a->net] = (uint16_t)(a - f->access + 1);
    f->ports[config->port].access_of[config->vlan] = (uint16_t)(a - f->access + 1);
    choose_speakers(f, a->vrf);
    return 0;
}

int forward_access_del(struct forward *f, uint16_t port, uint16_t vlan, int64_t now)
{
    struct access *a = access_find(f, port, vlan);
    if (!a)
        return -ENOENT;
    struct vrf *v = a->vrf;
    neighbour_net_del(f->neighbours, a->net, now); /* what waits there goes by it still */
    f->access_of_net[a->net] = 0;
    remove_routes(f, a);
    f->ports[port].access_of[vlan] = 0;
    v->users--;
    *a = (struct access){0};
    choose_speakers(f, v);
    return 0;
}
