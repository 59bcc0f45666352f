/* End.DT4, End.DT6, End.DT46 (RFC 8986 sections 4.6 to 4.8) and their NEXT-C-SID forms: the outer headers come off, congestion
 * marks go in (RFC 6040), and the inner packet is looked up in the SID's VRF and in no other (X3). Behind an encrypted SID there
 * is ESP around the inner packet: open.c takes that off and comes back. */
#include "forward/crypt.h"
#include "forward/inner.h"
#include "forward/leave.h"
#include "forward/report.h"
#include "forward/sid.h"
#include "forward/stream.h"
#include "wire/checksum.h"

enum { ECN_NONE = 0, ECN_ECT1 = 1, ECN_ECT0 = 2, ECN_CE = 3 };

#define ECN_DROP 0xff

/* RFC 6040 figure 4: what the inner ECN field becomes, by inner (row) and outer (column). */
static const uint8_t ecn_out[4][4] = {
    [ECN_NONE] = {ECN_NONE, ECN_NONE, ECN_NONE, ECN_DROP},
    [ECN_ECT1] = {ECN_ECT1, ECN_ECT1, ECN_ECT1, ECN_CE},
    [ECN_ECT0] = {ECN_ECT0, ECN_ECT1, ECN_ECT0, ECN_CE},
    [ECN_CE] = {ECN_CE, ECN_CE, ECN_CE, ECN_CE},
};

static bool opens(const struct hop *h)
{
    return h->behaviour == SID_END_ESP_DT46 || h->behaviour == SID_END_ESP_DT46_NEXT_CSID;
}

static bool carries(const struct hop *h, uint8_t proto)
{
    switch (h->behaviour) {
    case SID_END_DT4:
    case SID_END_DT4_NEXT_CSID:
        return proto == IP_PROTO_IPIP;
    case SID_END_DT6:
    case SID_END_DT6_NEXT_CSID:
        return proto == IP_PROTO_IPV6;
    case SID_END_ESP_DT46:
    case SID_END_ESP_DT46_NEXT_CSID:
        return proto == IP_PROTO_ESP;
    default:
        return proto == IP_PROTO_IPIP || proto == IP_PROTO_IPV6;
    }
}

/* False: the combination must be dropped (the inner transport does not know of congestion marks). */
static bool combine_ecn(struct inner *p, unsigned outer)
{
    unsigned tc = inner_traffic_class(p), new = ecn_out[tc & 3][outer];
    if (forward_likely(new == (tc & 3)))
        return true;
    if (new == ECN_DROP)
        return false;
    if (p->family == IP_V6) {
        p->ip[1] = (uint8_t)((p->ip[1] & ~0x30) | new << 4);
        return true;
    }
    uint16_t from = bytes_get_be16(p->ip), sum = bytes_get_be16(p->ip + IP4_SUM);
    p->ip[IP4_TOS] = (uint8_t)((tc & ~3u) | new);
    bytes_put_be16(p->ip + IP4_SUM, checksum_update(sum, from, bytes_get_be16(p->ip)));
    return true;
}

/* Not an inner packet. */
static void odd(struct forward *f, struct walk *w)
{
    if (w->proto == IP_PROTO_LANE_MARKER && w->rx) {
        crypt_flush(f, w->now); /* what came before it goes before it */
        lane_marker(f->lanes, w->rx, w->now);
        lane_discard(w->rx, w->meta->cells);
        f->ops.free(f->ops.user, w->m);
    } else if (w->proto == IP_PROTO_ESP) {
        walk_drop(f, w, LOSS_NO_KEY, w->meta->in_port);
    } else {
        report_problem(f, w, 4, w->next_at); /* section 4.1.1: SR upper-layer header error */
        walk_drop(f, w, LOSS_MALFORMED, w->meta->in_port);
    }
}

void decap_inner(struct forward *f, struct rte_mbuf *m, struct vrf *vrf, struct lane_rx *rx, uint8_t proto,
    unsigned outer_ecn, int64_t now)
{
    struct packet_meta *meta = packet_meta(m);
    struct inner p = {
        .m = m, .meta = meta, .vrf = vrf, .port = meta->in_port, .origin = INNER_CORE, .rx = rx, .now = now};
    enum loss_reason fault = inner_parse(f, &p, proto == IP_PROTO_IPIP ? IP_V4 : IP_V6);
    if (forward_unlikely(fault) || forward_unlikely(!combine_ecn(&p, outer_ecn))) {
        inner_drop(f, &p, fault ? fault : LOSS_MALFORMED, p.port);
        return;
    }
    inner_route(f, &p);
}

void decap_run(struct forward *f, struct walk *w, const struct hop *h)
{
    if (forward_unlikely(w->rx && (w->rx->out_port != LANE_OUT_LOCAL || w->rx->vrf != h->vrf->id))) {
        walk_drop(f, w, LOSS_WRONG_PATH, w->meta->in_port);
        return;
    }
    if (w->proto == IP_PROTO_DSTOPTS)
        stream_receive(f, w, h);
    else
        decap_open(f, w, h);
}

void decap_open(struct forward *f, struct walk *w, const struct hop *h)
{
    bool sealed = forward_unlikely(opens(h)), clear = w->proto == IP_PROTO_IPIP || w->proto == IP_PROTO_IPV6;
    if (forward_unlikely(clear && (sealed || h->vrf->only_encrypted))) {
        walk_drop(f, w, LOSS_CLEARTEXT, w->meta->in_port);
        return;
    }
    if (forward_unlikely(!carries(h, w->proto))) {
        odd(f, w);
        return;
    }
    if (w->hbh.has & HBH_HAS_MARK)
        marking_count(f->marking, w->hbh.flow_mon_id, w->hbh.mark, w->meta->in_port, 2, w->size, w->now);
    unsigned ecn = w->ip[1] >> 4 & 3;
    w->meta->lane_option = 0;
    w->meta->l3 = 0;
    w->meta->tenant = h->vrf->tenant;
    if (sealed) {
        open_later(f, w, h->vrf, ecn);
        return;
    }
    packet_pull(w->m, ETHER_SIZE + w->at);
    decap_inner(f, w->m, h->vrf, w->rx, w->proto, ecn, w->now);
}
