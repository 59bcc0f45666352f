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

/* Losses of two flows with packets of one and of two cells on either link, while a tenth of the control frames is lost. */
static void each_lost_packet_is_recorded_once_at_its_link(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        struct lane_node_config c = {.control_loss = 0.1};
        struct port_config jumbo = core;
        jumbo.mtu = 4000;
        struct testing_net *net = testing_chain(seed, 3, &c, 100 * NS_PER_US, &jumbo);
        struct testing_impair control = {.loss = 0.1, .reorder = 0.1, .reorder_ns = 200 * NS_PER_US};
        struct testing_impair data = {.loss = seed % 2 ? 0.01 : 0.2, .duplicate = 0.02};
        impair(net, &control, NULL);
        struct testing_flow large = full;
        large.size = 4000;
        large.tenant = 6;
        unsigned f = testing_flow_add(net, &full), g = testing_flow_add(net, &large);
        assert_true(testing_net_complete(net, NS_PER_S));
        impair(net, NULL, &data);
        testing_net_run(net, 30 * NS_PER_MS);
        testing_net_drain(net, NS_PER_S);

        uint64_t sent = net->flow[f].sent + net->flow[g].sent;
        uint64_t delivered = net->flow[f].delivered + net->flow[g].delivered;
        assert_true(testing_lost_on_purpose(net) > 10);
        assert_int_equal(delivered + testing_lost_on_purpose(net), sent);
        assert_int_equal(testing_losses(net, LOSS_LINK), sent - delivered);
        for (unsigned i = 0; i < 2; i++) {
            /* The receiver knows the cells, the sender the packets. */
            const struct testing_link *l = &net->link[i];
            assert_int_equal(lane_loss(net->node[i + 2].lanes)->cells[LOSS_LINK], l->lost_cells[0]);
            assert_int_equal(lane_loss(net->node[i + 1].lanes)->packets[LOSS_LINK], l->lost[0]);
        }
        uint64_t by_flow[3] = {0};
        for (unsigned i = 1; i <= 2; i++) {
            struct loss_record r;
            while (loss_read(lane_loss(net->node[i].lanes), &r, 1))
                if (r.reason == LOSS_LINK && r.packets)
                    by_flow[r.flow < 3 ? r.flow : 0]++;
        }
        for (unsigned i = 0; i < 2; i++) {
            assert_int_equal(by_flow[i + 1], net->flow[i].sent - net->flow[i].delivered);
            for (uint32_t node = 2; node <= 3; node++) /* and the credit of all of them has come back */
                assert_int_equal(credit_occupied(&testing_rx(net, node, net->flow[i].lane)->credit), 0);
        }
        testing_net_free(net);
    }
}

/* What a link reorders is lost for a lane: its gap is recorded once, and the late one dropped as known. */
static void a_link_that_reorders_loses(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        struct testing_net *net = testing_chain(seed, 3, NULL, 100 * NS_PER_US, &core);
        unsigned f = testing_flow_add(net, &full);
        assert_true(testing_net_complete(net, NS_PER_S));
        impair(net, NULL, &(struct testing_impair){.reorder = 0.05, .reorder_ns = 800 * NS_PER_US});
        testing_net_run(net, 20 * NS_PER_MS);
        testing_net_drain(net, NS_PER_S);
        uint64_t lost = net->flow[f].sent - net->flow[f].delivered;
        assert_true(lost > 10);
        assert_int_equal(testing_losses(net, LOSS_LINK), lost);
        assert_int_equal(testing_losses(net, LOSS_DUPLICATE), lost);
        testing_net_free(net);
    }
}

/* All that a window holds is lost at once: nobody would ever say anything, did the sender not ask. */
static void a_lost_tail_is_found(void **state)
{
    (void)state;
    struct testing_net *net = testing_chain(7, 2, NULL, 100 * NS_PER_US, &core);
    struct testing_flow few = full;
    memset(few.path, 0, sizeof few.path);
    few.path[0] = 2;
    few.most = 5;
    unsigned f = testing_flow_add(net, &few);
    net->flow[f].off = true;
    assert_true(testing_net_complete(net, NS_PER_S));
    net->link[0].data.loss = 1;
    net->flow[f].off = false;
    testing_net_run(net, 100 * NS_PER_MS);
    assert_int_equal(net->link[0].lost[0], 5);
    assert_int_equal(testing_losses(net, LOSS_LINK), 5);
    net->link[0].data.loss = 0;
    net->flow[f].most = 1000;
    assert_true(testing_net_until(net, f, 995, NS_PER_S));
    testing_net_free(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(control_loss_costs_no_packet),
        cmocka_unit_test(each_lost_packet_is_recorded_once_at_its_link),
        cmocka_unit_test(a_link_that_reorders_loses),
        cmocka_unit_test(a_lost_tail_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
