#include "sim/wire.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/rng.h"
#include "lane/queue.h"
#include "wire/ip.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define RING_FIRST     64u
#define RING_AHEAD     8u                /* entries that the cache is asked for in advance: two lines of it */
#define CONTROL_JITTER (100 * NS_PER_US) /* by which control frames are held back where the link says no jitter */

/* --- the ring ------------------------------------------------------------------------------------------------------ */

/* Twice the room; frames keep their order. A frame that finds no memory is lost as if by the link. */
static int grow(struct wire *w)
{
    uint32_t room = w->ring ? 2 * (w->mask + 1) : RING_FIRST;
    struct wire_frame *ring = malloc(room * sizeof(*ring));
    if (!ring)
        return -ENOMEM;
    for (uint32_t i = w->head; i != w->tail; i++)
        ring[i & (room - 1)] = w->ring[i & w->mask];
    free(w->ring);
    w->ring = ring;
    w->mask = room - 1;
    return 0;
}

static void lose(struct wire *w, struct rte_mbuf *m, enum wire_loss why, int64_t now)
{
    w->lost[why]++;
    if (w->on_loss)
        w->on_loss(w->user, w, m, why, now);
    slab_free(w->slab, m);
}

/* Behind every frame that arrives no later: only those held back are passed. */
static void insert(struct wire *w, struct rte_mbuf *m, int64_t at_ns, int64_t now)
{
    if ((!w->ring || w->tail - w->head > w->mask) && grow(w)) {
        lose(w, m, WIRE_LOST, now);
        return;
    }
    uint32_t i = w->tail++;
    for (; i != w->head && w->ring[(i - 1) & w->mask].at_ns > at_ns; i--)
        w->ring[i & w->mask] = w->ring[(i - 1) & w->mask];
    w->ring[i & w->mask] = (struct wire_frame){at_ns, m};
    __builtin_prefetch(&w->ring[(w->tail + RING_AHEAD) & w->mask], 1);
    if (i == w->head) {
        event_soon(w->events, &w->arrival, m);
        event_at(w->events, &w->arrival, at_ns);
    }
}

static void on_arrival(struct event_source *s, int64_t now)
{
    struct wire *w = (struct wire *)(void *)((char *)s - offsetof(struct wire, arrival));
    struct rte_mbuf *batch[WIRE_BATCH];
    unsigned n = 0;
    while (w->head != w->tail && n < WIRE_BATCH && w->ring[w->head & w->mask].at_ns <= now)
        batch[n++] = w->ring[w->head++ & w->mask].m;
    if (w->head != w->tail) {
        const struct wire_frame *following = &w->ring[w->head & w->mask];
        __builtin_prefetch(&w->ring[(w->head + RING_AHEAD) & w->mask], 1);
        if (w->head + 1 != w->tail)
            event_fetch(w->ring[(w->head + 1) & w->mask].m);
        event_soon(w->events, s, following->m);
        event_at(w->events, s, following->at_ns);
    }
    w->arrived += n;
    if (n)
        w->ends.arrive(w->ends.to, w->ends.to_port, batch, n, now);
}

/* --- what the fibre does ------------------------------------------------------------------------------------------- */

static bool is_control(const struct rte_mbuf *m)
{
    return m->data_len >= ETHER_SIZE && bytes_get_be16(rte_pktmbuf_mtod(m, const uint8_t *) + ETHER_TYPE) == ETHER_LANE;
}

static bool drawn(struct wire *w, double share)
{
    return share > 0 && rng_uniform(w->key, w->draws++) < share;
}

static bool bit_error(struct wire *w, const struct rte_mbuf *m)
{
    double bits = 8.0 * queue_wire_bytes(m->pkt_len);
    return w->quality.bit_errors > 0 && drawn(w, -expm1(bits * log1p(-w->quality.bit_errors)));
}

static int64_t up_to(struct wire *w, int64_t most)
{
    return most > 0 ? (int64_t)(rng_uniform(w->key, w->draws++) * (double)most) : 0;
}

/* Behind the first one; the packet was sent once. */
static void repeat(struct wire *w, struct rte_mbuf *copy, int64_t at_ns, int64_t now)
{
    struct slab_note n = slab_note(copy);
    n.kind |= SLAB_COPY;
    n.twin = NULL;
    slab_note_set(copy, &n);
    w->duplicated++;
    insert(w, copy, at_ns, now);
}

static void travel_faulty(struct wire *w, struct rte_mbuf *m, int64_t now)
{
    const struct scenario_quality *q = &w->quality;
    bool control = is_control(m);
    if (drawn(w, q->loss) || bit_error(w, m)) {
        lose(w, m, control ? WIRE_CONTROL_LOST : WIRE_LOST, now);
        return;
    }
    if (control && drawn(w, q->control_loss)) {
        lose(w, m, WIRE_CONTROL_LOST, now);
        return;
    }
    int64_t at = now + w->delay_ns + up_to(w, q->jitter_ns);
    if (at < w->last_arrival_ns)
        at = w->last_arrival_ns;
    bool copied = drawn(w, q->duplicate) || (control && drawn(w, q->control_duplicate));
    struct rte_mbuf *copy = copied ? slab_copy(w->slab, m) : NULL;
    if (drawn(w, q->reorder) || (control && drawn(w, q->control_reorder))) {
        w->overtaken++;
        insert(w, m, at + up_to(w, q->jitter_ns ? q->jitter_ns : CONTROL_JITTER), now);
    } else {
        w->last_arrival_ns = at;
        insert(w, m, at, now);
    }
    if (copy)
        repeat(w, copy, at, now);
}

static void travel(struct wire *w, struct rte_mbuf *m, int64_t now)
{
    if (w->down)
        lose(w, m, WIRE_CUT, now);
    else if (w->faulty)
        travel_faulty(w, m, now);
    else {
        int64_t at = now + w->delay_ns;
        w->last_arrival_ns = at > w->last_arrival_ns ? at : w->last_arrival_ns;
        insert(w, m, w->last_arrival_ns, now);
    }
}

/* --- the transmitter ------------------------------------------------------------------------------------------------ */

/* Puts the next frame on the wire, or waits for one. Only while none is being sent. */
static void next(struct wire *w, int64_t now)
{
    int64_t again = INT64_MAX;
    w->pulling = true;
    struct rte_mbuf *m = w->ends.pull(w->ends.from, w->ends.from_port, now, &again);
    w->pulling = false;
    if (!m) {
        if (again == INT64_MAX)
            event_never(w->events, &w->transmitter);
        else
            event_at(w->events, &w->transmitter, again > now ? again : now + 1);
        return;
    }
    if (w->free_at_ns < now) {
        w->free_at_ns = now;
        w->free_at_frac = 0;
    }
    uint64_t t = w->ns_per_byte * queue_wire_bytes(m->pkt_len) + w->free_at_frac;
    w->free_at_ns += (int64_t)(t >> 32);
    w->free_at_frac = (uint32_t)t;
    w->sending = m;
    event_soon(w->events, &w->transmitter, m);
    w->frames++;
    w->bytes += m->pkt_len;
    event_at(w->events, &w->transmitter, w->free_at_ns);
}

static void on_transmitter(struct event_source *s, int64_t now)
{
    struct wire *w = (struct wire *)(void *)((char *)s - offsetof(struct wire, transmitter));
    struct rte_mbuf *m = w->sending;
    if (m) {
        w->sending = NULL;
        m->refcnt++; /* the owner gives up its reference in `sent` */
        w->pulling = true;
        w->ends.sent(w->ends.from, w->ends.from_port, m, now);
        w->pulling = false;
        travel(w, m, now);
    }
    next(w, now);
}

void wire_kick(struct wire *w, int64_t now)
{
    if (!w->sending && !w->pulling)
        next(w, now);
}

/* --- life ------------------------------------------------------------------------------------------------------------ */

int wire_init(struct wire *w, struct events *e, struct slab *s, const struct wire_ends *ends, uint64_t rate_bps,
    int64_t delay_ns, uint64_t key)
{
    *w = (struct wire){.events = e,
        .slab = s,
        .ends = *ends,
        .ns_per_byte = queue_ns_per_byte(rate_bps),
        .delay_ns = delay_ns,
        .key = key};
    int rc = event_add(e, &w->arrival, on_arrival);
    return rc ? rc : event_add(e, &w->transmitter, on_transmitter);
}

void wire_done(struct wire *w)
{
    for (; w->head != w->tail; w->head++)
        slab_free(w->slab, w->ring[w->head & w->mask].m);
    if (w->sending)
        slab_free(w->slab, w->sending);
    w->sending = NULL;
    free(w->ring);
    w->ring = NULL;
}

void wire_set_quality(struct wire *w, const struct scenario_quality *q)
{
    w->quality = *q;
    w->faulty = q->loss > 0 || q->bit_errors > 0 || q->duplicate > 0 || q->reorder > 0 || q->control_loss > 0 ||
                q->control_duplicate > 0 || q->control_reorder > 0 || q->jitter_ns > 0;
}

void wire_abort(struct wire *w, int64_t now)
{
    struct rte_mbuf *m = w->sending;
    w->sending = NULL;
    event_never(w->events, &w->transmitter);
    if (m)
        lose(w, m, WIRE_CUT, now);
}

void wire_set_down(struct wire *w, bool down, int64_t now)
{
    w->down = down;
    if (!down)
        return;
    for (; w->head != w->tail; w->head++)
        lose(w, w->ring[w->head & w->mask].m, WIRE_CUT, now);
    event_never(w->events, &w->arrival);
}
