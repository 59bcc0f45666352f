/* Backpressure in time: a lane whose queue rises here stops its neighbour within one trip, however large its window is.
 *
 * A window covers the distance at full rate in the smallest packets, so a neighbour that sends large ones, or slowly, has
 * credit that it has not used; left alone it would fill the whole window before it stops. So when a lane holds more than a
 * few microseconds of what it carries (press_at: congestion is sensed) the neighbour is asked, with its credit and at once,
 * to keep to F + allowed, though L allows more:
 *
 *   allowed = A + press_at          at first: as much as is under way when it hears of it, so it stops there
 *           = D * 5/4 + press_at    later: what the drain takes, and a quarter of it that waits here
 *
 * A and D being the cells that came, and that left, in a round trip. A sink that stands still loses nothing by it: what is under
 * way fills the queue for a round trip, and from the first cell that leaves each lets another one be sent. One that has
 * become slower has a queue of a quarter of a round trip from then on. When the queue has all but gone the drain is no
 * longer what limits the lane, and all of W is open again.
 *
 * It is a request: L, the reservation and the handshake of credit.h are as they were, so nothing here can lose a packet. */
#include "lane/lane_inner.h"

#define PRESS_NS      (10 * NS_PER_US)
#define PRESS_LEAST   16u /* cells */
#define PRESS_TOLD    (ETHER_SIZE + LANE_FRAME_HEADER + LANE_CREDIT_SIZE + LANE_CREDIT_ENTRY + LANE_FRAME_SEAL)
#define PRESS_BITS    (8ull * (PRESS_TOLD + QUEUE_WIRE_EXTRA))
#define PRESS_UNPACED (2 * NS_PER_US)

/* Above what a burst of a healthy lane leaves: the time between two looks of this router, and a little. */
static uint32_t threshold(const struct lane_rx *r)
{
    const struct lane_rx_inner *x = r->inner;
    const struct lane_link *l = x->link;
    uint32_t least = 4 * packet_cells(l->port->config.mtu + ETHER_SIZE);
    double burst = (double)x->drained * (double)(PRESS_NS + l->node->poll_gap_ns) / (double)window_loop_ns(l);
    return (least > PRESS_LEAST ? least : PRESS_LEAST) + (uint32_t)burst;
}

static void allow(struct lane_rx *r, double cells)
{
    struct lane_rx_inner *x = r->inner;
    uint32_t most = r->credit.window, least = x->window_least + x->press_at;
    uint32_t n = cells < most ? (uint32_t)cells : most;
    x->allowed = n < least ? least : n;
}

static double drain(const struct lane_rx_inner *x)
{
    return 1.25 * x->drained + x->press_at;
}

static void trip_begins(struct lane_rx *r, int64_t now)
{
    struct lane_rx_inner *x = r->inner;
    x->drain_ns = now;
    x->drain_freed = r->credit.freed;
    x->drain_arrived = r->credit.arrived;
}

void press_init(struct lane_rx *r, int64_t now)
{
    struct lane_rx_inner *x = r->inner;
    trip_begins(r, now);
    x->press_at = threshold(r);
    x->allowed = PRESS_NOT;
}

/* A link spends a hundredth of itself on telling it at once; otherwise it is told with the next CREDIT. */
static bool at_once(struct lane_link *l, int64_t now)
{
    uint64_t rate = l->port->config.rate_bps;
    if (now < l->press_next_ns)
        return false;
    l->press_next_ns = now + (rate ? (int64_t)(100 * PRESS_BITS * NS_PER_S / rate) : PRESS_UNPACED);
    return true;
}

void press_begin(struct lane_rx *r, int64_t now)
{
    struct lane_rx_inner *x = r->inner;
    if (!x->drained || drain(x) >= r->credit.window)
        return; /* the neighbour stops soon enough for want of credit */
    uint64_t now_comes = r->credit.arrived - x->drain_arrived;
    double loops = (double)link_rtt(x->link) / (double)window_loop_ns(x->link);
    allow(r, (double)(now_comes > x->came ? now_comes : x->came) * loops + x->press_at);
    trip_begins(r, now);
    lane_changed(r);
    if (at_once(x->link, now))
        r->told->ripe = true;
}

uint32_t press_hold(const struct lane_rx *r)
{
    const struct credit_receiver *c = &r->credit;
    uint64_t most = c->freed + r->inner->allowed;
    return press_holds(r) && c->limit > most ? (uint32_t)(c->limit - most) : 0;
}

/* Only round trips in which it moved all the time say how fast that was. It rises at once and falls by a quarter in a round
 * trip: what comes in bursts is not slow. */
static bool measure(struct lane_rx *r, int64_t now)
{
    struct lane_rx_inner *x = r->inner;
    int64_t loop = window_loop_ns(x->link), past = now - x->drain_ns;
    if (past < loop)
        return false;
    bool known = past < 2 * loop;
    double cells = (double)(r->credit.freed - x->drain_freed) * (double)loop / (double)past;
    uint32_t least = x->drained - x->drained / 4;
    if (known) {
        x->drained = cells > least ? (uint32_t)cells : least;
        x->came = (uint32_t)((double)(r->credit.arrived - x->drain_arrived) * (double)loop / (double)past);
    }
    trip_begins(r, now);
    x->press_at = threshold(r);
    return known;
}

void press_turn(struct lane_rx *r, int64_t now)
{
    struct lane_rx_inner *x = r->inner;
    bool news = measure(r, now);
    if (!press_holds(r))
        return;
    if (credit_occupied(&r->credit) <= x->press_at / 4)
        x->allowed = PRESS_NOT;
    else if (news)
        allow(r, drain(x));
}
