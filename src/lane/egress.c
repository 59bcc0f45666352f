/* Where lanes end: queues towards hosts, one for each lane and access port that it leads to. */
#include "lane/lane_inner.h"

static struct egress_queue *find(struct egress_queue *list, uint16_t out)
{
    for (struct egress_queue *e = list; e; e = e->next)
        if (e->out == out)
            return e;
    return NULL;
}

/* A lane's guarantee holds towards the host too, if that port still has so much to give. */
static void rates(struct egress_queue *e, uint64_t guarantee, int64_t now)
{
    const struct port *p = e->queue.port;
    bool fits = !p->config.rate_bps || p->guaranteed_bps + guarantee <= p->config.rate_bps;
    queue_set_rates(&e->queue, fits ? guarantee : 0, 0, now);
}

struct egress_queue *egress_get(struct lane_node *n, struct egress_queue **list, const struct lane_rx *r, uint16_t out)
{
    struct egress_queue *e = find(*list, out);
    struct port *p = lane_port(n, out);
    if (e)
        return e;
    if (!p || p->config.kind != PORT_ACCESS || !n->egress_spare)
        return NULL;
    e = n->egress_spare;
    n->egress_spare = e->next;
    *e = (struct egress_queue){.out = out, .next = *list, .stuck_sent = UINT64_MAX};
    *list = e;
    queue_init(&e->queue, p, (enum lane_class)r->class_);
    e->queue.tenant = r->tenant;
    rates(e, r->inner->want.guarantee_bps, n->now);
    return e;
}

struct queue *lane_egress_queue(struct lane_node *n, struct lane_rx *r, uint16_t out)
{
    bool there = find(r->inner->egress, out);
    struct egress_queue *e = egress_get(n, &r->inner->egress, r, out);
    if (e && !there && r->inner->waiting)
        queue_hold(&e->queue);
    return e ? &e->queue : NULL;
}

void egress_free(struct lane_node *n, struct egress_queue *e, int64_t now)
{
    queue_flush(&e->queue, LOSS_CUT, now);
    queue_set_rates(&e->queue, 0, 0, now);
    e->next = n->egress_spare;
    n->egress_spare = e;
}

/* What waits in `behind`, a held queue of the same port, comes after what `q` has. */
static void append(struct queue *q, struct queue *behind)
{
    if (!behind->head)
        return;
    packet_meta(q->tail)->next = behind->head;
    q->tail = behind->tail;
    q->packets += behind->packets;
    q->cells += behind->cells;
    q->bytes += behind->bytes;
    q->peak_cells = q->cells > q->peak_cells ? q->cells : q->peak_cells;
    behind->head = behind->tail = NULL;
    behind->packets = behind->cells = 0;
    behind->bytes = 0;
}

/* `to` comes after `from`: it takes over the queues of its ports, with what they still hold. */
void egress_inherit(struct lane_rx *to, struct lane_rx *from, int64_t now)
{
    struct lane_node *n = to->inner->link->node;
    while (from->inner->egress) {
        struct egress_queue *e = from->inner->egress, *mine = find(to->inner->egress, e->out);
        from->inner->egress = e->next;
        if (mine && !e->queue.head) {
            egress_free(n, e, now);
            continue;
        }
        if (mine) {
            append(&e->queue, &mine->queue);
            struct egress_queue **at = &to->inner->egress;
            while (*at != mine)
                at = &(*at)->next;
            *at = mine->next;
            egress_free(n, mine, now);
        }
        e->next = to->inner->egress;
        to->inner->egress = e;
    }
}

void egress_wake(struct lane_rx *r, int64_t now)
{
    for (struct egress_queue *e = r->inner->egress; e; e = e->next)
        if (e->queue.state == QUEUE_HELD)
            queue_wake(&e->queue, now);
}
