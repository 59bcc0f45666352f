#include "lane/move.h"

#include "lane/lane_inner.h"

#include <errno.h>

/* --- at the egress ------------------------------------------------------------------------------------------- */

/* r has ended and waits for nobody: its successor's turn. */
static void finish(struct lane_rx *r, int64_t now)
{
    while (r->inner->over && !r->inner->waiting && r->inner->succ) {
        struct lane_rx *s = r->inner->succ;
        r->inner->succ = s->inner->pred = NULL;
        s->inner->waiting = false;
        egress_inherit(s, r, now);
        egress_wake(s, now);
        signal_accept_send(s, now);
        rx_arm(s, now + LANE_IDLE_NS);
        r = s;
    }
}

void move_attach(struct lane_rx *r, int64_t now)
{
    struct lane_rx_inner *x = r->inner;
    struct lane_rx *e = rx_earlier(r, r->id);
    if (!e && x->want.move_of)
        e = rx_earlier(r, x->want.move_of);
    if (!e || e->out_port != LANE_OUT_LOCAL || e->vrf != r->vrf)
        return;
    x->pred = e;
    x->waiting = true;
    e->inner->succ = r;
    finish(e, now);
}

void move_ended(struct lane_rx *r, int64_t now)
{
    r->inner->over = true;
    finish(r, now);
}

void move_detach(struct lane_rx *r)
{
    struct lane_rx_inner *x = r->inner;
    if (x->pred) {
        x->pred->inner->succ = NULL;
        x->pred = NULL;
    }
    x->waiting = false;
    move_ended(r, x->link->node->now);
}

void lane_marker(struct lane_node *n, struct lane_rx *r, int64_t now)
{
    n->now = now;
    if (r->out_port == LANE_OUT_LOCAL)
        move_ended(r, now);
}

/* --- at the ingress ------------------------------------------------------------------------------------------ */

static void event_of(struct lane_tx *t, enum lane_event_kind kind, int64_t now)
{
    event_send(
        tx_link(t)->node, (struct lane_event){.kind = kind, .at_ns = now, .lane = t->id, .port = t->queue.port->index});
}

static void marker_send(struct lane_tx *old, int64_t now)
{
    struct lane_node *n = tx_link(old)->node;
    struct rte_mbuf *m = n->above.marker && old->complete ? n->above.marker(n->above.user, old) : NULL;
    if (!m)
        return;
    struct queue_limits limits = old->queue.limits; /* the host's; this is not the host's packet */
    old->queue.limits = (struct queue_limits){0};
    port_enqueue(old->queue.port, &old->queue, m, now);
    old->queue.limits = limits;
}

static void switch_to(struct lane_tx *t, int64_t now)
{
    struct lane_tx_inner *x = t->inner;
    struct lane_tx *old = x->pred;
    x->switched_ns = now;
    old->moved = t;
    old->inner->next = old->inner->back = NULL;
    x->old = old->inner->want;
    x->old_port = old->queue.port->index;
    marker_send(old, now);
    event_of(old, x->reverts ? LANE_EVENT_MOVE_REVERTED : LANE_EVENT_MOVED, now);
    tx_close(old, true, now);
    tx_arm(t, now + tx_link(t)->node->config.move_ns);
}

int lane_move(struct lane_node *n, struct lane_tx *old, const struct lane_spec *s, int64_t now, struct lane_tx **ret,
    struct error *err)
{
    n->now = now;
    struct lane_tx *t;
    if (!old->inner->ingress || old->inner->unwanted)
        return error_set(err, EINVAL, "lane %llx does not begin here", (unsigned long long)old->id);
    if (old->moved || old->inner->next)
        return error_set(err, EBUSY, "lane %llx is being moved already", (unsigned long long)old->id);
    int rc = tx_begin(n, s, old, now, &t, err);
    if (rc)
        return rc;
    t->inner->pred = old;
    old->inner->next = t;
    if (!old->complete)
        switch_to(t, now);
    *ret = t;
    return 0;
}

void move_completed(struct lane_tx *t, int64_t now)
{
    if (t->inner->pred && !t->inner->switched_ns)
        switch_to(t, now);
}

/* The move has succeeded: no way back is needed. */
void move_released(struct lane_tx *t, int64_t now)
{
    struct lane_tx *back = t->inner->back;
    if (!back || t->moved)
        return;
    t->inner->back = t->inner->next = NULL;
    back->inner->pred = NULL;
    tx_close(back, false, now);
}

/* It is dead: there is nothing left to wait for until its successor may begin. */
void move_cut(struct lane_tx *t, int64_t now)
{
    if (!t->moved && t->inner->next)
        switch_to(t->inner->next, now);
}

static void revert(struct lane_tx *t, int64_t now)
{
    struct lane_tx_inner *x = t->inner;
    struct lane_node *n = tx_link(t)->node;
    struct lane_open_frame want = x->old;
    want.id = n->config.router_id << 32 | ++n->next_id;
    want.move_of = t->id;
    struct lane_tx *back = tx_create(n, &want, x->old_port, NULL, now);
    if (!back)
        return;
    back->queue.limits = t->queue.limits;
    back->inner->pred = t;
    back->inner->reverts = true;
    x->back = x->next = back;
}

int64_t move_timer(struct lane_tx *t, int64_t now)
{
    struct lane_tx_inner *x = t->inner;
    if (!x->switched_ns || x->released || x->reverts || x->next || t->moved || x->unwanted)
        return INT64_MAX;
    int64_t at = x->switched_ns + tx_link(t)->node->config.move_ns;
    if (now < at)
        return at;
    revert(t, now);
    return INT64_MAX;
}

void move_forget(struct lane_tx *t, int64_t now)
{
    struct lane_tx_inner *x = t->inner;
    struct lane_tx *pred = x->pred, *succ = t->moved ? t->moved : x->next;
    if (t->moved)
        event_of(t, LANE_EVENT_MOVE_DONE, now);
    if (pred && pred->moved == t)
        pred->moved = t->moved;
    if (pred && pred->inner->next == t)
        pred->inner->next = pred->inner->back = NULL;
    if (succ && succ->inner->pred == t)
        succ->inner->pred = pred && pred->moved ? pred : NULL;
    x->pred = x->next = x->back = NULL;
    t->moved = NULL;
}
