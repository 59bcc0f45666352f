/* A cable: whose turn it is to send, PFC both ways, and to which host an arriving frame belongs. */
#include "base/bytes.h"
#include "sim/stream.h"
#include "wire/pfc.h"

#include <string.h>

enum { ARP_SIZE = 28, ARP_OPERATION = 6, ARP_SENDER = 8, ARP_SENDER_IP = 14, ARP_TARGET = 18, ARP_TARGET_IP = 24 };

/* --- sending --------------------------------------------------------------------------------------------------------- */

void cable_ready(struct sender *s, int64_t now)
{
    struct cable *c = s->cable;
    if (!s->queued) {
        s->queued = true;
        s->next = NULL;
        if (c->head[s->ring])
            c->tail[s->ring]->next = s;
        else
            c->head[s->ring] = s;
        c->tail[s->ring] = s;
    }
    wire_kick(&c->up, now);
}

void cable_own(struct cable *c, struct rte_mbuf *m, int64_t now)
{
    if (c->own_tail - c->own_head == CABLE_OWN) {
        slab_free(c->all->slab, m); /* asked again, or repeated, soon */
        return;
    }
    c->own[c->own_tail++ % CABLE_OWN] = m;
    wire_kick(&c->up, now);
}

static struct rte_mbuf *pull_ring(struct cable *c, unsigned ring, int64_t now)
{
    struct sender *s;
    while ((s = c->head[ring]) != NULL) {
        bool more = false;
        c->head[ring] = s->next;
        s->queued = false;
        struct rte_mbuf *m = s->pull(s, now, &more);
        if (more && !s->queued) {
            s->queued = true;
            s->next = NULL;
            if (c->head[ring])
                c->tail[ring]->next = s;
            else
                c->head[ring] = s;
            c->tail[ring] = s;
        }
        if (m)
            return m;
    }
    return NULL;
}

/* Frames of the host itself, then one of the rings in turn. */
static struct rte_mbuf *pull(void *user, uint16_t port, int64_t now, int64_t *ret_next)
{
    struct cable *c = user;
    if (c->own_head != c->own_tail)
        return c->own[c->own_head++ % CABLE_OWN];
    for (unsigned i = 0; i < 9; i++) {
        unsigned ring = (c->turn + i) % 9;
        if (!c->head[ring] || (ring < 8 && c->paused_until[ring] > now))
            continue;
        struct rte_mbuf *m = pull_ring(c, ring, now);
        if (m) {
            c->turn = ring + 1;
            return m;
        }
    }
    return NULL;
}

static void sent(void *user, uint16_t port, struct rte_mbuf *m, int64_t now)
{
    struct cable *c = user;
    slab_free(c->all->slab, m);
}

/* --- PFC ------------------------------------------------------------------------------------------------------------- */

static void send_pfc(struct cable *c, uint8_t priorities, uint16_t quanta, int64_t now)
{
    struct pfc p = {.enabled = priorities};
    struct rte_mbuf *m = slab_small(c->all->slab);
    if (!m)
        return;
    for (int i = 0; i < 8; i++)
        p.quanta[i] = priorities >> i & 1 ? quanta : 0;
    m->pkt_len = m->data_len = PFC_SIZE;
    pfc_put(packet_at(m, 0), c->mac, &p);
    c->pauses_sent++;
    cable_own(c, m, now);
}

static int64_t repeat_ns(const struct cable *c)
{
    return pfc_ns(0xffff, c->rate_bps) / 2;
}

/* The next moment at which something about pauses changes. */
static void set_timer(struct cable *c, int64_t now)
{
    int64_t at = c->stalled ? now + repeat_ns(c) : INT64_MAX;
    for (int i = 0; i < 8; i++)
        if (c->paused_until[i] > now && c->paused_until[i] < at)
            at = c->paused_until[i];
    if (at == INT64_MAX)
        event_never(c->all->events, &c->pause_timer);
    else
        event_at(c->all->events, &c->pause_timer, at);
}

static void on_pause_timer(struct event_source *s, int64_t now)
{
    struct cable *c = (struct cable *)(void *)((char *)s - offsetof(struct cable, pause_timer));
    if (c->stalled)
        send_pfc(c, c->stalled, 0xffff, now);
    set_timer(c, now);
    wire_kick(&c->up, now);
}

static void heard_pfc(struct cable *c, const struct rte_mbuf *m, int64_t now)
{
    struct pfc p;
    if (pfc_decode(&p, rte_pktmbuf_mtod(m, const uint8_t *) + ETHER_SIZE, m->data_len - ETHER_SIZE))
        return;
    c->pauses++;
    for (unsigned i = 0; i < 8; i++) {
        if (!(p.enabled >> i & 1))
            continue;
        c->paused_until[i] = p.quanta[i] ? now + pfc_ns(p.quanta[i], c->rate_bps) : 0;
        for (uint32_t k = 0; k < c->all->n_hosts; k++)
            if (c->all->host[k].cable == c && c->all->host[k].roce) {
                roce_host_pause(c->all->host[k].roce, (uint8_t)i, c->paused_until[i], now);
                roce_end_kick(&c->all->host[k], now);
            }
    }
    set_timer(c, now);
    wire_kick(&c->up, now);
}

static uint8_t priorities_of(const struct host *h)
{
    const struct scenario_vpn *v = &h->cable->all->plan->scenario->vpns[h->scenario->vpn];
    uint8_t bits = 0;
    for (int c = SCENARIO_INFERENCE; c < SCENARIO_CLASSES; c++)
        bits |= (uint8_t)(v->slice[c].wanted << v->slice[c].priority);
    return bits;
}

/* --- arriving -------------------------------------------------------------------------------------------------------- */

static void answer_arp(struct cable *c, const uint8_t *frame, unsigned l3, uint16_t vlan, int64_t now)
{
    const uint8_t *arp = frame + l3;
    if (bytes_get_be16(arp + ARP_OPERATION) != 1)
        return;
    for (uint32_t i = 0; i < c->all->n_hosts; i++) {
        const struct host *h = &c->all->host[i];
        if (h->cable != c || h->plan->vlan != vlan || memcmp(h->plan->address4.a.b, arp + ARP_TARGET_IP, 4) != 0)
            continue;
        struct rte_mbuf *m = slab_small(c->all->slab);
        if (!m)
            return;
        uint8_t *f = packet_at(m, 0);
        m->pkt_len = m->data_len = (uint16_t)(l3 + ARP_SIZE);
        memcpy(f, frame, m->data_len);
        memcpy(f + ETHER_DST, frame + ETHER_SRC, 6);
        memcpy(f + ETHER_SRC, h->plan->mac, 6);
        uint8_t *a = f + l3;
        bytes_put_be16(a + ARP_OPERATION, 2);
        memcpy(a + ARP_TARGET, arp + ARP_SENDER, 10);
        memcpy(a + ARP_SENDER, h->plan->mac, 6);
        memcpy(a + ARP_SENDER_IP, arp + ARP_TARGET_IP, 4);
        cable_own(c, m, now);
        return;
    }
}

static void dropped(struct host *h, struct rte_mbuf *m, const struct slab_note *n)
{
    h->dropped++;
    if (n->flow != SLAB_NO_FLOW)
        hosts_lost(h->cable->all, n, 2);
    slab_free(h->cable->all->slab, m);
}

static void deliver(struct host *h, struct rte_mbuf *m, unsigned l3, int64_t now)
{
    struct hosts *all = h->cable->all;
    struct slab_note n = slab_note(m);
    struct stream *s = n.flow < all->n_streams ? &all->streams[n.flow] : NULL;
    uint8_t *ip = packet_at(m, l3);
    bool marked = (ip[1] & 3) == 3; /* IPv4's type of service */
    if (n.flow != SLAB_NO_FLOW && !s) {
        roce_end_receive(h, ip, m, l3, &n, now); /* answers of RoCE hosts */
    } else if (!s || (n.kind & NOTE_ACK ? s->from : s->to) != h) {
        h->misdelivered++;
        slab_free(all->slab, m);
        return;
    } else {
        struct work *w = s->work;
        if (!(n.kind & (NOTE_ACK | NOTE_COPY))) {
            w->delivered++;
            w->marked += marked;
            if (n.sent_ns >= w->measure_ns)
                quantile_add(&w->latency, now - n.sent_ns);
        } else if (!(n.kind & NOTE_COPY)) {
            w->acks_delivered++;
        }
        if (s->type == SCENARIO_WORK_UDP)
            udp_receive(s, m, &n, now);
        else if (s->type == SCENARIO_WORK_TCP)
            tcp_receive(s, m, &n, marked, now);
        else
            roce_end_receive(h, ip, m, l3, &n, now);
    }
    if (n.kind & NOTE_COPY)
        all->copies_delivered++;
    else
        all->delivered++;
    if (all->on_delivery)
        all->on_delivery(all->user, &n, now);
    slab_free(all->slab, m);
}

static void hold(struct host *h, struct rte_mbuf *m)
{
    packet_meta(m)->next = NULL;
    *h->held_tail = m;
    h->held_tail = &packet_meta(m)->next;
}

static void arrived(struct host *h, struct rte_mbuf *m, unsigned l3, int64_t now)
{
    struct slab_note n = slab_note(m);
    struct stream *s = n.flow < h->cable->all->n_streams ? &h->cable->all->streams[n.flow] : NULL;
    /* A stalled program's kernel still takes segments and says that its window shrinks; acknowledgements are the kernel's. */
    bool kernel = s && s->type == SCENARIO_WORK_TCP;
    if (!h->stalled || kernel)
        deliver(h, m, l3, now);
    else if (h->scenario->pfc)
        hold(h, m);
    else
        dropped(h, m, &n);
}

static unsigned l3_of(const uint8_t *f, uint16_t *ret_vlan, uint16_t *ret_type)
{
    *ret_vlan = 0;
    *ret_type = bytes_get_be16(f + ETHER_TYPE);
    if (*ret_type != ETHER_VLAN)
        return ETHER_SIZE;
    *ret_vlan = bytes_get_be16(f + ETHER_SIZE) & 0xfff;
    *ret_type = bytes_get_be16(f + ETHER_SIZE + 2);
    return ETHER_SIZE + VLAN_SIZE;
}

static void one(struct cable *c, struct rte_mbuf *m, int64_t now)
{
    uint16_t vlan, type;
    uint8_t *f = packet_at(m, 0);
    slab_judge(m, true);
    unsigned l3 = l3_of(f, &vlan, &type);
    if (type == ETHER_IP4 && m->data_len >= l3 + IP4_SIZE) {
        for (uint32_t i = 0; i < c->all->n_hosts; i++) {
            struct host *h = &c->all->host[i];
            if (h->cable != c || h->plan->vlan != vlan || memcmp(h->plan->address4.a.b, f + l3 + IP4_DST, 4) != 0 ||
                memcmp(h->plan->mac, f, 6) != 0)
                continue;
            arrived(h, m, l3, now);
            return;
        }
        struct slab_note n = slab_note(m);
        if (n.flow != SLAB_NO_FLOW)
            hosts_lost(c->all, &n, 2);
    } else if (type == ETHER_MAC_CONTROL && m->data_len >= PFC_SIZE) {
        heard_pfc(c, m, now);
    } else if (type == ETHER_ARP && m->data_len >= l3 + ARP_SIZE) {
        answer_arp(c, f, l3, vlan, now);
    }
    slab_free(c->all->slab, m);
}

void cable_arrive(void *cable, uint16_t port, struct rte_mbuf **pkts, unsigned n, int64_t now)
{
    for (unsigned i = 0; i < n; i++)
        one(cable, pkts[i], now);
}

/* --- stalls ---------------------------------------------------------------------------------------------------------- */

static void release(struct host *h, int64_t now)
{
    struct rte_mbuf *m = h->held;
    h->held = NULL;
    h->held_tail = &h->held;
    while (m) {
        struct rte_mbuf *following = packet_meta(m)->next;
        uint16_t vlan, type;
        deliver(h, m, l3_of(packet_at(m, 0), &vlan, &type), now);
        m = following;
    }
    for (uint32_t i = 0; i < h->cable->all->n_streams; i++) {
        struct stream *s = &h->cable->all->streams[i];
        if (s->to == h && s->type == SCENARIO_WORK_TCP)
            tcp_take(s, now);
    }
}

void hosts_stall(struct hosts *all, uint32_t host, bool stalled, int64_t now)
{
    struct host *h = &all->host[host];
    struct cable *c = h->cable;
    h->stalled = stalled;
    c->stalled = 0;
    for (uint32_t i = 0; i < all->n_hosts; i++)
        if (all->host[i].cable == c && all->host[i].stalled && all->host[i].scenario->pfc)
            c->stalled |= priorities_of(&all->host[i]);
    if (stalled && h->scenario->pfc)
        send_pfc(c, c->stalled, 0xffff, now);
    if (!stalled) {
        uint8_t again = (uint8_t)(priorities_of(h) & ~c->stalled);
        if (h->scenario->pfc && again)
            send_pfc(c, again, 0, now);
        release(h, now);
    }
    set_timer(c, now);
}

int hosts_cable(struct hosts *h, struct cable *c, void *to,
    void (*arrive)(void *to, uint16_t port, struct rte_mbuf **pkts, unsigned n, int64_t now), struct error *err)
{
    const struct plan_port *p = &h->plan->routers[c->router].ports[c->port];
    struct wire_ends ends = {
        .from = c, .pull = pull, .sent = sent, .to = to, .to_port = (uint16_t)c->port, .arrive = arrive};
    int rc =
        wire_init(&c->up, h->events, h->slab, &ends, p->rate_bps, p->delay_ns, h->seed ^ (uint64_t)(c - h->cables));
    rc = rc ? rc : event_add(h->events, &c->pause_timer, on_pause_timer);
    return rc ? error_set(err, -rc, "no memory") : 0;
}
