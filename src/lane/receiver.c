/* The receiving end of a lane: packets that arrive, and how it ends.
 *
 * A lane_rx occupies a slot, whose number is the lane's index on the link. Its cells are numbered on from where the slot's
 * last lane could have come to, so that what belongs to an earlier lane is behind and dropped. A slot is free again only
 * when all its cells are: packets in our queues point to it; and the one that has been free for longest is taken first. */
#include "lane/lane_inner.h"

/* --- slots --------------------------------------------------------------------------------------------------- */

static struct lane_rx **head_of(struct lane_node *n, uint64_t id)
{
    return &n->by_id[(uint32_t)(id * 0x9e3779b97f4a7c15u >> 32) & n->id_mask];
}

struct lane_rx *rx_create(struct lane_link *l, const struct lane_open_frame *want)
{
    struct lane_node *n = l->node;
    if (!n->n_rx_spare)
        return NULL;
    struct lane_rx *r = &n->rx[n->rx_spare[n->rx_spare_first]];
    n->rx_spare_first = (n->rx_spare_first + 1) % n->lanes;
    n->n_rx_spare--;
    struct lane_rx_inner *x = r->inner, was = *x;
    *x = (struct lane_rx_inner){
        .rx = r,
        .link = l,
        .state = RX_LIVE,
        .want = *want,
        .first = was.first,
        .session = l->session.id,
        .ended = was.ended,
        .refreshed_ns = n->now,
    };
    r->credit = (struct credit_receiver){.arrived = x->first, .freed = x->first, .limit = x->first};
    r->told = &l->told;
    r->id = want->id;
    r->tenant = want->tenant;
    r->in_port = l->port->index;
    r->class_ = want->class_;
    r->live = true;
    r->next = NULL;
    r->dirty = NULL;
    struct lane_rx **head = head_of(n, r->id);
    x->by_id = *head;
    *head = r;
    x->on_port = l->lanes;
    l->lanes = r;
    l->n_lanes++;
    return r;
}

static void list_remove(struct lane_rx **at, struct lane_rx *r, size_t link)
{
#define NEXT(of) (*(struct lane_rx **)(void *)((uint8_t *)(of)->inner + link))
    while (*at != r)
        at = &NEXT(*at);
    *at = NEXT(r);
#undef NEXT
}

static void dirty_remove(struct lane_rx *r)
{
    struct lane_told *told = r->told;
    if (!r->dirty)
        return;
    struct lane_rx *before = NULL, *at = told->dirty;
    for (; at != r; at = at->dirty)
        before = at;
    struct lane_rx *after = r->dirty == r ? NULL : r->dirty;
    if (before)
        before->dirty = after ? after : before;
    else
        told->dirty = after;
    r->dirty = NULL;
}

void rx_free(struct lane_rx *r, int64_t now)
{
    struct lane_rx_inner *x = r->inner;
    struct lane_link *l = x->link;
    struct lane_node *n = l->node;
    move_detach(r);
    window_leave(r);
    wheel_disarm(&n->rx_timers, &x->timer);
    dirty_remove(r);
    list_remove(head_of(n, r->id), r, offsetof(struct lane_rx_inner, by_id));
    list_remove(&l->lanes, r, offsetof(struct lane_rx_inner, on_port));
    l->n_lanes--;
    while (x->egress) {
        struct egress_queue *e = x->egress;
        x->egress = e->next;
        egress_free(n, e, now);
    }
    if (x->first < r->credit.limit)
        x->first = r->credit.limit;
    x->state = RX_FREE;
    r->live = false;
    r->id = 0;
    r->next = NULL;
    n->rx_spare[(n->rx_spare_first + n->n_rx_spare++) % n->lanes] = r->index;
}

struct lane_rx *rx_find(struct lane_link *l, uint64_t id, uint16_t ref)
{
    for (struct lane_rx *r = *head_of(l->node, id); r; r = r->inner->by_id)
        if (r->id == id && r->inner->link == l && r->inner->want.ref == ref && r->inner->session == l->session.id &&
            (r->inner->state == RX_LIVE || r->inner->state == RX_DEAD))
            return r;
    return NULL;
}

struct lane_rx *rx_earlier(struct lane_rx *r, uint64_t id)
{
    struct lane_node *n = r->inner->link->node;
    for (struct lane_rx *e = *head_of(n, id); e; e = e->inner->by_id)
        if (e != r && e->id == id && e->tenant == r->tenant && e->class_ == r->class_ && !e->inner->succ)
            return e;
    return NULL;
}

void rx_arm(struct lane_rx *r, int64_t at)
{
    struct wheel_timer *t = &r->inner->timer;
    if (!wheel_armed(t) || t->at_ns > at)
        wheel_arm(&r->inner->link->node->rx_timers, t, at);
}

/* --- packets ------------------------------------------------------------------------------------------------- */

static struct lane_rx *refuse(struct lane_node *n, uint16_t port, const struct lane_rx *r, uint32_t cells, int reason,
    int64_t now, int *ret_reason)
{
    loss_record(n->loss, &(struct loss_record){
                             .at_ns = now,
                             .lane = r ? r->id : 0,
                             .tenant = r ? r->tenant : 0,
                             .cells = cells,
                             .packets = 1,
                             .port = port,
                             .reason = (uint8_t)reason,
                             .class_ = r ? r->class_ : 0,
                         });
    *ret_reason = reason;
    return NULL;
}

static void watch(struct lane_rx *r, int64_t now)
{
    struct lane_rx_inner *x = r->inner;
    x->watched = true;
    x->idle_arrived = x->turn_arrived = r->credit.arrived;
    x->idle_since = x->turn_ns = now;
    rx_arm(r, now + LANE_IDLE_NS);
}

/* Classified: what the link's own window waits for. */
static inline void classified(struct lane_link *l, uint64_t cells)
{
    uint32_t window = l->port->config.link_window;
    l->accounted += cells;
    if (window && l->accounted - l->window_told > window / 4)
        l->told.ripe = true;
}

struct lane_rx *lane_receive(
    struct lane_node *n, uint16_t port, const uint8_t option[8], uint32_t cells, int64_t now, int *ret_reason)
{
    struct lane_link *l = port < PORT_MOST ? n->link[port] : NULL;
    uint32_t index = bytes_get_be16(option + LANE_OPTION_INDEX);
    if (!l || l->state != LINK_UP || bytes_get_be16(option + LANE_OPTION_EPOCH) != (uint16_t)l->session.own_epoch)
        return refuse(n, port, NULL, cells, LOSS_STALE_EPOCH, now, ret_reason);
    struct lane_rx *r = &n->rx[index < n->lanes ? index : 0];
    if (index >= n->lanes || !r->live || r->in_port != port)
        return refuse(n, port, NULL, cells, LOSS_UNKNOWN_LANE, now, ret_reason);
    uint64_t lost;
    switch (credit_arrive(&r->credit, bytes_get_be32(option + LANE_OPTION_CELL), cells, &lost)) {
    case CREDIT_IN_ORDER:
        break;
    case CREDIT_GAP:
        report_gap(r, r->credit.arrived - cells - lost, lost, now);
        classified(l, lost);
        lane_changed(r);
        break;
    case CREDIT_BEHIND:
        return refuse(n, port, r, cells, LOSS_DUPLICATE, now, ret_reason);
    case CREDIT_BEYOND:
        return refuse(n, port, r, cells, LOSS_BEYOND_CREDIT, now, ret_reason);
    }
    classified(l, cells);
    l->heard_ns = now;
    if (r->inner->state == RX_DEAD) {
        lane_cells_sent(r, cells);
        return refuse(n, port, r, cells, LOSS_CUT, now, ret_reason);
    }
    if (!r->inner->watched)
        watch(r, now);
    uint64_t held = credit_occupied(&r->credit);
    if (held > r->inner->held_most)
        r->inner->held_most = (uint32_t)held;
    if (held > r->inner->press_at && !press_holds(r))
        press_begin(r, now);
    return r;
}

void lane_discard(struct lane_rx *r, uint32_t cells)
{
    lane_cells_sent(r, cells);
}

/* --- SYNC ---------------------------------------------------------------------------------------------------- */

static void tail_lost(struct lane_rx *r, uint64_t sent, int64_t now)
{
    uint64_t first = r->credit.arrived, tail = credit_sync(&r->credit, sent);
    if (!tail)
        return;
    report_gap(r, first, tail, now);
    classified(r->inner->link, tail);
}

/* What had arrived when that session ended is known exactly; the rest was under way, and is lost. */
static void session_asked(struct lane_link *l, uint64_t session, const struct lane_sync_entry *e, int64_t now)
{
    struct lane_node *n = l->node;
    struct lane_rx_inner *x = e->index < n->lanes ? &n->rx_inner[e->index] : NULL;
    struct lane_gap g = {.session = session, .ref = e->ref, .kind = LANE_GAP_UNKNOWN};
    struct rx_ended *was = x ? &x->ended : NULL;
    if (was && was->session == session && was->ref == e->ref && was->port == l->port->index) {
        uint64_t lost = e->sent - was->arrived;
        if (e->sent < was->arrived || lost > CREDIT_WINDOW_MOST)
            lost = 0;
        was->session = 0;
        g.kind = LANE_GAP_SESSION;
        g.first = was->arrived;
        g.cells = (uint32_t)lost;
        if (lost)
            loss_record(n->loss, &(struct loss_record){
                                     .at_ns = now,
                                     .lane = was->lane,
                                     .tenant = was->tenant,
                                     .cells = (uint32_t)lost,
                                     .port = l->port->index,
                                     .reason = LOSS_LINK_DOWN,
                                     .class_ = was->class_,
                                 });
    }
    report_push(l, &g);
}

void rx_synced(struct lane_link *l, const uint8_t *body, uint32_t len, int64_t now)
{
    uint64_t session;
    unsigned count;
    if (lane_sync_decode(&session, &count, body, len) != 0)
        return;
    for (unsigned i = 0; i < count; i++) {
        struct lane_sync_entry e;
        lane_sync_entry_get(&e, body, i);
        if (session) {
            session_asked(l, session, &e, now);
            continue;
        }
        struct lane_rx *r = e.index < l->node->lanes ? &l->node->rx[e.index] : NULL;
        if (!r || !r->live || r->inner->link != l || r->inner->want.ref != e.ref)
            continue;
        tail_lost(r, e.sent, now);
        credits_tell(r);
    }
}

/* --- the end ------------------------------------------------------------------------------------------------- */

static bool egress_empty(const struct lane_rx *r)
{
    for (const struct egress_queue *e = r->inner->egress; e; e = e->next)
        if (e->queue.head)
            return false;
    return true;
}

void rx_freed(struct lane_rx *r, int64_t now)
{
    struct lane_rx_inner *x = r->inner;
    if (x->state == RX_CLOSING && credit_occupied(&r->credit) == 0 && !x->waiting && egress_empty(r))
        rx_free(r, now);
}

/* What lies behind it on this router, too. */
static void close_behind(struct lane_rx *r, bool drain, int64_t now)
{
    struct lane_tx *t = r->next;
    r->next = NULL;
    if (t) {
        t->from = NULL;
        tx_close(t, drain, now);
    }
    for (struct egress_queue *e = r->inner->egress; e && !drain; e = e->next)
        queue_flush(&e->queue, LOSS_CUT, now);
}

/* Nothing more will arrive: only what is occupied is still paid for. */
static void no_more(struct lane_rx *r)
{
    r->live = false;
    r->inner->first = r->credit.limit;
    window_no_more(r);
}

/* What had arrived is kept until the slot's next lane ends, should the sender have to ask. */
static void over(struct lane_rx *r, bool drain, int64_t now)
{
    struct lane_rx_inner *x = r->inner;
    x->ended = (struct rx_ended){
        .session = x->session,
        .arrived = r->credit.arrived,
        .lane = r->id,
        .tenant = r->tenant,
        .ref = x->want.ref,
        .port = r->in_port,
        .class_ = r->class_,
    };
    no_more(r);
    r->inner->state = RX_CLOSING;
    close_behind(r, drain, now);
    move_ended(r, now);
    rx_arm(r, now + LANE_REORDER_NS);
}

void rx_closed(struct lane_rx *r, uint64_t sent, bool discard, int64_t now)
{
    tail_lost(r, sent, now);
    over(r, !discard, now);
}

/* What has arrived goes on, and its end is told behind it; if the lane is opened anew it comes after that. */
void rx_session_over(struct lane_rx *r, int64_t now)
{
    if (r->inner->session == r->inner->link->session.id && r->inner->state != RX_CLOSING)
        over(r, true, now);
}

void rx_down(struct lane_rx *r, uint8_t reason, uint64_t where, int64_t now)
{
    struct lane_rx_inner *x = r->inner;
    if (x->state != RX_LIVE)
        return;
    x->state = RX_DEAD;
    x->reason = reason;
    x->where = where;
    x->down_at = now;
    rx_arm(r, now);
}

/* --- time ---------------------------------------------------------------------------------------------------- */

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Said again and again until CLOSE comes; a peer that never answers has forgotten the lane. */
static int64_t down_again(struct lane_rx *r, int64_t now)
{
    struct lane_rx_inner *x = r->inner;
    if (now < x->down_at)
        return x->down_at;
    if (x->downs++ == 20) {
        rx_closed(r, r->credit.arrived, true, now);
        return now + LANE_REORDER_NS;
    }
    signal_down_send(r, now);
    x->down_at = now + link_rtt(x->link) * 3 / 2 + (NS_PER_MS << (x->downs < 8 ? x->downs : 8));
    return x->down_at;
}

static int64_t live_timer(struct lane_rx *r, int64_t now)
{
    struct lane_rx_inner *x = r->inner;
    if (now - x->refreshed_ns >= LANE_EXPIRE_NS) {
        uint64_t self = x->link->node->config.router_id;
        rx_down(r, LANE_REFUSED_EXPIRED, self, now);
        close_behind(r, true, now);
        return now;
    }
    int64_t next = x->refreshed_ns + LANE_EXPIRE_NS;
    if (x->watched) {
        window_look(r, now);
        next = earlier(next, now + LANE_IDLE_NS / 2);
    }
    next = earlier(next, window_timer(r, now));
    next = earlier(next, leave_again(r, now));
    return earlier(next, watchdog_rx(r, now));
}

void rx_timer(struct lane_rx *r, int64_t now)
{
    struct lane_rx_inner *x = r->inner;
    int64_t next;
    switch ((enum rx_state)x->state) {
    case RX_LIVE:
        next = live_timer(r, now);
        break;
    case RX_DEAD:
        next = down_again(r, now);
        break;
    case RX_CLOSING:
        next = earlier(now + 10 * NS_PER_MS, watchdog_rx(r, now));
        rx_freed(r, now);
        break;
    default:
        return;
    }
    if (x->state != RX_FREE)
        rx_arm(r, next <= now ? now + 1 : next);
}
