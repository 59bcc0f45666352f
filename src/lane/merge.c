#include "lane/merge.h"

#include "lane/lane_inner.h"

struct queue *lane_merge_queue(struct lane_node *n, struct lane_merge *g, struct lane_rx *like, uint16_t out)
{
    struct egress_queue *e = egress_get(n, &g->egress, like, out);
    return e ? &e->queue : NULL;
}

int64_t lane_merge_poll(struct lane_node *n, struct lane_merge *g, uint64_t lane, int64_t now)
{
    return watchdog_egress(n, g->egress, lane, now);
}

bool lane_merge_empty(const struct lane_merge *g)
{
    for (const struct egress_queue *e = g->egress; e; e = e->next)
        if (e->queue.head)
            return false;
    return true;
}

void lane_merge_done(struct lane_node *n, struct lane_merge *g, int64_t now)
{
    while (g->egress) {
        struct egress_queue *e = g->egress;
        g->egress = e->next;
        egress_free(n, e, now);
    }
}
