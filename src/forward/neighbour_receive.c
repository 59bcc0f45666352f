/* What hosts say: ARP and discovery that came in at a net. */
#include "forward/neighbour_inner.h"

#include <errno.h>

static const struct ip6 unspecified;

/* Whom to believe: a host of this net, not somebody with our address or of another subnet. */
static bool believable(struct neighbour_table *t, const struct net *n, const struct ip_addr *a)
{
    if (net_may_hold(n, a))
        return true;
    t->counters.foreign++;
    return false;
}

static void receive_arp(struct neighbour_table *t, uint32_t net, const struct arp *a, int64_t now)
{
    const struct net *n = &t->nets[net];
    struct ip_addr sender = {.family = IP_V4}, target = {.family = IP_V4};
    memcpy(sender.a.b, a->sender.b, 4);
    memcpy(target.a.b, a->target.b, 4);
    bool for_us = net_is_ours(n, &target), probe = ip6_equal(&sender.a, &unspecified);
    if (!probe && !believable(t, n, &sender))
        return;
    if (!probe) /* RFC 826: a known sender is updated whomever it asks */
        neighbour_heard(
            t, net, &sender, a->sender_mac, a->op == ARP_REPLY && for_us, a->op == ARP_REQUEST && for_us, now);
    if (a->op != ARP_REQUEST || !for_us)
        return;
    struct arp reply = {.op = ARP_REPLY, .sender = a->target, .target = a->sender};
    memcpy(reply.sender_mac, n->config.mac, 6);
    memcpy(reply.target_mac, a->sender_mac, 6);
    send_arp(t, n, &reply, a->sender_mac, now);
}

static void receive_solicit(
    struct neighbour_table *t, uint32_t net, const struct nd *d, const uint8_t src_mac[6], int64_t now)
{
    const struct net *n = &t->nets[net];
    const struct ip_addr src = {.family = IP_V6, .a = d->src}, target = {.family = IP_V6, .a = d->target};
    const uint8_t *mac = d->has_mac ? d->mac : src_mac;
    bool probe = ip6_equal(&d->src, &unspecified); /* somebody wants to take the address (RFC 4862 section 5.4) */
    if (!net_is_ours(n, &target) || (!probe && !believable(t, n, &src)))
        return;
    struct nd answer = {.type = ICMP6_NEIGHBOUR_ADVERT, .flags = ND_ROUTER | ND_OVERRIDE, .has_mac = true};
    answer.src = answer.target = d->target;
    answer.dst = probe ? nd_all_nodes : d->src;
    memcpy(answer.mac, n->config.mac, 6);
    if (!probe) {
        answer.flags |= ND_SOLICITED;
        neighbour_heard(t, net, &src, mac, false, true, now);
    }
    send_nd(t, n, &answer, mac, now);
}

/* RFC 4861 section 7.2.5. */
static void receive_advert(struct neighbour_table *t, uint32_t net, const struct nd *d, int64_t now)
{
    const struct ip_addr target = {.family = IP_V6, .a = d->target};
    if (!believable(t, &t->nets[net], &target))
        return;
    uint32_t i = neighbour_index(t, net, &target);
    if (i == NO_NEIGHBOUR)
        return;
    struct neighbour *e = &t->all[i];
    bool solicited = d->flags & ND_SOLICITED, other = d->has_mac && memcmp(e->mac, d->mac, 6);
    if (e->state == NEIGHBOUR_INCOMPLETE) {
        if (d->has_mac)
            neighbour_heard(t, net, &target, d->mac, solicited, false, now);
    } else if (other && !(d->flags & ND_OVERRIDE)) {
        if (e->state == NEIGHBOUR_REACHABLE)
            neighbour_state_set(t, i, NEIGHBOUR_STALE, now);
    } else if (solicited) {
        if (d->has_mac)
            memcpy(e->mac, d->mac, 6);
        neighbour_state_set(t, i, NEIGHBOUR_REACHABLE, now);
    } else if (other) {
        memcpy(e->mac, d->mac, 6);
        neighbour_state_set(t, i, NEIGHBOUR_STALE, now);
    }
}

static void receive_nd(
    struct neighbour_table *t, uint32_t net, const struct nd *d, const uint8_t src_mac[6], int64_t now)
{
    if (d->type == ICMP6_NEIGHBOUR_SOLICIT)
        receive_solicit(t, net, d, src_mac, now);
    else if (d->type == ICMP6_NEIGHBOUR_ADVERT)
        receive_advert(t, net, d, now);
    else
        net_advert_asked(t, net, d, src_mac, now);
}

bool neighbour_receive(struct neighbour_table *t, uint32_t net, uint16_t ether_type, const uint8_t src_mac[6],
    const uint8_t *packet, size_t len, int64_t now)
{
    struct arp a;
    struct nd d;
    int rc;
    if (ether_type != ETHER_ARP && ether_type != ETHER_IP6)
        return false;
    if (ether_type == ETHER_ARP)
        rc = arp_parse(&a, packet, len);
    else
        rc = nd_parse(&d, packet, len);
    if (ether_type == ETHER_IP6 && rc == -ENOENT)
        return false;
    t->counters.received++;
    if (rc || !mac_is_unicast(src_mac)) {
        t->counters.malformed++;
        return true;
    }
    if (ether_type == ETHER_ARP)
        receive_arp(t, net, &a, now);
    else
        receive_nd(t, net, &d, src_mac, now);
    return true;
}
