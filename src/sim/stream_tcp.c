/* TCP between two simulated hosts: the sender (see stream_tcp_sink.c for the receiver).
 *
 * NewReno's recovery (RFC 6582), CUBIC's window (RFC 9438), ECN (RFC 3168: a mark cuts the window once a round trip), round
 * trips by timestamps, retransmission timeouts (RFC 6298, at least 200 ms as Linux has it), pacing at twice the window a
 * round trip in slow start and 1.2 times it later. No SACK. Bytes are counted in 64 bits; the wire sees the low 32. */
#include "sim/stream_tcp.h"

#include "base/bytes.h"
#include "base/clock.h"

#include <errno.h>
#include <math.h>

#define FIRST_WINDOW 10 /* segments (RFC 6928) */
#define RTO_LEAST    (200 * NS_PER_MS)
#define RTO_MOST     (60 * NS_PER_S)
#define RTO_FIRST    NS_PER_S
#define CUBIC_C      0.4
#define CUBIC_BETA   0.7

static double segment(const struct stream *s)
{
    return s->payload;
}

static uint64_t end_of(const struct stream *s, int64_t now)
{
    if (now >= s->stop_ns)
        return s->tcp.high; /* what was begun is finished */
    return s->bytes ? s->bytes : UINT64_MAX;
}

/* --- the window -------------------------------------------------------------------------------------------------------- */

static void cut(struct stream *s)
{
    struct tcp *t = &s->tcp;
    /* Fast convergence: a flow that never reached its last peak leaves room. */
    t->w_max = t->cwnd < t->w_max ? t->cwnd * (1 + CUBIC_BETA) / 2 : t->cwnd;
    t->ssthresh = t->cwnd * CUBIC_BETA;
    if (t->ssthresh < 2 * segment(s))
        t->ssthresh = 2 * segment(s);
    t->cwnd = t->ssthresh;
    t->epoch_ns = 0;
    t->reacted = t->next;
}

static void open_cubic(struct stream *s, uint64_t acked, int64_t now)
{
    struct tcp *t = &s->tcp;
    if (!t->epoch_ns) {
        t->epoch_ns = now;
        if (t->w_max < t->cwnd)
            t->w_max = t->cwnd;
        t->k_s = cbrt((t->w_max - t->cwnd) / segment(s) / CUBIC_C);
    }
    double at = (double)(now - t->epoch_ns + t->srtt_ns) * 1e-9, d = at - t->k_s;
    double target = t->w_max + CUBIC_C * d * d * d * segment(s);
    /* As Reno would have it, so that short paths are not slower (RFC 9438 4.3). */
    double reno = t->w_max * CUBIC_BETA + 3 * (1 - CUBIC_BETA) / (1 + CUBIC_BETA) * segment(s) *
                                              ((double)(now - t->epoch_ns) / (double)(t->srtt_ns ? t->srtt_ns : 1));
    if (target < reno)
        target = reno;
    if (target > 1.5 * t->cwnd)
        target = 1.5 * t->cwnd;
    if (target > t->cwnd)
        t->cwnd += (target - t->cwnd) * (double)acked / t->cwnd;
}

static void open_window(struct stream *s, uint64_t acked, int64_t now)
{
    struct tcp *t = &s->tcp;
    if (t->next - t->una + acked < t->cwnd / 2)
        return; /* the window is not what limits it */
    if (t->cwnd < t->ssthresh)
        t->cwnd += (double)acked;
    else
        open_cubic(s, acked, now);
}

static void measure(struct tcp *t, int64_t rtt)
{
    if (!t->srtt_ns) {
        t->srtt_ns = rtt;
        t->rttvar_ns = rtt / 2;
    } else {
        int64_t off = rtt > t->srtt_ns ? rtt - t->srtt_ns : t->srtt_ns - rtt;
        t->rttvar_ns += (off - t->rttvar_ns) / 4;
        t->srtt_ns += (rtt - t->srtt_ns) / 8;
    }
    int64_t rto = t->srtt_ns + 4 * t->rttvar_ns;
    t->rto_ns = rto < RTO_LEAST ? RTO_LEAST : rto > RTO_MOST ? RTO_MOST : rto;
}

/* --- sending ------------------------------------------------------------------------------------------------------------- */

static int64_t spacing(const struct stream *s, uint32_t bytes)
{
    const struct tcp *t = &s->tcp;
    double ns = 0;
    if (t->srtt_ns)
        ns = (double)t->srtt_ns * bytes / (t->cwnd * (t->cwnd < t->ssthresh ? 2.0 : 1.2));
    double by_rate = s->rate_bps ? (double)bytes * 8e9 / (double)s->rate_bps : 0;
    return (int64_t)(by_rate > ns ? by_rate : ns);
}

static void set_timer(struct stream *s, int64_t at)
{
    struct tcp *t = &s->tcp;
    if (t->una < t->next && t->rto_at_ns < at)
        at = t->rto_at_ns;
    if (at == INT64_MAX)
        event_never(s->all->events, &s->timer);
    else
        event_at(s->all->events, &s->timer, at);
}

/* What may go now: 0 and when to ask again. */
static uint32_t sendable(const struct stream *s, int64_t now, int64_t *ret_again)
{
    const struct tcp *t = &s->tcp;
    uint64_t end = end_of(s, now), window = t->una + (uint64_t)t->cwnd;
    window = window < t->allowed ? window : t->allowed;
    *ret_again = INT64_MAX;
    if (t->next >= end || t->next + (end - t->next < s->payload ? end - t->next : s->payload) > window)
        return 0;
    if (t->pace_ns > now) {
        *ret_again = t->pace_ns;
        return 0;
    }
    return (uint32_t)(end - t->next < s->payload ? end - t->next : s->payload);
}

static struct rte_mbuf *emit(struct stream *s, uint64_t from, uint32_t bytes, int64_t now)
{
    struct tcp *t = &s->tcp;
    struct slab_note note = {.flow = s->index, .number = from, .sent_ns = now};
    struct rte_mbuf *m = stream_frame(s, false, bytes, &note);
    if (!m)
        return NULL;
    uint8_t *tcp = packet_at(m, s->l3 + IP4_SIZE);
    bytes_put_be32(tcp + 4, (uint32_t)from);
    tcp[13] = (uint8_t)(TCP_FLAG_ACK | (t->cwr ? TCP_FLAG_CWR : 0));
    t->cwr = false;
    s->work->retransmitted += from < t->high;
    if (t->una == t->next || t->rto_at_ns == 0)
        t->rto_at_ns = now + (t->rto_ns << t->backoff);
    return m;
}

static struct rte_mbuf *pull(struct sender *x, int64_t now, bool *ret_more)
{
    struct stream *s = x->stream;
    struct tcp *t = &s->tcp;
    int64_t again;
    struct rte_mbuf *m = NULL;
    if (t->resend) {
        uint64_t left = t->high - t->una;
        t->resend = false;
        m = emit(s, t->una, (uint32_t)(left < s->payload ? left : s->payload), now);
    } else {
        uint32_t bytes = sendable(s, now, &again);
        if (bytes)
            m = emit(s, t->next, bytes, now);
        if (m) {
            t->next += bytes;
            t->high = t->next > t->high ? t->next : t->high;
            t->pace_ns = (t->pace_ns > now - NS_PER_MS ? t->pace_ns : now) + spacing(s, bytes);
        }
    }
    *ret_more = sendable(s, now, &again) > 0;
    set_timer(s, again);
    return m;
}

static void go_on(struct stream *s, int64_t now)
{
    int64_t again;
    bool may = sendable(s, now, &again) > 0;
    set_timer(s, again);
    if (may || s->tcp.resend)
        cable_ready(&s->data, now);
}

static void on_timer(struct event_source *e, int64_t now)
{
    struct stream *s = (struct stream *)(void *)((char *)e - offsetof(struct stream, timer));
    struct tcp *t = &s->tcp;
    if (t->una < t->next && now >= t->rto_at_ns) {
        /* All over again from the first byte not acknowledged. */
        cut(s);
        t->cwnd = segment(s);
        t->next = t->una;
        t->recovering = false;
        t->duplicates = 0;
        t->backoff += t->backoff < 6;
        t->rto_at_ns = 0;
    }
    go_on(s, now);
}

/* --- acknowledgements ------------------------------------------------------------------------------------------------------ */

static void duplicate(struct stream *s)
{
    struct tcp *t = &s->tcp;
    t->duplicates++;
    if (t->recovering) {
        t->cwnd += segment(s);
    } else if (t->duplicates == 3 && t->una >= t->recover) {
        t->recovering = true;
        t->recover = t->next;
        cut(s);
        t->cwnd += 3 * segment(s);
        t->resend = true;
    }
}

static void advanced(struct stream *s, uint64_t ack, int64_t now)
{
    struct tcp *t = &s->tcp;
    uint64_t acked = ack - t->una;
    t->una = ack;
    t->next = t->next < ack ? ack : t->next;
    t->backoff = 0;
    t->rto_at_ns = now + t->rto_ns;
    if (!t->recovering) {
        t->duplicates = 0;
        open_window(s, acked, now);
    } else if (ack >= t->recover) {
        t->recovering = false;
        t->duplicates = 0;
        t->cwnd = t->ssthresh;
    } else { /* a partial one: the next hole */
        t->cwnd -= (double)acked;
        t->cwnd = t->cwnd < segment(s) ? segment(s) : t->cwnd + segment(s);
        t->resend = true;
    }
}

void tcp_acknowledged(struct stream *s, const struct slab_note *n, int64_t now)
{
    struct tcp *t = &s->tcp;
    uint64_t allowed = n->number + ((uint64_t)(n->kind & NOTE_WINDOW) << TCP_WINDOW_SHIFT);
    bool news = allowed > t->allowed;
    if (n->number > t->high)
        return;
    t->allowed = news ? allowed : t->allowed;
    if (n->sent_ns)
        measure(t, now - n->sent_ns);
    if (n->kind & NOTE_ECE && t->una >= t->reacted && !t->recovering) {
        cut(s);
        t->cwr = true;
    }
    if (n->number > t->una)
        advanced(s, n->number, now);
    else if (n->number == t->una && t->una < t->next && !news)
        duplicate(s);
    if (s->bytes && t->una >= s->bytes)
        stream_finish(s, now);
    go_on(s, now);
}

int tcp_init(struct stream *s, const struct scenario_workload *w, struct error *err)
{
    struct tcp *t = &s->tcp;
    s->payload -= s->head_len - s->l3;
    *t = (struct tcp){.ssthresh = INFINITY, .rto_ns = RTO_FIRST, .room = tcp_room(s)};
    t->cwnd = FIRST_WINDOW * segment(s);
    t->allowed = t->room;
    s->data.pull = pull;
    tcp_sink_init(s);
    int rc = event_add(s->all->events, &s->timer, on_timer);
    rc = rc ? rc : event_add(s->all->events, &s->ack_timer, tcp_on_ack_timer);
    return rc ? error_set(err, -rc, "no memory") : 0;
}
