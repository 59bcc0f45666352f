/* What the sending end of a lane says again, and when: timers of sender.c's states. */
#include "lane/lane_inner.h"

#define SYNC_MOST_NS   (160 * NS_PER_MS)
#define OPEN_MOST_NS   (50 * NS_PER_MS)
#define LINGER_LOOK_NS (2 * NS_PER_MS)

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void sync_send(struct lane_tx *t, uint64_t session, uint16_t index, uint64_t sent, int64_t now)
{
    struct frame f;
    if (!frame_begin(&f, tx_link(t), LANE_SYNC))
        return;
    lane_sync_encode(f.body, session);
    lane_sync_entry_put(f.body, 0, &(struct lane_sync_entry){.ref = (uint16_t)t->slot, .index = index, .sent = sent});
    frame_send(&f, LANE_SYNC, LANE_SYNC_SIZE + LANE_SYNC_ENTRY, now);
}

/* Quiet since the last look, which lies longer back than any link reorders: what has not been heard of is lost, or what
 * the peer said about it. Also how a lane without credit asks for news. */
static int64_t sync_timer(struct lane_tx *t, int64_t now)
{
    struct lane_tx_inner *x = t->inner;
    struct lane_link *l = tx_link(t);
    if (!t->watched || !t->open)
        return INT64_MAX;
    if (now < x->sync_at)
        return x->sync_at;
    int64_t least = link_again_ns(l) > LANE_SYNC_NS ? link_again_ns(l) : LANE_SYNC_NS;
    bool quiet = t->credit.sent == x->sync_mark;
    if (quiet && t->credit.sent == x->known && !t->queue.head) {
        t->watched = false;
        return INT64_MAX;
    }
    if (quiet)
        sync_send(t, 0, t->index, t->credit.sent, now);
    x->sync_wait = quiet ? x->sync_wait * 2 : least;
    x->sync_wait = x->sync_wait > SYNC_MOST_NS && least < SYNC_MOST_NS ? SYNC_MOST_NS : x->sync_wait;
    x->sync_wait = x->sync_wait < least ? least : x->sync_wait;
    x->sync_mark = t->credit.sent;
    return x->sync_at = now + x->sync_wait;
}

static int64_t open_timer(struct lane_tx *t, int64_t now)
{
    struct lane_tx_inner *x = t->inner;
    if (!t->wire->up)
        return INT64_MAX; /* tx_link_up */
    if (now < x->open_at)
        return x->open_at;
    signal_open_send(t, now);
    int64_t most = x->refused ? LANE_REFRESH_NS : link_again_ns(tx_link(t)) + OPEN_MOST_NS;
    x->open_wait = x->open_wait * 2 > most ? most : x->open_wait * 2;
    return x->open_at = now + (t->complete ? LANE_REFRESH_NS : x->open_wait);
}

static int64_t open_state_timer(struct lane_tx *t, int64_t now)
{
    struct lane_tx_inner *x = t->inner;
    int64_t next = open_timer(t, now);
    next = earlier(next, sync_timer(t, now));
    if (x->releasing && now >= x->release_at)
        tx_release_send(t, now);
    if (x->releasing)
        next = earlier(next, x->release_at);
    next = earlier(next, leave_timer(t, now));
    return earlier(next, watchdog_tx(t, now));
}

/* Nothing may overtake the last packet: CLOSE waits until the link cannot reorder over it. */
static int64_t drain_timer(struct lane_tx *t, int64_t now)
{
    struct lane_tx_inner *x = t->inner;
    if (t->queue.head && !x->resting) {
        x->close_at = INT64_MAX;
        return now + NS_PER_MS / 5;
    }
    if (x->close_at == INT64_MAX)
        x->close_at = now + LANE_REORDER_NS;
    else if (now >= x->close_at)
        tx_begin_closing(t, now);
    return x->close_at;
}

static int64_t close_timer(struct lane_tx *t, int64_t now)
{
    struct lane_tx_inner *x = t->inner;
    if (now >= x->close_at) {
        signal_close_send(t, now);
        x->close_at = now + link_again_ns(tx_link(t));
    }
    return x->close_at;
}

/* False: done with. */
static bool linger(struct lane_tx *t, int64_t now)
{
    struct lane_tx_inner *x = t->inner;
    if (tx_link(t)->losses_done < x->linger && now < x->give_up_at)
        return true;
    tx_done(t, now);
    return false;
}

static bool ask(struct lane_tx *t, int64_t now, int64_t *next)
{
    struct lane_tx_inner *x = t->inner;
    if (now >= x->give_up_at) {
        report_name(t, x->ended_known, x->ended_sent - x->ended_known, LOSS_LINK_DOWN, now);
        tx_done(t, now);
        return false;
    }
    if (tx_link(t)->state == LINK_UP && now >= x->ask_at) {
        sync_send(t, x->ended_session, x->ended_index, x->ended_sent, now);
        x->ask_at = now + x->ask_wait;
        x->ask_wait *= 2;
    }
    *next = tx_link(t)->state == LINK_UP ? earlier(x->ask_at, x->give_up_at) : x->give_up_at;
    return true;
}

void tx_timer(struct lane_tx *t, int64_t now)
{
    struct lane_tx_inner *x = t->inner;
    int64_t next = INT64_MAX;
    if (x->state == TX_LINGER && linger(t, now))
        next = now + LINGER_LOOK_NS;
    else if (x->state == TX_ENDING)
        ask(t, now, &next);
    if (x->state == TX_OPENING)
        next = earlier(next, open_timer(t, now));
    if (x->state == TX_OPEN || x->state == TX_DRAINING)
        next = open_state_timer(t, now);
    if (x->state == TX_DRAINING)
        next = earlier(next, drain_timer(t, now));
    if (x->state == TX_CLOSING)
        next = earlier(next, close_timer(t, now));
    if (x->state != TX_FREE && x->ingress)
        next = earlier(next, move_timer(t, now));
    if (x->state != TX_FREE && next != INT64_MAX)
        tx_arm(t, next <= now ? now + 1 : next);
}
