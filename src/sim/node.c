#include "sim/node.h"

#include "base/clock.h"
#include "base/rng.h"
#include "sim/sim_inner.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TRIES 4 /* a queue that finds no credit when its turn comes makes the scheduler answer nothing once */

/* --- what the core asks of its shell ------------------------------------------------------------------------------------ */

static struct rte_mbuf *on_alloc(void *user)
{
    return slab_large(&((struct node *)user)->sim->slab);
}

static void on_free(void *user, struct rte_mbuf *m)
{
    slab_free(&((struct node *)user)->sim->slab, m);
}

static struct rte_mbuf *on_copy(void *user, struct rte_mbuf *m)
{
    return slab_second(&((struct node *)user)->sim->slab, m);
}

static void on_punt(void *user, uint32_t vrf, uint16_t port, struct rte_mbuf *m)
{
    struct node *n = user;
    n->punted++;
    slab_free(&n->sim->slab, m);
}

static void on_event(void *user, const struct lane_event *e)
{
    struct node *n = user;
    if ((unsigned)e->kind < sizeof(n->events) / sizeof(n->events[0]))
        n->events[e->kind]++;
    sim_lane_event(n->sim, n, e);
}

static uint64_t on_random(void *user)
{
    struct node *n = user;
    return rng_u64(rng_mix(n->sim->seed ^ 0x6e6f6465) + n->index, n->draws++);
}

/* --- in and out ---------------------------------------------------------------------------------------------------------- */

static void kick(struct node *n, int64_t now)
{
    for (uint64_t ready = forward_ready_ports(n->f); ready; ready &= ready - 1) {
        struct wire *w = n->out[__builtin_ctzll(ready)];
        if (w)
            wire_kick(w, now);
    }
}

/* Everything between is the router's: packets that it frees are its losses. */
static void enter(struct node *n)
{
    n->sim->inside = n;
}

static void leave(struct node *n, int64_t now)
{
    n->sim->inside = NULL;
    event_by(&n->sim->events, &n->timers, now + NODE_ROUND_NS);
    kick(n, now);
}

static void receive(struct node *n, uint16_t port, struct rte_mbuf **pkts, unsigned count, int64_t now)
{
    n->received += count;
    enter(n);
    forward_receive(n->f, port, pkts, count, now);
    leave(n, now);
}

struct rte_mbuf *node_pull(void *user, uint16_t port, int64_t now, int64_t *ret_next)
{
    struct node *n = user;
    struct rte_mbuf *m;
    if (!n->f)
        return NULL;
    enter(n);
    for (unsigned i = 0; i < TRIES; i++) {
        unsigned got = forward_transmit(n->f, port, &m, 1, now);
        if (got) {
            n->sim->inside = NULL;
            return m;
        }
        *ret_next = forward_port_next(n->f, port, now);
        if (*ret_next > now)
            break;
    }
    n->sim->inside = NULL;
    return NULL;
}

void node_sent(void *user, uint16_t port, struct rte_mbuf *m, int64_t now)
{
    struct node *n = user;
    enter(n);
    forward_sent(n->f, port, &m, 1, now);
    leave(n, now);
}

/* --- receive rings -------------------------------------------------------------------------------------------------------- */

static void drop_at_ring(struct node *n, struct rte_mbuf *m)
{
    n->lost_ring++;
    enter(n);
    slab_free(&n->sim->slab, m);
    n->sim->inside = NULL;
}

static void into_ring(struct node *n, uint16_t port, struct rte_mbuf **pkts, unsigned count, int64_t now)
{
    for (unsigned i = 0; i < count; i++) {
        if (n->ring_tail - n->ring_head == NODE_RING)
            drop_at_ring(n, pkts[i]);
        else
            n->ring[n->ring_tail++ % NODE_RING] = (struct node_frame){pkts[i], port};
    }
    int64_t next = (now / n->poll_ns + 1) * n->poll_ns;
    event_by(&n->sim->events, &n->look, next);
}

/* Batches of one port, as a worker takes them. */
static void on_look(struct event_source *e, int64_t now)
{
    struct node *n = (struct node *)(void *)((char *)e - offsetof(struct node, look));
    struct rte_mbuf *batch[WIRE_BATCH];
    n->budget = n->per_look > 0 ? n->budget + n->per_look : 1e18;
    while (n->f && n->ring_head != n->ring_tail && n->budget >= 1) {
        uint16_t port = n->ring[n->ring_head % NODE_RING].port;
        unsigned count = 0;
        while (count < WIRE_BATCH && n->ring_head != n->ring_tail && n->budget >= 1 &&
               n->ring[n->ring_head % NODE_RING].port == port) {
            batch[count++] = n->ring[n->ring_head++ % NODE_RING].m;
            n->budget -= 1;
        }
        receive(n, port, batch, count, now);
    }
    if (n->ring_head == n->ring_tail)
        n->budget = 0; /* idle time is not saved up */
    else
        event_at(&n->sim->events, &n->look, now + n->poll_ns);
}

void node_arrive(void *user, uint16_t port, struct rte_mbuf **pkts, unsigned count, int64_t now)
{
    struct node *n = user;
    if (!n->f) {
        for (unsigned i = 0; i < count; i++)
            sim_lost_at_dead(n->sim, n, pkts[i], now);
    } else if (n->poll_ns) {
        into_ring(n, port, pkts, count, now);
    } else {
        receive(n, port, pkts, count, now);
    }
}

static void on_timers(struct event_source *e, int64_t now)
{
    struct node *n = (struct node *)(void *)((char *)e - offsetof(struct node, timers));
    if (!n->f)
        return;
    enter(n);
    lane_awake(
        forward_lanes(n->f), now - NODE_ROUND_NS); /* a worker looks all the time; we only when there is something */
    int64_t next = forward_poll(n->f, now);
    n->sim->inside = NULL;
    if (n->draining && lane_drained(forward_lanes(n->f), now)) {
        node_kill(n, now);
        return;
    }
    if (next != INT64_MAX)
        event_by(&n->sim->events, e, next > now + NODE_ROUND_NS ? next : now + NODE_ROUND_NS);
    kick(n, now);
}

/* --- losses ---------------------------------------------------------------------------------------------------------------- */

void node_read_losses(struct node *n)
{
    struct loss_record r[64];
    struct loss_log *log = n->f ? forward_loss(n->f) : NULL;
    unsigned got;
    while (log && (got = loss_read(log, r, 64)) != 0)
        for (unsigned i = 0; i < got; i++)
            if (r[i].reason == LOSS_LINK && r[i].port < PLAN_PORTS_MOST)
                n->gap_cells[r[i].port] += r[i].cells;
    if (log)
        n->records_overrun = log->overrun;
}

static uint64_t counted(const struct loss_log *log)
{
    uint64_t sum = 0;
    for (int i = 0; i < LOSS_REASONS; i++)
        if (i != LOSS_LINK)
            sum += log->packets[i];
    return sum;
}

uint64_t node_recorded(const struct node *n)
{
    return n->recorded + (n->f ? counted(forward_loss(n->f)) : 0);
}

/* --- life -------------------------------------------------------------------------------------------------------------------- */

static int create(struct node *n, int64_t now, struct error *err)
{
    struct forward_ops ops = {.user = n,
        .alloc = on_alloc,
        .free = on_free,
        .punt = on_punt,
        .lane_event = on_event,
        .random = on_random,
        .copy = on_copy,
        .virtual_payload = true};
    enter(n);
    int rc = node_configure(n, &ops, now, err);
    n->sim->inside = NULL;
    n->lives++;
    if (rc)
        return error_prefix(err, rc, "router %s", n->sim->plan->scenario->routers[n->index].name);
    event_by(&n->sim->events, &n->timers, now);
    return 0;
}

int node_start(struct node *n, struct sim *sim, uint32_t index, struct error *err)
{
    const struct scenario_router *r = &sim->plan->scenario->routers[index];
    n->sim = sim;
    n->index = index;
    n->n_ports = sim->plan->routers[index].n_ports;
    n->poll_ns = r->poll_ns ? r->poll_ns : r->pps ? NODE_ROUND_NS : 0;
    n->per_look = r->pps ? (double)r->pps * (double)n->poll_ns * 1e-9 : 0;
    if (n->poll_ns)
        n->ring = calloc(NODE_RING, sizeof(*n->ring));
    if ((n->poll_ns && !n->ring) || event_add(&sim->events, &n->timers, on_timers) ||
        event_add(&sim->events, &n->look, on_look))
        return error_set(err, ENOMEM, "no memory");
    return create(n, 0, err);
}

void node_kill(struct node *n, int64_t now)
{
    if (!n->f)
        return;
    node_read_losses(n);
    n->sim->killed = true;
    n->recorded += counted(forward_loss(n->f));
    uint64_t before = n->lost, copies = n->lost_copies;
    enter(n);
    for (; n->ring_head != n->ring_tail; n->ring_head++)
        slab_free(&n->sim->slab, n->ring[n->ring_head % NODE_RING].m);
    for (uint32_t i = 0; i < n->n_ports; i++)
        if (n->out[i])
            wire_abort(n->out[i], now);
    forward_free(n->f);
    n->f = NULL;
    n->draining = false;
    n->sim->inside = NULL;
    n->lost_killed += n->lost - before;
    n->copies_killed += n->lost_copies - copies;
    event_never(&n->sim->events, &n->timers);
    event_never(&n->sim->events, &n->look);
}

/* As the router's own (router_drain.c): what begins here is closed, what passes is asked to go. */
void node_drain(struct node *n, int64_t now)
{
    if (!n->f)
        return;
    enter(n);
    n->draining = true;
    node_close_slices(n, now);
    lane_drain(forward_lanes(n->f), now);
    leave(n, now);
}

int node_restart(struct node *n, int64_t now, struct error *err)
{
    return n->f ? 0 : create(n, now, err);
}

void node_done(struct node *n)
{
    if (n->sim)
        n->sim->inside = n;
    for (; n->ring_head != n->ring_tail; n->ring_head++)
        slab_free(&n->sim->slab, n->ring[n->ring_head % NODE_RING].m);
    forward_free(n->f);
    free(n->ring);
    if (n->sim)
        n->sim->inside = NULL;
    n->f = NULL;
    n->ring = NULL;
}
