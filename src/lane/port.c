/* A port: its own queues, packets that come to it and packets that have left. What leaves when: scheduler.c. */
#include "lane/port.h"

#include "lane/port_inner.h"
#include "lane/stamp.h"

#include <errno.h>
#include <string.h>

enum { CONTROL_CELLS = 4096, LOSSY_LEAST_CELLS = 64, LOSSY_DEFAULT_CELLS = 8192, LOSSY_DEFAULT_MS = 10 };

const uint8_t port_priority_of_class[LANE_CLASSES] = {
    [LANE_CONTROL] = 6,
    [LANE_INFERENCE] = 5,
    [LANE_PARAMETER] = 3,
    [LANE_BULK] = 1,
};

/* In cells that full packets fill. */
static uint32_t lossy_cells(const struct port_config *c)
{
    if (c->lossy.drop_cells)
        return c->lossy.drop_cells;
    if (!c->rate_bps)
        return LOSSY_DEFAULT_CELLS;
    uint64_t frame = queue_wire_bytes(c->mtu + ETHER_SIZE);
    uint64_t cells = c->rate_bps / 8000 * LOSSY_DEFAULT_MS / frame * packet_cells((uint32_t)frame);
    return cells < LOSSY_LEAST_CELLS ? LOSSY_LEAST_CELLS : cells > UINT32_MAX / 2 ? UINT32_MAX / 2 : (uint32_t)cells;
}

/* The configuration's, with its defaults; which of them rule depends on the mode. */
static struct queue_limits lossy_limits(const struct port_config *c)
{
    struct queue_limits l = c->lossy;
    l.drop_cells = lossy_cells(c);
    if (!l.pfc_xoff_cells)
        l.pfc_xoff_cells = l.drop_cells / 2;
    if (!l.pfc_xon_cells)
        l.pfc_xon_cells = l.pfc_xoff_cells / 2;
    return l;
}

void port_init(struct port *p, struct port_set *set, struct lane_node *node, uint16_t index,
    const struct port_config *config, int64_t now)
{
    memset(p, 0, sizeof *p);
    p->node = node;
    p->set = set;
    p->index = index;
    p->config = *config;
    p->config.lossy = lossy_limits(config);
    memcpy(p->peer_mac, config->peer_mac, sizeof p->peer_mac);
    p->ns_per_byte = config->rate_bps ? queue_ns_per_byte(config->rate_bps) : 0;
    p->free_at_ns = config->rate_bps ? now : INT64_MIN;
    p->pfc.refresh_ns = INT64_MAX;
    wheel_init(&p->guarantees, now);
    wheel_init(&p->caps, now);
    queue_init(&p->control, p, LANE_CONTROL);
    p->control.limits.drop_cells = CONTROL_CELLS;
    for (unsigned c = 0; c < LANE_CLASSES; c++) {
        queue_init(&p->lossy[c], p, c);
        p->lossy[c].limits.drop_cells = p->config.lossy.drop_cells;
        if (set->mode != LANE_MODE_FIFO && set->mode != LANE_MODE_PFC)
            p->lossy[c].limits.ecn_cells = config->lossy.ecn_cells;
        if (set->mode == LANE_MODE_ECN && !config->lossy.ecn_cells)
            p->lossy[c].limits.ecn_cells = p->config.lossy.drop_cells / 8 + 1;
    }
    if (set->mode == LANE_MODE_LANES)
        queue_set_rates(&p->lossy[LANE_CONTROL], config->rate_bps / 50, 0, now);
    set->ports[index] = p;
}

static void queue_empty(struct queue *q)
{
    queue_leave(q);
    while (q->head)
        packet_release(q->port, queue_pop(q));
    q->state = QUEUE_IDLE;
}

void port_done(struct port *p)
{
    while (p->control.head)
        packet_release(p, queue_pop(&p->control));
    for (unsigned c = 0; c < LANE_CLASSES; c++)
        queue_empty(&p->lossy[c]);
    p->set->ready &= ~(1ull << p->index);
    p->set->ports[p->index] = NULL;
}

struct queue *port_lossy_queue(struct port *p, enum lane_class c)
{
    return &p->lossy[p->config.one_queue ? LANE_BULK : c];
}

/* --- packets that come and go ------------------------------------------------------------------------------ */

void packet_release(struct port *p, struct rte_mbuf *m)
{
    const struct packet_meta *meta = packet_meta(m);
    if (meta->from)
        lane_cells_sent(meta->from, meta->cells);
    p->set->above->free(p->set->above->user, m);
}

void packet_lose(struct port *p, struct queue *q, struct rte_mbuf *m, int reason, int64_t now)
{
    const struct packet_meta *meta = packet_meta(m);
    uint64_t lane = q && q->lane ? q->lane->id : meta->from ? meta->from->id : 0;
    loss_record(p->set->loss, &(struct loss_record){
                                  .at_ns = now,
                                  .flow = meta->flow,
                                  .lane = lane,
                                  .tenant = meta->tenant,
                                  .cells = meta->cells,
                                  .packets = 1,
                                  .port = p->index,
                                  .reason = (uint8_t)reason,
                                  .class_ = meta->class_,
                              });
    if (q)
        q->dropped_packets++;
    if (meta->accounted)
        port_unaccount(p->set, m, now);
    packet_release(p, m);
}

void port_drop(struct port *p, struct rte_mbuf *m, int reason, int64_t now)
{
    packet_lose(p, NULL, m, reason, now);
}

int port_enqueue(struct port *p, struct queue *q, struct rte_mbuf *m, int64_t now)
{
    struct packet_meta *meta = packet_meta(m);
    if (!meta->from && !meta->accounted)
        meta->cells = packet_cells(m->pkt_len);
    int reason = queue_admit(q, m, now);
    if (reason) {
        packet_lose(p, q, m, reason, now);
        return -ENOBUFS;
    }
    if (q == &p->control)
        port_begin(p, now);
    queue_push(q, m);
    if (q->state == QUEUE_IDLE && q != &p->control)
        queue_activate(q, now);
    return 0;
}

void port_sent(struct port *p, struct rte_mbuf *const *pkts, unsigned n, int64_t now)
{
    for (unsigned i = 0; i < n; i++) {
        if (packet_meta(pkts[i])->accounted)
            port_unaccount(p->set, pkts[i], now);
        packet_release(p, pkts[i]);
    }
}

int64_t port_next(const struct port *p, int64_t now)
{
    int64_t next = INT64_MAX;
    if (p->active || p->control.head || p->pfc.tell) {
        next = now;
    } else {
        int64_t cap = wheel_next(&p->caps), pause = port_pause_next(p);
        next = cap < pause ? cap : pause;
    }
    return next < p->free_at_ns ? p->free_at_ns : next;
}
