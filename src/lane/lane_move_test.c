/* Lanes move to another path while they are in use: nothing is lost, nothing overtakes. testing_link.c ends the program
 * when a packet is delivered out of order or twice. */
#include "base/test.h"
#include "lane/lane_inner.h"
#include "lane/testing_link.h"

#include <errno.h>

#define GBPS 1000000000ull

static const struct port_config core = {.rate_bps = GBPS, .mtu = 1500, .pool_cells = 4096};

static const uint32_t upper[TESTING_PATH] = {2, 4}, lower[TESTING_PATH] = {3, 4};

static const struct testing_flow full = {
    .node = 1, .path = {2, 4}, .tenant = 5, .class_ = LANE_PARAMETER, .size = 1514, .backlog = 64, .window_least = 8};

/* 1 — 2 — 4 and 1 — 3 — 4; links 0 and 1 are the upper path's. */
static struct testing_net *diamond(uint64_t seed, const struct lane_node_config *c, int64_t upper_ns, int64_t lower_ns)
{
    struct testing_net *net = testing_net_create(seed, 16);
    for (uint32_t i = 1; i <= 4; i++)
        testing_node_add(net, i, c);
    testing_link_add(net, 1, 2, 2, 1, upper_ns, &core);
    testing_link_add(net, 2, 4, 4, 2, upper_ns, &core);
    testing_link_add(net, 1, 3, 3, 1, lower_ns, &core);
    testing_link_add(net, 3, 4, 4, 3, lower_ns, &core);
    return net;
}

/* Lanes that are there at a node, either end. */
static unsigned lanes_at(const struct testing_net *net, uint32_t node)
{
    const struct lane_node *n = net->node[node].lanes;
    return 2 * n->lanes - n->n_tx_spare - n->n_rx_spare;
}

static uint64_t lost_for_good(const struct testing_net *net)
{
    uint64_t sum = 0;
    for (int r = 0; r < LOSS_REASONS; r++)
        if (loss_counts((enum loss_reason)r))
            sum += testing_losses(net, (enum loss_reason)r);
    return sum;
}

/* Back and forth under full load, from the long path to the short one and from the short to the long. */
static void a_move_under_load(int markers, double control_loss, uint64_t seeds)
{
    for (uint64_t seed = 1; seed <= seeds; seed++) {
        struct lane_node_config c = {.control_loss = control_loss, .move_ns = 20 * NS_PER_S};
        struct testing_net *net = diamond(seed, &c, 100 * NS_PER_US, (int64_t)seed * 700 * NS_PER_US);
        unsigned f = testing_flow_add(net, &full);
        net->node[1].no_markers = !markers;
        for (unsigned i = 0; i < 4; i++)
            net->link[i].control = (struct testing_impair){.loss = control_loss,
                .duplicate = control_loss,
                .reorder = control_loss,
                .reorder_ns = 300 * NS_PER_US};
        assert_true(testing_net_complete(net, NS_PER_S));
        for (unsigned turn = 0; turn < 4; turn++) {
            testing_net_run(net, 10 * NS_PER_MS);
            struct lane_tx *old = net->flow[f].tx;
            testing_flow_move(net, f, turn % 2 ? upper : lower);
            assert_ptr_equal(net->flow[f].tx, old); /* not yet */
            for (int i = 0; i < 2000 && net->node[1].of_kind[LANE_EVENT_MOVE_DONE] <= turn; i++)
                testing_net_run(net, NS_PER_MS);
            assert_int_equal(net->node[1].of_kind[LANE_EVENT_MOVED], turn + 1);
            assert_int_equal(net->node[1].of_kind[LANE_EVENT_MOVE_DONE], turn + 1);
            testing_net_run(net, 30 * NS_PER_MS); /* its window has grown */
            uint64_t before = net->flow[f].delivered;
            testing_net_run(net, 20 * NS_PER_MS);
            assert_true(net->flow[f].delivered > before + 1500); /* of 1625 */
        }
        testing_net_drain(net, NS_PER_S);
        assert_int_equal(net->flow[f].delivered, net->flow[f].sent);
        assert_int_equal(lost_for_good(net), 0);
        assert_int_equal(lanes_at(net, 1), 1);
        assert_int_equal(lanes_at(net, 4), 1);
        assert_int_equal(lanes_at(net, 2) + lanes_at(net, 3), 2);
        testing_net_free(net);
    }
}

static void moves_lose_and_reorder_nothing(void **state)
{
    (void)state;
    a_move_under_load(1, 0, 3);
    a_move_under_load(0, 0, 2); /* CLOSE alone does it too */
}

static void moves_while_control_frames_are_lost(void **state)
{
    (void)state;
    a_move_under_load(1, 0.1, 3);
    a_move_under_load(1, 0.3, 3);
    a_move_under_load(0, 0.3, 2);
}

/* The end-marker itself is lost on the way (with much else), and other packets too: those are all that is missing. */
static void a_lost_marker_costs_time_only(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        struct testing_net *net = diamond(seed, NULL, 400 * NS_PER_US, 100 * NS_PER_US);
        unsigned f = testing_flow_add(net, &full);
        assert_true(testing_net_complete(net, NS_PER_S));
        for (unsigned i = 0; i < 4; i++)
            net->link[i].data.loss = 0.3;
        for (unsigned turn = 0; turn < 4; turn++) {
            testing_net_run(net, 5 * NS_PER_MS);
            testing_flow_move(net, f, turn % 2 ? upper : lower);
            for (int i = 0; i < 100 && net->node[1].of_kind[LANE_EVENT_MOVE_DONE] <= turn; i++)
                testing_net_run(net, 5 * NS_PER_MS);
            assert_int_equal(net->node[1].of_kind[LANE_EVENT_MOVE_DONE], turn + 1);
        }
        testing_net_drain(net, NS_PER_S);
        assert_int_equal(net->flow[f].delivered + testing_lost_on_purpose(net), net->flow[f].sent);
        testing_net_free(net);
    }
}

/* The new path refuses: the lane stays where it is, and nobody notices. */
static void a_move_that_is_refused_changes_nothing(void **state)
{
    (void)state;
    struct testing_net *net = diamond(1, NULL, 100 * NS_PER_US, 100 * NS_PER_US);
    unsigned f = testing_flow_add(net, &full);
    assert_true(testing_net_complete(net, NS_PER_S));
    net->node[3].no_sids = true;
    struct lane_spec spec;
    struct lane_tx *t, *again;
    struct error err = {""};
    testing_spec(net, &full, lower, &spec);
    assert_int_equal(lane_move(net->node[1].lanes, net->flow[f].tx, &spec, net->now, &t, &err), 0);
    assert_int_equal(lane_move(net->node[1].lanes, net->flow[f].tx, &spec, net->now, &again, &err), -EBUSY);
    testing_net_run(net, 100 * NS_PER_MS);
    assert_int_equal(net->node[1].of_kind[LANE_EVENT_REFUSED], 1);
    assert_int_equal(net->node[1].of_kind[LANE_EVENT_MOVED], 0);
    lane_close(net->node[1].lanes, t, false, net->now); /* given up */
    testing_net_run(net, 20 * NS_PER_MS);
    net->node[3].no_sids = false;
    testing_flow_move(net, f, lower);
    testing_net_run(net, 50 * NS_PER_MS);
    assert_int_equal(net->node[1].of_kind[LANE_EVENT_MOVE_DONE], 1);
    testing_net_drain(net, 50 * NS_PER_MS);
    assert_int_equal(net->flow[f].delivered, net->flow[f].sent);
    testing_net_free(net);
}

/* The old path's queue stands still (its link's rate is nothing): the end does not come, the move is reverted, the traffic
 * goes by the old path again, and when that moves all is there, in order. */
static void a_move_whose_end_does_not_come_is_reverted(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        struct lane_node_config c = {.move_ns = 50 * NS_PER_MS, .watchdog_ns = 20 * NS_PER_S};
        struct testing_net *net = diamond(seed, &c, 100 * NS_PER_US, 100 * NS_PER_US);
        unsigned f = testing_flow_add(net, &full);
        for (unsigned i = 0; i < 4; i++)
            net->link[i].control.loss = seed % 3 * 0.004;
        assert_true(testing_net_complete(net, NS_PER_S));
        testing_net_run(net, 5 * NS_PER_MS);
        struct port *slow = lane_port(net->node[2].lanes, 4);
        uint64_t was = slow->ns_per_byte;
        slow->ns_per_byte = was * 200; /* 5 Mbit/s */
        testing_flow_move(net, f, lower);
        testing_net_run(net, 40 * NS_PER_MS);
        assert_int_equal(net->node[1].of_kind[LANE_EVENT_MOVED], 1);
        struct lane_rx *waits = testing_rx(net, 4, net->flow[f].tx->id);
        assert_true(waits->inner->waiting);
        assert_true(credit_occupied(&waits->credit) > 0);
        testing_net_run(net, 60 * NS_PER_MS + 100 * NS_PER_MS * (seed % 3));
        assert_int_equal(net->node[1].of_kind[LANE_EVENT_MOVE_REVERTED], 1);
        slow->ns_per_byte = was;
        testing_net_run(net, 300 * NS_PER_MS);
        assert_int_equal(net->node[1].of_kind[LANE_EVENT_MOVE_DONE], 2);
        assert_int_equal(net->flow[f].tx->queue.port->index, 2);
        testing_net_drain(net, 100 * NS_PER_MS);
        assert_int_equal(net->flow[f].delivered, net->flow[f].sent);
        assert_int_equal(lost_for_good(net), 0);
        assert_int_equal(lanes_at(net, 1), 1);
        assert_int_equal(lanes_at(net, 3), 0);
        testing_net_free(net);
    }
}

/* The old path dies while the move is under way: what was on it is lost and counted, the new path's packets go on. */
static void the_old_path_dies_during_a_move(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 8; seed++) {
        struct lane_node_config c = {.move_ns = (seed % 3 ? 20000 : 15) * NS_PER_MS};
        struct testing_net *net = diamond(seed, &c, 2 * NS_PER_MS, 300 * NS_PER_US);
        unsigned f = testing_flow_add(net, &full), cut = seed % 2;
        assert_true(testing_net_complete(net, NS_PER_S));
        testing_net_run(net, 40 * NS_PER_MS);
        testing_flow_move(net, f, lower);
        testing_net_run(net, (int64_t)seed * 300 * NS_PER_US);
        net->link[cut].cut = true;
        testing_net_run(net, 100 * NS_PER_MS);
        uint64_t before = net->flow[f].delivered;
        testing_net_run(net, 20 * NS_PER_MS);
        assert_true(net->flow[f].delivered > before + 1200);
        net->link[cut].cut = false;
        testing_net_run(net, 200 * NS_PER_MS);
        testing_net_drain(net, 4 * NS_PER_S);
        uint64_t known = net->flow[f].delivered + lost_for_good(net);
        assert_true(known == net->flow[f].sent || known == net->flow[f].sent + 1); /* the marker may be among them */
        assert_int_equal(lanes_at(net, 1), 1);
        assert_int_equal(lanes_at(net, 4), 1);
        testing_net_free(net);
    }
}

static void the_new_path_dies_during_a_move(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 8; seed++) {
        struct testing_net *net = diamond(seed, NULL, 2 * NS_PER_MS, 300 * NS_PER_US);
        unsigned f = testing_flow_add(net, &full), cut = 2 + seed % 2;
        assert_true(testing_net_complete(net, NS_PER_S));
        testing_net_run(net, 20 * NS_PER_MS);
        testing_flow_move(net, f, lower);
        testing_net_run(net, (int64_t)seed * 500 * NS_PER_US);
        net->link[cut].cut = true;
        testing_net_run(net, 100 * NS_PER_MS);
        net->link[cut].cut = false;
        testing_net_run(net, 250 * NS_PER_MS);
        assert_int_equal(net->node[1].of_kind[LANE_EVENT_MOVE_DONE], 1);
        uint64_t before = net->flow[f].delivered;
        testing_net_run(net, 20 * NS_PER_MS);
        assert_true(net->flow[f].delivered > before + 1200);
        testing_net_drain(net, 4 * NS_PER_S);
        uint64_t known = net->flow[f].delivered + lost_for_good(net);
        assert_true(known == net->flow[f].sent || known == net->flow[f].sent + 1); /* the marker may be among them */
        testing_net_free(net);
    }
}

/* A lane whose path is dead is moved: what still comes by the old one is discarded, and nothing overtakes. */
static void a_dead_lane_is_moved(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 8; seed++) {
        struct testing_net *net = diamond(seed, NULL, 2 * NS_PER_MS, 300 * NS_PER_US);
        unsigned f = testing_flow_add(net, &full);
        assert_true(testing_net_complete(net, NS_PER_S));
        testing_net_run(net, 20 * NS_PER_MS);
        lane_port(net->node[2].lanes, 4)->ns_per_byte *= 20; /* much is left in node 2 */
        testing_net_run(net, 20 * NS_PER_MS);
        net->link[0].cut = true;
        testing_net_run(net, 11 * NS_PER_MS + (int64_t)seed * 200 * NS_PER_US);
        if (net->node[1].of_kind[LANE_EVENT_DOWN] == 0)
            lane_link_down(net->node[1].lanes, 2, net->now);
        assert_int_equal(net->node[1].of_kind[LANE_EVENT_DOWN], 1);
        testing_flow_move(net, f, lower);
        assert_int_equal(net->node[1].of_kind[LANE_EVENT_MOVED], 1); /* at once */
        testing_net_run(net, 500 * NS_PER_MS);                       /* node 2 still has some to deliver before */
        uint64_t before = net->flow[f].delivered;
        testing_net_run(net, 20 * NS_PER_MS);
        assert_true(net->flow[f].delivered > before + 1200);
        net->link[0].cut = false;
        testing_net_drain(net, 5 * NS_PER_S);
        assert_int_equal(net->flow[f].delivered + lost_for_good(net), net->flow[f].sent);
        assert_int_equal(lanes_at(net, 1), 1);
        assert_int_equal(lanes_at(net, 2), 0);
        testing_net_free(net);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(moves_lose_and_reorder_nothing),
        cmocka_unit_test(moves_while_control_frames_are_lost),
        cmocka_unit_test(a_lost_marker_costs_time_only),
        cmocka_unit_test(a_move_that_is_refused_changes_nothing),
        cmocka_unit_test(a_move_whose_end_does_not_come_is_reverted),
        cmocka_unit_test(the_old_path_dies_during_a_move),
        cmocka_unit_test(the_new_path_dies_during_a_move),
        cmocka_unit_test(a_dead_lane_is_moved),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
