/* What priority pause between routers does, which is why lanes exist (clause L1): a flow to a free port stands still behind
 * one to a full port, and three routers in a ring stop for ever. Real ports over links with a delay; time is counted. */
#include "base/bytes.h"
#include "base/test.h"
#include "lane/testing_port.h"
#include "wire/ip.h"

enum { ROUTERS = 3, FLIGHT = 512, LEN = 1226 };
#define GBIT  1000000000ull
#define DELAY 5000 /* ns of each link */

/* Port 0 receives from the router before, port 1 sends to the next one, port 2 and 3 have hosts. */
enum { FROM, TO, HOST, HOST2 };

struct flying {
    struct rte_mbuf *m;
    int64_t at;
};

struct wire {
    struct flying fly[FLIGHT];
    unsigned head, n;
};

/* A ring of routers; `forward` and `back` of each one's link to the next. Packets say by their number where they go: the
 * low byte is the hops that are left, the next one the host port at the end. */
struct ring {
    struct testing_port *router[ROUTERS];
    struct wire forward[ROUTERS], back[ROUTERS];
    uint64_t arrived[ROUTERS][4];
    int64_t now;
};

static void fly(struct wire *w, struct rte_mbuf *m, int64_t at)
{
    assert_true(w->n < FLIGHT);
    w->fly[(w->head + w->n++) % FLIGHT] = (struct flying){m, at};
}

static void ring_init(struct ring *g, unsigned routers, uint64_t host_bps, uint64_t host2_bps)
{
    memset(g, 0, sizeof *g);
    struct port_config c = {.mtu = 1500, .rate_bps = 10 * GBIT};
    c.lossy = (struct queue_limits){.pfc_xoff_cells = 40, .pfc_xon_cells = 20, .drop_cells = 80};
    for (unsigned i = 0; i < routers; i++) {
        g->router[i] = testing_port_create(1024, 128, 2, &c, LANE_MODE_PFC);
        struct port_config h = c;
        h.kind = PORT_ACCESS;
        h.rate_bps = host_bps;
        port_init(&g->router[i]->port[HOST], &g->router[i]->set, NULL, HOST, &h, 0);
        h.rate_bps = host2_bps;
        port_init(&g->router[i]->port[HOST2], &g->router[i]->set, NULL, HOST2, &h, 0);
    }
}

/* As the pipeline does: account, choose the queue, enqueue. */
static void receive(struct ring *g, unsigned i, unsigned in, struct rte_mbuf *m)
{
    struct testing_port *r = g->router[i];
    packet_meta(m)->class_ = LANE_PARAMETER;
    packet_meta(m)->in_port = (uint16_t)in;
    if (port_account_arrival(&r->port[in], m, g->now) != 0)
        return;
    uint64_t where = testing_packet_number(m), hops = where & 0xff;
    unsigned out = hops ? TO : (unsigned)(where >> 8);
    where -= hops ? 1 : 0;
    memcpy(packet_at(m, TESTING_OPTION + 8), &where, sizeof where);
    port_enqueue(&r->port[out], port_lossy_queue(&r->port[out], LANE_PARAMETER), m, g->now);
}

static struct rte_mbuf *copy(struct testing_port *to, struct rte_mbuf *m)
{
    struct rte_mbuf *c = testing_mbuf_sized(to->slab, m->pkt_len);
    assert_non_null(c);
    memcpy(packet_at(c, 0), packet_at(m, 0), m->data_len < c->data_len ? m->data_len : c->data_len);
    return c;
}

static void land(struct ring *g, struct wire *w, unsigned at, unsigned port)
{
    while (w->n > 0 && w->fly[w->head].at <= g->now) {
        struct rte_mbuf *m = w->fly[w->head].m;
        struct testing_port *r = g->router[at];
        w->head = (w->head + 1) % FLIGHT;
        w->n--;
        const uint8_t *frame = packet_at(m, 0);
        if (bytes_get_be16(frame + ETHER_TYPE) == ETHER_MAC_CONTROL) {
            port_pfc_received(&r->port[port], frame + ETHER_SIZE, m->data_len - ETHER_SIZE, g->now);
            testing_mbuf_free(r->slab, m);
        } else {
            receive(g, at, port, m);
        }
    }
}

static void transmit(struct ring *g, unsigned i, unsigned port, struct wire *w, unsigned peer)
{
    struct rte_mbuf *m[8];
    struct port *p = &g->router[i]->port[port];
    unsigned n = port_dequeue(p, m, 8, g->now);
    for (unsigned k = 0; k < n; k++)
        if (w)
            fly(w, copy(g->router[peer], m[k]), g->now + DELAY);
        else
            g->arrived[i][port]++;
    port_sent(p, m, n, g->now);
}

static void pass(struct ring *g, unsigned routers, int64_t ns)
{
    for (unsigned i = 0; i < routers; i++) {
        unsigned next = (i + 1) % routers;
        land(g, &g->forward[i], next, FROM);
        land(g, &g->back[i], i, TO);
    }
    for (unsigned i = 0; i < routers; i++) {
        unsigned next = (i + 1) % routers, before = (i + routers - 1) % routers;
        transmit(g, i, TO, &g->forward[i], next);
        transmit(g, i, FROM, &g->back[before], before);
        transmit(g, i, HOST, NULL, 0);
        transmit(g, i, HOST2, NULL, 0);
    }
    g->now += ns;
}

/* The host offers a packet whenever fewer than `most` of its own wait: what a host does that obeys its router. */
static void offer(struct ring *g, unsigned i, uint64_t where, unsigned most)
{
    struct queue *q = port_lossy_queue(&g->router[i]->port[TO], LANE_PARAMETER);
    if (q->packets < most)
        receive(g, i, HOST2, testing_packet(g->router[i], LEN, where));
}

static uint64_t lost(const struct ring *g, unsigned routers)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < routers; i++)
        n += g->router[i]->loss->packets[LOSS_TAIL];
    return n;
}

static void ring_end(struct ring *g, unsigned routers)
{
    for (unsigned i = 0; i < routers; i++)
        for (struct wire *w = &g->forward[i]; w <= &g->forward[i] + ROUTERS; w += ROUTERS)
            for (; w->n > 0; w->n--, w->head = (w->head + 1) % FLIGHT)
                testing_mbuf_free(g->router[w == &g->forward[i] ? (i + 1) % routers : i]->slab, w->fly[w->head].m);
    for (unsigned i = 0; i < routers; i++)
        assert_int_equal(testing_port_free(g->router[i]), 0);
}

/* Router 0 sends to two hosts of router 1: one takes 1 Gbit/s, the other 10. The free one gets no more than the slow one. */
static void a_full_port_stops_the_flow_to_a_free_one(void **state)
{
    (void)state;
    struct ring g;
    ring_init(&g, 2, GBIT, 10 * GBIT);
    while (g.now < 10000000) {
        offer(&g, 0, 1 | HOST << 8, 4);
        offer(&g, 0, 1 | HOST2 << 8, 4);
        pass(&g, 2, 500);
    }
    uint64_t slow = g.arrived[1][HOST], freely = g.arrived[1][HOST2];
    assert_in_range(slow, 990, 1001); /* 1 Gbit/s */
    assert_true(freely < slow + 100); /* of 9 Gbit/s that were free for it */
    assert_int_equal(lost(&g, 2), 0); /* lossless, at this price */
    assert_true(g.router[0]->port[TO].pfc.heard > 20);
    assert_true(g.router[1]->port[FROM].pfc.ingress_peak_cells <= 80);
    ring_end(&g, 2);
}

/* Every router sends to the host two hops on, through the next one. Hosts consume at once, yet every buffer waits for the
 * next: once the circle has closed nothing moves, also when nobody offers anything any more. */
static void a_ring_of_routers_stops_for_ever(void **state)
{
    (void)state;
    struct ring g;
    ring_init(&g, ROUTERS, 10 * GBIT, 10 * GBIT);
    while (g.now < 2000000) {
        for (unsigned i = 0; i < ROUTERS; i++)
            offer(&g, i, 2 | HOST << 8, 60);
        pass(&g, ROUTERS, 500);
    }
    uint64_t before[ROUTERS], waiting = 0;
    for (unsigned i = 0; i < ROUTERS; i++)
        before[i] = g.arrived[i][HOST];
    while (g.now < 20000000)
        pass(&g, ROUTERS, 500);
    for (unsigned i = 0; i < ROUTERS; i++) {
        assert_true(before[i] > 0); /* it did work for a while */
        assert_int_equal(g.arrived[i][HOST], before[i]);
        assert_int_equal(port_lossy_queue(&g.router[i]->port[TO], LANE_PARAMETER)->state, QUEUE_PAUSED);
        waiting += port_lossy_queue(&g.router[i]->port[TO], LANE_PARAMETER)->packets;
    }
    assert_true(waiting > 3 * 40);
    assert_int_equal(lost(&g, ROUTERS), 0);
    ring_end(&g, ROUTERS);
}

/* The same routers with one flow less have no circle, and never stop. */
static void without_a_circle_nothing_stops(void **state)
{
    (void)state;
    struct ring g;
    ring_init(&g, ROUTERS, 10 * GBIT, 10 * GBIT);
    uint64_t before[ROUTERS] = {0};
    while (g.now < 20000000) {
        for (unsigned i = 0; i + 1 < ROUTERS; i++)
            offer(&g, i, 2 | HOST << 8, 60);
        pass(&g, ROUTERS, 500);
        if (g.now % 2000000 == 0)
            for (unsigned i = 0; i + 1 < ROUTERS; i++) {
                unsigned at = (i + 2) % ROUTERS;
                assert_true(g.arrived[at][HOST] > before[at] + 100);
                before[at] = g.arrived[at][HOST];
            }
    }
    ring_end(&g, ROUTERS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_port_stops_the_flow_to_a_free_one),
        cmocka_unit_test(a_ring_of_routers_stops_for_ever),
        cmocka_unit_test(without_a_circle_nothing_stops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
