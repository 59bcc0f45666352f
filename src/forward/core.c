/* Straight down, a packet at a time, while the next ones' memory is on its way into the cache:
 *
 *   Ethernet → IPv6 → hop-by-hop options → lane check → [local SID]* → hop limit, MTU → marking counted → queue */
#include "forward/core.h"
#include "forward/ahead.h"
#include "forward/crypt.h"
#include "forward/dscp.h"
#include "forward/leave.h"
#include "forward/local.h"
#include "forward/report.h"
#include "forward/vrf.h"

void walk_drop(struct forward *f, const struct walk *w, enum loss_reason reason, uint16_t port)
{
    leave_dropped(f, w->m, port, reason, w->now);
}

/* --- in ------------------------------------------------------------------------------------------------------ */

/* Fixed header and length. False: no such packet. */
static inline bool read_ip6(struct forward *f, struct walk *w)
{
    struct rte_mbuf *m = w->m;
    if (forward_unlikely(m->data_len < ETHER_SIZE + IP6_SIZE))
        return false;
    w->ip = packet_at(m, ETHER_SIZE);
    w->there = m->data_len - ETHER_SIZE;
    w->size = IP6_SIZE + (uint32_t)bytes_get_be16(w->ip + IP6_LEN);
    if (forward_unlikely(w->ip[0] >> 4 != 6 || w->size > m->pkt_len - ETHER_SIZE))
        return false;
    if (forward_unlikely(w->size < m->pkt_len - ETHER_SIZE)) { /* padding of short frames */
        leave_out_tail(f, m, ETHER_SIZE + w->size);
        w->there = m->data_len - ETHER_SIZE;
    }
    w->da = (struct prefix_key){bytes_get_be64(w->ip + IP6_DST), bytes_get_be64(w->ip + IP6_DST + 8)};
    w->proto = w->ip[IP6_NEXT];
    w->next_at = IP6_NEXT;
    w->at = IP6_SIZE;
    return true;
}

static bool option_refused(struct forward *f, struct walk *w, enum hbh_verdict verdict, uint32_t at)
{
    bool answer = verdict == HBH_PROBLEM || (verdict == HBH_PROBLEM_UNICAST && w->ip[IP6_DST] != 0xff);
    if (answer)
        report_problem(f, w, 2, IP6_SIZE + at);
    walk_drop(f, w, LOSS_MALFORMED, w->meta->in_port);
    return false;
}

/* False: the packet is gone. */
static inline bool read_options(struct forward *f, struct walk *w)
{
    w->hbh.has = 0;
    if (w->proto != IP_PROTO_HOPOPT)
        return true;
    const uint8_t *p = w->ip + IP6_SIZE;
    size_t len = w->there - IP6_SIZE;
    if (forward_unlikely(!hbh_canonical(&w->hbh, p, len, &f->option_types))) {
        uint32_t at = 0;
        enum hbh_verdict verdict = hbh_parse(&w->hbh, &at, p, len, &f->option_types);
        if (verdict != HBH_OK)
            return option_refused(f, w, verdict, at);
    }
    w->next_at = IP6_SIZE;
    w->at = (uint16_t)(IP6_SIZE + w->hbh.size);
    w->proto = w->hbh.next;
    return true;
}

/* The lane's own check, and what its packets are. False: dropped. */
static inline bool enter_lane(struct forward *f, struct walk *w)
{
    struct packet_meta *meta = w->meta;
    int reason = LOSS_UNKNOWN_LANE;
    uint32_t cells = packet_cells(w->m->pkt_len);
    uint16_t option = (uint16_t)(ETHER_SIZE + IP6_SIZE + w->hbh.lane_at);
    w->rx = lane_receive(f->lanes, meta->in_port, packet_at(w->m, option), cells, w->now, &reason);
    if (forward_unlikely(!w->rx)) {
        f->ops.free(f->ops.user, w->m); /* counted and recorded there */
        return false;
    }
    meta->from = w->rx;
    meta->cells = cells;
    meta->lane_option = option;
    meta->tenant = w->rx->tenant;
    meta->class_ = w->rx->class_;
    return true;
}

static inline unsigned traffic_class(const uint8_t *ip)
{
    return bytes_get_be16(ip) >> 4 & 0xff;
}

/* What the frame is, into its meta and the walk. False: the packet is gone. */
static inline bool enter(struct forward *f, struct walk *w)
{
    struct packet_meta *meta = w->meta;
    if (forward_unlikely(!read_ip6(f, w))) {
        leave_dropped(f, w->m, meta->in_port, LOSS_MALFORMED, w->now);
        return false;
    }
    if (forward_unlikely(!read_options(f, w)))
        return false;
    if (w->hbh.has & HBH_HAS_MARK) /* the hash is only a name: the label tells lanes of one flow apart */
        meta->flow = rng_mix((uint64_t)w->hbh.flow_mon_id << 32 | (bytes_get_be32(w->ip) & 0xfffff) | 1ull << 63);
    if (w->hbh.has & HBH_HAS_NR)
        meta->tenant = w->hbh.slice;
    if (w->hbh.has & HBH_HAS_LANE)
        return enter_lane(f, w);
    w->rx = NULL;
    meta->cells = packet_cells(w->m->pkt_len);
    meta->class_ = (uint8_t)dscp_core_class(traffic_class(w->ip) >> 2);
    return true;
}

/* --- out ------------------------------------------------------------------------------------------------------ */

/* The queue it waits in at port `out`; NULL: its lane does not lead there. */
static inline struct queue *queue_at(const struct walk *w, struct port *out)
{
    if (!w->rx)
        return port_lossy_queue(out, (enum lane_class)w->meta->class_);
    if (w->rx->out_port != out->index || !w->rx->next)
        return NULL;
    return &w->rx->next->queue;
}

static void leave(struct forward *f, struct walk *w, uint16_t out_port)
{
    struct port *out = f->ports[out_port].port;
    struct queue *q = queue_at(w, out);
    if (forward_unlikely(!q)) {
        walk_drop(f, w, LOSS_WRONG_PATH, out_port);
        return;
    }
    if (forward_unlikely(w->size > out->config.mtu)) {
        report_too_big(f, w, out->config.mtu);
        walk_drop(f, w, LOSS_TOO_BIG, out_port);
        return;
    }
    if (forward_unlikely(!out->up && !w->rx)) {
        walk_drop(f, w, LOSS_LINK_DOWN, out_port);
        return;
    }
    if (w->hbh.has & HBH_HAS_MARK)
        marking_count(f->marking, w->hbh.flow_mon_id, w->hbh.mark, w->meta->in_port, 1, w->size, w->now);
    if (leave_admitted(f, w->m, w->now))
        leave_core(out, q, w->m, w->now);
}

/* A route over a link: the hop limit counts, unless a SID of ours did that. */
static void forward_on(struct forward *f, struct walk *w, uint16_t out_port)
{
    if (!w->hop_counted) {
        if (forward_unlikely(w->ip[IP6_HOPS] <= 1)) {
            report_hop_limit(f, w);
            walk_drop(f, w, LOSS_HOP_LIMIT, w->meta->in_port);
            return;
        }
        w->ip[IP6_HOPS]--;
    }
    leave(f, w, out_port);
}

/* Link-local and multicast addresses never leave the link. */
static inline bool stays_on_link(struct prefix_key da)
{
    return da.hi >> 56 == 0xff || da.hi >> 54 == 0xfe80 >> 6;
}

static void route(struct forward *f, struct walk *w)
{
    for (unsigned round = 0; round < SID_ROUNDS; round++) {
        const struct hop *h = underlay_find(f, w->da);
        if (forward_unlikely(!h)) {
            if (!w->rx)
                report_no_route(f, w);
            walk_drop(f, w, LOSS_NO_ROUTE, w->meta->in_port);
            return;
        }
        switch (h->kind) {
        case HOP_SID:
            switch (sid_run(f, w, h)) {
            case SID_LOOK_UP:
                continue;
            case SID_LEAVE:
                leave(f, w, h->port);
                return;
            case SID_GONE:
                return;
            }
            return;
        case ROUTE_ADJACENT:
            forward_on(f, w, h->port);
            return;
        case ROUTE_LOCAL:
            if (w->rx)
                walk_drop(f, w, LOSS_WRONG_PATH, w->meta->in_port); /* a lane ends in a VRF */
            else
                local_punt(f, f->vrfs[0], w->m, ETHER_SIZE, w->now);
            return;
        default:
            walk_drop(f, w, LOSS_NO_ROUTE, w->meta->in_port);
            return;
        }
    }
    walk_drop(f, w, LOSS_HOP_LIMIT, w->meta->in_port); /* a loop of our own SIDs */
}

static void on_link(struct forward *f, struct walk *w)
{
    if (w->rx) /* lanes lead somewhere */
        walk_drop(f, w, LOSS_WRONG_PATH, w->meta->in_port);
    else
        local_punt(f, f->vrfs[0], w->m, ETHER_SIZE, w->now);
}

static inline void ip6_frame(struct forward *f, struct forward_port *in, struct rte_mbuf *m, int64_t now)
{
    struct walk w = {.m = m, .meta = packet_meta(m), .now = now};
    *w.meta = (struct packet_meta){.arrived_ns = now, .in_port = in->index, .l3 = ETHER_SIZE, .class_ = LANE_BULK};
    if (!enter(f, &w))
        return;
    if (forward_unlikely(stays_on_link(w.da)))
        on_link(f, &w);
    else
        route(f, &w);
}

/* --- frames --------------------------------------------------------------------------------------------------- */

static void other_frame(struct forward *f, struct forward_port *in, struct rte_mbuf *m, int64_t now)
{
    const uint8_t *e = packet_at(m, 0);
    unsigned type = m->data_len >= ETHER_SIZE ? bytes_get_be16(e + ETHER_TYPE) : 0;
    if (type == ETHER_LANE) {
        crypt_flush(f, now); /* lanes that packets wait for may end or move */
        lane_frame(f->lanes, in->index, e + ETHER_SIZE, m->data_len - ETHER_SIZE, now);
    } else if (type == ETHER_MAC_CONTROL) {
        port_pfc_received(in->port, e + ETHER_SIZE, m->data_len - ETHER_SIZE, now);
    } else {
        f->counts.ignored++;
    }
    f->ops.free(f->ops.user, m);
}

static inline bool for_mac(const uint8_t *frame, const uint8_t mac[6])
{
    return memcmp(frame + ETHER_DST, mac, 6) == 0 || (frame[ETHER_DST] & 1);
}

static inline void frame(struct forward *f, struct forward_port *in, struct rte_mbuf *m, int64_t now)
{
    const uint8_t *e = packet_at(m, 0);
    if (forward_unlikely(m->data_len < ETHER_SIZE || bytes_get_be16(e + ETHER_TYPE) != ETHER_IP6)) {
        other_frame(f, in, m, now);
    } else if (forward_unlikely(!for_mac(e, in->port->config.mac))) {
        f->counts.ignored++; /* promiscuous ports and flooding switches: it was never ours to lose */
        f->ops.free(f->ops.user, m);
    } else {
        ip6_frame(f, in, m, now);
    }
}

uint64_t core_receive(struct forward *f, struct forward_port *in, struct rte_mbuf *const *pkts, unsigned n, int64_t now)
{
    return ahead_each(f, in, pkts, n, now, 64, frame);
}

void core_inject(struct forward *f, struct rte_mbuf *m, bool ours, int64_t now)
{
    struct walk w = {.m = m, .meta = packet_meta(m), .now = now, .hop_counted = ours};
    if (!read_ip6(f, &w)) {
        walk_drop(f, &w, LOSS_MALFORMED, w.meta->in_port);
        return;
    }
    route(f, &w);
}
