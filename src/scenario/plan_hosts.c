/* Access ports, their VLANs, subnets and the hosts' addresses; and the flows of workloads between hosts. */
#include "scenario/plan_inner.h"

#include "base/bytes.h"
#include "scenario/resolve.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FLOWS_MOST   1000000u
#define FIRST_PORT   10000u
#define SERVER_PORT  5001u
#define PORT_ROCE    4791
#define HOSTS_OF_NET 253u

static int find_port(struct plan *p, uint32_t host, uint32_t *ret)
{
    const struct scenario_host *h = &p->scenario->hosts[host];
    struct plan_router *r = &p->routers[h->router];
    const char *name = h->port ? h->port : h->name;
    for (uint32_t i = 0; i < r->n_ports; i++)
        if (r->ports[i].access && strcmp(r->ports[i].name, name) == 0) {
            *ret = i;
            return 0;
        }
    struct plan_port *port = PLAN_ADD(r->ports, r->n_ports);
    if (!port)
        return -ENOMEM;
    *ret = r->n_ports - 1;
    *port = (struct plan_port){.access = true,
        .name = name,
        .link = SCENARIO_NONE,
        .peer = SCENARIO_NONE,
        .rate_bps = h->rate_bps,
        .delay_ns = h->delay_ns,
        .mtu = h->mtu,
        .mac = {0x02, 0x4d, (uint8_t)(r->id >> 8), (uint8_t)r->id, (uint8_t)*ret, 0}};
    return 0;
}

static int find_access(struct plan *p, uint32_t host, uint32_t port, uint32_t *ret, struct error *err)
{
    const struct scenario_host *h = &p->scenario->hosts[host];
    struct plan_router *r = &p->routers[h->router];
    for (uint32_t i = 0; i < r->n_access; i++)
        if (r->access[i].port == port && r->access[i].vlan == h->vlan) {
            *ret = i;
            if (r->access[i].vpn == h->vpn)
                return 0;
            return error_set(err, EINVAL, "host %s: VLAN %u of its port already belongs to VPN %s", h->name, h->vlan,
                p->scenario->vpns[r->access[i].vpn].name);
        }
    struct plan_access *a = PLAN_ADD(r->access, r->n_access);
    if (!a)
        return error_set(err, ENOMEM, "no memory");
    a->port = port;
    a->vpn = h->vpn;
    a->vlan = h->vlan;
    *ret = r->n_access - 1;
    return 0;
}

static int join_vpn(struct plan_router *r, uint32_t vpn)
{
    for (uint32_t i = 0; i < r->n_vpns; i++)
        if (r->vpns[i] == vpn)
            return 0;
    uint32_t *x = PLAN_ADD(r->vpns, r->n_vpns);
    if (!x)
        return -ENOMEM;
    *x = vpn;
    return 0;
}

static void classes(const struct scenario_vpn *v, struct plan_access *a)
{
    memset(a->class_of_dscp, SCENARIO_BULK, sizeof(a->class_of_dscp));
    for (int c = SCENARIO_INFERENCE; c < SCENARIO_CLASSES; c++)
        a->class_of_dscp[v->slice[c].dscp] = (uint8_t)c;
}

static int attach(struct plan *p, uint32_t host, struct error *err)
{
    const struct scenario_host *h = &p->scenario->hosts[host];
    const struct scenario_vpn *v = &p->scenario->vpns[h->vpn];
    struct plan_router *r = &p->routers[h->router];
    struct plan_host *x = &p->hosts[host];
    if (find_port(p, host, &x->port) || join_vpn(r, h->vpn))
        return error_set(err, ENOMEM, "no memory");
    int rc = find_access(p, host, x->port, &x->access, err);
    if (rc)
        return rc;
    classes(v, &r->access[x->access]);
    for (int c = SCENARIO_INFERENCE; c < SCENARIO_CLASSES && h->pfc; c++)
        r->ports[x->port].pfc_priorities |= (uint8_t)(v->slice[c].wanted << v->slice[c].priority);
    x->router = h->router;
    x->vlan = h->vlan;
    memcpy(x->gateway_mac, r->ports[x->port].mac, 6);
    memcpy(x->mac, (uint8_t[6]){0x02, 0x48, 0, (uint8_t)(host >> 16), (uint8_t)(host >> 8), (uint8_t)host}, 6);
    return 0;
}

/* --- addresses ----------------------------------------------------------------------------------------------------- */

static void planned4(struct ip_prefix *ret, uint32_t subnet, uint32_t last)
{
    *ret = (struct ip_prefix){
        .family = IP_V4, .len = 24, .a = {{10, (uint8_t)(subnet >> 8), (uint8_t)subnet, (uint8_t)last}}};
}

static void planned6(struct ip_prefix *ret, uint32_t subnet, uint32_t last)
{
    *ret = (struct ip_prefix){.family = IP_V6, .len = 64, .a = {{0xfd, 0x10}}};
    bytes_put_be16(ret->a.b + 6, (uint16_t)subnet);
    bytes_put_be16(ret->a.b + 14, (uint16_t)last);
}

static bool same_subnet(const struct ip_prefix *a, const struct ip_prefix *b)
{
    if (a->family != b->family || a->len != b->len)
        return false;
    unsigned whole = a->len / 8, rest = a->len % 8;
    return memcmp(a->a.b, b->a.b, whole) == 0 && (rest == 0 || (a->a.b[whole] ^ b->a.b[whole]) >> (8 - rest) == 0);
}

/* The gateway is the subnet's first address. */
static struct ip_prefix gateway_of(const struct ip_prefix *in)
{
    struct ip_prefix g = *in;
    unsigned size = in->family == IP_V4 ? 4 : 16, whole = in->len / 8, rest = in->len % 8;
    if (rest)
        g.a.b[whole] &= (uint8_t)(0xff << (8 - rest));
    for (unsigned i = whole + (rest != 0); i < size; i++)
        g.a.b[i] = 0;
    g.a.b[size - 1] |= 1;
    return g;
}

/* A subnet that a host gave replaces the planned one of its family. */
static int given_subnet(struct plan *p, uint32_t host, struct plan_access *a, struct error *err)
{
    const struct scenario_host *h = &p->scenario->hosts[host];
    if (!h->subnet.family)
        return 0;
    struct ip_prefix g = gateway_of(&h->subnet);
    struct ip_prefix *gateway = h->subnet.family == IP_V4 ? &a->gateway4 : &a->gateway6;
    if (memcmp(&g.a, &h->subnet.a, sizeof(g.a)) == 0)
        return error_set(err, EINVAL, "host %s: its address is its gateway's (the first of the subnet)", h->name);
    if (gateway->family && !same_subnet(gateway, &h->subnet))
        return error_set(
            err, EINVAL, "host %s: its subnet is not that of its neighbours at the same port and VLAN", h->name);
    *gateway = g;
    return 0;
}

static bool taken(const struct plan *p, uint32_t router, uint32_t access, const struct ip_prefix *x, uint32_t but)
{
    for (uint32_t i = 0; i < p->scenario->n_hosts; i++) {
        const struct plan_host *h = &p->hosts[i];
        const struct ip_prefix *has = x->family == IP_V4 ? &h->address4 : &h->address6;
        if (i != but && h->router == router && h->access == access && has->family &&
            memcmp(&has->a, &x->a, sizeof(x->a)) == 0)
            return true;
    }
    return false;
}

static int free_address(const struct plan *p, const struct plan_host *h, uint32_t host, const struct ip_prefix *gateway,
    struct ip_prefix *ret)
{
    unsigned last = gateway->family == IP_V4 ? 3 : 15;
    unsigned bits = (gateway->family == IP_V4 ? 32u : 128u) - gateway->len;
    uint32_t most = bits >= 8 ? HOSTS_OF_NET + 1 : (1u << bits) - 2;
    for (uint32_t k = 2; k <= most; k++) {
        *ret = *gateway;
        ret->a.b[last] = (uint8_t)((gateway->a.b[last] & ~1u) + k);
        if (!taken(p, h->router, h->access, ret, host))
            return 0;
    }
    return -ENOSPC;
}

static int address(struct plan *p, uint32_t host, struct error *err)
{
    const struct scenario_host *s = &p->scenario->hosts[host];
    struct plan_host *h = &p->hosts[host];
    const struct plan_access *a = &p->routers[h->router].access[h->access];
    int rc = h->address4.family ? 0 : free_address(p, h, host, &a->gateway4, &h->address4);
    rc = rc || h->address6.family ? rc : free_address(p, h, host, &a->gateway6, &h->address6);
    h->gateway4 = (struct ip_addr){.family = IP_V4, .a = a->gateway4.a};
    h->gateway6 = (struct ip_addr){.family = IP_V6, .a = a->gateway6.a};
    return rc ? error_set(err, EINVAL, "host %s: no address is left in its subnet", s->name) : 0;
}

static bool overlap(const struct ip_prefix *a, const struct ip_prefix *b)
{
    unsigned bits = a->len < b->len ? a->len : b->len;
    if (a->family != b->family || memcmp(a->a.b, b->a.b, bits / 8) != 0)
        return false;
    return bits % 8 == 0 || ((a->a.b[bits / 8] ^ b->a.b[bits / 8]) >> (8 - bits % 8)) == 0;
}

/* A VPN routes a subnet to one place. */
static int elsewhere(const struct plan *p, uint32_t host, struct error *err)
{
    const struct scenario *s = p->scenario;
    const struct scenario_host *a = &s->hosts[host];
    for (uint32_t k = 0; k < host; k++) {
        const struct scenario_host *b = &s->hosts[k];
        bool together = p->hosts[k].router == p->hosts[host].router && p->hosts[k].access == p->hosts[host].access;
        if (a->vpn == b->vpn && b->subnet.family && !together && overlap(&a->subnet, &b->subnet))
            return error_set(err, EINVAL, "host %s: its subnet is also host %s's, at another port of VPN %s", a->name,
                b->name, s->vpns[a->vpn].name);
    }
    return 0;
}

static int subnets(struct plan *p, struct error *err)
{
    const struct scenario *s = p->scenario;
    uint32_t subnet = 0;
    int rc = 0;
    for (uint32_t i = 0; i < s->n_hosts && !rc; i++)
        rc = given_subnet(p, i, &p->routers[p->hosts[i].router].access[p->hosts[i].access], err);
    for (uint32_t r = 0; r < s->n_routers; r++)
        for (uint32_t k = 0; k < p->routers[r].n_access; k++, subnet++) {
            struct plan_access *a = &p->routers[r].access[k];
            if (!a->gateway4.family)
                planned4(&a->gateway4, subnet, 1);
            if (!a->gateway6.family)
                planned6(&a->gateway6, subnet, 1);
        }
    if (!rc && subnet > 65536)
        return error_set(err, EINVAL, "more than 65536 access interfaces");
    for (uint32_t i = 0; i < s->n_hosts && !rc; i++) {
        struct plan_host *h = &p->hosts[i];
        const struct ip_prefix *given = &s->hosts[i].subnet;
        if (given->family && elsewhere(p, i, err))
            return -EINVAL;
        if (given->family && taken(p, h->router, h->access, given, i))
            return error_set(err, EINVAL, "host %s: its address is taken", s->hosts[i].name);
        if (given->family)
            *(given->family == IP_V4 ? &h->address4 : &h->address6) = *given;
    }
    for (uint32_t i = 0; i < s->n_hosts && !rc; i++)
        rc = address(p, i, err);
    return rc;
}

int plan_hosts(struct plan *p, struct error *err)
{
    int rc = 0;
    for (uint32_t i = 0; i < p->scenario->n_hosts && !rc; i++)
        rc = attach(p, i, err);
    return rc ? rc : subnets(p, err);
}

/* A packet that its sender's cable does not take would be cut in pieces there. */
static int fits(const struct scenario *s, const struct scenario_workload *w, uint32_t host, struct error *err)
{
    if (w->packet <= s->hosts[host].mtu || w->type == SCENARIO_WORK_COMMAND)
        return 0;
    return error_set(err, EINVAL,
        "workload %s: packets of %u bytes, but host %s has an MTU of %u; give it a larger mtu", w->name, w->packet,
        s->hosts[host].name, s->hosts[host].mtu);
}

/* --- flows ----------------------------------------------------------------------------------------------------------- */

static int flows_of_pair(struct plan *p, uint32_t workload, uint32_t from, uint32_t to, uint32_t *number)
{
    const struct scenario_workload *w = &p->scenario->workloads[workload];
    for (uint32_t k = 0; k < w->count; k++) {
        if (p->n_flows == FLOWS_MOST)
            return -E2BIG;
        struct plan_flow *f = PLAN_ADD(p->flows, p->n_flows);
        if (!f)
            return -ENOMEM;
        *f = (struct plan_flow){.workload = workload,
            .from = from,
            .to = to,
            .number = *number,
            .start_ns = w->start_ns + *number * w->stagger_ns,
            .src_port = (uint16_t)(FIRST_PORT + (p->n_flows - 1) % 50000),
            .dst_port = w->type == SCENARIO_WORK_ROCE ? PORT_ROCE : (uint16_t)(SERVER_PORT + workload % 4000)};
        (*number)++;
    }
    return 0;
}

int plan_flows(struct plan *p, struct error *err)
{
    const struct scenario *s = p->scenario;
    int rc = 0;
    for (uint32_t w = 0; w < s->n_workloads; w++) {
        uint32_t number = 0;
        for (uint32_t a = 0; a < s->n_hosts && !rc; a++)
            for (uint32_t b = 0; b < s->n_hosts && !rc; b++)
                if (a != b && s->hosts[a].vpn == s->hosts[b].vpn &&
                    name_matches(s->workloads[w].from, s->hosts[a].name) &&
                    name_matches(s->workloads[w].to, s->hosts[b].name)) {
                    if (fits(s, &s->workloads[w], a, err))
                        return -EINVAL;
                    rc = flows_of_pair(p, w, a, b, &number);
                }
    }
    if (rc == -E2BIG)
        return error_set(err, EINVAL, "more than %u flows; give workloads a smaller count or fewer hosts", FLOWS_MOST);
    return rc ? error_set(err, ENOMEM, "no memory") : 0;
}
