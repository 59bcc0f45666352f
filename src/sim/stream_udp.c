/* UDP at a rate, steady or in bursts. Packets are due at exact times; a host whose line is busy or paused keeps some of them
 * and gives up the rest before they reach the network. Latency counts from the moment at which a packet was due. */
#include "base/rng.h"
#include "sim/stream.h"

#include <errno.h>

#define KEPT 256 /* packets that wait in the host at most: its queue */

static void advance(struct udp *u)
{
    uint64_t frac = (uint64_t)u->due_frac + u->interval_frac;
    u->due_ns += u->interval_ns + (int64_t)(frac >> 32);
    u->due_frac = (uint32_t)frac;
}

/* Moves a time in a pause to the next burst. */
static void to_burst(const struct stream *s, const struct scenario_workload *w, struct udp *u)
{
    int64_t round = w->on_ns + w->off_ns, into = w->off_ns ? (u->due_ns - s->start_ns) % round : 0;
    if (w->off_ns && into >= w->on_ns) {
        u->due_ns += round - into;
        u->due_frac = 0;
    }
}

static const struct scenario_workload *workload_of(const struct stream *s)
{
    return &s->all->plan->scenario->workloads[s->work - s->all->works];
}

static bool over(const struct stream *s)
{
    return s->udp.due_ns >= s->stop_ns || (s->bytes && s->udp.number * s->payload >= s->bytes);
}

static struct rte_mbuf *pull(struct sender *x, int64_t now, bool *ret_more)
{
    struct stream *s = x->stream;
    struct udp *u = &s->udp;
    const struct scenario_workload *w = workload_of(s);
    if (u->due_ns > now)
        return NULL;
    int64_t late = (now - u->due_ns) / (u->interval_ns + 1) - KEPT;
    for (; late > 0 && !over(s); late--) {
        s->work->held_back++;
        advance(u);
        to_burst(s, w, u);
    }
    if (over(s))
        return NULL;
    struct slab_note note = {.flow = s->index, .number = u->number, .sent_ns = u->due_ns};
    struct rte_mbuf *m = stream_frame(s, false, s->payload, &note);
    u->number += m != NULL;
    advance(u);
    to_burst(s, w, u);
    if (over(s))
        return m;
    *ret_more = u->due_ns <= now;
    if (!*ret_more)
        event_at(s->all->events, &s->timer, u->due_ns);
    return m;
}

static void on_timer(struct event_source *e, int64_t now)
{
    struct stream *s = (struct stream *)(void *)((char *)e - offsetof(struct stream, timer));
    cable_ready(&s->data, now);
}

void udp_receive(struct stream *s, struct rte_mbuf *m, const struct slab_note *n, int64_t now)
{
    /* Every packet counts once, whatever its place. */
    if (!(n->kind & NOTE_COPY)) {
        stream_delivered(s, s->payload, m->pkt_len, now);
        s->work->reordered += n->number < s->udp.expected;
        if (n->number >= s->udp.expected)
            s->udp.expected = n->number + 1;
    }
    if (s->bytes && n->number * s->payload + s->payload >= s->bytes)
        stream_finish(s, now);
}

int udp_init(struct stream *s, const struct scenario_workload *w, struct error *err)
{
    uint32_t packet = s->payload; /* so far of the whole IP packet */
    if (packet < 64)
        packet = 64;
    s->payload = packet - (s->head_len - s->l3);
    __extension__ unsigned __int128 interval = ((unsigned __int128)packet * 8000000000u << 32) / s->rate_bps;
    if (interval >> 95)
        return error_set(err, EINVAL, "workload %s: its rate is next to nothing", w->name);
    s->udp = (struct udp){.interval_ns = (int64_t)(interval >> 32), .interval_frac = (uint32_t)interval};
    /* Streams of one rate do not march in step: each begins somewhere in its first interval. */
    s->start_ns += (int64_t)(rng_uniform(s->all->seed, s->index) * (double)s->udp.interval_ns);
    s->udp.due_ns = s->start_ns;
    s->data.pull = pull;
    return event_add(s->all->events, &s->timer, on_timer) ? error_set(err, ENOMEM, "no memory") : 0;
}
