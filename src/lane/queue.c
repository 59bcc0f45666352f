/* One queue: its packets, its state, and its place in the scheduler's rings. */
#include "lane/queue.h"

#include "lane/port_inner.h"
#include "wire/ip.h"

#include <assert.h>
#include <string.h>

/* A guarantee that was not used keeps for so long, a cap lets so much pass at once; never less than two packets. */
enum { GUARANTEE_BURST_NS = 1000000, CAP_BURST_NS = 100000 };

void queue_init(struct queue *q, struct port *p, enum lane_class c)
{
    memset(q, 0, sizeof *q);
    q->port = p;
    q->class_ = (uint8_t)c;
    q->pfc_priority = port_priority_of_class[c];
    q->quantum = (int32_t)queue_wire_bytes(p->config.mtu + ETHER_SIZE + VLAN_SIZE);
}

/* --- packets ----------------------------------------------------------------------------------------------- */

void queue_push(struct queue *q, struct rte_mbuf *m)
{
    struct packet_meta *meta = packet_meta(m);
    meta->next = NULL;
    if (q->head)
        packet_meta(q->tail)->next = m;
    else
        q->head = m;
    q->tail = m;
    q->packets++;
    q->bytes += m->pkt_len;
    q->cells += meta->cells;
    if (q->cells > q->peak_cells)
        q->peak_cells = q->cells;
}

struct rte_mbuf *queue_pop(struct queue *q)
{
    struct rte_mbuf *m = q->head;
    struct packet_meta *meta = packet_meta(m);
    q->head = meta->next;
    q->packets--;
    q->bytes -= m->pkt_len;
    q->cells -= meta->cells;
    return m;
}

void queue_readdress(struct queue *q, const uint8_t mac[6])
{
    for (struct rte_mbuf *m = q->head; m; m = packet_meta(m)->next)
        memcpy(rte_pktmbuf_mtod(m, uint8_t *) + ETHER_DST, mac, 6);
}

/* --- rates ------------------------------------------------------------------------------------------------- */

static void bucket_set(struct queue_bucket *b, uint64_t rate_bps, int64_t burst_ns, int32_t quantum, int64_t now)
{
    b->rate_bps = rate_bps;
    b->ns_per_byte = rate_bps ? queue_ns_per_byte(rate_bps) : 0;
    int64_t two = (int64_t)((unsigned __int128)b->ns_per_byte * 2u * (uint32_t)quantum >> 32);
    b->burst_ns = two > burst_ns ? two : burst_ns;
    b->ready_ns = now - b->burst_ns;
    b->ready_frac = 0;
}

void queue_set_rates(struct queue *q, uint64_t guarantee_bps, uint64_t cap_bps, int64_t now)
{
    struct port *p = q->port;
    bool waiting = q->state == QUEUE_ACTIVE || q->state == QUEUE_CAPPED;
    if (waiting)
        queue_leave(q);
    wheel_disarm(&p->guarantees, &q->guarantee.timer);
    p->guaranteed_bps += guarantee_bps - q->guarantee.rate_bps;
    bucket_set(&q->guarantee, guarantee_bps, GUARANTEE_BURST_NS, q->quantum, now);
    bucket_set(&q->cap, cap_bps, CAP_BURST_NS, q->quantum, now);
    if (waiting)
        queue_activate(q, now);
}

/* --- state ------------------------------------------------------------------------------------------------- */

#define RING(p, tier, q)     (&(p)->ring[(tier) + (q)->class_])
#define OFFSET_OF(link_name) offsetof(struct queue, link_name)

void queue_within_enter(struct queue *q)
{
    struct port *p = q->port;
    if (q->within.next)
        return;
    if (q->deficit_within <= 0)
        q->deficit_within += q->quantum;
    ring_append(RING(p, PORT_WITHIN, q), q, &q->within, OFFSET_OF(within));
    p->rings |= 1u << (PORT_WITHIN + q->class_);
}

void queue_within_leave(struct queue *q)
{
    struct port *p = q->port;
    if (q->within.next && ring_remove(RING(p, PORT_WITHIN, q), q, &q->within, OFFSET_OF(within)))
        p->rings &= ~(1u << (PORT_WITHIN + q->class_));
}

void queue_activate(struct queue *q, int64_t now)
{
    struct port *p = q->port;
    if (q->cap.rate_bps && !queue_bucket_ready(&q->cap, now)) {
        q->state = QUEUE_CAPPED;
        wheel_arm(&p->caps, &q->cap.timer, q->cap.ready_ns);
        return;
    }
    port_begin(p, now);
    q->state = QUEUE_ACTIVE;
    p->active++;
    if (q->deficit_excess <= 0)
        q->deficit_excess += q->quantum;
    ring_append(RING(p, PORT_EXCESS, q), q, &q->excess, OFFSET_OF(excess));
    p->rings |= 1u << (PORT_EXCESS + q->class_);
    if (!q->guarantee.rate_bps)
        return;
    queue_bucket_clamp(&q->guarantee, now);
    if (queue_bucket_ready(&q->guarantee, now))
        queue_within_enter(q);
    else if (!wheel_armed(&q->guarantee.timer))
        wheel_arm(&p->guarantees, &q->guarantee.timer, q->guarantee.ready_ns);
}

/* A guarantee's timer stays armed: it is right whenever the queue comes back, and ignored until then. */
void queue_leave(struct queue *q)
{
    struct port *p = q->port;
    if (q->state == QUEUE_ACTIVE) {
        queue_within_leave(q);
        if (ring_remove(RING(p, PORT_EXCESS, q), q, &q->excess, OFFSET_OF(excess)))
            p->rings &= ~(1u << (PORT_EXCESS + q->class_));
        p->active--;
    } else if (q->state == QUEUE_PAUSED) {
        ring_remove(&p->parked[q->pfc_priority], q, &q->excess, OFFSET_OF(excess));
    } else if (q->state == QUEUE_CAPPED) {
        wheel_disarm(&p->caps, &q->cap.timer);
    }
}

void queue_park(struct queue *q)
{
    queue_leave(q);
    q->state = QUEUE_PAUSED;
    ring_append(&q->port->parked[q->pfc_priority], q, &q->excess, OFFSET_OF(excess));
}

void queue_wake(struct queue *q, int64_t now)
{
    if (q->state != QUEUE_BLOCKED && q->state != QUEUE_PAUSED && q->state != QUEUE_HELD)
        return;
    queue_leave(q);
    q->state = QUEUE_IDLE;
    if (q->head)
        queue_activate(q, now);
}

void queue_hold(struct queue *q)
{
    queue_leave(q);
    q->state = QUEUE_HELD;
}

uint32_t queue_flush(struct queue *q, int reason, int64_t now)
{
    uint32_t n = q->packets;
    queue_leave(q);
    if (q->state != QUEUE_HELD)
        q->state = QUEUE_IDLE;
    while (q->head)
        packet_lose(q->port, q, queue_pop(q), reason, now);
    queue_relieve(q, now);
    return n;
}

void queue_drop_head(struct queue *q, int reason, int64_t now)
{
    packet_lose(q->port, q, queue_pop(q), reason, now);
    queue_relieve(q, now);
}
