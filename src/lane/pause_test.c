/* PFC that a port hears: it stops that priority's queues there, for the time that was told, and nothing else. */
#include "base/test.h"
#include "lane/testing_port.h"
#include "wire/pfc.h"

#include <errno.h>

static const struct port_config host = {
    .kind = PORT_ACCESS, .mtu = 1500, .rate_bps = 10000000000, .pfc_priorities = 0x18};

static int hear(struct port *p, uint8_t enabled, uint16_t quanta, int64_t now)
{
    uint8_t frame[PFC_SIZE], mac[6] = {0};
    struct pfc pfc = {.enabled = enabled};
    for (unsigned i = 0; i < 8; i++)
        pfc.quanta[i] = quanta;
    pfc_put(frame, mac, &pfc);
    return port_pfc_received(p, frame + ETHER_SIZE, sizeof frame - ETHER_SIZE, now);
}

/* A queue for each priority, `packets` in each. */
static void fill(struct testing_port *t, struct queue q[8], unsigned packets)
{
    for (uint8_t i = 0; i < 8; i++) {
        queue_init(&q[i], &t->port[0], LANE_PARAMETER);
        q[i].pfc_priority = i;
        for (unsigned k = 0; k < packets; k++)
            port_enqueue(&t->port[0], &q[i], testing_packet(t, 1226, i), 0);
    }
}

/* Sends what may be sent until `now`; counts per priority. */
static void drain(struct testing_port *t, unsigned sent[8], int64_t now)
{
    struct rte_mbuf *m[64];
    unsigned n = port_dequeue(&t->port[0], m, 64, now);
    for (unsigned i = 0; i < n; i++)
        sent[testing_packet_number(m[i])]++;
    port_sent(&t->port[0], m, n, now);
}

static void stops_one_priority_for_its_time(void **state)
{
    (void)state;
    struct testing_port *t = testing_port_create(64, 128, 1, &host, LANE_MODE_LANES);
    struct port *p = &t->port[0];
    struct queue q[8];
    unsigned sent[8] = {0};
    fill(t, q, 2);
    assert_int_equal(hear(p, 1 << 3, 1000, 100), 0); /* 51.2 us */
    drain(t, sent, 30000);
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(sent[i], i == 3 ? 0 : 2);
    assert_int_equal(q[3].state, QUEUE_PAUSED);
    assert_int_equal(p->active, 0);
    assert_int_equal(port_next(p, 30000), 100 + 51200);
    drain(t, sent, 51299);
    assert_int_equal(sent[3], 0);
    drain(t, sent, 51300);
    assert_int_equal(sent[3], 1);
    drain(t, sent, 52300);
    assert_int_equal(sent[3], 2);
    assert_int_equal(port_next(p, 60000), INT64_MAX);
    assert_int_equal(testing_port_free(t), 0);
}

static void goes_on_when_told_and_stays_stopped_when_told_again(void **state)
{
    (void)state;
    struct testing_port *t = testing_port_create(64, 128, 1, &host, LANE_MODE_LANES);
    struct port *p = &t->port[0];
    struct queue q[8];
    unsigned sent[8] = {0};
    fill(t, q, 2);
    assert_int_equal(hear(p, 0x18, 1000, 0), 0);
    drain(t, sent, 20000);
    assert_int_equal(hear(p, 0x18, 1000, 50000), 0);
    assert_int_equal(port_next(p, 50000), 101200);
    drain(t, sent, 60000);
    assert_int_equal(sent[3] + sent[4], 0);
    assert_int_equal(hear(p, 1 << 4, 0, 60000), 0);
    drain(t, sent, 62000);
    assert_int_equal(sent[3], 0);
    assert_int_equal(sent[4], 2);
    queue_flush(&q[3], LOSS_CUT, 62000);
    assert_int_equal(port_next(p, 62000), INT64_MAX); /* nobody waits for the end of the pause */
    assert_int_equal(testing_port_free(t), 0);
}

static void a_queue_that_fills_during_the_pause_waits_too(void **state)
{
    (void)state;
    struct testing_port *t = testing_port_create(64, 128, 1, &host, LANE_MODE_LANES);
    struct port *p = &t->port[0];
    struct queue q[8];
    unsigned sent[8] = {0};
    fill(t, q, 0);
    hear(p, 1 << 3, 1000, 0);
    port_enqueue(p, &q[3], testing_packet(t, 1226, 3), 10);
    drain(t, sent, 10); /* its turn comes: it is parked */
    assert_int_equal(sent[3], 0);
    assert_int_equal(port_next(p, 10), 51200);
    drain(t, sent, 51200);
    assert_int_equal(sent[3], 1);
    assert_int_equal(testing_port_free(t), 0);
}

static void is_heard_only_where_it_is_spoken(void **state)
{
    (void)state;
    struct port_config c = host;
    struct testing_port *t = testing_port_create(64, 128, 1, &c, LANE_MODE_LANES);
    c.kind = PORT_CORE;
    c.pfc_priorities = 0xff;
    port_init(&t->port[1], &t->set, NULL, 1, &c, 0);
    assert_int_equal(hear(&t->port[0], 1 << 5, 1000, 0), -ENOTSUP);
    assert_int_equal(hear(&t->port[1], 0xff, 1000, 0), -ENOTSUP); /* routers with lanes do not obey it */
    assert_int_equal(t->port[0].paused | t->port[1].paused, 0);
    assert_int_equal(t->port[1].pfc.heard, 1);
    const uint8_t pause[46] = {0, 1, 0xff, 0xff}; /* 802.3x: stops everything, which nobody wants */
    assert_int_equal(port_pfc_received(&t->port[0], pause, sizeof pause, 0), -EPROTO);
    assert_int_equal(port_pfc_received(&t->port[0], pause, 3, 0), -EPROTO);
    assert_int_equal(testing_port_free(t), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stops_one_priority_for_its_time),
        cmocka_unit_test(goes_on_when_told_and_stays_stopped_when_told_again),
        cmocka_unit_test(a_queue_that_fills_during_the_pause_waits_too),
        cmocka_unit_test(is_heard_only_where_it_is_spoken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
