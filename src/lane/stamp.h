/* What happens to a lane's packet at the very moment when it leaves, and when its buffer is free again: called by
 * port_dequeue and port_sent for every packet, so inline and without a branch that could be spared.
 *
 *   need = packet_cells(m->pkt_len)                   as it leaves, Ethernet header included: what the peer will count
 *   lane_may_send(t, need) ? lane_stamp(t, m, need, now) : lane_blocked(t), and its queue is QUEUE_BLOCKED
 *   descriptor free: meta->from ? lane_cells_sent(meta->from, meta->cells)
 *
 * The lane option's 8 data bytes on the wire: index 16, epoch 16, low 32 bits of the packet's first cell, big-endian. */
#ifndef MERIDIAN_LANE_STAMP_H
#define MERIDIAN_LANE_STAMP_H

#include "base/bytes.h"
#include "lane/lane.h"
#include "telemetry/history.h"

enum { LANE_OPTION_INDEX = 0, LANE_OPTION_EPOCH = 2, LANE_OPTION_CELL = 4, LANE_OPTION_SIZE = 8 };

/* Both windows allow it, the lane's and the link's for what the peer has not classified yet, and the peer's queue is short. */
static inline bool lane_may_send(const struct lane_tx *t, uint32_t need)
{
    return t->open && t->wire->up && credit_may_send(&t->credit, need) && t->credit.sent + need <= t->hold_at &&
           (!t->wire->windowed || credit_may_send(&t->wire->window, need));
}

/* Something will have to be watched: that all of it arrives, that credit comes back. */
static inline void lane_busy(struct lane_tx *t)
{
    struct lane_wire *w = t->wire;
    t->watched = true;
    if (t->busy_next)
        return;
    t->busy_next = w->busy ? w->busy : t;
    w->busy = t;
}

/* It may not: whoever brings the credit wakes its queue. */
static inline void lane_blocked(struct lane_tx *t, uint32_t need)
{
    struct lane_wire *w = t->wire;
    if (!t->watched)
        lane_busy(t);
    if (!w->windowed || t->waits_next || credit_may_send(&w->window, need))
        return; /* a CREDIT for this very lane will wake it */
    t->waits_next = t;
    if (w->waiting)
        w->last->waits_next = t;
    else
        w->waiting = t;
    w->last = t;
}

/* Takes the credit and writes the number. Only after lane_may_send. */
static inline void lane_stamp(struct lane_tx *t, struct rte_mbuf *m, uint32_t need, int64_t now)
{
    const struct packet_meta *meta = packet_meta(m);
    if (!t->watched)
        lane_busy(t);
    uint32_t cell = (uint32_t)credit_send(&t->credit, need);
    if (t->wire->windowed)
        credit_send(&t->wire->window, need);
    if (t->wire->history)
        history_push(t->wire->history, (uint16_t)t->slot, cell, need, meta->flow, m->pkt_len, now);
    uint8_t *option = packet_at(m, meta->lane_option);
    bytes_put_be16(option + LANE_OPTION_INDEX, t->index);
    bytes_put_be16(option + LANE_OPTION_EPOCH, t->epoch);
    bytes_put_be32(option + LANE_OPTION_CELL, cell);
}

/* The lane's credit has changed: it will be told. */
static inline void lane_changed(struct lane_rx *r)
{
    struct lane_told *told = r->told;
    if ((int64_t)(r->credit.freed + r->credit.window - r->credit.limit) > (int64_t)(r->credit.window / 4))
        told->ripe = true; /* (below zero while its window shrinks) */
    if (r->dirty)
        return;
    r->dirty = told->dirty ? told->dirty : r;
    told->dirty = r;
}

/* `cells` of the lane that arrived here have left: their descriptors are free. */
static inline void lane_cells_sent(struct lane_rx *r, uint32_t cells)
{
    credit_free(&r->credit, cells);
    lane_changed(r);
}

#endif
