/* A router ends in good order: what it held and what was on its way to it arrives, by another path or when it is back. */
#include "base/test.h"
#include "lane/lane_inner.h"
#include "lane/testing_link.h"

#define GBPS 1000000000ull

static const struct port_config core = {.rate_bps = GBPS, .mtu = 1500, .pool_cells = 4096};

static const struct testing_flow full = {
    .node = 1, .path = {2, 4}, .tenant = 5, .class_ = LANE_PARAMETER, .size = 1514, .backlog = 64, .window_least = 8};

/* 1 - 2 - 4 and 1 - 3 - 4. */
static struct testing_net *diamond(uint64_t seed, double control_loss)
{
    struct lane_node_config c = {.control_loss = control_loss};
    struct testing_net *net = testing_net_create(seed, 16);
    for (uint32_t i = 1; i <= 4; i++)
        testing_node_add(net, i, &c);
    testing_link_add(net, 1, 2, 2, 1, 300 * NS_PER_US, &core);
    testing_link_add(net, 2, 4, 4, 2, 200 * NS_PER_US, &core);
    testing_link_add(net, 1, 3, 3, 1, NS_PER_MS, &core);
    testing_link_add(net, 3, 4, 4, 3, 100 * NS_PER_US, &core);
    for (unsigned i = 0; i < 4; i++)
        net->link[i].control = (struct testing_impair){
            .loss = control_loss, .duplicate = control_loss, .reorder = control_loss, .reorder_ns = 300 * NS_PER_US};
    return net;
}

static uint64_t line_packets(int64_t ns)
{
    return GBPS / 8 * (uint64_t)ns / NS_PER_S / (1514 + QUEUE_WIRE_EXTRA);
}

static uint64_t lost_for_good(const struct testing_net *net)
{
    uint64_t sum = 0;
    for (int r = 0; r < LOSS_REASONS; r++)
        if (loss_counts((enum loss_reason)r))
            sum += testing_losses(net, (enum loss_reason)r);
    return sum;
}

/* How long `node` takes until it holds no lane; -1: longer than a second. */
static int64_t drain(struct testing_net *net, uint32_t node)
{
    int64_t began = net->now;
    lane_drain(net->node[node].lanes, net->now);
    while (!lane_drained(net->node[node].lanes, net->now)) {
        if (net->now - began > NS_PER_S)
            return -1;
        testing_net_run(net, 100 * NS_PER_US);
    }
    return net->now - began;
}

static void end_and_begin_anew(struct testing_net *net, uint32_t node)
{
    testing_node_restart(net, node);
    testing_net_run(net, 200 * NS_PER_MS);
}

static void all_arrives(struct testing_net *net, unsigned flow)
{
    testing_net_drain(net, 100 * NS_PER_MS);
    assert_int_equal(net->flow[flow].delivered, net->flow[flow].sent);
    assert_int_equal(lost_for_good(net), 0);
}

static void without_another_path_the_lane_waits(void **state)
{
    (void)state;
    for (unsigned k = 0; k < 6; k++) {
        struct testing_net *net = diamond(1 + k, k % 2 ? 0.3 : 0);
        unsigned f = testing_flow_add(net, &full);
        assert_true(testing_net_complete(net, NS_PER_S));
        for (int turn = 0; turn < 3; turn++) {
            testing_net_run(net, 30 * NS_PER_MS);
            int64_t took = drain(net, 2);
            assert_in_range(took, NS_PER_MS, (k % 2 ? 800 : 10) * NS_PER_MS);
            assert_int_equal(net->node[1].of_kind[LANE_EVENT_LEAVING], turn + 1);
            uint64_t before = net->flow[f].delivered;
            testing_net_run(net, 20 * NS_PER_MS);
            assert_int_equal(net->flow[f].delivered, before); /* and has all that was sent */
            assert_int_equal(net->flow[f].sent - before, net->flow[f].backlog);
            end_and_begin_anew(net, 2);
            assert_true(testing_net_complete(net, 2 * NS_PER_S));
            testing_net_run(net, 50 * NS_PER_MS);
            assert_true(net->flow[f].delivered > before + 1000);
        }
        all_arrives(net, f);
        testing_net_free(net);
    }
}

static void with_another_path_nothing_stops(void **state)
{
    (void)state;
    for (unsigned k = 0; k < 6; k++) {
        struct testing_net *net = diamond(10 + k, k % 2 ? 0.1 : 0);
        struct testing_flow flow = full;
        flow.backup[0] = 3;
        flow.backup[1] = 4;
        unsigned f = testing_flow_add(net, &flow);
        assert_true(testing_net_complete(net, NS_PER_S));
        testing_net_run(net, 50 * NS_PER_MS);
        uint64_t before = net->flow[f].delivered;
        int64_t took = drain(net, 2);
        assert_in_range(took, NS_PER_MS, (k % 2 ? 500 : 30) * NS_PER_MS);
        assert_int_equal(net->node[1].of_kind[LANE_EVENT_MOVED], 1);
        assert_true(net->flow[f].delivered - before >= line_packets(took) * (k % 2 ? 5 : 8) / 10);
        testing_node_restart(net, 2);
        testing_net_run(net, 20 * NS_PER_MS);
        before = net->flow[f].delivered;
        testing_net_run(net, 50 * NS_PER_MS);
        assert_true(net->flow[f].delivered - before >= line_packets(50 * NS_PER_MS) * 9 / 10);
        all_arrives(net, f);
        testing_net_free(net);
    }
}

/* The lane's last router leaves: what it has for its hosts is delivered first. */
static void an_egress_delivers_before_it_ends(void **state)
{
    (void)state;
    struct testing_net *net = diamond(20, 0);
    unsigned f = testing_flow_add(net, &full);
    assert_true(testing_net_complete(net, NS_PER_S));
    testing_net_run(net, 20 * NS_PER_MS);
    net->node[4].stalled = true;
    assert_int_equal(drain(net, 4), -1); /* its host takes nothing */
    net->node[4].stalled = false;
    testing_net_run(net, 20 * NS_PER_MS);
    assert_true(lane_drained(net->node[4].lanes, net->now));
    end_and_begin_anew(net, 4);
    assert_true(testing_net_complete(net, 2 * NS_PER_S));
    all_arrives(net, f);
    testing_net_free(net);
}

static void who_leaves_takes_no_lanes(void **state)
{
    (void)state;
    struct testing_net *net = diamond(30, 0);
    testing_net_run(net, 50 * NS_PER_MS);
    assert_true(drain(net, 2) >= 0);
    unsigned f = testing_flow_add(net, &full);
    testing_net_run(net, 100 * NS_PER_MS);
    assert_false(net->flow[f].tx->complete);
    bool told = false;
    for (unsigned i = 0; i < net->node[1].n_events && i < TESTING_EVENTS; i++)
        told |= net->node[1].event[i].kind == LANE_EVENT_REFUSED && net->node[1].event[i].peer == 2 &&
                net->node[1].event[i].detail == LANE_REFUSED_LEAVING;
    assert_true(told);
    end_and_begin_anew(net, 2);
    assert_true(testing_net_complete(net, NS_PER_S)); /* by itself */
    all_arrives(net, f);
    testing_net_free(net);
}

/* A backup that refuses: the lane rests after a while, and still nothing is lost. */
static void a_backup_that_is_refused_costs_time_only(void **state)
{
    (void)state;
    struct testing_net *net = diamond(40, 0);
    struct testing_flow flow = full;
    flow.backup[0] = 3;
    flow.backup[1] = 4;
    net->node[3].no_sids = true;
    unsigned f = testing_flow_add(net, &flow);
    assert_true(testing_net_complete(net, NS_PER_S));
    testing_net_run(net, 20 * NS_PER_MS);
    assert_int_equal(drain(net, 2), -1);
    uint64_t before = net->flow[f].delivered;
    testing_net_run(net, 500 * NS_PER_MS);
    assert_true(net->flow[f].delivered > before); /* it still carries */
    testing_net_run(net, NS_PER_S);
    assert_true(lane_drained(net->node[2].lanes, net->now));
    testing_node_restart(net, 2);
    testing_net_run(net, NS_PER_S);
    assert_int_equal(lost_for_good(net), 0);
    testing_net_free(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_another_path_the_lane_waits),
        cmocka_unit_test(with_another_path_nothing_stops),
        cmocka_unit_test(an_egress_delivers_before_it_ends),
        cmocka_unit_test(who_leaves_takes_no_lanes),
        cmocka_unit_test(a_backup_that_is_refused_costs_time_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
