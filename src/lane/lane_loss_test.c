/* Frames are lost, repeated and reordered: control frames cost time and never a packet, and each data packet that the link
 * loses is recorded once, by name. testing_link.c checks after each step that nothing comes beyond credit or out of order. */
#include "base/test.h"
#include "lane/testing_link.h"

#define GBPS 1000000000ull

static const struct port_config core = {.rate_bps = GBPS, .mtu = 1500, .pool_cells = 4096};

static const struct testing_flow full = {
    .node = 1, .path = {2, 3}, .tenant = 5, .class_ = LANE_PARAMETER, .size = 1514, .backlog = 64, .window_least = 8};

static void impair(struct testing_net *net, const struct testing_impair *control, const struct testing_impair *data)
{
    for (unsigned i = 0; i < net->n_links; i++) {
        if (control)
            net->link[i].control = *control;
        if (data)
            net->link[i].data = *data;
    }
}

static void control_frames_suffer(double share, uint64_t seeds)
{
    for (uint64_t seed = 1; seed <= seeds; seed++) {
        struct lane_node_config c = {.control_loss = share};
        struct testing_net *net = testing_chain(seed, 3, &c, 100 * NS_PER_US, &core);
        struct testing_impair p = {.loss = share, .duplicate = share, .reorder = share, .reorder_ns = 500 * NS_PER_US};
        impair(net, &p, NULL);
        unsigned f = testing_flow_add(net, &full);
        assert_true(testing_net_complete(net, 2 * NS_PER_S));
        testing_net_run(net, 20 * NS_PER_MS);
        uint64_t before = net->flow[f].delivered;
        testing_net_run(net, 50 * NS_PER_MS);
        uint64_t line = GBPS / 8 * 50 / 1000 / (1514 + 24);
        assert_true(net->flow[f].delivered - before >= line * 95 / 100);
        testing_net_drain(net, 500 * NS_PER_MS);
        assert_int_equal(net->flow[f].delivered, net->flow[f].sent);
        assert_int_equal(testing_events(net, LANE_EVENT_LINK_DOWN), 0);
        testing_net_free(net);
    }
}

static void control_loss_costs_no_packet(void **state)
{
    (void)state;
    control_frames_suffer(0, 1);
    control_frames_suffer(0.01, 4);
    control_frames_suffer(0.1, 4);
    control_frames_suffer(0.5, 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(control_loss_costs_no_packet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
