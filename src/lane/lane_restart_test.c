/* Sessions begin, break and begin again: routers restart, fibres are cut, cables are swapped, frames are forged and replayed.
 * Nothing is delivered twice or out of order, and what was lost is known. testing_link.c checks after each step. */
#include "base/test.h"
#include "lane/lane_inner.h"
#include "lane/testing_link.h"

#define GBPS 1000000000ull

static const struct port_config core = {.rate_bps = GBPS, .mtu = 1500, .pool_cells = 2048};

static const struct testing_flow full = {
    .node = 1, .path = {2, 3}, .tenant = 5, .class_ = LANE_PARAMETER, .size = 1514, .backlog = 64, .window_least = 8};

static uint64_t lost_for_good(const struct testing_net *net)
{
    uint64_t sum = 0;
    for (int r = 0; r < LOSS_REASONS; r++)
        if (loss_counts((enum loss_reason)r))
            sum += testing_losses(net, (enum loss_reason)r);
    return sum;
}

/* Both routers live, the fibre does not: all that was under way, or upstream of the cut, is lost and known by name. */
static void a_cut_fibre_loses_what_it_must_and_says_so(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 8; seed++) {
        struct testing_net *net = testing_chain(seed, 4, NULL, (int64_t)seed * 100 * NS_PER_US, &core);
        struct testing_flow far = full;
        far.path[2] = 4;
        unsigned f = testing_flow_add(net, &far);
        struct testing_link *l = &net->link[seed % 3];
        assert_true(testing_net_complete(net, NS_PER_S));
        for (int cut = 1; cut <= 3; cut++) {
            testing_net_run(net, 20 * NS_PER_MS);
            l->cut = true;
            testing_net_run(net, 50 * NS_PER_MS);
            assert_int_equal(net->node[1].of_kind[LANE_EVENT_DOWN], cut);
            assert_false(net->flow[f].tx->complete);
            assert_true(testing_losses(net, LOSS_CUT) >= (uint64_t)cut * 64); /* also what waited at the ingress */
            l->cut = false;
            assert_true(testing_net_complete(net, NS_PER_S));
            assert_int_equal(net->node[1].of_kind[LANE_EVENT_OPEN], cut + 1);
        }
        uint64_t before = net->flow[f].delivered;
        testing_net_run(net, 20 * NS_PER_MS);
        assert_true(net->flow[f].delivered > before + 500);
        testing_net_drain(net, NS_PER_S);
        assert_int_equal(net->flow[f].delivered + lost_for_good(net), net->flow[f].sent);
        assert_true(testing_losses(net, LOSS_LINK_DOWN) > 0);
        testing_net_free(net);
    }
}

/* Also while a tenth of all control frames is lost and data is lost too. */
static void a_cut_of_a_bad_link_is_accounted_for_as_well(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 8; seed++) {
        struct lane_node_config c = {.control_loss = 0.1};
        struct testing_net *net = testing_chain(seed, 3, &c, 200 * NS_PER_US, &core);
        unsigned f = testing_flow_add(net, &full);
        for (unsigned i = 0; i < 2; i++) {
            net->link[i].control = (struct testing_impair){.loss = 0.1, .reorder = 0.1, .reorder_ns = 300 * NS_PER_US};
            net->link[i].data.loss = 0.02;
        }
        assert_true(testing_net_complete(net, NS_PER_S));
        for (int cut = 1; cut <= 3; cut++) {
            testing_net_run(net, 20 * NS_PER_MS);
            net->link[cut % 2].cut = true;
            testing_net_run(net, 60 * NS_PER_MS);
            net->link[cut % 2].cut = false;
            assert_true(testing_net_complete(net, 2 * NS_PER_S));
        }
        testing_net_drain(net, NS_PER_S);
        assert_int_equal(net->flow[f].delivered + lost_for_good(net), net->flow[f].sent);
        testing_net_free(net);
    }
}

static void restart(uint32_t who, double control_loss)
{
    for (uint64_t seed = 1; seed <= 3; seed++) {
        struct lane_node_config c = {.control_loss = control_loss};
        struct testing_net *net = testing_chain(seed, 4, &c, 100 * NS_PER_US, &core);
        struct testing_flow far = full;
        far.path[2] = 4;
        unsigned f = testing_flow_add(net, &far);
        for (unsigned i = 0; i < 3; i++)
            net->link[i].control.loss = control_loss;
        assert_true(testing_net_complete(net, 2 * NS_PER_S));
        for (int turn = 0; turn < 3; turn++) {
            testing_net_run(net, 10 * NS_PER_MS + (int64_t)seed * 123 * NS_PER_US);
            testing_node_restart(net, who);
            if (who != 1) /* the ingress notices, and opens anew */
                testing_net_run(net, 150 * NS_PER_MS);
            assert_true(testing_net_complete(net, 2 * NS_PER_S));
            uint64_t before = net->flow[f].delivered;
            testing_net_run(net, 10 * NS_PER_MS);
            assert_true(net->flow[f].delivered > before + 200);
        }
        testing_net_drain(net, NS_PER_S);
        assert_true(net->flow[f].delivered <= net->flow[f].sent);
        testing_net_free(net);
    }
}

static void any_router_may_restart(void **state)
{
    (void)state;
    for (uint32_t who = 1; who <= 4; who++)
        restart(who, 0.01);
    restart(2, 0.3);
}

/* What a restarted sender had under way comes from an epoch that is over: discarded, each one counted. */
static void packets_of_an_epoch_before_are_counted_exactly(void **state)
{
    (void)state;
    struct testing_net *net = testing_chain(3, 2, NULL, 2 * NS_PER_MS, &core);
    struct testing_flow near = full;
    near.path[1] = 0;
    near.window_least = 400;
    unsigned f = testing_flow_add(net, &near);
    assert_true(testing_net_complete(net, NS_PER_S));
    testing_net_run(net, 30 * NS_PER_MS);
    uint64_t before = net->flow[f].delivered, under_way = net->flow[f].tx->credit.sent;
    under_way -= testing_rx(net, 2, net->flow[f].lane)->credit.arrived;
    assert_true(under_way > 100);
    net->flow[f].off = true;
    testing_node_restart(net, 1);
    testing_net_run(net, 300 * NS_PER_MS);
    /* The session stood until the new one was agreed, a round trip later: until then they were good. */
    uint64_t stale = testing_losses(net, LOSS_STALE_EPOCH);
    assert_int_equal(net->flow[f].delivered - before + stale, under_way);
    testing_net_free(net);
}

/* However well they would fit: a packet's epoch must be that of the session, its index that of a lane of that port. */
static void packets_that_belong_to_no_lane_of_the_session_are_dropped(void **state)
{
    (void)state;
    struct testing_net *net = testing_chain(3, 2, NULL, 100 * NS_PER_US, &core);
    struct testing_flow near = full;
    near.path[1] = 0;
    near.backlog = 0;
    unsigned f = testing_flow_add(net, &near);
    assert_true(testing_net_complete(net, NS_PER_S));
    const struct lane_tx *t = net->flow[f].tx;
    struct lane_node *n = net->node[2].lanes;
    const struct {
        uint16_t port, index, epoch;
        uint32_t cell;
        int reason;
    } wrong[] = {
        {0, t->index, (uint16_t)(t->epoch + 1), 0, LOSS_STALE_EPOCH},
        {1, t->index, t->epoch, 0, LOSS_STALE_EPOCH},
        {TESTING_HOST_PORT, t->index, t->epoch, 0, LOSS_STALE_EPOCH},
        {0, (uint16_t)(t->index + 1), t->epoch, 0, LOSS_UNKNOWN_LANE},
        {0, 0xffff, t->epoch, 0, LOSS_UNKNOWN_LANE},
        {0, t->index, t->epoch, 8, LOSS_BEYOND_CREDIT},
        {0, t->index, t->epoch, 0x7fffffff, LOSS_BEYOND_CREDIT},
        {0, t->index, t->epoch, 0x80000000, LOSS_DUPLICATE},
        {0, t->index, t->epoch, 0xffffffff, LOSS_DUPLICATE},
    };
    for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        uint8_t option[8];
        int reason = LOSS_NONE;
        bytes_put_be16(option, wrong[i].index);
        bytes_put_be16(option + 2, wrong[i].epoch);
        bytes_put_be32(option + 4, wrong[i].cell);
        uint64_t before = lane_loss(n)->packets[wrong[i].reason];
        assert_null(lane_receive(n, wrong[i].port, option, 1, net->now, &reason));
        assert_int_equal(reason, wrong[i].reason);
        assert_int_equal(lane_loss(n)->packets[wrong[i].reason], before + 1);
    }
    const struct lane_rx *r = testing_rx(net, 2, net->flow[f].lane);
    assert_int_equal(r->credit.arrived, 0);
    assert_int_equal(r->credit.lost, 0);
    testing_net_free(net);
}

static void forged_and_replayed_frames_change_nothing(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        struct testing_net *net = testing_chain(seed, 3, NULL, 100 * NS_PER_US, &core);
        unsigned f = testing_flow_add(net, &full);
        net->forge = 0.5;
        net->replay = true;
        assert_true(testing_net_complete(net, NS_PER_S));
        testing_net_run(net, 50 * NS_PER_MS);
        testing_net_drain(net, 100 * NS_PER_MS);
        assert_int_equal(net->flow[f].delivered, net->flow[f].sent);
        assert_true(net->flow[f].delivered > 3000);
        assert_int_equal(testing_events(net, LANE_EVENT_LINK_DOWN), 0);
        assert_int_equal(testing_events(net, LANE_EVENT_LINK_UP), 4);
        const struct lane_link *l = net->node[2].lanes->link[0];
        assert_true(l->frames_bad > 10 && l->frames_replayed > 30);
        testing_net_free(net);
    }
}

/* Every frame of a first session is recorded and played back, again and again, into the second one. */
static void frames_of_an_earlier_session_change_nothing(void **state)
{
    (void)state;
    enum { KEPT = 200 };
    static uint8_t kept[KEPT][LANE_FRAME_MOST];
    static uint32_t len[KEPT];
    struct testing_net *net = testing_chain(5, 2, NULL, 100 * NS_PER_US, &core);
    struct testing_flow near = full;
    near.path[1] = 0;
    unsigned f = testing_flow_add(net, &near), n = 0;
    while (n < KEPT) { /* what arrives at node 2 */
        testing_net_run(net, 100 * NS_PER_US);
        n += testing_frames_under_way(net, 2, 0, kept + n, len + n, KEPT - n);
    }
    assert_true(net->flow[f].tx->complete);
    testing_node_restart(net, 1);
    assert_true(testing_net_complete(net, NS_PER_S));
    unsigned up = testing_events(net, LANE_EVENT_LINK_UP);
    for (int turn = 0; turn < 20; turn++) {
        for (unsigned i = 0; i < n; i++)
            lane_frame(net->node[2].lanes, 0, kept[i], len[i], net->now);
        testing_net_run(net, 5 * NS_PER_MS);
    }
    assert_int_equal(testing_events(net, LANE_EVENT_LINK_UP), up);
    assert_true(net->flow[f].tx->complete);
    testing_net_drain(net, 100 * NS_PER_MS);
    uint64_t lost = lost_for_good(net) + testing_losses(net, LOSS_STALE_EPOCH);
    assert_true(net->flow[f].delivered + lost <= net->flow[f].sent);
    assert_true(net->flow[f].delivered > 5000);
    testing_net_free(net);
}

static void the_shell_says_that_the_carrier_is_lost(void **state)
{
    (void)state;
    struct testing_net *net = testing_chain(5, 2, NULL, 100 * NS_PER_US, &core);
    testing_net_run(net, 50 * NS_PER_MS);
    assert_true(lane_port(net->node[1].lanes, 1)->up);
    lane_link_down(net->node[1].lanes, 1, net->now);
    assert_int_equal(net->node[1].of_kind[LANE_EVENT_LINK_DOWN], 1);
    assert_false(lane_port(net->node[1].lanes, 1)->up);
    testing_net_run(net, 10 * NS_PER_MS); /* it was but a moment */
    assert_int_equal(net->node[1].of_kind[LANE_EVENT_LINK_UP], 2);
    assert_int_equal(net->node[2].of_kind[LANE_EVENT_LINK_UP], 2);
    testing_net_free(net);
}

/* --- who is there -------------------------------------------------------------------------------------------- */

static const struct lane_event *last_event(const struct testing_node *node, enum lane_event_kind kind)
{
    for (unsigned i = node->n_events; i-- > 0;)
        if (node->event[i % TESTING_EVENTS].kind == kind)
            return &node->event[i % TESTING_EVENTS];
    return NULL;
}

static struct testing_net *pair(const struct lane_node_config *first)
{
    struct testing_net *net = testing_net_create(1, 1);
    testing_node_add(net, 1, first);
    testing_node_add(net, 2, NULL);
    testing_link_add(net, 1, 1, 2, 0, 100 * NS_PER_US, &core);
    testing_net_run(net, 200 * NS_PER_MS);
    return net;
}

static void neighbours_learn_who_they_are(void **state)
{
    (void)state;
    uint8_t seed[32], keys[2][32];
    for (uint8_t i = 0; i < 2; i++) {
        struct ed25519 *k;
        memset(seed, i + 1, 32);
        assert_int_equal(ed25519_create(&k, seed), 0);
        memcpy(keys[i], ed25519_public(k), 32);
        ed25519_free(k);
    }
    struct lane_node_config c = {.trusted = keys, .n_trusted = 2};
    c.expected_peer[1] = 2;
    struct testing_net *net = pair(&c);
    const struct lane_event *up = last_event(&net->node[1], LANE_EVENT_LINK_UP);
    assert_non_null(up);
    assert_int_equal(up->peer, 2);
    assert_int_equal(up->detail, 0);
    assert_int_equal(last_event(&net->node[2], LANE_EVENT_LINK_UP)->detail, LANE_UP_UNVERIFIED);
    assert_memory_equal(lane_port(net->node[1].lanes, 1)->peer_mac, net->port[0][1].mac, 6);
    const struct lane_link *l = net->node[1].lanes->link[1];
    assert_true(l->rtt_ns >= 200 * NS_PER_US && l->rtt_ns < 220 * NS_PER_US);
    assert_true(l->session.id == net->node[2].lanes->link[0]->session.id);
    testing_net_free(net);
}

static void wrong_cables_are_told_and_carry_nothing(void **state)
{
    (void)state;
    struct lane_node_config c = {0};
    c.expected_peer[1] = 3;
    struct testing_net *net = pair(&c);
    const struct lane_event *e = last_event(&net->node[1], LANE_EVENT_MISCABLED);
    assert_non_null(e);
    assert_int_equal(e->peer, 2);
    assert_int_equal(e->port, 1);
    assert_int_equal(e->detail, LANE_MISCABLED_ROUTER);
    assert_int_equal(net->node[1].of_kind[LANE_EVENT_MISCABLED], 1); /* once */
    assert_int_equal(testing_events(net, LANE_EVENT_LINK_UP), 0);
    testing_net_free(net);

    uint8_t other[1][32] = {{7}};
    c = (struct lane_node_config){.trusted = other, .n_trusted = 1};
    net = pair(&c);
    assert_int_equal(last_event(&net->node[1], LANE_EVENT_MISCABLED)->detail, LANE_MISCABLED_KEY);
    assert_int_equal(testing_events(net, LANE_EVENT_LINK_UP), 0);
    testing_net_free(net);

    net = testing_net_create(1, 1); /* the cable comes back */
    testing_node_add(net, 1, NULL);
    testing_link_add(net, 1, 1, 1, 2, 100 * NS_PER_US, &core);
    testing_net_run(net, 100 * NS_PER_MS);
    assert_int_equal(last_event(&net->node[1], LANE_EVENT_MISCABLED)->detail, LANE_MISCABLED_SELF);
    assert_int_equal(testing_events(net, LANE_EVENT_LINK_UP), 0);
    testing_net_free(net);
}

static void assert_all_go_to(const struct queue *q, const uint8_t mac[6])
{
    unsigned n = 0;
    for (struct rte_mbuf *m = q->head; m; m = packet_meta(m)->next, n++)
        assert_memory_equal(packet_at(m, ETHER_DST), mac, 6);
    assert_int_equal(n, 5);
}

/* Packets that come before the link's other end is known wait for its lane, and are framed for nobody; a router in its place
 * that has other ports must get them too. */
static void packets_that_wait_for_a_link_go_to_whoever_is_there_then(void **state)
{
    (void)state;
    static const struct testing_flow manual = {.node = 1, .path = {2}, .class_ = LANE_BULK, .window_least = 8};
    struct testing_net *net = testing_chain(1, 2, NULL, 100 * NS_PER_US, &core);
    struct lane_spec spec;
    struct lane_tx *t;
    struct error err;
    net->node[2].no_sids = true; /* the lane never opens: they stay */
    testing_spec(net, &manual, manual.path, &spec);
    assert_int_equal(lane_open(net->node[1].lanes, &spec, net->now, &t, &err), 0);
    for (int i = 0; i < 5; i++) {
        struct rte_mbuf *m = testing_mbuf_sized(net->slab, 1514);
        memset(packet_at(m, 0), 0, 12);
        assert_int_equal(port_enqueue(t->queue.port, &t->queue, m, net->now), 0);
    }
    testing_net_run(net, 50 * NS_PER_MS);
    assert_int_equal(net->node[1].lanes->link[1]->state, LINK_UP);
    assert_all_go_to(&t->queue, net->port[0][1].mac);
    net->port[0][1].mac[5] ^= 0x77;
    testing_node_restart(net, 2);
    testing_net_run(net, 50 * NS_PER_MS);
    assert_memory_equal(lane_port(net->node[1].lanes, 1)->peer_mac, net->port[0][1].mac, 6);
    assert_all_go_to(&t->queue, net->port[0][1].mac);
    lane_close(net->node[1].lanes, t, false, net->now);
    testing_net_run(net, 50 * NS_PER_MS);
    testing_net_free(net);
}

static void hello_of_version(struct testing_net *net, uint8_t version)
{
    uint8_t frame[LANE_FRAME_HEADER + LANE_HELLO_SIZE] = {0};
    struct lane_header hdr = {.type = LANE_HELLO, .length = LANE_HELLO_SIZE, .epoch = 9};
    lane_header_encode(frame, &hdr);
    frame[2] = version;
    lane_frame(net->node[1].lanes, 1, frame, sizeof frame, net->now);
    hdr.type = LANE_CREDIT; /* only HELLOs are the same in all versions */
    hdr.length = LANE_CREDIT_SIZE;
    lane_header_encode(frame, &hdr);
    frame[2] = version;
    lane_frame(net->node[1].lanes, 1, frame, sizeof frame, net->now);
}

/* A router of another version is not understood and not answered; it is told once, and costs a link that stands nothing. */
static void a_neighbour_of_another_version_is_told_once(void **state)
{
    (void)state;
    struct testing_net *net = testing_chain(1, 2, NULL, 100 * NS_PER_US, &core);
    const struct lane_link *l = net->node[1].lanes->link[1];
    uint64_t sent = l->frames_sent;
    for (int i = 0; i < 3; i++)
        hello_of_version(net, LANE_FRAME_VERSION - 1);
    hello_of_version(net, LANE_FRAME_VERSION + 1);
    assert_int_equal(net->node[1].of_kind[LANE_EVENT_VERSION], 1);
    const struct lane_event *e = last_event(&net->node[1], LANE_EVENT_VERSION);
    assert_int_equal(e->detail, LANE_FRAME_VERSION - 1);
    assert_int_equal(e->port, 1);
    assert_int_equal(l->frames_bad, 8);
    assert_int_equal(l->frames_sent, sent);
    assert_int_equal(l->state, LINK_DOWN);

    testing_net_run(net, 100 * NS_PER_MS); /* its other end is one of ours now */
    assert_int_equal(l->state, LINK_UP);
    hello_of_version(net, LANE_FRAME_VERSION - 1);
    assert_int_equal(net->node[1].of_kind[LANE_EVENT_VERSION], 1);
    assert_int_equal(l->state, LINK_UP);

    net->link[0].cut = true; /* and the old one again */
    testing_net_run(net, 50 * NS_PER_MS);
    hello_of_version(net, LANE_FRAME_VERSION - 1);
    assert_int_equal(net->node[1].of_kind[LANE_EVENT_VERSION], 2);
    testing_net_free(net);
}

/* A stream of well-formed HELLOs with wrong signatures: few are looked at, and the link comes up all the same. */
static void a_flood_of_hellos_is_not_all_verified(void **state)
{
    (void)state;
    struct testing_net *net = testing_chain(5, 2, NULL, 100 * NS_PER_US, &core);
    uint8_t frame[LANE_FRAME_HEADER + LANE_HELLO_SIZE] = {0};
    struct lane_hello h = {.router = 2, .cell = PACKET_CELL};
    memset(h.identity, 9, 32);
    lane_hello_encode(frame + LANE_FRAME_HEADER, &h);
    for (uint64_t i = 1; i <= 10000; i++) {
        struct lane_header hdr = {.type = LANE_HELLO, .length = LANE_HELLO_SIZE, .epoch = i};
        lane_header_encode(frame, &hdr);
        lane_frame(net->node[1].lanes, 1, frame, sizeof frame, net->now);
        if (i % 100 == 0)
            testing_net_run(net, NS_PER_MS);
    }
    const struct lane_link *l = net->node[1].lanes->link[1];
    assert_int_equal(l->state, LINK_UP);
    assert_true(l->hellos_refused >= 10000);
    assert_true(l->hellos_verified < 100); /* of 10000 in 100 ms */
    testing_net_free(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cut_fibre_loses_what_it_must_and_says_so),
        cmocka_unit_test(a_cut_of_a_bad_link_is_accounted_for_as_well),
        cmocka_unit_test(any_router_may_restart),
        cmocka_unit_test(packets_of_an_epoch_before_are_counted_exactly),
        cmocka_unit_test(packets_that_belong_to_no_lane_of_the_session_are_dropped),
        cmocka_unit_test(forged_and_replayed_frames_change_nothing),
        cmocka_unit_test(frames_of_an_earlier_session_change_nothing),
        cmocka_unit_test(the_shell_says_that_the_carrier_is_lost),
        cmocka_unit_test(neighbours_learn_who_they_are),
        cmocka_unit_test(wrong_cables_are_told_and_carry_nothing),
        cmocka_unit_test(packets_that_wait_for_a_link_go_to_whoever_is_there_then),
        cmocka_unit_test(a_neighbour_of_another_version_is_told_once),
        cmocka_unit_test(a_flood_of_hellos_is_not_all_verified),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
