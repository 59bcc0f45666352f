/* How large windows are, and who pays.
 *
 * A lane's window W is what its receiver is willing to hold. Its cells come out of the in-port's pool, whether they are
 * occupied, in flight or only promised, so a lane that does nothing should cost little and a busy one may have what its
 * rate needs over the round trip:
 *
 *   W = B * (RTT + T_poll p99.9 + k * T_adv) + N2 + MTU      (N2: a quarter of it may be free and not told yet)
 *
 * A lane is admitted with the least window that it asks for, or refused: that much it always keeps. When it turns its
 * window over faster than once in two round trips the window is what limits it, and it grows: to all that its rate needs
 * while half of the pool is free, so that a lane that wakes up is at its rate a round trip after its first burst; doubled
 * otherwise. Beyond its fair share of the pool it may take at most half of what is free. Credit that was given can only be
 * given back by the one who holds it: a lane that has been idle, or uses little of its window, while the pool is wanted, or
 * that has more than its share while another has less, is asked to (RECLAIM; the answer is RELEASE). What is committed to a
 * lane is max(W, L - F), and the sum never exceeds the pool. */
#include "lane/lane_inner.h"

#define CELL_BYTES_MEAN 512u /* of a packet, in the sizing of windows for a rate: a packet takes a cell at least */
#define SQUEEZE_NS      NS_PER_MS
#define WANTED_NS       (200 * NS_PER_MS)
#define IDLE_LONG_NS    (10 * NS_PER_S)
#define USE_TIMES       4 /* what a lane keeps of a window that it does not use, in round trips of what it sends */

/* --- accounts ------------------------------------------------------------------------------------------------ */

static struct lane_tenant *tenant_of(struct lane_link *l, uint32_t tenant)
{
    struct lane_tenant *spare = NULL;
    for (uint32_t i = 0; i < l->n_tenants; i++) {
        if (l->tenants[i].lanes && l->tenants[i].tenant == tenant)
            return &l->tenants[i];
        if (!l->tenants[i].lanes)
            spare = &l->tenants[i];
    }
    if (!spare)
        spare = &l->tenants[l->n_tenants++]; /* one for each lane at most */
    *spare = (struct lane_tenant){.tenant = tenant};
    return spare;
}

static void commit(struct lane_rx *r, uint32_t cells)
{
    struct lane_rx_inner *x = r->inner;
    x->link->committed += (uint64_t)cells - x->committed;
    x->tenant->committed += cells - x->committed;
    x->committed = cells;
}

static uint32_t owed(const struct lane_rx *r)
{
    uint64_t reserved = credit_reserved(&r->credit);
    return reserved > r->credit.window ? (uint32_t)reserved : r->credit.window;
}

void window_recommit(struct lane_rx *r)
{
    if (r->inner->tenant && owed(r) < r->inner->committed)
        commit(r, owed(r));
}

/* What more may be committed for it: the port's pool and its tenant's part of it. */
static uint32_t room(const struct lane_rx *r)
{
    const struct lane_link *l = r->inner->link;
    uint64_t pool = l->port->config.pool_cells, part = l->port->config.tenant_cells;
    uint64_t free = pool > l->committed ? pool - l->committed : 0, mine = r->inner->tenant->committed;
    if (part && (part > mine ? part - mine : 0) < free)
        free = part > mine ? part - mine : 0;
    return (uint32_t)free;
}

/* Newcomers were refused for want of room: until they come again nobody grows into what is being made free for them. */
static void want_room(struct lane_link *l, uint32_t cells, int64_t now)
{
    uint64_t most = l->port->config.pool_cells / 4;
    if (now > l->wanted_until)
        l->wanted = 0;
    l->wanted += cells;
    if (l->wanted > most)
        l->wanted = most > cells ? most : cells;
    l->wanted_until = now + WANTED_NS;
}

static uint32_t room_to_grow(const struct lane_rx *r, int64_t now)
{
    const struct lane_link *l = r->inner->link;
    uint32_t free = room(r);
    uint64_t wanted = now > l->wanted_until ? 0 : l->wanted;
    return free > wanted ? (uint32_t)(free - wanted) : 0;
}

static uint32_t fair_share(const struct lane_link *l)
{
    return l->n_lanes ? l->port->config.pool_cells / l->n_lanes : l->port->config.pool_cells;
}

/* --- sizes --------------------------------------------------------------------------------------------------- */

int64_t window_loop_ns(const struct lane_link *l)
{
    return link_rtt(l) + l->node->poll_gap_ns + l->node->credit_repeats * link_tell_ns(l);
}

static uint32_t window_full(const struct lane_link *l, const struct lane_open_frame *want)
{
    uint64_t rate = want->rate_bps ? want->rate_bps : want->guarantee_bps;
    if (!rate || (l->port->config.rate_bps && rate > l->port->config.rate_bps))
        rate = l->port->config.rate_bps;
    if (!rate)
        return CREDIT_WINDOW_MOST;
    double cells = (double)rate / 8e9 * (double)window_loop_ns(l) / CELL_BYTES_MEAN * 4 / 3;
    cells += 2 + packet_cells(l->port->config.mtu + ETHER_SIZE);
    return cells > CREDIT_WINDOW_MOST ? CREDIT_WINDOW_MOST : (uint32_t)cells;
}

/* Two full packets at least: one that is being sent on and one that arrives. */
static uint32_t window_least(const struct lane_link *l, const struct lane_open_frame *want)
{
    uint32_t least = 2 * packet_cells(l->port->config.mtu + ETHER_SIZE);
    return want->window_least > least ? want->window_least : least;
}

int window_admit(struct lane_link *l, struct lane_rx *r, int64_t now)
{
    struct lane_rx_inner *x = r->inner;
    uint64_t pool = l->port->config.pool_cells, part = l->port->config.tenant_cells;
    x->window_least = window_least(l, &x->want);
    if (x->window_least > CREDIT_WINDOW_MOST)
        return LANE_REFUSED_FORM;
    if (l->least + x->window_least > pool)
        return LANE_REFUSED_POOL;
    struct lane_tenant *t = tenant_of(l, r->tenant);
    if (part && (uint64_t)t->least + x->window_least > part)
        return LANE_REFUSED_TENANT;
    x->tenant = t;
    if (room(r) < x->window_least) {
        x->tenant = NULL;
        want_room(l, x->window_least, now);
        window_squeeze(l, now);
        return LANE_REFUSED_BUSY;
    }
    l->wanted -= l->wanted < x->window_least ? l->wanted : x->window_least;
    t->lanes++;
    t->least += x->window_least;
    l->least += x->window_least;
    r->credit.window = x->window_most = x->window_least;
    commit(r, x->window_least);
    x->window_full = window_full(l, &x->want);
    x->turn_arrived = x->idle_arrived = r->credit.arrived;
    x->turn_ns = x->idle_since = now;
    press_init(r, now);
    return 0;
}

void window_no_more(struct lane_rx *r)
{
    struct lane_rx_inner *x = r->inner;
    r->credit.window = 0;
    r->credit.limit = r->credit.arrived;
    x->reclaiming = false;
    if (!x->tenant)
        return;
    x->tenant->least -= x->window_least;
    x->link->least -= x->window_least;
    x->window_least = 0;
    window_recommit(r);
}

void window_leave(struct lane_rx *r)
{
    struct lane_rx_inner *x = r->inner;
    window_no_more(r);
    if (!x->tenant)
        return;
    commit(r, 0);
    x->tenant->lanes--;
    x->tenant = NULL;
}

/* --- growing ------------------------------------------------------------------------------------------------- */

static void grow(struct lane_rx *r, int64_t now)
{
    struct lane_rx_inner *x = r->inner;
    struct lane_link *l = x->link;
    uint32_t window = r->credit.window, fair = fair_share(l), free = room_to_grow(r, now);
    x->window_full = window_full(l, &x->want);
    bool plenty = l->committed < l->port->config.pool_cells / 2;
    uint64_t want = plenty || 2ull * window > x->window_full ? x->window_full : 2ull * window;
    if (want <= window)
        return;
    uint32_t more = (uint32_t)(want - window);
    uint32_t below_fair = window < fair ? fair - window : 0;
    uint32_t most = below_fair > free / 2 ? (below_fair < free ? below_fair : free) : free / 2;
    if (more > most) {
        more = most;
        if (window < fair)
            window_squeeze(l, now);
    }
    if (!more)
        return;
    r->credit.window += more;
    if (r->credit.window > x->window_most)
        x->window_most = r->credit.window;
    if (owed(r) > x->committed)
        commit(r, owed(r));
}

void window_turn(struct lane_rx *r, int64_t now)
{
    struct lane_rx_inner *x = r->inner;
    window_recommit(r);
    if (r->credit.arrived - x->turn_arrived < r->credit.window / 2 || x->reclaiming)
        return;
    int64_t quick = link_rtt(x->link) + link_tell_ns(x->link) + x->link->node->poll_gap_ns;
    if (now - x->turn_ns <= quick)
        grow(r, now);
    x->turn_arrived = r->credit.arrived;
    x->turn_ns = now;
}

/* --- shrinking ----------------------------------------------------------------------------------------------- */

static void reclaim_send(struct lane_rx *r, int64_t now)
{
    struct lane_rx_inner *x = r->inner;
    struct frame f;
    x->reclaim_at = now + link_rtt(x->link) * 3 / 2 + NS_PER_MS;
    rx_arm(r, x->reclaim_at);
    if (!frame_begin(&f, x->link, LANE_RECLAIM))
        return;
    lane_reclaim_encode(f.body, &(struct lane_reclaim){
                                    .ref = x->want.ref,
                                    .index = r->index,
                                    .generation = r->credit.generation,
                                    .keep = r->credit.window,
                                });
    frame_send(&f, LANE_RECLAIM, LANE_RECLAIM_SIZE, now);
}

/* L is no longer raised beyond F + keep from now on; what has been promised beyond it stays committed until given back. */
void window_shrink(struct lane_rx *r, uint32_t keep, int64_t now)
{
    struct lane_rx_inner *x = r->inner;
    if (x->state != RX_LIVE || x->reclaiming || keep >= r->credit.window)
        return;
    r->credit.window = keep;
    x->reclaiming = true;
    reclaim_send(r, now);
}

int64_t window_timer(struct lane_rx *r, int64_t now)
{
    struct lane_rx_inner *x = r->inner;
    if (!x->reclaiming)
        return INT64_MAX;
    if (now >= x->reclaim_at)
        reclaim_send(r, now);
    return x->reclaim_at;
}

void window_released(struct lane_link *l, const uint8_t *body, uint32_t len, int64_t now)
{
    struct lane_release m;
    if (lane_release_decode(&m, body, len) != 0)
        return;
    struct lane_rx *r = m.index < l->node->lanes ? &l->node->rx[m.index] : NULL;
    if (!r || !r->live || r->inner->link != l || r->inner->want.ref != m.ref)
        return;
    if (credit_reclaim(&r->credit, m.generation, m.limit)) {
        r->inner->reclaiming = false;
        window_recommit(r);
        r->inner->turn_arrived = r->credit.arrived;
        r->inner->turn_ns = now;
    }
    credits_tell(r); /* also when it was no news: the answer may have been lost */
}

/* Whoever has more than its share, or does nothing, gives the rest back. */
void window_squeeze(struct lane_link *l, int64_t now)
{
    if (now - l->squeezed_ns < SQUEEZE_NS && l->squeezed_ns)
        return;
    l->squeezed_ns = now;
    uint32_t fair = fair_share(l);
    for (struct lane_rx *r = l->lanes; r; r = r->inner->on_port) {
        const struct lane_rx_inner *x = r->inner;
        bool idle = now - x->idle_since >= LANE_IDLE_NS && r->credit.arrived == x->idle_arrived;
        uint32_t keep = idle || fair < x->window_least ? x->window_least : fair;
        window_recommit(r);
        window_shrink(r, keep, now);
    }
}

/* What it would need for as much as it has sent since the last look, many times over. */
static void keep_what_it_uses(struct lane_rx *r, int64_t now)
{
    struct lane_rx_inner *x = r->inner;
    int64_t past = now - x->use_ns;
    if (past < LANE_IDLE_NS / 2 || past < 4 * window_loop_ns(x->link))
        return;
    double used = (double)(r->credit.arrived - x->use_arrived) * (double)window_loop_ns(x->link) / (double)past;
    double keep = x->window_least + USE_TIMES * used;
    bool known = x->use_ns != 0;
    x->use_arrived = r->credit.arrived;
    x->use_ns = now;
    if (known && !press_holds(r) && x->link->committed > x->link->port->config.pool_cells / 4 &&
        keep * 2 < r->credit.window)
        window_shrink(r, (uint32_t)keep, now);
}

void window_look(struct lane_rx *r, int64_t now)
{
    struct lane_rx_inner *x = r->inner;
    window_recommit(r);
    keep_what_it_uses(r, now);
    if (r->credit.arrived != x->idle_arrived || credit_occupied(&r->credit)) {
        x->idle_arrived = r->credit.arrived;
        x->idle_since = now;
        return;
    }
    int64_t idle = now - x->idle_since;
    if (idle < LANE_IDLE_NS)
        return;
    bool wanted = x->link->committed > x->link->port->config.pool_cells / 4;
    if (wanted || idle >= IDLE_LONG_NS)
        window_shrink(r, x->window_least, now);
    if (r->credit.window <= x->window_least && !x->reclaiming)
        x->watched = false;
}
