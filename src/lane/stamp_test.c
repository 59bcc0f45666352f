/* What the transmit path does to a lane's packet, bit by bit. */
#include "base/test.h"
#include "lane/stamp.h"
#include "lane/testing_mbuf.h"

static void writes_index_epoch_and_first_cell(void **state)
{
    (void)state;
    struct testing_mbufs *slab = testing_mbufs_create(1, 256);
    struct lane_wire wire = {.up = true, .windowed = true, .window = {.limit = 10}};
    struct lane_tx t = {.wire = &wire, .open = true, .hold_at = UINT64_MAX, .index = 0x1234, .epoch = 0xabcd};
    t.credit = (struct credit_sender){.sent = 0x1fffffffe, .limit = 0x200000004};
    struct rte_mbuf *m = testing_mbuf_sized(slab, 3 * PACKET_CELL);
    packet_meta(m)->lane_option = 70;

    assert_true(lane_may_send(&t, 3));
    assert_false(lane_may_send(&t, 7));
    lane_stamp(&t, m, 3, 1);
    static const uint8_t want[] = {0x12, 0x34, 0xab, 0xcd, 0xff, 0xff, 0xff, 0xfe};
    assert_memory_equal(packet_at(m, 70), want, sizeof want);
    assert_true(t.credit.sent == 0x200000001);
    assert_true(wire.window.sent == 3);
    assert_true(lane_may_send(&t, 3));
    wire.up = false;
    assert_false(lane_may_send(&t, 3));
    testing_mbuf_free(slab, m);
    testing_mbufs_free(slab);
}

static void waits_for_the_link_in_order_and_only_for_it(void **state)
{
    (void)state;
    struct lane_wire wire = {.up = true, .windowed = true, .window = {.limit = 2}};
    struct lane_tx t[3] = {{.wire = &wire}, {.wire = &wire}, {.wire = &wire}};
    lane_blocked(&t[0], 1); /* the lane's own credit: not here */
    assert_null(wire.waiting);
    lane_blocked(&t[1], 3);
    lane_blocked(&t[0], 3);
    lane_blocked(&t[2], 3);
    lane_blocked(&t[1], 3); /* once is enough */
    assert_ptr_equal(wire.waiting, &t[1]);
    assert_ptr_equal(t[1].waits_next, &t[0]);
    assert_ptr_equal(t[0].waits_next, &t[2]);
    assert_ptr_equal(t[2].waits_next, &t[2]);
}

static void freed_cells_are_told_once_each_and_soon_when_many(void **state)
{
    (void)state;
    struct lane_told told = {0};
    struct lane_rx r[2] = {{.told = &told}, {.told = &told}};
    r[0].credit = r[1].credit = (struct credit_receiver){.arrived = 8, .limit = 8, .window = 8};
    lane_cells_sent(&r[0], 1);
    lane_cells_sent(&r[0], 1);
    assert_false(told.ripe);
    assert_ptr_equal(told.dirty, &r[0]);
    assert_ptr_equal(r[0].dirty, &r[0]);
    lane_cells_sent(&r[1], 3);
    assert_true(told.ripe);
    assert_ptr_equal(told.dirty, &r[1]);
    assert_ptr_equal(r[1].dirty, &r[0]);
    assert_true(credit_occupied(&r[0].credit) == 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_index_epoch_and_first_cell),
        cmocka_unit_test(waits_for_the_link_in_order_and_only_for_it),
        cmocka_unit_test(freed_cells_are_told_once_each_and_soon_when_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
