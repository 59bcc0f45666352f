#include "forward/report.h"
#include "forward/local.h"

/* --- the underlay ------------------------------------------------------------------------------------------- */

static void tell_core(struct forward *f, const struct walk *w, enum icmp_error_kind kind, uint32_t value)
{
    struct ip_addr from = {IP_V6, f->config.loopback};
    struct icmp_ops ops = {f->ops.user, f->ops.alloc, f->ops.free};
    struct rte_mbuf *m = icmp_error(&f->icmp, &ops, kind, value, w->m, ETHER_SIZE, &from, w->now);
    if (m)
        local_send(f, f->vrfs[0], m, w->now);
}

void report_hop_limit(struct forward *f, const struct walk *w)
{
    tell_core(f, w, ICMP_HOP_LIMIT, 0);
}

void report_too_big(struct forward *f, const struct walk *w, uint32_t mtu)
{
    tell_core(f, w, ICMP_TOO_BIG, mtu);
}

void report_no_route(struct forward *f, const struct walk *w)
{
    tell_core(f, w, ICMP_NO_ROUTE, 0);
}

void report_problem(struct forward *f, const struct walk *w, unsigned code, uint32_t at)
{
    static const enum icmp_error_kind kind[] = {
        [0] = ICMP_BAD_FIELD, [1] = ICMP_BAD_NEXT, [2] = ICMP_BAD_OPTION, [3] = ICMP_BAD_NEXT, [4] = ICMP_BAD_UPPER};
    tell_core(f, w, kind[code], at);
}

/* --- VRFs ----------------------------------------------------------------------------------------------------- */

/* Our address where the packet came in, else any of ours in its VRF. Family 0: none. */
static struct ip_addr speaker(const struct forward *f, const struct inner *p)
{
    uint16_t at = p->port < LANE_PORTS_MOST && f->ports[p->port].access_of ? f->ports[p->port].access_of[p->vlan] : 0;
    if (at && p->origin == INNER_ACCESS)
        for (unsigned i = 0; i < 4; i++)
            if (f->access[at - 1].config.gateway[i].family == p->family)
                return (struct ip_addr){p->family, f->access[at - 1].config.gateway[i].a};
    return p->family == IP_V4 ? p->vrf->speaker4 : p->vrf->speaker6;
}

static void tell_inner(struct forward *f, const struct inner *p, enum icmp_error_kind kind, uint32_t value)
{
    struct ip_addr from = speaker(f, p);
    struct icmp_ops ops = {f->ops.user, f->ops.alloc, f->ops.free};
    struct rte_mbuf *m = icmp_error(&f->icmp, &ops, kind, value, p->m, 0, &from, p->now);
    if (m)
        local_send(f, p->vrf, m, p->now);
}

void report_inner_hop_limit(struct forward *f, const struct inner *p)
{
    tell_inner(f, p, ICMP_HOP_LIMIT, 0);
}

void report_inner_too_big(struct forward *f, const struct inner *p, uint32_t mtu)
{
    tell_inner(f, p, ICMP_TOO_BIG, mtu);
}

void report_inner_no_route(struct forward *f, const struct inner *p)
{
    tell_inner(f, p, ICMP_NO_ROUTE, 0);
}

void report_inner_no_host(struct forward *f, const struct inner *p)
{
    tell_inner(f, p, ICMP_NO_HOST, 0);
}
