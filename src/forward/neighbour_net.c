/* Nets: which addresses belong to them, and their router advertisements (RFC 4861 section 6.2: three soon after the start,
 * then at random times between 198 and 600 s; asked ones at once, to all at most every 3 s). */
#include "forward/neighbour_inner.h"

#include "base/bytes.h"
#include "wire/ip_text.h"

#include <errno.h>

#define ADVERT_FIRST   3u /* as many come early */
#define ADVERT_SOON_NS (16 * SECOND_NS)
#define ADVERT_MIN_NS  (198 * SECOND_NS)
#define ADVERT_MAX_NS  (600 * SECOND_NS)
#define ADVERT_GAP_NS  (3 * SECOND_NS)
#define VLAN_MOST      4094u

static bool usable(const struct ip_prefix *p, const struct ip_addr *a)
{
    return p->family == a->family && ip_match(&p->a, &a->a, p->len);
}

const struct ip_prefix *net_subnet(const struct net *n, const struct ip_addr *a)
{
    for (unsigned i = 0; i < NEIGHBOUR_GATEWAYS; i++)
        if (usable(&n->config.gateway[i], a))
            return &n->config.gateway[i];
    return NULL;
}

static bool has_ip6(const struct net *n)
{
    for (unsigned i = 0; i < NEIGHBOUR_GATEWAYS; i++)
        if (n->config.gateway[i].family == IP_V6)
            return true;
    return false;
}

bool net_is_ours(const struct net *n, const struct ip_addr *a)
{
    for (unsigned i = 0; i < NEIGHBOUR_GATEWAYS; i++)
        if (n->config.gateway[i].family == a->family && ip6_equal(&n->config.gateway[i].a, &a->a))
            return true;
    return a->family == IP_V6 && has_ip6(n) && ip6_equal(&n->link_local, &a->a);
}

/* Of an IPv4 subnet shorter than /31, the first and the last address are no host's. */
static bool is_subnet_end(const struct ip_prefix *p, const struct ip_addr *a)
{
    if (p->family != IP_V4 || p->len >= 31)
        return false;
    uint32_t hosts = ~0u >> p->len, host = bytes_get_be32(a->a.b) & hosts;
    return host == 0 || host == hosts;
}

bool net_may_hold(const struct net *n, const struct ip_addr *a)
{
    if (!n->live || net_is_ours(n, a) || (a->family == IP_V6 && a->a.b[0] == 0xff))
        return false;
    const struct ip_prefix *p = net_subnet(n, a);
    if (p)
        return !is_subnet_end(p, a);
    return a->family == IP_V6 && has_ip6(n) && nd_is_link_local(&a->a);
}

/* --- advertisements ------------------------------------------------------------------------------------------- */

static void advert_at(struct neighbour_table *t, uint32_t net, int64_t due)
{
    deadlines_set(&t->deadlines, t->neighbours_most + net, due);
}

/* The one that is due, to all nodes; and when the next one will be. */
void net_advertise(struct neighbour_table *t, uint32_t net, int64_t now)
{
    struct net *n = &t->nets[net];
    send_router(t, n, &nd_all_nodes, n->config.mac, ADVERT_LIFETIME, now);
    n->advert_ns = now;
    int64_t wait = ADVERT_SOON_NS;
    if (++n->adverts >= ADVERT_FIRST)
        wait = ADVERT_MIN_NS + (int64_t)(rng_uniform(t->seed, t->draws++) * (double)(ADVERT_MAX_NS - ADVERT_MIN_NS));
    advert_at(t, net, now + wait);
}

void net_advert_asked(
    struct neighbour_table *t, uint32_t net, const struct nd *solicit, const uint8_t src_mac[6], int64_t now)
{
    struct net *n = &t->nets[net];
    const struct ip_addr src = {.family = IP_V6, .a = solicit->src};
    if (!n->config.advertise)
        return;
    if (net_may_hold(n, &src)) {
        const uint8_t *mac = solicit->has_mac ? solicit->mac : src_mac;
        neighbour_heard(t, net, &src, mac, false, true, now);
        if (icmp_limit_pass(&n->solicited, now))
            send_router(t, n, &src.a, mac, ADVERT_LIFETIME, now);
        return;
    }
    /* From a host without address: to all, but not more often than every three seconds. */
    int64_t at = n->advert_ns == INT64_MIN || now - n->advert_ns >= ADVERT_GAP_NS ? now : n->advert_ns + ADVERT_GAP_NS;
    if (at < t->deadlines.due[t->neighbours_most + net])
        advert_at(t, net, at);
}

/* --- setting and deleting ------------------------------------------------------------------------------------- */

static int net_valid(const struct neighbour_net *c, struct error *err)
{
    char text[IP_TEXT_SIZE];
    if (c->vlan > VLAN_MOST)
        return error_set(err, EINVAL, "VLAN %u: a VLAN is 1 to %u, or 0 for untagged", c->vlan, VLAN_MOST);
    if (!mac_is_unicast(c->mac))
        return error_set(err, EINVAL, "port %u: its MAC address is no unicast address", c->port);
    for (unsigned i = 0; i < NEIGHBOUR_GATEWAYS; i++) {
        const struct ip_prefix *p = &c->gateway[i];
        const struct ip_addr a = {.family = p->family, .a = p->a};
        static const struct ip6 zero;
        if (p->family == 0)
            continue;
        if (p->len > ip_bits(p->family) || ip6_equal(&p->a, &zero) || is_subnet_end(p, &a) ||
            (p->family == IP_V6 ? p->a.b[0] == 0xff : p->a.b[0] >> 4 == 14))
            return error_set(err, EINVAL, "%s is no address that a gateway can have", ip_prefix_print(text, p));
    }
    return 0;
}

uint32_t neighbour_net_find(const struct neighbour_table *t, uint16_t port, uint16_t vlan)
{
    for (uint32_t i = 0; i < t->nets_most; i++)
        if (t->nets[i].live && t->nets[i].config.port == port && t->nets[i].config.vlan == vlan)
            return i;
    return UINT32_MAX;
}

/* What neighbours know of us stays the same. */
static bool same_to_hosts(const struct neighbour_net *a, const struct neighbour_net *b)
{
    bool same = memcmp(a->mac, b->mac, 6) == 0;
    for (unsigned i = 0; i < NEIGHBOUR_GATEWAYS; i++)
        same = same && a->gateway[i].family == b->gateway[i].family && a->gateway[i].len == b->gateway[i].len &&
               ip6_equal(&a->gateway[i].a, &b->gateway[i].a);
    return same;
}

static void net_start(struct neighbour_table *t, uint32_t net, const struct neighbour_net *c, int64_t now)
{
    struct net *n = &t->nets[net];
    neighbour_forget_net(t, net, now);
    *n = (struct net){.live = true, .config = *c, .advert_ns = INT64_MIN};
    nd_link_local(&n->link_local, c->mac);
    icmp_limit_init(&n->solicited, 10, 10);
    icmp_limit_init(&n->asking, 200, 64);
    send_announcements(t, n, now);
}

static uint32_t net_free(const struct neighbour_table *t)
{
    uint32_t i = 0;
    while (i < t->nets_most && t->nets[i].live)
        i++;
    return i;
}

int neighbour_net_set(
    struct neighbour_table *t, const struct neighbour_net *c, int64_t now, uint32_t *ret_net, struct error *err)
{
    int rc = net_valid(c, err);
    if (rc)
        return rc;
    uint32_t net = neighbour_net_find(t, c->port, c->vlan), share = c->share ? c->share : NEIGHBOUR_NET_MOST;
    bool fresh = net == UINT32_MAX;
    if (fresh)
        net = net_free(t);
    if (net == t->nets_most)
        return error_set(err, ENOSPC, "there are %u access sub-interfaces, which is the limit", t->nets_most);
    struct net *n = &t->nets[net];
    if (share > t->neighbours_most - t->reserved + n->config.share)
        return error_set(err, ENOSPC,
            "port %u VLAN %u: no room for %u neighbours, %u of %u are reserved for other nets", c->port, c->vlan, share,
            t->reserved - n->config.share, t->neighbours_most);
    t->reserved += share - n->config.share;
    if (fresh || !same_to_hosts(&n->config, c) || neighbour_count(t, net) > share)
        net_start(t, net, c, now);
    n->config = *c;
    n->config.share = share;
    n->config.advertise = c->advertise && has_ip6(n);
    advert_at(t, net, n->config.advertise ? now : DEADLINE_NEVER);
    *ret_net = net;
    return 0;
}

int neighbour_net_del(struct neighbour_table *t, uint32_t net, int64_t now)
{
    if (net >= t->nets_most || !t->nets[net].live)
        return -ENOENT;
    struct net *n = &t->nets[net];
    if (n->config.advertise)
        send_router(t, n, &nd_all_nodes, n->config.mac, 0, now);
    neighbour_forget_net(t, net, now);
    advert_at(t, net, DEADLINE_NEVER);
    t->reserved -= n->config.share;
    *n = (struct net){0};
    return 0;
}
