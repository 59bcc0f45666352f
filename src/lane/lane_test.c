/* Lanes over links that lose, repeat and reorder: what must hold whatever happens. testing_link.c checks after each step. */
#include "base/test.h"
#include "lane/testing_link.h"

#define GBPS 1000000000ull

static const struct port_config core = {.rate_bps = GBPS, .mtu = 1500, .pool_cells = 2048};

/* 1 — 2 — 3, and a lane from 1 to 3. */
static struct testing_net *chain(uint64_t seed, const struct lane_node_config *c)
{
    struct testing_net *net = testing_net_create(seed, 16);
    for (uint32_t i = 1; i <= 3; i++)
        testing_node_add(net, i, c);
    testing_link_add(net, 1, 1, 2, 0, 50 * NS_PER_US, &core);
    testing_link_add(net, 2, 1, 3, 0, 50 * NS_PER_US, &core);
    return net;
}

static const struct testing_flow full = {
    .node = 1, .path = {2, 3}, .tenant = 5, .class_ = LANE_PARAMETER, .size = 1514, .backlog = 64, .window_least = 8};

static void a_lane_opens_and_carries_in_order(void **state)
{
    (void)state;
    struct testing_net *net = chain(1, NULL);
    unsigned f = testing_flow_add(net, &full);
    net->deep = true;
    assert_true(testing_net_complete(net, 50 * NS_PER_MS));
    assert_int_equal(net->node[1].of_kind[LANE_EVENT_OPEN], 1);
    testing_net_run(net, 20 * NS_PER_MS);
    testing_net_drain(net, 20 * NS_PER_MS);
    assert_int_equal(net->flow[f].delivered, net->flow[f].sent);
    assert_true(net->flow[f].delivered > 1000);
    testing_net_free(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lane_opens_and_carries_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
