/* Lanes are opened and closed hop by hop along their strict path, and nobody else is asked.
 *
 * OPEN runs downstream. Each router looks up where its SID leads, admits the lane (its least window out of the pool, its
 * guarantee out of the next link's rate), tells its own index and opens the next hop. That the egress has accepted runs
 * upstream again, as a flag of ACCEPT. A refusal, with its reason and place, runs upstream and leaves nothing behind. OPEN is
 * repeated: first until it is answered, then as the refresh without which a lane ends after three seconds. */
#include "lane/lane_inner.h"

/* --- out ----------------------------------------------------------------------------------------------------- */

void signal_open_send(struct lane_tx *t, int64_t now)
{
    struct frame f;
    if (frame_begin(&f, tx_link(t), LANE_OPEN))
        frame_send(&f, LANE_OPEN, lane_open_encode(f.body, &t->inner->want), now);
}

static uint8_t accept_flags(const struct lane_rx *r)
{
    const struct lane_rx_inner *x = r->inner;
    bool local = r->out_port == LANE_OUT_LOCAL;
    bool complete = local || (r->next && r->next->complete);
    bool released = x->want.move_of && (local ? !x->waiting : r->next && r->next->inner->released);
    return (uint8_t)((complete ? LANE_ACCEPT_COMPLETE : 0) | (released ? LANE_ACCEPT_RELEASED : 0));
}

void signal_accept_send(struct lane_rx *r, int64_t now)
{
    struct lane_rx_inner *x = r->inner;
    struct frame f;
    if (x->state != RX_LIVE || !frame_begin(&f, x->link, LANE_ACCEPT))
        return;
    lane_accept_encode(f.body, &(struct lane_accept){
                                   .id = r->id,
                                   .ref = x->want.ref,
                                   .index = r->index,
                                   .flags = accept_flags(r),
                                   .generation = r->credit.generation,
                                   .first = x->first,
                                   .limit = credit_advertise(&r->credit),
                               });
    frame_send(&f, LANE_ACCEPT, LANE_ACCEPT_SIZE, now);
}

static void refuse_send(struct lane_link *l, enum lane_frame_type type, const struct lane_refuse *r, int64_t now)
{
    struct frame f;
    if (!frame_begin(&f, l, type))
        return;
    lane_refuse_encode(f.body, r);
    frame_send(&f, type, LANE_REFUSE_SIZE, now);
}

void signal_down_send(struct lane_rx *r, int64_t now)
{
    const struct lane_rx_inner *x = r->inner;
    refuse_send(x->link, LANE_DOWN,
        &(struct lane_refuse){
            .id = r->id, .where = x->where, .ref = x->want.ref, .index = r->index, .reason = x->reason},
        now);
}

static void close_send(struct lane_link *l, const struct lane_close_frame *c, int64_t now)
{
    struct frame f;
    if (!frame_begin(&f, l, LANE_CLOSE))
        return;
    lane_close_encode(f.body, c);
    frame_send(&f, LANE_CLOSE, LANE_CLOSE_SIZE, now);
}

void signal_close_send(struct lane_tx *t, int64_t now)
{
    close_send(tx_link(t),
        &(struct lane_close_frame){
            .id = t->id,
            .sent = t->credit.sent,
            .ref = (uint16_t)t->slot,
            .index = t->index,
            .flags = t->inner->discard ? LANE_CLOSE_DISCARD : 0,
        },
        now);
}

/* --- OPEN ---------------------------------------------------------------------------------------------------- */

/* What an earlier lane of that id has of the port's guarantees: it ends when the new one begins. */
static uint64_t guarantee_of(const struct lane_node *n, const struct port *p, uint64_t id)
{
    for (uint32_t i = 0; id && i < n->lanes; i++)
        if (n->tx_inner[i].state != TX_FREE && n->tx[i].id == id && n->tx[i].queue.port == p)
            return n->tx[i].queue.guarantee.rate_bps;
    return 0;
}

static bool rate_admits(const struct lane_node *n, const struct port *p, const struct lane_open_frame *o)
{
    uint64_t rate = p->config.rate_bps, had = guarantee_of(n, p, o->id);
    if (!had)
        had = guarantee_of(n, p, o->move_of);
    return !rate || o->guarantee_bps <= had || p->guaranteed_bps + o->guarantee_bps - had <= rate;
}

/* Opens the next hop. 0, or why not. */
static int behind(struct lane_rx *r, const struct lane_hop *hop, int64_t now)
{
    struct lane_link *in = r->inner->link;
    struct lane_node *n = in->node;
    struct lane_open_frame want = r->inner->want;
    unsigned at = want.at + (hop->sids_used ? hop->sids_used : 1);
    struct lane_link *out = hop->out_port < PORT_MOST ? n->link[hop->out_port] : NULL;
    if (!out || out == in || at >= want.n_sids)
        return LANE_REFUSED_NO_PATH;
    if (out->state != LINK_UP)
        return LANE_REFUSED_LINK_DOWN;
    want.at = (uint8_t)at;
    if (!rate_admits(n, out->port, &want))
        return LANE_REFUSED_RATE;
    r->next = tx_create(n, &want, hop->out_port, r, now);
    return r->next ? 0 : LANE_REFUSED_FULL;
}

static int admit(struct lane_link *l, const struct lane_open_frame *o, struct lane_rx **ret, int64_t now)
{
    struct lane_node *n = l->node;
    struct lane_hop hop = {0};
    if (o->class_ >= LANE_CLASSES)
        return LANE_REFUSED_FORM;
    if (n->draining)
        return LANE_REFUSED_LEAVING;
    if (n->above.resolve(n->above.user, o->sids, o->n_sids, o->at, &hop) != 0)
        return LANE_REFUSED_NO_PATH;
    struct lane_rx *r = rx_create(l, o);
    if (!r)
        return LANE_REFUSED_FULL;
    r->out_port = hop.out_port;
    r->vrf = hop.vrf;
    int refused = window_admit(l, r, now);
    if (!refused && hop.out_port != LANE_OUT_LOCAL)
        refused = behind(r, &hop, now);
    if (refused) {
        rx_free(r, now);
        return refused;
    }
    *ret = r;
    return 0;
}

static void open_received(struct lane_link *l, const uint8_t *body, uint32_t len, int64_t now)
{
    struct lane_open_frame o;
    if (lane_open_decode(&o, body, len) != 0)
        return;
    struct lane_rx *r = rx_find(l, o.id, o.ref);
    if (r && r->inner->state == RX_DEAD) {
        signal_down_send(r, now);
        return;
    }
    if (r) {
        r->inner->refreshed_ns = now;
        signal_accept_send(r, now);
        return;
    }
    int refused = admit(l, &o, &r, now);
    if (refused) {
        struct lane_refuse why = {
            .id = o.id, .where = l->node->config.router_id, .ref = o.ref, .reason = (uint8_t)refused};
        refuse_send(l, LANE_REFUSE, &why, now);
        return;
    }
    rx_arm(r, now + LANE_EXPIRE_NS);
    if (r->out_port == LANE_OUT_LOCAL)
        move_attach(r, now);
    signal_accept_send(r, now);
}

/* --- answers ------------------------------------------------------------------------------------------------- */

/* A lane that we know nothing of any more. */
static void unknown(struct lane_link *l, uint64_t id, uint16_t ref, uint16_t index, uint64_t sent, int64_t now)
{
    struct lane_close_frame c = {.id = id, .sent = sent, .ref = ref, .index = index, .flags = LANE_CLOSE_DISCARD};
    close_send(l, &c, now);
}

static void accept_received(struct lane_link *l, const uint8_t *body, uint32_t len, int64_t now)
{
    struct lane_accept a;
    if (lane_accept_decode(&a, body, len) != 0)
        return;
    struct lane_tx *t = tx_of(l, a.ref);
    if (t && t->id == a.id)
        tx_opened(t, &a, now);
    else
        unknown(l, a.id, a.ref, a.index, a.first, now);
}

static void refuse_received(struct lane_link *l, const uint8_t *body, uint32_t len, int64_t now)
{
    struct lane_refuse r;
    if (lane_refuse_decode(&r, body, len) != 0)
        return;
    struct lane_tx *t = tx_of(l, r.ref);
    if (!t || t->id != r.id || t->complete || t->inner->state > TX_OPEN || t->credit.sent != t->inner->known)
        return;
    struct lane_rx *from = t->from;
    t->from = NULL;
    tx_refused(t, &r, now);
    if (!from)
        return;
    struct lane_refuse up = {.id = r.id, .where = r.where, .ref = from->inner->want.ref, .reason = r.reason};
    refuse_send(from->inner->link, LANE_REFUSE, &up, now);
    from->next = NULL;
    rx_closed(from, from->credit.arrived, true, now);
    rx_freed(from, now);
}

static void down_received(struct lane_link *l, const uint8_t *body, uint32_t len, int64_t now)
{
    struct lane_refuse r;
    if (lane_refuse_decode(&r, body, len) != 0)
        return;
    struct lane_tx *t = tx_of(l, r.ref);
    if (!t || t->id != r.id || t->inner->state == TX_OPENING)
        unknown(l, r.id, r.ref, r.index, 0, now);
    else if (t->index == r.index && r.reason == LANE_REFUSED_LEAVING)
        leave_asked(t, r.where, now);
    else if (t->index == r.index)
        tx_cut(t, r.reason, r.where, true, now);
}

static void close_received(struct lane_link *l, const uint8_t *body, uint32_t len, int64_t now)
{
    struct lane_close_frame c;
    struct frame f;
    if (lane_close_decode(&c, body, len) != 0)
        return;
    struct lane_rx *r = rx_find(l, c.id, c.ref);
    l->node->closed_ns = now;
    if (r && r->index == c.index)
        rx_closed(r, c.sent, c.flags & LANE_CLOSE_DISCARD, now);
    if (!frame_begin(&f, l, LANE_CLOSED))
        return;
    lane_closed_encode(
        f.body, &(struct lane_closed){.id = c.id, .ref = c.ref, .index = c.index, .losses = l->gap_next});
    frame_send(&f, LANE_CLOSED, LANE_CLOSED_SIZE, now);
}

static void closed_received(struct lane_link *l, const uint8_t *body, uint32_t len, int64_t now)
{
    struct lane_closed c;
    if (lane_closed_decode(&c, body, len) != 0)
        return;
    struct lane_tx *t = tx_of(l, c.ref);
    if (!t || t->id != c.id || t->inner->state != TX_CLOSING || t->index != c.index)
        return;
    t->inner->state = TX_LINGER;
    t->inner->linger = c.losses;
    t->inner->give_up_at = now + LANE_EXPIRE_NS;
    tx_arm(t, now);
}

void signal_received(struct lane_link *l, uint8_t type, const uint8_t *body, uint32_t len, int64_t now)
{
    static void (*const by_type[LANE_TYPE_END])(struct lane_link *, const uint8_t *, uint32_t, int64_t) = {
        [LANE_OPEN] = open_received,
        [LANE_ACCEPT] = accept_received,
        [LANE_REFUSE] = refuse_received,
        [LANE_DOWN] = down_received,
        [LANE_CLOSE] = close_received,
        [LANE_CLOSED] = closed_received,
    };
    if (type < LANE_TYPE_END && by_type[type])
        by_type[type](l, body, len, now);
}
