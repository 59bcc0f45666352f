/* A router's lanes: their memory, its ports, and whose turn it is. */
#include "lane/lane.h"

#include "base/rng.h"
#include "lane/lane_inner.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#define DEFAULT_LANES   1024u
#define DEFAULT_HISTORY 16384u
#define POLL_GAP_MOST   (20 * NS_PER_MS) /* longer ones are stops, not looks that come late */
#define POLL_GAP_FALLS  NS_PER_S

/* --- making and freeing -------------------------------------------------------------------------------------- */

/* How often a CREDIT is told so that it is lost altogether less than once in a thousand times. */
static uint8_t repeats(double loss)
{
    if (loss <= 0)
        return 1;
    double k = loss >= 0.9 ? 64 : ceil(log(1e-3) / log(loss));
    return (uint8_t)(k < 2 ? 2 : k);
}

static void defaults(struct lane_node_config *c)
{
    if (!c->lanes_most)
        c->lanes_most = DEFAULT_LANES;
    if (!c->hello_ns)
        c->hello_ns = 3 * NS_PER_MS;
    if (!c->silence_ns)
        c->silence_ns = 10 * NS_PER_MS;
    if (!c->watchdog_ns)
        c->watchdog_ns = 5 * NS_PER_S;
    if (!c->move_ns)
        c->move_ns = NS_PER_S;
    if (c->control_loss <= 0)
        c->control_loss = 0.01;
    if (!c->history_packets)
        c->history_packets = DEFAULT_HISTORY;
}

static int config_check(const struct lane_node_config *c, const struct lane_above *above, struct error *err)
{
    if (!c->router_id || c->router_id > UINT32_MAX)
        return error_set(err, EINVAL, "a router's id is 1 to 4294967295, not %llu", (unsigned long long)c->router_id);
    if (c->lanes_most > 65535)
        return error_set(err, EINVAL, "a router has at most 65535 lanes, not %u", c->lanes_most);
    if (c->control_loss > 0.95)
        return error_set(err, EINVAL, "control_loss is a share below 0.95, not %g", c->control_loss);
    if (!above->alloc || !above->free || !above->resolve || !above->random)
        return error_set(err, EINVAL, "lanes need alloc, free, resolve and random from the layer above");
    return 0;
}

static int arrays_create(struct lane_node *n)
{
    uint32_t lanes = n->lanes, heads = 1;
    while (heads < lanes)
        heads *= 2;
    n->id_mask = heads - 1;
    n->tx = calloc(lanes, sizeof *n->tx);
    n->tx_inner = calloc(lanes, sizeof *n->tx_inner);
    n->rx = calloc(lanes, sizeof *n->rx);
    n->rx_inner = calloc(lanes, sizeof *n->rx_inner);
    n->by_id = calloc(heads, sizeof(struct lane_rx *));
    n->tx_spare = calloc(lanes, sizeof *n->tx_spare);
    n->rx_spare = calloc(lanes, sizeof *n->rx_spare);
    n->egress = calloc(2ul * lanes, sizeof *n->egress);
    if (!n->tx || !n->tx_inner || !n->rx || !n->rx_inner || !n->by_id || !n->tx_spare || !n->rx_spare || !n->egress)
        return -ENOMEM;
    for (uint32_t i = lanes; i-- > 0;) {
        n->tx[i].slot = i;
        n->tx[i].inner = &n->tx_inner[i];
        n->tx_inner[i].tx = &n->tx[i];
        n->tx_spare[n->n_tx_spare++] = (uint16_t)i;
        n->rx[i].index = (uint16_t)i;
        n->rx[i].inner = &n->rx_inner[i];
        n->rx_inner[i].rx = &n->rx[i];
        n->rx_spare[n->n_rx_spare++] = (uint16_t)i;
    }
    for (uint32_t i = 2 * lanes; i-- > 0;) {
        n->egress[i].next = n->egress_spare;
        n->egress_spare = &n->egress[i];
    }
    return 0;
}

/* The trusted keys and the expected peers become the node's own. */
static int config_copy(struct lane_node *n, const struct lane_node_config *c)
{
    n->config = *c;
    n->config.trusted = NULL;
    defaults(&n->config);
    n->lanes = n->config.lanes_most;
    n->credit_repeats = repeats(n->config.control_loss);
    if (!c->trusted)
        return 0;
    n->config.trusted = malloc((c->n_trusted ? c->n_trusted : 1) * sizeof *c->trusted);
    if (!n->config.trusted)
        return -ENOMEM;
    memcpy(n->config.trusted, c->trusted, c->n_trusted * sizeof *c->trusted);
    return 0;
}

int lane_node_create(
    struct lane_node **ret, const struct lane_node_config *config, const struct lane_above *above, struct error *err)
{
    int rc = config_check(config, above, err);
    if (rc)
        return rc;
    struct lane_node *n = calloc(1, sizeof *n);
    if (!n)
        return error_set(err, ENOMEM, "no memory for lanes");
    n->above = *above;
    rc = config_copy(n, config);
    if (!rc)
        rc = arrays_create(n);
    if (!rc)
        rc = ed25519_create(&n->identity, config->identity);
    n->loss = calloc(1, sizeof *n->loss);
    if (rc || !n->loss) {
        lane_node_free(n);
        return error_set(err, ENOMEM, "no memory for %u lanes", config->lanes_most);
    }
    explicit_bzero(n->config.identity, sizeof n->config.identity);
    n->boot = above->random(above->user) | 1;
    n->next_id = (uint32_t)above->random(above->user);
    n->set = (struct port_set){.above = &n->above, .loss = n->loss, .mode = (uint8_t)n->config.mode};
    wheel_init(&n->link_timers, 0);
    wheel_init(&n->tx_timers, 0);
    wheel_init(&n->rx_timers, 0);
    *ret = n;
    return 0;
}

static void link_free(struct lane_link *l)
{
    if (!l)
        return;
    seal_free(l->out);
    seal_free(l->in);
    history_free(l->wire.history);
    free(l->gaps);
    free(l->tenants);
    explicit_bzero(&l->fresh, sizeof l->fresh);
    free(l);
}

static void port_free(struct lane_node *n, unsigned i)
{
    struct port *p = n->set.ports[i];
    if (!p)
        return;
    port_done(p);
    link_free(n->link[i]);
    free(p);
}

void lane_node_free(struct lane_node *n)
{
    if (!n)
        return;
    for (uint32_t i = 0; n->tx && n->tx_inner && i < n->lanes; i++)
        if (n->tx_inner[i].state != TX_FREE)
            queue_flush(&n->tx[i].queue, LOSS_LINK_DOWN, n->now);
    for (uint32_t i = 0; n->egress && i < 2 * n->lanes; i++)
        if (n->egress[i].queue.head)
            queue_flush(&n->egress[i].queue, LOSS_LINK_DOWN, n->now);
    for (unsigned i = 0; i < PORT_MOST; i++)
        port_free(n, i);
    ed25519_free(n->identity);
    free(n->config.trusted);
    free(n->tx);
    free(n->tx_inner);
    free(n->rx);
    free(n->rx_inner);
    free(n->by_id);
    free(n->tx_spare);
    free(n->rx_spare);
    free(n->egress);
    free(n->loss);
    explicit_bzero(n->config.identity, sizeof n->config.identity);
    free(n);
}

/* --- ports --------------------------------------------------------------------------------------------------- */

static int link_create(struct lane_node *n, struct port *p)
{
    struct lane_link *l = calloc(1, sizeof *l);
    if (!l)
        return -ENOMEM;
    l->node = n;
    l->port = p;
    l->gaps = calloc(LINK_GAPS, sizeof *l->gaps);
    l->tenants = calloc(n->lanes, sizeof *l->tenants);
    if (!l->gaps || !l->tenants || seal_create(&l->out) != 0 || seal_create(&l->in) != 0 ||
        history_create(&l->wire.history, n->config.history_packets, n->lanes) != 0) {
        link_free(l);
        return -ENOMEM;
    }
    p->link = n->link[p->index] = l;
    n->links |= 1ull << p->index;
    link_start(l, 0);
    return 0;
}

int lane_port_add(struct lane_node *n, uint16_t index, const struct port_config *c, struct error *err)
{
    if (index >= PORT_MOST)
        return error_set(err, EINVAL, "a router has ports 0 to %u, not %u", PORT_MOST - 1, index);
    if (n->set.ports[index])
        return error_set(err, EEXIST, "port %u is there already", index);
    if (c->mtu < 1280 || c->mtu > 16000)
        return error_set(err, EINVAL, "port %u: an MTU is 1280 to 16000 bytes, not %u", index, c->mtu);
    if (c->pool_cells > CREDIT_WINDOW_MOST || c->link_window > CREDIT_WINDOW_MOST)
        return error_set(err, EINVAL, "port %u: pool and link window are below %u cells", index, CREDIT_WINDOW_MOST);
    struct port *p = calloc(1, sizeof *p);
    if (!p)
        return error_set(err, ENOMEM, "no memory for port %u", index);
    port_init(p, &n->set, n, index, c, 0);
    bool speaks_hello = c->kind == PORT_CORE && memcmp(c->peer_mac, (uint8_t[6]){0}, 6) == 0;
    p->up = !speaks_hello; /* hosts and foreign routers are simply there */
    if (speaks_hello && link_create(n, p) != 0) {
        port_done(p);
        free(p);
        return error_set(err, ENOMEM, "no memory for the link at port %u", index);
    }
    return 0;
}

struct port *lane_port(struct lane_node *n, uint16_t index)
{
    return index < PORT_MOST ? n->set.ports[index] : NULL;
}

struct loss_log *lane_loss(struct lane_node *n)
{
    return n->loss;
}

uint64_t lane_ready_ports(const struct lane_node *n)
{
    return n->set.ready;
}

void lane_link_down(struct lane_node *n, uint16_t port, int64_t now)
{
    n->now = now;
    if (port < PORT_MOST && n->link[port])
        link_lost(n->link[port], now);
}

/* --- time ---------------------------------------------------------------------------------------------------- */

/* How late this router looks when it is late: rises by half the way at once, falls within a second. Windows and thresholds
 * hide that much, and a shaped port catches up with it; where ten processes share two cores it is milliseconds. Time in which
 * there was nothing to do is none of it (lane_awake). */
static void poll_gap(struct lane_node *n, int64_t now)
{
    int64_t gap = now - n->polled_ns;
    n->polled_ns = now;
    if (gap < 0 || gap > POLL_GAP_MOST)
        return;
    if (gap > n->poll_gap_ns)
        n->poll_gap_ns += (gap - n->poll_gap_ns + 1) / 2;
    else
        n->poll_gap_ns -= (int64_t)((double)(n->poll_gap_ns - gap) * (double)gap / POLL_GAP_FALLS);
    n->set.late_ns = 2 * n->poll_gap_ns;
}

void lane_awake(struct lane_node *n, int64_t now)
{
    if (now > n->polled_ns)
        n->polled_ns = now;
}

/* Lanes that began to send since the last call are watched from now on. */
static void busy_arm(struct lane_link *l, int64_t now)
{
    struct lane_tx *t = l->wire.busy;
    l->wire.busy = NULL;
    while (t) {
        struct lane_tx *next = t->busy_next == t ? NULL : t->busy_next;
        t->busy_next = NULL;
        struct lane_tx_inner *x = t->inner;
        x->sync_mark = UINT64_MAX;
        x->sync_at = now + LANE_SYNC_NS;
        x->stuck_sent = UINT64_MAX;
        tx_arm(t, x->sync_at);
        t = next;
    }
}

#define OWNER(t, type) ((type *)(void *)((uint8_t *)(t) - offsetof(type, timer)))

static void timers_run(struct lane_node *n, int64_t now)
{
    struct wheel_timer *t;
    while ((t = wheel_expire(&n->link_timers, now)))
        link_timer(OWNER(t, struct lane_link), now);
    while ((t = wheel_expire(&n->tx_timers, now)))
        tx_timer(OWNER(t, struct lane_tx_inner)->tx, now);
    while ((t = wheel_expire(&n->rx_timers, now)))
        rx_timer(OWNER(t, struct lane_rx_inner)->rx, now);
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

int64_t lane_poll(struct lane_node *n, int64_t now)
{
    n->now = now;
    poll_gap(n, now);
    for (uint64_t left = n->links; left; left &= left - 1)
        if (n->link[__builtin_ctzll(left)]->wire.busy)
            busy_arm(n->link[__builtin_ctzll(left)], now);
    timers_run(n, now);
    int64_t next = INT64_MAX;
    for (uint64_t left = n->links; left; left &= left - 1) {
        struct lane_link *l = n->link[__builtin_ctzll(left)];
        credits_flush(l, now, false);
        report_flush(l, now);
        next = earlier(next, credits_next(l));
    }
    next = earlier(next, wheel_next(&n->link_timers));
    next = earlier(next, wheel_next(&n->tx_timers));
    return earlier(next, wheel_next(&n->rx_timers));
}

/* --- reports --------------------------------------------------------------------------------------------------- */

bool lane_info_next(const struct lane_node *n, uint32_t *at, struct lane_info *ret)
{
    while (*at < n->lanes && n->rx_inner[*at].state == RX_FREE)
        ++*at;
    if (*at == n->lanes)
        return false;
    const struct lane_rx *r = &n->rx[*at];
    const struct lane_rx_inner *x = r->inner;
    *ret = (struct lane_info){.id = r->id,
        .tenant = r->tenant,
        .vrf = r->vrf,
        .in_port = r->in_port,
        .out_port = r->out_port,
        .index = r->index,
        .class_ = r->class_,
        .live = r->live,
        .window = r->credit.window,
        .window_most = x->window_most,
        .held = (uint32_t)credit_occupied(&r->credit),
        .held_most = x->held_most,
        .arrived = r->credit.arrived - x->first,
        .lost = r->credit.lost};
    ++*at;
    return true;
}

bool lane_sender_next(const struct lane_node *n, uint32_t *at, struct lane_sender_info *ret)
{
    while (*at < n->lanes && n->tx_inner[*at].state == TX_FREE)
        ++*at;
    if (*at == n->lanes)
        return false;
    const struct lane_tx *t = &n->tx[*at];
    *ret = (struct lane_sender_info){.id = t->id,
        .out_port = t->queue.port->index,
        .class_ = t->queue.class_,
        .complete = t->complete,
        .blocked = t->queue.state == QUEUE_BLOCKED,
        .cells = t->queue.cells};
    ++*at;
    return true;
}
