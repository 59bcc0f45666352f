#include "forward/local.h"
#include "forward/access.h"
#include "forward/core.h"
#include "forward/crypt.h"
#include "forward/leave.h"
#include "forward/report.h"
#include "forward/stream.h"
#include "forward/vrf.h"

void local_punt(struct forward *f, struct vrf *v, struct rte_mbuf *m, uint32_t l3, int64_t now)
{
    struct packet_meta *meta = packet_meta(m);
    if (meta->from) {
        lane_discard(meta->from, meta->cells);
        meta->from = NULL;
    }
    packet_pull(m, l3);
    f->counts.punted++;
    f->ops.punt(f->ops.user, v->id, meta->in_port, m);
}

/* --- from us ------------------------------------------------------------------------------------------------------ */

/* In the underlay: room for the Ethernet header in front. */
static void send_core(struct forward *f, struct rte_mbuf *m, int64_t now)
{
    if (m->data_off < ETHER_SIZE || packet_at(m, 0)[0] >> 4 != 6) {
        leave_dropped(f, m, LANE_PORTS_MOST, LOSS_NO_ROUTE, now);
        return;
    }
    m->data_off = (uint16_t)(m->data_off - ETHER_SIZE);
    m->data_len = (uint16_t)(m->data_len + ETHER_SIZE);
    m->pkt_len += ETHER_SIZE;
    packet_meta(m)->l3 = ETHER_SIZE;
    core_inject(f, m, true, now);
}

void local_send(struct forward *f, struct vrf *v, struct rte_mbuf *m, int64_t now)
{
    struct packet_meta *meta = packet_meta(m);
    *meta = (struct packet_meta){
        .arrived_ns = now, .in_port = LANE_PORTS_MOST, .class_ = LANE_CONTROL, .tenant = v->tenant};
    if (m->data_len < IP4_SIZE) {
        leave_dropped(f, m, LANE_PORTS_MOST, LOSS_MALFORMED, now);
        return;
    }
    if (v->id == 0) {
        send_core(f, m, now);
        return;
    }
    struct inner p = {.m = m, .meta = meta, .vrf = v, .port = LANE_PORTS_MOST, .origin = INNER_OURS, .now = now};
    enum loss_reason fault = inner_parse(f, &p, packet_at(m, 0)[0] >> 4 == 4 ? IP_V4 : IP_V6);
    if (fault)
        inner_drop(f, &p, fault, LANE_PORTS_MOST);
    else
        inner_route(f, &p);
}

void forward_inject(struct forward *f, uint32_t vrf, struct rte_mbuf *m, int64_t now)
{
    struct vrf *v = vrf_find(f, vrf);
    f->now = now;
    f->counts.injected++;
    if (v)
        local_send(f, v, m, now);
    else
        leave_dropped(f, m, LANE_PORTS_MOST, LOSS_NO_ROUTE, now);
    crypt_flush(f, now);
}

/* --- to hosts ------------------------------------------------------------------------------------------------------ */

/* The Ethernet header, tagged if the sub-interface is. False: no headroom. */
static inline bool push_ether(const struct access *a, const struct port *out, const uint8_t mac[6], struct rte_mbuf *m)
{
    struct packet_meta *meta = packet_meta(m);
    uint16_t type = packet_at(m, 0)[0] >> 4 == 4 ? ETHER_IP4 : ETHER_IP6, vlan = a->config.vlan;
    unsigned size = vlan ? ETHER_SIZE + VLAN_SIZE : ETHER_SIZE;
    if (forward_unlikely(m->data_off < size))
        return false;
    m->data_off = (uint16_t)(m->data_off - size);
    m->data_len = (uint16_t)(m->data_len + size);
    m->pkt_len += size;
    uint8_t *e = packet_at(m, 0);
    memcpy(e + ETHER_DST, mac, 6);
    memcpy(e + ETHER_SRC, out->config.mac, 6);
    if (vlan) {
        bytes_put_be16(e + ETHER_TYPE, ETHER_VLAN);
        bytes_put_be16(e + ETHER_SIZE, (uint16_t)(a->config.priority_of_class[meta->class_] << 13 | vlan));
    }
    bytes_put_be16(e + size - 2, type);
    meta->l3 = (uint16_t)size;
    return true;
}

static void to_mac(struct forward *f, const struct access *a, const uint8_t mac[6], struct rte_mbuf *m, int64_t now)
{
    struct packet_meta *meta = packet_meta(m);
    struct port *out = f->ports[a->config.port].port;
    struct queue *q = meta->stream ? stream_queue(f, meta, a->config.port)
                      : meta->from ? lane_egress_queue(f->lanes, meta->from, a->config.port)
                                   : port_lossy_queue(out, (enum lane_class)meta->class_);
    /* Tenants behind one port are paused apart: the queue stops for the priority that this sub-interface gives its class. */
    if (q && meta->from && !q->head)
        q->pfc_priority = a->config.priority_of_class[meta->class_];
    if (forward_unlikely(!q) || forward_unlikely(!push_ether(a, out, mac, m)))
        leave_dropped(f, m, a->config.port, LOSS_NO_BUFFER, now);
    else if (leave_admitted(f, m, now))
        port_enqueue(out, q, m, now);
}

void local_deliver(struct forward *f, struct inner *p, const struct hop *h)
{
    const struct access *a = access_find(f, h->port, h->vlan);
    if (forward_unlikely(!a || a->vrf != p->vrf)) {
        inner_drop(f, p, LOSS_NO_ROUTE, h->port); /* the sub-interface of a route was deleted */
        return;
    }
    struct ip_addr to = h->gateway;
    if (h->kind == ROUTE_ATTACHED) {
        to.family = p->family;
        memcpy(to.a.b, &p->dst[0], 8); /* in whole words, as they will be read */
        memcpy(to.a.b + 8, &p->dst[1], 8);
    }
    const uint8_t *mac = neighbour_resolve(f->neighbours, a->net, &to, p->m, p->now);
    if (forward_likely(mac))
        to_mac(f, a, mac, p->m, p->now);
}

/* --- what the neighbour table asks ---------------------------------------------------------------------------------- */

static const struct access *access_of_net(const struct forward *f, uint32_t net)
{
    uint16_t at = net < ACCESSES_MOST ? f->access_of_net[net] : 0;
    return at ? &f->access[at - 1] : NULL;
}

static struct rte_mbuf *neighbour_alloc(void *user)
{
    struct forward *f = user;
    return f->ops.alloc(f->ops.user);
}

static void neighbour_send(void *user, uint16_t port, struct rte_mbuf *m, int64_t now)
{
    struct forward *f = user;
    struct port *out = f->ports[port].port;
    *packet_meta(m) = (struct packet_meta){.arrived_ns = now, .in_port = LANE_PORTS_MOST, .class_ = LANE_CONTROL};
    port_enqueue(out, port_lossy_queue(out, LANE_CONTROL), m, now);
}

static void neighbour_ready(void *user, uint32_t net, const uint8_t mac[6], struct rte_mbuf *m, int64_t now)
{
    struct forward *f = user;
    const struct access *a = access_of_net(f, net);
    if (a)
        to_mac(f, a, mac, m, now);
    else
        leave_dropped(f, m, packet_meta(m)->in_port, LOSS_NO_NEIGHBOUR, now);
}

static void neighbour_lost(void *user, uint32_t net, struct rte_mbuf *m, bool failed, int64_t now)
{
    struct forward *f = user;
    const struct access *a = access_of_net(f, net);
    const uint8_t *ip = packet_at(m, 0);
    struct packet_meta *meta = packet_meta(m);
    if (a && failed) {
        struct inner p = {.m = m,
            .meta = meta,
            .vrf = a->vrf,
            .port = meta->in_port,
            .origin = INNER_CORE,
            .now = now,
            .family = ip[0] >> 4 == 4 ? IP_V4 : IP_V6};
        report_inner_no_host(f, &p);
    }
    leave_dropped(f, m, a ? a->config.port : meta->in_port, LOSS_NO_NEIGHBOUR, now);
}

void local_neighbour_ops(struct neighbour_ops *ret, struct forward *f)
{
    *ret = (struct neighbour_ops){f, neighbour_alloc, neighbour_send, neighbour_ready, neighbour_lost};
}
