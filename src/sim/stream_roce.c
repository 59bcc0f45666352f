/* RoCE streams: src/roce's host, its packets in frames, its timer an event. */
#include "base/bytes.h"
#include "base/rng.h"
#include "sim/stream.h"
#include "wire/roce.h"

#include <errno.h>
#include <stdlib.h>

#define MESSAGE (1u << 20)

/* The RoCE path MTU that fits into IP packets of this size (InfiniBand has five). */
static uint32_t path_mtu(uint32_t packet)
{
    uint32_t mtu = 4096, headers = IP4_SIZE + UDP_SIZE + ROCE_BTH_SIZE + ROCE_RETH_SIZE + ROCE_ICRC_SIZE;
    while (mtu > 256 && mtu + headers > packet)
        mtu /= 2;
    return mtu;
}

static void set_timer(struct host *h, int64_t now)
{
    int64_t at = roce_host_next(h->roce, now);
    if (at == INT64_MAX)
        event_never(h->cable->all->events, &h->roce_timer);
    else
        event_at(h->cable->all->events, &h->roce_timer, at > now ? at : now + 1);
}

/* Something changed: it may send now or later. */
void roce_end_kick(struct host *h, int64_t now)
{
    if (roce_host_next(h->roce, now) <= now)
        cable_ready(&h->roce_sender, now);
    if (!h->roce_sender.queued)
        set_timer(h, now);
}

static void on_timer(struct event_source *e, int64_t now)
{
    struct host *h = (struct host *)(void *)((char *)e - offsetof(struct host, roce_timer));
    cable_ready(&h->roce_sender, now);
}

/* A frame of the host: the Ethernet head of any of its streams (one gateway serves them all). */
static struct rte_mbuf *frame(struct host *h, const uint8_t *headers, const struct roce_out *o)
{
    const struct plan_host *p = h->plan;
    struct rte_mbuf *m = slab_small(h->cable->all->slab);
    unsigned n = ETHER_SIZE;
    if (!m) {
        h->cable->all->no_memory++;
        return NULL;
    }
    uint8_t *f = packet_at(m, 0);
    memcpy(f + ETHER_DST, p->gateway_mac, 6);
    memcpy(f + ETHER_SRC, p->mac, 6);
    bytes_put_be16(f + ETHER_TYPE, p->vlan ? ETHER_VLAN : ETHER_IP4);
    if (p->vlan) {
        bytes_put_be16(f + n, (uint16_t)(o->priority << 13 | p->vlan));
        bytes_put_be16(f + n + 2, ETHER_IP4);
        n += VLAN_SIZE;
    }
    memcpy(f + n, headers, o->headers);
    m->data_len = (uint16_t)(n + o->headers);
    m->pkt_len = n + o->len;
    return m;
}

static struct rte_mbuf *pull(struct sender *x, int64_t now, bool *ret_more)
{
    struct host *h = x->host;
    struct hosts *all = h->cable->all;
    struct roce_out out;
    uint8_t headers[ROCE_HEADERS_MOST];
    struct rte_mbuf *m = NULL;
    if (roce_host_pull(h->roce, now, headers, &out))
        m = frame(h, headers, &out);
    if (m) {
        struct stream *s = out.control ? NULL : h->roce_streams[out.flow];
        struct slab_note note = {.flow = s ? s->index : all->n_streams, .kind = s ? 0 : NOTE_ACK, .sent_ns = now};
        slab_note_set(m, &note);
        all->sent++;
        if (s) {
            s->work->sent++;
            s->roce_sent++;
        }
    }
    *ret_more = roce_host_next(h->roce, now) <= now;
    if (!*ret_more)
        set_timer(h, now);
    return m;
}

void roce_end_receive(
    struct host *h, const uint8_t *ip, struct rte_mbuf *m, uint32_t l3, const struct slab_note *n, int64_t now)
{
    if (!h->roce)
        return;
    uint64_t before = roce_host_received(h->roce);
    roce_host_receive(h->roce, ip, m->data_len - l3, m->pkt_len - l3, now);
    uint64_t got = roce_host_received(h->roce) - before;
    struct hosts *all = h->cable->all;
    if (got && n->flow < all->n_streams) {
        struct stream *s = &all->streams[n->flow];
        stream_delivered(s, (uint32_t)got, m->pkt_len, now);
        s->roce_received += got;
        if (s->bytes && s->roce_received >= s->bytes)
            stream_finish(s, now);
    }
    roce_end_kick(h, now);
}

int roce_end_init(struct host *h, struct hosts *all, struct error *err)
{
    const struct scenario *sc = all->plan->scenario;
    const struct scenario_vpn *v = &sc->vpns[h->scenario->vpn];
    uint8_t priority_of_dscp[64];
    memset(priority_of_dscp, v->slice[SCENARIO_BULK].priority, sizeof(priority_of_dscp));
    for (int c = 0; c < SCENARIO_CLASSES; c++)
        priority_of_dscp[v->slice[c].dscp] = v->slice[c].priority;
    struct roce_host_config config = {.address = {.family = IP_V4, .a = h->plan->address4.a},
        .seed = rng_u64(all->seed, h->index),
        .priority_of_dscp = priority_of_dscp,
        .line_bps = h->cable->rate_bps,
        .cnp_dscp = v->slice[SCENARIO_INFERENCE].dscp};
    if (h->roce)
        return 0;
    config.address.a = (struct ip6){0};
    memcpy(config.address.a.b, h->plan->address4.a.b, 4);
    int rc = roce_host_create(&h->roce, &config, err);
    if (rc)
        return rc;
    h->roce_sender = (struct sender){.cable = h->cable, .host = h, .ring = CABLE_ANY, .pull = pull};
    h->roce_streams = calloc(all->plan->n_flows + 1, sizeof(struct stream *));
    if (!h->roce_streams || event_add(all->events, &h->roce_timer, on_timer))
        return error_set(err, ENOMEM, "no memory");
    return 0;
}

static int64_t round_trip(const struct stream *s)
{
    const struct plan_router *r = &s->all->plan->routers[s->from->plan->router];
    int64_t one_way = 0;
    for (uint32_t i = 0; i < r->n_paths; i++)
        if (r->paths[i].egress == s->to->plan->router && r->paths[i].delay_ns > one_way)
            one_way = r->paths[i].delay_ns;
    return 2 * one_way;
}

static void on_end(struct event_source *e, int64_t now)
{
    struct stream *s = (struct stream *)(void *)((char *)e - offsetof(struct stream, timer));
    if (!s->roce_begun) {
        s->roce_begun = true;
        event_at(s->all->events, e, s->stop_ns > now ? s->stop_ns : now + 1);
    } else {
        roce_host_stop(s->from->roce, s->roce_flow);
    }
    roce_end_kick(s->from, now);
}

int roce_init(struct stream *s, const struct scenario_workload *w, enum scenario_mode mode, struct error *err)
{
    uint64_t message = w->message ? w->message : MESSAGE;
    if (message > 1u << 30)
        return error_set(err, EINVAL, "workload %s: messages of more than 1 GiB", w->name);
    if (s->bytes && s->bytes < message)
        message = s->bytes;
    int rc = roce_end_init(s->from, s->all, err);
    rc = rc ? rc : roce_end_init(s->to, s->all, err);
    if (rc)
        return rc;
    int64_t rtt = round_trip(s);
    /* Enough messages outstanding that distance is no limit: twice what is under way on a free line. */
    uint64_t under_way = (uint64_t)(2.0 * (double)s->from->cable->rate_bps / 8 * (double)(rtt + 1000000) * 1e-9);
    struct roce_flow f = {.peer = {.family = IP_V4},
        .messages = s->bytes ? (s->bytes + message - 1) / message : 0,
        .message_bytes = (uint32_t)message,
        .mtu = path_mtu(s->payload),
        .depth = (uint32_t)(under_way / message) + 16,
        .rate_bps = s->rate_bps,
        .start_ns = s->start_ns,
        .timeout_ns = rtt > 15000000 ? 4 * rtt : 0,
        .ecn = s->ecn != 0,
        .dscp = s->head[s->l3 + IP4_TOS] >> 2};
    uint64_t window = under_way / f.mtu + 1024;
    f.window = window < 1u << 22 ? (uint32_t)window : 1u << 22;
    memcpy(f.peer.a.b, s->to->plan->address4.a.b, 4);
    if (s->bytes)
        s->bytes = f.messages * message;
    rc = roce_host_connect(s->from->roce, &f, &s->roce_flow, err);
    if (rc)
        return rc;
    s->from->roce_streams[s->roce_flow] = s;
    return event_add(s->all->events, &s->timer, on_end) ? error_set(err, ENOMEM, "no memory") : 0;
}
