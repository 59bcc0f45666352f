#include "forward/access.h"
#include "forward/ahead.h"
#include "forward/inner.h"
#include "forward/leave.h"

/* --- frames ----------------------------------------------------------------------------------------------------- */

/* The Ethernet header with at most one VLAN tag. */
struct frame {
    uint16_t type, vlan, l3;
    uint8_t priority;
    bool tagged;
};

static inline bool frame_read(struct frame *ret, const struct rte_mbuf *m, const uint8_t *e)
{
    if (forward_unlikely(m->data_len < ETHER_SIZE))
        return false;
    *ret = (struct frame){.type = bytes_get_be16(e + ETHER_TYPE), .l3 = ETHER_SIZE};
    if (ret->type != ETHER_VLAN)
        return true;
    if (m->data_len < ETHER_SIZE + VLAN_SIZE)
        return false;
    uint16_t tag = bytes_get_be16(e + ETHER_SIZE);
    ret->vlan = tag & 0xfff;
    ret->priority = (uint8_t)(tag >> 13);
    ret->tagged = true;
    ret->type = bytes_get_be16(e + ETHER_SIZE + 2);
    ret->l3 = ETHER_SIZE + VLAN_SIZE;
    return true;
}

/* A host that sends more than it may is stopped before the lane, and counted apart. */
static inline bool police(struct access *a, uint32_t frame_bytes, int64_t now)
{
    if (!a->police.rate_bps)
        return true;
    queue_bucket_clamp(&a->police, now);
    if (!queue_bucket_ready(&a->police, now))
        return false;
    queue_bucket_charge(&a->police, queue_wire_bytes(frame_bytes));
    return true;
}

/* An IP packet for one of our MAC addresses. */
static inline void ip_frame(struct forward *f, struct forward_port *in, struct access *a, struct rte_mbuf *m,
    const struct frame *e, int64_t now)
{
    struct packet_meta *meta = packet_meta(m);
    struct inner p = {
        .m = m, .meta = meta, .vrf = a->vrf, .port = in->index, .vlan = e->vlan, .origin = INNER_ACCESS, .now = now};
    if (forward_unlikely(!police(a, m->pkt_len, now))) {
        inner_drop(f, &p, LOSS_POLICED, in->index);
        return;
    }
    packet_pull(m, e->l3);
    uint8_t family = e->type == ETHER_IP4 ? IP_V4 : IP_V6;
    const uint8_t *ip = packet_at(m, 0);
    if (forward_likely(m->data_len >= IP4_SIZE)) {
        unsigned dscp = family == IP_V4 ? ip[IP4_TOS] >> 2 : bytes_get_be16(ip) >> 6 & 0x3f;
        meta->class_ = a->class_of_dscp[dscp];
        meta->pfc_priority = e->tagged ? e->priority : a->config.priority_of_class[meta->class_];
    }
    enum loss_reason fault = inner_parse(f, &p, family);
    if (forward_unlikely(fault))
        inner_drop(f, &p, fault, in->index);
    else
        inner_route(f, &p);
}

static void refuse(struct forward *f, struct rte_mbuf *m)
{
    f->counts.ignored++;
    f->ops.free(f->ops.user, m);
}

/* It may be ARP or neighbour discovery. */
static inline bool resolves(const struct rte_mbuf *m, const struct frame *e)
{
    if (e->type == ETHER_ARP)
        return true;
    if (e->type != ETHER_IP6 || m->data_len < e->l3 + IP6_SIZE)
        return false;
    const uint8_t *ip = rte_pktmbuf_mtod_offset(m, const uint8_t *, e->l3);
    return ip[IP6_NEXT] == IP_PROTO_ICMP6 && ip[IP6_HOPS] == ND_HOPS;
}

static inline void frame(struct forward *f, struct forward_port *in, struct rte_mbuf *m, int64_t now)
{
    struct packet_meta *meta = packet_meta(m);
    struct frame e;
    const uint8_t *bytes = packet_at(m, 0);
    *meta = (struct packet_meta){.arrived_ns = now, .in_port = in->index, .class_ = LANE_BULK};
    if (forward_unlikely(!frame_read(&e, m, bytes))) {
        leave_dropped(f, m, in->index, LOSS_MALFORMED, now);
        return;
    }
    if (forward_unlikely(e.type == ETHER_MAC_CONTROL && !e.tagged)) {
        port_pfc_received(in->port, bytes + ETHER_SIZE, m->data_len - ETHER_SIZE, now);
        f->ops.free(f->ops.user, m);
        return;
    }
    struct access *a = access_find(f, in->index, e.vlan);
    bool group = bytes[ETHER_DST] & 1, ours = group || memcmp(bytes + ETHER_DST, in->port->config.mac, 6) == 0;
    if (forward_unlikely(!a || !ours)) {
        refuse(f, m); /* of no VLAN that we serve, or for somebody else on the segment */
        return;
    }
    meta->tenant = a->config.tenant;
    if (forward_unlikely(resolves(m, &e)) &&
        neighbour_receive(f->neighbours, a->net, e.type, bytes + ETHER_SRC, bytes + e.l3, m->data_len - e.l3, now))
        f->ops.free(f->ops.user, m);
    else if (forward_unlikely(group || (e.type != ETHER_IP4 && e.type != ETHER_IP6)))
        refuse(f, m); /* no router forwards what was sent to a group of hosts (RFC 1812 section 5.3.4) */
    else
        ip_frame(f, in, a, m, &e, now);
}

uint64_t access_receive(
    struct forward *f, struct forward_port *in, struct rte_mbuf *const *pkts, unsigned n, int64_t now)
{
    return ahead_each(f, in, pkts, n, now, -64, frame);
}
