/* How soon a lane stops and goes: backpressure within a trip, a shared link that never runs empty, and lanes that wake up. */
#include "base/test.h"
#include "lane/lane_inner.h"
#include "lane/testing_link.h"

#define GBPS    1000000000ull
#define DELAY   (500 * NS_PER_US)
#define SENSED  16 /* cells */
#define PACKETS (1514 + QUEUE_WIRE_EXTRA)
#define SOON    (50 * NS_PER_US + 3 * 8 * PACKETS) /* a packet takes 12 us here: they come and go whole */

static const struct port_config core = {.rate_bps = GBPS, .mtu = 1500, .pool_cells = 4096};

static const struct testing_flow full = {
    .node = 1, .path = {2, 3}, .tenant = 5, .class_ = LANE_PARAMETER, .size = 1514, .backlog = 64, .window_least = 8};

static uint64_t line_packets(int64_t ns)
{
    return GBPS / 8 * (uint64_t)ns / NS_PER_S / PACKETS;
}

static uint64_t held(struct testing_net *net, uint32_t node, unsigned flow)
{
    return credit_occupied(&testing_rx(net, node, net->flow[flow].lane)->credit);
}

static const struct lane_tx *sender_at(struct testing_net *net, uint32_t node, unsigned flow)
{
    return testing_rx(net, node, net->flow[flow].lane)->next;
}

/* Until the queue at `node` is sensed, then until the router before it withholds; how long that took. */
static int64_t sense_to_stop(struct testing_net *net, uint32_t node, unsigned flow)
{
    int64_t sensed = 0;
    for (int i = 0; i < 5000; i++) {
        testing_net_run(net, 2 * NS_PER_US);
        if (!sensed && held(net, node, flow) > SENSED)
            sensed = net->now;
        const struct lane_tx *t = node == 2 ? net->flow[flow].tx : sender_at(net, node - 1, flow);
        if (sensed && t->queue.state == QUEUE_BLOCKED)
            return net->now - sensed;
    }
    fail_msg("node %u: nobody has stopped", node);
    return 0;
}

static void a_queue_stops_its_neighbour_within_a_trip(void **state)
{
    (void)state;
    struct testing_net *net = testing_chain(1, 3, NULL, DELAY, &core);
    struct testing_flow most = full; /* of the line: at all of it a queue that was there once would stay */
    most.backlog = 0;
    most.interval_ns = 8 * PACKETS * 100 / 80;
    unsigned f = testing_flow_add(net, &most);
    assert_true(testing_net_complete(net, 100 * NS_PER_MS));
    testing_net_run(net, 100 * NS_PER_MS);
    uint32_t window = testing_rx(net, 3, net->flow[f].lane)->credit.window;
    assert_true(window > 3 * line_packets(2 * DELAY)); /* left alone it would fill that first */
    for (int turn = 0; turn < 5; turn++) {
        net->node[3].stalled = true;
        for (uint32_t node = 3; node >= 2; node--)
            assert_in_range(sense_to_stop(net, node, f), DELAY / 2, DELAY + SOON);
        testing_net_run(net, 10 * NS_PER_MS);
        /* What was under way, what it was sensed by, and nothing else. */
        assert_true(held(net, 3, f) <= line_packets(2 * DELAY) + 2 * SENSED);
        assert_true(held(net, 2, f) <= line_packets(2 * DELAY) + 2 * SENSED);
        net->node[3].stalled = false;
        testing_net_run(net, 60 * NS_PER_MS);
        uint64_t before = net->flow[f].delivered;
        testing_net_run(net, 20 * NS_PER_MS);
        assert_true(net->flow[f].delivered - before >= line_packets(20 * NS_PER_MS) * 79 / 100);
        assert_true(held(net, 3, f) <= SENSED && held(net, 2, f) <= SENSED);
    }
    testing_net_drain(net, 20 * NS_PER_MS);
    assert_int_equal(net->flow[f].delivered, net->flow[f].sent);
    testing_net_free(net);
}

/* Two lanes that come in at the line's rate share the next link: it is never idle, they are equal, and their queues are a
 * fraction of their windows. */
static void a_shared_link_is_full_and_its_queues_are_short(void **state)
{
    (void)state;
    struct testing_net *net = testing_net_create(2, 4);
    for (uint32_t i = 1; i <= 4; i++)
        testing_node_add(net, i, NULL);
    testing_link_add(net, 1, 1, 2, 0, DELAY, &core);
    testing_link_add(net, 2, 1, 3, 0, DELAY, &core);
    testing_link_add(net, 4, 1, 2, 2, 3 * DELAY, &core);
    struct testing_flow other = full;
    other.node = 4;
    unsigned f[2] = {testing_flow_add(net, &full), testing_flow_add(net, &other)};
    assert_true(testing_net_complete(net, 100 * NS_PER_MS));
    testing_net_run(net, 100 * NS_PER_MS);
    uint64_t before[2] = {net->flow[f[0]].delivered, net->flow[f[1]].delivered}, got[2], most[2] = {0};
    for (int i = 0; i < 1000; i++) {
        testing_net_run(net, 100 * NS_PER_US);
        for (int k = 0; k < 2; k++)
            most[k] = held(net, 2, f[k]) > most[k] ? held(net, 2, f[k]) : most[k];
    }
    for (int k = 0; k < 2; k++)
        got[k] = net->flow[f[k]].delivered - before[k];
    assert_true(got[0] + got[1] >= line_packets(100 * NS_PER_MS) * 995 / 1000);
    assert_true(got[0] * 100 >= got[1] * 97 && got[1] * 100 >= got[0] * 97);
    assert_true(most[0] < testing_rx(net, 2, net->flow[f[0]].lane)->credit.window / 2);
    assert_true(most[1] < testing_rx(net, 2, net->flow[f[1]].lane)->credit.window / 2);
    testing_net_drain(net, 60 * NS_PER_MS);
    for (int k = 0; k < 2; k++)
        assert_int_equal(net->flow[f[k]].delivered, net->flow[f[k]].sent);
    testing_net_free(net);
}

/* Requests to stop and go that are lost, repeated and overtaken: delay, and nothing else. */
static void words_that_are_lost_only_delay(void **state)
{
    (void)state;
    struct lane_node_config c = {.control_loss = 0.3};
    struct testing_net *net = testing_chain(3, 3, &c, DELAY, &core);
    for (int i = 0; i < 2; i++)
        net->link[i].control =
            (struct testing_impair){.loss = 0.3, .duplicate = 0.3, .reorder = 0.3, .reorder_ns = 2 * NS_PER_MS};
    unsigned f = testing_flow_add(net, &full);
    assert_true(testing_net_complete(net, NS_PER_S));
    testing_net_run(net, 100 * NS_PER_MS);
    uint64_t before = net->flow[f].delivered;
    for (int turn = 0; turn < 20; turn++) {
        net->node[3].stalled = turn % 2 == 0;
        testing_net_run(net, 10 * NS_PER_MS);
    }
    assert_true(net->flow[f].delivered - before >= line_packets(100 * NS_PER_MS) * 9 / 10);
    testing_net_drain(net, 100 * NS_PER_MS);
    assert_int_equal(net->flow[f].delivered, net->flow[f].sent);
    testing_net_free(net);
}

/* At its rate two round trips of the path after its first packet, however long it had been idle. */
static void a_lane_that_wakes_up_is_at_its_rate_at_once(void **state)
{
    (void)state;
    static const int64_t ms[][2] = {{5, 5}, {1, 5}, {5, 1}};
    for (unsigned k = 0; k < 3; k++) {
        struct port_config wide = core;
        wide.pool_cells = 16384;
        struct testing_net *net = testing_net_create(4 + k, 2);
        for (uint32_t i = 1; i <= 3; i++)
            testing_node_add(net, i, NULL);
        testing_link_add(net, 1, 1, 2, 0, ms[k][0] * NS_PER_MS, &wide);
        testing_link_add(net, 2, 1, 3, 0, ms[k][1] * NS_PER_MS, &wide);
        struct testing_flow flow = full;
        flow.off = true;
        unsigned f = testing_flow_add(net, &flow);
        assert_true(testing_net_complete(net, NS_PER_S));
        testing_net_run(net, 300 * NS_PER_MS);
        int64_t path = (ms[k][0] + ms[k][1]) * NS_PER_MS;
        for (int again = 0; again < 2; again++) {
            net->flow[f].off = false;
            testing_net_run(net, 2 * 2 * path);
            uint64_t before = net->flow[f].delivered;
            testing_net_run(net, 20 * NS_PER_MS);
            assert_true(net->flow[f].delivered - before >= line_packets(20 * NS_PER_MS) * 98 / 100);
            net->flow[f].off = true;
            testing_net_run(net, 11 * NS_PER_S); /* gives back what it had */
            assert_int_equal(testing_rx(net, 2, net->flow[f].lane)->credit.window, 8);
        }
        testing_net_free(net);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_queue_stops_its_neighbour_within_a_trip),
        cmocka_unit_test(a_shared_link_is_full_and_its_queues_are_short),
        cmocka_unit_test(words_that_are_lost_only_delay),
        cmocka_unit_test(a_lane_that_wakes_up_is_at_its_rate_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
