/* Hosts, their cables and streams, made from a plan; and what workloads are measured by. */
#include "base/bytes.h"
#include "base/rng.h"
#include "lane/queue.h"
#include "sim/stream.h"
#include "wire/checksum.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define RAMP_BIN_NS 500000
#define RAMP_SHARE  0.95

/* --- frames ---------------------------------------------------------------------------------------------------------- */

/* Ethernet, VLAN and IPv4 of frames from one host to another: what does not change. Returns its length. */
static uint8_t head_of(uint8_t *f, const struct plan_host *from, const struct plan_host *to, uint8_t tos, uint8_t proto,
    uint8_t priority, uint8_t *ret_l3)
{
    unsigned n = ETHER_SIZE;
    memcpy(f + ETHER_DST, from->gateway_mac, 6);
    memcpy(f + ETHER_SRC, from->mac, 6);
    bytes_put_be16(f + ETHER_TYPE, from->vlan ? ETHER_VLAN : ETHER_IP4);
    if (from->vlan) {
        bytes_put_be16(f + n, (uint16_t)(priority << 13 | from->vlan));
        bytes_put_be16(f + n + 2, ETHER_IP4);
        n += VLAN_SIZE;
    }
    *ret_l3 = (uint8_t)n;
    uint8_t *ip = f + n;
    memset(ip, 0, IP4_SIZE);
    ip[0] = 0x45;
    ip[IP4_TOS] = tos;
    bytes_put_be16(ip + IP4_FRAG, 0x4000);
    ip[IP4_TTL] = 64;
    ip[IP4_PROTO] = proto;
    memcpy(ip + IP4_SRC, from->address4.a.b, 4);
    memcpy(ip + IP4_DST, to->address4.a.b, 4);
    return (uint8_t)(n + IP4_SIZE);
}

static uint8_t ports_of(uint8_t *f, uint8_t n, uint8_t proto, uint16_t src, uint16_t dst)
{
    uint8_t size = proto == IP_PROTO_TCP ? 32 : UDP_SIZE;
    memset(f + n, 0, size);
    bytes_put_be16(f + n, src);
    bytes_put_be16(f + n + 2, dst);
    if (proto == IP_PROTO_TCP)
        f[n + 12] = 8 << 4; /* with timestamps, as people's hosts send them */
    return (uint8_t)(n + size);
}

struct rte_mbuf *stream_frame(struct stream *s, bool ack, uint32_t payload, const struct slab_note *note)
{
    const uint8_t *head = ack ? s->ack_head : s->head;
    uint8_t len = ack ? s->ack_len : s->head_len;
    struct rte_mbuf *m = slab_small(s->all->slab);
    if (!m) {
        s->all->no_memory++;
        return NULL;
    }
    uint8_t *f = packet_at(m, 0);
    memcpy(f, head, len);
    m->pkt_len = len + payload;
    m->data_len = len;
    uint8_t *ip = f + s->l3;
    bytes_put_be16(ip + IP4_LEN, (uint16_t)(m->pkt_len - s->l3));
    bytes_put_be16(ip + IP4_SUM, 0);
    bytes_put_be16(ip + IP4_SUM, checksum_fold(checksum_add(0, ip, IP4_SIZE)));
    if (ip[IP4_PROTO] == IP_PROTO_UDP)
        bytes_put_be16(ip + IP4_SIZE + 4, (uint16_t)(m->pkt_len - s->l3 - IP4_SIZE));
    slab_note_set(m, note);
    s->all->sent++;
    if (ack)
        s->work->acks_sent++;
    else
        s->work->sent++;
    return m;
}

/* --- measures -------------------------------------------------------------------------------------------------------- */

/* Bins of RAMP_BIN_NS: the first one that is as full as the sink's line, or the stream's own rate, lets it be. */
static void ramp(struct work *w, const struct stream *s, uint32_t payload, uint32_t frame, int64_t now)
{
    uint64_t line = s->to->cable->rate_bps, own = s->rate_bps;
    if (now - w->bin_ns >= RAMP_BIN_NS) {
        double seconds = (double)(now - w->bin_ns) * 1e-9 * RAMP_SHARE / 8;
        bool full = line && (double)w->bin_wire >= (double)line * seconds;
        if (w->bin_ns && (full || (own && (double)w->bin_payload >= (double)own * seconds)))
            w->ramp_ns = w->bin_ns - w->start_ns;
        w->bin_ns = now;
        w->bin_wire = w->bin_payload = 0;
    }
    w->bin_wire += queue_wire_bytes(frame);
    w->bin_payload += payload;
}

void stream_delivered(struct stream *s, uint32_t payload, uint32_t frame, int64_t now)
{
    struct work *w = s->work;
    int64_t since = w->last_ns > w->start_ns ? w->last_ns : w->start_ns;
    if (payload == 0)
        return;
    if (now - since > w->silence_ns)
        w->silence_ns = now - since;
    w->last_ns = now;
    w->payload += payload;
    if (!w->ramp_ns)
        ramp(w, s, payload, frame, now);
    if (now < w->measure_ns)
        return;
    if (w->first_ns == 0) {
        w->first_ns = now; /* the clock starts with this one: its own bytes came before */
    } else {
        w->measured += payload;
        w->measured_wire += queue_wire_bytes(frame);
    }
}

void stream_finish(struct stream *s, int64_t now)
{
    if (!s->finished)
        s->work->finished++;
    s->finished = true;
}

void hosts_lost(struct hosts *h, const struct slab_note *n, unsigned where)
{
    if (n->kind & NOTE_COPY)
        return;
    h->dropped += where == 2;
    if (n->flow >= h->n_streams)
        return;
    struct work *w = h->streams[n->flow].work;
    if (n->kind & NOTE_ACK)
        w->acks_lost++;
    else
        *(where == 0 ? &w->lost_wire : where == 1 ? &w->lost_router : &w->lost_host) += 1;
}

void hosts_finish(struct hosts *h, int64_t now)
{
    for (uint32_t i = 0; i < h->n_works; i++) {
        struct work *w = &h->works[i];
        if (h->plan->scenario->workloads[i].type == SCENARIO_WORK_ROCE)
            w->retransmitted = w->broken = 0; /* added up anew below */
        int64_t end = w->stop_ns < now ? w->stop_ns : now;
        int64_t since = w->last_ns > w->start_ns ? w->last_ns : w->start_ns;
        if (w->finished < w->streams && w->streams && end - since > w->silence_ns)
            w->silence_ns = end - since;
    }
    for (uint32_t i = 0; i < h->n_streams; i++) {
        struct stream *s = &h->streams[i];
        if (s->type != SCENARIO_WORK_ROCE)
            continue;
        struct roce_stats r;
        roce_host_flow_stats(s->from->roce, s->roce_flow, &r);
        s->work->retransmitted += r.retransmitted_packets;
        s->work->broken += r.broken;
    }
}

/* --- making ---------------------------------------------------------------------------------------------------------- */

static int make_cables(struct hosts *h)
{
    const struct plan *p = h->plan;
    h->cables = calloc(h->n_hosts + 1, sizeof(*h->cables));
    if (!h->cables)
        return -ENOMEM;
    for (uint32_t i = 0; i < h->n_hosts; i++) {
        const struct plan_host *x = &p->hosts[i];
        uint32_t k = 0;
        while (k < h->n_cables && (h->cables[k].router != x->router || h->cables[k].port != x->port))
            k++;
        struct cable *c = &h->cables[k];
        if (k == h->n_cables) {
            h->n_cables++;
            c->all = h;
            c->router = x->router;
            c->port = x->port;
            c->rate_bps = p->routers[x->router].ports[x->port].rate_bps;
            memcpy(c->mac, x->mac, 6);
            memcpy(c->gateway_mac, x->gateway_mac, 6);
        }
        h->host[i] = (struct host){
            .index = i, .cable = c, .plan = x, .scenario = &p->scenario->hosts[i], .held_tail = &h->host[i].held};
    }
    return 0;
}

static void make_stream(struct hosts *h, uint32_t index, const struct plan_flow *f)
{
    const struct scenario *sc = h->plan->scenario;
    const struct scenario_workload *w = &sc->workloads[f->workload];
    struct stream *s = &h->streams[index];
    const struct scenario_slice *slice = &sc->vpns[sc->hosts[f->from].vpn].slice[w->class_];
    uint32_t mtu = sc->hosts[f->from].mtu < sc->hosts[f->to].mtu ? sc->hosts[f->from].mtu : sc->hosts[f->to].mtu;
    uint32_t packet = w->packet && w->packet < mtu ? w->packet : mtu;
    *s = (struct stream){.all = h,
        .index = index,
        .type = w->type,
        .from = &h->host[f->from],
        .to = &h->host[f->to],
        .work = &h->works[f->workload],
        .bytes = w->bytes,
        .rate_bps = w->rate_bps,
        .start_ns = f->start_ns,
        .stop_ns = w->duration_ns ? f->start_ns + w->duration_ns : sc->duration_ns,
        .payload = packet,
        .ecn = sc->hosts[f->from].ecn ? 2 : 0};
    uint8_t dscp = w->dscp == SCENARIO_DSCP_OF_CLASS ? slice->dscp : w->dscp;
    uint8_t proto = w->type == SCENARIO_WORK_TCP ? IP_PROTO_TCP : IP_PROTO_UDP;
    if (w->type == SCENARIO_WORK_UDP)
        s->ecn = 0; /* it would not listen */
    s->head_len =
        head_of(s->head, s->from->plan, s->to->plan, (uint8_t)(dscp << 2 | s->ecn), proto, slice->priority, &s->l3);
    s->head_len = ports_of(s->head, s->head_len, proto, f->src_port, f->dst_port);
    uint8_t l3;
    s->ack_len = head_of(s->ack_head, s->to->plan, s->from->plan, (uint8_t)(dscp << 2), proto, slice->priority, &l3);
    s->ack_len = ports_of(s->ack_head, s->ack_len, proto, f->dst_port, f->src_port);
    s->data = (struct sender){.cable = s->from->cable, .stream = s, .host = s->from, .ring = slice->priority};
    s->ack = (struct sender){.cable = s->to->cable, .stream = s, .host = s->to, .ring = slice->priority};
    struct work *k = s->work;
    k->streams++;
    k->wanted += w->bytes;
    k->start_ns = k->streams == 1 || s->start_ns < k->start_ns ? s->start_ns : k->start_ns;
    k->measure_ns = k->start_ns + w->settle_ns;
    k->stop_ns = s->stop_ns > k->stop_ns ? s->stop_ns : k->stop_ns;
}

static int make_streams(struct hosts *h, uint32_t only, enum scenario_mode mode, struct error *err)
{
    const struct plan *p = h->plan;
    int rc = 0;
    for (uint32_t i = 0; i < p->n_flows && !rc; i++) {
        const struct scenario_workload *w = &p->scenario->workloads[p->flows[i].workload];
        if ((only != SCENARIO_NONE && p->flows[i].workload != only) || w->type == SCENARIO_WORK_COMMAND)
            continue;
        struct stream *s = &h->streams[h->n_streams];
        make_stream(h, h->n_streams++, &p->flows[i]);
        rc = w->type == SCENARIO_WORK_TCP   ? tcp_init(s, w, err)
             : w->type == SCENARIO_WORK_UDP ? udp_init(s, w, err)
                                            : roce_init(s, w, mode, err);
    }
    return rc;
}

int hosts_create(struct hosts *h, const struct plan *p, struct events *e, struct slab *s, uint64_t seed, uint32_t only,
    enum scenario_mode mode, struct error *err)
{
    *h = (struct hosts){.events = e, .slab = s, .plan = p, .seed = rng_mix(seed ^ 0x686f737473)};
    h->n_hosts = p->scenario->n_hosts;
    h->n_works = p->scenario->n_workloads;
    h->host = calloc(h->n_hosts + 1, sizeof(*h->host));
    h->streams = calloc(p->n_flows + 1, sizeof(*h->streams));
    h->works = calloc(h->n_works + 1, sizeof(*h->works));
    int rc = h->host && h->streams && h->works ? make_cables(h) : -ENOMEM;
    if (rc)
        return error_set(err, ENOMEM, "no memory");
    return make_streams(h, only, mode, err);
}

void hosts_free(struct hosts *h)
{
    for (uint32_t i = 0; h->cables && i < h->n_cables; i++) {
        struct cable *c = &h->cables[i];
        while (c->own_head != c->own_tail)
            slab_free(h->slab, c->own[c->own_head++ % CABLE_OWN]);
        if (c->up.events)
            wire_done(&c->up);
    }
    for (uint32_t i = 0; h->host && i < h->n_hosts; i++) {
        for (struct rte_mbuf *m = h->host[i].held, *following; m; m = following) {
            following = packet_meta(m)->next;
            slab_free(h->slab, m);
        }
        roce_host_free(h->host[i].roce);
        free(h->host[i].roce_streams);
    }
    free(h->host);
    free(h->cables);
    free(h->streams);
    free(h->works);
    *h = (struct hosts){0};
}

void hosts_start(struct hosts *h)
{
    for (uint32_t i = 0; i < h->n_streams; i++)
        event_at(h->events, &h->streams[i].timer, h->streams[i].start_ns);
}
