#include "forward/leave.h"

void leave_dropped(struct forward *f, struct rte_mbuf *m, uint16_t port, enum loss_reason reason, int64_t now)
{
    const struct packet_meta *meta = packet_meta(m);
    if (port < LANE_PORTS_MOST && f->ports[port].port) {
        port_drop(f->ports[port].port, m, (int)reason, now);
        return;
    }
    struct loss_record r = {
        .at_ns = now,
        .flow = meta->flow,
        .lane = meta->from ? meta->from->id : 0,
        .tenant = meta->tenant,
        .cells = packet_cells(m->pkt_len),
        .packets = 1,
        .port = UINT16_MAX,
        .reason = (uint8_t)reason,
        .class_ = meta->class_,
    };
    loss_record(f->loss, &r);
    if (meta->from)
        lane_discard(meta->from, meta->cells);
    f->ops.free(f->ops.user, m);
}

/* A chain whose end is cut off: the segments that are left over go back. */
static void cut_chain(struct forward *f, struct rte_mbuf *m, uint32_t size)
{
    struct rte_mbuf *last = m;
    uint32_t before = 0;
    while (last->next && before + last->data_len < size) {
        before += last->data_len;
        last = last->next;
    }
    struct rte_mbuf *rest = last->next;
    if (size - before < last->data_len)
        last->data_len = (uint16_t)(size - before);
    last->next = NULL;
    unsigned n = 0;
    for (struct rte_mbuf *s = rest; s; s = s->next)
        n++;
    m->nb_segs = (uint16_t)(m->nb_segs - n);
    if (rest) {
        rest->nb_segs = (uint16_t)n;
        f->ops.free(f->ops.user, rest);
    }
}

void leave_out_tail(struct forward *f, struct rte_mbuf *m, uint32_t size)
{
    if (m->nb_segs > 1)
        cut_chain(f, m, size);
    else if (m->data_len > size)
        m->data_len = (uint16_t)size;
    m->pkt_len = size;
}
