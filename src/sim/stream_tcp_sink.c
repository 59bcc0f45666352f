/* TCP's receiver: puts segments in order, acknowledges every second one, every one out of order and every change of marks
 * at once, the last one after a millisecond; says how much it can still take. */
#include "base/bytes.h"
#include "base/clock.h"
#include "sim/stream_tcp.h"

#include <string.h>

#define ACK_LATE   NS_PER_MS
#define ROOM_LEAST (6u << 20) /* Linux' tcp_rmem */
#define ROOM_MOST  ((uint64_t)NOTE_WINDOW << TCP_WINDOW_SHIFT)

/* Twice what is under way on a free line: the window is never what limits a healthy flow. */
uint64_t tcp_room(const struct stream *s)
{
    const struct plan *p = s->all->plan;
    const struct plan_router *r = &p->routers[s->from->plan->router];
    int64_t one_way = 0;
    for (uint32_t i = 0; i < r->n_paths; i++)
        if (r->paths[i].egress == s->to->plan->router && r->paths[i].delay_ns > one_way)
            one_way = r->paths[i].delay_ns;
    uint64_t room = (uint64_t)(2.0 * (double)s->from->cable->rate_bps / 8 * (double)(2 * one_way + NS_PER_MS) * 1e-9);
    return room < ROOM_LEAST ? ROOM_LEAST : room > ROOM_MOST ? ROOM_MOST : room;
}

static uint64_t window(const struct tcp *t)
{
    uint64_t held = t->received - t->taken;
    return held < t->room ? t->room - held : 0;
}

static struct rte_mbuf *pull_ack(struct sender *x, int64_t now, bool *ret_more)
{
    struct stream *s = x->stream;
    struct tcp *t = &s->tcp;
    if (!t->ack_now)
        return NULL;
    struct slab_note note = {.flow = s->index,
        .kind = NOTE_ACK | (t->ece ? NOTE_ECE : 0) | (uint32_t)(window(t) >> TCP_WINDOW_SHIFT),
        .number = t->received,
        .sent_ns = t->echo_ns};
    struct rte_mbuf *m = stream_frame(s, true, 0, &note);
    if (m) {
        uint8_t *tcp = packet_at(m, s->l3 + IP4_SIZE);
        bytes_put_be32(tcp + 8, (uint32_t)t->received);
        tcp[13] = (uint8_t)(TCP_FLAG_ACK | (t->ece ? TCP_FLAG_ECE : 0));
    }
    t->ack_now = false;
    t->unacked = 0;
    event_never(s->all->events, &s->ack_timer);
    return m;
}

static void acknowledge(struct stream *s, int64_t now)
{
    s->tcp.ack_now = true;
    cable_ready(&s->ack, now);
}

void tcp_on_ack_timer(struct event_source *e, int64_t now)
{
    acknowledge((struct stream *)(void *)((char *)e - offsetof(struct stream, ack_timer)), now);
}

/* --- order --------------------------------------------------------------------------------------------------------------- */

/* Notes [from, to) as arrived beyond a gap; gaps are in order and apart. With no room the segment is forgotten: sent again. */
static void beyond(struct tcp *t, uint64_t from, uint64_t to)
{
    uint32_t i = 0;
    while (i < t->n_beyond && t->beyond[i].to < from)
        i++;
    if (i == t->n_beyond || t->beyond[i].from > to) {
        if (t->n_beyond == TCP_GAPS)
            return;
        memmove(&t->beyond[i + 1], &t->beyond[i], (t->n_beyond - i) * sizeof(t->beyond[0]));
        t->beyond[i] = (struct tcp_gap){from, to};
        t->n_beyond++;
        return;
    }
    t->beyond[i].from = from < t->beyond[i].from ? from : t->beyond[i].from;
    t->beyond[i].to = to > t->beyond[i].to ? to : t->beyond[i].to;
    while (i + 1 < t->n_beyond && t->beyond[i + 1].from <= t->beyond[i].to) {
        if (t->beyond[i + 1].to > t->beyond[i].to)
            t->beyond[i].to = t->beyond[i + 1].to;
        memmove(&t->beyond[i + 1], &t->beyond[i + 2], (t->n_beyond - i - 2) * sizeof(t->beyond[0]));
        t->n_beyond--;
    }
}

/* Bytes that came into order. */
static uint64_t in_order(struct tcp *t, uint64_t from, uint64_t to)
{
    uint64_t before = t->received;
    if (from > t->received) {
        beyond(t, from, to);
        return 0;
    }
    t->received = to > t->received ? to : t->received;
    while (t->n_beyond && t->beyond[0].from <= t->received) {
        if (t->beyond[0].to > t->received)
            t->received = t->beyond[0].to;
        memmove(&t->beyond[0], &t->beyond[1], (t->n_beyond - 1) * sizeof(t->beyond[0]));
        t->n_beyond--;
    }
    return t->received - before;
}

static void segment_arrived(struct stream *s, struct rte_mbuf *m, const struct slab_note *n, bool marked, int64_t now)
{
    struct tcp *t = &s->tcp;
    uint32_t bytes = m->pkt_len - s->head_len;
    uint8_t flags = packet_at(m, s->l3 + IP4_SIZE)[13];
    bool ece = marked || (t->ece && !(flags & TCP_FLAG_CWR)), change = ece != t->ece;
    uint64_t got = in_order(t, n->number, n->number + bytes);
    t->ece = ece;
    t->echo_ns = n->sent_ns;
    if (!s->to->stalled)
        t->taken = t->received;
    stream_delivered(s, (uint32_t)got, m->pkt_len, now);
    if (got != bytes || change || t->n_beyond || ++t->unacked >= 2 || (s->bytes && t->received >= s->bytes))
        acknowledge(s, now);
    else
        event_at(s->all->events, &s->ack_timer, now + ACK_LATE);
}

void tcp_receive(struct stream *s, struct rte_mbuf *m, const struct slab_note *n, bool marked, int64_t now)
{
    if (n->kind & NOTE_ACK)
        tcp_acknowledged(s, n, now);
    else
        segment_arrived(s, m, n, marked, now);
}

void tcp_take(struct stream *s, int64_t now)
{
    if (s->tcp.taken == s->tcp.received)
        return;
    s->tcp.taken = s->tcp.received;
    s->tcp.echo_ns = 0; /* a window's news measures no round trip */
    acknowledge(s, now);
}

void tcp_sink_init(struct stream *s)
{
    s->ack.pull = pull_ack;
}
