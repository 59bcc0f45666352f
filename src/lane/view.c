#include "lane/view.h"

#include "lane/lane_inner.h"

static uint8_t state_of(const struct lane_tx *t)
{
    const struct lane_tx_inner *x = t->inner;
    if (x->state >= TX_DRAINING)
        return LANE_VIEW_ENDING;
    if (x->stuck)
        return LANE_VIEW_DISCARDED;
    if (!t->open || (x->ingress && !t->complete))
        return LANE_VIEW_OPENING;
    switch (t->queue.state) {
    case QUEUE_BLOCKED:
        return LANE_VIEW_BLOCKED;
    case QUEUE_PAUSED:
        return LANE_VIEW_PAUSED;
    case QUEUE_HELD:
        return LANE_VIEW_HELD;
    default:
        return LANE_VIEW_RUNNING;
    }
}

static void view_rx(const struct lane_rx *r, struct lane_view *v)
{
    v->in_port = r->in_port;
    v->arrived_cells = r->credit.arrived;
    v->lost_cells = r->credit.lost;
    v->window_cells = r->credit.window;
    v->occupied_cells = (uint32_t)credit_occupied(&r->credit);
    v->reserved_cells = (uint32_t)credit_reserved(&r->credit);
}

static void view_tx(const struct lane_tx *t, struct lane_view *v)
{
    const struct lane_tx_inner *x = t->inner;
    const struct queue *q = &t->queue;
    *v = (struct lane_view){
        .id = t->id,
        .tenant = x->want.tenant,
        .class_ = q->class_,
        .in_port = LANE_VIEW_NO_PORT,
        .out_port = q->port->index,
        .state = state_of(t),
        .sent_cells = t->credit.sent,
        .credit_cells = t->credit.limit > t->credit.sent ? t->credit.limit - t->credit.sent : 0,
        .queued_packets = q->packets,
        .queued_cells = q->cells,
        .peak_cells = q->peak_cells,
        .queued_bytes = q->bytes,
        .sent_packets = q->sent_packets,
        .sent_bytes = q->sent_bytes,
        .dropped_packets = q->dropped_packets,
        .marked_packets = q->marked_packets,
    };
    if (!t->complete && x->ingress) {
        v->refused = x->refused;
        v->refused_where = x->refused_where;
    }
    if (t->from)
        view_rx(t->from, v);
}

/* A lane that ends here has no end that sends. */
static void view_end(const struct lane_rx *r, struct lane_view *v)
{
    *v = (struct lane_view){
        .id = r->id,
        .tenant = r->tenant,
        .vrf = r->vrf,
        .class_ = r->class_,
        .out_port = LANE_VIEW_NO_PORT,
        .state = r->inner->state == RX_LIVE ? LANE_VIEW_RUNNING : LANE_VIEW_ENDING,
    };
    view_rx(r, v);
}

unsigned lane_view(const struct lane_node *n, uint32_t *cursor, struct lane_view *ret, unsigned most)
{
    unsigned got = 0;
    for (; got < most && *cursor < 2 * n->lanes; ++*cursor) {
        uint32_t i = *cursor % n->lanes;
        if (*cursor < n->lanes) {
            if (n->tx_inner[i].state != TX_FREE && n->tx_inner[i].state < TX_LINGER)
                view_tx(&n->tx[i], &ret[got++]);
        } else if (n->rx_inner[i].state != RX_FREE && !n->rx[i].next) {
            view_end(&n->rx[i], &ret[got++]);
        }
    }
    return got;
}

const char *lane_view_state_name(unsigned state)
{
    static const char *const names[LANE_VIEW_STATES] = {
        "opening", "running", "blocked", "paused", "held", "discarded", "ending"};
    return state < LANE_VIEW_STATES ? names[state] : "unknown";
}

bool lane_link_view(const struct lane_node *n, uint16_t port, struct lane_link_view *ret)
{
    const struct lane_link *l = port < PORT_MOST ? n->link[port] : NULL;
    if (!l)
        return false;
    *ret = (struct lane_link_view){
        .up = l->state == LINK_UP,
        .peer = l->peer.router,
        .peer_port = l->peer.port,
        .rtt_ns = l->rtt_ns,
        .lanes = l->n_lanes,
        .committed_cells = l->committed,
        .pool_cells = l->port->config.pool_cells,
        .frames_sent = l->frames_sent,
        .frames_good = l->frames_good,
        .frames_bad = l->frames_bad,
        .frames_replayed = l->frames_replayed,
        .hellos_refused = l->hellos_refused,
        .credit_cells = l->wire.windowed ? l->wire.window.limit - l->wire.window.sent : UINT64_MAX,
    };
    return true;
}
