#include "forward/inner.h"
#include "forward/encap.h"
#include "forward/leave.h"
#include "forward/local.h"
#include "forward/report.h"
#include "forward/vrf.h"
#include "wire/checksum.h"

void inner_drop(struct forward *f, const struct inner *p, enum loss_reason reason, uint16_t port)
{
    leave_dropped(f, p->m, port, reason, p->now);
}

/* --- what it is -------------------------------------------------------------------------------------------- */

static bool ip4_host(const uint8_t a[4])
{
    return a[0] != 0 && a[0] != 127 && a[0] < 224;
}

static bool ip6_host(const uint8_t a[16])
{
    static const uint8_t first[15] = {0}; /* ::/127 is unspecified and loopback */
    return a[0] != 0xff && !(a[0] == 0xfe && (a[1] & 0xc0) == 0x80) && (a[0] || memcmp(a, first, 15) != 0 || a[15] > 1);
}

/* Ports of TCP and UDP, where the first fragment or a whole packet has them. */
static inline void ports_of(struct flow_key *k, const uint8_t *l4, uint32_t there)
{
    if ((k->proto != IP_PROTO_TCP && k->proto != IP_PROTO_UDP) || there < 4)
        return;
    k->src_port = bytes_get_be16(l4);
    k->dst_port = bytes_get_be16(l4 + 2);
}

static enum loss_reason parse4(struct inner *p, struct flow_key *k)
{
    const uint8_t *ip = p->ip;
    uint32_t there = p->m->data_len, head;
    if (there < IP4_SIZE || ip[0] >> 4 != 4)
        return LOSS_MALFORMED;
    head = (ip[0] & 15u) * 4;
    p->size = bytes_get_be16(ip + IP4_LEN);
    if (head < IP4_SIZE || head > there || p->size < head || p->size > p->m->pkt_len || checksum_ip4(ip, head) != 0)
        return LOSS_MALFORMED;
    if (!ip4_host(ip + IP4_SRC) || !ip4_host(ip + IP4_DST))
        return LOSS_NO_ROUTE;
    k->proto = ip[IP4_PROTO];
    memcpy(k->src.b, ip + IP4_SRC, 4);
    memcpy(k->dst.b, ip + IP4_DST, 4);
    if (!(bytes_get_be16(ip + IP4_FRAG) & 0x1fff))
        ports_of(k, ip + head, there - head);
    return LOSS_NONE;
}

static enum loss_reason parse6(struct inner *p, struct flow_key *k)
{
    const uint8_t *ip = p->ip;
    uint32_t there = p->m->data_len;
    if (there < IP6_SIZE || ip[0] >> 4 != 6)
        return LOSS_MALFORMED;
    p->size = IP6_SIZE + (uint32_t)bytes_get_be16(ip + IP6_LEN);
    if (p->size > p->m->pkt_len)
        return LOSS_MALFORMED;
    if (!ip6_host(ip + IP6_SRC) || !ip6_host(ip + IP6_DST))
        return LOSS_NO_ROUTE;
    k->proto = ip[IP6_NEXT];
    memcpy(k->src.b, ip + IP6_SRC, 16);
    memcpy(k->dst.b, ip + IP6_DST, 16);
    ports_of(k, ip + IP6_SIZE, there - IP6_SIZE);
    return LOSS_NONE;
}

enum loss_reason inner_parse(struct forward *f, struct inner *p, uint8_t family)
{
    struct flow_key k = {.family = family, .vrf = p->vrf->id};
    p->family = family;
    p->ip = packet_at(p->m, 0);
    enum loss_reason fault = family == IP_V4 ? parse4(p, &k) : parse6(p, &k);
    if (forward_unlikely(fault))
        return fault;
    if (forward_unlikely(p->size < p->m->pkt_len))
        leave_out_tail(f, p->m, p->size);
    p->meta->flow = flow_hash(&k);
    if (p->origin == INNER_ACCESS && f->elephants)
        elephant_count(f->elephants, &k, p->meta->flow, p->meta->tenant, p->meta->class_, p->size, p->now);
    return LOSS_NONE;
}

/* --- where it goes ------------------------------------------------------------------------------------------- */

/* One hop less; false when it had none left. RFC 1624 for the checksum. */
static inline bool count_hop(struct inner *p)
{
    uint8_t *ttl = inner_ttl(p);
    if (forward_unlikely(*ttl <= 1))
        return false;
    --*ttl;
    if (p->family == IP_V4) {
        uint32_t sum = bytes_get_be16(p->ip + IP4_SUM) + 0x100u;
        bytes_put_be16(p->ip + IP4_SUM, (uint16_t)(sum + (sum >= 0xffff)));
    }
    return true;
}

/* Into the tunnel (H.Encaps.Red). */
static inline void encapsulate(struct forward *f, struct inner *p, const struct hop *h)
{
    struct packet_meta *meta = p->meta;
    struct encap *e = h->encap[meta->class_];
    if (forward_unlikely(h->encrypted)) {
        inner_drop(f, p, LOSS_NO_KEY, p->port); /* the VPN's policy; without a key nothing leaves */
        return;
    }
    if (forward_unlikely(e->made_at != f->underlay_version))
        encap_refresh(f, e);
    if (forward_unlikely(!e->ready)) {
        report_inner_no_route(f, p);
        inner_drop(f, p, LOSS_NO_ROUTE, p->port);
        return;
    }
    if (forward_unlikely(p->size > e->inner_most)) {
        report_inner_too_big(f, p, e->inner_most);
        inner_drop(f, p, LOSS_TOO_BIG, e->out_port);
        return;
    }
    struct queue *q = e->lane ? &lane_ingress(e->lane)->queue
                              : port_lossy_queue(f->ports[e->out_port].port, (enum lane_class)meta->class_);
    if (forward_unlikely(!e->lane && !q->port->up)) {
        inner_drop(f, p, LOSS_LINK_DOWN, e->out_port);
        return;
    }
    unsigned marks = marking_mark(f->marking, e->flow_mon_id, p->port, p->size, p->now);
    unsigned ecn = inner_traffic_class(p) & 3;
    uint8_t proto = p->family == IP_V4 ? IP_PROTO_IPIP : IP_PROTO_IPV6;
    if (forward_unlikely(!encap_push(e, p->m, proto, ecn, marks))) {
        inner_drop(f, p, LOSS_NO_BUFFER, e->out_port);
        return;
    }
    meta->cells = packet_cells(p->m->pkt_len);
    meta->l3 = ETHER_SIZE;
    meta->lane_option = e->lane ? (uint16_t)(ETHER_SIZE + e->lane_at) : 0;
    if (leave_admitted(f, p->m, p->now))
        leave_core(q->port, q, p->m, p->now);
}

static void to_remote(struct forward *f, struct inner *p, const struct hop *h)
{
    if (p->origin == INNER_CORE) /* what came out of a tunnel never goes into one: lanes would wait for each other */
        inner_drop(f, p, LOSS_NO_ROUTE, p->port);
    else
        encapsulate(f, p, h);
}

static void to_host(struct forward *f, struct inner *p, const struct hop *h)
{
    struct forward_port *out = &f->ports[h->port];
    if (forward_unlikely(p->size > out->port->config.mtu)) {
        report_inner_too_big(f, p, out->port->config.mtu);
        inner_drop(f, p, LOSS_TOO_BIG, h->port);
        return;
    }
    local_deliver(f, p, h);
}

void inner_route(struct forward *f, struct inner *p)
{
    uint32_t index = p->family == IP_V4 ? poptrie_find4(&p->vrf->v4, bytes_get_be32(p->ip + IP4_DST))
                                        : poptrie_find6(&p->vrf->v6, p->ip + IP6_DST);
    if (forward_unlikely(index == HOP_NONE)) {
        report_inner_no_route(f, p);
        inner_drop(f, p, LOSS_NO_ROUTE, p->port);
        return;
    }
    const struct hop *h = &f->hops.hops[index];
    if (h->kind == ROUTE_LOCAL) {
        local_punt(f, p->vrf, p->m, 0, p->now);
        return;
    }
    if (p->origin != INNER_OURS && forward_unlikely(!count_hop(p))) {
        report_inner_hop_limit(f, p);
        inner_drop(f, p, LOSS_HOP_LIMIT, p->port);
        return;
    }
    switch (h->kind) {
    case ROUTE_REMOTE:
        to_remote(f, p, h);
        return;
    case ROUTE_ATTACHED:
    case ROUTE_GATEWAY:
        to_host(f, p, h);
        return;
    default:
        inner_drop(f, p, LOSS_NO_ROUTE, p->port);
        return;
    }
}
