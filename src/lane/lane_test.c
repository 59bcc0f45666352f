/* Lanes begin, carry, wait and end: who may have what, and that nothing stays behind. testing_link.c checks after each step
 * what must hold of every node and between neighbours. */
#include "base/test.h"
#include "lane/lane_inner.h"
#include "lane/testing_link.h"

#include <errno.h>

#define GBPS 1000000000ull

static const struct port_config core = {.rate_bps = GBPS, .mtu = 1500, .pool_cells = 2048};

static const struct testing_flow full = {
    .node = 1, .path = {2, 3}, .tenant = 5, .class_ = LANE_PARAMETER, .size = 1514, .backlog = 64, .window_least = 8};

/* Packets of 1514 bytes that a 1 Gbit/s line carries. */
static uint64_t line_packets(int64_t ns)
{
    return GBPS / 8 * (uint64_t)ns / NS_PER_S / (1514 + QUEUE_WIRE_EXTRA);
}

static struct testing_net *chain(unsigned n)
{
    return testing_chain(1, n, NULL, 50 * NS_PER_US, &core);
}

static const struct lane_event *last_event(const struct testing_node *node, enum lane_event_kind kind)
{
    for (unsigned i = node->n_events; i-- > 0;)
        if (node->event[i % TESTING_EVENTS].kind == kind)
            return &node->event[i % TESTING_EVENTS];
    return NULL;
}

/* No lane, no committed cell, no guarantee is left anywhere but what the ports' own queues have. */
static void assert_nothing_left(const struct testing_net *net)
{
    for (unsigned i = 1; i <= TESTING_NODES; i++) {
        const struct lane_node *n = net->node[i].lanes;
        if (!n)
            continue;
        assert_int_equal(n->n_tx_spare, n->lanes);
        assert_int_equal(n->n_rx_spare, n->lanes);
        for (unsigned p = 0; p < PORT_MOST; p++) {
            if (!n->link[p])
                continue;
            assert_int_equal(n->link[p]->committed, 0);
            assert_int_equal(n->link[p]->least, 0);
            assert_int_equal(n->link[p]->port->guaranteed_bps, GBPS / 50);
        }
    }
}

/* --- begin and end ------------------------------------------------------------------------------------------- */

static void a_lane_opens_and_carries_in_order(void **state)
{
    (void)state;
    struct testing_net *net = chain(4);
    struct testing_flow far = full;
    far.path[2] = 4;
    unsigned f = testing_flow_add(net, &far);
    net->deep = true;
    net->descriptor_ns = 7 * NS_PER_US;
    assert_true(testing_net_complete(net, 50 * NS_PER_MS));
    assert_int_equal(net->node[1].of_kind[LANE_EVENT_OPEN], 1);
    testing_net_run(net, 20 * NS_PER_MS);
    testing_net_drain(net, 20 * NS_PER_MS);
    assert_int_equal(net->flow[f].delivered, net->flow[f].sent);
    assert_true(net->flow[f].delivered > line_packets(20 * NS_PER_MS) * 9 / 10);
    testing_net_free(net);
}

static void a_closed_lane_drains_and_leaves_nothing(void **state)
{
    (void)state;
    for (int lossy = 0; lossy < 2; lossy++) {
        struct testing_net *net = chain(3);
        unsigned f = testing_flow_add(net, &full);
        assert_true(testing_net_complete(net, 50 * NS_PER_MS));
        net->link[0].control.loss = net->link[1].control.loss = lossy ? 0.3 : 0;
        testing_net_run(net, 10 * NS_PER_MS);
        lane_close(net->node[1].lanes, net->flow[f].tx, true, net->now);
        net->flow[f].tx = NULL;
        testing_net_run(net, lossy ? 800 * NS_PER_MS : 60 * NS_PER_MS);
        assert_int_equal(net->flow[f].delivered, net->flow[f].sent);
        assert_nothing_left(net);
        testing_net_free(net);
    }
}

static void a_lane_closed_at_once_discards_and_counts(void **state)
{
    (void)state;
    struct testing_net *net = chain(3);
    unsigned f = testing_flow_add(net, &full);
    assert_true(testing_net_complete(net, 50 * NS_PER_MS));
    testing_net_run(net, 10 * NS_PER_MS);
    lane_close(net->node[1].lanes, net->flow[f].tx, false, net->now);
    net->flow[f].tx = NULL;
    testing_net_run(net, 100 * NS_PER_MS);
    assert_true(testing_losses(net, LOSS_CUT) > 0);
    assert_int_equal(net->flow[f].delivered + testing_losses(net, LOSS_CUT), net->flow[f].sent);
    assert_nothing_left(net);
    testing_net_free(net);
}

/* The ingress dies: its neighbour hears nothing more, and ends the lane behind what it still has. */
static void a_lane_whose_ingress_dies_ends(void **state)
{
    (void)state;
    struct testing_net *net = chain(4);
    struct testing_flow far = full;
    far.path[2] = 4;
    far.most = 100;
    unsigned f = testing_flow_add(net, &far);
    assert_true(testing_net_until(net, f, 100, NS_PER_S));
    net->flow[f].tx = NULL;
    lane_node_free(net->node[1].lanes);
    net->node[1].lanes = NULL;
    testing_net_run(net, 100 * NS_PER_MS);
    assert_int_equal(net->node[2].of_kind[LANE_EVENT_LINK_DOWN], 1);
    assert_nothing_left(net);
    testing_net_free(net);
}

/* An ingress that lives, and forgets to refresh. */
static void a_lane_that_is_not_refreshed_ends(void **state)
{
    (void)state;
    struct testing_net *net = chain(4);
    struct testing_flow far = full;
    far.path[2] = 4;
    far.most = 100;
    unsigned f = testing_flow_add(net, &far);
    assert_true(testing_net_until(net, f, 100, NS_PER_S));
    net->flow[f].tx->inner->open_at = INT64_MAX;
    testing_net_run(net, 2900 * NS_PER_MS);
    assert_true(net->flow[f].tx->complete);
    testing_net_run(net, 200 * NS_PER_MS);
    assert_int_equal(net->node[1].of_kind[LANE_EVENT_DOWN], 1);
    assert_int_equal(last_event(&net->node[1], LANE_EVENT_DOWN)->detail, LANE_REFUSED_EXPIRED);
    assert_int_equal(last_event(&net->node[1], LANE_EVENT_DOWN)->peer, 2);
    assert_true(testing_net_complete(net, NS_PER_S)); /* and begins anew */
    testing_net_free(net);
}

/* --- admission ----------------------------------------------------------------------------------------------- */

static void refused(struct testing_net *net, const struct testing_flow *flow, unsigned reason, uint64_t where)
{
    unsigned f = testing_flow_add(net, flow);
    testing_net_run(net, 50 * NS_PER_MS);
    const struct lane_event *e = last_event(&net->node[1], LANE_EVENT_REFUSED);
    assert_non_null(e);
    assert_int_equal(e->lane, net->flow[f].lane);
    assert_int_equal(e->detail, reason);
    assert_int_equal(e->peer, where);
    assert_false(net->flow[f].tx->complete);
    /* All but the ingress has forgotten it. */
    for (uint32_t i = 2; i <= 3; i++)
        assert_null(testing_rx(net, i, net->flow[f].lane));
    lane_close(net->node[1].lanes, net->flow[f].tx, false, net->now);
    net->flow[f].tx = NULL;
    testing_net_run(net, 20 * NS_PER_MS);
    assert_nothing_left(net);
}

/* Its own link is the ingress' business: the caller is told at once. */
static void the_first_links_guarantees_are_checked_at_once(void **state)
{
    (void)state;
    struct testing_net *net = chain(3);
    struct lane_spec spec;
    struct lane_tx *t = NULL;
    struct error err = {""};
    testing_spec(net, &full, full.path, &spec);
    spec.guarantee_bps = GBPS;
    assert_int_equal(lane_open(net->node[1].lanes, &spec, net->now, &t, &err), -ENOSPC);
    assert_non_null(strstr(err.text, "port 1 has 980000000 bit/s left to guarantee"));
    spec.guarantee_bps = GBPS * 98 / 100;
    assert_int_equal(lane_open(net->node[1].lanes, &spec, net->now, &t, &err), 0);
    lane_close(net->node[1].lanes, t, false, net->now);
    assert_nothing_left(net);
    testing_net_free(net);
}

static void a_refusal_runs_upstream(void **state)
{
    (void)state;
    struct testing_net *net = chain(3);
    testing_net_run(net, 50 * NS_PER_MS);
    struct testing_flow flow = full;
    flow.backlog = 0;

    flow.window_least = 4000; /* of 2048 */
    refused(net, &flow, LANE_REFUSED_POOL, 2);
    flow.window_least = 8;
    net->node[2].lanes->link[1]->port->config.rate_bps = GBPS / 2;
    flow.guarantee_bps = GBPS * 6 / 10;
    refused(net, &flow, LANE_REFUSED_RATE, 2);
    flow.guarantee_bps = 0;
    net->node[3].lanes->link[0]->port->config.pool_cells = 4;
    refused(net, &flow, LANE_REFUSED_POOL, 3);
    net->node[3].lanes->link[0]->port->config.pool_cells = 2048;
    net->node[3].lanes->link[0]->port->config.tenant_cells = 6;
    refused(net, &flow, LANE_REFUSED_TENANT, 3);
    net->node[3].lanes->link[0]->port->config.tenant_cells = 0;
    net->node[3].no_sids = true;
    refused(net, &flow, LANE_REFUSED_NO_PATH, 3);
    net->node[3].no_sids = false;
    net->link[1].cut = true;
    testing_net_run(net, 50 * NS_PER_MS);
    refused(net, &flow, LANE_REFUSED_LINK_DOWN, 2);
    net->link[1].cut = false;

    /* And when the reason is gone the lane opens, without anybody doing anything. */
    net->node[3].no_sids = true;
    testing_flow_add(net, &full);
    testing_net_run(net, 300 * NS_PER_MS);
    net->node[3].no_sids = false;
    assert_true(testing_net_complete(net, 2 * NS_PER_S));
    testing_net_free(net);
}

static void lanes_are_refused_when_a_router_has_no_more(void **state)
{
    (void)state;
    struct lane_node_config few = {.lanes_most = 3}, many = {.lanes_most = 8};
    struct testing_net *net = testing_net_create(1, 16);
    testing_node_add(net, 1, &many);
    testing_node_add(net, 2, &few);
    testing_link_add(net, 1, 1, 2, 0, 50 * NS_PER_US, &core);
    struct testing_flow flow = full;
    memset(flow.path, 0, sizeof flow.path);
    flow.path[0] = 2;
    for (int i = 0; i < 4; i++)
        testing_flow_add(net, &flow);
    testing_net_run(net, 100 * NS_PER_MS);
    unsigned complete = 0;
    for (int i = 0; i < 4; i++)
        complete += net->flow[i].tx->complete;
    assert_int_equal(complete, 3);
    assert_int_equal(last_event(&net->node[1], LANE_EVENT_REFUSED)->detail, LANE_REFUSED_FULL);
    testing_net_free(net);
}

/* --- windows ------------------------------------------------------------------------------------------------- */

static void a_window_grows_to_what_the_distance_needs(void **state)
{
    (void)state;
    static const int64_t km[] = {100, 1000, 3000};
    for (unsigned i = 0; i < 3; i++) {
        struct port_config wide = core;
        wide.pool_cells = 32768;
        struct testing_net *net = testing_chain(3, 2, NULL, km[i] * 5 * NS_PER_US, &wide);
        struct testing_flow flow = full;
        memset(flow.path, 0, sizeof flow.path);
        flow.path[0] = 2;
        unsigned f = testing_flow_add(net, &flow);
        assert_true(testing_net_complete(net, NS_PER_S));
        testing_net_run(net, 600 * NS_PER_MS);
        uint64_t before = net->flow[f].delivered;
        testing_net_run(net, 100 * NS_PER_MS);
        assert_true(net->flow[f].delivered - before >= line_packets(100 * NS_PER_MS) * 98 / 100);
        testing_net_free(net);
    }
}

static void an_idle_lane_gives_back_and_grows_again(void **state)
{
    (void)state;
    struct port_config small = core;
    small.pool_cells = 128;
    struct lane_node_config c = {.control_loss = 0.1};
    struct testing_net *net = testing_chain(4, 3, &c, 500 * NS_PER_US, &small);
    net->link[0].control.loss = net->link[1].control.loss = 0.1;
    unsigned f = testing_flow_add(net, &full);
    assert_true(testing_net_complete(net, NS_PER_S));
    for (int turn = 0; turn < 3; turn++) {
        net->flow[f].off = false;
        testing_net_run(net, 50 * NS_PER_MS);
        struct lane_rx *r = testing_rx(net, 2, net->flow[f].lane);
        assert_true(r->credit.window > 32);
        assert_true(credit_reserved(&r->credit) > 32);
        net->flow[f].off = true;
        testing_net_run(net, 400 * NS_PER_MS);
        assert_int_equal(r->credit.window, 8);
        assert_true(credit_reserved(&r->credit) <= 8);
        assert_true(net->node[2].lanes->link[0]->committed <= 8);
        assert_int_equal(r->credit.generation, turn + 1);
    }
    assert_int_equal(net->flow[f].delivered, net->flow[f].sent);
    testing_net_free(net);
}

/* Eight lanes want more than there is; another one comes when all of it is in use. */
static void a_short_pool_is_shared(void **state)
{
    (void)state;
    struct port_config small = core;
    small.pool_cells = 256;
    struct testing_net *net = testing_chain(5, 3, NULL, NS_PER_MS, &small);
    unsigned first = testing_flow_add(net, &full);
    assert_true(testing_net_complete(net, NS_PER_S));
    testing_net_run(net, 50 * NS_PER_MS);
    assert_true(testing_rx(net, 2, net->flow[first].lane)->credit.window > 128);
    for (int i = 1; i < 8; i++)
        testing_flow_add(net, &full);
    assert_true(testing_net_complete(net, 2 * NS_PER_S));
    testing_net_run(net, 200 * NS_PER_MS);
    uint64_t sum = 0;
    for (unsigned i = 0; i < 8; i++) {
        uint32_t w = testing_rx(net, 2, net->flow[i].lane)->credit.window;
        sum += w;
        assert_true(w >= 16 && w <= 64); /* the fair share is 32 */
    }
    assert_true(sum <= 256);
    testing_net_drain(net, 200 * NS_PER_MS);
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(net->flow[i].delivered, net->flow[i].sent);
    testing_net_free(net);
}

static void a_tenant_has_its_part_of_the_pool(void **state)
{
    (void)state;
    struct port_config small = core;
    small.pool_cells = 1024;
    small.tenant_cells = 100;
    struct testing_net *net = testing_chain(5, 3, NULL, NS_PER_MS, &small);
    struct testing_flow other = full;
    other.tenant = 6;
    testing_flow_add(net, &full);
    testing_flow_add(net, &full);
    testing_flow_add(net, &other);
    assert_true(testing_net_complete(net, NS_PER_S));
    testing_net_run(net, 200 * NS_PER_MS);
    uint64_t sum = 0;
    for (unsigned i = 0; i < 2; i++)
        sum += testing_rx(net, 2, net->flow[i].lane)->credit.window;
    assert_true(sum > 80 && sum <= 100);
    assert_true(testing_rx(net, 2, net->flow[2].lane)->credit.window > 80);
    testing_net_free(net);
}

static void the_links_own_window_holds_and_lets_all_through(void **state)
{
    (void)state;
    struct port_config ring = core;
    ring.link_window = 8; /* half of what the distance would take */
    struct lane_node_config c = {.control_loss = 0.1};
    struct testing_net *net = testing_chain(6, 3, &c, 100 * NS_PER_US, &ring);
    net->link[0].control.loss = net->link[1].control.loss = 0.1;
    net->link[0].data.loss = net->link[1].data.loss = 0.01;
    for (int i = 0; i < 6; i++)
        testing_flow_add(net, &full);
    assert_true(testing_net_complete(net, NS_PER_S));
    testing_net_run(net, 100 * NS_PER_MS);
    testing_net_drain(net, 400 * NS_PER_MS);
    uint64_t delivered = 0, sent = 0;
    for (unsigned i = 0; i < 6; i++) {
        assert_true(net->flow[i].delivered > 100); /* in their turns */
        delivered += net->flow[i].delivered;
        sent += net->flow[i].sent;
    }
    assert_int_equal(delivered + testing_losses(net, LOSS_LINK), sent);
    assert_true(delivered > line_packets(100 * NS_PER_MS) / 4); /* it limits, and never stops them */
    assert_true(delivered < line_packets(100 * NS_PER_MS) * 3 / 4);
    testing_net_free(net);
}

/* --- many, and stalled --------------------------------------------------------------------------------------- */

static void a_thousand_lanes(void **state)
{
    (void)state;
    struct lane_node_config c = {.lanes_most = 1000};
    struct port_config wide = core;
    wide.pool_cells = 16384;
    struct testing_net *net = testing_net_create(8, 1000);
    net->check_every = 32;
    for (uint32_t i = 1; i <= 3; i++)
        testing_node_add(net, i, &c);
    testing_link_add(net, 1, 1, 2, 0, 50 * NS_PER_US, &wide);
    testing_link_add(net, 2, 1, 3, 0, 50 * NS_PER_US, &wide);
    struct testing_flow flow = full;
    flow.backlog = 2;
    for (unsigned i = 0; i < 1000; i++) {
        flow.tenant = i % 40;
        testing_flow_add(net, &flow);
    }
    assert_true(testing_net_complete(net, 300 * NS_PER_MS));
    uint64_t least = UINT64_MAX, most = 0, before[1000];
    for (unsigned i = 0; i < 1000; i++)
        before[i] = net->flow[i].delivered;
    testing_net_run(net, 100 * NS_PER_MS);
    for (unsigned i = 0; i < 1000; i++) {
        uint64_t got = net->flow[i].delivered - before[i];
        least = got < least ? got : least;
        most = got > most ? got : most;
    }
    assert_true(least >= 7 && least + 2 >= most); /* turn by turn */
    testing_net_drain(net, 100 * NS_PER_MS);
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(net->flow[i].delivered, net->flow[i].sent);
    testing_net_free(net);
}

/* One lane's host consumes nothing: it fills its own windows and its own ingress, and the other has the whole line. */
static void a_stalled_lane_stalls_alone(void **state)
{
    (void)state;
    struct testing_net *net = chain(4);
    struct testing_flow far = full;
    far.path[2] = 4;
    unsigned stalled = testing_flow_add(net, &full), other = testing_flow_add(net, &far);
    assert_true(testing_net_complete(net, NS_PER_S));
    net->node[3].stalled = true;
    testing_net_run(net, 50 * NS_PER_MS);
    uint64_t before = net->flow[other].delivered, was = net->flow[stalled].delivered;
    testing_net_run(net, 100 * NS_PER_MS);
    assert_int_equal(net->flow[stalled].delivered, was);
    assert_true(net->flow[other].delivered - before >= line_packets(100 * NS_PER_MS) * 99 / 100);
    net->node[3].stalled = false;
    testing_net_drain(net, 50 * NS_PER_MS);
    assert_int_equal(net->flow[stalled].delivered, net->flow[stalled].sent);
    assert_int_equal(net->flow[other].delivered, net->flow[other].sent);
    testing_net_free(net);
}

static void a_sink_that_never_consumes_is_discarded_until_it_does(void **state)
{
    (void)state;
    struct lane_node_config c = {.watchdog_ns = 200 * NS_PER_MS};
    struct testing_net *net = testing_chain(9, 3, &c, 50 * NS_PER_US, &core);
    unsigned f = testing_flow_add(net, &full);
    assert_true(testing_net_complete(net, NS_PER_S));
    net->node[3].stalled = true;
    testing_net_run(net, 180 * NS_PER_MS);
    assert_int_equal(testing_events(net, LANE_EVENT_WATCHDOG), 0);
    testing_net_run(net, 300 * NS_PER_MS);
    assert_int_equal(net->node[3].of_kind[LANE_EVENT_WATCHDOG], 1);
    assert_int_equal(testing_events(net, LANE_EVENT_WATCHDOG), 1); /* nobody else trips */
    assert_true(testing_losses(net, LOSS_WATCHDOG) > 200);         /* it flows into the bin */
    net->node[3].stalled = false;
    testing_net_run(net, 100 * NS_PER_MS);
    assert_int_equal(net->node[3].of_kind[LANE_EVENT_RECOVERED], 1);
    uint64_t discarded = testing_losses(net, LOSS_WATCHDOG);
    testing_net_run(net, 400 * NS_PER_MS);
    assert_int_equal(testing_losses(net, LOSS_WATCHDOG), discarded);
    testing_net_drain(net, 50 * NS_PER_MS);
    assert_int_equal(net->flow[f].delivered + discarded, net->flow[f].sent);
    testing_net_free(net);
}

static void wrong_configurations_are_told_in_words(void **state)
{
    (void)state;
    struct lane_node *n = NULL;
    struct error err = {""};
    struct lane_above none = {0};
    struct lane_node_config c = {.router_id = 1};
    assert_int_equal(lane_node_create(&n, &c, &none, &err), -EINVAL);
    c.router_id = 0;
    assert_int_equal(lane_node_create(&n, &c, &none, &err), -EINVAL);
    assert_non_null(strstr(err.text, "router's id"));

    struct testing_net *net = chain(2);
    struct lane_node *lanes = net->node[1].lanes;
    struct port_config p = core;
    assert_int_equal(lane_port_add(lanes, 1, &p, &err), -EEXIST);
    assert_int_equal(lane_port_add(lanes, 64, &p, &err), -EINVAL);
    p.mtu = 100;
    assert_int_equal(lane_port_add(lanes, 5, &p, &err), -EINVAL);
    struct lane_spec spec = {.out_port = TESTING_HOST_PORT, .n_sids = 1};
    struct lane_tx *t = NULL;
    assert_int_equal(lane_open(lanes, &spec, net->now, &t, &err), -ENOENT);
    spec.out_port = 1;
    spec.n_sids = 0;
    assert_int_equal(lane_open(lanes, &spec, net->now, &t, &err), -EINVAL);
    spec.n_sids = 17;
    assert_int_equal(lane_open(lanes, &spec, net->now, &t, &err), -EINVAL);
    assert_null(t);
    testing_net_free(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lane_opens_and_carries_in_order),
        cmocka_unit_test(a_closed_lane_drains_and_leaves_nothing),
        cmocka_unit_test(a_lane_closed_at_once_discards_and_counts),
        cmocka_unit_test(a_lane_whose_ingress_dies_ends),
        cmocka_unit_test(a_lane_that_is_not_refreshed_ends),
        cmocka_unit_test(the_first_links_guarantees_are_checked_at_once),
        cmocka_unit_test(a_refusal_runs_upstream),
        cmocka_unit_test(lanes_are_refused_when_a_router_has_no_more),
        cmocka_unit_test(a_window_grows_to_what_the_distance_needs),
        cmocka_unit_test(an_idle_lane_gives_back_and_grows_again),
        cmocka_unit_test(a_short_pool_is_shared),
        cmocka_unit_test(a_tenant_has_its_part_of_the_pool),
        cmocka_unit_test(the_links_own_window_holds_and_lets_all_through),
        cmocka_unit_test(a_thousand_lanes),
        cmocka_unit_test(a_stalled_lane_stalls_alone),
        cmocka_unit_test(a_sink_that_never_consumes_is_discarded_until_it_does),
        cmocka_unit_test(wrong_configurations_are_told_in_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
