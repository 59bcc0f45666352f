/* What queue.c, port.c, scheduler.c, access.c and pause.c share of ports and queues; for nobody else. */
#ifndef MERIDIAN_LANE_PORT_INNER_H
#define MERIDIAN_LANE_PORT_INNER_H

#include "lane/port.h"

/* 802.1p priority of a class where nothing else says one (the router's own choice; 3 is what RoCE hosts use). */
extern const uint8_t port_priority_of_class[LANE_CLASSES];

static inline struct packet_meta *queue_head_meta(const struct queue *q)
{
    return packet_meta(q->head);
}

/* --- rings ------------------------------------------------------------------------------------------------ */

static inline void ring_append(struct port_ring *r, struct queue *q, struct queue_link *l, size_t offset)
{
#define LINK(of) ((struct queue_link *)(void *)((uint8_t *)(of) + offset))
    if (!r->head) {
        r->head = l->next = l->prev = q;
        return;
    }
    l->next = r->head;
    l->prev = LINK(r->head)->prev;
    LINK(l->prev)->next = LINK(l->next)->prev = q;
}

/* True when it was the last one. */
static inline bool ring_remove(struct port_ring *r, struct queue *q, struct queue_link *l, size_t offset)
{
    if (l->next == q) {
        r->head = NULL;
    } else {
        LINK(l->next)->prev = l->prev;
        LINK(l->prev)->next = l->next;
        if (r->head == q)
            r->head = l->next;
    }
    l->next = NULL;
    return !r->head;
#undef LINK
}

static inline void port_ready(struct port *p)
{
    p->set->ready |= 1ull << p->index;
}

/* The port has had nothing to send: its wire was idle until now. */
static inline void port_begin(struct port *p, int64_t now)
{
    if (p->ns_per_byte && !p->active && !p->control.head && !p->pfc.tell && p->free_at_ns < now) {
        p->free_at_ns = now;
        p->free_at_frac = 0;
    }
    port_ready(p);
}

/* --- queue.c ---------------------------------------------------------------------------------------------- */

void queue_push(struct queue *q, struct rte_mbuf *m);
struct rte_mbuf *queue_pop(struct queue *q);
/* It has packets and may be served, as far as its port knows: into the rings, or QUEUE_CAPPED. */
void queue_activate(struct queue *q, int64_t now);
/* Out of the rings, or of its priority's list, or of the wheel of caps. */
void queue_leave(struct queue *q);
/* Into or out of the ring of what is guaranteed, as its bucket has it. */
void queue_within_enter(struct queue *q);
void queue_within_leave(struct queue *q);
/* PFC holds its priority. */
void queue_park(struct queue *q);

/* --- port.c ----------------------------------------------------------------------------------------------- */

/* Gives back what it occupies and frees it. */
void packet_release(struct port *p, struct rte_mbuf *m);
void packet_lose(struct port *p, struct queue *q, struct rte_mbuf *m, int reason, int64_t now);

/* --- access.c: an arriving packet against the limits of its queue. 0, or the reason why it must be dropped ------- */

int queue_admit(struct queue *q, struct rte_mbuf *m, int64_t now);
/* The queue holds fewer cells now: hosts that were stopped because of it may go on. */
void queue_relieve(struct queue *q, int64_t now);

/* --- pause.c ---------------------------------------------------------------------------------------------- */

bool port_pause_spoken(const struct port *p, uint8_t priority);
void port_pause_hold(struct port *p, uint8_t priority, int64_t now);
void port_pause_unhold(struct port *p, uint8_t priority, int64_t now);
struct rte_mbuf *port_pause_frame(struct port *p, int64_t now); /* of what is to be told; NULL: nothing, or no mbuf */
void port_pause_expire(struct port *p, int64_t now);            /* pauses that were not renewed, and our own to renew */
int64_t port_pause_next(const struct port *p);
void port_unaccount(struct port_set *set, struct rte_mbuf *m, int64_t now);

#endif
