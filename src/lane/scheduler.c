/* What a port sends next.
 *
 *   1. PFC that must be told, then lane frames: short, rare, and everything waits for them.
 *   2. Within guarantees, in class order: queues whose guarantee has tokens. As long as the guarantees of a port add up to
 *      less than its rate, each queue gets its own whatever the others do, bulk as well as control.
 *   3. What exceeds guarantees, in strict class order: whatever the wire still takes, so work is conserved.
 * Inside a class queues take turns, each with a quantum of one full packet; what a packet overdraws is missing in the next
 * turn (Shreedhar and Varghese's deficit round robin, with the debt instead of the look ahead).
 *
 * A guaranteed queue is in both rings: it gets its share of the excess besides what it is guaranteed. Tokens that gather
 * while it waits in the second step are never cut off: being served late there does not cost any. Only a queue that comes
 * back after having had nothing to send, no credit or a pause finds no more than its burst.
 *
 * A queue whose head may not be sent (no credit, paused, capped, held) leaves the rings when its turn comes and returns
 * when it is woken: each of these costs the same however many lanes there are. */
#include "lane/port_inner.h"
#include "lane/stamp.h"

#include <string.h>

#define QUEUE_OF(t, bucket) ((struct queue *)(void *)((uint8_t *)(t) - offsetof(struct queue, bucket.timer)))

static void timers_expire(struct port *p, int64_t now)
{
    struct wheel_timer *t;
    while ((t = wheel_expire(&p->guarantees, now))) {
        struct queue *q = QUEUE_OF(t, guarantee);
        if (q->state == QUEUE_ACTIVE)
            queue_within_enter(q);
    }
    while ((t = wheel_expire(&p->caps, now))) {
        struct queue *q = QUEUE_OF(t, cap);
        q->state = QUEUE_IDLE;
        queue_activate(q, t->at_ns);
    }
}

static inline void turn_end(struct queue *q, unsigned ring)
{
    if (ring < PORT_EXCESS) {
        q->deficit_within += q->quantum;
        q->port->ring[ring].head = q->within.next;
    } else {
        q->deficit_excess += q->quantum;
        q->port->ring[ring].head = q->excess.next;
    }
}

static inline void turn_within(struct queue *q, uint32_t bytes, int64_t now)
{
    struct port *p = q->port;
    queue_bucket_charge(&q->guarantee, bytes);
    q->deficit_within -= (int32_t)bytes;
    if (!queue_bucket_ready(&q->guarantee, now)) {
        queue_within_leave(q);
        wheel_arm(&p->guarantees, &q->guarantee.timer, q->guarantee.ready_ns);
    } else if (q->deficit_within <= 0) {
        turn_end(q, PORT_WITHIN + q->class_);
    }
}

static inline void turn_excess(struct queue *q, uint32_t bytes)
{
    q->deficit_excess -= (int32_t)bytes;
    if (q->deficit_excess <= 0)
        turn_end(q, PORT_EXCESS + q->class_);
}

static inline bool cap_spent(struct queue *q, uint32_t bytes, int64_t now)
{
    if (!q->cap.rate_bps)
        return false;
    queue_bucket_clamp(&q->cap, now);
    queue_bucket_charge(&q->cap, bytes);
    return !queue_bucket_ready(&q->cap, now);
}

/* The head of the queue whose turn it is; NULL: it may not be sent and the queue has left the rings, or the queue is still
 * in debt after a packet of more than a quantum and has passed its turn on. */
static inline struct rte_mbuf *queue_serve(struct queue *q, unsigned ring, int64_t now)
{
    struct port *p = q->port;
    if ((ring < PORT_EXCESS ? q->deficit_within : q->deficit_excess) <= 0) {
        turn_end(q, ring);
        return NULL;
    }
    if (p->paused >> q->pfc_priority & 1) {
        queue_park(q);
        return NULL;
    }
    struct rte_mbuf *m = q->head;
    if (q->lane) {
        uint32_t need = packet_cells(m->pkt_len);
        if (!lane_may_send(q->lane, need)) {
            queue_leave(q);
            q->state = QUEUE_BLOCKED;
            lane_blocked(q->lane, need);
            return NULL;
        }
        lane_stamp(q->lane, m, need, now);
    }
    queue_pop(q);
    __builtin_prefetch(q->head);
    __builtin_prefetch((const void *)((uintptr_t)q->head + sizeof *q->head)); /* also when there is none */
    uint32_t bytes = queue_wire_bytes(m->pkt_len);
    q->sent_packets++;
    q->sent_bytes += m->pkt_len;
    if (ring < PORT_EXCESS)
        turn_within(q, bytes, now);
    else
        turn_excess(q, bytes);
    bool spent = cap_spent(q, bytes, now);
    if (!q->head || spent) {
        queue_leave(q);
        q->state = QUEUE_IDLE;
        if (q->head)
            queue_activate(q, now);
    }
    if (q->feeders)
        queue_relieve(q, now);
    return m;
}

static struct rte_mbuf *control_serve(struct port *p)
{
    struct rte_mbuf *m = queue_pop(&p->control);
    p->control.sent_packets++;
    p->control.sent_bytes += m->pkt_len;
    return m;
}

static inline struct rte_mbuf *next_packet(struct port *p, int64_t now)
{
    struct rte_mbuf *m;
    if (p->pfc.tell && (m = port_pause_frame(p, now)))
        return m;
    if (p->control.head)
        return control_serve(p);
    while (p->rings) {
        unsigned ring = (unsigned)__builtin_ctz(p->rings);
        if ((m = queue_serve(p->ring[ring].head, ring, now)))
            return m;
    }
    return NULL;
}

static inline void wire_charge(struct port *p, uint32_t len)
{
    p->tx_packets++;
    p->tx_bytes += len;
    if (!p->ns_per_byte)
        return;
    unsigned __int128 t = (unsigned __int128)p->ns_per_byte * queue_wire_bytes(len) + p->free_at_frac;
    p->free_at_ns += (int64_t)(t >> 32);
    p->free_at_frac = (uint32_t)t;
}

unsigned port_dequeue(struct port *p, struct rte_mbuf **ret, unsigned most, int64_t now)
{
    unsigned n = 0;
    if (p->guarantees.levels || p->caps.levels)
        timers_expire(p, now);
    if (p->paused || p->pfc.stopped)
        port_pause_expire(p, now);
    int64_t late = p->set->late_ns > PORT_LATE_NS ? p->set->late_ns : PORT_LATE_NS;
    if (p->ns_per_byte && p->free_at_ns < now - late)
        p->free_at_ns = now - late;
    while (n < most && p->free_at_ns <= now) {
        struct rte_mbuf *m = next_packet(p, now);
        if (!m)
            break;
        wire_charge(p, m->pkt_len);
        ret[n++] = m;
    }
    if (!p->rings && !p->control.head && !p->pfc.tell)
        p->set->ready &= ~(1ull << p->index);
    return n;
}
