/* A router that is going to end loses nothing that it holds: the lanes that pass it go elsewhere first.
 *
 *   1. It refuses new lanes, and says DOWN{leaving} to the router before it for each one that it has. The lane still carries.
 *   2. Routers pass that on upstream, lane by lane; whoever says it says it again until CLOSE comes.
 *   3. At the ingress LANE_EVENT_LEAVING tells the layer above. If it has another path it moves the lane (lane/move.h): the
 *      lane is closed behind its last packet once the new one has taken over, and until then nothing stops.
 *   4. Otherwise the lane rests: it sends no more, CLOSE follows what it has sent, and what its host sends waits in its
 *      queue, within its limits, until the path is there again. A move that does not succeed in time ends the same way.
 *   5. CLOSE runs down hop by hop behind the last packet, as ever. When no lane is left the router may end.
 *
 * So the worst that a neighbour of the old kind, or a lost frame, can do is to make the router wait for its patience's end. */
#include "lane/lane_inner.h"

#define MOVE_WITHIN_NS (2 * NS_PER_S)
#define ASK_MOST_NS    (100 * NS_PER_MS)

/* --- downstream ---------------------------------------------------------------------------------------------- */

void leave_ask(struct lane_rx *r, uint64_t where, int64_t now)
{
    struct lane_rx_inner *x = r->inner;
    if (x->state != RX_LIVE || x->leaving)
        return;
    x->leaving = true;
    x->reason = LANE_REFUSED_LEAVING;
    x->where = where;
    x->down_at = now;
    rx_arm(r, now);
}

int64_t leave_again(struct lane_rx *r, int64_t now)
{
    struct lane_rx_inner *x = r->inner;
    if (!x->leaving)
        return INT64_MAX;
    if (now < x->down_at)
        return x->down_at;
    signal_down_send(r, now);
    int64_t again = link_again_ns(x->link) << (x->downs < 8 ? x->downs++ : 8);
    return x->down_at = now + (again < ASK_MOST_NS ? again : ASK_MOST_NS);
}

void lane_drain(struct lane_node *n, int64_t now)
{
    n->now = now;
    n->draining = true;
    for (uint32_t i = 0; i < n->lanes; i++)
        leave_ask(&n->rx[i], n->config.router_id, now);
}

/* A neighbour that has not heard CLOSED asks again, and must find somebody who answers. */
bool lane_drained(const struct lane_node *n, int64_t now)
{
    int64_t again = 0;
    for (uint64_t left = n->links; left; left &= left - 1) {
        const struct lane_link *l = n->link[__builtin_ctzll(left)];
        if (l->state == LINK_UP && link_again_ns(l) > again)
            again = link_again_ns(l);
    }
    if (n->n_rx_spare != n->lanes || (n->closed_ns && now - n->closed_ns < 3 * again))
        return false;
    for (uint32_t i = 0; i < n->lanes; i++) {
        const struct lane_tx_inner *x = &n->tx_inner[i];
        if (x->state != TX_FREE && (!x->ingress || x->unwanted))
            return false;
    }
    return true;
}

/* --- upstream ------------------------------------------------------------------------------------------------ */

static void rest(struct lane_tx *t, int64_t now)
{
    struct lane_tx_inner *x = t->inner;
    if (x->state != TX_OPEN || x->unwanted)
        return;
    x->resting = true;
    queue_hold(&t->queue);
    credits_forget(t);
    x->state = TX_DRAINING;
    x->close_at = INT64_MAX;
    tx_arm(t, now);
}

static void tell(struct lane_tx *t, uint64_t where, int64_t now)
{
    event_send(tx_link(t)->node, (struct lane_event){
                                     .kind = LANE_EVENT_LEAVING,
                                     .at_ns = now,
                                     .lane = t->id,
                                     .port = t->queue.port->index,
                                     .peer = where,
                                 });
}

void leave_asked(struct lane_tx *t, uint64_t where, int64_t now)
{
    struct lane_tx_inner *x = t->inner;
    if (x->state != TX_OPEN || x->leaving)
        return;
    x->leaving = true;
    if (t->from) {
        leave_ask(t->from, where, now);
        return;
    }
    if (!x->ingress)
        return;
    if (!x->next && !t->moved)
        tell(t, where, now);
    bool moves = x->next || t->moved;
    x->rest_at = now + MOVE_WITHIN_NS;
    if (moves)
        tx_arm(t, x->rest_at);
    else
        rest(t, now);
}

int64_t leave_timer(struct lane_tx *t, int64_t now)
{
    struct lane_tx_inner *x = t->inner;
    if (!x->leaving || !x->ingress || x->state != TX_OPEN)
        return INT64_MAX;
    if (now < x->rest_at)
        return x->rest_at;
    rest(t, now);
    return now + 1;
}
