#include "roce/neighbours.h"

#include "base/bytes.h"
#include "base/rng.h"
#include "wire/ip_text.h"
#include "wire/neighbour.h"

_Static_assert(
    ETHER_SIZE + ND_SIZE_MOST <= ROCE_NEIGHBOUR_FRAME && ETHER_SIZE + ARP_SIZE <= ROCE_NEIGHBOUR_FRAME, "frames fit");

static const uint8_t everybody[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

static uint64_t slot_of(const struct ip_addr *who)
{
    uint64_t half[2];
    memcpy(half, who->a.b, 16);
    return rng_mix(rng_mix(half[0]) ^ half[1]) & (ROCE_NEIGHBOURS - 1);
}

void roce_neighbours_learn(struct roce_neighbours *n, const struct ip_addr *who, const uint8_t mac[6])
{
    if (!mac_is_unicast(mac))
        return;
    uint64_t at = slot_of(who);
    n->known[at].who = *who;
    memcpy(n->known[at].mac, mac, 6);
}

const uint8_t *roce_neighbours_find(const struct roce_neighbours *n, const struct ip_addr *who)
{
    uint64_t at = slot_of(who);
    return who->family && ip_addr_equal(&n->known[at].who, who) ? n->known[at].mac : NULL;
}

static const struct ip_addr *own_of(const struct roce_neighbours *n, uint8_t family)
{
    for (int i = 0; i < 2; i++)
        if (n->own[i].family == family)
            return &n->own[i];
    return NULL;
}

static void ethernet(const struct roce_neighbours *n, uint8_t *frame, const uint8_t *to, uint16_t type)
{
    memcpy(frame + ETHER_DST, to, 6);
    memcpy(frame + ETHER_SRC, n->mac, 6);
    bytes_put_be16(frame + ETHER_TYPE, type);
}

static uint32_t put_arp(const struct roce_neighbours *n, uint8_t *frame, uint16_t op, const uint8_t *to_mac,
    const uint8_t *sender, const uint8_t *target)
{
    struct arp a = {.op = op};
    memcpy(a.sender_mac, n->mac, 6);
    if (op == ARP_REPLY)
        memcpy(a.target_mac, to_mac, 6);
    memcpy(a.sender.b, sender, 4);
    memcpy(a.target.b, target, 4);
    ethernet(n, frame, to_mac, ETHER_ARP);
    arp_encode(frame + ETHER_SIZE, &a);
    return ETHER_SIZE + ARP_SIZE;
}

static uint32_t put_nd(const struct roce_neighbours *n, uint8_t *frame, const uint8_t *to_mac, struct nd *d)
{
    d->has_mac = true;
    memcpy(d->mac, n->mac, 6);
    ethernet(n, frame, to_mac, ETHER_IP6);
    return ETHER_SIZE + (uint32_t)nd_encode(frame + ETHER_SIZE, d);
}

uint32_t roce_neighbours_ask(const struct roce_neighbours *n, const struct ip_addr *who, uint8_t *frame)
{
    const struct ip_addr *own = own_of(n, who->family);
    if (!own)
        return 0;
    if (who->family == IP_V4)
        return put_arp(n, frame, ARP_REQUEST, everybody, own->a.b, who->a.b);
    struct nd d = {.type = ICMP6_NEIGHBOUR_SOLICIT, .src = own->a, .target = who->a};
    uint8_t mac[6];
    nd_solicited_node(&d.dst, &who->a);
    nd_multicast_mac(mac, &d.dst);
    return put_nd(n, frame, mac, &d);
}

static uint32_t hear_arp(struct roce_neighbours *n, const uint8_t *body, uint32_t len, uint8_t *answer)
{
    struct arp a;
    const struct ip_addr *own = own_of(n, IP_V4);
    if (arp_parse(&a, body, len))
        return 0;
    struct ip_addr sender = {.family = IP_V4};
    memcpy(sender.a.b, a.sender.b, 4);
    roce_neighbours_learn(n, &sender, a.sender_mac);
    if (!n->answers || !own || a.op != ARP_REQUEST || memcmp(a.target.b, own->a.b, 4))
        return 0;
    return put_arp(n, answer, ARP_REPLY, a.sender_mac, own->a.b, a.sender.b);
}

static uint32_t hear_nd(
    struct roce_neighbours *n, const uint8_t *mac, const uint8_t *packet, uint32_t len, uint8_t *answer)
{
    static const struct ip6 unspecified;
    struct nd d;
    const struct ip_addr *own = own_of(n, IP_V6);
    if (nd_parse(&d, packet, len))
        return 0;
    struct ip_addr about = {IP_V6, d.type == ICMP6_NEIGHBOUR_ADVERT ? d.target : d.src};
    if (d.has_mac && d.type != ICMP6_ROUTER_SOLICIT && !ip6_equal(&about.a, &unspecified))
        roce_neighbours_learn(n, &about, d.mac);
    if (!n->answers || !own || d.type != ICMP6_NEIGHBOUR_SOLICIT || !ip6_equal(&d.target, &own->a))
        return 0;
    bool probe =
        ip6_equal(&d.src, &unspecified); /* somebody wants our address: all are told (RFC 4861 section 7.2.4) */
    struct nd reply = {.type = ICMP6_NEIGHBOUR_ADVERT,
        .flags = probe ? ND_OVERRIDE : ND_SOLICITED | ND_OVERRIDE,
        .src = own->a,
        .dst = probe ? nd_all_nodes : d.src,
        .target = own->a};
    uint8_t all[6];
    nd_multicast_mac(all, &nd_all_nodes);
    return put_nd(n, answer, probe ? all : mac, &reply);
}

uint32_t roce_neighbours_hear(struct roce_neighbours *n, const uint8_t *frame, uint32_t len, uint8_t *answer)
{
    if (len < ETHER_SIZE)
        return 0;
    uint16_t type = bytes_get_be16(frame + ETHER_TYPE);
    if (type == ETHER_ARP)
        return hear_arp(n, frame + ETHER_SIZE, len - ETHER_SIZE, answer);
    if (type == ETHER_IP6 && len > ETHER_SIZE + IP6_NEXT && frame[ETHER_SIZE + IP6_NEXT] == IP_PROTO_ICMP6)
        return hear_nd(n, frame + ETHER_SRC, frame + ETHER_SIZE, len - ETHER_SIZE, answer);
    return 0;
}
