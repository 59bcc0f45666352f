/* What must always hold, in words. Nothing here changes anything. */
#include "lane/lane_inner.h"

#include <errno.h>

#define FAIL(...) return error_set(err, EPROTO, __VA_ARGS__)
#define ULL(x)    ((unsigned long long)(x))

static int check_rx(const struct lane_rx *r, struct error *err)
{
    const struct lane_rx_inner *x = r->inner;
    const struct credit_receiver *c = &r->credit;
    if (c->freed > c->arrived)
        FAIL("lane %llx: %llu cells freed of %llu that arrived", ULL(r->id), ULL(c->freed), ULL(c->arrived));
    if (c->arrived > c->limit)
        FAIL("lane %llx: %llu cells arrived, %llu allowed", ULL(r->id), ULL(c->arrived), ULL(c->limit));
    if (x->tenant && (c->window > x->committed || credit_reserved(c) > x->committed))
        FAIL("lane %llx: window %u, reserved %llu, but %u committed", ULL(r->id), c->window, ULL(credit_reserved(c)),
            x->committed);
    if (credit_occupied(c) > x->committed)
        FAIL("lane %llx: %llu cells occupied, %u committed", ULL(r->id), ULL(credit_occupied(c)), x->committed);
    if (r->next && r->next->from != r)
        FAIL("lane %llx: its next hop is another lane's", ULL(r->id));
    if (r->live != (x->state == RX_LIVE || x->state == RX_DEAD))
        FAIL("lane %llx: live %d in state %u", ULL(r->id), r->live, x->state);
    return 0;
}

static int check_tx(const struct lane_tx *t, struct error *err)
{
    const struct lane_tx_inner *x = t->inner;
    if (t->open && t->credit.sent > t->credit.limit)
        FAIL("lane %llx: %llu cells sent, %llu allowed", ULL(t->id), ULL(t->credit.sent), ULL(t->credit.limit));
    if (t->open && x->known > t->credit.sent)
        FAIL(
            "lane %llx: %llu cells known to have arrived of %llu sent", ULL(t->id), ULL(x->known), ULL(t->credit.sent));
    if (t->open && !t->wire->up)
        FAIL("lane %llx: open over a link that is down", ULL(t->id));
    if (t->from && t->from->next != t)
        FAIL("lane %llx: it comes from another lane", ULL(t->id));
    if (!x->ingress && !t->from && x->state <= TX_OPEN)
        FAIL("lane %llx: it comes from nowhere", ULL(t->id));
    if (!t->queue.head != !t->queue.packets)
        FAIL("lane %llx: a queue of %u packets", ULL(t->id), t->queue.packets);
    if (!t->open && t->queue.state != QUEUE_HELD)
        FAIL("lane %llx: not open, and its queue is in state %u", ULL(t->id), t->queue.state);
    return 0;
}

static int check_pool(const struct lane_link *l, struct error *err)
{
    uint64_t committed = 0, least = 0, lanes = 0, of_tenants = 0;
    for (const struct lane_rx *r = l->lanes; r; r = r->inner->on_port, lanes++) {
        committed += r->inner->committed;
        least += r->inner->window_least;
    }
    for (uint32_t i = 0; i < l->n_tenants; i++) {
        of_tenants += l->tenants[i].committed;
        if (l->port->config.tenant_cells && l->tenants[i].committed > l->port->config.tenant_cells)
            FAIL("port %u: tenant %u has %u cells of %u", l->port->index, l->tenants[i].tenant, l->tenants[i].committed,
                l->port->config.tenant_cells);
    }
    if (committed != l->committed || of_tenants != committed || least != l->least || lanes != l->n_lanes)
        FAIL("port %u: %llu cells committed to %llu lanes, accounted %llu to %u", l->port->index, ULL(committed),
            ULL(lanes), ULL(l->committed), l->n_lanes);
    if (committed > l->port->config.pool_cells)
        FAIL("port %u: %llu cells committed of %u", l->port->index, ULL(committed), l->port->config.pool_cells);
    return 0;
}

static int check_link(const struct lane_link *l, struct error *err)
{
    const struct credit_sender *w = &l->wire.window;
    if (l->wire.windowed && w->sent > w->limit)
        FAIL("port %u: %llu cells sent, the link takes %llu", l->port->index, ULL(w->sent), ULL(w->limit));
    if (l->wire.up != (l->state == LINK_UP))
        FAIL("port %u: its wire is %s in state %u", l->port->index, l->wire.up ? "up" : "down", l->state);
    if (l->gap_next - l->gap_first > LINK_GAPS || l->gap_told > l->gap_next || l->gap_told < l->gap_first)
        FAIL("port %u: reports %llu to %llu", l->port->index, ULL(l->gap_first), ULL(l->gap_next));
    return check_pool(l, err);
}

int lane_check(const struct lane_node *n, struct error *err)
{
    int rc = 0;
    for (uint64_t left = n->links; left && !rc; left &= left - 1)
        rc = check_link(n->link[__builtin_ctzll(left)], err);
    for (uint32_t i = 0; i < n->lanes && !rc; i++)
        if (n->rx_inner[i].state != RX_FREE)
            rc = check_rx(&n->rx[i], err);
    for (uint32_t i = 0; i < n->lanes && !rc; i++)
        if (n->tx_inner[i].state != TX_FREE)
            rc = check_tx(&n->tx[i], err);
    return rc;
}

/* --- packets ------------------------------------------------------------------------------------------------- */

/* Cells of lane r in a queue; *rc is set when the queue's own counts are wrong. */
static uint64_t cells_in(const struct queue *q, const struct lane_rx *r, int *rc)
{
    uint64_t cells = 0;
    uint32_t packets = 0;
    for (struct rte_mbuf *m = q->head; m; m = packet_meta(m)->next, packets++)
        cells += packet_meta(m)->from == r ? packet_meta(m)->cells : 0;
    if (packets != q->packets)
        *rc = -EPROTO;
    return cells;
}

static uint64_t queued(const struct lane_node *n, const struct lane_rx *r, int *rc)
{
    uint64_t cells = 0;
    for (uint32_t i = 0; i < n->lanes; i++)
        if (n->tx_inner[i].state != TX_FREE)
            cells += cells_in(&n->tx[i].queue, r, rc);
    for (uint32_t i = 0; i < n->lanes; i++)
        for (const struct egress_queue *e = n->rx_inner[i].state ? n->rx_inner[i].egress : NULL; e; e = e->next)
            cells += cells_in(&e->queue, r, rc);
    return cells;
}

/* The rest of what is occupied is in the shell's hands. */
int lane_check_packets(const struct lane_node *n, struct error *err)
{
    int rc = lane_check(n, err);
    for (uint32_t i = 0; i < n->lanes && !rc; i++) {
        const struct lane_rx *r = &n->rx[i];
        if (n->rx_inner[i].state == RX_FREE)
            continue;
        uint64_t cells = queued(n, r, &rc);
        if (rc)
            FAIL("a queue's packets are not as many as it counts");
        if (cells > credit_occupied(&r->credit))
            FAIL("lane %llx: %llu cells in queues, %llu occupied", ULL(r->id), ULL(cells),
                ULL(credit_occupied(&r->credit)));
    }
    return rc;
}
