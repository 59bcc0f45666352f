/* Frames of the neighbour table: ARP and discovery with their Ethernet headers. */
#include "forward/neighbour_inner.h"

#include "base/bytes.h"
#include "wire/ip_text.h"

static const uint8_t everyone[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

/* A frame whose `size` bytes of payload (at most ND_ROUTER_MOST) are copied from `payload`. */
static void send_frame(struct neighbour_table *t, const struct net *n, uint16_t type, const uint8_t dst_mac[6],
    const uint8_t *payload, size_t size, int64_t now)
{
    struct rte_mbuf *m = t->ops.alloc(t->ops.user);
    if (!m) {
        t->counters.no_buffer++;
        return;
    }
    uint8_t *p = packet_at(m, 0);
    size_t at = ETHER_TYPE;
    memcpy(p + ETHER_DST, dst_mac, 6);
    memcpy(p + ETHER_SRC, n->config.mac, 6);
    if (n->config.vlan) {
        bytes_put_be16(p + at, ETHER_VLAN);
        bytes_put_be16(p + at + 2, n->config.vlan);
        at += VLAN_SIZE;
    }
    bytes_put_be16(p + at, type);
    at += 2;
    memcpy(p + at, payload, size);
    m->data_len = (uint16_t)(at + size);
    m->pkt_len = m->data_len;
    packet_meta(m)->l3 = (uint16_t)at;
    packet_meta(m)->arrived_ns = now;
    packet_meta(m)->cells = packet_cells(m->pkt_len);
    t->counters.sent++;
    t->ops.send(t->ops.user, n->config.port, m, now);
}

void send_arp(
    struct neighbour_table *t, const struct net *n, const struct arp *a, const uint8_t dst_mac[6], int64_t now)
{
    uint8_t payload[ARP_SIZE];
    arp_encode(payload, a);
    send_frame(t, n, ETHER_ARP, dst_mac, payload, ARP_SIZE, now);
}

void send_nd(struct neighbour_table *t, const struct net *n, const struct nd *d, const uint8_t dst_mac[6], int64_t now)
{
    uint8_t payload[ND_SIZE_MOST], group[6];
    size_t size = nd_encode(payload, d);
    if (d->dst.b[0] == 0xff) {
        nd_multicast_mac(group, &d->dst);
        dst_mac = group;
    }
    send_frame(t, n, ETHER_IP6, dst_mac, payload, size, now);
}

/* Asks for a neighbour, everyone or (unicast) the MAC that it had. From our address in its subnet. */
void send_solicit(struct neighbour_table *t, const struct neighbour *n, bool unicast, int64_t now)
{
    const struct net *net = &t->nets[n->key.net];
    const struct ip_addr a = {.family = (uint8_t)n->key.family, .a = n->key.a};
    const struct ip_prefix *ours = net_subnet(net, &a);
    if (a.family == IP_V4 && ours) {
        struct arp arp = {.op = ARP_REQUEST};
        memcpy(arp.sender_mac, net->config.mac, 6);
        memcpy(arp.sender.b, ours->a.b, 4);
        memcpy(arp.target.b, a.a.b, 4);
        send_arp(t, net, &arp, unicast ? n->mac : everyone, now);
    } else if (a.family == IP_V6) {
        struct nd nd = {.type = ICMP6_NEIGHBOUR_SOLICIT, .has_mac = true, .target = a.a, .dst = a.a};
        nd.src = ours ? ours->a : net->link_local;
        memcpy(nd.mac, net->config.mac, 6);
        if (!unicast)
            nd_solicited_node(&nd.dst, &a.a);
        send_nd(t, net, &nd, n->mac, now);
    }
}

void send_router(struct neighbour_table *t, const struct net *n, const struct ip6 *dst, const uint8_t dst_mac[6],
    uint16_t lifetime_s, int64_t now)
{
    struct nd_router r = {.src = n->link_local, .dst = *dst, .lifetime_s = lifetime_s, .mtu = n->config.mtu};
    uint8_t payload[ND_ROUTER_MOST], group[6];
    memcpy(r.mac, n->config.mac, 6);
    for (unsigned i = 0; i < NEIGHBOUR_GATEWAYS; i++) {
        struct ip_prefix p = n->config.gateway[i];
        if (p.family != IP_V6 || nd_is_link_local(&p.a))
            continue;
        ip_mask(&p.a, p.len);
        r.prefixes[r.n_prefixes++] = p;
    }
    nd_multicast_mac(group, dst);
    send_frame(t, n, ETHER_IP6, dst->b[0] == 0xff ? group : dst_mac, payload, nd_router_encode(payload, &r), now);
}

/* Gratuitous ARP (RFC 5227 section 2.3) and unsolicited advertisements (RFC 4861 section 7.2.6): hosts that knew an
 * address with another MAC learn ours. */
void send_announcements(struct neighbour_table *t, const struct net *n, int64_t now)
{
    for (unsigned i = 0; i < NEIGHBOUR_GATEWAYS; i++) {
        const struct ip_prefix *ours = &n->config.gateway[i];
        if (ours->family == IP_V4) {
            struct arp a = {.op = ARP_REQUEST};
            memcpy(a.sender_mac, n->config.mac, 6);
            memcpy(a.sender.b, ours->a.b, 4);
            a.target = a.sender;
            send_arp(t, n, &a, everyone, now);
        } else if (ours->family == IP_V6) {
            struct nd d = {.type = ICMP6_NEIGHBOUR_ADVERT, .flags = ND_ROUTER | ND_OVERRIDE, .has_mac = true};
            memcpy(d.mac, n->config.mac, 6);
            d.src = d.target = ours->a;
            d.dst = nd_all_nodes;
            send_nd(t, n, &d, everyone, now);
        }
    }
}
