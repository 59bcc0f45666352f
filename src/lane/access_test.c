/* The edge towards hosts: ECN marks with their checksum, PFC by priority, policing, headroom, safe maps. */
#include "base/bytes.h"
#include "base/rng.h"
#include "base/test.h"
#include "lane/access.h"
#include "lane/testing_port.h"
#include "wire/pfc.h"

#include <errno.h>

enum { CORE, HOST, HOST2, PORTS };

/* Port 0 is a core link, 1 and 2 have hosts that speak PFC on priorities 3 and 4. */
static struct testing_port *router(uint32_t mbufs)
{
    struct port_config c = {.mtu = 1500, .rate_bps = 10000000000, .mac = {2, 0, 0, 0, 0, 1}};
    struct testing_port *t = testing_port_create(mbufs, 256, 1, &c, LANE_MODE_LANES);
    c.kind = PORT_ACCESS;
    c.pfc_priorities = 0x18;
    for (unsigned i = HOST; i < PORTS; i++)
        port_init(&t->port[i], &t->set, NULL, (uint16_t)i, &c, 0);
    return t;
}

/* --- ECN --------------------------------------------------------------------------------------------------- */

static uint16_t sum_v4(const uint8_t *h)
{
    uint32_t sum = 0;
    for (unsigned i = 0; i < 20; i += 2)
        sum += bytes_get_be16(h + i);
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

static void header_v4(uint8_t *h, uint8_t tos, uint64_t i)
{
    static const uint8_t plain[20] = {0x45, 0, 5, 0xdc, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2};
    memcpy(h, plain, 20);
    h[IP4_TOS] = tos;
    bytes_put_be16(h + 4, (uint16_t)rng_u64(3, i));
    bytes_put_be32(h + IP4_SRC, (uint32_t)rng_u64(4, i));
    bytes_put_be16(h + IP4_SUM, sum_v4(h));
}

static void marks_v4_where_ecn_is_spoken_and_keeps_its_checksum(void **state)
{
    (void)state;
    struct testing_mbufs *s = testing_mbufs_create(1, 256);
    struct rte_mbuf *m = testing_mbuf_sized(s, 200);
    packet_meta(m)->l3 = 18; /* behind a VLAN tag */
    for (unsigned i = 0; i < 40000; i++) {
        uint8_t tos = (uint8_t)i, *h = packet_at(m, 18), before[20];
        header_v4(h, tos, i);
        memcpy(before, h, 20);
        assert_int_equal(access_mark_ce(m), (tos & 3) != 0);
        assert_int_equal(h[IP4_TOS], tos & 3 ? tos | 3 : tos);
        assert_int_equal(sum_v4(h), 0); /* over a header with its right checksum */
        before[IP4_TOS] = h[IP4_TOS];
        memcpy(before + IP4_SUM, h + IP4_SUM, 2);
        assert_memory_equal(before, h, 20); /* nothing else */
    }
    testing_mbuf_free(s, m);
    testing_mbufs_free(s);
}

static void marks_v6_where_ecn_is_spoken(void **state)
{
    (void)state;
    struct testing_mbufs *s = testing_mbufs_create(1, 256);
    struct rte_mbuf *m = testing_mbuf_sized(s, 200);
    packet_meta(m)->l3 = 14;
    for (unsigned tc = 0; tc < 256; tc++) {
        uint8_t *h = packet_at(m, 14);
        bytes_put_be32(h, 6u << 28 | tc << 20 | 0xabcde);
        assert_int_equal(access_mark_ce(m), (tc & 3) != 0);
        assert_int_equal(bytes_get_be32(h), 6u << 28 | (tc & 3 ? tc | 3 : tc) << 20 | 0xabcde);
    }
    packet_at(m, 14)[0] = 0x75; /* neither */
    assert_false(access_mark_ce(m));
    packet_meta(m)->l3 = 195; /* a header that is not there */
    assert_false(access_mark_ce(m));
    packet_meta(m)->l3 = 0;
    assert_false(access_mark_ce(m));
    testing_mbuf_free(s, m);
    testing_mbufs_free(s);
}

/* --- limits ------------------------------------------------------------------------------------------------ */

static struct rte_mbuf *from_host(struct testing_port *t, uint16_t port, uint8_t priority)
{
    struct rte_mbuf *m = testing_packet(t, 1514, 0);
    header_v4(packet_at(m, 14), 2, 0);
    packet_meta(m)->l3 = 14;
    packet_meta(m)->in_port = port;
    packet_meta(m)->pfc_priority = priority;
    return m;
}

/* The PFC frame that a port has to send now; false: it has nothing to send. */
static bool told(struct testing_port *t, unsigned port, struct pfc *ret, int64_t now)
{
    struct rte_mbuf *m;
    if (port_dequeue(&t->port[port], &m, 1, now) == 0)
        return false;
    assert_int_equal(m->pkt_len, PFC_SIZE);
    assert_int_equal(bytes_get_be16(packet_at(m, ETHER_TYPE)), ETHER_MAC_CONTROL);
    assert_memory_equal(packet_at(m, ETHER_SRC), "\2\0\0\0\0\1", 6);
    assert_int_equal(pfc_decode(ret, packet_at(m, ETHER_SIZE), m->data_len - ETHER_SIZE), 0);
    port_sent(&t->port[port], &m, 1, now);
    return true;
}

static void marks_then_pauses_then_polices(void **state)
{
    (void)state;
    struct testing_port *t = router(64);
    struct lane_tx lane;
    struct pfc pfc;
    testing_lane_init(t, &lane, &t->port[CORE], LANE_PARAMETER, 1000);
    lane.queue.ingress = true;
    lane.queue.limits =
        (struct queue_limits){.ecn_cells = 4, .pfc_xoff_cells = 8, .pfc_xon_cells = 3, .drop_cells = 12};
    queue_hold(&lane.queue);
    for (unsigned i = 1; i <= 14; i++) {
        int rc = port_enqueue(&t->port[CORE], &lane.queue, from_host(t, HOST, 3), 1000);
        assert_int_equal(rc, i > 12 ? -ENOBUFS : 0);
        assert_int_equal(lane.queue.marked_packets, i <= 4 ? 0 : i <= 12 ? i - 4 : 8);
        assert_int_equal(t->port[HOST].pfc.tell, i > 8 ? 1 << 3 : 0);
    }
    assert_int_equal(t->loss->packets[LOSS_POLICED], 2);
    assert_int_equal(t->set.ready, 1u << HOST);
    assert_true(told(t, HOST, &pfc, 1000));
    assert_int_equal(pfc.enabled, 1 << 3);
    assert_int_equal(pfc.quanta[3], 0xffff);
    assert_false(told(t, HOST2, &pfc, 1000));
    queue_wake(&lane.queue, 1000);
    struct rte_mbuf *m[64];
    unsigned n = port_dequeue(&t->port[CORE], m, 64, 1000 + 8 * 1230);
    assert_int_equal(n, 8); /* 4 cells are left: not yet */
    assert_false(told(t, HOST, &pfc, 20000));
    n += port_dequeue(&t->port[CORE], m + n, 64, 20000);
    assert_int_equal(n, 12);
    assert_true(told(t, HOST, &pfc, 20000));
    assert_int_equal(pfc.enabled, 1 << 3);
    assert_int_equal(pfc.quanta[3], 0);
    assert_int_equal(port_next(&t->port[HOST], 20000), INT64_MAX);
    port_sent(&t->port[CORE], m, n, 20000);
    assert_int_equal(testing_port_free(t), 0);
}

/* A pause of 65535 quanta lasts 3.36 ms on 10 Gbit/s: it is told again in time as long as it is meant. */
static void a_pause_is_renewed_before_it_ends(void **state)
{
    (void)state;
    struct testing_port *t = router(64);
    struct lane_tx lane;
    struct pfc pfc;
    testing_lane_init(t, &lane, &t->port[CORE], LANE_PARAMETER, 0);
    lane.queue.ingress = true;
    lane.queue.limits = (struct queue_limits){.pfc_xoff_cells = 1, .drop_cells = 12};
    for (unsigned i = 0; i < 2; i++)
        port_enqueue(&t->port[CORE], &lane.queue, from_host(t, HOST, 4), 0);
    int64_t now = 0, pause = pfc_ns(0xffff, 10000000000);
    assert_int_equal(pause, 3355392);
    assert_true(told(t, HOST, &pfc, 0));
    for (unsigned i = 0; i < 5; i++) {
        int64_t next = port_next(&t->port[HOST], now);
        assert_true(next > now && next < now + pause * 9 / 10);
        assert_false(told(t, HOST, &pfc, next - 1));
        assert_true(told(t, HOST, &pfc, next));
        assert_int_equal(pfc.enabled, 1 << 4);
        assert_int_equal(pfc.quanta[4], 0xffff);
        now = next;
    }
    queue_flush(&lane.queue, LOSS_CUT, now); /* gone in whatever way: the host may go on */
    now = port_next(&t->port[HOST], now);
    assert_true(told(t, HOST, &pfc, now));
    assert_int_equal(pfc.quanta[4], 0);
    assert_int_equal(testing_port_free(t), 0);
}

/* Two lanes of one tenant behind one priority: it goes on when neither of them wants the pause. */
static void a_shared_priority_waits_for_both(void **state)
{
    (void)state;
    struct testing_port *t = router(64);
    struct lane_tx lane[2];
    struct pfc pfc;
    for (unsigned i = 0; i < 2; i++) {
        testing_lane_init(t, &lane[i], &t->port[CORE], LANE_PARAMETER, 0);
        lane[i].queue.ingress = true;
        lane[i].queue.limits = (struct queue_limits){.pfc_xoff_cells = 1};
        for (unsigned k = 0; k < 2; k++)
            port_enqueue(&t->port[CORE], &lane[i].queue, from_host(t, HOST, 3), 0);
    }
    assert_true(told(t, HOST, &pfc, 0));
    queue_flush(&lane[0].queue, LOSS_CUT, 0);
    assert_false(told(t, HOST, &pfc, 1000));
    queue_flush(&lane[1].queue, LOSS_CUT, 0);
    assert_true(told(t, HOST, &pfc, 1000));
    assert_int_equal(pfc.quanta[3], 0);
    assert_int_equal(testing_port_free(t), 0);
}

/* A lane fed by two hosts stops both, each by the priority that it used; one without PFC is not told anything. */
static void every_host_that_feeds_a_full_lane_is_paused(void **state)
{
    (void)state;
    struct testing_port *t = router(64);
    struct lane_tx lane;
    struct pfc pfc;
    testing_lane_init(t, &lane, &t->port[CORE], LANE_PARAMETER, 0);
    lane.queue.ingress = true;
    lane.queue.limits = (struct queue_limits){.pfc_xoff_cells = 1};
    port_enqueue(&t->port[CORE], &lane.queue, from_host(t, HOST, 3), 0);
    port_enqueue(&t->port[CORE], &lane.queue, from_host(t, HOST, 3), 0);
    port_enqueue(&t->port[CORE], &lane.queue, from_host(t, HOST2, 4), 0);
    port_enqueue(&t->port[CORE], &lane.queue, from_host(t, HOST2, 4), 0);
    port_enqueue(&t->port[CORE], &lane.queue, from_host(t, HOST2, 7), 0); /* 7 speaks none */
    port_enqueue(&t->port[CORE], &lane.queue, from_host(t, 50, 3), 0);    /* no such port */
    assert_int_equal(lane.queue.feeders, 2);
    assert_true(told(t, HOST, &pfc, 0));
    assert_int_equal(pfc.enabled, 1 << 3);
    assert_true(told(t, HOST2, &pfc, 0));
    assert_int_equal(pfc.enabled, 1 << 4);
    queue_flush(&lane.queue, LOSS_CUT, 0);
    assert_true(told(t, HOST, &pfc, 1000) && told(t, HOST2, &pfc, 1000));
    assert_int_equal(testing_port_free(t), 0);
}

/* No mbuf for the PFC frame: it is told as soon as there is one. */
static void a_pause_that_could_not_be_told_is_told_later(void **state)
{
    (void)state;
    struct testing_port *t = router(2);
    struct lane_tx lane;
    struct pfc pfc;
    testing_lane_init(t, &lane, &t->port[CORE], LANE_PARAMETER, 1);
    lane.queue.ingress = true;
    lane.queue.limits = (struct queue_limits){.pfc_xoff_cells = 1};
    for (unsigned k = 0; k < 2; k++)
        port_enqueue(&t->port[CORE], &lane.queue, from_host(t, HOST, 3), 0);
    assert_false(told(t, HOST, &pfc, 0));
    assert_true(port_next(&t->port[HOST], 0) <= 0);
    struct rte_mbuf *m;
    assert_int_equal(port_dequeue(&t->port[CORE], &m, 1, 0), 1);
    port_sent(&t->port[CORE], &m, 1, 0);
    queue_wake(&lane.queue, 0);
    assert_true(told(t, HOST, &pfc, 0));
    queue_flush(&lane.queue, LOSS_CUT, 0);
    assert_int_equal(testing_port_free(t), 0);
}

/* --- planning ------------------------------------------------------------------------------------------------ */

static void headroom_is_what_may_still_come(void **state)
{
    (void)state;
    /* 100 Gbit/s, 2 us both ways: 25,000 bytes on the wire and two packets of 9038 */
    assert_int_equal(access_headroom_bytes(100000000000, 2000, 9000), 25000 + 2 * 9038);
    assert_int_equal(access_headroom_bytes(1000000000, -5, 1500), 2 * 1538);
    assert_int_equal(access_headroom_cells(100000000000, 2000, 9000, 60), (25000 + 2 * 9038 + 83) / 84);
    assert_int_equal(access_headroom_cells(100000000000, 2000, 9000, 9014), 5 * 5);
}

static void limits_that_make_no_sense_are_refused(void **state)
{
    (void)state;
    struct error e = {""};
    struct queue_limits l = {.ecn_cells = 10, .pfc_xoff_cells = 20, .pfc_xon_cells = 15, .drop_cells = 40};
    assert_int_equal(access_limits_check(&l, 10000000000, 2000, 1500, &e), 0);
    assert_int_equal(access_limits_check(&(struct queue_limits){0}, 10000000000, 2000, 1500, &e), 0);
    l.ecn_cells = 20;
    assert_int_equal(access_limits_check(&l, 10000000000, 2000, 1500, &e), -EINVAL);
    assert_non_null(strstr(e.text, "ECN"));
    l.ecn_cells = 0;
    l.pfc_xon_cells = 20;
    assert_int_equal(access_limits_check(&l, 10000000000, 2000, 1500, &e), -EINVAL);
    assert_non_null(strstr(e.text, "resume"));
    l.pfc_xon_cells = 19;
    l.drop_cells = 23; /* 2500 bytes and two packets: 4 cells */
    assert_int_equal(access_limits_check(&l, 10000000000, 2000, 1500, &e), -EINVAL);
    assert_non_null(strstr(e.text, "at least 24 cells"));
    l.drop_cells = 24;
    assert_int_equal(access_limits_check(&l, 10000000000, 2000, 1500, &e), 0);
}

static void two_tenants_on_one_priority_are_refused(void **state)
{
    (void)state;
    struct error e = {""};
    uint8_t spoken[PORT_MOST] = {[1] = 0x18, [2] = 0x08};
    struct access_priority map[] = {
        {.port = 1, .priority = 3, .class_ = LANE_PARAMETER, .tenant = 7},
        {.port = 1, .priority = 3, .class_ = LANE_BULK, .tenant = 7}, /* of the same tenant: its own affair */
        {.port = 1, .priority = 4, .class_ = LANE_PARAMETER, .tenant = 8},
        {.port = 2, .priority = 3, .class_ = LANE_PARAMETER, .tenant = 8}, /* another port */
        {.port = 1, .priority = 0, .class_ = LANE_BULK, .tenant = 7},
        {.port = 1, .priority = 0, .class_ = LANE_BULK, .tenant = 8}, /* no PFC on 0: nothing to share */
        {.port = 1, .priority = 4, .class_ = LANE_BULK, .tenant = 9},
    };
    assert_int_equal(access_priorities_check(map, 6, spoken, &e), 0);
    assert_int_equal(access_priorities_check(map, 7, spoken, &e), -EINVAL);
    assert_non_null(strstr(e.text, "port 1, priority 4 is shared by tenant 8 (parameter) and tenant 9 (bulk)"));
    map[0].priority = 8;
    assert_int_equal(access_priorities_check(map, 6, spoken, &e), -EINVAL);
    map[0].priority = 3;
    map[0].port = PORT_MOST;
    assert_int_equal(access_priorities_check(map, 6, spoken, &e), -EINVAL);
    assert_int_equal(access_priorities_check(map, 6, spoken, NULL), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(marks_v4_where_ecn_is_spoken_and_keeps_its_checksum),
        cmocka_unit_test(marks_v6_where_ecn_is_spoken),
        cmocka_unit_test(marks_then_pauses_then_polices),
        cmocka_unit_test(a_pause_is_renewed_before_it_ends),
        cmocka_unit_test(a_shared_priority_waits_for_both),
        cmocka_unit_test(every_host_that_feeds_a_full_lane_is_paused),
        cmocka_unit_test(a_pause_that_could_not_be_told_is_told_later),
        cmocka_unit_test(headroom_is_what_may_still_come),
        cmocka_unit_test(limits_that_make_no_sense_are_refused),
        cmocka_unit_test(two_tenants_on_one_priority_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
