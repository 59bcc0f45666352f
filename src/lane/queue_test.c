/* Queues and their states: order, holding, blocking on credit, waking, flushing; every packet is somewhere or recorded. */
#include "base/test.h"
#include "lane/stamp.h"
#include "lane/testing_port.h"

#include <errno.h>

static const struct port_config fast = {.mtu = 1500};

static unsigned take(struct testing_port *t, struct port *p, struct rte_mbuf **m, unsigned most, int64_t now)
{
    unsigned n = port_dequeue(p, m, most, now);
    for (unsigned i = 0; i < n; i++)
        assert_int_equal(m[i]->refcnt, 1);
    return n;
}

static void leaves_in_the_order_of_arrival(void **state)
{
    (void)state;
    struct testing_port *t = testing_port_create(64, 256, 1, &fast, LANE_MODE_LANES);
    struct port *p = &t->port[0];
    struct rte_mbuf *m[64];
    for (uint64_t i = 0; i < 40; i++)
        assert_int_equal(port_enqueue(p, &p->lossy[LANE_BULK], testing_packet(t, 200 + (uint32_t)i, i), 0), 0);
    assert_int_equal(t->set.ready, 1);
    assert_int_equal(p->lossy[LANE_BULK].cells, 40);
    assert_int_equal(p->lossy[LANE_BULK].bytes, 40 * 200 + 39 * 40 / 2);
    unsigned n = take(t, p, m, 32, 0);
    assert_int_equal(n, 32);
    n += take(t, p, m + n, 32, 0);
    assert_int_equal(n, 40);
    for (uint64_t i = 0; i < n; i++)
        assert_int_equal(testing_packet_number(m[i]), i);
    assert_int_equal(t->set.ready, 0);
    assert_int_equal(p->lossy[LANE_BULK].state, QUEUE_IDLE);
    assert_int_equal(p->lossy[LANE_BULK].bytes, 0);
    assert_int_equal(p->lossy[LANE_BULK].peak_cells, 40);
    assert_int_equal(port_next(p, 5), INT64_MAX);
    port_sent(p, m, n, 0);
    assert_int_equal(testing_port_free(t), 0);
}

static void drops_at_its_tail_with_a_record(void **state)
{
    (void)state;
    struct port_config c = fast;
    c.lossy.drop_cells = 4;
    struct testing_port *t = testing_port_create(8, 256, 1, &c, LANE_MODE_LANES);
    struct port *p = &t->port[0];
    for (uint64_t i = 0; i < 5; i++) {
        struct rte_mbuf *m = testing_packet(t, i == 3 ? 3000 : 100, i);
        packet_meta(m)->flow = 77;
        packet_meta(m)->tenant = 9;
        int rc = port_enqueue(p, &p->lossy[LANE_PARAMETER], m, 123);
        assert_int_equal(rc, i == 3 ? -ENOBUFS : 0); /* its two cells do not fit, the last packet's one does */
    }
    struct loss_record r;
    assert_int_equal(loss_read(t->loss, &r, 1), 1);
    assert_int_equal(r.reason, LOSS_TAIL);
    assert_int_equal(r.flow, 77);
    assert_int_equal(r.tenant, 9);
    assert_int_equal(r.cells, 2);
    assert_int_equal(r.at_ns, 123);
    assert_int_equal(t->loss->packets[LOSS_TAIL], 1);
    assert_int_equal(p->lossy[LANE_PARAMETER].dropped_packets, 1);
    assert_int_equal(t->slab->used, 4);
    assert_int_equal(testing_port_free(t), 0);
}

static void waits_for_credit_outside_the_rings(void **state)
{
    (void)state;
    struct testing_port *t = testing_port_create(16, 256, 1, &fast, LANE_MODE_LANES);
    struct port *p = &t->port[0];
    struct lane_tx lane;
    struct rte_mbuf *m[16];
    testing_lane_init(t, &lane, p, LANE_INFERENCE, 3);
    lane.index = 0x1234;
    lane.epoch = 0x5678;
    for (uint64_t i = 0; i < 4; i++)
        port_enqueue(p, &lane.queue, testing_packet(t, i == 1 ? 2049 : 100, i), 0);
    assert_int_equal(take(t, p, m, 16, 0), 2);
    assert_memory_equal(packet_at(m[0], TESTING_OPTION), "\x12\x34\x56\x78\0\0\0\0", 8);
    assert_memory_equal(packet_at(m[1], TESTING_OPTION), "\x12\x34\x56\x78\0\0\0\1", 8);
    assert_int_equal(lane.queue.state, QUEUE_BLOCKED);
    assert_int_equal(p->active, 0);
    assert_int_equal(port_next(p, 0), INT64_MAX);
    lane.credit.limit = 5;
    assert_int_equal(take(t, p, m + 2, 14, 0), 0); /* nobody woke it */
    queue_wake(&lane.queue, 0);
    assert_int_equal(take(t, p, m + 2, 14, 0), 2);
    assert_int_equal(lane.credit.sent, 5);
    assert_int_equal(lane.queue.state, QUEUE_IDLE);
    queue_wake(&lane.queue, 0); /* of an idle queue: nothing */
    assert_int_equal(p->active, 0);
    port_sent(p, m, 4, 0);
    assert_int_equal(testing_port_free(t), 0);
}

static void a_thousand_stalled_lanes_leave_the_port_alone(void **state)
{
    (void)state;
    enum { LANES = 1000 };
    struct testing_port *t = testing_port_create(LANES + 8, 256, 1, &fast, LANE_MODE_LANES);
    struct port *p = &t->port[0];
    static struct lane_tx lane[LANES];
    struct rte_mbuf *m[8];
    for (unsigned i = 0; i < LANES; i++) {
        testing_lane_init(t, &lane[i], p, LANE_INFERENCE, 0);
        port_enqueue(p, &lane[i].queue, testing_packet(t, 100, i), 0);
    }
    assert_int_equal(take(t, p, m, 8, 0), 0);
    assert_int_equal(p->active, 0);
    assert_int_equal(p->rings, 0);
    for (unsigned i = 0; i < 8; i++)
        port_enqueue(p, &p->lossy[LANE_BULK], testing_packet(t, 100, i), 0);
    assert_int_equal(take(t, p, m, 8, 0), 8);
    port_sent(p, m, 8, 0);
    for (unsigned i = 0; i < LANES; i++)
        assert_int_equal(queue_flush(&lane[i].queue, LOSS_WATCHDOG, 0), 1);
    assert_int_equal(t->loss->packets[LOSS_WATCHDOG], LANES);
    assert_int_equal(testing_port_free(t), 0);
}

static void is_held_and_flushed(void **state)
{
    (void)state;
    struct testing_port *t = testing_port_create(16, 256, 1, &fast, LANE_MODE_LANES);
    struct port *p = &t->port[0];
    struct lane_tx lane;
    struct lane_rx from = {.told = &t->told, .id = 42, .credit = {.window = 100, .limit = 100}};
    struct rte_mbuf *m[16];
    testing_lane_init(t, &lane, p, LANE_BULK, 100);
    lane.id = 43;
    queue_hold(&lane.queue); /* before anything came */
    for (uint64_t i = 0; i < 3; i++) {
        struct rte_mbuf *one = testing_packet(t, 100, i);
        packet_meta(one)->from = &from;
        packet_meta(one)->cells = 2; /* as it was received, with other headers */
        from.credit.arrived += 2;
        port_enqueue(p, &lane.queue, one, 0);
    }
    assert_int_equal(take(t, p, m, 16, 0), 0);
    assert_int_equal(lane.queue.cells, 6);
    queue_wake(&lane.queue, 0);
    assert_int_equal(take(t, p, m, 1, 0), 1);
    queue_hold(&lane.queue); /* in the middle */
    assert_int_equal(take(t, p, m + 1, 15, 0), 0);
    assert_int_equal(queue_flush(&lane.queue, LOSS_CUT, 5), 2);
    assert_int_equal(lane.queue.state, QUEUE_HELD);
    assert_int_equal(credit_occupied(&from.credit), 2); /* of the one whose descriptor is still busy */
    port_sent(p, m, 1, 0);
    assert_int_equal(credit_occupied(&from.credit), 0);
    struct loss_record r;
    assert_int_equal(loss_read(t->loss, &r, 1), 1);
    assert_int_equal(r.lane, 43);
    assert_int_equal(r.reason, LOSS_CUT);
    queue_wake(&lane.queue, 0);
    assert_int_equal(lane.queue.state, QUEUE_IDLE);
    assert_int_equal(testing_port_free(t), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(leaves_in_the_order_of_arrival),
        cmocka_unit_test(drops_at_its_tail_with_a_record),
        cmocka_unit_test(waits_for_credit_outside_the_rings),
        cmocka_unit_test(a_thousand_stalled_lanes_leave_the_port_alone),
        cmocka_unit_test(is_held_and_flushed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
