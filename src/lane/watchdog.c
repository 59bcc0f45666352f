/* A sink that never consumes: its lane alone is discarded, and counted, until it consumes again.
 *
 * A stalled host stalls its lane back to the ingress, and nobody else's: that is what lanes are for, and it may last. But
 * one that never consumes holds buffers on the whole path for ever. The last router on the path decides, for it alone knows
 * the host: a queue towards a host that has moved nothing for `watchdog_ns` is emptied, and again and again after that until
 * something has left it. The routers before it see a lane that moves. A queue between routers is given twice the time: it
 * trips only if the neighbour grants nothing though it is alive. */
#include "lane/lane_inner.h"

#define AGAIN_NS (2 * NS_PER_MS)

static void tell(struct lane_node *n, enum lane_event_kind kind, uint64_t lane, uint16_t port, int64_t now)
{
    event_send(n, (struct lane_event){.kind = kind, .at_ns = now, .lane = lane, .port = port});
}

/* What is common: how a queue has done since the last look. Returns when to look again. */
static int64_t look(struct lane_node *n, struct queue *q, uint64_t lane, int64_t patience, bool *stuck, uint64_t *sent,
    int64_t *since, int64_t now)
{
    if (q->sent_packets != *sent) {
        if (*stuck && *sent != UINT64_MAX)
            tell(n, LANE_EVENT_RECOVERED, lane, q->port->index, now);
        *stuck = false;
        *sent = q->sent_packets;
        *since = now;
    }
    if (!q->head) {
        *since = *stuck ? *since : now;
        return now + (*stuck ? AGAIN_NS : patience / 4);
    }
    if (!*stuck && now - *since < patience)
        return now + patience / 4;
    if (!*stuck)
        tell(n, LANE_EVENT_WATCHDOG, lane, q->port->index, now);
    *stuck = true;
    queue_flush(q, LOSS_WATCHDOG, now);
    return now + AGAIN_NS;
}

int64_t watchdog_egress(struct lane_node *n, struct egress_queue *list, uint64_t lane, int64_t now)
{
    int64_t next = INT64_MAX;
    for (struct egress_queue *e = list; e; e = e->next) {
        if (e->queue.state == QUEUE_HELD)
            continue;
        int64_t at = look(n, &e->queue, lane, n->config.watchdog_ns, &e->stuck, &e->stuck_sent, &e->stuck_since, now);
        next = at < next ? at : next;
    }
    return next;
}

int64_t watchdog_rx(struct lane_rx *r, int64_t now)
{
    return watchdog_egress(r->inner->link->node, r->inner->egress, r->id, now);
}

int64_t watchdog_tx(struct lane_tx *t, int64_t now)
{
    struct lane_tx_inner *x = t->inner;
    if (!t->watched)
        return INT64_MAX;
    int64_t patience = 2 * tx_link(t)->node->config.watchdog_ns;
    return look(tx_link(t)->node, &t->queue, t->id, patience, &x->stuck, &x->stuck_sent, &x->stuck_since, now);
}
