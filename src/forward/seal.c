/* The way into ESP: packets of encrypted VPNs that are ready for their outer headers are sealed together, get the headers,
 * and join their lanes' queues in the order in which they came. */
#include "forward/crypt.h"
#include "forward/encap.h"
#include "forward/protect.h"

/* Everything that could go wrong is looked at before, so that sealing takes each packet's number for good: room in front for
 * both headers, behind for the trailer, and the packet in one piece. */
static inline bool fits(const struct forward *f, struct rte_mbuf *m, const struct encap *e)
{
    if (m->data_off < ETHER_SIZE + e->size + ESP_HEAD)
        return false;
    return f->ops.virtual_payload || (m->data_len == m->pkt_len && rte_pktmbuf_tailroom(m) >= ESP_TAIL_MOST);
}

void seal_later(struct forward *f, struct esp_sa *sa, const struct sealing_wait *wait, uint8_t proto, int64_t now)
{
    struct sealing *s = &f->sealing;
    if (forward_unlikely(!fits(f, wait->m, wait->encap))) {
        leave_dropped(f, wait->m, wait->encap->out_port, LOSS_NO_BUFFER, now);
        return;
    }
    struct esp_packet *p = &s->packet[s->n];
    p->sa = sa;
    p->bytes = packet_at(wait->m, 0);
    p->len = wait->m->pkt_len;
    p->next = proto;
    s->wait[s->n++] = *wait;
    if (s->n == ESP_BATCH)
        seal_flush(f, now);
}

/* The mbuf grows by what ESP has put around its packet. */
static inline void grow(const struct forward *f, struct rte_mbuf *m, uint32_t len)
{
    uint32_t more = f->ops.virtual_payload ? ESP_HEAD : len - m->pkt_len;
    m->data_off = (uint16_t)(m->data_off - ESP_HEAD);
    m->data_len = (uint16_t)(m->data_len + more);
    m->pkt_len = len;
}

static inline void sealed(struct forward *f, const struct esp_packet *p, const struct sealing_wait *w, int64_t now)
{
    if (forward_unlikely(p->verdict != ESP_GOOD)) {
        leave_dropped(f, w->m, w->encap->out_port, LOSS_NO_KEY, now);
        return;
    }
    grow(f, w->m, p->len);
    f->counts.sealed++;
    if (forward_unlikely(w->encap->protect != NULL))
        protect_leave(f, w->encap->protect, w->m, IP_PROTO_ESP, w->ecn, w->marks, now);
    else if (forward_likely(encap_push(w->encap, w->m, IP_PROTO_ESP, w->ecn, w->marks)))
        encap_leave(f, w->encap, w->queue, w->m, now);
    else
        leave_dropped(f, w->m, w->encap->out_port, LOSS_NO_BUFFER, now);
}

void seal_flush(struct forward *f, int64_t now)
{
    struct sealing *s = &f->sealing;
    esp_seal(f->esp, s->packet, s->n);
    for (unsigned i = 0; i < s->n; i++)
        sealed(f, &s->packet[i], &s->wait[i], now);
    s->n = 0;
}
