/* What reliable connections do when packets are lost, overtaken, marked, paused, forged: in virtual time, packet by packet. */
#include "roce/roce_host.h"

#include "base/clock.h"
#include "base/rng.h"
#include "base/test.h"
#include "roce/testing_line.h"

#include <stdlib.h>
#include <string.h>

static void test_nothing_is_sent_twice_on_a_good_line(void **state)
{
    for (int whole = 0; whole < 2; whole++)
        for (uint8_t family = IP_V4; family <= IP_V6; family += 2)
            for (uint32_t bytes = 1; bytes < 70000; bytes = bytes * 3 + 1) {
                struct line *l = line_of(family);
                struct roce_flow f = line_flow(family);
                f.message_bytes = bytes;
                f.mtu = bytes & 1 ? 1024 : 4096;
                l->whole = whole;
                line_connect(l, &f);
                line_run(l, INT64_MAX);
                line_assert_complete(l, &f);
                struct roce_stats tx = line_stats(l, 0), rx = line_stats(l, 1);
                assert_int_equal(tx.tx_packets, f.messages * ((bytes + f.mtu - 1) / f.mtu));
                assert_int_equal(tx.retransmitted_packets + tx.timeouts + tx.naks_received, 0);
                assert_int_equal(rx.out_of_order + rx.duplicates + rx.naks_sent, 0);
                assert_int_equal(rx.rx_packets, tx.tx_packets);
                assert_int_equal(rx.rx_bytes, tx.tx_bytes);
                line_free(l);
            }
}

static void test_latency_is_line_and_delay(void **state)
{
    struct line *l = line_of(IP_V4);
    struct roce_flow f = line_flow(IP_V4);
    f.depth = f.messages = 1;
    f.message_bytes = 1000;
    line_connect(l, &f);
    line_run(l, INT64_MAX);
    /* 1060 bytes one way and 48 back at 10 Gbit/s, 10 us each way */
    assert_int_equal(roce_host_latency(l->host[0])->most_ns, 1060 * 8 / 10 + 48 * 8 / 10 + 20000);
    line_free(l);
}

static void test_a_full_window_fills_the_line(void **state)
{
    struct line *l = line_of(IP_V4);
    struct roce_flow f = line_flow(IP_V4);
    f.messages = 0;
    f.mtu = 4096;
    line_connect(l, &f);
    line_run(l, 20 * NS_PER_MS);
    struct roce_stats tx = line_stats(l, 0);
    assert_in_range(tx.tx_bytes * 8 / 20, 9990000, 10000000 + 4200); /* bits a millisecond */
    roce_host_stop(l->host[0], 0);
    line_run(l, INT64_MAX);
    assert_true(roce_host_finished(l->host[0]));
    line_free(l);
}

/* --- loss --- */

struct trap {
    uint64_t count, at[4]; /* which of the packets that match share a fate, counted from 1 */
    int from;
    uint8_t opcode; /* 0: any */
    enum line_fate fate;
};

static enum line_fate trap(void *user, int from, const struct roce_packet *p, int64_t now)
{
    struct trap *t = user;
    if (from != t->from || (t->opcode && p->opcode != t->opcode))
        return LINE_PASS;
    t->count++;
    for (int i = 0; i < 4; i++)
        if (t->at[i] == t->count)
            return t->fate;
    return LINE_PASS;
}

static struct line *trapped(struct trap *t, const struct roce_flow *f)
{
    struct line *l = line_of(f->peer.family);
    l->fate = trap;
    l->user = t;
    line_connect(l, f);
    line_run(l, INT64_MAX);
    return l;
}

static void test_one_lost_packet_costs_a_round_trip_of_packets(void **state)
{
    struct trap t = {.at = {100}, .fate = LINE_LOSE};
    struct roce_flow f = line_flow(IP_V4);
    struct line *l = trapped(&t, &f);
    line_assert_complete(l, &f);
    struct roce_stats tx = line_stats(l, 0), rx = line_stats(l, 1);
    assert_int_equal(tx.naks_received, 1);
    assert_int_equal(tx.timeouts, 0);
    /* all that was sent until the NAK came is thrown away and sent again: about 20 us of 1084 byte packets */
    assert_int_equal(rx.out_of_order, tx.retransmitted_packets - 1);
    assert_in_range(tx.retransmitted_packets, 22, 30);
    assert_int_equal(rx.naks_sent, 1);
    line_free(l);
}

static void test_a_lost_last_packet_costs_a_timeout(void **state)
{
    struct roce_flow f = line_flow(IP_V4);
    struct trap t = {.at = {640}, .fate = LINE_LOSE}; /* 10 messages of 64 packets */
    struct line *l = trapped(&t, &f);
    line_assert_complete(l, &f);
    struct roce_stats tx = line_stats(l, 0);
    assert_int_equal(tx.timeouts, 1);
    assert_int_equal(tx.naks_received, 0);
    assert_in_range(roce_host_latency(l->host[0])->most_ns, 4096 << 14, (4096 << 14) + 2 * NS_PER_MS);
    line_free(l);
}

static void test_a_lost_nak_costs_a_timeout(void **state)
{
    struct roce_flow f = line_flow(IP_V6);
    struct trap t = {.at = {10, 12}, .fate = LINE_LOSE};
    struct line *l = line_of(IP_V6);
    l->fate = trap;
    l->user = &t;
    f.timeout_ns = NS_PER_MS;
    line_connect(l, &f);
    line_run(l, 60 * NS_PER_US); /* the gap is told once, however many packets show it */
    assert_int_equal(line_stats(l, 1).naks_sent, 1);
    line_run(l, INT64_MAX);
    line_assert_complete(l, &f);
    line_free(l);

    struct trap both = {.from = 1, .at = {1}, .opcode = ROCE_ACKNOWLEDGE, .fate = LINE_LOSE};
    struct line *m = line_of(IP_V6);
    f.messages = 1;
    f.message_bytes = 3 * 1024;
    m->fate = trap;
    m->user = &both;
    line_connect(m, &f);
    struct roce_out out;
    uint8_t lost[ROCE_HEADERS_MOST];
    assert_true(roce_host_pull(m->host[0], 0, lost, &out)); /* the first packet never reaches the line */
    line_run(m, INT64_MAX);
    line_assert_complete(m, &f);
    assert_int_equal(line_stats(m, 0).timeouts, 1);
    assert_int_equal(line_stats(m, 0).naks_received, 0);
    line_free(m);
}

static void test_a_lost_acknowledgement_is_made_good_by_the_next(void **state)
{
    struct trap t = {.from = 1, .at = {3, 4, 5}, .fate = LINE_LOSE};
    struct roce_flow f = line_flow(IP_V4);
    struct line *l = trapped(&t, &f);
    line_assert_complete(l, &f);
    assert_int_equal(line_stats(l, 0).retransmitted_packets, 0);
    line_free(l);
    struct trap all = {.from = 1, .at = {1, 2, 3, 4}, .fate = LINE_LOSE};
    f.messages = 1;
    l = trapped(&all, &f);
    line_assert_complete(l, &f);
    struct roce_stats tx = line_stats(l, 0), rx = line_stats(l, 1);
    assert_int_equal(tx.timeouts, 1); /* which repeats everything, and the duplicates are answered */
    assert_int_equal(rx.duplicates, tx.retransmitted_packets);
    line_free(l);
}

static void test_an_overtaken_packet_is_taken_for_lost(void **state)
{
    struct trap t = {.at = {50}, .fate = LINE_SWAP};
    struct roce_flow f = line_flow(IP_V4);
    struct line *l = trapped(&t, &f);
    line_assert_complete(l, &f);
    /* dropped, and so is all that follows the late one until the sender has gone back */
    assert_in_range(line_stats(l, 1).out_of_order, 20, 40);
    assert_in_range(line_stats(l, 0).naks_received, 1, 2);
    assert_in_range(line_stats(l, 0).retransmitted_packets, 20, 60);
    line_free(l);
}

static enum line_fate percent(void *user, int from, const struct roce_packet *p, int64_t now)
{
    uint64_t *n = user;
    return rng_uniform(99, (*n)++) < 0.01 ? LINE_LOSE : LINE_PASS;
}

static void test_random_loss_both_ways(void **state)
{
    uint64_t hash[2];
    for (int run = 0; run < 2; run++) {
        struct line *l = line_of(IP_V6);
        uint64_t n = 0;
        struct roce_flow f = line_flow(IP_V6);
        f.messages = 300;
        f.timeout_ns = 500 * NS_PER_US;
        f.retry_forever = true;
        l->fate = percent;
        l->user = &n;
        line_connect(l, &f);
        line_run(l, INT64_MAX);
        line_assert_complete(l, &f);
        assert_true(line_stats(l, 0).naks_received > 50);
        hash[run] = l->hash;
        line_free(l);
    }
    assert_int_equal(hash[0], hash[1]);
}

static void test_loss_on_purpose_at_the_receiver(void **state)
{
    struct roce_host_config config[2];
    line_default(config, IP_V4);
    config[1].lose = 0.05;
    struct line *l = line_create(config);
    struct roce_flow f = line_flow(IP_V4);
    f.retry_forever = true;
    f.timeout_ns = NS_PER_MS;
    line_connect(l, &f);
    line_run(l, INT64_MAX);
    line_assert_complete(l, &f);
    assert_in_range(line_stats(l, 1).lost_on_purpose, 20, 200);
    line_free(l);
}

static enum line_fate lose_all(void *user, int from, const struct roce_packet *p, int64_t now)
{
    return now < *(int64_t *)user ? LINE_PASS : LINE_LOSE;
}

static void test_a_dead_line_breaks_the_queue_pair(void **state)
{
    struct line *l = line_of(IP_V4);
    struct roce_flow f = line_flow(IP_V4);
    int64_t dies = 30 * NS_PER_US;
    f.timeout_ns = NS_PER_MS;
    f.retries = 3;
    l->fate = lose_all;
    l->user = &dies;
    line_connect(l, &f);
    line_run(l, INT64_MAX);
    struct roce_stats tx = line_stats(l, 0);
    assert_true(roce_host_finished(l->host[0]));
    assert_int_equal(tx.broken, 1);
    assert_int_equal(tx.timeouts, 4);
    assert_true(tx.messages < f.messages);
    assert_in_range(l->now, 4 * NS_PER_MS, 5 * NS_PER_MS);
    line_free(l);
}

static void test_timeouts_count_in_a_row_only(void **state)
{
    struct roce_flow f = line_flow(IP_V4);
    f.message_bytes = 1000; /* each loss costs a timeout: nothing behind it shows the gap */
    f.depth = 1;
    f.retries = 1;
    struct trap t = {.at = {1, 3, 5, 7}, .fate = LINE_LOSE};
    struct line *l = trapped(&t, &f);
    line_assert_complete(l, &f);
    assert_int_equal(line_stats(l, 0).timeouts, 4);
    line_free(l);
}

/* PSNs have 24 bits: a connection that begins near their end goes on behind it, over losses. */
static void test_psn_wraps(void **state)
{
    for (uint64_t seed = 1;; seed++) {
        struct roce_host_config config[2];
        line_default(config, IP_V4);
        config[0].seed = seed;
        struct line *l = line_create(config);
        struct roce_flow f = line_flow(IP_V4);
        uint32_t flow, qp;
        f.messages = 800;
        f.message_bytes = 100 * 256;
        f.mtu = 256;
        f.retry_forever = true;
        f.timeout_ns = NS_PER_MS;
        roce_host_connect(l->host[0], &f, &flow, NULL);
        uint8_t headers[ROCE_HEADERS_MOST];
        struct roce_out out;
        roce_host_pull(l->host[0], 0, headers, &out);
        qp = out.qp;
        if (roce_first_psn(qp) > 0xff0000) {
            uint64_t n = 0;
            l->fate = percent;
            l->user = &n;
            line_run(l, INT64_MAX);
            line_assert_complete(l, &f);
            line_free(l);
            return;
        }
        line_free(l);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_is_sent_twice_on_a_good_line),
        cmocka_unit_test(test_latency_is_line_and_delay),
        cmocka_unit_test(test_a_full_window_fills_the_line),
        cmocka_unit_test(test_one_lost_packet_costs_a_round_trip_of_packets),
        cmocka_unit_test(test_a_lost_last_packet_costs_a_timeout),
        cmocka_unit_test(test_a_lost_nak_costs_a_timeout),
        cmocka_unit_test(test_a_lost_acknowledgement_is_made_good_by_the_next),
        cmocka_unit_test(test_an_overtaken_packet_is_taken_for_lost),
        cmocka_unit_test(test_random_loss_both_ways),
        cmocka_unit_test(test_loss_on_purpose_at_the_receiver),
        cmocka_unit_test(test_a_dead_line_breaks_the_queue_pair),
        cmocka_unit_test(test_timeouts_count_in_a_row_only),
        cmocka_unit_test(test_psn_wraps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
