/* The way out of ESP: packets behind encrypted service SIDs are opened together; what is authentic, new, and of the SID's own VPN
 * goes on like any inner packet (decap.c), all else is lost and recorded. */
#include "forward/crypt.h"
#include "forward/leave.h"
#include "forward/sid.h"

static const uint8_t loss_of[ESP_VERDICTS] = {
    [ESP_NO_KEY] = LOSS_NO_KEY,
    [ESP_MALFORMED] = LOSS_MALFORMED,
    [ESP_NOT_AUTHENTIC] = LOSS_NOT_AUTHENTIC,
    [ESP_REPLAYED] = LOSS_REPLAY,
    [ESP_WRONG_VPN] = LOSS_WRONG_VPN,
};

/* In one piece; of one without payload the headers inside must be there. */
static bool whole(const struct forward *f, const struct walk *w)
{
    return f->ops.virtual_payload ? w->there >= w->at + ESP_HEAD + IP4_SIZE : w->there == w->size;
}

void open_later(struct forward *f, const struct walk *w, struct vrf *vrf, unsigned ecn)
{
    struct opening *o = &f->opening;
    if (o->n == ESP_BATCH)
        open_flush(f, w->now);
    if (forward_unlikely(!f->esp)) {
        walk_drop(f, w, LOSS_NO_KEY, w->meta->in_port);
        return;
    }
    if (forward_unlikely(!whole(f, w)) || forward_unlikely(o->n == ESP_BATCH)) {
        walk_drop(f, w, LOSS_NO_BUFFER, w->meta->in_port);
        return;
    }
    struct esp_packet *p = &o->packet[o->n];
    p->bytes = w->ip + w->at;
    p->len = w->size - w->at;
    p->peer = (const struct ip6 *)(w->ip + IP6_SRC); /* stays there: opening changes what is behind */
    p->vrf = vrf->id;
    o->wait[o->n++] = (struct opening_wait){w->m, vrf, w->rx, (uint8_t)ecn};
}

static inline void opened(struct forward *f, const struct esp_packet *p, const struct opening_wait *w, int64_t now)
{
    struct rte_mbuf *m = w->m;
    if (forward_unlikely(p->verdict != ESP_GOOD)) {
        leave_dropped(f, m, packet_meta(m)->in_port, (enum loss_reason)loss_of[p->verdict], now);
        return;
    }
    f->counts.opened++;
    if (forward_unlikely(p->first) && f->ops.sa_heard)
        f->ops.sa_heard(f->ops.user, p->peer, esp_sa_spi(p->sa));
    packet_pull(m, (uint32_t)(p->bytes - packet_at(m, 0)));
    leave_out_tail(f, m, p->len);
    if (forward_likely(p->next == IP_PROTO_IPIP || p->next == IP_PROTO_IPV6))
        decap_inner(f, m, w->vrf, w->rx, p->next, w->ecn, now);
    else
        leave_dropped(f, m, packet_meta(m)->in_port, LOSS_MALFORMED, now);
}

/* What comes out may, through an ICMP error of ours, bring in another packet while we are at it: that one waits behind. */
void open_flush(struct forward *f, int64_t now)
{
    struct opening *o = &f->opening;
    unsigned n = o->n;
    if (o->busy)
        return;
    o->busy = true;
    esp_open(f->esp, o->packet, n);
    for (unsigned i = 0; i < n; i++)
        opened(f, &o->packet[i], &o->wait[i], now);
    o->n -= n;
    memmove(o->packet, o->packet + n, o->n * sizeof *o->packet);
    memmove(o->wait, o->wait + n, o->n * sizeof *o->wait);
    o->busy = false;
}
