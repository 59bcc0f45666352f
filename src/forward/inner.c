#include "forward/inner.h"
#include "forward/crypt.h"
#include "forward/encap.h"
#include "forward/leave.h"
#include "forward/local.h"
#include "forward/protect.h"
#include "forward/report.h"
#include "forward/vrf.h"
#include "wire/checksum.h"

void inner_drop(struct forward *f, const struct inner *p, enum loss_reason reason, uint16_t port)
{
    leave_dropped(f, p->m, port, reason, p->now);
}

/* --- what it is -------------------------------------------------------------------------------------------- */

static inline bool ip4_host(uint32_t a)
{
    return a - 0x01000000u < 0xe0000000u - 0x01000000u && a >> 24 != 127;
}

static inline bool ip6_host(const uint64_t a[2])
{
    uint64_t hi = BYTES_BE64(a[0]);
    bool link = hi >> 54 == 0xfe80 >> 6, group = hi >> 56 == 0xff, none = !hi && BYTES_BE64(a[1]) <= 1;
    return !link && !group && !none;
}

/* The header without options, whose checksum is that of five words; the order of bytes does not matter (RFC 1071). */
static inline bool sum4_fine(const uint8_t *ip, uint32_t head)
{
    if (forward_unlikely(head != IP4_SIZE))
        return checksum_ip4(ip, head) == 0;
    uint64_t sum = 0;
    for (unsigned at = 0; at < IP4_SIZE; at += 4) {
        uint32_t word;
        memcpy(&word, ip + at, 4);
        sum += word;
    }
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)(sum + (sum >> 16)) == 0xffff;
}

/* What a flow is besides its addresses. */
struct upper {
    uint8_t proto;
    uint16_t src_port, dst_port;
};

/* Ports of TCP and UDP, where the first fragment or a whole packet has them. */
static inline void ports_of(struct upper *u, const uint8_t *l4, uint32_t there)
{
    if ((u->proto != IP_PROTO_TCP && u->proto != IP_PROTO_UDP) || there < 4)
        return;
    u->src_port = bytes_get_be16(l4);
    u->dst_port = bytes_get_be16(l4 + 2);
}

static inline enum loss_reason parse4(struct inner *p, struct upper *u)
{
    const uint8_t *ip = p->ip;
    uint32_t there = p->m->data_len, head, src, dst;
    if (there < IP4_SIZE || ip[0] >> 4 != 4)
        return LOSS_MALFORMED;
    head = (ip[0] & 15u) * 4;
    p->size = bytes_get_be16(ip + IP4_LEN);
    if (head < IP4_SIZE || head > there || p->size < head || p->size > p->m->pkt_len || !sum4_fine(ip, head))
        return LOSS_MALFORMED;
    src = bytes_get_be32(ip + IP4_SRC);
    dst = bytes_get_be32(ip + IP4_DST);
    if (!ip4_host(src) || !ip4_host(dst))
        return LOSS_NO_ROUTE;
    p->src[0] = BYTES_BE64((uint64_t)src << 32);
    p->dst[0] = BYTES_BE64((uint64_t)dst << 32);
    p->src[1] = p->dst[1] = 0;
    u->proto = ip[IP4_PROTO];
    if (!(bytes_get_be16(ip + IP4_FRAG) & 0x1fff))
        ports_of(u, ip + head, there - head);
    return LOSS_NONE;
}

static inline enum loss_reason parse6(struct inner *p, struct upper *u)
{
    const uint8_t *ip = p->ip;
    uint32_t there = p->m->data_len;
    if (there < IP6_SIZE || ip[0] >> 4 != 6)
        return LOSS_MALFORMED;
    p->size = IP6_SIZE + (uint32_t)bytes_get_be16(ip + IP6_LEN);
    if (p->size > p->m->pkt_len)
        return LOSS_MALFORMED;
    memcpy(p->src, ip + IP6_SRC, 16);
    memcpy(p->dst, ip + IP6_DST, 16);
    if (!ip6_host(p->src) || !ip6_host(p->dst))
        return LOSS_NO_ROUTE;
    u->proto = ip[IP6_NEXT];
    ports_of(u, ip + IP6_SIZE, there - IP6_SIZE);
    return LOSS_NONE;
}

static inline void count_elephant(struct forward *f, const struct inner *p, const struct upper *u)
{
    struct flow_key k = {p->family, u->proto, u->src_port, u->dst_port, p->vrf->id, {{0}}, {{0}}};
    memcpy(k.src.b, p->src, 16);
    memcpy(k.dst.b, p->dst, 16);
    elephant_count(f->elephants, &k, p->meta->flow, p->meta->tenant, p->meta->class_, p->size, p->now);
}

static inline enum loss_reason parsed(struct forward *f, struct inner *p, const struct upper *u)
{
    if (forward_unlikely(p->size < p->m->pkt_len))
        leave_out_tail(f, p->m, p->size);
    if (p->origin == INNER_ACCESS)
        count_elephant(f, p, u);
    return LOSS_NONE;
}

enum loss_reason inner_parse(struct forward *f, struct inner *p, uint8_t family)
{
    struct upper u = {0};
    p->family = family;
    p->ip = packet_at(p->m, 0);
    enum loss_reason fault = family == IP_V4 ? parse4(p, &u) : parse6(p, &u);
    if (forward_unlikely(fault))
        return fault;
    if (family == IP_V4) /* half the mixing is of constants */
        p->meta->flow = flow_hash_words(p->vrf->id, IP_V4, u.proto, u.src_port, u.dst_port, p->src[0], 0, p->dst[0], 0);
    else
        p->meta->flow = flow_hash_words(
            p->vrf->id, IP_V6, u.proto, u.src_port, u.dst_port, p->src[0], p->src[1], p->dst[0], p->dst[1]);
    return parsed(f, p, &u);
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
static inline void encapsulate(struct forward *f, struct inner *p, struct hop *h)
{
    struct packet_meta *meta = p->meta;
    struct encap *e = h->encap[meta->class_];
    bool sealed = h->encrypted || p->vrf->only_encrypted;
    struct esp_sa *sa = NULL;
    if (forward_unlikely(sealed) && forward_unlikely(!(sa = sa_sending(f, h, meta->class_)))) {
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
    uint32_t most = sealed ? e->sealed_most : e->inner_most;
    if (forward_unlikely(e->protect != NULL))
        most = protect_most(e->protect, sealed);
    if (forward_unlikely(p->size > most)) {
        report_inner_too_big(f, p, most);
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
    if (forward_unlikely(sealed)) {
        struct sealing_wait wait = {p->m, e, q, (uint8_t)ecn, (uint8_t)marks};
        seal_later(f, sa, &wait, proto, p->now);
        return;
    }
    if (forward_unlikely(e->protect != NULL)) {
        protect_leave(f, e->protect, p->m, proto, ecn, marks, p->now);
        return;
    }
    if (forward_unlikely(!encap_push(e, p->m, proto, ecn, marks))) {
        inner_drop(f, p, LOSS_NO_BUFFER, e->out_port);
        return;
    }
    encap_leave(f, e, q, p->m, p->now);
}

static void to_remote(struct forward *f, struct inner *p, struct hop *h)
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
    uint32_t index =
        poptrie_walk(p->family == IP_V4 ? &p->vrf->v4 : &p->vrf->v6, BYTES_BE64(p->dst[0]), BYTES_BE64(p->dst[1]));
    if (forward_unlikely(index == HOP_NONE)) {
        report_inner_no_route(f, p);
        inner_drop(f, p, LOSS_NO_ROUTE, p->port);
        return;
    }
    struct hop *h = &f->hops.hops[index];
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
