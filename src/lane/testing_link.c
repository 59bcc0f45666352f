#include "lane/testing_link.h"

#include "lane/lane_inner.h"

#include <stdarg.h>

enum { OPTION = ETHER_SIZE, FLOW = 22, SEQUENCE = 30, MARKER = 38, HEADER = 39 };

enum what { ARRIVES, SENT };

struct testing_frame {
    int64_t at;
    uint64_t order;
    enum what what;
    uint32_t node, incarnation;
    uint16_t port;
    struct rte_mbuf *m;
};

__attribute__((noreturn, format(printf, 2, 3))) static void fail(const struct testing_net *net, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fprintf(stderr, "seed %llu, %lld ns: ", (unsigned long long)net->seed, (long long)net->now);
    vfprintf(stderr, fmt, ap);
    fprintf(stderr, "\n");
    va_end(ap);
    abort();
}

static double chance(struct testing_net *net)
{
    return rng_uniform(net->seed, net->drawn++);
}

/* --- what is under way --------------------------------------------------------------------------------------- */

static bool before(const struct testing_frame *a, const struct testing_frame *b)
{
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void heap_push(struct testing_net *net, struct testing_frame f)
{
    if (net->n_heap == net->heap_most) {
        net->heap_most = net->heap_most ? 2 * net->heap_most : 1024;
        net->heap = realloc(net->heap, net->heap_most * sizeof *net->heap);
        if (!net->heap)
            fail(net, "no memory");
    }
    f.order = net->order++;
    unsigned i = net->n_heap++;
    for (; i && before(&f, &net->heap[(i - 1) / 2]); i = (i - 1) / 2)
        net->heap[i] = net->heap[(i - 1) / 2];
    net->heap[i] = f;
}

static struct testing_frame heap_pop(struct testing_net *net)
{
    struct testing_frame top = net->heap[0], last = net->heap[--net->n_heap];
    unsigned i = 0;
    for (;;) {
        unsigned c = 2 * i + 1;
        if (c >= net->n_heap)
            break;
        if (c + 1 < net->n_heap && before(&net->heap[c + 1], &net->heap[c]))
            c++;
        if (!before(&net->heap[c], &last))
            break;
        net->heap[i] = net->heap[c];
        i = c;
    }
    if (net->n_heap)
        net->heap[i] = last;
    return top;
}

static struct rte_mbuf *copy(struct testing_net *net, struct rte_mbuf *m)
{
    struct rte_mbuf *c = testing_mbuf_alloc(net->slab);
    if (!c)
        fail(net, "no mbuf left of %u", net->slab->count);
    c->pkt_len = m->pkt_len;
    c->data_len = m->data_len;
    memcpy(packet_at(c, 0), packet_at(m, 0), m->data_len);
    return c;
}

/* --- a node's surroundings ----------------------------------------------------------------------------------- */

static struct rte_mbuf *node_alloc(void *user)
{
    return testing_mbuf_alloc(((struct testing_node *)user)->net->slab);
}

static void node_mbuf_free(void *user, struct rte_mbuf *m)
{
    testing_mbuf_free(((struct testing_node *)user)->net->slab, m);
}

/* A SID: fc, node, 1 (to the router at the port …) or 2 (here, in VRF …), number. */
static int node_resolve(void *user, const struct ip6 *sids, unsigned n, unsigned at, struct lane_hop *ret)
{
    const struct testing_node *node = user;
    const struct ip6 *s = &sids[at];
    if (node->no_sids || s->b[0] != 0xfc || s->b[1] != node->id || (s->b[2] == 2 && at + 1 != n))
        return -ENOENT;
    *ret = (struct lane_hop){.out_port = s->b[2] == 2 ? LANE_OUT_LOCAL : s->b[3], .vrf = s->b[2] == 2 ? s->b[3] : 0};
    return 0;
}

static void node_event(void *user, const struct lane_event *e)
{
    struct testing_node *node = user;
    node->event[node->n_events++ % TESTING_EVENTS] = *e;
    node->of_kind[e->kind]++;
    for (unsigned i = 0; i < node->net->n_flows; i++) {
        struct testing_flow *f = &node->net->flow[i];
        if (f->tx && f->node == node->id && (e->kind == LANE_EVENT_MOVED || e->kind == LANE_EVENT_MOVE_REVERTED))
            f->tx = lane_ingress(f->tx);
        if (f->tx && f->node == node->id && e->kind == LANE_EVENT_LEAVING && f->tx->id == e->lane && f->backup[0])
            testing_flow_move(node->net, i, f->backup);
    }
}

static uint64_t node_random(void *user)
{
    struct testing_net *net = ((struct testing_node *)user)->net;
    return rng_u64(~net->seed, net->drawn++);
}

static struct rte_mbuf *node_marker(void *user, struct lane_tx *t)
{
    struct testing_node *node = user;
    (void)t;
    struct rte_mbuf *m = node->no_markers ? NULL : testing_mbuf_sized(node->net->slab, 64);
    if (!m)
        return NULL;
    bytes_put_be16(packet_at(m, ETHER_TYPE), ETHER_IP6);
    *packet_at(m, MARKER) = 1;
    packet_meta(m)->lane_option = OPTION;
    return m;
}

static void node_start(struct testing_net *net, struct testing_node *node)
{
    struct error err = {""};
    struct lane_above above = {node, node_alloc, node_mbuf_free, node_resolve, node_event, node_random, node_marker};
    if (lane_node_create(&node->lanes, &node->config, &above, &err) != 0)
        fail(net, "%s", err.text);
    struct port_config host = {.kind = PORT_ACCESS, .rate_bps = 0, .mtu = 9000};
    if (lane_port_add(node->lanes, TESTING_HOST_PORT, &host, &err) != 0)
        fail(net, "%s", err.text);
    for (unsigned i = 0; i < net->n_links; i++)
        for (unsigned side = 0; side < 2; side++)
            if (net->link[i].node[side] == node->id &&
                lane_port_add(node->lanes, net->link[i].port[side], &net->port[i][side], &err) != 0)
                fail(net, "%s", err.text);
}

unsigned testing_net_mbufs = 16384;

struct testing_net *testing_net_create(uint64_t seed, unsigned flows_most)
{
    struct testing_net *net = calloc(1, sizeof *net);
    net->seed = seed;
    net->now = NS_PER_S;
    net->slab = testing_mbufs_create(testing_net_mbufs, 1500);
    net->slab->poison = false;
    net->flow = calloc(flows_most, sizeof *net->flow);
    net->flows_most = flows_most;
    return net;
}

void testing_net_free(struct testing_net *net)
{
    for (unsigned i = 1; i <= TESTING_NODES; i++)
        lane_node_free(net->node[i].lanes);
    while (net->n_heap)
        testing_mbuf_free(net->slab, heap_pop(net).m);
    if (net->slab->used)
        fail(net, "%u mbufs leaked", net->slab->used);
    testing_mbufs_free(net->slab);
    free(net->heap);
    free(net->flow);
    free(net);
}

struct testing_node *testing_node_add(struct testing_net *net, uint32_t id, const struct lane_node_config *c)
{
    struct testing_node *node = &net->node[id];
    node->net = net;
    node->id = id;
    if (c)
        node->config = *c;
    node->config.router_id = id;
    memset(node->config.identity, (int)id, 32);
    if (!node->config.lanes_most)
        node->config.lanes_most = 12;
    node_start(net, node);
    return node;
}

struct testing_link *testing_link_add(struct testing_net *net, uint32_t a, uint16_t port_a, uint32_t b, uint16_t port_b,
    int64_t delay_ns, const struct port_config *c)
{
    unsigned i = net->n_links++;
    struct testing_link *l = &net->link[i];
    *l = (struct testing_link){.node = {a, b}, .port = {port_a, port_b}, .delay_ns = delay_ns};
    for (unsigned side = 0; side < 2; side++) {
        struct error err = {""};
        net->port[i][side] = *c;
        net->port[i][side].kind = PORT_CORE;
        memset(net->port[i][side].mac, (int)(l->node[side] * 16 + l->port[side]), 6);
        if (lane_port_add(net->node[l->node[side]].lanes, l->port[side], &net->port[i][side], &err) != 0)
            fail(net, "%s", err.text);
    }
    return l;
}

struct testing_net *testing_chain(
    uint64_t seed, unsigned n, const struct lane_node_config *c, int64_t delay_ns, const struct port_config *port)
{
    struct testing_net *net = testing_net_create(seed, 16);
    for (uint32_t i = 1; i <= n; i++)
        testing_node_add(net, i, c);
    for (uint32_t i = 1; i < n; i++)
        testing_link_add(net, i, 1, i + 1, 0, delay_ns, port);
    return net;
}

static uint16_t port_to(const struct testing_net *net, uint32_t from, uint32_t to)
{
    for (unsigned i = 0; i < net->n_links; i++)
        for (unsigned side = 0; side < 2; side++)
            if (net->link[i].node[side] == from && net->link[i].node[!side] == to)
                return net->link[i].port[side];
    fail(net, "no link from %u to %u", from, to);
}

void testing_spec(
    const struct testing_net *net, const struct testing_flow *f, const uint32_t *path, struct lane_spec *ret)
{
    *ret = (struct lane_spec){
        .tenant = f->tenant,
        .class_ = f->class_,
        .out_port = port_to(net, f->node, path[0]),
        .guarantee_bps = f->guarantee_bps,
        .rate_bps = f->rate_bps,
        .window_least = f->window_least,
    };
    for (unsigned i = 0; i < TESTING_PATH && path[i]; i++) {
        bool last = i + 1 == TESTING_PATH || !path[i + 1];
        struct ip6 *s = &ret->sids[ret->n_sids++];
        s->b[0] = 0xfc;
        s->b[1] = (uint8_t)path[i];
        s->b[2] = last ? 2 : 1;
        s->b[3] = last ? 7 : (uint8_t)port_to(net, path[i], path[i + 1]);
    }
}

static void flow_open(struct testing_net *net, struct testing_flow *f)
{
    struct lane_spec spec;
    struct error err = {""};
    testing_spec(net, f, f->path, &spec);
    if (lane_open(net->node[f->node].lanes, &spec, net->now, &f->tx, &err) != 0)
        fail(net, "%s", err.text);
    f->lane = f->tx->id;
}

unsigned testing_flow_add(struct testing_net *net, const struct testing_flow *flow)
{
    if (net->n_flows == net->flows_most)
        fail(net, "more than %u flows", net->flows_most);
    struct testing_flow *f = &net->flow[net->n_flows];
    *f = *flow;
    f->due = net->now;
    if (!f->manual)
        flow_open(net, f);
    return net->n_flows++;
}

void testing_flow_move(struct testing_net *net, unsigned flow, const uint32_t *path)
{
    struct testing_flow *f = &net->flow[flow];
    struct lane_spec spec;
    struct lane_tx *t;
    struct error err = {""};
    testing_spec(net, f, path, &spec);
    if (lane_move(net->node[f->node].lanes, f->tx, &spec, net->now, &t, &err) != 0)
        fail(net, "%s", err.text);
}

/* --- frames -------------------------------------------------------------------------------------------------- */

static void delivered(struct testing_net *net, struct testing_node *node, struct rte_mbuf *m)
{
    uint64_t flow = bytes_get_be64(packet_at(m, FLOW)), seq = bytes_get_be64(packet_at(m, SEQUENCE));
    if (flow >= net->n_flows)
        fail(net, "node %u delivers a packet of no flow", node->id);
    struct testing_flow *f = &net->flow[flow];
    if (seq < f->next)
        fail(net, "flow %u: packet %llu delivered after %llu", (unsigned)flow, (unsigned long long)seq,
            (unsigned long long)f->next - 1);
    f->next = seq + 1;
    f->delivered++;
    f->delivered_bytes += m->pkt_len;
}

static void data_arrives(struct testing_net *net, struct testing_node *node, uint16_t port, struct rte_mbuf *m)
{
    int reason;
    uint32_t cells = packet_cells(m->pkt_len);
    struct lane_rx *r = lane_receive(node->lanes, port, packet_at(m, OPTION), cells, net->now, &reason);
    if (!r) {
        testing_mbuf_free(net->slab, m);
        return;
    }
    struct packet_meta *meta = packet_meta(m);
    meta->from = r;
    meta->cells = cells;
    meta->in_port = port;
    meta->lane_option = OPTION;
    meta->tenant = r->tenant;
    meta->class_ = r->class_;
    meta->flow = bytes_get_be64(packet_at(m, FLOW)) + 1;
    if (r->next) {
        port_enqueue(r->next->queue.port, &r->next->queue, m, net->now);
        return;
    }
    if (r->out_port != LANE_OUT_LOCAL)
        fail(net, "node %u: a packet whose lane leads nowhere", node->id);
    struct queue *q = NULL;
    if (*packet_at(m, MARKER))
        lane_marker(node->lanes, r, net->now);
    else
        q = lane_egress_queue(node->lanes, r, TESTING_HOST_PORT);
    if (q) {
        port_enqueue(q->port, q, m, net->now);
        return;
    }
    node->unreachable += !*packet_at(m, MARKER);
    lane_discard(r, cells);
    testing_mbuf_free(net->slab, m);
}

static void arrives(struct testing_net *net, struct testing_frame *f)
{
    struct testing_node *node = &net->node[f->node];
    if (bytes_get_be16(packet_at(f->m, ETHER_TYPE)) != ETHER_LANE) {
        data_arrives(net, node, f->port, f->m);
        return;
    }
    lane_frame(node->lanes, f->port, packet_at(f->m, ETHER_SIZE), f->m->pkt_len - ETHER_SIZE, net->now);
    testing_mbuf_free(net->slab, f->m);
}

static void put_on_wire(
    struct testing_net *net, struct testing_link *l, unsigned side, struct rte_mbuf *m, int64_t late)
{
    heap_push(net, (struct testing_frame){
                       .at = net->now + l->delay_ns + late,
                       .what = ARRIVES,
                       .node = l->node[!side],
                       .port = l->port[!side],
                       .m = copy(net, m),
                   });
}

static void forge(struct testing_net *net, struct testing_link *l, unsigned side, struct rte_mbuf *m)
{
    put_on_wire(net, l, side, m, 0);
    for (unsigned i = net->n_heap; i-- > 0;) { /* the copy is the newest entry */
        if (net->heap[i].order != net->order - 1)
            continue;
        uint32_t bit = rng_below(net->seed, net->drawn++, (m->pkt_len - ETHER_SIZE) * 8);
        *packet_at(net->heap[i].m, ETHER_SIZE + bit / 8) ^= (uint8_t)(1 << bit % 8);
        return;
    }
}

static void transmit(struct testing_net *net, struct testing_link *l, unsigned side, struct rte_mbuf *m)
{
    bool control = bytes_get_be16(packet_at(m, ETHER_TYPE)) == ETHER_LANE;
    const struct testing_impair *p = control ? &l->control : &l->data;
    if (control && net->forge > 0 && chance(net) < net->forge)
        forge(net, l, side, m);
    if (l->cut || (p->loss > 0 && chance(net) < p->loss)) {
        l->control_lost += control;
        l->lost[side] += !control && !*packet_at(m, MARKER);
        l->lost_cells[side] += control ? 0 : packet_cells(m->pkt_len);
        return;
    }
    int64_t late = 0;
    if (p->reorder > 0 && chance(net) < p->reorder) {
        late = (int64_t)(chance(net) * (double)p->reorder_ns);
        l->late[side] += !control;
    }
    put_on_wire(net, l, side, m, late);
    if (p->duplicate > 0 && chance(net) < p->duplicate)
        put_on_wire(net, l, side, m, (int64_t)(chance(net) * (double)p->reorder_ns));
    if (control && net->replay)
        put_on_wire(net, l, side, m, (int64_t)(chance(net) * 5 * NS_PER_MS));
}

static void sent(struct testing_net *net, struct testing_node *node, uint16_t port, struct rte_mbuf *m)
{
    if (!net->descriptor_ns) {
        port_sent(lane_port(node->lanes, port), &m, 1, net->now);
        return;
    }
    heap_push(net, (struct testing_frame){
                       .at = net->now + net->descriptor_ns,
                       .what = SENT,
                       .node = node->id,
                       .incarnation = node->incarnation,
                       .port = port,
                       .m = m,
                   });
}

static bool dequeue(struct testing_net *net, struct testing_node *node, uint16_t port)
{
    struct rte_mbuf *pkts[32];
    struct port *p = lane_port(node->lanes, port);
    if (port == TESTING_HOST_PORT && node->stalled)
        return false;
    unsigned n = port_dequeue(p, pkts, 32, net->now);
    for (unsigned i = 0; i < n; i++) {
        if (port == TESTING_HOST_PORT)
            delivered(net, node, pkts[i]);
        for (unsigned l = 0; l < net->n_links; l++)
            for (unsigned side = 0; side < 2; side++)
                if (net->link[l].node[side] == node->id && net->link[l].port[side] == port)
                    transmit(net, &net->link[l], side, pkts[i]);
        sent(net, node, port, pkts[i]);
    }
    return n;
}

/* --- sources ------------------------------------------------------------------------------------------------- */

static void offer(struct testing_net *net, unsigned flow)
{
    struct testing_flow *f = &net->flow[flow];
    struct rte_mbuf *m = testing_mbuf_sized(net->slab, f->size);
    if (!m)
        fail(net, "no mbuf left of %u", net->slab->count);
    bytes_put_be16(packet_at(m, ETHER_TYPE), ETHER_IP6);
    bytes_put_be64(packet_at(m, FLOW), flow);
    bytes_put_be64(packet_at(m, SEQUENCE), f->sent++);
    struct packet_meta *meta = packet_meta(m);
    meta->lane_option = OPTION;
    meta->tenant = f->tenant;
    meta->class_ = (uint8_t)f->class_;
    meta->flow = flow + 1;
    struct lane_tx *t = lane_ingress(f->tx);
    port_enqueue(t->queue.port, &t->queue, m, net->now);
}

static bool may_offer(const struct testing_net *net, const struct testing_flow *f)
{
    return f->tx && !f->off && (!f->most || f->sent < f->most) && (f->backlog || f->interval_ns) &&
           net->node[f->node].lanes;
}

static void sources(struct testing_net *net)
{
    for (unsigned i = 0; i < net->n_flows; i++) {
        struct testing_flow *f = &net->flow[i];
        while (may_offer(net, f) && f->backlog && lane_ingress(f->tx)->queue.packets < f->backlog)
            offer(net, i);
        if (!f->backlog && f->due < net->now - NS_PER_MS)
            f->due = net->now;
        while (may_offer(net, f) && !f->backlog && f->due <= net->now) {
            offer(net, i);
            f->due += f->interval_ns;
        }
    }
}

/* --- steps --------------------------------------------------------------------------------------------------- */

struct lane_rx *testing_rx(struct testing_net *net, uint32_t node, uint64_t lane)
{
    struct lane_node *n = net->node[node].lanes;
    for (uint32_t i = 0; i < n->lanes; i++)
        if (n->rx[i].live && n->rx[i].id == lane)
            return &n->rx[i];
    return NULL;
}

/* S - F of a lane: what is in flight and occupied together, seen from both ends at once. */
static void check_ends(const struct testing_net *net, const struct testing_link *l, unsigned side)
{
    const struct lane_node *a = net->node[l->node[side]].lanes, *b = net->node[l->node[!side]].lanes;
    if (!a || !b)
        return;
    const struct lane_link *out = a->link[l->port[side]], *in = b->link[l->port[!side]];
    if (out->state != LINK_UP || in->state != LINK_UP || out->session.id != in->session.id)
        return;
    for (uint32_t i = 0; i < a->lanes; i++) {
        const struct lane_tx *t = &a->tx[i];
        if (a->tx_inner[i].state == TX_FREE || t->wire != &out->wire || !t->open)
            continue;
        const struct lane_rx *r = &b->rx[t->index];
        if (!r->live || r->inner->link != in || r->inner->want.ref != i || r->inner->session != in->session.id)
            continue;
        if (t->credit.limit > r->credit.limit || t->credit.sent < r->credit.arrived ||
            t->credit.sent - r->credit.freed > r->inner->committed)
            fail(net, "lane %llx from %u to %u: S %llu of %llu, R %llu F %llu L %llu W %u committed %u",
                (unsigned long long)t->id, l->node[side], l->node[!side], (unsigned long long)t->credit.sent,
                (unsigned long long)t->credit.limit, (unsigned long long)r->credit.arrived,
                (unsigned long long)r->credit.freed, (unsigned long long)r->credit.limit, r->credit.window,
                r->inner->committed);
    }
    uint64_t window = in->port->config.link_window;
    if (window && out->wire.window.sent - in->accounted > window)
        fail(net, "link from %u to %u: %llu cells under way, the ring takes %llu", l->node[side], l->node[!side],
            (unsigned long long)(out->wire.window.sent - in->accounted), (unsigned long long)window);
}

static void check(struct testing_net *net)
{
    struct error err = {""};
    for (unsigned i = 1; i <= TESTING_NODES; i++) {
        const struct testing_node *node = &net->node[i];
        if (node->lanes && (net->deep ? lane_check_packets : lane_check)(node->lanes, &err) != 0)
            fail(net, "node %u: %s", i, err.text);
    }
    for (unsigned i = 0; i < net->n_links; i++)
        for (unsigned side = 0; side < 2; side++)
            check_ends(net, &net->link[i], side);
    if (testing_losses(net, LOSS_BEYOND_CREDIT))
        fail(net, "a packet came beyond credit");
    if (testing_losses(net, LOSS_UNKNOWN_LANE))
        fail(net, "a packet of an unknown lane");
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static uint64_t ports_of(const struct testing_node *node)
{
    return node->lanes->links | 1ull << TESTING_HOST_PORT;
}

static int64_t node_step(struct testing_net *net, struct testing_node *node)
{
    lane_awake(node->lanes, net->now - NS_PER_US); /* it looks all the time */
    int64_t next = lane_poll(node->lanes, net->now);
    bool more = true;
    while (more) {
        more = false;
        for (uint64_t left = ports_of(node); left; left &= left - 1)
            more |= dequeue(net, node, (uint16_t)__builtin_ctzll(left));
        int64_t again = lane_poll(node->lanes, net->now);
        next = least(next, again);
    }
    for (uint64_t left = ports_of(node); left; left &= left - 1) {
        unsigned p = (unsigned)__builtin_ctzll(left);
        if (p != TESTING_HOST_PORT || !node->stalled)
            next = least(next, port_next(lane_port(node->lanes, (uint16_t)p), net->now));
    }
    return next;
}

/* One moment: what is due now happens. Returns the next moment. */
static int64_t step(struct testing_net *net, int64_t end)
{
    while (net->n_heap && net->heap[0].at <= net->now) {
        struct testing_frame f = heap_pop(net);
        struct testing_node *node = &net->node[f.node];
        if (f.what == ARRIVES && node->lanes)
            arrives(net, &f);
        else if (f.what == SENT && node->incarnation == f.incarnation)
            port_sent(lane_port(node->lanes, f.port), &f.m, 1, net->now);
        else
            testing_mbuf_free(net->slab, f.m);
    }
    sources(net);
    int64_t next = end;
    for (unsigned i = 1; i <= TESTING_NODES; i++)
        if (net->node[i].lanes)
            next = least(next, node_step(net, &net->node[i]));
    if (!net->check_every || net->steps % net->check_every == 0)
        check(net);
    net->steps++;
    if (net->n_heap)
        next = least(next, net->heap[0].at);
    for (unsigned i = 0; i < net->n_flows; i++)
        if (may_offer(net, &net->flow[i]) && !net->flow[i].backlog)
            next = least(next, net->flow[i].due);
    return next > net->now ? next : net->now + 1;
}

void testing_net_run(struct testing_net *net, int64_t ns)
{
    int64_t end = net->now + ns;
    while (net->now < end)
        net->now = least(step(net, end), end);
}

bool testing_net_until(struct testing_net *net, unsigned flow, uint64_t delivered_, int64_t ns)
{
    int64_t end = net->now + ns;
    while (net->now < end && net->flow[flow].delivered < delivered_)
        net->now = least(step(net, end), end);
    return net->flow[flow].delivered >= delivered_;
}

bool testing_net_complete(struct testing_net *net, int64_t ns)
{
    int64_t end = net->now + ns;
    while (net->now < end) {
        bool all = true;
        for (unsigned i = 0; i < net->n_flows && all; i++)
            all = !net->flow[i].tx || lane_ingress(net->flow[i].tx)->complete;
        if (all)
            return true;
        net->now = least(step(net, end), end);
    }
    return false;
}

void testing_net_drain(struct testing_net *net, int64_t ns)
{
    for (unsigned i = 0; i < net->n_flows; i++)
        net->flow[i].off = true;
    testing_net_run(net, ns);
}

void testing_node_restart(struct testing_net *net, uint32_t id)
{
    struct testing_node *node = &net->node[id];
    lane_node_free(node->lanes);
    node->incarnation++;
    node_start(net, node);
    for (unsigned i = 0; i < net->n_flows; i++) {
        struct testing_flow *f = &net->flow[i];
        if (f->node == id && f->tx)
            flow_open(net, f);
    }
}

unsigned testing_frames_under_way(
    struct testing_net *net, uint32_t node, uint16_t port, uint8_t (*ret)[1400], uint32_t *ret_len, unsigned most)
{
    unsigned n = 0;
    for (unsigned i = 0; i < net->n_heap && n < most; i++) {
        const struct testing_frame *f = &net->heap[i];
        if (f->what != ARRIVES || f->node != node || f->port != port || f->order < net->seen_order ||
            bytes_get_be16(packet_at(f->m, ETHER_TYPE)) != ETHER_LANE)
            continue;
        ret_len[n] = f->m->pkt_len - ETHER_SIZE;
        memcpy(ret[n], packet_at(f->m, ETHER_SIZE), ret_len[n]);
        n++;
    }
    net->seen_order = net->order;
    return n;
}

bool testing_inject(
    struct testing_net *net, uint32_t node, uint16_t port, uint8_t type, const uint8_t *body, uint32_t len)
{
    uint8_t frame[LANE_FRAME_MOST];
    for (unsigned i = 0; i < net->n_links; i++)
        for (unsigned side = 0; side < 2; side++) {
            const struct testing_link *l = &net->link[i];
            if (l->node[side] != node || l->port[side] != port || len + 40 > sizeof frame)
                continue;
            struct lane_link *from = net->node[l->node[!side]].lanes->link[l->port[!side]];
            struct lane_header h = {.type = type, .length = (uint16_t)len, .epoch = from->session.own_epoch};
            h.seq = from->session.next_seq++;
            lane_header_encode(frame, &h);
            memcpy(frame + LANE_FRAME_HEADER, body, len);
            len += LANE_FRAME_HEADER;
            if (!from->session.id || seal_make(from->out, h.seq, frame, len, frame + len) != 0)
                return false;
            lane_frame(net->node[node].lanes, port, frame, len + LANE_FRAME_SEAL, net->now);
            return true;
        }
    return false;
}

void testing_node_alone(struct testing_net *net, uint32_t id, int64_t ns)
{
    struct testing_node *node = &net->node[id];
    net->now += ns;
    lane_poll(node->lanes, net->now);
    for (uint64_t left = ports_of(node); left; left &= left - 1) {
        struct port *p = lane_port(node->lanes, (uint16_t)__builtin_ctzll(left));
        struct rte_mbuf *pkts[32];
        for (unsigned n; (n = port_dequeue(p, pkts, 32, net->now));)
            port_sent(p, pkts, n, net->now);
    }
    struct error err = {""};
    if (lane_check_packets(node->lanes, &err) != 0)
        fail(net, "node %u: %s", id, err.text);
}

uint64_t testing_losses(const struct testing_net *net, enum loss_reason r)
{
    uint64_t sum = 0;
    for (unsigned i = 1; i <= TESTING_NODES; i++)
        if (net->node[i].lanes)
            sum += lane_loss(net->node[i].lanes)->packets[r];
    return sum;
}

uint64_t testing_loss_cells(const struct testing_net *net, enum loss_reason r)
{
    uint64_t sum = 0;
    for (unsigned i = 1; i <= TESTING_NODES; i++)
        if (net->node[i].lanes)
            sum += lane_loss(net->node[i].lanes)->cells[r];
    return sum;
}

unsigned testing_events(const struct testing_net *net, enum lane_event_kind k)
{
    unsigned sum = 0;
    for (unsigned i = 1; i <= TESTING_NODES; i++)
        sum += net->node[i].of_kind[k];
    return sum;
}

uint64_t testing_lost_on_purpose(const struct testing_net *net)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < net->n_links; i++)
        sum += net->link[i].lost[0] + net->link[i].lost[1];
    return sum;
}
