/* The sending end of a lane: what it does in time. Whatever is said here is said again until the answer shows that it was
 * heard; every answer is idempotent. So lost frames cost time and nothing else.
 *
 *   OPENING → OPEN → DRAINING → CLOSING → LINGER → free            closed
 *               ↓        ↓          ↓
 *             CLOSING (the peer says DOWN), or ENDING (the session is over) → free, or OPENING again at its ingress */
#include "lane/lane_inner.h"

#define OPEN_MARGIN_NS (5 * NS_PER_MS)
#define REFUSED_NS     (50 * NS_PER_MS)
#define SOON_NS        (5 * NS_PER_MS) /* what refuses it passes by itself: a link that is coming up, credit under way */
#define ASK_FOR_NS     (3 * NS_PER_S)

void tx_arm(struct lane_tx *t, int64_t at)
{
    struct wheel_timer *timer = &t->inner->timer;
    if (!wheel_armed(timer) || timer->at_ns > at)
        wheel_arm(&tx_link(t)->node->tx_timers, timer, at);
}

struct lane_tx *tx_of(struct lane_link *l, uint16_t ref)
{
    struct lane_node *n = l->node;
    if (ref >= n->lanes || n->tx_inner[ref].state == TX_FREE || n->tx[ref].wire != &l->wire)
        return NULL;
    return &n->tx[ref];
}

bool tx_accepted(const struct lane_tx *t)
{
    uint8_t s = t->inner->state;
    return s == TX_OPEN || s == TX_DRAINING || s == TX_CLOSING;
}

/* --- begin and end ------------------------------------------------------------------------------------------- */

struct lane_tx *tx_create(
    struct lane_node *n, const struct lane_open_frame *want, uint16_t out_port, struct lane_rx *from, int64_t now)
{
    struct lane_link *l = n->link[out_port];
    if (!n->n_tx_spare)
        return NULL;
    struct lane_tx *t = &n->tx[n->tx_spare[--n->n_tx_spare]];
    struct lane_tx_inner *x = t->inner;
    *x = (struct lane_tx_inner){.tx = t, .state = TX_OPENING, .want = *want, .ingress = !from};
    *t = (struct lane_tx){.slot = t->slot, .inner = x, .wire = &l->wire, .id = want->id, .from = from};
    x->want.ref = (uint16_t)t->slot;
    queue_init(&t->queue, l->port, (enum lane_class)want->class_);
    t->queue.lane = t;
    t->queue.tenant = want->tenant;
    t->queue.ingress = !from;
    queue_set_rates(&t->queue, want->guarantee_bps, from ? 0 : want->cap_bps, now);
    queue_hold(&t->queue);
    x->open_wait = link_rtt(l) + OPEN_MARGIN_NS;
    x->open_at = now;
    tx_arm(t, now);
    return t;
}

void tx_free(struct lane_tx *t, int64_t now)
{
    struct lane_tx_inner *x = t->inner;
    struct lane_node *n = tx_link(t)->node;
    move_forget(t, now);
    credits_forget(t);
    queue_flush(&t->queue, LOSS_CUT, now);
    queue_set_rates(&t->queue, 0, 0, now);
    wheel_disarm(&n->tx_timers, &x->timer);
    x->state = TX_FREE;
    n->tx_spare[n->n_tx_spare++] = (uint16_t)t->slot;
}

void tx_done(struct lane_tx *t, int64_t now)
{
    struct lane_tx_inner *x = t->inner;
    if (!x->ingress || x->unwanted) {
        tx_free(t, now);
        return;
    }
    x->state = TX_OPENING;
    x->released = x->releasing = x->discard = x->leaving = false;
    t->credit = (struct credit_sender){0};
    x->open_wait = link_rtt(tx_link(t)) + OPEN_MARGIN_NS;
    x->open_at = now;
    tx_arm(t, now);
}

void tx_begin_closing(struct lane_tx *t, int64_t now)
{
    t->inner->state = TX_CLOSING;
    t->inner->close_at = now;
    t->open = t->complete = false;
    queue_hold(&t->queue);
    tx_arm(t, now);
}

/* Its session is over. What has not been heard of may have arrived or not: the peer is asked when it is back. */
static void begin_ending(struct lane_tx *t, int64_t now)
{
    struct lane_tx_inner *x = t->inner;
    if (!tx_accepted(t) || t->credit.sent == x->known) {
        tx_done(t, now);
        return;
    }
    x->state = TX_ENDING;
    x->ended_session = tx_link(t)->session.id;
    x->ended_sent = t->credit.sent;
    x->ended_known = x->known;
    x->ended_index = t->index;
    x->give_up_at = now + LANE_FORGET_NS;
    x->ask_at = INT64_MAX;
    tx_arm(t, x->give_up_at);
}

void tx_close(struct lane_tx *t, bool drain, int64_t now)
{
    struct lane_tx_inner *x = t->inner;
    x->unwanted = true;
    if (!drain || !t->open || (x->ingress && !t->complete)) {
        queue_flush(&t->queue, LOSS_CUT, now);
        x->discard = true;
    }
    if (x->state == TX_OPENING) {
        tx_free(t, now);
    } else if (x->state == TX_OPEN) {
        x->state = TX_DRAINING;
        x->close_at = INT64_MAX;
        tx_arm(t, now);
    }
}

static void down_event(struct lane_tx *t, uint8_t reason, uint64_t where, int64_t now)
{
    event_send(tx_link(t)->node, (struct lane_event){
                                     .kind = LANE_EVENT_DOWN,
                                     .at_ns = now,
                                     .lane = t->id,
                                     .port = t->queue.port->index,
                                     .detail = reason,
                                     .peer = where,
                                 });
}

static int64_t refused_wait(const struct lane_tx_inner *x, uint8_t reason, bool news)
{
    bool passes = reason == LANE_REFUSED_LINK_DOWN || reason == LANE_REFUSED_BUSY || reason == LANE_REFUSED_LEAVING;
    int64_t least = passes ? SOON_NS : REFUSED_NS;
    int64_t wait = passes && news ? SOON_NS : x->open_wait > least ? x->open_wait : least;
    return passes && wait > REFUSED_NS ? REFUSED_NS : wait;
}

/* Not accepted, here or further down: nothing was ever sent. At its ingress it is tried again, less and less often. */
void tx_refused(struct lane_tx *t, const struct lane_refuse *r, int64_t now)
{
    struct lane_tx_inner *x = t->inner;
    bool news = x->refused != r->reason || x->refused_where != r->where;
    t->open = false;
    if (!x->ingress || x->unwanted) {
        tx_free(t, now);
        return;
    }
    queue_hold(&t->queue);
    x->state = TX_OPENING;
    x->refused = r->reason;
    x->refused_where = r->where;
    x->open_wait = refused_wait(x, r->reason, news);
    x->open_at = now + x->open_wait;
    tx_arm(t, x->open_at);
    if (news)
        event_send(tx_link(t)->node, (struct lane_event){
                                         .kind = LANE_EVENT_REFUSED,
                                         .at_ns = now,
                                         .lane = t->id,
                                         .port = t->queue.port->index,
                                         .detail = r->reason,
                                         .peer = r->where,
                                     });
}

void tx_cut(struct lane_tx *t, uint8_t reason, uint64_t where, bool session, int64_t now)
{
    struct lane_tx_inner *x = t->inner;
    if (x->state == TX_ENDING || (session && x->state == TX_CLOSING) || (session && x->state == TX_LINGER))
        return;
    struct lane_rx *from = t->from;
    bool was_open = t->open;
    t->open = t->complete = false;
    t->from = NULL;
    queue_hold(&t->queue);
    if (!x->resting && !(x->ingress && x->state == TX_OPENING)) /* then nothing has left: what waits goes on waiting */
        queue_flush(&t->queue, LOSS_CUT, now);
    credits_forget(t);
    if (from) {
        from->next = NULL;
        rx_down(from, reason, where, now);
    }
    if (x->ingress) {
        if (was_open && !x->unwanted)
            down_event(t, reason, where, now);
        if (!x->resting) /* its successor comes when it is complete: there is still something to wait for */
            move_cut(t, now);
    }
    if (session && tx_accepted(t)) {
        x->discard = true;
        tx_begin_closing(t, now);
    } else if (session) {
        tx_done(t, now);
    } else {
        begin_ending(t, now);
    }
}

void tx_link_up(struct lane_tx *t, int64_t now)
{
    struct lane_tx_inner *x = t->inner;
    if (x->state == TX_OPENING) {
        x->open_at = now;
        x->open_wait = link_rtt(tx_link(t)) + OPEN_MARGIN_NS;
    } else if (x->state == TX_ENDING) {
        x->ask_at = now;
        x->ask_wait = link_again_ns(tx_link(t));
        x->give_up_at = now + ASK_FOR_NS;
    }
    tx_arm(t, now);
}

/* --- answers ------------------------------------------------------------------------------------------------- */

static void accepted(struct lane_tx *t, const struct lane_accept *a)
{
    struct lane_tx_inner *x = t->inner;
    x->state = TX_OPEN;
    x->refused = 0;
    x->known = a->first;
    x->releasing = x->resting = false;
    t->credit = (struct credit_sender){.sent = a->first, .limit = a->limit, .generation = a->generation};
    t->hold_at = UINT64_MAX;
    x->hold_ns = 0;
    t->index = a->index;
    t->epoch = (uint16_t)tx_link(t)->session.peer_epoch;
    t->open = true;
}

static void completed(struct lane_tx *t, int64_t now)
{
    struct lane_tx_inner *x = t->inner;
    t->complete = true;
    x->open_wait = LANE_REFRESH_NS;
    x->open_at = now + LANE_REFRESH_NS;
    tx_arm(t, x->open_at);
    if (t->from) {
        signal_accept_send(t->from, now);
        return;
    }
    event_send(tx_link(t)->node, (struct lane_event){
                                     .kind = LANE_EVENT_OPEN,
                                     .at_ns = now,
                                     .lane = t->id,
                                     .port = t->queue.port->index,
                                     .peer = tx_link(t)->peer.router,
                                 });
    move_completed(t, now);
    queue_wake(&t->queue, now);
}

void tx_opened(struct lane_tx *t, const struct lane_accept *a, int64_t now)
{
    struct lane_tx_inner *x = t->inner;
    /* Nothing has been sent yet: the peer may have refused in between, unheard, and begun anew. */
    bool anew = x->state == TX_OPEN && !t->complete && t->credit.sent == x->known && a->index != t->index;
    if ((x->state == TX_OPENING || anew) && a->limit - a->first <= CREDIT_WINDOW_MOST) {
        accepted(t, a);
        if (!x->ingress)
            queue_wake(&t->queue, now);
    }
    if ((x->state != TX_OPEN && x->state != TX_DRAINING) || a->index != t->index)
        return;
    if (a->flags & LANE_ACCEPT_COMPLETE && !t->complete && x->state == TX_OPEN)
        completed(t, now);
    if (a->flags & LANE_ACCEPT_RELEASED && !x->released) {
        x->released = true;
        if (t->from)
            signal_accept_send(t->from, now);
        else
            move_released(t, now);
    }
}

void tx_release_send(struct lane_tx *t, int64_t now)
{
    struct lane_link *l = tx_link(t);
    struct frame f;
    t->inner->release_at = now + link_again_ns(l);
    tx_arm(t, t->inner->release_at);
    if (!frame_begin(&f, l, LANE_RELEASE))
        return;
    lane_release_encode(f.body, &(struct lane_release){
                                    .ref = (uint16_t)t->slot,
                                    .index = t->index,
                                    .generation = t->credit.generation,
                                    .limit = t->credit.limit,
                                });
    frame_send(&f, LANE_RELEASE, LANE_RELEASE_SIZE, now);
}

/* One at a time: the receiver takes generations one by one. */
void tx_reclaimed(struct lane_link *l, const uint8_t *body, uint32_t len, int64_t now)
{
    struct lane_reclaim r;
    if (lane_reclaim_decode(&r, body, len) != 0)
        return;
    struct lane_tx *t = tx_of(l, r.ref);
    if (!t || !t->open || t->index != r.index)
        return;
    if (!t->inner->releasing && r.generation == t->credit.generation) {
        credit_release(&t->credit, r.keep);
        t->inner->releasing = true;
        tx_release_send(t, now);
    }
}

void tx_name(struct lane_link *l, const struct lane_gap *g, int64_t now)
{
    struct lane_tx *t = tx_of(l, g->ref);
    struct lane_tx_inner *x = t ? t->inner : NULL;
    bool ending = t && x->state == TX_ENDING && x->ended_session == g->session;
    if (g->kind == LANE_GAP_LINK) {
        if (ending || (t && g->session == l->session.id && (tx_accepted(t) || x->state == TX_LINGER)))
            report_name(t, g->first, g->cells, LOSS_LINK, now);
        else
            l->unnamed_cells += g->cells;
        return;
    }
    if (!ending)
        return;
    if (g->kind == LANE_GAP_SESSION && g->first >= x->ended_known && g->first + g->cells == x->ended_sent)
        report_name(t, g->first, g->cells, LOSS_LINK_DOWN, now);
    else if (g->kind == LANE_GAP_UNKNOWN || g->cells)
        report_name(t, x->ended_known, x->ended_sent - x->ended_known, LOSS_LINK_DOWN, now);
    tx_done(t, now);
}
