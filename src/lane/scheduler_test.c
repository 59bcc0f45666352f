/* What leaves when: the rate, classes, turns, guarantees and caps, each alone and against adversaries. Random traffic
 * with all of it together: scheduler_random_test.c. */
#include "base/test.h"
#include "lane/stamp.h"
#include "lane/testing_port.h"

enum { BATCH = 16 };
#define GBIT 1000000000ull
#define MS   1000000ll

static struct testing_port *port_of(uint64_t rate_bps, uint32_t mbufs)
{
    const struct port_config c = {.mtu = 1500, .rate_bps = rate_bps};
    return testing_port_create(mbufs, 128, 1, &c, LANE_MODE_LANES);
}

/* Keeps a queue at `packets` of `len` bytes. */
static void fill(struct testing_port *t, struct queue *q, uint32_t packets, uint32_t len, int64_t now)
{
    while (q->packets < packets)
        assert_int_equal(port_enqueue(&t->port[0], q, testing_packet(t, len, q->sent_packets), now), 0);
}

/* One call at the moment that the port asks for; returns that moment, packets given back. */
static int64_t step(struct testing_port *t, int64_t now)
{
    struct rte_mbuf *m[BATCH];
    struct port *p = &t->port[0];
    int64_t at = port_next(p, now);
    assert_true(at != INT64_MAX);
    now = at > now ? at : now;
    port_sent(p, m, port_dequeue(p, m, BATCH, now), now);
    return now;
}

static void sends_at_the_rate_of_its_wire_to_the_nanosecond(void **state)
{
    (void)state;
    static const uint64_t rates[] = {3300000, GBIT, 10 * GBIT, 400 * GBIT};
    for (unsigned r = 0; r < 4; r++) {
        struct testing_port *t = port_of(rates[r], 8);
        struct queue *q = &t->port[0].lossy[LANE_BULK];
        uint64_t wire = 0;
        int64_t now = 0;
        for (uint32_t i = 0; i < 5000; i++) {
            uint32_t len = 40 + i * 7 % 1470;
            fill(t, q, 1, len, now);
            uint64_t sent = q->sent_packets;
            while (q->sent_packets == sent)
                now = step(t, now);
            int64_t exact = (int64_t)((unsigned __int128)wire * 8 * GBIT / rates[r]);
            assert_in_range(now - exact, 0, 2); /* it begins when all before it have passed, never before */
            wire += queue_wire_bytes(len);
        }
        assert_int_equal(testing_port_free(t), 0);
    }
}

static void catches_up_when_polled_late_but_not_when_idle(void **state)
{
    (void)state;
    struct testing_port *t = port_of(10 * GBIT, 64);
    struct port *p = &t->port[0];
    struct queue *q = &p->lossy[LANE_BULK];
    struct rte_mbuf *m[32];
    int64_t packet = (int64_t)queue_wire_bytes(1226) * 8 / 10; /* 1 us */
    fill(t, q, 20, 1226, 0);
    assert_int_equal(port_dequeue(p, m, 32, 0), 1);
    assert_int_equal(port_dequeue(p, m + 1, 31, 10 * packet), 10);
    port_sent(p, m, 11, 0);
    assert_int_equal(port_dequeue(p, m, 32, 100 * packet), 9);
    port_sent(p, m, 9, 0);
    fill(t, q, 20, 1226, 500 * packet); /* the wire was idle from 20 to 500 */
    assert_int_equal(port_dequeue(p, m, 32, 503 * packet), 4);
    port_sent(p, m, 4, 0);
    assert_int_equal(port_next(p, 503 * packet), 504 * packet);
    assert_int_equal(testing_port_free(t), 0);
}

static void serves_classes_in_strict_order_beyond_guarantees(void **state)
{
    (void)state;
    struct testing_port *t = port_of(10 * GBIT, 64);
    struct port *p = &t->port[0];
    struct rte_mbuf *m[64];
    queue_set_rates(&p->lossy[LANE_CONTROL], 0, 0, 0);
    for (int c = LANE_CLASSES - 1; c >= 0; c--)
        for (unsigned i = 0; i < 3; i++) {
            struct rte_mbuf *one = testing_packet(t, 100, (unsigned)c);
            port_enqueue(p, &p->lossy[c], one, 0);
        }
    port_enqueue(p, &p->control, testing_packet(t, 100, 99), 0);
    unsigned n = 0;
    for (int64_t now = 0; n < 13; now += 1000)
        n += port_dequeue(p, m + n, 64 - n, now);
    assert_int_equal(testing_packet_number(m[0]), 99); /* a lane frame, though it came last */
    for (unsigned i = 0; i < 12; i++)
        assert_int_equal(testing_packet_number(m[1 + i]), i / 3);
    port_sent(p, m, n, 0);
    assert_int_equal(testing_port_free(t), 0);
}

/* Queues that always have packets, of very different sizes: bytes stay within a quantum and a packet of each other. */
static void takes_turns_by_bytes(void **state)
{
    (void)state;
    enum { QUEUES = 5 };
    static const uint32_t len[QUEUES] = {60, 1514, 700, 1514, 333};
    struct testing_port *t = port_of(10 * GBIT, 64);
    struct lane_tx lane[QUEUES];
    int64_t now = 0;
    for (unsigned i = 0; i < QUEUES; i++)
        testing_lane_init(t, &lane[i], &t->port[0], LANE_PARAMETER, UINT32_MAX);
    for (unsigned k = 0; k < 20000; k++) {
        for (unsigned i = 0; i < QUEUES; i++)
            fill(t, &lane[i].queue, 2, len[i], now);
        now = step(t, now);
        uint64_t least = UINT64_MAX, most = 0;
        for (unsigned i = 0; i < QUEUES; i++) {
            uint64_t bytes = lane[i].queue.sent_packets * queue_wire_bytes(len[i]);
            least = bytes < least ? bytes : least;
            most = bytes > most ? bytes : most;
        }
        assert_true(most - least <= (uint64_t)lane[0].queue.quantum + queue_wire_bytes(1514));
    }
    for (unsigned i = 0; i < QUEUES; i++)
        queue_flush(&lane[i].queue, LOSS_CUT, now);
    assert_int_equal(testing_port_free(t), 0);
}

static uint64_t wire_sent(const struct queue *q, uint32_t len)
{
    return q->sent_packets * queue_wire_bytes(len);
}

/* Bulk with a guarantee of 10% beside inference that wants everything, and beside nine more bulk queues. */
static void a_guarantee_holds_and_takes_part_in_the_excess(void **state)
{
    (void)state;
    enum { BULK = 10 };
    struct testing_port *t = port_of(10 * GBIT, 128);
    struct port *p = &t->port[0];
    struct lane_tx bulk[BULK], hog;
    testing_lane_init(t, &hog, p, LANE_INFERENCE, UINT32_MAX);
    for (unsigned i = 0; i < BULK; i++)
        testing_lane_init(t, &bulk[i], p, LANE_BULK, UINT32_MAX);
    queue_set_rates(&bulk[0].queue, GBIT, 0, 0);
    int64_t now = 0, mid = 50 * MS, end = 100 * MS;
    uint64_t at_mid[BULK] = {0};
    while (now < end) {
        if (now < mid)
            fill(t, &hog.queue, 3, 1514, now);
        else if (!at_mid[0])
            at_mid[0] = wire_sent(&bulk[0].queue, 1514);
        for (unsigned i = 0; i < BULK; i++)
            fill(t, &bulk[i].queue, 3, 1514, now);
        now = step(t, now);
    }
    uint64_t guaranteed = GBIT / 8 * 50 / 1000; /* bytes in half of the time */
    assert_in_range(at_mid[0], guaranteed, guaranteed + GBIT / 8 / 1000 + 2 * 1538);
    for (unsigned i = 1; i < BULK;
        i++) { /* the hog left them nothing, then each has a tenth of what is not guaranteed */
        uint64_t bytes = wire_sent(&bulk[i].queue, 1514);
        assert_in_range(bytes, 9 * guaranteed / 10 - 4 * 1538, 9 * guaranteed / 10 + 4 * 1538);
    }
    uint64_t second = wire_sent(&bulk[0].queue, 1514) - at_mid[0];
    assert_in_range(second, guaranteed + 9 * guaranteed / 10 - 4 * 1538, guaranteed + 9 * guaranteed / 10 + 4 * 1538);
    queue_flush(&hog.queue, LOSS_CUT, now);
    for (unsigned i = 0; i < BULK; i++)
        queue_flush(&bulk[i].queue, LOSS_CUT, now);
    assert_int_equal(testing_port_free(t), 0);
}

/* Higher classes with guarantees of 65% together save up while idle and then come all at once, again and again, and an
 * inference lane without any guarantee takes whatever is left: bulk with 30% loses none of it. */
static void bursts_of_others_cost_a_guarantee_nothing(void **state)
{
    (void)state;
    enum { OTHERS = 13 };
    struct testing_port *t = port_of(10 * GBIT, 4096);
    struct port *p = &t->port[0];
    struct lane_tx bulk, hog, other[OTHERS];
    testing_lane_init(t, &bulk, p, LANE_BULK, UINT32_MAX);
    testing_lane_init(t, &hog, p, LANE_INFERENCE, UINT32_MAX);
    queue_set_rates(&bulk.queue, 3 * GBIT, 0, 0);
    for (unsigned i = 0; i < OTHERS; i++) {
        testing_lane_init(t, &other[i], p, i % 2 ? LANE_INFERENCE : LANE_PARAMETER, UINT32_MAX);
        queue_set_rates(&other[i].queue, GBIT / 2, 0, 0);
    }
    assert_int_equal(p->guaranteed_bps, 3 * GBIT + OTHERS * GBIT / 2 + 10 * GBIT / 50);
    int64_t now = 0;
    while (now < 100 * MS) {
        fill(t, &bulk.queue, 3, 1514, now);
        fill(t, &hog.queue, 3, 1514, now);
        for (unsigned i = 0; i < OTHERS && now / MS % 3 == 2; i++)
            fill(t, &other[i].queue, 100, 1514, now);
        now = step(t, now);
        uint64_t due = (uint64_t)(3 * (unsigned __int128)GBIT / 8 * (uint64_t)now / GBIT);
        assert_true(wire_sent(&bulk.queue, 1514) + 3 * GBIT / 8 / 1000 + 2 * 1538 > due); /* never late by 1 ms */
    }
    uint64_t due = 3 * GBIT / 8 / 10;
    assert_true(wire_sent(&bulk.queue, 1514) + 3 * GBIT / 8 / 1000 > due);
    queue_flush(&bulk.queue, LOSS_CUT, now);
    queue_flush(&hog.queue, LOSS_CUT, now);
    for (unsigned i = 0; i < OTHERS; i++)
        queue_flush(&other[i].queue, LOSS_CUT, now);
    assert_int_equal(testing_port_free(t), 0);
}

static void a_cap_is_exact_and_asks_for_its_moment(void **state)
{
    (void)state;
    struct testing_port *t = port_of(10 * GBIT, 64);
    struct port *p = &t->port[0];
    struct lane_tx lane;
    testing_lane_init(t, &lane, p, LANE_INFERENCE, UINT32_MAX);
    queue_set_rates(&lane.queue, 0, GBIT, 0);
    int64_t now = 0;
    uint64_t calls = 0;
    for (; now < 20 * MS; calls++) {
        fill(t, &lane.queue, 3, 1226, now);
        uint64_t sent = lane.queue.sent_packets;
        now = step(t, now);
        assert_true(lane.queue.sent_packets > sent); /* the moment was right: no call for nothing */
        if (calls > 20)
            assert_int_equal(lane.queue.state, QUEUE_CAPPED);
    }
    uint64_t due = (uint64_t)now * (GBIT / 8) / GBIT, burst = GBIT / 8 / 10000;
    assert_in_range(wire_sent(&lane.queue, 1226), due, due + burst + 1250);
    assert_int_equal(queue_flush(&lane.queue, LOSS_CUT, now), 3 - 1);
    assert_int_equal(port_next(p, now), INT64_MAX); /* nothing waits for the cap any more */
    assert_int_equal(testing_port_free(t), 0);
}

static void rates_change_under_load(void **state)
{
    (void)state;
    struct testing_port *t = port_of(10 * GBIT, 64);
    struct port *p = &t->port[0];
    struct lane_tx lane, hog;
    testing_lane_init(t, &lane, p, LANE_BULK, UINT32_MAX);
    testing_lane_init(t, &hog, p, LANE_INFERENCE, UINT32_MAX);
    uint64_t base = p->guaranteed_bps;
    int64_t now = 0;
    static const uint64_t gbit[] = {1, 5, 0, 2};
    for (unsigned k = 0; k < 4; k++) {
        queue_set_rates(&lane.queue, gbit[k] * GBIT, 0, now);
        assert_int_equal(p->guaranteed_bps, base + gbit[k] * GBIT);
        uint64_t before = wire_sent(&lane.queue, 1514);
        for (int64_t end = now + 10 * MS; now < end;) {
            fill(t, &lane.queue, 3, 1514, now);
            fill(t, &hog.queue, 3, 1514, now);
            now = step(t, now);
        }
        uint64_t due = gbit[k] * GBIT / 8 / 100;
        assert_in_range(wire_sent(&lane.queue, 1514) - before, due, due + due / 10 + 2 * 1538);
    }
    queue_flush(&lane.queue, LOSS_CUT, now);
    queue_flush(&hog.queue, LOSS_CUT, now);
    assert_int_equal(testing_port_free(t), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sends_at_the_rate_of_its_wire_to_the_nanosecond),
        cmocka_unit_test(catches_up_when_polled_late_but_not_when_idle),
        cmocka_unit_test(serves_classes_in_strict_order_beyond_guarantees),
        cmocka_unit_test(takes_turns_by_bytes),
        cmocka_unit_test(a_guarantee_holds_and_takes_part_in_the_excess),
        cmocka_unit_test(bursts_of_others_cost_a_guarantee_nothing),
        cmocka_unit_test(a_cap_is_exact_and_asks_for_its_moment),
        cmocka_unit_test(rates_change_under_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
