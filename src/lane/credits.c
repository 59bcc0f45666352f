/* CREDIT: what may be sent, told to the sender.
 *
 * Only lanes whose credit has changed are told, in batches: when one of them has got back a quarter of its window, or T_adv
 * after the last time (link_tell_ns). A lane stays in the list and is told k times over, so that it takes k lost frames in a
 * row to hold up its sender; if even those are lost the sender asks (SYNC). An empty CREDIT says that we are alive. */
#include "lane/lane_inner.h"

/* --- lists --------------------------------------------------------------------------------------------------- */

void credits_tell(struct lane_rx *r)
{
    r->inner->told_limit = UINT64_MAX;
    r->told->ripe = true;
    lane_changed(r);
}

static void waiting_remove(struct lane_tx *t)
{
    struct lane_wire *w = t->wire;
    struct lane_tx *before = NULL, *at = w->waiting;
    for (; at != t; at = at->waits_next)
        before = at;
    struct lane_tx *after = t->waits_next == t ? NULL : t->waits_next;
    if (before)
        before->waits_next = after ? after : before;
    else
        w->waiting = after;
    if (!after)
        w->last = before;
    t->waits_next = NULL;
}

static void busy_remove(struct lane_tx *t)
{
    struct lane_wire *w = t->wire;
    struct lane_tx *before = NULL, *at = w->busy;
    for (; at != t; at = at->busy_next)
        before = at;
    struct lane_tx *after = t->busy_next == t ? NULL : t->busy_next;
    if (before)
        before->busy_next = after ? after : before;
    else
        w->busy = after;
    t->busy_next = NULL;
}

void credits_forget(struct lane_tx *t)
{
    if (t->waits_next)
        waiting_remove(t);
    if (t->busy_next)
        busy_remove(t);
    t->watched = false;
}

/* --- out ----------------------------------------------------------------------------------------------------- */

enum telling { TELL, TELL_LATER, TELL_NO_MORE };

static enum telling due(struct lane_rx *r, int64_t now)
{
    struct lane_rx_inner *x = r->inner;
    press_turn(r, now);
    window_turn(r, now);
    uint64_t limit = credit_advertise(&r->credit);
    uint32_t hold = press_hold(r);
    bool news = limit != x->told_limit || r->credit.arrived != x->told_arrived || hold != x->told_hold;
    if (!news && !x->repeats)
        return TELL_NO_MORE;
    if (!news && now - x->told_ns < link_tell_ns(x->link))
        return TELL_LATER;
    x->repeats = news ? x->link->node->credit_repeats : x->repeats;
    x->repeats--;
    x->told_limit = limit;
    x->told_arrived = r->credit.arrived;
    x->told_hold = hold;
    x->told_ns = now;
    return TELL;
}

static void head_put(struct lane_link *l, uint8_t *body, int64_t now)
{
    uint32_t window = l->port->config.link_window;
    lane_credit_encode(body, &(struct lane_credit){
                                 .losses = l->losses_done,
                                 .window = window ? l->accounted + window : 0,
                                 .sent_ns = now,
                                 .echo_ns = link_echo(l, now),
                             });
    l->window_told = l->accounted;
    l->losses_tell = false;
    l->told_ns = now;
}

/* Lanes that are over are only looked at. False: it leaves the list. */
static bool entry_put(struct lane_rx *r, uint8_t *body, unsigned *n, int64_t now)
{
    enum telling what = r->inner->state == RX_LIVE ? due(r, now) : TELL_NO_MORE;
    if (what == TELL_NO_MORE) {
        r->dirty = NULL;
        if (!r->live)
            rx_freed(r, now);
        return false;
    }
    if (what == TELL)
        lane_credit_entry_put(body, (*n)++,
            &(struct lane_credit_entry){
                .ref = r->inner->want.ref,
                .index = r->index,
                .generation = r->credit.generation,
                .limit = r->credit.limit,
                .behind = (uint32_t)(r->credit.limit - r->credit.arrived),
                .hold = r->inner->told_hold,
            });
    return true;
}

/* Fills a frame from the list; what was told and may have to be told again goes to *again. */
static unsigned entries_put(struct lane_link *l, uint8_t *body, uint32_t room, struct lane_rx **again, int64_t now)
{
    unsigned n = 0, most = (room - LANE_CREDIT_SIZE) / LANE_CREDIT_ENTRY;
    while (l->told.dirty && n < most) {
        struct lane_rx *r = l->told.dirty;
        l->told.dirty = r->dirty == r ? NULL : r->dirty;
        if (!entry_put(r, body, &n, now))
            continue;
        r->dirty = *again ? *again : r;
        *again = r;
    }
    return n;
}

static void again_join(struct lane_link *l, struct lane_rx *again)
{
    if (!again)
        return;
    struct lane_rx *last = again;
    while (last->dirty != last)
        last = last->dirty;
    if (l->told.dirty)
        last->dirty = l->told.dirty;
    l->told.dirty = again;
}

/* Lanes of a link without a session: nobody to tell. */
static void list_drop(struct lane_link *l, int64_t now)
{
    while (l->told.dirty) {
        struct lane_rx *r = l->told.dirty;
        l->told.dirty = r->dirty == r ? NULL : r->dirty;
        r->dirty = NULL;
        if (!r->live)
            rx_freed(r, now);
    }
    l->told.ripe = false;
    l->tell_at = 0;
}

void credits_flush(struct lane_link *l, int64_t now, bool alive)
{
    if (l->state == LINK_DOWN) {
        list_drop(l, now);
        return;
    }
    if (l->told.dirty && !l->tell_at)
        l->tell_at = l->told_ns + link_tell_ns(l);
    if (!alive && !l->told.ripe && !l->losses_tell && !(l->tell_at && now >= l->tell_at))
        return;
    struct lane_rx *again = NULL;
    struct frame f;
    unsigned frames = 0;
    do {
        if (!frame_begin(&f, l, LANE_CREDIT))
            break; /* no buffer: the list stays, and is tried again */
        head_put(l, f.body, now);
        unsigned n = entries_put(l, f.body, f.room, &again, now);
        frame_send(&f, LANE_CREDIT, LANE_CREDIT_SIZE + n * LANE_CREDIT_ENTRY, now);
    } while (l->told.dirty && ++frames < LINK_FRAMES);
    l->told.ripe = false;
    again_join(l, again);
    l->tell_at = l->told.dirty ? now + link_tell_ns(l) : 0;
}

int64_t credits_next(const struct lane_link *l)
{
    return l->tell_at && l->state != LINK_DOWN ? l->tell_at : INT64_MAX;
}

/* --- in ------------------------------------------------------------------------------------------------------ */

/* What the peer asks for, not what it promises: the newest word counts, whichever generation. */
static bool hold_received(struct lane_tx *t, const struct lane_credit_entry *e, int64_t sent_ns)
{
    uint64_t was = t->hold_at;
    if (sent_ns < t->inner->hold_ns || e->hold > e->limit)
        return false;
    t->inner->hold_ns = sent_ns;
    t->hold_at = e->hold ? e->limit - e->hold : UINT64_MAX;
    return t->hold_at > was;
}

static void entry_received(struct lane_link *l, const struct lane_credit_entry *e, int64_t sent_ns, int64_t now)
{
    struct lane_tx *t = tx_of(l, e->ref);
    if (!t || !t->open || t->index != e->index)
        return;
    struct lane_tx_inner *x = t->inner;
    uint64_t arrived = e->limit - e->behind;
    if (arrived <= t->credit.sent && arrived > x->known)
        x->known = arrived;
    if (e->generation == t->credit.generation)
        x->releasing = false;
    bool more = hold_received(t, e, sent_ns);
    if ((credit_update(&t->credit, e->generation, e->limit) || more) && t->queue.state == QUEUE_BLOCKED)
        queue_wake(&t->queue, now);
}

/* The link's own window: those that it held back go on in their order. */
static void window_received(struct lane_link *l, uint64_t limit, int64_t now)
{
    if (!l->wire.windowed || !credit_update(&l->wire.window, 0, limit))
        return;
    struct lane_tx *t = l->wire.waiting;
    l->wire.waiting = NULL;
    while (t) {
        struct lane_tx *next = t->waits_next == t ? NULL : t->waits_next;
        t->waits_next = NULL;
        if (t->queue.state == QUEUE_BLOCKED)
            queue_wake(&t->queue, now);
        t = next;
    }
}

void credits_received(struct lane_link *l, const uint8_t *body, uint32_t len, int64_t now)
{
    struct lane_credit c;
    unsigned n;
    if (lane_credit_decode(&c, &n, body, len) != 0)
        return;
    link_credit_clock(l, c.sent_ns, c.echo_ns, now);
    report_acknowledged(l, c.losses);
    window_received(l, c.window, now);
    for (unsigned i = 0; i < n; i++) {
        struct lane_credit_entry e;
        lane_credit_entry_get(&e, body, i);
        entry_received(l, &e, c.sent_ns, now);
    }
}
