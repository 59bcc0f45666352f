/* Lost packets get names.
 *
 * The receiver of a link knows exactly how many cells are missing, in which lane, and when; the sender knows which packets
 * they were. So each gap is recorded by the receiver (cells, no packets) and reported: numbered, repeated until acknowledged
 * (a number in every CREDIT), dealt with in order and once. The sender records each packet of it (packets, no cells) with its
 * flow. Reports outlive sessions as long as neither router restarts. */
#include "lane/lane_inner.h"

/* --- the receiver of the link tells -------------------------------------------------------------------------- */

void report_push(struct lane_link *l, const struct lane_gap *g)
{
    for (uint64_t i = l->gap_first; g->kind != LANE_GAP_LINK && i < l->gap_next; i++) {
        const struct lane_gap *had = &l->gaps[i % LINK_GAPS];
        if (had->kind == g->kind && had->session == g->session && had->ref == g->ref)
            return; /* the answer is on its way */
    }
    if (l->gap_next - l->gap_first == LINK_GAPS) {
        l->unreported_gaps++; /* its cells are recorded here all the same */
        return;
    }
    l->gaps[l->gap_next++ % LINK_GAPS] = *g;
}

void report_gap(struct lane_rx *r, uint64_t first, uint64_t cells, int64_t now)
{
    struct lane_rx_inner *x = r->inner;
    loss_record(x->link->node->loss, &(struct loss_record){
                                         .at_ns = now,
                                         .lane = r->id,
                                         .tenant = r->tenant,
                                         .cells = (uint32_t)cells,
                                         .port = r->in_port,
                                         .reason = LOSS_LINK,
                                         .class_ = r->class_,
                                     });
    report_push(x->link, &(struct lane_gap){
                             .session = x->session,
                             .ref = x->want.ref,
                             .kind = LANE_GAP_LINK,
                             .cells = (uint32_t)cells,
                             .first = first,
                         });
}

static uint64_t frame_fill(struct lane_link *l, struct frame *f, uint64_t from)
{
    unsigned n = 0, most = (f->room - LANE_LOSS_SIZE) / LANE_LOSS_ENTRY;
    lane_loss_encode(f->body, from);
    for (; from < l->gap_next && n < most; from++)
        lane_gap_put(f->body, n++, &l->gaps[from % LINK_GAPS]);
    return from;
}

/* New ones at once, all of them again after a while. */
void report_flush(struct lane_link *l, int64_t now)
{
    if (l->state != LINK_UP || l->gap_first == l->gap_next)
        return;
    bool again = now >= l->gap_at;
    uint64_t at = again ? l->gap_first : l->gap_told;
    if (at >= l->gap_next)
        return;
    while (at < l->gap_next) {
        struct frame f;
        if (!frame_begin(&f, l, LANE_LOSS))
            break;
        uint64_t from = at;
        at = frame_fill(l, &f, at);
        frame_send(&f, LANE_LOSS, LANE_LOSS_SIZE + (uint32_t)(at - from) * LANE_LOSS_ENTRY, now);
    }
    l->gap_told = at;
    l->gap_at = now + link_rtt(l) * 3 / 2 + link_tell_ns(l) + NS_PER_MS;
    link_arm(l, l->gap_at);
}

void report_acknowledged(struct lane_link *l, uint64_t below)
{
    if (below <= l->gap_first || below > l->gap_next)
        return;
    l->gap_first = below;
    if (l->gap_told < below)
        l->gap_told = below;
}

/* --- the sender names ---------------------------------------------------------------------------------------- */

static void packet_lost(struct lane_tx *t, const struct history_packet *p, int reason, int64_t now)
{
    struct lane_link *l = tx_link(t);
    loss_record(l->node->loss, &(struct loss_record){
                                   .at_ns = now,
                                   .flow = p->flow,
                                   .lane = t->id,
                                   .tenant = t->queue.tenant,
                                   .packets = 1,
                                   .port = l->port->index,
                                   .reason = (uint8_t)reason,
                                   .class_ = t->queue.class_,
                               });
}

/* The history returns the newest of a range; what lies before is asked for until there is none. */
void report_name(struct lane_tx *t, uint64_t first, uint64_t cells, int reason, int64_t now)
{
    struct lane_link *l = tx_link(t);
    struct history_packet found[64];
    while (cells) {
        uint32_t ask = cells > CREDIT_WINDOW_MOST ? CREDIT_WINDOW_MOST : (uint32_t)cells;
        unsigned n = history_find(l->wire.history, (uint16_t)t->slot, (uint32_t)first, ask, found, 64);
        if (!n)
            break;
        uint64_t named = 0;
        for (unsigned i = 0; i < n; i++) {
            packet_lost(t, &found[i], reason, now);
            named += found[i].cells;
        }
        uint32_t before = found[0].cell - (uint32_t)first;
        if ((int32_t)before < 0)
            before = 0;
        if (before + named < cells && n < 64)
            l->unnamed_cells += cells - before - named; /* newer than the newest that is known: cannot be */
        cells = before;
    }
    l->unnamed_cells += cells;
}

void report_received(struct lane_link *l, const uint8_t *body, uint32_t len, int64_t now)
{
    uint64_t first;
    unsigned n;
    if (lane_loss_decode(&first, &n, body, len) != 0)
        return;
    for (unsigned i = 0; i < n; i++) {
        struct lane_gap g;
        if (first + i != l->losses_done)
            continue; /* before: dealt with; beyond: an earlier frame is missing, and will come again */
        lane_gap_get(&g, body, i);
        l->losses_done++;
        tx_name(l, &g, now);
    }
    l->losses_tell = true;
}
